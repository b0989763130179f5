"""How a loop finds the documents of a collection: by key, through an index or by a full scan.

The planner hands in the conditions that stand behind a FOR as the tree says them; the best path takes
those it covers, exactly, and leaves the others as filters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import chain, islice, product
from operator import itemgetter
from typing import Any, Protocol, TypeVar

from .catalog import EXPANSION, Collection, Index
from .context import CHECK_EVERY, Context
from .expressions import Eval, Frame
from .storage import Document, prefix_range
from .tree import Array, Attribute, Binary, Element, Expansion, Expr, Literal, SortKey, Variable
from .values import HIGHEST, Value, encode, encode_all

MIRRORED = {"==": "==", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
LOWER = frozenset((">", ">="))
UPPER = frozenset(("<", "<="))
Item = TypeVar("Item")


class Access(Protocol):
    """A way to the documents of a collection."""

    def documents(self, frame: Frame, body: bool) -> Iterable[Document]: ...

    def unseen(self, frame: Frame) -> Iterable[object]:
        """Something for each document, of which nothing will be read."""

    def count(self, frame: Frame, most: int | None) -> int:
        """How many documents there are, up to `most`."""

    def explain(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Condition:
    """`path operator value` on the loop variable, from one conjunct of a FILTER."""

    path: str
    operator: str
    value: Expr
    conjunct: Expr


def conjuncts(test: Expr) -> list[Expr]:
    if isinstance(test, Binary) and test.operator == "&&":
        return conjuncts(test.left) + conjuncts(test.right)
    return [test]


def path_of(node: Expr, variable: str, aliases: dict[str, Expr]) -> str | None:
    """`a.b` for `variable.a.b`, also through variables that a LET made stand for it."""
    if isinstance(node, Variable) and node.name in aliases:
        return path_of(aliases[node.name], variable, aliases)
    names: list[str] = []
    while isinstance(node, Attribute):
        names.append(node.name)
        node = aliases.get(node.base.name, node.base) if isinstance(node.base, Variable) else node.base
    plain = not any("." in name or EXPANSION in name for name in names)
    rooted = isinstance(node, Variable) and node.name == variable
    return ".".join(reversed(names)) if names and plain and rooted else None


def condition(conjunct: Expr, variable: str, aliases: dict[str, Expr]) -> Condition | None:
    """What an index could know about a conjunct; its value may still depend on the loop."""
    if not isinstance(conjunct, Binary):
        return None
    if conjunct.operator == "||":
        return _alternatives(conjunct, variable, aliases)
    left, right = path_of(conjunct.left, variable, aliases), path_of(conjunct.right, variable, aliases)
    if left is not None and (conjunct.operator in MIRRORED or conjunct.operator == "IN"):
        return Condition(left, conjunct.operator, conjunct.right, conjunct)
    if right is not None and conjunct.operator in MIRRORED:
        return Condition(right, MIRRORED[conjunct.operator], conjunct.left, conjunct)
    array = path_of(_whole(conjunct.right), variable, aliases) if conjunct.operator == "IN" else None
    return Condition(array + EXPANSION, "==", conjunct.left, conjunct) if array is not None else None


def _whole(node: Expr) -> Expr:
    """`a` for `a[*]`, as far as looking for an element goes."""
    if not isinstance(node, Expansion) or node.depth > 1 or not isinstance(node.tail, Element):
        return node
    return node.base if node.test is None and node.limit is None and node.projection is None else node


def _alternatives(conjunct: Binary, variable: str, aliases: dict[str, Expr]) -> Condition | None:
    """`a == x || a == y` is `a IN [x, y]`."""
    one, other = (condition(each, variable, aliases) for each in (conjunct.left, conjunct.right))
    if one is None or other is None or one.path != other.path or EXPANSION in one.path:
        return None
    values, others = _listed(one), _listed(other)
    return Condition(one.path, "IN", Array(values + others), conjunct) if values and others else None


def _listed(each: Condition) -> tuple[Expr, ...]:
    if each.operator == "==":
        return (each.value,)
    return each.value.items if each.operator == "IN" and isinstance(each.value, Array) else ()


def _scanned(items: Iterable[Item], context: Context) -> Iterator[Item]:
    """`items`, counted, giving up when the statement has run for too long."""
    for item in items:
        context.scanned_full += 1
        context.looped += 1
        if context.looped % CHECK_EVERY == 0:
            context.check_deadline()
        yield item


def _indexed(items: Iterable[Item], context: Context) -> Iterator[Item]:
    """The same of what an index leads to."""
    for item in items:
        context.scanned_index += 1
        context.looped += 1
        if context.looped % CHECK_EVERY == 0:
            context.check_deadline()
        yield item


@dataclass(slots=True)
class Scan:
    """All documents, in the order of their insertion."""

    collection: Collection
    loop: int
    """The loop's number in its statement."""

    def documents(self, frame: Frame, body: bool) -> Iterator[Document]:
        return _scanned(frame[0].transaction.scan(self.collection, body, self.loop), frame[0])

    def unseen(self, frame: Frame) -> Iterator[object]:
        return _scanned(frame[0].transaction.rows(self.collection), frame[0])

    def count(self, frame: Frame, most: int | None) -> int:
        context: Context = frame[0]
        number = context.transaction.count(self.collection)
        return number if most is None else min(number, most)

    def explain(self) -> dict[str, Any]:
        return {"type": "EnumerateCollectionNode", "collection": self.collection.name}


@dataclass(slots=True)
class Primary:
    """Documents by `_key` or `_id`, one value or (`many`) an array of them."""

    collection: Collection
    attribute: str
    value: Eval
    many: bool

    def documents(self, frame: Frame, body: bool) -> Iterator[Document]:
        keys = self._keys(self.value(frame))
        return _indexed(frame[0].transaction.get_many(self.collection, keys, body), frame[0])

    def unseen(self, frame: Frame) -> Iterator[Document]:
        return self.documents(frame, body=False)

    def count(self, frame: Frame, most: int | None) -> int:
        return _number(self.unseen(frame), most)

    def _keys(self, value: Value) -> list[str]:
        values = value if self.many else [value]
        if not isinstance(values, list):
            return []
        texts = dict.fromkeys(item for item in values if isinstance(item, str))
        if self.attribute == "_key":
            return list(texts)
        prefix = f"{self.collection.name}/"
        return [text[len(prefix) :] for text in texts if text.startswith(prefix)]

    def explain(self) -> dict[str, Any]:
        index = {"type": "primary", "name": "primary", "fields": ["_key"], "unique": True, "sparse": False}
        return {"type": "IndexNode", "collection": self.collection.name, "indexes": [index]}


@dataclass(slots=True)
class Bound:
    """A limit of a range on the field behind the prefix."""

    operator: str
    value: Eval


@dataclass(slots=True)
class Ordered:
    """Documents through an index: values for its first fields, then possibly a range on the next."""

    collection: Collection
    index: Index
    prefix: list[tuple[Eval, bool]]
    """For each field its value or, if the flag is set, an array of its values (IN)."""
    bounds: list[Bound]
    descending: bool
    loop: int
    lookup: Eval | None = None
    """The one value by which it finds documents, if there is no more to it and it is as plain as `a.b`."""
    listed: bool = field(init=False)
    """Whether there may be more than one range of entries."""

    def __post_init__(self) -> None:
        self.listed = any(many for _, many in self.prefix)

    def documents(self, frame: Frame, body: bool) -> Iterator[Document]:
        context: Context = frame[0]
        found = self._read_ahead(frame)
        if found is None:
            found = self._read(frame, body)
        found = _indexed(found, context)
        return _once(found, itemgetter("_key")) if self.index.expanded else found

    def _read(self, frame: Frame, body: bool) -> Iterable[Document]:
        transaction, ranges, index = frame[0].transaction, self._ranges(frame), self.index.id
        if self.listed:
            found = transaction.between_each(self.collection, index, ranges, body, self.loop)
            return map(itemgetter(1), found)
        ((low, high),) = ranges
        documents: Iterable[Document] = transaction.between(
            self.collection, index, low, high, self.descending, body, self.loop
        )
        return documents

    def _read_ahead(self, frame: Frame) -> Iterable[Document] | None:
        ahead = None if self.lookup is None else frame[0].ahead.get(self.loop)
        return None if ahead is None or self.lookup is None else ahead.find(self.lookup(frame))

    def of_each(self, values: Sequence[str], context: Context, body: bool) -> Iterator[tuple[str, Document]]:
        """The documents for each of these values of `lookup`, one value after the other."""
        ranges = [prefix_range(encode(value)) for value in values]
        found = context.transaction.between_each(self.collection, self.index.id, ranges, body)
        return ((values[number], document) for number, document in found)

    def unseen(self, frame: Frame) -> Iterator[object]:
        context: Context = frame[0]
        between, index = context.transaction.rows_between, self.index.id
        found = _indexed(chain.from_iterable(between(index, low, high) for low, high in self._ranges(frame)), context)
        return _once(found, itemgetter(0)) if self.index.expanded else found

    def count(self, frame: Frame, most: int | None) -> int:
        if self.index.expanded:
            return _number(self.unseen(frame), most)
        context: Context = frame[0]
        number = 0
        for low, high in self._ranges(frame):
            number += context.transaction.count_between(self.index.id, low, high, most and most - number)
        context.scanned_index += number
        return number

    def _ranges(self, frame: Frame) -> Iterable[tuple[bytes, bytes]]:
        bounds = [(bound.operator, encode(bound.value(frame))) for bound in self.bounds]
        if not self.listed:
            return [_narrow(encode_all([value(frame) for value, _ in self.prefix]), bounds)]
        choices = [_choices(value(frame), many) for value, many in self.prefix]
        return [_narrow(b"".join(parts), bounds) for parts in product(*choices)]

    def may_miss(self, frame: Frame) -> bool:
        """Whether documents that a sparse index leaves out, for a null, could be asked for."""
        null = encode(None)
        prefixed = any(null in _choices(value(frame), many) for value, many in self.prefix)
        return prefixed or any(bound.operator == ">=" and bound.value(frame) is None for bound in self.bounds)

    def explain(self) -> dict[str, Any]:
        return {
            "type": "IndexNode",
            "collection": self.collection.name,
            "indexes": [deepcopy(self.index.definition)],
            "reverse": self.descending,
        }


@dataclass(slots=True)
class Sparse:
    """Through a sparse index, unless a null is asked for when the statement runs: then by a scan.

    The filters stay in the plan, since the scan needs them.
    """

    through: Ordered

    def documents(self, frame: Frame, body: bool) -> Iterable[Document]:
        if self.through.may_miss(frame):
            return Scan(self.through.collection, self.through.loop).documents(frame, body)
        return self.through.documents(frame, body)

    def unseen(self, frame: Frame) -> Iterable[Document]:
        return self.documents(frame, body=False)

    def count(self, frame: Frame, most: int | None) -> int:
        return _number(self.unseen(frame), most)

    def explain(self) -> dict[str, Any]:
        return self.through.explain()


def _number(items: Iterable[object], most: int | None) -> int:
    return sum(1 for _ in islice(items, most))


def _once(items: Iterable[Any], key: Callable[[Any], object]) -> Iterator[Any]:
    """Those of `items` that have a new key."""
    seen: set[object] = set()
    for item in items:
        if key(item) not in seen:
            seen.add(key(item))
            yield item


def _choices(value: Value, many: bool) -> list[bytes]:
    if not many:
        return [encode(value)]
    return sorted({encode(item) for item in value}) if isinstance(value, list) else []


def _narrow(prefix: bytes, bounds: list[tuple[str, bytes]]) -> tuple[bytes, bytes]:
    low, high = prefix_range(prefix)
    for operator, value in bounds:
        edge = prefix + value + (HIGHEST if operator in (">", "<=") else b"")
        if operator in LOWER:
            low = max(low, edge)
        else:
            high = min(high, edge)
    return low, high


@dataclass(slots=True)
class Candidate:
    """An index with the conditions it can serve; the greatest `merit` wins."""

    index: Index
    prefix: list[Condition]
    bounds: list[Condition]
    sorts: bool
    descending: bool

    @property
    def used(self) -> list[Condition]:
        return self.prefix + self.bounds

    @property
    def merit(self) -> tuple[bool, int, bool, bool]:
        exact = self.index.unique and len(self.prefix) == len(self.index.fields)
        return exact, len(self.prefix), bool(self.bounds), self.sorts

    @property
    def complete(self) -> bool:
        """Whether conditions exclude null in every field, as a sparse index demands."""
        ranged = any(bound.operator in LOWER for bound in self.bounds)
        return len(self.prefix) + ranged == len(self.index.fields)


def best_candidate(
    indexes: Sequence[Index], conditions: Sequence[Condition], sort: Sequence[tuple[str | None, SortKey]]
) -> Candidate | None:
    """The index to use, if any; `sort` gives the sort keys of the loop, with their paths."""
    candidates = [_candidate(index, conditions, sort) for index in indexes]
    usable = [each for each in candidates if each.prefix or each.bounds or each.sorts]
    usable = [each for each in usable if not each.index.sparse or each.complete]
    return max(usable, key=lambda each: each.merit, default=None)


def _candidate(index: Index, conditions: Sequence[Condition], sort: Sequence[tuple[str | None, SortKey]]) -> Candidate:
    if index.sparse:
        conditions = [each for each in conditions if not _finds_null(each)]
    prefix: list[Condition] = []
    for name in index.fields:
        equality = _first(conditions, name, ("==", "IN"))
        if equality is None:
            break
        prefix.append(equality)
    rest = index.fields[len(prefix) :]
    bounds = [_first(conditions, rest[0], LOWER), _first(conditions, rest[0], UPPER)] if rest else []
    bounds = [] if rest and EXPANSION in rest[0] else bounds
    single = all(each.operator == "==" for each in prefix)
    sorts = single and not index.expanded and _sorted_by({each.path for each in prefix}, rest, sort)
    descending = sorts and sort[0][1].descending
    return Candidate(index, prefix, [bound for bound in bounds if bound is not None], sorts, descending)


def _finds_null(each: Condition) -> bool:
    """Whether a condition certainly asks for null too, which a sparse index does not have."""
    return isinstance(each.value, Literal) and each.value.value is None and each.operator != ">"


def _first(conditions: Sequence[Condition], path: str, operators: Iterable[str]) -> Condition | None:
    return next((each for each in conditions if each.path == path and each.operator in operators), None)


def _sorted_by(fixed: set[str], rest: Sequence[str], sort: Sequence[tuple[str | None, SortKey]]) -> bool:
    """Whether the index yields the rows in this order, all ascending or all descending."""
    wanted = [(path, key.descending) for path, key in sort if path not in fixed]
    paths = [path for path, _ in wanted]
    same_way = len({key.descending for _, key in sort}) == 1
    return bool(sort) and same_way and paths == list(rest[: len(paths)]) and bool(paths)
