"""Create in a database what the graph needs: collections, the named graph, indexes; all derived from model.py."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from arangopipe_ops import model
from arangopipe_ops.admin.filing import file
from arangopipe_ops.admin.retention import kept_for
from arangopipe_ops.admin.structure import Structure, index_identity, structure_of
from arangopipe_ops.errors import Conflict, Invalid
from arangopipe_ops.model import AUDIT, GRAPH, SCHEMA, Document, Index, Schema
from arangopipe_ops.store import driver_errors
from arangopipe_ops.store.execution import execute
from arangopipe_ops.store.statements import EXTENSION

if TYPE_CHECKING:
    from arango.database import StandardDatabase

_DUPLICATE_NAME, _EDGE_DEFINED, _GRAPH_EXISTS, _NOT_UNIQUE = 1207, 1920, 1925, 1210
_IN_GRAPH = (1929, 1938)
_COLLECTION_MISSING = 1203


@dataclass(frozen=True)
class Difference:
    """One thing that is not as the model has it, and what `provision` does about it.

    `what` is a collection, the graph, an edge definition, a vertex collection of the graph or an index. `does` is
    create, change, drop or nothing; where `force` is true it does so only when asked with `force`.
    """

    what: str
    name: str
    problem: Literal["missing", "different", "obsolete", "extra"]
    does: Literal["create", "change", "drop", "nothing"]
    detail: str
    force: bool = False
    wanted: Document = field(default_factory=dict)

    def __str__(self) -> str:
        action = f"{self.does} with force" if self.force else self.does
        return f"{self.problem} {self.what} {self.name}: {self.detail} ({action})"


def provision(
    db: "StandardDatabase",
    *,
    schema: Schema | None = None,
    again: bool = False,
    force: bool = False,
    number_of_shards: int | None = None,
) -> bool:
    """Make sure that the database holds the graph; return whether anything was missing.

    It may run at any time and in any number of processes: what exists stays as it is, also in a database that
    the original Arangopipe made. On a provisioned database it is one request, for the audit entry that the
    first provisioning of this schema left; `again` looks at everything all the same. With `force` it also drops
    the indexes that only earlier versions of this package wanted, and widens edge definitions that are too narrow.
    `number_of_shards` is for a sharded cluster; only collections that are created now get that many. Raises
    Unauthorized, NotProvisioned (no such database), Unavailable, Conflict (stored nodes stand against an index).
    """
    marker = f"schema-{model.digest(definition(schema or SCHEMA))[:32]}"
    with driver_errors():
        if not (again or force) and db.collection(AUDIT).has(marker):
            return False
        wanted = schema or _extended(db)
        differences = _differences(db, wanted)
        if number_of_shards and number_of_shards > 1 and db.properties().get("sharding") == "single":  # type: ignore[union-attr]
            raise Invalid("number_of_shards", "this database is OneShard, where every collection has one shard")
        todo = [each for each in differences if each.does != "nothing" and (force or not each.force)]
        changed = apply(db, todo, number_of_shards)
        entry: Any = {
            "_key": marker,
            "provisioned": GRAPH,
            "definition": definition(schema or SCHEMA),
            "touched": [],
        }
        execute(db, _MARK, {"entry": entry, "@audit": AUDIT}, patience=10)
        if changed and (again or force):
            file(db, "provision", changes=[str(each) for each in todo])
    return changed


def plan(db: "StandardDatabase", *, schema: Schema | None = None) -> list[Difference]:
    """Return how a database differs from the model, and what `provision` would do about it; nothing is changed.

    A database that is as it should be has only differences with `does` nothing, if any: what is there in addition.
    """
    with driver_errors():
        return [*_differences(db, schema or _extended(db)), *_retention(db)]


_MARK = """INSERT MERGE(@entry, {at: DATE_ISO8601(DATE_NOW())}) INTO @@audit OPTIONS {overwriteMode: "ignore"}"""

_OURS = """FOR a IN @@audit
  FILTER (a._key >= "schema-" AND a._key < "schema.") OR (a._key >= "extension-" AND a._key < "extension.")
  FILTER a.definition != null
  RETURN a.definition.indexes"""


def definition(schema: Schema = SCHEMA) -> dict[str, Any]:
    """Return what a provisioned database holds, as plain JSON."""
    return {
        "nodes": sorted(node.collection for node in schema.nodes.values()),
        "edges": [_edge_definition(schema, name) for name in sorted(schema.edges)],
        "indexes": {
            collection: [_index_definition(index) for index in indexes]
            for collection, indexes in sorted(schema.indexes().items())
        },
    }


def _edge_definition(schema: Schema, name: str) -> dict[str, Any]:
    edge = schema.edges[name]
    return {
        "edge_collection": name,
        "from_vertex_collections": [schema.node(edge.source).collection],
        "to_vertex_collections": [schema.node(edge.target).collection],
    }


def _index_definition(index: Index) -> dict[str, Any]:
    return {"type": "persistent", "fields": list(index.fields), "unique": index.unique, "sparse": index.sparse}


def stored_extension(db: "StandardDatabase") -> Any:
    """Return the `extension` document's types, None where there is none or no audit yet."""
    from arango.exceptions import ArangoServerError

    try:
        return next(iter(db.aql.execute(f"RETURN {EXTENSION}", bind_vars={"@audit": AUDIT})))  # type: ignore[arg-type]
    except ArangoServerError as error:
        if error.error_code != _COLLECTION_MISSING:
            raise
        return None


def _extended(db: "StandardDatabase") -> Schema:
    return model.extended(stored_extension(db))


# --- what differs ------------------------------------------------------------------------------------------


def _differences(db: "StandardDatabase", schema: Schema) -> list[Difference]:
    wanted = definition(schema)
    found = structure_of(db, wanted["indexes"])
    ours = [] if AUDIT not in found.collections else list(db.aql.execute(_OURS, bind_vars={"@audit": AUDIT}))  # type: ignore[arg-type]
    return [
        *_collections(wanted, found),
        *_graph(found),
        *_edge_definitions(wanted, found),
        *_vertex_collections(wanted, found),
        *_indexes(wanted, found, ours),
    ]


def _collections(wanted: Mapping[str, Any], found: Structure) -> Iterator[Difference]:
    edges = [edge["edge_collection"] for edge in wanted["edges"]]
    unique = {name for name, indexes in wanted["indexes"].items() if any(index["unique"] for index in indexes)}
    kinds = dict.fromkeys([*wanted["nodes"], AUDIT], "document") | dict.fromkeys(edges, "edge")
    for name, kind in kinds.items():
        stored = found.collections.get(name)
        if stored is None:
            payload = {"edge": kind == "edge", "unique": name in unique}
            yield Difference("collection", name, "missing", "create", f"of type {kind}", wanted=payload)
        elif stored != kind:
            detail = f"is of type {stored}, not {kind}; rename it, and provision again"
            yield Difference("collection", name, "different", "nothing", detail)


def _graph(found: Structure) -> Iterator[Difference]:
    if found.definitions is None:
        yield Difference("graph", GRAPH, "missing", "create", "the named graph")


def _edge_definitions(wanted: Mapping[str, Any], found: Structure) -> Iterator[Difference]:
    stored = found.definitions or {}
    for edge in wanted["edges"]:
        name, ends = edge["edge_collection"], (edge["from_vertex_collections"], edge["to_vertex_collections"])
        detail = f"{ends[0][0]} -> {ends[1][0]}"
        if name not in stored:
            yield Difference("edge definition", name, "missing", "create", detail, wanted=edge)
        elif not (set(ends[0]) <= stored[name][0] and set(ends[1]) <= stored[name][1]):
            wider = {
                "edge_collection": name,
                "from_vertex_collections": sorted({*ends[0], *stored[name][0]}),
                "to_vertex_collections": sorted({*ends[1], *stored[name][1]}),
            }
            yield Difference(
                "edge definition", name, "different", "change", f"lacks {detail}", force=True, wanted=wider
            )
    names = {edge["edge_collection"] for edge in wanted["edges"]}
    for name in sorted(stored.keys() - names):
        yield Difference("edge definition", name, "extra", "nothing", "is not of the model; lineage ignores it")


def _vertex_collections(wanted: Mapping[str, Any], found: Structure) -> Iterator[Difference]:
    """The node collections that no edge definition brings into the graph."""
    ends = {end for edge in wanted["edges"] for side in ("from", "to") for end in edge[f"{side}_vertex_collections"]}
    for name in wanted["nodes"]:
        if name not in ends and name not in found.vertices:
            yield Difference("vertex collection", name, "missing", "create", "belongs to the graph")


def _indexes(
    wanted: Mapping[str, Any], found: Structure, ours: list[Mapping[str, list[Document]]]
) -> Iterator[Difference]:
    for collection, indexes in wanted["indexes"].items():
        stored = found.indexes.get(collection, {})
        needed = {index_identity(index): index for index in indexes}
        for identity in needed.keys() - stored.keys():
            yield _index("missing", "create", collection, needed[identity])
        earlier = {index_identity(index) for each in ours for index in each.get(collection, ())}
        for identity in stored.keys() - needed.keys():
            if identity in earlier:
                yield _index("obsolete", "drop", collection, stored[identity], force=True)
            elif stored[identity]["type"] != "ttl":
                yield _index("extra", "nothing", collection, stored[identity])


def _retention(db: "StandardDatabase") -> Iterator[Difference]:
    kept = kept_for(db)
    if len(set(kept.values())) > 1:
        told = ", ".join(f"{name} {f'{days:g} days' if days else 'forever'}" for name, days in kept.items())
        yield Difference("retention", " and ".join(kept), "different", "nothing", f"kept for different times: {told}")


def _index(
    problem: Literal["missing", "obsolete", "extra"],
    does: Literal["create", "drop", "nothing"],
    collection: str,
    index: Document,
    *,
    force: bool = False,
) -> Difference:
    flags = "".join(f", {flag}" for flag in ("unique", "sparse") if index.get(flag))
    detail = {"missing": "of the model", "obsolete": "only an earlier version wanted it", "extra": "not of the model"}
    name = f"{collection} ({', '.join(index['fields'])}{flags})"
    return Difference("index", name, problem, does, detail[problem], force, {"collection": collection, **index})


# --- what is done about it ---------------------------------------------------------------------------------


def apply(db: "StandardDatabase", differences: list[Difference], number_of_shards: int | None = None) -> bool:
    """Do what the differences say; return whether there was anything to do.

    What another process does meanwhile is not an error. A unique index is possible only over the key a
    collection is sharded by, so a collection that has another one gets a single shard.
    """
    by = {what: [each for each in differences if each.what == what] for what in _KINDS}
    for each in by["collection"]:
        if each.wanted["unique"] or each.name == AUDIT:
            _create_collection(db, each, 1 if each.wanted["unique"] else number_of_shards)
    missing = [each.wanted for each in by["edge definition"] if each.problem == "missing"]
    if not (by["graph"] and _unless((_GRAPH_EXISTS,), partial(_create_graph, db, missing, number_of_shards))):
        graph: Any = db.graph(GRAPH)
        for edge in missing:
            _unless((_EDGE_DEFINED,), partial(graph.create_edge_definition, **edge))
    graph = db.graph(GRAPH)
    for each in by["edge definition"]:
        if each.problem == "different":
            graph.replace_edge_definition(**each.wanted)
    if by["collection"]:
        present = {collection["name"] for collection in db.collections()}  # type: ignore[union-attr]
        for each in by["collection"]:
            if each.name not in present:
                _create_collection(db, each, number_of_shards)
    for each in by["vertex collection"]:
        _unless(_IN_GRAPH, partial(graph.create_vertex_collection, each.name))
    for each in by["index"]:
        _change_index(db, each)
    return bool(differences)


_KINDS = ("collection", "graph", "edge definition", "vertex collection", "index")


def _create_graph(db: "StandardDatabase", edges: list[Document], number_of_shards: int | None) -> None:
    db.create_graph(GRAPH, edges, shard_count=number_of_shards)


def _create_collection(db: "StandardDatabase", each: Difference, number_of_shards: int | None) -> None:
    create = partial(db.create_collection, each.name, edge=each.wanted["edge"], shard_count=number_of_shards)
    _unless((_DUPLICATE_NAME,), create)


def _change_index(db: "StandardDatabase", each: Difference) -> None:
    from arango.exceptions import IndexCreateError

    collection, index = db.collection(each.wanted["collection"]), dict(each.wanted)
    del index["collection"]
    if each.does == "drop":
        collection.delete_index(index["id"], ignore_missing=True)
        return
    try:
        collection.add_index(index)
    except IndexCreateError as error:
        if error.error_code != _NOT_UNIQUE:
            raise
        problem = "holds nodes that its unique index does not allow; `doctor` names them"
        raise Conflict(collection.name, index["fields"], problem) from error


def _unless(numbers: tuple[int, ...], create: Callable[[], Any]) -> bool:
    """Create something; return whether it was not there, as one of the error numbers says."""
    from arango.exceptions import ArangoServerError

    try:
        create()
    except ArangoServerError as error:
        if error.error_code not in numbers:
            raise
        return False
    return True
