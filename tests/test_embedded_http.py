"""python-arango, unchanged, on the embedded database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from arango import exceptions as errors
from embedded_client import db

from arangopipe_ops.embedded import Database, open_database
from arangopipe_ops.embedded.transport import client

__all__ = ["db"]


def test_documents_are_kept(db: Any) -> None:
    """A document is inserted, read, updated, replaced and deleted."""
    users = db.create_collection("users")
    made = users.insert({"_key": "a", "n": {"x": 1}}, return_new=True)
    assert made["new"]["_id"] == "users/a"
    assert users.has("a")
    assert "a" in users
    assert users.update({"_key": "a", "n": {"y": 2}})["_old_rev"] == made["_rev"]
    assert users.get("a")["n"] == {"x": 1, "y": 2}
    users.replace({"_key": "a", "m": 1})
    assert users.get("a").keys() == {"_id", "_key", "_rev", "m"}
    assert users.delete("a", return_old=True)["old"]["m"] == 1
    assert users.get("a") is None
    assert not users.delete("a", ignore_missing=True)
    with pytest.raises(errors.DocumentDeleteError):
        users.delete("a")


def test_revisions_are_checked(db: Any) -> None:
    """A write that expects another revision is HTTP 412."""
    users = db.create_collection("users")
    first = users.insert({"_key": "a"})
    users.update({"_key": "a", "n": 1})
    with pytest.raises(errors.DocumentRevisionError):
        users.update({"_key": "a", "_rev": first["_rev"], "n": 2})
    with pytest.raises(errors.DocumentRevisionError):
        users.get({"_id": "users/a", "_rev": first["_rev"]})
    with pytest.raises(errors.DocumentRevisionError):
        users.delete({"_id": "users/a", "_rev": first["_rev"]})
    users.update({"_key": "a", "_rev": first["_rev"], "n": 2}, check_rev=False)


def test_overwrite_modes(db: Any) -> None:
    """An insert can replace, update or ignore what is there."""
    users = db.create_collection("users")
    users.insert({"_key": "a", "x": 1})
    with pytest.raises(errors.DocumentInsertError) as failure:
        users.insert({"_key": "a"})
    assert (failure.value.http_code, failure.value.error_code) == (409, 1210)
    users.insert({"_key": "a", "y": 2}, overwrite_mode="update")
    assert users.get("a")["x"] == 1
    assert users.insert({"_key": "a", "z": 2}, overwrite_mode="ignore")["_key"] == "a"
    users.insert({"_key": "b", "x": 1})
    with pytest.raises(errors.DocumentInsertError):
        users.insert({"_key": "b", "y": 1}, overwrite_mode="unheard of")
    users.insert({"_key": "b", "y": 1}, overwrite=True, overwrite_mode="unheard of")
    assert users.get("b").keys() == {"_id", "_key", "_rev", "y"}
    users.insert({"_key": "a", "y": 3}, overwrite=True)
    assert "x" not in users.get("a")
    assert users.insert({"q": 1}, silent=True) is True


def test_many_documents_in_one_request(db: Any) -> None:
    """Each element of a bulk request succeeds or fails for itself."""
    users = db.create_collection("users")
    results = users.insert_many([{"_key": "a"}, {"_key": "b"}, {"_key": "a"}, {"_key": "x y"}])
    assert [getattr(result, "error_code", None) for result in results] == [None, None, 1210, 1221]
    assert [d["_key"] for d in users.get_many(["a", "missing", "users/b"])] == ["a", "b"]
    results = users.update_many([{"_key": "a", "n": 1}, {"_key": "missing", "n": 1}])
    assert [getattr(result, "error_code", None) for result in results] == [None, 1202]
    users.replace_many([{"_key": "b", "n": 2}])
    assert sorted((d["_key"], d.get("n")) for d in users.all()) == [("a", 1), ("b", 2)]
    users.delete_many([{"_key": "a"}, "b"])
    assert users.count() == 0
    assert users.insert_many([{"_key": "c"}], silent=True) is True


def test_finders_and_matches(db: Any) -> None:
    """The driver's helpers that are AQL underneath work."""
    users = db.create_collection("users")
    users.insert_many([{"_key": str(n), "n": n % 3, "deep": {"x": n}} for n in range(9)])
    assert len(list(users.find({"n": 1}))) == 3
    assert [d["_key"] for d in users.find({"deep.x": 4})] == ["4"]
    assert [d["n"] for d in users.find({}, limit=3, sort=[{"sort_by": "n", "sort_order": "DESC"}])] == [2, 1, 0]
    assert sorted(users.keys()) == [str(n) for n in range(9)]
    assert len(list(users.ids())) == 9
    assert users.random()["_id"].startswith("users/")
    assert users.update_match({"n": 1}, {"m": 1}) == 3
    assert users.replace_match({"m": 1}, {"q": 1}) == 3
    assert users.delete_match({"q": 1}) == 3
    assert len(list(users.all(skip=1, limit=2))) == 2
    imported = users.import_bulk([{"_key": "0"}, {"_key": "new"}], on_duplicate="ignore")
    assert (imported["created"], imported["ignored"]) == (1, 1)
    assert users.truncate()
    assert users.count() == 0


def test_collections(db: Any) -> None:
    """Collections are created, shown, renamed and dropped; names are checked."""
    created = db.create_collection("users")
    assert db.has_collection("users")
    assert created.properties()["edge"] is False
    assert created.configure(sync=True)["sync"] is True
    assert created.statistics()["indexes"]["count"] == 1
    assert created.revision() == "0"
    assert created.checksum(with_data=True)
    with pytest.raises(errors.CollectionCreateError) as failure:
        db.create_collection("users")
    assert failure.value.error_code == 1207
    with pytest.raises(errors.CollectionCreateError) as failure:
        db.create_collection("1x")
    assert failure.value.error_code == 1208
    created.insert({"_key": "a"})
    created.rename("people")
    assert created.get("a")["_id"] == "people/a"
    assert db.delete_collection("people")
    assert not db.has_collection("people")
    assert not db.delete_collection("people", ignore_missing=True)
    with pytest.raises(errors.CollectionCreateError, match="schema"):
        db.create_collection("checked", schema={"rule": {"type": "nonsense"}, "level": "strict"})


def test_indexes(db: Any) -> None:
    """Indexes are created once, listed, enforced and dropped."""
    users = db.create_collection("users")
    users.insert({"_key": "a", "email": "x"})
    index = users.add_index({"type": "persistent", "fields": ["email"], "unique": True, "sparse": True})
    assert index["isNewlyCreated"]
    assert not users.add_index({"type": "persistent", "fields": ["email"], "unique": True, "sparse": True})[
        "isNewlyCreated"
    ]
    users.add_index({"type": "ttl", "fields": ["at"], "expireAfter": 60})
    assert [each["type"] for each in users.indexes()] == ["primary", "persistent", "ttl"]
    assert users.get_index(index["id"])["fields"] == ["email"]
    with pytest.raises(errors.DocumentInsertError) as failure:
        users.insert({"email": "x"})
    assert failure.value.error_code == 1210
    users.insert_many([{}, {}])
    users.update({"_key": "a", "email": "y"})
    users.insert({"email": "x"})
    assert users.delete_index(index["id"])
    users.insert({"email": "x"})
    with pytest.raises(errors.IndexCreateError):
        users.add_index({"type": "persistent", "fields": ["email"], "unique": True})
    assert len(users.indexes()) == 2
    with pytest.raises(errors.IndexCreateError):
        users.add_index({"type": "geo", "fields": ["a"]})
    assert [each["type"] for each in db.create_collection("e", edge=True).indexes()] == ["primary", "edge"]


def test_databases_are_apart(db: Any, tmp_path: Path) -> None:
    """Each database of a file has collections of its own; an unknown one is error 1228."""
    assert db.databases() == ["_system"]
    db.create_database("other")
    other = client(tmp_path / "x.db").db("other")
    other.create_collection("c").insert({"_key": "a"})
    assert not db.has_collection("c")
    assert other.properties()["system"] is False
    assert db.has_database("other")
    db.delete_database("other")
    with pytest.raises(errors.CollectionListError) as failure:
        other.collections()
    assert (failure.value.http_code, failure.value.error_code) == (404, 1228)
    assert db.version().startswith("3.12")


def test_the_engine(db: Any) -> None:
    """The engine has the name that clients test for, says what it is, and names indexes that can be made."""
    engine = db.engine()
    assert (engine["name"], engine["storage"]) == ("rocksdb", "sqlite")
    assert db.version(details=True)["details"]["storage-engine"] == "sqlite"
    users = db.create_collection("users")
    for number, kind in enumerate(set(engine["supports"]["indexes"]) - {"primary", "edge"}):
        expiry = {"expireAfter": 1} if kind == "ttl" else {}
        users.add_index({"type": kind, "fields": [f"a{number}"], **expiry})
    assert {"hash", "skiplist"} == set(engine["supports"]["aliases"]["indexes"])


def test_cursors_come_in_batches(db: Any) -> None:
    """A result is fetched batch by batch, counted if asked for, and can be closed early."""
    cursor = db.aql.execute("FOR x IN 1..10 RETURN x", batch_size=3, count=True, ttl=60)
    assert len(cursor) == 10
    assert cursor.has_more()
    assert list(cursor) == list(range(1, 11))
    cursor = db.aql.execute("FOR x IN 1..10 RETURN x", batch_size=3)
    assert cursor.close()
    with pytest.raises(errors.CursorNextError) as failure:
        cursor.fetch()
    assert (failure.value.http_code, failure.value.error_code) == (404, 1600)


def test_queries_are_parsed_and_explained(db: Any) -> None:
    """Parsing tells the bind parameters, explaining tells the collections and the steps."""
    db.create_collection("users")
    assert db.aql.validate("FOR u IN @@c FILTER u.x == @x RETURN u")["bind_vars"] == ["@c", "x"]
    with pytest.raises(errors.AQLQueryValidateError):
        db.aql.validate("FOR u IN")
    plan = db.aql.explain("FOR u IN users FILTER u.x > 1 SORT u.x LIMIT 3 INSERT u INTO users")
    assert [node["type"] for node in plan["nodes"]] == [
        *("SingletonNode", "EnumerateCollectionNode", "FilterNode", "SortNode", "LimitNode", "InsertNode")
    ]
    assert plan["collections"] == [{"name": "users", "type": "write"}]


def test_graphs(db: Any) -> None:
    """A named graph keeps its definitions, checks its edges and removes those of a removed vertex."""
    definition = {
        "edge_collection": "knows",
        "from_vertex_collections": ["people"],
        "to_vertex_collections": ["people"],
    }
    graph = db.create_graph("social", edge_definitions=[definition], orphan_collections=["alone"])
    assert graph.edge_definitions() == [definition]
    assert graph.vertex_collections() == ["alone", "people"]
    assert [each["name"] for each in db.graphs()] == ["social"]
    people, knows = graph.vertex_collection("people"), graph.edge_collection("knows")
    for key in "abc":
        people.insert({"_key": key})
    knows.link("people/a", "people/b", data={"_key": "ab"})
    knows.link("people/b", "people/c")
    assert len(knows.edges("people/b")["edges"]) == 2
    assert len(knows.edges("people/b", direction="out")["edges"]) == 1
    with pytest.raises(errors.DocumentInsertError):
        knows.link("people/a", "people/missing")
    people.update({"_key": "a", "n": 1})
    assert people.get("a")["n"] == 1
    query = "FOR v IN 1..2 OUTBOUND 'people/a' GRAPH @g RETURN v._key"
    assert list(db.aql.execute(query, bind_vars={"g": "social"})) == ["b", "c"]
    people.delete("b")
    assert db.collection("knows").count() == 0
    graph.create_edge_definition("likes", ["people"], ["things"])
    assert graph.has_edge_definition("likes")
    db.collection("likes").insert({"_from": "people/a", "_to": "people/c"})
    assert list(db.aql.execute(query, bind_vars={"g": "social"})) == ["c"]
    graph.delete_edge_definition("likes", purge=True)
    assert not db.has_collection("likes")
    graph.create_vertex_collection("more")
    graph.delete_vertex_collection("more", purge=True)
    with pytest.raises(errors.GraphCreateError):
        db.create_graph("social")
    db.delete_graph("social", drop_collections=True)
    assert not db.has_graph("social")
    assert not db.has_collection("knows")


def test_other_routes_say_what_to_use() -> None:
    """A route that is missing is an ArangoDB error whose message names an alternative."""
    response = Database("/nonexistent/x.db").handle("post", "/_api/transaction", body={})
    assert (response.status, response.body["errorNum"]) == (501, 9)
    assert "stream transaction" in response.body["errorMessage"]
    assert Database("/nonexistent/x.db").handle("get", "/_api/nothing").status == 404


def test_handle_takes_text_and_objects(tmp_path: Path) -> None:
    """A request's body may be JSON text or a Python object; broken text is error 600."""
    database = Database(tmp_path / "x.db")
    for body in ('{"query": "RETURN 1"}', {"query": "RETURN 1"}):
        assert database.handle("POST", "/_db/_system/_api/cursor", body=body).body["result"] == [1]
    assert database.handle("POST", "/_api/cursor", body="{").body["errorNum"] == 600
    assert database.handle("POST", "/_api/cursor", body='{"query": NaN}').body["errorNum"] == 600


def test_users_are_kept_in_the_file(db: Any, tmp_path: Path) -> None:
    """Users, what they may do and what is said about them outlive the process."""
    db.create_user("ann", "secret", extra={"team": 1})
    db.update_permission("ann", "ro", "_system", "c")
    again = Database(tmp_path / "x.db")
    assert again.handle("get", "/_api/user/ann").body["extra"] == {"team": 1}
    assert again.handle("get", "/_api/user/ann/database/_system/c").body["result"] == "ro"
    assert again.authenticator.verify("ann", "secret").name == "ann"
    with pytest.raises(errors.UserCreateError) as failure:
        db.create_user("ann", "secret")
    assert failure.value.error_code == 1702
    assert db.delete_user("ann")
    assert not db.has_user("ann")


def test_edges_that_leave_come_first(db: Any) -> None:
    """Of the edges at a vertex, whatever the order of their insertion."""
    ends = {"from_vertex_collections": ["places"], "to_vertex_collections": ["places"]}
    roads = db.create_graph("map", [{"edge_collection": "roads", **ends}]).edge_collection("roads")
    for key in "ab":
        db.collection("places").insert({"_key": key})
    for key, start, end in [("in", "b", "a"), ("out", "a", "b"), ("loop", "a", "a")]:
        roads.insert({"_key": key, "_from": f"places/{start}", "_to": f"places/{end}"})
    assert [edge["_key"] for edge in roads.edges("places/a")["edges"]] == ["out", "loop", "in"]


def test_views_and_analyzers_that_are_not_there(db: Any) -> None:
    """There are no views, and only one analyzer: listing and dropping them works, making one is refused."""
    assert db.views() == []
    assert db.delete_view("v", ignore_missing=True) is False
    with pytest.raises(errors.ViewGetError) as missing:
        db.view("v")
    assert (missing.value.http_code, missing.value.error_code) == (404, 1203)
    assert [each["name"] for each in db.analyzers()] == ["identity"]
    assert db.analyzer("identity")["type"] == "identity"
    assert db.delete_analyzer("text_en", ignore_missing=True) is False
    with pytest.raises(errors.AnalyzerDeleteError):
        db.delete_analyzer("identity")
    for make in (lambda: db.create_view("v", "arangosearch"), lambda: db.create_analyzer("a", "identity")):
        with pytest.raises(errors.ArangoServerError) as refused:
            make()
        assert refused.value.http_code == 501


@pytest.mark.parametrize("shape", [{}, {"edgeDefinitions": 5}, {"edgeDefinitions": [{"collection": "e", "from": 1}]}])
def test_a_document_that_is_no_graph_counts_for_nothing(tmp_path: Path, shape: dict[str, Any]) -> None:
    """What was put among the graphs by hand is no graph, and disturbs no other."""
    database = open_database(tmp_path / "x.db")
    database.handle("post", "/_api/document/_graphs", body={"_key": "odd", **shape})
    definition = {"collection": "e", "from": ["v"], "to": ["v"]}
    made = database.handle("post", "/_api/gharial", body={"name": "g", "edgeDefinitions": [definition]})
    assert made.status == 202
    assert [graph["name"] for graph in database.handle("get", "/_api/gharial").body["graphs"]] == ["g"]
    assert database.handle("get", "/_api/gharial/odd").body["errorNum"] == 1924
    walk = {"query": "FOR v IN 1..1 OUTBOUND 'v/1' GRAPH 'odd' RETURN v"}
    assert database.handle("post", "/_api/cursor", body=walk).body["errorNum"] == 1924
    assert database.handle("post", "/_api/gharial/g/vertex/v", body={"_key": "1"}).status == 202
    assert database.handle("delete", "/_api/gharial/g/vertex/v/1").status == 202
    assert database.handle("delete", "/_api/gharial/g", {"dropCollections": "true"}).status == 202
