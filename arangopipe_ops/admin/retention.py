"""How long serving performance is kept: TTL indexes, with which the database itself removes what is over."""

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from arangopipe_ops.admin.filing import file
from arangopipe_ops.admin.structure import indexes_of
from arangopipe_ops.errors import Conflict, Invalid
from arangopipe_ops.model import SCHEMA, Document
from arangopipe_ops.store import driver_errors
from arangopipe_ops.store.execution import execute

if TYPE_CHECKING:
    from arango.database import StandardDatabase

INSTANT = "period_end"
COLLECTIONS = (SCHEMA.node("ServingPerf").collection, "deployment_servingperf")
"""The node and the edge to it both say when the period ended, so both go at the same time."""

_DAY = 86_400
_BAD_PARAMETER = 10  # a second TTL index
_OVER = """RETURN LENGTH(FOR d IN @@nodes FILTER d.period_end < @limit RETURN 1)"""


class Retention(TypedDict):
    """For how many days after the end of a period its serving performance is kept, None: forever.

    `over` counts the periods that have ended before that, and that the database removes soon.
    """

    days: float | None
    over: int


def retention(db: "StandardDatabase", days: float | None, *, dry_run: bool = False) -> Retention:
    """Keep serving performance for some days after the end of its period, or forever (None).

    The nodes and the edges to them have a TTL index on `period_end` each. The database removes both in the
    background, usually within a minute and without an entry in the audit; for that moment an edge may lead nowhere,
    which lineage passes over. What has no `period_end` stays. `dry_run` only counts what is over. Raises Invalid,
    NotProvisioned, Unauthorized, Conflict (another process sets another retention at the same time).
    """
    if days is not None and (isinstance(days, bool) or not isinstance(days, int | float) or not 0 < days < 1e6):
        said = "is not a number of days, more than 0 and less than 1,000,000; off (in Python None) keeps everything"
        raise Invalid("days", f"{days!r} {said}")
    with driver_errors():
        over = 0 if days is None else _over(db, days)
        seconds = None if days is None else days * _DAY
        changed = [] if dry_run else [_set(db, collection, seconds) for collection in COLLECTIONS]
        if any(changed):
            file(db, "retention", days=days)
    return Retention(days=days, over=over)


def days_of(text: str) -> float | None:
    """Return a number of days as people write it, None for `off`. Raises Invalid."""
    try:
        return None if text == "off" else float(text)
    except ValueError:
        raise Invalid("days", f"{text!r} is not a number of days; or say off") from None


def kept_for(db: "StandardDatabase") -> dict[str, float | None]:
    """Return for how many days each of the two collections keeps what it holds, None: forever."""
    with driver_errors():
        found = {collection: _ttl(db, collection) for collection in COLLECTIONS}
    return {name: index["expiry_time"] / _DAY if index else None for name, index in found.items()}


def _over(db: "StandardDatabase", days: float) -> int:
    limit = datetime.fromtimestamp(time.time(), UTC) - timedelta(days=days)
    [count] = execute(db, _OVER, {"@nodes": COLLECTIONS[0], "limit": limit.isoformat()[:19]}, patience=10)
    return int(count)


def _set(db: "StandardDatabase", collection: str, seconds: float | None) -> bool:
    """Give a collection its TTL index; return whether it had another or none. An index is changed by dropping it."""
    from arango.exceptions import IndexCreateError

    for _ in range(3):
        index = _ttl(db, collection)
        if (index and index["expiry_time"]) == seconds:
            return False
        if index:
            db.collection(collection).delete_index(index["id"], ignore_missing=True)
        if seconds is None:
            return True
        try:
            db.collection(collection).add_index({"type": "ttl", "fields": [INSTANT], "expireAfter": seconds})
            return True
        except IndexCreateError as error:
            if error.error_code != _BAD_PARAMETER:
                raise
    raise Conflict(collection, [INSTANT], "gets another retention from another process at the same time; try again")


def _ttl(db: "StandardDatabase", collection: str) -> Document | None:
    indexes: Any = indexes_of(db, collection).values()
    return next((index for index in indexes if index["type"] == "ttl"), None)
