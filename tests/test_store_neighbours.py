"""One step around a node."""

from typing import Any

import pytest
from test_store import write_flow

from arangopipe_ops import stages
from arangopipe_ops.admin import extend
from arangopipe_ops.errors import Invalid, NotFound
from arangopipe_ops.model import EdgeType, NodeType
from arangopipe_ops.store import Store


def test_neighbours_are_told_by_edge_and_direction(store: Store, requests_of: Any) -> None:
    """A node comes with what is one edge away, either way, in one request and without a scan."""
    flow = write_flow(store)
    requests = requests_of(store.db)
    found = store.neighbours(flow["run"])
    assert len(requests) == 1
    assert requests.answers[0]["extra"]["stats"]["scannedFull"] == 0
    assert found["node"] == store.get(flow["run"])
    assert {(link["edge"], link["outward"], link["kind"], len(link["nodes"])) for link in found["links"]} == {
        ("run_models", False, "Model", 1),
        ("run_datasets", True, "Dataset", 1),
        ("run_featuresets", True, "Featureset", 1),
        ("run_modelparams", True, "ModelParams", 1),
        ("run_devperf", True, "DevPerf", 1),
        ("deployment_run", False, "Deployment", 1),
    }
    [model] = next(link["nodes"] for link in found["links"] if link["edge"] == "run_models")
    assert model == store.get(flow["model"])


def test_of_many_neighbours_some_are_told(store: Store) -> None:
    """No more than asked for, with word that there are others; of facts the newest."""
    write_flow(store)
    for start in ("2026-03-01", "2026-05-01", "2026-04-01"):
        store.write(
            stages.log_serving_perf("dep r1", metrics={"accuracy": 0.7}, period_start=start, period_end="2026-06-01")
        )

    def periods(limit: int) -> tuple[list[str], bool]:
        links = store.neighbours("dep r1", "Deployment", limit=limit)["links"]
        [link] = [link for link in links if link["kind"] == "ServingPerf"]
        return [node["period_start"][:7] for node in link["nodes"]], link["more"]

    assert periods(2) == (["2026-05", "2026-04"], True)
    assert periods(4) == (["2026-05", "2026-04", "2026-03", "2026-01"], False)


def test_kinds_that_were_added_are_neighbours_too(db: Any) -> None:
    """An edge of a type that a user added is told, also by a store that has not heard of it yet."""
    unaware = Store(db)
    extend(
        db,
        [NodeType("Plant", "plants", ("name",))],
        [EdgeType("plant_models", "Plant", "Model", "from"), EdgeType("plant_plants", "Plant", "Plant", "from")],
    )
    store = Store(db)
    model = store.write(stages.register_model("m", project=store.write(stages.register_project("p"))))
    stage = store.stage()
    stage.add("Plant", {"name": "vine"})
    stage.add("Plant", {"name": "graft"})
    ids = [ref["_id"] for ref in store.write_all(stage)]
    links = store.stage()
    links.link("plant_models", ids[0], model)
    links.link("plant_plants", ids[0], ids[1])
    store.write_all(links)
    told = {(link["edge"], link["outward"]) for link in unaware.neighbours(model)["links"]}
    assert told == {("project_models", False), ("plant_models", False)}
    around = [(link["edge"], link["outward"]) for link in Store(db).neighbours(ids[1])["links"]]
    assert around == [("plant_plants", False)]


def test_what_is_not_there_has_no_neighbours(store: Store) -> None:
    """A node that is not there is NotFound, and a limit that is none Invalid; a node without edges has no links."""
    with pytest.raises(NotFound):
        store.neighbours("datasets/none")
    with pytest.raises(Invalid, match="not a number of nodes"):
        store.neighbours("datasets/none", limit=0)
    assert store.neighbours(store.write(stages.register_dataset("alone")))["links"] == []
