"""What loops look up for each row is read for many rows at once, and nobody can tell but by the time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from arango.exceptions import AQLQueryExecuteError

from arangopipe_ops.embedded.http import open_database
from arangopipe_ops.embedded.transport import client

PARENTS, BUSY = 300, 7
REFERENCES: list[Any] = [
    "parents/p1",
    "parents/p1",
    "children/c3",
    "children/none",
    "p1",
    "",
    None,
    1,
    1.0,
    True,
    ["p1"],
    {},
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parents with no, one or several edges to children, one with very many, some doubled, some to nowhere."""
    path = tmp_path_factory.mktemp("ahead") / "ahead.db"
    db = client(path).db("_system")
    parents, children = db.create_collection("parents"), db.create_collection("children")
    links = db.create_collection("links", edge=True)
    links.add_index({"type": "persistent", "fields": ["_from", "created"]})
    children.add_index({"type": "persistent", "fields": ["parent"]})
    parents.insert_many({"_key": f"p{n}", "n": n, "ref": REFERENCES[n % len(REFERENCES)]} for n in range(PARENTS))
    children.insert_many({"_key": f"c{n}", "n": n, "parent": REFERENCES[n % 11]} for n in range(100))
    links.insert_many(
        {"_from": f"parents/p{n}", "_to": f"children/c{n * at % 120}", "created": at % 3, "at": at}
        for n in range(PARENTS)
        for at in range(400 if n == BUSY else n % 5)
    )
    links.insert_many({"_from": f"children/c{n}", "_to": f"parents/p{n}"} for n in range(0, 100, 3))
    return path


@pytest.fixture(scope="module")
def db(path: Path) -> Any:
    return client(path).db("_system")


LINKS = "FOR x IN links FILTER x._from == p._id"
NEXT = "FOR y IN links FILTER y._from == x._to"
NEWEST = f"FIRST({LINKS} SORT x.created DESC LIMIT 1 RETURN DOCUMENT(x._to))"
CHILDREN = "FOR c IN children FILTER c.parent == p.ref"
LOOPS = {
    "edges": f"LET v = ({LINKS} RETURN x)",
    "downwards": f"LET v = ({LINKS} SORT x.created DESC RETURN x.at)",
    "the newest": f"LET v = {NEWEST}",
    "a limit inside": f"LET v = ({LINKS} LIMIT 1, 2 RETURN DOCUMENT(x._to).n)",
    "a filter inside": f"LET v = ({LINKS} FILTER x.at > 1 RETURN x.at)",
    "groups inside": f"LET v = ({LINKS} COLLECT t = x.created WITH COUNT INTO n RETURN [t, n])",
    "values of all types": f"LET v = ({CHILDREN} RETURN c._key)",
    "documents by all types": "LET v = [DOCUMENT(p.ref).n, DOCUMENT(p._id).n]",
    "a loop in the loop": f"{LINKS} FILTER x.at < 9 {NEXT} LET v = y",
    "a loop in a loop inside": f"LET v = ({LINKS} {NEXT} RETURN y._to)",
    "a subquery inside": f"LET v = ({LINKS} RETURN ({NEXT} LET d = DOCUMENT(y._to) RETURN [d.n, p.n]))",
    "sometimes": f"LET v = p.n % 9 ? null : ({LINKS} RETURN DOCUMENT(x._to).n)",
    "one after the other": f"LET a = {NEWEST} FILTER a != null LET v = ({CHILDREN} RETURN a.n)",
    "by what was found": f"LET a = {NEWEST} LET v = (FOR x IN links FILTER x._from == a._id RETURN x._to)",
    "of an array": "LET v = [p._id, p.ref, 'children/c9'][* RETURN [DOCUMENT(CURRENT).n,"
    " LENGTH(FOR x IN links FILTER x._from == CURRENT FILTER x.at != 2 RETURN x)]]",
}


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
@pytest.mark.parametrize(
    "rows", ["FOR p IN parents", "FOR p IN parents SORT p.n % 13, p.n", "FOR again IN 1..2 FOR p IN parents"]
)
def test_what_is_read_ahead_is_what_is_read_one_by_one(db: Any, rows: str, loop: str) -> None:
    """The rows are those of the same statement with a LIMIT that no row reaches, for which nothing is read ahead."""
    ahead = db.aql.execute(f"{rows} {loop} RETURN [p._key, v]")
    plain = db.aql.execute(f"{rows} {loop} LIMIT 99999 RETURN [p._key, v]")
    found = list(ahead)
    assert found == list(plain)
    assert len({str(value) for _, value in found}) > 1
    assert ahead.statistics()["scanned_index"] == plain.statistics()["scanned_index"]
    assert ahead.statistics()["filtered"] == plain.statistics()["filtered"]


@pytest.mark.parametrize(
    "group", ["COLLECT v = {newest}.n INTO g = p.n RETURN [v, g]", "SORT {newest}.n, p.n LIMIT 9 RETURN p.n"]
)
def test_what_groups_and_sorts_look_up(db: Any, group: str) -> None:
    """In the keys of COLLECT and SORT it is the same as in a LET before them."""
    loops = (
        f"FOR p IN parents {group.format(newest=NEWEST)}",
        f"FOR p IN parents LET a = {NEWEST} LIMIT 99999 {group}",
    )
    found, expected = (list(db.aql.execute(loop.format(newest="a"))) for loop in loops)
    assert found == expected
    assert len(found) > 5


def statements(path: Path, text: str) -> int:
    """How many statements SQLite executes for one of AQL."""
    db, texts = client(path).db("_system"), list[str]()
    with open_database(path).storage.pool.use() as connection:
        connection.set_trace_callback(texts.append)
    try:
        list(db.aql.execute(text))
    finally:
        with open_database(path).storage.pool.use() as connection:
            connection.set_trace_callback(None)
    return len(texts)


def test_many_rows_are_looked_up_together(path: Path) -> None:
    """For hundreds of rows SQLite is asked some dozens of times, and with a LIMIT as often as there are rows."""
    look_ups = f"FOR p IN parents FILTER p.n != {BUSY} LET v = {NEWEST}"
    assert statements(path, f"{look_ups} RETURN v.n") < 60
    assert statements(path, f"{look_ups} LIMIT 99999 RETURN v.n") > PARENTS


def test_what_is_too_much_or_not_looked_up_is_read_ahead_once(path: Path) -> None:
    """Of a vertex with hundreds of edges, and of what only few rows look up, not more is asked than without."""
    much = f"FOR n IN 1..300 LET p = {{_id: n > 0 ? 'parents/p{BUSY}' : null}} LET v = ({LINKS} RETURN 1 + x.at)"
    assert statements(path, f"{much} RETURN v") <= 300 + 5
    seldom = "FOR p IN parents LET v = p.n % 100 ? 0 : DOCUMENT(p._id) RETURN v.n"
    assert statements(path, seldom) < 12


def test_loops_in_loops_do_not_read_ahead_more_and_more(tmp_path: Path) -> None:
    """Where each level has a LIMIT, the levels below a row read ahead no more than some times what they need."""
    path, vertices, fan = tmp_path / "deep.db", 1500, 7
    links = client(path).db("_system").create_collection("links", edge=True)
    ends = [(n, (n * fan + at) % vertices) for n in range(vertices) for at in range(fan)]
    links.insert_many({"_from": f"v/{start}", "_to": f"v/{end}"} for start, end in ends)
    found = "null"
    for level in range(8, 0, -1):
        start = f"x{level - 1}._to" if level > 1 else "start"
        found = f"FIRST(FOR x{level} IN links FILTER x{level}._from == {start} LIMIT 1 RETURN [x{level}._to, {found}])"
    rows = f"FOR n IN 1..300 LET start = CONCAT('v/', n) LET found = {found}"
    ahead, plain = steps(path, f"{rows} RETURN found"), steps(path, f"{rows} LIMIT 99999 RETURN found")
    assert ahead < 5 * plain


def steps(path: Path, text: str) -> int:
    """How many thousand steps SQLite takes for a statement of AQL."""
    taken = list[int]()
    with open_database(path).storage.pool.use() as connection:
        connection.set_progress_handler(lambda: taken.append(1), 1000)
    try:
        list(client(path).db("_system").aql.execute(text))
    finally:
        with open_database(path).storage.pool.use() as connection:
            connection.set_progress_handler(None, 0)
    return len(taken)


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 600])
def test_an_index_is_looked_into_for_a_list(db: Any, size: int) -> None:
    """IN finds what each of its values finds, in their order and each once, among them doubled ones and nulls."""
    ids = [*[f"parents/p{n % 290}" for n in range(size)][::-1], None, 5, "parents/none", "parents/p3"]
    query = "FOR x IN links FILTER x._from IN @ids RETURN x._id"
    each = "FOR id IN SORTED_UNIQUE(@ids) FOR x IN links FILTER x._from == id LIMIT 99999 RETURN x._id"
    found, expected = (list(db.aql.execute(text, bind_vars={"ids": ids})) for text in (query, each))
    assert found == expected
    assert len(found) >= 3


def test_nothing_is_read_ahead_of_a_write(db: Any) -> None:
    """A statement that writes looks up row by row, and a transaction's next one what it has written."""
    transaction = db.begin_transaction(write=["parents", "links"])
    count = "LENGTH(FOR x IN links FILTER x._from == p._id FILTER x.at != 99 RETURN x)"
    wanted = list(transaction.aql.execute(f"FOR p IN parents RETURN {count}"))
    written = f"FOR p IN parents UPDATE p WITH {{n: {count}}} IN parents RETURN NEW.n"
    assert list(transaction.aql.execute(written)) == wanted
    transaction.aql.execute("FOR p IN parents INSERT {_from: p._id, _to: p._id} INTO links")
    assert list(transaction.aql.execute(f"FOR p IN parents RETURN {count}")) == [number + 1 for number in wanted]
    transaction.abort_transaction()


def test_what_cannot_be_read_ahead_fails_where_it_is_looked_up(db: Any) -> None:
    """DOCUMENT of a collection that is not there is an error, and none in a row that does not get so far."""
    handles = "FOR p IN parents LET id = p.n == 200 ? 'nowhere/x' : p._id"
    with pytest.raises(AQLQueryExecuteError) as raised:
        db.aql.execute(f"{handles} RETURN DOCUMENT(id)")
    assert raised.value.error_code == 1203
    assert len(list(db.aql.execute(f"{handles} FILTER p.n < 200 RETURN DOCUMENT(id)"))) == 200
    assert len(list(db.aql.execute(f"{handles} RETURN p.n == 200 ? null : DOCUMENT(id)"))) == PARENTS
