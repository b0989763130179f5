"""A node: its attributes, neighbours and history."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from arangopipe_ops import drawing
from arangopipe_ops.analytics.projects import homes
from arangopipe_ops.model import ANNOTATIONS, OWN, Document, Schema
from arangopipe_ops.web.pages.exports import json_file
from arangopipe_ops.web.pages.origins import origins
from arangopipe_ops.web.pages.rendering import kind_of, name_of, pretty, render, timed
from arangopipe_ops.web.pages.sessions import CallersStore

NEIGHBOURS, EVENTS, RAW_LENGTH = 25, 50, 100_000
REGISTRATION = frozenset({*OWN, *ANNOTATIONS})

routes = APIRouter()


def rows_of(nodes: list[Document], schema: Schema) -> list[dict[str, Any]]:
    """Return nodes as tables show them: kind, name, and what says most about each."""
    return [
        {
            "kind": (kind := kind_of(node, schema)),
            "name": name_of(node, schema),
            "about": timed(drawing.summary(kind, node, schema)),
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
    kind, raw = kind_of(document, schema), pretty(document)
    notes = REGISTRATION.difference(schema.node(kind).identity)
    facts = {
        "node": document,
        "kind": kind,
        "name": name_of(document, schema),
        "attributes": {name: value for name, value in document.items() if name not in notes and name[0] != "_"},
        "notes": {name: document[name] for name in sorted(notes) if name in document and name != "provenance"},
        "links": [{**link, "rows": rows_of(link["nodes"], schema)} for link in found["links"]],
        "events": store.history(id, limit=EVENTS),
        "raw": raw if len(raw) <= RAW_LENGTH else None,
        "origins": origins(document),
        "projects": homes(store, kind, document["_id"]),
        "most": {"links": NEIGHBOURS, "events": EVENTS},
    }
    return render(request, "node.html", facts)


@routes.get("/nodes/{collection}/{key}/raw")
def raw(store: CallersStore, collection: str, key: str) -> Response:
    """Return a node as it is stored."""
    return json_file(store.get(f"{collection}/{key}"), f"{key}.json")
