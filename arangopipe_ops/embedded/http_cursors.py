"""AQL statements and the cursors of their results. Manual: develop/http-api/queries/aql-queries."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import dataclass, field
from typing import Any

from .errors import ArangoError
from .held import Held, find, forget_expired, owner_of
from .http_queries import explained
from .request import Request, Response, Route, shaped, success
from .statements import Answer, Asking, QueryOptions, parsed

DEFAULT_BATCH = 1000
DEFAULT_SECONDS = 30.0
OPTION_TYPES = {"fullCount": bool, "failOnWarning": bool, "maxRuntime": float, "memoryLimit": int, "allowRetry": bool}
OPTION_TYPES |= {"cache": bool, "stream": bool, "optimizer": dict, "usePlanCache": bool}
BODY_TYPES = {"bindVars": dict, "options": dict, "batchSize": int, "ttl": float, "count": bool, "memoryLimit": int}
_numbers = itertools.count(time.time_ns())


@dataclass(slots=True, kw_only=True)
class Cursor(Held):
    """A result of which some is still to be fetched."""

    values: list[Any]
    batch_size: int
    envelope: dict[str, Any]
    retry: bool
    """Whether the latest batch can be asked for again, by its number."""
    number: str = field(default_factory=lambda: str(next(_numbers)))
    position: int = 0
    batch: int = 0
    latest: Response | None = None

    def page(self, status: int) -> Response:
        """The next batch."""
        values = self.values[self.position : self.position + self.batch_size]
        self.position += len(values)
        self.batch += 1
        self.touch()
        known = {"id": self.number, "nextBatchId": str(self.batch + 1)} if self.has_more else {}
        page = success(status, **known, hasMore=self.has_more, result=values, **self.envelope)
        self.latest = page if self.retry else None
        return page

    @property
    def has_more(self) -> bool:
        return self.position < len(self.values)


def execute(request: Request) -> Response:
    if not request.raw:
        raise ArangoError(1502)
    return first_batch(request, request.object())


def first_batch(request: Request, given: dict[str, Any]) -> Response:
    """Of a statement's result; `given` is what the body of a request for a cursor is."""
    started = time.perf_counter()
    given = shaped(given, query=str, **BODY_TYPES)
    text = given.get("query")
    if not text or not text.strip():
        raise ArangoError(1502)
    options = shaped(given.get("options") or {}, **OPTION_TYPES)
    batch_size = given.get("batchSize", DEFAULT_BATCH)
    if batch_size is None or batch_size < 1:
        raise ArangoError(10, message="bad parameter: batchSize has to be positive")
    prepared = time.perf_counter()
    parsed(text)
    phases = {"initializing": prepared - started, "parsing": time.perf_counter() - prepared}
    asked = Asking(request, text, given.get("bindVars") or {}, _options(given, options))
    answer = request.file.statements.run(asked)
    envelope = _envelope(asked, given, options, answer, phases)
    cursor = Cursor(
        owner=owner_of(request),
        seconds=float(given.get("ttl") or DEFAULT_SECONDS),
        values=answer.values,
        batch_size=batch_size,
        envelope=envelope,
        retry=bool(options.get("allowRetry")),
    )
    return _first(request, cursor)


def _options(given: dict[str, Any], options: dict[str, Any]) -> QueryOptions:
    return QueryOptions(
        bool(options.get("fullCount")),
        bool(options.get("failOnWarning")),
        float(options.get("maxRuntime") or 0),
        int(given.get("memoryLimit") or options.get("memoryLimit") or 0),
        options.get("cache"),
        bool(options.get("stream")),
        bool(given.get("count")),
        json.dumps(options["optimizer"]) if options.get("optimizer") else "",
        bool(options.get("usePlanCache")),
    )


def _envelope(
    asked: Asking, given: dict[str, Any], options: dict[str, Any], answer: Answer, phases: dict[str, float]
) -> dict[str, Any]:
    """What every batch of a result carries along; the measurement of single nodes is not there.

    The results of streams are not counted.
    """
    statistics = answer.statistics
    if options.get("fullCount"):
        statistics.setdefault("fullCount", len(answer.values))
    extra: dict[str, Any] = {"warnings": answer.warnings, "stats": statistics}
    level = 0 if answer.cached else int(options.get("profile") or 0)
    if level:
        extra["profile"] = phases | {"executing": answer.seconds}
    if level > 1:
        plan, _ = asked.request.file.statements.plan(asked._replace(options=QueryOptions()))
        extra["plan"] = explained(plan, parsed(asked.text).writes)
        answer.statistics["nodes"] = []
    counted = {"count": len(answer.values)} if given.get("count") and not asked.options.stream else {}
    known = {"planCacheKey": answer.plan_key} if answer.plan_key is not None else {}
    return {**counted, **known, "cached": answer.cached, "extra": extra}


def _first(request: Request, cursor: Cursor) -> Response:
    page = cursor.page(201)
    if cursor.has_more:
        forget_expired(request.file.cursors)
        request.file.cursors[cursor.number] = cursor
    return page


def _cursor(request: Request, number: str) -> Cursor:
    cursor: Cursor | None = find(request.file.cursors, number, request)
    if cursor is None:
        raise ArangoError(1600, message=f"cursor not found: {number}")
    return cursor


def more(request: Request, number: str) -> Response:
    """The next batch; the cursor of a result that is all fetched is gone, unless it can be retried."""
    cursor = _cursor(request, number)
    if not cursor.has_more:
        raise ArangoError(1600, message=f"cursor not found: {number}")
    page = cursor.page(200)
    if not (page.body["hasMore"] or cursor.retry):
        request.file.cursors.pop(number, None)
    return page


def batch(request: Request, number: str, wanted: str) -> Response:
    """The next batch or, of a cursor that allows it, the latest one again."""
    cursor = _cursor(request, number)
    if cursor.latest is not None and wanted == str(cursor.batch):
        cursor.touch()
        return Response(200, cursor.latest.body)
    if cursor.retry and wanted != str(cursor.batch + 1):
        raise ArangoError(1600, message=f"cursor not found: batch {wanted} of {number}")
    return more(request, number)


def close(request: Request, number: str) -> Response:
    request.file.cursors.pop(_cursor(request, number).number, None)
    return success(202, id=number)


def unnamed(request: Request) -> Response:
    raise ArangoError(400, message="expecting POST /_api/cursor/<cursor-id>")


ROUTES: tuple[Route, ...] = (
    ("POST", "/_api/cursor", execute),
    ("PUT", "/_api/cursor", unnamed),
    ("POST", "/_api/cursor/{id}", more),
    ("PUT", "/_api/cursor/{id}", more),
    ("POST", "/_api/cursor/{id}/{batch}", batch),
    ("DELETE", "/_api/cursor/{id}", close),
)
