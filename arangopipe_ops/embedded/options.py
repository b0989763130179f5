"""What OPTIONS may say. Manual: aql/high-level-operations, aql/graph-queries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .errors import ArangoError
from .tree import Array, Collect, Expr, For, Insert, Literal, Object, Paths, Remove, Traversal, Update, Upsert
from .values import Value, is_true

_MODIFICATION = {
    *("waitForSync", "skipDocumentValidation", "keepNull", "mergeObjects", "exclusive", "ignoreRevs", "ignoreErrors"),
    *("overwrite", "overwriteMode", "refillIndexCaches", "versionAttribute"),
}
_PATHS = {"weightAttribute", "defaultWeight", "useCache"}
HINTS = {"indexHint", "forceIndexHint", "disableIndex"}
KNOWN: dict[type, tuple[str, set[str]]] = {
    For: ("FOR", HINTS | {"maxProjections", "useCache", "lookahead"}),
    Traversal: (
        "TRAVERSAL",
        _PATHS
        | {"order", "bfs", "uniqueVertices", "uniqueEdges", "edgeCollections", "vertexCollections"}
        | {"parallelism", "maxProjections", "indexHint"},
    ),
    Paths: ("SHORTEST_PATH", _PATHS),
    Collect: ("COLLECT", {"method", "disableIndex"}),
    Insert: ("INSERT", _MODIFICATION),
    Update: ("UPDATE", _MODIFICATION),
    Remove: ("REMOVE", _MODIFICATION),
    Upsert: ("UPSERT", _MODIFICATION | HINTS | {"readOwnWrites"}),
}
"""Clause -> its name in warnings, and the options that it has."""


def attributes(options: Object | None) -> Iterator[tuple[str, Expr]]:
    """Names and values; a name that is an expression makes the options unreadable."""
    for name, value in options.attributes if options is not None else ():
        if not isinstance(name, Literal):
            raise ArangoError(1575)
        yield str(name.value), value


def warnings(clause: Any) -> list[tuple[Any, ...]]:
    """A warning for each option that the clause does not know."""
    operation, known = KNOWN[type(clause)]
    names = [name for name, _ in attributes(clause.options)]
    found: list[tuple[Any, ...]] = [(1539, "unknown", name, operation) for name in names if name not in known]
    method = constants(clause.options).get("method") if isinstance(clause, Collect) else None
    return found if method in (None, "sorted", "hash") else [*found, (1539, "invalid", "method", operation)]


def constants(options: Object | None) -> dict[str, Value]:
    """The options whose values are literals, which is all of a FOR's once its bind variables are in."""
    return {name: _constant(value) for name, value in attributes(options)}


def _constant(value: Expr) -> Value:
    if isinstance(value, Array):
        return [_constant(item) for item in value.items]
    return value.value if isinstance(value, Literal) else None


@dataclass(frozen=True, slots=True)
class Hints:
    """Which indexes a loop should use. Manual: aql/high-level-operations/for#options."""

    names: tuple[str, ...] = ()
    forced: bool = False
    disabled: bool = False

    @staticmethod
    def read(options: Object | None) -> Hints:
        given = constants(options)
        names = given.get("indexHint")
        listed = names if isinstance(names, list) else [names]
        return Hints(
            tuple(name for name in listed if isinstance(name, str)),
            is_true(given.get("forceIndexHint")),
            is_true(given.get("disableIndex")),
        )
