"""AQL text -> syntax tree."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import ArangoError
from .tree import (
    Array,
    Attribute,
    Binary,
    BoundAttribute,
    Call,
    Clause,
    Collect,
    CollectionName,
    CollectionParam,
    Edges,
    Element,
    Expansion,
    Expr,
    Filter,
    For,
    Index,
    Insert,
    Into,
    Let,
    Lets,
    Limit,
    Literal,
    Object,
    Param,
    Quantified,
    Query,
    Remove,
    Return,
    Sort,
    SortKey,
    Subquery,
    Ternary,
    Traversal,
    Unary,
    Update,
    Upsert,
    Variable,
    walk,
)

if TYPE_CHECKING:
    from lark import Lark, Token

T = TypeVar("T")

KEYWORDS = {
    word.lstrip("_"): word
    for words in (
        ("ALL", "AND", "ANY", "ASC", "AT", "COUNT", "DESC", "DISTINCT", "IN", "INBOUND", "KEEP", "LEAST", "LIKE"),
        ("NONE", "NOT", "OPTIONS", "OR", "OUTBOUND", "PRUNE"),
        ("_AGGREGATE", "_COLLECT", "_FALSE", "_FILTER", "_FOR", "_GRAPH", "_INSERT", "_INTO", "_LET", "_LIMIT"),
        ("_NULL", "_REMOVE", "_REPLACE", "_RETURN", "_SORT", "_TRUE", "_UPDATE", "_UPSERT", "_WITH"),
    )
    for word in words
}
"""Keywords and their terminals; those of a leading underscore leave no trace in the tree."""

PRECEDENCE = {
    operator: level
    for level, operators in enumerate(
        (
            ("||",),
            ("&&",),
            ("quantified",),
            ("==", "!=", "LIKE", "NOT LIKE", "=~", "!~"),
            ("IN", "NOT IN"),
            ("<", "<=", ">", ">="),
            ("..",),
            ("+", "-"),
            ("*", "/", "%"),
        )
    )
    for operator in operators
}
"""Manual: aql/operators#operator-precedence, loosest first."""

SPELLINGS = {"AND": "&&", "OR": "||", "NOT": "!"}
ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)


def parse(text: str) -> Query:
    """Raises ArangoError 1501 with line and column, or 1502 for an empty query."""
    from lark.exceptions import UnexpectedInput

    try:
        query: Query = TreeBuilder().build(_lark().parse(text))
    except UnexpectedInput as error:
        raise _syntax_error(error, text) from None
    except RecursionError:
        raise ArangoError(1501, "syntax error, the query is nested too deeply") from None
    _check(query)
    return query


@cache
def _lark() -> Lark:
    from lark import Lark

    return Lark(
        Path(__file__).with_name("aql.lark").read_text(encoding="utf-8"),
        parser="lalr",
        lexer="basic",
        start="query",
        lexer_callbacks={"NAME": _recognise_keyword},
        maybe_placeholders=True,
        cache=_cache_file(),
    )


def _cache_file() -> str | bool:
    """Where lark keeps the generated parser, which costs a tenth to load; False if not writable."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "arangopipe-ops"
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return str(home / f"aql-{version}.lark") if os.access(home, os.W_OK) else False


def _recognise_keyword(token: Token) -> Token:
    terminal = KEYWORDS.get(token.upper())
    if terminal is not None:
        token.type = terminal
    return token


def _syntax_error(error: Any, text: str) -> ArangoError:
    if not text.strip():
        return ArangoError(1502)
    token = getattr(error, "token", None)
    if token is not None and token.type == "$END":
        return ArangoError(1501, "syntax error, unexpected end of query string")
    near = text[error.pos_in_stream :].split("\n", 1)[0][:48]
    what = KEYWORDS.get(str(token).upper(), "").lstrip("_") if token is not None else ""
    unexpected = f"{what} declaration" if what else "input"
    place = f"{error.line}:{error.column - 1}"
    return ArangoError(1501, f"syntax error, unexpected {unexpected} near '{near}' at position {place}")


def _check(query: Query) -> None:
    if not query.clauses:
        raise ArangoError(1502)
    for node in walk(query):
        if isinstance(node, (Query, Subquery)):
            _check_clauses(node.clauses)


def _check_clauses(clauses: tuple[Clause, ...]) -> None:
    """RETURN ends a query; what does not return has to modify."""
    if any(isinstance(clause, Return) for clause in clauses[:-1]):
        raise ArangoError(1501, "syntax error, unexpected operation after RETURN")
    if not any(isinstance(clause, (Return, Insert, Update, Remove, Upsert)) for clause in clauses):
        raise ArangoError(1501, "syntax error, unexpected end of query string, expecting RETURN or a write")


def _unquote(text: str) -> str:
    return _ESCAPE.sub(_unescape, text[1:-1]) if "\\" in text else text[1:-1]


def _unescape(match: re.Match[str]) -> str:
    code, char = match.groups()
    return chr(int(code, 16)) if code else ESCAPES.get(char, char)


def _integer(text: str) -> int | float:
    prefix = text[:2].lower()
    value = int(text, {"0x": 16, "0b": 2}.get(prefix, 10))
    return value if value < 1 << 63 else float(value)


class TreeBuilder:
    """One method per rule of the grammar, called with the children that are built already."""

    def build(self, node: Any) -> Any:
        if not hasattr(node, "children"):
            return node
        rule: Callable[..., Any] = getattr(self, node.data)
        return rule(*[self.build(child) for child in node.children])

    def query(self, collections: tuple[CollectionName, ...] | None, *clauses: Clause) -> Query:
        return Query(collections or (), clauses)

    def subquery(self, *clauses: Clause) -> Subquery:
        return Subquery(clauses)

    @staticmethod
    def _tuple(*children: T) -> tuple[T, ...]:
        return children

    with_list = names = edge_list = assignments = aggregate = comparison = keep_names = _tuple

    # clauses

    def name(self, token: Token) -> str:
        return str(token)[1:-1] if token.type == "QUOTED_NAME" else str(token)

    def collection(self, name: str) -> Variable:
        return Variable(name)

    def collection_param(self, token: Token) -> CollectionParam:
        return CollectionParam(token[1:])

    def options(self, _: Token, value: Expr) -> Expr:
        return value

    # `for`, `return` and the like are Python's keywords as well: these rules are bound below the class.
    def _for(self, names: tuple[str, ...], _: Token, source: Expr, options: Expr | None = None) -> For:
        if len(names) > 1:
            raise ArangoError(1501, "syntax error, several loop variables without a traversal")
        return For(names[0], source, options)

    def traversal(
        self,
        names: tuple[str, ...],
        _: Token,
        depth: Expr | None,
        direction: str,
        start: Expr,
        edges: tuple[Edges, ...] | Expr,
        prune: Let | None,
        options: Expr | None = None,
    ) -> Traversal:
        if len(names) > 3:
            raise ArangoError(1501, "syntax error, a traversal emits at most three variables")
        graph = None if isinstance(edges, tuple) else edges
        listed = edges if isinstance(edges, tuple) else ()
        listed = tuple(Edges(edge.direction or direction, edge.collection) for edge in listed)
        return Traversal(names, depth, direction, start, listed, graph, prune, options)

    def direction(self, token: Token) -> str:
        return token.upper()

    def edge(self, direction: str | None, collection: CollectionName) -> Edges:
        return Edges(direction or "", collection)

    def graph(self, value: Expr) -> Expr:
        return value

    def prune(self, _: Token, name: str | None, value: Expr) -> Let:
        return Let(name or "", value)

    def filter(self, test: Expr) -> Filter:
        return Filter(test)

    def let(self, *assignments: Let) -> Lets:
        return Lets(assignments)

    def assignment(self, name: str, value: Expr) -> Let:
        return Let(name, value)

    def sort(self, *keys: SortKey) -> Sort:
        return Sort(keys)

    def sort_key(self, value: Expr, order: Token | None) -> SortKey:
        return SortKey(value, order is not None and order.type == "DESC")

    def limit(self, first: Expr, second: Expr | None) -> Limit:
        return Limit(None, first) if second is None else Limit(first, second)

    def _return(self, distinct: Token | None, value: Expr) -> Return:
        return Return(value, distinct is not None)

    def collect(
        self,
        keys: tuple[Let, ...] | None,
        aggregates: tuple[Let, ...] | None,
        into: Into | None,
        count: str | None,
        options: Expr | None = None,
    ) -> Collect:
        if count and (aggregates or into):
            raise ArangoError(1501, "syntax error, WITH COUNT cannot be combined with AGGREGATE or INTO")
        return Collect(keys or (), aggregates or (), into, count, options)

    def into(self, name: str, projection: Expr | None, keep: tuple[str, ...] | None) -> Into:
        return Into(name, projection, keep or ())

    def keep(self, _: Token, *names: str) -> tuple[str, ...]:
        return names

    def count(self, _: Token, name: str) -> str:
        return name

    # data modification

    def target(self, *children: Any) -> CollectionName:
        collection: CollectionName = children[-1]
        return collection

    def insert(self, document: Expr, target: CollectionName | None, options: Expr | None = None) -> Insert:
        return Insert(*_with_target(document, target), options)

    def update(
        self,
        selector: Expr,
        patch: Expr | None,
        target: CollectionName | None,
        options: Expr | None = None,
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
        options: Expr | None = None,
    ) -> Update:
        return self.update(selector, patch, target, options, replaces=True)

    def remove(self, selector: Expr, target: CollectionName | None, options: Expr | None = None) -> Remove:
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
        options: Expr | None = None,
    ) -> Upsert:
        patch, target = _with_target(patch, target)
        by_condition = isinstance(search, Filter)
        condition = search.test if isinstance(search, Filter) else search
        return Upsert(condition, by_condition, document, patch, replaces, target, options)

    # expressions

    def chain(self, *parts: Any) -> Expr:
        return _nest(list(parts))

    def operator(self, *parts: Any) -> tuple[Any, ...] | str:
        """The operator as the tables know it; the parts of a quantified one as they are."""
        if isinstance(parts[0], tuple):
            tokens, quantified = parts[0], len(parts[0]) == 3 and not hasattr(parts[0][0], "type")
            return tokens if quantified else _spelled(tokens)
        return _spelled(parts)

    def quantified(self, quantifier: tuple[str, Expr | None], comparison: tuple[Token, ...]) -> tuple[Any, ...]:
        return (*quantifier, " ".join(map(str, comparison)).upper())

    def quantifier(self, token: Token) -> tuple[str, None]:
        return token.upper(), None

    def at_least(self, _at: Token, _least: Token, count: Expr) -> tuple[str, Expr]:
        return "AT LEAST", count

    def ternary(self, test: Expr, then: Expr, otherwise: Expr) -> Ternary:
        return Ternary(test, then, otherwise)

    def ternary_shortcut(self, test: Expr, otherwise: Expr) -> Ternary:
        return Ternary(test, None, otherwise)

    def unary(self, operator: Token, operand: Expr) -> Expr:
        symbol = SPELLINGS.get(operator.upper(), str(operator))
        if symbol == "-" and isinstance(operand, Literal) and type(operand.value) in (int, float):
            return Literal(-operand.value)
        return Unary(symbol, operand)

    def attribute(self, base: Expr, name: str) -> Expr:
        return _follow(base, lambda inner: Attribute(inner, name))

    def attribute_param(self, base: Expr, token: Token) -> Expr:
        return _follow(base, lambda inner: BoundAttribute(inner, self.param(token)))

    def index(self, base: Expr, index: Expr) -> Expr:
        if isinstance(index, Literal) and isinstance(index.value, str):
            return self.attribute(base, index.value)
        return _follow(base, lambda inner: Index(inner, index))

    def expansion(
        self, base: Expr, stars: Token, test: Expr | None, limit: Limit | None, projection: Expr | None
    ) -> Expr:
        def expand(inner: Expr) -> Expansion:
            return Expansion(inner, len(stars), test, limit, projection, Element())

        return expand(base) if len(stars) > 1 else _follow(base, expand)

    def group(self, inner: Expr) -> Expr:
        """Parentheses end an expansion: what follows applies to its result as a whole."""
        return Call("PASSTHRU", (inner,)) if isinstance(inner, Expansion) else inner

    def inline_filter(self, test: Expr) -> Expr:
        return test

    inline_return = inline_filter
    inline_limit = limit

    def null(self) -> Literal:
        return Literal(None)

    def true(self) -> Literal:
        return Literal(True)

    def false(self) -> Literal:
        return Literal(False)

    def integer(self, token: Token) -> Literal:
        return Literal(_integer(token))

    def float(self, token: Token) -> Literal:
        return Literal(float(token))

    def string(self, token: Token) -> Literal:
        return Literal(_unquote(token))

    def param(self, token: Token) -> Param:
        return Param(token[1:])

    def variable(self, name: str) -> Variable:
        return Variable(name)

    def function(self, name: Token | str) -> str:
        return name.upper()

    def call(self, name: str, *arguments: Expr | None) -> Call:
        return Call(name, tuple(argument for argument in arguments if argument is not None))

    def array(self, *items: Expr | None) -> Array:
        return Array(tuple(item for item in items if item is not None))

    def object(self, *attributes: tuple[Expr, Expr] | None) -> Object:
        return Object(tuple(attribute for attribute in attributes if attribute is not None))

    def shorthand(self, name: str) -> tuple[Expr, Expr]:
        return Literal(name), Variable(name)

    def named(self, name: str, value: Expr) -> tuple[Expr, Expr]:
        return Literal(name), value

    def quoted(self, token: Token, value: Expr) -> tuple[Expr, Expr]:
        return self.string(token), value

    def bound(self, token: Token, value: Expr) -> tuple[Expr, Expr]:
        return self.param(token), value

    def computed(self, name: Expr, value: Expr) -> tuple[Expr, Expr]:
        return name, value


setattr(TreeBuilder, "for", TreeBuilder._for)
setattr(TreeBuilder, "return", TreeBuilder._return)


def _spelled(tokens: tuple[Token, ...]) -> str:
    words = [token.upper() for token in tokens]
    if words[0].startswith("**"):
        raise ArangoError(1501, "syntax error, unexpected operator '**', use POW()")
    return SPELLINGS.get(words[0], words[0]) if len(words) == 1 else " ".join(words)


def _follow(base: Expr, access: Callable[[Expr], Expr]) -> Expr:
    """`access` to `base`, or to each element of it if `base` is an expansion."""
    if isinstance(base, Expansion):
        return replace(base, tail=_follow(base.tail, access))
    return access(base)


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


def _nest(parts: list[Any]) -> Expr:
    """Operands and operators in turn -> a tree, by precedence; all operators associate to the left."""
    operands: list[Any] = [parts[0]]
    operators: list[Any] = []
    for operator, operand in zip(parts[1::2], parts[2::2], strict=True):
        while operators and _level(operators[-1]) >= _level(operator):
            _reduce(operands, operators)
        operators.append(operator)
        operands.append(operand)
    while operators:
        _reduce(operands, operators)
    nested: Expr = operands[0]
    return nested


def _level(operator: Any) -> int:
    return PRECEDENCE["quantified" if isinstance(operator, tuple) else operator]


def _reduce(operands: list[Any], operators: list[Any]) -> None:
    operator, right, left = operators.pop(), operands.pop(), operands.pop()
    if isinstance(operator, tuple):
        quantifier, count, comparison = operator
        operands.append(Quantified(quantifier, count, comparison, left, right))
    else:
        operands.append(Binary(operator, left, right))
