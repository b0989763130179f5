"""Running AQL statements: parsed and planned once, then executed in one transaction each."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .binding import BindParameters, bind
from .context import Context
from .executor import Plan, Result, execute
from .parser import parse
from .planner import plan_query
from .storage import Storage, Transaction
from .tree import MODIFICATIONS, Literal, Object, Param, Query, walk
from .values import Value, is_true

CACHED_TEXTS = 512
CACHED_PLANS = 1024


class Statement:
    """A query's text, parsed."""

    def __init__(self, text: str) -> None:
        self.query: Query = parse(text)
        self.parameters = BindParameters(self.query)
        modifications = [node for node in walk(self.query) if isinstance(node, MODIFICATIONS)]
        self.writes = bool(modifications)
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


@dataclass(frozen=True, slots=True)
class QueryOptions:
    full_count: bool = False
    fail_on_warning: bool = False
    max_runtime: float = 0.0
    """Seconds; none if 0."""


class Statements:
    """The statements of a database file and their plans."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._plans: OrderedDict[tuple[Any, ...], Plan] = OrderedDict()

    def run(
        self,
        database: str,
        text: str,
        bind_values: dict[str, Value],
        options: QueryOptions = QueryOptions(),
        sync: bool = False,
    ) -> Result:
        statement = parsed(text)
        statement.parameters.check(bind_values)
        sync = statement.writes and (sync or statement.sync(bind_values))
        with self._storage.transaction(statement.writes, sync) as transaction:
            plan = self._plan(transaction, database, text, statement, bind_values)
            deadline = time.monotonic() + options.max_runtime if options.max_runtime else None
            context = Context(transaction, database, deadline, options.full_count, options.fail_on_warning)
            return execute(plan, context, bind_values)

    def plan(self, database: str, text: str, bind_values: dict[str, Value]) -> Plan:
        statement = parsed(text)
        statement.parameters.check(bind_values)
        with self._storage.transaction(write=False) as transaction:
            return self._plan(transaction, database, text, statement, bind_values)

    def _plan(
        self,
        transaction: Transaction,
        database: str,
        text: str,
        statement: Statement,
        bind_values: dict[str, Value],
    ) -> Plan:
        """From the cache, which knows what a plan depends on: catalog, text and structural bind values."""
        key = (transaction.catalog.version, database, text, statement.parameters.shape(bind_values))
        plan = self._plans.get(key)
        if plan is None:
            plan = plan_query(bind(statement.query, bind_values), transaction, database)
            self._plans[key] = plan
            if len(self._plans) > CACHED_PLANS:
                self._plans.popitem(last=False)
        return plan
