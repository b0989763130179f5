"""A table as columns of plain Python values, which is what every library's table becomes before it is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY_ZERO = EPOCH.date()
BLOCK = 65_536

_MICROSECOND = timedelta(microseconds=1)

Values = list[Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `type`. `block(start, stop)` are its values, None where missing, as `type` has them: a date is its
    days, a datetime and a duration its microseconds since 1970 in UTC."""

    name: str
    type: str
    block: Callable[[int, int], Values]


@dataclass(frozen=True, slots=True)
class Table:
    rows: int
    columns: Sequence[Column]


def inferred(name: str, values: Values) -> Column:
    """Return a column of Python objects by what they are. None, NaN, NA and NaT are missing."""
    plain = [None if _is_missing(value) else value.item() if hasattr(value, "item") else value for value in values]
    kinds = {type(value) for value in plain} - {type(None)}
    type_ = next((type_ for type_, allowed in _OBJECTS if all(issubclass(kind, allowed) for kind in kinds)), "mixed")
    if not kinds:
        type_ = "unknown"
    elif _LOOKALIKE.get(type_, type(None)) in kinds:
        type_ = "mixed"
    convert = _PLAIN.get(type_)
    if convert:
        plain = [None if value is None else convert(value) for value in plain]
    return Column(name, type_, lambda start, stop: plain[start:stop])


def _is_missing(value: Any) -> bool:
    named = type(value).__name__ in ("NAType", "NaTType")
    return value is None or named or (isinstance(value, float | Decimal) and value != value)


def _microseconds(value: datetime) -> int:
    return ((value if value.tzinfo else value.replace(tzinfo=UTC)) - EPOCH) // _MICROSECOND


# The order matters: a bool is an int, a datetime is a date.
_OBJECTS: tuple[tuple[str, Any], ...] = (
    ("boolean", bool),
    ("integer", int),
    ("float", (int, float)),
    ("decimal", Decimal),
    ("text", str),
    ("datetime", datetime),
    ("date", date),
    ("time", time),
    ("duration", timedelta),
    ("binary", (bytes, bytearray, memoryview)),
    ("nested", (list, tuple, dict, set)),
)
_LOOKALIKE: Mapping[str, type] = {"integer": bool, "float": bool, "date": datetime}
"""Type -> the Python type that only looks like one of it."""

_PLAIN: Mapping[str, Callable[[Any], Any]] = {
    "float": float,
    "text": str,
    "datetime": _microseconds,
    "date": lambda value: (value - DAY_ZERO).days,
    "duration": lambda value: value // _MICROSECOND,
    "binary": bytes,
}
"""Type -> how a Python object becomes the value of a column of that type."""
