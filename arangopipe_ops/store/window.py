"""The statement that looks for nodes among the newest of each kind: its cost does not grow with the graph."""

from collections.abc import Sequence
from typing import Any

from arangopipe_ops.model import Document, NodeType
from arangopipe_ops.store.search import NAMED, Page, Search, attribute, filters
from arangopipe_ops.store.statements import EXTENSION, appended

ALIKE = 200
"""How many older nodes are looked at whose name begins like the text, or with its first word."""

_LAST = "9999"

_NEWEST = """
LET newest{i} = (FOR d IN @@n{i} FILTER d.created < {before}{since}
  SORT d.created DESC, d._key DESC LIMIT @more RETURN d)
LET older{i} = LENGTH(newest{i}) == @more ? newest{i}[-1] : null"""

_SOME = """
LET some{i} = (FOR d IN @@n{i}{sure} LIMIT @more RETURN d)
LET few{i} = LENGTH(some{i}) < @more"""
"""What an index finds; if that is no more than is to be looked at, the newest need not be looked at."""

_ALIKE = """
LET names{i} = (FOR word IN @starts FOR d IN @@n{i} FILTER d.@by{i} >= word AND d.@by{i} < CONCAT(word, "\\uFFFF")
  LIMIT @alike RETURN DISTINCT d._key)
LET alike{i} = (FOR d IN @@n{i} FILTER d._key IN names{i}
  FILTER d.created < older{i}.created OR (d.created == older{i}.created AND d._key <= older{i}._key)
  RETURN d)"""

_HITS = """
LET hits{i} = (FOR d IN {looked}{filters}{after} RETURN {{d, at: [{order}, d._key, {i}]}})"""

_REACHED = '[@kind{i}]: older{i} == null ? null : DATE_ADD(older{i}.created, 1, "millisecond")'
"""As `until` this leads to the first node that was not looked at, and to all that were registered with it."""

_PAGE = """
LET hits = UNION([], []{hits})
RETURN {{
  rows: (FOR r IN hits SORT r.at[0] {way}, r.at[1] {way}, r.at[2] LIMIT @limit RETURN r),
  total: {total},
  reached: {{{reached}}},
  extension: {extension}
}}"""


class Window(Search):
    """A search that looks at no more than `within` nodes of each kind.

    They are the newest; or those that an index finds, if they are not more. Of a text, some older nodes are looked at
    whose name begins like it.
    """

    def statement(self, types: Sequence[NodeType], cursor: str | None, count: bool) -> tuple[str, Document]:
        """Return the statement for one page of nodes of the types, and what it binds. Raises Invalid."""
        binds = self.bound(types) | {"before": self.until or _LAST, "more": self.more}
        order, conditions = attribute(self.order_by, "order", binds), self.filters(binds)
        after = self.opened(cursor, binds)
        if self.words:
            starts = dict.fromkeys((" ".join(self.words), self.words[0]))
            binds |= {"starts": list(starts), "alike": ALIKE}
        parts = []
        for i, type_ in enumerate(types):
            binds[f"kind{i}"] = type_.kind
            parts.append(self._looked(i, type_, binds))
            parts.append(
                _HITS.format(
                    i=i,
                    looked=self._candidates(i, type_),
                    filters=conditions.replace("{i}", str(i)),
                    after=self.after(order, i, after),
                    order=order,
                )
            )
        text = _PAGE.format(
            hits=appended(f"hits{i}" for i in range(len(types))),
            way=self.way,
            total=self.counted("LENGTH(hits)", count, after, binds),
            reached=", ".join(_REACHED.format(i=i) for i in range(len(types))),
            extension=EXTENSION,
        )
        return "".join([*parts, text]), binds

    def page(self, answer: Document) -> Page:
        """Return the page that an answer holds."""
        reached = {kind: at for kind, at in answer["reached"].items() if at is not None}
        return Page(**super().page(answer), reached=reached)

    def _looked(self, i: int, type_: NodeType, binds: Document) -> str:
        """Return AQL for the nodes of a type that are looked at."""
        sure = self._sure(type_)
        since = " AND d.created >= @since" if self.since else ""
        before = f"(few{i} ? null : @before)" if sure or self.name else "@before"
        text = _NEWEST.format(i=i, before=before, since=since)
        if sure or self.name:
            named = f"\n  FILTER {NAMED}".replace("{i}", str(i)) if self.name else ""
            text = _SOME.format(i=i, sure=filters(sure, binds) + named) + text
        return text + (_ALIKE.format(i=i) if self.words else "")

    def _candidates(self, i: int, type_: NodeType) -> str:
        newest = f"SLICE(newest{i}, 0, @more - 1)"
        if self.name or self._sure(type_):
            newest = f"(few{i} ? some{i} : {newest})"
        return f"APPEND({newest}, alike{i})" if self.words else newest

    def _sure(self, type_: NodeType) -> dict[str, Any]:
        """Return the conditions that an index of the type answers."""
        indexed = {type_.name, *(index.fields[0] for index in type_.indexes)}
        return {name: condition for name, condition in self.where.items() if _served(name, condition, indexed)}


def _served(name: str, condition: Any, indexed: set[str]) -> bool:
    operators = condition.keys() if isinstance(condition, dict) else {"=="}
    return (name in indexed and bool(operators & {"==", "in", "prefix"})) or (
        f"{name}[*]" in indexed and "has" in operators
    )
