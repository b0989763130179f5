"""AQL statements that are kept in the graph under names, for everyone who may read it."""

from typing import TypedDict

from arangopipe_ops import model
from arangopipe_ops.errors import Conflict, Invalid
from arangopipe_ops.model import AUDIT
from arangopipe_ops.store import Store

MOST, LONGEST = 200, 20_000
KEY = "queries"

_READ = "RETURN FIRST(FOR a IN @@audit FILTER a._key == @key RETURN a.saved)"

_SAVE = """
LET old = FIRST(FOR a IN @@audit FILTER a._key == @key RETURN a.saved) || {}
LET full = LENGTH(ATTRIBUTES(UNSET(old, @name))) >= @most
LET rows = full ? [] : [{_key: @key, saved: {[@name]: MERGE(@query, {at: DATE_ISO8601(DATE_NOW())})}}]
FOR row IN rows INSERT row INTO @@audit OPTIONS {overwriteMode: "update"} RETURN old[@name]"""

_FORGET = """
FOR key IN (FOR a IN @@audit FILTER a._key == @key AND HAS(a.saved, @name) RETURN a._key)
UPDATE key WITH {saved: {[@name]: null}} IN @@audit OPTIONS {keepNull: false} RETURN NEW._key"""


class SavedQuery(TypedDict):
    """A statement with the JSON of its bind variables, as they were typed; who saved it, and when."""

    text: str
    binds: str
    by: str
    at: str


def saved_queries(store: Store) -> dict[str, SavedQuery]:
    """Return the saved statements by name."""
    [saved] = store.query(_READ, {"@audit": AUDIT, "key": KEY})
    return dict(sorted((saved or {}).items()))


def save_query(store: Store, name: str, text: str, binds: str, by: str) -> SavedQuery | None:
    """Keep a statement under a name, in the place of one that has it, which is returned.

    Raises Invalid, and Conflict when all is full.
    """
    name = model.canonical(name.strip(), "name")
    if not 0 < len(name) <= 100:
        raise Invalid("name", "is to have 1 to 100 characters; give the statement a name")
    if not text.strip() or len(text) + len(binds) > LONGEST:
        raise Invalid("text", f"is to be a statement of at most {LONGEST:,} characters, with its bind variables")
    query = {"text": text, "binds": binds, "by": by}
    saved = store.query(_SAVE, _about(name) | {"query": query, "most": MOST})
    if not saved:
        raise Conflict(f"{AUDIT}/{KEY}", [], f"holds {MOST} statements, which are all it may; remove one first")
    replaced: SavedQuery | None = saved[0]
    return replaced


def forget_query(store: Store, name: str) -> bool:
    """Remove a saved statement; return whether there was one."""
    return bool(store.query(_FORGET, _about(name)))


def _about(name: str) -> dict[str, object]:
    return {"@audit": AUDIT, "key": KEY, "name": name}
