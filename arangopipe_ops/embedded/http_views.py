"""Views and analyzers, of which there are none but `identity`: to list and to drop them works, to make one does not.

Manual: develop/http-api/views and develop/http-api/analyzers.
"""

from __future__ import annotations

from .errors import ArangoError
from .request import Request, Response, Route, success

IDENTITY = {"name": "identity", "type": "identity", "properties": {}, "features": ["frequency", "norm"]}


def views(request: Request) -> Response:
    with request.transaction():
        return success(200, result=[])


def no_view(_: Request, name: str) -> Response:
    raise ArangoError(1203, message=f"collection or view not found: {name}")


def analyzers(request: Request) -> Response:
    with request.transaction():
        return success(200, result=[IDENTITY])


def analyzer(_: Request, name: str) -> Response:
    if name != IDENTITY["name"]:
        raise ArangoError(1202, message=f"analyzer not found: {name}")
    return success(200, **IDENTITY)


def no_analyzer(_: Request, name: str) -> Response:
    if name == IDENTITY["name"]:
        raise ArangoError(10, message="bad parameter: the analyzer 'identity' is built in")
    raise ArangoError(1202, message=f"analyzer not found: {name}")


ROUTES: tuple[Route, ...] = (
    ("GET", "/_api/view", views),
    ("GET", "/_api/view/{name}", no_view),
    ("GET", "/_api/view/{name}/properties", no_view),
    ("DELETE", "/_api/view/{name}", no_view),
    ("GET", "/_api/analyzer", analyzers),
    ("GET", "/_api/analyzer/{name}", analyzer),
    ("DELETE", "/_api/analyzer/{name}", no_analyzer),
)
