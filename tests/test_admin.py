"""Provisioning a database: what is missing, what differs, what an earlier version left."""

import multiprocessing
import threading
from typing import Any

import pytest

from arangopipe_ops import admin, errors
from arangopipe_ops.admin import Difference, plan, provision, retention
from arangopipe_ops.connection import connect
from arangopipe_ops.model import AUDIT, GRAPH, SCHEMA
from arangopipe_ops.store import Store


def test_provisioning_creates_what_the_model_says(db: Any) -> None:
    """Every collection, edge definition and index of the model is there."""
    graph = db.graph(GRAPH)
    assert {d["edge_collection"] for d in graph.edge_definitions()} == set(SCHEMA.edges)
    assert set(graph.vertex_collections()) == {node.collection for node in SCHEMA.nodes.values()}
    for collection, wanted in SCHEMA.indexes().items():
        present = {(tuple(i["fields"]), i["unique"], i["sparse"]) for i in db.collection(collection).indexes()}
        assert {(index.fields, index.unique, index.sparse) for index in wanted} <= present


def test_provisioning_again_is_one_request(db: Any, requests_of: Any) -> None:
    """On a provisioned database nothing changes, and it costs one request."""
    requests = requests_of(db)
    assert provision(db) is False
    assert len(requests) == 1


def test_provisioning_is_in_the_audit(db: Any) -> None:
    """The audit says when the graph was provisioned, and as what."""
    [entry] = list(db.collection(AUDIT).all())
    assert entry["definition"] == admin.definition()
    assert entry["at"].endswith("Z")


def test_what_exists_stays(empty_db: Any) -> None:
    """A database with the graph, some collections and data in them is completed, and the data stay."""
    empty_db.create_graph(GRAPH, [admin.definition()["edges"][0]])
    collection = admin.definition()["edges"][0]["from_vertex_collections"][0]
    empty_db.collection(collection).insert({"_key": "old", "name": "from before"})
    assert provision(empty_db) is True
    assert empty_db.collection(collection).get("old")["name"] == "from before"
    assert {d["edge_collection"] for d in empty_db.graph(GRAPH).edge_definitions()} == set(SCHEMA.edges)


def told(differences: list[Difference]) -> set[tuple[str, str, str, str, bool]]:
    return {(each.what, each.name, each.problem, each.does, each.force) for each in differences}


def test_the_plan_of_an_empty_database_is_everything(empty_db: Any) -> None:
    """All is missing and would be created; planning itself creates nothing, and provisioning leaves no difference."""
    planned = plan(empty_db)
    assert {each.does for each in planned} == {"create"}
    assert sum(each.what == "collection" for each in planned) == len(SCHEMA.nodes) + len(SCHEMA.edges) + 1
    assert not [each for each in empty_db.collections() if not each["system"]]
    assert provision(empty_db)
    assert plan(empty_db) == []


def test_the_plan_names_each_difference_and_what_happens_to_it(db: Any) -> None:
    """Missing is created, too narrow waits for force, a foreign index or edge collection stays."""
    db.collection("models").add_index({"type": "persistent", "fields": ["mine"]})
    db.graph(GRAPH).create_edge_definition("likes", ["run"], ["run"])
    db.graph(GRAPH).replace_edge_definition("run_datasets", ["project", "run"], ["models"])
    db.delete_collection("project_models")
    assert told(plan(db)) == {
        ("index", "models (mine)", "extra", "nothing", False),
        ("edge definition", "likes", "extra", "nothing", False),
        ("edge definition", "run_datasets", "different", "change", True),
        ("collection", "project_models", "missing", "create", False),
        ("index", "project_models (_from, created, _to)", "missing", "create", False),
    }
    assert any("models (mine)" in str(each) for each in plan(db))
    assert provision(db) is False, "the audit says it was provisioned"
    assert provision(db, again=True)
    assert db.has_collection("project_models")
    assert provision(db, force=True)
    [wider] = [d for d in db.graph(GRAPH).edge_definitions() if d["edge_collection"] == "run_datasets"]
    assert wider["from_vertex_collections"] == ["project", "run"]
    assert wider["to_vertex_collections"] == ["datasets", "models"]
    assert {each.does for each in plan(db)} == {"nothing"}
    assert provision(db, again=True) is False


def test_a_collection_of_the_wrong_type(empty_db: Any) -> None:
    """A document collection where edges belong is named, with what to do about it."""
    empty_db.create_collection("run_models")
    [different] = [each for each in plan(empty_db) if each.problem == "different"]
    assert (different.name, different.does) == ("run_models", "nothing")
    assert "rename it" in different.detail


def test_an_earlier_versions_database_is_upgraded(empty_db: Any) -> None:
    """New indexes come by themselves; those that only the earlier version wanted go when asked; others' stay."""
    old = {"type": "persistent", "fields": ["created"], "unique": False, "sparse": False}
    definition = admin.definition()
    definition["indexes"] = {name: [old] for name in definition["indexes"]}
    empty_db.create_collection(AUDIT)
    empty_db.create_graph(GRAPH, definition["edges"])
    for name in definition["indexes"]:
        empty_db.collection(name).add_index(old)
    empty_db.collection(AUDIT).insert({"_key": "schema-earlier", "definition": definition, "touched": []})
    empty_db.collection("models").add_index({"type": "persistent", "fields": ["mine"]})

    assert provision(empty_db)
    left = told(plan(empty_db))
    assert ("index", "models (created)", "obsolete", "drop", True) in left
    assert {each[2] for each in left} == {"obsolete", "extra"}
    assert provision(empty_db) is False
    assert provision(empty_db, force=True)
    assert told(plan(empty_db)) == {("index", "models (mine)", "extra", "nothing", False)}


def test_nodes_that_stand_against_an_index(empty_db: Any) -> None:
    """A unique index that stored nodes do not allow is an error that says who names them."""
    empty_db.create_collection("deployment").insert_many([{"active_slot": "x"}, {"active_slot": "x"}])
    with pytest.raises(errors.Conflict, match="doctor") as refused:
        provision(empty_db)
    assert refused.value.id == "deployment"


def test_many_at_once(url: str, empty_db: Any) -> None:
    """Threads that provision and set a retention at the same time all succeed, and agree in the end."""
    failures: list[BaseException] = []

    def one() -> None:
        try:
            db = connect(url)
            provision(db)
            retention(db, 90)
            Store(db).counts()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert plan(empty_db) == []


def provision_url(url: str) -> bool:
    return provision(connect(url))


@pytest.mark.slow
def test_provisioning_at_once(url: str, empty_db: Any) -> None:
    """Four processes that provision an empty database at the same time all succeed."""
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        answers = pool.map(provision_url, [url] * 4)
    assert any(answers)
    assert provision(empty_db) is False
