"""Random small queries on random data give what plain Python makes of them, with and without indexes."""

from __future__ import annotations

import functools
import itertools
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arangopipe_ops.embedded.functions.strings import like
from arangopipe_ops.embedded.transport import client

ATTRIBUTES = ("a", "b")
RANKS: dict[type, int] = {type(None): 0, bool: 1, int: 2, float: 2, str: 3, list: 4}
INDEXES: tuple[list[dict[str, Any]], ...] = (
    [],
    [{"fields": ["a"]}],
    [{"fields": ["a", "b"]}],
    [{"fields": ["b"], "sparse": True}, {"fields": ["a[*]"]}],
)

scalars = st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from([0.5, -1.5]), st.sampled_from("xyz"))
values = st.one_of(scalars, st.lists(st.integers(0, 2), max_size=2))
documents = st.lists(st.dictionaries(st.sampled_from(ATTRIBUTES), values, max_size=2), max_size=8)
comparisons = st.tuples(st.sampled_from(ATTRIBUTES), st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), values)
filters = st.lists(comparisons, max_size=3)
orders = st.lists(st.tuples(st.sampled_from(ATTRIBUTES), st.booleans()), max_size=2)
run = settings(max_examples=100, deadline=None, database=None)


def compare(left: Any, right: Any) -> int:
    """AQL's order, written down once more: null < bool < number < string < array."""
    one, other = RANKS[type(left)], RANKS[type(right)]
    if one != other:
        return one - other
    if isinstance(left, list):
        pairs = (compare(a, b) for a, b in itertools.zip_longest(left, right))
        return next((result for result in pairs if result), 0)
    return 0 if left is None else (left > right) - (left < right)


HOLDS = {
    "==": lambda order: order == 0,
    "!=": lambda order: order != 0,
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
    ">": lambda order: order > 0,
    ">=": lambda order: order >= 0,
}
ordered = functools.cmp_to_key(compare)


def expected(rows: list[dict[str, Any]], tests: list[Any], keys: list[Any]) -> list[int]:
    kept = [row for row in rows if all(HOLDS[op](compare(row.get(name), value)) for name, op, value in tests)]
    for name, descending in reversed([*keys, ("n", False)]):
        kept.sort(key=lambda row, at=name: ordered(row.get(at)), reverse=descending)
    return [row["n"] for row in kept]


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A collection for each set of indexes."""
    db = client(tmp_path_factory.mktemp("properties") / "p.db").db("_system")
    for number, indexes in enumerate(INDEXES):
        collection = db.create_collection(f"c{number}")
        for index in indexes:
            collection.add_index({"type": "persistent", **index})
    db.create_collection("nodes").insert_many([{"_key": str(number)} for number in range(5)])
    db.create_collection("links", edge=True)
    return db


def fill(db: Any, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    numbered = [row | {"n": number} for number, row in enumerate(rows)]
    for number in range(len(INDEXES)):
        db.collection(f"c{number}").truncate()
        db.aql.execute("FOR d IN @rows INSERT d INTO @@c", bind_vars={"rows": numbered, "@c": f"c{number}"})
    return numbered


def answers(db: Any, query: str, bind_vars: dict[str, Any]) -> list[list[Any]]:
    """What the query returns on each of the collections."""
    return [
        list(db.aql.execute(query.replace("@@c", f"c{number}"), bind_vars=bind_vars)) for number in range(len(INDEXES))
    ]


@run
@given(documents, filters, orders, st.integers(0, 3), st.integers(0, 4))
def test_filter_sort_and_limit(db: Any, rows: Any, tests: Any, keys: Any, offset: int, size: int) -> None:
    """FILTER, SORT and LIMIT choose and order the same rows whatever index there is."""
    conditions = "".join(f" FILTER d.{name} {op} @v{at}" for at, (name, op, _) in enumerate(tests))
    sort = ", ".join([f"d.{name} {'DESC' if descending else 'ASC'}" for name, descending in keys] + ["d.n"])
    query = f"FOR d IN @@c{conditions} SORT {sort} LIMIT {offset}, {size} RETURN d.n"
    bind_vars = {f"v{at}": value for at, (_, _, value) in enumerate(tests)}
    wanted = expected(fill(db, rows), tests, keys)[offset : offset + size]
    assert answers(db, query, bind_vars) == [wanted] * len(INDEXES)


@run
@given(documents, st.lists(values, max_size=3), scalars)
def test_membership(db: Any, rows: Any, wanted: Any, element: Any) -> None:
    """IN finds a value in a list, and an element in an array of the document."""
    numbered = fill(db, rows)
    among = [row["n"] for row in numbered if any(compare(row.get("a"), each) == 0 for each in wanted)]
    holding = [
        row["n"]
        for row in numbered
        if isinstance(row.get("a"), list) and any(compare(each, element) == 0 for each in row["a"])
    ]
    found = answers(db, "FOR d IN @@c FILTER d.a IN @w SORT d.n RETURN d.n", {"w": wanted})
    assert found == [among] * len(INDEXES)
    found = answers(db, "FOR d IN @@c FILTER @e IN d.a SORT d.n RETURN d.n", {"e": element})
    assert found == [holding] * len(INDEXES)


@run
@given(documents)
def test_collect(db: Any, rows: Any) -> None:
    """COLLECT makes one group for each value, in their order, and counts and gathers what is in it."""
    groups: list[tuple[Any, list[int]]] = []
    for row in sorted(fill(db, rows), key=lambda row: ordered(row.get("a"))):
        if not groups or compare(groups[-1][0], row.get("a")):
            groups.append((row.get("a"), []))
        groups[-1][1].append(row["n"])
    query = "FOR d IN @@c COLLECT a = d.a AGGREGATE n = COUNT(1), m = MAX(d.n) INTO g = d.n RETURN [n, m, SORTED(g)]"
    wanted = [[len(numbers), max(numbers), sorted(numbers)] for _, numbers in groups]
    assert answers(db, query, {}) == [wanted] * len(INDEXES)


links = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 3)), max_size=8)
DIRECTIONS = {"OUTBOUND": (True,), "INBOUND": (False,), "ANY": (True, False)}


def connect(db: Any, edges: list[tuple[int, int, int]]) -> None:
    db.collection("links").truncate()
    rows = [{"_key": str(at), "_from": f"nodes/{a}", "_to": f"nodes/{b}", "w": w} for at, (a, b, w) in enumerate(edges)]
    db.aql.execute("FOR e IN @rows INSERT e INTO links", bind_vars={"rows": rows})


def extended(path: list[int], end: int, edges: Any, direction: str) -> list[tuple[list[int], int]]:
    steps = {
        (number, b if forth else a)
        for number, (a, b, _) in enumerate(edges)
        for forth in DIRECTIONS[direction]
        if (a if forth else b) == end
    }
    return [([*path, number], vertex) for number, vertex in steps if number not in path]


@run
@given(links, st.sampled_from(list(DIRECTIONS)), st.integers(0, 2), st.integers(0, 2))
def test_traversal(db: Any, edges: Any, direction: str, low: int, more: int) -> None:
    """A traversal finds every path of the wanted lengths that repeats no edge, in any order of search."""
    connect(db, edges)
    level: list[tuple[list[int], int]] = [([], 0)]
    wanted: list[list[str]] = []
    for depth in range(low + more + 1):
        wanted += [list(map(str, path)) for path, _ in level] if depth >= low else []
        level = [longer for path, end in level for longer in extended(path, end, edges, direction)]
    walk = f"FOR v, e, p IN {low}..{low + more} {direction} 'nodes/0' links"
    for order in ("dfs", "bfs", "weighted"):
        found = list(db.aql.execute(f"{walk} OPTIONS {{order: '{order}'}} RETURN p.edges[*]._key"))
        assert sorted(found) == sorted(wanted)


def all_paths(edges: Any, end: int, path: tuple[int, ...], visited: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The edges of all paths to `end` that repeat no vertex."""
    if visited[-1] == end:
        return [path]
    return [
        found
        for number, (a, b, _) in enumerate(edges)
        if a == visited[-1] and b not in visited
        for found in all_paths(edges, end, (*path, number), (*visited, b))
    ]


@run
@given(links, st.integers(1, 4))
def test_paths(db: Any, edges: Any, end: int) -> None:
    """Path searches agree with the list of all paths: the lightest, the shortest, all by weight or length."""
    connect(db, edges)
    paths = all_paths(edges, end, (), (0,))
    weights = sorted(sum(edges[number][2] for number in path) for path in paths)
    fewest = min(map(len, paths), default=0)
    search = f"'nodes/0' TO 'nodes/{end}' links"
    ask = lambda query: list(db.aql.execute(query))  # noqa: E731
    weighted = "OPTIONS {weightAttribute: 'w'}"
    assert ask(f"FOR p IN OUTBOUND K_SHORTEST_PATHS {search} {weighted} RETURN p.weight") == weights
    lightest = ask(f"RETURN SUM(FOR v, e IN OUTBOUND SHORTEST_PATH {search} {weighted} RETURN e.w)")
    assert lightest == [min(weights, default=0)]
    keys = [tuple(map(str, path)) for path in paths]
    found = ask(f"FOR p IN OUTBOUND ALL_SHORTEST_PATHS {search} RETURN p.edges[*]._key")
    assert sorted(map(tuple, found)) == sorted(path for path in keys if len(path) == fewest)
    found = ask(f"FOR p IN 1..9 OUTBOUND K_PATHS {search} RETURN p.edges[*]._key")
    assert sorted(map(tuple, found)) == sorted(keys)
    assert len(ask(f"FOR v IN OUTBOUND SHORTEST_PATH {search} RETURN v")) == (fewest + 1 if paths else 0)


@run
@given(st.lists(st.integers(-3, 3), max_size=7), st.integers(0, 3), st.integers(0, 3))
def test_window(db: Any, numbers: list[int], before: int, after: int) -> None:
    """WINDOW sums the rows around each row, by position or by value."""
    bounds = f"{{preceding: {before}, following: {after}}} AGGREGATE s = SUM(x) RETURN s"
    found = list(db.aql.execute(f"FOR x IN @n WINDOW {bounds}", bind_vars={"n": numbers}))
    assert found == [sum(numbers[max(at - before, 0) : at + after + 1]) for at in range(len(numbers))]
    found = list(db.aql.execute(f"FOR x IN @n WINDOW x WITH {bounds}", bind_vars={"n": numbers}))
    assert found == [sum(y for y in numbers if x - before <= y <= x + after) for x in sorted(numbers)]


def is_like(text: str, pattern: str) -> bool:
    """LIKE, written down once more, without backslashes."""
    if pattern[:1] == "%":
        return any(is_like(text[at:], pattern[1:]) for at in range(len(text) + 1))
    if not pattern or not text:
        return not pattern and not text
    return pattern[0] in ("_", text[0]) and is_like(text[1:], pattern[1:])


@run
@given(st.text("ab\n", max_size=8), st.text("ab%_", max_size=6))
def test_like_is_what_it_means(text: str, pattern: str) -> None:
    """`%` is any text and `_` any character, wherever they stand."""
    assert like(text, pattern) == is_like(text, pattern)


def test_like_with_many_wildcards() -> None:
    """A pattern takes no longer for each further wildcard, since nothing else goes on in the process meanwhile."""
    started = time.monotonic()
    assert not like("a" * 300, "%a%a%a%a%a%b")
    assert time.monotonic() - started < 1
