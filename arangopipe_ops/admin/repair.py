"""The cures of what `doctor` finds that take more than one call elsewhere. The audit keeps what they replace."""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from arangopipe_ops import model
from arangopipe_ops.admin.extension import KEY
from arangopipe_ops.admin.filing import entry
from arangopipe_ops.admin.provisioning import stored_extension
from arangopipe_ops.admin.scans import Fault, Progress, Scan, digest_of, edge_text, mended_slot
from arangopipe_ops.admin.structure import collections_of
from arangopipe_ops.errors import Conflict, Invalid, NotFound
from arangopipe_ops.model import AUDIT, SCHEMA, Document, Schema
from arangopipe_ops.store import Store, driver_errors
from arangopipe_ops.store.execution import execute

if TYPE_CHECKING:
    from arango.database import StandardDatabase

_AT_ONCE = 500

_REMOVE = """LET now = DATE_ISO8601(DATE_NOW())
LET bad = (FOR r IN rows FILTER r.fault == @fault
  FOR d IN @@e FILTER d._key == r._key RETURN d)
LET removed = (FOR d IN bad REMOVE d._key IN @@e RETURN OLD._id)
LET filed = (FOR once IN LENGTH(bad) > 0 ? [1] : []
  INSERT MERGE(@entry, {at: now, touched: bad[*]._id, created: [], removed: bad[*]._id, replaced: bad}) INTO @@audit
  RETURN 1)
RETURN removed"""

_REWRITE = """LET now = DATE_ISO8601(DATE_NOW())
LET bad = (FOR r IN @rows FOR d IN @@c FILTER d._key == r._key AND d._rev == r._rev RETURN {old: d, new: r})
LET written = (FOR b IN bad
  INSERT MERGE(UNSET(b.new, "_id", "_rev"), {revised: now}) INTO @@c OPTIONS {overwriteMode: "replace"}
  RETURN NEW._id)
LET filed = (FOR once IN LENGTH(bad) > 0 ? [1] : []
  INSERT MERGE(@entry, {at: now, touched: written, created: [], replaced: bad[*].old}) INTO @@audit
  RETURN 1)
RETURN written"""

_EXTENSIONS = """FOR a IN @@audit FILTER a._key >= "extension-" AND a._key < "extension." AND a.extension != null
  SORT a.at DESC RETURN a.extension"""

_RESTORE = """LET now = DATE_ISO8601(DATE_NOW())
LET old = (FOR a IN @@audit FILTER a._key == @doc._key RETURN a)
FOR row IN [@doc, MERGE(@entry, {at: now, replaced: old})]
  INSERT row INTO @@audit OPTIONS {overwriteMode: "replace"} RETURN NEW._id"""


def repair(
    db: "StandardDatabase", fault: str, *, stale_days: float = 7.0, progress: Progress | None = None
) -> list[str]:
    """Cure a fault by the name of its finding; return the `_id`s of what was changed.

    `dangling-edges`, `wrong-ends`, `older-links` and `ownerless-facts` are removed; `changed-content` is taken as it is
    now; `active-slots` follow the status; `stale-runs` are marked as failed; `extension` is the last one that could be
    read. It may run again and at any time. Raises Invalid for another name, and Conflict.
    """
    if fault not in REPAIRS:
        raise Invalid("fault", f"{fault!r} is not one of {', '.join(REPAIRS)}")
    with driver_errors():
        if fault == "extension":
            return _restore_extension(db)
        schema = model.extended(stored_extension(db))
        scan = Scan(schema, frozenset(collections_of(db)), stale_days, time.time(), progress)
        done: list[str] = []
        for collection, faults in _grouped(scan.faults(db, frozenset({fault}))):
            done += REPAIRS[fault](db, schema, collection, faults)
        return done


def _grouped(faults: Iterator[Fault]) -> Iterator[tuple[str, list[Fault]]]:
    """Yield faults of one collection each, a bounded number at once."""
    while some := list(islice(faults, _AT_ONCE)):
        by: dict[str, list[Fault]] = {}
        for fault in some:
            by.setdefault(fault.id.partition("/")[0], []).append(fault)
        yield from by.items()


_Repair = Callable[["StandardDatabase", Schema, str, Sequence[Fault]], list[str]]


def _remove_edges(db: "StandardDatabase", schema: Schema, collection: str, faults: Sequence[Fault]) -> list[str]:
    """Remove edges that are still wrong when they are removed."""
    text, binds = edge_text(schema, schema.edge(collection))
    head, _, rest = text.partition("\n")
    binds |= {"keys": [fault.document["_key"] for fault in faults], "fault": faults[0].name, "@audit": AUDIT}
    told = entry(db, f"repair: {faults[0].name}")
    [removed] = execute(db, f"{head}, @@audit\nLET rows = ({rest})\n{_REMOVE}", binds | {"entry": told}, patience=10)
    return list(removed)


def _delete(db: "StandardDatabase", schema: Schema, collection: str, faults: Sequence[Fault]) -> list[str]:
    store = Store(db, schema=schema, provenance={"through": "admin"})
    done = []
    for fault in faults:
        try:
            store.delete(store.plan_deletion(fault.id), reason=f"repair: {fault.name}")
        except (Conflict, NotFound):  # somebody is at work on it
            continue
        done.append(fault.id)
    return done


def _rewrite(made: Callable[[Schema, str, Document], Document]) -> _Repair:
    def rewrite(db: "StandardDatabase", schema: Schema, collection: str, faults: Sequence[Fault]) -> list[str]:
        rows = [made(schema, collection, fault.document) for fault in faults]
        told = entry(db, f"repair: {faults[0].name}")
        binds = {"rows": rows, "entry": told, "@c": collection, "@audit": AUDIT}
        [written] = execute(db, _REWRITE, binds, patience=10)
        return list(written)

    return rewrite


def _redigested(schema: Schema, collection: str, document: Document) -> Document:
    return {**document, "digest": digest_of(schema.node(collection), document)}


def _ended(schema: Schema, collection: str, run: Document) -> Document:
    return _redigested(schema, collection, {**run, "status": "failed", "error": "its end was never recorded"})


REPAIRS: dict[str, _Repair] = {
    "dangling-edges": _remove_edges,
    "wrong-ends": _remove_edges,
    "older-links": _remove_edges,
    "ownerless-facts": _delete,
    "changed-content": _rewrite(_redigested),
    "active-slots": _rewrite(lambda schema, collection, document: mended_slot(document)),
    "stale-runs": _rewrite(_ended),
    "extension": lambda db, schema, collection, faults: _restore_extension(db),
}
"""What cures a fault, by the name of its finding."""


def _restore_extension(db: "StandardDatabase") -> list[str]:
    """Put back the newest extension in the audit that can be read, or else none."""
    filed: list[Any] = execute(db, _EXTENSIONS, {"@audit": AUDIT}, patience=10)
    readable = next((each for each in [stored_extension(db), *filed] if _is_readable(each)), None)
    document = {"_key": KEY, **(readable or model.extension(SCHEMA))}
    binds = {"doc": document, "entry": entry(db, "repair: extension"), "@audit": AUDIT}
    return execute(db, _RESTORE, binds, patience=10)[:1]


def _is_readable(extension: Any) -> bool:
    try:
        model.extended(extension)
    except Invalid:
        return False
    return extension is not None
