"""Which statements read through an index, and which are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from arango.exceptions import AQLQueryExecuteError, IndexCreateError

from arangopipe_ops.embedded.context import CLUSTER_VARIABLE
from arangopipe_ops.embedded.executor import Block, Calculate
from arangopipe_ops.embedded.explain import nodes_of
from arangopipe_ops.embedded.transport import client


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Any:
    db = client(tmp_path_factory.mktemp("planner") / "planner.db").db("_system")
    items = db.create_collection("items")
    for fields in (["name", "created"], ["a.b"], ["tags[*]"], ["number"]):
        items.add_index({"type": "persistent", "fields": fields})
    items.add_index({"type": "persistent", "fields": ["code"], "unique": True, "sparse": True})
    items.insert_many(
        {
            "_key": f"k{n}",
            "name": f"name{n % 5}",
            "created": n,
            "a": {"b": n % 3},
            "tags": [f"t{n % 4}", f"u{n % 2}"],
            "number": n if n % 10 else None,
            "code": f"c{n}" if n % 2 else None,
        }
        for n in range(50)
    )
    db.create_collection("links", edge=True).insert({"_from": "items/k1", "_to": "items/k2"})
    return db


SERVED = [
    ("FOR d IN items FILTER d._key == 'k7' RETURN d.created", [7], 1),
    ("FOR d IN items FILTER d._id == 'items/k7' RETURN d.created", [7], 1),
    ("FOR d IN items FILTER d._key IN ['k1', 'k2', 'x'] SORT d.created RETURN d.created", [1, 2], 2),
    ("FOR d IN items FILTER d.name == 'name3' SORT d.created DESC LIMIT 1 RETURN d.created", [48], 1),
    ("FOR d IN items FILTER d.name == 'name3' && d.created > 30 RETURN d.created", [33, 38, 43, 48], 4),
    ("FOR d IN items FILTER 'name3' == d.name FILTER 10 >= d.created RETURN d.created", [3, 8], 2),
    ("FOR d IN items FILTER d.name IN ['name1', 'name2'] FILTER d.created < 3 RETURN d.created", [1, 2], 2),
    ("FOR d IN items LET x = d.name FILTER x == 'name0' FILTER d.created == 5 RETURN d.created", [5], 1),
    ("FOR d IN items FILTER d._key == 'k1' || d._key == 'k2' SORT d.created RETURN d.created", [1, 2], 2),
    ("FOR d IN items FILTER d.code == 'c1' OR d.code IN ['c5', 'c7'] SORT d.created RETURN d.created", [1, 5, 7], 3),
    ("FOR d IN items FILTER d.a.b == 2 SORT d._key LIMIT 1 RETURN d.created", [11], 16),
    ("FOR d IN items FILTER 't3' IN d.tags[*] FILTER d.created < 8 RETURN d.created", [3, 7], 12),
    ("FOR d IN items FILTER 't3' IN d.tags FILTER d.created < 8 RETURN d.created", [3, 7], 12),
    ("FOR d IN items SORT d.number DESC LIMIT 2 RETURN d.number", [49, 48], 2),
    ("FOR d IN items FILTER d.number == null RETURN d.created", [0, 10, 20, 30, 40], 5),
    ("FOR d IN items FILTER d.number >= 47 RETURN d.number", [47, 48, 49], 3),
    ("FOR d IN items FILTER d.code == 'c5' RETURN d.created", [5], 1),
    ("FOR n IN ['name1'] FOR d IN items FILTER d.name == n FILTER d.created == 6 RETURN d.created", [6], 1),
    ("FOR e IN links FILTER e._from == 'items/k1' RETURN e._to", ["items/k2"], 1),
    ("FOR e IN links FILTER e._to IN ['items/k2', 'x/y'] RETURN e._from", ["items/k1"], 1),
]


@pytest.mark.parametrize(("query", "expected", "entries"), SERVED)
def test_index_serves_the_filter(db: Any, query: str, expected: list[Any], entries: int) -> None:
    """Such a query reads only the entries that it has to, and explain says that it uses an index."""
    cursor = db.aql.execute(query)
    assert list(cursor) == expected
    statistics = cursor.statistics()
    assert (statistics["scanned_full"], statistics["scanned_index"]) == (0, entries)
    nodes = [node["type"] for node in db.aql.explain(query)["nodes"]]
    assert "IndexNode" in nodes
    assert "EnumerateCollectionNode" not in nodes


@pytest.mark.parametrize(
    "loop",
    [
        "FOR d IN items",
        "FOR d IN items FILTER d.name == 'name3' AND d.created > 30",
        "FOR d IN items FILTER d.name IN ['name1', 'name2', 'none']",
        "FOR d IN items FILTER 't3' IN d.tags[*]",
        "FOR d IN items FILTER d._key IN ['k1', 'k2', 'x']",
        "FOR d IN items FILTER d.code == 'c1'",
        "FOR d IN items FILTER d.number == null LIMIT 1, 2",
        "FOR n IN ['name1', 'name2'] FOR d IN items FILTER d.name == n LIMIT 15",
        "FOR d IN items FILTER d.name == 'name3' SORT d.created",
    ],
)
def test_documents_that_nothing_looks_at_are_not_read(db: Any, loop: str) -> None:
    """A loop that is only counted goes through as many entries as one that reads, and comes to the same number."""
    read, counted = (db.aql.execute(f"{loop} RETURN {value}") for value in ("[1, d.created]", "1"))
    assert len(list(counted)) == len(list(read)) > 0
    assert counted.statistics()["scanned_index"] == read.statistics()["scanned_index"]
    assert counted.statistics()["scanned_full"] == read.statistics()["scanned_full"]
    assert next(db.aql.execute(f"RETURN LENGTH({loop} RETURN 1)")) == len(list(db.aql.execute(f"{loop} RETURN d")))
    loops = [node for node in db.aql.explain(f"{loop} RETURN 1")["nodes"] if "producesResult" in node]
    assert [node["producesResult"] for node in loops] == ["code" in loop]  # a sparse index may need its filter


@pytest.mark.parametrize(
    ("subquery", "number"),
    [
        ("FOR d IN items LIMIT 20 RETURN 1", 20),
        ("FOR d IN items LIMIT 45, 20 RETURN 1", 5),
        ("FOR d IN items LIMIT 0 RETURN 1", 0),
        ("FOR d IN items LIMIT 60, 1 RETURN 1", 0),
        ("FOR d IN items FILTER d.name IN ['name1', 'name2'] LIMIT 3, 12 RETURN 1", 12),
        ("FOR d IN items FILTER d.name IN ['name1', 'name2'] LIMIT 10 RETURN 1", 10),
        ("FOR d IN items FILTER 't3' IN d.tags[*] LIMIT 5 RETURN 1", 5),
        ("FOR d IN items FILTER d.name == 'name1' RETURN DISTINCT 1", 1),
        ("FOR d IN items FILTER d.name == 'name1' RETURN d.created", 10),
        ("FOR d IN items FILTER d.name == 'name1' FILTER d.number > 40 RETURN 1", 2),
    ],
)
def test_what_is_only_counted_is_counted_in_the_index(db: Any, subquery: str, number: int) -> None:
    """The length of a subquery is that of its rows, with what LIMIT leaves, whether or not they are read."""
    assert next(db.aql.execute(f"RETURN LENGTH({subquery})")) == len(list(db.aql.execute(subquery))) == number


def test_bound_attribute_names_find_the_index(db: Any) -> None:
    """`d.@name` and `d[@name]` are planned for the attribute they are bound to."""
    query = "FOR d IN @@c FILTER d.@f == @v SORT d.created DESC LIMIT 1 RETURN d._id"
    bind_vars = {"@c": "items", "f": "name", "v": "name3"}
    cursor = db.aql.execute(query, bind_vars=bind_vars)
    assert list(cursor) == ["items/k48"]
    assert cursor.statistics()["scanned_index"] == 1
    cursor = db.aql.execute(query, bind_vars={**bind_vars, "f": "other"})
    assert list(cursor) == []
    assert cursor.statistics()["scanned_full"] == 50
    assert [d["_key"] for d in db.collection("items").find({"name": "name1", "created": 1})] == ["k1"]


def test_sparse_index_is_not_used_for_null(db: Any) -> None:
    """A null that is asked for when the query runs is found by a scan, as a sparse index has none."""
    query = "FOR d IN items FILTER d.code == @v COLLECT WITH COUNT INTO n RETURN n"
    assert list(db.aql.execute(query, bind_vars={"v": None})) == [25]
    assert list(db.aql.execute(query, bind_vars={"v": "c1"})) == [1]


@pytest.mark.parametrize(
    ("test", "fields"),
    [("== null", "n"), (">= null", "n"), ("> null", "gone"), ('== "x"', "gone")],
)
def test_a_sparse_index_leaves_the_order_to_another(tmp_path: Path, test: str, fields: str) -> None:
    """Where null is asked for in the text, the index that gives the order is used, and never the sparse one."""
    db = client(tmp_path / "x.db").db("_system")
    items = db.create_collection("items")
    items.add_index({"type": "persistent", "fields": ["gone"], "sparse": True})
    items.add_index({"type": "persistent", "fields": ["n"]})
    items.insert_many([{"n": n} | ({"gone": "x"} if n % 2 else {}) for n in range(6)])
    query = f"FOR d IN items FILTER d.gone {test} SORT d.n DESC LIMIT 2 RETURN d.n"
    assert db.aql.explain(query)["nodes"][1]["indexes"][0]["fields"] == [fields]
    wanted = [n for n in range(5, -1, -1) if test == ">= null" or (n % 2 == 0) == (test == "== null")]
    assert list(db.aql.execute(query)) == wanted[:2]


def test_a_sparse_index_for_null_leaves_the_choice_to_another(db: Any) -> None:
    """A literal null on one attribute does not keep the index of another from being used."""
    query = "FOR d IN items FILTER d.code == null AND d.name == 'name2' RETURN d._key"
    cursor = db.aql.execute(query)
    assert sorted(cursor) == ["k12", "k2", "k22", "k32", "k42"]
    assert cursor.statistics()["scanned_full"] == 0


def test_values_that_depend_on_the_loop_stay_filters(db: Any) -> None:
    """A filter between two attributes of a document is no look-up."""
    query = "FOR d IN items FILTER d.number == d.created FILTER d.created < 3 RETURN d.created"
    assert list(db.aql.execute(query)) == [1, 2]


def test_alternatives_on_two_attributes_stay_a_filter(db: Any) -> None:
    """Only alternatives for one attribute are a look-up; others are found by reading everything."""
    query = "FOR d IN items FILTER d.code == 'c1' OR d.created == 2 SORT d.created RETURN d.created"
    cursor = db.aql.execute(query)
    assert list(cursor) == [1, 2]
    assert cursor.statistics()["scanned_full"] == 50


def test_an_inverted_index_serves_comparisons(tmp_path: Path) -> None:
    """It is used as a persistent index is, and refused where it would need an analyzer."""
    items = client(tmp_path / "inverted.db").db("_system").create_collection("items")
    index = items.add_index({"type": "inverted", "fields": [{"name": "name"}], "includeAllFields": True})
    assert (index["type"], index["includeAllFields"], index["analyzer"]) == ("inverted", True, "identity")
    items.insert_many({"name": f"n{i}"} for i in range(9))
    cursor = items.find({"name": "n3"})
    assert [d["name"] for d in cursor] == ["n3"]
    assert cursor.statistics()["scanned_full"] == 0
    with pytest.raises(IndexCreateError, match="identity"):
        items.add_index({"type": "inverted", "fields": ["text"], "analyzer": "text_en"})


def test_new_index_is_picked_up(tmp_path: Path) -> None:
    """A cached plan is not used any more once the catalog has changed."""
    db = client(tmp_path / "new.db").db("_system")
    collection = db.create_collection("c")
    collection.insert_many({"x": n} for n in range(10))
    query = "FOR d IN c FILTER d.x == 3 RETURN d.x"
    assert db.aql.execute(query).statistics()["scanned_full"] == 10
    collection.add_index({"type": "persistent", "fields": ["x"]})
    statistics = db.aql.execute(query).statistics()
    assert (statistics["scanned_full"], statistics["scanned_index"]) == (0, 1)


REFUSED = [
    ("INSERT {} INTO items FOR d IN items RETURN d", {}, 1579),
    ("FOR d IN items REMOVE d IN items INSERT {} INTO items", {}, 1579),
    ("LET a = (INSERT {} INTO items) FOR v IN 1..1 OUTBOUND 'items/k1' links RETURN v", {}, 1579),
    ("LET a = (INSERT {} INTO items) RETURN DOCUMENT('items/k1')", {}, 1579),
    ("FOR d IN nowhere RETURN d", {}, 1203),
    ("RETURN items", {}, 1568),
    ("RETURN @a", {}, 1551),
    ("RETURN 1", {"a": 1}, 1552),
    ("FOR d IN @@c RETURN d", {"@c": 1}, 1553),
    ("FOR v IN 1..1 OUTBOUND 'a/b' items RETURN v", {}, 1218),
    ("FOR v IN 1..1 OUTBOUND 'a/b' GRAPH 'none' RETURN v", {}, 1924),
    ("INSERT {_key: 'a b'} INTO items", {}, 1221),
    ("INSERT {} INTO links", {}, 1233),
    ("UPDATE 'missing' WITH {} IN items", {}, 1202),
    ("INSERT {code: 'c1'} INTO items", {}, 1210),
]


@pytest.mark.parametrize(("query", "bind_vars", "number"), REFUSED)
def test_refuses_what_arangodb_refuses(db: Any, query: str, bind_vars: dict[str, Any], number: int) -> None:
    """A statement that ArangoDB refuses is refused, with the same error number."""
    with pytest.raises(AQLQueryExecuteError) as failure:
        db.aql.execute(query, bind_vars=bind_vars)
    assert failure.value.error_code == number


def test_statement_may_write_what_it_read_before(db: Any) -> None:
    """A loop over a collection that it inserts into sees only what was there before."""
    before = db.collection("items").count()
    db.aql.execute("FOR d IN items FILTER d.created < 3 INSERT {copy: true} INTO items")
    assert db.collection("items").count() == before + 3
    db.aql.execute("FOR d IN items LET x = (INSERT {copy: true} INTO items) RETURN x")
    assert db.collection("items").count() == 2 * (before + 3)
    db.aql.execute("FOR d IN items FILTER d.copy REMOVE d IN items")
    assert db.collection("items").count() == before


def test_full_count_is_that_of_the_last_limit(db: Any) -> None:
    """With fullCount, the statistics tell how many rows there were before the last LIMIT, if there is one."""
    cursor = db.aql.execute("FOR d IN items LIMIT 2, 3 RETURN d.created", full_count=True)
    assert list(cursor) == [2, 3, 4]
    assert cursor.statistics()["fullCount"] == 50
    for query, rows in (("FOR x IN 1..3 RETURN x", 3), ("FOR x IN 1..3 FILTER x > 9 UPDATE 'x' WITH {} IN items", 0)):
        assert db.aql.execute(query, full_count=True).statistics()["fullCount"] == rows


def test_hints_choose_the_index(db: Any) -> None:
    """A hint prefers an index, or none at all; a forced one that is of no use is an error."""
    query = "FOR d IN items OPTIONS @@ FILTER d.name == 'name1' FILTER d.a.b == 1 RETURN d._key"
    names = {index["fields"][0]: index["name"] for index in db.collection("items").indexes()}
    used = lambda options: db.aql.explain(query.replace("@@", options))["nodes"][1]  # noqa: E731
    assert used(f"{{indexHint: '{names['a.b']}'}}")["indexes"][0]["fields"] == ["a.b"]
    assert used("{indexHint: 'nosuch'}")["indexes"][0]["fields"] == ["name", "created"]
    assert used("{disableIndex: true}")["type"] == "EnumerateCollectionNode"
    bound = query.replace("@@", "{indexHint: @hint, forceIndexHint: @force}")
    assert len(list(db.aql.execute(bound, bind_vars={"hint": "nosuch", "force": False}))) == 4
    with pytest.raises(AQLQueryExecuteError) as failure:
        db.aql.execute(bound, bind_vars={"hint": "nosuch", "force": True})
    assert failure.value.error_code == 1577
    upsert = "UPSERT {name: 'x'} INSERT {} UPDATE {} IN items OPTIONS {indexHint: @hint, forceIndexHint: true}"
    with pytest.raises(AQLQueryExecuteError) as failure:
        db.aql.execute(upsert, bind_vars={"hint": "nosuch"})
    assert failure.value.error_code == 1577


def test_unknown_options_warn_in_every_run(db: Any) -> None:
    """Options that a clause does not have are a warning each time, also from a cached plan."""
    for _ in range(2):
        cursor = db.aql.execute("FOR d IN items OPTIONS {nosuch: 1} LIMIT 1 RETURN 1")
        assert cursor.warnings() == [{"code": 1539, "message": "unknown attribute 'nosuch' in FOR OPTIONS"}]


def test_ten_warnings_are_enough(db: Any) -> None:
    """A query that warns more often says so ten times."""
    assert len(db.aql.execute("FOR x IN 1..50 RETURN x / 0").warnings()) == 10


def test_cluster_mode_asks_for_declared_collections(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a coordinator, a traversal of edge collections reads only from collections that the query names."""
    monkeypatch.setenv(CLUSTER_VARIABLE, "1")
    walks = "FOR v IN 1..1 OUTBOUND 'items/k1' links", "FOR v IN OUTBOUND SHORTEST_PATH 'items/k1' TO 'items/k2' links"
    for walk in walks:
        with pytest.raises(AQLQueryExecuteError, match="please add 'WITH items'") as failure:
            db.aql.execute(f"{walk} RETURN v")
        assert failure.value.error_code == 1521
        assert list(db.aql.execute(f"WITH items {walk} RETURN v._key"))[-1] == "k2"
    started = "FOR d IN items FILTER d._key == 'k1' FOR v IN 1..1 OUTBOUND d links RETURN v._key"
    assert list(db.aql.execute(started)) == ["k2"]


def test_named_graphs_declare_their_collections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A traversal of a named graph needs no WITH, also as on a coordinator."""
    monkeypatch.setenv(CLUSTER_VARIABLE, "1")
    db = client(tmp_path / "graph.db").db("_system")
    definition = {"edge_collection": "e", "from_vertex_collections": ["a"], "to_vertex_collections": ["b"]}
    graph = db.create_graph("g", [definition])
    graph.vertex_collection("a").insert({"_key": "1"})
    graph.vertex_collection("b").insert({"_key": "2"})
    graph.edge_collection("e").insert({"_from": "a/1", "_to": "b/2"})
    assert list(db.aql.execute("FOR v IN 1..1 OUTBOUND 'a/1' GRAPH 'g' RETURN v._key")) == ["2"]
    assert list(db.aql.execute("FOR v IN 1..1 OUTBOUND 'a/1' GRAPH @g RETURN v._key", bind_vars={"g": "g"})) == ["2"]


def test_plan_shows_nested_subqueries() -> None:
    """A write in a subquery of a subquery is a node of the plan."""
    inner = Block([Calculate(1, lambda frame: 1)], None, False, False, [[], []])
    outer = Block([], lambda frame: 1, False, False, [[inner]])
    nodes = nodes_of(outer)
    assert [node["type"] for node in nodes] == ["SingletonNode", "SubqueryNode", "ReturnNode"]
    assert [node["type"] for node in nodes[1]["subquery"]["nodes"]] == ["SingletonNode", "CalculationNode"]
    assert [node["dependencies"] for node in nodes] == [[], [nodes[0]["id"]], [nodes[1]["id"]]]


def test_versions_decide_on_writes(tmp_path: Path) -> None:
    """With versionAttribute, a write with a version that is not higher leaves the document as it is."""
    db = client(tmp_path / "versions.db").db("_system")
    db.create_collection("c").insert({"_key": "k", "v": 5, "x": 0})
    options = "OPTIONS {versionAttribute: 'v'} RETURN [OLD.x, NEW.x]"
    run = lambda write: list(db.aql.execute(write))  # noqa: E731
    assert run(f"UPDATE {{_key: 'k', v: 5, x: 1}} IN c {options}") == [[0, 0]]
    assert run(f"UPDATE {{_key: 'k', v: 6, x: 2}} IN c {options}") == [[0, 2]]
    assert run(f"REPLACE {{_key: 'k', v: 4, x: 3}} IN c {options}") == [[2, 2]]
    assert run(f"REPLACE {{_key: 'k', x: 4}} IN c {options}") == [[2, 4]]
    insert = "INSERT {_key: 'k', v: 1, x: 5} INTO c OPTIONS {versionAttribute: 'v', overwriteMode: 'replace'}"
    assert run(f"{insert} RETURN NEW.x") == [5]
    assert run(f"{insert} RETURN [OLD.x, NEW.x]") == [[5, 5]]
