"""The whole graph as JSON lines, and back.

The first line is a header, then follow the documents, nodes before edges before the audit, each with its `_id`; the
last line has their number and the checksum of all lines before it, by which a file that was cut off is known.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypedDict

from arangopipe_ops import model
from arangopipe_ops.errors import ArangopipeError, Invalid, NotProvisioned
from arangopipe_ops.model import AUDIT, Document, Schema
from arangopipe_ops.store.execution import driver_errors
from arangopipe_ops.store.statements import NOW

if TYPE_CHECKING:
    from arango.database import StandardDatabase

FORMAT, VERSION = "arangopipe", 1
READ_BATCH = 1000
LOAD_BATCH = 1000
LOAD_BYTES = 4 * 1024 * 1024
FETCH_SECONDS = 600
"""How long the database keeps what is left of a collection for a reader that is slow."""


class Loaded(TypedDict):
    """What became of the documents of an export."""

    created: int
    revised: int
    same: int


_COUNT = "[@n{i}]: LENGTH(FOR d IN @@c{i} {filter}RETURN 1)"

_DOCUMENTS = 'FOR d IN @@c {filter}RETURN UNSET(d, "_rev")'

# What admin left in the audit of provisioning and of added types is about this database, not about the graph.
_HISTORY = 'FILTER d.provisioned == null AND LEFT(d._key, 9) != "extension" '

LOAD = f"""{NOW}
LET seen = (FOR doc IN @docs
  LET old = FIRST(FOR d IN @@c FILTER d._key == doc._key RETURN d)
  LET verb = old == null ? "create" : UNSET(old, "_rev") == doc ? "same" : @on_conflict
  RETURN {{doc, old, verb}})
LET conflicts = seen[* FILTER CURRENT.verb == "fail" RETURN CURRENT.old]
LET rows = LENGTH(conflicts) == 0 ? ["create", "revise"] : []
LET written = (FOR s IN seen FILTER s.verb IN rows
  INSERT UNSET(s.doc, "_id") INTO @@c OPTIONS {{overwriteMode: "replace"}}
  RETURN {{id: NEW._id, old: s.old}})"""

AUDITED = """
LET replaced = written[* FILTER CURRENT.old != null]
LET entry = (FOR once IN LENGTH(replaced) > 0 ? [1] : []
  INSERT MERGE(@audit, {at: now, touched: replaced[*].id, created: [], replaced: replaced[*].old})
  INTO @@audit
  RETURN NEW._key)"""

ANSWER = "\nRETURN {conflicts, verbs: seen[*].verb}"


def export(db: "StandardDatabase", schema: Schema) -> Iterator[str]:
    """Yield the lines of an export, all of one moment: a read transaction spans the collections."""
    names = [*(node.collection for node in schema.nodes.values()), *schema.edges, AUDIT]
    with driver_errors():
        snapshot = db.begin_transaction(read=names, allow_implicit=False)
    checksum, total = hashlib.sha256(), 0
    try:
        with driver_errors():
            header = _header(snapshot, names)
            yield _signed(header | {"extension": model.extension(schema)}, checksum)
            for name in names:
                for document in _documents(snapshot, name):
                    total += 1
                    yield _signed(document, checksum)
            yield _signed({"documents": total, "checksum": checksum.hexdigest()}, checksum)
    finally:
        with suppress(ArangopipeError), driver_errors():  # a failure would hide why the reading stopped
            snapshot.abort_transaction()


def _header(snapshot: Any, names: list[str]) -> Document:
    counts = ", ".join(_COUNT.format(i=i, filter=_filter(name)) for i, name in enumerate(names))
    binds = {f"n{i}": name for i, name in enumerate(names)} | {f"@c{i}": name for i, name in enumerate(names)}
    [found] = snapshot.aql.execute(f"RETURN {{{counts}}}", bind_vars=binds)
    return {"format": FORMAT, "version": VERSION, "counts": found}


def _filter(name: str) -> str:
    return _HISTORY if name == AUDIT else ""


def _documents(snapshot: Any, name: str) -> Iterator[Document]:
    text = _DOCUMENTS.format(filter=_filter(name))
    options = {"batch_size": READ_BATCH, "stream": True, "ttl": FETCH_SECONDS}
    yield from snapshot.aql.execute(text, bind_vars={"@c": name}, **options)


def _signed(value: Mapping[str, Any], checksum: Any) -> str:
    line = model.canonical_text(value) + "\n"
    checksum.update(line.encode())
    return line


class Reader:
    """The lines of an export, read: first the header, then its documents by collection in batches."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = enumerate(lines, 1)
        self._checksum = hashlib.sha256()
        self.header = self._opened()

    @property
    def total(self) -> int:
        return sum(self.header["counts"].values())

    @property
    def schema(self) -> Schema:
        """The node and edge types of the graph that was exported."""
        return model.extended(self.header["extension"])

    def _opened(self) -> Document:
        for number, line in self._lines:
            header = self._parsed(number, line)
            if header.get("format") != FORMAT or not isinstance(header.get("counts"), dict):
                raise _invalid(number, f"is not the header of an export in the format {FORMAT!r}")
            if header.get("version") != VERSION:
                raise _invalid(number, f"version {header.get('version')!r} is not {VERSION}; use a newer release")
            return header
        raise Invalid("", "the file is empty")

    def batches(self) -> Iterator[tuple[str, list[Document]]]:
        """Yield documents of one collection, a bounded number at once. Raises Invalid, naming the line."""
        waiting: list[Document] = []
        size, collection, read, number = 0, "", 0, 1
        for number, line in self._lines:
            before = self._checksum.hexdigest()
            row = self._parsed(number, line)
            if "_id" not in row:
                if waiting:
                    yield collection, waiting
                return self._check(number, row, read, before)
            name = str(row["_id"]).partition("/")[0]
            if name not in self.header["counts"]:
                raise _invalid(number, f"is of a collection {name!r} that the header does not name")
            if waiting and (name != collection or len(waiting) >= LOAD_BATCH or size + len(line) > LOAD_BYTES):
                yield collection, waiting
                waiting, size = [], 0
            collection = name
            waiting.append(row)
            size += len(line)
            read += 1
        if waiting:
            yield collection, waiting
        raise _invalid(number, f"is the last, with {read:,} of {self.total:,} documents: the file was cut off")

    def _parsed(self, number: int, line: str) -> Document:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise _invalid(number, f"is not JSON ({error}); the file was cut off or changed") from None
        if not isinstance(row, dict):
            raise _invalid(number, "is not a JSON object")
        self._checksum.update(line.rstrip("\r\n").encode() + b"\n")
        return row

    def _check(self, number: int, trailer: Document, read: int, checksum: str) -> None:
        if trailer.get("documents") != read or trailer.get("checksum") != checksum:
            raise _invalid(number, "does not agree with the lines before it: the file was changed")
        for number, line in self._lines:
            if line.strip():
                raise _invalid(number, "follows the end of the export")


def _invalid(number: int, problem: str) -> Invalid:
    error = Invalid("", problem)
    error.where = f"line {number}"
    return error


def load_text(collection: str) -> str:
    """Return the statement that loads documents of a collection; what it replaces is filed in the audit."""
    return LOAD + ("" if collection == AUDIT else AUDITED) + ANSWER


def lacking(schema: Schema, wanted: Schema) -> list[str]:
    """Return the types of an export that a graph has not."""
    return [*(wanted.nodes.keys() - schema.nodes.keys()), *(wanted.edges.keys() - schema.edges.keys())]


def check_types(schema: Schema, wanted: Schema) -> None:
    """Raise NotProvisioned if a graph has not all types of an export."""
    if missing := lacking(schema, wanted):
        raise NotProvisioned(
            f"this database has not the types {', '.join(missing)} of the export. "
            "Add them with arangopipe_ops.admin.extend, or give load a function that does as `extend`."
        )
