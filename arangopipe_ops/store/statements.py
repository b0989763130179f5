"""Pieces that several statements share."""

from collections.abc import Iterable, Mapping
from typing import Any

from arangopipe_ops.errors import Invalid, NotFound
from arangopipe_ops.model import Document, NodeType, Schema, Target

NOW = "LET now = DATE_ISO8601(DATE_NOW())"

LOOK_UP = """NOT_NULL(
  FIRST(FOR d IN @@nodes FILTER d._key == @key RETURN d),
  FIRST(FOR d IN @@nodes FILTER @name != null AND d.@by == @name AND d.archived == null
    SORT d.created DESC LIMIT 1 RETURN d))"""
"""The node that a reference leads to: the key's, or the newest version of a name that is not archived."""

LOOK_UP_ARCHIVED = """NOT_NULL(
  FIRST(FOR d IN @@nodes FILTER d._key == @key RETURN d),
  FIRST(FOR d IN @@nodes FILTER @name != null AND d.@by == @name
    SORT d.archived == null, d.created DESC LIMIT 1 RETURN d))"""
"""The same, but a name leads to the newest version that is archived, if one is."""

EXTENSION = 'FIRST(FOR a IN @@audit FILTER a._key == "extension" RETURN KEEP(a, "nodes", "edges"))'
"""The node and edge types that users added (`admin.extend`); every answer about all kinds brings them along."""


def look_up(type_: NodeType, target: Target) -> Document:
    """Return what `LOOK_UP` binds."""
    return {"@nodes": type_.collection, "key": target.key, "by": type_.name, "name": target.name}


def collection_of(reference: Any) -> str:
    """Return the collection that a Ref or an `_id` names. Raises Invalid for anything else."""
    text = reference.get("_id") if isinstance(reference, Mapping) else reference
    collection, slash, _ = str(text).partition("/")
    if not slash:
        raise Invalid("kind", f"is needed to look up {reference!r}: it is neither a Ref nor an _id")
    return collection


def id_of(target: Target) -> str | None:
    """Return the `_id` of a target that is given by its key."""
    return f"{target.collection}/{target.key}" if target.key else None


def check_found(found: Any, target: Target) -> None:
    """Raise NotFound if an answer has no document for a target."""
    if found is None:
        raise NotFound([str(target)])


def appended(arguments: Iterable[str]) -> str:
    """Return further arguments of a function call."""
    return "".join(f", {argument}" for argument in arguments)


def counts_text(schema: Schema) -> tuple[str, Document]:
    """Return the statement that counts nodes and edges by collection."""
    names = [node.collection for node in schema.nodes.values()] + list(schema.edges)
    entries = ", ".join(f"[@name{i}]: LENGTH(@@c{i})" for i in range(len(names)))
    binds = {f"name{i}": name for i, name in enumerate(names)} | {f"@c{i}": name for i, name in enumerate(names)}
    return f"RETURN {{counts: {{{entries}}}, extension: {EXTENSION}}}", binds
