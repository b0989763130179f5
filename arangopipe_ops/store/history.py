"""The statements that look back: what became of a node, and what it was at a time."""

from collections.abc import Iterator, Sequence
from typing import Any, TypedDict

from arangopipe_ops.model import Document
from arangopipe_ops.store.statements import LOOK_UP


class Event(TypedDict):
    """One write that touched a node.

    `at` is the database's clock in UTC, `action` is created, revised or removed; `changed` has the old and the new
    value of every attribute that the write changed; `document` is the node after it, None once it is removed.
    """

    at: str
    action: str
    reason: str | None
    provenance: Document
    changed: dict[str, list[Any]]
    document: Document | None


HISTORY = f"""WITH @@nodes, @@audit
LET found = {LOOK_UP}
LET id = NOT_NULL(found._id, @id)
LET events = (FOR a IN @@audit FILTER id IN a.touched[*] LET rev = DECODE_REV(a._rev)
  SORT a.at DESC, rev.date DESC, rev.count DESC LIMIT @limit
  RETURN {{
    at: a.at,
    reason: a.reason,
    provenance: a.provenance,
    removed: id IN NOT_NULL(a.removed, []),
    before: FIRST(a.replaced[* FILTER CURRENT._id == id])
  }})
RETURN {{found, events}}"""

AS_OF = """WITH @@nodes, @@audit
LET found = NOT_NULL(
  FIRST(FOR d IN @@nodes FILTER d._key == @key RETURN d),
  FIRST(FOR d IN @@nodes
    FILTER @name != null AND d.@by == @name AND d.created <= @at AND (d.archived == null OR d.archived > @at)
    SORT d.created DESC LIMIT 1 RETURN d))
LET id = NOT_NULL(found._id, @id)
LET later = FIRST(FOR a IN @@audit FILTER id IN a.touched[*] AND a.at > @at SORT a.at LIMIT 1 RETURN a)
LET document = later == null ? found : FIRST(later.replaced[* FILTER CURRENT._id == id])
RETURN document.created <= @at ? document : null"""


def events(answer: Document) -> Iterator[Event]:
    """Yield the events of an answer, newest first."""
    after: Document | None = answer["found"]
    for row in answer["events"]:
        before: Document | None = row["before"]
        after = None if row["removed"] else after
        yield Event(
            at=row["at"],
            action="removed" if row["removed"] else "created" if before is None else "revised",
            reason=row["reason"],
            provenance=row["provenance"],
            changed=_changed(before or {}, after or {}),
            document=after,
        )
        after = before


def _changed(before: Document, after: Document) -> dict[str, list[Any]]:
    names = [name for name in before | after if not name.startswith("_") and name not in _CLOCKWORK]
    return {name: [before.get(name), after.get(name)] for name in names if before.get(name) != after.get(name)}


_CLOCKWORK: Sequence[str] = ("created", "revised", "digest", "provenance", "slot", "active_slot")
