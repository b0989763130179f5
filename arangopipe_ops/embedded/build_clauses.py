"""Clauses of the parser's tree -> syntax tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from .build_expressions import ExpressionBuilder, items
from .errors import ArangoError
from .tree import (
    Attribute,
    Binary,
    Call,
    Clause,
    Collect,
    CollectionName,
    CollectionParam,
    Edges,
    Expr,
    Filter,
    For,
    Index,
    Insert,
    Into,
    Let,
    Lets,
    Literal,
    Object,
    Paths,
    Query,
    Remove,
    Return,
    Sort,
    SortKey,
    Subquery,
    Ternary,
    Traversal,
    Update,
    Upsert,
    Variable,
    Window,
    fold,
)

if TYPE_CHECKING:
    from lark import Token


T = TypeVar("T")
Access: TypeAlias = Callable[[Expr], Expr]
Pattern: TypeAlias = list[tuple[Access, Any]]
"""How to read each part of a value, and the name or pattern that it is assigned to."""


class TreeBuilder(ExpressionBuilder):
    """One method per rule of the grammar, called with the children that are built already."""

    def __init__(self) -> None:
        self._hidden = count(1)

    def build(self, tree: Any) -> Any:
        def make(node: Any, children: list[Any]) -> Any:
            rule: Callable[..., Any] = getattr(self, node.data)
            return rule(*children)

        return fold(tree, lambda node: getattr(node, "children", None), make)

    def query(self, collections: tuple[CollectionName, ...] | None, *clauses: Clause | tuple[Clause, ...]) -> Query:
        return Query(collections or (), _flat(clauses))

    def subquery(self, *clauses: Clause | tuple[Clause, ...]) -> Subquery:
        return Subquery(_flat(clauses))

    with_list = names = edge_list = assignments = aggregate = staticmethod(items)

    # clauses

    def collection(self, name: str) -> Variable:
        return Variable(name)

    def collection_param(self, token: Token) -> CollectionParam:
        return CollectionParam(token[1:])

    def options(self, _: Token, value: Expr) -> Object:
        if not isinstance(value, Object):
            raise ArangoError(1501, "syntax error, OPTIONS expects an object literal")
        return value

    # `for`, `return` and the like are Python's keywords as well: these rules are bound below the class.
    def _for(self, names: tuple[str, ...], _: Token, source: Expr, options: Object | None = None) -> For:
        if len(names) > 1:
            raise ArangoError(1501, "syntax error, several loop variables without a traversal")
        return For(names[0], source, options)

    def for_pattern(
        self, pattern: Pattern, _: Token, source: Expr, options: Object | None = None
    ) -> tuple[Clause, ...]:
        name = self._hide()
        return For(name, source, options), Lets(tuple(self._assign(pattern, Variable(name))))

    def for_search(self, *_: Any) -> For:
        raise ArangoError(9, message="not implemented: SEARCH, use FILTER and a persistent index")

    def traversal(
        self,
        names: tuple[str, ...],
        _: Token,
        depth: Expr | None,
        direction: str,
        start: Expr,
        edges: tuple[Edges, ...] | Expr,
        prune: Let | None,
        options: Object | None = None,
    ) -> Traversal:
        if len(names) > 3:
            raise ArangoError(1501, "syntax error, a traversal emits at most three variables")
        listed, graph = _edges(edges, direction)
        return Traversal(names, depth, direction, start, listed, graph, prune, options)

    def paths(
        self,
        names: tuple[str, ...],
        _: Token,
        depth: Expr | None,
        direction: str,
        keyword: Token,
        start: Expr,
        _to: Token,
        end: Expr,
        edges: tuple[Edges, ...] | Expr,
        options: Object | None = None,
    ) -> Paths:
        kind = keyword.upper()
        if len(names) > (2 if kind == "SHORTEST_PATH" else 1):
            raise ArangoError(1501, f"syntax error, too many variables for {kind}")
        if depth is not None and kind != "K_PATHS":
            raise ArangoError(1501, f"syntax error, {kind} has no minimal and maximal depth")
        listed, graph = _edges(edges, direction)
        return Paths(kind, names, depth, direction, start, end, listed, graph, options)

    def direction(self, token: Token) -> str:
        return token.upper()

    def edge(self, direction: str | None, collection: CollectionName) -> Edges:
        return Edges(direction or "", collection)

    def graph(self, value: Expr) -> Expr:
        """A graph's name may stand without quotes."""
        return Literal(value.name) if isinstance(value, Variable) else value

    def prune(self, _: Token, name: str | None, value: Expr) -> Let:
        return Let(name or "", value)

    def filter(self, test: Expr) -> Filter:
        return Filter(test)

    def let(self, *assigned: Let | tuple[Let, ...]) -> Lets:
        return Lets(_flat(assigned))

    def destructuring(self, pattern: Pattern, value: Expr) -> tuple[Let, ...]:
        return tuple(self._assign(pattern, value))

    def array_pattern(self, *targets: str | Pattern | None) -> Pattern:
        return [(_element_at(position), each) for position, each in enumerate(targets) if each is not None]

    def object_pattern(self, *fields: tuple[Access, str | Pattern]) -> Pattern:
        return list(fields)

    def named_pattern(self, name: str, target: str | Pattern | None) -> tuple[Access, str | Pattern]:
        return (lambda value: Attribute(value, name)), name if target is None else target

    def quoted_pattern(self, token: Token, target: str | Pattern) -> tuple[Access, str | Pattern]:
        return self.named_pattern(self.string(token).value, target)

    def _hide(self) -> str:
        """A variable that no query can name."""
        return f"*{next(self._hidden)}"

    def _assign(self, target: str | Pattern, value: Expr) -> Iterator[Let]:
        if isinstance(target, str):
            yield Let(target, value)
            return
        whole = self._hide()
        yield Let(whole, value)
        for access, inner in target:
            yield from self._assign(inner, access(Variable(whole)))

    def assignment(self, name: str, value: Expr) -> Let:
        return Let(name, value)

    def sort(self, *keys: SortKey) -> Sort:
        return Sort(keys)

    def sort_key(self, value: Expr, order: Token | None) -> SortKey:
        return SortKey(value, order is not None and order.type == "DESC")

    def _return(self, distinct: Token | None, value: Expr) -> Return:
        return Return(value, distinct is not None)

    def collect(
        self,
        keys: tuple[Let, ...] | None,
        aggregates: tuple[Let, ...] | None,
        into: Into | None,
        count: str | None,
        options: Object | None = None,
    ) -> Collect:
        if count and (aggregates or into):
            raise ArangoError(1501, "syntax error, WITH COUNT cannot be combined with AGGREGATE or INTO")
        if not (keys or aggregates or count):
            raise ArangoError(1501, "syntax error, COLLECT expects keys, AGGREGATE or WITH COUNT")
        return Collect(keys or (), aggregates or (), into, count, options)

    def into(self, name: str, projection: Expr | None, keep: tuple[str, ...] | None) -> Into:
        if keep and projection is not None:
            raise ArangoError(1501, "syntax error, KEEP cannot be combined with a projection")
        return Into(name, projection, keep or ())

    def keep(self, _: Token, *names: str) -> tuple[str, ...]:
        return names

    def count(self, _: Token, name: str) -> str:
        return name

    def window(self, first: Expr, second: Expr | None, aggregates: tuple[Let, ...]) -> Window:
        value, bounds = (None, first) if second is None else (first, second)
        if not isinstance(bounds, Object):
            raise ArangoError(1501, "syntax error, WINDOW expects an object literal with its bounds")
        return Window(value, bounds, aggregates)

    # data modification

    def target(self, *children: Any) -> CollectionName:
        collection: CollectionName = children[-1]
        return collection

    def insert(self, document: Expr, target: CollectionName | None, options: Object | None = None) -> Insert:
        return Insert(*_with_target(document, target), options)

    def update(
        self,
        selector: Expr,
        patch: Expr | None,
        target: CollectionName | None,
        options: Object | None = None,
        replaces: bool = False,
    ) -> Update:
        if patch is None:
            selector, target = _with_target(selector, target)
        else:
            patch, target = _with_target(patch, target)
        return Update(selector, patch, target, options, replaces)

    def replace(
        self,
        selector: Expr,
        patch: Expr | None,
        target: CollectionName | None,
        options: Object | None = None,
    ) -> Update:
        return self.update(selector, patch, target, options, replaces=True)

    def remove(self, selector: Expr, target: CollectionName | None, options: Object | None = None) -> Remove:
        return Remove(*_with_target(selector, target), options)

    def upsert_filter(self, condition: Expr) -> Filter:
        return Filter(condition)

    def write_update(self) -> bool:
        return False

    def write_replace(self) -> bool:
        return True

    def upsert(
        self,
        search: Expr | Filter,
        document: Expr,
        replaces: bool,
        patch: Expr,
        target: CollectionName | None,
        options: Object | None = None,
    ) -> Upsert:
        patch, target = _with_target(patch, target)
        by_condition = isinstance(search, Filter)
        condition = search.test if isinstance(search, Filter) else search
        return Upsert(condition, by_condition, document, patch, replaces, target, options)


setattr(TreeBuilder, "for", TreeBuilder._for)
setattr(TreeBuilder, "return", TreeBuilder._return)


def _flat(nested: Iterable[T | tuple[T, ...]]) -> tuple[T, ...]:
    return tuple(each for item in nested for each in (item if isinstance(item, tuple) else (item,)))


def _element_at(position: int) -> Access:
    """Null for what is no array, and no warning either."""
    null = Literal(None)
    return lambda value: Ternary(Call("IS_ARRAY", (value,)), Index(value, Literal(position)), null)


def _edges(edges: tuple[Edges, ...] | Expr, direction: str) -> tuple[tuple[Edges, ...], Expr | None]:
    """The edge collections, each with its direction, or the graph."""
    if not isinstance(edges, tuple):
        return (), edges
    return tuple(Edges(edge.direction or direction, edge.collection) for edge in edges), None


def _with_target(value: Expr, target: CollectionName | None) -> tuple[Expr, CollectionName]:
    """`INSERT value IN target` reads as a test for membership: take the collection off its end."""
    if target is not None:
        return value, target
    if isinstance(value, Binary) and value.operator == "IN":
        if isinstance(value.right, (Variable, CollectionParam)):
            return value.left, value.right
    elif isinstance(value, Ternary):
        otherwise, target = _with_target(value.otherwise, None)
        return Ternary(value.test, value.then, otherwise), target
    raise ArangoError(1501, "syntax error, expecting INTO and a collection")
