"""Fixtures: one database that is empty, one that is provisioned, and a store on it.

They are embedded in a file of the test's own, or on the server that ARANGO_URL names
(`http://root:password@localhost:8529/_system`), where each test gets a database of its own.
"""

import gc
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from arangopipe_ops.admin import provision
from arangopipe_ops.connection import connect
from arangopipe_ops.store import Store

Fill: TypeAlias = Callable[[str], object]
"""Puts something into the empty database at a URL."""


def provisioned(url: str) -> Any:
    db = connect(url)
    provision(db)
    return db


@pytest.fixture(scope="module", autouse=True)
def _lasting() -> None:
    """What was imported and opened until now stays: looking for garbage in it, time and again, is a sixth of a run."""
    gc.set_threshold(5_000)
    gc.freeze()


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty database.

    An embedded one refuses what a cluster's coordinator does, or a statement could work here and fail there.
    """
    monkeypatch.setenv("ARANGOPIPE_EMBEDDED_CLUSTER", "1")
    server = os.environ.get("ARANGO_URL")
    if server is None:
        yield f"embedded://{tmp_path}/graph.db"
        return
    name = f"test_{uuid4().hex}"
    system = connect(server)
    system.create_database(name)
    yield urlsplit(server)._replace(path=f"/{name}").geturl()
    system.delete_database(name)


@pytest.fixture
def empty_db(url: str) -> Any:
    return connect(url)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Fill], Path]:
    """Gives the file of an embedded database that a function has filled, which is run but once."""
    folder = tmp_path_factory.mktemp("originals")

    @cache
    def made(fill: Fill) -> Path:
        path = folder / f"{fill.__module__}.{fill.__qualname__}.db"
        fill(f"embedded://{path}")
        with closing(sqlite3.connect(path)) as log:
            log.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return path

    return made


@pytest.fixture
def filled_by(url: str, made_once: Callable[[Fill], Path]) -> Callable[[Fill], Any]:
    """Gives this test's database with what a function puts into an empty one; an embedded one is a copy of a file."""

    def make(fill: Fill) -> Any:
        if "ARANGO_URL" in os.environ:
            fill(url)
        else:
            shutil.copyfile(made_once(fill), url.removeprefix("embedded://"))
        return connect(url)

    return make


@pytest.fixture
def db(filled_by: Callable[[Fill], Any]) -> Any:
    return filled_by(provisioned)


@pytest.fixture
def store(db: Any) -> Store:
    return Store(db)


class Requests:
    """Records the requests that a database object sends, and can lose the answer to the next ones."""

    def __init__(self, db: Any) -> None:
        self.sent: list[tuple[str, str]] = []
        self.answers: list[Any] = []
        self.replies_to_lose = 0
        self._client = db.conn._http
        self._send = self._client.send_request
        self._client.send_request = self._record

    def _record(self, session: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        import requests

        self.sent.append((method, urlsplit(url).path))
        answer = self._send(session, method, url, *args, **kwargs)
        self.answers.append(deepcopy(answer.raw_body))
        if self.replies_to_lose:
            self.replies_to_lose -= 1
            raise requests.ConnectionError("the reply was lost")
        return answer

    def __len__(self) -> int:
        return len(self.sent)


@pytest.fixture
def requests_of() -> Any:
    return Requests


def dump(db: Any) -> dict[str, dict[str, Any]]:
    """Return everything stored in the graph and its audit, by _id."""
    names = [c["name"] for c in db.collections() if not c["system"]]
    return {d["_id"]: d for name in sorted(names) for d in db.collection(name).all()}
