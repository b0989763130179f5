"""WINDOW: aggregates of the rows around each row. Manual: aql/high-level-operations/window."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from .errors import ArangoError, Undefined
from .executor import Rows, Step
from .expressions import Eval, Frame
from .functions.dates import duration, moment, shift_by, timestamp
from .values import Value, encode, is_number

Aggregate: TypeAlias = tuple[int, Eval, Callable[[list[Value]], Value]]
"""The slot of the result, what to gather from each row, and what to make of all that."""
SIDES = ("preceding", "following")


@dataclass(slots=True)
class Row:
    """A row that waits for its neighbours."""

    block: list[Value]
    gathered: list[Value]
    position: Value = None


def _rows(source: Rows, frame: Frame, aggregates: list[Aggregate], block: slice, at: Eval | None) -> list[Row]:
    gather = [value for _, value, _ in aggregates]
    return [Row(frame[block], [value(frame) for value in gather], None if at is None else at(frame)) for _ in source]


def _show(frame: Frame, block: slice, aggregates: list[Aggregate], row: Row, window: list[Row]) -> None:
    frame[block] = row.block
    for number, (slot, _, aggregate) in enumerate(aggregates):
        frame[slot] = aggregate([each.gathered[number] for each in window])


def _sides(bounds: Value) -> list[Value]:
    """What precedes and what follows, by default nothing."""
    if unknown := set(bounds) - set(SIDES):
        raise ArangoError(1501, f"syntax error, unknown WINDOW attribute '{min(unknown)}'")
    return [bounds.get(side, 0) for side in SIDES]


@dataclass(slots=True)
class AdjacentRows(Step):
    """A number of rows before and after each row."""

    kind: ClassVar[str] = "WindowNode"
    bounds: Eval
    aggregates: list[Aggregate]
    block: slice

    def rows(self, source: Rows, frame: Frame) -> Rows:
        before, after = (_number_of_rows(side) for side in _sides(self.bounds(frame)))
        rows = _rows(source, frame, self.aggregates, self.block, None)
        for at, row in enumerate(rows):
            first = 0 if before is None else max(at - before, 0)
            last = None if after is None else at + after + 1
            _show(frame, self.block, self.aggregates, row, rows[first:last])
            yield


def _number_of_rows(side: Value) -> int | None:
    """None for all of them."""
    if side == "unbounded":
        return None
    if not is_number(side) or side < 0 or side != int(side):
        raise ArangoError(1501, 'syntax error, WINDOW expects a number of rows or "unbounded"')
    return int(side)


@dataclass(slots=True)
class NearbyRows(Step):
    """The rows whose values are in a range around that of each row; all rows get sorted by it."""

    kind: ClassVar[str] = "WindowNode"
    value: Eval
    bounds: Eval
    aggregates: list[Aggregate]
    block: slice

    def rows(self, source: Rows, frame: Frame) -> Rows:
        low, high = (_offset(side, sign) for side, sign in zip(_sides(self.bounds(frame)), (-1, 1), strict=True))
        rows = _rows(source, frame, self.aggregates, self.block, self.value)
        rows.sort(key=lambda row: encode(row.position))
        numeric = [row for row in rows if is_number(row.position)]
        positions = [row.position for row in numeric]
        for row in rows:
            window: list[Row] = []
            if is_number(row.position):
                window = numeric[
                    bisect_left(positions, low(row.position)) : bisect_right(positions, high(row.position))
                ]
            else:
                frame[0].warn(1561)
            _show(frame, self.block, self.aggregates, row, window)
            yield


def _offset(side: Value, sign: int) -> Callable[[float], float]:
    """How to get from a value to the end of its range: by a number, or by a duration in milliseconds."""
    if is_number(side) and side >= 0:
        return lambda value: value + sign * side
    try:
        parts = duration(side)
    except Undefined:
        raise ArangoError(1501, "syntax error, WINDOW expects positive numbers or ISO 8601 durations") from None
    return lambda value: timestamp(shift_by(moment(value), parts, sign))
