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

OVERWRITE_MODES = ("conflict", "ignore", "replace", "update")


@dataclass(slots=True)
class Modify:
    """One modification: `values` are evaluated when a row comes in, `write` runs after all came in."""

    kind: str
    collection: str
    values: list[Eval]
    write: Write
    options: Eval | None
    old: int
    new: int
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
            if old is None and new is None:
                context.ignored += 1
            else:
                context.writes += 1
            frame[self.old], frame[self.new] = old, new
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
    flags = (is_true(given.get(name, True)) for name in ("keepNull", "mergeObjects", "ignoreRevs"))
    return WriteOptions(mode, *flags)


def insert(
    frame: Frame, transaction: Transaction, collection: Collection, values: list[Value], options: WriteOptions
) -> Written:
    return transaction.insert(collection, values[0], options)


def update(
    frame: Frame, transaction: Transaction, collection: Collection, values: list[Value], options: WriteOptions
) -> Written:
    selector, patch = values[0], values[-1]
    rev = _expected(selector, options)
    return transaction.update(collection, _key(collection, selector), patch, options, rev)


def replace(
    frame: Frame, transaction: Transaction, collection: Collection, values: list[Value], options: WriteOptions
) -> Written:
    selector, document = values[0], values[-1]
    rev = _expected(selector, options)
    return transaction.replace(collection, _key(collection, selector), document, options, rev)


def remove(
    frame: Frame, transaction: Transaction, collection: Collection, values: list[Value], options: WriteOptions
) -> Written:
    return transaction.remove(collection, _key(collection, values[0]), _expected(values[0], options))


def upsert(find: Eval, document: Eval, patch: Eval, old: int, replaces: bool) -> Write:
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
        change = transaction.replace if replaces else transaction.update
        return change(collection, found[0]["_key"], patch(frame), options)

    return write


def _key(collection: Collection, selector: Value) -> str:
    """The key that a string or an object with `_key` or `_id` names."""
    if isinstance(selector, dict):
        key = selector.get("_key")
        selector = key if key is not None else _key_of_id(collection, selector.get("_id"))
    if not isinstance(selector, str) or not selector:
        raise ArangoError(1221)
    return selector


def _key_of_id(collection: Collection, handle: Value) -> Value:
    prefix = f"{collection.name}/"
    return handle[len(prefix) :] if isinstance(handle, str) and handle.startswith(prefix) else None


def _expected(selector: Value, options: WriteOptions) -> str | None:
    return None if options.ignore_revs or not isinstance(selector, dict) else selector.get("_rev")
