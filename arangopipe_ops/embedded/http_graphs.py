"""Named graphs and their collections. Manual: develop/http-api/graphs/named-graphs.

A graph is a document of the system collection `_graphs`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from . import catalog
from .catalog import DOCUMENT, EDGE, GRAPHS, Collection
from .errors import ArangoError
from .request import Request, Response, Route, success
from .rules import REPLACE
from .storage import Document, Transaction

Definition: TypeAlias = dict[str, Any]


def graphs_of(request: Request, transaction: Transaction) -> Collection:
    return transaction.catalog.collection(request.database, GRAPHS)


def load(request: Request, transaction: Transaction, name: str) -> Document:
    graph = transaction.get(graphs_of(request, transaction), name)
    if graph is None or not catalog.is_graph(graph):
        raise ArangoError(1924, name)
    return {"orphanCollections": [], **graph}


def all_graphs(request: Request, transaction: Transaction) -> list[Document]:
    found = filter(catalog.is_graph, transaction.scan(graphs_of(request, transaction)))
    return [{"orphanCollections": [], **graph} for graph in found]


def _store(request: Request, transaction: Transaction, graph: Document) -> Document:
    _, new = transaction.change(REPLACE, graphs_of(request, transaction), graph["_key"], graph)
    catalog.bump(transaction.sqlite)  # plans know the edge collections of the graphs they walk
    return new or {}


def _shown(graph: Document) -> dict[str, Any]:
    return {"name": graph["_key"], **graph}


def _changed(status: int, graph: Document) -> Response:
    response = success(status, graph=_shown(graph))
    response.headers["etag"] = graph["_rev"]
    return response


def listing(request: Request) -> Response:
    with request.transaction() as transaction:
        graphs = [_shown(graph) for graph in all_graphs(request, transaction)]
    return success(200, graphs=graphs)


def show(request: Request, name: str) -> Response:
    with request.transaction() as transaction:
        return success(200, graph=_shown(load(request, transaction, name)))


def create(request: Request) -> Response:
    given = request.object(name=str, edgeDefinitions=list, orphanCollections=list, options=dict)
    name = given.get("name")
    if not name:
        raise ArangoError(1922)
    definitions = [_definition(each) for each in given.get("edgeDefinitions") or ()]
    orphans = _names(given.get("orphanCollections")) if given.get("orphanCollections") else []
    with request.transaction(write=True) as transaction:
        if transaction.get(graphs_of(request, transaction), name) is not None:
            raise ArangoError(1925)
        _check_definitions(request, transaction, definitions)
        for definition in definitions:
            _create_collections(request, transaction, definition)
        for orphan in orphans:
            _ensure_collection(request, transaction, orphan, DOCUMENT)
        graph = {"_key": name, "edgeDefinitions": definitions, "orphanCollections": orphans}
        _, new = transaction.insert(graphs_of(request, transaction), graph)
    return _changed(202, new or {})


def _definition(given: Any) -> Definition:
    if not isinstance(given, dict) or not {"collection", "from", "to"} <= given.keys():
        raise ArangoError(1923)
    ends = {end: sorted(set(_names(given[end]))) for end in ("from", "to")}
    return {"collection": _names(given["collection"])[0], **ends}


def _names(value: Any) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ArangoError(1923)
    return names


def _check_definitions(request: Request, transaction: Transaction, definitions: list[Definition]) -> None:
    """An edge collection has the same definition in all graphs that use it, and one in each."""
    names = [definition["collection"] for definition in definitions]
    if len(set(names)) < len(names):
        raise ArangoError(1920)
    for graph in all_graphs(request, transaction):
        for other in graph["edgeDefinitions"]:
            if any(other["collection"] == each["collection"] and other != each for each in definitions):
                message = f"{other['collection']} edge collection already used in edge def"
                raise ArangoError(1921, message=message)


def _create_collections(request: Request, transaction: Transaction, definition: Definition) -> None:
    _ensure_collection(request, transaction, definition["collection"], EDGE)
    for name in {*definition["from"], *definition["to"]}:
        _ensure_collection(request, transaction, name, DOCUMENT)


def _ensure_collection(request: Request, transaction: Transaction, name: str, kind: int) -> None:
    existing = transaction.catalog.database(request.database).get(name)
    if existing is None:
        properties = {"type": kind}
        catalog.create_collection(transaction.sqlite, transaction.catalog, request.database, name, properties)
        transaction.refresh()
    elif kind == EDGE and not existing.is_edge:
        raise ArangoError(1218, message=f"collection type invalid: '{name}' is not an edge collection")


def drop(request: Request, name: str) -> Response:
    with request.transaction(write=True) as transaction:
        graph = load(request, transaction, name)
        transaction.remove(graphs_of(request, transaction), name)
        catalog.bump(transaction.sqlite)
        if request.flag("dropCollections"):
            for collection in _collections_of(graph):
                _drop_unless_used(request, transaction, collection)
    return success(202, removed=True)


def _collections_of(graph: Document) -> set[str]:
    edges = {definition["collection"] for definition in graph["edgeDefinitions"]}
    return edges | vertex_collections_of(graph)


def vertex_collections_of(graph: Document) -> set[str]:
    defined = (each[end] for each in graph["edgeDefinitions"] for end in ("from", "to"))
    return {name for names in defined for name in names} | set(graph["orphanCollections"])


def _drop_unless_used(request: Request, transaction: Transaction, name: str) -> None:
    others = all_graphs(request, transaction)
    collection = transaction.catalog.database(request.database).get(name)
    if collection is not None and not any(name in _collections_of(graph) for graph in others):
        catalog.drop_collection(transaction.sqlite, collection)


# the collections of a graph


def vertex_collections(request: Request, name: str) -> Response:
    with request.transaction() as transaction:
        graph = load(request, transaction, name)
    return success(200, collections=sorted(vertex_collections_of(graph)))


def add_vertex_collection(request: Request, name: str) -> Response:
    collection = request.object(collection=str).get("collection") or ""
    with request.transaction(write=True) as transaction:
        graph = load(request, transaction, name)
        if collection in graph["orphanCollections"]:
            raise ArangoError(1938)
        if collection in vertex_collections_of(graph):
            raise ArangoError(1929)
        _ensure_collection(request, transaction, collection, DOCUMENT)
        graph["orphanCollections"].append(collection)
        return _changed(202, _store(request, transaction, graph))


def drop_vertex_collection(request: Request, name: str, collection: str) -> Response:
    with request.transaction(write=True) as transaction:
        graph = load(request, transaction, name)
        if collection not in graph["orphanCollections"]:
            raise ArangoError(1928 if collection in vertex_collections_of(graph) else 1926)
        graph["orphanCollections"].remove(collection)
        stored = _store(request, transaction, graph)
        if request.flag("dropCollection"):
            _drop_unless_used(request, transaction, collection)
    return _changed(202, stored)


def edge_collections(request: Request, name: str) -> Response:
    with request.transaction() as transaction:
        graph = load(request, transaction, name)
    return success(200, collections=sorted(each["collection"] for each in graph["edgeDefinitions"]))


def add_edge_definition(request: Request, name: str) -> Response:
    definition = _definition(request.object())
    with request.transaction(write=True) as transaction:
        graph = load(request, transaction, name)
        if any(each["collection"] == definition["collection"] for each in graph["edgeDefinitions"]):
            raise ArangoError(1920)
        _check_definitions(request, transaction, [definition])
        _create_collections(request, transaction, definition)
        graph["edgeDefinitions"].append(definition)
        return _changed(202, _store(request, transaction, _without_used_orphans(graph)))


def _without_used_orphans(graph: Document) -> Document:
    used = vertex_collections_of({**graph, "orphanCollections": []})
    return {**graph, "orphanCollections": [name for name in graph["orphanCollections"] if name not in used]}


def replace_edge_definition(request: Request, name: str, collection: str) -> Response:
    definition = _definition({**request.object(), "collection": collection})
    with request.transaction(write=True) as transaction:
        graph = load(request, transaction, name)
        kept = _other_definitions(graph, collection)
        _create_collections(request, transaction, definition)
        changed = _with_orphans(graph, [*kept, definition])
        return _changed(202, _store(request, transaction, changed))


def _other_definitions(graph: Document, collection: str) -> list[Definition]:
    kept = [each for each in graph["edgeDefinitions"] if each["collection"] != collection]
    if len(kept) == len(graph["edgeDefinitions"]):
        raise ArangoError(1930)
    return kept


def _with_orphans(graph: Document, definitions: list[Definition]) -> Document:
    """Vertex collections that lose their last definition stay in the graph, as orphans."""
    changed = {**graph, "edgeDefinitions": definitions}
    lost = vertex_collections_of(graph) - vertex_collections_of(changed)
    return _without_used_orphans({**changed, "orphanCollections": [*graph["orphanCollections"], *sorted(lost)]})


def drop_edge_definition(request: Request, name: str, collection: str) -> Response:
    with request.transaction(write=True) as transaction:
        graph = load(request, transaction, name)
        changed = _with_orphans(graph, _other_definitions(graph, collection))
        stored = _store(request, transaction, changed)
        if request.flag("dropCollections"):
            _drop_unless_used(request, transaction, collection)
    return _changed(202, stored)


ROUTES: tuple[Route, ...] = (
    ("GET", "/_api/gharial", listing),
    ("POST", "/_api/gharial", create),
    ("GET", "/_api/gharial/{graph}", show),
    ("DELETE", "/_api/gharial/{graph}", drop),
    ("GET", "/_api/gharial/{graph}/vertex", vertex_collections),
    ("POST", "/_api/gharial/{graph}/vertex", add_vertex_collection),
    ("DELETE", "/_api/gharial/{graph}/vertex/{collection}", drop_vertex_collection),
    ("GET", "/_api/gharial/{graph}/edge", edge_collections),
    ("POST", "/_api/gharial/{graph}/edge", add_edge_definition),
    ("PUT", "/_api/gharial/{graph}/edge/{collection}", replace_edge_definition),
    ("DELETE", "/_api/gharial/{graph}/edge/{collection}", drop_edge_definition),
)
