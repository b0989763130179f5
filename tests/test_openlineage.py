"""OpenLineage events of other tools, written into the graph as they happen."""

import itertools
from typing import Any

import pytest
from test_integrations_openlineage import COMPLETE, SCHEMA, START, UNVERSIONED, dataset, event

from arangopipe_ops import stages
from arangopipe_ops.errors import Invalid
from arangopipe_ops.integrations.openlineage import stages_of
from arangopipe_ops.openlineage import record

RAW, MART = ({"name": f"postgres://db:5432/{name}.orders", "version": UNVERSIONED} for name in ("raw", "mart"))


def content(store: Any) -> Any:
    """What the graph holds, without times of writing."""
    apart = {"_id", "_key", "_rev", "created", "revised", "provenance", "digest"}
    names = ("run", "datasets", "run_datasets", "run_outputs")
    rows = {name: list(store.db.collection(name).all()) for name in names}
    return {
        name: sorted(({k: v for k, v in row.items() if k not in apart} for row in documents), key=str)
        for name, documents in rows.items()
    }


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_events_one_at_a_time_in_any_order_leave_the_same_graph(store: Any, order: Any) -> None:
    """What a late, early or repeated event tells is added, and takes nothing back."""
    events = [
        START,
        event("RUNNING", 5, inputs=[dataset("raw.orders", documentation={"description": "all"})]),
        COMPLETE,
    ]
    for i in [*order, *order]:
        record(store, [events[i]])
    found = content(store)
    assert [run["status"] for run in found["run"]] == ["completed"]
    assert found["run"][0]["start"] == "2026-05-04T03:02:01.000Z"
    raw = store.get(RAW, "Dataset")
    assert (raw["description"], raw["schema"][0]["name"]) == ("all", "id")
    assert found["run_outputs"][0]["rows"] == 7
    assert {name: len(rows) for name, rows in found.items()} == {
        "run": 1,
        "datasets": 2,
        "run_datasets": 1,
        "run_outputs": 1,
    }


def test_an_event_that_was_recorded_changes_nothing(store: Any) -> None:
    """Sending the same events again leaves no revision and no entry in the audit."""
    counted = []
    for _ in range(2):
        record(store, [START])
        record(store, [COMPLETE])
        counted.append(store.db.collection("audit").count())
    assert counted[0] == counted[1] > 0


def test_a_new_run_costs_one_request(store: Any, requests_of: Any) -> None:
    """What nobody has told of before is written at once."""
    sent = requests_of(store.db)
    record(store, [event("COMPLETE", 1, outputs=[dataset("fresh", schema=SCHEMA)])])
    assert len(sent) == 1


def test_a_mention_takes_no_schema_away(store: Any) -> None:
    """A tool that only names a data set leaves what another one told of it."""
    record(store, [COMPLETE])
    record(store, [event("COMPLETE", 20, run="r2", inputs=[dataset("raw.orders")])])
    assert store.get(RAW, "Dataset")["schema"]


def test_lineage_flows_through_the_jobs_of_other_tools(store: Any) -> None:
    """From a model's run upstream lies the table that a SQL job read, two tools away."""
    record(store, [COMPLETE])
    record(store, [event("COMPLETE", 20, run="r2", inputs=[dataset("mart.orders")], outputs=[dataset("features")])])
    store.write(stages.register_project("p"))
    store.write(stages.register_model("m", project="p"))
    features = {"name": "postgres://db:5432/features", "version": UNVERSIONED}
    run = store.write(stages.log_run("training", model="m", dataset=features))
    walked = store.lineage(run, direction="upstream", depth=10)
    assert {"r1", "r2", RAW["name"], MART["name"]} <= {node["name"] for node in walked["nodes"]}
    down = store.lineage(store.get(RAW, "Dataset"), direction="downstream", depth=10)
    assert "training" in {node["name"] for node in down["nodes"]}


def test_a_job_that_writes_what_it_reads_makes_no_endless_lineage(store: Any) -> None:
    """An incremental model reads and writes one table; the walk ends."""
    record(store, [event("COMPLETE", 1, inputs=[dataset("t")], outputs=[dataset("t")])])
    both = store.get({"name": "postgres://db:5432/t", "version": UNVERSIONED}, "Dataset")
    walked = store.lineage(both, depth=20)
    assert len(walked["nodes"]) == 2


def test_a_whole_file_of_events_is_read_in_batches(store: Any) -> None:
    """`write_many` takes the stages of many runs, as an import does, and again without a change."""
    events = [
        event(kind, i, run=f"r{n}", inputs=[dataset("t")])
        for n in range(50)
        for i, kind in enumerate(("START", "COMPLETE"))
    ]
    assert store.write_many(stages_of(events), on_conflict="revise")["created"] == 51
    assert store.write_many(stages_of(reversed(events)), on_conflict="revise")["revised"] == 0


def test_what_is_no_event_is_refused_and_nothing_written(store: Any) -> None:
    """The error is Invalid, whatever stood before the broken event."""
    with pytest.raises(Invalid, match="event 2"):
        record(store, [START, {"eventType": "START"}])
    assert store.db.collection("run").count() == 0


def test_the_run_of_another_tool_reads_our_node(store: Any) -> None:
    """A run that names a node of the graph is linked to its newest version; one that is not stored is left out."""
    ref = store.write(stages.register_dataset("bottles", version="1"))
    names = ("dataset/bottles", "dataset/unknown")
    record(store, [event("COMPLETE", 1, inputs=[dataset(name, "arangopipe") for name in names])])
    assert [node["_id"] for node in store.lineage(ref, direction="downstream")["nodes"]][1:] != []
    assert (store.counts()["datasets"], store.counts()["run_datasets"]) == (1, 1)
