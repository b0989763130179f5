"""What a store reads: lineage, nodes, and what is not there."""

from typing import Any

import pytest
from test_store import write_flow

from arangopipe_ops import stages
from arangopipe_ops.admin import provision
from arangopipe_ops.errors import Invalid, NotFound
from arangopipe_ops.model import GRAPH
from arangopipe_ops.store import Store

# --- reading ---------------------------------------------------------------------------------------------


def test_a_deployments_lineage_shows_everything_that_matters(store: Store) -> None:
    """Project, data set, feature set, model, parameters, both performances and the run, each once."""
    flow = write_flow(store)
    lineage = store.lineage(flow["deployment"])
    assert sorted(node["kind"] for node in lineage["nodes"]) == sorted(
        ["Project", "Dataset", "Featureset", "Model", "ModelParams", "DevPerf", "Run", "ServingPerf", "Deployment"]
    )
    assert lineage["nodes"][0]["_id"] == lineage["start"] == flow["deployment"]["_id"]
    assert sorted(edge["edge"] for edge in lineage["edges"]) == sorted(
        store.schema.edges.keys() - {"run_outputs", "deployment_alert"}
    )
    assert store.lineage("dep r1", kind="Deployment") == lineage


def test_lineage_shows_the_newest_serving_performance(store: Store) -> None:
    """Of many periods the most recent one is shown, also when an older one is logged later."""
    flow = write_flow(store)
    for start in ("2026-03-01", "2026-02-01"):
        store.write(
            stages.log_serving_perf("dep r1", metrics={"accuracy": 0.7}, period_start=start, period_end="2026-04-01")
        )
    nodes = store.lineage(flow["deployment"])["nodes"]
    assert [n["name"] for n in nodes if n["kind"] == "ServingPerf"] == ["2026-03-01T00:00:00.000Z"]


def test_lineage_follows_influence_and_not_arrows(store: Store) -> None:
    """Upstream of a run are its model and data; downstream of a data set are the deployments it reached."""
    flow = write_flow(store)
    write_flow(store, "r2", accuracy=0.95)

    def kinds(reference: Any, direction: Any, **options: Any) -> list[str]:
        return sorted({node["kind"] for node in store.lineage(reference, direction=direction, **options)["nodes"]})

    assert kinds(flow["run"], "upstream") == [
        "Dataset", "DevPerf", "Featureset", "Model", "ModelParams", "Project", "Run",
    ]  # fmt: skip
    downstream = store.lineage(flow["dataset"], direction="downstream")
    assert sorted(n["name"] for n in downstream["nodes"] if n["kind"] == "Deployment") == ["dep r1", "dep r2"]
    assert kinds(flow["dataset"], "upstream") == ["Dataset"]
    assert kinds(flow["dataset"], "downstream", kinds=["Deployment", "Run"]) == ["Deployment", "Run"]
    perf = store.lineage({"_id": f"devperf/{flow['run']['_key']}"}, direction="upstream")
    assert {"Run", "Model", "Dataset"} <= {n["kind"] for n in perf["nodes"]}


def test_lineage_of_one_run_shows_no_other(store: Store) -> None:
    """Runs that share a model and data are not part of each other's lineage."""
    flow = write_flow(store)
    write_flow(store, "r2", accuracy=0.95)
    assert [n["name"] for n in store.lineage(flow["run"])["nodes"] if n["kind"] == "Run"] == ["r1"]


def test_lineage_stops_at_a_depth(store: Store) -> None:
    """The depth of a node is its distance from the start, and none is further than asked for."""
    flow = write_flow(store)
    assert [n["depth"] for n in store.lineage(flow["deployment"], depth=0)["nodes"]] == [0]
    near = store.lineage(flow["deployment"], depth=1)
    assert {n["kind"] for n in near["nodes"]} == {
        "Deployment", "Model", "ModelParams", "Featureset", "Run", "ServingPerf",
    }  # fmt: skip
    assert {n["depth"] for n in store.lineage(flow["deployment"])["nodes"]} == {0, 1, 2}


@pytest.mark.parametrize("call", [lambda s: s.get("x", "Model"), lambda s: s.lineage("models/none")])
def test_what_is_not_there_is_not_found(store: Store, call: Any) -> None:
    """Reading a node that does not exist raises NotFound."""
    with pytest.raises(NotFound):
        call(store)


def test_a_name_without_a_kind_is_refused(store: Store) -> None:
    """A name alone does not say where to look."""
    with pytest.raises(Invalid, match="kind"):
        store.get("wine")


def test_find_is_newest_first_and_bounded(store: Store) -> None:
    """Nodes are found by any attribute, newest first, at most `limit` of them."""
    for i in range(5):
        store.write(stages.register_dataset("d", rows=i, colour="red" if i % 2 else "blue"))
    assert [d["rows"] for d in store.search("Dataset", {"colour": "blue"})["nodes"]] == [4, 2, 0]
    assert [d["rows"] for d in store.search("Dataset", limit=2)["nodes"]] == [4, 3]
    assert store.search("Dataset", {"colour": "green"})["nodes"] == []


def test_a_graph_of_the_original_opens_as_it_is(empty_db: Any) -> None:
    """Documents under generated keys and without our own attributes are found by name, linked and traced."""
    provision(empty_db)
    graph = empty_db.graph(GRAPH)
    named = {"project": "name", "models": "name", "datasets": "name", "run": "run_id", "deployment": "tag"}
    ids = {c: graph.vertex_collection(c).insert({attribute: "old"})["_id"] for c, attribute in named.items()}
    for edge in ("project_models", "run_models", "run_datasets", "deployment_model"):
        definition = next(d for d in graph.edge_definitions() if d["edge_collection"] == edge)
        ends = {"_from": definition["from_vertex_collections"], "_to": definition["to_vertex_collections"]}
        graph.edge_collection(edge).insert({end: ids[collections[0]] for end, collections in ends.items()})
    store = Store(empty_db)
    deployment = store.lineage("old", kind="Deployment", direction="upstream")
    assert {node["kind"] for node in deployment["nodes"]} == {"Deployment", "Model", "Project"}
    run = store.write(stages.log_run("new", model="old", dataset="old", params={"a": 1}))
    assert {node["_id"] for node in store.lineage(run)["nodes"]} > {ids["models"], ids["datasets"], ids["project"]}
