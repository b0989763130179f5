"""SQLite connections to one database file, for many processes and threads at once.

Each thread has its own connection. SQLite must not be carried across a fork: its locks belong to the
process that took them. So idle connections are closed before a fork and reopened when next used, and
a connection that was busy in another thread is left alone, unused and unfinalised, in the child.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import ArangoError

APPLICATION_ID = 0x4172616E
SCHEMA_VERSION = 3
BUSY_SECONDS = 30.0

SCHEMA = """
CREATE TABLE state (version INTEGER NOT NULL, tick INTEGER NOT NULL);
INSERT INTO state VALUES (1, 0);
CREATE TABLE databases (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE collections (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    database INTEGER NOT NULL,
    name TEXT NOT NULL,
    properties TEXT NOT NULL,
    UNIQUE (database, name)
);
INSERT INTO databases VALUES (1, '_system');
INSERT INTO collections (database, name, properties) VALUES (1, '_graphs', '{"type": 2, "isSystem": true}');
CREATE TABLE indexes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL,
    definition TEXT NOT NULL
);
CREATE TABLE documents (
    id INTEGER PRIMARY KEY,
    collection INTEGER NOT NULL,
    key TEXT NOT NULL,
    rev TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (collection, key)
);
CREATE TABLE entries (
    idx INTEGER NOT NULL,
    value BLOB NOT NULL,
    document INTEGER NOT NULL,
    PRIMARY KEY (idx, value, document)
) WITHOUT ROWID;
"""

UPGRADES = {
    1: """
CREATE TABLE users (name TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE counters (collection INTEGER PRIMARY KEY, value INTEGER NOT NULL);
""",
    2: """
CREATE TABLE sizes (collection INTEGER PRIMARY KEY, documents INTEGER NOT NULL);
INSERT INTO sizes SELECT collection, count(*) FROM documents GROUP BY collection;
CREATE TRIGGER more AFTER INSERT ON documents BEGIN
    INSERT INTO sizes VALUES (new.collection, 1) ON CONFLICT (collection) DO UPDATE SET documents = documents + 1; END;
CREATE TRIGGER fewer AFTER DELETE ON documents BEGIN
    UPDATE sizes SET documents = documents - 1 WHERE collection = old.collection; END;
""",
}
"""Schema version -> what makes the next one of it."""


class Connection:
    """One thread's SQLite connection; `lock` is held while a transaction runs on it."""

    def __init__(self, path: Path, busy_seconds: float) -> None:
        self.sqlite = _open(path, busy_seconds)
        self.lock = threading.Lock()


class ConnectionPool:
    """The connections of this process to the file at `path`, one per thread."""

    def __init__(self, path: Path, busy_seconds: float = BUSY_SECONDS) -> None:
        self.path = path
        self.busy_seconds = busy_seconds
        self._local = threading.local()
        self._all: weakref.WeakSet[Connection] = weakref.WeakSet()
        _POOLS.add(self)

    @contextmanager
    def use(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection, for one transaction."""
        connection = self._of_thread()
        with connection.lock:
            yield connection.sqlite

    def _of_thread(self) -> Connection:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = Connection(self.path, self.busy_seconds)
            self._all.add(connection)
        return connection

    def dedicated(self) -> Connection:
        """A connection of nobody's thread, locked until it is given back."""
        connection = Connection(self.path, self.busy_seconds)
        connection.lock.acquire()
        self._all.add(connection)
        return connection

    def give_back(self, connection: Connection) -> None:
        """Close a dedicated connection, which rolls back what is not committed."""
        self._all.discard(connection)
        connection.sqlite.close()
        connection.lock.release()

    def close_idle(self) -> None:
        """Close the connections that no transaction runs on; their threads reopen them."""
        for connection in list(self._all):
            if connection.lock.acquire(blocking=False):
                connection.sqlite.close()
                self._all.discard(connection)
                connection.lock.release()
        self._local = threading.local()

    def forget(self) -> None:
        """In a forked child: never touch the connections that were busy in the parent."""
        _ABANDONED.extend(self._all)
        self._all = weakref.WeakSet()
        self._local = threading.local()


_POOLS: weakref.WeakSet[ConnectionPool] = weakref.WeakSet()
_ABANDONED: list[Connection] = []


def _before_fork() -> None:
    for pool in list(_POOLS):
        pool.close_idle()


def _after_fork_in_child() -> None:
    for pool in list(_POOLS):
        pool.forget()


os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)


def _open(path: Path, busy_seconds: float) -> sqlite3.Connection:
    if not path.parent.is_dir():
        raise ArangoError(1224, message=f"cannot open {path}: the directory {path.parent} does not exist")
    try:
        connection = sqlite3.connect(
            path, timeout=busy_seconds, isolation_level=None, check_same_thread=False, cached_statements=512
        )
        _prepare(connection, path, time.monotonic() + busy_seconds)
    except sqlite3.DatabaseError as error:
        raise failure(error, path) from error
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, deadline: float) -> None:
    if _is_empty(connection) and _identity(connection)[0] == 0:
        _switch_to_wal(connection, deadline)
        _create(connection)
    # Read only now: a file that was not empty above may have been created by another process just before.
    application, version = _identity(connection)
    if application != APPLICATION_ID:
        raise ArangoError(1224, message=f"{path} is not an embedded ArangoDB file, choose another path")
    if version > SCHEMA_VERSION:
        raise ArangoError(
            1224, message=f"{path} was written by a newer arangopipe-ops (schema {version}): upgrade this one"
        )
    if version < SCHEMA_VERSION:
        _upgrade(connection)
    connection.execute("PRAGMA synchronous = NORMAL")


def _upgrade(connection: sqlite3.Connection) -> None:
    """From an older schema to this one, all or nothing; another process may have been first."""
    with _exclusive(connection):
        _, version = _identity(connection)
        for step in range(version, SCHEMA_VERSION):
            _run_all(connection, UPGRADES[step])
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _identity(connection: sqlite3.Connection) -> tuple[int, int]:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return application, version


def _is_empty(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None


def _switch_to_wal(connection: sqlite3.Connection, deadline: float) -> None:
    """Retried, as SQLite's busy timeout does not cover the switch of the journal mode."""
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _create(connection: sqlite3.Connection) -> None:
    with _exclusive(connection):
        if _is_empty(connection):
            for script in (SCHEMA, *UPGRADES.values()):
                _run_all(connection, script)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _run_all(connection: sqlite3.Connection, script: str) -> None:
    for statement in script.split(";\n"):
        connection.execute(statement)


@contextmanager
def _exclusive(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def flush(path: Path) -> None:
    """Wait until what was committed to the file at `path` is on disk.

    SQLite itself sees to that before it moves anything from the log to the file and begins the log anew.
    """
    with suppress(FileNotFoundError):
        log = os.open(f"{path}-wal", os.O_RDONLY)
        try:
            os.fsync(log)
        finally:
            os.close(log)


def is_busy(error: sqlite3.Error) -> bool:
    return (error.sqlite_errorcode & 0xFF) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


_FAILURES: dict[int, tuple[int, str]] = {
    sqlite3.SQLITE_BUSY: (1200, "conflict: {path} is being written by others, try again"),
    sqlite3.SQLITE_LOCKED: (1200, "conflict: {path} is being written by others, try again"),
    sqlite3.SQLITE_READONLY: (1004, "read only: {path} or its directory cannot be written"),
    sqlite3.SQLITE_PERM: (1004, "read only: {path} or its directory cannot be written"),
    sqlite3.SQLITE_FULL: (1104, "filesystem full: no space is left for {path}, nothing was written"),
    sqlite3.SQLITE_NOTADB: (1224, "{path} is not an embedded ArangoDB file, choose another path"),
    sqlite3.SQLITE_CANTOPEN: (1224, "cannot open {path}: {error}"),
    sqlite3.SQLITE_INTERRUPT: (1500, "query killed"),
}
"""SQLite's result code -> ArangoDB's error number and message."""


def failure(error: sqlite3.Error, path: Path) -> ArangoError:
    """What went wrong in SQLite, as ArangoDB would say it, with the path."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    number, message = _FAILURES.get(code, (4, "{path}: {error}"))
    return ArangoError(number, message=message.format(path=path, error=error))
