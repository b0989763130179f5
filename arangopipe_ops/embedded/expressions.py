"""Expressions compiled once to closures on a frame.

A frame is the one list of slots of a running statement: slot 0 holds its `Context`, each variable
declaration and bind parameter has a slot of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from operator import itemgetter
from typing import Any, Protocol, TypeAlias

from .errors import ArangoError, Undefined
from .functions import FUNCTIONS, Function
from .functions.arrays import flatten
from .functions.signature import integer
from .operators import ARITHMETIC, OPERATORS, QUANTIFIERS, UNARY
from .tree import (
    Array,
    Attribute,
    Binary,
    Call,
    Clause,
    CollectionRef,
    Element,
    Expansion,
    Expr,
    Index,
    Limit,
    Literal,
    Object,
    Param,
    Quantified,
    Question,
    Subquery,
    Ternary,
    Unary,
    Variable,
)
from .values import Value, is_number, is_true, to_number, to_string

Frame: TypeAlias = list[Any]
Eval: TypeAlias = Callable[[Frame], Value]

ELEMENT = "*"
COUNTS = frozenset(("LENGTH", "COUNT"))
_WHOLE = re.compile(r"-?[0-9]{1,18}")


class Scope(Protocol):
    """What the names in an expression stand for."""

    def slot(self, name: str) -> int | None: ...

    def parameter(self, name: str) -> int: ...

    def nested(self, *names: str) -> tuple[Scope, list[int]]: ...

    def rows(self, clauses: tuple[Clause, ...]) -> Eval: ...

    def count(self, clauses: tuple[Clause, ...]) -> Eval: ...

    def collection_name(self, name: str) -> str: ...

    def check_read(self, function: str) -> None: ...

    def look_up(self, handle: Eval) -> int: ...

    def warn(self, num: int, *details: object) -> None: ...


def compile_expression(node: Expr, scope: Scope) -> Eval:
    return COMPILERS[type(node)](node, scope)


def compile_all(nodes: tuple[Expr, ...], scope: Scope) -> list[Eval]:
    return [compile_expression(node, scope) for node in nodes]


def _literal(node: Literal, scope: Scope) -> Eval:
    value = node.value
    return lambda frame: value


def _param(node: Param, scope: Scope) -> Eval:
    return itemgetter(scope.parameter(node.name))


def _variable(node: Variable, scope: Scope) -> Eval:
    slot = scope.slot(node.name)
    if slot is None:
        scope.collection_name(node.name)
        raise ArangoError(1568, node.name)
    return itemgetter(slot)


def _collection(node: CollectionRef, scope: Scope) -> Eval:
    raise ArangoError(1568, scope.collection_name(node.name))


def _element(node: Element, scope: Scope) -> Eval:
    return _variable(Variable(ELEMENT), scope)


def _attribute(node: Attribute, scope: Scope) -> Eval:
    name = node.name
    slot = scope.slot(node.base.name) if isinstance(node.base, Variable) else None
    if slot is not None:
        return _attribute_of(slot, name)
    base = compile_expression(node.base, scope)

    def read(frame: Frame) -> Value:
        value = base(frame)
        return value.get(name) if type(value) is dict else None

    return read


def _attribute_of(slot: int, name: str) -> Eval:
    """By far the most frequent expression, that of a variable, with one call less."""

    def read(frame: Frame) -> Value:
        value = frame[slot]
        return value.get(name) if type(value) is dict else None

    return read


def _index(node: Index, scope: Scope) -> Eval:
    base, index = compile_expression(node.base, scope), compile_expression(node.index, scope)
    return lambda frame: _item(base(frame), index(frame))


def _item(value: Value, index: Value) -> Value:
    """An element of an array, negative indexes from its end, or an attribute of an object, by number or text."""
    if type(value) is dict:
        name = str(int(index)) if is_number(index) else index
        return value.get(name) if type(name) is str else None
    if type(value) is not list or not (is_number(index) or (type(index) is str and _WHOLE.fullmatch(index))):
        return None
    position = int(index)
    return value[position] if -len(value) <= position < len(value) else None


def _expansion(node: Expansion, scope: Scope) -> Eval:
    base, depth = compile_expression(node.base, scope), node.depth
    inner, (slot, alias) = scope.nested("CURRENT", ELEMENT)
    test = None if node.test is None else compile_expression(node.test, inner)
    window = _window(node.limit, inner)
    projection = None if node.projection is None else compile_expression(node.projection, inner)
    tail = None if isinstance(node.tail, Element) else compile_expression(node.tail, inner)

    def passing(frame: Frame, items: list[Value], test: Eval) -> Iterator[Value]:
        for item in items:
            frame[slot] = item
            if is_true(test(frame)):
                yield item

    def project(frame: Frame, item: Value) -> Value:
        frame[slot] = item
        frame[alias] = item if projection is None else projection(frame)
        return frame[alias] if tail is None else tail(frame)

    def expand(frame: Frame) -> Value:
        items = base(frame)
        if type(items) is not list:
            return []
        flat = flatten(items, depth - 1)
        kept = flat if test is None else passing(frame, flat, test)
        return [project(frame, item) for item in window(frame, kept)]

    return expand


def _question(node: Question, scope: Scope) -> Eval:
    """Manual: aql/operators#question-mark-operator."""
    base, (inner, (slot,)) = compile_expression(node.base, scope), scope.nested("CURRENT")
    test = compile_expression(node.test or Literal(True), inner)
    decide = _quantity(node, scope)

    def passes(frame: Frame, item: Value) -> bool:
        frame[slot] = item
        return is_true(test(frame))

    def ask(frame: Frame) -> Value:
        items = base(frame)
        if type(items) is not list:
            return False
        return decide(frame, sum(passes(frame, item) for item in items), len(items))

    return ask


def _quantity(node: Question, scope: Scope) -> Callable[[Frame, int, int], bool]:
    """Whether so many elements, of so many, are as many as wanted."""
    if node.quantifier:
        wanted, choose = compile_expression(node.count or Literal(0), scope), QUANTIFIERS[node.quantifier]
        return lambda frame, holds, total: choose(holds, total, int(to_number(wanted(frame))))
    count = node.count or Literal(1)
    ends = (count.left, count.right) if isinstance(count, Binary) and count.operator == ".." else (count, count)
    low, high = (compile_expression(end, scope) for end in ends)
    return lambda frame, holds, total: bool(to_number(low(frame)) <= holds <= to_number(high(frame)))


def _window(limit: Limit | None, scope: Scope) -> Callable[[Frame, Any], Any]:
    if limit is None:
        return lambda frame, items: items
    offset = compile_expression(limit.offset or Literal(0), scope)
    count = compile_expression(limit.count, scope)

    def cut(frame: Frame, items: Any) -> Any:
        start = max(integer(offset(frame)), 0)
        return islice(items, start, start + max(integer(count(frame)), 0))

    return cut


def _unary(node: Unary, scope: Scope) -> Eval:
    operate, operand = UNARY[node.operator], compile_expression(node.operand, scope)
    return lambda frame: operate(operand(frame))


def _binary(node: Binary, scope: Scope) -> Eval:
    """The operators of a chain one after the other, as a chain may be longer than Python's stack is deep."""
    chain: list[Binary] = []
    first: Expr = node
    while isinstance(first, Binary):
        chain.append(first)
        first = first.left
    value = compile_expression(first, scope)
    for each in reversed(chain):
        first = _calculated(each, first, scope)
        if isinstance(first, Literal):
            value = compile_expression(first, scope)
        else:
            value = _combined(each.operator, value, each.right, scope)
    return value


def _calculated(node: Binary, left: Expr, scope: Scope) -> Expr:
    """Arithmetic of constants as its result, with a warning in each run if it has none; anything else as it is."""
    if not (node.operator in ARITHMETIC and isinstance(left, Literal) and isinstance(node.right, Literal)):
        return node
    try:
        return Literal(OPERATORS[node.operator](left.value, node.right.value))
    except Undefined as undefined:
        scope.warn(undefined.num, *undefined.details)
        return Literal(None)


NULL_TESTS: dict[str, Callable[[Eval], Eval]] = {
    "==": lambda value: lambda frame: value(frame) is None,
    "!=": lambda value: lambda frame: value(frame) is not None,
}
"""By far the most frequent comparisons, with a null on the right."""


def _combined(operator: str, left: Eval, node: Expr, scope: Scope) -> Eval:
    if operator in NULL_TESTS and isinstance(node, Literal) and node.value is None:
        return NULL_TESTS[operator](left)
    right = compile_expression(node, scope)
    if operator in SHORT_CIRCUITS:
        return SHORT_CIRCUITS[operator](left, right)
    operate = OPERATORS[operator]

    def evaluate(frame: Frame) -> Value:
        try:
            return operate(left(frame), right(frame))
        except Undefined as undefined:
            frame[0].warn(undefined.num, *undefined.details)
            return None

    return evaluate


def _and(left: Eval, right: Eval) -> Eval:
    def evaluate(frame: Frame) -> Value:
        value = left(frame)
        return right(frame) if is_true(value) else value

    return evaluate


def _or(left: Eval, right: Eval) -> Eval:
    def evaluate(frame: Frame) -> Value:
        value = left(frame)
        return value if is_true(value) else right(frame)

    return evaluate


SHORT_CIRCUITS = {"&&": _and, "||": _or}


def _quantified(node: Quantified, scope: Scope) -> Eval:
    left, right = compile_expression(node.left, scope), compile_expression(node.right, scope)
    wanted = compile_expression(node.count or Literal(0), scope)
    operate, decide = OPERATORS[node.operator], QUANTIFIERS[node.quantifier]

    def evaluate(frame: Frame) -> Value:
        items, value = left(frame), right(frame)
        if type(items) is not list:
            return False
        holds = sum(1 for item in items if operate(item, value))
        return decide(holds, len(items), int(to_number(wanted(frame))))

    return evaluate


def _ternary(node: Ternary, scope: Scope) -> Eval:
    test, otherwise = compile_expression(node.test, scope), compile_expression(node.otherwise, scope)
    if node.then is None:
        return _or(test, otherwise)
    then = compile_expression(node.then, scope)
    return lambda frame: then(frame) if is_true(test(frame)) else otherwise(frame)


def _array(node: Array, scope: Scope) -> Eval:
    if all(isinstance(item, Literal) for item in node.items):
        constant = [item.value for item in node.items if isinstance(item, Literal)]
        return lambda frame: constant
    items = compile_all(node.items, scope)
    return lambda frame: [item(frame) for item in items]


def _object(node: Object, scope: Scope) -> Eval:
    values = [compile_expression(value, scope) for _, value in node.attributes]
    names = [to_string(name.value) for name, _ in node.attributes if isinstance(name, Literal)]
    if len(names) == len(values):
        pairs = list(zip(names, values, strict=True))
        return lambda frame: {name: value(frame) for name, value in pairs}
    keys = [compile_expression(name, scope) for name, _ in node.attributes]
    computed = list(zip(keys, values, strict=True))
    return lambda frame: {to_string(key(frame)): value(frame) for key, value in computed}


def _subquery(node: Subquery, scope: Scope) -> Eval:
    return scope.rows(node.clauses)


def _call(node: Call, scope: Scope) -> Eval:
    counted = _counted_collection(node, scope)
    if counted is not None:
        return lambda frame: frame[0].transaction.count(frame[0].collection(counted))
    if node.name in COUNTS and len(node.arguments) == 1 and isinstance(node.arguments[0], Subquery):
        return scope.count(node.arguments[0].clauses)
    function = FUNCTIONS.get(node.name)
    if function is None:
        raise ArangoError(1582 if "::" in node.name else 1540, node.name)
    function.check(node.name, len(node.arguments))
    if function.reads:
        scope.check_read(node.name)
    arguments = compile_all(_arguments(node, function, scope), scope)
    evaluate = _invoke(node.name, function, arguments)
    if node.name == "DOCUMENT" and len(arguments) == 1 and is_plain(node.arguments[0]):
        return _looked_up(scope.look_up(arguments[0]), arguments[0], evaluate)
    return evaluate


def is_plain(node: Expr) -> bool:
    """Whether to evaluate it costs next to nothing, and never fails or warns: `a.b`, a parameter, a constant."""
    while isinstance(node, Attribute):
        node = node.base
    return isinstance(node, (Variable, Param, Literal))


def _looked_up(place: int, handle: Eval, otherwise: Eval) -> Eval:
    """A document that may have been read ahead."""

    def evaluate(frame: Frame) -> Value:
        ahead = frame[0].ahead.get(place)
        found = None if ahead is None else ahead.find(handle(frame))
        return otherwise(frame) if found is None else found

    return evaluate


def _arguments(node: Call, function: Function, scope: Scope) -> tuple[Expr, ...]:
    name = _collection_name(node.arguments[0], scope) if function.of_collection else None
    return node.arguments if name is None else (Literal(name), *node.arguments[1:])


def _counted_collection(node: Call, scope: Scope) -> str | None:
    """`LENGTH(collection)`"""
    if node.name not in COUNTS or len(node.arguments) != 1:
        return None
    return _collection_name(node.arguments[0], scope)


def _collection_name(argument: Expr, scope: Scope) -> str | None:
    """That of a collection, in one of the few places of an expression where it may stand."""
    if isinstance(argument, Variable) and scope.slot(argument.name) is None:
        return scope.collection_name(argument.name)
    return scope.collection_name(argument.name) if isinstance(argument, CollectionRef) else None


def _invoke(name: str, function: Function, arguments: list[Eval]) -> Eval:
    call = function.call
    if function.in_context:
        arguments = [itemgetter(0), *arguments]
    if len(arguments) == 1:
        (only,) = arguments

        def evaluate(frame: Frame) -> Value:
            try:
                return call(only(frame))
            except Undefined as undefined:
                frame[0].warn(undefined.num, *(undefined.details or (name,)))
                return None

    else:

        def evaluate(frame: Frame) -> Value:
            try:
                return call(*[argument(frame) for argument in arguments])
            except Undefined as undefined:
                frame[0].warn(undefined.num, *(undefined.details or (name,)))
                return None

    return evaluate


COMPILERS: dict[type, Callable[[Any, Scope], Eval]] = {
    Literal: _literal,
    Param: _param,
    Variable: _variable,
    CollectionRef: _collection,
    Element: _element,
    Attribute: _attribute,
    Index: _index,
    Expansion: _expansion,
    Question: _question,
    Unary: _unary,
    Binary: _binary,
    Quantified: _quantified,
    Ternary: _ternary,
    Call: _call,
    Array: _array,
    Object: _object,
    Subquery: _subquery,
}
