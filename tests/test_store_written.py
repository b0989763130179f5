"""What was written with a provenance: by a DAG run, a task, or anybody else whom the audit knows."""

from typing import Any

import pytest

from arangopipe_ops import stages
from arangopipe_ops.admin import extend
from arangopipe_ops.errors import Invalid
from arangopipe_ops.model import EdgeType, NodeType
from arangopipe_ops.store import Store

RUN = {"dag_id": "wine", "run_id": "r1"}


def task(db: Any, task_id: str, run_id: str = "r1", map_index: int = -1) -> Store:
    """Return the store of a task instance."""
    ids = {"dag_id": "wine", "run_id": run_id, "task_id": task_id, "map_index": map_index}
    return Store(db, provenance={"through": "airflow", **ids})


def write(db: Any, run_id: str = "r1") -> dict[str, Any]:
    """Register data and a model, log a run for each of two depths, as a DAG run does."""
    dataset = task(db, "dataset", run_id).write(stages.register_dataset("bottles"))
    project = task(db, "project", run_id).write(stages.register_project("wine"))
    model = task(db, "model", run_id).write(stages.register_model("forest", project=project))
    runs = [
        task(db, "log_run", run_id, index).write(
            stages.log_run(f"{run_id} {index}", model=model, dataset=dataset, metrics={"f1": 0.9})
        )
        for index in (0, 1)
    ]
    return {"dataset": dataset, "model": model, "runs": runs}


def names(found: Any) -> list[str]:
    return sorted(str(node.get("name", node.get("run_id"))) for node in found["nodes"])


def test_what_a_dag_run_wrote_is_one_picture(db: Any, requests_of: Any) -> None:
    """All nodes and edges of a DAG run are found in one request, by an index; another run's are not."""
    flow = write(db)
    write(db, "r2")
    requests = requests_of(db)
    found = Store(db).written_by(RUN)
    assert len(requests) == 1
    assert requests.answers[0]["extra"]["stats"]["scannedFull"] == 0
    assert names(found) == ["bottles", "forest", *["r1 0"] * 2, *["r1 1"] * 2, "wine"]
    assert not found["more"]
    lineage = found["lineage"]
    assert lineage is not None
    flows = {(edge["upstream"], edge["downstream"]) for edge in lineage["edges"]}
    assert {(flow["dataset"]["_id"], run["_id"]) for run in flow["runs"]} < flows
    assert {node["depth"] for node in lineage["nodes"]} == {0}


def test_what_was_there_already_is_led_to(db: Any) -> None:
    """A second run that registers the same data wrote its own runs alone; the data is where their edges lead."""
    write(db)
    flow = write(db, "r2")
    found = Store(db).written_by({"dag_id": "wine", "run_id": "r2"})
    assert names(found) == [*["r2 0"] * 2, *["r2 1"] * 2]
    assert found["lineage"] is not None
    led_to = {node["_id"] for node in found["lineage"]["nodes"] if node["depth"] == 1}
    assert led_to == {flow["dataset"]["_id"], flow["model"]["_id"]}
    shown = Store(db).written_by(
        {"dag_id": "wine", "run_id": "r2", "task_id": "dataset"}, also=[flow["dataset"]["_id"]]
    )
    assert names(shown) == ["bottles"]


def test_a_mapped_task_instance_has_its_own(db: Any) -> None:
    """The conditions are all of the provenance that is given."""
    write(db)
    found = Store(db).written_by({**RUN, "task_id": "log_run", "map_index": 1})
    assert names(found) == ["r1 1", "r1 1"]


def test_of_many_some_are_told(db: Any) -> None:
    """No more nodes than asked for, the newest, with word that there are others."""
    for index in range(7):
        task(db, "many", map_index=index).write(stages.register_project(f"p{index}"))
    found = Store(db).written_by(RUN, limit=5)
    assert (len(found["nodes"]), found["more"]) == (5, True)
    assert "p6" in names(found)
    assert Store(db).written_by(RUN, limit=7)["more"] is False


def test_who_wrote_nothing(db: Any) -> None:
    """A run that nobody heard of has no nodes and no lineage; what was deleted is not shown."""
    write(db)
    store = Store(db)
    assert store.written_by({"run_id": "none"}) == {"nodes": [], "lineage": None, "more": False}
    gone = task(db, "gone", "r3").write(stages.register_dataset("gone"))
    store.delete(store.plan_deletion(gone))
    assert store.written_by({"run_id": "r3"}, also=["datasets/none"])["nodes"] == []


def test_kinds_that_were_added_are_found_too(db: Any) -> None:
    """A node of a type that a user added is told, also by a store that has not heard of it yet."""
    unaware = Store(db)
    extend(db, [NodeType("Plant", "plants", ("name",))], [EdgeType("plant_models", "Plant", "Model", "from")])
    writer = task(db, "plant")
    stage = writer.stage()
    stage.add("Plant", {"name": "oak"})
    writer.write(stage)
    assert names(unaware.written_by(RUN)) == ["oak"]


@pytest.mark.parametrize(("provenance", "limit"), [({}, 5), (RUN, 0)])
def test_what_cannot_be_asked(db: Any, provenance: dict[str, str], limit: int) -> None:
    """Nobody's writes, and no node, are no question."""
    with pytest.raises(Invalid):
        Store(db).written_by(provenance, limit=limit)
