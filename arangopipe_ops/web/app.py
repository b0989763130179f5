"""The web application: the JSON API, the pages, and what every answer of it has in common."""

import socket
from typing import Any

import uvicorn
from fastapi import FastAPI

from arangopipe_ops import __version__
from arangopipe_ops.errors import Invalid
from arangopipe_ops.web import api, pages, problems
from arangopipe_ops.web.access import Access

STOP_SECONDS = 10


class Application(FastAPI):
    """The ASGI application for a database."""

    def __init__(self, access: Access) -> None:
        super().__init__(
            title="arangopipe-ops",
            version=__version__,
            description="ML metadata in one graph: register, search, trace lineage, ask.",
            docs_url=None,  # the interactive pages load their scripts from elsewhere
            redoc_url=None,
            openapi_url=None,  # a route of its own serves it, to callers who are signed in
            redirect_slashes=False,
        )
        self.state.access = access
        problems.install(self)
        self.include_router(api.open_routes, prefix="/api/v1")
        self.include_router(api.routes, prefix="/api/v1")
        pages.install(self)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        if self.openapi_schema is None:
            self.openapi_schema = problems.documented(super().openapi())
        return self.openapi_schema


def create_app(access: Access) -> FastAPI:
    """Return the ASGI application for a database."""
    return Application(access)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 is any free one. Raises Invalid, and OSError for a port in use."""
    if not 0 <= port < 2**16:
        raise Invalid("port", f"{port} is not between 0 and 65535")
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


def run(app: FastAPI, listener: socket.socket, *, access_log: bool = True) -> None:
    """Serve until SIGTERM or SIGINT; requests at work are finished."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=access_log,
        http="h11",  # unlike httptools, which would be taken where it is installed, it reads no endless headers
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[listener])
