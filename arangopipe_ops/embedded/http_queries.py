"""Statements parsed, explained, listed and killed. Manual: develop/http-api/queries."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from .context import warning
from .errors import ArangoError
from .executor import Plan
from .explain import Node, nodes_of
from .queries import SECONDS, TRACKING
from .request import Request, Response, Route, shaped, success
from .statements import parsed


def parse(request: Request) -> Response:
    text = _text(request.object())
    statement = parsed(text)
    names = sorted(statement.parameters.names)
    collections = sorted({clause.name for clause in statement.query.collections})
    return success(200, parsed=True, collections=collections, bindVars=names, ast=[])


def _text(given: dict[str, Any]) -> str:
    text = given.get("query")
    if not isinstance(text, str) or not text.strip():
        raise ArangoError(1502)
    return text


def explain(request: Request) -> Response:
    given = request.object(bindVars=dict, options=dict)
    text = _text(given)
    options = shaped(given.get("options") or {}, allPlans=bool, failOnWarning=bool)
    started = time.perf_counter()
    planned = request.file.statements.plan(request, text, given.get("bindVars") or {})
    if options.get("failOnWarning") and planned.warnings:
        raise ArangoError(*planned.warnings[0])
    plan = explained(planned, parsed(text).writes)
    stats: dict[str, Any] = {"rulesExecuted": 0, "rulesSkipped": 0, "plansCreated": 1, "peakMemoryUsage": 0}
    stats["executionTime"] = time.perf_counter() - started
    if options.get("profile") == 2:
        stats["rules"] = {}
    shown: dict[str, Any] = {"plans": [plan]} if options.get("allPlans") else {"plan": plan}
    warnings = [warning(*each) for each in planned.warnings]
    return success(200, **shown, cacheable=not parsed(text).writes, warnings=warnings, stats=stats)


def explained(plan: Plan, modifies: bool) -> dict[str, Any]:
    """A plan in the shape of a server's: its operators as a chain of nodes, those of subqueries inside."""
    nodes = nodes_of(plan.block)
    return {
        "nodes": nodes,
        "rules": ["use-indexes"] if any(node["type"] == "IndexNode" for node in _all_nodes(nodes)) else [],
        "collections": [{"name": name, "type": mode} for name, mode in sorted(plan.collections.items())],
        "variables": [{"id": slot, "name": name} for slot, name in enumerate(plan.variables, start=1)],
        "estimatedCost": float(len(nodes)),
        "estimatedNrItems": 0,
        "isModificationQuery": modifies,
    }


def _all_nodes(nodes: list[Node]) -> Iterator[Node]:
    for node in nodes:
        yield node
        yield from _all_nodes(node.get("subquery", {}).get("nodes", []))


# running statements


def tracking(request: Request) -> Response:
    return Response(200, request.file.queries.tracking)


def change_tracking(request: Request) -> Response:
    given = request.object(**{name: float if name in SECONDS else type(value) for name, value in TRACKING.items()})
    known = {name: value for name, value in given.items() if name in TRACKING and value is not None}
    request.file.queries.tracking.update(known)
    return tracking(request)


def running(request: Request) -> Response:
    return Response(200, [query.shown() for query in request.file.queries.running(request.database)])


def slow(request: Request) -> Response:
    return Response(200, [query.shown() for query in request.file.queries.slow(request.database)])


def forget_slow(request: Request) -> Response:
    request.file.queries.forget_slow(request.database)
    return success(200)


def kill(request: Request, number: str) -> Response:
    request.file.queries.kill(number, request.database)
    return success(200)


# caches


def plans(request: Request) -> Response:
    """The cached plans, by their statements."""
    cached = request.file.statements.cached(request.database)
    return Response(200, [{"query": text, "bindVars": {}, "fullCount": False} for text in cached])


def forget_plans(request: Request) -> Response:
    request.file.statements.forget(request.database)
    return success(200)


RESULT_CACHE = {"mode": "off", "maxResults": 0, "maxResultsSize": 0, "maxEntrySize": 0, "includeSystem": False}


def result_cache(request: Request) -> Response:
    """Results are never cached here, and this says so."""
    return Response(200, RESULT_CACHE)


def change_result_cache(request: Request) -> Response:
    if request.object(mode=str).get("mode", "off") != "off":
        raise ArangoError(9, message="not implemented: results are not cached here, use persistent indexes")
    return result_cache(request)


def cached_results(request: Request) -> Response:
    return Response(200, [])


def forget_results(request: Request) -> Response:
    return success(200)


ROUTES: tuple[Route, ...] = (
    ("POST", "/_api/query", parse),
    ("POST", "/_api/explain", explain),
    ("GET", "/_api/query/properties", tracking),
    ("PUT", "/_api/query/properties", change_tracking),
    ("GET", "/_api/query/current", running),
    ("GET", "/_api/query/slow", slow),
    ("DELETE", "/_api/query/slow", forget_slow),
    ("DELETE", "/_api/query/{id}", kill),
    ("GET", "/_api/query-plan-cache", plans),
    ("DELETE", "/_api/query-plan-cache", forget_plans),
    ("GET", "/_api/query-cache/properties", result_cache),
    ("PUT", "/_api/query-cache/properties", change_result_cache),
    ("GET", "/_api/query-cache/entries", cached_results),
    ("DELETE", "/_api/query-cache", forget_results),
)
