"""What the table of functions says about each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isinf
from typing import Any

from ..errors import ArangoError, Undefined
from ..values import is_number, to_number

ANY_NUMBER = inf
FARTHEST = 1 << 61
"""Two of these still are a place in one of Python's lists."""


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
    of_collection: bool = False
    """Whether its first argument may be a collection by its name."""
    instead: str = ""
    """What to use instead of a function that is missing here."""

    def check(self, name: str, arguments: int) -> None:
        """Raises 9 for a missing function, 1541 for too few or too many arguments."""
        if self.instead:
            raise ArangoError(9, message=f"not implemented: {name}(), use {self.instead}")
        if not self.minimum <= arguments <= self.maximum:
            raise ArangoError(1541, name, self.minimum, "unlimited" if isinf(self.maximum) else self.maximum)


def missing(instead: str) -> Function:
    return Function(lambda *_: None, 0, ANY_NUMBER, instead=instead)


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
    if not all(map(is_number, kept)):
        raise Undefined(1542)
    return kept


def integer(value: Any) -> int:
    """`value` as a whole number, rounded down, and small enough to be a place in a list."""
    return max(min(int(to_number(value) // 1), FARTHEST), -FARTHEST)
