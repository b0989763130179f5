"""Errors as RFC 9457 problem documents, and what a request may weigh."""

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from arangopipe_ops import errors

MAX_BODY_BYTES = 32 * 1024 * 1024

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Problem(BaseModel):
    """What went wrong (RFC 9457). `detail` names the thing and the cure."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    path: str | None = None
    references: list[str] | None = None
    attributes: list[str] | None = None


_TITLES: Mapping[int, str] = {
    401: "Sign in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Too large",
    422: "Invalid",
    502: "The database refused",
    503: "Unavailable",
}

_STATUS: Mapping[type[errors.ArangopipeError], int] = {
    errors.Invalid: 422,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Unauthorized: 401,
    errors.Unavailable: 503,
    errors.NotProvisioned: 503,
    errors.Misconfigured: 503,
    errors.Refused: 502,
}

RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": _TITLES[status], "content": {"application/problem+json": {}}}
    for status in (401, 403, 404, 409, 413, 422, 503)
}
"""The problems that any route may answer, for the OpenAPI document."""


def install(app: FastAPI) -> None:
    """Answer every error of ours and of the framework as a problem document, and refuse bodies that are too large."""
    app.add_exception_handler(errors.ArangopipeError, _ours)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_middleware(BodyLimit)


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **facts: Any) -> Response:
    content = {"type": "about:blank", "title": _TITLES.get(status, "Error"), "status": status, "detail": detail}
    content |= {name: value for name, value in facts.items() if value}
    return Response(json.dumps(content), status, dict(headers or {}), "application/problem+json")


async def _ours(request: Request, error: Exception) -> Response:
    status = _STATUS.get(type(error), 502)  # type: ignore[arg-type]
    if status == 401 and getattr(error.__cause__, "http_code", None) == 403:
        status = 403
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "5"}}.get(status)
    facts = {name: getattr(error, name, None) for name in ("path", "references", "attributes")}
    return problem(status, str(error), headers, **facts)


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"][1:])
    return problem(422, f"{path}: {first['msg']}" if path else first["msg"], path=path)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, str(error.detail), error.headers)


class BodyLimit:
    """Answers 413 to a body over `MAX_BODY_BYTES`, also to one that does not say its length."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], limit: int = MAX_BODY_BYTES) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self.limit:
            return await self._refused(scope, receive, send)
        taken = 0

        async def counted() -> MutableMapping[str, Any]:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.limit:
                raise HTTPException(413, f"the body is larger than {self.limit:,} bytes")
            return message

        return await self.app(scope, counted, send)

    async def _refused(self, scope: Scope, receive: Receive, send: Send) -> None:
        await problem(413, f"the body is larger than {self.limit:,} bytes")(scope, receive, send)
