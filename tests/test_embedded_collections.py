"""What a collection makes of its documents: keys, schemas, computed values, expiry; and how it shows itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from arango import exceptions as errors
from embedded_client import db, handle

from arangopipe_ops.embedded import open_database
from arangopipe_ops.embedded.transport import client

__all__ = ["db"]


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
    assert handle(db, "put", path, {"schema": None}, {}).body["schema"] is None
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


def test_rules_and_indexes_as_a_server_shows_them(db: Any) -> None:
    """The planner's rules, and a TTL index, which has nothing that is for other indexes."""
    (rule,) = db.aql.query_rules()
    assert rule["name"] == "use-indexes"
    sessions = db.create_collection("sessions")
    index = sessions.add_index({"type": "ttl", "fields": ["at"], "expireAfter": 60})
    assert not {"cache_enabled", "deduplicate", "selectivity"} & index.keys()
    assert index["estimates"] is False
