"""Create in a database what the graph needs: collections, the named graph, indexes; all derived from model.py."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from arangopipe_ops import model
from arangopipe_ops.model import AUDIT, GRAPH, SCHEMA, Index, Schema
from arangopipe_ops.store import driver_errors

if TYPE_CHECKING:
    from arango.database import StandardDatabase

_DUPLICATE_NAME, _EDGE_DEFINED, _GRAPH_EXISTS = 1207, 1920, 1925


def provision(db: "StandardDatabase", *, schema: Schema = SCHEMA) -> bool:
    """Make sure that the database holds the graph; return whether anything was missing.

    It may run at any time and in any number of processes: what exists stays as it is, also in a database that
    the original Arangopipe made. On a provisioned database it is one request, for the audit entry that the
    first provisioning of this schema left. Raises Unauthorized, NotProvisioned (no such database), Unavailable.
    """
    marker = f"schema-{model.digest(definition(schema))[:32]}"
    with driver_errors():
        if db.collection(AUDIT).has(marker):
            return False
        _create(db, schema)
        entry: Any = {"_key": marker, "provisioned": GRAPH, "definition": definition(schema), "touched": []}
        db.aql.execute(_MARK, bind_vars={"entry": entry, "@audit": AUDIT})
    return True


_MARK = """INSERT MERGE(@entry, {at: DATE_ISO8601(DATE_NOW())}) INTO @@audit OPTIONS {overwriteMode: "ignore"}"""


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


def _create(db: "StandardDatabase", schema: Schema) -> None:
    """Create what is missing. What another process creates meanwhile is not an error."""
    wanted = definition(schema)
    _unless(_DUPLICATE_NAME, lambda: db.create_collection(AUDIT))
    _unless(_GRAPH_EXISTS, lambda: db.create_graph(GRAPH, wanted["edges"]))
    graph: Any = db.graph(GRAPH)
    present = {edge["edge_collection"] for edge in graph.edge_definitions()}
    for edge in wanted["edges"]:
        if edge["edge_collection"] not in present:
            _unless(_EDGE_DEFINED, partial(graph.create_edge_definition, **edge))
    for collection, indexes in wanted["indexes"].items():
        for index in indexes:
            db.collection(collection).add_index(index)


def _unless(number: int, create: Callable[[], Any]) -> None:
    from arango.exceptions import ArangoServerError

    try:
        create()
    except ArangoServerError as error:
        if error.error_code != number:
            raise
