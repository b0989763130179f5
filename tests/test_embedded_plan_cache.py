"""The AQL query plan cache of the embedded database, for statements with the option usePlanCache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from arangopipe_ops.embedded import Database
from arangopipe_ops.embedded.rights import IN_PROCESS, Identity

PLANS = "/_api/query-plan-cache"
BY_VALUE = "FOR d IN @@c FILTER d.n == @n RETURN d"


@pytest.fixture
def file(tmp_path: Path) -> Database:
    database = Database(tmp_path / "x.db")
    for name, kind in (("c", 2), ("other", 2), ("e", 3)):
        database.handle("POST", "/_api/collection", body={"name": name, "type": kind})
    return database


def _send(file: Database, query: str, binds: Any = None, route: str = "cursor", **options: Any) -> Any:
    body = {"query": query, "bindVars": binds or {}, "options": {"usePlanCache": True, **options}}
    return file.handle("POST", f"/_api/{route}", body=body).body


def _plans(file: Database, user: Identity = IN_PROCESS) -> Any:
    return file.handle("GET", PLANS, user=user).body


def test_a_plan_is_used_again(file: Database) -> None:
    """The second run, and explain, name the cached plan, whatever the values; the first and others do not."""
    assert "planCacheKey" not in _send(file, BY_VALUE, {"@c": "c", "n": 1})
    key = _send(file, BY_VALUE, {"@c": "c", "n": 2})["planCacheKey"]
    assert _send(file, BY_VALUE, {"@c": "c", "n": 3}, "explain")["planCacheKey"] == key
    assert "planCacheKey" not in _send(file, BY_VALUE, {"@c": "c", "n": 2}, usePlanCache=False)
    assert "planCacheKey" not in _send(file, BY_VALUE, {"@c": "other", "n": 2})
    assert "planCacheKey" not in _send(file, BY_VALUE, {"@c": "c", "n": 2}, fullCount=True)


def test_plans_are_listed(file: Database) -> None:
    """What was asked for is listed with its collections and hits, nothing else is; clearing leaves none."""
    _send(file, "RETURN 1", usePlanCache=False)
    for n in range(3):
        _send(file, BY_VALUE, {"@c": "c", "n": n})
    (entry,) = _plans(file)
    assert (entry["query"], entry["bindVars"], entry["dataSources"]) == (BY_VALUE, {"@c": "c"}, ["c"])
    assert (entry["hits"], entry["fullCount"]) == (2, False)
    assert entry["hash"] == _send(file, BY_VALUE, {"@c": "c", "n": 0})["planCacheKey"]
    assert entry["memoryUsage"] > len(BY_VALUE)
    assert type(entry["queryHash"]) is int
    assert entry["created"].endswith("Z")
    assert file.handle("DELETE", PLANS).status == 200
    assert _plans(file) == []
    assert "planCacheKey" not in _send(file, BY_VALUE, {"@c": "c", "n": 0})


def test_a_changed_catalog_forgets_plans(file: Database) -> None:
    """An index that is made or a collection that is renamed makes plans anew."""
    _send(file, BY_VALUE, {"@c": "c", "n": 0})
    file.handle("POST", "/_api/index", {"collection": "c"}, body={"type": "persistent", "fields": ["n"]})
    assert _plans(file) == []
    assert "planCacheKey" not in _send(file, BY_VALUE, {"@c": "c", "n": 0})


@pytest.mark.parametrize(
    ("query", "binds", "options"),
    [
        ("FOR d IN c RETURN d.@name", {"name": "n"}, {}),
        ("FOR d IN c LIMIT @n RETURN d", {"n": 1}, {}),
        ("FOR d IN c LIMIT @n, 2 RETURN d", {"n": 1}, {}),
        ("FOR v IN 1..@n OUTBOUND 'c/a' e RETURN v", {"n": 1}, {}),
        ("FOR v IN OUTBOUND 'c/a' @@e RETURN v", {"@e": "e"}, {}),
        ("FOR v IN OUTBOUND SHORTEST_PATH 'c/a' TO 'c/b' @@e RETURN v", {"@e": "e"}, {}),
        ("RETURN (FOR d IN c LIMIT @n RETURN d)", {"n": 1}, {}),
        ("UPSERT {_key: 'a'} INSERT {} UPDATE {} IN c", {}, {}),
        ("FOR d IN c OPTIONS {nonsense: 1} RETURN d", {}, {}),
        ("FOR d IN c RETURN d", {}, {"optimizer": {"rules": ["-all"]}}),
    ],
)
def test_unfit_statements_are_refused(file: Database, query: str, binds: Any, options: Any) -> None:
    """What a server caches no plan for is error 1584, and runs without the option."""
    for route in ("cursor", "explain"):
        assert _send(file, query, binds, route, **options)["errorNum"] == 1584
    assert _plans(file) == []
    assert not _send(file, query, binds, usePlanCache=False, **options)["error"]


@pytest.mark.parametrize(
    ("query", "binds"),
    [
        ("FOR d IN c LIMIT 1 FILTER d.n == @n RETURN d", {"n": 1}),
        ("FOR v IN 1..2 OUTBOUND @start e RETURN v", {"start": "c/a"}),
        ("FOR d IN c RETURN d[@n]", {"n": 0}),
        ("INSERT @document INTO @@c", {"document": {}, "@c": "c"}),
    ],
)
def test_fit_statements(file: Database, query: str, binds: Any) -> None:
    """Values elsewhere, and modifications, are no obstacle."""
    _send(file, query, binds)
    assert _send(file, query, binds)["planCacheKey"]


def test_rights_on_plans(file: Database) -> None:
    """Plans of hidden collections are not shown; clearing needs to be allowed to write to the database."""
    _send(file, BY_VALUE, {"@c": "c", "n": 0})
    reader = Identity("reader", {"_system": {"": "ro"}})
    stranger = Identity("stranger", {"_system": {"": "ro", "c": "none"}})
    assert len(_plans(file, reader)) == 1
    assert _plans(file, stranger) == []
    assert file.handle("DELETE", PLANS, user=reader).status == 403
    assert len(_plans(file)) == 1
