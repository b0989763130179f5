"""Traversals of graphs. Manual: aql/graph-queries/traversals.

Breadth first, one SQL statement fetches the edges of a whole frontier in all edge collections; vertices
are loaded only if the query looks at them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from .catalog import Collection
from .context import Context
from .errors import ArangoError
from .executor import Rows, watched
from .expressions import Eval, Frame
from .storage import Document
from .values import Value, is_number, is_true

OUTBOUND, INBOUND, ANY = "OUTBOUND", "INBOUND", "ANY"
ENDS = {OUTBOUND: ("_from", "_to"), INBOUND: ("_to", "_from")}
"""Direction -> the end of an edge where a step begins, and the one where it leads to."""


@dataclass(frozen=True, slots=True)
class Way:
    """An edge collection that a traversal follows in one direction."""

    collection: str
    direction: str
    index: int


def ways_of(collection: Collection, direction: str) -> list[Way]:
    directions = (OUTBOUND, INBOUND) if direction == ANY else (direction,)
    indexes = {index.fields[0]: index.id for index in collection.indexes if index.type == "edge"}
    return [Way(collection.name, each, indexes[ENDS[each][0]]) for each in directions]


@dataclass(frozen=True, slots=True)
class Options:
    """Manual: aql/graph-queries/traversals#traversal-options."""

    order: str = "dfs"
    unique_vertices: str = "none"
    unique_edges: str = "path"
    vertex_collections: tuple[str, ...] = ()
    edge_collections: tuple[str, ...] = ()

    @staticmethod
    def read(given: dict[str, Any]) -> Options:
        order = given.get("order") or ("bfs" if is_true(given.get("bfs")) else "dfs")
        vertices = given.get("uniqueVertices") or "none"
        if order not in ("bfs", "dfs"):
            raise ArangoError(9, message=f"not implemented: traversal order {order!r}, use 'bfs' or 'dfs'")
        if vertices == "global" and order != "bfs":
            raise ArangoError(10, message="bad parameter: uniqueVertices 'global' requires order 'bfs'")
        return Options(
            order,
            vertices,
            given.get("uniqueEdges") or "path",
            _names(given.get("vertexCollections")),
            _names(given.get("edgeCollections")),
        )


def _names(value: Value) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


@dataclass(slots=True, eq=False)
class Hop:
    """A path of a traversal: its last step and the path before that."""

    vertex: str
    edge: Document | None = None
    parent: Hop | None = None
    depth: int = 0

    def back(self) -> Iterator[Hop]:
        hop: Hop | None = self
        while hop is not None:
            yield hop
            hop = hop.parent

    def has_edge(self, handle: str) -> bool:
        return any(hop.edge is not None and hop.edge["_id"] == handle for hop in self.back())

    def has_vertex(self, handle: str) -> bool:
        return any(hop.vertex == handle for hop in self.back())


@dataclass(slots=True)
class Needs:
    """What a query looks at, and where it wants to find it."""

    vertex: int | None
    edge: int | None
    path: int | None
    path_vertices: bool
    path_edges: bool

    @property
    def vertices(self) -> bool:
        return self.vertex is not None or (self.path is not None and self.path_vertices)


@dataclass(slots=True)
class Traverse:
    kind: ClassVar[str] = "TraversalNode"
    start: Eval
    depth: tuple[Eval, Eval]
    ways: list[Way]
    needs: Needs
    prune: tuple[int, Eval] | None
    options: Eval | None

    def rows(self, source: Rows, frame: Frame) -> Rows:
        for _ in source:
            start = self._start(frame)
            if start is None:
                continue
            low, high = self._depths(frame)
            walk = Walk(self, frame, low, high)
            for hop in watched(walk.hops(start), frame[0]):
                if hop.depth >= low:
                    walk.show(hop)
                    yield

    def _start(self, frame: Frame) -> str | None:
        value = self.start(frame)
        handle = value.get("_id") if isinstance(value, dict) else value
        if isinstance(handle, str) and "/" in handle:
            return handle
        frame[0].warn(10)
        return None

    def _depths(self, frame: Frame) -> tuple[int, int]:
        low, high = (evaluate(frame) for evaluate in self.depth)
        if not (is_number(low) and is_number(high) and 0 <= low <= high):
            raise ArangoError(1501, f"invalid traversal depth {low}..{high}, expecting 0 <= min <= max")
        return int(low), int(high)

    def explain(self) -> dict[str, Any]:
        edges = [{"collection": way.collection, "direction": way.direction} for way in self.ways]
        return {"type": self.kind, "edgeCollections": edges}


@dataclass(slots=True)
class Walk:
    """One traversal from one vertex."""

    plan: Traverse
    frame: Frame
    low: int
    high: int
    options: Options = field(init=False)
    ways: list[Way] = field(init=False)
    _steps: dict[str, list[tuple[Document, str]]] = field(default_factory=dict)
    _vertices: dict[str, Document | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = self.plan.options(self.frame) if self.plan.options is not None else {}
        self.options = Options.read(given)
        wanted = self.options.edge_collections
        self.ways = [way for way in self.plan.ways if not wanted or way.collection in wanted]

    @property
    def _context(self) -> Context:
        context: Context = self.frame[0]
        return context

    def hops(self, start: str) -> Iterator[Hop]:
        """All paths up to the maximal depth, in the order of the traversal, with no regard to the minimum."""
        self._load_vertices((start,))
        if self._vertices[start] is None:
            return iter(())
        first = Hop(start)
        return self._breadth_first(first) if self.options.order == "bfs" else self._depth_first(first)

    def _breadth_first(self, first: Hop) -> Iterator[Hop]:
        frontier, visited = [first], {first.vertex}
        for depth in range(self.high + 1):
            if self.plan.needs.vertices:
                self._load_vertices(hop.vertex for hop in frontier)
            open_ends = []
            for hop in frontier:
                pruned = self._pruned(hop)
                yield hop
                if not pruned:
                    open_ends.append(hop)
            if depth == self.high or not open_ends:
                return
            self._load_steps({hop.vertex for hop in open_ends})
            frontier = [longer for hop in open_ends for longer in self._extend(hop, visited)]

    def _depth_first(self, first: Hop) -> Iterator[Hop]:
        stack = [iter((first,))]
        while stack:
            hop = next(stack[-1], None)
            if hop is None:
                stack.pop()
                continue
            if self.plan.needs.vertices:
                self._load_vertices((hop.vertex,))
            pruned = self._pruned(hop)
            yield hop
            if not pruned and hop.depth < self.high:
                self._load_steps({hop.vertex})
                stack.append(self._extend(hop, set()))

    def _extend(self, hop: Hop, visited: set[str]) -> Iterator[Hop]:
        options = self.options
        for edge, vertex in self._steps[hop.vertex]:
            if options.unique_edges == "path" and hop.has_edge(edge["_id"]):
                continue
            if options.unique_vertices == "path" and hop.has_vertex(vertex):
                continue
            if options.vertex_collections and vertex.partition("/")[0] not in options.vertex_collections:
                continue
            if options.unique_vertices == "global":
                if vertex in visited:
                    continue
                visited.add(vertex)
            yield Hop(vertex, edge, hop, hop.depth + 1)

    def _pruned(self, hop: Hop) -> bool:
        if self.plan.prune is None:
            return False
        slot, test = self.plan.prune
        self.show(hop)
        self.frame[slot] = test(self.frame)
        return is_true(self.frame[slot])

    def _load_steps(self, vertices: set[str]) -> None:
        """Edges are kept for the whole traversal, by the vertex that they lead away from."""
        new = [vertex for vertex in vertices if vertex not in self._steps]
        found: dict[tuple[str, int], list[Document]] = {}
        owners = {way.index: way.collection for way in self.ways}
        near = {way.index: ENDS[way.direction][0] for way in self.ways}
        if new and owners:
            for index, edge in self._context.transaction.edges(owners, new):
                found.setdefault((edge[near[index]], index), []).append(edge)
        for vertex in new:
            self._steps[vertex] = list(self._in_order(vertex, found))
        self._context.scanned_index += sum(map(len, found.values()))

    def _in_order(self, vertex: str, found: dict[tuple[str, int], list[Document]]) -> Iterator[tuple[Document, str]]:
        """In the order of the query's edge collections; a loop counts once even if followed both ways."""
        seen: set[str] = set()
        for way in self.ways:
            for edge in found.get((vertex, way.index), ()):
                if edge["_id"] not in seen:
                    seen.add(edge["_id"])
                    yield edge, edge[ENDS[way.direction][1]]

    def _load_vertices(self, handles: Iterable[str]) -> None:
        by_collection: dict[str, list[str]] = {}
        for handle in handles:
            if handle not in self._vertices:
                self._vertices[handle] = None
                name, _, key = handle.partition("/")
                by_collection.setdefault(name, []).append(key)
        collections = self._context.transaction.catalog.database(self._context.database)
        for name, keys in by_collection.items():
            if name in collections:
                for document in self._context.transaction.get_many(collections[name], keys):
                    self._vertices[document["_id"]] = document

    def show(self, hop: Hop) -> None:
        """Put the path's end, and the path if it is looked at, into the frame."""
        needs, frame = self.plan.needs, self.frame
        if needs.vertex is not None:
            frame[needs.vertex] = self._vertices[hop.vertex]
        if needs.edge is not None:
            frame[needs.edge] = hop.edge
        if needs.path is not None:
            frame[needs.path] = self._path(hop)

    def _path(self, hop: Hop) -> dict[str, Value]:
        hops = list(hop.back())[::-1]
        path: dict[str, Value] = {}
        if self.plan.needs.path_vertices:
            path["vertices"] = [self._vertices[each.vertex] for each in hops]
        if self.plan.needs.path_edges:
            path["edges"] = [each.edge for each in hops[1:]]
        return path | {"weights": list(range(len(hops)))}
