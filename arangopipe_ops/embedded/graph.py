"""A graph as traversals and path searches see it: the steps from a vertex, and the vertices themselves."""

from __future__ import annotations

from collections.abc import Collection as Names
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from .catalog import Collection
from .context import Context
from .errors import ArangoError
from .storage import Document
from .values import Value, is_number

OUTBOUND, INBOUND, ANY = "OUTBOUND", "INBOUND", "ANY"
ENDS = {OUTBOUND: ("_from", "_to"), INBOUND: ("_to", "_from")}
"""Direction -> the end of an edge where a step begins, and the one where it leads to."""

Step: TypeAlias = tuple[Document, str]
"""An edge, and the id of the vertex that it leads to."""


@dataclass(frozen=True, slots=True)
class Way:
    """An edge collection that is followed in one direction."""

    collection: str
    direction: str
    index: int


def ways_of(collection: Collection, direction: str) -> list[Way]:
    directions = (OUTBOUND, INBOUND) if direction == ANY else (direction,)
    indexes = {index.fields[0]: index.id for index in collection.indexes if index.type == "edge"}
    return [Way(collection.name, each, indexes[ENDS[each][0]]) for each in directions]


@dataclass(frozen=True, slots=True)
class Weight:
    """What an edge costs: the number in its attribute, or the default."""

    attribute: str | None = None
    default: float = 1

    def of(self, edge: Document) -> float:
        value: Value = edge.get(self.attribute) if self.attribute is not None else None
        weight: float = value if is_number(value) else self.default
        if weight < 0:
            raise ArangoError(1948)
        return weight

    @staticmethod
    def read(given: dict[str, Value]) -> Weight:
        attribute, default = given.get("weightAttribute"), given.get("defaultWeight")
        fallback: float = default if default is not None and is_number(default) else 1
        weight = Weight(attribute if isinstance(attribute, str) else None, fallback)
        if weight.default < 0:
            raise ArangoError(1948)
        return weight


EVEN = Weight()
"""Paths weigh as much as they have edges."""


@dataclass(slots=True)
class Graph:
    """The edges along `ways`; what one traversal or search has read of them is kept until its end.

    `declared` are the collections that a server knows the statement to read.
    """

    context: Context
    ways: Sequence[Way]
    declared: Names[str]
    _steps: dict[str, list[Step]] = field(default_factory=dict)
    _vertices: dict[str, Document | None] = field(default_factory=dict)

    def vertex(self, handle: str) -> Document | None:
        self.load_vertices((handle,))
        return self._vertices[handle]

    def steps(self, vertex: str) -> list[Step]:
        self.load_steps((vertex,))
        return self._steps[vertex]

    def load_steps(self, vertices: Iterable[str]) -> None:
        """The edges at all these vertices, with one SQL statement."""
        self.context.check_deadline()
        new = [vertex for vertex in vertices if vertex not in self._steps]
        found: dict[tuple[str, int], list[Document]] = {}
        owners = {way.index: way.collection for way in self.ways}
        near = {way.index: ENDS[way.direction][0] for way in self.ways}
        if new and owners:
            for index, edge in self.context.transaction.edges(owners, new):
                found.setdefault((edge[near[index]], index), []).append(edge)
        for vertex in new:
            self._steps[vertex] = list(self._in_order(vertex, found))
        self.context.scanned_index += sum(map(len, found.values()))

    def _in_order(self, vertex: str, found: dict[tuple[str, int], list[Document]]) -> Iterator[Step]:
        """In the order of the query's edge collections; a loop counts once even if followed both ways."""
        seen: set[str] = set()
        for way in self.ways:
            for edge in found.get((vertex, way.index), ()):
                if edge["_id"] not in seen:
                    seen.add(edge["_id"])
                    yield edge, self._known(edge[ENDS[way.direction][1]])

    def _known(self, handle: str) -> str:
        """A coordinator reads only from collections that the statement has named."""
        if self.context.require_with and (name := handle.partition("/")[0]) not in self.declared:
            advice = f"please add 'WITH {name}' as the first line in your AQL"
            raise ArangoError(1521, f"collection not known to traversal: '{name}'. {advice}")
        return handle

    def load_vertices(self, handles: Iterable[str]) -> None:
        by_collection: dict[str, list[str]] = {}
        for handle in handles:
            if handle not in self._vertices:
                self._vertices[self._known(handle)] = None
                name, _, key = handle.partition("/")
                by_collection.setdefault(name, []).append(key)
        self.context.reached.update(by_collection)
        collections = self.context.transaction.catalog.database(self.context.database)
        for name, keys in by_collection.items():
            if name in collections:
                for document in self.context.transaction.get_many(collections[name], keys):
                    self._vertices[document["_id"]] = document


def handle_of(value: Value, context: Context) -> str | None:
    """The id of a start or end vertex, given as such or as a document; warns about all else."""
    handle = value.get("_id") if isinstance(value, dict) else value
    if isinstance(handle, str) and "/" in handle:
        return handle
    context.warn(10)
    return None


def depths(what: str, low: Value, high: Value) -> tuple[int, int]:
    """Of a traversal or path search; raises 1501 for a range that is none."""
    if not (is_number(low) and is_number(high) and 0 <= low <= high):
        raise ArangoError(1501, f"invalid {what} depth {low}..{high}, expecting 0 <= min <= max")
    return int(low), int(high)
