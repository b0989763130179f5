"""ArangoDB's HTTP API: a request to the row of the route table that answers it.

Manual: develop/http-api.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from functools import cache, cached_property, lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from .authentication import Authenticator
from .connection import BUSY_SECONDS
from .errors import ArangoError
from .request import ASYNC_HEADER, JOB_HEADER, TRANSACTION_HEADER, Handler, Request, Response, Route
from .rights import ADMIN, DEFINE, IN_PROCESS, Identity, need_of
from .storage import Storage
from .transactions import IDLE_SECONDS, Streams

if TYPE_CHECKING:
    from .jobs import Jobs
    from .queries import Queries
    from .result_cache import ResultCache
    from .settings import Settings
    from .statements import Statements

MODULES = (
    "http_server",
    "http_databases",
    "http_collections",
    "http_indexes",
    "http_documents",
    "http_import",
    "http_cursors",
    "http_dumps",
    "http_queries",
    "http_simple",
    "http_graphs",
    "http_graph_members",
    "http_transactions",
    "http_users",
    "http_views",
    "http_jobs",
)
"""Where the routes are; a row that comes first wins."""
_DATABASE = re.compile(r"/_db/([^/]+)(/.*)")
_log = logging.getLogger(__name__)

ELSEWHERE = {
    "/_api/transaction": "a stream transaction, or one AQL statement, which is one transaction too",
    "/_api/batch": "one AQL statement, or documents as an array",
    "/_api/view": "persistent indexes",
    "/_api/analyzer": "persistent indexes and AQL's string functions",
    "/_api/simple": "an AQL statement",
    "/_api/foxx": "AQL",
    "/_api/tasks": "a scheduler outside of the database",
    "/_api/replication": "a copy of the database file",
    "/_api/wal": "a copy of the database file",
    "/_api/cluster": "a server, by another URL",
    "/_api/pregel": "AQL traversals",
    "/_api/control_pregel": "AQL traversals",
    "/_api/traversal": "an AQL traversal",
    "/_api/aqlfunction": "AQL's own functions",
    "/_admin/wal": "a request with waitForSync",
    "/_admin/backup": "a copy of the database file",
    "/_admin/cluster": "a server, by another URL",
    "/_admin/execute": "AQL",
    "/_admin/shutdown": "a signal to the process that serves the file",
    "/_admin/test": "AQL",
}
"""Routes of a server that do not exist here, and what to use instead."""


class Database:
    """A file with ArangoDB databases in it, addressed as a server is: by HTTP requests."""

    def __init__(
        self, path: str | os.PathLike[str], busy_seconds: float = BUSY_SECONDS, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self.storage = Storage(Path(path).absolute(), busy_seconds)
        self.streams = Streams(self.storage, idle_seconds)
        self.authenticator = Authenticator(self.storage)
        self.cursors: dict[str, Any] = {}
        self.dumps: dict[str, Any] = {}

    @cached_property
    def queries(self) -> Queries:
        from .queries import Queries

        return Queries()

    @cached_property
    def statements(self) -> Statements:
        """Everything about AQL is imported with the first statement."""
        from .statements import Statements

        return Statements(self.queries, self.results)

    @cached_property
    def results(self) -> ResultCache:
        from .result_cache import ResultCache

        return ResultCache(self.storage)

    @cached_property
    def jobs(self) -> Jobs:
        from .jobs import Jobs

        return Jobs(self.queries)

    @cached_property
    def settings(self) -> Settings:
        from .settings import Settings

        return Settings()

    def handle(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        user: Identity = IN_PROCESS,
    ) -> Response:
        """Answer one request.

        `path` is quoted as in a URL, `body` is a Python object or JSON text, the response's a Python object.
        """
        try:
            name, rest = split(path)
            user.admit(method.upper(), rest, name)
            lower = {key.lower(): value for key, value in headers.items()} if headers else {}
            request = Request(self, name, params or {}, lower, body, user)
            mode = request.header(ASYNC_HEADER)
            if mode is not None:
                return self._later(lambda: _answer(request, method.upper(), rest), user, mode)
        except ArangoError as error:
            return Response(error.status, error.body())
        return _answer(request, method.upper(), rest)

    def _later(self, work: Callable[[], Response], user: Identity, mode: str) -> Response:
        keep = mode == "store"
        number = self.jobs.start(user.name, work, keep)
        return Response(202, headers={JOB_HEADER: number} if keep else {})


def _answer(request: Request, method: str, path: str) -> Response:
    try:
        handler, arguments = _route(method, path)
        if request.header(TRANSACTION_HEADER) is not None and need_of(method, path) in (DEFINE, ADMIN):
            raise ArangoError(1653)
        return handler(request, *arguments)
    except ArangoError as error:
        return Response(error.status, error.body())
    except UnicodeEncodeError as error:
        unencodable = ArangoError(600, message=f"invalid JSON object: text that is not Unicode: {error.reason}")
        return Response(unencodable.status, unencodable.body())
    except Exception as error:
        _log.exception("%s %s failed", method, path)
        failed = ArangoError(4, message=f"internal error: {type(error).__name__}")
        return Response(failed.status, failed.body())


def open_database(path: str | os.PathLike[str], busy_seconds: float = BUSY_SECONDS) -> Database:
    """The `Database` of the file at `path`, one per process and patience.

    A write that does not get its turn within `busy_seconds` answers error 1200.
    """
    return _opened(str(Path(path).absolute()), busy_seconds)


@cache
def _opened(path: str, busy_seconds: float) -> Database:
    return Database(path, busy_seconds)


def split(path: str) -> tuple[str, str]:
    match = _DATABASE.fullmatch(path)
    return (unquote(match.group(1)), match.group(2)) if match else ("_system", path)


def _route(method: str, path: str) -> tuple[Handler, list[str]]:
    """The handler for a path, and the values of the path's placeholders."""
    parts = path.strip("/").split("/")
    if "%" in path:
        parts = [unquote(part) for part in parts]
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
    routes: list[Route] = []
    for name in MODULES:
        routes += import_module(f".{name}", __package__).ROUTES
    table: dict[tuple[str, int, str], list[tuple[tuple[str, ...], Handler]]] = {}
    for method, path, handler in routes:
        pattern = tuple(path.strip("/").split("/"))
        table.setdefault((method, len(pattern), pattern[1]), []).append((pattern, handler))
    return table
