"""Node and edge types that users add to the graph. They stand in the audit, as its document `extension`."""

import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from arangopipe_ops import model
from arangopipe_ops.admin.filing import entry
from arangopipe_ops.admin.provisioning import apply, definition, plan, stored_extension
from arangopipe_ops.errors import ArangopipeError, Conflict, Invalid, Unavailable
from arangopipe_ops.model import AUDIT, GRAPH, OWN, SCHEMA, Document, EdgeType, Index, NodeType, Schema
from arangopipe_ops.store import driver_errors
from arangopipe_ops.store.execution import contended, execute

if TYPE_CHECKING:
    from arango.database import StandardDatabase

KEY = "extension"
_PATIENCE = 10.0
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")

T = TypeVar("T", NodeType, EdgeType, Index)

_READ = """RETURN FIRST(FOR a IN @@audit FILTER a._key == @key RETURN a)"""

_WRITE = """LET old = FIRST(FOR a IN @@audit FILTER a._key == @doc._key RETURN a)
LET now = DATE_ISO8601(DATE_NOW())
LET rows = old._rev != @rev ? [] : [@doc, MERGE(@entry, {at: now, replaced: old == null ? [] : [old]})]
FOR row IN rows INSERT row INTO @@audit OPTIONS {overwriteMode: "replace"} RETURN NEW._key"""


def extension(db: "StandardDatabase") -> Document:
    """Return the types that users added, as plain JSON with `nodes` and `edges`."""
    with driver_errors():
        return model.extension(model.extended(stored_extension(db)))


def extend(
    db: "StandardDatabase",
    nodes: Sequence[NodeType | Mapping[str, Any]] = (),
    edges: Sequence[EdgeType | Mapping[str, Any]] = (),
) -> bool:
    """Add node and edge types to the graph; return whether any was new.

    Types are those of `model`, or mappings with their attributes: a node type needs `kind`, `collection` and
    `identity`, an edge type `name`, `source`, `target` and `upstream`. Collections, edge definitions and indexes are
    created, then the types are known everywhere, also to stores that are open. Of a type that exists only `shows`,
    `indexes`, `newest` and `paged` can change. Any number of processes may extend at once. Raises Invalid, Conflict.
    """
    given = [_node_type(node) for node in nodes], [_edge_type(edge) for edge in edges]

    def with_them(schema: Schema) -> Schema:
        for node in given[0]:
            _refuse_change(schema.nodes.get(node.kind), node, ("collection", "identity", "name"))
        for edge in given[1]:
            _refuse_change(schema.edges.get(edge.name), edge, ("source", "target", "upstream"))
        extended = schema.extended(*given)
        collections = {node.collection for node in extended.nodes.values()} | extended.edges.keys()
        for node in given[0]:
            if node.kind in collections - {node.collection}:
                raise Invalid(node.kind, "is the name of another type's collection; choose another kind")
        return extended

    names = [*(node.kind for node in given[0]), *(edge.name for edge in given[1])]
    return change_schema(db, with_them, f"extend: {', '.join(names)}", before=True)


def withdraw(
    db: "StandardDatabase", nodes: Sequence[str] = (), edges: Sequence[str] = (), *, force: bool = False
) -> bool:
    """Remove added node types (by kind) and edge types (by name) with their collections; return whether any was there.

    A collection that holds documents is refused, unless `force` is set: then they are dropped with it, and the audit
    keeps none of them. Raises Invalid for a type of the model itself and one that an edge type needs, and Conflict for
    one that has documents.
    """
    removed: list[str] = []

    def without_them(schema: Schema) -> Schema:
        added = model.extension(schema)
        gone_nodes = [node for node in added["nodes"] if node["kind"] in nodes]
        for name in {*nodes} & SCHEMA.nodes.keys() | {*edges} & SCHEMA.edges.keys():
            raise Invalid(name, "belongs to the model itself and stays")
        kept = {
            "nodes": [node for node in added["nodes"] if node["kind"] not in nodes],
            "edges": [edge for edge in added["edges"] if edge["name"] not in edges],
        }
        ends = {node["kind"] for node in gone_nodes} | {node["collection"] for node in gone_nodes}
        for edge in kept["edges"]:
            if ends & {edge["source"], edge["target"]}:
                raise Invalid(edge["name"], "is an edge type that needs it; withdraw that as well")
        removed[:] = [edge["name"] for edge in added["edges"] if edge["name"] in edges]
        removed.extend(node["collection"] for node in gone_nodes)
        if not force:
            _refuse_full(db, removed)
        return model.extended(kept)

    changed = change_schema(db, without_them, f"withdraw: {', '.join((*nodes, *edges))}", before=False)
    with driver_errors():
        for collection in removed:
            _drop(db, collection)
        current = model.extended(stored_extension(db))  # another process may have added the type again meanwhile
        apply(db, [each for each in plan(db, schema=current) if each.does == "create"])
    return changed


def change_schema(db: "StandardDatabase", change: Callable[[Schema], Schema], reason: str, *, before: bool) -> bool:
    """Replace the types of the graph by what a change makes of them; return whether it made others.

    If somebody else replaces them meanwhile, the change is made of theirs. With `before` the database is provisioned
    for it first, so that who reads it finds what it names.
    """
    deadline, pause = time.monotonic() + _PATIENCE, 0.02
    while True:
        with driver_errors():
            [stored] = execute(db, _READ, {"@audit": AUDIT, "key": KEY}, _PATIENCE)
        schema = model.extended(stored)
        changed = change(schema)
        if before:
            with driver_errors():
                apply(db, [each for each in plan(db, schema=changed) if each.does == "create"])
        if changed == schema:
            return False
        if _swap(db, changed, stored and stored["_rev"], reason):
            return True
        if time.monotonic() > deadline:
            raise Unavailable("other processes extend the graph without pause. Trying again is safe.")
        time.sleep(random.uniform(0, pause))
        pause *= 2


def _swap(db: "StandardDatabase", schema: Schema, revision: str | None, reason: str) -> bool:
    """Store an extension in place of the one with a revision; return whether it was still there."""
    document = {"_key": KEY, **model.extension(schema)}
    told = entry(db, reason, definition=definition(schema), extension=model.extension(schema))
    told["_key"] = f"{KEY}-{told['_key']}"  # so that they are found without going through the whole audit
    binds = {"@audit": AUDIT, "doc": model.canonical(document), "rev": revision, "entry": model.canonical(told)}
    try:
        return bool(execute(db, _WRITE, binds, patience=0))
    except ArangopipeError as error:
        if not contended(error):
            raise
        return False


def _refuse_change(old: Any, new: Any, attributes: Sequence[str]) -> None:
    for name in attributes:
        if old is not None and getattr(old, name) != getattr(new, name):
            raise Conflict(
                getattr(new, "kind", None) or new.name,
                [name],
                f"exists with another {name}, which decides what is stored where; withdraw it first",
            )


def _refuse_full(db: "StandardDatabase", collections: Sequence[str]) -> None:
    from arango.exceptions import DocumentCountError

    for collection in collections:
        with driver_errors():
            try:
                count: Any = db.collection(collection).count()
            except DocumentCountError as error:
                if error.http_code != 404:
                    raise
                continue
        if count:
            raise Conflict(collection, [], f"holds {count:,} documents; delete them first, or use force to drop them")


def _drop(db: "StandardDatabase", collection: str) -> None:
    from arango.exceptions import ArangoServerError

    graph = db.graph(GRAPH)
    drops: Sequence[Callable[[], Any]] = (
        partial(graph.delete_edge_definition, collection),
        partial(graph.delete_vertex_collection, collection),
        partial(db.delete_collection, collection, ignore_missing=True),
    )
    for drop in drops:
        try:
            drop()
        except ArangoServerError as error:
            if error.error_code not in _NOT_THERE:
                raise


_NOT_THERE = (1926, 1928, 1930, 1203)


# --- types as they are given -------------------------------------------------------------------------------


def _node_type(given: NodeType | Mapping[str, Any]) -> NodeType:
    node = given if isinstance(given, NodeType) else _node_of(given)
    if not _KIND.fullmatch(str(node.kind)):
        raise Invalid("kind", f"{node.kind!r} is not a kind's name: a letter, then letters, digits and _")
    for name in node.identity:
        if name in OWN or name.startswith("_"):
            raise Invalid(f"{node.kind}.identity", f"{name!r} is set by the store; choose another attribute")
    if not node.identity or node.name not in node.identity:
        raise Invalid(f"{node.kind}.identity", f"{list(node.identity)} lacks {node.name!r}, the name people call it by")
    return node


def _node_of(given: Mapping[str, Any]) -> NodeType:
    values = _attributes(NodeType, given)
    for name in ("identity", "shows"):
        if name in values:
            values[name] = _texts(f"{values.get('kind')}.{name}", values[name])
    if "name" not in values and "identity" in values and "name" not in values["identity"]:
        values["name"] = next(iter(values["identity"]), "name")
    values["indexes"] = tuple(_index_of(index) for index in given.get("indexes") or ())
    return _made(NodeType, values)


def _index_of(given: Any) -> Index:
    if isinstance(given, Index):
        return given
    values = _attributes(Index, given if isinstance(given, Mapping) else {"fields": given})
    values["fields"] = _texts("fields", values.get("fields"))
    return _made(Index, values)


def _edge_type(given: EdgeType | Mapping[str, Any]) -> EdgeType:
    edge = given if isinstance(given, EdgeType) else _made(EdgeType, _attributes(EdgeType, given))
    if edge.upstream not in ("from", "to"):
        raise Invalid(f"{edge.name}.upstream", f"{edge.upstream!r} is not from or to")
    return edge


def _attributes(type_: type[T], given: Any) -> Document:
    if not isinstance(given, Mapping):
        raise Invalid(type_.__name__, f"{given!r} is not a mapping of attributes")
    known = {each.name for each in fields(type_)}
    for name in given:
        if name not in known:
            raise Invalid(f"{type_.__name__}.{name}", f"is not one of {', '.join(sorted(known))}")
    return dict(given)


def _made(type_: type[T], values: Document) -> T:
    try:
        return type_(**values)
    except TypeError as error:
        missing = [each.name for each in fields(type_) if each.name not in values and f"'{each.name}'" in str(error)]
        raise Invalid(type_.__name__, f"needs {' and '.join(missing)}") from None


def _texts(path: str, given: Any) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Sequence) or not all(isinstance(each, str) for each in given):
        raise Invalid(path, f"{given!r} is not a list of attribute names")
    return tuple(given)
