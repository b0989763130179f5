"""Indexes of collections. Manual: develop/http-api/indexes."""

from __future__ import annotations

import itertools
from copy import deepcopy
from typing import Any

from . import catalog
from .catalog import PERSISTENT_TYPES, Collection, Index
from .errors import ArangoError
from .request import Request, Response, Route, success
from .rights import READ, WRITE
from .storage import Transaction

PRIMARY = {
    "type": "primary",
    "name": "primary",
    "fields": ["_key"],
    "unique": True,
    "sparse": False,
    "selectivityEstimate": 1.0,
}


def _shown_indexes(collection: Collection) -> list[dict[str, Any]]:
    """The primary index, then the others; the edge index counts once."""
    own = [_shown(collection, index) for index in collection.indexes if index.id > 0]
    return [{"id": f"{collection.name}/0", **PRIMARY}, *own]


def _shown(collection: Collection, index: Index) -> dict[str, Any]:
    estimate = {"selectivityEstimate": 1.0} if index.definition.get("estimates", True) else {}
    return {"id": f"{collection.name}/{index.id}", **estimate, **deepcopy(index.definition)}


def list_indexes(request: Request) -> Response:
    with request.transaction() as transaction:
        collection = _named_collection(request, transaction)
    indexes = _shown_indexes(collection)
    return success(200, indexes=indexes, identifiers={index["id"]: index for index in indexes})


def _named_collection(request: Request, transaction: Transaction, need: str = READ) -> Collection:
    name = request.params.get("collection")
    if not name:
        raise ArangoError(1204)
    return request.collection(transaction, str(name), need)


def show_index(request: Request, name: str, number: str) -> Response:
    with request.transaction() as transaction:
        collection = request.collection(transaction, name)
    for index in _shown_indexes(collection):
        if number in (index["id"].partition("/")[2], index["name"]):
            return success(200, **index)
    raise ArangoError(1212)


def create_index(request: Request) -> Response:
    given = request.object(name=str, fields=list, unique=bool, sparse=bool, deduplicate=bool)
    with request.transaction(write=True) as transaction:
        collection = _named_collection(request, transaction, WRITE)
        definition = _definition(given, collection)
        existing = next((each for each in collection.indexes if _same(each, definition)), None)
        if existing is not None:
            return success(200, **_shown(collection, existing), isNewlyCreated=False)
        _check_name(collection, definition["name"])
        _check_only(collection, definition)
        number = catalog.insert_index(transaction.sqlite, collection.id, definition)
        collection = transaction.refresh().collection(request.database, collection.name)
        index = next(each for each in collection.indexes if each.id == number)
        transaction.build_index(collection, index)
        return success(201, **_shown(collection, index), isNewlyCreated=True)


def _check_name(collection: Collection, name: str) -> None:
    if name == PRIMARY["name"] or any(index.name == name for index in collection.indexes):
        raise ArangoError(1207, message=f"duplicate name: index '{name}' exists")


def _check_only(collection: Collection, definition: dict[str, Any]) -> None:
    if definition["type"] == "ttl" and any(index.type == "ttl" for index in collection.indexes):
        raise ArangoError(10, message="bad parameter: there can only be one ttl index per collection")


def _same(index: Index, definition: dict[str, Any]) -> bool:
    compared = ("type", "fields", "unique", "sparse", "expireAfter")
    return all(index.definition.get(key) == definition.get(key) for key in compared)


def _definition(given: dict[str, Any], collection: Collection) -> dict[str, Any]:
    kind = given.get("type")
    if not isinstance(kind, str) or (kind not in PERSISTENT_TYPES and kind != "inverted"):
        raise ArangoError(9, message=f"not implemented: index type {kind!r}, use 'persistent'")
    unnamed = {
        "type": kind,
        "fields": _fields(given.get("fields")),
        "unique": bool(given.get("unique", False)),
        **_ordered(given),
        **_expiry(given),
        **_inverted(given),
    }
    return {**unnamed, "name": given.get("name") or _unused_name(collection)}


def _ordered(given: dict[str, Any]) -> dict[str, bool]:
    if given.get("type") == "ttl":
        return {"sparse": True, "estimates": False}
    assumed = {"sparse": False, "deduplicate": True, "estimates": True, "cacheEnabled": False}
    return {name: bool(given.get(name, value)) for name, value in assumed.items()}


def _fields(given: Any) -> list[str]:
    named = [each.get("name") if isinstance(each, dict) else each for each in given or ()]
    names = [name for name in named if isinstance(name, str) and name]
    if not names or len(set(names)) < len(named):
        raise ArangoError(10, message="bad parameter: an index needs fields, each one once")
    return names


def _expiry(given: dict[str, Any]) -> dict[str, float]:
    """The seconds of a TTL index, which is on one field."""
    if given.get("type") != "ttl":
        return {}
    seconds = given.get("expireAfter")
    if not isinstance(seconds, (int, float)) or seconds < 0 or len(given.get("fields") or ()) != 1:
        raise ArangoError(10, message="bad parameter: a ttl index has one field, and 'expireAfter' in seconds")
    return {"expireAfter": seconds}


INVERTED = {
    "analyzer": "identity",
    "includeAllFields": False,
    "searchField": False,
    "primarySort": {"fields": []},
    "storedValues": [],
    "consolidationPolicy": {"type": "tier"},
}
"""What an inverted index has beside its fields, and the values that are assumed."""


def _inverted(given: dict[str, Any]) -> dict[str, Any]:
    """The properties of an inverted index, which serves comparisons of whole values as a persistent one does."""
    if given.get("type") != "inverted":
        return {}
    parts = [given, *(field for field in given.get("fields") or () if isinstance(field, dict))]
    if any(part.get("analyzer", "identity") != "identity" or part.get("nested") for part in parts):
        raise ArangoError(9, message="not implemented: analyzers and nested fields, use the 'identity' analyzer")
    return {name: given.get(name, assumed) for name, assumed in INVERTED.items()}


def _unused_name(collection: Collection) -> str:
    taken = {index.name for index in collection.indexes}
    return next(name for number in itertools.count(1) if (name := f"idx_{number}") not in taken)


def drop_index(request: Request, name: str, number: str) -> Response:
    with request.transaction(write=True) as transaction:
        collection = request.collection(transaction, name, WRITE)
        index = next((each for each in collection.indexes if number in (str(each.id), each.name)), None)
        if number in ("0", "primary") or (index is not None and index.type == "edge"):
            raise ArangoError(11, message="forbidden: primary and edge indexes cannot be dropped")
        if index is None:
            raise ArangoError(1212)
        catalog.drop_index(transaction.sqlite, index)
    return success(200, id=f"{name}/{index.id}")


ROUTES: tuple[Route, ...] = (
    ("GET", "/_api/index", list_indexes),
    ("POST", "/_api/index", create_index),
    ("GET", "/_api/index/{collection}/{number}", show_index),
    ("DELETE", "/_api/index/{collection}/{number}", drop_index),
)
