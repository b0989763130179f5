"""A plan's operators, and their run: each is a generator over one shared frame.

An operator pulls from its source; at each step the frame holds one row. Only operators that have to
see all rows first (SORT, COLLECT, writes) copy rows: the slice of the frame their block declared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from math import inf
from operator import itemgetter
from typing import Any, ClassVar, Protocol, TypeAlias

from .access import Access
from .context import CHECK_EVERY, Context
from .errors import ArangoError
from .expressions import Eval, Frame
from .functions.signature import FARTHEST, integer
from .values import TYPE_NAMES, Value, encode, encode_all, encode_descending, identity, is_number, is_true, unique

Rows = Iterator[None]
Sorted: TypeAlias = tuple[bytes, list[Value]]
"""What a row is ordered by, and its slots."""


class Operator(Protocol):
    """A step of a plan."""

    def rows(self, source: Rows, frame: Frame) -> Rows: ...

    def explain(self) -> dict[str, Any] | None:
        """The step as a node of ArangoDB's explain output, if it has such a node."""


class Step:
    """A step with nothing to explain but its kind."""

    kind: ClassVar[str]

    def explain(self) -> dict[str, Any]:
        return {"type": self.kind}


@dataclass(slots=True)
class Block:
    """The operators of a query or subquery, and what it returns for each row."""

    operators: list[Operator]
    result: Eval | None
    distinct: bool
    constant: bool
    """Whether it returns the same for each row."""
    subqueries: list[list[Block]]
    """For each operator, and at last for the result, the blocks inside of its expressions."""

    def count(self, frame: Frame) -> int:
        """How many values it returns; of a loop that nothing looks at the index knows."""
        if self.constant and not self.distinct:
            match self.operators:
                case [EnumerateCollection(used=False) as loop]:
                    return loop.access.count(frame, None)
                case [EnumerateCollection(used=False) as loop, LimitRows() as limit]:
                    offset, last = limit.bounds(frame)
                    return max(loop.access.count(frame, last) - offset, 0)
        return len(self.run(frame))

    def run(self, frame: Frame) -> list[Value]:
        rows: Rows = iter((None,))
        for operator in self.operators:
            rows = operator.rows(rows, frame)
        if self.result is None:
            for _ in rows:
                pass
            return []
        result = self.result
        values = [result(frame) for _ in rows]
        return unique(values) if self.distinct else values


@dataclass(slots=True)
class Plan:
    """A query that is ready to run on databases of one catalog version."""

    block: Block
    size: int
    parameters: dict[str, int]
    collections: dict[str, str]
    """Name -> "read" or "write"."""
    variables: list[str]
    warnings: list[tuple[Any, ...]]
    """Number and details of what every run warns about."""


@dataclass(slots=True)
class Result:
    values: list[Value]
    context: Context
    seconds: float


def execute(plan: Plan, context: Context, bind_values: dict[str, Value]) -> Result:
    started = time.perf_counter()
    frame: Frame = [None] * plan.size
    frame[0] = context
    for name, slot in plan.parameters.items():
        frame[slot] = bind_values[name]
    for warning in plan.warnings:
        context.warn(*warning)
    try:
        return Result(plan.block.run(frame), context, time.perf_counter() - started)
    except RecursionError:
        raise ArangoError(1524) from None


def watched(items: Iterable[Value], context: Context) -> Iterable[Value]:
    """`items`, giving up when the statement has run for too long."""
    return items if context.deadline is None else _watch(items, context)


def _watch(items: Iterable[Value], context: Context) -> Iterator[Value]:
    return chain.from_iterable(_spans(iter(items), context))


def _spans(items: Iterator[Value], context: Context) -> Iterator[Iterable[Value]]:
    for first in items:
        context.check_deadline()
        yield chain((first,), islice(items, CHECK_EVERY - 1))


@dataclass(slots=True)
class EnumerateList(Step):
    kind: ClassVar[str] = "EnumerateListNode"
    slot: int
    items: Eval

    def rows(self, source: Rows, frame: Frame) -> Rows:
        slot, evaluate, context = self.slot, self.items, frame[0]
        for _ in source:
            items = evaluate(frame)
            if type(items) is not list and type(items) is not range:
                kind = TYPE_NAMES[type(items)]
                message = f"collection or array expected as operand to FOR loop; you provided a value of type '{kind}'"
                raise ArangoError(1563, message=message)
            for item in watched(items, context):
                frame[slot] = item
                yield


@dataclass(slots=True)
class EnumerateCollection:
    """Documents of a collection, found through `access`; of those that nothing looks at (`used`) none is read.

    With `snapshot` they are all read before the first is used, as the statement writes to them later.
    """

    slot: int
    access: Access
    body: bool
    used: bool
    snapshot: bool = False

    def rows(self, source: Rows, frame: Frame) -> Rows:
        slot, access = self.slot, self.access
        for _ in source:
            documents: Iterable[Any] = access.documents(frame, self.body) if self.used else access.unseen(frame)
            if self.snapshot:
                documents = list(documents)
            for document in documents:
                frame[slot] = document
                yield

    def explain(self) -> dict[str, Any]:
        projections = ["_id", "_key", "_rev"] if self.used and not self.body else []
        return self.access.explain() | {"projections": projections, "producesResult": self.used}


@dataclass(slots=True)
class FilterRows(Step):
    kind: ClassVar[str] = "FilterNode"
    test: Eval

    def rows(self, source: Rows, frame: Frame) -> Rows:
        test, context = self.test, frame[0]
        for _ in source:
            if (passes := test(frame)) is True or is_true(passes):
                yield
            else:
                context.filtered += 1


@dataclass(slots=True)
class Calculate(Step):
    kind: ClassVar[str] = "CalculationNode"
    slot: int
    value: Eval

    def rows(self, source: Rows, frame: Frame) -> Rows:
        slot, value = self.slot, self.value
        for _ in source:
            frame[slot] = value(frame)
            yield


@dataclass(slots=True)
class SortRows(Step):
    kind: ClassVar[str] = "SortNode"
    keys: list[tuple[Eval, bool]]
    block: slice
    limit: LimitRows | None = None
    """What lets only the first rows pass, so that the others need not be kept."""

    def rows(self, source: Rows, frame: Frame) -> Rows:
        keys = [(encode_descending if descending else encode, key) for key, descending in self.keys]
        most, worst = self._most(frame), None
        rows: list[Sorted] = []
        for _ in source:
            code = b"".join([encoded(key(frame)) for encoded, key in keys])
            if worst is not None and code >= worst:
                continue
            rows.append((code, frame[self.block]))
            if len(rows) > 2 * most + CHECK_EVERY:
                rows.sort(key=itemgetter(0))
                del rows[int(most) :]
                worst = rows[-1][0] if rows else b""
        for _, row in sorted(rows, key=itemgetter(0)):
            frame[self.block] = row
            yield

    def _most(self, frame: Frame) -> float:
        last = None if self.limit is None or self.limit.counts(frame) else self.limit.bounds(frame)[1]
        return inf if last is None else last


@dataclass(slots=True)
class LimitRows(Step):
    kind: ClassVar[str] = "LimitNode"
    offset: Eval
    count: Eval
    outermost: bool
    """Whether this is the LIMIT that the option fullCount is about."""

    def rows(self, source: Rows, frame: Frame) -> Rows:
        offset, last = self.bounds(frame)
        if self.counts(frame):
            return self._counted(source, frame[0], offset, last)
        return islice(source, offset, last)

    def counts(self, frame: Frame) -> bool:
        """Whether it has to see the rows that it does not let pass."""
        return self.outermost and bool(frame[0].full_count)

    def bounds(self, frame: Frame) -> tuple[int, int | None]:
        """How many rows are passed over, and after how many it ends."""
        offset, count = _bound(self.offset(frame)) or 0, _bound(self.count(frame))
        return offset, None if count is None else offset + count

    def _counted(self, source: Rows, context: Context, offset: int, last: int | None) -> Rows:
        matched = 0
        for _ in source:
            if matched >= offset and (last is None or matched < last):
                yield
            matched += 1
        context.matched = matched


def _bound(value: Value) -> int | None:
    """A null does not limit."""
    if value is None or (type(value) is int and 0 <= value <= FARTHEST):
        return value
    if not is_number(value) or value < 0:
        raise ArangoError(1504)
    return integer(value)


@dataclass(slots=True)
class Grouping:
    """What COLLECT ... INTO keeps of each row: a projection, or the variables by name."""

    slot: int
    projection: Eval | None
    variables: list[tuple[str, int]]

    def row(self, frame: Frame) -> Value:
        if self.projection is not None:
            return self.projection(frame)
        return {name: frame[slot] for name, slot in self.variables}


@dataclass(slots=True)
class CollectRows(Step):
    """Rows grouped by the values of `keys`, ordered by them."""

    kind: ClassVar[str] = "CollectNode"
    keys: list[tuple[int, Eval]]
    aggregates: list[tuple[int, Eval, Callable[[list[Value]], Value]]]
    into: Grouping | None
    count: int | None

    def rows(self, source: Rows, frame: Frame) -> Rows:
        groups = self._gather(source, frame)
        if not self.keys and not groups:
            groups = [Group([], [[] for _ in self.aggregates])]
        for group in sorted(groups, key=lambda group: encode_all(group.key)):
            self._emit(group, frame)
            yield

    def _gather(self, source: Rows, frame: Frame) -> list[Group]:
        groups: dict[Hashable, Group] = {}
        for _ in source:
            key = [value(frame) for _, value in self.keys]
            code = tuple([identity(each) for each in key])
            group = groups.get(code)
            if group is None:
                group = groups[code] = Group(key, [[] for _ in self.aggregates])
            group.size += 1
            for values, (_, value, _) in zip(group.values, self.aggregates, strict=True):
                values.append(value(frame))
            if self.into is not None:
                group.rows.append(self.into.row(frame))
        return list(groups.values())

    def _emit(self, group: Group, frame: Frame) -> None:
        for (slot, _), value in zip(self.keys, group.key, strict=True):
            frame[slot] = value
        for (slot, _, aggregate), values in zip(self.aggregates, group.values, strict=True):
            frame[slot] = aggregate(values)
        if self.into is not None:
            frame[self.into.slot] = group.rows
        if self.count is not None:
            frame[self.count] = group.size


@dataclass(slots=True)
class Group:
    key: list[Value]
    values: list[list[Value]]
    size: int = 0
    rows: list[Value] = field(default_factory=list)
