"""Syntax tree -> plan: a row of `CLAUSES` for each clause."""

from __future__ import annotations

from .access import conjuncts
from .errors import ArangoError
from .executor import Calculate, FilterRows, LimitRows, Plan, SortRows
from .plan_graphs import plan_paths, plan_traversal
from .plan_groups import plan_collect, plan_window
from .plan_loops import plan_for
from .plan_writes import plan_insert, plan_remove, plan_update, plan_upsert
from .scope import ClauseTable, Draft, Names, Planner
from .storage import Transaction
from .tree import (
    Collect,
    Filter,
    For,
    Insert,
    Lets,
    Limit,
    Literal,
    Paths,
    Query,
    Remove,
    Return,
    Sort,
    Traversal,
    Update,
    Upsert,
    Window,
)


def plan_query(query: Query, transaction: Transaction, database: str) -> Plan:
    """`query` with its bind variables put in -> a plan for the transaction's catalog version."""
    planner = Planner(transaction, database, CLAUSES)
    try:
        for name in query.collections:
            planner.read(name.name)
        block = planner.block(query.clauses, Names(planner, None), outermost=True)
    except RecursionError:
        raise ArangoError(1524) from None
    planner.take_snapshots()
    return Plan(block, planner.size, planner.parameters, planner.collections, planner.variables, planner.warnings)


def plan_let(draft: Draft, clause: Lets, position: int) -> None:
    for assignment in clause.assignments:
        value = draft.compile(assignment.value)
        draft.add(Calculate(draft.names.declare(assignment.name), value))


def plan_filter(draft: Draft, clause: Filter, position: int) -> None:
    for conjunct in conjuncts(clause.test):
        if id(conjunct) not in draft.covered:
            draft.add(FilterRows(draft.compile(conjunct)))


def plan_sort(draft: Draft, clause: Sort, position: int) -> None:
    if id(clause) in draft.covered:
        return
    keys = [(draft.compile(key.value), key.descending) for key in clause.keys]
    draft.add(SortRows(keys, draft.slots()))


def plan_limit(draft: Draft, clause: Limit, position: int) -> None:
    offset = draft.compile(clause.offset or Literal(0))
    count = draft.compile(clause.count)
    last = not any(isinstance(each, Limit) for each in draft.clauses[position + 1 :])
    limit = LimitRows(offset, count, draft.outermost and last)
    if draft.operators and isinstance(draft.operators[-1], SortRows):
        draft.operators[-1].limit = limit
    draft.add(limit)


def plan_return(draft: Draft, clause: Return, position: int) -> None:
    draft.distinct, draft.constant = clause.distinct, isinstance(clause.value, Literal)
    draft.result = draft.compile(clause.value)


CLAUSES: ClauseTable = {
    For: plan_for,
    Traversal: plan_traversal,
    Paths: plan_paths,
    Lets: plan_let,
    Filter: plan_filter,
    Sort: plan_sort,
    Limit: plan_limit,
    Collect: plan_collect,
    Window: plan_window,
    Return: plan_return,
    Insert: plan_insert,
    Update: plan_update,
    Remove: plan_remove,
    Upsert: plan_upsert,
}
