"""What the grammar lets pass and ArangoDB refuses before it runs a query."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import ArangoError
from .functions import FUNCTIONS
from .tree import (
    MODIFICATIONS,
    Array,
    Binary,
    Call,
    Clause,
    Expr,
    For,
    Limit,
    Literal,
    Object,
    Param,
    Paths,
    Query,
    Return,
    Subquery,
    Ternary,
    Traversal,
    Unary,
    Window,
    nesting,
    walk,
)

MAX_NESTING = 500
"""Manual: aql/fundamentals/limitations."""

CONSTANT = (Literal, Param, Unary, Binary, Ternary, Array, Object, Call)
"""The nodes of expressions that a server knows the value of before it runs a query."""


def check(query: Query) -> None:
    if not query.clauses:
        raise ArangoError(1502)
    if nesting(query) > MAX_NESTING:
        raise ArangoError(1524)
    _check_distinct(query.clauses)
    for node in walk(query):
        CHECKS.get(type(node), _no_check)(node)
        _check_options(node)


def _no_check(node: Any) -> None:
    """Nodes that the grammar has checked."""


def _check_block(block: Query | Subquery) -> None:
    """RETURN ends a query; what does not return has to modify."""
    clauses = block.clauses
    if any(isinstance(clause, Return) for clause in clauses[:-1]):
        raise ArangoError(1501, "syntax error, unexpected operation after RETURN")
    if not any(isinstance(clause, (Return, *MODIFICATIONS)) for clause in clauses):
        raise ArangoError(1501, "syntax error, unexpected end of query string, expecting RETURN or a write")
    kinds = [isinstance(clause, MODIFICATIONS) for clause in clauses]
    if any(isinstance(clause, Window) and any(kinds[:at]) for at, clause in enumerate(clauses)):
        raise ArangoError(1595)


def _check_distinct(clauses: tuple[Clause, ...]) -> None:
    last = clauses[-1]
    looping = any(isinstance(clause, (For, Traversal, Paths)) for clause in clauses)
    if isinstance(last, Return) and last.distinct and not looping:
        raise ArangoError(1501, "syntax error, cannot use DISTINCT modifier on top-level query element")


def _check_limit(clause: Limit) -> None:
    for value in (clause.offset, clause.count):
        _demand_constant(value, "LIMIT expects constant numbers")


def _check_traversal(clause: Traversal) -> None:
    _demand_constant(clause.depth, "invalid traversal depth, expecting constant numbers")
    if any(isinstance(node, Subquery) for node in walk(clause.prune)):
        raise ArangoError(1501, "syntax error, PRUNE must not use a subquery")


def _check_paths(clause: Paths) -> None:
    _demand_constant(clause.depth, "invalid path depth, expecting constant numbers")


def _check_window(clause: Window) -> None:
    _demand_constant(clause.bounds, "WINDOW expects constant bounds")


def _demand_constant(value: Expr | None, message: str) -> None:
    if not is_constant(value):
        raise ArangoError(1501, f"syntax error, {message}")


def is_constant(value: Expr | None) -> bool:
    """Whether its value is the same wherever it stands, and known once bind variables are."""
    return all(isinstance(node, CONSTANT) and is_deterministic(node) for node in walk(value))


def is_deterministic(node: Any) -> bool:
    """Whether a node of the tree, without what is in it, has one value for all times."""
    function = FUNCTIONS.get(node.name) if isinstance(node, Call) else None
    return function is None or (function.deterministic and not function.in_context)


def _check_options(node: Any) -> None:
    if not is_constant(getattr(node, "options", None)):
        raise ArangoError(1575)


CHECKS: dict[type, Callable[[Any], None]] = {
    Query: _check_block,
    Subquery: _check_block,
    Limit: _check_limit,
    Traversal: _check_traversal,
    Paths: _check_paths,
    Window: _check_window,
}
