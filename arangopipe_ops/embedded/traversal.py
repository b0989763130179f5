"""Traversals of graphs. Manual: aql/graph-queries/traversals.

Breadth first, one SQL statement fetches the edges of a whole frontier in all edge collections; vertices
are loaded only if the query looks at them.
"""

from __future__ import annotations

from collections.abc import Collection as Names
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Any, ClassVar

from .errors import ArangoError
from .executor import Rows, watched
from .expressions import Eval, Frame
from .graph import EVEN, Graph, Way, Weight, depths, handle_of
from .storage import Document
from .values import Value, is_true


@dataclass(frozen=True, slots=True)
class Options:
    """Manual: aql/graph-queries/traversals#traversal-options."""

    order: str = "dfs"
    unique_vertices: str = "none"
    unique_edges: str = "path"
    vertex_collections: tuple[str, ...] = ()
    edge_collections: tuple[str, ...] = ()
    weight: Weight = EVEN

    @staticmethod
    def read(given: dict[str, Any]) -> Options:
        order = given.get("order") or ("bfs" if is_true(given.get("bfs")) else "dfs")
        vertices, edges = given.get("uniqueVertices") or "none", given.get("uniqueEdges") or "path"
        _check_choice("order", order, ("bfs", "dfs", "weighted"))
        _check_choice("uniqueVertices", vertices, ("none", "path", "global"))
        _check_choice("uniqueEdges", edges, ("none", "path"))
        if vertices == "global" and order == "dfs":
            raise ArangoError(10, message="bad parameter: uniqueVertices 'global' requires order 'bfs' or 'weighted'")
        return Options(
            order,
            vertices,
            edges,
            _names(given.get("vertexCollections")),
            _names(given.get("edgeCollections")),
            Weight.read(given) if order == "weighted" else EVEN,
        )


def _check_choice(name: str, value: Value, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ArangoError(10, message=f"bad parameter: {name} {value!r}, expecting one of {', '.join(choices)}")


def _names(value: Value) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


@dataclass(slots=True, eq=False)
class Hop:
    """A path of a traversal: its last step and the path before that."""

    vertex: str
    edge: Document | None = None
    parent: Hop | None = None
    depth: int = 0
    weight: float = 0

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
    declared: Names[str]

    def rows(self, source: Rows, frame: Frame) -> Rows:
        for _ in source:
            start = handle_of(self.start(frame), frame[0])
            if start is None:
                continue
            low, high = depths("traversal", *(evaluate(frame) for evaluate in self.depth))
            walk = Walk(self, frame, high)
            for hop in watched(walk.hops(start), frame[0]):
                if hop.depth >= low:
                    walk.show(hop)
                    yield

    def explain(self) -> dict[str, Any]:
        edges = [{"collection": way.collection, "direction": way.direction} for way in self.ways]
        return {"type": self.kind, "edgeCollections": edges}


@dataclass(slots=True)
class Walk:
    """One traversal from one vertex."""

    plan: Traverse
    frame: Frame
    high: int
    options: Options = field(init=False)
    graph: Graph = field(init=False)

    def __post_init__(self) -> None:
        given = self.plan.options(self.frame) if self.plan.options is not None else {}
        self.options = Options.read(given)
        wanted = self.options.edge_collections
        ways = [way for way in self.plan.ways if not wanted or way.collection in wanted]
        self.graph = Graph(self.frame[0], ways, self.plan.declared)

    def hops(self, start: str) -> Iterator[Hop]:
        """All paths up to the maximal depth, in the order of the traversal, with no regard to the minimum."""
        if self.graph.vertex(start) is None:
            return iter(())
        orders = {"bfs": self._breadth_first, "dfs": self._depth_first, "weighted": self._lightest_first}
        return orders[self.options.order](Hop(start))

    def _breadth_first(self, first: Hop) -> Iterator[Hop]:
        frontier, visited = [first], {first.vertex}
        for depth in range(self.high + 1):
            if self.plan.needs.vertices:
                self.graph.load_vertices(hop.vertex for hop in frontier)
            open_ends = []
            for hop in frontier:
                pruned = self._pruned(hop)
                yield hop
                if not pruned:
                    open_ends.append(hop)
            if depth == self.high or not open_ends:
                return
            self.graph.load_steps({hop.vertex for hop in open_ends})
            frontier = [longer for hop in open_ends for longer in self._extend(hop, visited)]

    def _depth_first(self, first: Hop) -> Iterator[Hop]:
        """The latest edge of a vertex comes first, as on a server, whose stack of open ends this is."""
        stack = [first]
        while stack:
            hop = stack.pop()
            if self.plan.needs.vertices:
                self.graph.load_vertices((hop.vertex,))
            pruned = self._pruned(hop)
            yield hop
            if not pruned and hop.depth < self.high:
                stack.extend(self._extend(hop, set()))

    def _lightest_first(self, first: Hop) -> Iterator[Hop]:
        numbers = count()
        heap, visited = [(first.weight, next(numbers), first)], set[str]()
        while heap:
            _, _, hop = heappop(heap)
            if self.options.unique_vertices == "global":
                if hop.vertex in visited:
                    continue
                visited.add(hop.vertex)
            if self.plan.needs.vertices:
                self.graph.load_vertices((hop.vertex,))
            pruned = self._pruned(hop)
            yield hop
            if not pruned and hop.depth < self.high:
                for longer in self._extend(hop, set(visited)):
                    heappush(heap, (longer.weight, next(numbers), longer))

    def _extend(self, hop: Hop, visited: set[str]) -> Iterator[Hop]:
        options = self.options
        for edge, vertex in self.graph.steps(hop.vertex):
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
            yield Hop(vertex, edge, hop, hop.depth + 1, hop.weight + options.weight.of(edge))

    def _pruned(self, hop: Hop) -> bool:
        if self.plan.prune is None:
            return False
        slot, test = self.plan.prune
        self.show(hop)
        self.frame[slot] = test(self.frame)
        return is_true(self.frame[slot])

    def show(self, hop: Hop) -> None:
        """Put the path's end, and the path if it is looked at, into the frame."""
        needs, frame = self.plan.needs, self.frame
        if needs.vertex is not None:
            frame[needs.vertex] = self.graph.vertex(hop.vertex)
        if needs.edge is not None:
            frame[needs.edge] = hop.edge
        if needs.path is not None:
            frame[needs.path] = self._path(hop)

    def _path(self, hop: Hop) -> dict[str, Value]:
        hops = list(hop.back())[::-1]
        path: dict[str, Value] = {}
        if self.plan.needs.path_vertices:
            path["vertices"] = [self.graph.vertex(each.vertex) for each in hops]
        if self.plan.needs.path_edges:
            path["edges"] = [each.edge for each in hops[1:]]
        return path | {"weights": [each.weight for each in hops]}
