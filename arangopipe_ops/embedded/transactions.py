"""Stream transactions: one SQLite transaction that many requests take part in.

A transaction that declares collections to write to takes the file's write lock with its first request,
an exclusive one when it begins; all others see a snapshot of their beginning. The lock is given up at
the end, or after `idle_seconds` without a request. Manual: develop/http-api/transactions/stream-transactions.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .connection import failure
from .errors import ArangoError
from .storage import Storage, Transaction

RUNNING, COMMITTED, ABORTED = "running", "committed", "aborted"
IDLE_SECONDS = 60.0
REMEMBERED = 1000
"""How many ended transactions are known by their outcome."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a transaction declares when it begins."""

    read: frozenset[str] = frozenset()
    write: frozenset[str] = frozenset()
    exclusive: frozenset[str] = frozenset()
    sync: bool = False
    lock_seconds: float = 0.0
    """How long to wait for the write lock at most; 0 for the file's own patience."""

    @property
    def writable(self) -> frozenset[str]:
        return self.write | self.exclusive


class Stream:
    """A stream transaction; one request at a time uses it."""

    def __init__(self, number: str, storage: Storage, database: str, user: str, terms: Terms) -> None:
        self.number, self.database, self.user, self.state = number, database, user, RUNNING
        self._storage = storage
        self._terms = terms
        self._turn = threading.Lock()
        self._process = os.getpid()
        self._used = time.monotonic()
        self._transaction: Transaction | None = None
        self._connection = storage.pool.dedicated()
        if terms.exclusive or not terms.writable:
            with self._at_work():
                self._started()

    def _started(self) -> Transaction:
        """The transaction, begun when it is first asked for."""
        if self._transaction is None:
            sqlite = self._connection.sqlite
            patience = min(self._terms.lock_seconds or float("inf"), self._storage.pool.busy_seconds)
            sqlite.execute(f"PRAGMA busy_timeout = {int(patience * 1000)}")
            sqlite.execute(f"PRAGMA synchronous = {'FULL' if self._terms.sync else 'NORMAL'}")
            self._transaction = self._storage.begin(sqlite, bool(self._terms.writable))
            self._transaction.writable = self._terms.writable
        return self._transaction

    @contextmanager
    def use(self) -> Iterator[Transaction]:
        """The transaction for one request, whose changes are undone if it fails."""
        with self._at_work():
            transaction = self._started()
            sqlite = transaction.sqlite
            sqlite.execute("SAVEPOINT request")
            try:
                yield transaction
            except BaseException:
                if sqlite.in_transaction:
                    sqlite.execute("ROLLBACK TO request")
                raise
            finally:
                if sqlite.in_transaction:
                    sqlite.execute("RELEASE request")

    def finish(self, state: str) -> None:
        """Commit or abort; raises 1653 if it has ended the other way."""
        if self.state == RUNNING:
            with self._at_work():
                self._end(state)
        if self.state != state:
            raise ArangoError(1653, message=f"transaction {self.number} is {self.state} already")

    @property
    def is_ours(self) -> bool:
        """Whether this process began it; a forked child must not touch the connection of its parent."""
        return self._process == os.getpid()

    def abort_if_idle(self, seconds: float) -> None:
        if self.is_ours and self._turn.acquire(blocking=False):
            try:
                if self.state == RUNNING and time.monotonic() - self._used >= seconds:
                    self._end(ABORTED)
            finally:
                self._turn.release()

    def _end(self, state: str) -> None:
        try:
            if state == COMMITTED and self._transaction is not None:
                self._transaction.commit()
            self.state = state
        finally:
            self.state = self.state if self.state == state else ABORTED
            self._storage.pool.give_back(self._connection)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        with self._turn:
            if self.state != RUNNING:
                raise not_found(self.number)
            try:
                yield
            except sqlite3.Error as error:
                raise failure(error, self._storage.path) from error
            finally:
                self._used = time.monotonic()


def not_found(number: str) -> ArangoError:
    return ArangoError(1655, message=f"transaction '{number}' not found")


class Streams:
    """The stream transactions of a file, in this process."""

    def __init__(self, storage: Storage, idle_seconds: float = IDLE_SECONDS) -> None:
        self._storage = storage
        self.idle_seconds = idle_seconds
        self._streams: OrderedDict[str, Stream] = OrderedDict()
        self._numbers = itertools.count(time.time_ns())
        self._watch: threading.Thread | None = None

    def begin(self, database: str, user: str, terms: Terms) -> Stream:
        stream = Stream(str(next(self._numbers)), self._storage, database, user, terms)
        self._streams[stream.number] = stream
        while len(self._streams) > REMEMBERED and next(iter(self._streams.values())).state != RUNNING:
            self._streams.popitem(last=False)
        self._keep_watch()
        return stream

    def get(self, number: str, database: str, user: str) -> Stream:
        """Raises 10 for what is no number of a transaction, 1655 for one that is not the user's own."""
        if not number.isdigit():
            raise ArangoError(10, message=f"bad parameter: '{number}' is not a transaction's id")
        stream = self._streams.get(number)
        if stream is None or not stream.is_ours or (stream.database, stream.user) != (database, user):
            raise not_found(number)
        return stream

    @contextmanager
    def use(self, number: str, database: str, user: str) -> Iterator[Transaction]:
        with self.get(number, database, user).use() as transaction:
            yield transaction

    def running(self, database: str, user: str) -> list[Stream]:
        return [each for each in self._open() if (each.database, each.user) == (database, user)]

    def _open(self) -> list[Stream]:
        return [each for each in list(self._streams.values()) if each.state == RUNNING and each.is_ours]

    def abort_all(self) -> None:
        for stream in self._open():
            stream.abort_if_idle(0.0)

    def _keep_watch(self) -> None:
        """One thread looks after idle transactions for as long as there are any."""
        if self._watch is None or not self._watch.is_alive():
            self._watch = threading.Thread(target=self._abort_idle, name="idle-transactions", daemon=True)
            self._watch.start()

    def _abort_idle(self) -> None:
        while True:
            while streams := self._open():
                time.sleep(min(self.idle_seconds / 4, 1.0))
                for stream in streams:
                    stream.abort_if_idle(self.idle_seconds)
            self._watch = None
            if not self._open():  # what began before relies on this thread, what begins from now on on another
                return
