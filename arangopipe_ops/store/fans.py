"""The statement that walks a bounded part of the graph, of large fans only some, and what its answer means.

A fan is what one type of edge leads to from one node, upstream or downstream. Every step is an index look-up with an
end, so that the walk costs the same around a data set with ten runs and around one with a million.
"""

import re
from collections import Counter
from collections.abc import Set
from typing import NamedTuple, TypedDict

from arangopipe_ops.errors import Invalid
from arangopipe_ops.model import Cut, Document, Lineage, Schema
from arangopipe_ops.store.lineage import SIDES, facts_text, followed, heading, lineage_of
from arangopipe_ops.store.statements import EXTENSION, appended

FARTHEST = 8
"""Steps that one statement can walk."""
COUNTED = 1000
"""Edges of a fan that are counted."""
ACTIVE = 500
"""Active deployments that are asked whether they depend on a node."""


class Dependents(TypedDict):
    """What depends on a node: the `active` deployments, all of them, and a part of all that is downstream.

    Without `complete` there are so many active deployments that not all were asked.
    """

    active: list[Document]
    complete: bool
    lineage: Lineage


class Fan(NamedTuple):
    """A type of edge that is followed on one side, by its place in the schema, and what it leads to.

    `order` has the newest first where an index holds them so; elsewhere that would be to read the whole fan.
    """

    j: int
    edge: str
    outward: bool
    near: str
    far: str
    kind: str
    order: str


_NEWEST = " SORT e.created DESC, e._to DESC"

_ENDS = {True: ("_from", "_to"), False: ("_to", "_from")}
"""Whether an edge leads away from a node -> its ends, the near one first."""

_FANS = """
LET {name} = (FOR n IN {nodes}{each}
  RETURN {{{names}}})"""

_FAN = """
  LET fan{fan.j} = (FOR e IN @@e{fan.j} FILTER e.{fan.near} == n.node._id{fan.order} LIMIT @seen
    RETURN {{far: e.{fan.far}, edge: e}})"""

_STEP = """
LET {side}{k} = (
  FOR id IN MINUS((FOR fans IN {side}{k}_fans FOR fan IN VALUES(fans) FOR link IN SLICE(fan, 0, @fan)
    RETURN link.far), {met})
  SORT id LIMIT @limit
  LET node = DOCUMENT(id) FILTER node != null
  RETURN {{node, depth: {k}}})"""

_TOTAL = """
LET {side}_total{fan.j} = (FOR fans IN {side}_fans FILTER LENGTH(fans.fan{fan.j}) > @fan
  LET near = fans.fan{fan.j}[0].edge.{fan.near}
  RETURN [near, LENGTH(FOR e IN @@e{fan.j} FILTER e.{fan.near} == near LIMIT @counted RETURN 1)])"""

_RETURN = """
RETURN {{
  start: found._id,
  nodes: UNION(walked, []{facts}),
  edges: UNION((FOR fans IN UNION(between, {fans}) FOR fan IN VALUES(fans) FOR link IN fan
    RETURN link.edge), []{edges}),
  totals: [{totals}],
  active: {active},
  extension: {extension}
}}"""

_TRAINED = """
LET walked = UNION(reached, (FOR n IN reached FILTER IS_SAME_COLLECTION("run", n.node)
  FOR e IN run_models FILTER e._to == n.node._id
  LET node = DOCUMENT(e._from) FILTER node != null
  RETURN {node, depth: n.depth + 1}))"""

_ACTIVE = """(FOR d IN deployment FILTER d.active_slot != null LIMIT @active
    RETURN {{deployment: d, depends: d._id != found._id AND LENGTH(
      FOR v IN 1..100 OUTBOUND d {edges} OPTIONS {{order: "bfs", uniqueVertices: "global"}}
      FILTER v._id == found._id LIMIT 1 RETURN 1) > 0}})"""


def bounds(depth: int, fan: int, limit: int) -> Document:
    """Return what a walk with an end may bind. Raises Invalid."""
    if fan < 1 or limit < 1:
        raise Invalid("fan", f"{fan} and limit {limit} are to be numbers of nodes")
    known = {"fan": fan, "seen": fan + 1, "limit": limit, "counted": COUNTED, "active": ACTIVE}
    return known | {"depth": min(depth, FARTHEST)}


def fans_text(schema: Schema, kind: str, direction: str, bounds: Document) -> tuple[str, Document]:
    """Return the statement that walks from a looked-up node of a kind, and the names it binds.

    At the end it looks for edges between the nodes that were met, the way up, where fans are small.
    """
    return _text(schema, kind, direction, bounds, "\nLET walked = reached", "[]")


def dependents_text(schema: Schema, kind: str, bounds: Document) -> tuple[str, Document]:
    """Return the statement for what depends on a looked-up node, and the names it binds.

    A walk down would not come to the end of a large fan. There are few active deployments, and little upstream of
    each: they are asked, every one, whether their way up leads to the node.
    """
    up = followed(list(schema.edges.values()), "up")
    return _text(schema, kind, "downstream", bounds, _TRAINED, _ACTIVE.format(edges=up))


def _text(
    schema: Schema, kind: str, direction: str, bounds: Document, walked: str, active: str
) -> tuple[str, Document]:
    sides, depth = SIDES[direction], bounds["depth"]
    head, binds = heading(schema)
    facts, named = facts_text(schema)
    steps = {side: _steps(schema, kind, side, depth) for side in sides}
    met = {"Model", kind, *(fan.kind for fans in steps.values() for step in fans for fan in step)}
    levels = [f"{side}{k}" for side in sides for k in range(len(steps[side]) + 1)]
    parts = [
        head,
        *(_side_text(side, steps[side]) for side in sides),
        f"\nLET reached = UNION([], {', '.join(levels)})",
        walked,
        *facts,
        _fans_text("between", "walked", _followed(schema, met, "up")),
        _RETURN.format(
            facts=appended(f"facts{k}" for k in range(len(facts))),
            edges=appended(f"facts{k}[*].edge" for k in range(len(facts))),
            fans=", ".join(f"{side}_fans" for side in sides),
            totals=", ".join(f"{side}_total{fan.j}" for side in sides for fan in _once(steps[side])),
            active=active,
            extension=EXTENSION,
        ),
    ]
    text = "".join(parts)
    known = binds | named | bounds | {f"@e{j}": edge for j, edge in enumerate(schema.edges)}
    return text, {name: known[name] for name in re.findall(r"@(@?\w+)", text) if name in known}


def _side_text(side: str, steps: list[list[Fan]]) -> str:
    """Return the steps up or down from the node that was found, and how large the fans are that were cut."""
    parts = [f"\nLET {side}0 = (FOR node IN [found] FILTER node != null LIMIT @limit RETURN {{node, depth: 0}})"]
    for k, fans in enumerate(steps, 1):
        met = f"UNION([], {', '.join(f'{side}{i}[*].node._id' for i in range(k))})"
        parts += [_fans_text(f"{side}{k}_fans", f"{side}{k - 1}", fans), _STEP.format(side=side, k=k, met=met)]
    parts.append(f"\nLET {side}_fans = UNION([], []{appended(f'{side}{k}_fans' for k in range(1, len(steps) + 1))})")
    parts += [_TOTAL.format(side=side, fan=fan) for fan in _once(steps)]
    return "".join(parts)


def _fans_text(name: str, nodes: str, fans: list[Fan]) -> str:
    """Return the part that looks up fans of nodes, by type of edge."""
    names = ", ".join(f"fan{fan.j}" for fan in fans)
    return _FANS.format(name=name, nodes=nodes, each="".join(_FAN.format(fan=fan) for fan in fans), names=names)


def _steps(schema: Schema, kind: str, side: str, depth: int) -> list[list[Fan]]:
    """Return the types of edges that each step up or down from a node of a kind can follow."""
    steps: list[list[Fan]] = []
    kinds = {kind}
    while len(steps) < depth and (fans := _followed(schema, kinds, side)):
        steps.append(fans)
        kinds = {fan.kind for fan in fans}
    return steps


def _followed(schema: Schema, kinds: Set[str], side: str) -> list[Fan]:
    """Return the types of edges that lead up or down from nodes of some kinds; down to facts no walk leads."""
    found = []
    for j, edge in enumerate(schema.edges.values()):
        outward = (edge.upstream == "to") == (side == "up")
        near, far = (edge.source, edge.target) if outward else (edge.target, edge.source)
        if near in kinds and (side == "up" or not edge.newest):
            order = _NEWEST if outward and edge.paged else ""
            found.append(Fan(j, edge.name, outward, *_ENDS[outward], far, order))
    return found


def _once(steps: list[list[Fan]]) -> list[Fan]:
    """Return each type of edge that steps follow."""
    return list(dict.fromkeys(fan for step in steps for fan in step))


def dependents(answer: Document, schema: Schema, kind: str, bounds: Document) -> Dependents:
    """Return what an answer holds that is about what depends on a node."""
    asked = answer["active"]
    return Dependents(
        active=[each["deployment"] for each in asked if each["depends"]],
        complete=len(asked) < bounds["active"],
        lineage=bounded(answer, schema, kind, "downstream", set(schema.nodes), bounds),
    )


def bounded(answer: Document, schema: Schema, kind: str, direction: str, wanted: set[str], bounds: Document) -> Lineage:
    """Return the lineage that an answer holds, of the nearest nodes of wanted kinds, with what is cut of its fans."""
    lineage = lineage_of(answer, schema, wanted, bounds["limit"])
    ids = {node["_id"] for node in lineage["nodes"]}
    shown = Counter(
        (edge["edge"], outward, edge["document"][near])
        for edge in lineage["edges"]
        for outward, (near, _) in _ENDS.items()
    )
    fans = [fan for side in SIDES[direction] for fan in _once(_steps(schema, kind, side, bounds["depth"]))]
    for fan, totals in zip(fans, answer["totals"], strict=True):
        for id, total in totals:
            more = total - shown[fan.edge, fan.outward, id]
            if more > 0 and id in ids:
                exact = total < bounds["counted"]
                lineage["cut"].append(Cut(node=id, edge=fan.edge, outward=fan.outward, more=more, exact=exact))
    return lineage
