"""Plans as ArangoDB's explain output shows them. Manual: aql/execution-and-performance/explaining-queries."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from .executor import Block

Node = dict[str, Any]


def nodes_of(block: Block) -> list[Node]:
    """The operators as a chain of nodes; a subquery is a node of its own, in front of the one that uses it."""
    return _chained(block, count(1))


def _chained(block: Block, numbers: Iterator[int]) -> list[Node]:
    chain: list[Node] = []
    for node in _nodes(block, numbers):
        before = [chain[-1]["id"]] if chain else []
        chain.append({"type": node["type"], "id": next(numbers), "dependencies": before} | node)
    return chain


def _nodes(block: Block, numbers: Iterator[int]) -> Iterator[Node]:
    yield {"type": "SingletonNode"}
    shown = [*(operator.explain() for operator in block.operators), None]
    for node, subqueries in zip(shown, block.subqueries, strict=True):
        for subquery in subqueries:
            yield {"type": "SubqueryNode", "subquery": {"nodes": _chained(subquery, numbers)}}
        if node is not None:
            yield node
    if block.result is not None:
        yield {"type": "ReturnNode"}
