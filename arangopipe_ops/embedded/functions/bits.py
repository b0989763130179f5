"""Manual: aql/functions/bit. Operands are whole numbers of up to 32 bits; all else is null with a warning."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import reduce
from operator import and_, or_, xor
from typing import Any

from ..errors import Undefined
from ..values import is_number
from .signature import Function, array

WIDTH = 32
_BITSTRING = re.compile(f"[01]{{1,{WIDTH}}}")


def _within(value: Any, highest: int) -> int:
    if not is_number(value) or not 0 <= value <= highest:
        raise Undefined(1542)
    return int(value)


def _operand(value: Any) -> int:
    return _within(value, (1 << WIDTH) - 1)


def _mask(bits: Any) -> int:
    return (1 << _within(bits, WIDTH)) - 1


def _combined(operation: Callable[[int, int], int]) -> Function:
    """Of an array, of which nulls are left out, or of two numbers."""

    def call(first: Any, *second: Any) -> Any:
        values = [first, *second] if second else [value for value in array(first) if value is not None]
        operands = [_operand(value) for value in values]
        return reduce(operation, operands) if operands else None

    return Function(call, 1, 2)


def _construct(positions: Any) -> int:
    return reduce(or_, (1 << _within(position, WIDTH - 1) for position in array(positions)), 0)


def _deconstruct(value: Any) -> list[int]:
    bits = _operand(value)
    return [position for position in range(WIDTH) if bits >> position & 1]


def _from_string(text: Any) -> int:
    if not isinstance(text, str) or not _BITSTRING.fullmatch(text):
        raise Undefined(1542)
    return int(text, 2)


def _to_string(value: Any, bits: Any) -> str:
    size = _within(bits, WIDTH)
    return f"{_operand(value) & _mask(bits):0{size}b}"[-size:] if size else ""


TABLE: dict[str, Function] = {
    "BIT_AND": _combined(and_),
    "BIT_CONSTRUCT": Function(_construct, 1, 1),
    "BIT_DECONSTRUCT": Function(_deconstruct, 1, 1),
    "BIT_FROM_STRING": Function(_from_string, 1, 1),
    "BIT_NEGATE": Function(lambda value, bits: ~_operand(value) & _mask(bits), 2, 2),
    "BIT_OR": _combined(or_),
    "BIT_POPCOUNT": Function(lambda value: _operand(value).bit_count(), 1, 1),
    "BIT_SHIFT_LEFT": Function(lambda n, by, bits: _operand(n) << _within(by, WIDTH) & _mask(bits), 3, 3),
    "BIT_SHIFT_RIGHT": Function(lambda n, by, bits: _operand(n) >> _within(by, WIDTH) & _mask(bits), 3, 3),
    "BIT_TEST": Function(lambda value, at: bool(_operand(value) >> _within(at, WIDTH - 1) & 1), 2, 2),
    "BIT_TO_STRING": Function(_to_string, 2, 2),
    "BIT_XOR": _combined(xor),
}
