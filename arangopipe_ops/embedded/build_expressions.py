"""Expressions of the parser's tree -> syntax tree."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from math import isinf
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import ArangoError
from .precedence import nest
from .tree import (
    Array,
    Attribute,
    BoundAttribute,
    Call,
    Element,
    Expansion,
    Expr,
    Index,
    Limit,
    Literal,
    Object,
    Param,
    Question,
    Ternary,
    Unary,
    Variable,
)

if TYPE_CHECKING:
    from lark import Token

T = TypeVar("T")

SPELLINGS = {"AND": "&&", "OR": "||", "NOT": "!"}
ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)


def items(*children: T) -> tuple[T, ...]:
    return children


class ExpressionBuilder:
    """One method per rule of the grammar, called with the children that are built already."""

    comparison = staticmethod(items)

    def name(self, token: Token) -> str:
        return str(token)[1:-1] if token.type == "QUOTED_NAME" else str(token)

    def limit(self, first: Expr, second: Expr | None) -> Limit:
        return Limit(None, first) if second is None else Limit(first, second)

    def chain(self, *parts: Any) -> Expr:
        return nest(list(parts))

    def operator(self, *parts: Any) -> tuple[Any, ...] | str:
        """The operator as the tables know it; the parts of a quantified one as they are."""
        if isinstance(parts[0], tuple):
            tokens, quantified = parts[0], len(parts[0]) == 3 and not hasattr(parts[0][0], "type")
            return tokens if quantified else _spelled(tokens)
        return _spelled(parts)

    def quantified(self, quantifier: tuple[str, Expr | None], comparison: tuple[Token, ...]) -> tuple[Any, ...]:
        return (*quantifier, _joined(comparison))

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
        """Text that does not begin with a digit names an attribute; other text may be an array's index as well."""
        if isinstance(index, Literal) and isinstance(index.value, str) and not "0" <= index.value[:1] <= "9":
            return self.attribute(base, index.value)
        return _follow(base, lambda inner: Index(inner, index))

    def expansion(
        self, base: Expr, stars: Token, test: Expr | None, limit: Limit | None, projection: Expr | None
    ) -> Expr:
        def expand(inner: Expr) -> Expansion:
            return Expansion(inner, len(stars), test, limit, projection, Element())

        return expand(base) if len(stars) > 1 else _follow(base, expand)

    def question(self, base: Expr, quantity: tuple[str, Expr | None] | None, test: Expr | None) -> Expr:
        if quantity is not None and test is None:
            raise ArangoError(1501, "syntax error, a quantifier of [? ...] expects a FILTER")
        quantifier, count = quantity or ("ANY", None)
        return _follow(base, lambda inner: Question(inner, quantifier, count, test))

    def exactly(self, count: Expr) -> tuple[str, Expr]:
        return "", count

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
        return Literal(_finite(token))

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


def _spelled(tokens: tuple[Token, ...]) -> str:
    words = [token.upper() for token in tokens]
    if words[0].startswith("**"):
        raise ArangoError(1501, "syntax error, unexpected operator '**', use POW()")
    return SPELLINGS.get(words[0], words[0]) if len(words) == 1 else _joined(tokens)


def _joined(words: tuple[Token, ...]) -> str:
    """Return an operator of several words; `!` in it is another spelling of NOT, as in `a ! IN b`."""
    return " ".join("NOT" if len(words) > 1 and word == "!" else word.upper() for word in words)


def _follow(base: Expr, access: Callable[[Expr], Expr]) -> Expr:
    """`access` to `base`, or to each element of it if `base` is an expansion."""
    if isinstance(base, Expansion):
        return replace(base, tail=_follow(base.tail, access))
    return access(base)


def _unquote(text: str) -> str:
    plain = _ESCAPE.sub(_unescape, text[1:-1]) if "\\" in text else text[1:-1]
    return plain if plain.isascii() else _paired(plain)


def _paired(text: str) -> str:
    """Escaped halves of characters put together; what has no other half is no character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _unescape(match: re.Match[str]) -> str:
    code, char = match.groups()
    return chr(int(code, 16)) if code else ESCAPES.get(char, char)


def _finite(text: str) -> float:
    value = float(text)
    if isinf(value):
        raise ArangoError(1504)
    return value


def _integer(text: str) -> int | float:
    prefix = text[:2].lower()
    value = int(text, {"0x": 16, "0b": 2}.get(prefix, 10))
    return value if value < 1 << 63 else _finite(str(value))
