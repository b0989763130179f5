"""The operators, run by Airflow's own task runner against a real graph."""

import inspect
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow_home import airflow, graph, returned, run, states
from conftest import dump

from arangopipe_ops import stages
from arangopipe_ops.airflow import compat
from arangopipe_ops.airflow import operators as ops

__all__ = ["airflow", "graph"]
pytestmark = pytest.mark.slow

STAGE_OPERATORS = (
    ops.RegisterProjectOperator,
    ops.RegisterDatasetOperator,
    ops.RegisterFeaturesetOperator,
    ops.RegisterModelOperator,
    ops.LogRunOperator,
    ops.RegisterDeploymentOperator,
    ops.LogServingPerfOperator,
)
WHEN = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
REF = {"schema_version", "kind", "_id", "_key", "name", "version", "created"}


def dag(name: str = "story", **settings: Any) -> Any:
    from airflow.sdk import DAG

    return DAG(name, schedule=None, **settings)


def tries_of_a_lasting_error(retries: int) -> int:
    """How often a task is tried that another attempt does not cure: Airflow has retry policies from 3.3."""
    return 1 if compat.HAS_RETRY_POLICIES else retries + 1


def at(when: datetime = WHEN) -> dict[str, datetime]:
    """Run a DAG as the same DAG run whenever it is run again."""
    return {"logical_date": when, "run_after": when}


def story(**changes: Any) -> Any:
    """A DAG with every operator, the references taken from XCom."""
    with dag() as built:
        provision = ops.ProvisionOperator(task_id="provision")
        project = ops.RegisterProjectOperator(task_id="project", name="wine")
        dataset = ops.RegisterDatasetOperator(task_id="dataset", name="bottles", uri="s3://bottles")
        featureset = ops.RegisterFeaturesetOperator(
            task_id="featureset", name="scaled", dataset=dataset.output, features=["a", "b"]
        )
        model = ops.RegisterModelOperator(
            task_id="model", name="forest", project=project.output, task="grading", technique="random forest"
        )
        logged = ops.LogRunOperator(
            task_id="run",
            model=model.output,
            dataset=dataset.output,
            featureset=featureset.output,
            parameters={"trees": 10},
            metrics={"accuracy": 0.9},
            **changes,
        )
        deployment = ops.RegisterDeploymentOperator(
            task_id="deployment",
            tag="wine-1",
            project=project.output,
            model=model.output,
            run=logged.output,
            featureset=featureset.output,
        )
        ops.LogServingPerfOperator(
            task_id="serving",
            deployment=deployment.output,
            metrics={"accuracy": 0.8},
            period_start="2026-05-04",
            period_end="2026-05-05",
        )
        provision >> [project, dataset]
    return built


@pytest.mark.parametrize("operator", STAGE_OPERATORS, ids=lambda operator: operator.__name__)
def test_an_operator_takes_every_argument_of_its_stage(operator: Any) -> None:
    """No argument of a stage is missing in its operator, and all of them are templated."""
    signature = inspect.signature(stages.STAGES[operator.stage]).parameters
    wanted = {name for name in signature if name != "attributes"}
    taken = set(operator.stage_arguments) | ({"params"} if operator is ops.LogRunOperator else set())
    assert taken == wanted
    assert set(operator.stage_arguments) <= set(operator.template_fields)
    assert set(inspect.signature(operator.__init__).parameters) >= set(operator.stage_arguments)


def test_every_stage_has_an_operator() -> None:
    """A stage that is added to the library is missed here until it has its operator."""
    assert {operator.stage for operator in STAGE_OPERATORS} == set(stages.STAGES)


def test_the_operators_load_only_what_airflow_loads() -> None:
    """Parsing a DAG with our operators loads no driver, HTTP client or parser of ours."""
    program = "{}; import sys; print(*sys.modules)"
    alone, ours = (
        subprocess.run(
            [sys.executable, "-c", program.format(statement)], capture_output=True, text=True, check=True
        ).stdout.split()
        for statement in (
            "from airflow.sdk import BaseHook, BaseOperator, Connection",
            "import arangopipe_ops.airflow.operators",
        )
    )
    added = {name.split(".")[0] for name in set(ours) - set(alone)}
    assert not added & {"arango", "requests", "fastapi", "kfp", "lark", "sklearn", "pygraphviz"}


def test_every_operator_writes_its_stage(graph: Any) -> None:
    """A pipeline of all operators leaves the whole lineage of its deployment."""
    dag_run = run(story())
    assert set(states(dag_run).values()) == {"success"}
    assert returned(dag_run, "provision") is False
    assert set(returned(dag_run, "model")) == REF
    kinds = {node["kind"] for node in graph.lineage(returned(dag_run, "deployment"))["nodes"]}
    assert kinds == set(graph.schema.nodes) - {"Alert"}


def test_a_run_is_identified_by_its_task_instance(graph: Any) -> None:
    """Without a run_id it is DAG, DAG run and task; the start is the DAG run's."""
    dag_run = run(story(), **at())
    logged = graph.get(returned(dag_run, "run"))
    assert logged["run_id"] == f"story/{dag_run.run_id}/run"
    assert logged["start"] == dag_run.start_date.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_what_is_written_tells_who_wrote_it(graph: Any) -> None:
    """Provenance names the task instance and its log, and nothing that another attempt would change."""
    dag_run = run(story())
    known = graph.get(returned(dag_run, "run"))["provenance"]
    assert known["through"] == "airflow"
    assert (known["dag_id"], known["run_id"], known["task_id"]) == ("story", dag_run.run_id, "run")
    assert (known["map_index"], known["operator"]) == (-1, "LogRunOperator")
    assert known["log_url"].endswith("/tasks/run")
    assert "try_number" not in str(known)


def test_running_again_writes_nothing_twice(graph: Any) -> None:
    """Clearing a DAG run and running it again leaves the graph and its audit as they were."""
    run(story(), **at())
    before = dump(graph.db)
    dag_run = run(story(), **at())
    assert set(states(dag_run).values()) == {"success"}
    assert returned(dag_run, "run")["created"] is False
    assert dump(graph.db) == before


def test_a_retry_after_the_write_writes_nothing_twice(graph: Any) -> None:
    """An attempt that dies after its write is repeated without a trace."""

    class DiesOnce(ops.LogRunOperator):
        def execute(self, context: Any) -> Any:
            ref = super().execute(context)
            if context["ti"].try_number == 1:
                raise ConnectionError("the worker died")
            return ref

    graph.write(stages.register_project("wine"))
    graph.write(stages.register_model("forest", project="wine"))
    with dag() as built:
        DiesOnce(task_id="run", model="forest", metrics={"a": 1}, retries=1, retry_delay=timedelta(0))
    dag_run = run(built)
    assert dag_run.get_task_instance("run").try_number == 2
    assert states(dag_run) == {"run": "success"}
    assert returned(dag_run, "run")["created"] is False
    assert (graph.counts()["run"], graph.db.collection("audit").find({"created": []}).count()) == (1, 0)


@pytest.mark.parametrize("mapped", [False, True])
def test_what_another_attempt_cannot_cure_is_not_retried(graph: Any, mapped: bool) -> None:
    """A reference that leads nowhere fails at once, also in a mapped task, although retries are left."""
    settings: dict[str, Any] = {"task_id": "features", "retries": 3, "retry_delay": timedelta(0)}
    with dag() as built:
        if mapped:
            ops.RegisterFeaturesetOperator.partial(**settings, dataset="nowhere").expand(name=["scaled"])
        else:
            ops.RegisterFeaturesetOperator(**settings, dataset="nowhere", name="scaled")
    [ti] = run(built).get_task_instances()
    assert (ti.state, ti.try_number) == ("failed", tries_of_a_lasting_error(3))
    assert graph.counts()["featuresets"] == 0


@pytest.mark.skipif(not compat.HAS_RETRY_POLICIES, reason="Airflow has retry policies from 3.3")
def test_default_args_may_change_the_retry_policy() -> None:
    """A DAG's own retry policy, or none, replaces ours."""
    with dag(default_args={"retry_policy": None}):
        plain = ops.RegisterProjectOperator(task_id="project", name="wine")
    assert plain.retry_policy is None


def test_mapped_tasks_write_a_run_each(graph: Any) -> None:
    """`expand(result=...)` logs what each training task returned, under a run of its own."""
    from airflow.sdk import task

    graph.write(stages.register_project("wine"))
    for name in ("forest", "boosting"):
        graph.write(stages.register_model(name, project="wine"))
    with dag() as built:

        @task(multiple_outputs=False)
        def train(model: str) -> dict[str, Any]:
            return {"model": model, "params": {"depth": 2}, "metrics": {"accuracy": 0.9}, "seed": 7}

        results = train.expand(model=["forest", "boosting"])
        ops.LogRunOperator.partial(task_id="log", metrics={"accuracy": 0.5}).expand(result=results)
    dag_run = run(built)
    assert [returned(dag_run, "log", i)["name"] for i in (0, 1)] == [f"story/{dag_run.run_id}/log/{i}" for i in (0, 1)]
    assert {row["seed"] for row in graph.search("Run")["nodes"]} == {7}
    assert {row["depth"] for row in graph.search("ModelParams")["nodes"]} == {2}
    assert {row["accuracy"] for row in graph.search("DevPerf")["nodes"]} == {0.5}


def test_expand_kwargs_maps_any_arguments(graph: Any) -> None:
    """`expand_kwargs` registers as many nodes as there are mappings, and their Refs serve as references."""
    with dag() as built:
        datasets = ops.RegisterDatasetOperator.partial(task_id="dataset").expand_kwargs(
            [{"name": "red", "uri": "s3://red"}, {"name": "white", "attributes": {"rows": 3}}]
        )
        ops.RegisterFeaturesetOperator(task_id="features", name="both", dataset=datasets.output)
    dag_run = run(built)
    assert set(states(dag_run).values()) == {"success"}
    assert graph.get("white", "Dataset")["rows"] == 3
    lineage = graph.lineage(returned(dag_run, "features"), direction="upstream", kinds=["Dataset"])
    assert {node["name"] for node in lineage["nodes"]} == {"red", "white"}


REFERENCES = {
    "the Ref": lambda ref: ref,
    "the _id": lambda ref: ref["_id"],
    "the name": lambda ref: ref["name"],
    "name and version": lambda ref: {"name": ref["name"], "version": ref["version"]},
}


@pytest.mark.parametrize("spell", REFERENCES.values(), ids=REFERENCES.keys())
def test_a_reference_may_be_spelled_in_any_way(graph: Any, spell: Any) -> None:
    """A Ref, an _id, a name, and name with version all lead to the node."""
    ref = graph.write(stages.register_dataset("bottles", uri="s3://bottles"))
    with dag() as built:
        ops.RegisterFeaturesetOperator(task_id="features", name="scaled", dataset=spell(ref))
    assert states(run(built)) == {"features": "success"}
    assert graph.counts()["featureset_dataset"] == 1


def test_templates_keep_types(graph: Any) -> None:
    """A lone expression gives its value, a Ref or a number; a text that looks like a number stays a text."""
    with dag(params={"rate": 0.1}) as built:
        dataset = ops.RegisterDatasetOperator(task_id="dataset", name="bottles {{ dag.dag_id }}", version="1e3")
        features = ops.RegisterFeaturesetOperator(
            task_id="features",
            name="{{ 'sca' + 'led' }}",
            version="{{ 1 }}-{{ 2 }}",
            dataset="{{ ti.xcom_pull('dataset') }}",
            attributes={"rate": "{{ params.rate }}", "deep": [{"twice": "{{ params.rate * 2 }}"}], "plain": "007"},
        )
        dataset >> features
    dag_run = run(built)
    stored = graph.get(returned(dag_run, "features"))
    assert (stored["name"], stored["version"]) == ("scaled", "1-2")
    assert (stored["rate"], stored["deep"], stored["plain"]) == (0.1, [{"twice": 0.2}], "007")
    assert graph.get({"name": "bottles story", "version": "1e3"}, "Dataset")


def test_a_template_that_knows_no_value_fails_the_task(graph: Any) -> None:
    """A misspelled variable is an error and not an empty value."""
    with dag() as built:
        ops.RegisterProjectOperator(task_id="project", name="{{ no_such_variable }}")
    assert states(run(built)) == {"project": "failed"}
    assert graph.counts()["project"] == 0


def test_a_task_in_place_of_its_output_is_named(graph: Any, caplog: pytest.LogCaptureFixture, capfd: Any) -> None:
    """Who gives a task as a reference, and not what it returns, is told how that is written."""
    with dag() as built:
        dataset = ops.RegisterDatasetOperator(task_id="dataset", name="bottles")
        ops.RegisterFeaturesetOperator(task_id="featureset", name="all", dataset=dataset)
    assert states(run(built)) == {"dataset": "success", "featureset": "failed"}
    told = capfd.readouterr().out + caplog.text
    assert "dataset: is the task dataset; give what it returns, as its .output" in told


def test_data_is_never_taken_for_a_template(graph: Any) -> None:
    """Braces in what a task returned are stored as they are, in plain and in mapped tasks."""
    from airflow.sdk import task

    graph.write(stages.register_project("wine"))
    graph.write(stages.register_model("forest", project="wine"))
    note = {"note": "{{ 7 * 7 }}", "model": "forest"}
    with dag() as built:

        @task(multiple_outputs=False)
        def train() -> dict[str, Any]:
            return note

        result = train()
        ops.LogRunOperator(task_id="plain", result=result)
        ops.LogRunOperator.partial(task_id="mapped").expand(result=train.override(task_id="many").expand_kwargs([{}]))
    assert set(states(run(built)).values()) == {"success"}
    assert [row["note"] for row in graph.search("Run")["nodes"]] == ["{{ 7 * 7 }}"] * 2


@pytest.mark.parametrize("name", ['O\'Neil "the" `tick`', "überraschung 🍷/..", "a\\b\n; REMOVE x IN project"])
def test_any_name_works(graph: Any, name: str) -> None:
    """Quotes, emoji and query text in a name are only a name."""
    with dag() as built:
        project = ops.RegisterProjectOperator(task_id="project", name=name)
        ops.RegisterModelOperator(task_id="model", name=name, project=project.output)
    assert set(states(run(built)).values()) == {"success"}
    assert graph.get(name, "Model")["name"] == name


def test_conflicts_follow_the_operators_choice(graph: Any) -> None:
    """The same identity with different content is revised by default, refused or kept on request."""
    graph.write(stages.register_dataset("bottles", version="1", rows=1))
    with dag() as built:
        for choice in ("fail", "keep", None):
            ops.RegisterDatasetOperator(
                task_id=choice or "revise",
                name="bottles",
                version="1",
                attributes={"rows": 2 if choice else 3},
                **({"on_conflict": choice} if choice else {}),
            )
    assert states(run(built)) == {"fail": "failed", "keep": "success", "revise": "success"}
    assert graph.get({"name": "bottles", "version": "1"}, "Dataset")["rows"] == 3


def test_a_result_that_is_no_mapping_is_named(graph: Any) -> None:
    """What a training task must not return is said in one line."""
    from arangopipe_ops.errors import Invalid

    operator = ops.LogRunOperator(task_id="run", result=["accuracy", 0.9])
    with pytest.raises(Invalid, match=r"^result: \['accuracy', 0.9\] is not a mapping"):
        operator.arguments({})  # type: ignore[typeddict-item]
