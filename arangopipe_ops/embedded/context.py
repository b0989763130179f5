"""What a running statement carries along: its transaction, warnings and statistics."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .catalog import Collection
from .errors import ERRORS, ArangoError
from .storage import Document, Transaction

MAX_WARNINGS = 10
CHECK_EVERY = 256
"""After how many rows of a loop the deadline is looked at."""
CLUSTER_VARIABLE = "ARANGOPIPE_EMBEDDED_CLUSTER"
"""An environment variable; if it is set, statements are refused that only a single server accepts."""


UNCOUNTED = dict.fromkeys(
    (
        *("seeks", "cursorsCreated", "cursorsRearmed", "cacheHits", "cacheMisses", "httpRequests"),
        *("peakMemoryUsage", "intermediateCommits"),
    ),
    0,
)
"""What a server counts, and what does not happen here or is not measured."""


def is_cluster() -> bool:
    return bool(os.environ.get(CLUSTER_VARIABLE))


def warning(num: int, *details: object) -> dict[str, Any]:
    """As a server shows it."""
    return {"code": num, "message": ERRORS[num][1].format(*details)}


@dataclass(slots=True)
class Ahead:
    """What was read ahead for a place in a statement, by what it is looked up by there."""

    found: dict[str, Any] = field(default_factory=dict)
    asked: int = 0
    useless: bool = False
    """Whether it does not pay, as it is too much or is not looked up."""

    def find(self, value: Any) -> Any:
        """None if it was not read ahead."""
        found = self.found.get(value) if type(value) is str else None
        if found is not None:
            self.asked += 1
        return found

    def is_useless(self) -> bool:
        """Whether most of what was read was in vain."""
        self.useless = self.useless or 2 * self.asked < len(self.found)
        return self.useless

    def renew(self, found: dict[str, Any]) -> None:
        self.found, self.asked = found, 0


@dataclass(slots=True)
class Context:
    """`frame[0]` of a running statement; the other slots of a frame are variables and bind values."""

    transaction: Transaction
    database: str
    deadline: float | None = None
    full_count: bool = False
    fail_on_warning: bool = False
    scanned_full: int = 0
    scanned_index: int = 0
    looped: int = 0
    """Documents that loops came by, one after the other."""
    filtered: int = 0
    writes: int = 0
    ignored: int = 0
    matched: int | None = None
    """Rows before the last top-level LIMIT, if they were asked for."""
    warnings: list[dict[str, Any]] = field(default_factory=list)
    reached: set[str] = field(default_factory=set)
    """Collections that were read from because of the data, beyond those that the plan knows."""
    ahead: dict[int, Ahead] = field(default_factory=dict)
    """By the number of the place: that of a loop, or a negative one of a call of DOCUMENT()."""
    require_with: bool = field(default_factory=is_cluster)
    """Whether traversals may read only from collections that the statement names, as in a cluster."""

    def warn(self, num: int, *details: object) -> None:
        """Note a warning; it is an error if the statement was to fail on warnings."""
        if self.fail_on_warning:
            raise ArangoError(num, *details)
        if len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(warning(num, *details))

    def check_deadline(self) -> None:
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise ArangoError(1500)

    def document(self, handle: str) -> Document | None:
        """By its id, None if it is not there; raises 1203 if its collection is not."""
        name, _, key = handle.partition("/")
        return self.transaction.get(self.collection(name), key) if key else None

    def documents(self, handles: Iterable[str]) -> Iterator[Document]:
        """Those of these ids that are there, in no particular order."""
        by_collection: dict[str, list[str]] = {}
        for handle in handles:
            name, _, key = handle.partition("/")
            by_collection.setdefault(name, []).append(key)
        known = self.transaction.catalog.database(self.database)
        for name, keys in by_collection.items():
            if name in known:
                yield from self.transaction.get_many(known[name], keys)

    def collection(self, name: str) -> Collection:
        return self.transaction.catalog.collection(self.database, name)

    def statistics(self, seconds: float) -> dict[str, Any]:
        """As in the `extra.stats` of a cursor."""
        statistics = {
            "writesExecuted": self.writes,
            "writesIgnored": self.ignored,
            "scannedFull": self.scanned_full,
            "scannedIndex": self.scanned_index,
            "documentLookups": self.scanned_index,
            **UNCOUNTED,
            "filtered": self.filtered,
            "executionTime": seconds,
        }
        return statistics if self.matched is None else statistics | {"fullCount": self.matched}
