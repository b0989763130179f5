"""Statements parsed, explained, listed and killed. Manual: develop/http-api/queries."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from .context import warning
from .errors import ArangoError
from .executor import Plan
from .explain import Node, nodes_of
from .plan_cache import Asked
from .queries import SECONDS, TRACKING
from .request import Request, Response, Route, shaped, success
from .result_cache import MODES, OFF
from .statements import Asking, QueryOptions, parsed

USE_INDEXES = "use-indexes"
RULES = {USE_INDEXES: "Look documents up in an index, also for ranges and the order of the result."}
"""What the planner does that a server's optimizer has a name for."""
EXPLAIN_TYPES = {"allPlans": bool, "failOnWarning": bool, "optimizer": dict, "usePlanCache": bool, "fullCount": bool}
RULE_FLAGS = dict.fromkeys(
    ("hidden", "clusterOnly", "canBeDisabled", "canCreateAdditionalPlans", "disabledByDefault", "enterpriseOnly"), False
)


def rules(request: Request) -> Response:
    shown = [{"name": name, "description": text, "flags": RULE_FLAGS} for name, text in RULES.items()]
    return Response(200, shown)


def parse(request: Request) -> Response:
    text = _text(request.object())
    statement = parsed(text)
    names = sorted(statement.parameters.names)
    collections = sorted({clause.name for clause in statement.query.collections})
    return success(200, parsed=True, collections=collections, bindVars=names, ast=[], warnings=[])


def _text(given: dict[str, Any]) -> str:
    text = given.get("query")
    if not isinstance(text, str) or not text.strip():
        raise ArangoError(1502)
    return text


def explain(request: Request) -> Response:
    given = request.object(bindVars=dict, options=dict)
    text = _text(given)
    options = shaped(given.get("options") or {}, **EXPLAIN_TYPES)
    started = time.perf_counter()
    asked = Asking(request, text, given.get("bindVars") or {}, _planning(options))
    planned, key = request.file.statements.plan(asked)
    if options.get("failOnWarning") and planned.warnings:
        raise ArangoError(*planned.warnings[0])
    plan = explained(planned, parsed(text).writes)
    stats: dict[str, Any] = {"rulesExecuted": 0, "rulesSkipped": 0, "plansCreated": 1, "peakMemoryUsage": 0}
    stats["executionTime"] = time.perf_counter() - started
    if options.get("profile") == 2:
        stats["rules"] = {}
    shown: dict[str, Any] = {"plans": [plan]} if options.get("allPlans") else {"plan": plan}
    shown |= {"planCacheKey": key} if key is not None else {}
    warnings = [warning(*each) for each in planned.warnings]
    return success(200, **shown, cacheable=parsed(text).is_cacheable, warnings=warnings, stats=stats)


def _planning(options: dict[str, Any]) -> QueryOptions:
    wanted = bool(options.get("usePlanCache"))
    if wanted and options.get("allPlans"):
        raise ArangoError(1584)
    full_count = bool(options.get("fullCount"))
    return QueryOptions(full_count, optimizer=json.dumps(options.get("optimizer") or {}), plan_cache=wanted)


def explained(plan: Plan, modifies: bool) -> dict[str, Any]:
    """A plan in the shape of a server's: its operators as a chain of nodes, those of subqueries inside."""
    nodes = nodes_of(plan.block)
    return {
        "nodes": nodes,
        "rules": [USE_INDEXES] if any(node["type"] == "IndexNode" for node in _all_nodes(nodes)) else [],
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
    """The plans that were asked for to be cached, but of collections that are hidden from the user."""
    with request.transaction() as transaction:
        hidden = request.user.hidden(transaction.catalog, request.database)
        asked = request.file.statements.asked.entries(transaction.catalog.version, request.database)
    visible = [(key, each) for key, each in asked if hidden.isdisjoint(each.plan.collections)]
    return Response(200, [each.shown(key, _size(each)) for key, each in visible])


def _size(asked: Asked) -> int:
    """What the statement and its explained plan take as text, which is less than what they take in memory."""
    return len(asked.text) + len(json.dumps(explained(asked.plan, parsed(asked.text).writes)))


def forget_plans(request: Request) -> Response:
    request.file.statements.forget_plans(request.database)
    return success(200)


RESULT_CACHE = {
    "mode": ("mode", str),
    "maxResults": ("max_results", int),
    "maxResultsSize": ("max_results_size", int),
    "maxEntrySize": ("max_entry_size", int),
    "includeSystem": ("include_system", bool),
}
"""Property of the results cache -> its name and type here."""


def result_cache(request: Request) -> Response:
    properties = request.file.results.properties
    return Response(200, {name: getattr(properties, ours) for name, (ours, _) in RESULT_CACHE.items()})


def change_result_cache(request: Request) -> Response:
    given = request.object(**{name: kind for name, (_, kind) in RESULT_CACHE.items()})
    changes = {ours: given[name] for name, (ours, _) in RESULT_CACHE.items() if given.get(name) is not None}
    if changes.get("mode", OFF) not in MODES:
        raise ArangoError(10, message=f"bad parameter: 'mode' has to be one of {', '.join(MODES)}")
    if any(isinstance(value, int) and value < 0 for value in changes.values()):
        raise ArangoError(10, message="bad parameter: limits of the results cache cannot be negative")
    request.file.results.configure(changes)
    return result_cache(request)


def cached_results(request: Request) -> Response:
    """Those that were read from nothing that is hidden from the user."""
    with request.transaction() as transaction:
        entries = request.file.results.entries(transaction.stamp, request.database)
        hidden = request.user.hidden(transaction.catalog, request.database)
    return Response(200, [kept.shown(key) for key, kept in entries if hidden.isdisjoint(kept.sources)])


def forget_results(request: Request) -> Response:
    request.file.results.clear(request.database)
    return success(200)


ROUTES: tuple[Route, ...] = (
    ("POST", "/_api/query", parse),
    ("GET", "/_api/query/rules", rules),
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
