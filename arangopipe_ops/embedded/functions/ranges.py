"""Ranges of whole numbers: `low..high` and RANGE(low, high)."""

from __future__ import annotations

from ..errors import ArangoError
from ..values import Value, to_number

MAX_RANGE = 10_000_000


def span(low: Value, high: Value) -> range:
    """`low..high`, both included, counting down if `high` is the smaller."""
    first, last = int(to_number(low)), int(to_number(high))
    if abs(last - first) > MAX_RANGE:
        raise ArangoError(1504)
    return range(first, last + 1) if first <= last else range(first, last - 1, -1)
