"""Loops over many documents: what they read, how often SQLite prepares a statement for them, and that they end."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from arango.exceptions import AQLQueryExecuteError

from arangopipe_ops.embedded.http import open_database
from arangopipe_ops.embedded.transport import client

RUNS = 600
METRICS = "FIRST(FOR x IN obtained FILTER x._from == r._id SORT x.created DESC LIMIT 1 RETURN DOCUMENT(x._to))"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models with runs, of which each has metrics, obtained twice, and one of the two sets of features."""
    path = tmp_path_factory.mktemp("loops") / "loops.db"
    db = client(path).db("_system")
    for name in ("models", "runs", "metrics", "features"):
        db.create_collection(name)
    for name in ("run_of", "obtained", "read"):
        db.create_collection(name, edge=True)
    db.collection("obtained").add_index({"type": "persistent", "fields": ["_from", "created"]})
    db.collection("models").insert_many([{"_key": "a"}, {"_key": "b"}])
    db.collection("features").insert_many([{"_key": "f0"}, {"_key": "f1"}])
    numbers, random = range(RUNS), Random(1)
    db.collection("runs").insert_many([{"_key": f"r{n}", "n": n} for n in numbers])
    db.collection("metrics").insert_many([{"_key": f"m{n}", "loss": random.randrange(50)} for n in range(2 * RUNS)])
    db.collection("run_of").insert_many([{"_from": f"models/{'ab'[n % 2]}", "_to": f"runs/r{n}"} for n in numbers])
    db.collection("read").insert_many([{"_from": f"runs/r{n}", "_to": f"features/f{n % 2}"} for n in numbers])
    made = [{"_from": f"runs/r{n % RUNS}", "_to": f"metrics/m{n}", "created": n} for n in range(2 * RUNS)]
    db.collection("obtained").insert_many(made)
    return path


@pytest.fixture(scope="module")
def db(path: Path) -> Any:
    return client(path).db("_system")


@contextmanager
def prepared(path: Path) -> Iterator[list[int]]:
    """How many statements SQLite prepares, as SQLite tells it: it asks then whether it may read."""
    times: list[int] = []

    def asked(action: int, *_: Any) -> int:
        if action == sqlite3.SQLITE_SELECT:
            times.append(action)
        return sqlite3.SQLITE_OK

    with open_database(path).storage.pool.use() as connection:
        connection.set_authorizer(asked)
    try:
        yield times
    finally:
        with open_database(path).storage.pool.use() as connection:
            connection.set_authorizer(None)


def test_look_ups_in_loops_find_what_there_is(db: Any) -> None:
    """Documents and edges that a loop looks up for each row are that row's, however many rows there are."""
    query = f"""FOR m IN models FOR link IN run_of FILTER link._from == m._id
      LET r = DOCUMENT(link._to)
      LET metrics = {METRICS}
      LET features = (FOR x IN read FILTER x._from == r._id FOR y IN features FILTER y._id == x._to RETURN y._key)
      RETURN [m._key, r.n, metrics._key, features]"""
    expected = [["ab"[n % 2], n, f"m{n + RUNS}", [f"f{n % 2}"]] for n in [*range(0, RUNS, 2), *range(1, RUNS, 2)]]
    assert list(db.aql.execute(query)) == expected


def test_documents_that_are_not_there_or_elsewhere(db: Any) -> None:
    """DOCUMENT finds the same ones twice, those of other collections, and null for what there is not."""
    ids = ["runs/r1", "features/f0", "runs/r1", "runs/none", "runs/", "r1", None, 7, "metrics/m1", "runs/r1/r2"]
    found = list(db.aql.execute("FOR id IN @ids LET d = DOCUMENT(id) RETURN d._id", bind_vars={"ids": ids}))
    assert found == ["runs/r1", "features/f0", "runs/r1", *[None] * 5, "metrics/m1", None]
    with pytest.raises(AQLQueryExecuteError) as raised:
        db.aql.execute("FOR id IN ['runs/r1', 'nowhere/x'] LET d = DOCUMENT(id) RETURN d")
    assert raised.value.error_code == 1203


@pytest.mark.parametrize(
    "query",
    [
        "FOR a IN run_of FILTER a._from == 'models/a' FOR x IN read FILTER x._from == a._to RETURN x._to",
        "FOR a IN features FOR b IN features FOR c IN features RETURN [a.x, b.x, c.x]",
        f"FOR a IN run_of FILTER a._from == 'models/a' LET r = DOCUMENT(a._to) RETURN {METRICS}",
    ],
)
def test_loops_inside_of_each_other_are_prepared_once(db: Any, path: Path, query: str) -> None:
    """SQLite prepares a statement for each loop and each size of what is read ahead, and not for each row around it."""
    with prepared(path) as times:
        list(db.aql.execute(query + " // first"))
        first = len(times)
        list(db.aql.execute(query + " // again"))
    assert first <= 30
    assert len(times) == first


@pytest.mark.parametrize(("size", "intact"), [(1, 1), (3, 3), (6, 7)])
def test_a_loop_that_ends_early_reads_little(tmp_path: Path, size: int, intact: int) -> None:
    """LIMIT 1 reads one document, a greater limit at most twice as many as it lets pass."""
    path = tmp_path / "early.db"
    db = client(path).db("_system")
    db.create_collection("items").insert_many([{"n": n} for n in range(20)])
    with open_database(path).storage.transaction(write=True) as transaction:
        unreadable = "UPDATE documents SET body = 'unreadable' WHERE id IN (SELECT id FROM documents LIMIT -1 OFFSET ?)"
        transaction.sqlite.execute(unreadable, (intact,))
    assert list(db.aql.execute(f"FOR d IN items LIMIT {size} RETURN d.n")) == list(range(size))


def test_writes_before_are_seen_in_a_stream_transaction(db: Any) -> None:
    """What a transaction has written is found by its loops and look-ups, and is gone when it is aborted."""
    query = (
        f"FOR link IN run_of FILTER link._from == 'models/a' LET r = DOCUMENT(link._to) RETURN [r.n, {METRICS}._key]"
    )
    before = list(db.aql.execute(query))
    transaction = db.begin_transaction(write=["runs", "run_of", "obtained"])
    assert list(transaction.aql.execute(query)) == before
    transaction.aql.execute("UPDATE 'r0' WITH {n: -1} IN runs")
    transaction.aql.execute("INSERT {_from: 'runs/r0', _to: 'metrics/m3', created: 9999} INTO obtained")
    transaction.aql.execute("INSERT {_key: 'new', n: 9} INTO runs")
    transaction.aql.execute("INSERT {_from: 'models/a', _to: 'runs/new'} INTO run_of")
    assert list(transaction.aql.execute(query)) == [[-1, "m3"], *before[1:], [9, None]]
    transaction.abort_transaction()
    assert list(db.aql.execute(query)) == before


@pytest.mark.parametrize("order", ["", " DESC"])
@pytest.mark.parametrize(("offset", "size"), [(0, 0), (0, 1), (3, 5), (590, 700), (2000, 1)])
def test_a_limit_behind_a_sort_cuts_what_the_sort_made(db: Any, order: str, offset: int, size: int) -> None:
    """Of many rows, among them equal ones, a LIMIT takes those that it would take of all, and fullCount counts all."""
    query = f"FOR m IN metrics SORT m.loss{order}"
    everything = list(db.aql.execute(f"{query} RETURN m._key"))
    cursor = db.aql.execute(f"{query} LIMIT {offset}, {size} RETURN m._key")
    assert list(cursor) == everything[offset : offset + size]
    counted = db.aql.execute(f"{query} LIMIT {offset}, {size} RETURN m._key", full_count=True)
    assert list(counted) == everything[offset : offset + size]
    assert counted.statistics()["fullCount"] == len(everything)


def test_equal_rows_keep_their_order(db: Any) -> None:
    """Rows that a SORT does not tell apart stay as they came, upwards as downwards, with and without a LIMIT."""
    losses = list(db.aql.execute("FOR m IN metrics RETURN [m.loss, m._key]"))
    for order, sign in (("", 1), (" DESC", -1)):
        expected = [key for _, key in sorted(losses, key=lambda row, sign=sign: sign * row[0])]  # type: ignore[misc]
        assert list(db.aql.execute(f"FOR m IN metrics SORT m.loss{order} RETURN m._key")) == expected
        assert list(db.aql.execute(f"FOR m IN metrics SORT m.loss{order} LIMIT 99 RETURN m._key")) == expected[:99]


@pytest.mark.parametrize(
    "loops",
    [
        "FOR a IN runs FOR b IN runs FOR c IN runs FILTER a.n + b.n + c.n < 0",
        "FOR a IN runs FOR b IN runs FOR c IN runs FILTER @never",
        "FOR a IN run_of FILTER a._from == 'models/a' FOR b IN run_of FILTER b._from == 'models/b'"
        " FOR c IN run_of FILTER c._from == a._from FILTER a.x == b._key",
        "FOR a IN runs FOR b IN runs LET c = (FOR x IN read FILTER x._from == b._id RETURN x) FILTER c == a",
    ],
)
def test_loops_over_documents_end_in_time(db: Any, loops: str) -> None:
    """Loops that read documents, by a scan or an index, or that only count them, are stopped with error 1500."""
    binds = {"never": False} if "@never" in loops else {}
    with pytest.raises(AQLQueryExecuteError) as raised:
        db.aql.execute(f"{loops} RETURN 1", bind_vars=binds, max_runtime=0.05)
    assert raised.value.error_code == 1500
