"""Which statements read through an index, and which are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from arango.exceptions import AQLQueryExecuteError

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
    ("FOR d IN items FILTER d.a.b == 2 SORT d._key LIMIT 1 RETURN d.created", [11], 16),
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


def test_values_that_depend_on_the_loop_stay_filters(db: Any) -> None:
    """A filter between two attributes of a document is no look-up."""
    query = "FOR d IN items FILTER d.number == d.created FILTER d.created < 3 RETURN d.created"
    assert list(db.aql.execute(query)) == [1, 2]


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
    """With fullCount, the statistics tell how many rows there were before the last LIMIT."""
    cursor = db.aql.execute("FOR d IN items LIMIT 2, 3 RETURN d.created", full_count=True)
    assert list(cursor) == [2, 3, 4]
    assert cursor.statistics()["fullCount"] == 50
