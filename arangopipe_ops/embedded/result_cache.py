"""The AQL query results cache. Manual: aql/execution-and-performance/caching-query-results.

A result is good for the state of the file that it was read from, which has a number: its `Stamp`. Commits
through this process' `Storage` say which collections they wrote to, and only results of these go. A newer
stamp that nobody told of is a change of the catalog or another process' commit, and all results go.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
import weakref
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

from .storage import Stamp, Storage

MODES = OFF, ON, DEMAND = "off", "on", "demand"
Key: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Properties:
    """Sizes are in bytes, and for each database."""

    mode: str = OFF
    max_results: int = 128
    max_results_size: int = 256 << 20
    max_entry_size: int = 16 << 20
    include_system: bool = False


@dataclass(slots=True)
class Kept:
    """A result: its rows as marshalled, what it was read from by name and number, and how it came about."""

    text: str
    bind_values: str
    """As JSON."""
    content: bytes
    rows: int
    sources: dict[str, int]
    statistics: dict[str, Any]
    seconds: float
    size: int = 0
    started: float = field(default_factory=time.time)
    hits: int = 0

    def __post_init__(self) -> None:
        self.size = len(self.content) + len(self.bind_values)

    def shown(self, key: Key) -> dict[str, Any]:
        number = int.from_bytes(hashlib.blake2b(repr(key).encode(errors="replace"), digest_size=8).digest())
        return {
            "hash": str(number),
            "query": self.text,
            "bindVars": json.loads(self.bind_values),
            "size": self.size,
            "results": self.rows,
            "started": datetime.fromtimestamp(self.started, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "hits": self.hits,
            "runTime": self.seconds,
            "dataSources": sorted(self.sources),
        }


class ResultCache:
    """The results of a file's statements, in this process."""

    def __init__(self, storage: Storage) -> None:
        self.properties = Properties()
        self._storage = storage
        self._lock = threading.Lock()
        self._known: Stamp = (0, 0)
        self._databases: dict[str, OrderedDict[Key, Kept]] = {}
        _CACHES.add(self)

    def configure(self, changes: dict[str, Any]) -> None:
        """Change some of the properties; another mode begins with an empty cache."""
        with self._lock:
            before, self.properties = self.properties, replace(self.properties, **changes)
            if self.properties.mode != before.mode:
                self._databases.clear()
            self._storage.listener = None if self.properties.mode == OFF else self._on_commit
            for kept in self._databases.values():
                self._limit(kept)

    @property
    def is_on(self) -> bool:
        return self._storage.listener is not None

    def wants(self, cache: bool | None) -> bool:
        """Whether a statement whose option `cache` is this one may use the cache."""
        mode = self.properties.mode
        return mode != OFF and (cache is True or (mode == ON and cache is not False))

    def find(self, stamp: Stamp, database: str, key: Key) -> Kept | None:
        with self._lock:
            if not self._is_newest(stamp) or database not in self._databases:
                return None
            found = self._databases[database].get(key)
            if found is not None:
                found.hits += 1
            return found

    def keep(self, stamp: Stamp, database: str, key: Key, result: Kept) -> None:
        """Keep what was read at `stamp`, unless the file has moved on since."""
        limits = self.properties
        system = not limits.include_system and any(name.startswith("_") for name in result.sources)
        if system or result.size > min(limits.max_entry_size, limits.max_results_size):
            return
        with self._lock:
            if self.properties.mode != OFF and self._is_newest(stamp):
                kept = self._databases.setdefault(database, OrderedDict())
                kept.pop(key, None)
                kept[key] = result
                self._limit(kept)

    def entries(self, stamp: Stamp, database: str) -> list[tuple[Key, Kept]]:
        with self._lock:
            return list(self._databases.get(database, {}).items()) if self._is_newest(stamp) else []

    def clear(self, database: str) -> None:
        with self._lock:
            self._databases.pop(database, None)

    def forget(self) -> None:
        """In a forked child: begin anew, as another thread may have held the lock."""
        self._lock = threading.Lock()
        self._databases = {}

    def _limit(self, kept: OrderedDict[Key, Kept]) -> None:
        """The oldest results go first."""
        size = sum(result.size for result in kept.values())
        while len(kept) > self.properties.max_results or size > self.properties.max_results_size:
            _, oldest = kept.popitem(last=False)
            size -= oldest.size

    def _is_newest(self, stamp: Stamp) -> bool:
        """Whether the results that are kept are those of this state of the file; a newer one drops them all."""
        if stamp == self._known:
            return True
        if stamp[1] < self._known[1]:
            return False
        self._databases.clear()
        self._known = stamp
        return True

    def _on_commit(self, before: int, after: int, written: set[int]) -> None:
        with self._lock:
            version, known = self._known
            if after <= known:
                return
            if before == known:
                self._drop(written)
            else:
                self._databases.clear()
            self._known = (version, after)

    def _drop(self, written: set[int]) -> None:
        for kept in self._databases.values():
            for key in [key for key, result in kept.items() if not written.isdisjoint(result.sources.values())]:
                del kept[key]


_CACHES: weakref.WeakSet[ResultCache] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for cache in list(_CACHES):
        cache.forget()


os.register_at_fork(after_in_child=_after_fork_in_child)
