"""A real HTTP server for tests, which answers what a function of the test says."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit


class Asked(NamedTuple):
    """A request: path, parameters of the URL and of the form, headers, body."""

    path: str
    parameters: dict[str, str]
    headers: dict[str, str]
    body: bytes


Answer = tuple[int, bytes | str]


class AnsweringServer(ThreadingHTTPServer):
    """Answers each request by `answer`, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self, answer: Callable[[Asked], Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.asked: list[Asked] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: AnsweringServer

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        form = body.decode() if "form" in (self.headers.get("Content-Type") or "") else ""
        parameters = {name: each[0] for text in (parts.query, form) for name, each in parse_qs(text).items()}
        asked = Asked(parts.path, parameters, dict(self.headers), body)
        self.server.asked.append(asked)
        status, text = self.server.answer(asked)
        data = text.encode() if isinstance(text, str) else text
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def answering(answer: Callable[[Asked], Answer]) -> Iterator[AnsweringServer]:
    server = AnsweringServer(answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
