"""AQL statements and cursors. Manual: develop/http-api/queries."""

from __future__ import annotations

import itertools
import marshal
import time
from dataclasses import dataclass
from typing import Any

from .errors import ArangoError
from .executor import Plan, Result
from .request import Request, Response, Route, success
from .statements import QueryOptions, parsed

DEFAULT_BATCH = 1000
DEFAULT_SECONDS = 30.0
_numbers = itertools.count(int(time.time()))


@dataclass(slots=True)
class Cursor:
    """A result of which some is still to be fetched; gone once `expires` (monotonic seconds) is over."""

    number: str
    values: list[Any]
    batch_size: int
    envelope: dict[str, Any]
    seconds: float
    expires: float
    position: int = 0
    batch: int = 1

    def page(self, status: int) -> Response:
        values = self.values[self.position : self.position + self.batch_size]
        self.position += len(values)
        self.batch += 1
        self.expires = time.monotonic() + self.seconds
        more = self.position < len(self.values)
        following = {"nextBatchId": str(self.batch)} if more else {}
        return success(status, id=self.number, hasMore=more, result=values, **following, **self.envelope)


def execute(request: Request) -> Response:
    given = request.object()
    text, options = given.get("query"), given.get("options") or {}
    if not isinstance(text, str) or not text.strip():
        raise ArangoError(1502)
    result = request.file.statements.run(
        request.database, text, given.get("bindVars") or {}, _options(options), request.flag("waitForSync")
    )
    # Rows may share values with each other, bind variables and the cached plan: version 2 of
    # marshal's format keeps no references, so reading it back parts them.
    values = marshal.loads(marshal.dumps(result.values, 2))
    return _answer(request, given, result, values)


def _options(given: dict[str, Any]) -> QueryOptions:
    return QueryOptions(
        bool(given.get("fullCount")), bool(given.get("failOnWarning")), float(given.get("maxRuntime") or 0)
    )


def _answer(request: Request, given: dict[str, Any], result: Result, values: list[Any]) -> Response:
    batch_size = int(given.get("batchSize") or DEFAULT_BATCH)
    if batch_size < 1:
        raise ArangoError(10, message="bad parameter: batchSize has to be positive")
    statistics = result.context.statistics(result.seconds)
    envelope = {"cached": False, "extra": {"warnings": result.context.warnings, "stats": statistics}}
    counted = {"count": len(values)} if given.get("count") else {}
    if len(values) <= batch_size:
        return success(201, result=values, hasMore=False, **counted, **envelope)
    seconds = float(given.get("ttl") or DEFAULT_SECONDS)
    cursor = Cursor(str(next(_numbers)), values, batch_size, counted | envelope, seconds, 0.0)
    _forget_expired(request)
    request.file.cursors[cursor.number] = cursor
    return cursor.page(201)


def _forget_expired(request: Request) -> None:
    now = time.monotonic()
    for number, cursor in list(request.file.cursors.items()):
        if cursor.expires < now:
            request.file.cursors.pop(number, None)


def more(request: Request, number: str, batch: str = "") -> Response:
    cursor: Cursor | None = request.file.cursors.get(number)
    if cursor is None:
        raise ArangoError(1600, message=f"cursor not found: {number}")
    return cursor.page(200)


def close(request: Request, number: str) -> Response:
    if request.file.cursors.pop(number, None) is None:
        raise ArangoError(1600, message=f"cursor not found: {number}")
    return success(202, id=number)


def parse(request: Request) -> Response:
    text = str(request.object().get("query", ""))
    statement = parsed(text)
    names = sorted(statement.parameters.names)
    collections = sorted({clause.name for clause in statement.query.collections})
    return success(200, parsed=True, collections=collections, bindVars=names, ast=[])


def explain(request: Request) -> Response:
    given = request.object()
    text, values = str(given.get("query", "")), given.get("bindVars") or {}
    plan = _explained(request.file.statements.plan(request.database, text, values), parsed(text).writes)
    options = given.get("options") or {}
    shown: dict[str, Any] = {"plans": [plan]} if options.get("allPlans") else {"plan": plan}
    stats = {"rulesExecuted": 0, "rulesSkipped": 0, "plansCreated": 1}
    return success(200, **shown, cacheable=not parsed(text).writes, warnings=[], stats=stats)


def _explained(plan: Plan, modifies: bool) -> dict[str, Any]:
    """The operators as a chain of nodes, in the shape of a server's plan."""
    ends = [{"type": "ReturnNode"}] if plan.block.result is not None else []
    nodes = [{"type": "SingletonNode"}, *(operator.explain() for operator in plan.block.operators), *ends]
    chained = [
        {"type": node["type"], "id": number, "dependencies": [number - 1] if number > 1 else []} | node
        for number, node in enumerate(nodes, start=1)
    ]
    indexed = any(node["type"] == "IndexNode" for node in nodes)
    return {
        "nodes": chained,
        "rules": ["use-indexes"] if indexed else [],
        "collections": [{"name": name, "type": mode} for name, mode in sorted(plan.collections.items())],
        "variables": [{"id": slot, "name": name} for slot, name in enumerate(plan.variables, start=1)],
        "estimatedCost": float(len(nodes)),
        "estimatedNrItems": 0,
        "isModificationQuery": modifies,
    }


ROUTES: tuple[Route, ...] = (
    ("POST", "/_api/cursor", execute),
    ("POST", "/_api/cursor/{id}", more),
    ("PUT", "/_api/cursor/{id}", more),
    ("POST", "/_api/cursor/{id}/{batch}", more),
    ("DELETE", "/_api/cursor/{id}", close),
    ("POST", "/_api/query", parse),
    ("POST", "/_api/explain", explain),
)
