"""Documents, one or many of them in a request. Manual: develop/http-api/documents."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from .catalog import Collection
from .errors import ArangoError, RevisionConflict
from .request import Request, Response, Route, success
from .rights import WRITE
from .rules import REPLACE, UPDATE
from .storage import Document, Transaction, WriteOptions, Written
from .writes import OVERWRITE_MODES

Change = Callable[[Transaction, Collection, Any], Written]
"""Writes what one element of the body asks for."""


def get(request: Request, name: str, key: str) -> Response:
    try:
        document = read(request, name, key)
    except RevisionConflict as error:
        return _unexpected(error)
    if request.header("if-none-match") == document["_rev"]:
        return Response(304, headers={"etag": _etag(document)})
    return Response(200, document, {"etag": _etag(document)})


def head(request: Request, name: str, key: str) -> Response:
    response = get(request, name, key)
    return Response(response.status, headers=response.headers)


def read(request: Request, name: str, key: str) -> Document:
    """Raises 1202 if there is no such document, `RevisionConflict` if it is not at the revision of If-Match."""
    with request.transaction() as transaction:
        collection = request.collection(transaction, name)
        document = transaction.get(collection, key)
    if document is None:
        raise ArangoError(1202, message=f"document not found: {name}/{key}")
    if request.header("if-match") not in (None, document["_rev"]):
        raise RevisionConflict({name: document[name] for name in ("_id", "_key", "_rev")}, 412)
    return document


def _etag(document: Mapping[str, Any]) -> str:
    return f'"{document["_rev"]}"'


def _unexpected(error: RevisionConflict) -> Response:
    """412, with the revision that is there."""
    failed = ArangoError(error.num, status=412, message=error.message)
    return Response(failed.status, failed.body() | error.found, {"etag": _etag(error.found)})


def options_of(request: Request) -> WriteOptions:
    """A server passes over an `overwriteMode` that it does not know."""
    mode = request.params.get("overwriteMode")
    if mode not in OVERWRITE_MODES:
        mode = "replace" if request.flag("overwrite") else "conflict"
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
    return _write(request, name, _change(REPLACE, request))


def update_many(request: Request, name: str) -> Response:
    return _write(request, name, _change(UPDATE, request))


def replace_one(request: Request, name: str, key: str) -> Response:
    return _write(request, name, _change(REPLACE, request, key))


def update_one(request: Request, name: str, key: str) -> Response:
    return _write(request, name, _change(UPDATE, request, key))


def _change(event: str, request: Request, key: str | None = None) -> Change:
    """Of one document by its key and the revision of If-Match, or of each by what it says itself."""
    options = options_of(request)
    rev = request.header("if-match") if key is not None else None
    return lambda transaction, collection, value: transaction.change(
        event, collection, key or _key_in(value), value, options, rev
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
    try:
        return _written(request, name, change, on_disk)
    except RevisionConflict as error:
        return _unexpected(error)


def _written(request: Request, name: str, change: Change, on_disk: int) -> Response:
    """Apply `change` to the body, or to each of its elements; for these, errors are part of the answer."""
    with request.transaction(write=True) as transaction:
        collection = request.collection(transaction, name, WRITE)
        if isinstance(request.body, list):
            results = [_attempt(request, change, transaction, collection, value) for value in request.body]
            written_to = any("error" not in result for result in results)
            return _many(request, results, on_disk if waits_for_sync(request, collection, written_to) else 202)
        written = change(transaction, collection, request.body)
        result = outcome(request, transaction, collection, written, _key_or_none(request.body))
        status = on_disk if waits_for_sync(request, collection) else 202
        return Response(status, result, _whereabouts(request, result))


def waits_for_sync(request: Request, collection: Collection, written_to: bool = True) -> bool:
    """Whether the answer came after the write was on disk: a collection waits only for what was written to it."""
    return request.flag("waitForSync") or (written_to and collection.waits_for_sync)


def _whereabouts(request: Request, result: dict[str, Any]) -> dict[str, str]:
    if not result:
        return {}
    path = f"/_db/{quote(request.database)}/_api/document/{quote(result['_id'])}"
    return {"etag": _etag(result), "location": path}


def _key_or_none(value: Any) -> str | None:
    return value.get("_key") if isinstance(value, dict) else None


def _attempt(
    request: Request, change: Change, transaction: Transaction, collection: Collection, value: Any
) -> dict[str, Any]:
    try:
        return outcome(request, transaction, collection, change(transaction, collection, value), _key_or_none(value))
    except ArangoError as error:
        return {"error": True, "errorNum": error.num, "errorMessage": error.message}


def _many(request: Request, results: list[dict[str, Any]], status: int) -> Response:
    errors = Counter(str(result["errorNum"]) for result in results if result.get("error"))
    shown = [result for result in results if result.get("error")] if request.flag("silent") else results
    headers = {"x-arango-error-codes": json.dumps(errors)} if errors else {}
    return Response(status, shown, headers)


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
    """The edges of a vertex, those that leave it first. Manual: develop/http-api/graphs/edges."""
    vertex, direction = str(request.params.get("vertex", "")), request.params.get("direction", "any")
    wanted = {"in": ("_to",), "out": ("_from",)}.get(str(direction), ("_from", "_to"))
    with request.transaction() as transaction:
        collection = request.collection(transaction, name)
        owners = {index.id: name for index in collection.indexes if index.type == "edge" and index.fields[0] in wanted}
        if not owners:
            raise ArangoError(1218, message=f"collection type invalid: '{name}' is not an edge collection")
        leaving = {index.id for index in collection.indexes if index.fields[0] == "_from"}
        found = sorted(transaction.edges(owners, [vertex]), key=lambda each: each[0] not in leaving)
    edges = {edge["_id"]: edge for _, edge in found}
    stats = {"scannedIndex": len(edges), "documentLookups": len(edges)}
    nothing = dict.fromkeys(("scannedFull", "seeks", "filtered", "httpRequests", "writesExecuted", "writesIgnored"), 0)
    return success(200, edges=list(edges.values()), stats=stats | nothing)


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
