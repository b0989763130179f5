"""Entries in the audit, which say what was done to the graph beside writing to it."""

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from arangopipe_ops.model import AUDIT, Document
from arangopipe_ops.store import Store

if TYPE_CHECKING:
    from arango.database import StandardDatabase


_FILE = """INSERT MERGE(@entry, {at: DATE_ISO8601(DATE_NOW())}) INTO @@audit"""


def file(db: "StandardDatabase", reason: str, **told: Any) -> None:
    """Leave an entry in the audit."""
    Store(db).query(_FILE, {"entry": entry(db, reason, **told), "@audit": AUDIT})


def entry(db: "StandardDatabase", reason: str, **told: Any) -> Document:
    """Return an entry but for its time, which is the database's."""
    provenance = Store(db, provenance={"through": "admin"}).provenance
    return {"_key": uuid4().hex, "reason": reason, "provenance": provenance, "touched": [], **told}
