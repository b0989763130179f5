"""Values as JSON that means the same whichever way it came, and digests of them."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from enum import Enum
from os import PathLike, fspath
from typing import Any
from uuid import UUID

from arangopipe_ops.errors import Invalid

Document = dict[str, Any]

MAX_DEPTH = 64
_LACKING = "is a missing value, which JSON cannot hold; leave it out or store None"


def canonical(value: Any, path: str = "") -> Any:
    """Return `value` as JSON that means the same whichever way it came.

    Orchestrators change types on the way: integers come back as floats, tuples as lists. So integral floats
    become integers, times UTC ISO 8601 text, keys are sorted, numpy and pandas values become plain ones.
    Raises Invalid, naming the path, for NaN and infinity, times without a zone, cycles, and anything else that
    is not JSON.
    """
    return _canonical(value, path, ())


def _canonical(value: Any, path: str, parents: tuple[int, ...]) -> Any:
    for types, convert in _SCALARS:
        if isinstance(value, types):
            return convert(value, path)
    if id(value) in parents:
        raise Invalid(path, "refers to itself; store a reference by name instead")
    if len(parents) >= MAX_DEPTH:
        raise Invalid(path, f"is nested deeper than {MAX_DEPTH} levels")
    inside = (*parents, id(value))
    if isinstance(value, Mapping):
        return _canonical_mapping(value, path, inside)
    if isinstance(value, set | frozenset):
        return sorted((_canonical(item, f"{path}[]", inside) for item in value), key=canonical_text)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [_canonical(item, f"{path}[{i}]", inside) for i, item in enumerate(value)]
    if hasattr(value, "tolist"):
        return _canonical(value.tolist(), path, inside)
    if type(value).__name__ == "NAType":  # of pandas
        raise Invalid(path, _LACKING)
    raise Invalid(path, f"{type(value).__name__} cannot be stored; convert it to text, a number, a list or a dict")


def _canonical_mapping(value: Mapping[Any, Any], path: str, inside: tuple[int, ...]) -> dict[str, Any]:
    items = [(_attribute(name, path), item) for name, item in value.items()]
    if len({name for name, _ in items}) < len(items):
        raise Invalid(path, "two of its keys are the same as text")
    return {name: _canonical(item, f"{path}.{name}" if path else name, inside) for name, item in sorted(items)}


def _attribute(name: Any, path: str) -> str:
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise Invalid(path, f"the key {name!r} is not text")
    return storable(str(name), path)


def storable(value: str, path: str) -> str:
    """Return a text that every database can store. Raises Invalid."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Invalid(path, "holds half of a surrogate pair, which no database can store") from None
    return str(value)


def _whole(value: int, path: str) -> int:
    if not -(2**63) <= value < 2**63:
        raise Invalid(path, "is an integer of more than 64 bits; store it as text")
    return int(value)


def _real(value: float, path: str) -> int | float:
    if not math.isfinite(value):
        raise Invalid(path, f"is {float(value)!r}, which JSON cannot hold; leave it out or store None")
    return int(value) if value.is_integer() and abs(value) < 2**53 else float(value)


def _instant(value: datetime, path: str) -> str:
    if value != value:  # pandas' NaT
        raise Invalid(path, _LACKING)
    if value.tzinfo is None:
        raise Invalid(path, "is a time without a zone; give it one, for example datetime.now(timezone.utc)")
    unit = "microseconds" if value.microsecond % 1000 else "milliseconds"
    try:
        return value.astimezone(UTC).isoformat(timespec=unit).replace("+00:00", "Z")
    except OverflowError:
        raise Invalid(path, "is a time outside of the years 1 to 9999") from None


# The order matters: a bool is an int, a datetime is a date, and numpy.float64 is a float.
_SCALARS: tuple[tuple[Any, Callable[[Any, str], Any]], ...] = (
    (type(None), lambda value, path: None),
    (bool, lambda value, path: value),
    (Enum, lambda value, path: _canonical(value.value, path, ())),
    (str, storable),
    (int, _whole),
    (float, _real),
    (datetime, _instant),
    (date, lambda value, path: value.isoformat()),
    (UUID, lambda value, path: str(value)),
    (PathLike, lambda value, path: storable(fspath(value), path)),
)


_EXAMPLE = "2026-01-31T08:00:00Z"


def moment(value: Any, path: str) -> str:
    """Return a point in time as canonical UTC text; a bare date is its midnight in UTC. Raises Invalid."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value) if "T" in value or " " in value else date.fromisoformat(value)
        except ValueError:
            raise Invalid(path, f"{value!r} is not an ISO 8601 time, such as 2026-01-31 or {_EXAMPLE}") from None
        if isinstance(value, datetime) and value.tzinfo is None:
            raise Invalid(path, f"{value.isoformat()!r} is a time without a zone; give it one, as in {_EXAMPLE}")
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time(), UTC)
    if not isinstance(value, datetime):
        raise Invalid(path, f"{value!r} is not a time")
    return _instant(value, path)


def canonical_text(value: Any) -> str:
    """Return canonical JSON text: equal values, and only they, have equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    """Return the SHA-256 of a canonical value, in hexadecimal."""
    return hashlib.sha256(canonical_text(value).encode()).hexdigest()
