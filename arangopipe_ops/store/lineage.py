"""The statement that walks the graph by influence, and what its answer means."""

from collections.abc import Sequence
from typing import Literal

from arangopipe_ops.model import Document, EdgeType, Lineage, LineageEdge, LineageNode, Schema
from arangopipe_ops.store.statements import EXTENSION, LOOK_UP, appended

Direction = Literal["upstream", "downstream", "both"]

SIDES: dict[str, tuple[str, ...]] = {
    "upstream": ("up",),
    "downstream": ("down",),
    "both": ("up", "down"),
}

_ARROWS = {
    ("up", "to"): "OUTBOUND",
    ("up", "from"): "INBOUND",
    ("down", "to"): "INBOUND",
    ("down", "from"): "OUTBOUND",
}
"""How a step up or down follows an edge, by the end of it that is upstream."""

_WALK = """
LET {side} = (FOR v, e, p IN 0..@depth OUTBOUND found {edges}
  OPTIONS {{order: "bfs", uniqueVertices: "global"}}
  FILTER v != null
  RETURN {{node: v, depth: LENGTH(p.edges)}})
LET {side}_edges = (FOR n IN {side} FILTER n.depth < @depth
  FOR v, e IN 1..1 OUTBOUND n.node {edges}
  RETURN e)"""

_FACTS = """
LET facts{k} = (FOR n IN walked FILTER n.depth < @depth AND IS_SAME_COLLECTION(@owner{k}, n.node)
  LET fact = FIRST(FOR e IN @@f{k} FILTER e._from == n.node._id SORT e.@newest{k} DESC LIMIT 1 RETURN e)
  LET node = DOCUMENT(fact._to)
  FILTER node != null
  RETURN {{node, depth: n.depth + 1, edge: fact}})"""

_LINEAGE = """
RETURN {{
  start: found._id,
  nodes: UNION(walked, []{facts}),
  edges: UNION([], []{edges}),
  extension: {extension}
}}"""


def lineage_text(schema: Schema, direction: str) -> tuple[str, Document]:
    """Return the statement that walks from a looked-up node, and the names it binds.

    A breadth-first walk finds every node once, by one of the edges that lead there; a second step from each
    node then finds all edges between them. Facts are not walked through but looked up, newest first.
    """
    sides = SIDES[direction]
    head, binds = heading(schema)
    facts, named = facts_text(schema)
    edges = [edge for edge in schema.edges.values() if "up" in sides or not edge.newest]
    binds |= named | {f"@e{j}": edge.name for j, edge in enumerate(edges)}
    found = [f"{side}_edges" for side in sides] + [f"facts{k}[*].edge" for k in range(len(facts))]
    parts = [
        head,
        *(_WALK.format(side=side, edges=followed(edges, side)) for side in sides),
        f"\nLET walked = UNION([], {', '.join(sides)})",
        *facts,
        _LINEAGE.format(
            facts=appended(f"facts{k}" for k in range(len(facts))), edges=appended(found), extension=EXTENSION
        ),
    ]
    return "".join(parts), binds


def heading(schema: Schema) -> tuple[str, Document]:
    """Return how a statement begins that looks a node up and may meet any other, and the names it binds."""
    binds: Document = {f"@v{i}": node.collection for i, node in enumerate(schema.nodes.values())}
    return f"WITH {', '.join(f'@{name}' for name in binds)}, @@audit\nLET found = {LOOK_UP}", binds


def facts_text(schema: Schema) -> tuple[list[str], Document]:
    """Return the parts of a statement that look up the newest facts of the nodes `walked`, and the names they bind."""
    facts = [edge for edge in schema.edges.values() if edge.newest]
    binds: Document = {}
    for k, fact in enumerate(facts):
        binds |= {f"@f{k}": fact.name, f"newest{k}": fact.newest, f"owner{k}": schema.node(fact.source).collection}
    return [_FACTS.format(k=k) for k in range(len(facts))], binds


_TRAINED = """
LET walked = UNION(walked_down, (FOR n IN walked_down FILTER IS_SAME_COLLECTION(@run, n.node)
  FOR v, e IN 1..1 INBOUND n.node @@run_models
  RETURN {node: v, depth: n.depth + 1}))"""


def impact_text(schema: Schema) -> tuple[str, Document]:
    """Return the statement that walks down from a looked-up node, and from runs to what they executed."""
    text, binds = lineage_text(schema, "downstream")
    binds |= {"run": schema.node("Run").collection, "@run_models": "run_models"}
    return text.replace("\nLET walked = UNION([], down)", _TRAINED.replace("walked_down", "down")), binds


def followed(edges: Sequence[EdgeType], side: str) -> str:
    """Return the edge collections to follow, each with its direction. From a fact the way up is to its owner."""
    steps = [(j, edge) for j, edge in enumerate(edges) if side == "up" or not edge.newest]
    return ", ".join(f"{_ARROWS[side, edge.upstream]} @@e{j}" for j, edge in steps)


def lineage_of(answer: Document, schema: Schema, wanted: set[str], limit: int | None = None) -> Lineage:
    """Return the lineage that an answer holds, of the nearest nodes of wanted kinds."""
    nodes: dict[str, LineageNode] = {}
    for row in sorted(answer["nodes"], key=lambda row: row["depth"]):
        document = row["node"]
        kind = schema.node(document["_id"].partition("/")[0])
        if kind.kind in wanted and document["_id"] not in nodes and len(nodes) != limit:
            name = str(document.get(kind.name, document["_key"]))
            nodes[document["_id"]] = LineageNode(
                _id=document["_id"], kind=kind.kind, name=name, depth=row["depth"], document=document
            )
    edges = {
        document["_id"]: _flow(document, schema)
        for document in answer["edges"]
        if document["_from"] in nodes and document["_to"] in nodes
    }
    return Lineage(start=answer["start"], nodes=list(nodes.values()), edges=list(edges.values()), cut=[])


def _flow(document: Document, schema: Schema) -> LineageEdge:
    name = document["_id"].partition("/")[0]
    ends = (document["_from"], document["_to"])
    upstream, downstream = ends if schema.edge(name).upstream == "from" else ends[::-1]
    return LineageEdge(edge=name, upstream=upstream, downstream=downstream, document=document)
