"""Bind variables: checked against a query, and put into it where they decide how it is planned.

Collections (`@@name`), attribute names (`d.@name`, `d[@name]`) and graph names shape the plan, so they
become part of the tree; all other values are read from the frame when the query runs.
Manual: aql/fundamentals/bind-parameters.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .errors import ArangoError
from .tree import (
    Array,
    Attribute,
    BoundAttribute,
    CollectionParam,
    CollectionRef,
    Expr,
    For,
    Index,
    Literal,
    Param,
    Paths,
    Query,
    Traversal,
    Upsert,
    above,
    transform,
    walk,
)
from .values import dump

HINTED = (For, Upsert)
"""Clauses whose options choose an index."""


class BindParameters:
    """The bind parameters that a query's text asks for."""

    def __init__(self, query: Query) -> None:
        self._query = query
        nodes = list(walk(query))
        self.names = {node.name for node in nodes if isinstance(node, (Param, CollectionParam))}
        self._structural = sorted({name for node in nodes for name in _shaping(node)})
        self._hints = sorted({param.name for node in nodes for param in _hinting(node)})
        self._shaped = above(query, lambda node: bool(_shaping(node) or _hinting(node)))

    def check(self, values: dict[str, Any]) -> None:
        """Raises 1551 for a missing and 1552 for a superfluous bind variable."""
        for name in self.names:
            if name not in values:
                raise ArangoError(1551, name)
        for name in values:
            if name not in self.names:
                raise ArangoError(1552, name)

    def shape(self, values: dict[str, Any]) -> tuple[Any, ...]:
        """What of `values` decides on the plan; a hashable part of its cache key."""
        shaping = tuple(_hashable(values[name]) for name in self._structural)
        return (*shaping, *[dump(values[name]) for name in self._hints]) if self._hints else shaping

    def bind(self, values: dict[str, Any]) -> Query:
        """The query with collections, attribute names and graph names put in."""
        bound: Query = transform(self._query, lambda node: _bind(node, values), self._shaped)
        return bound


def _shaping(node: Any) -> list[str]:
    if isinstance(node, CollectionParam):
        return [node.name]
    if isinstance(node, BoundAttribute):
        return [node.param.name]
    if isinstance(node, Index) and isinstance(node.index, Param):
        return [node.index.name]
    return [node.graph.name] if isinstance(node, (Traversal, Paths)) and isinstance(node.graph, Param) else []


def _hinting(node: Any) -> list[Param]:
    return [each for each in walk(node.options) if isinstance(each, Param)] if isinstance(node, HINTED) else []


def _hashable(value: Any) -> Any:
    """Numbers and the like index arrays when the query runs: they do not shape the plan."""
    if isinstance(value, list):
        return tuple(_hashable(item) for item in value)
    return value if isinstance(value, str) else None


def _bind(node: Any, values: dict[str, Any]) -> Any:
    if isinstance(node, CollectionParam):
        return CollectionRef(_text(node.name, values))
    if isinstance(node, BoundAttribute):
        return _attributes(node.base, node.param.name, values)
    if isinstance(node, Index) and isinstance(node.index, Param):
        name = values[node.index.name]
        return Attribute(node.base, name) if isinstance(name, str) else node
    if isinstance(node, (Traversal, Paths)) and isinstance(node.graph, Param):
        return replace(node, graph=Literal(_text(node.graph.name, values)))
    if isinstance(node, HINTED) and node.options is not None:
        return replace(node, options=transform(node.options, lambda each: _valued(each, values)))
    return node


def _valued(node: Any, values: dict[str, Any]) -> Any:
    """The options of a loop choose its index, so their values have to be in the tree."""
    return _literal(values[node.name]) if isinstance(node, Param) else node


def _literal(value: Any) -> Expr:
    return Array(tuple(map(_literal, value))) if isinstance(value, list) else Literal(value)


def _text(name: str, values: dict[str, Any]) -> str:
    value = values[name]
    if not isinstance(value, str) or not value:
        raise ArangoError(1553, name)
    return value


def _attributes(base: Expr, name: str, values: dict[str, Any]) -> Expr:
    value = values[name]
    path = value if isinstance(value, list) else [value]
    for attribute in path:
        if not isinstance(attribute, str) or not attribute:
            raise ArangoError(1553, name)
        base = Attribute(base, attribute)
    return base
