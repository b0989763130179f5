"""Traversals and path searches: the edge collections to follow, and what the query looks at."""

from __future__ import annotations

from .errors import ArangoError
from .expressions import Eval
from .graph import Way, ways_of
from .paths import FindPaths
from .scope import Draft
from .traversal import Needs, Traverse
from .tree import Binary, Expr, Literal, Paths, Traversal, Variable, walk


def plan_traversal(draft: Draft, clause: Traversal, position: int) -> None:
    draft.planner.check_read("traversal")
    draft.planner.warn_about(clause)
    depth, start = _depth(draft, clause.depth), draft.compile(clause.start)
    ways = _ways(draft, clause)
    options = draft.compile_optional(clause.options)
    needs = _needs(draft, clause, position)
    prune = None
    if clause.prune is not None:
        test = draft.compile(clause.prune.value)
        prune = (draft.names.declare(clause.prune.name or "*prune"), test)
    draft.add(Traverse(start, depth, ways, needs, prune, options, draft.planner.collections))


def plan_paths(draft: Draft, clause: Paths, position: int) -> None:
    draft.planner.check_read("path search")
    draft.planner.warn_about(clause)
    start, end, depth = draft.compile(clause.start), draft.compile(clause.end), _depth(draft, clause.depth)
    ways, options = _ways(draft, clause), draft.compile_optional(clause.options)
    slots = [draft.names.declare(name) for name in clause.names]
    draft.add(FindPaths(clause.kind, slots, start, end, depth, ways, options, draft.planner.collections))


def _depth(draft: Draft, depth: Expr | None) -> tuple[Eval, Eval]:
    if isinstance(depth, Binary) and depth.operator == "..":
        return draft.compile(depth.left), draft.compile(depth.right)
    only = draft.compile(depth or Literal(1))
    return only, only


def _ways(draft: Draft, clause: Traversal | Paths) -> list[Way]:
    edges = [(each.collection.name, each.direction) for each in clause.edges]
    if isinstance(clause.graph, Literal) and isinstance(clause.graph.value, str):
        definitions = draft.planner.graph(clause.graph.value)
        edges = [(definition["collection"], clause.direction) for definition in definitions]
    elif clause.graph is not None:
        raise ArangoError(1501, "syntax error, the name of a graph has to be a string or bind parameter")
    chosen: dict[str, str] = {}
    for name, direction in edges:
        if chosen.setdefault(name, direction) != direction:
            raise ArangoError(1218, message=f"conflicting directions specified for collection '{name}'")
    return [way for name, direction in chosen.items() for way in _edge_ways(draft, name, direction)]


def _edge_ways(draft: Draft, name: str, direction: str) -> list[Way]:
    collection = draft.planner.read(name)
    if not collection.is_edge:
        raise ArangoError(1218, message=f"collection type invalid: '{name}' is not an edge collection")
    return ways_of(collection, direction)


def _needs(draft: Draft, clause: Traversal, position: int) -> Needs:
    """Only what is used later on, or by PRUNE, gets a value."""
    used = [_used(draft, name, clause, position) for name in clause.names]
    slots = [draft.names.declare(name) for name in clause.names]
    vertex, edge, path = ([slot if use else None for slot, use in zip(slots, used, strict=True)] + [None] * 3)[:3]
    if path is None:
        return Needs(vertex, edge, None, False, False)
    name = clause.names[2]
    return Needs(vertex, edge, path, *(_used(draft, name, clause, position, other) for other in ("edges", "vertices")))


def _used(draft: Draft, name: str, clause: Traversal, position: int, except_for: str = "") -> bool:
    spared = frozenset((except_for, "weights")) if except_for else frozenset[str]()
    pruned = clause.prune is not None and any(
        isinstance(node, Variable) and node.name == name for node in walk(clause.prune)
    )
    return pruned or bool(draft.attributes_used(name, position) - spared)
