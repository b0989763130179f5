"""The AQL query plan cache, for statements that ask for it. Manual: aql/execution-and-performance/caching-query-plans.

Plans are kept anyway, in `Statements`: this says which statements have asked for that, and how often it was of use.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

from .errors import ArangoError
from .executor import Plan
from .tree import BoundAttribute, CollectionParam, Limit, Param, Paths, Query, Traversal, Upsert, walk

CAPACITY = 128
"""How many plans of all databases are known to have been asked for."""
Key: TypeAlias = tuple[Any, ...]


def _path_params(node: Any) -> bool:
    listed = [node.depth, node.graph, *(each.collection for each in node.edges)]
    return any(isinstance(each, (Param, CollectionParam)) for part in listed for each in walk(part))


_UNFIT: dict[type, Callable[[Any], bool]] = {
    BoundAttribute: lambda node: True,
    Upsert: lambda node: True,
    Limit: lambda node: any(isinstance(each, Param) for part in (node.offset, node.count) for each in walk(part)),
    Traversal: _path_params,
    Paths: _path_params,
}
"""Node of a query -> whether its plan cannot be cached for it."""


def check_fit(query: Query, plan: Plan, rules: bool) -> None:
    """Raises 1584 for a statement whose plan a server does not cache, as one with optimizer `rules`."""
    if rules or plan.warnings or any(_UNFIT[type(node)](node) for node in walk(query) if type(node) in _UNFIT):
        raise ArangoError(1584)


@dataclass(slots=True)
class Asked:
    """A plan that was asked for to be cached."""

    text: str
    bind_values: dict[str, Any]
    """Of collections only."""
    full_count: bool
    plan: Plan
    created: float = field(default_factory=time.time)
    hits: int = 0

    def shown(self, key: Key, size: int) -> dict[str, Any]:
        created = datetime.fromtimestamp(self.created, UTC)
        return {
            "hash": str(_number(repr(key))),
            "query": self.text,
            "queryHash": _number(self.text),
            "bindVars": self.bind_values,
            "fullCount": self.full_count,
            "dataSources": sorted(self.plan.collections),
            "created": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "hits": self.hits,
            "memoryUsage": size,
        }


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(errors="replace"), digest_size=6).digest())


class PlanCache:
    """The plans that were asked for, by version of the catalog, database, statement and collections."""

    def __init__(self) -> None:
        self._asked: OrderedDict[Key, Asked] = OrderedDict()

    def ask(
        self, version: int, database: str, text: str, values: dict[str, Any], full_count: bool, plan: Plan
    ) -> str | None:
        """The key of the plan if it was in the cache; it is from now on."""
        collections = {name: value for name, value in sorted(values.items()) if name.startswith("@")}
        key = (version, database, text, json.dumps(collections), full_count)
        asked = self._asked.get(key)
        if asked is not None:
            asked.hits += 1
            return str(_number(repr(key)))
        self._asked[key] = Asked(text, collections, full_count, plan)
        if len(self._asked) > CAPACITY:
            self._asked.popitem(last=False)
        return None

    def entries(self, version: int, database: str) -> list[tuple[Key, Asked]]:
        return [(key, asked) for key, asked in list(self._asked.items()) if key[:2] == (version, database)]

    def clear(self, database: str) -> None:
        for key in [key for key in list(self._asked) if key[1] == database]:
            self._asked.pop(key, None)
