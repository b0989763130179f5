"""python-arango on an embedded database: its HTTPClient that calls `Database.handle` in process."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from arango.client import ArangoClient
from arango.http import HTTPClient
from arango.response import Response
from requests import Session

from . import Database, open_database
from .connection import BUSY_SECONDS

HOST = "http://embedded"


class EmbeddedHTTPClient(HTTPClient):
    """Sends python-arango's requests to a `Database` instead of a socket.

    With `objects` bodies travel as Python objects, for a client whose (de)serializer is the identity;
    otherwise as the JSON text that ArangoClient's default (de)serializer reads and writes.
    """

    def __init__(self, database: Database, objects: bool = False) -> None:
        self._database = database
        self._raw: Callable[[Any], Any] = _identity if objects else json.dumps

    @property
    def path(self) -> Path:
        """The database's file."""
        return self._database.storage.path

    def create_session(self, host: str) -> Session:
        return Session()

    def send_request(
        self,
        session: Session,
        method: str,
        url: str,
        headers: MutableMapping[str, str] | None = None,
        params: MutableMapping[str, str] | None = None,
        data: Any = None,
        auth: tuple[str, str] | None = None,
    ) -> Response:
        answer = self._database.handle(method, urlsplit(url).path, params or {}, headers or {}, data)
        raw = self._raw(answer.body) if answer.is_json else answer.body or ""
        return Response(method, url, answer.headers, answer.status, answer.reason, raw)


def client(path: str | os.PathLike[str], busy_seconds: float = BUSY_SECONDS) -> ArangoClient:
    """A python-arango client on the database file at `path`, which is created on first use."""
    http_client = EmbeddedHTTPClient(open_database(path, busy_seconds), objects=True)
    return ArangoClient(HOST, http_client=http_client, serializer=_identity, deserializer=_identity)


def _identity(value: Any) -> Any:
    return value
