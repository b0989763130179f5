"""An embedded database as python-arango's users see it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from arango import ArangoClient

from arangopipe_ops.embedded import open_database
from arangopipe_ops.embedded.transport import EmbeddedHTTPClient, client


@pytest.fixture(params=["objects", "json"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A database through both ways of the transport: Python objects, and JSON text."""
    if request.param == "objects":
        return client(tmp_path / "x.db").db("_system")
    http_client = EmbeddedHTTPClient(open_database(tmp_path / "x.db"))
    return ArangoClient("http://embedded", http_client=http_client).db("_system")


def handle(db: Any, *arguments: Any) -> Any:
    """An HTTP request of its own to the database behind a client."""
    method, path, body, headers = arguments
    return db.conn._http._database.handle(method, path, {}, headers, body)
