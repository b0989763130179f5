"""INSERT, UPDATE, REPLACE, REMOVE and UPSERT. Manual: aql/high-level-operations.

A modification takes in all rows before its first write, so a query never reads what it is writing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .catalog import Collection
from .errors import ArangoError
from .executor import Rows
from .expressions import Eval, Frame
from .storage import PLAIN, Transaction, WriteOptions, Written
from .values import Value, is_true

Write = Callable[[Frame, Transaction, Collection, list[Value], WriteOptions], Written]
"""Writes one row, given the values of the modification's expressions on it."""

FLAGS = ("keepNull", "mergeObjects", "ignoreRevs")
"""True unless a statement says otherwise."""
OVERWRITE_MODES = ("conflict", "ignore", "replace", "update")


@dataclass(slots=True)
class Modify:
    """One modification: `values` are evaluated when a row comes in, `write` runs after all came in."""

    kind: str
    collection: str
    values: list[Eval]
    write: Write
    options: Eval | None
    old: int | None
    new: int | None
    block: slice

    def rows(self, source: Rows, frame: Frame) -> Rows:
        context = frame[0]
        collection = context.collection(self.collection)
        options, lenient = self._options(frame)
        gathered = [([value(frame) for value in self.values], frame[self.block]) for _ in source]
        for values, row in gathered:
            frame[self.block] = row
            try:
                old, new = self.write(frame, context.transaction, collection, values, options)
            except ArangoError:
                if not lenient:
                    raise
                context.ignored += 1
                continue
            if old is new:
                context.ignored += 1
            else:
                context.writes += 1
            if self.old is not None:
                frame[self.old] = old
            if self.new is not None:
                frame[self.new] = new
            yield

    def _options(self, frame: Frame) -> tuple[WriteOptions, bool]:
        """How to write, and whether to go on after errors."""
        given = self.options(frame) if self.options is not None else {}
        return write_options(given), is_true(given.get("ignoreErrors"))

    def explain(self) -> dict[str, Any]:
        return {"type": self.kind, "collection": self.collection}


def write_options(given: dict[str, Any]) -> WriteOptions:
    if not given:
        return PLAIN
    mode = given.get("overwriteMode") or ("replace" if is_true(given.get("overwrite")) else "conflict")
    if mode not in OVERWRITE_MODES:
        raise ArangoError(10, message=f"bad parameter: overwriteMode {mode!r}")
    keep_null, merge_objects, ignore_revs = (is_true(given.get(name, True)) for name in FLAGS)
    version = given.get("versionAttribute")
    return WriteOptions(mode, keep_null, merge_objects, ignore_revs, version if isinstance(version, str) else "")


def insert(
    frame: Frame, transaction: Transaction, collection: Collection, values: list[Value], options: WriteOptions
) -> Written:
    return transaction.insert(collection, values[0], options)


def change(event: str) -> Write:
    """REPLACE or UPDATE."""

    def write(
        frame: Frame, transaction: Transaction, collection: Collection, values: list[Value], options: WriteOptions
    ) -> Written:
        selector, content = values[0], values[-1]
        key, rev = _key(collection, selector), _expected(selector, options)
        return transaction.change(event, collection, key, content, options, rev)

    return write


def remove(
    frame: Frame, transaction: Transaction, collection: Collection, values: list[Value], options: WriteOptions
) -> Written:
    return transaction.remove(collection, _key(collection, values[0]), _expected(values[0], options))


def upsert(find: Eval, document: Eval, content: Eval, old: int, event: str) -> Write:
    """Looks for the document when it is the row's turn, as an earlier row may have inserted it."""

    def write(
        frame: Frame,
        transaction: Transaction,
        collection: Collection,
        values: list[Value],
        options: WriteOptions,
    ) -> Written:
        found = find(frame)
        if not found:
            return transaction.insert(collection, document(frame), options)
        frame[old] = found[0]
        return transaction.change(event, collection, found[0]["_key"], content(frame), options)

    return write


def _key(collection: Collection, selector: Value) -> str:
    """The key that a string or an object with `_key` or `_id` names."""
    if isinstance(selector, str):
        return selector
    if not isinstance(selector, dict):
        raise ArangoError(1227, message="invalid document type: expecting an object or a string")
    key = selector.get("_key")
    key = key if key is not None else _key_of_id(collection, selector.get("_id"))
    if key is None:
        raise ArangoError(1226)
    if not isinstance(key, str) or not key:
        raise ArangoError(1221)
    return key


def _key_of_id(collection: Collection, handle: Value) -> Value:
    prefix = f"{collection.name}/"
    return handle[len(prefix) :] if isinstance(handle, str) and handle.startswith(prefix) else None


def _expected(selector: Value, options: WriteOptions) -> str | None:
    return None if options.ignore_revs or not isinstance(selector, dict) else selector.get("_rev")
