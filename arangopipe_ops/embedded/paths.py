"""Searches for paths between two vertices.

Manual: aql/graph-queries/shortest-path, all-shortest-paths, k-shortest-paths, k-paths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from collections.abc import Collection as Names
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Any, ClassVar, TypeAlias

from .executor import Rows, watched
from .expressions import Eval, Frame
from .graph import EVEN, Graph, Step, Way, Weight, depths, handle_of
from .values import Value

Path: TypeAlias = tuple[Step, ...]
"""The steps from the start to the end."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for: paths from `start` to `end`, of a length or by weight."""

    graph: Graph
    start: str
    end: str
    low: int
    high: int
    weight: Weight

    def weigh(self, path: Iterable[Step]) -> float:
        return sum(self.weight.of(edge) for edge, _ in path)

    def vertices(self, path: Path) -> list[str]:
        return [self.start, *(vertex for _, vertex in path)]


def shortest(search: Search) -> Iterator[Path]:
    """One path with the least weight, which is the number of edges if they have none."""
    if search.weight.attribute is None:
        return _first(all_shortest(search))
    return _first(_lightest(search, search.start, frozenset(), frozenset()))


def _first(paths: Iterator[Path]) -> Iterator[Path]:
    for path in paths:
        yield path
        return


def all_shortest(search: Search) -> Iterator[Path]:
    """All paths with the fewest edges: whole levels of vertices at a time, until the end is in one."""
    arrivals: dict[str, list[tuple[str, Step]]] = {search.start: []}
    level = [search.start]
    while level and search.end not in arrivals:
        search.graph.load_steps(level)
        found: dict[str, list[tuple[str, Step]]] = {}
        for vertex in level:
            for step in search.graph.steps(vertex):
                if step[1] not in arrivals:
                    found.setdefault(step[1], []).append((vertex, step))
        arrivals |= found
        level = list(found)
    return _unwind(search, arrivals) if search.end in arrivals else iter(())


def _unwind(search: Search, arrivals: dict[str, list[tuple[str, Step]]]) -> Iterator[Path]:
    """The paths that end in `search.end`, from the steps by which each vertex was reached first."""
    waiting: list[tuple[str, Path]] = [(search.end, ())]
    while waiting:
        vertex, path = waiting.pop()
        if vertex == search.start:
            yield path
        else:
            waiting.extend((before, (step, *path)) for before, step in reversed(arrivals[vertex]))


def _lightest(search: Search, start: str, closed: frozenset[str], banned: frozenset[str]) -> Iterator[Path]:
    """Dijkstra's algorithm around `closed` vertices and `banned` edges."""
    numbers = count()
    heap: list[tuple[float, int, str, Path]] = [(0, next(numbers), start, ())]
    done = set(closed)
    while heap:
        weight, _, vertex, path = heappop(heap)
        if vertex == search.end:
            yield path
            return
        if vertex in done:
            continue
        done.add(vertex)
        for step in search.graph.steps(vertex):
            edge, to = step
            if to not in done and edge["_id"] not in banned:
                heappush(heap, (weight + search.weight.of(edge), next(numbers), to, (*path, step)))


def k_shortest(search: Search) -> Iterator[Path]:
    """Yen's algorithm: paths without cycles, the lightest first, each a detour from one before."""
    candidates = Candidates(search)
    candidates.add(_lightest(search, search.start, frozenset(), frozenset()))
    before: list[Path] = []
    while (path := candidates.take()) is not None:
        yield path
        before.append(path)
        for position in range(len(path)):
            candidates.add(_detours(search, path[:position], before))


@dataclass(slots=True)
class Candidates:
    """Paths that wait for their turn, each of them once."""

    search: Search
    _heap: list[tuple[float, int, Path]] = field(default_factory=list)
    _seen: set[tuple[str, ...]] = field(default_factory=set)

    def add(self, paths: Iterable[Path]) -> None:
        for path in paths:
            edges = _edges(path)
            if edges not in self._seen:
                self._seen.add(edges)
                heappush(self._heap, (self.search.weigh(path), len(self._seen), path))

    def take(self) -> Path | None:
        return heappop(self._heap)[2] if self._heap else None


def _edges(path: Path) -> tuple[str, ...]:
    return tuple(edge["_id"] for edge, _ in path)


def _detours(search: Search, root: Path, before: list[Path]) -> Iterator[Path]:
    """The lightest path that begins with `root` and then leaves all known paths."""
    taken = _edges(root)
    banned = frozenset(_edges(path)[len(root)] for path in before if _edges(path)[: len(root)] == taken)
    *closed, fork = search.vertices(root)
    for rest in _lightest(search, fork, frozenset(closed), banned):
        yield root + rest


def k_paths(search: Search) -> Iterator[Path]:
    """All paths of the wanted lengths without cycles, the shorter ones first."""
    level: list[Path] = [()]
    for length in range(search.high + 1):
        ends = [search.vertices(path)[-1] for path in level]
        if length >= search.low:
            yield from (path for path, vertex in zip(level, ends, strict=True) if vertex == search.end)
        if length == search.high or not level:
            return
        open_ends = [path for path, vertex in zip(level, ends, strict=True) if vertex != search.end or length == 0]
        search.graph.load_steps(vertex for vertex in dict.fromkeys(ends))
        level = [longer for path in open_ends for longer in _longer(search, path)]


def _longer(search: Search, path: Path) -> Iterator[Path]:
    visited = search.vertices(path)
    for step in search.graph.steps(visited[-1]):
        if step[1] not in visited:
            yield (*path, step)


SEARCHES: dict[str, Callable[[Search], Iterator[Path]]] = {
    "SHORTEST_PATH": shortest,
    "ALL_SHORTEST_PATHS": all_shortest,
    "K_SHORTEST_PATHS": k_shortest,
    "K_PATHS": k_paths,
}
NODES = {"SHORTEST_PATH": "ShortestPathNode"}


@dataclass(slots=True)
class FindPaths:
    """A search for each row: all paths as objects or, for SHORTEST_PATH, the steps of one."""

    kind: ClassVar[str] = "EnumeratePathsNode"
    keyword: str
    slots: list[int]
    start: Eval
    end: Eval
    depth: tuple[Eval, Eval]
    ways: list[Way]
    options: Eval | None
    declared: Names[str]

    def rows(self, source: Rows, frame: Frame) -> Rows:
        show = self._show_steps if self.keyword == "SHORTEST_PATH" else self._show_path
        for _ in source:
            search = self._search(frame)
            if search is not None:
                for path in watched(SEARCHES[self.keyword](search), frame[0]):
                    yield from show(search, path, frame)

    def _search(self, frame: Frame) -> Search | None:
        """None if one of the vertices does not exist."""
        given = self.options(frame) if self.options is not None else {}
        graph = Graph(frame[0], self.ways, self.declared)
        start, end = (handle_of(each(frame), frame[0]) for each in (self.start, self.end))
        low, high = depths("path", *(evaluate(frame) for evaluate in self.depth))
        if start is None or end is None or graph.vertex(start) is None or graph.vertex(end) is None:
            return None
        weight = Weight.read(given)
        return Search(graph, start, end, low, high, weight if weight.attribute is not None else EVEN)

    def _show_steps(self, search: Search, path: Path, frame: Frame) -> Rows:
        edges = [None, *(edge for edge, _ in path)]
        for vertex, edge in zip(search.vertices(path), edges, strict=True):
            values = search.graph.vertex(vertex), edge
            for slot, value in zip(self.slots, values, strict=False):
                frame[slot] = value
            yield

    def _show_path(self, search: Search, path: Path, frame: Frame) -> Rows:
        handles = search.vertices(path)
        search.graph.load_vertices(handles)
        shown: dict[str, Value] = {
            "vertices": [search.graph.vertex(handle) for handle in handles],
            "edges": [edge for edge, _ in path],
        }
        weighed = {"weight": search.weigh(path)} if self.keyword == "K_SHORTEST_PATHS" else {}
        frame[self.slots[0]] = shown | weighed
        yield

    def explain(self) -> dict[str, Any]:
        edges = [{"collection": way.collection, "direction": way.direction} for way in self.ways]
        kind = NODES.get(self.keyword, self.kind)
        return {"type": kind, "pathType": self.keyword, "edgeCollections": edges}
