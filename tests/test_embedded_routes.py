"""Routes that python-arango has no method for, or not all of: imports, simple queries, statements."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from arangopipe_ops.embedded import Database, open_database


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
    tracked = file.handle("put", "/_api/query/properties", body={"slowQueryThreshold": 0.01})
    assert tracked.body["slowQueryThreshold"] == 0.01
    for query in (
        "RETURN SLEEP(0.02)",
        "FOR d IN c UPDATE d WITH {x: SLEEP(0.02)} IN c",
        "RETURN [SLEEP(0.02), FAIL('x')]",
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


@pytest.mark.parametrize(
    ("query", "result", "warnings"),
    [
        ("RETURN 1 / 0", [None], [1562]),
        ("FOR i IN 1..3 RETURN 7 - 5 % 0", [7, 7, 7], [1562]),
        ("RETURN 1 + 2 * 3 - 4", [3], []),
        ("FOR i IN 0..1 RETURN 1 / i", [None, 1], []),
    ],
)
def test_arithmetic_of_constants_is_done_once(
    file: Database, query: str, result: list[Any], warnings: list[int]
) -> None:
    """What it warns about is known when a statement is explained, and told once by a run, as a server does."""
    answers = [file.handle("post", f"/_api/{route}", body={"query": query}).body for route in ("explain", "cursor")]
    explained, ran = answers
    assert [each["code"] for each in explained["warnings"]] == warnings
    assert ran["result"] == result
    assert [each["code"] for each in ran["extra"]["warnings"]] == (warnings or [1562] * ("/ i" in query))


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


@pytest.mark.parametrize("kind", [[], {}, None, 5, "geo"])
def test_an_index_of_no_known_type_is_refused(file: Database, kind: Any) -> None:
    """Whatever JSON stands where an index's type should, the answer is that there is no such type."""
    answer = file.handle("post", "/_api/index", {"collection": "c"}, {}, {"type": kind, "fields": ["n"]})
    assert (answer.status, answer.body["errorNum"]) == (501, 9)
