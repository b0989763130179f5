"""Syntax tree -> plan: names to slots, loops to access paths, expressions to closures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
from .catalog import GRAPHS, Catalog, Collection
from .errors import ArangoError
from .executor import (
    Block,
    Calculate,
    CollectRows,
    EnumerateCollection,
    EnumerateList,
    FilterRows,
    Grouping,
    LimitRows,
    Operator,
    Plan,
    SortRows,
)
from .expressions import Eval, compile_expression
from .functions import FUNCTIONS
from .operators import span
from .storage import Transaction
from .traversal import Needs, Traverse, Way, ways_of
from .tree import (
    MODIFICATIONS,
    Attribute,
    Binary,
    Call,
    Clause,
    Collect,
    CollectionRef,
    Expr,
    Filter,
    For,
    Insert,
    Lets,
    Limit,
    Literal,
    Modification,
    Object,
    Query,
    Remove,
    Return,
    Sort,
    Traversal,
    Update,
    Upsert,
    Variable,
    walk,
)
from .writes import Modify, Write, insert, remove, replace, update, upsert

SYSTEM_ATTRIBUTES = frozenset(("_id", "_key", "_rev"))
AGGREGATES = {
    *("LENGTH", "COUNT", "COUNT_DISTINCT", "COUNT_UNIQUE", "MIN", "MAX", "SUM", "AVERAGE", "AVG", "PUSH"),
    *("STDDEV", "STDDEV_POPULATION", "STDDEV_SAMPLE", "VARIANCE", "VARIANCE_POPULATION", "VARIANCE_SAMPLE"),
    *("UNIQUE", "SORTED_UNIQUE", "BIT_AND", "BIT_OR", "BIT_XOR"),
}
EARLIER = "OLD", "NEW"


def plan_query(query: Query, transaction: Transaction, database: str) -> Plan:
    """`query` with its bind variables put in -> a plan for the transaction's catalog version."""
    planner = Planner(transaction, database)
    for name in query.collections:
        planner.read(name.name)
    block = planner.block(query.clauses, Names(planner, None), outermost=True)
    planner.take_snapshots()
    return Plan(block, planner.size, planner.parameters, planner.collections, planner.variables)


class Planner:
    """A plan in the making: its slots and the collections it has touched so far."""

    def __init__(self, transaction: Transaction, database: str) -> None:
        self._transaction = transaction
        self._catalog: Catalog = transaction.catalog
        self._database = database
        self.size = 1
        self.parameters: dict[str, int] = {}
        self.collections: dict[str, str] = {}
        self.variables: list[str] = []
        self._loops: list[EnumerateCollection] = []
        self._modified: set[str] = set()

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

    def loop(self, slot: int, access: Access, body: bool) -> EnumerateCollection:
        loop = EnumerateCollection(slot, access, body)
        self._loops.append(loop)
        return loop

    def take_snapshots(self) -> None:
        for loop in self._loops:
            loop.snapshot = loop.access.explain()["collection"] in self._modified

    def graph(self, name: str) -> list[tuple[str, str]]:
        """The edge collections of a named graph, as pairs with the vertex collections left out."""
        document = self._transaction.get(self.collection(GRAPHS), name)
        if document is None:
            raise ArangoError(1924, name)
        return [(definition["collection"], name) for definition in document["edgeDefinitions"]]

    def block(self, clauses: tuple[Clause, ...], names: Names, outermost: bool = False) -> Block:
        return BlockPlanner(self, clauses, names, outermost).plan()


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

    def collection_name(self, name: str) -> str:
        """A name that is no variable has to be a collection's."""
        return self.planner.read(name).name

    def check_read(self, function: str) -> None:
        self.planner.check_read(function)

    def compile(self, node: Expr) -> Eval:
        return compile_expression(node, self)


class BlockPlanner:
    """Plans the clauses of one query or subquery, one after the other."""

    def __init__(self, planner: Planner, clauses: tuple[Clause, ...], names: Names, outermost: bool = False) -> None:
        self._planner = planner
        self._clauses = clauses
        self._names = names
        self._outermost = outermost
        self._first_slot = planner.size
        self._operators: list[Operator] = []
        self._covered: set[int] = set()
        """ids of the conjuncts and SORT clauses that an access path takes care of."""
        self._result: Return | None = None
        self._result_value: Eval | None = None

    def plan(self) -> Block:
        for position, clause in enumerate(self._clauses):
            CLAUSES[type(clause)](self, clause, position)
        distinct = self._result is not None and self._result.distinct
        return Block(self._operators, self._result_value, distinct)

    def _slots(self) -> slice:
        """The slots of this block's variables so far, those of its subqueries among them."""
        return slice(self._first_slot, self._planner.size)

    def plan_let(self, clause: Lets, position: int) -> None:
        for assignment in clause.assignments:
            value = self._names.compile(assignment.value)
            self._operators.append(Calculate(self._names.declare(assignment.name), value))

    def plan_filter(self, clause: Filter, position: int) -> None:
        for conjunct in conjuncts(clause.test):
            if id(conjunct) not in self._covered:
                self._operators.append(FilterRows(self._names.compile(conjunct)))

    def plan_sort(self, clause: Sort, position: int) -> None:
        if id(clause) in self._covered:
            return
        keys = [(self._names.compile(key.value), key.descending) for key in clause.keys]
        self._operators.append(SortRows(keys, self._slots()))

    def plan_limit(self, clause: Limit, position: int) -> None:
        offset = self._names.compile(clause.offset or Literal(0))
        count = self._names.compile(clause.count)
        last = not any(isinstance(each, Limit) for each in self._clauses[position + 1 :])
        self._operators.append(LimitRows(offset, count, self._outermost and last))

    def plan_return(self, clause: Return, position: int) -> None:
        self._result = clause
        self._result_value = self._names.compile(clause.value)

    # loops

    def plan_for(self, clause: For, position: int) -> None:
        name = self._collection_of(clause.source)
        if name is None:
            items = self._items(clause.source)
            self._operators.append(EnumerateList(self._names.declare(clause.name), items))
            return
        collection = self._planner.read(name)
        access = self._access(clause, position, collection)
        body = self._looks_into(clause.name, position, SYSTEM_ATTRIBUTES)
        self._operators.append(self._planner.loop(self._names.declare(clause.name), access, body))

    def _collection_of(self, source: Expr) -> str | None:
        if isinstance(source, CollectionRef):
            return source.name
        named = isinstance(source, Variable) and self._names.slot(source.name) is None
        return source.name if named and isinstance(source, Variable) else None

    def _items(self, source: Expr) -> Eval:
        if not (isinstance(source, Binary) and source.operator == ".."):
            return self._names.compile(source)
        low, high = self._names.compile(source.left), self._names.compile(source.right)
        return lambda frame: span(low(frame), high(frame))

    def _looks_into(self, name: str, position: int, attributes: frozenset[str]) -> bool:
        """Whether a later clause uses more of the variable `name` than these attributes of it."""
        uses = harmless = 0
        for clause in self._clauses[position + 1 :]:
            if isinstance(clause, Collect) and clause.into is not None:
                return True
            for node in self._uncovered(clause):
                uses += isinstance(node, Variable) and node.name == name
                if isinstance(node, Attribute) and node.name in attributes:
                    harmless += isinstance(node.base, Variable) and node.base.name == name
        return uses > harmless

    def _uncovered(self, clause: Clause) -> list[Any]:
        if id(clause) in self._covered:
            return []
        if isinstance(clause, Filter):
            tests = [test for test in conjuncts(clause.test) if id(test) not in self._covered]
            return [node for test in tests for node in walk(test)]
        return list(walk(clause))

    def _access(self, clause: For, position: int, collection: Collection) -> Access:
        conditions, later = self._conditions(clause.name, position)
        primary = next((each for each in conditions if _is_primary(each)), None)
        if primary is not None:
            self._covered.add(id(primary.conjunct))
            many = primary.operator == "IN"
            return Primary(collection.name, primary.path, self._names.compile(primary.value), many)
        sort = self._sort_of(clause.name, later)
        keys = sort.keys if sort is not None else ()
        candidate = best_candidate(collection, conditions, [(path_of(k.value, clause.name, {}), k) for k in keys])
        if candidate is None:
            return Scan(collection.name)
        if sort is not None and candidate.sorts and not candidate.index.sparse:
            self._covered.add(id(sort))
        return self._through(candidate, collection)

    def _through(self, candidate: Candidate, collection: Collection) -> Access:
        compiled = self._names.compile
        prefix = [(compiled(each.value), each.operator == "IN") for each in candidate.prefix]
        bounds = [Bound(each.operator, compiled(each.value)) for each in candidate.bounds]
        ordered = Ordered(collection.name, candidate.index, prefix, bounds, candidate.descending)
        if candidate.index.sparse:
            return Sparse(ordered)
        self._covered.update(id(each.conjunct) for each in candidate.used)
        return ordered

    def _conditions(self, variable: str, position: int) -> tuple[list[Condition], Clause | None]:
        """Conditions on the loop variable that stand behind its FOR, and the clause that ends them."""
        found: list[Condition] = []
        aliases: dict[str, Expr] = {}
        hidden = {variable}
        for clause in self._clauses[position + 1 :]:
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

    def _sort_of(self, variable: str, clause: Clause | None) -> Sort | None:
        """The SORT that the loop's own order could make superfluous: there must be no loop around it."""
        alone = all(isinstance(each, (Calculate, FilterRows)) for each in self._operators)
        return clause if alone and isinstance(clause, Sort) else None

    def plan_traversal(self, clause: Traversal, position: int) -> None:
        self._planner.check_read("traversal")
        compiled = self._names.compile
        depth, start = self._depth(clause.depth), compiled(clause.start)
        ways = self._ways(clause)
        options = None if clause.options is None else compiled(clause.options)
        needs = self._needs(clause, position)
        prune = None
        if clause.prune is not None:
            test = compiled(clause.prune.value)
            prune = (self._names.declare(clause.prune.name or "*prune"), test)
        self._operators.append(Traverse(start, depth, ways, needs, prune, options))

    def _depth(self, depth: Expr | None) -> tuple[Eval, Eval]:
        if isinstance(depth, Binary) and depth.operator == "..":
            return self._names.compile(depth.left), self._names.compile(depth.right)
        only = self._names.compile(depth or Literal(1))
        return only, only

    def _ways(self, clause: Traversal) -> list[Way]:
        edges = [(each.collection.name, each.direction) for each in clause.edges]
        if isinstance(clause.graph, Literal):
            edges = [(name, clause.direction) for name, _ in self._planner.graph(str(clause.graph.value))]
        elif clause.graph is not None:
            raise ArangoError(1501, "syntax error, the name of a graph has to be a string or bind parameter")
        ways = dict.fromkeys(way for name, direction in edges for way in self._edge_ways(name, direction))
        return list(ways)

    def _edge_ways(self, name: str, direction: str) -> list[Way]:
        collection = self._planner.read(name)
        if not collection.is_edge:
            raise ArangoError(1218, message=f"collection type invalid: '{name}' is not an edge collection")
        return ways_of(collection, direction)

    def _needs(self, clause: Traversal, position: int) -> Needs:
        """Only what is used later on, or by PRUNE, gets a value."""
        used = [self._used(name, clause, position) for name in clause.names]
        slots = [self._names.declare(name) for name in clause.names]
        vertex, edge, path = ([slot if use else None for slot, use in zip(slots, used, strict=True)] + [None] * 3)[:3]
        if path is None:
            return Needs(vertex, edge, None, False, False)
        name = clause.names[2]
        return Needs(
            vertex, edge, path, *(self._used(name, clause, position, other) for other in ("edges", "vertices"))
        )

    def _used(self, name: str, clause: Traversal, position: int, except_for: str = "") -> bool:
        spared = frozenset((except_for, "weights")) if except_for else frozenset[str]()
        pruned = clause.prune is not None and any(
            isinstance(node, Variable) and node.name == name for node in walk(clause.prune)
        )
        return pruned or self._looks_into(name, position, spared)

    # grouping

    def plan_collect(self, clause: Collect, position: int) -> None:
        before, compiled = self._names, self._names.compile
        keys = [(key.name, compiled(key.value)) for key in clause.keys]
        aggregates = [(each.name, *self._aggregate(each.value)) for each in clause.aggregates]
        projection = None
        if clause.into is not None and clause.into.projection is not None:
            projection = compiled(clause.into.projection)
        visible = before.own.items() if clause.into is None or not clause.into.keep else self._kept(clause.into.keep)
        variables = [(name, slot) for name, slot in visible if name not in EARLIER]
        self._names = Names(self._planner, before.outer)
        declare = self._names.declare
        self._operators.append(
            CollectRows(
                [(declare(name), value) for name, value in keys],
                [(declare(name), value, aggregate) for name, value, aggregate in aggregates],
                None if clause.into is None else Grouping(declare(clause.into.name), projection, variables),
                None if clause.count is None else declare(clause.count),
            )
        )

    def _kept(self, names: tuple[str, ...]) -> list[tuple[str, int]]:
        kept = [(name, self._names.slot(name)) for name in names]
        for name, slot in kept:
            if slot is None:
                raise ArangoError(1512, name)
        return [(name, slot) for name, slot in kept if slot is not None]

    def _aggregate(self, value: Expr) -> tuple[Eval, Callable[[list[Any]], Any]]:
        """`SUM(x.y)` -> what to gather from each row, and what to make of all that in the end."""
        if not isinstance(value, Call) or value.name not in AGGREGATES or len(value.arguments) > 1:
            raise ArangoError(1574)
        argument = self._names.compile(value.arguments[0] if value.arguments else Literal(None))
        return argument, (list if value.name == "PUSH" else FUNCTIONS[value.name].call)

    # data modification

    def plan_insert(self, clause: Insert, position: int) -> None:
        self._modify("InsertNode", clause, [clause.document], insert)

    def plan_update(self, clause: Update, position: int) -> None:
        kind, write = ("ReplaceNode", replace) if clause.replaces else ("UpdateNode", update)
        expressions = [clause.selector] if clause.patch is None else [clause.selector, clause.patch]
        self._modify(kind, clause, expressions, write)

    def plan_remove(self, clause: Remove, position: int) -> None:
        self._modify("RemoveNode", clause, [clause.selector], remove)

    def _modify(self, kind: str, clause: Modification, expressions: list[Expr], write: Write) -> None:
        values = [self._names.compile(expression) for expression in expressions]
        options = None if clause.options is None else self._names.compile(clause.options)
        old, new = (self._names.redeclare(name) for name in EARLIER)
        collection = self._planner.write(clause.target.name).name
        self._operators.append(Modify(kind, collection, values, write, options, old, new, self._slots()))

    def plan_upsert(self, clause: Upsert, position: int) -> None:
        name = clause.target.name
        find = self._names.rows(_search(clause))
        document = self._names.compile(clause.document)
        options = None if clause.options is None else self._names.compile(clause.options)
        old, new = (self._names.redeclare(each) for each in EARLIER)
        write = upsert(find, document, self._names.compile(clause.patch), old, clause.replaces)
        self._planner.write(name)
        self._operators.append(Modify("UpsertNode", name, [], write, options, old, new, self._slots()))


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


def _modifies(node: Any) -> bool:
    return any(isinstance(each, MODIFICATIONS) for each in walk(node))


def _search(clause: Upsert) -> tuple[Clause, ...]:
    """The query that looks for the document of an UPSERT."""
    test = clause.search
    if not clause.by_condition:
        test = _example(Variable("CURRENT"), clause.search)
    source = CollectionRef(clause.target.name)
    found = Return(Variable("CURRENT"), distinct=False)
    return For("CURRENT", source, None), Filter(test), Limit(None, Literal(1)), found


def _example(base: Expr, example: Expr) -> Expr:
    """`{a: x, b: {c: y}}` -> `base.a == x && base.b.c == y`"""
    if not isinstance(example, Object):
        raise ArangoError(1501, "syntax error, UPSERT expects an object literal to search by")
    test: Expr = Literal(True)
    for name, value in example.attributes:
        if not isinstance(name, Literal):
            raise ArangoError(1501, "syntax error, UPSERT expects constant attribute names to search by")
        attribute = Attribute(base, str(name.value))
        nested = isinstance(value, Object) and value.attributes
        test = Binary("&&", test, _example(attribute, value) if nested else Binary("==", attribute, value))
    return test


CLAUSES: dict[type, Callable[[BlockPlanner, Any, int], None]] = {
    For: BlockPlanner.plan_for,
    Traversal: BlockPlanner.plan_traversal,
    Lets: BlockPlanner.plan_let,
    Filter: BlockPlanner.plan_filter,
    Sort: BlockPlanner.plan_sort,
    Limit: BlockPlanner.plan_limit,
    Collect: BlockPlanner.plan_collect,
    Return: BlockPlanner.plan_return,
    Insert: BlockPlanner.plan_insert,
    Update: BlockPlanner.plan_update,
    Remove: BlockPlanner.plan_remove,
    Upsert: BlockPlanner.plan_upsert,
}
