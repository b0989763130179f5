"""The statement that finds what somebody wrote, by the provenance that the audit keeps, and what its answer means."""

from collections.abc import Iterable
from typing import TypedDict

from arangopipe_ops.model import Document, Lineage, Schema
from arangopipe_ops.store.lineage import lineage_of
from arangopipe_ops.store.statements import EXTENSION

_LINKS_PER_NODE = 10


class Written(TypedDict):
    """The `nodes` that somebody wrote, the newest first, and a `lineage` of one step: those nodes, the edges that
    were written, and what these lead to; it is None where there is no node. `more` says that there are other nodes.
    """

    nodes: list[Document]
    lineage: Lineage | None
    more: bool


_WRITTEN = """WITH {collections}, @@audit
LET touched = FLATTEN(FOR a IN @@audit{filters} AND a.touched != null
  SORT a.at DESC LIMIT @limit
  RETURN SLICE(a.touched, 0, @links))
LET ids = (FOR id IN touched FILTER PARSE_IDENTIFIER(id).collection IN @kinds LIMIT @links RETURN id)
LET nodes = (FOR id IN UNIQUE(APPEND(ids, @also)) LET node = DOCUMENT(id) FILTER node != null
  SORT NOT_NULL(node.revised, node.created) DESC, id LIMIT @limit RETURN node)
LET edges = (FOR id IN touched FILTER PARSE_IDENTIFIER(id).collection IN @edges LIMIT @links
  LET edge = DOCUMENT(id) FILTER edge != null RETURN edge)
LET ends = (FOR id IN UNIQUE(APPEND(edges[*]._from, edges[*]._to)) FILTER id NOT IN nodes[*]._id
  LET node = DOCUMENT(id) FILTER node != null RETURN node)
RETURN {{nodes, edges, ends, extension: {extension}}}"""


def written_text(schema: Schema, provenance: Iterable[str], limit: int) -> tuple[str, Document]:
    """Return the statement for what has a provenance, and what it binds beside the values of that."""
    kinds, edges = [node.collection for node in schema.nodes.values()], list(schema.edges)
    binds: Document = {f"@c{i}": name for i, name in enumerate([*kinds, *edges])}
    conditions = []
    for i, name in enumerate(provenance):
        binds[f"by{i}"] = name
        conditions.append(f"a.provenance.@by{i} == @value{i}")
    text = _WRITTEN.format(
        collections=", ".join(f"@@c{i}" for i in range(len(kinds) + len(edges))),
        filters=f" FILTER {' AND '.join(conditions)}",
        extension=EXTENSION,
    )
    return text, binds | {"kinds": kinds, "edges": edges, "limit": limit + 1, "links": limit * _LINKS_PER_NODE}


def written(answer: Document, schema: Schema, limit: int) -> Written:
    """Return what an answer holds, which was asked for one node more than the limit."""
    nodes = answer["nodes"][:limit]
    walked = [{"node": node, "depth": 0} for node in nodes] + [{"node": node, "depth": 1} for node in answer["ends"]]
    found = {"start": nodes[0]["_id"], "nodes": walked, "edges": answer["edges"]} if nodes else None
    return Written(
        nodes=nodes,
        lineage=lineage_of(found, schema, set(schema.nodes)) if found else None,
        more=len(answer["nodes"]) > limit,
    )
