"""A plan in the making: what its names stand for, and what it has read and written so far."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from .access import Ordered, conjuncts
from .ahead import DocumentLookup, Lookup, LoopLookup, ReadAhead
from .catalog import GRAPHS, Catalog, Collection, is_graph
from .errors import ArangoError
from .executor import Block, Calculate, EnumerateCollection, FilterRows, Operator
from .expressions import Eval, compile_expression
from .options import warnings
from .storage import Transaction
from .tree import Attribute, Clause, Collect, Expr, Filter, Limit, Sort, Variable, walk

EARLIER = "OLD", "NEW"


class Planner:
    """A plan in the making: its slots and the collections it has touched so far."""

    def __init__(self, transaction: Transaction, database: str, clauses: ClauseTable) -> None:
        self._clauses = clauses
        self._transaction = transaction
        self._catalog: Catalog = transaction.catalog
        self._database = database
        self.size = 1
        self.parameters: dict[str, int] = {}
        self.collections: dict[str, str] = {}
        self.variables: list[str] = []
        self.warnings: list[tuple[Any, ...]] = []
        self._loops: list[EnumerateCollection] = []
        self._modified: set[str] = set()
        self._subqueries: list[Block] = []
        self._lookups: list[Lookup] = []
        self._places = 0
        self._ahead: list[ReadAhead] = []

    def new_slot(self, name: str) -> int:
        self.size += 1
        self.variables.append(name)
        return self.size - 1

    def parameter(self, name: str) -> int:
        if name not in self.parameters:
            self.parameters[name] = self.new_slot(f"@{name}")
        return self.parameters[name]

    def collection(self, name: str) -> Collection:
        return self._catalog.collection(self._database, name)

    def read(self, name: str) -> Collection:
        if name in self._modified:
            raise ArangoError(1579, name)
        self.collections.setdefault(name, "read")
        return self.collection(name)

    def write(self, name: str) -> Collection:
        if name in self._modified:
            raise ArangoError(1579, name)
        collection = self.collection(name)
        self.collections[name] = "write"
        self._modified.add(name)
        return collection

    def check_read(self, reader: str) -> None:
        """Traversals and functions like DOCUMENT may read any collection."""
        if self._modified:
            raise ArangoError(1579, reader)

    def warn_about(self, clause: Any) -> None:
        """Options that a clause does not have are a warning in each run."""
        self.warnings += warnings(clause)

    def warn(self, num: int, *details: object) -> None:
        self.warnings.append((num, *details))

    def watch(self, loop: EnumerateCollection) -> EnumerateCollection:
        self._loops.append(loop)
        return loop

    def look_up(self, handle: Eval) -> int:
        """A number for a call of DOCUMENT() with this handle."""
        self._places -= 1
        self._lookups.append(DocumentLookup(self._places, handle))
        return self._places

    def read_ahead(self, step: ReadAhead) -> ReadAhead:
        self._ahead.append(step)
        return step

    def take_snapshots(self) -> None:
        """Now that it is known what is modified."""
        for loop in self._loops:
            loop.snapshot = loop.access.explain()["collection"] in self._modified
        for step in self._ahead:
            step.active = not self._modified

    def graph(self, name: str) -> list[dict[str, Any]]:
        """The edge definitions of a named graph, whose vertex collections the query may read."""
        document = self._transaction.get(self.collection(GRAPHS), name)
        if document is None or not is_graph(document):
            raise ArangoError(1924, name)
        definitions: list[dict[str, Any]] = document["edgeDefinitions"]
        listed = [each[end] for each in definitions for end in ("from", "to")]
        for collection in {name for names in [*listed, document.get("orphanCollections") or []] for name in names}:
            self.collections.setdefault(collection, "read")
        return definitions

    def block(self, clauses: tuple[Clause, ...], names: Names, outermost: bool = False) -> Block:
        """The plan of a query or subquery; its enclosing clause will take it as a part of its own."""
        around, self._subqueries = self._subqueries, []
        looked_up, self._lookups = self._lookups, []
        draft = Draft(self, clauses, names, outermost)
        for draft.position, clause in enumerate(clauses):
            self._clauses[type(clause)](draft, clause, draft.position)
        block = draft.block()
        self._subqueries = [*around, block]
        self._lookups = looked_up if draft.first is None else [*looked_up, draft.first]
        return block

    def take_lookups(self) -> list[Lookup]:
        """What the expressions that were planned since the last call look up."""
        taken, self._lookups = self._lookups, []
        return taken

    def take_subqueries(self) -> list[Block]:
        """The subqueries that were planned since the last call."""
        taken, self._subqueries = self._subqueries, []
        return taken


class Names:
    """The variables in scope, by name; those of enclosing queries are looked up in `outer`."""

    def __init__(self, planner: Planner, outer: Names | None) -> None:
        self.planner = planner
        self.outer = outer
        self.own: dict[str, int] = {}

    def slot(self, name: str) -> int | None:
        own = self.own.get(name)
        return own if own is not None or self.outer is None else self.outer.slot(name)

    def declare(self, name: str) -> int:
        if self.slot(name) is not None:
            raise ArangoError(1511, name)
        return self.redeclare(name)

    def redeclare(self, name: str) -> int:
        """OLD, NEW and CURRENT hide those of an outer operation."""
        slot = self.own[name] = self.planner.new_slot(name)
        return slot

    def parameter(self, name: str) -> int:
        return self.planner.parameter(name)

    def nested(self, *names: str) -> tuple[Names, list[int]]:
        inner = Names(self.planner, self)
        return inner, [inner.redeclare(name) for name in names]

    def rows(self, clauses: tuple[Clause, ...]) -> Eval:
        return self.planner.block(clauses, Names(self.planner, self)).run

    def count(self, clauses: tuple[Clause, ...]) -> Eval:
        return self.planner.block(clauses, Names(self.planner, self)).count

    def collection_name(self, name: str) -> str:
        """A name that is no variable has to be a collection's."""
        return self.planner.read(name).name

    def check_read(self, function: str) -> None:
        self.planner.check_read(function)

    def look_up(self, handle: Eval) -> int:
        return self.planner.look_up(handle)

    def warn(self, num: int, *details: object) -> None:
        self.planner.warn(num, *details)

    def compile(self, node: Expr) -> Eval:
        return compile_expression(node, self)


class Draft:
    """The plan of one query or subquery in the making."""

    def __init__(self, planner: Planner, clauses: tuple[Clause, ...], names: Names, outermost: bool) -> None:
        self.planner = planner
        self.clauses = clauses
        self.names = names
        self.outermost = outermost
        self.operators: list[Operator] = []
        self.covered: set[int] = set()
        """ids of the conjuncts and SORT clauses that an access path takes care of."""
        self.result: Eval | None = None
        self.distinct = False
        self.constant = False
        self.position = 0
        self.first: LoopLookup | None = None
        """The loop that it begins with, if that looks something up."""
        self._first_slot = planner.size
        self._subqueries: list[list[Block]] = []

    def add(self, operator: Operator) -> None:
        self._read_ahead(_looked_up(operator))
        self.operators.append(operator)
        self._subqueries.append(self.planner.take_subqueries())

    def _read_ahead(self, loop: LoopLookup | None) -> None:
        """Of what the next operator looks up: in front of it, if it has many rows, or by who begins this block."""
        lookups = [*self.planner.take_lookups(), *([] if loop is None else [loop])]
        if self.first is not None:
            self.first.inner += lookups
        elif not self.operators:
            self.first = loop
        if lookups and self._has_rows() and self._wants_all_rows():
            self.operators.append(self.planner.read_ahead(ReadAhead(lookups, self.slots())))
            self._subqueries.append([])

    def _has_rows(self) -> bool:
        return any(not isinstance(each, (Calculate, FilterRows, ReadAhead)) for each in self.operators)

    def _wants_all_rows(self) -> bool:
        """Whether no row is in vain, as there is no LIMIT, or one behind what looks at all rows."""
        for clause in self.clauses[self.position :]:
            if isinstance(clause, (Collect, Sort)) and id(clause) not in self.covered:
                return True
            if isinstance(clause, Limit):
                return False
        return True

    def block(self) -> Block:
        self._read_ahead(None)
        subqueries = [*self._subqueries, self.planner.take_subqueries()]
        return Block(self.operators, self.result, self.distinct, self.constant, subqueries)

    def slots(self) -> slice:
        """The slots of this block's variables so far, those of its subqueries among them."""
        return slice(self._first_slot, self.planner.size)

    def compile(self, node: Expr) -> Eval:
        return self.names.compile(node)

    def compile_optional(self, node: Expr | None) -> Eval | None:
        return None if node is None else self.names.compile(node)

    def attributes_used(self, name: str, position: int) -> set[str]:
        """The attributes of the variable `name` that later clauses use, with "" among them if they use all of it."""
        uses, attributes = 0, []
        for clause in self.clauses[position + 1 :]:
            if isinstance(clause, Collect) and clause.into is not None:
                return {""}
            for node in self._uncovered(clause):
                uses += isinstance(node, Variable) and node.name == name
                if isinstance(node, Attribute) and isinstance(node.base, Variable) and node.base.name == name:
                    attributes.append(node.name)
        return {*attributes, ""} if uses > len(attributes) else set(attributes)

    def _uncovered(self, clause: Clause) -> list[Any]:
        if id(clause) in self.covered:
            return []
        if isinstance(clause, Filter):
            tests = [test for test in conjuncts(clause.test) if id(test) not in self.covered]
            return [node for test in tests for node in walk(test)]
        return list(walk(clause))


def _looked_up(operator: Operator) -> LoopLookup | None:
    if not isinstance(operator, EnumerateCollection) or not operator.used or not isinstance(operator.access, Ordered):
        return None
    value = operator.access.lookup
    return None if value is None else LoopLookup(operator, operator.access, value)


ClauseTable: TypeAlias = dict[type, Callable[[Draft, Any, int], None]]
