"""The same operations as pages for people, rendered here: no script of our own, nothing from elsewhere."""

from pathlib import Path

from fastapi import APIRouter, Depends, FastAPI
from starlette.staticfiles import StaticFiles

from arangopipe_ops.web.pages import ask, comparison, deployments, failures, nodes, overview, runs, search, signing
from arangopipe_ops.web.pages.sessions import Sessions, proven, signed_in

STATIC = Path(__file__).parent.parent / "static"


def install(app: FastAPI) -> None:
    """Add the pages to an application. Every form of theirs is checked, and all but the sign-in want a session."""
    app.state.sessions = Sessions()
    open_pages = APIRouter(dependencies=[Depends(proven)], include_in_schema=False)
    open_pages.include_router(signing.routes)
    closed_pages = APIRouter(dependencies=[Depends(proven), Depends(signed_in)], include_in_schema=False)
    for topic in (overview, search, nodes, runs, comparison, deployments, ask):
        closed_pages.include_router(topic.routes)
    app.include_router(open_pages)
    app.include_router(closed_pages)
    app.mount("/static", StaticFiles(directory=STATIC))
    failures.install(app)
