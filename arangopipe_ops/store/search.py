"""The statement that finds nodes by any property, page by page."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, NotRequired, TypedDict

from arangopipe_ops import model
from arangopipe_ops.errors import Invalid
from arangopipe_ops.model import AUDIT, Document, NodeType, Schema
from arangopipe_ops.store.statements import EXTENSION, appended

MAX_PAGE = 10_000
MAX_CONDITIONS = 200

Where = Mapping[str, Any]
"""Conditions by attribute (`a.b` is one inside another): a value it equals, or a mapping of operators to values.

The operators: `==`, `!=`, and `<`, `<=`, `>`, `>=` of numbers or of texts, times being texts; `in` and `not in` a
list; `prefix` of a text; `contains` a text, whatever its case; `has` a value, of an array; `exists`, true or false.
"""


class Page(TypedDict):
    """Some of the nodes found. `total` counts them on all pages; `cursor` leads to the next page, if there is one.

    Of a search `within` the newest nodes, `reached` has the kinds that have older ones which were not looked at: as
    `until`, its time leads to them. `total` is None there if there are more than were to be looked at.
    """

    nodes: list[Document]
    total: int | None
    cursor: str | None
    reached: NotRequired[dict[str, str]]


class _Operator(NamedTuple):
    """How an operator reads in AQL, and which values it takes."""

    aql: str
    takes: tuple[type, ...] = (object,)
    named: str = "a value"


_RANGE = "{{a}} {0} {{v}} AND TYPENAME({{a}}) == TYPENAME({{v}})"  # in AQL null is less than any number
_ORDERED = ((int, float, str), "a number or a text")

OPERATORS: Mapping[str, _Operator] = {
    "==": _Operator("{a} == {v}"),
    "!=": _Operator("{a} != {v}"),
    "<": _Operator(_RANGE.format("<"), *_ORDERED),
    "<=": _Operator(_RANGE.format("<="), *_ORDERED),
    ">": _Operator(_RANGE.format(">"), *_ORDERED),
    ">=": _Operator(_RANGE.format(">="), *_ORDERED),
    "in": _Operator("{a} IN {v}", (list,), "a list"),
    "not in": _Operator("{a} NOT IN {v}", (list,), "a list"),
    "prefix": _Operator('{a} >= {v} AND {a} < CONCAT({v}, "\\uFFFF") AND STARTS_WITH({a}, {v})', (str,), "a text"),
    "contains": _Operator("CONTAINS(LOWER({a}), LOWER({v}))", (str,), "a text"),
    "has": _Operator("{v} IN {a}[*]"),
    "exists": _Operator("({a} != null) == {v}", (bool,), "true or false"),
}

_WORDS = """
  LET prose{i} = LOWER(CONCAT_SEPARATOR(" ", d.@by{i}, d.description, d.tag, d.deployment_tag, TO_STRING(d.tags)))
  FILTER LENGTH(@words[* FILTER NOT CONTAINS(prose{i}, CURRENT)]) == 0"""

_ROWS = """
LET rows{i} = (FOR d IN @@n{i}{filters}{after}
  SORT {order} {way}, d._key {way} LIMIT @limit
  RETURN {{d, at: [{order}, d._key, {i}]}})"""

NAMED = OPERATORS["prefix"].aql.format(a="d.@by{i}", v="@name")
_COUNTED = "LENGTH(FOR d IN @@n{i}{filters} RETURN 1)"
_COUNTED_WITHIN = "FIRST(FOR n IN [LENGTH(FOR d IN @@n{i}{filters} LIMIT @more RETURN 1)] FILTER n < @more RETURN n)"
_COUNTED_PRESENT = "LENGTH(@@n{i}) - LENGTH(FOR d IN @@n{i} FILTER d.archived > null RETURN 1)"
_PRESENT = "\n  FILTER d.archived == null"

_PAGE = """{rows}
RETURN {{
  rows: (FOR r IN {found} SORT r.at[0] {way}, r.at[1] {way}, r.at[2] LIMIT @limit RETURN r),
  total: {total},
  extension: {extension}
}}"""


@dataclass(frozen=True)
class Search:
    """What is looked for, in nodes of a kind or of all, in which order. Times are canonical."""

    kind: str | None
    where: Where
    text: str | None = None
    name: str | None = None
    since: str | None = None
    until: str | None = None
    archived: bool = False
    order_by: str = "created"
    descending: bool = True
    limit: int = 100
    within: int | None = None
    facts: bool = True

    def types(self, schema: Schema) -> list[NodeType]:
        """Return the types of node that are looked through where no kind is given."""
        left_out = set() if self.facts else {edge.target for edge in schema.edges.values() if edge.newest}
        return [type_ for kind, type_ in schema.nodes.items() if kind not in left_out]

    def statement(self, types: Sequence[NodeType], cursor: str | None, count: bool) -> tuple[str, Document]:
        """Return the statement for one page of nodes of the types, and what it binds. Raises Invalid."""
        binds = self.bound(types)
        filters, order = self.filters(binds), attribute(self.order_by, "order", binds)
        after = self.opened(cursor, binds)
        rows, totals = [], []
        for i in range(len(types)):
            own = filters.replace("{i}", str(i))
            rows.append(_ROWS.format(i=i, filters=own, after=self.after(order, i, after), order=order, way=self.way))
            totals.append(self._count(own).format(i=i, filters=own))
        counted = self.counted(f"[{', '.join(totals)}]", count, after, binds)
        if "@more" in counted:
            binds["more"] = self.more
        found = f"UNION([], []{appended(f'rows{i}' for i in range(len(rows)))})"
        text = _PAGE.format(rows="".join(rows), found=found, way=self.way, total=counted, extension=EXTENSION)
        return text, binds

    def _count(self, filters: str) -> str:
        """Return the AQL that counts the nodes of a kind, null where there are more than were to be looked at."""
        if filters == _PRESENT:
            return _COUNTED_PRESENT
        return _COUNTED if self.within is None else _COUNTED_WITHIN

    @property
    def more(self) -> int:
        """One more than how many nodes of a kind are looked at."""
        return (self.within or MAX_PAGE) + 1

    @property
    def words(self) -> list[str]:
        """The words of the text."""
        return (self.text or "").lower().split()

    @property
    def way(self) -> str:
        """The direction of the order."""
        return "DESC" if self.descending else "ASC"

    def bound(self, types: Sequence[NodeType]) -> Document:
        """Return what every statement for nodes of these types binds. Raises Invalid."""
        if not 1 <= self.limit <= MAX_PAGE:
            raise Invalid("limit", f"{self.limit} is not between 1 and {MAX_PAGE:,}")
        binds: Document = {"limit": self.limit + 1, "@audit": AUDIT}
        binds |= {f"@n{i}": type_.collection for i, type_ in enumerate(types)}
        if self.words or self.name:
            binds |= {f"by{i}": type_.name for i, type_ in enumerate(types)}
        return binds

    def page(self, answer: Document) -> Page:
        """Return the page that an answer holds."""
        rows, total = answer["rows"], answer["total"]
        if isinstance(total, list):
            total = None if None in total else sum(total)
        more = len(rows) > self.limit
        cursor = self._closed([*rows[self.limit - 1]["at"], total]) if more else None
        return Page(nodes=[row["d"] for row in rows[: self.limit]], total=total, cursor=cursor)

    def filters(self, binds: Document) -> str:
        """Return all conditions on a node of type `{i}`, and bind what they compare with. Raises Invalid."""
        texts = [] if self.archived else [_PRESENT]
        texts.append(filters(self.where, binds))
        if self.name:
            binds["name"] = self.name
            texts.append(f"\n  FILTER {NAMED}")
        for name, sign in (("since", ">="), ("until", "<")):
            if getattr(self, name):
                binds[name] = getattr(self, name)
                texts.append(f"\n  FILTER d.created {sign} @{name}")
        if self.words:
            binds["words"] = self.words
            texts.append(_WORDS)
        return "".join(texts)

    def after(self, order: str, i: int, after: list[Any] | None) -> str:
        """Return the filter for what follows the last row of the page before, in the order of its sort."""
        if not after:
            return ""
        sign = "<" if self.descending else ">"
        same = "=" if i > after[2] else ""  # kinds share keys and times; they follow each other in their order
        return f"\n  FILTER {order} {sign}= @after AND ({order} {sign} @after OR d._key {sign}{same} @after_key)"

    @property
    def _mark(self) -> str:
        """What tells this search from another, so that none goes on with the cursor of the other."""
        return model.digest(model.canonical({**asdict(self), "limit": None}))[:12]

    def _closed(self, position: list[Any]) -> str:
        text = model.canonical_text([self._mark, *position])
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    def counted(self, total: str, count: bool, after: list[Any] | None, binds: Document) -> str:
        """Return the total of a first page as AQL, or what binds the one that a cursor brings along."""
        if count and not after:
            return total
        binds["total"] = after[3] if after else None
        return "@total"

    def opened(self, cursor: str | None, binds: Document) -> list[Any] | None:
        """Return where the page before ended, and bind what the rows after it are compared with. Raises Invalid."""
        if not cursor:
            return None
        after = self._opened(cursor)
        binds |= {"after": after[0], "after_key": after[1]}
        return after

    def _opened(self, cursor: str) -> list[Any]:
        try:
            found = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
            mark, order, key, i, total = model.canonical(found, "cursor")
        except (ValueError, TypeError, RecursionError, Invalid):
            raise Invalid("cursor", f"{cursor[:80]!r} is not a cursor; use the one of the page before") from None
        typed = isinstance(key, str) and isinstance(i, int) and isinstance(total, int | None)
        if mark != self._mark or not typed:
            raise Invalid("cursor", "belongs to another search; start again without one")
        return [order, key, i, total]


def filters(where: Where, binds: Document) -> str:
    """Return conditions on the document `d` as AQL, and bind what they compare with. Raises Invalid."""
    texts = []
    for name, condition in where.items():
        for operator, value in _conditions(name, condition):
            a, v = attribute(name, f"a{len(binds)}", binds), f"v{len(binds)}"
            binds[v] = value
            texts.append("\n  FILTER " + OPERATORS[operator].aql.format(a=a, v=f"@{v}"))
            if len(texts) > MAX_CONDITIONS:
                raise Invalid("where", f"has more than {MAX_CONDITIONS} conditions")
    return "".join(texts)


def _conditions(name: str, condition: Any) -> list[tuple[str, Any]]:
    """Return a condition on an attribute as operators with their values. Raises Invalid."""
    given = condition if isinstance(condition, Mapping) else {"==": condition}
    given = model.canonical(given, f"where.{name}")
    for operator, value in given.items():
        known = OPERATORS.get(operator)
        if known is None:
            raise Invalid(
                f"where.{name}",
                f"{operator!r} is not one of the operators {', '.join(OPERATORS)}; an object is {{'==': {{...}}}}",
            )
        if not isinstance(value, known.takes) or ((value is True or value is False) and int in known.takes):
            raise Invalid(f"where.{name}", f"{operator} takes {known.named}, not {value!r}")
    return list(given.items())


def attribute(name: str, bind: str, binds: Document) -> str:
    """Return an attribute as AQL; one with dots is inside others, or has them in its own name, also inside another."""
    if not name or not all(model.canonical(name, "where").split(".")):
        raise Invalid("where", f"{name!r} is not the name of an attribute")
    if "." not in name:
        binds[bind] = name
        return f"d.@{bind}"
    first, rest = name.split(".", 1)
    binds |= {bind: name.split("."), f"{bind}_whole": name}
    if "." not in rest:
        return f"NOT_NULL(d.@{bind}, d[@{bind}_whole])"
    binds |= {f"{bind}_first": first, f"{bind}_rest": rest}
    return f"NOT_NULL(d.@{bind}, d[@{bind}_whole], d[@{bind}_first][@{bind}_rest])"
