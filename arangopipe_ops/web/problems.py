"""Errors as RFC 9457 problem documents, and what a request may weigh."""

import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from arangopipe_ops import errors

MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_FORM_BYTES = 1024 * 1024
MAX_UNKNOWN_BYTES = 64 * 1024
"""What is read of somebody whom the database has not let in: no other request goes on while a body is taken apart."""

UNKNOWN = {"/api/v1/token", "/sign-in"}
STREAMED = {"/api/v1/stages"}
MAX_DETAIL = 1000
MEDIA_TYPE = "application/problem+json"

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
    400: "Malformed",
    401: "Sign in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "Not to be had",
    409: "Conflict",
    413: "Too large",
    415: "Not JSON",
    422: "Invalid",
    500: "A fault of this service",
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
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problems that a route may answer, for the OpenAPI document."""
    return {status: {"model": Problem, "description": _TITLES[status]} for status in statuses}


def documented(document: dict[str, Any]) -> dict[str, Any]:
    """Give the problems of an OpenAPI document their media type, which FastAPI takes to be that of answers."""
    for operations in document["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if status >= "400":
                    response["content"] = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return document


def install(app: FastAPI) -> None:
    """Answer every error of ours and of the framework as a problem document, and refuse bodies that are too large."""
    for error, handler in HANDLERS.items():
        app.add_exception_handler(error, handler)
    app.add_middleware(BodyLimit)


class Answer(JSONResponse):
    """JSON as it is; half of a surrogate pair, which UTF-8 has not, becomes a question mark."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **facts: Any) -> Answer:
    """Return a problem document as a response."""
    detail = detail if len(detail) <= MAX_DETAIL else f"{detail[:MAX_DETAIL]}…"
    content = {"type": "about:blank", "title": _TITLES.get(status, "Error"), "status": status, "detail": detail}
    content |= {name: value for name, value in facts.items() if value}
    return Answer(content, status, dict(headers or {}), MEDIA_TYPE)


async def _ours(request: Request, error: Exception) -> Answer:
    assert isinstance(error, errors.ArangopipeError)
    status = status_of(error)
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "5"}}.get(status)
    facts = {name: getattr(error, name, None) for name in ("path", "references", "attributes")}
    return problem(status, str(error), headers, **facts)


def status_of(error: errors.ArangopipeError) -> int:
    """Return the HTTP status that an error of ours is answered with."""
    if isinstance(error, errors.Refused):
        return 422 if 400 <= error.status < 500 else 503
    if isinstance(error, errors.Unauthorized) and error.signed_in:
        return 403
    return _STATUS.get(type(error), 500)


async def _validation(request: Request, error: Exception) -> Answer:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return problem(400, f"the body is not JSON: {first['ctx']['error']}")
    if isinstance(error.body, bytes):
        return problem(415, "the body is not said to be JSON; send Content-Type: application/json")
    path = ".".join(str(part) for part in first["loc"][1:])
    return problem(422, f"{path}: {first['msg']}" if path else first["msg"], path=path)


async def _http(request: Request, error: Exception) -> Answer:
    assert isinstance(error, HTTPException)
    detail = _DETAILS.get(str(error.detail)) or str(error.detail)
    if error.status_code == 405:
        allowed = _allowed(request)
        return problem(405, f"{detail}; it takes {allowed}", {"Allow": allowed})
    if error.status_code == 404 and request.url.path.startswith("/api/"):
        detail = f"{detail}; /openapi.json tells what there is"
    return problem(error.status_code, detail, error.headers)


_DETAILS: Mapping[str, str] = {
    "There was an error parsing the body": "the body cannot be read: JSON in UTF-8 is expected, not nested deeply",
    "Not Found": "there is nothing at this path",
    "Method Not Allowed": "this path does not take this method",
}
"""What we say instead of the framework."""


def _allowed(request: Request) -> str:
    routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return ", ".join(sorted({method for route in routes for method in getattr(route, "methods", ())}))


async def _too_deep(request: Request, error: Exception) -> Answer:
    return problem(422, "the body is nested too deeply")


async def _fault(request: Request, error: Exception) -> Answer:
    return problem(500, "this should not have happened; the log of the service tells more")


Handler = Callable[[Request, Exception], Coroutine[Any, Any, Response]]

HANDLERS: Mapping[type[Exception], Handler] = {
    errors.ArangopipeError: _ours,
    RequestValidationError: _validation,
    HTTPException: _http,
    RecursionError: _too_deep,
    Exception: _fault,
}


def most_bytes(path: str) -> int:
    """Return how large the body of a request for a path may be."""
    if path in UNKNOWN:
        return MAX_UNKNOWN_BYTES
    return MAX_BODY_BYTES if path.startswith("/api/") else MAX_FORM_BYTES


class BodyLimit:
    """Answers 413 to a body over `most_bytes`, also to one that does not say its length.

    The paths in `STREAMED` read theirs piece by piece.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in STREAMED:
            return await self.app(scope, receive, send)
        length, most = dict(scope["headers"]).get(b"content-length", b"0"), most_bytes(scope["path"])
        too_large = f"the body is larger than {most:,} bytes"
        if not length.isdigit() or int(length) > most:
            return await problem(413, too_large)(scope, receive, send)
        taken = 0

        async def counted() -> MutableMapping[str, Any]:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:
                raise HTTPException(413, too_large)
            return message

        return await self.app(scope, counted, send)
