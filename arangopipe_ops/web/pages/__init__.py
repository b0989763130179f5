"""The same operations as pages for people, rendered here; what scripts add to them is in static files of ours."""

from pathlib import Path

from fastapi import APIRouter, Depends, FastAPI
from starlette.staticfiles import StaticFiles

from arangopipe_ops.web.access import FileAccess
from arangopipe_ops.web.pages import (
    administration,
    ask,
    comparison,
    console,
    deployments,
    failures,
    lineage,
    nodes,
    overview,
    projects,
    runs,
    search,
    signing,
    users,
)
from arangopipe_ops.web.pages.sessions import Callers, Sessions, proven, signed_in
from arangopipe_ops.web.pages.waiting import made_anew
from arangopipe_ops.web.works import TURNS_OF_A_FILE, Works

TOPICS = (
    overview,
    projects,
    search,
    nodes,
    lineage,
    runs,
    comparison,
    deployments,
    ask,
    console,
    administration,
    users,
)
STATIC = Path(__file__).parent.parent / "static"


def install(app: FastAPI) -> None:
    """Add the pages to an application, with those to sign in and out."""
    app.state.sessions = Sessions()
    open_pages = APIRouter(dependencies=[Depends(proven)], include_in_schema=False)
    open_pages.include_router(signing.routes)
    app.include_router(open_pages)
    mount(app, signing.SignedIn())
    if isinstance(app.state.access, FileAccess):
        app.state.works = Works(turns=TURNS_OF_A_FILE)


def mount(app: FastAPI, callers: Callers, *further: APIRouter) -> None:
    """Add the pages to an application that knows who asks, and further ones. Every form of theirs is checked."""
    app.state.callers = callers
    app.state.works = Works()
    closed_pages = APIRouter(
        dependencies=[Depends(proven), Depends(signed_in), Depends(made_anew)], include_in_schema=False
    )
    for topic in TOPICS:
        closed_pages.include_router(topic.routes)
    for routes in further:
        closed_pages.include_router(routes)
    app.include_router(closed_pages)
    app.mount("/static", StaticFiles(directory=STATIC))
    failures.install(app)
