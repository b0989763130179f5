"""INSERT, UPDATE, REPLACE, REMOVE and UPSERT: which values they need, and OLD and NEW."""

from __future__ import annotations

from .errors import ArangoError
from .options import HINTS, attributes
from .rules import REPLACE, UPDATE
from .scope import EARLIER, Draft
from .tree import (
    Attribute,
    Binary,
    Clause,
    CollectionRef,
    Expr,
    Filter,
    For,
    Insert,
    Limit,
    Literal,
    Modification,
    Object,
    Remove,
    Return,
    Update,
    Upsert,
    Variable,
)
from .writes import Modify, Write, change, insert, remove, upsert

WITHOUT_OLD = ("ignore", "conflict")
"""Overwrite modes of INSERT that never replace a document."""


def plan_insert(draft: Draft, clause: Insert, position: int) -> None:
    _modify(draft, "InsertNode", clause, [clause.document], insert)


def plan_update(draft: Draft, clause: Update, position: int) -> None:
    kind, event = ("ReplaceNode", REPLACE) if clause.replaces else ("UpdateNode", UPDATE)
    expressions = [clause.selector] if clause.patch is None else [clause.selector, clause.patch]
    _modify(draft, kind, clause, expressions, change(event))


def plan_remove(draft: Draft, clause: Remove, position: int) -> None:
    _modify(draft, "RemoveNode", clause, [clause.selector], remove)


def _modify(draft: Draft, kind: str, clause: Modification, expressions: list[Expr], write: Write) -> None:
    draft.planner.warn_about(clause)
    values = [draft.compile(expression) for expression in expressions]
    options = draft.compile_optional(clause.options)
    old, new = _earlier(draft, clause)
    collection = draft.planner.write(clause.target.name).name
    draft.add(Modify(kind, collection, values, write, options, old, new, draft.slots()))


def _earlier(draft: Draft, clause: Modification) -> tuple[int | None, int | None]:
    """The slots of OLD and NEW, as far as the modification has them; they hide those of an outer one."""
    old = draft.names.redeclare("OLD") if not isinstance(clause, Insert) or _overwrites(clause) else None
    new = draft.names.redeclare("NEW") if not isinstance(clause, Remove) else None
    return old, new


def _overwrites(clause: Insert) -> bool:
    given = dict(attributes(clause.options))
    mode = given.get("overwriteMode")
    return "overwrite" in given if mode is None else not (isinstance(mode, Literal) and mode.value in WITHOUT_OLD)


def plan_upsert(draft: Draft, clause: Upsert, position: int) -> None:
    draft.planner.warn_about(clause)
    name = clause.target.name
    find = draft.names.rows(_search(clause))
    document = draft.compile(clause.document)
    options = draft.compile_optional(clause.options)
    old, new = (draft.names.redeclare(each) for each in EARLIER)
    write = upsert(find, document, draft.compile(clause.patch), old, REPLACE if clause.replaces else UPDATE)
    draft.planner.write(name)
    draft.add(Modify("UpsertNode", name, [], write, options, old, new, draft.slots()))


def _search(clause: Upsert) -> tuple[Clause, ...]:
    """The query that looks for the document of an UPSERT."""
    test = clause.search
    if not clause.by_condition:
        test = _example(Variable("CURRENT"), clause.search)
    options = clause.options.attributes if clause.options is not None else ()
    source = CollectionRef(clause.target.name)
    found = Return(Variable("CURRENT"), distinct=False)
    hints = [pair for pair in options if isinstance(pair[0], Literal) and pair[0].value in HINTS]
    return For("CURRENT", source, Object(tuple(hints))), Filter(test), Limit(None, Literal(1)), found


def _example(base: Expr, example: Expr) -> Expr:
    """`{a: x, b: {c: y}}` -> `base.a == x && base.b.c == y`"""
    if not isinstance(example, Object):
        raise ArangoError(1501, "syntax error, UPSERT expects an object literal to search by")
    test: Expr = Literal(True)
    for name, value in example.attributes:
        if not isinstance(name, Literal) or not isinstance(name.value, str):
            raise ArangoError(1501, "syntax error, UPSERT expects constant attribute names to search by")
        attribute = Attribute(base, name.value)
        nested = isinstance(value, Object) and value.attributes
        test = Binary("&&", test, _example(attribute, value) if nested else Binary("==", attribute, value))
    return test
