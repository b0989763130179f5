"""The original Arangopipe's API on the store: its names, its answers, and none of its faults."""

import datetime
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import dump
from socket_server import PASSWORD, serving

from arangopipe_ops import stages
from arangopipe_ops.compat import ArangoPipe, ArangoPipeAdmin, ArangoPipeConfig, arango_pipe_connections
from arangopipe_ops.errors import Conflict, Invalid, Misconfigured, NotFound
from arangopipe_ops.model import GRAPH
from arangopipe_ops.store import Store

PROJECT = "Wine-Quality-Regression-Modelling"
META = {"_id", "_key", "_rev"}


@pytest.fixture
def config(url: str) -> ArangoPipeConfig:
    return ArangoPipeConfig().create_connection_config({"url": url})


@pytest.fixture
def administrator(config: ArangoPipeConfig, db: Any) -> ArangoPipeAdmin:
    """One who finds the graph there."""
    return ArangoPipeAdmin(reuse_connection=False, config=config)


@pytest.fixture
def pipe(administrator: ArangoPipeAdmin) -> ArangoPipe:
    administrator.register_project({"name": PROJECT})
    return ArangoPipe(config=administrator.get_config())


def run_info(pipe: ArangoPipe, run_id: str = "run-1", **more: Any) -> dict[str, Any]:
    """What the original's users log, with what it refers to registered."""
    pipe.register_dataset({"name": "wine_dataset", "description": "Wine ratings", "source": "UCI"})
    dataset = pipe.lookup_dataset("wine_dataset")
    pipe.register_featureset({"name": "wine_features", "alcohol": "float64"}, dataset["_key"])
    pipe.register_model({"name": "elastic_net", "type": "elastic net regression"})
    return {
        "dataset": dataset["_key"],
        "featureset": pipe.lookup_featureset("wine_features")["_key"],
        "model": pipe.lookup_model("elastic_net")["_key"],
        "run_id": run_id,
        "model-params": {"alpha": 0.2, "run_id": run_id},
        "model-perf": {"rmse": 0.78, "run_id": run_id, "timestamp": "2019-06-06 12:52:11.190048"},
        "pipeline": "Regression",
        "project": "Wine-Quality",
        "deployment_tag": "Elastic_Live",
        "tag": "first",
        **more,
    }


def test_the_documented_flow(administrator: ArangoPipeAdmin, pipe: ArangoPipe) -> None:
    """Register, log, deploy, log serving performance, look up: every answer has the original's shape."""
    info = run_info(pipe)
    before = json.dumps(info)
    assert pipe.log_run(info) is None
    assert json.dumps(info) == before
    edge = administrator.register_deployment("Elastic_Live")
    assert edge.keys() == META
    assert edge["_id"].startswith("deployment_model/")
    now = datetime.datetime(2020, 2, 1, 12)
    served = {"rmse": 0.82, "from_date": str(now - datetime.timedelta(days=30)), "to_date": str(now)}
    assert pipe.log_serving_perf(served, "Elastic_Live", "somebody")["_id"].startswith("deployment_servingperf/")

    assert pipe.lookup_modelparams("first")["alpha"] == 0.2
    assert pipe.lookup_modelperf("first")["rmse"] == 0.78
    run = pipe.lookup_entity_by_id(pipe.find_entity("run_id", "run-1", "run")[0]["_id"])
    assert {name: run[name] for name in ("pipeline", "project", "tag", "timestamp")} == {
        "pipeline": "Regression",
        "project": "Wine-Quality",
        "tag": "first",
        "timestamp": "2019-06-06 12:52:11.190048",
    }
    [perf] = pipe.find_entity("rmse", 0.82, "servingperf")
    assert (perf["period_start"], perf["period_end"]) == ("2020-01-02T12:00:00.000Z", "2020-02-01T12:00:00.000Z")
    kinds = {node["kind"] for node in pipe.store.lineage("Elastic_Live", kind="Deployment")["nodes"]}
    assert kinds == set(pipe.store.schema.nodes) - {"Alert"}


@pytest.mark.parametrize(
    "lookup",
    [
        lambda pipe: pipe.lookup_dataset("x"),
        lambda pipe: pipe.lookup_featureset("x"),
        lambda pipe: pipe.lookup_model("x"),
        lambda pipe: pipe.lookup_modelparams("x"),
        lambda pipe: pipe.lookup_modelperf("x"),
        lambda pipe: pipe.lookup_entity("x", "run"),
        lambda pipe: pipe.lookup_entity_by_id("run/x"),
        lambda pipe: pipe.find_entity("a", 1, "models"),
    ],
)
def test_what_is_not_there_is_none(pipe: ArangoPipe, lookup: Any) -> None:
    """A look-up that finds nothing answers None, as the original's."""
    assert lookup(pipe) is None


def test_a_name_is_taken_once(pipe: ArangoPipe) -> None:
    """The same registration again answers the same node; another content under the name is None and not stored."""
    first = pipe.register_dataset({"name": "d", "rows": 1})
    assert pipe.register_dataset({"name": "d", "rows": 1}) == first
    before = dump(pipe.db)
    assert pipe.register_dataset({"name": "d", "rows": 2}) is None
    assert dump(pipe.db) == before
    with pytest.raises(Invalid, match="name"):
        pipe.register_dataset({"rows": 1})


def test_names_are_unique_under_concurrency(pipe: ArangoPipe, url: str) -> None:
    """Eight threads that register a name with different content end with one node."""

    def register(i: int) -> bool:
        config = ArangoPipeConfig().create_connection_config({"url": url})
        return ArangoPipe(config).register_dataset({"name": "d", "rows": i}) is not None

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(register, range(8))) == 1
    assert len(pipe.find_entity("name", "d", "datasets")) == 1


def test_logging_again_changes_nothing(pipe: ArangoPipe) -> None:
    """A run that is logged twice is there once, also after a failure in between; so is serving performance."""
    info = run_info(pipe)
    pipe.log_run(info)
    ArangoPipeAdmin.register_deployment(pipe, "Elastic_Live")
    pipe.log_serving_perf({"rmse": 1}, "Elastic_Live")
    before = dump(pipe.db)
    pipe.log_run(info)
    pipe.log_serving_perf({"rmse": 1}, "Elastic_Live")
    assert dump(pipe.db) == before


@pytest.mark.parametrize("part", ["dataset", "featureset", "model", "run_id", "model-params", "model-perf"])
def test_a_run_is_logged_whole_or_not_at_all(pipe: ArangoPipe, part: str) -> None:
    """A part that is missing, or a reference that leads nowhere, is named, and nothing is left behind."""
    info = run_info(pipe)
    before = dump(pipe.db)
    with pytest.raises(Invalid, match=part):
        pipe.log_run({name: value for name, value in info.items() if name != part})
    if part in ("dataset", "featureset", "model"):
        with pytest.raises(NotFound, match="nowhere"):
            pipe.log_run({**info, part: "nowhere"})
    assert dump(pipe.db) == before


def test_references_that_lead_nowhere_are_named(administrator: ArangoPipeAdmin, pipe: ArangoPipe) -> None:
    """No project, no run with the tag, no deployment: NotFound says which."""
    with pytest.raises(NotFound, match="'nobody'"):
        pipe.register_model({"name": "m"}, project="nobody")
    with pytest.raises(NotFound, match="deployment tag 'none'"):
        administrator.register_deployment("none")
    with pytest.raises(NotFound, match="none"):
        pipe.log_serving_perf({"rmse": 1}, "none")


def test_entities_are_linked(pipe: ArangoPipe) -> None:
    """Links are kept in the attribute that the original uses, each once."""
    ids = [pipe.register_model({"name": f"m{i}"})["_id"] for i in range(3)]
    for other in (ids[1], ids[2], ids[1]):
        pipe.link_entities(ids[0], other)
    assert pipe.lookup_model("m0")["related_models"] == f"{ids[1]},{ids[2]}"
    with pytest.raises(Invalid, match="is not an _id"):
        pipe.link_entities("m0", ids[1])


def test_all_entities_with_a_value_are_found(pipe: ArangoPipe) -> None:
    """However many there are: more than one page of a search has."""
    many = (stages.register_dataset(f"d{i}", version="1", source="sensor") for i in range(1_001))
    pipe.store.write_many(many, resume=False)
    assert len(pipe.find_entity("source", "sensor", "datasets") or ()) == 1_001


def test_the_graph_is_extended(administrator: ArangoPipeAdmin, pipe: ArangoPipe) -> None:
    """Node and edge types are added, filled and removed; searches and lineage know them."""
    for name in ("experiment", "notebook"):
        administrator.add_vertex_to_arangopipe(name)
        administrator.add_vertex_to_arangopipe(name)
    administrator.add_edge_definition_to_arangopipe("experiment_notebook", "any", "experiment", "notebook")
    assert administrator.has_vertex("experiment")
    assert administrator.has_edge("experiment_notebook")
    one = pipe.insert_into_vertex_type("experiment", {"name": "e1", "x": 1})
    other = pipe.insert_into_vertex_type("notebook", {"cells": 3})
    edge = pipe.insert_into_edge_type("experiment_notebook", one, other, {"why": "because"})
    assert (one.keys(), other.keys(), edge.keys()) == (META, META, META)
    assert pipe.insert_into_vertex_type("notebook", {"cells": 3}) == other
    assert pipe.lookup_entity("e1", "experiment")["x"] == 1
    assert [n["kind"] for n in pipe.store.lineage(one["_id"])["nodes"]] == ["experiment", "notebook"]
    with pytest.raises(Conflict):
        administrator.remove_edge_definition_from_arangopipe("experiment_notebook", purge=False)
    administrator.remove_edge_definition_from_arangopipe("experiment_notebook")
    with pytest.raises(Conflict):
        administrator.remove_vertex_from_arangopipe("notebook", purge=False)
    administrator.remove_vertex_from_arangopipe("notebook")
    assert not administrator.has_edge("experiment_notebook")
    assert not administrator.has_vertex("notebook")
    with pytest.raises(Invalid, match="one node type to one"):
        administrator.add_edges_to_arangopipe("e", ["experiment", "run"], ["models"])


def test_no_password_is_written(tmp_path: Path) -> None:
    """An exported configuration has everything but passwords, and can be read again."""
    settings = {"DB_service_host": "h", "DB_service_port": 1, "username": "u", "password": "secret", "dbName": "d"}
    config = ArangoPipeConfig().create_connection_config(settings)
    config.export_cfg(str(tmp_path / "c.yaml"))
    assert "secret" not in (tmp_path / "c.yaml").read_text()
    assert config.create_config(str(tmp_path / "c.yaml")) == {k: v for k, v in settings.items() if k != "password"}
    (tmp_path / "old.yaml").write_text("arangodb:\n  username: u\n  DB_service_port: 8529\n")
    assert ArangoPipeConfig().create_config(str(tmp_path / "old.yaml")) == {"username": "u", "DB_service_port": 8529}
    with pytest.raises(Misconfigured, match="DB_service_host"):
        ArangoPipeAdmin(config=ArangoPipeConfig().create_connection_config({"username": "u"}))


def test_nothing_is_left_in_the_working_directory(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No log files, no configuration."""
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with arango_pipe_connections({"url": url}) as (administrator, pipe):
        administrator.register_project({"name": "p"})
        pipe.heart_beat()
    assert list(folder.iterdir()) == []


def test_settings_of_a_server(tmp_path: Path) -> None:
    """Host, port, user and password lead to a server, as in the original."""
    with serving(tmp_path / "served.db") as server:
        host, port = server.address.split(":")
        settings = {"DB_service_host": host, "DB_service_port": int(port), "username": "root", "password": PASSWORD}
        config = ArangoPipeConfig().create_connection_config(settings)
        assert ArangoPipeAdmin(config=config).register_project({"name": "p"}).keys() == META


# --- a database that the original made -------------------------------------------------------------------


@pytest.fixture
def legacy(db: Any) -> ArangoPipe:
    """Nodes and edges as arangopipe 0.0.70.0.2 writes them: generated keys, names alone, keys joined by dashes."""
    graph = db.graph(GRAPH)
    ids = {}
    for collection, document in (
        ("project", {"name": PROJECT}),
        ("datasets", {"name": "wine_dataset", "source": "UCI"}),
        ("featuresets", {"name": "wine_features", "alcohol": "float64"}),
        ("models", {"name": "elastic_net", "type": "elastic net regression"}),
        ("run", {"_key": "r1", "run_id": "r1", "deployment_tag": "Live", "timestamp": "2019", "tag": "t"}),
        ("modelparams", {"_key": "r1", "run_id": "r1", "alpha": 0.2}),
        ("devperf", {"_key": "r1", "run_id": "r1", "rmse": 0.78, "timestamp": "2019"}),
        ("deployment", {"tag": "Live"}),
        ("servingperf", {"rmse": 0.8, "period": "Jan-2020"}),
    ):
        ids[collection] = graph.vertex_collection(collection).insert(document)
    for edge, source, target in (
        ("project_models", "project", "models"),
        ("featureset_dataset", "featuresets", "datasets"),
        ("run_models", "models", "run"),
        ("run_datasets", "run", "datasets"),
        ("run_featuresets", "run", "featuresets"),
        ("run_modelparams", "run", "modelparams"),
        ("run_devperf", "run", "devperf"),
        ("deployment_model", "deployment", "models"),
        ("deployment_modelparams", "deployment", "modelparams"),
        ("deployment_featureset", "deployment", "featuresets"),
        ("deployment_servingperf", "deployment", "servingperf"),
    ):
        ends = (ids[source], ids[target])
        graph.edge_collection(edge).insert(
            {"_key": "-".join(end["_key"] for end in ends), "_from": ends[0]["_id"], "_to": ends[1]["_id"]}
        )
    return ArangoPipe(db)


def test_a_database_of_the_original_opens_as_it_is(legacy: ArangoPipe) -> None:
    """Search, lineage, impact and comparison work on what the original wrote."""
    store = legacy.store
    assert store.search("Dataset", {"source": "UCI"})["total"] == 1
    assert store.search(text="elastic")["total"] == 1
    assert store.search()["total"] == 9
    lineage = store.lineage("Live", kind="Deployment")
    assert {node["kind"] for node in lineage["nodes"]} == set(store.schema.nodes) - {"Alert"}
    assert {n["kind"] for n in store.impact("wine_dataset", kind="Dataset")} >= {"Run", "Model", "Deployment"}
    assert store.compare(["r1", "r1"])["params"] == {"alpha": [0.2, 0.2]}
    assert legacy.lookup_modelparams("t")["alpha"] == 0.2


def test_names_of_the_original_are_taken(legacy: ArangoPipe) -> None:
    """What the original registered is found by its name, and registering it again makes no second node."""
    dataset = legacy.lookup_dataset("wine_dataset")
    again = legacy.register_dataset({"name": "wine_dataset", "source": "UCI"})
    assert again == {name: dataset[name] for name in META}
    assert legacy.register_project({"name": PROJECT})["_id"] == legacy.lookup_entity(PROJECT, "project")["_id"]
    assert legacy.register_model({"name": "elastic_net", "type": "another"}) is None
    assert legacy.store.counts()["datasets"] == 1


def test_new_runs_hang_on_old_nodes(legacy: ArangoPipe) -> None:
    """A run is logged against what the original registered, and its deployment gets serving performance."""
    legacy.log_run(run_info(legacy, "r2", deployment_tag="Live 2"))
    ArangoPipe.register_deployment(legacy, "Live 2")
    legacy.log_serving_perf({"rmse": 0.9}, "Live 2")
    assert {n["name"] for n in legacy.store.impact("wine_dataset", kind="Dataset")} >= {"r1", "r2", "Live", "Live 2"}
    legacy.log_serving_perf({"rmse": 0.9}, "Live")
    assert Store(legacy.db).counts()["servingperf"] == 3
