"""The web application: the JSON API, and what every answer of it has in common."""

from fastapi import FastAPI

from arangopipe_ops import __version__
from arangopipe_ops.web import api, problems
from arangopipe_ops.web.access import Access


def create_app(access: Access) -> FastAPI:
    """Return the ASGI application for a database."""
    app = FastAPI(
        title="arangopipe-ops",
        version=__version__,
        description="ML metadata in one graph: register, search, trace lineage, ask.",
        docs_url=None,  # the interactive pages load their scripts from elsewhere
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
    )
    app.state.access = access
    problems.install(app)
    app.include_router(api.open_routes, prefix="/api/v1")
    app.include_router(api.routes, prefix="/api/v1")
    return app
