"""Databases, collections and indexes of a file: an immutable snapshot and the changes to it.

The snapshot carries the file's catalog version, which every change increments; a transaction compares
the two first of all and so sees what other processes changed.
"""

from __future__ import annotations

import json
import re
import sqlite3
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from .errors import ArangoError

DOCUMENT, EDGE = 2, 3
SYSTEM = "_system"
GRAPHS = "_graphs"
_NAME = re.compile(r"[^\x00-\x1f/:\s0-9.]([^\x00-\x1f/:]*[^\x00-\x1f/:\s])?")
MAX_COLLECTION_NAME, MAX_DATABASE_NAME = 256, 128
"""Bytes, in UTF-8."""
SEQUENCE_BITS = 40

PERSISTENT_TYPES = {"persistent", "hash", "skiplist", "ttl"}
"""Index types that are stored as ordered entries here, whatever they are on a server."""

EXPANSION = "[*]"
KNOWN_INDEXES = 1024
"""How many definitions are not read again when another part of the catalog has changed."""


@dataclass(frozen=True, slots=True)
class Index:
    """A secondary index; `id` is its number in `entries`, or of its first half for edge indexes."""

    id: int
    type: str
    name: str
    fields: tuple[str, ...]
    unique: bool
    sparse: bool
    definition: dict[str, Any] = field(compare=False)
    expanded: bool = False
    """Whether a field is `attribute[*]`, with one entry for each element."""


@dataclass(frozen=True, slots=True)
class Collection:
    id: int
    database: str
    name: str
    properties: dict[str, Any] = field(compare=False)
    indexes: tuple[Index, ...] = ()
    has_rules: bool = False
    """Whether documents are completed or checked before they are stored."""

    @property
    def type(self) -> int:
        kind: int = self.properties["type"]
        return kind

    @property
    def is_edge(self) -> bool:
        return self.type == EDGE

    @property
    def waits_for_sync(self) -> bool:
        """Whether every write to it waits for the disk."""
        return bool(self.properties.get("waitForSync"))

    @property
    def first_id(self) -> int:
        """Ids of its documents are `first_id <= id < last_id`, in the order of insertion."""
        return self.id << SEQUENCE_BITS

    @property
    def last_id(self) -> int:
        return self.id + 1 << SEQUENCE_BITS


@dataclass(frozen=True, slots=True)
class Catalog:
    """All databases of a file at one catalog version."""

    version: int
    databases: dict[str, dict[str, Collection]]
    numbers: dict[str, int]
    """Database name -> its number in the file."""
    expiring: tuple[tuple[Collection, Index], ...] = ()
    """TTL indexes and their collections."""
    syncing: frozenset[int] = frozenset()
    """The numbers of the collections whose writes wait for the disk."""

    def database(self, name: str) -> dict[str, Collection]:
        try:
            return self.databases[name]
        except KeyError:
            raise ArangoError(1228, message=f"database '{name}' not found") from None

    def collection(self, database: str, name: str) -> Collection:
        try:
            return self.databases[database][name]
        except KeyError:
            self.database(database)
            raise ArangoError(1203, message=f"collection or view not found: {name}") from None

    def name_of(self, database: str, name: str) -> str:
        """The name of a collection that may be given by its number; no name begins with a digit."""
        if not name.isdigit():
            return name
        named = self.database(database).values()
        return next((each.name for each in named if str(each.id) == name), name)


def load(sqlite: sqlite3.Connection, version: int) -> Catalog:
    indexes: dict[int, list[Index]] = {}
    for number, owner, text in sqlite.execute("SELECT id, collection, definition FROM indexes ORDER BY id"):
        indexes.setdefault(owner, []).extend(_indexes(number, text))
    numbers = {name: number for number, name in sqlite.execute("SELECT id, name FROM databases ORDER BY id")}
    names = {number: name for name, number in numbers.items()}
    databases: dict[str, dict[str, Collection]] = {name: {} for name in numbers}
    rows = sqlite.execute("SELECT id, database, name, properties FROM collections ORDER BY id")
    for number, owner, name, text in rows:
        database = names[owner]
        owned, properties = tuple(indexes.get(number, ())), json.loads(text)
        has_rules = bool(properties.get("computedValues") or properties.get("schema"))
        databases[database][name] = Collection(number, database, name, properties, owned, has_rules)
    collections = [each for owned in databases.values() for each in owned.values()]
    expiring = [(each, index) for each in collections for index in each.indexes if index.type == "ttl"]
    syncing = frozenset(each.id for each in collections if each.waits_for_sync)
    return Catalog(version, databases, numbers, tuple(expiring), syncing)


@lru_cache(maxsize=KNOWN_INDEXES)
def _indexes(number: int, text: str) -> tuple[Index, ...]:
    """The edge index is one index to its users and two in `entries`: `_from` at `n`, `_to` at `-n`."""
    definition = json.loads(text)
    edge = definition["type"] == "edge"
    ways = ((number, ("_from",)), (-number, ("_to",))) if edge else ((number, tuple(definition["fields"])),)
    return tuple(
        Index(
            way,
            definition["type"],
            definition["name"],
            fields,
            definition["unique"],
            definition["sparse"],
            definition,
            any(EXPANSION in name for name in fields),
        )
        for way, fields in ways
    )


def create_database(sqlite: sqlite3.Connection, catalog: Catalog, name: str) -> None:
    if name in catalog.databases:
        raise ArangoError(1207, message=f"duplicate name: database '{name}' exists")
    if not _is_name(name, MAX_DATABASE_NAME) or name.startswith("_"):
        raise ArangoError(1229)
    number = sqlite.execute("INSERT INTO databases (name) VALUES (?)", (name,)).lastrowid
    properties = {"type": DOCUMENT, "isSystem": True}
    _insert_collection(sqlite, number or 0, GRAPHS, properties)
    bump(sqlite)


def drop_database(sqlite: sqlite3.Connection, catalog: Catalog, name: str) -> None:
    if name == SYSTEM:
        raise ArangoError(11, message="forbidden: the database _system cannot be dropped")
    for collection in catalog.database(name).values():
        drop_collection(sqlite, collection)
    sqlite.execute("DELETE FROM databases WHERE name = ?", (name,))
    bump(sqlite)


def create_collection(
    sqlite: sqlite3.Connection, catalog: Catalog, database: str, name: str, properties: dict[str, Any]
) -> None:
    if name in catalog.database(database):
        raise ArangoError(1207, message=f"duplicate name: collection '{name}' exists")
    check_collection_name(name, properties)
    number = _insert_collection(sqlite, catalog.numbers[database], name, properties)
    if properties["type"] == EDGE:
        definition = {"type": "edge", "name": "edge", "fields": ["_from", "_to"]}
        insert_index(sqlite, number, definition | {"unique": False, "sparse": False})
    bump(sqlite)


def check_collection_name(name: Any, properties: dict[str, Any]) -> None:
    if not _is_name(name, MAX_COLLECTION_NAME) or (name.startswith("_") and not properties.get("isSystem")):
        raise ArangoError(1208, message=f"illegal name: {name!r} is not a collection name")


def _is_name(name: Any, size: int) -> bool:
    """ArangoDB's extended names: any letters, in Unicode's normal form."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return False
    return len(name.encode(errors="replace")) <= size and unicodedata.is_normalized("NFC", name)


def _insert_collection(sqlite: sqlite3.Connection, database: int, name: str, properties: dict[str, Any]) -> int:
    row = (database, name, json.dumps(properties))
    cursor = sqlite.execute("INSERT INTO collections (database, name, properties) VALUES (?, ?, ?)", row)
    return cursor.lastrowid or 0


def set_properties(sqlite: sqlite3.Connection, collection: Collection, properties: dict[str, Any]) -> None:
    row = (json.dumps(properties), collection.id)
    sqlite.execute("UPDATE collections SET properties = ? WHERE id = ?", row)
    bump(sqlite)


def rename_collection(sqlite: sqlite3.Connection, catalog: Catalog, collection: Collection, name: str) -> None:
    check_collection_name(name, collection.properties)
    if name in catalog.database(collection.database):
        raise ArangoError(1207, message=f"duplicate name: collection '{name}' exists")
    sqlite.execute("UPDATE collections SET name = ? WHERE id = ?", (name, collection.id))
    bump(sqlite)


def drop_collection(sqlite: sqlite3.Connection, collection: Collection) -> None:
    truncate(sqlite, collection)
    sqlite.execute("DELETE FROM indexes WHERE collection = ?", (collection.id,))
    sqlite.execute("DELETE FROM counters WHERE collection = ?", (collection.id,))
    sqlite.execute("DELETE FROM sizes WHERE collection = ?", (collection.id,))
    sqlite.execute("DELETE FROM collections WHERE id = ?", (collection.id,))
    bump(sqlite)


def truncate(sqlite: sqlite3.Connection, collection: Collection) -> None:
    for index in collection.indexes:
        sqlite.execute("DELETE FROM entries WHERE idx = ?", (index.id,))
    owned = (collection.first_id, collection.last_id)
    sqlite.execute("DELETE FROM documents WHERE id >= ? AND id < ?", owned)


def insert_index(sqlite: sqlite3.Connection, collection: int, definition: dict[str, Any]) -> int:
    row = (collection, json.dumps(definition))
    number = sqlite.execute("INSERT INTO indexes (collection, definition) VALUES (?, ?)", row).lastrowid
    bump(sqlite)
    return number or 0


def drop_index(sqlite: sqlite3.Connection, index: Index) -> None:
    sqlite.execute("DELETE FROM entries WHERE idx = ?", (index.id,))
    sqlite.execute("DELETE FROM indexes WHERE id = ?", (index.id,))
    bump(sqlite)


def bump(sqlite: sqlite3.Connection) -> None:
    sqlite.execute("UPDATE state SET version = version + 1")


def is_graph(document: dict[str, Any]) -> bool:
    """Whether a document of `_graphs` has a graph's shape; another one was put there by hand and counts for nothing."""
    definitions, orphans = document.get("edgeDefinitions"), document.get("orphanCollections") or []
    return _are_names(orphans) and isinstance(definitions, list) and all(_is_definition(each) for each in definitions)


def _is_definition(value: Any) -> bool:
    ends = isinstance(value, dict) and isinstance(value.get("collection"), str)
    return ends and _are_names(value.get("from")) and _are_names(value.get("to"))


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)
