"""FOR over arrays and collections: the access path of each loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .access import (
    Access,
    Bound,
    Candidate,
    Condition,
    Ordered,
    Primary,
    Scan,
    Sparse,
    best_candidate,
    condition,
    conjuncts,
    path_of,
)
from .catalog import Collection, Index
from .errors import ArangoError
from .executor import Calculate, EnumerateCollection, EnumerateList, FilterRows
from .expressions import Eval, is_plain
from .functions import FUNCTIONS
from .functions.ranges import span
from .options import Hints
from .scope import Draft
from .tree import (
    MODIFICATIONS,
    Binary,
    Call,
    Clause,
    CollectionRef,
    Expr,
    Filter,
    For,
    Lets,
    Sort,
    Variable,
    walk,
)

SYSTEM_ATTRIBUTES = frozenset(("_id", "_key", "_rev"))


def plan_for(draft: Draft, clause: For, position: int) -> None:
    draft.planner.warn_about(clause)
    name = _collection_of(draft, clause.source)
    if name is None:
        items = _items(draft, clause.source)
        draft.add(EnumerateList(draft.names.declare(clause.name), items))
        return
    collection = draft.planner.read(name)
    access = _access(draft, clause, position, collection)
    used = draft.attributes_used(clause.name, position)
    loop = EnumerateCollection(draft.names.declare(clause.name), access, bool(used - SYSTEM_ATTRIBUTES), bool(used))
    draft.add(draft.planner.watch(loop))


def _collection_of(draft: Draft, source: Expr) -> str | None:
    if isinstance(source, CollectionRef):
        return source.name
    named = isinstance(source, Variable) and draft.names.slot(source.name) is None
    return source.name if named and isinstance(source, Variable) else None


def _items(draft: Draft, source: Expr) -> Eval:
    if not (isinstance(source, Binary) and source.operator == ".."):
        return draft.compile(source)
    low, high = draft.compile(source.left), draft.compile(source.right)
    return lambda frame: span(low(frame), high(frame))


def _access(draft: Draft, clause: For, position: int, collection: Collection) -> Access:
    hints = Hints.read(clause.options)
    if hints.disabled:
        return Scan(collection, draft.planner.size)
    conditions, later = _conditions(draft, clause.name, position)
    sort = _sort_of(draft, later)
    search = IndexSearch(draft, collection, conditions, sort, clause.name)
    for name in hints.names:
        if (access := search.through(name)) is not None:
            return access
    if hints.forced and hints.names:
        raise ArangoError(1577)
    return search.primary() or search.best(collection.indexes) or Scan(collection, draft.planner.size)


@dataclass(frozen=True, slots=True)
class IndexSearch:
    """Looks for an index that serves the conditions on a loop, and possibly the SORT behind them."""

    draft: Draft
    collection: Collection
    conditions: list[Condition]
    sort: Sort | None
    variable: str

    def through(self, name: str) -> Access | None:
        """By the index of this name, if it is of use."""
        if name == "primary":
            return self.primary()
        return self.best([index for index in self.collection.indexes if index.name == name])

    def primary(self) -> Access | None:
        found = next((each for each in self.conditions if _is_primary(each)), None)
        if found is None:
            return None
        self.draft.covered.add(id(found.conjunct))
        return Primary(self.collection, found.path, self.draft.compile(found.value), found.operator == "IN")

    def best(self, indexes: Sequence[Index]) -> Access | None:
        keys = self.sort.keys if self.sort is not None else ()
        paths = [(path_of(key.value, self.variable, {}), key) for key in keys]
        candidate = best_candidate(indexes, self.conditions, paths)
        if candidate is None:
            return None
        if self.sort is not None and candidate.sorts and not candidate.index.sparse:
            self.draft.covered.add(id(self.sort))
        return _through(self.draft, candidate, self.collection)


def _through(draft: Draft, candidate: Candidate, collection: Collection) -> Access:
    compiled = draft.compile
    prefix = [(compiled(each.value), each.operator == "IN") for each in candidate.prefix]
    bounds = [Bound(each.operator, compiled(each.value)) for each in candidate.bounds]
    loop, lookup = draft.planner.size, _lookup(candidate, prefix)
    ordered = Ordered(collection, candidate.index, prefix, bounds, candidate.descending, loop, lookup)
    if candidate.index.sparse:
        return Sparse(ordered)
    draft.covered.update(id(each.conjunct) for each in candidate.used)
    return ordered


def _lookup(candidate: Candidate, prefix: list[tuple[Eval, bool]]) -> Eval | None:
    """The value of a loop that only looks one up, and that costs and changes nothing to calculate."""
    plain = not candidate.bounds and not candidate.index.expanded and len(prefix) == 1
    value, many = prefix[0] if prefix else (None, True)
    return value if plain and not many and is_plain(candidate.prefix[0].value) else None


def _conditions(draft: Draft, variable: str, position: int) -> tuple[list[Condition], Clause | None]:
    """Conditions on the loop variable that stand behind its FOR, and the clause that ends them."""
    found: list[Condition] = []
    aliases: dict[str, Expr] = {}
    hidden = {variable}
    for clause in draft.clauses[position + 1 :]:
        if isinstance(clause, Filter):
            tests = [condition(test, variable, aliases) for test in conjuncts(clause.test)]
            found += [test for test in tests if test is not None and _is_fixed(test.value, hidden)]
        elif isinstance(clause, Lets) and not _modifies(clause):
            for assignment in clause.assignments:
                hidden.add(assignment.name)
                aliases[assignment.name] = assignment.value
        else:
            return found, clause
    return found, None


def _sort_of(draft: Draft, clause: Clause | None) -> Sort | None:
    """The SORT that the loop's own order could make superfluous: there must be no loop around it."""
    alone = all(isinstance(each, (Calculate, FilterRows)) for each in draft.operators)
    return clause if alone and isinstance(clause, Sort) else None


def _is_primary(each: Condition) -> bool:
    return each.path in ("_key", "_id") and each.operator in ("==", "IN")


def _is_fixed(value: Expr, hidden: set[str]) -> bool:
    """Whether a value is the same for all iterations of the loop that declares the `hidden` names."""
    for node in walk(value):
        if isinstance(node, Variable) and node.name in hidden:
            return False
        if isinstance(node, Call) and node.name in FUNCTIONS and not FUNCTIONS[node.name].deterministic:
            return False
    return not _modifies(value)


def _modifies(node: Expr | Clause) -> bool:
    return any(isinstance(each, MODIFICATIONS) for each in walk(node))
