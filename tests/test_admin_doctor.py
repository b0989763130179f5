"""The doctor: each planted fault is found, and following its cure removes it."""

import os
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import dump

from arangopipe_ops import admin, errors, model, stages
from arangopipe_ops.admin import doctor, extend, repair, retention
from arangopipe_ops.embedded import http_server
from arangopipe_ops.model import AUDIT, GRAPH
from arangopipe_ops.store import Store


@pytest.fixture
def wine(store: Store) -> dict[str, Any]:
    """A graph with a node and an edge of every kind, and one deployment that another one replaced."""
    refs: dict[str, Any] = {"project": store.write(stages.register_project("wine"))}
    refs["data"] = store.write(stages.register_dataset("wine", uri="s3://wine", rows=178, share=0.25))
    refs["features"] = store.write(stages.register_featureset("scaled", dataset=refs["data"]))
    refs["model"] = store.write(stages.register_model("forest", project=refs["project"], task="classification"))
    refs["run"] = store.write(
        stages.log_run(
            "first",
            model=refs["model"],
            dataset=refs["data"],
            featureset=refs["features"],
            params={"trees": 200, "eta": 1e-7},
            metrics={"accuracy": 0.97},
            start=datetime.now(UTC) - timedelta(days=30),
            tag="try",
        )
    )
    for tag in ("old", "new"):
        refs[tag] = store.write(
            stages.register_deployment(
                tag, project=refs["project"], model=refs["model"], run=refs["run"], featureset=refs["features"]
            )
        )
    store.write(
        stages.log_serving_perf(
            refs["new"], metrics={"accuracy": 0.9}, period_start="2026-11-01", period_end="2026-11-02"
        )
    )
    return refs


def follow(cure: str, db: Any, **known: Any) -> None:
    """Run the Python that stands between backquotes in a cure."""
    calls = re.findall(r"`([^`]+)`", cure)
    assert calls, cure
    for call in calls:
        eval(call, {**{name: getattr(admin, name) for name in admin.__all__}, "db": db, "store": Store(db), **known})


def without_digest(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in ("_id", "_rev", "digest")}


def test_a_healthy_database(db: Any, wine: Any, store: Store) -> None:
    """Nothing is found in a graph that only this package wrote, revised, promoted, archived and deleted in."""
    store.annotate(wine["data"], owner="Ada", tags=["a"])
    store.write(stages.register_dataset("unused"))
    store.promote(wine["old"])
    store.retire(wine["old"])
    store.archive(wine["features"])
    store.write(stages.register_dataset("wine", version="1", rows=3), on_conflict="revise")
    store.delete(store.plan_deletion(wine["new"]))
    assert doctor(db) == []


def test_an_empty_graph(db: Any) -> None:
    """Nothing is found where nothing has been written yet."""
    assert doctor(db) == []


# --- planted faults


def no_index(db: Any, wine: Any) -> None:
    index = next(i for i in db.collection("datasets").indexes() if i["fields"] == ["uri"])
    db.collection("datasets").delete_index(index["id"])


def no_collection(db: Any, wine: Any) -> None:
    db.delete_collection("featureset_dataset")


def no_edge_definition(db: Any, wine: Any) -> None:
    db.graph(GRAPH).delete_edge_definition("run_datasets")


def no_graph(db: Any, wine: Any) -> None:
    db.delete_graph(GRAPH)


def narrow_edge_definition(db: Any, wine: Any) -> None:
    db.graph(GRAPH).replace_edge_definition("run_datasets", ["run"], ["models"])


def index_of_an_earlier_version(db: Any, wine: Any) -> None:
    index = {"type": "persistent", "fields": ["created"], "unique": False, "sparse": False}
    db.collection("models").add_index(index)
    definition = {"nodes": [], "edges": [], "indexes": {"models": [index]}}
    db.collection(AUDIT).insert({"_key": "schema-earlier", "definition": definition, "touched": []})


def dangling_edge(db: Any, wine: Any) -> None:
    db.collection("datasets").delete(wine["data"]["_key"])


def edge_between_other_kinds(db: Any, wine: Any) -> None:
    db.collection("run_datasets").insert({"_from": wine["run"]["_id"], "_to": wine["model"]["_id"]})


def registered_again_with_another_model(db: Any, wine: Any) -> None:
    store = Store(db)
    other = store.write(stages.register_model("other", project=wine["project"]))
    store.write(stages.register_deployment(wine["old"]["name"], project="wine", model=other), on_conflict="revise")
    store.write(stages.log_run(wine["run"]["name"], model=other), on_conflict="revise")


def orphan(db: Any, wine: Any) -> None:
    stage = model.Stage()
    stage.add("Featureset", {"name": "from nowhere"})
    Store(db).write(stage)


def changed_by_hand(db: Any, wine: Any) -> None:
    db.collection("datasets").update({"_key": wine["data"]["_key"], "rows": 179})


def copied_to_another_key(db: Any, wine: Any) -> None:
    project = db.collection("models").get(wine["model"]["_key"])
    made = db.collection("models").insert({**project, "_key": "mine", "_id": "models/mine"})
    db.collection("project_models").insert({"_from": wine["project"]["_id"], "_to": made["_id"]})


def second_active_deployment(db: Any, wine: Any) -> None:
    deployments = db.collection("deployment")
    index = next(i for i in deployments.indexes() if i["fields"] == ["active_slot"])
    deployments.delete_index(index["id"])
    slot = deployments.get(wine["new"]["_key"])["slot"]
    deployments.update({"_key": wine["old"]["_key"], "status": "active", "active_slot": slot, "digest": None},
                       keep_none=False)  # fmt: skip


def active_without_its_slot(db: Any, wine: Any) -> None:
    db.collection("deployment").update({"_key": wine["new"]["_key"], "active_slot": None}, keep_none=False)


def archived_with_a_slot(db: Any, wine: Any) -> None:
    deployment = db.collection("deployment").get(wine["new"]["_key"])
    db.collection("deployment").replace(without_digest(deployment) | {"status": "archived"})


def dead_run(db: Any, wine: Any) -> None:
    start = datetime.now(UTC) - timedelta(days=8)
    for run_id, status in (("lost", "running"), ("done", "completed")):
        Store(db).write(stages.log_run(run_id, model=wine["model"], status=status, start=start))


def fact_without_owner(db: Any, wine: Any) -> None:
    db.collection("run_devperf").truncate()


def unreadable_extension(db: Any, wine: Any) -> None:
    extend(db, nodes=[{"kind": "Report", "collection": "reports", "identity": ["name"]}])
    db.collection(AUDIT).update({"_key": "extension", "nodes": [{"kind": "Report"}]}, merge=False)


def half_a_retention(db: Any, wine: Any) -> None:
    retention(db, 365)
    collection = db.collection("deployment_servingperf")
    index = next(i for i in collection.indexes() if i["type"] == "ttl")
    collection.delete_index(index["id"])


PLANTED: dict[str, tuple[Callable[[Any, Any], None], int]] = {
    "missing-index": (no_index, 1),
    "missing-collection": (no_collection, 1),
    "missing-edge-definition": (no_edge_definition, 1),
    "not-provisioned": (no_graph, 1),
    "different-edge-definition": (narrow_edge_definition, 1),
    "obsolete-index": (index_of_an_earlier_version, 1),
    "dangling-edges": (dangling_edge, 2),
    "wrong-ends": (edge_between_other_kinds, 1),
    "older-links": (registered_again_with_another_model, 2),
    "orphan-nodes": (orphan, 1),
    "changed-content": (changed_by_hand, 1),
    "wrong-key": (copied_to_another_key, 1),
    "two-active": (second_active_deployment, 1),
    "active-slots": (active_without_its_slot, 1),
    "stale-runs": (dead_run, 1),
    "ownerless-facts": (fact_without_owner, 1),
    "extension": (unreadable_extension, 1),
    "retention": (half_a_retention, 1),
}
"""The finding's name, how its fault is planted in a healthy graph, and how often it is found then."""


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found_and_its_cure_removes_it(db: Any, wine: Any, name: str) -> None:
    """The doctor names the fault, counts it and changes nothing; following the cures leaves a healthy database."""
    assert doctor(db) == []
    plant, count = PLANTED[name]
    plant(db, wine)
    before = dump(db)
    findings = {finding.name: finding for finding in doctor(db)}
    assert findings[name].count == count
    assert dump(db) == before
    assert doctor(db) == [*findings.values()]
    follow(findings[name].cure, db)
    left = doctor(db)
    assert name not in {finding.name for finding in left}
    for finding in left:
        follow(finding.cure, db)
    assert doctor(db) == []


def test_what_was_registered_again_keeps_the_newest_model(db: Any, wine: Any) -> None:
    """The repair removes the edge to the model of before, and the audit keeps it."""
    registered_again_with_another_model(db, wine)
    removed = repair(db, "older-links")
    assert {edge["_to"] for edge in db.collection("deployment_model").find({"_from": wine["old"]["_id"]})} == {
        Store(db).get("other", "Model")["_id"]
    }
    [entry] = [each for each in db.collection(AUDIT) if removed[0] in each["touched"] and "removed" in each]
    assert removed[0] in entry["removed"]


def test_a_slot_of_an_archived_deployment(db: Any, wine: Any) -> None:
    """Where the slot is too much, the status decides and it goes; the project can have an active one again."""
    archived_with_a_slot(db, wine)
    [finding] = doctor(db)
    follow(finding.cure, db)
    assert doctor(db) == []
    assert Store(db).promote(wine["old"])["nodes"][0]["status"] == "active"


def test_the_clock(db: Any) -> None:
    """A machine whose clock is an hour off is told which way; one that is right is not."""
    [finding] = doctor(db, clock=lambda: time.time() + 3600)
    assert finding.name == "clock"
    assert "3,600 s behind" in finding.problem
    assert "NTP" in finding.cure
    assert doctor(db, clock=time.time) == []


@pytest.mark.skipif("ARANGO_URL" in os.environ, reason="a server has the version it has")
def test_the_version(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server older than 3.11 is a warning that names both versions; a later one is none."""
    monkeypatch.setattr(http_server, "VERSION", "3.10.14")
    [finding] = doctor(db)
    assert (finding.name, finding.severity) == ("version", "warning")
    assert "3.10.14" in finding.problem
    assert "3.12" in finding.cure
    monkeypatch.setattr(http_server, "VERSION", "4.0.0")
    assert doctor(db) == []


def test_a_database_without_the_graph(empty_db: Any) -> None:
    """An empty database is one finding, whose cure provisions it."""
    [finding] = doctor(empty_db)
    assert finding.name == "not-provisioned"
    follow(finding.cure, empty_db)
    assert doctor(empty_db) == []


@pytest.mark.slow
def test_many_faults_are_counted_and_few_named(db: Any, wine: Any) -> None:
    """A finding counts all of its kind, in pages, and names five; the repair reaches every one."""
    runs = [{"_from": f"run/lost{i}", "_to": wine["data"]["_id"]} for i in range(6_001)]
    db.collection("run_datasets").insert_many(runs)
    seen: list[tuple[str, int, int]] = []
    [finding] = doctor(db, progress=lambda *told: seen.append(told))
    assert (finding.count, len(finding.examples)) == (6_001, 5)
    assert [told for told in seen if told[0] == "run_datasets"] == [
        ("run_datasets", 5_000, 6_002),
        ("run_datasets", 6_002, 6_002),
    ]
    assert len(repair(db, "dangling-edges")) == 6_001
    assert doctor(db) == []


def test_a_promoted_deployment_is_no_fault(db: Any, wine: Any) -> None:
    """A promotion changes the status that a deployment was registered with, and nobody else did."""
    store = Store(db)
    store.write(stages.register_deployment("next", project="wine", model="forest", status="scheduled"))
    store.promote("next")
    assert doctor(db) == []
    db.collection("deployment").update({"_key": store.get("next", "Deployment")["_key"], "region": "eu"})
    assert [each.name for each in doctor(db)] == ["changed-content"]


def test_repairs_are_in_the_audit(db: Any, wine: Any) -> None:
    """What a repair removes or rewrites can be read there: when, through what, and how it was before."""
    changed_by_hand(db, wine)
    edge_between_other_kinds(db, wine)
    repair(db, "changed-content")
    repair(db, "wrong-ends")
    history = Store(db).history(wine["data"]["_id"])
    assert (history[0]["reason"], history[0]["provenance"]["through"]) == ("repair: changed-content", "admin")
    rows = list(db.aql.execute("FOR a IN audit FILTER a.reason == 'repair: wrong-ends' RETURN a.replaced[*]._to"))
    assert rows == [[wine["model"]["_id"]]]


def test_a_repair_leaves_what_changes_meanwhile(db: Any, wine: Any) -> None:
    """A node that somebody writes between the look and the repair is left as they wrote it."""
    changed_by_hand(db, wine)

    def at_work(collection: str, done: int, total: int) -> None:
        if collection == "datasets":
            db.collection("datasets").update({"_key": wine["data"]["_key"], "rows": 180})

    assert repair(db, "changed-content", progress=at_work) == []
    assert Store(db).get(wine["data"])["rows"] == 180
    assert repair(db, "changed-content") == [wine["data"]["_id"]]


def test_a_database_of_the_original(empty_db: Any) -> None:
    """Nodes that the original Arangopipe wrote, with keys and without digests of its own, are no faults."""
    admin.provision(empty_db)
    project = empty_db.collection("project").insert({"name": "wine"})
    made = empty_db.collection("models").insert({"name": "forest"})
    empty_db.collection("project_models").insert({"_from": project["_id"], "_to": made["_id"]})
    assert doctor(empty_db) == []


def test_only_the_quick_part(db: Any, wine: Any, requests_of: Any) -> None:
    """Without the scan no document is read, only the structure."""
    dangling_edge(db, wine)
    requests = requests_of(db)
    assert doctor(db, scan=False) == []
    assert len(requests) < 80


def test_a_repair_that_is_none(db: Any) -> None:
    """Another name is refused, with the names there are."""
    with pytest.raises(errors.Invalid, match="dangling-edges"):
        repair(db, "everything")
