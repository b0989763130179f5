"""A database file served over HTTP, as `arangodb` would be: an ASGI application, and uvicorn to run it.

    run(prepare("metadata.db", "127.0.0.1", password="...").database, port=8529)

Every request needs the credentials of one of the file's users.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import re
import secrets
import socket
import time
import zlib
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import uvicorn

from . import users
from .authentication import Authenticator
from .catalog import SYSTEM
from .errors import ArangoError
from .http import Database, open_database, split
from .request import TRANSACTION_HEADER, Response
from .rights import PUBLIC, Identity, need_of

Message: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

THREADS = 16
"""How many requests are worked on at the same time."""
RESERVED = 4
"""How many more of these are for requests within stream transactions."""
MAX_BODY = 512 << 20
"""Bytes of a request's body, also when it is unpacked."""
MAX_UNKNOWN = 64 << 10
"""The same of somebody who is not known, or does not have to be."""
STOP_SECONDS = 10
QUEUE_TIME_HEADER = b"x-arango-queue-time-seconds"
"""How long a request waited for a thread."""
JSON = "application/json; charset=utf-8"
_ONE_TRANSACTION = re.compile(rb"(/_db/[^/]+)?/_api/transaction/[0-9]+(\?.*)?")
NOBODY = Identity("")
DEFAULT_PORT = 8529
PASSWORD_VARIABLE = "ARANGO_ROOT_PASSWORD"
SECRET_VARIABLE = "ARANGO_JWT_SECRET"


class Application:
    """An ASGI application that answers from a `Database`, whose threads are its own."""

    def __init__(self, database: Database, threads: int = THREADS) -> None:
        self._database = database
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._reserved = ThreadPoolExecutor(RESERVED, thread_name_prefix="transaction")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while (event := (await receive())["type"]) != "lifespan.shutdown":
            await send({"type": f"{event}.complete"})
        self._database.queries.kill_all()
        for pool in (self._threads, self._reserved):
            pool.shutdown(wait=True, cancel_futures=True)
        self._database.streams.abort_all()
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        pool = self._reserved if _is_in_transaction(scope) else self._threads
        loop = asyncio.get_running_loop()
        body = await _body(receive, lambda: loop.run_in_executor(pool, self._most, scope))
        status, headers, content = await loop.run_in_executor(pool, self._answer, scope, body, time.monotonic())
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})

    def _answer(
        self, scope: Message, body: bytes | None, queued: float
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        waited = time.monotonic() - queued
        try:
            response = self._handle(scope, body)
        except ArangoError as error:
            response = Response(error.status, error.body())
        shown = [*_headers(response), (QUEUE_TIME_HEADER, f"{waited:.6f}".encode())]
        return response.status, shown, _content(response)

    def _handle(self, scope: Message, body: bytes | None) -> Response:
        """Raises what is wrong with a request before it can be handled."""
        method, path, headers = scope["method"], _path(scope), _received(scope)
        user = self._user(scope)
        params = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        text = _text(body, headers, _most_of(user))
        return self._database.handle(method, path, params, headers, text, user)

    def _user(self, scope: Message) -> Identity:
        """Who asks, or nobody where that does not matter; raises 11 (401) for somebody who is not known."""
        name, rest = split(_path(scope))
        public = need_of(scope["method"], rest) == PUBLIC and (name == SYSTEM or rest.startswith("/_open"))
        return NOBODY if public else self._database.authenticator.identify(_received(scope).get("authorization"))

    def _most(self, scope: Message) -> int:
        """How many bytes the body of a request may have."""
        try:
            return _most_of(self._user(scope))
        except ArangoError:
            return MAX_UNKNOWN


def _is_in_transaction(scope: Message) -> bool:
    """Such a request finds a thread also while all others wait for the transaction's lock."""
    named = any(name == TRANSACTION_HEADER.encode() for name, _ in scope["headers"])
    return named or _ONE_TRANSACTION.fullmatch(scope["raw_path"]) is not None


def _path(scope: Message) -> str:
    path: str = scope["raw_path"].decode("latin-1").partition("?")[0]
    return path


def _received(scope: Message) -> dict[str, str]:
    """The headers of a request."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _most_of(user: Identity) -> int:
    return MAX_UNKNOWN if user is NOBODY else MAX_BODY


async def _body(receive: Receive, allowed: Callable[[], Awaitable[int]]) -> bytes | None:
    """The whole body, or None if it is larger than is allowed, which is asked once it is no small one."""
    chunks, size, most = list[bytes](), 0, MAX_UNKNOWN
    while True:
        message = await receive()
        chunk = message.get("body", b"")
        if size <= MAX_UNKNOWN < size + len(chunk):
            most = await allowed()
        size += len(chunk)
        if size <= most:
            chunks.append(chunk)
        else:
            chunks.clear()
        if not message.get("more_body"):
            return b"".join(chunks) if size <= most else None


def _text(body: bytes | None, headers: dict[str, str], most: int) -> str | bytes | None:
    """The body unpacked; as bytes if it is no text, which only a route that reads it has to refuse."""
    if body is None:
        raise _too_large(most)
    try:
        unpacked = _UNPACK[headers.get("content-encoding", "identity").lower()](body, most) if body else b""
        return _decoded(unpacked) or None
    except KeyError as error:
        raise ArangoError(400, message=f"bad parameter: content-encoding {error}") from None
    except (zlib.error, OSError, EOFError) as error:
        raise ArangoError(400, message=f"bad parameter: the body cannot be read: {error}") from None


def _decoded(content: bytes) -> str | bytes:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def _too_large(most: int) -> ArangoError:
    return ArangoError(413, message=f"request body too large: at most {most} bytes")


def _inflate(body: bytes, wbits: int, most: int) -> bytes:
    stream = zlib.decompressobj(wbits)
    unpacked = stream.decompress(body, most)
    if stream.unconsumed_tail:
        raise _too_large(most)
    return unpacked + stream.flush()


_UNPACK: dict[str, Callable[[bytes, int], bytes]] = {
    "identity": lambda body, most: body,
    "gzip": lambda body, most: _inflate(body, zlib.MAX_WBITS | 16, most),
    "deflate": lambda body, most: _inflate(body, zlib.MAX_WBITS, most),
}


def _content(response: Response) -> bytes:
    if response.body is None:
        return b""
    if not response.is_json:
        return str(response.body).encode()
    return json.dumps(response.body, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")


def _headers(response: Response) -> list[tuple[bytes, bytes]]:
    shown = {"content-type": JSON, **response.headers} if response.body is not None else response.headers
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in shown.items()]


# running it


@dataclass(frozen=True, slots=True)
class Served:
    """A database that is ready to be served, and the password that was made up for its root user, if so."""

    database: Database
    generated: str | None


def prepare(path: str | os.PathLike[str], host: str, password: str | None = None, secret: str | None = None) -> Served:
    """Open a file and see to it that its user `root` has a password.

    Without `password`, or with an empty one, that is the one the file has, or else a new one.
    Raises ValueError if others than this machine could connect and nobody has chosen a password.
    """
    database = open_database(path)
    database.authenticator = Authenticator(database.storage, secret)
    with database.storage.transaction(write=True) as transaction:
        known = users.find(transaction.sqlite, users.ROOT) is not None
        if not password and not known and not is_loopback(host):
            raise ValueError(f"{host} is not this machine alone: choose a password in ${PASSWORD_VARIABLE} first")
        generated = secrets.token_urlsafe(18) if not password and not known else None
        chosen = password or generated
        if chosen is not None:
            users.set_root_password(transaction.sqlite, chosen)
    return Served(database, generated)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str = "127.0.0.1", port: int = DEFAULT_PORT) -> socket.socket:
    """Return a socket that listens; port 0 is any free one. Raises ValueError, and OSError for a port in use."""
    if not 0 <= port < 2**16:
        raise ValueError(f"the port {port} is not between 0 and 65535")
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


def run(database: Database, listener: socket.socket, threads: int = THREADS) -> None:
    """Serve until SIGTERM or SIGINT; requests at work are finished, open transactions aborted."""
    config = uvicorn.Config(
        Application(database, threads),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[listener])
