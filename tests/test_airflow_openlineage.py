"""What our operators tell OpenLineage: Airflow's own provider asks them, and its file transport keeps the events."""

import importlib
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from airflow_home import airflow, graph, run, states
from conftest import dump
from test_integrations_openlineage import dataset as openlineage_dataset
from test_integrations_openlineage import event as openlineage_event

from arangopipe_ops import Store, connect, stages
from arangopipe_ops.admin import provision
from arangopipe_ops.airflow import assets
from arangopipe_ops.airflow import operators as ops
from arangopipe_ops.integrations.openlineage import FACET
from arangopipe_ops.openlineage import record

__all__ = ["airflow", "graph"]
pytestmark = pytest.mark.slow
pytest.importorskip("airflow.providers.openlineage")

Events = dict[tuple[str, str], dict[str, Any]]
FACETS = Path(__file__).parent.parent / "arangopipe_ops" / "openlineage"
PLACE = ("s3://lake", "2026/bottles.parquet")


@contextmanager
def listening(folder: Path, transport: dict[str, Any] | None = None) -> Iterator[Callable[[Any], Events]]:
    """Yield what runs a DAG and returns its tasks' events, by task_id and type, as OpenLineage's listener sent them."""
    from airflow.providers.openlineage import conf
    from airflow.providers.openlineage.plugins import openlineage  # nothing is configured, so its listener stays off
    from airflow.providers.openlineage.plugins.listener import OpenLineageListener
    from airflow.sdk.listener import get_listener_manager

    assert openlineage.OpenLineageProviderPlugin.listeners == []
    cached = [value for value in vars(conf).values() if hasattr(value, "cache_clear")]
    transport = transport or {"type": "file", "log_file_path": str(folder / "events.jsonl"), "append": True}
    manager, listener = get_listener_manager(), OpenLineageListener()

    def emitted(dag: Any) -> Events:
        assert run(dag) is not None
        file = folder / "events.jsonl"
        events = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        tasks = [(event, event["job"]["name"].partition(".")[2]) for event in events]
        return {(task, event["eventType"]): event for event, task in tasks if task}

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", json.dumps(transport))
        for setting in cached:
            setting.cache_clear()
        manager.add_listener(listener)
        yield emitted
        manager.pm.unregister(listener)
    for setting in cached:
        setting.cache_clear()


@pytest.fixture
def events_of(graph: Any, tmp_path: Path) -> Iterator[Callable[[Any], Events]]:
    with listening(tmp_path) as emitted:
        yield emitted


@pytest.fixture(scope="module")
def told_story(airflow: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Events, Path]:
    """The events of the story, and the file with the graph that it wrote."""
    folder = tmp_path_factory.mktemp("story")
    url = f"embedded://{folder}/graph.db"
    provision(connect(url))
    with pytest.MonkeyPatch.context() as patch, listening(folder) as emitted:
        patch.setenv("ARANGOPIPE_URL", url)
        return emitted(story()), folder / "graph.db"


@pytest.fixture
def events(told_story: tuple[Events, Path]) -> Events:
    return deepcopy(told_story[0])


@pytest.fixture
def written(told_story: tuple[Events, Path], tmp_path: Path) -> Store:
    """The graph that the story wrote, to be changed."""
    with sqlite3.connect(told_story[1]) as stored, sqlite3.connect(tmp_path / "copy.db") as copy:
        stored.backup(copy)
    return Store(connect(f"embedded://{tmp_path}/copy.db"))


def dag(name: str = "story", **settings: Any) -> Any:
    from airflow.sdk import DAG

    return DAG(name, schedule=None, **settings)


def names(event: dict[str, Any], side: str) -> list[Any]:
    """Return the data sets of an event: those in our namespace by name, others with their namespace."""
    found = [(each["namespace"], each["name"]) for each in event[side]]
    return [name if namespace == "arangopipe" else (namespace, name) for namespace, name in found]


def told(event: dict[str, Any]) -> dict[str, Any]:
    """Return our facet of an event."""
    facet: dict[str, Any] = event["run"]["facets"][FACET]
    return facet


def story() -> Any:
    with dag() as built:
        project = ops.RegisterProjectOperator(task_id="project", name="wine")
        dataset = ops.RegisterDatasetOperator(
            task_id="dataset",
            name="bottles",
            uri="s3://key:secret@lake/2026/bottles.parquet?signature=abc",
            attributes={"schema": {"grape": "text", "alcohol": "float"}, "description": "from the lab"},
            outlets=[assets.dataset_asset("bottles"), assets.dataset_asset("declared")],
        )
        featureset = ops.RegisterFeaturesetOperator(
            task_id="featureset", name="scaled", dataset=dataset.output, features=["alcohol"]
        )
        model = ops.RegisterModelOperator(task_id="model", name="forest", project=project.output)
        logged = ops.LogRunOperator(
            task_id="run",
            model=model.output,
            featureset=featureset.output,
            parameters={"trees": 10.0, "api_key": "abcdefgh", "long": "x" * 10_000},
            metrics={"accuracy": 0.9, **{f"m{i}": i for i in range(200)}},
            attributes={"produced": [{"uri": "s3://models/forest.joblib"}]},
        )
        deployment = ops.RegisterDeploymentOperator(
            task_id="deployment", tag="wine-1", project=project.output, model=model.output, run=logged.output
        )
        ops.LogServingPerfOperator(
            task_id="serving",
            deployment=deployment.output,
            metrics={"accuracy": 0.8},
            period_start="2026-05-04",
            period_end="2026-05-05",
        )
    return built


LINEAGE: dict[str, tuple[list[Any], list[Any]]] = {
    "project": ([], []),
    "dataset": ([PLACE], ["dataset/bottles", "dataset/declared"]),
    "featureset": (["dataset/bottles"], ["featureset/scaled"]),
    "model": ([], ["model/forest"]),
    "run": (["featureset/scaled"], ["model/forest", ("s3://models", "forest.joblib")]),
    "deployment": (["model/forest"], ["deployment/wine-1"]),
    "serving": (["deployment/wine-1"], []),
}


def test_the_stages_are_one_lineage(events: Events) -> None:
    """Each stage reads what the one before it wrote, from the place of the data to the deployment."""
    assert {
        task: (names(event, "inputs"), names(event, "outputs"))
        for (task, kind), event in events.items()
        if kind == "COMPLETE"
    } == LINEAGE
    assert len(events) == 2 * len(LINEAGE)


def test_data_have_the_facets_of_openlineage(events: Events, written: Store) -> None:
    """Columns, version, place and description are told; credentials and signatures of the place are not."""
    [bottles, _] = events["dataset", "COMPLETE"]["outputs"]
    facets = bottles["facets"]
    assert sorted((field["name"], field["type"]) for field in facets["schema"]["fields"]) == [
        ("alcohol", "float"),
        ("grape", "text"),
    ]
    assert facets["version"]["datasetVersion"] == written.get("bottles", "Dataset")["version"]
    assert facets["dataSource"]["uri"] == "s3://lake/2026/bottles.parquet"
    assert facets["documentation"]["description"] == "from the lab"
    [read] = events["featureset", "COMPLETE"]["inputs"]
    assert read["facets"]["version"] == facets["version"]
    [scaled] = events["featureset", "COMPLETE"]["outputs"]
    assert [field["name"] for field in scaled["facets"]["schema"]["fields"]] == ["alcohol"]
    assert scaled["facets"]["datasetType"]["datasetType"] == "FEATURESET"
    told_of_data = json.dumps([event["outputs"] + event["inputs"] for event in events.values()])
    assert not any(secret in told_of_data for secret in ("secret", "signature"))


def test_our_facet_is_what_its_schema_says(events: Events) -> None:
    """Every event of ours carries the facet, which is small: parameters and metrics are bounded, secrets left out."""
    schema = json.loads((FACETS / "ArangopipeMetadataRunFacet.json").read_text())
    for event in events.values():
        jsonschema.validate(told(event), schema)
        assert told(event)["_schemaURL"] == schema["$id"]
    facet = told(events["run", "COMPLETE"])
    assert (facet["operator"], facet["node"]["kind"]) == ("LogRunOperator", "Run")
    assert (facet["params"]["trees"], facet["params"]["api_key"]) == (10, "***")
    assert (len(facet["params"]["long"]), len(facet["metrics"])) == (500, 100)
    assert told(events["run", "START"]).keys() & {"node", "params"} == set()


def test_a_node_has_the_name_of_its_asset(events: Events) -> None:
    """What declares an asset as its outlet, and what registers the node, name the same data set."""
    for task, asset in (("dataset", assets.dataset_asset("bottles")), ("model", assets.model_asset("forest"))):
        converted = assets.convert_asset_to_openlineage(asset, None)
        output = events[task, "COMPLETE"]["outputs"][0]
        assert (output["namespace"], output["name"]) == (converted.namespace, converted.name)


def test_our_own_events_change_nothing_in_the_graph(events: Events, written: Store) -> None:
    """Sent through our own transport, what our operators told makes no second node of anything, nor a revision."""
    for event in events.values():  # the data of others apart
        for side in ("inputs", "outputs"):
            event[side] = [each for each in event[side] if each["namespace"] == "arangopipe"]
    before = dump(written.db)
    record(written, events.values())
    for event in events.values():
        record(written, [event])
    assert dump(written.db) == before


def test_lineage_goes_on_into_the_jobs_of_others(events: Events, written: Store) -> None:
    """A job that wrote the place of our data is upstream of it, and what our run produced is downstream of the run.

    An outlet of ours that is declared and was never registered takes no other link with it.
    """
    spark = openlineage_event("COMPLETE", 1, outputs=[openlineage_dataset(PLACE[1], PLACE[0])])
    before = written.counts()
    record(written, [spark, *events.values()])
    more = {kind: count - before[kind] for kind, count in written.counts().items() if count != before[kind]}
    assert more == {"run": 2, "datasets": 2, "run_datasets": 1, "run_outputs": 3}
    upstream = written.lineage(told(events["dataset", "COMPLETE"])["node"], direction="upstream")["nodes"]
    assert "r1" in [node["name"] for node in upstream]
    ours = told(events["run", "COMPLETE"])["node"]["_id"]
    downstream = written.lineage(ours, direction="downstream")["nodes"]
    assert "s3://models/forest.joblib" in [node["name"] for node in downstream]


def test_our_transport_takes_the_events_of_a_dag_run(graph: Any, url: str, tmp_path: Path) -> None:
    """A task of another kind is a run that reads our node, and a task of ours makes none."""
    from airflow.sdk import task

    with dag("both") as both:

        @task(inlets=[assets.dataset_asset("bottles")])
        def look() -> None: ...

        ops.RegisterDatasetOperator(task_id="dataset", name="bottles", uri=None) >> look()
    ours = {"type": "arangopipe_ops.openlineage.transport.ArangopipeTransport", "url": url}
    with listening(tmp_path, ours) as emitted:
        emitted(both)
    [found] = graph.search("Run")["nodes"]
    assert (found["job"], found["status"]) == ("default/both.look", "completed")
    read = graph.lineage(found["_id"], direction="upstream")["nodes"]
    assert [(node["kind"], node["name"]) for node in read[1:]] == [("Dataset", "bottles")]
    assert graph.counts()["datasets"] == 1


def test_decisions_are_told(events_of: Any, graph: Any, tmp_path: Path) -> None:
    """Promotions, gates, links, batches and AQL tell what they are about, and AQL nothing of its rows."""
    graph.write(stages.register_project("wine"))
    graph.write(stages.register_model("forest", project="wine"))
    graph.write(stages.register_dataset("bottles", version="1"))
    for run_id, accuracy in (("r", 0.9), ("better", 0.95)):
        graph.write(stages.log_run(run_id, model="forest", params={}, metrics={"accuracy": accuracy}))
    for status, tag in (("active", "old"), ("scheduled", "new")):
        graph.write(stages.register_deployment(tag, project="wine", model="forest", run="r", status=status))
    (tmp_path / "stages.jsonl").write_text('{"stage": "dataset", "name": "more"}\n')
    with dag("decisions") as decisions:
        gate = ops.MetricGateOperator(
            task_id="gate", node="new", kind="Deployment", metric="accuracy", threshold=0.5, retries=0
        )
        promote = ops.PromoteOperator(task_id="promote", deployment="new")
        policy = {"metric": "accuracy", "threshold": 0.1}
        select = ops.SelectModelOperator(task_id="select", project="wine", policy=policy, deploy="newest")
        retire = ops.RetireOperator(task_id="retire", deployment="newest")
        link = ops.LinkOperator(task_id="link", edge="run_datasets", source="r", target="bottles")
        batch = ops.BatchWriteOperator(task_id="batch", path=f"file://{tmp_path}/stages.jsonl")
        query = ops.AQLOperator(task_id="aql", query="RETURN {private: 1}", result="first")
        gate >> promote >> select >> retire >> link >> batch >> query
    events = events_of(decisions)
    complete = {task: event for (task, kind), event in events.items() if kind == "COMPLETE"}
    assert {task: (names(event, "inputs"), names(event, "outputs")) for task, event in complete.items()} == {
        "gate": (["deployment/new"], []),
        "promote": ([], ["deployment/new"]),
        "select": ([], ["deployment/newest"]),
        "retire": ([], ["deployment/newest"]),
        "link": (["dataset/bottles"], []),
        "batch": ([("file", f"{tmp_path}/stages.jsonl")], []),
        "aql": ([], []),
    }
    assert told(complete["gate"])["result"]["passed"] is True
    assert told(complete["promote"])["node"]["name"] == "new"
    assert told(complete["batch"])["result"]["created"] == 1
    assert "private" not in json.dumps(told(complete["aql"]))


def test_a_task_that_fails_says_what_it_read_and_why(events_of: Any, graph: Any) -> None:
    """The error is told without what looks like a secret; a failure that is but a warning is told too."""
    graph.write(stages.register_dataset("bottles"))
    with dag("failing") as failing:
        given: dict[str, Any] = {"model": "password=hunter22", "dataset": "bottles"}
        ops.LogRunOperator(task_id="fails", **given)
        ops.LogRunOperator(task_id="warns", on_metadata_error="warn", **given)
        ops.LogRunOperator(task_id="template", model="{{ undefined.name }}", dataset="bottles")
    events = events_of(failing)
    for event in (events["fails", "FAIL"], events["warns", "COMPLETE"]):
        assert (names(event, "inputs"), names(event, "outputs")) == (["dataset/bottles"], [])
        assert told(event)["error"]["type"] == "NotFound"
        assert "hunter22" not in json.dumps(told(event))
    assert "errorMessage" in events["fails", "FAIL"]["run"]["facets"]
    assert names(events["template", "FAIL"], "inputs") == []


def test_references_of_all_sorts_are_told(events_of: Any, graph: Any) -> None:
    """What a mapped task returned, an _id, and data that another tool named; a gate that fails gives its verdict."""
    graph.write(stages.register_project("wine"))
    model = graph.write(stages.register_model("forest", project="wine"))
    graph.write(stages.register_dataset("s3://lake/raw", version="unversioned"))
    with dag("references") as references:
        parts = ops.RegisterDatasetOperator.partial(task_id="part").expand(name=["a", "b"])
        mapped = ops.LogRunOperator(task_id="mapped", model="forest", dataset=parts.output)
        raw = {"name": "s3://lake/raw", "version": "unversioned"}
        logged = ops.LogRunOperator(task_id="raw", model=model["_id"], dataset=[raw], metrics={"accuracy": 0.1})
        gate = ops.MetricGateOperator(task_id="gate", node=logged.output, metric="accuracy", threshold=0.5)
        mapped >> logged >> gate
    events = events_of(references)
    assert names(events["mapped", "COMPLETE"], "inputs") == ["dataset/a", "dataset/b"]
    assert names(events["raw", "COMPLETE"], "inputs") == [("s3://lake", "raw")]
    assert names(events["raw", "COMPLETE"], "outputs") == [f"model/{model['_key']}"]
    assert told(events["gate", "FAIL"])["result"]["passed"] is False


def test_functions_tell_what_they_did(events_of: Any, graph: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function's run tells what it used, produced and logged, and what hooks inside of it read; also if it raises."""
    from airflow.sdk import task

    from arangopipe_ops.airflow import compat

    graph.write(stages.register_project("wine"))
    graph.write(stages.register_model("forest", project="wine"))
    graph.write(stages.register_dataset("more"))
    with dag("functions") as built:

        @task.arangopipe_dataset(name="bottles")
        def extract() -> Any:
            return {"uri": "s3://lake/2026/bottles.parquet", "schema": {"grape": "text"}}

        @task.arangopipe_run(model="forest", dataset=extract())
        def train(run: Any) -> Any:
            _collecting(monkeypatch)  # here, because every task has a process of its own elsewhere
            run.use(dataset="more")
            run.log_metrics(accuracy=0.9)
            compat.lineage_collector().add_input_asset(run, uri="file:///tmp/lexicon")
            return {"params": {"depth": 3}, "produced": ["s3://models/forest.joblib"]}

        @task.arangopipe_run(model="forest", dataset="more")
        def breaks(run: Any) -> None:
            run.log_params(depth=4)
            raise ValueError("out of memory")

        train() >> breaks()
    events = events_of(built)
    extracted, trained, failed = events["extract", "COMPLETE"], events["train", "COMPLETE"], events["breaks", "FAIL"]
    assert (names(extracted, "inputs"), names(extracted, "outputs")) == ([PLACE], ["dataset/bottles"])
    assert names(trained, "inputs") == ["dataset/bottles", "dataset/more", ("file", "/tmp/lexicon")]
    assert names(trained, "outputs") == ["model/forest", ("s3://models", "forest.joblib")]
    assert (told(trained)["params"], told(trained)["metrics"]) == ({"depth": 3}, {"accuracy": 0.9})
    assert (names(failed, "inputs"), names(failed, "outputs")) == (["dataset/more"], [])
    assert (told(failed)["params"], told(failed)["node"]["kind"]) == ({"depth": 4}, "Run")


def _collecting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Airflow gather hook lineage, as it does where OpenLineage's plugin is on from the start."""
    module = importlib.import_module("airflow.sdk.lineage")
    collector = module.HookLineageCollector()
    for place in ("airflow.sdk.lineage", "airflow.providers.common.compat.lineage.hook"):
        monkeypatch.setattr(f"{place}.get_hook_lineage_collector", lambda: collector)


def test_telling_costs_no_request(
    events_of: Any, graph: Any, requests_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that tells OpenLineage, in its own process here, sends the one request that it sends anyway."""
    from airflow.providers.openlineage import conf

    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD", "True")
    sent = requests_of(graph.db)
    monkeypatch.setattr("arangopipe_ops.connection.connect", lambda *args, **kwargs: graph.db)
    with dag("thrifty") as thrifty:
        ops.RegisterDatasetOperator(task_id="dataset", name="bottles", uri="s3://lake/bottles")
    events = events_of(thrifty)
    assert names(events["dataset", "COMPLETE"], "outputs") == ["dataset/bottles"]
    assert conf.execute_in_thread()
    assert len(sent) == 1


def test_nothing_needs_the_openlineage_provider(graph: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither the provider nor its client is installed the operators do what they do."""
    for name in [name for name in sys.modules if name.startswith(("openlineage", "airflow.providers.openlineage"))]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "openlineage", None)
    done = run(story())
    assert set(states(done).values()) == {"success"}
