"""What a database holds of the graph: collections, edge definitions, indexes. It only reads."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from arangopipe_ops.model import GRAPH, Document

if TYPE_CHECKING:
    from arango.database import StandardDatabase

_GRAPH_MISSING, _COLLECTION_MISSING = 1924, 1203
_BUILT_IN = ("primary", "edge")


@dataclass(frozen=True)
class Structure:
    """Collections by name with their type (document or edge); of the graph, None where there is none, the edge
    definitions by name with their two sets of ends; its vertex collections; and the indexes by collection.
    """

    collections: dict[str, str]
    definitions: dict[str, tuple[set[str], set[str]]] | None
    vertices: set[str]
    indexes: dict[str, dict[tuple[Any, ...], Document]] = field(default_factory=dict)


def structure_of(db: "StandardDatabase", indexed: Iterable[str]) -> Structure:
    """Return what a database holds, with the indexes of some collections. Raises the driver's errors."""
    collections = collections_of(db)
    definitions, vertices = _graph(db)
    indexes = {name: indexes_of(db, name) for name in indexed if name in collections}
    return Structure(collections, definitions, vertices, indexes)


def collections_of(db: "StandardDatabase") -> dict[str, str]:
    """Return the collections by name with their type. Raises the driver's errors."""
    listed: Any = db.collections()
    return {each["name"]: each["type"] for each in listed if not each["system"]}


def _graph(db: "StandardDatabase") -> tuple[dict[str, tuple[set[str], set[str]]] | None, set[str]]:
    from arango.exceptions import ArangoServerError

    try:
        properties: Any = db.graph(GRAPH).properties()
    except ArangoServerError as error:
        if error.error_code != _GRAPH_MISSING:
            raise
        return None, set()
    definitions = {
        each["edge_collection"]: (set(each["from_vertex_collections"]), set(each["to_vertex_collections"]))
        for each in properties["edge_definitions"]
    }
    ends = {name for sides in definitions.values() for side in sides for name in side}
    return definitions, ends | set(properties["orphan_collections"])


def indexes_of(db: "StandardDatabase", collection: str) -> dict[tuple[Any, ...], Document]:
    """Return the secondary indexes of a collection, none of one that is gone."""
    from arango.exceptions import ArangoServerError

    try:
        listed: Any = db.collection(collection).indexes()
    except ArangoServerError as error:
        if error.error_code != _COLLECTION_MISSING:
            raise
        return {}
    return {index_identity(index): index for index in listed if index["type"] not in _BUILT_IN}


def index_identity(index: Document) -> tuple[Any, ...]:
    """Return what tells an index from another one; its name and its size do not."""
    return (index["type"], *index["fields"], index.get("unique", False), index.get("sparse", False))
