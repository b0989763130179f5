"""Running AQL statements: parsed and planned once, then executed in one transaction each."""

from __future__ import annotations

import json
import marshal
import math
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from .binding import BindParameters
from .checks import is_deterministic
from .context import Context, is_cluster
from .errors import ArangoError
from .executor import Plan, execute
from .parser import parse
from .plan_cache import PlanCache, check_fit
from .planner import plan_query
from .queries import Queries
from .request import TRANSACTION_HEADER
from .result_cache import Kept, Key, ResultCache
from .rights import READ, WRITE
from .storage import Transaction
from .tree import MODIFICATIONS, Literal, Object, Param, Query, walk
from .values import Value, is_true

if TYPE_CHECKING:
    from .request import Request

CACHED_TEXTS = 512
CACHED_PLANS = 1024


class Statement:
    """A query's text, parsed."""

    def __init__(self, text: str) -> None:
        self.query: Query = parse(text)
        self.parameters = BindParameters(self.query)
        modifications = [node for node in walk(self.query) if isinstance(node, MODIFICATIONS)]
        self.writes = bool(modifications)
        self.is_cacheable = not self.writes and all(map(is_deterministic, walk(self.query)))
        self._sync = [value for node in modifications for value in _options(node.options, "waitForSync")]

    def sync(self, bind_values: dict[str, Value]) -> bool:
        """Whether an option `waitForSync` asks for the write to be on disk."""
        return any(is_true(_constant(value, bind_values)) for value in self._sync)


def _options(options: Any, wanted: str) -> list[Any]:
    attributes = options.attributes if isinstance(options, Object) else ()
    return [value for name, value in attributes if isinstance(name, Literal) and name.value == wanted]


def _constant(value: Any, bind_values: dict[str, Value]) -> Value:
    if isinstance(value, Param):
        return bind_values.get(value.name)
    return value.value if isinstance(value, Literal) else None


parsed = lru_cache(maxsize=CACHED_TEXTS)(Statement)


class QueryOptions(NamedTuple):
    full_count: bool = False
    fail_on_warning: bool = False
    max_runtime: float = 0.0
    """Seconds; none if 0."""
    memory_limit: int = 0
    """Bytes of the result; none if 0."""
    cache: bool | None = None
    stream: bool = False
    counted: bool = False
    optimizer: str = ""
    """As JSON."""
    plan_cache: bool = False
    """Whether the plan is to be cached, or is refused with 1584."""


class Asking(NamedTuple):
    """A statement, and all that a request says about it."""

    request: Request
    text: str
    bind_values: dict[str, Value]
    options: QueryOptions


@dataclass(slots=True)
class Answer:
    """What a statement returned; its values are copies of nobody else's."""

    values: list[Value]
    warnings: list[dict[str, Any]]
    statistics: dict[str, Any]
    seconds: float
    cached: bool = False
    plan_key: str | None = None
    """Of the cached plan that was used."""


class Statements:
    """The statements of a database file and their plans."""

    def __init__(self, queries: Queries, results: ResultCache) -> None:
        self._queries = queries
        self._results = results
        self._plans: OrderedDict[tuple[Any, ...], Plan] = OrderedDict()
        self.asked = PlanCache()

    def run(self, asked: Asking) -> Answer:
        """Run a statement in a transaction of the request's, or find its result in the cache.

        Raises 1500 if it runs for too long or is killed, 32 if its result is too large.
        """
        request, text, bind_values, options = asked
        statement = parsed(text)
        statement.parameters.check(bind_values)
        with request.transaction(statement.writes, statement.sync(bind_values)) as transaction:
            if not self._results.is_on:
                return self._run(asked, transaction)
            key = self._key(asked, transaction)
            kept = None if key is None else self._results.find(transaction.stamp, request.database, key)
            if kept is not None and not 0 < options.memory_limit < len(kept.content):
                return Answer(marshal.loads(kept.content), [], dict(kept.statistics), kept.seconds, cached=True)
            return self._run(asked, transaction, key)

    def _run(self, asked: Asking, transaction: Transaction, key: Key | None = None) -> Answer:
        request, text, bind_values, options = asked
        plan, version = self._plan(asked, transaction), transaction.catalog.version
        deadline = time.monotonic() + (options.max_runtime or math.inf)
        context = Context(transaction, request.database, deadline, options.full_count, options.fail_on_warning)
        request.restrict(transaction, _needs(plan))
        plan_key = self._plan_key(asked, version, plan)
        with self._queries.watched(request.user.name, text, bind_values, context, parsed(text).writes):
            result = execute(plan, context, bind_values)
        # Rows may share values with each other, bind variables and the cached plan: version 2 of
        # marshal's format keeps no references, so reading it back parts them.
        content = marshal.dumps(result.values, 2)
        if 0 < options.memory_limit < len(content):
            raise ArangoError(32)
        statistics = context.statistics(result.seconds)
        if key is not None and not context.warnings:
            owned = transaction.catalog.databases[request.database]
            sources = {name: owned[name].id for name in {*plan.collections, *context.reached} if name in owned}
            kept = Kept(text, key[1], content, len(result.values), sources, dict(statistics), result.seconds)
            self._results.keep(transaction.stamp, request.database, key, kept)
        return Answer(marshal.loads(content), context.warnings, statistics, result.seconds, plan_key=plan_key)

    def _key(self, asked: Asking, transaction: Transaction) -> Key | None:
        """What the result is kept by, if it may be; those who may read other collections have other results."""
        request, text, bind_values, options = asked
        if not self._results.wants(options.cache) or options.stream or not parsed(text).is_cacheable:
            return None
        if request.header(TRANSACTION_HEADER) is not None or is_cluster():
            return None
        hidden = request.user.hidden(transaction.catalog, request.database)
        values = json.dumps(dict(sorted(bind_values.items())))
        return text, values, options.full_count, options.counted, options.optimizer, hidden

    def plan(self, asked: Asking) -> tuple[Plan, str | None]:
        """A statement's plan, and its key if it was asked for to be cached and is."""
        parsed(asked.text).parameters.check(asked.bind_values)
        with asked.request.transaction() as transaction:
            plan = self._plan(asked, transaction)
            asked.request.check(transaction, _needs(plan), planning=True)
            return plan, self._plan_key(asked, transaction.catalog.version, plan)

    def _plan_key(self, asked: Asking, version: int, plan: Plan) -> str | None:
        request, text, bind_values, options = asked
        if not options.plan_cache:
            return None
        check_fit(parsed(text).query, plan, bool(json.loads(options.optimizer or "{}").get("rules")))
        return self.asked.ask(version, request.database, text, bind_values, options.full_count, plan)

    def _plan(self, asked: Asking, transaction: Transaction) -> Plan:
        """From the cache, which knows what a plan depends on: catalog, text and structural bind values."""
        request, text, bind_values, _ = asked
        statement = parsed(text)
        key = (transaction.catalog.version, request.database, text, statement.parameters.shape(bind_values))
        plan = self._plans.get(key)
        if plan is None:
            plan = plan_query(statement.parameters.bind(bind_values), transaction, request.database)
            self._plans[key] = plan
            if len(self._plans) > CACHED_PLANS:
                self._plans.popitem(last=False)
        return plan

    def forget_plans(self, database: str) -> None:
        self.asked.clear(database)
        for key in [key for key in list(self._plans) if key[1] == database]:
            self._plans.pop(key, None)


def _needs(plan: Plan) -> dict[str, str]:
    return {name: WRITE if mode == "write" else READ for name, mode in plan.collections.items()}
