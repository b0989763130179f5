"""Where one begins: what the graph holds."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from arangopipe_ops.web.pages.nodes import rows_of
from arangopipe_ops.web.pages.rendering import render
from arangopipe_ops.web.pages.sessions import CallersStore

PROJECTS, NEWEST = 20, 15

routes = APIRouter()


@routes.get("/")
def home(request: Request, store: CallersStore) -> Response:
    """Show how many nodes there are of each kind, the projects, and what was registered last."""
    counts = store.counts()
    kinds = [(kind, counts.get(type_.collection, 0)) for kind, type_ in store.schema.nodes.items()]
    projects = store.search("Project", limit=PROJECTS, count=False)
    newest = store.search(limit=NEWEST, count=False, facts=False)
    facts = {
        "kinds": kinds,
        "projects": projects["nodes"],
        "more": projects["cursor"] is not None,
        "newest": rows_of(newest["nodes"], store.schema),
    }
    return render(request, "home.html", facts)
