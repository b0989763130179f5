"""AQL as the manual states it, on the embedded database."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from arango.exceptions import AQLQueryExecuteError

from arangopipe_ops.embedded.transport import client

CASE = re.compile(r"^(?!//)(.+?)\n=> (.+?)(?: // warning (\d+))?$", re.MULTILINE)
CASES = [
    pytest.param(*case, id=f"{file.stem}-{number}")
    for file in sorted((Path(__file__).parent / "aql").glob("*.aql"))
    for number, case in enumerate(CASE.findall(file.read_text(encoding="utf-8")), start=1)
]
ROADS = {"ab": 2, "ac": 5, "bc": 2, "cd": 1, "bd": 6, "da": 9, "de": None}


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The graph of graphs.aql, and a collection to write to."""
    db = client(tmp_path_factory.mktemp("aql") / "aql.db").db("_system")
    db.create_collection("scratch")
    db.create_collection("places").insert_many([{"_key": key} for key in "abcdef"])
    edges = [
        {"_key": name, "_from": f"places/{name[0]}", "_to": f"places/{name[1]}", "km": km} for name, km in ROADS.items()
    ]
    db.create_collection("roads", edge=True).insert_many(edges)
    definition = {
        "edge_collection": "roads",
        "from_vertex_collections": ["places"],
        "to_vertex_collections": ["places"],
    }
    db.create_graph("map", [definition])
    return db


@pytest.mark.parametrize(("query", "expected", "warning"), CASES)
def test_query_gives_what_the_manual_says(db: Any, query: str, expected: str, warning: str) -> None:
    """A query returns the values, warns, or fails with the error number, as its case file states."""
    if expected.startswith("error "):
        with pytest.raises(AQLQueryExecuteError) as failure:
            db.aql.execute(query)
        assert failure.value.error_code == int(expected.removeprefix("error "))
        return
    cursor = db.aql.execute(query)
    assert list(cursor) == json.loads(expected)
    assert warning in ("", *(str(each["code"]) for each in cursor.warnings() or ()))


@pytest.fixture
def graph(tmp_path: Path) -> Any:
    """a -> b -> c -> d and a -> c, with a dangling edge from d."""
    db = client(tmp_path / "graph.db").db("_system")
    db.create_collection("places").insert_many([{"_key": key} for key in "abcd"])
    roads = [("a", "b"), ("b", "c"), ("c", "d"), ("a", "c"), ("d", "nowhere")]
    edges = [{"_key": x + y, "_from": f"places/{x}", "_to": f"places/{y}"} for x, y in roads]
    db.create_collection("roads", edge=True).insert_many(edges)
    return db


TRAVERSALS = [
    ("1..3 OUTBOUND 'places/a' roads", ["c", "d", None, "b", "c", "d"]),
    ("1..2 OUTBOUND 'places/a' roads OPTIONS {order: 'bfs'}", ["b", "c", "c", "d"]),
    ("0..9 OUTBOUND 'places/a' roads OPTIONS {order: 'bfs', uniqueVertices: 'global'}", ["a", "b", "c", "d", None]),
    ("1..1 INBOUND 'places/c' roads", ["a", "b"]),
    ("1..1 ANY 'places/c' roads", ["a", "b", "d"]),
    ("1..1 ANY 'places/c' roads OPTIONS {order: 'bfs'}", ["d", "b", "a"]),
    ("2 OUTBOUND 'places/a' roads", ["d", "c"]),
    ("OUTBOUND {_id: 'places/b'} roads", ["c"]),
    ("1..3 OUTBOUND 'places/missing' roads", []),
    ("1..3 OUTBOUND 'places/a' roads PRUNE v._key == 'c'", ["c", "b", "c"]),
]


@pytest.mark.parametrize(("walk", "expected"), TRAVERSALS)
def test_traversal_visits_in_order(graph: Any, walk: str, expected: list[str | None]) -> None:
    """A traversal emits the vertices of its order and options, depth first the latest edge first, null if missing."""
    assert list(graph.aql.execute(f"FOR v IN {walk} RETURN v._key")) == expected


def test_traversal_emits_edges_and_paths(graph: Any) -> None:
    """The path of a traversal has all vertices and edges on it, in order."""
    query = (
        "FOR v, e, p IN 2..2 OUTBOUND 'places/a' roads FILTER v._key == 'c'"
        " RETURN [e._key, p.vertices[*]._key, p.edges[*]._key]"
    )
    assert list(graph.aql.execute(query)) == [["bc", ["a", "b", "c"], ["ab", "bc"]]]


def test_writes_return_old_and_new(graph: Any) -> None:
    """INSERT, UPDATE, REPLACE, UPSERT and REMOVE show the document before and after."""
    run = lambda query: list(graph.aql.execute(query))  # noqa: E731
    assert run("INSERT {_key: 'x', n: 1} INTO places RETURN NEW.n") == [1]
    assert run("UPDATE 'x' WITH {m: {a: 1}} IN places RETURN [OLD.m, NEW.n]") == [[None, 1]]
    assert run(
        "UPDATE 'x' WITH {m: {b: 2}, n: null} IN places OPTIONS {keepNull: false} RETURN UNSET(NEW, '_rev')"
    ) == [{"_key": "x", "_id": "places/x", "m": {"a": 1, "b": 2}}]
    assert run("REPLACE {_key: 'x', q: 1} IN places LET y = NEW RETURN [OLD.m, y.q]") == [[{"a": 1, "b": 2}, 1]]
    upsert = "UPSERT {q: 1} INSERT {q: 1} UPDATE {c: OLD.c + 1} IN places RETURN [OLD == null, NEW.c]"
    assert run(upsert) == [[False, 1]]
    assert run("FOR p IN places FILTER p.c == 1 REMOVE p IN places RETURN OLD._key") == ["x"]
    assert run(upsert) == [[True, None]]


def test_insert_honours_overwrite_modes(graph: Any) -> None:
    """An existing key is ignored, replaced, updated or an error, as the statement says."""
    graph.aql.execute("INSERT {_key: 'o', a: 1, b: 1} INTO places")
    query = "INSERT {_key: 'o', a: 2} INTO places OPTIONS {overwriteMode: @mode} RETURN [NEW.a, NEW.b]"
    run = lambda mode: list(graph.aql.execute(query, bind_vars={"mode": mode}))  # noqa: E731
    assert run("ignore") == [[None, None]]
    assert run("update") == [[2, 1]]
    assert run("replace") == [[2, None]]
    with pytest.raises(AQLQueryExecuteError) as failure:
        run("conflict")
    assert failure.value.error_code == 1210


def test_statement_is_all_or_nothing(graph: Any) -> None:
    """A statement that fails half-way leaves nothing of itself behind."""
    with pytest.raises(AQLQueryExecuteError):
        graph.aql.execute("FOR k IN ['n1', 'n2', 'a'] INSERT {_key: k} INTO places")
    assert graph.collection("places").count() == 4
    query = "FOR k IN ['n1', 'n2', 'a'] INSERT {_key: k} INTO places OPTIONS {ignoreErrors: true}"
    statistics = graph.aql.execute(query).statistics()
    assert (statistics["modified"], statistics["ignored"]) == (2, 1)


def test_writes_in_subqueries_happen_in_order(graph: Any) -> None:
    """A sub-query may write, its result feeds later clauses, and shared values come back unshared."""
    query = (
        "LET made = (FOR k IN ['p', 'q'] INSERT {_key: k} INTO places RETURN NEW._id)"
        " LET linked = (FOR id IN made INSERT {_from: id, _to: 'places/a'} INTO roads RETURN NEW._from)"
        " RETURN [made, made, linked]"
    )
    (result,) = graph.aql.execute(query)
    assert result == [["places/p", "places/q"]] * 3
    result[0].append("x")
    assert result[1] == ["places/p", "places/q"]


def test_warnings_are_reported_or_fail(graph: Any) -> None:
    """A division by zero is null with warning 1562, or an error if warnings are to fail."""
    cursor = graph.aql.execute("RETURN 1 / 0")
    assert list(cursor) == [None]
    assert cursor.warnings() == [{"code": 1562, "message": "division by zero"}]
    with pytest.raises(AQLQueryExecuteError):
        graph.aql.execute("RETURN 1 / 0", fail_on_warning=True)


def test_runtime_is_bounded(graph: Any) -> None:
    """A query that takes longer than its maxRuntime is stopped with error 1500."""
    with pytest.raises(AQLQueryExecuteError) as failure:
        graph.aql.execute("FOR a IN 1..100000 FOR b IN 1..100000 FILTER a < 0 RETURN a", max_runtime=0.05)
    assert failure.value.error_code == 1500


def test_syntax_error_names_the_place() -> None:
    """A syntax error says what is near it, and its line and column."""
    from arangopipe_ops.embedded.errors import ArangoError
    from arangopipe_ops.embedded.parser import parse

    with pytest.raises(ArangoError, match=r"unexpected FOR declaration near 'FOR' at position 2:2"):
        parse("RETURN 1 +\n FOR")


WRITE = """
WITH @@v0, @@v1
LET now = DATE_ISO8601(DATE_NOW())
LET refs = MERGE(UNION([{}],
  (FOR r IN @r0 LET id = FIRST(FOR d IN @@v0 FILTER d._key == r.key RETURN d._id) RETURN {[r.token]: id}),
  (FOR r IN @n1 LET id = FIRST(FOR d IN @@v1 FILTER d.@f1 == r.name SORT d.created DESC LIMIT 1 RETURN d._id)
   RETURN {[r.token]: id})))
LET missing = ATTRIBUTES(refs)[* FILTER refs[CURRENT] == null]
LET c0 = (FOR n IN @d0 LET old = FIRST(FOR d IN @@v0 FILTER d._key == n.doc._key RETURN d)
  RETURN {doc: n.doc, old, verb: old == null ? "created"
    : old.digest == n.doc.digest && KEEP(old, ATTRIBUTES(n.notes)) == n.notes ? "unchanged" : @on_conflict})
LET ok = LENGTH(missing) == 0 AND "fail" NOT IN c0[*].verb
LET w0 = (FOR c IN ok ? c0 : [] FILTER c.verb IN ["created", "revised"]
  INSERT MERGE(KEEP(NOT_NULL(c.old, {}), @kept), c.doc, {created: NOT_NULL(c.old.created, now)}) INTO @@v0
  OPTIONS {overwriteMode: "replace"} RETURN NEW._id)
LET e0 = (FOR e IN ok ? @e0 : [] LET f = NOT_NULL(refs[e.from], e.from) LET t = NOT_NULL(refs[e.to], e.to)
  INSERT MERGE(e.doc, {_key: SHA1(CONCAT_SEPARATOR("|", @en0, f, t)), _from: f, _to: t}) INTO @@e0
  OPTIONS {overwriteMode: "ignore"} RETURN NEW._id)
LET a = (FOR x IN ok AND LENGTH(w0) > 0 ? [1] : [] INSERT {_key: @write, at: now, nodes: w0, edges: e0} INTO audit)
RETURN {ok, missing, nodes: c0[* RETURN {id: CURRENT.doc._key, verb: CURRENT.verb}]}
"""

LINEAGE = """
WITH @@v0, @@v1
LET walked = (FOR v, e, p IN 0..@depth OUTBOUND @start @@e0, INBOUND @@e1
  OPTIONS {order: "bfs", uniqueVertices: "global"} RETURN {id: v._id, node: v, depth: LENGTH(p.edges)})
LET edges = (FOR n IN walked FOR v, e IN 1..1 OUTBOUND n.id @@e0, INBOUND @@e1 RETURN DISTINCT e)
RETURN {nodes: walked, edges}
"""


@pytest.fixture
def metadata(tmp_path: Path) -> Any:
    """Runs that use data sets, and an audit trail."""
    db = client(tmp_path / "metadata.db").db("_system")
    for name in ("runs", "data", "audit"):
        db.create_collection(name)
    db.create_collection("used", edge=True)
    db.create_collection("made", edge=True)
    db.collection("data").add_index({"type": "persistent", "fields": ["name", "created"]})
    db.collection("data").insert_many([{"_key": f"d{n}", "name": "iris", "created": str(n)} for n in range(3)])
    return db


def _write(db: Any, write: str, digest: str, on_conflict: str = "revised", name: str = "iris") -> Any:
    bind_vars = {
        "@v0": "runs",
        "@v1": "data",
        "@e0": "used",
        "en0": "used",
        "f1": "name",
        "write": write,
        "r0": [],
        "n1": [{"token": "t", "name": name}],
        "kept": ["note"],
        "on_conflict": on_conflict,
        "d0": [{"doc": {"_key": "r", "digest": digest}, "notes": {}}],
        "e0": [{"from": "runs/r", "to": "t", "doc": {"role": "input"}}],
    }
    (result,) = db.aql.execute(WRITE, bind_vars=bind_vars)
    return result


def test_guarded_write_is_one_statement(metadata: Any) -> None:
    """One statement resolves references by index, writes or leaves documents, edges and audit together."""
    assert _write(metadata, "w1", "one") == {"ok": True, "missing": [], "nodes": [{"id": "r", "verb": "created"}]}
    (edge,) = metadata.collection("used").all()
    assert (edge["_from"], edge["_to"], edge["role"]) == ("runs/r", "data/d2", "input")
    assert _write(metadata, "w2", "one")["nodes"] == [{"id": "r", "verb": "unchanged"}]
    created = metadata.collection("runs").get("r")["created"]
    assert _write(metadata, "w3", "two")["nodes"] == [{"id": "r", "verb": "revised"}]
    assert metadata.collection("runs").get("r")["created"] == created
    assert _write(metadata, "w4", "three", on_conflict="fail")["ok"] is False
    assert _write(metadata, "w5", "four", name="nobody")["missing"] == ["t"]
    assert sorted(metadata.collection("audit").keys()) == ["w1", "w3"]
    assert metadata.collection("used").count() == 1


def test_lineage_follows_collections_in_their_directions(metadata: Any) -> None:
    """Nodes come with their depth, breadth first, and all edges between them come once."""
    metadata.collection("runs").insert_many([{"_key": "r1"}, {"_key": "r2"}])
    metadata.collection("used").insert_many(
        [{"_from": "runs/r2", "_to": "data/d1"}, {"_from": "runs/r1", "_to": "data/d0"}]
    )
    metadata.collection("made").insert({"_from": "runs/r1", "_to": "data/d1"})
    bind_vars = {"@v0": "runs", "@v1": "data", "@e0": "used", "@e1": "made", "start": "runs/r2", "depth": 6}
    cursor = metadata.aql.execute(LINEAGE, bind_vars=bind_vars)
    (result,) = cursor
    assert [(n["id"], n["depth"]) for n in result["nodes"]] == [
        *(("runs/r2", 0), ("data/d1", 1), ("runs/r1", 2), ("data/d0", 3))
    ]
    assert len(result["edges"]) == 3
    assert cursor.statistics()["scanned_full"] == 0


def test_upsert_sees_its_own_writes(graph: Any) -> None:
    """Rows of one UPSERT find what earlier rows inserted, by example or by condition, and may replace it."""
    count = (
        "FOR k IN ['p', 'q', 'p'] UPSERT {name: k} INSERT {name: k, n: 1} UPDATE {n: OLD.n + 1} IN places RETURN NEW.n"
    )
    assert list(graph.aql.execute(count)) == [1, 1, 2]
    above = (
        "UPSERT FILTER CURRENT.n > @n INSERT {n: 9} REPLACE {was: OLD.n} IN places RETURN [OLD.name, NEW.n, NEW.was]"
    )
    assert list(graph.aql.execute(above, bind_vars={"n": 1})) == [["p", None, 2]]
    assert list(graph.aql.execute(above, bind_vars={"n": 1})) == [[None, 9, None]]


def test_collect_keeps_the_names_of_the_query(graph: Any) -> None:
    """INTO has the variables that a query names, not those that its plan adds."""
    query = (
        "FOR {_key, a} IN places LET b = 1 SORT _key COLLECT c = b INTO g LIMIT 1 RETURN ATTRIBUTES(g[0], true, true)"
    )
    assert list(graph.aql.execute(query)) == [["a", "b"]]


WRITES = [
    ("UPDATE {_key: 'a', _rev: 'x'} WITH {n: 1} IN places RETURN NEW.n", [1]),
    ("UPDATE {_key: 'a', _rev: 'x'} WITH {n: 1} IN places OPTIONS {ignoreRevs: false}", 1200),
    ("UPDATE {_key: 'a', _rev: 'x'} WITH {} IN places OPTIONS {ignoreRevs: false, ignoreErrors: true} RETURN 1", []),
    ("REPLACE {_key: 'a', _rev: 'x'} WITH {n: 1} IN places OPTIONS {ignoreRevs: false}", 1200),
    ("REMOVE {_key: 'a', _rev: 'x'} IN places OPTIONS {ignoreRevs: false}", 1200),
    ("REMOVE 'missing' IN places OPTIONS {ignoreErrors: true} RETURN OLD", []),
    ("UPDATE 'd' WITH {m: {y: 2}} IN places OPTIONS {mergeObjects: false} RETURN NEW.m", [{"y": 2}]),
    ("UPDATE 'd' WITH {m: {y: 2}} IN places OPTIONS {mergeObjects: true} RETURN NEW.m", [{"x": 1, "y": 2}]),
    ("UPDATE 'd' WITH {m: {x: null}} IN places OPTIONS {keepNull: false} RETURN NEW.m", [{}]),
    ("UPDATE 'd' WITH {version: 3, n: 1} IN places OPTIONS {versionAttribute: 'version'} RETURN NEW.n", [None]),
    ("REPLACE 'd' WITH {version: 5, n: 1} IN places OPTIONS {versionAttribute: 'version'} RETURN NEW.n", [1]),
    (
        "UPSERT {_key: 'd'} INSERT {} UPDATE {m: {y: 2, x: null}} IN places"
        " OPTIONS {keepNull: false, mergeObjects: true, exclusive: true, readOwnWrites: false} RETURN NEW.m",
        [{"y": 2}],
    ),
    ("UPSERT {_key: 'd'} INSERT {} UPDATE {_rev: 'x'} IN places OPTIONS {ignoreRevs: false}", 1200),
    ("UPSERT {_key: 'd'} INSERT {} REPLACE {z: 1} IN places OPTIONS {waitForSync: true} RETURN NEW.z", [1]),
    ("INSERT {_key: 'd'} INTO places OPTIONS {overwrite: true} RETURN OLD.version", [4]),
    ("INSERT {_key: 'd', version: 2} INTO places OPTIONS {overwriteMode: 'replace', versionAttribute: 'version'}", []),
]


@pytest.mark.parametrize(("query", "expected"), WRITES)
def test_writes_heed_their_options(graph: Any, query: str, expected: list[Any] | int) -> None:
    """Options say whether revisions, versions, nulls, objects and errors matter."""
    graph.collection("places").update({"_key": "d", "m": {"x": 1}, "version": 4})
    if isinstance(expected, int):
        with pytest.raises(AQLQueryExecuteError) as failure:
            graph.aql.execute(query)
        assert failure.value.error_code == expected
    else:
        assert list(graph.aql.execute(query)) == expected
