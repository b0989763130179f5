"""A node: its attributes, neighbours and history; and its lineage, drawn."""

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Query, Request
from markupsafe import Markup
from starlette.responses import Response

from arangopipe_ops import drawing
from arangopipe_ops.errors import Misconfigured
from arangopipe_ops.model import ANNOTATIONS, OWN, Document, Lineage, Schema
from arangopipe_ops.web.pages.rendering import download, kind_of, name_of, node_path, render
from arangopipe_ops.web.pages.sessions import CallersStore

NEIGHBOURS, EVENTS, DRAWN, LISTED = 25, 50, 300, 500
REGISTRATION = frozenset({*OWN, *ANNOTATIONS})

routes = APIRouter()

Direction = Literal["both", "upstream", "downstream"]
Depth = Annotated[int, Query(ge=0, le=100)]


def rows_of(nodes: list[Document], schema: Schema) -> list[dict[str, Any]]:
    """Return nodes as tables show them: kind, name, and what says most about each."""
    return [
        {
            "kind": (kind := kind_of(node, schema)),
            "name": name_of(node, schema),
            "about": drawing.summary(kind, node, schema),
            "node": node,
        }
        for node in nodes
    ]


@routes.get("/nodes/{collection}/{key}")
def node(request: Request, store: CallersStore, collection: str, key: str) -> Response:
    """Show all there is to know of a node."""
    id = f"{collection}/{key}"
    found = store.neighbours(id, limit=NEIGHBOURS)
    document, schema = found["node"], store.schema
    facts = {
        "node": document,
        "kind": kind_of(document, schema),
        "name": name_of(document, schema),
        "attributes": {name: value for name, value in document.items() if name not in REGISTRATION and name[0] != "_"},
        "notes": {name: document[name] for name in sorted(REGISTRATION) if name in document and name != "provenance"},
        "links": [{**link, "rows": rows_of(link["nodes"], schema)} for link in found["links"]],
        "events": store.history(id, limit=EVENTS),
        "most": {"links": NEIGHBOURS, "events": EVENTS},
    }
    return render(request, "node.html", facts)


@routes.get("/nodes/{collection}/{key}/raw")
def raw(store: CallersStore, collection: str, key: str) -> Response:
    """Return a node as it is stored."""
    text = json.dumps(store.get(f"{collection}/{key}"), ensure_ascii=False, indent=2)
    return download(text, "application/json", f"{key}.json")


@routes.get("/nodes/{collection}/{key}/lineage")
def lineage(
    request: Request,
    store: CallersStore,
    collection: str,
    key: str,
    direction: Direction = "both",
    depth: Depth = 4,
) -> Response:
    """Draw where a node comes from and what it led to; every box leads to that node's lineage."""
    found = store.lineage(f"{collection}/{key}", direction=direction, depth=depth)
    picture, problem = drawn(request, found, store.schema, f"?direction={quote(direction)}&depth={depth}")
    facts = {
        "start": found["nodes"][0],
        "nodes": found["nodes"][:LISTED],
        "count": len(found["nodes"]),
        "direction": direction,
        "depth": depth,
        "drawn": picture,
        "problem": problem,
        "formats": list(FORMATS),
    }
    return render(request, "lineage.html", facts)


def drawn(request: Request, lineage: Lineage, schema: Schema, query: str = "") -> tuple[Markup | None, str | None]:
    """Return a lineage as a picture to stand in a page, or why there is none. A box leads to its node's lineage."""
    root = request.scope.get("root_path", "")

    def link(id: str) -> str:
        return f"{root}{node_path(id)}/lineage{query}"

    if len(lineage["nodes"]) > DRAWN:
        return (
            None,
            f"{len(lineage['nodes']):,} nodes are more than a picture shows. Lower the depth, or take one side.",
        )
    try:
        picture = drawing.svg(lineage, schema, link).decode()
    except Misconfigured as error:
        return None, str(error)
    return Markup(picture[picture.index("<svg") :]), None  # Graphviz escapes what it writes


FORMATS: Mapping[str, tuple[str, Callable[..., str | bytes]]] = {
    "svg": ("image/svg+xml", drawing.svg),
    "dot": ("text/vnd.graphviz", drawing.dot),
    "mmd": ("text/plain; charset=utf-8", drawing.mermaid),
}
"""What a lineage can be kept as, by the ending of the file."""


@routes.get("/nodes/{collection}/{key}/lineage.{ending}")
def lineage_file(
    store: CallersStore, collection: str, key: str, ending: str, direction: Direction = "both", depth: Depth = 4
) -> Response:
    """Return a lineage as a file."""
    if ending not in FORMATS:
        raise HTTPException(404, f"There is no {ending} of a lineage, but {', '.join(FORMATS)}.")
    found = store.lineage(f"{collection}/{key}", direction=direction, depth=depth)
    if ending == "svg" and len(found["nodes"]) > DRAWN:
        raise HTTPException(422, f"{len(found['nodes']):,} nodes are more than a picture shows. Lower the depth.")
    media, draw = FORMATS[ending]
    return download(draw(found, store.schema), media, f"lineage-{key}.{ending}")
