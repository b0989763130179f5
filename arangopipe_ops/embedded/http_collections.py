"""Collections. Manual: develop/http-api/collections."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from functools import wraps
from typing import Any
from urllib.parse import quote

from . import catalog, keys, rules
from .catalog import DOCUMENT, EDGE, Collection
from .errors import ArangoError
from .keys import GENERATORS, TRADITIONAL
from .request import Handler, Request, Response, Route, success
from .rights import WRITE
from .storage import Transaction, parse_revision

LOADED = 3
DEFAULTS: dict[str, Any] = {
    "waitForSync": False,
    "cacheEnabled": False,
    "keyOptions": {"type": TRADITIONAL, "allowUserKeys": True},
    "schema": None,
    "computedValues": None,
    "writeConcern": 1,
    "syncByRevision": True,
    "usesRevisionsAsDocumentIds": True,
    "isSmartChild": False,
    "internalValidatorType": 0,
}
CHANGEABLE = {"waitForSync": bool, "cacheEnabled": bool, "schema": dict, "computedValues": list}
KEPT = {**CHANGEABLE, "keyOptions": dict, "isSystem": bool, "type": int}
"""What a client may set, with the types; what only a cluster knows is not kept."""


def summary(collection: Collection) -> dict[str, Any]:
    return {
        "id": str(collection.id),
        "name": collection.name,
        "type": collection.type,
        "status": LOADED,
        "statusString": "loaded",
        "isSystem": collection.properties.get("isSystem", False),
        "globallyUniqueId": f"e{collection.id}/",
    }


def details(transaction: Transaction, collection: Collection) -> dict[str, Any]:
    options = {"keyOptions": keys.shown_options(transaction.sqlite, collection)}
    return DEFAULTS | collection.properties | options | summary(collection)


def listing(request: Request) -> Response:
    hide_system = request.flag("excludeSystem")
    with request.transaction() as transaction:
        collections = request.user.visible(transaction.catalog, request.database).database(request.database).values()
    shown = [each for each in collections if not (hide_system and each.properties.get("isSystem"))]
    return success(200, result=[summary(each) for each in sorted(shown, key=lambda each: each.name)])


def create(request: Request) -> Response:
    given = request.object(name=str, **KEPT)
    name = given.get("name") or ""
    properties = _checked({"type": DOCUMENT} | _kept(given, KEPT))
    with request.transaction(write=True) as transaction:
        catalog.create_collection(transaction.sqlite, transaction.catalog, request.database, name, properties)
        return success(200, **details(transaction, transaction.refresh().collection(request.database, name)))


def _kept(given: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: given[name] for name in names if given.get(name) is not None}


def _removed(given: dict[str, Any]) -> dict[str, None]:
    """What null takes away."""
    return {name: None for name in ("schema", "computedValues") if name in given and given[name] is None}


def _checked(properties: dict[str, Any]) -> dict[str, Any]:
    """The properties as they are kept; raises 1218, 1232, 9 or 10 for what is none."""
    if properties["type"] not in (DOCUMENT, EDGE):
        raise ArangoError(1218)
    options = keys.checked_options(properties.get("keyOptions", {}))
    checked = properties | {"keyOptions": options}
    if properties.get("schema"):
        checked["schema"] = rules.checked_schema(properties["schema"])
    if properties.get("computedValues"):
        checked["computedValues"] = rules.checked_computed_values(properties["computedValues"])
    return checked


def show(request: Request, name: str) -> Response:
    with request.transaction() as transaction:
        return success(200, **summary(request.collection(transaction, name)))


def show_properties(request: Request, name: str) -> Response:
    with request.transaction() as transaction:
        return success(200, **details(transaction, request.collection(transaction, name)))


def change_properties(request: Request, name: str) -> Response:
    given = request.object(**CHANGEABLE)
    with request.transaction(write=True) as transaction:
        collection = request.collection(transaction, name)
        changed = _checked(collection.properties | _kept(given, CHANGEABLE) | _removed(given))
        catalog.set_properties(transaction.sqlite, collection, changed)
        changed_one = transaction.refresh().collection(request.database, collection.name)
        return success(200, **details(transaction, changed_one))


def count(request: Request, name: str) -> Response:
    with request.transaction() as transaction:
        collection = request.collection(transaction, name)
        return success(200, **details(transaction, collection), count=transaction.count(collection))


def figures(request: Request, name: str) -> Response:
    with request.transaction() as transaction:
        collection = request.collection(transaction, name)
        size = "SELECT coalesce(sum(length(body)), 0) FROM documents WHERE collection = ?"
        (stored,) = transaction.sqlite.execute(size, (collection.id,)).fetchone()
        number = transaction.count(collection)
        shown = details(transaction, collection)
    numbers = {
        "indexes": {"count": 1 + sum(index.id > 0 for index in collection.indexes), "size": 0},
        "documentsSize": stored,
        "cacheInUse": False,
        "cacheSize": 0,
        "cacheUsage": 0,
    }
    return success(200, **shown, count=number, figures=numbers)


def revision(request: Request, name: str) -> Response:
    with request.transaction() as transaction:
        collection = request.collection(transaction, name)
        return success(200, **details(transaction, collection), revision=_newest(transaction, collection))


def _newest(transaction: Transaction, collection: Collection) -> str:
    revisions = (document["_rev"] for document in transaction.scan(collection, body=False))
    return max(revisions, key=parse_revision, default="0")


def checksum(request: Request, name: str) -> Response:
    """Of the keys, and of revisions and bodies if asked for; "0" if empty, whatever the order of insertion."""
    columns = ["key", *(["rev"] if request.flag("withRevisions") else [])]
    columns += ["body"] if request.flag("withData") else []
    with request.transaction() as transaction:
        collection = request.collection(transaction, name)
        sql = f"SELECT {', '.join(columns)} FROM documents WHERE collection = ? ORDER BY key"
        total = 0
        for row in transaction.sqlite.execute(sql, (collection.id,)):
            total ^= int.from_bytes(hashlib.blake2b(repr(row).encode(), digest_size=8).digest())
        newest = _newest(transaction, collection)
    return success(200, **summary(collection), checksum=str(total), revision=newest)


def truncate(request: Request, name: str) -> Response:
    with request.transaction(write=True) as transaction:
        collection = request.collection(transaction, name, WRITE)
        transaction.truncate(collection)
    return success(200, **summary(collection))


def rename(request: Request, name: str) -> Response:
    new_name = request.object(name=str).get("name") or ""
    with request.transaction(write=True) as transaction:
        collection = request.collection(transaction, name, WRITE)
        if new_name != name:
            catalog.rename_collection(transaction.sqlite, transaction.catalog, collection, new_name)
        return success(200, **summary(transaction.refresh().collection(request.database, new_name)))


def unchanged(request: Request, name: str) -> Response:
    """Unloading and compacting: nothing to do here."""
    return show(request, name)


def load(request: Request, name: str) -> Response:
    """Nothing to do here, but to count, if the body does not say otherwise."""
    wanted = not isinstance(request.body, dict) or request.body.get("count", True)
    with request.transaction() as transaction:
        collection = request.collection(transaction, name)
        counted = {"count": transaction.count(collection)} if wanted else {}
        return success(200, **summary(collection), **counted)


def load_indexes(request: Request, name: str) -> Response:
    with request.transaction() as transaction:
        request.collection(transaction, name)
    return success(200, result=True)


def recount(request: Request, name: str) -> Response:
    with request.transaction() as transaction:
        return success(200, result=True, count=transaction.count(request.collection(transaction, name)))


def drop(request: Request, name: str) -> Response:
    with request.transaction(write=True) as transaction:
        collection = request.collection(transaction, name, WRITE)
        if collection.properties.get("isSystem") and not request.flag("isSystem"):
            raise ArangoError(11, message=f"forbidden: '{name}' is a system collection")
        catalog.drop_collection(transaction.sqlite, collection)
    return success(200, id=str(collection.id))


def shards(request: Request, name: str) -> Response:
    raise ArangoError(9, message="not implemented: a collection of the embedded database has no shards")


def key_generators(request: Request) -> Response:
    return Response(200, {"keyGenerators": sorted(GENERATORS)})


def _below(method: str, action: str, handler: Handler) -> Route:
    """What lies below a collection's name says in a header where it was found."""

    @wraps(handler)
    def located(request: Request, name: str) -> Response:
        response = handler(request, name)
        path = f"/_db/{quote(request.database)}/_api/collection/{quote(name)}/{action}"
        return replace(response, headers=response.headers | {"location": path})

    return method, f"/_api/collection/{{name}}/{action}", located


def unnamed(request: Request) -> Response:
    raise ArangoError(400, message="expected PUT /_api/collection/<collection-name>/<action>")


ROUTES: tuple[Route, ...] = (
    ("GET", "/_api/collection", listing),
    ("POST", "/_api/collection", create),
    ("GET", "/_api/collection/{name}", show),
    ("DELETE", "/_api/collection/{name}", drop),
    ("PUT", "/_api/collection", unnamed),
    ("GET", "/_api/key-generators", key_generators),
    _below("GET", "properties", show_properties),
    _below("PUT", "properties", change_properties),
    _below("GET", "count", count),
    _below("GET", "figures", figures),
    _below("GET", "revision", revision),
    _below("GET", "checksum", checksum),
    _below("GET", "shards", shards),
    _below("PUT", "truncate", truncate),
    _below("PUT", "rename", rename),
    _below("PUT", "load", load),
    _below("PUT", "unload", unchanged),
    _below("PUT", "compact", unchanged),
    _below("PUT", "recalculateCount", recount),
    _below("PUT", "loadIndexesIntoMemory", load_indexes),
)
