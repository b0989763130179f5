"""Functions as runs and data sets, executed by Airflow's own task runner."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow_home import airflow, graph, returned, run, states

from arangopipe_ops import stages
from arangopipe_ops.airflow import decorators, operators

__all__ = ["airflow", "graph"]
pytestmark = pytest.mark.slow

WHEN = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@pytest.fixture
def wine(graph: Any) -> Any:
    """A graph with a model to run."""
    project = graph.write(stages.register_project("wine"))
    graph.write(stages.register_model("forest", project=project))
    graph.write(stages.register_dataset("bottles", uri="s3://bottles"))
    return graph


def dag(name: str = "taskflow", **settings: Any) -> Any:
    from airflow.sdk import DAG

    return DAG(name, schedule=None, **settings)


def facts(graph: Any, dag_run: Any, task_id: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return the run that a task recorded, with its parameters and metrics."""
    node = graph.get(returned(dag_run, task_id))
    return node, *(graph.get(f"{collection}/{node['_key']}") for collection in ("modelparams", "devperf"))


def test_airflow_finds_the_decorators() -> None:
    """`@task.arangopipe_run` and `@task.arangopipe_dataset` lead to our decorators."""
    from airflow.sdk import task

    assert task.arangopipe_run is decorators.arangopipe_run_task
    assert task.arangopipe_dataset is decorators.arangopipe_dataset_task


def test_what_a_function_returns_is_its_run(wine: Any) -> None:
    """Parameters, metrics, products, inputs and attributes that are returned are in the graph; the XCom is the Ref."""
    from airflow.sdk import task

    with dag() as built:

        @task.arangopipe_run(model="forest", parameters={"trees": 10}, project="wine", attributes={"owner": "ann"})
        def train(depth: int) -> dict[str, Any]:
            metrics = {"accuracy": 0.9}
            params = {"depth": depth}
            return {"metrics": metrics, "params": params, "dataset": "bottles", "produced": ["s3://m"], "seed": 7}

        train(3)
    done = run(built)
    assert states(done) == {"train": "success"}
    node, params, metrics = facts(wine, done, "train")
    assert (node["status"], node["seed"], node["owner"], node["project"]) == ("completed", 7, "ann", "wine")
    assert node["produced"] == [{"uri": "s3://m"}]
    assert (params["trees"], params["depth"], metrics["accuracy"]) == (10, 3, 0.9)
    assert wine.counts()["run_datasets"] == 1
    assert node["provenance"]["task_id"] == "train"
    assert set(returned(done, "train")) == {"schema_version", "kind", "_id", "_key", "name", "version", "created"}


def test_a_mapping_without_more_is_metrics(wine: Any) -> None:
    """A function may return its metrics alone, whether it is async or annotated as a dict."""
    from airflow.sdk import task

    with dag() as built:

        @task.arangopipe_run(model="forest")
        async def train() -> dict[str, float]:
            return {"accuracy": 0.5, "loss": 0.1}

        train()
    _, _, metrics = facts_without_params(wine, run(built), "train")
    assert (metrics["accuracy"], metrics["loss"]) == (0.5, 0.1)


def facts_without_params(graph: Any, dag_run: Any, task_id: str) -> tuple[Any, None, Any]:
    node = graph.get(returned(dag_run, task_id))
    return node, None, graph.get(f"devperf/{node['_key']}")


def test_airflows_params_are_not_taken_for_a_runs(
    wine: Any, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Who gives a run's parameters as `params` is told what they are called, by the operator and by the decorator."""
    from airflow.sdk import task

    with dag(params={"dags": 1}) as built:

        @task.arangopipe_run(model="forest", params={"depth": 3})
        def misled() -> None:
            pass

        @task.arangopipe_run(model="forest", params={"rate": 1}, parameters={"trees": 10})
        def right() -> None:
            pass

        misled(), right()
        operators.LogRunOperator(task_id="logged", model="forest", params={"leaves": 7})
        operators.LogRunOperator(task_id="plain", model="forest")
    assert set(states(run(built)).values()) == {"success"}
    told = capfd.readouterr().out + caplog.text
    assert {name for name in ("dags", "depth", "rate", "leaves") if f"no parameters: params ({name})" in told} == {
        "depth",
        "leaves",
    }


def test_the_run_is_at_hand_in_the_function(wine: Any) -> None:
    """A parameter `run` gets the run, in its place among others; deep inside get_current_run() is the same one."""
    from airflow.sdk import task

    def evaluate() -> None:
        decorators.get_current_run().log_metrics(f1=0.8)  # type: ignore[union-attr]

    with dag() as built:

        @task.arangopipe_run(model="forest")
        def train(rows: int, run: Any, rate: float = 0.1) -> None:
            for step in range(3):
                run.log_metrics(loss=1 / (step + 1), step=step)
            run.log_params(rows=rows, rate=rate)
            evaluate()

        @task
        def outside() -> bool:
            return decorators.get_current_run() is None

        train(100) >> outside()
    done = run(built)
    assert set(states(done).values()) == {"success"}
    _, params, metrics = facts(wine, done, "train")
    assert (params["rows"], params["rate"], metrics["f1"]) == (100, 0.1, 0.8)
    assert metrics["series"]["loss"]["count"] == 3
    assert returned(done, "outside") is True


def test_a_raise_records_a_failed_run_and_goes_on(wine: Any) -> None:
    """The task fails with the function's own exception, and the graph knows what it was."""
    from airflow.sdk import task

    with dag() as built:

        @task.arangopipe_run(model="forest")
        def train(run: Any) -> None:
            run.log_metrics(loss=9)
            raise ZeroDivisionError("no rows")

        train()
    assert states(run(built)) == {"train": "failed"}
    [node] = wine.search("Run")["nodes"]
    assert (node["status"], node["error"]["type"], node["error"]["message"]) == (
        "failed",
        "ZeroDivisionError",
        "no rows",
    )
    assert wine.get(f"devperf/{node['_key']}")["loss"] == 9


def test_every_attempt_is_the_same_run(wine: Any) -> None:
    """A retry, and a task that is cleared and run again, complete the run that failed, and leave no second one."""
    from airflow.sdk import task

    def built(fails: bool) -> Any:
        with dag() as it:

            @task.arangopipe_run(model="forest", retries=1, retry_delay=timedelta(0))
            def train(ti: Any = None) -> dict[str, float]:
                if fails and ti.try_number == 1:
                    raise ConnectionError("the worker died")
                return {"accuracy": 0.9}

            train()
        return it

    done = run(built(True), logical_date=WHEN, run_after=WHEN)
    assert done.get_task_instance("train").try_number == 2
    run(built(False), logical_date=WHEN, run_after=WHEN)
    [node] = wine.search("Run")["nodes"]
    assert (node["run_id"], node["status"]) == (f"taskflow/{done.run_id}/train", "completed")
    assert "error" not in node


def test_the_code_of_a_run_is_that_of_its_dag(wine: Any, tmp_path: Path) -> None:
    """Not that of the program which executes the task."""
    from airflow.sdk import task

    file = tmp_path / "dags" / "train.py"
    file.parent.mkdir()
    file.write_text("# a DAG\n")
    author = ["-c", "user.name=ann", "-c", "user.email=ann@example.org"]
    for words in (["init", "--quiet"], ["add", "."], [*author, "commit", "--quiet", "-m", "one"]):
        subprocess.run(["git", "-C", tmp_path, *words], check=True)
    with dag() as built:

        @task.arangopipe_run(model="forest")
        def train() -> None: ...

        train()
    built.fileloc = str(file)
    recorded = wine.get(returned(run(built), "train"))
    assert (recorded["code"]["script"], recorded["code"]["dirty"]) == ("dags/train.py", False)


def test_mapped_functions_record_a_run_each(wine: Any) -> None:
    """`expand` records a run for each index; what is fixed with `partial` counts for all, `run` is injected in each."""
    from airflow.sdk import task

    with dag() as built:

        @task.arangopipe_run(model="forest")
        def train(trees: int, depth: int, run: Any) -> dict[str, Any]:
            run.log_params(trees=trees)
            return {"params": {"depth": depth}, "metrics": {"accuracy": depth / 10}}

        train.partial(trees=5).expand(depth=[1, 2])
    done = run(built)
    assert set(states(done).values()) == {"success"}
    names = {node["run_id"] for node in wine.search("Run")["nodes"]}
    assert names == {f"taskflow/{done.run_id}/train/{i}" for i in (0, 1)}
    assert {(p["trees"], p["depth"]) for p in wine.search("ModelParams")["nodes"]} == {(5, 1), (5, 2)}


def test_arguments_are_templates_and_references(wine: Any) -> None:
    """A Ref from another task makes it upstream; a lone expression is its value."""
    from airflow.sdk import task

    from arangopipe_ops.airflow.operators import RegisterModelOperator

    with dag(params={"rate": 0.5}) as built:
        model = RegisterModelOperator(task_id="model", name="boosting", project="wine")

        @task.arangopipe_run(model=model.output, parameters={"rate": "{{ params.rate }}"}, tag="of {{ dag.dag_id }}")
        def train() -> dict[str, float]:
            return {"accuracy": 0.9}

        train()
    assert built.get_task("train").upstream_task_ids == {"model"}
    node, params, _ = facts(wine, run(built), "train")
    assert (params["rate"], node["tag"]) == (0.5, "of taskflow")
    lineage = wine.lineage(node["_id"], direction="upstream", kinds=["Model"])
    assert [model["name"] for model in lineage["nodes"]] == ["boosting"]


def test_a_result_that_cannot_be_recorded_fails_the_run_at_once(wine: Any) -> None:
    """What is no mapping is named in the task's error and in the run; no retry is spent on it."""
    from airflow.sdk import task

    with dag() as built:

        @task.arangopipe_run(model="forest", retries=3, retry_delay=timedelta(0))
        def train() -> Any:
            return 0.9

        train()
    done = run(built)
    assert (states(done)["train"], done.get_task_instance("train").try_number) == ("failed", 1)
    [node] = wine.search("Run")["nodes"]
    assert node["error"]["message"] == "result: 0.9 is not a mapping of names to values"


def test_a_model_that_is_not_there_stops_before_the_training(wine: Any, tmp_path: Path) -> None:
    """A reference that leads nowhere costs no training."""
    from airflow.sdk import task

    with dag() as built:

        @task.arangopipe_run(model="nowhere")
        def train() -> None:
            (tmp_path / "trained").touch()

        train()
    assert states(run(built)) == {"train": "failed"}
    assert not (tmp_path / "trained").exists()
    assert wine.counts()["run"] == 0


def test_data_that_is_returned_is_registered(graph: Any, tmp_path: Path) -> None:
    """A frame and a file are described, a URI and a mapping taken as they are; the Ref serves the next task."""
    from airflow.sdk import task

    from arangopipe_ops.airflow.operators import RegisterFeaturesetOperator

    (tmp_path / "file.csv").write_text("a,b\n1,x\n2,y\n")
    with dag() as built:

        @task.arangopipe_dataset(name="frame", uri="s3://frame")
        def frame() -> Any:
            import pandas

            return pandas.DataFrame({"a": [1, 2, 3]})

        @task.arangopipe_dataset(name="file {{ dag.dag_id }}", statistics=False)
        def file() -> Path:
            return tmp_path / "file.csv"

        @task.arangopipe_dataset(name="elsewhere")
        def elsewhere() -> str:
            return "s3://lake/wine.parquet"

        @task.arangopipe_dataset(source="the lab")
        def described() -> dict[str, Any]:
            return {"name": "described", "rows": 3, "source": "left aside"}

        refs = [frame(), file(), elsewhere(), described()]
        RegisterFeaturesetOperator(task_id="features", name="all", dataset=refs)
    assert set(states(run(built)).values()) == {"success"}
    found = {node["name"]: node for node in graph.search("Dataset")["nodes"]}
    assert (found["frame"]["rows"], found["frame"]["uri"]) == (3, "s3://frame")
    assert found["frame"]["checksum"].startswith("values:")
    assert (found["file taskflow"]["rows"], "summary" in found["file taskflow"]) == (2, False)
    assert found["elsewhere"]["uri"] == "s3://lake/wine.parquet"
    assert (found["described"]["rows"], found["described"]["source"]) == (3, "the lab")
    assert graph.counts()["featureset_dataset"] == 4


def test_data_stays_out_of_the_log(graph: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """What a function returns is not printed; it may be personal."""
    from airflow.sdk import task

    with dag() as built:

        @task.arangopipe_dataset(name="people")
        def people() -> dict[str, str]:
            return {"example": "ann" + "@" + "example.com"}

        people()
    assert states(run(built)) == {"people": "success"}
    assert "ann@example.com" not in "".join(capfd.readouterr())


UNOPENED = [{"host": "127.0.0.1", "port": 9, "extra": {"request_timeout": 0.05}}, {"extra": {}}]


@pytest.fixture(params=UNOPENED, ids=["away", "misconfigured"])
def down(airflow: None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The arguments of a task whose metadata can be written nowhere, and that goes on all the same."""
    monkeypatch.setenv("AIRFLOW_CONN_DOWN", json.dumps({"conn_type": "arangopipe", **request.param}))
    return {"arangopipe_conn_id": "down", "on_metadata_error": "warn"}


def test_a_training_outlives_its_metadata(
    down: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """With `warn` the function runs to its end without a database, all calls of its run are harmless, and the task
    succeeds with None and says what was not recorded."""
    from airflow.sdk import task

    with dag() as built:

        @task.arangopipe_run(model="forest", dataset="bottles", parameters={"trees": 10}, **down)
        def train(depth: int, run: Any) -> dict[str, Any]:
            run.log_metrics(loss=0.5, step=1)
            run.use(featureset="all")
            decorators.get_current_run().set(owner="ann")  # type: ignore[union-attr]
            (tmp_path / f"trained {depth} {run.status}").touch()
            return {"metrics": {"accuracy": 0.9}, "produced": ["s3://m"], "dataset": "bottles"}

        @task.arangopipe_dataset(name="bottles", **down)
        def extract() -> str:
            return "s3://lake/bottles.parquet"

        train(3), extract()
    done = run(built)
    assert states(done) == {"train": "success", "extract": "success"}
    assert (returned(done, "train"), returned(done, "extract")) == (None, None)
    assert (tmp_path / "trained 3 running").exists()
    told = capfd.readouterr().out + caplog.text
    for what in ("beginning", "end"):
        assert f"Not recorded: {what} of run 'taskflow/{done.run_id}/train'." in told
    assert "Not recorded: @task.arangopipe_dataset(name='bottles')." in told


def test_the_functions_own_error_always_goes_on(down: dict[str, Any]) -> None:
    """What the function raises fails the task, also where it is an error of this library."""
    from airflow.sdk import task

    from arangopipe_ops.errors import NotFound

    with dag() as built:
        for decorate in (task.arangopipe_run(model="forest", **down), task.arangopipe_dataset(name="b", **down)):

            @decorate
            def broken() -> None:
                raise NotFound(["what the function looked for"])

            broken()
    assert set(states(run(built)).values()) == {"failed"}


def test_by_default_no_training_begins_that_cannot_be_recorded(down: dict[str, Any], tmp_path: Path) -> None:
    """Without `warn` an outage fails the task before hours are spent."""
    from airflow.sdk import task

    with dag() as built:

        @task.arangopipe_run(model="forest", **(down | {"on_metadata_error": "fail"}))
        def train() -> None:
            (tmp_path / "trained").touch()

        train()
    assert states(run(built)) == {"train": "failed"}
    assert not (tmp_path / "trained").exists()


def test_a_result_that_cannot_be_recorded_may_be_a_warning(wine: Any, caplog: pytest.LogCaptureFixture) -> None:
    """With `warn` the run is recorded without it, and the data set is not."""
    from airflow.sdk import task

    with dag() as built:

        @task.arangopipe_run(model="forest", on_metadata_error="warn")
        def train() -> Any:
            return {"params": [1], "metrics": {"accuracy": 0.9}}

        @task.arangopipe_dataset(name="odd", on_metadata_error="warn")
        def extract() -> Any:
            return 7

        train(), extract()
    done = run(built)
    assert set(states(done).values()) == {"success"}
    assert wine.get(returned(done, "train"))["status"] == "completed"
    assert returned(done, "extract") is None
    assert "params: [1] is not a mapping" in caplog.text


def test_decorated_tasks_lead_to_what_they_wrote() -> None:
    """They have the links that the stage operators have, and a data set has all of its operator's arguments."""
    from arangopipe_ops.airflow.operators import RegisterDatasetOperator, StageOperator

    for decorated in (decorators.RunDecoratedOperator, decorators.DatasetDecoratedOperator):
        assert decorated.operator_extra_links == StageOperator.operator_extra_links
    assert issubclass(decorators.DatasetDecoratedOperator, RegisterDatasetOperator)
