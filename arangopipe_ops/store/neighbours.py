"""The statement that looks one step around a node, and what its answer means."""

from typing import TypedDict

from arangopipe_ops.model import Document, EdgeType, Schema
from arangopipe_ops.store.statements import EXTENSION, LOOK_UP


class Link(TypedDict):
    """What a node is linked to by one type of edge: `outward` from it, or from nodes of `kind` to it.

    `nodes` are some of them, of facts the newest; `more` says that there are others.
    """

    edge: str
    outward: bool
    kind: str
    nodes: list[Document]
    more: bool


class Neighbourhood(TypedDict):
    """A node and what it is linked to, in the order of the schema's edge types; what has no node is left out."""

    node: Document
    links: list[Link]


class Linked(TypedDict):
    """Some of the nodes of a `kind` that edges of one type link a node to; `total` counts up to 10,000 of them."""

    node: Document
    kind: str
    nodes: list[Document]
    total: int


DEEPEST = 10_000

_END = {True: ("_from", "_to"), False: ("_to", "_from")}

_LINKED = """
LET ids{i} = (FOR e IN @@e{i} FILTER e.{near} == found._id{newest} LIMIT @limit RETURN e.{far})
LET nodes{i} = (FOR id IN ids{i} LET node = DOCUMENT(id) FILTER node != null RETURN node)"""


def neighbours_text(schema: Schema, collection: str) -> tuple[str, Document]:
    """Return the statement for a looked-up node and all its neighbours, and the names it binds."""
    sides = _sides(schema, collection)
    others = (schema.node(_other(edge, outward)).collection for edge, outward in sides)
    collections = list(dict.fromkeys([collection, *others]))
    binds: Document = {f"@v{j}": name for j, name in enumerate(collections)}
    parts = [f"WITH {', '.join(f'@@v{j}' for j in range(len(collections)))}, @@audit\nLET found = {LOOK_UP}"]
    for i, (edge, outward) in enumerate(sides):
        near, far = _END[outward]
        binds[f"@e{i}"] = edge.name
        newest = " SORT e.@newest{i} DESC" if edge.newest and outward else ""
        if newest:
            binds[f"newest{i}"] = edge.newest
        parts.append(_LINKED.format(i=i, near=near, far=far, newest=newest.format(i=i)))
    links = ", ".join(f"nodes{i}" for i in range(len(sides)))
    parts.append(f"\nRETURN {{found, links: [{links}], extension: {EXTENSION}}}")
    return "".join(parts), binds


_PAGE = """
LET ids = (FOR e IN @@edge FILTER e.{near} == found._id LIMIT @skip, @limit RETURN e.{far})
RETURN {{
  found,
  nodes: (FOR id IN ids LET node = DOCUMENT(id) FILTER node != null RETURN node),
  total: LENGTH(FOR e IN @@edge FILTER e.{near} == found._id LIMIT @deepest RETURN 1)
}}"""


def linked_text(schema: Schema, collection: str, name: str, outward: bool) -> tuple[str, Document]:
    """Return the statement for a page of what edges of one type link a looked-up node to, and the names it binds."""
    edge = schema.edge(name)
    near, far = _END[outward]
    binds = {"@v0": collection, "@v1": schema.node(_other(edge, outward)).collection, "@edge": name}
    return f"WITH @@v0, @@v1\nLET found = {LOOK_UP}{_PAGE.format(near=near, far=far)}", binds | {"deepest": DEEPEST}


def linked(answer: Document, schema: Schema, name: str, outward: bool) -> Linked:
    """Return what an answer holds of a page of neighbours."""
    kind = schema.node(_other(schema.edge(name), outward)).kind
    return Linked(node=answer["found"], kind=kind, nodes=answer["nodes"], total=answer["total"])


def neighbourhood(answer: Document, schema: Schema, collection: str, limit: int) -> Neighbourhood:
    """Return what an answer holds, which was asked for one more of each than the limit."""
    links = [
        Link(
            edge=edge.name,
            outward=outward,
            kind=schema.node(_other(edge, outward)).kind,
            nodes=nodes[:limit],
            more=len(nodes) > limit,
        )
        for (edge, outward), nodes in zip(_sides(schema, collection), answer["links"], strict=True)
        if nodes
    ]
    return Neighbourhood(node=answer["found"], links=links)


def _sides(schema: Schema, collection: str) -> list[tuple[EdgeType, bool]]:
    """Return the edge types that can touch nodes of a collection, each with whether it leads away from them."""
    return [
        (edge, outward)
        for edge in schema.edges.values()
        for outward, kind in ((True, edge.source), (False, edge.target))
        if schema.node(kind).collection == collection
    ]


def _other(edge: EdgeType, outward: bool) -> str:
    return edge.target if outward else edge.source
