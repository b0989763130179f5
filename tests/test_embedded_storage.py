"""The file of the embedded database: order of values, crashes, many processes, files that are not ours."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from arango.exceptions import AQLQueryExecuteError

from arangopipe_ops.embedded import Database
from arangopipe_ops.embedded.connection import _prepare
from arangopipe_ops.embedded.errors import ArangoError
from arangopipe_ops.embedded.transport import client
from arangopipe_ops.embedded.values import adopt, encode, encode_all, equal, less

STRINGS = [
    "",
    " ",
    "a",
    "A",
    "ab",
    "B",
    "b",
    "é",
    "e",
    "z",
    "_",
    "-",
    "1",
    "10",
    "2",
    "\x00",
    "a\x00",
    "ß",
    "日本",
    "aé",
]
NUMBERS = [0, -0.0, 1, -1, 1.5, 2**53, 2**53 + 1, -(2**53) - 1, 2**62, 2**63 - 1, 1e300, -1e300, 5e-324, 10, 9]


def _value(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.randrange(5 if depth > 2 else 7)
    if kind < 2:
        return rng.choice([None, True, False])
    if kind == 2:
        return rng.choice(NUMBERS)
    if kind < 5:
        return rng.choice(STRINGS) + rng.choice(["", "", "x", "Y"])
    size = rng.randrange(4)
    if kind == 5:
        return [_value(rng, depth + 1) for _ in range(size)]
    return {rng.choice("abcABC"): _value(rng, depth + 1) for _ in range(size)}


def _rank(value: Any) -> int:
    return [type(None), bool, int, float, str, list, dict].index(type(value)) - (type(value) is float)


def _compare(left: Any, right: Any) -> int:
    """The manual's order of values, written down naively; strings by their encoding."""
    if _rank(left) != _rank(right):
        return -1 if _rank(left) < _rank(right) else 1
    if isinstance(left, list):
        width = max(len(left), len(right))
        pairs = zip(left + [None] * (width - len(left)), right + [None] * (width - len(right)), strict=True)
        return next((order for one, other in pairs if (order := _compare(one, other))), 0)
    if isinstance(left, dict):
        names = sorted({*left, *right}, key=encode)
        return next((order for name in names if (order := _compare(left.get(name), right.get(name)))), 0)
    if isinstance(left, str):
        left, right = encode(left), encode(right)
    return 0 if left is None or left == right else (-1 if left < right else 1)


def test_encoding_orders_as_values_compare() -> None:
    """The bytes of an index, the operators and the manual's rules give one and the same order."""
    rng = random.Random(7)
    for _ in range(20_000):
        left, right = _value(rng), _value(rng)
        order = _compare(left, right)
        assert ((encode(left) > encode(right)) - (encode(left) < encode(right))) == order, (left, right)
        assert equal(left, right) == (order == 0), (left, right)
        assert less(left, right) == (order < 0), (left, right)


def test_encoded_tuples_order_field_by_field() -> None:
    """The key of a compound index orders by its first field, then by the next."""
    rng = random.Random(8)
    for _ in range(5_000):
        left, right = [_value(rng), _value(rng)], [_value(rng), _value(rng)]
        order = _compare(left[0], right[0]) or _compare(left[1], right[1])
        one, other = encode_all(left), encode_all(right)
        assert ((one > other) - (one < other)) == order, (left, right)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: 2}, {"a": {1, 2}}, [object()], b"x"])
def test_refuses_what_json_refuses(value: Any) -> None:
    """A Python object that JSON cannot express is error 600."""
    with pytest.raises(ArangoError, match="invalid JSON object") as failure:
        adopt(value)
    assert failure.value.num == 600


def test_refuses_cycles() -> None:
    """An object that contains itself is error 600."""
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(ArangoError, match="cycle"):
        adopt(cycle)


def test_stored_values_are_not_shared(tmp_path: Path) -> None:
    """Changing an object after it was stored, or one that was read, changes nothing in the database."""
    collection = client(tmp_path / "x.db").db("_system").create_collection("c")
    document = {"_key": "a", "list": [1]}
    collection.insert(document)
    document["list"].append(2)  # type: ignore[attr-defined]
    collection.get("a")["list"].append(3)
    assert collection.get("a")["list"] == [1]


def test_shown_indexes_are_not_shared(tmp_path: Path) -> None:
    """Changing an index that was shown or explained changes no index, of this file or of another."""
    for name in ("x.db", "y.db"):
        db = client(tmp_path / name).db("_system")
        collection = db.create_collection("c")
        collection.add_index({"type": "persistent", "fields": ["n"]})
        for _ in range(2):
            [_, shown] = collection.indexes()
            [node] = [
                each for each in db.aql.explain("FOR d IN c FILTER d.n == 1 RETURN d")["nodes"] if "indexes" in each
            ]
            assert (shown["fields"], node["indexes"][0]["fields"]) == (["n"], ["n"])
            shown["fields"].append("m")
            node["indexes"][0]["fields"].append("m")


def _run(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_kill_in_mid_write_leaves_all_or_nothing(tmp_path: Path) -> None:
    """A process that is killed while it writes leaves each of its statements whole or not at all."""
    path = tmp_path / "killed.db"
    db = client(path).db("_system")
    db.create_collection("a")
    db.create_collection("b")
    writer = """
        import sys
        from arangopipe_ops.embedded.transport import client
        db = client(sys.argv[1]).db("_system")
        n = 0
        while True:
            n += 1
            db.aql.execute("LET x = (FOR i IN 1..20 INSERT {n: @n} INTO a) FOR i IN 1..20 INSERT {n: @n} INTO b",
                           bind_vars={"n": n})
            print(n, flush=True)
        """
    process = _run(writer, path)
    assert process.stdout is not None
    for _ in range(10):
        process.stdout.readline()
    time.sleep(random.random() / 50)
    process.send_signal(signal.SIGKILL)
    acknowledged = len(process.stdout.read().split()) + 10
    process.wait()
    query = "FOR d IN @@c COLLECT n = d.n WITH COUNT INTO k RETURN [n, k]"
    in_a, in_b = (list(db.aql.execute(query, bind_vars={"@c": name})) for name in "ab")
    assert in_a == in_b
    assert all(count == 20 for _, count in in_a)
    assert len(in_a) in (acknowledged, acknowledged + 1)


@pytest.mark.slow
def test_eight_processes_lose_nothing(tmp_path: Path) -> None:
    """Processes that create the file and write to it at the same time all get their writes in."""
    path = tmp_path / "many.db"
    worker = """
        import sys
        from arango.exceptions import CollectionCreateError
        from arangopipe_ops.embedded.transport import client
        db = client(sys.argv[1]).db("_system")
        try:
            db.create_collection("c")
        except CollectionCreateError as error:
            assert error.error_code == 1207, error
        db.aql.execute("UPSERT {_key: 'sum'} INSERT {_key: 'sum', n: 0} UPDATE {} IN c")
        for n in range(25):
            db.aql.execute("FOR d IN c FILTER d._key == 'sum' UPDATE d WITH {n: d.n + 1} IN c")
            db.collection("c").insert({"worker": sys.argv[2], "n": n})
        """
    processes = [_run(worker, path, number) for number in range(8)]
    assert [process.wait() for process in processes] == [0] * 8
    db = client(path).db("_system")
    assert db.collection("c").get("sum")["n"] == 200
    assert db.collection("c").count() == 201


def test_fork_gets_its_own_connection(tmp_path: Path) -> None:
    """A forked child writes through connections of its own, and the parent goes on after it."""
    db = client(tmp_path / "fork.db").db("_system")
    collection = db.create_collection("c")
    child = os.fork()
    if child == 0:
        collection.insert({"by": "child"})
        os._exit(0)
    _, status = os.waitpid(child, 0)
    collection.insert({"by": "parent"})
    assert status == 0
    assert sorted(d["by"] for d in collection.all()) == ["child", "parent"]


def test_writer_waits_no_longer_than_it_should(tmp_path: Path) -> None:
    """A lock that is held for too long is error 1200 and HTTP 409, with the path in its message."""
    database = Database(tmp_path / "busy.db")
    database.storage.pool.busy_seconds = 0.1
    database.handle("get", "/_api/version")
    database.handle("get", "/_api/collection")
    other = sqlite3.connect(tmp_path / "busy.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    response = database.handle("post", "/_api/collection", body={"name": "c"})
    assert (response.status, response.body["errorNum"]) == (409, 1200)
    assert str(tmp_path / "busy.db") in response.body["errorMessage"]


def test_foreign_file_is_refused(tmp_path: Path) -> None:
    """A file that is no embedded database stays as it is, and the error names it."""
    (tmp_path / "text.db").write_text("hello " * 1000)
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE t (x)")
    for name in ("text.db", "other.db"):
        response = Database(tmp_path / name).handle("get", "/_api/collection")
        assert str(tmp_path / name) in response.body["errorMessage"]
        assert "not an embedded ArangoDB file" in response.body["errorMessage"]


def test_newer_file_is_refused(tmp_path: Path) -> None:
    """A file with a schema that this version does not know is left alone."""
    Database(tmp_path / "x.db").handle("get", "/_api/collection")
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    response = Database(tmp_path / "x.db").handle("get", "/_api/collection")
    assert "newer" in response.body["errorMessage"]


@pytest.mark.parametrize("step", range(1, 6))
def test_a_file_created_while_it_is_opened(tmp_path: Path, step: int) -> None:
    """Whichever step of opening a new file another process creates it at, both take it for theirs."""
    path, deadline = tmp_path / "x.db", time.monotonic() + 5
    first, second = (sqlite3.connect(path, isolation_level=None) for _ in range(2))
    steps, created = 0, False

    def create_at_the_step(_: str) -> None:
        nonlocal steps, created
        steps += 1
        if steps == step:
            _prepare(second, path, deadline)
            created = True

    first.set_trace_callback(create_at_the_step)
    _prepare(first, path, deadline)
    first.set_trace_callback(None)
    assert created
    assert first.execute("SELECT name FROM databases").fetchall() == [("_system",)]


def test_missing_directory_is_named(tmp_path: Path) -> None:
    """A path in a directory that does not exist is an error that names both."""
    response = Database(tmp_path / "no" / "x.db").handle("get", "/_api/collection")
    assert str(tmp_path / "no") in response.body["errorMessage"]
    assert "does not exist" in response.body["errorMessage"]


@pytest.fixture
def world_readable() -> Iterator[Path]:
    """A directory that another user can look into, which pytest's own are not."""
    directory = Path(tempfile.mkdtemp(dir="/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody who may not write")
def test_read_only_file_says_so(world_readable: Path) -> None:
    """Writing to a file without permission is error 1004 with the path; reading it works."""
    path = world_readable / "ro.db"
    client(path).db("_system").create_collection("c")
    reader = """
        import os, sys
        from arangopipe_ops.embedded import Database
        database = Database(sys.argv[1])
        database.handle("get", "/_api/version")  # imports what may be out of reach afterwards
        os.setuid(65534)
        body = database.handle("post", "/_api/document/c", body={}).body
        print(body["errorNum"], body["errorMessage"])
        """
    process = _run(reader, path)
    output, _ = process.communicate()
    assert output.startswith("1004 read only: ")
    assert str(path) in output


def test_wait_for_sync_is_accepted(tmp_path: Path) -> None:
    """`waitForSync` in a request or in a statement's options does not change what is stored."""
    db = client(tmp_path / "sync.db").db("_system")
    db.create_collection("c").insert({"_key": "a"}, sync=True)
    db.aql.execute("INSERT {_key: 'b'} INTO c OPTIONS {waitForSync: true}")
    assert db.collection("c").count() == 2


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were flushed to disk from Python."""
    names: list[str] = []
    fsync = os.fsync

    def noted(file: int) -> None:
        names.append(Path(os.readlink(f"/proc/self/fd/{file}")).name)
        fsync(file)

    monkeypatch.setattr(os, "fsync", noted)
    return names


WRITES = [
    ("POST", "/_api/document/c", {"_key": "new"}),
    ("PATCH", "/_api/document/c/a", {"n": 1}),
    ("DELETE", "/_api/document/c/a", None),
    ("POST", "/_api/import?collection=c", [{"n": 1}]),
    ("PUT", "/_api/collection/c/truncate", None),
    ("POST", "/_api/cursor", {"query": "FOR d IN c UPDATE d WITH {n: 2} IN c"}),
]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs the names of open files")
@pytest.mark.parametrize(("method", "path", "body"), WRITES)
@pytest.mark.parametrize("waits", [True, False])
def test_wait_for_sync_of_a_collection(
    tmp_path: Path, flushed: list[str], method: str, path: str, body: Any, waits: bool
) -> None:
    """Each write to a collection with `waitForSync` waits until the log is on disk, others do not."""
    database = Database(tmp_path / "x.db")
    database.handle("POST", "/_api/collection", body={"name": "c", "waitForSync": waits})
    database.handle("POST", "/_api/collection", body={"name": "other"})
    database.handle("POST", "/_api/document/c", body={"_key": "a"})
    flushed.clear()
    route, _, query = path.partition("?")
    params = {"type": "array", **dict([query.split("=")])} if query else {}
    response = database.handle(method, route, params, body=body)
    assert response.status < 300, response.body
    assert flushed == (["x.db-wal"] if waits else [])
    database.handle("POST", "/_api/document/other", body={})
    database.handle("GET", "/_api/document/c/a")
    assert len(flushed) == waits


def test_wait_for_sync_of_a_collection_is_answered(tmp_path: Path) -> None:
    """A document in a collection with `waitForSync` is 201, in another 202; so it is in a graph."""
    database = Database(tmp_path / "x.db")
    for name, waits in (("c", True), ("d", False)):
        database.handle("POST", "/_api/collection", body={"name": name, "waitForSync": waits})
    database.handle("POST", "/_api/gharial", body={"name": "g", "orphanCollections": ["c", "d"]})
    for route in ("/_api/document/{}", "/_api/gharial/g/vertex/{}"):
        answered = [database.handle("POST", route.format(name), body={}).status for name in "cd"]
        assert answered == [201, 202]
    for documents, status in (([{"_key": "a"}, {"_key": "a"}], 201), ([{"_key": "a"}], 202)):
        assert database.handle("POST", "/_api/document/c", body=documents).status == status


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs the names of open files")
def test_wait_for_sync_of_a_stream_transaction(tmp_path: Path, flushed: list[str]) -> None:
    """Within a transaction the disk is waited for once, by the commit."""
    db = client(tmp_path / "x.db").db("_system")
    db.create_collection("c", sync=True)
    transaction = db.begin_transaction(write=["c"])
    for _ in range(3):
        transaction.collection("c").insert({})
    assert flushed == []
    transaction.commit_transaction()
    assert flushed == ["x.db-wal"]


def test_failed_statement_rolls_back_the_clock_and_the_catalog(tmp_path: Path) -> None:
    """After an error the next statement starts from what was committed."""
    db = client(tmp_path / "rollback.db").db("_system")
    db.create_collection("c")
    with pytest.raises(AQLQueryExecuteError):
        db.aql.execute("FOR x IN [1, 2] INSERT {_key: x == 2 ? 'a b' : 'a'} INTO c")
    assert db.collection("c").count() == 0
    keys = list(db.aql.execute("FOR x IN 1..3 INSERT {} INTO c RETURN NEW._key"))
    assert keys == sorted(keys, key=int)


def test_the_catalog_is_what_was_committed_last(tmp_path: Path) -> None:
    """An index that could not be made is not there, and what others made meanwhile is."""
    here, there = (Database(tmp_path / "catalog.db") for _ in range(2))

    def make(database: Database, field: str) -> int:
        body = {"type": "persistent", "fields": [field], "unique": True}
        return database.handle("POST", "/_api/index", {"collection": "c"}, body=body).status

    def fields(database: Database) -> list[list[str]]:
        answer = database.handle("GET", "/_api/index", {"collection": "c"}).body
        return [index["fields"] for index in answer["indexes"][1:]]

    assert here.handle("POST", "/_api/collection", body={"name": "c"}).status == 200
    here.handle("POST", "/_api/document/c", body=[{"a": 1, "b": 1, "d": 1}, {"a": 2, "b": 1, "d": 2}])
    assert make(here, "a") == 201
    assert make(here, "b") == 409
    assert fields(here) == fields(there) == [["a"]]
    assert make(there, "d") == 201
    assert fields(here) == fields(there) == [["a"], ["d"]]


def test_older_file_is_upgraded(tmp_path: Path) -> None:
    """A file of the first schema gets what is new when it is opened, and keeps its documents."""
    db = client(tmp_path / "new.db").db("_system")
    db.create_collection("c").insert({"_key": "a"})
    with sqlite3.connect(tmp_path / "new.db") as connection:
        for each in ("TRIGGER more", "TRIGGER fewer", "TABLE sizes", "TABLE users", "TABLE counters"):
            connection.execute(f"DROP {each}")
        connection.execute("PRAGMA user_version = 1")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(tmp_path / "new.db", tmp_path / "old.db")
    again = client(tmp_path / "old.db").db("_system")
    assert again.collection("c").has("a")
    assert again.collection("c").count() == 1
    assert again.users() == []
    assert again.create_collection("d", key_generator="autoincrement").insert({})["_key"] == "1"


def test_size_of_a_collection_is_kept(tmp_path: Path) -> None:
    """The number of documents is right after every kind of write, and after one that was rolled back."""
    db = client(tmp_path / "x.db").db("_system")
    collection = db.create_collection("c")
    collection.add_index({"type": "persistent", "fields": ["a"], "unique": True})
    collection.insert_many([{"_key": str(i), "a": i} for i in range(10)])
    collection.insert({"_key": "0", "a": 0}, overwrite_mode="replace")
    collection.insert({"_key": "1"}, overwrite_mode="ignore")
    assert collection.insert_many([{"a": 3}, {"a": 11}])[1] is not None
    collection.delete_many([{"_key": "2"}, {"_key": "none"}])
    with pytest.raises(AQLQueryExecuteError):
        db.aql.execute("FOR i IN 20..30 INSERT {a: i == 25 ? 1 : i} INTO c")
    assert (collection.count(), len(list(collection.all()))) == (10, 10)
    transaction = db.begin_transaction(write="c")
    transaction.collection("c").insert({"a": 50})
    assert (transaction.collection("c").count(), collection.count()) == (11, 10)
    transaction.abort_transaction()
    assert next(db.aql.execute("RETURN LENGTH(c)")) == 10
    collection.truncate()
    assert collection.count() == 0
    db.delete_collection("c")
    assert db.create_collection("c").count() == 0


def test_full_disk_says_so(tmp_path: Path) -> None:
    """A write that finds no space is error 1104 with the path, leaves nothing behind, and reading goes on."""
    database = Database(tmp_path / "full.db")
    database.handle("post", "/_api/collection", body={"name": "c"})
    with database.storage.pool.use() as sqlite:
        (pages,) = sqlite.execute("PRAGMA page_count").fetchone()
        sqlite.execute(f"PRAGMA max_page_count = {pages + 2}")
    body = {"query": "FOR x IN 1..2000 INSERT {text: REPEAT('x', 100)} INTO c"}
    response = database.handle("post", "/_api/cursor", body=body)
    assert (response.status, response.body["errorNum"]) == (500, 1104)
    assert str(tmp_path / "full.db") in response.body["errorMessage"]
    assert database.handle("get", "/_api/collection/c/count").body["count"] == 0


def test_killed_stream_transaction_leaves_nothing(tmp_path: Path) -> None:
    """A process that dies with an open transaction leaves its file free, and without what it wrote."""
    client(tmp_path / "x.db").db("_system").create_collection("c")
    holder = """
        import sys, time
        from arangopipe_ops.embedded.transport import client
        inside = client(sys.argv[1]).db("_system").begin_transaction(write="c")
        inside.collection("c").insert({"_key": "lost"})
        print("open", flush=True)
        time.sleep(60)
        """
    process = _run(holder, tmp_path / "x.db")
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    process.kill()
    process.communicate()
    collection = client(tmp_path / "x.db", busy_seconds=1).db("_system").collection("c")
    collection.insert({"_key": "kept"})
    assert list(collection.keys()) == ["kept"]


def test_forked_child_does_not_share_a_transaction(tmp_path: Path) -> None:
    """A stream transaction stays with the process that began it, also when that forks."""
    db = client(tmp_path / "fork.db").db("_system")
    db.create_collection("c")
    inside = db.begin_transaction(write="c")
    inside.collection("c").insert({"_key": "parent"})
    child = os.fork()
    if child == 0:
        try:
            inside.collection("c").insert({"_key": "child"})
        except Exception as error:
            os._exit(0 if "1655" in str(error) else 2)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    inside.commit_transaction()
    assert list(db.collection("c").keys()) == ["parent"]
