"""What changes a stored node, what that leaves in the audit, and how it is read back."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from arango.response import Response
from conftest import dump
from test_store import write_flow

from arangopipe_ops import stages
from arangopipe_ops.errors import Conflict, Invalid, NotFound
from arangopipe_ops.model import AUDIT
from arangopipe_ops.store import Store


def clock(store: Store) -> str:
    """Return the database's time, with a pause on either side that its milliseconds can tell apart."""
    time.sleep(0.003)
    [now] = store.query("RETURN DATE_ISO8601(DATE_NOW())")
    time.sleep(0.003)
    return str(now)


def two_deployments(store: Store) -> None:
    """An active deployment `old` and a scheduled one `new`, of one project and environment."""
    flow = write_flow(store)
    for tag, status in (("old", "active"), ("new", "scheduled")):
        store.write(
            stages.register_deployment(
                tag, project=flow["project"], model=flow["model"], run=flow["run"], status=status, environment="test"
            )
        )


def live(store: Store) -> list[str]:
    return [node["tag"] for node in store.search("Deployment", {"status": "active", "environment": "test"})["nodes"]]


# --- annotations and archiving ---------------------------------------------------------------------------


def test_annotations_are_set_and_removed(store: Store) -> None:
    """An annotation changes, None removes it, the rest stays, and the version stays the same."""
    data = store.write(stages.register_dataset("d", rows=1, owner="ann", description="x"))
    after = store.annotate(data, owner="bob", description=None, tags=["gold"])["nodes"][0]
    assert {k: after.get(k) for k in ("owner", "description", "tags", "rows", "version")} == {
        "owner": "bob",
        "description": None,
        "tags": ["gold"],
        "rows": 1,
        "version": data["version"],
    }
    assert store.write(stages.register_dataset("d", rows=1))["_id"] == data["_id"]
    with pytest.raises(Invalid, match="rows: is not an annotation"):
        store.annotate(data, rows=2)
    with pytest.raises(NotFound):
        store.annotate("nowhere", "Dataset", owner="x")


def test_a_change_that_changes_nothing_leaves_no_trace(store: Store) -> None:
    """Annotating, archiving, restoring, promoting and retiring twice write once."""
    two_deployments(store)
    data = store.write(stages.register_dataset("d"))
    for change in (
        lambda: store.annotate(data, owner="ann"),
        lambda: store.archive(data),
        lambda: store.restore(data),
        lambda: store.promote("new"),
        lambda: store.retire("new"),
    ):
        assert change()["replaced"]
        before = dump(store.db)
        again = change()
        assert (again["replaced"], dump(store.db)) == ([], before)
        assert len(again["nodes"]) == 1


def test_each_change_is_one_request(store: Store, requests_of: Any) -> None:
    """Changing a node, planning its deletion, deleting it, and every way to look back are one request each."""
    two_deployments(store)
    data = store.write(stages.register_dataset("d"))
    requests = requests_of(store.db)
    store.annotate(data, owner="x")
    store.archive(data)
    store.promote("new")
    store.retire("new")
    store.history("new", "Deployment")
    store.get("new", "Deployment", as_of="2030-01-01")
    store.impact("wine data", kind="Dataset")
    store.compare(["r1", "r1"])
    plan = store.plan_deletion(data)
    store.delete(plan)
    assert len(requests) == 10


# --- promotion -------------------------------------------------------------------------------------------


def test_promoting_archives_the_other(store: Store) -> None:
    """One deployment of a project and environment is active; the reason stands in the audit."""
    two_deployments(store)
    change = store.promote("new", over="old", reason="more accurate")
    assert [(node["tag"], node["status"]) for node in change["nodes"]] == [("new", "active"), ("old", "archived")]
    assert live(store) == ["new"]
    assert store.get("old", "Deployment")["ended"]
    assert store.history("old", "Deployment")[0]["reason"] == "more accurate"


def test_a_dry_run_writes_nothing(store: Store) -> None:
    """A dry run answers what would happen and leaves everything as it is."""
    two_deployments(store)
    before = dump(store.db)
    change = store.promote("new", dry_run=True)
    assert [(node["tag"], node["status"]) for node in change["nodes"]] == [("new", "active"), ("old", "archived")]
    assert store.retire("old", dry_run=True)["nodes"][0]["status"] == "archived"
    assert dump(store.db) == before


def test_promoting_over_another_than_the_active_one_is_a_conflict(store: Store) -> None:
    """A decision made against a deployment that is no longer active is not carried out."""
    two_deployments(store)
    store.promote("new", over="old")
    for over in ("new", "nothing of this name"):
        with pytest.raises(Conflict, match="is not promoted"):
            store.promote("old", over="r1" if over == "new" else over)
    store.retire("new")
    with pytest.raises(Conflict, match="but nothing"):
        store.promote("old", over="new")
    assert live(store) == []


def test_promoting_again_after_a_lost_reply_changes_nothing(store: Store) -> None:
    """A promotion that has happened is not a conflict with itself."""
    two_deployments(store)
    store.promote("new", over="old")
    assert store.promote("new", over="old")["replaced"] == []


@pytest.mark.parametrize("error", [1200, 1210])
def test_a_promotion_that_a_server_refuses_for_another(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """A promotion that meets another one's statement has lost: it is a conflict at once, and is not sent again."""
    two_deployments(store)
    sent = []

    def refuse(session: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Response:
        sent.append(url)
        body = {"error": True, "code": 409, "errorNum": error, "errorMessage": "write-write conflict"}
        return Response(method, url, {}, 409, "Conflict", store.db.conn.serialize(body))

    monkeypatch.setattr(store.db.conn._http, "send_request", refuse)  # of an embedded file there is one writer
    with pytest.raises(Conflict, match="lost against another promotion"):
        store.promote("new", over="old")
    assert len(sent) == 1


def test_of_many_promotions_against_the_same_one_wins(store: Store) -> None:
    """Eight promotions at once, each decided against the same active deployment: one wins, the others conflict."""
    flow = write_flow(store)
    for i in range(8):
        store.write(
            stages.register_deployment(
                f"c{i}", project=flow["project"], model=flow["model"], status="scheduled", environment="test"
            )
        )
    store.write(stages.register_deployment("old", project=flow["project"], model=flow["model"], environment="test"))

    def promote(i: int) -> bool:
        try:
            return bool(Store(store.db).promote(f"c{i}", over="old")["replaced"])
        except Conflict:
            return False

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(promote, range(8)))
    assert sum(won) == 1
    assert live(store) == [f"c{won.index(True)}"]


def test_registering_a_scheduled_deployment_again_leaves_it_promoted(store: Store) -> None:
    """A cleared task that registers a deployment as scheduled does not take it out of production."""
    two_deployments(store)
    store.promote("new")
    again = stages.register_deployment(
        "new", project="wine", model="forest", run="r1", status="scheduled", environment="test"
    )
    store.write(again, on_conflict="revise")
    assert live(store) == ["new"]


def test_registering_a_deployment_again_that_was_rolled_back_to(store: Store) -> None:
    """What is active again as it was registered is the same; what is archived says so, and nothing else differs."""
    two_deployments(store)
    again = stages.register_deployment("old", project="wine", model="forest", run="r1", environment="test")
    store.promote("new")
    with pytest.raises(Conflict, match="different content in: ended, status\\."):
        store.write(again)
    store.promote("old")
    assert store.write(again)["created"] is False
    assert live(store) == ["old"]


def test_a_deployment_without_project_cannot_be_promoted(store: Store) -> None:
    """A deployment that the original Arangopipe made names no project; the error says what to do."""
    store.db.collection("deployment").insert({"_key": "1", "tag": "legacy"})
    with pytest.raises(Invalid, match="register it again"):
        store.promote("legacy")
    assert store.retire("legacy")["nodes"][0]["status"] == "archived"


# --- history ---------------------------------------------------------------------------------------------


def test_history_keeps_the_order_of_writes_in_one_millisecond(store: Store) -> None:
    """Writes that the clock cannot tell apart still stand in the order in which they were made."""
    data = store.write(stages.register_dataset("d", version="1"))
    for number in range(40):
        store.annotate(data, owner=f"{number:02}")
    assert [event["changed"]["owner"][1] for event in store.history(data)[:-1]] == [
        f"{n:02}" for n in range(39, -1, -1)
    ]


def test_history_tells_every_write(store: Store) -> None:
    """Each write that touched a node: when, by whom, why, and what it changed, the newest first."""
    data = Store(store.db, provenance={"through": "notebook"}).write(stages.register_dataset("d", version="1", rows=1))
    store.write(stages.register_dataset("d", version="1", rows=2), on_conflict="revise", reason="recounted")
    store.annotate(data, owner="ann")
    newest, second, first = store.history(data)
    assert newest["changed"] == {"owner": [None, "ann"]}
    assert (second["action"], second["reason"], second["changed"]) == ("revised", "recounted", {"rows": [1, 2]})
    assert (first["action"], first["provenance"]["through"]) == ("created", "notebook")
    assert first["document"]["rows"] == 1
    assert first["at"] <= second["at"] <= newest["at"]
    assert store.history(data, limit=1) == [newest]
    with pytest.raises(NotFound):
        store.history("nowhere", "Dataset")


def test_a_node_as_of_a_time(store: Store) -> None:
    """At every moment between two writes, a node is what the earlier one made of it."""
    before = clock(store)
    times = []
    for rows in (1, 2, 3):
        store.write(stages.register_dataset("d", version="1", rows=rows), on_conflict="revise")
        times.append(clock(store))
    assert [store.get("d", "Dataset", as_of=at)["rows"] for at in times] == [1, 2, 3]
    with pytest.raises(NotFound, match="as of"):
        store.get("d", "Dataset", as_of=before)
    with pytest.raises(Invalid, match="as_of"):
        store.get("d", "Dataset", as_of="yesterday")


def test_the_newest_version_as_of_a_time(store: Store) -> None:
    """A name means the version that was the newest at that time, and not archived by then."""
    one = store.write(stages.register_dataset("d", version="1"))
    first = clock(store)
    two = store.write(stages.register_dataset("d", version="2"))
    second = clock(store)
    store.archive(two)
    third = clock(store)
    found = [store.get("d", "Dataset", as_of=at)["_id"] for at in (first, second, third)]
    assert found == [one["_id"], two["_id"], one["_id"]]


# --- deletion --------------------------------------------------------------------------------------------


def test_a_plan_says_what_would_dangle(store: Store) -> None:
    """A run goes with its facts and edges; who loses an influence and who would be alone is named."""
    flow = write_flow(store)
    plan = store.plan_deletion(flow["run"])
    assert {id.partition("/")[0] for id in plan["removes"]} == {"run", "modelparams", "devperf"}
    assert {id.partition("/")[0] for id in plan["edges"]} == {
        *("run_models", "run_datasets", "run_featuresets", "run_modelparams", "run_devperf"),
        *("deployment_run", "deployment_modelparams"),
    }
    assert plan["loses"] == [flow["deployment"]["_id"]]
    assert plan["orphans"] == []
    assert store.plan_deletion("wine", "Project")["orphans"] == []
    alone = store.write(stages.register_model("alone", project="wine"))
    assert store.plan_deletion("wine", "Project")["orphans"] == [alone["_id"]]


def test_deleting_takes_what_the_plan_says_and_nothing_else(store: Store) -> None:
    """After a deletion everything but the plan's nodes and edges is as before, and the audit has those."""
    flow = write_flow(store)
    before = dump(store.db)
    plan = store.plan_deletion(flow["run"])
    store.delete(plan, reason="asked for by its owner")
    after = dump(store.db)
    assert before.keys() - after.keys() == {*plan["removes"], *plan["edges"]}
    [entry] = [after[id] for id in after.keys() - before.keys()]
    assert entry["_id"].startswith(AUDIT)
    assert {document["_id"]: document for document in entry["replaced"]} == {
        id: before[id] for id in (*plan["removes"], *plan["edges"])
    }
    [removed, created] = store.history(flow["run"]["_id"])
    assert (removed["action"], removed["reason"], removed["document"]) == ("removed", "asked for by its owner", None)
    assert created["document"]["run_id"] == "r1"
    assert store.get(flow["run"]["_id"], as_of=created["at"])["run_id"] == "r1"


def test_a_deletion_is_refused_when_the_graph_has_changed(store: Store) -> None:
    """A new edge, a new fact or a revision between plan and deletion makes the plan void."""
    flow = write_flow(store)
    for change in (
        lambda: store.annotate(flow["dataset"], owner="x"),
        lambda: store.write(stages.register_featureset("another", dataset=flow["dataset"])),
    ):
        plan = store.plan_deletion(flow["dataset"])
        change()
        before = dump(store.db)
        with pytest.raises(Conflict, match="make a new plan"):
            store.delete(plan)
        assert dump(store.db) == before


def test_an_active_deployment_is_not_deleted(store: Store) -> None:
    """An active deployment is retired first."""
    write_flow(store)
    with pytest.raises(Invalid, match="retire it first"):
        store.delete(store.plan_deletion("dep r1", "Deployment"))
    store.retire("dep r1")
    plan = store.plan_deletion("dep r1", "Deployment")
    assert {id.partition("/")[0] for id in plan["removes"]} == {"deployment", "servingperf"}
    store.delete(plan)
    assert (store.counts()["deployment"], store.counts()["servingperf"], store.counts()["deployment_model"]) == (
        0,
        0,
        0,
    )
    with pytest.raises(NotFound):
        store.delete(plan)


# --- impact and comparison -------------------------------------------------------------------------------


def test_impact_is_everything_that_depends_on_a_node(store: Store) -> None:
    """From a data set: feature sets, runs, the models that learned from it, deployments; and nothing beside them."""
    flow = write_flow(store)
    store.write(stages.register_model("bystander", project=flow["project"]))
    found = store.impact(flow["dataset"])
    assert {node["kind"] for node in found} == {
        *("Featureset", "Run", "Model", "ModelParams", "DevPerf", "Deployment", "ServingPerf"),
    }
    assert [node["name"] for node in found if node["kind"] == "Model"] == ["forest"]
    assert [node["depth"] for node in found] == sorted(node["depth"] for node in found)
    assert store.impact(flow["perf"]) == []
    with pytest.raises(NotFound):
        store.impact("nowhere", kind="Dataset")


def test_runs_side_by_side(store: Store) -> None:
    """Parameters, metrics and data of several runs, in the order asked for, with what differs marked."""
    write_flow(store)
    other = store.write(stages.register_dataset("more data"))
    store.write(
        stages.log_run(
            "r2", model="forest", dataset=["wine data", other], params={"depth": 3, "x": 1}, metrics={"accuracy": 0.8}
        )
    )
    table = store.compare(["r2", "r1"])
    assert table["runs"] == ["r2", "r1"]
    assert (table["params"], table["metrics"]) == ({"depth": [3, 3], "x": [1, None]}, {"accuracy": [0.8, 0.9]})
    assert [len(names) for names in table["data"]["datasets"]] == [2, 1]
    assert {"params.x", "metrics.accuracy", "data.datasets", "data.featuresets"} == set(table["differing"])
    with pytest.raises(NotFound, match="'r9'"):
        store.compare(["r1", "r9"])


def test_a_reason_is_text_that_can_be_stored(store: Store) -> None:
    """A reason that no database can store is refused, and nothing is written."""
    for write in (store.annotate, store.archive):
        ref = store.write(stages.register_project("wine"))
        with pytest.raises(Invalid, match="reason: holds half"):
            write(ref, reason="\ud800")
    assert [event["action"] for event in store.history(ref)] == ["created"]


def test_a_plan_that_removes_nothing(store: Store) -> None:
    """A plan without a node is none."""
    plan = store.plan_deletion(store.write(stages.register_project("wine")))
    with pytest.raises(Invalid, match="removes"):
        store.delete({**plan, "removes": []})
