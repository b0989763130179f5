"""Documents, one or many of them in a request. Manual: develop/http-api/documents."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from .catalog import Collection
from .errors import ArangoError, RevisionConflict
from .request import Request, Response, Route, success
from .rights import WRITE
from .storage import Document, Transaction, WriteOptions, Written
from .writes import OVERWRITE_MODES

Change = Callable[[Transaction, Collection, Any], Written]
"""Writes what one element of the body asks for."""


def get(request: Request, name: str, key: str) -> Response:
    document = read(request, name, key)
    if request.header("if-none-match") == document["_rev"]:
        return Response(304, headers={"etag": _etag(document)})
    return Response(200, document, {"etag": _etag(document)})


def head(request: Request, name: str, key: str) -> Response:
    response = get(request, name, key)
    return Response(response.status, headers=response.headers)


def read(request: Request, name: str, key: str) -> Document:
    """Raises 1202 if there is no such document, 1200 (412) if it is not at the revision of If-Match."""
    with request.transaction() as transaction:
        collection = request.collection(transaction, name)
        document = transaction.get(collection, key)
    if document is None:
        raise ArangoError(1202, message=f"document not found: {name}/{key}")
    if request.header("if-match") not in (None, document["_rev"]):
        raise ArangoError(1200, status=412, message="conflict, _rev values do not match")
    return document


def _etag(document: Document) -> str:
    return f'"{document["_rev"]}"'


def options_of(request: Request) -> WriteOptions:
    mode = request.params.get("overwriteMode") or ("replace" if request.flag("overwrite") else "conflict")
    if mode not in OVERWRITE_MODES:
        raise ArangoError(10, message=f"bad parameter: overwriteMode {mode!r}")
    return WriteOptions(
        str(mode),
        request.flag("keepNull", True),
        request.flag("mergeObjects", True),
        request.flag("ignoreRevs", True),
        str(request.params.get("versionAttribute") or ""),
    )


def insert(request: Request, name: str) -> Response:
    options = options_of(request)
    return _write(request, name, lambda transaction, collection, value: transaction.insert(collection, value, options))


def insert_named(request: Request) -> Response:
    return insert(request, _named(request))


def replace_named(request: Request) -> Response:
    return replace_many(request, _named(request))


def update_named(request: Request) -> Response:
    return update_many(request, _named(request))


def _named(request: Request) -> str:
    """The collection as older drivers say it: by a parameter."""
    name = request.params.get("collection")
    if not name:
        raise ArangoError(1204)
    return str(name)


def replace_many(request: Request, name: str) -> Response:
    if request.flag("onlyget"):
        return _get_many(request, name)
    return _write(request, name, _replacement(options_of(request)))


def replace_one(request: Request, name: str, key: str) -> Response:
    change = _replacement(options_of(request), key, request.header("if-match"))
    return _write(request, name, change)


def _replacement(options: WriteOptions, key: str | None = None, rev: str | None = None) -> Change:
    return lambda transaction, collection, value: transaction.replace(
        collection, key or _key_in(value), value, options, rev
    )


def update_many(request: Request, name: str) -> Response:
    return _write(request, name, _patch(options_of(request)))


def update_one(request: Request, name: str, key: str) -> Response:
    return _write(request, name, _patch(options_of(request), key, request.header("if-match")))


def _patch(options: WriteOptions, key: str | None = None, rev: str | None = None) -> Change:
    return lambda transaction, collection, value: transaction.update(
        collection, key or _key_in(value), value, options, rev
    )


def remove_one(request: Request, name: str, key: str) -> Response:
    rev = request.header("if-match")
    return _write(request, name, lambda transaction, collection, _: transaction.remove(collection, key, rev), 200)


def remove_many(request: Request, name: str) -> Response:
    check = not request.flag("ignoreRevs", True)

    def remove(transaction: Transaction, collection: Collection, value: Any) -> Written:
        rev = value.get("_rev") if check and isinstance(value, dict) else None
        return transaction.remove(collection, _key_in(value), rev)

    return _write(request, name, remove, 200)


def _key_in(value: Any) -> str:
    """The key in an element of a request for many documents: of an object, or a key or id itself."""
    handle = value.get("_key", value.get("_id")) if isinstance(value, dict) else value
    if not isinstance(handle, str):
        raise ArangoError(1221)
    return handle.partition("/")[2] or handle


def _write(request: Request, name: str, change: Change, on_disk: int = 201) -> Response:
    """Apply `change` to the body, or to each of its elements; for these, errors are part of the answer."""
    with request.transaction(write=True) as transaction:
        collection = request.collection(transaction, name, WRITE)
        if isinstance(request.body, list):
            results = [_attempt(request, change, transaction, collection, value) for value in request.body]
            return _many(request, results, on_disk)
        try:
            written = change(transaction, collection, request.body)
        except RevisionConflict as error:
            raise ArangoError(1200, status=412, message=error.message) from error
        result = outcome(request, transaction, collection, written, _key_or_none(request.body))
    return Response(on_disk if request.flag("waitForSync") else 202, result)


def _key_or_none(value: Any) -> str | None:
    return value.get("_key") if isinstance(value, dict) else None


def _attempt(
    request: Request, change: Change, transaction: Transaction, collection: Collection, value: Any
) -> dict[str, Any]:
    try:
        return outcome(request, transaction, collection, change(transaction, collection, value), _key_or_none(value))
    except ArangoError as error:
        return {"error": True, "errorNum": error.num, "errorMessage": error.message}


def _many(request: Request, results: list[dict[str, Any]], on_disk: int) -> Response:
    errors = Counter(str(result["errorNum"]) for result in results if result.get("error"))
    shown = [result for result in results if result.get("error")] if request.flag("silent") else results
    headers = {"x-arango-error-codes": json.dumps(errors)} if errors else {}
    return Response(on_disk if request.flag("waitForSync") else 202, shown, headers)


def outcome(
    request: Request, transaction: Transaction, collection: Collection, written: Written, key: str | None
) -> dict[str, Any]:
    """What a write answers; an insertion that was ignored shows the document that is there."""
    if request.flag("silent"):
        return {}
    old, new = written
    document = new or old or transaction.get(collection, key) or {}
    result: dict[str, Any] = {name: document[name] for name in ("_id", "_key", "_rev")}
    if old is not None and new is not None:
        result["_oldRev"] = old["_rev"]
    if request.flag("returnNew") and new is not None:
        result["new"] = new
    if request.flag("returnOld") and old is not None:
        result["old"] = old
    return result


def _get_many(request: Request, name: str) -> Response:
    with request.transaction() as transaction:
        collection = request.collection(transaction, name)
        return Response(200, [_found(transaction, collection, value) for value in request.array()])


def _found(transaction: Transaction, collection: Collection, value: Any) -> dict[str, Any]:
    document = transaction.get(collection, _key_in(value))
    if document is None:
        return {"error": True, "errorNum": 1202, "errorMessage": "document not found"}
    return document


def edges_of(request: Request, name: str) -> Response:
    """The edges of a vertex. Manual: develop/http-api/graphs/edges."""
    vertex, direction = str(request.params.get("vertex", "")), request.params.get("direction", "any")
    wanted = {"in": ("_to",), "out": ("_from",)}.get(str(direction), ("_from", "_to"))
    with request.transaction() as transaction:
        collection = request.collection(transaction, name)
        owners = {index.id: name for index in collection.indexes if index.type == "edge" and index.fields[0] in wanted}
        if not owners:
            raise ArangoError(1218, message=f"collection type invalid: '{name}' is not an edge collection")
        found = {edge["_id"]: edge for _, edge in transaction.edges(owners, [vertex])}
    stats = {"scannedIndex": len(found), "filtered": 0, "writesExecuted": 0, "writesIgnored": 0}
    return success(200, edges=list(found.values()), stats=stats)


ROUTES: tuple[Route, ...] = (
    ("GET", "/_api/document/{collection}/{key}", get),
    ("HEAD", "/_api/document/{collection}/{key}", head),
    ("POST", "/_api/document/{collection}", insert),
    ("PUT", "/_api/document/{collection}", replace_many),
    ("PUT", "/_api/document/{collection}/{key}", replace_one),
    ("PATCH", "/_api/document/{collection}", update_many),
    ("PATCH", "/_api/document/{collection}/{key}", update_one),
    ("DELETE", "/_api/document/{collection}", remove_many),
    ("DELETE", "/_api/document/{collection}/{key}", remove_one),
    ("POST", "/_api/document", insert_named),
    ("PUT", "/_api/document", replace_named),
    ("PATCH", "/_api/document", update_named),
    ("GET", "/_api/edges/{collection}", edges_of),
)
