"""The statement that walks a bounded part of the graph, of large fans only some, and what its answer means.

A fan is what one type of edge leads to from one node, upstream or downstream. Every step is an index look-up with an
end, so that the walk costs the same around a data set with ten runs and around one with a million.
"""

from collections import Counter
from typing import TypedDict

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


_ENDS = {True: ("_from", "_to"), False: ("_to", "_from")}
"""Whether an edge leads away from a node -> its ends, the near one first."""

_FANS = """
LET {fans} = (FOR n IN {nodes}{each}
  RETURN [{names}])"""

_FAN = """
  LET fan{i} = (FOR e IN @@e{j} FILTER e.{near} == n.node._id LIMIT @seen RETURN {{far: e.{far}, edge: e}})"""

_STEP = """
LET {side}{k} = (
  FOR id IN MINUS((FOR fans IN {side}{k}_fans FOR fan IN fans FOR link IN SLICE(fan, 0, @fan) RETURN link.far), {met})
  SORT id LIMIT @limit
  LET node = DOCUMENT(id) FILTER node != null
  RETURN {{node, depth: {k}}})"""

_TOTAL = """
LET {side}_total{i} = (FOR fans IN {side}_fans FILTER LENGTH(fans[{i}]) > @fan
  LET near = fans[{i}][0].edge.{near}
  RETURN [near, LENGTH(FOR e IN @@e{j} FILTER e.{near} == near LIMIT @counted RETURN 1)])"""

_RETURN = """
RETURN {{
  start: found._id,
  nodes: UNION(walked, []{facts}),
  edges: UNION((FOR fans IN UNION(between, {fans}) FOR fan IN fans FOR link IN fan RETURN link.edge), []{edges}),
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
    """Return what a walk with an end binds. Raises Invalid."""
    if fan < 1 or limit < 1:
        raise Invalid("fan", f"{fan} and limit {limit} are to be numbers of nodes")
    return {"depth": depth, "fan": fan, "seen": fan + 1, "limit": limit, "counted": COUNTED}


def fans_text(schema: Schema, direction: str, depth: int) -> tuple[str, Document]:
    """Return the statement that walks `depth` steps from a looked-up node, and the names it binds.

    At the end it looks for edges between the nodes that were met, the way up, where fans are small.
    """
    return _text(schema, direction, depth, "\nLET walked = reached", "[]")


def dependents_text(schema: Schema, depth: int) -> tuple[str, Document]:
    """Return the statement for what depends on a looked-up node, and the names it binds.

    A walk down would not come to the end of a large fan. There are few active deployments, and little upstream of
    each: they are asked, every one, whether their way up leads to the node.
    """
    up = followed(list(schema.edges.values()), "up")
    return _text(schema, "downstream", depth, _TRAINED, _ACTIVE.format(edges=up))


def _text(schema: Schema, direction: str, depth: int, walked: str, active: str) -> tuple[str, Document]:
    sides = SIDES[direction]
    head, binds = heading(schema)
    facts, named = facts_text(schema)
    binds |= named | {f"@e{j}": edge for j, edge in enumerate(schema.edges)}
    parts = [
        head,
        *(_side_text(schema, side, depth) for side in sides),
        f"\nLET reached = UNION([], {', '.join(f'{side}{k}' for side in sides for k in range(depth + 1))})",
        walked,
        *facts,
        _fans("between", "walked", schema, "up"),
        _RETURN.format(
            facts=appended(f"facts{k}" for k in range(len(facts))),
            edges=appended(f"facts{k}[*].edge" for k in range(len(facts))),
            fans=", ".join(f"{side}_fans" for side in sides),
            totals=", ".join(f"{side}_total{i}" for side in sides for i in range(len(_followed(schema, side)))),
            active=active,
            extension=EXTENSION,
        ),
    ]
    return "".join(parts), binds


def _side_text(schema: Schema, side: str, depth: int) -> str:
    """Return the steps up or down from the node that was found, and how large the fans are that were cut."""
    parts = [f"\nLET {side}0 = (FOR node IN [found] FILTER node != null LIMIT @limit RETURN {{node, depth: 0}})"]
    for k in range(1, depth + 1):
        met = f"UNION([], {', '.join(f'{side}{i}[*].node._id' for i in range(k))})"
        parts += [_fans(f"{side}{k}_fans", f"{side}{k - 1}", schema, side), _STEP.format(side=side, k=k, met=met)]
    parts.append(f"\nLET {side}_fans = UNION([], []{appended(f'{side}{k}_fans' for k in range(1, depth + 1))})")
    parts += [_TOTAL.format(side=side, **fan) for fan in _followed(schema, side)]
    return "".join(parts)


def _fans(name: str, nodes: str, schema: Schema, side: str) -> str:
    """Return the part that looks up the fans of nodes on one side, by type of edge."""
    fans = _followed(schema, side)
    names = ", ".join(f"fan{fan['i']}" for fan in fans)
    return _FANS.format(fans=name, nodes=nodes, each="".join(_FAN.format(**fan) for fan in fans), names=names)


def _followed(schema: Schema, side: str) -> list[Document]:
    """Return the types of edges that are followed up or down. From a fact the way up is to its owner."""
    edges = [(j, edge) for j, edge in enumerate(schema.edges.values()) if side == "up" or not edge.newest]
    return [
        {"i": i, "j": j, "edge": edge.name, "outward": outward, "near": _ENDS[outward][0], "far": _ENDS[outward][1]}
        for i, (j, edge) in enumerate(edges)
        for outward in [(edge.upstream == "to") == (side == "up")]
    ]


def dependents(answer: Document, schema: Schema, limit: int) -> Dependents:
    """Return what an answer holds that is about what depends on a node."""
    asked = answer["active"]
    return Dependents(
        active=[each["deployment"] for each in asked if each["depends"]],
        complete=len(asked) < ACTIVE,
        lineage=bounded(answer, schema, "downstream", set(schema.nodes), limit),
    )


def bounded(answer: Document, schema: Schema, direction: str, wanted: set[str], limit: int) -> Lineage:
    """Return the lineage that an answer holds, of the nearest nodes of wanted kinds, with what is cut of its fans."""
    lineage = lineage_of(answer, schema, wanted, limit)
    ids = {node["_id"] for node in lineage["nodes"]}
    shown = Counter(
        (edge["edge"], outward, edge["document"][near])
        for edge in lineage["edges"]
        for outward, (near, _) in _ENDS.items()
    )
    fans = [fan for side in SIDES[direction] for fan in _followed(schema, side)]
    for fan, totals in zip(fans, answer["totals"], strict=True):
        for id, total in totals:
            more = total - shown[fan["edge"], fan["outward"], id]
            if more > 0 and id in ids:
                exact = total < COUNTED
                lineage["cut"].append(Cut(node=id, edge=fan["edge"], outward=fan["outward"], more=more, exact=exact))
    return lineage
