"""The components in pipelines, executed by KFP's local runner on an embedded database."""

import json
from pathlib import Path
from typing import Any

import kfp_local as story
import pytest

from arangopipe_ops.admin import provision
from arangopipe_ops.connection import connect
from arangopipe_ops.kfp.artifacts import NODE_ID
from arangopipe_ops.kfp.pipelines import pipelines
from arangopipe_ops.model import Document
from arangopipe_ops.store import Store

pytestmark = pytest.mark.slow

AWKWARD = 'it\'s "so" {x} [y] \\n\nnew\tline; ünïcödé 雪 🙂 $(id) `id` %s {{y}} &&'


@pytest.fixture(scope="module")
def module_patch() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def graph(folder: Path, patch: pytest.MonkeyPatch, *, provisioned: bool = True) -> Store:
    """Return a store on a database of its own, which the steps find in the environment."""
    url = f"embedded://{folder}/graph.db"
    patch.setenv("ARANGOPIPE_EMBEDDED_CLUSTER", "1")
    patch.setenv("ARANGOPIPE_URL", url)
    patch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    db = connect(url)
    if provisioned:
        provision(db)
    return Store(db)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    return graph(tmp_path, monkeypatch)


def nodes(store: Store, kind: str, **where: Any) -> list[Document]:
    return store.search(kind, where)["nodes"]


def of(store: Store, node: Document | str, *kinds: str) -> list[Document]:
    """Return the nodes of some kinds that belong to a node."""
    found = store.lineage(node if isinstance(node, str) else node["_id"], kinds=kinds)["nodes"]
    return [each["document"] for each in found]


def figures(folder: Path, deployment: str, *days: str) -> dict[str, Any]:
    """Return a source: a file with figures of a deployment."""
    rows = [{"deployment": deployment, "period_start": day, "accuracy": 0.7} for day in days]
    (folder / "figures.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return {"type": "files", "path": f"{folder}/figures.jsonl"}


# --- every component -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory, module_patch: pytest.MonkeyPatch) -> tuple[Store, Path]:
    """The graph after a pipeline with every component, on a database that the pipeline provisions."""
    folder = tmp_path_factory.mktemp("everything")
    store = graph(folder, module_patch, provisioned=False)
    sources = [figures(folder, AWKWARD, "2026-03-02") | {"name": "collected", "where": {"tag": AWKWARD}}]
    story.execute(story.everything, folder, text=AWKWARD, note={"note": AWKWARD}, sources=sources)
    return store, folder


def test_every_component_leaves_its_nodes_and_edges(everything: tuple[Store, Path]) -> None:
    """One pipeline with all components leaves exactly the nodes and edges that they stand for."""
    counts = everything[0].counts()
    assert {name: count for name, count in counts.items() if count and name != "audit"} == {
        "project": 1,
        "datasets": 2,
        "featuresets": 2,
        "models": 1,
        "run": 2,
        "modelparams": 2,
        "devperf": 2,
        "deployment": 3,
        "servingperf": 3,
        "project_models": 1,
        "featureset_dataset": 2,
        "run_models": 2,
        "run_datasets": 2,
        "run_featuresets": 2,
        "run_modelparams": 2,
        "run_devperf": 2,
        "deployment_model": 3,
        "deployment_modelparams": 3,
        "deployment_featureset": 3,
        "deployment_run": 3,
        "deployment_servingperf": 3,
    }


def test_texts_come_through_kfp_unchanged(everything: tuple[Store, Path]) -> None:
    """Quotes, newlines, braces and Unicode in every text parameter are stored as they were given."""
    store, _ = everything
    texts = {
        "Project": ("name", "note"),
        "Dataset": ("name", "source"),
        "Featureset": ("name", "transformation", "selection"),
        "Model": ("name", "task", "technique", "framework"),
    }
    for kind, attributes in texts.items():
        for node in nodes(store, kind):
            assert {name: node[name] for name in attributes} == dict.fromkeys(attributes, AWKWARD), kind
    [place] = nodes(store, "Dataset", version=AWKWARD)
    assert (place["uri"], place["checksum"]) == (AWKWARD, AWKWARD)
    [run] = nodes(store, "Run", run_id=AWKWARD)
    assert [run[name] for name in ("project", "tag", "deployment_tag")] == [AWKWARD] * 3
    assert all(run["tag"] == AWKWARD for run in nodes(store, "Run"))
    [green] = nodes(store, "Deployment", tag=AWKWARD)
    assert (green["environment"], green["status"]) == (AWKWARD, "active")
    assert {node["source"] for node in nodes(store, "ServingPerf")} == {AWKWARD, "by reference", "collected"}
    assert AWKWARD in {event["reason"] for event in store.history(green["_id"])}


def test_numbers_come_through_kfp_as_they_were(everything: tuple[Store, Path]) -> None:
    """Whole numbers that KFP made floats of are whole in the graph."""
    store, _ = everything
    [dataset] = nodes(store, "Dataset", rows=5)
    assert dataset["schema"] == {"a": "integer", "b": "integer"}
    assert sorted(json.dumps(node["depth"]) for node in nodes(store, "ModelParams")) == ["3", "4"]


def test_receipts_are_artifacts_that_kfp_keeps(everything: tuple[Store, Path]) -> None:
    """Each writer's receipt is a file with the Ref, and its metadata, in KFP's own output, lead to the node."""
    store, folder = everything
    outputs = [json.loads(path.read_text()) for path in folder.rglob("executor_output.json")]
    receipts = [
        each["artifacts"]["receipt"]["artifacts"][0] for each in outputs if "receipt" in each.get("artifacts", {})
    ]
    named = [receipt for receipt in receipts if NODE_ID in receipt["metadata"]]
    assert len(named) == 13
    for receipt in named:
        assert json.loads(Path(receipt["uri"]).read_text())["_id"] == receipt["metadata"][NODE_ID]
        assert store.get(receipt["metadata"][NODE_ID])
        assert all(isinstance(value, str) for value in receipt["metadata"].values())


def test_nodes_tell_the_execution(everything: tuple[Store, Path]) -> None:
    """Everything that a pipeline wrote has its pipeline, job and task as provenance."""
    runs = nodes(everything[0], "Run")
    assert {run["provenance"]["task"] for run in runs} == {"log-run", "log-run-by-reference"}
    assert len({run["provenance"]["job_id"] for run in runs}) == 1
    assert all(run["provenance"]["pipeline"].startswith("everything-") for run in runs)


# --- loops, caches, retries, failures --------------------------------------------------------------------


def test_a_second_run_links_to_the_data_of_the_first(store: Store, tmp_path: Path) -> None:
    """Each iteration and each task logs a run of its own; data, model and project are those of the first run."""
    for executions in (1, 2):
        story.execute(story.looped, tmp_path)
        runs = nodes(store, "Run")
        assert len(runs) == len({run["run_id"] for run in runs}) == 4 * executions
        [dataset], [model] = nodes(store, "Dataset"), nodes(store, "Model")
        for run in runs:
            assert [each["_id"] for each in of(store, run, "Dataset", "Model")] in (
                [dataset["_id"], model["_id"]],
                [model["_id"], dataset["_id"]],
            )
    assert sorted(node["accuracy"] for node in nodes(store, "DevPerf")) == [0.6, 0.6, 0.7, 0.7, 0.8, 0.8, 0.9, 0.9]


def test_a_cached_step_leads_to_the_data_that_an_earlier_run_registered(store: Store, tmp_path: Path) -> None:
    """Where the step that makes the data comes from the cache, its artifact is the old run's, and known by its URI."""
    story.execute(story.looped, tmp_path, cache=True)
    [dataset] = nodes(store, "Dataset")
    story.execute(story.by_place, tmp_path, cache=True)
    assert len(nodes(store, "Dataset")) == 1
    assert len(nodes(store, "Run")) == 5
    [run] = [run for run in nodes(store, "Run") if run["provenance"]["pipeline"].startswith("by-place")]
    assert [each["_id"] for each in of(store, run, "Dataset")] == [dataset["_id"]]
    story.execute(story.looped, tmp_path, cache=True)
    assert len(nodes(store, "Run")) == 9, "writers are never taken from the cache"


def test_a_step_that_is_tried_again_leaves_one_run(store: Store, tmp_path: Path) -> None:
    """The second attempt is the same run: it ends as completed, and the pipeline's execution is no failure."""
    story.execute(story.flaky, tmp_path, marker=str(tmp_path / "marker"))
    [run] = nodes(store, "Run")
    assert (run["status"], run["tag"]) == ("completed", "flaky")
    assert "error" not in run
    [perf] = of(store, run, "DevPerf")
    assert perf["accuracy"] == 0.75


def test_a_failed_step_fails_the_execution_under_its_name(store: Store, tmp_path: Path) -> None:
    """A watched step that knows nothing of us fails: it is told by name, on the model's lineage."""
    with pytest.raises(RuntimeError, match="break-down"):
        story.execute(story.failing, tmp_path)
    [run] = nodes(store, "Run")
    assert (run["status"], run["error"]["step"], run["project"]) == ("failed", "break-down", "wine")
    assert [model["name"] for model in of(store, run, "Model")] == ["forest"]
    assert len(nodes(store, "Dataset")) == 1


def test_the_only_step_that_nobody_watches_is_the_one_that_failed(store: Store, tmp_path: Path) -> None:
    """Where all other steps would have told, the finalizer names the one that would not."""
    with pytest.raises(RuntimeError, match="break-down"):
        story.execute(story.failing_unwatched, tmp_path)
    [run] = nodes(store, "Run")
    assert (run["status"], run["error"]["step"]) == ("failed", "break-down")


def test_a_failed_component_fails_the_execution_under_its_name(store: Store, tmp_path: Path) -> None:
    """A component of ours says what was wrong, and the finalizer keeps it."""
    with pytest.raises(RuntimeError, match="register-model"):
        story.execute(story.failing_writer, tmp_path)
    [run] = nodes(store, "Run")
    assert (run["error"]["step"], run["error"]["type"]) == ("register-model", "NotFound")
    assert "never registered" in run["error"]["message"]


# --- the pipelines of the catalogue ----------------------------------------------------------------------


def test_the_training_pipeline_tells_the_whole_story(store: Store, tmp_path: Path) -> None:
    """Real models are trained, the best is deployed and serves, and its lineage shows where it came from."""
    story.execute(pipelines(story.HERE)["train_and_record"], tmp_path, first_day="2026-03-01")
    counts = store.counts()
    expected = {"project": 1, "datasets": 1, "featuresets": 2, "models": 3, "run": 6, "deployment": 1, "servingperf": 2}
    assert {name: counts[name] for name in expected} == expected
    [deployment] = nodes(store, "Deployment")
    lineage = store.lineage(deployment["_id"])["nodes"]
    assert {node["kind"] for node in lineage} == set(store.schema.nodes) - {"Alert"}
    best = min(nodes(store, "DevPerf"), key=lambda perf: perf["log_loss"])
    [run] = of(store, deployment, "Run")
    assert run["run_id"] == best["run_id"]
    assert best["roc_auc"] > 0.97
    assert {node["period_start"] for node in nodes(store, "ServingPerf")} == {
        "2026-03-01T00:00:00.000Z",
        "2026-03-02T00:00:00.000Z",
    }


def test_the_training_pipeline_records_its_failure(store: Store, tmp_path: Path) -> None:
    """With one fold there is no cross-validation: training fails, and the execution says so."""
    with pytest.raises(RuntimeError, match="train"):
        story.execute(pipelines(story.HERE, retries=0)["train_and_record_failures"], tmp_path, folds=1)
    [run] = nodes(store, "Run")
    assert (run["status"], run["error"]["step"]) == ("failed", "train")
    assert nodes(store, "Deployment") == []


def test_serving_performance_is_collected_on_schedule(store: Store, tmp_path: Path) -> None:
    """Each period is one node, however often it is collected."""
    from arangopipe_ops import stages

    store.write(stages.register_project("wine"))
    store.write(stages.register_model("forest", project="wine"))
    deployment = store.write(stages.register_deployment("blue", project="wine", model="forest"))
    sources = [figures(tmp_path, "blue", "2026-03-01", "2026-03-02")]
    pipeline = pipelines(story.HERE)["scheduled_serving_performance"]
    for since, until in (("2026-03-01", "2026-03-02"), ("2026-03-02", "2026-03-03"), ("2026-03-01", "2026-03-03")):
        story.execute(pipeline, tmp_path, sources=sources, since=since, until=until)
    found = nodes(store, "ServingPerf")
    assert [node["period_end"][:10] for node in found] == ["2026-03-03", "2026-03-02"]
    assert {node["deployment"] for node in found} == {deployment["_key"]}
