"""python-arango, unchanged, on the embedded database."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from arango import ArangoClient
from arango import exceptions as errors

from arangopipe_ops.embedded import Database, open_database
from arangopipe_ops.embedded.transport import EmbeddedHTTPClient, client


@pytest.fixture(params=["objects", "json"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A database through both ways of the transport: Python objects, and JSON text."""
    if request.param == "objects":
        return client(tmp_path / "x.db").db("_system")
    http_client = EmbeddedHTTPClient(open_database(tmp_path / "x.db"))
    return ArangoClient("http://embedded", http_client=http_client).db("_system")


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


# what a collection makes of its documents


def test_key_generators(db: Any) -> None:
    """Each generator names documents in its way; autoincrement goes on behind what users chose."""
    counted = db.create_collection("counted", key_generator="autoincrement", key_increment=5, key_offset=100)
    assert [counted.insert({})["_key"] for _ in range(3)] == ["100", "105", "110"]
    counted.insert({"_key": "121"})
    assert counted.insert({})["_key"] == "125"
    with pytest.raises(errors.DocumentInsertError) as failure:
        counted.insert({"_key": "x"})
    assert failure.value.error_code == 1221
    padded = db.create_collection("padded", key_generator="padded")
    keys = [padded.insert({})["_key"] for _ in range(3)]
    assert keys == sorted(keys)
    assert {len(key) for key in keys} == {16}
    uuid = db.create_collection("uuid", key_generator="uuid")
    assert len(uuid.insert({})["_key"]) == 36
    assert uuid.properties()["key_options"]["key_generator"] == "uuid"
    with pytest.raises(errors.CollectionCreateError) as refused:
        db.create_collection("x", key_generator="random")
    assert refused.value.error_code == 1232
    closed = db.create_collection("closed", user_keys=False)
    with pytest.raises(errors.DocumentInsertError) as unexpected:
        closed.insert({"_key": "a"})
    assert unexpected.value.error_code == 1222


SCHEMA = {"rule": {"properties": {"n": {"type": "number"}}, "required": ["n"]}, "message": "n has to be a number"}


@pytest.mark.parametrize(("level", "breaks"), [("strict", 0), ("moderate", 1), ("new", 2)])
def test_schemas(db: Any, level: str, breaks: int) -> None:
    """A schema refuses insertions, `moderate` changes to what was valid, `strict` all that is not."""
    checked = db.create_collection("checked")
    checked.insert_many([{"_key": "bad", "n": "x"}, {"_key": "good", "n": 1}])
    checked.configure(schema=SCHEMA | {"level": level})
    assert checked.properties()["schema"]["level"] == level
    with pytest.raises(errors.DocumentInsertError) as failure:
        checked.insert({"n": "x"})
    assert (failure.value.error_code, failure.value.message.endswith("n has to be a number")) == (1620, True)
    results = checked.update_many([{"_key": "good", "n": "y"}, {"_key": "bad", "n": "y"}])
    assert sum(not isinstance(result, Exception) for result in results) == breaks
    with pytest.raises(errors.AQLQueryExecuteError):
        db.aql.execute("INSERT {n: true} INTO checked")
    checked.insert({"n": 2})
    path = "/_api/collection/checked/properties"
    assert _handle(db, "put", path, {"schema": None}, {}).body["schema"] is None
    checked.insert({"n": "x"})


def test_computed_values(db: Any) -> None:
    """An AQL expression of the document is stored with it, when and over what its definition says."""
    computed = [
        {"name": "full", "expression": "RETURN CONCAT(@doc.first, ' ', @doc.last)", "overwrite": True},
        {"name": "made", "expression": "RETURN 1", "overwrite": False, "computeOn": ["insert"]},
        {"name": "gone", "expression": "RETURN null", "overwrite": True, "keepNull": False},
    ]
    people = db.create_collection("people", computedValues=computed)
    assert people.insert({"first": "A", "last": "B", "full": "?"}, return_new=True)["new"]["full"] == "A B"
    people.insert({"_key": "a", "made": 7, "gone": 7})
    people.update({"_key": "a", "first": "X", "last": "Y"})
    document = people.get("a")
    assert (document["full"], document["made"], "gone" in document) == ("X Y", 7, False)
    assert list(db.aql.execute("INSERT {first: 1, last: 2} INTO people RETURN NEW.full")) == ["1 2"]
    for expression in ("RETURN", "1", "FOR p IN people RETURN p", "RETURN @other"):
        with pytest.raises(errors.CollectionConfigureError):
            people.configure(computed_values=[{"name": "x", "expression": expression, "overwrite": True}])
    people.configure(computed_values=[])
    assert "full" not in people.insert({"first": 1}, return_new=True)["new"]


def test_ttl_indexes_expire(db: Any, tmp_path: Path) -> None:
    """What a TTL index says is over is gone with the next write, and only that."""
    sessions = db.create_collection("sessions")
    sessions.add_index({"type": "ttl", "fields": ["at"], "expireAfter": 60})
    now = time.time()
    sessions.insert_many([{"_key": "old", "at": now - 61}, {"_key": "new", "at": now}, {"_key": "never", "at": None}])
    sessions.insert_many([{"_key": "text", "at": "2020-01-01T00:00:00Z"}, {"_key": "late", "at": "2999-01-01"}])
    client(tmp_path / "x.db", busy_seconds=7).db("_system").collection("sessions").insert({"_key": "trigger"})
    assert sorted(sessions.keys()) == ["late", "never", "new", "trigger"]


def test_a_collection_has_one_ttl_index(db: Any) -> None:
    """The same one again is no change, another one is refused; edge collections have one, too."""
    owns = db.create_collection("owns", edge=True)
    first = owns.add_index({"type": "ttl", "fields": ["at"], "expireAfter": 60})
    assert owns.add_index({"type": "ttl", "fields": ["at"], "expireAfter": 60})["id"] == first["id"]
    for other in ({"fields": ["at"], "expireAfter": 61}, {"fields": ["until"], "expireAfter": 60}):
        with pytest.raises(errors.IndexCreateError) as refused:
            owns.add_index({"type": "ttl", **other})
        assert (refused.value.http_code, refused.value.error_code) == (400, 10)
    assert [each["type"] for each in owns.indexes()] == ["primary", "edge", "ttl"]


def test_a_change_with_an_older_version_does_nothing(db: Any) -> None:
    """With a version attribute the highest version wins, in whatever order changes arrive."""
    versioned = db.create_collection("versioned")
    versioned.insert({"_key": "a", "v": 5})
    versioned.update({"_key": "a", "v": 4, "x": 1}, version_attribute="v")
    versioned.replace({"_key": "a", "v": 5, "x": 1}, version_attribute="v")
    assert "x" not in versioned.get("a")
    versioned.update({"_key": "a", "v": 6, "x": 1}, version_attribute="v")
    assert versioned.get("a")["x"] == 1


# stream transactions


def test_stream_transactions(db: Any) -> None:
    """Many requests are one transaction: seen from inside, all or nothing from outside."""
    users = db.create_collection("users")
    for end, expected in (("abort_transaction", 0), ("commit_transaction", 2)):
        inside = db.begin_transaction(write="users")
        inside.collection("users").insert({"_key": "a"})
        inside.aql.execute("INSERT {_key: 'b'} INTO users")
        assert (inside.collection("users").count(), users.count()) == (2, 0)
        with pytest.raises(errors.DocumentInsertError):
            inside.collection("users").insert({"_key": "a"})
        assert [each["state"] for each in db.list_transactions()] == ["running"]
        getattr(inside, end)()
        assert users.count() == expected
        assert db.list_transactions() == []
        with pytest.raises(errors.DocumentInsertError) as failure:
            inside.collection("users").insert({})
        assert failure.value.error_code == 1655


def test_stream_transactions_have_limits(db: Any) -> None:
    """Undeclared writes, changes of the catalog and foreign collections are errors."""
    db.create_collection("users")
    db.create_collection("others")
    inside = db.begin_transaction(read="others", write="users")
    for call in (
        lambda: inside.collection("others").insert({}),
        lambda: inside.aql.execute("FOR u IN users INSERT u INTO others"),
    ):
        with pytest.raises(errors.ArangoServerError) as failure:
            call()
        assert failure.value.error_code == 1652
    number = inside.transaction_id
    headers = {"x-arango-trx-id": number}
    assert _handle(db, "post", "/_api/collection", {"name": "x"}, headers).body["errorNum"] == 1653
    inside.abort_transaction()
    with pytest.raises(errors.TransactionInitError) as unknown:
        db.begin_transaction(write="missing")
    assert unknown.value.error_code == 1203
    with pytest.raises(errors.TransactionCommitError):
        inside.commit_transaction()


def _handle(db: Any, *arguments: Any) -> Any:
    """An HTTP request of its own to the database behind a client."""
    method, path, body, headers = arguments
    return db.conn._http._database.handle(method, path, {}, headers, body)


def test_an_open_transaction_holds_the_lock_for_a_while(tmp_path: Path) -> None:
    """Others get 1200 after their patience; after its idle time the transaction is aborted and they write."""
    database = Database(tmp_path / "x.db", busy_seconds=0.2, idle_seconds=0.5)
    db = ArangoClient("http://embedded", http_client=EmbeddedHTTPClient(database)).db("_system")
    users = db.create_collection("users")
    before = db.begin_transaction(read="users")
    inside = db.begin_transaction(exclusive="users")
    inside.collection("users").insert({"_key": "a"})
    with pytest.raises(errors.DocumentInsertError) as failure:
        users.insert({})
    assert (failure.value.http_code, failure.value.error_code) == (409, 1200)
    assert users.count() == 0
    time.sleep(1)
    users.insert({"_key": "b"})
    assert inside.transaction_status() == before.transaction_status() == "aborted"
    assert users.count() == 1


# jobs and running statements


def test_jobs_are_answered_later(db: Any) -> None:
    """An asynchronous request has a job, whose result is fetched once; a cancelled one is killed."""
    later = db.begin_async_execution(return_result=True)
    job = later.aql.execute("RETURN SLEEP(0.1)")
    assert job.status() == "pending"
    assert db.async_jobs("pending") == [job.id]
    _until(lambda: job.status() == "done")
    assert list(job.result()) == [None]
    with pytest.raises(errors.AsyncJobResultError):
        job.result()
    slow = later.aql.execute("RETURN SLEEP(60)")
    _until(lambda: bool(db.aql.queries()))
    assert slow.cancel()
    _until(lambda: slow.status() == "done")
    with pytest.raises(errors.AQLQueryExecuteError) as failure:
        slow.result()
    assert failure.value.error_code == 1500


def _until(holds: Any, seconds: float = 10.0) -> None:
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_statements_have_limits(db: Any) -> None:
    """Running time and memory are bounded, a running statement can be killed, and a slow one is remembered."""
    db.aql.set_tracking(slow_query_threshold=0)
    with pytest.raises(errors.AQLQueryExecuteError) as failure:
        db.aql.execute("FOR x IN 1..9999 FOR y IN 1..9999 FILTER x < y - 9998 RETURN 1", max_runtime=0.1)
    assert failure.value.error_code == 1500
    with pytest.raises(errors.AQLQueryExecuteError) as failure:
        db.aql.execute("FOR x IN 1..10000 RETURN x", memory_limit=1000)
    assert failure.value.error_code == 32
    assert [each["state"] for each in db.aql.slow_queries()] == ["finished"] * 2
    assert db.aql.clear_slow_queries()
    assert db.aql.slow_queries() == []
    with pytest.raises(errors.AQLQueryKillError):
        db.aql.kill("1")


def test_a_killed_statement_changes_nothing(db: Any) -> None:
    """The transaction of a statement that is killed is undone."""
    users = db.create_collection("users")
    job = db.begin_async_execution().aql.execute("FOR x IN 1..100 LET s = SLEEP(0.1) INSERT {} INTO users")
    _until(lambda: bool(db.aql.queries()))
    db.aql.kill(db.aql.queries()[0]["id"])
    _until(lambda: job.status() == "done")
    assert users.count() == 0


def test_batches_can_be_asked_for_again(db: Any) -> None:
    """A cursor that allows retries gives its latest batch again, also the last one."""
    cursor = db.aql.execute("FOR x IN 1..3 RETURN x", batch_size=1, allow_retry=True)
    path = f"/_api/cursor/{cursor.id}"
    second = [_handle(db, "post", f"{path}/2", None, {}).body for _ in range(2)]
    assert [(page["result"], page["nextBatchId"]) for page in second] == [([2], "3")] * 2
    third = [_handle(db, "post", f"{path}/3", None, {}).body for _ in range(2)]
    assert [(page["result"], page["hasMore"]) for page in third] == [([3], False)] * 2
    assert _handle(db, "post", f"{path}/2", None, {}).status == 404
    assert _handle(db, "delete", path, None, {}).status == 202


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


def test_lines_and_tables_are_imported(tmp_path: Path) -> None:
    """An import takes an array, a document on each line, or names and rows of values."""
    database = Database(tmp_path / "x.db")
    database.handle("post", "/_api/collection", body={"name": "c"})
    bodies = {"array": '[{"_key": "a"}]', "documents": '{"_key": "b"}\n\n{"_key": "c"}', "auto": '{"_key": "d"}'}
    for kind, body in bodies.items():
        answer = database.handle("post", "/_api/import", {"collection": "c", "type": kind}, {}, body)
        assert answer.body["errors"] == 0
    table = '["_key", "n"]\n["e", 1]\n["f", 2]'
    answer = database.handle("post", "/_api/import", {"collection": "c"}, {}, table)
    assert answer.status == 201
    assert answer.body == {"error": False, "created": 2, "errors": 0, "empty": 0, "updated": 0, "ignored": 0}
    untyped = database.handle("post", "/_api/import", {"collection": "c", "type": ""}, {}, '["_key"]\r\n["g"]\r\n')
    assert untyped.body["created"] == 1
    assert database.handle("get", "/_api/collection/c/count").body["count"] == 7


@pytest.fixture
def file(tmp_path: Path) -> Database:
    """A file with a collection `c` of the documents a, b and c, whose `n.x` is 1, 2 and 3."""
    file = Database(tmp_path / "x.db")
    file.handle("post", "/_api/collection", body={"name": "c"})
    documents = [{"_key": key, "n": {"x": number}, "kind": "old"} for number, key in enumerate("abc", start=1)]
    file.handle("post", "/_api/document", {"collection": "c"}, body=documents)
    return file


def _simple(file: Database, name: str, **body: Any) -> Any:
    return file.handle("put", f"/_api/simple/{name}", body={"collection": "c", **body})


def _keys(response: Any) -> list[str]:
    return [document["_key"] for document in response.body["result"]]


def test_a_parameter_can_name_the_collection(file: Database) -> None:
    """Documents are written to the collection of a parameter as to that of the path; without any it is error 1204."""
    named = {"collection": "c"}
    assert file.handle("post", "/_api/document", named, body={"_key": "d"}).body["_id"] == "c/d"
    file.handle("patch", "/_api/document", named, body=[{"_key": "d", "m": 1}])
    assert file.handle("get", "/_api/document/c/d").body["m"] == 1
    file.handle("put", "/_api/document", named, body=[{"_key": "d", "k": 1}])
    assert "m" not in file.handle("get", "/_api/document/c/d").body
    assert file.handle("post", "/_api/document", body={}).body["errorNum"] == 1204


def test_simple_queries_find(file: Database) -> None:
    """Simple queries are cursors over all documents, or those like an example, in a range or with certain keys."""
    page = _simple(file, "all", batchSize=2)
    assert (page.status, page.body["count"], page.body["hasMore"]) == (201, 3, True)
    assert _keys(file.handle("post", f"/_api/cursor/{page.body['id']}")) == ["c"]
    assert _keys(_simple(file, "all", skip=1, limit=1)) == ["b"]
    assert _keys(_simple(file, "by-example", example={"n.x": 2, "kind": "old"})) == ["b"]
    assert _keys(_simple(file, "range", attribute="n.x", left=1, right=3)) == ["a", "b"]
    assert _keys(_simple(file, "range", attribute="n.x", left=2, right=3, closed=True)) == ["b", "c"]
    assert _simple(file, "first-example", example={"n.x": 3}).body["document"]["_key"] == "c"
    assert _simple(file, "first-example", example={"n.x": 4}).status == 404
    assert _simple(file, "any").body["document"]["_key"] in "abc"
    found = _simple(file, "lookup-by-keys", keys=["a", "c/b", "none"]).body["documents"]
    assert sorted(document["_key"] for document in found) == ["a", "b"]
    assert _simple(file, "all-keys", type="id").body["result"] == ["c/a", "c/b", "c/c"]
    assert _simple(file, "all-keys").body["result"][0] == "/_db/_system/_api/document/c/a"
    assert _simple(file, "by-example").body["errorNum"] == 10
    assert _simple(file, "near", latitude=1, longitude=1).status == 501


def test_simple_queries_change(file: Database) -> None:
    """The documents like an example, or with certain keys, are changed and counted."""
    changed = _simple(file, "update-by-example", example={"kind": "old"}, newValue={"kind": None, "m": 1}, limit=2)
    assert changed.body["updated"] == 2
    assert _keys(_simple(file, "by-example", example={"m": 1})) == ["a", "b"]
    options = {"keepNull": False}
    _simple(file, "update-by-example", example={"_key": "a"}, newValue={"n": None}, options=options)
    assert "n" not in file.handle("get", "/_api/document/c/a").body
    assert _simple(file, "replace-by-example", example={"n.x": 3}, newValue={"z": 1}).body["replaced"] == 1
    assert file.handle("get", "/_api/document/c/c").body.keys() == {"_id", "_key", "_rev", "z"}
    assert _simple(file, "remove-by-example", example={"z": 1}).body["deleted"] == 1
    removed = _simple(file, "remove-by-keys", keys=["a", "none"], options={"silent": False}).body
    assert (removed["removed"], removed["ignored"], [old["_key"] for old in removed["old"]]) == (1, 1, ["a"])
    assert _simple(file, "remove-by-keys", keys=["b"]).body.get("old") is None
    assert file.handle("get", "/_api/collection/c/count").body["count"] == 0


def test_what_cannot_be_made_lists_as_empty(file: Database) -> None:
    """There are no services, tasks, views or functions, and that is no error; making one is."""
    for name, listed in (("foxx", []), ("tasks", []), ("view", None), ("aqlfunction", None)):
        body = file.handle("get", f"/_api/{name}").body
        assert (body if listed is not None else body["result"]) == []
        assert file.handle("post", f"/_api/{name}", body={}).status == 501
    assert file.handle("get", "/_api/view/v").body["errorNum"] == 1203


def test_streams_are_not_counted(file: Database) -> None:
    """`count` is ignored for a cursor that streams."""
    asked = {"query": "FOR i IN 1..3 RETURN i", "count": True}
    assert file.handle("post", "/_api/cursor", body=asked).body["count"] == 3
    assert "count" not in file.handle("post", "/_api/cursor", body=asked | {"options": {"stream": True}}).body


def test_slow_statements_tell_how_they_ended(file: Database) -> None:
    """Thresholds may be fractions; a slow statement has the number of its error, and whether it modifies."""
    tracked = file.handle("put", "/_api/query/properties", body={"slowQueryThreshold": 0.05})
    assert tracked.body["slowQueryThreshold"] == 0.05
    for query in (
        "RETURN SLEEP(0.1)",
        "FOR d IN c UPDATE d WITH {x: SLEEP(0.1)} IN c",
        "RETURN [SLEEP(0.1), FAIL('x')]",
    ):
        file.handle("post", "/_api/cursor", body={"query": query})
    slow = file.handle("get", "/_api/query/slow").body
    assert [(query["exitCode"], query["modificationQuery"]) for query in slow] == [(0, False), (0, True), (1569, False)]


def test_explaining_tells_warnings(file: Database) -> None:
    """What a plan warns of is in the explanation, or its error; a profile has the rules' times."""
    asked = {"query": "FOR d IN c OPTIONS {wrong: 1} RETURN d"}
    explained = file.handle("post", "/_api/explain", body=asked | {"options": {"profile": 2}}).body
    assert len(explained["warnings"]) == 1
    assert "rules" in explained["stats"]
    failed = file.handle("post", "/_api/explain", body=asked | {"options": {"failOnWarning": True}}).body
    assert failed["errorNum"] == explained["warnings"][0]["code"]


def _texts(database: Database, path: str, body: str, **params: str) -> tuple[int, dict[str, Any]]:
    response = database.handle("post", path, params, {}, body)
    return response.status, response.body


def test_an_import_says_what_it_did_not_take(tmp_path: Path) -> None:
    """Lines without text are counted; errors say where and which document, from 1 what is wrong at first sight."""
    database = open_database(tmp_path / "x.db")
    database.handle("post", "/_api/collection", body={"name": "wines"})
    database.handle("post", "/_api/collection", body={"name": "grows", "type": 3})
    lines = '{"_key": "a", "text": "one\u2028line"}\n\n{"_key": "a", "n": 2}\n[3]\n'
    status, body = _texts(database, "/_api/import", lines, collection="wines", type="documents", details="true")
    assert status == 201
    assert body == {
        "error": False,
        "created": 1,
        "errors": 2,
        "empty": 1,
        "updated": 0,
        "ignored": 0,
        "details": [
            "at position 3: invalid JSON type (expecting object), offending document: [3]",
            "at position 1: creating document failed with error 'unique constraint violated',"
            ' offending document: {"_key":"a","n":2}',
        ],
    }
    assert database.handle("get", "/_api/document/wines/a").body["text"] == "one\u2028line"
    status, body = _texts(database, "/_api/import", '["km"]\n[7]', collection="grows", details="true")
    missing = "at position 1: missing '_from' or '_to' attribute, offending document: {\"km\":7}"
    assert body["details"] == [missing]
    status, body = _texts(database, "/_api/import", lines, collection="wines", type="documents", complete="true")
    assert (status, body["errorNum"]) == (400, 600)


def test_a_write_says_where_the_document_is(tmp_path: Path) -> None:
    """Single documents have their revision and path in headers; a conflict has the revision that is there."""
    database = open_database(tmp_path / "x.db")
    database.handle("post", "/_api/collection", body={"name": "wines"})
    made = database.handle("post", "/_api/document/wines", body={"_key": "a:b"})
    where = "/_db/_system/_api/document/wines/a%3Ab"
    assert (made.status, made.headers) == (202, {"etag": f'"{made.body["_rev"]}"', "location": where})
    assert database.handle("post", "/_api/document/wines", body=[{}]).headers == {}
    assert database.handle("post", "/_api/document/wines", {"silent": "true"}, body={}).headers == {}
    for method in ("get", "put", "patch", "delete"):
        response = database.handle(method, "/_api/document/wines/a:b", headers={"If-Match": '"_abc"'}, body={})
        assert (response.status, response.body["errorNum"]) == (412, 1200)
        assert {name: response.body[name] for name in ("_id", "_key", "_rev")} == made.body
        assert response.headers == {"etag": f'"{made.body["_rev"]}"'}


def test_a_collection_may_wait_for_the_disk(tmp_path: Path) -> None:
    """With `waitForSync` a collection answers 201 and 200, unless nothing of a request was written."""
    database = open_database(tmp_path / "x.db")
    database.handle("post", "/_api/collection", body={"name": "wines", "waitForSync": True})
    assert database.handle("post", "/_api/document/wines", body={"_key": "a"}).status == 201
    assert database.handle("patch", "/_api/document/wines/a", body={"n": 1}).status == 201
    assert database.handle("post", "/_api/document/wines", body=[{"_key": "b"}, {"_key": "a"}]).status == 201
    assert database.handle("delete", "/_api/document/wines", body=["c"]).status == 202
    assert database.handle("delete", "/_api/document/wines/a").status == 200
    written = {"query": "INSERT {_key: 'd'} INTO wines"}
    assert database.handle("post", "/_api/cursor", body=written).status == 201
    begun = database.handle("post", "/_api/transaction/begin", body={"collections": {"write": ["wines"]}})
    number = begun.body["result"]["id"]
    held = {"x-arango-trx-id": number}
    assert database.handle("post", "/_api/document/wines", headers=held, body={"_key": "e"}).status == 201
    assert database.handle("put", f"/_api/transaction/{number}").status == 200
    assert database.handle("get", "/_api/collection/wines/count").body["count"] == 3


def test_collections_have_numbers_and_paths(tmp_path: Path) -> None:
    """A collection is found by its id too, and what lies below its name says where it was found."""
    database = open_database(tmp_path / "x.db")
    options = {"type": "autoincrement", "increment": 5}
    number = database.handle("post", "/_api/collection", body={"name": "wines", "keyOptions": options}).body["id"]
    database.handle("post", f"/_api/document/{number}", body={})
    properties = database.handle("get", f"/_api/collection/{number}/properties")
    assert properties.headers == {"location": f"/_db/_system/_api/collection/{number}/properties"}
    assert properties.body["name"] == "wines"
    assert properties.body["keyOptions"] == {
        "type": "autoincrement",
        "allowUserKeys": True,
        "offset": 0,
        "increment": 5,
        "lastValue": 5,
    }
    assert not {"isSmart", "isDisjoint", "replicationFactor", "minReplicationFactor"} & properties.body.keys()
    put = lambda action, body=None: database.handle("put", f"/_api/collection/wines/{action}", body=body).body  # noqa: E731
    assert put("load")["count"] == 1
    assert "count" not in put("load", {"count": False})
    assert "result" not in put("unload")
    assert put("loadIndexesIntoMemory") == {"error": False, "code": 200, "result": True}
    assert put("recalculateCount")["count"] == 1
    assert database.handle("put", "/_api/collection").status == 400
    assert database.handle("get", "/_api/collection/99/properties").body["errorNum"] == 1203


def test_requests_that_name_nothing(tmp_path: Path) -> None:
    """A cursor without a statement, a next batch of no cursor, the result of no job; later as well as at once."""
    database = open_database(tmp_path / "x.db")
    assert database.handle("post", "/_api/cursor").body["errorNum"] == 1502
    assert database.handle("put", "/_api/cursor").status == 400
    assert database.handle("put", "/_api/job").status == 400
    later = database.handle("put", "/_api/collection", headers={"x-arango-async": "store"})
    assert later.status == 202
    path = f"/_api/job/{later.headers['x-arango-async-id']}"
    deadline = time.monotonic() + 5
    while database.handle("get", path).status == 204 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert database.handle("put", path).status == 400


def test_edges_that_leave_come_first(db: Any) -> None:
    """Of the edges at a vertex, whatever the order of their insertion."""
    ends = {"from_vertex_collections": ["places"], "to_vertex_collections": ["places"]}
    roads = db.create_graph("map", [{"edge_collection": "roads", **ends}]).edge_collection("roads")
    for key in "ab":
        db.collection("places").insert({"_key": key})
    for key, start, end in [("in", "b", "a"), ("out", "a", "b"), ("loop", "a", "a")]:
        roads.insert({"_key": key, "_from": f"places/{start}", "_to": f"places/{end}"})
    assert [edge["_key"] for edge in roads.edges("places/a")["edges"]] == ["out", "loop", "in"]


def test_rules_and_indexes_as_a_server_shows_them(db: Any) -> None:
    """The planner's rules, and a TTL index, which has nothing that is for other indexes."""
    (rule,) = db.aql.query_rules()
    assert rule["name"] == "use-indexes"
    sessions = db.create_collection("sessions")
    index = sessions.add_index({"type": "ttl", "fields": ["at"], "expireAfter": 60})
    assert not {"cache_enabled", "deduplicate", "selectivity"} & index.keys()
    assert index["estimates"] is False


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
