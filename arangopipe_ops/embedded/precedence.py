"""Flat chains of operands and operators -> trees."""

from __future__ import annotations

from typing import Any

from .tree import Binary, Expr, Quantified

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


def nest(parts: list[Any]) -> Expr:
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
