"""What the table of functions says about each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

from ..errors import Undefined
from ..values import is_number, to_number

ANY_NUMBER = inf


@dataclass(frozen=True, slots=True)
class Function:
    """An AQL function; with `in_context` its first argument is the running statement's Context."""

    call: Callable[..., Any]
    minimum: int
    maximum: float
    in_context: bool = False
    deterministic: bool = True
    reads: bool = False
    """Whether it reads documents, which no function may do after a modification."""


def array(value: Any) -> list[Any]:
    """`value` if it is an array; otherwise the call is null with a warning."""
    if type(value) is not list:
        raise Undefined(1542)
    return value


def mapping(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise Undefined(1542)
    return value


def numbers(values: Any) -> list[Any]:
    """The numbers in an array of nothing but numbers and nulls."""
    kept = [value for value in array(values) if value is not None]
    if not all(is_number(value) for value in kept):
        raise Undefined(1542)
    return kept


def integer(value: Any) -> int:
    """`value` as a whole number, rounded down."""
    return int(to_number(value) // 1)
