"""Collections and their indexes. Manual: develop/http-api/collections, develop/http-api/indexes."""

from __future__ import annotations

import hashlib
from typing import Any

from . import catalog
from .catalog import DOCUMENT, EDGE, PERSISTENT_TYPES, Collection, Index
from .errors import ArangoError
from .request import Request, Response, Route, success
from .storage import Transaction

LOADED = 3
CHANGEABLE = ("waitForSync", "cacheEnabled")
KEPT = (*CHANGEABLE, "keyOptions", "isSystem", "type")
REFUSED = {
    "schema": "check documents in the application",
    "computedValues": "compute values in the application",
}
PRIMARY = {"type": "primary", "name": "primary", "fields": ["_key"], "unique": True, "sparse": False}


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


def details(collection: Collection) -> dict[str, Any]:
    defaults = {
        "waitForSync": False,
        "cacheEnabled": False,
        "keyOptions": {"type": "traditional", "allowUserKeys": True},
        "schema": None,
        "computedValues": None,
        "writeConcern": 1,
        "replicationFactor": 1,
    }
    return defaults | collection.properties | summary(collection)


def listing(request: Request) -> Response:
    hide_system = request.flag("excludeSystem")
    with request.transaction() as transaction:
        collections = transaction.catalog.database(request.database).values()
    shown = [each for each in collections if not (hide_system and each.properties.get("isSystem"))]
    return success(200, result=[summary(each) for each in sorted(shown, key=lambda each: each.name)])


def create(request: Request) -> Response:
    given = request.object()
    with request.transaction(write=True) as transaction:
        name = given.get("name", "")
        properties = {"type": DOCUMENT} | {key: given[key] for key in KEPT if key in given}
        _check(given, properties)
        catalog.create_collection(transaction.sqlite, transaction.catalog, request.database, name, properties)
        created = transaction.refresh().collection(request.database, name)
    return success(200, **details(created))


def _check(given: dict[str, Any], properties: dict[str, Any]) -> None:
    if properties["type"] not in (DOCUMENT, EDGE):
        raise ArangoError(1218)
    for option, advice in REFUSED.items():
        if given.get(option):
            raise ArangoError(9, message=f"not implemented: the embedded database has no {option}, {advice}")
    generator = properties.get("keyOptions", {}).get("type", "traditional")
    if generator != "traditional":
        raise ArangoError(9, message=f"not implemented: key generator {generator!r}, use 'traditional'")


def show(request: Request, name: str) -> Response:
    with request.transaction() as transaction:
        return success(200, **summary(transaction.catalog.collection(request.database, name)))


def show_properties(request: Request, name: str) -> Response:
    with request.transaction() as transaction:
        return success(200, **details(transaction.catalog.collection(request.database, name)))


def change_properties(request: Request, name: str) -> Response:
    given = request.object()
    with request.transaction(write=True) as transaction:
        collection = transaction.catalog.collection(request.database, name)
        changed = collection.properties | {key: given[key] for key in CHANGEABLE if key in given}
        _check(given, changed)
        catalog.set_properties(transaction.sqlite, collection, changed)
        return success(200, **details(transaction.refresh().collection(request.database, name)))


def count(request: Request, name: str) -> Response:
    with request.transaction() as transaction:
        collection = transaction.catalog.collection(request.database, name)
        return success(200, **details(collection), count=transaction.count(collection))


def figures(request: Request, name: str) -> Response:
    with request.transaction() as transaction:
        collection = transaction.catalog.collection(request.database, name)
        size = "SELECT coalesce(sum(length(body)), 0) FROM documents WHERE collection = ?"
        (stored,) = transaction.sqlite.execute(size, (collection.id,)).fetchone()
        number = transaction.count(collection)
    numbers = {
        "indexes": {"count": len(_shown_indexes(collection)), "size": 0},
        "documentsSize": stored,
        "cacheInUse": False,
        "cacheSize": 0,
        "cacheUsage": 0,
    }
    return success(200, **details(collection), count=number, figures=numbers)


def revision(request: Request, name: str) -> Response:
    with request.transaction() as transaction:
        collection = transaction.catalog.collection(request.database, name)
        newest = max((each["_rev"] for each in transaction.scan(collection, body=False)), default="0")
        return success(200, **details(collection), revision=newest)


def checksum(request: Request, name: str) -> Response:
    """Of the keys, and of revisions and bodies if asked for; independent of the order of insertion."""
    columns = ["key", *(["rev"] if request.flag("withRevisions") else [])]
    columns += ["body"] if request.flag("withData") else []
    with request.transaction() as transaction:
        collection = transaction.catalog.collection(request.database, name)
        sql = f"SELECT {', '.join(columns)} FROM documents WHERE collection = ? ORDER BY key"
        digest = hashlib.blake2b(digest_size=8)
        for row in transaction.sqlite.execute(sql, (collection.id,)):
            digest.update(repr(row).encode())
    total = str(int.from_bytes(digest.digest()))
    return success(200, **summary(collection), checksum=total, revision="0")


def truncate(request: Request, name: str) -> Response:
    with request.transaction(write=True) as transaction:
        collection = transaction.catalog.collection(request.database, name)
        catalog.truncate(transaction.sqlite, collection)
    return success(200, **summary(collection))


def rename(request: Request, name: str) -> Response:
    new_name = request.object().get("name", "")
    with request.transaction(write=True) as transaction:
        collection = transaction.catalog.collection(request.database, name)
        catalog.rename_collection(transaction.sqlite, transaction.catalog, collection, new_name)
        return success(200, **summary(transaction.refresh().collection(request.database, new_name)))


def unchanged(request: Request, name: str) -> Response:
    """Loading, unloading, compacting and the like: nothing to do here."""
    with request.transaction() as transaction:
        return success(200, **summary(transaction.catalog.collection(request.database, name)), result=True)


def drop(request: Request, name: str) -> Response:
    with request.transaction(write=True) as transaction:
        collection = transaction.catalog.collection(request.database, name)
        if collection.properties.get("isSystem") and not request.flag("isSystem"):
            raise ArangoError(11, message=f"forbidden: '{name}' is a system collection")
        catalog.drop_collection(transaction.sqlite, collection)
    return success(200, id=str(collection.id))


# indexes


def _shown_indexes(collection: Collection) -> list[dict[str, Any]]:
    """The primary index, then the others; the edge index counts once."""
    own = [_shown(collection, index) for index in collection.indexes if index.id > 0]
    return [{"id": f"{collection.name}/0", **PRIMARY}, *own]


def _shown(collection: Collection, index: Index) -> dict[str, Any]:
    return {"id": f"{collection.name}/{index.id}", **index.definition}


def list_indexes(request: Request) -> Response:
    with request.transaction() as transaction:
        collection = _named_collection(request, transaction)
    indexes = _shown_indexes(collection)
    return success(200, indexes=indexes, identifiers={index["id"]: index for index in indexes})


def _named_collection(request: Request, transaction: Transaction) -> Collection:
    name = request.params.get("collection")
    if not name:
        raise ArangoError(1204)
    return transaction.catalog.collection(request.database, str(name))


def show_index(request: Request, name: str, number: str) -> Response:
    with request.transaction() as transaction:
        collection = transaction.catalog.collection(request.database, name)
    for index in _shown_indexes(collection):
        if number in (index["id"].partition("/")[2], index["name"]):
            return success(200, **index)
    raise ArangoError(1212)


def create_index(request: Request) -> Response:
    with request.transaction(write=True) as transaction:
        collection = _named_collection(request, transaction)
        definition = _definition(request.object(), collection)
        existing = next((each for each in collection.indexes if _same(each, definition)), None)
        if existing is not None:
            return success(200, **_shown(collection, existing), isNewlyCreated=False)
        number = catalog.insert_index(transaction.sqlite, collection.id, definition)
        collection = transaction.refresh().collection(request.database, collection.name)
        index = next(each for each in collection.indexes if each.id == number)
        transaction.build_index(collection, index)
        return success(201, **_shown(collection, index), isNewlyCreated=True)


def _same(index: Index, definition: dict[str, Any]) -> bool:
    compared = ("type", "fields", "unique", "sparse", "expireAfter")
    return all(index.definition.get(key) == definition.get(key) for key in compared)


def _definition(given: dict[str, Any], collection: Collection) -> dict[str, Any]:
    kind = given.get("type")
    if kind not in PERSISTENT_TYPES:
        message = f"not implemented: index type {kind!r}, use 'persistent'"
        raise ArangoError(9, message=message)
    fields = [each["name"] if isinstance(each, dict) else each for each in given.get("fields", ())]
    if not fields or not all(isinstance(each, str) and each for each in fields):
        raise ArangoError(10, message="bad parameter: an index needs fields")
    name = given.get("name") or f"idx_{sum(index.id > 0 for index in collection.indexes) + 1}"
    if any(index.name == name and not _same(index, {**given, "fields": fields}) for index in collection.indexes):
        name = f"{name}_{len(collection.indexes)}" if not given.get("name") else _duplicate(name)
    definition = {
        "type": kind,
        "name": name,
        "fields": fields,
        "unique": bool(given.get("unique", False)),
        "sparse": bool(given.get("sparse", kind == "ttl")),
        "deduplicate": bool(given.get("deduplicate", True)),
        "estimates": bool(given.get("estimates", True)),
    }
    return definition | ({"expireAfter": given["expireAfter"]} if "expireAfter" in given else {})


def _duplicate(name: str) -> str:
    raise ArangoError(1207, message=f"duplicate name: index '{name}' exists")


def drop_index(request: Request, name: str, number: str) -> Response:
    with request.transaction(write=True) as transaction:
        collection = transaction.catalog.collection(request.database, name)
        index = next((each for each in collection.indexes if number in (str(each.id), each.name)), None)
        if number in ("0", "primary") or (index is not None and index.type == "edge"):
            raise ArangoError(11, message="forbidden: primary and edge indexes cannot be dropped")
        if index is None:
            raise ArangoError(1212)
        catalog.drop_index(transaction.sqlite, index)
    return success(200, id=f"{name}/{index.id}")


ROUTES: tuple[Route, ...] = (
    ("GET", "/_api/collection", listing),
    ("POST", "/_api/collection", create),
    ("GET", "/_api/collection/{name}", show),
    ("DELETE", "/_api/collection/{name}", drop),
    ("GET", "/_api/collection/{name}/properties", show_properties),
    ("PUT", "/_api/collection/{name}/properties", change_properties),
    ("GET", "/_api/collection/{name}/count", count),
    ("GET", "/_api/collection/{name}/figures", figures),
    ("GET", "/_api/collection/{name}/revision", revision),
    ("GET", "/_api/collection/{name}/checksum", checksum),
    ("PUT", "/_api/collection/{name}/truncate", truncate),
    ("PUT", "/_api/collection/{name}/rename", rename),
    ("PUT", "/_api/collection/{name}/load", unchanged),
    ("PUT", "/_api/collection/{name}/unload", unchanged),
    ("PUT", "/_api/collection/{name}/compact", unchanged),
    ("PUT", "/_api/collection/{name}/recalculateCount", unchanged),
    ("PUT", "/_api/collection/{name}/loadIndexesIntoMemory", unchanged),
    ("GET", "/_api/index", list_indexes),
    ("POST", "/_api/index", create_index),
    ("GET", "/_api/index/{collection}/{number}", show_index),
    ("DELETE", "/_api/index/{collection}/{number}", drop_index),
)
