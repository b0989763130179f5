"""Lineage with an end: of large fans some, the rest counted; what depends on a node; neighbours page by page."""

import random
import time
from typing import Any

import pytest
from test_store import write_flow

from arangopipe_ops import stages
from arangopipe_ops.errors import Invalid, NotFound
from arangopipe_ops.model import Lineage, LineageNode
from arangopipe_ops.store import Store
from arangopipe_ops.store.fans import COUNTED
from arangopipe_ops.store.lineage import Direction

RUNS = 30
WALKS: tuple[tuple[Direction, int], ...] = (("both", 0), ("both", 2))


def fill(url: str) -> None:
    """Register a data set with many runs, of which the last one is deployed."""
    from conftest import provisioned

    store = Store(provisioned(url))
    store.write(stages.register_project("wine"))
    store.write(stages.register_dataset("raw", version="1"))
    store.write(stages.register_featureset("scaled", version="1", dataset="raw"))
    store.write(stages.register_model("m", version="1", project="wine"))
    store.write_many(
        stages.log_run(f"r{i}", model="m", dataset="raw", params={"a": i}, metrics={"f1": 0.5}) for i in range(RUNS)
    )
    store.write(stages.register_deployment("old", project="wine", model="m", run="r3", status="archived"))
    store.write(stages.register_deployment("live", project="wine", run=f"r{RUNS - 1}", model="m", status="active"))


@pytest.fixture
def wine(filled_by: Any) -> Store:
    return Store(filled_by(fill))


def names(lineage: Lineage, kind: str) -> list[str]:
    return sorted(node["name"] for node in lineage["nodes"] if node["kind"] == kind)


def by_id(lineage: Lineage) -> dict[str, LineageNode]:
    return {node["_id"]: node for node in lineage["nodes"]}


def cut(lineage: Lineage) -> list[tuple[str, bool, int, bool]]:
    return sorted((each["edge"], each["outward"], each["more"], each["exact"]) for each in lineage["cut"])


def test_a_small_lineage_is_the_same_with_an_end(store: Store) -> None:
    """Where no fan is large there are the nodes of the whole lineage at their depths, and no less edges."""
    flow = write_flow(store)
    write_flow(store, "r2", accuracy=0.95)
    for reference in flow.values():
        for direction, depth in WALKS:
            whole = store.lineage(reference, direction=direction, depth=depth)
            ended = store.lineage(reference, direction=direction, depth=depth, fan=9)
            assert by_id(ended) == by_id(whole)
            edges = {edge["document"]["_id"] for edge in ended["edges"]}
            assert {edge["document"]["_id"] for edge in whole["edges"]} <= edges
            assert ended["cut"] == whole["cut"] == []


def test_a_large_fan_is_cut_and_counted(wine: Store) -> None:
    """Of many runs some are followed, with their facts; how many are left out is said, each other type is whole."""
    found = wine.lineage("raw", kind="Dataset", fan=5)
    assert len(names(found, "Run")) == 5
    assert len(names(found, "DevPerf")) == 5
    assert names(found, "Featureset") == ["scaled"]
    assert cut(found) == [("run_datasets", False, RUNS - 5, True)]
    assert wine.lineage("raw", kind="Dataset", fan=RUNS)["cut"] == []


def test_of_a_models_runs_the_newest_are_followed(wine: Store) -> None:
    """Where an index holds the newest edges first, as those of a model's runs, what was written last is there."""
    for run_id in ("newest but one", "newest"):
        time.sleep(0.002)  # the order is that of milliseconds
        wine.write(stages.log_run(run_id, model="m", dataset="raw"))
    for fan, expected in ((1, ["newest"]), (2, ["newest", "newest but one"])):
        found = wine.lineage("m", kind="Model", fan=fan, direction="downstream", depth=1)
        assert names(found, "Run") == expected


def test_a_node_that_is_cut_here_and_met_there_is_not_counted(wine: Store) -> None:
    """What is left out of one fan but shown by another way is linked, and not said to be left out."""
    found = wine.lineage("wine", kind="Project", fan=5)
    runs = names(found, "Run")
    read = [edge for edge in wine.lineage("m", kind="Model", fan=5)["edges"] if edge["edge"] == "run_models"]
    assert len(read) == len(runs) == 5
    assert cut(found) == [("run_models", True, RUNS - 5, True)]


def test_the_nearest_nodes_stay(wine: Store) -> None:
    """The limit leaves the nearest nodes, the start first, and the edges between them."""
    found = wine.lineage("raw", kind="Dataset", fan=100, limit=4)
    assert [node["depth"] for node in found["nodes"]] == [0, 1, 1, 1]
    assert len(found["edges"]) == 3
    assert {edge["upstream"] for edge in found["edges"]} == {found["start"]}


def test_not_all_of_a_very_large_fan_is_counted(wine: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a number of edges nobody counts, and it is said that there are more."""
    assert COUNTED > RUNS
    monkeypatch.setattr("arangopipe_ops.store.fans.COUNTED", 10)
    assert cut(wine.lineage("raw", kind="Dataset", fan=5)) == [("run_datasets", False, 5, False)]


def test_kinds_and_cycles(wine: Store) -> None:
    """Only wanted kinds are shown; a run that writes what it reads does not lead round and round."""
    run = wine.write(stages.log_run("round", model="m", dataset="raw"))
    stage = wine.stage()
    stage.link("run_outputs", run["_id"], wine.get("raw", "Dataset")["_id"])
    wine.write_all(stage)
    found = wine.lineage("round", kind="Run", fan=3, kinds=["Run", "Dataset"])
    assert {node["kind"] for node in found["nodes"]} == {"Run", "Dataset"}
    assert {edge["edge"] for edge in found["edges"]} == {"run_datasets", "run_outputs"}


def test_types_that_were_added_are_walked(wine: Store) -> None:
    """A lineage with an end follows edges of users' own, which another store learns with the answer."""
    from arangopipe_ops.admin import extend

    other = Store(wine.db)
    extend(wine.db, nodes=[{"kind": "Report", "collection": "reports", "identity": ["name"]}],
           edges=[{"name": "report_of", "source": "Report", "target": "Dataset", "upstream": "to"}])  # fmt: skip
    stage = wine.stage()
    ref = stage.add("Report", {"name": "weekly"})
    stage.link("report_of", ref, wine.get("raw", "Dataset")["_id"])
    wine.write(stage)
    assert names(other.lineage("raw", kind="Dataset", fan=2, direction="downstream"), "Report") == ["weekly"]


@pytest.mark.parametrize("wrong", [{"fan": 0}, {"fan": 5, "limit": 0}, {"direction": "sideways", "fan": 2}])
def test_what_cannot_be_asked(wine: Store, wrong: dict[str, Any]) -> None:
    """A fan or a limit of nothing is refused."""
    with pytest.raises(Invalid):
        wine.lineage("raw", kind="Dataset", **wrong)


def test_each_question_is_one_request(wine: Store, requests_of: Any) -> None:
    """A lineage with an end, the dependents and a page of neighbours are one request each, also when not there."""
    asked = requests_of(wine.db)
    wine.lineage("raw", kind="Dataset", fan=5)
    wine.dependents("raw", kind="Dataset")
    wine.linked("raw", "run_datasets", kind="Dataset", outward=False)
    assert len(asked) == 3
    for question in (
        lambda id: wine.lineage(id, fan=5),
        wine.dependents,
        lambda id: wine.linked(id, "run_datasets", outward=False),
    ):
        with pytest.raises(NotFound):
            question("datasets/none")
    assert len(asked) == 6


def test_every_active_deployment_that_depends_is_found(wine: Store) -> None:
    """The fan between is cut, and the deployment behind it is told nevertheless; archived ones and others are not."""
    wine.write(stages.register_project("other"))
    wine.write(stages.register_model("n", project="other"))
    wine.write(stages.register_deployment("apart", project="other", model="n", status="active"))
    found = wine.dependents("raw", kind="Dataset", fan=2)
    assert [deployment["tag"] for deployment in found["active"]] == ["live"]
    assert found["complete"]
    assert names(found["lineage"], "Model") == ["m"]
    assert len(names(found["lineage"], "Run")) == 2
    assert ("run_datasets", False, RUNS - 2, True) in cut(found["lineage"])
    assert wine.dependents("live", kind="Deployment")["active"] == []


def test_what_depends_is_what_impact_says(store: Store) -> None:
    """Where no fan is large the dependents are those of `impact`."""
    flow = write_flow(store)
    for name in ("dataset", "featureset", "model", "run"):
        found = store.dependents(flow[name])
        assert {node["_id"] for node in found["lineage"]["nodes"][1:]} == {
            node["_id"] for node in store.impact(flow[name])
        }


def test_neighbours_page_by_page(wine: Store) -> None:
    """The pages hold every neighbour once, and each says how many there are in all."""
    seen: list[str] = []
    for skip in range(0, RUNS, 7):
        page = wine.linked("raw", "run_datasets", kind="Dataset", outward=False, limit=7, skip=skip)
        assert (page["kind"], page["total"], page["node"]["name"]) == ("Run", RUNS, "raw")
        seen += [node["run_id"] for node in page["nodes"]]
    assert sorted(seen) == sorted(f"r{i}" for i in range(RUNS))
    assert [node["name"] for node in wine.linked("r1", "run_datasets", kind="Run")["nodes"]] == ["raw"]
    for wrong in ({"limit": 0}, {"skip": -1}, {"skip": 10**6}):
        with pytest.raises(Invalid):
            wine.linked("raw", "run_datasets", kind="Dataset", **wrong)
    with pytest.raises(Invalid, match="nothing"):
        wine.linked("raw", "nothing", kind="Dataset")


@pytest.mark.parametrize("seed", range(4))
def test_any_graph(store: Store, seed: int) -> None:
    """In a random graph every fan is shown or counted: what is shown and what is left out are together all edges."""
    dice = random.Random(seed)
    data, models = [f"d{i}" for i in range(4)], [f"m{i}" for i in range(3)]
    flow = [stages.register_project("p"), *(stages.register_dataset(name, version="1") for name in data)]
    flow += [stages.register_model(name, version="1", project="p") for name in models]
    flow += [stages.log_run(f"r{i}", model=dice.choice(models), dataset=dice.choice(data)) for i in range(12)]
    store.write_many(flow)
    made = store.stage()
    for i in range(0, 12, 3):
        made.link("run_outputs", store.get(f"r{i}", "Run")["_id"], store.get(dice.choice(data), "Dataset")["_id"])
    store.write_all(made)
    fan, start = dice.randint(1, 4), f"d{dice.randrange(4)}"
    found = store.lineage(start, kind="Dataset", fan=fan, depth=3)
    ids = {node["_id"] for node in found["nodes"]}
    whole = store.lineage(start, kind="Dataset", depth=3)
    assert ids <= {node["_id"] for node in whole["nodes"]}
    for each in found["cut"]:
        near = "_from" if each["outward"] else "_to"
        edges = store.query(
            "FOR e IN @@e FILTER e.@near == @id RETURN e", {"@e": each["edge"], "near": near, "id": each["node"]}
        )
        shown = [e for e in found["edges"] if e["edge"] == each["edge"] and e["document"][near] == each["node"]]
        assert len(edges) == len(shown) + each["more"] > fan
