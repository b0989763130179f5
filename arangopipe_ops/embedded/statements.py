"""Running AQL statements: parsed and planned once, then executed in one transaction each."""

from __future__ import annotations

import marshal
import math
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .binding import BindParameters, bind
from .context import Context
from .errors import ArangoError
from .executor import Plan, Result, execute
from .parser import parse
from .planner import plan_query
from .queries import Queries
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
    memory_limit: int = 0
    """Bytes of the result; none if 0."""


class Statements:
    """The statements of a database file and their plans."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._plans: OrderedDict[tuple[Any, ...], Plan] = OrderedDict()

    def run(
        self, request: Request, text: str, bind_values: dict[str, Value], options: QueryOptions = QueryOptions()
    ) -> Result:
        """Run a statement in a transaction of the request's; its values are copies of nobody else's.

        Raises 1500 if it runs for too long or is killed, 32 if its result is too large.
        """
        statement = parsed(text)
        statement.parameters.check(bind_values)
        deadline = time.monotonic() + (options.max_runtime or math.inf)
        with request.transaction(statement.writes, statement.sync(bind_values)) as transaction:
            plan = self._plan(transaction, request.database, text, statement, bind_values)
            context = Context(transaction, request.database, deadline, options.full_count, options.fail_on_warning)
            request.restrict(transaction, _needs(plan))
            with self._queries.watched(request.user.name, text, bind_values, context, statement.writes):
                result = execute(plan, context, bind_values)
            return replace(result, values=_copied(result.values, options.memory_limit))

    def plan(self, request: Request, text: str, bind_values: dict[str, Value]) -> Plan:
        statement = parsed(text)
        statement.parameters.check(bind_values)
        with request.transaction() as transaction:
            plan = self._plan(transaction, request.database, text, statement, bind_values)
            request.check(transaction, _needs(plan), planning=True)
            return plan

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

    def cached(self, database: str) -> list[str]:
        """The statements of a database whose plans are kept."""
        return [text for _, owner, text, _ in list(self._plans) if owner == database]

    def forget(self, database: str) -> None:
        for key in [key for key in list(self._plans) if key[1] == database]:
            self._plans.pop(key, None)


def _needs(plan: Plan) -> dict[str, str]:
    return {name: WRITE if mode == "write" else READ for name, mode in plan.collections.items()}


def _copied(values: list[Value], limit: int) -> list[Value]:
    """Values that nobody else has; raises 32 if they take more bytes than `limit`, if that is not 0."""
    # Rows may share values with each other, bind variables and the cached plan: version 2 of
    # marshal's format keeps no references, so reading it back parts them.
    content = marshal.dumps(values, 2)
    if 0 < limit < len(content):
        raise ArangoError(32)
    copied: list[Value] = marshal.loads(content)
    return copied
