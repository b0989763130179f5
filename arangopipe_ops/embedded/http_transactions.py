"""Stream transactions. Manual: develop/http-api/transactions/stream-transactions."""

from __future__ import annotations

from typing import Any

from .errors import ArangoError
from .request import Request, Response, Route, shaped, success
from .rights import READ, WRITE
from .transactions import ABORTED, COMMITTED, Stream, Terms


def begin(request: Request) -> Response:
    given = request.object(collections=dict, waitForSync=bool, lockTimeout=float, allowImplicit=bool)
    collections = shaped(given.get("collections") or {})
    terms = Terms(
        read=_names(collections, "read"),
        write=_names(collections, "write"),
        exclusive=_names(collections, "exclusive"),
        sync=bool(given.get("waitForSync")),
        lock_seconds=float(given.get("lockTimeout") or 0),
    )
    needs = dict.fromkeys(terms.read, READ) | dict.fromkeys(terms.writable, WRITE)
    with request.transaction() as transaction:
        for name, need in needs.items():
            request.collection(transaction, name, need)
    stream = request.file.streams.begin(request.database, request.user.name, terms)
    return _shown(201, stream)


def _names(collections: dict[str, Any], kind: str) -> frozenset[str]:
    given = collections.get(kind) or []
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ArangoError(10, message=f"bad parameter: '{kind}' has to be a collection name or an array of them")
    return frozenset(names)


def _shown(status: int, stream: Stream) -> Response:
    return success(status, result={"id": stream.number, "status": stream.state})


def _stream(request: Request, number: str) -> Stream:
    return request.file.streams.get(number, request.database, request.user.name)


def show(request: Request, number: str) -> Response:
    return _shown(200, _stream(request, number))


def commit(request: Request, number: str) -> Response:
    stream = _stream(request, number)
    stream.finish(COMMITTED)
    return _shown(200, stream)


def abort(request: Request, number: str) -> Response:
    stream = _stream(request, number)
    stream.finish(ABORTED)
    return _shown(200, stream)


def listing(request: Request) -> Response:
    running = request.file.streams.running(request.database, request.user.name)
    return Response(200, {"transactions": [{"id": each.number, "state": each.state} for each in running]})


ROUTES: tuple[Route, ...] = (
    ("POST", "/_api/transaction/begin", begin),
    ("GET", "/_api/transaction", listing),
    ("GET", "/_api/transaction/{id}", show),
    ("PUT", "/_api/transaction/{id}", commit),
    ("DELETE", "/_api/transaction/{id}", abort),
)
