"""How long serving performance is kept."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from arangopipe_ops import errors, stages
from arangopipe_ops.admin import doctor, plan, retention
from arangopipe_ops.embedded.transport import client
from arangopipe_ops.store import Store

NODES, EDGES = "servingperf", "deployment_servingperf"


def serve(store: Store, *ages: float) -> Any:
    """Deploy, and log a day of serving performance that ended so many days ago, each."""
    project = store.write(stages.register_project("wine"))
    model = store.write(stages.register_model("forest", project=project))
    deployment = store.write(stages.register_deployment("wine-1", project=project, model=model))
    now = datetime.now(UTC)
    for age in ages:
        period = {"period_start": now - timedelta(days=age + 1), "period_end": now - timedelta(days=age)}
        store.write(stages.log_serving_perf(deployment, metrics={"accuracy": age}, **period))
    return deployment


def wait_for_expiry(db: Any, tmp_path: Path) -> None:
    """Let the database remove what is over: a file does so with the first write of a process that opens it."""
    if "ARANGO_URL" not in os.environ:
        db = client(tmp_path / "graph.db", busy_seconds=7).db("_system")
        db.aql.execute("INSERT {_key: 'trigger'} INTO audit")
        return
    deadline = time.monotonic() + 180
    while db.collection(NODES).count() + db.collection(EDGES).count() > 4 and time.monotonic() < deadline:
        time.sleep(2)


def ttl(db: Any, collection: str) -> list[tuple[list[str], float]]:
    indexes = [index for index in db.collection(collection).indexes() if index["type"] == "ttl"]
    return [(index["fields"], index["expiry_time"]) for index in indexes]


def test_old_periods_go_with_their_edges(store: Store, db: Any, tmp_path: Path) -> None:
    """The database removes what is over, nodes and edges, and nothing is left dangling; the rest is served on."""
    deployment = serve(store, 200, 91, 89, 1)
    assert retention(db, 90) == {"days": 90, "over": 2}
    wait_for_expiry(db, tmp_path)
    assert store.counts()[NODES] == store.counts()[EDGES] == 2
    assert doctor(db) == []
    serving = [node for node in store.lineage(deployment)["nodes"] if node["kind"] == "ServingPerf"]
    assert [node["document"]["accuracy"] for node in serving] == [1]


def test_both_collections_get_the_same_index(db: Any) -> None:
    """Nodes and edges expire by the same instant; changing and removing it works, and again is no change."""
    for days in (90, 90, 30, 0.5, None, None):
        retention(db, days)
        expected = [] if days is None else [(["period_end"], days * 86_400)]
        assert ttl(db, NODES) == ttl(db, EDGES) == expected
        assert plan(db) == []
        assert doctor(db) == []
    filed = db.aql.execute("FOR a IN audit FILTER a.reason == 'retention' SORT a.at RETURN a.days")
    assert list(filed) == [90, 30, 0.5, None], "the audit tells of each change"


def test_a_half_of_it_is_in_the_plan(db: Any) -> None:
    """Where only one of the two has its index, the plan says so and provisioning leaves it alone."""
    retention(db, 90)
    [index] = [index for index in db.collection(EDGES).indexes() if index["type"] == "ttl"]
    db.collection(EDGES).delete_index(index["id"])
    [half] = plan(db)
    assert (half.what, half.does) == ("retention", "nothing")
    assert f"{NODES} 90 days, {EDGES} forever" in half.detail
    retention(db, 90)
    assert plan(db) == []


def test_looking_first(store: Store, db: Any) -> None:
    """A dry run counts what would go and changes nothing."""
    serve(store, 10, 5)
    assert retention(db, 7, dry_run=True) == {"days": 7, "over": 1}
    assert ttl(db, NODES) == []
    assert store.counts()[NODES] == 2


def test_between_the_two(store: Store, db: Any) -> None:
    """While a node is gone and its edge is not yet, lineage and a plan of deletion pass over the edge."""
    deployment = serve(store, 1)
    db.collection(NODES).truncate()
    assert "ServingPerf" not in {node["kind"] for node in store.lineage(deployment)["nodes"]}
    store.retire(deployment)
    store.delete(store.plan_deletion(deployment))
    assert store.counts()[EDGES] == 0


@pytest.mark.parametrize("days", [0, -1, True, "90", float("nan"), float("inf")])
def test_what_is_no_number_of_days(db: Any, days: Any) -> None:
    """It is refused by name before anything is changed."""
    with pytest.raises(errors.Invalid) as refused:
        retention(db, days)
    assert refused.value.path == "days"
    assert ttl(db, NODES) == []


def test_without_the_graph(empty_db: Any) -> None:
    """A database that is not provisioned says so."""
    with pytest.raises(errors.NotProvisioned):
        retention(empty_db, 90)
