"""Where one begins: what the graph holds, and what is going on in a project."""

from datetime import UTC, datetime

from fastapi import APIRouter, Request
from starlette.responses import Response

from arangopipe_ops import drawing
from arangopipe_ops.analytics import live, recent_runs, summary
from arangopipe_ops.model import Document
from arangopipe_ops.web.pages.nodes import rows_of
from arangopipe_ops.web.pages.rendering import render
from arangopipe_ops.web.pages.sessions import CallersStore

PROJECTS, NEWEST, RUNS = 50, 15, 20

routes = APIRouter()


@routes.get("/")
def home(request: Request, store: CallersStore) -> Response:
    """Show how many nodes there are of each kind, the projects, and what was registered last."""
    counts = store.counts()
    kinds = [(kind, counts.get(type_.collection, 0)) for kind, type_ in store.schema.nodes.items()]
    projects = store.search("Project", limit=PROJECTS, count=False)
    newest = store.search(limit=NEWEST, count=False)
    facts = {
        "kinds": kinds,
        "projects": projects["nodes"],
        "more": projects["cursor"] is not None,
        "newest": rows_of(newest["nodes"], store.schema),
    }
    return render(request, "home.html", facts)


@routes.get("/projects/{key}")
def project(request: Request, store: CallersStore, key: str) -> Response:
    """Show what there is in a project, its newest runs, and what of it is live."""
    id = f"project/{key}"
    facts = {
        "id": id,
        "summary": summary(store, id),
        "runs": [_measured(run) for run in recent_runs(store, id, RUNS)],
        "live": live(store, datetime.now(UTC), id),
    }
    return render(request, "project.html", facts)


def _measured(run: Document) -> Document:
    """Return a run with what was measured of it as a text."""
    return run | {"measured": drawing.summary("DevPerf", run["metrics"] or {})}
