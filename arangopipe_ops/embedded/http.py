"""ArangoDB's HTTP API: a request to the row of the route table that answers it.

Manual: develop/http-api.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .connection import BUSY_SECONDS
from .errors import ArangoError
from .request import Handler, Request, Response, Route
from .storage import Storage
from .values import adopt, parse

if TYPE_CHECKING:
    from .statements import Statements

_DATABASE = re.compile(r"/_db/([^/]+)(/.*)")
ELSEWHERE = {
    "/_api/transaction": "run one AQL statement, which is one transaction here",
    "/_api/batch": "send one AQL statement",
    "/_api/view": "use persistent indexes",
    "/_api/analyzer": "use persistent indexes",
    "/_api/user": "the permissions of the database file",
    "/_api/foxx": "AQL",
    "/_api/tasks": "a scheduler outside of the database",
    "/_api/replication": "a copy of the database file",
    "/_api/traversal": "an AQL traversal",
    "/_api/aqlfunction": "AQL's own functions",
}
"""Routes of a server that do not exist here, and what to use instead."""


class Database:
    """A file with ArangoDB databases in it, addressed as a server is: by HTTP requests."""

    def __init__(self, path: str | os.PathLike[str], busy_seconds: float = BUSY_SECONDS) -> None:
        self.storage = Storage(Path(path).absolute(), busy_seconds)
        self.cursors: dict[str, Any] = {}

    @cached_property
    def statements(self) -> Statements:
        """Everything about AQL is imported with the first statement."""
        from .statements import Statements

        return Statements(self.storage)

    def handle(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> Response:
        """Answer one request; `body` is a Python object or JSON text, the response's a Python object."""
        try:
            content = parse(body) if isinstance(body, (str, bytes)) else adopt(body)
            name, rest = _split(path)
            handler, arguments = _route(method.upper(), rest)
            request = Request(self, name, params or {}, headers or {}, content)
            return handler(request, *arguments)
        except ArangoError as error:
            return Response(error.status, error.body())


def open_database(path: str | os.PathLike[str], busy_seconds: float = BUSY_SECONDS) -> Database:
    """The `Database` of the file at `path`, one per process and patience.

    A write that does not get its turn within `busy_seconds` answers error 1200.
    """
    return _opened(str(Path(path).absolute()), busy_seconds)


@cache
def _opened(path: str, busy_seconds: float) -> Database:
    return Database(path, busy_seconds)


def _split(path: str) -> tuple[str, str]:
    match = _DATABASE.fullmatch(path)
    return (match.group(1), match.group(2)) if match else ("_system", path)


def _route(method: str, path: str) -> tuple[Handler, list[str]]:
    """The handler for a path, and the values of the path's placeholders."""
    parts = path.strip("/").split("/")
    route = _table().get((method, len(parts), parts[1] if len(parts) > 1 else ""), ())
    for pattern, handler in route:
        arguments = _match(pattern, parts)
        if arguments is not None:
            return handler, arguments
    prefix = "/" + "/".join(parts[:2])
    if prefix in ELSEWHERE:
        message = f"not implemented: {prefix} is not part of the embedded database, use {ELSEWHERE[prefix]}"
        raise ArangoError(9, message=message)
    raise ArangoError(404, message=f"unknown path '{path}' for {method}: the embedded database has no such route")


def _match(pattern: tuple[str, ...], parts: list[str]) -> list[str] | None:
    arguments = []
    for expected, part in zip(pattern, parts, strict=True):
        if expected.startswith("{"):
            arguments.append(part)
        elif expected != part:
            return None
    return arguments


@lru_cache(maxsize=1)
def _table() -> dict[tuple[str, int, str], list[tuple[tuple[str, ...], Handler]]]:
    from . import http_collections, http_databases, http_documents, http_graphs, http_queries

    routes: tuple[Route, ...] = (
        *http_databases.ROUTES,
        *http_collections.ROUTES,
        *http_documents.ROUTES,
        *http_queries.ROUTES,
        *http_graphs.ROUTES,
    )
    table: dict[tuple[str, int, str], list[tuple[tuple[str, ...], Handler]]] = {}
    for method, path, handler in routes:
        pattern = tuple(path.strip("/").split("/"))
        table.setdefault((method, len(pattern), pattern[1]), []).append((pattern, handler))
    return table
