"""COLLECT and WINDOW. Manual: aql/high-level-operations/collect, window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import ArangoError, Undefined
from .executor import CollectRows, Grouping
from .expressions import Eval
from .functions import FUNCTIONS
from .scope import EARLIER, Draft, Names
from .tree import Call, Collect, Expr, Literal, Window
from .windows import AdjacentRows, NearbyRows

AGGREGATES = {
    *("LENGTH", "COUNT", "COUNT_DISTINCT", "COUNT_UNIQUE", "MIN", "MAX", "SUM", "AVERAGE", "AVG", "PUSH"),
    *("STDDEV", "STDDEV_POPULATION", "STDDEV_SAMPLE", "VARIANCE", "VARIANCE_POPULATION", "VARIANCE_SAMPLE"),
    *("UNIQUE", "SORTED_UNIQUE", "BIT_AND", "BIT_OR", "BIT_XOR"),
}


def plan_collect(draft: Draft, clause: Collect, position: int) -> None:
    draft.planner.warn_about(clause)
    before, compiled = draft.names, draft.compile
    keys = [(key.name, compiled(key.value)) for key in clause.keys]
    aggregates = [(each.name, *_aggregate(draft, each.value)) for each in clause.aggregates]
    projection = draft.compile_optional(clause.into.projection if clause.into is not None else None)
    visible = before.own.items() if clause.into is None or not clause.into.keep else _kept(draft, clause.into.keep)
    variables = [(name, slot) for name, slot in visible if name not in EARLIER and not name.startswith("*")]
    draft.names = Names(draft.planner, before.outer)
    declare = draft.names.declare
    draft.add(
        CollectRows(
            [(declare(name), value) for name, value in keys],
            [(declare(name), value, aggregate) for name, value, aggregate in aggregates],
            None if clause.into is None else Grouping(declare(clause.into.name), projection, variables),
            None if clause.count is None else declare(clause.count),
        )
    )


def _kept(draft: Draft, names: tuple[str, ...]) -> list[tuple[str, int]]:
    kept = [(name, draft.names.slot(name)) for name in names]
    for name, slot in kept:
        if slot is None:
            raise ArangoError(1512, name)
    return [(name, slot) for name, slot in kept if slot is not None]


def _aggregate(draft: Draft, value: Expr) -> tuple[Eval, Callable[[list[Any]], Any]]:
    """`SUM(x.y)` -> what to gather from each row, and what to make of all that in the end."""
    if not isinstance(value, Call) or value.name not in AGGREGATES or len(value.arguments) > 1:
        raise ArangoError(1574)
    argument = draft.compile(value.arguments[0] if value.arguments else Literal(None))
    return argument, (list if value.name == "PUSH" else _null_without_result(FUNCTIONS[value.name].call))


def _null_without_result(call: Callable[..., Any]) -> Callable[[list[Any]], Any]:
    """What cannot be aggregated, like a sum of strings, is null; there is no warning about it."""

    def aggregate(values: list[Any]) -> Any:
        try:
            return call(values)
        except Undefined:
            return None

    return aggregate


def plan_window(draft: Draft, clause: Window, position: int) -> None:
    value, bounds = draft.compile_optional(clause.value), draft.compile(clause.bounds)
    found = [(each.name, *_aggregate(draft, each.value)) for each in clause.aggregates]
    aggregates = [(draft.names.declare(name), value, aggregate) for name, value, aggregate in found]
    if value is None:
        draft.add(AdjacentRows(bounds, aggregates, draft.slots()))
    else:
        draft.add(NearbyRows(value, bounds, aggregates, draft.slots()))
