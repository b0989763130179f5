"""The embedded database behind a real socket, with the faults that networks and servers have."""

import base64
import json
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from arangopipe_ops.admin import provision
from arangopipe_ops.connection import connect
from arangopipe_ops.embedded import Database
from arangopipe_ops.store import Store

PASSWORD = "correct horse"


class SocketServer(ThreadingHTTPServer):
    """Serves one database file; `faults` says what happens to the next requests, one fault each.

    `lose` handles the request and closes the connection without an answer, `refuse` closes it before handling
    the request, `503` answers that the server is busy.
    """

    daemon_threads = True

    def __init__(self, path: Path, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.database = Database(path)
        self.faults: deque[str] = deque()
        self.requests: list[str] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet, or each answer waits for a delayed acknowledgement
    server: SocketServer

    def handle_one_method(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        url = urlsplit(self.path)
        self.server.requests.append(f"{self.command} {url.path}")
        fault = self.server.faults.popleft() if self.server.faults else None
        if fault == "refuse":
            return self._hang_up()
        if fault == "503":
            return self._answer(503, {"error": True, "code": 503, "errorNum": 503, "errorMessage": "busy"})
        if self._password() != PASSWORD:
            return self._answer(401, {"error": True, "code": 401, "errorNum": 401, "errorMessage": "not authorized"})
        answer = self.server.database.handle(
            self.command.lower(), url.path, dict(parse_qsl(url.query)), dict(self.headers), body.decode() or None
        )
        if fault == "lose":
            return self._hang_up()
        return self._answer(answer.status, answer.body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_one_method

    def _password(self) -> str:
        text = self.headers.get("authorization", "").removeprefix("Basic ")
        return base64.b64decode(text).decode().partition(":")[2]

    def _answer(self, status: int, body: Any) -> None:
        content = b"" if body is None or self.command == "HEAD" else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(path: Path, port: int = 0) -> Iterator[SocketServer]:
    server = SocketServer(path, port)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class Outage:
    """A provisioned database that is away: nothing listens at its port until `end`."""

    def __init__(self, path: Path) -> None:
        self.store = Store(connect(f"embedded://{path}"))
        provision(self.store.db)
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port: int = found.getsockname()[1]
        self._path = path
        self._server = ExitStack()

    @property
    def connection(self) -> str:
        """An Airflow connection to it."""
        extra = {"request_timeout": 0.2}
        where = {"host": "127.0.0.1", "port": self.port, "login": "root", "password": PASSWORD}
        return json.dumps({"conn_type": "arangopipe", **where, "extra": extra})

    def end(self, *_: Any) -> None:
        self._server.enter_context(serving(self._path, self.port))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.close()
