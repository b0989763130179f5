"""Pieces that several statements share."""

from collections.abc import Iterable

from arangopipe_ops.model import Document, NodeType, Target

NOW = "LET now = DATE_ISO8601(DATE_NOW())"

LOOK_UP = """NOT_NULL(
  FIRST(FOR d IN @@nodes FILTER d._key == @key RETURN d),
  FIRST(FOR d IN @@nodes FILTER @name != null AND d.@by == @name AND d.archived == null
    SORT d.created DESC LIMIT 1 RETURN d))"""
"""The node that a reference leads to: the key's, or the newest version of a name that is not archived."""

EXTENSION = 'FIRST(FOR a IN @@audit FILTER a._key == "extension" RETURN KEEP(a, "nodes", "edges"))'
"""The node and edge types that users added (`admin.extend`); every answer about all kinds brings them along."""


def look_up(type_: NodeType, target: Target) -> Document:
    """Return what `LOOK_UP` binds."""
    return {"@nodes": type_.collection, "key": target.key, "by": type_.name, "name": target.name}


def appended(arguments: Iterable[str]) -> str:
    """Return further arguments of a function call."""
    return "".join(f", {argument}" for argument in arguments)
