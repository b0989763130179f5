"""Manual: develop/http-api/databases, and what the server says about itself."""

from __future__ import annotations

import time

from . import catalog
from .errors import ArangoError
from .functions.statements import VERSION
from .request import Request, Response, Route, success

LICENSE = "community"


def version(request: Request) -> Response:
    body = {"server": "arango", "license": LICENSE, "version": VERSION}
    if request.flag("details"):
        body |= {"details": {"mode": "embedded", "storage-engine": "sqlite"}}  # type: ignore[dict-item]
    return Response(200, body)


def engine(request: Request) -> Response:
    return Response(200, {"name": "sqlite", "supports": {"indexes": ["primary", "edge", "persistent", "ttl"]}})


def role(request: Request) -> Response:
    return success(200, role="SINGLE", mode="embedded")


def availability(request: Request) -> Response:
    return success(200, mode="default")


def server_time(request: Request) -> Response:
    return success(200, time=time.time())


def names(request: Request) -> Response:
    with request.transaction() as transaction:
        return success(200, result=list(transaction.catalog.databases))


def current(request: Request) -> Response:
    with request.transaction() as transaction:
        number = transaction.catalog.numbers[request.database]
    system = request.database == catalog.SYSTEM
    path = str(request.file.storage.path)
    result = {"id": str(number), "name": request.database, "path": path, "isSystem": system}
    return success(200, result=result)


def create(request: Request) -> Response:
    _only_in_system(request)
    name = request.object().get("name")
    if not isinstance(name, str):
        raise ArangoError(1229)
    with request.transaction(write=True) as transaction:
        catalog.create_database(transaction.sqlite, transaction.catalog, name)
    return success(201, result=True)


def drop(request: Request, name: str) -> Response:
    _only_in_system(request)
    with request.transaction(write=True) as transaction:
        catalog.drop_database(transaction.sqlite, transaction.catalog, name)
    return success(200, result=True)


def _only_in_system(request: Request) -> None:
    if request.database != catalog.SYSTEM:
        raise ArangoError(1230, status=403)


ROUTES: tuple[Route, ...] = (
    ("GET", "/_api/version", version),
    ("GET", "/_api/engine", engine),
    ("GET", "/_admin/server/role", role),
    ("GET", "/_admin/server/availability", availability),
    ("GET", "/_admin/time", server_time),
    ("GET", "/_api/database", names),
    ("GET", "/_api/database/user", names),
    ("GET", "/_api/database/current", current),
    ("POST", "/_api/database", create),
    ("DELETE", "/_api/database/{name}", drop),
)
