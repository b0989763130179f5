"""Statements that are running, can be killed, and took long. Manual: develop/http-api/queries/aql-queries."""

from __future__ import annotations

import itertools
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .context import Context
from .errors import ArangoError

TRACKING = {
    "enabled": True,
    "trackSlowQueries": True,
    "trackBindVars": True,
    "maxSlowQueries": 64,
    "slowQueryThreshold": 10,
    "slowStreamingQueryThreshold": 10,
    "maxQueryStringLength": 4096,
}
"""The properties of tracking and their defaults."""
SECONDS = frozenset(("slowQueryThreshold", "slowStreamingQueryThreshold"))
"""Those that may have a fraction."""


@dataclass(slots=True)
class Query:
    """A statement at work, or one that took long."""

    number: str
    database: str
    user: str
    text: str
    bind_values: dict[str, Any]
    context: Context
    modifies: bool = False
    thread: int = field(default_factory=threading.get_ident)
    started: float = field(default_factory=time.time)
    seconds: float | None = None
    """How long it took, once it is over."""
    exit_code: int = 0
    """The number of the error it ended with."""

    def shown(self) -> dict[str, Any]:
        began = datetime.fromtimestamp(self.started, UTC)
        return {
            "id": self.number,
            "database": self.database,
            "user": self.user,
            "query": self.text,
            "bindVars": self.bind_values,
            "started": began.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "runTime": time.time() - self.started if self.seconds is None else self.seconds,
            "peakMemoryUsage": 0,
            "state": "executing" if self.seconds is None else "finished",
            "stream": False,
            "modificationQuery": self.modifies,
            "warnings": len(self.context.warnings),
            **({} if self.seconds is None else {"exitCode": self.exit_code}),
        }

    def kill(self) -> None:
        """Its next look at the deadline, and what SQLite does for it now, end it with error 1500."""
        self.context.deadline = 0.0
        self.context.transaction.sqlite.interrupt()


@contextmanager
def _killable(context: Context) -> Iterator[None]:
    """What SQLite makes of a kill becomes error 1500."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if context.deadline == 0.0:
            raise ArangoError(1500) from error
        raise


class Queries:
    """The statements of a file, in this process."""

    def __init__(self) -> None:
        self.tracking: dict[str, Any] = dict(TRACKING)
        self._running: dict[str, Query] = {}
        self._slow: deque[Query] = deque()
        self._numbers = itertools.count(1)

    @contextmanager
    def watched(
        self, user: str, text: str, bind_values: dict[str, Any], context: Context, modifies: bool
    ) -> Iterator[None]:
        """The statement is listed while it runs; a killed one is error 1500."""
        values = bind_values if self.tracking["trackBindVars"] else {}
        shown = text[: self.tracking["maxQueryStringLength"]]
        query = Query(str(next(self._numbers)), context.database, user, shown, values, context, modifies)
        self._running[query.number] = query
        try:
            with _killable(context):
                yield
        except ArangoError as error:
            query.exit_code = error.num
            raise
        finally:
            del self._running[query.number]
            query.seconds = time.time() - query.started
            self._note_slow(query)

    def _note_slow(self, query: Query) -> None:
        if not self.tracking["trackSlowQueries"] or (query.seconds or 0) < self.tracking["slowQueryThreshold"]:
            return
        self._slow.append(query)
        while len(self._slow) > self.tracking["maxSlowQueries"]:
            self._slow.popleft()

    def running(self, database: str) -> list[Query]:
        if not self.tracking["enabled"]:
            return []
        return [query for query in list(self._running.values()) if query.database == database]

    def slow(self, database: str) -> list[Query]:
        return [query for query in list(self._slow) if query.database == database]

    def forget_slow(self, database: str) -> None:
        self._slow = deque(query for query in self._slow if query.database != database)

    def kill(self, number: str, database: str) -> None:
        query = self._running.get(number)
        if query is None or query.database != database:
            raise ArangoError(1591, message=f"query ID not found: {number}")
        query.kill()

    def kill_all(self) -> None:
        for query in list(self._running.values()):
            query.kill()

    def kill_in(self, thread: int) -> None:
        """Kill what runs in a thread."""
        for query in list(self._running.values()):
            if query.thread == thread:
                query.kill()
