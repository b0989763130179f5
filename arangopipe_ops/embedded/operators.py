"""AQL's operators as functions of values. Manual: aql/operators."""

from __future__ import annotations

import math
from collections.abc import Callable

from .errors import Undefined
from .functions.ranges import span
from .functions.strings import like, regex_test
from .values import Value, contains, equal, is_true, less, number, to_number


def _arithmetic(operation: Callable[[Value, Value], Value]) -> Callable[[Value, Value], Value]:
    def operate(left: Value, right: Value) -> Value:
        if type(left) is not float and type(left) is not int:
            left = to_number(left)
        if type(right) is not float and type(right) is not int:
            right = to_number(right)
        try:
            return number(operation(left, right))
        except ZeroDivisionError:
            raise Undefined(1562) from None
        except OverflowError:
            raise Undefined(1504) from None

    return operate


def _remainder(left: Value, right: Value) -> Value:
    """The sign follows the dividend, as in C."""
    if right == 0:
        raise ZeroDivisionError
    return math.fmod(left, right)


ARITHMETIC = frozenset("+-*/%")

OPERATORS: dict[str, Callable[[Value, Value], Value]] = {
    "==": equal,
    "!=": lambda left, right: not equal(left, right),
    "<": less,
    "<=": lambda left, right: not less(right, left),
    ">": lambda left, right: less(right, left),
    ">=": lambda left, right: not less(left, right),
    "IN": lambda left, right: contains(right, left),
    "NOT IN": lambda left, right: not contains(right, left),
    "LIKE": like,
    "NOT LIKE": lambda left, right: not like(left, right),
    "=~": regex_test,
    "!~": lambda left, right: not regex_test(left, right),
    "+": _arithmetic(lambda left, right: left + right),
    "-": _arithmetic(lambda left, right: left - right),
    "*": _arithmetic(lambda left, right: left * right),
    "/": _arithmetic(lambda left, right: left / right),
    "%": _arithmetic(_remainder),
    "..": lambda low, high: list(span(low, high)),
}

UNARY: dict[str, Callable[[Value], Value]] = {
    "!": lambda operand: not is_true(operand),
    "-": lambda operand: number(-to_number(operand)),
    "+": to_number,
}

QUANTIFIERS: dict[str, Callable[[int, int, int], bool]] = {
    "ALL": lambda holds, total, _: holds == total,
    "ANY": lambda holds, total, _: holds > 0,
    "NONE": lambda holds, total, _: holds == 0,
    "AT LEAST": lambda holds, total, wanted: holds >= wanted,
}
"""From how many elements satisfy a comparison, of how many, and how many have to."""
