"""The syntax tree of an AQL query. Nodes are compared by identity."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True, eq=False)
class Literal:
    value: Any


@dataclass(frozen=True, slots=True, eq=False)
class Param:
    """`@name`"""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class CollectionParam:
    """`@@name`; `name` keeps one `@`, as in the bind variables of a request."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class CollectionRef:
    """A collection by its name, what `@@name` is once it is bound."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Variable:
    """A name: of a variable if one is in scope, else of a collection."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Attribute:
    base: Expr
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class BoundAttribute:
    """`base.@name`, where the bind value is an attribute name or a path of them."""

    base: Expr
    param: Param


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    base: Expr
    index: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Expansion:
    """`base[* FILTER test LIMIT offset, count RETURN projection]tail`, flattening `depth - 1` levels.

    What follows the bracket (`.name[*].first`) applies to each element: it is a tree around `Element()`.
    """

    base: Expr
    depth: int
    test: Expr | None
    limit: Limit | None
    projection: Expr | None
    tail: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Element:
    """The element at hand in the tail of an expansion."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """`base[? quantity FILTER test]`: whether so many elements pass the test.

    A quantifier of "" stands for the number of elements, or range of it, that `count` is.
    """

    base: Expr
    quantifier: str
    count: Expr | None
    test: Expr | None


@dataclass(frozen=True, slots=True, eq=False)
class Unary:
    operator: str
    operand: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Binary:
    operator: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Quantified:
    """`left ALL|ANY|NONE|AT LEAST (count) operator right`"""

    quantifier: str
    count: Expr | None
    operator: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Ternary:
    """`test ? then : otherwise`; without `then` the test's own value is the result."""

    test: Expr
    then: Expr | None
    otherwise: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    name: str
    arguments: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Array:
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Object:
    attributes: tuple[tuple[Expr, Expr], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Subquery:
    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True, eq=False)
class For:
    name: str
    source: Expr
    options: Object | None


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """An edge collection of a traversal and the direction to follow in it."""

    direction: str
    collection: CollectionName


@dataclass(frozen=True, slots=True, eq=False)
class Traversal:
    names: tuple[str, ...]
    depth: Expr | None
    direction: str
    start: Expr
    edges: tuple[Edges, ...]
    graph: Expr | None
    prune: Let | None
    options: Object | None


@dataclass(frozen=True, slots=True, eq=False)
class Paths:
    """A search for paths; `kind` is its keyword. Only SHORTEST_PATH emits a vertex and an edge per step."""

    kind: str
    names: tuple[str, ...]
    depth: Expr | None
    direction: str
    start: Expr
    end: Expr
    edges: tuple[Edges, ...]
    graph: Expr | None
    options: Object | None


@dataclass(frozen=True, slots=True, eq=False)
class Filter:
    test: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Let:
    """`name = value`; the name of a PRUNE condition may be missing."""

    name: str
    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Lets:
    assignments: tuple[Let, ...]


@dataclass(frozen=True, slots=True, eq=False)
class SortKey:
    value: Expr
    descending: bool


@dataclass(frozen=True, slots=True, eq=False)
class Sort:
    keys: tuple[SortKey, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Limit:
    offset: Expr | None
    count: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Into:
    name: str
    projection: Expr | None
    keep: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Collect:
    keys: tuple[Let, ...]
    aggregates: tuple[Let, ...]
    into: Into | None
    count: str | None
    options: Object | None


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """WINDOW over adjacent rows or, with `value`, over the rows with values in a range."""

    value: Expr | None
    bounds: Expr
    aggregates: tuple[Let, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Return:
    value: Expr
    distinct: bool


@dataclass(frozen=True, slots=True, eq=False)
class Insert:
    document: Expr
    target: CollectionName
    options: Object | None


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """UPDATE or, with `replaces`, REPLACE; without `patch` the selector is the patch as well."""

    selector: Expr
    patch: Expr | None
    target: CollectionName
    options: Object | None
    replaces: bool


@dataclass(frozen=True, slots=True, eq=False)
class Remove:
    selector: Expr
    target: CollectionName
    options: Object | None


@dataclass(frozen=True, slots=True, eq=False)
class Upsert:
    """UPSERT by an example (an object) or by a FILTER condition on CURRENT."""

    search: Expr
    by_condition: bool
    document: Expr
    patch: Expr
    replaces: bool
    target: CollectionName
    options: Object | None


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    collections: tuple[CollectionName, ...]
    clauses: tuple[Clause, ...]


CollectionName: TypeAlias = Variable | CollectionParam | CollectionRef
Expr: TypeAlias = (
    Literal
    | Param
    | CollectionParam
    | CollectionRef
    | Variable
    | Attribute
    | BoundAttribute
    | Index
    | Expansion
    | Element
    | Question
    | Unary
    | Binary
    | Quantified
    | Ternary
    | Call
    | Array
    | Object
    | Subquery
)
Modification: TypeAlias = Insert | Update | Remove | Upsert
Clause: TypeAlias = For | Traversal | Paths | Filter | Lets | Sort | Limit | Collect | Window | Return | Modification

MODIFICATIONS = (Insert, Update, Remove, Upsert)


def is_node(value: Any) -> bool:
    return hasattr(value, "__dataclass_fields__")


def children(node: Any) -> Sequence[Any] | None:
    """What is right below a node or in a tuple; None for a leaf."""
    if isinstance(node, tuple):
        return node
    names = _names(node.__class__)
    return None if names is None else [getattr(node, name) for name in names]


@cache
def _names(kind: type) -> tuple[str, ...] | None:
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else None


def walk(node: Any) -> Iterator[Any]:
    """`node` and all nodes below it, from left to right."""
    stack = [node]
    while stack:
        each = stack.pop()
        below = children(each)
        if below is None:
            continue
        if not isinstance(each, tuple):
            yield each
        stack.extend(reversed(below))


def nesting(node: Any) -> int:
    """How many nodes are on the longest way down from `node`."""
    level, levels = [node], 0
    while level:
        levels += any(is_node(each) for each in level)
        level = [below for each in level for below in children(each) or ()]
    return levels


def above(root: Any, wanted: Callable[[Any], bool]) -> set[int]:
    """The ids of the nodes that are wanted, and of all nodes and tuples that they are in."""
    waiting: list[tuple[Any, Any]] = [(root, None)]
    seen: list[tuple[Any, Any]] = []
    while waiting:
        node, parent = waiting.pop()
        if (inner := children(node)) is not None:
            seen.append((node, parent))
            waiting.extend((each, node) for each in inner)
    found: set[int] = set()
    for node, parent in reversed(seen):
        if id(node) in found or (is_node(node) and wanted(node)):
            found |= {id(node), id(parent)}
    return found


def transform(root: Any, visit: Callable[[Any], Any], within: set[int] | None = None) -> Any:
    """The tree in which each node is what `visit` makes of it, the leaves first; what stays the same is not copied.

    Those whose ids are not in `within`, where it is given, stay as they are.
    """

    def below(node: Any) -> Sequence[Any] | None:
        return children(node) if within is None or id(node) in within else None

    def make(each: Any, below: list[Any]) -> Any:
        rebuilt = _rebuilt(each, below)
        return visit(rebuilt) if is_node(each) else rebuilt

    return fold(root, below, make)


def _rebuilt(node: Any, below: list[Any]) -> Any:
    if all(map(operator.is_, children(node) or (), below)):
        return node
    return type(node)(*below) if is_node(node) else tuple(below)


def fold(root: Any, below: Callable[[Any], Sequence[Any] | None], make: Callable[[Any, list[Any]], Any]) -> Any:
    """What `make` makes of each node and the results for those below it; leaves (None) stay as they are.

    There is no recursion in it, as a tree may be deeper than Python's stack.
    """
    done: list[Any] = []
    waiting: list[tuple[Any, int | None]] = [(root, None)]
    while waiting:
        node, size = waiting.pop()
        if size is not None:
            start = len(done) - size
            done[start:] = [make(node, done[start:])]
        elif (inner := below(node)) is None:
            done.append(node)
        else:
            waiting.append((node, len(inner)))
            waiting.extend((each, None) for each in reversed(inner))
    return done[0]
