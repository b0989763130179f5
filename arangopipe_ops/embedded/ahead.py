"""Reading ahead: what a loop looks up for each of its rows is read for many rows at once, which costs less.

What is read lies in `Context.ahead` by what it will be looked up by. Whoever looks something up looks there first, and
asks the database if it is not there: so it does not matter to an answer what was read ahead, or whether anything was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Protocol, TypeAlias

from .access import Ordered
from .context import Ahead, Context
from .executor import EnumerateCollection, Rows
from .expressions import Eval, Frame
from .storage import Document
from .values import Value

ROWS = 256
"""For so many rows is read ahead at most; at first it is one, and each time for twice as many."""
FEW = 8
"""So many documents for each value are worth being read ahead: to look up more costs little for each of them."""
SPARE = 64
MOST = 8192
"""So many are read at once at most, or loops in loops would read ahead eight times as much at each level."""

Puts: TypeAlias = Callable[[], Iterable[None]]
"""Puts one row after the other into the frame."""


class Lookup(Protocol):
    """Something that a statement will look up for each row."""

    def read(self, rows: Puts, frame: Frame) -> None:
        """Read what it is for all these rows."""


def _new_values(rows: Puts, frame: Frame, value: Eval, ahead: Ahead) -> list[str]:
    """What will be looked up for these rows, if it is worth reading and not there yet; only text is."""
    if ahead.useless:
        return []
    values = dict.fromkeys(each for _ in rows() if type(each := value(frame)) is str)
    if values.keys() <= ahead.found.keys() or ahead.is_useless():
        return []
    return list(values)


@dataclass(slots=True)
class DocumentLookup:
    """`DOCUMENT(handle)`, the place of this number in a statement."""

    place: int
    handle: Eval

    def read(self, rows: Puts, frame: Frame) -> None:
        context: Context = frame[0]
        ahead = context.ahead.setdefault(self.place, Ahead())
        if handles := _new_values(rows, frame, self.handle, ahead):
            ahead.renew({document["_id"]: document for document in context.documents(handles)})


@dataclass(slots=True)
class LoopLookup:
    """A loop over what an index has for one value; `inner` is looked up for each of its documents."""

    loop: EnumerateCollection
    access: Ordered
    value: Eval
    inner: list[Lookup] = field(default_factory=list)

    def read(self, rows: Puts, frame: Frame) -> None:
        context: Context = frame[0]
        ahead = context.ahead.setdefault(self.access.loop, Ahead())
        values = _new_values(rows, frame, self.value, ahead)
        if not values:
            return
        found: dict[str, list[Document]] = {value: [] for value in values}
        most = min(FEW * len(values) + SPARE, MOST)
        context.check_deadline()
        for value, document in islice(self.access.of_each(values, context, self.loop.body), most):
            found[value].append(document)
        if sum(map(len, found.values())) == most:
            ahead.useless = True
            return
        if self.access.descending:
            for documents in found.values():
                documents.reverse()
        ahead.renew(found)
        for lookup in self.inner:
            lookup.read(partial(self._put, found, frame), frame)

    def _put(self, found: dict[str, list[Document]], frame: Frame) -> Iterator[None]:
        for documents in found.values():
            for document in documents:
                frame[self.loop.slot] = document
                yield


@dataclass(slots=True)
class ReadAhead:
    """Lets all rows pass, some of them together; not in a statement that writes, nor where not all rows are wanted."""

    lookups: list[Lookup]
    block: slice
    active: bool = True

    def rows(self, source: Rows, frame: Frame) -> Rows:
        return self._rows(source, frame) if self.active else source

    def _rows(self, source: Rows, frame: Frame) -> Rows:
        for _ in islice(source, 1):
            yield
        size = 2
        while rows := [frame[self.block] for _ in islice(source, size)]:
            if len(rows) > 1:
                for lookup in self.lookups:
                    lookup.read(partial(self._put, rows, frame), frame)
            yield from self._put(rows, frame)
            size = min(2 * size, ROWS)

    def _put(self, rows: list[list[Value]], frame: Frame) -> Iterator[None]:
        for row in rows:
            frame[self.block] = row
            yield

    def explain(self) -> dict[str, Any] | None:
        """A server has no such step."""
        return None
