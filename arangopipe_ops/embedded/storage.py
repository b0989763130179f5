"""Transactions on a database file, and the documents, edges and index entries in them."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import chain, count, islice, repeat
from math import floor
from pathlib import Path
from typing import Any, TypeAlias

from . import catalog as catalogs
from . import keys, rules
from .catalog import Catalog, Collection, Index
from .connection import BUSY_SECONDS, ConnectionPool, failure, flush
from .errors import ArangoError, RevisionConflict
from .expiry import EXPIRY_SECONDS, expire
from .indexing import entries_of, index_values
from .values import HIGHEST, dump_json, encode, is_number

Document: TypeAlias = dict[str, Any]
Range: TypeAlias = tuple[bytes, bytes]
"""Entries of an index, from the first to before the second."""
Written: TypeAlias = tuple[Document | None, Document | None]
"""The document before and after a write."""

REVISION_ALPHABET = "-_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_HANDLE = re.compile(r"[^/]{1,256}/[A-Za-z0-9_\-:.@()+,=;$!*'%]{1,254}")
_SYSTEM_ATTRIBUTES = frozenset(("_key", "_id", "_rev"))
_EDGE_ATTRIBUTES = frozenset(("_key", "_id", "_rev", "_from", "_to"))
COUNTER_BITS = 20
PARAMETERS = 500
"""How many values one statement asks for at most."""
RANGES = 256
"""In how many ranges of an index one statement looks at most."""
BATCH = 256
"""How many documents are read at a time at most; the first time it is one, and each time twice as many."""

_decode = json.JSONDecoder().raw_decode
"""Of bodies, which are JSON without a space around it, at half the cost of `json.loads`."""


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How a write treats what is there already; defaults as in AQL. Manual: aql/high-level-operations."""

    overwrite_mode: str = "conflict"
    keep_null: bool = True
    merge_objects: bool = True
    ignore_revs: bool = True
    version_attribute: str = ""
    """An attribute with the caller's own version: a change with one that is not higher does nothing."""


PLAIN = WriteOptions()


Stamp: TypeAlias = tuple[int, int]
"""A state of the file: the catalog's version, and the tick of the newest commit, which each commit increases."""
Listener: TypeAlias = Callable[[int, int, set[int]], None]
"""Told of a commit: the tick before and after it, and the numbers of the collections that were written to."""


class Storage:
    """A database file."""

    listener: Listener | None = None

    def __init__(self, path: Path, busy_seconds: float = BUSY_SECONDS) -> None:
        self.path = path
        self.pool = ConnectionPool(path, busy_seconds)
        self._catalog: Catalog | None = None
        self._next_expiry = 0.0

    @contextmanager
    def transaction(self, write: bool, sync: bool = False) -> Iterator[Transaction]:
        """All or nothing of what happens inside; with `sync` it is on disk when this returns."""
        with self.pool.use() as sqlite:
            try:
                if sync:
                    sqlite.execute("PRAGMA synchronous = FULL")
                transaction = self.begin(sqlite, write)
                yield transaction
                transaction.commit()
            except sqlite3.Error as error:
                raise failure(error, self.path) from error
            finally:
                if sqlite.in_transaction:
                    sqlite.execute("ROLLBACK")
                if sync:
                    sqlite.execute("PRAGMA synchronous = NORMAL")

    def begin(self, sqlite: sqlite3.Connection, write: bool) -> Transaction:
        """Begin a transaction that the caller commits or rolls back."""
        sqlite.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        version, tick = sqlite.execute("SELECT version, tick FROM state").fetchone()
        catalog = self._catalog
        if catalog is None or catalog.version != version:
            catalog = self._catalog = catalogs.load(sqlite, version)
        transaction = Transaction(self, sqlite, catalog, tick, write)
        if write and catalog.expiring and time.monotonic() > self._next_expiry:
            self._next_expiry = time.monotonic() + EXPIRY_SECONDS
            expire(transaction)
        return transaction

    def learn(self, catalog: Catalog) -> None:
        """Take over a catalog that was committed, for the next transactions that begin at its version."""
        self._catalog = catalog


class Transaction:
    """One SQLite transaction; `tick` is the hybrid logical clock that keys and revisions come from."""

    writable: frozenset[str] | None = None
    """The collections that a stream transaction may write to; None for any."""

    def __init__(
        self, storage: Storage, sqlite: sqlite3.Connection, catalog: Catalog, before: int, write: bool
    ) -> None:
        self.sqlite = sqlite
        self.catalog = catalog
        self.tick = max(before, time.time_ns() // 1_000_000 << COUNTER_BITS)
        self.stamp: Stamp = (catalog.version, before)
        self._storage = storage
        self._write = write
        self._refreshed: Catalog | None = None
        self._written: set[int] = set()
        self._last_ids: dict[int, int] = {}

    def commit(self) -> None:
        if not self._write:
            self.sqlite.execute("COMMIT")
            return
        self.sqlite.execute("UPDATE state SET tick = ?", (self.next_tick(),))
        self.sqlite.execute("COMMIT")
        if self._refreshed is not None:
            self._storage.learn(self._refreshed)
        if not self.catalog.syncing.isdisjoint(self._written):
            flush(self._storage.path)
        if self._storage.listener is not None:
            self._storage.listener(self.stamp[1], self.tick, self._written)

    def refresh(self) -> Catalog:
        """The catalog with what this transaction has changed in it."""
        (version,) = self.sqlite.execute("SELECT version FROM state").fetchone()
        self.catalog = self._refreshed = catalogs.load(self.sqlite, version)
        return self.catalog

    # reading

    def get(self, collection: Collection, key: Any) -> Document | None:
        row = self._row(collection, key) if isinstance(key, str) else None
        return None if row is None else _document(collection.name, key, row[1], row[2])

    def _row(self, collection: Collection, key: str) -> tuple[int, str, str] | None:
        sql = "SELECT id, rev, body FROM documents WHERE collection = ? AND key = ?"
        row: tuple[int, str, str] | None = self.sqlite.execute(sql, (collection.id, key)).fetchone()
        return row

    def get_many(self, collection: Collection, keys: Iterable[str], body: bool = True) -> Iterator[Document]:
        """The documents of these keys that exist, in no particular order."""
        sql = f"SELECT {_columns(body)} FROM documents d WHERE d.collection = ? AND d.key IN ({{}})"
        for chunk in _chunks(list(keys)):
            yield from self._documents(collection, sql.format(_marks(chunk)), (collection.id, *chunk))

    def scan(self, collection: Collection, body: bool = True, loop: int = 0) -> Iterator[Document]:
        return self._documents(collection, _scan(body, loop), (collection.first_id, collection.last_id))

    def between(
        self,
        collection: Collection,
        index: int,
        low: bytes,
        high: bytes,
        descending: bool,
        body: bool = True,
        loop: int = 0,
    ) -> Iterator[Document]:
        """Documents whose entry in the index is `low <= entry < high`, in the order of the index."""
        cursor = self.sqlite.execute(_between(body, descending, loop), (index, low, high))
        return chain.from_iterable(_batches(cursor, collection.name))

    def between_each(
        self, collection: Collection, index: int, ranges: Iterable[Range], body: bool = True, loop: int = 0
    ) -> Iterator[tuple[int, Document]]:
        """Documents of many ranges of an index, range by range and in its order, each with the number of its range."""
        waiting = iter(ranges)
        for start in count(0, RANGES):
            chunk = list(islice(waiting, RANGES))
            if not chunk:
                return
            size = 1 << (len(chunk) - 1).bit_length()
            bounds = [*chain.from_iterable(chunk), *repeat(None, 2 * (size - len(chunk)))]
            cursor = self.sqlite.execute(_between_each(body, size, loop), (*bounds, index))
            for number, key, rev, content in _rows(cursor):
                yield start + number, _document(collection.name, key, rev, content)

    def rows(self, collection: Collection) -> Iterator[object]:
        """Something for each document, which costs less than reading it."""
        sql = "SELECT id FROM documents WHERE id >= ? AND id < ?"
        return self.sqlite.execute(sql, (collection.first_id, collection.last_id))

    def rows_between(self, index: int, low: bytes, high: bytes) -> Iterator[object]:
        """The same of the documents whose entry in the index is `low <= entry < high`; equal ones are one document."""
        return self.sqlite.execute(
            "SELECT document FROM entries WHERE idx = ? AND value >= ? AND value < ?", (index, low, high)
        )

    def count_between(self, index: int, low: bytes, high: bytes, most: int | None) -> int:
        """How many entries of the index are `low <= entry < high`, up to `most`."""
        sql = "SELECT count(*) FROM (SELECT 1 FROM entries WHERE idx = ? AND value >= ? AND value < ? LIMIT ?)"
        (number,) = self.sqlite.execute(sql, (index, low, high, -1 if most is None else most)).fetchone()
        return int(number)

    def edges(self, owners: Mapping[int, str], ends: Sequence[str]) -> Iterator[tuple[int, Document]]:
        """Edges that have one of the ids `ends` at the end that an edge index is on, with that index.

        `owners` names the edge collection of each index.
        """
        sql = (
            "SELECT e.idx, d.key, d.rev, d.body FROM entries e CROSS JOIN documents d ON d.id = e.document"
            " WHERE e.idx IN ({}) AND e.value IN ({}) ORDER BY e.idx, e.value, e.document"
        )
        for chunk in _chunks([encode(end) for end in ends]):
            statement = sql.format(_marks(list(owners)), _marks(chunk))
            for index, key, rev, body in self.sqlite.execute(statement, (*owners, *chunk)):
                yield index, _document(owners[index], key, rev, body)

    def count(self, collection: Collection) -> int:
        row = self.sqlite.execute("SELECT documents FROM sizes WHERE collection = ?", (collection.id,)).fetchone()
        return 0 if row is None else int(row[0])

    def _documents(self, collection: Collection, sql: str, parameters: tuple[Any, ...]) -> Iterator[Document]:
        cursor = self.sqlite.execute(sql, parameters)
        return chain.from_iterable(_batches(cursor, collection.name))

    # writing

    def insert(self, collection: Collection, value: Any, options: WriteOptions = PLAIN) -> Written:
        _check_object(value)
        key = value.get("_key")
        key = keys.generate(self, collection) if key is None else keys.accept(self, collection, key)
        if collection.has_rules:
            if options.overwrite_mode != "conflict" and self._row(collection, key) is not None:
                return self._overwrite(collection, key, value, options)
            value = rules.prepared(self, collection, value | {"_key": key}, None, rules.INSERT)
        document, body = self._compose(collection, key, value)
        number = self._next_id(collection)
        sql = "INSERT INTO documents VALUES (?, ?, ?, ?, ?) ON CONFLICT (collection, key) DO NOTHING"
        cursor = self.sqlite.execute(sql, (number, collection.id, key, document["_rev"], body))
        if cursor.rowcount == 0:
            return self._overwrite(collection, key, value, options)
        try:
            entries = self._new_entries(collection, document, number)
        except ArangoError:
            self.sqlite.execute("DELETE FROM documents WHERE id = ?", (number,))
            raise
        self._last_ids[collection.id] = number
        self._written.add(collection.id)
        self._add_entries(number, entries)
        return None, document

    def _overwrite(self, collection: Collection, key: str, value: Document, options: WriteOptions) -> Written:
        if options.overwrite_mode == "ignore":
            return None, None
        if options.overwrite_mode in (rules.REPLACE, rules.UPDATE):
            return self.change(options.overwrite_mode, collection, key, value, options)
        raise _violation("primary", "primary", ("_key",), key)

    def change(
        self,
        event: str,
        collection: Collection,
        key: Any,
        value: Any,
        options: WriteOptions = PLAIN,
        rev: str | None = None,
    ) -> Written:
        """Replace a document by `value`, or update it with what is in it: `event` is REPLACE or UPDATE."""
        number, old = self._existing(collection, key, rev or _expected(value, options))
        _check_object(value)
        if _is_outdated(old, value, options.version_attribute):
            return old, old
        content = value if event == rules.REPLACE else merge(old, value, options)
        return old, self._rewrite(collection, number, old, content, event)

    def remove(self, collection: Collection, key: Any, rev: str | None = None) -> Written:
        number, old = self._existing(collection, key, rev)
        self._written.add(collection.id)
        self._drop_entries(number, entries_of(collection, old))
        self.sqlite.execute("DELETE FROM documents WHERE id = ?", (number,))
        return old, None

    def _existing(self, collection: Collection, key: Any, rev: str | None) -> tuple[int, Document]:
        row = self._row(collection, key) if isinstance(key, str) else None
        if row is None:
            raise ArangoError(1202, message=f"document not found: {collection.name}/{key}")
        number, stored, body = row
        if rev is not None and rev != stored:
            raise RevisionConflict({"_id": f"{collection.name}/{key}", "_key": key, "_rev": stored})
        return number, _document(collection.name, key, stored, body)

    def _rewrite(self, collection: Collection, number: int, old: Document, value: Document, event: str) -> Document:
        key = old["_key"]
        if collection.has_rules:
            value = rules.prepared(self, collection, value | {"_key": key}, old, event)
        document, body = self._compose(collection, key, value)
        self._written.add(collection.id)
        before = set(entries_of(collection, old))
        after = set(self._new_entries(collection, document, number))
        self._drop_entries(number, before - after)
        self._add_entries(number, after - before)
        sql = "UPDATE documents SET rev = ?, body = ? WHERE id = ?"
        self.sqlite.execute(sql, (document["_rev"], body, number))
        return document

    def next_tick(self) -> int:
        self.tick += 1
        return self.tick

    def _compose(self, collection: Collection, key: str, value: Document) -> tuple[Document, str]:
        """The document as it is read, system attributes first, and its body as it is stored."""
        rev = render_revision(self.next_tick())
        if collection.is_edge:
            ends = {"_from": _handle(value, "_from"), "_to": _handle(value, "_to")}
            body = ends | {name: item for name, item in value.items() if name not in _EDGE_ATTRIBUTES}
        else:
            body = {name: item for name, item in value.items() if name not in _SYSTEM_ATTRIBUTES}
        return {"_key": key, "_id": f"{collection.name}/{key}", "_rev": rev} | body, dump_json(body)

    def _next_id(self, collection: Collection) -> int:
        last = self._last_ids.get(collection.id)
        if last is None:
            sql = "SELECT max(id) FROM documents WHERE id >= ? AND id < ?"
            (last,) = self.sqlite.execute(sql, (collection.first_id, collection.last_id)).fetchone()
        return collection.first_id if last is None else last + 1

    def truncate(self, collection: Collection) -> None:
        catalogs.truncate(self.sqlite, collection)
        self._written.add(collection.id)
        self._last_ids.pop(collection.id, None)

    # index entries

    def _new_entries(self, collection: Collection, document: Document, number: int) -> list[tuple[int, bytes]]:
        entries = entries_of(collection, document)
        for index in collection.indexes:
            if index.unique:
                self._check_unique(index, entries, number)
        return entries

    def _check_unique(self, index: Index, entries: list[tuple[int, bytes]], number: int) -> None:
        sql = (
            "SELECT d.key FROM entries e JOIN documents d ON d.id = e.document"
            " WHERE e.idx = ? AND e.value = ? AND e.document <> ?"
        )
        for entry in entries:
            if entry[0] == index.id:
                row = self.sqlite.execute(sql, (*entry, number)).fetchone()
                if row is not None:
                    raise _violation(index.name, index.type, index.fields, row[0])

    def _add_entries(self, number: int, entries: Iterable[tuple[int, bytes]]) -> None:
        rows = [(index, value, number) for index, value in entries]
        self.sqlite.executemany("INSERT INTO entries VALUES (?, ?, ?)", rows)

    def _drop_entries(self, number: int, entries: Iterable[tuple[int, bytes]]) -> None:
        rows = [(index, value, number) for index, value in entries]
        self.sqlite.executemany("DELETE FROM entries WHERE idx = ? AND value = ? AND document = ?", rows)

    def build_index(self, collection: Collection, index: Index) -> None:
        """Fill a new index with the documents that are there."""
        sql = "SELECT id, key, rev, body FROM documents WHERE id >= ? AND id < ? ORDER BY id"
        rows = self.sqlite.execute(sql, (collection.first_id, collection.last_id)).fetchall()
        for number, key, rev, body in rows:
            document = _document(collection.name, key, rev, body)
            entries = [(index.id, value) for value in index_values(index, document)]
            if index.unique:
                self._check_unique(index, entries, number)
            self._add_entries(number, entries)


def _columns(body: bool) -> str:
    return "d.key, d.rev, d.body" if body else "d.key, d.rev, NULL"


# While a statement is in use, sqlite3 prepares its text anew for each further use, which costs more than a look-up:
# so loops that may run inside of each other have texts of their own.


@cache
def _scan(body: bool, loop: int) -> str:
    return f"SELECT {_columns(body)} FROM documents d WHERE d.id >= ? AND d.id < ? ORDER BY d.id -- {loop}"


@cache
def _between(body: bool, descending: bool, loop: int) -> str:
    order = "DESC" if descending else "ASC"
    return (
        f"SELECT {_columns(body)} FROM entries e CROSS JOIN documents d ON d.id = e.document"
        " WHERE e.idx = ? AND e.value >= ? AND e.value < ?"
        f" ORDER BY e.value {order}, e.document {order} -- {loop}"
    )


@cache
def _between_each(body: bool, size: int, loop: int) -> str:
    """Joined crosswise, SQLite goes through the ranges one by one, and through the entries of each in their order."""
    ranges = ",".join(f"({number},?,?)" for number in range(size))
    return (
        f"WITH ranges (number, low, high) AS (VALUES {ranges}) SELECT number, {_columns(body)} FROM ranges"
        " CROSS JOIN entries e ON e.idx = ? AND e.value >= low AND e.value < high"
        f" CROSS JOIN documents d ON d.id = e.document -- {loop}"
    )


def _batches(cursor: sqlite3.Cursor, collection: str) -> Iterator[list[Document]]:
    for rows in _fetched(cursor):
        yield [_document(collection, key, rev, body) for key, rev, body in rows]


def _rows(cursor: sqlite3.Cursor) -> Iterator[Any]:
    return chain.from_iterable(_fetched(cursor))


def _fetched(cursor: sqlite3.Cursor) -> Iterator[list[Any]]:
    size = 1
    while rows := cursor.fetchmany(size):
        yield rows
        size = min(2 * size, BATCH)


def _chunks(values: list[Any]) -> Iterator[list[Any]]:
    """Padded to powers of two by repetition, so that few different statements are prepared."""
    for start in range(0, len(values), PARAMETERS):
        chunk = values[start : start + PARAMETERS]
        yield chunk + chunk[-1:] * ((1 << (len(chunk) - 1).bit_length()) - len(chunk))


def _marks(values: Sequence[Any]) -> str:
    return ",".join("?" * len(values))


def _document(collection: str, key: str, rev: str, body: str | None) -> Document:
    document = {"_key": key, "_id": f"{collection}/{key}", "_rev": rev}
    if body is not None:
        document |= _decode(body)[0]
    return document


def _check_object(value: Any) -> None:
    if not isinstance(value, dict):
        raise ArangoError(1227, message="invalid document type: expecting an object")


def _handle(value: Document, end: str) -> str:
    handle = value.get(end)
    if not isinstance(handle, str) or not _HANDLE.fullmatch(handle):
        raise ArangoError(1233)
    return handle


def _expected(value: Any, options: WriteOptions) -> str | None:
    return None if options.ignore_revs or not isinstance(value, dict) else value.get("_rev")


def _is_outdated(old: Document, value: Document, attribute: str) -> bool:
    if not attribute:
        return False
    before: Any = old.get(attribute)
    after: Any = value.get(attribute)
    return is_number(before) and is_number(after) and 0 <= floor(after) <= floor(before)


def _violation(name: str, kind: str, fields: Sequence[str], key: str) -> ArangoError:
    attributes = ", ".join(fields)
    message = f"unique constraint violated - in index {name} of type {kind} over '{attributes}'"
    return ArangoError(1210, message=f"{message}; conflicting key: {key}")


def merge(old: Document, patch: Document, options: WriteOptions) -> Document:
    """`old` with the attributes of `patch`, as UPDATE combines them."""
    merged = dict(old)
    for name, value in patch.items():
        before = merged.get(name)
        if value is None and not options.keep_null:
            merged.pop(name, None)
        elif isinstance(value, dict) and (isinstance(before, dict) or not options.keep_null):
            kept = before if isinstance(before, dict) and options.merge_objects else {}
            merged[name] = merge(kept, value, options)
        else:
            merged[name] = value
    return merged


def prefix_range(prefix: bytes) -> tuple[bytes, bytes]:
    """Bounds of all entries that begin with the encoded values of `prefix`."""
    return prefix, prefix + HIGHEST


def render_revision(tick: int) -> str:
    chars = []
    while tick:
        chars.append(REVISION_ALPHABET[tick & 63])
        tick >>= 6
    return "".join(reversed(chars))


def parse_revision(rev: str) -> int:
    """Raises ValueError if `rev` is not a revision."""
    tick = 0
    for char in rev:
        tick = tick << 6 | REVISION_ALPHABET.index(char)
    return tick
