"""Named graphs, their collections, vertices and edges. Manual: develop/http-api/graphs/named-graphs.

A graph is a document of the system collection `_graphs`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from . import catalog, http_documents
from .catalog import DOCUMENT, EDGE, GRAPHS, Collection
from .errors import ArangoError, RevisionConflict
from .request import Request, Response, Route, success
from .storage import Document, Transaction, Written

Definition: TypeAlias = dict[str, Any]


def _graphs(request: Request, transaction: Transaction) -> Collection:
    return transaction.catalog.collection(request.database, GRAPHS)


def _load(request: Request, transaction: Transaction, name: str) -> Document:
    graph = transaction.get(_graphs(request, transaction), name)
    if graph is None:
        raise ArangoError(1924, name)
    return graph


def _store(request: Request, transaction: Transaction, graph: Document) -> Document:
    _, new = transaction.replace(_graphs(request, transaction), graph["_key"], graph)
    catalog.bump(transaction.sqlite)  # plans know the edge collections of the graphs they walk
    return new or {}


def _shown(graph: Document) -> dict[str, Any]:
    return {"name": graph["_key"], "isSmart": False, "isDisjoint": False, **graph}


def _changed(status: int, graph: Document) -> Response:
    return success(status, graph=_shown(graph))


def listing(request: Request) -> Response:
    with request.transaction() as transaction:
        graphs = [_shown(graph) for graph in transaction.scan(_graphs(request, transaction))]
    return success(200, graphs=graphs)


def show(request: Request, name: str) -> Response:
    with request.transaction() as transaction:
        return _changed(200, _load(request, transaction, name))


def create(request: Request) -> Response:
    given = request.object()
    name = given.get("name")
    if not isinstance(name, str) or not name:
        raise ArangoError(1922)
    definitions = [_definition(each) for each in given.get("edgeDefinitions") or ()]
    orphans = list(given.get("orphanCollections") or ())
    with request.transaction(write=True) as transaction:
        if transaction.get(_graphs(request, transaction), name) is not None:
            raise ArangoError(1925)
        _check_definitions(request, transaction, definitions)
        for definition in definitions:
            _create_collections(request, transaction, definition)
        for orphan in orphans:
            _ensure_collection(request, transaction, orphan, DOCUMENT)
        graph = {"_key": name, "edgeDefinitions": definitions, "orphanCollections": orphans}
        _, new = transaction.insert(_graphs(request, transaction), graph)
    return _changed(202, new or {})


def _definition(given: Any) -> Definition:
    if not isinstance(given, dict) or not {"collection", "from", "to"} <= given.keys():
        raise ArangoError(1923)
    ends = {end: sorted(set(_listed(given[end]))) for end in ("from", "to")}
    return {"collection": given["collection"], **ends}


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _check_definitions(request: Request, transaction: Transaction, definitions: list[Definition]) -> None:
    """An edge collection has the same definition in all graphs that use it, and one in each."""
    names = [definition["collection"] for definition in definitions]
    if len(set(names)) < len(names):
        raise ArangoError(1920)
    for graph in transaction.scan(_graphs(request, transaction)):
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
        graph = _load(request, transaction, name)
        transaction.remove(_graphs(request, transaction), name)
        catalog.bump(transaction.sqlite)
        if request.flag("dropCollections"):
            for collection in _collections_of(graph):
                _drop_unless_used(request, transaction, collection)
    return success(202, removed=True)


def _collections_of(graph: Document) -> set[str]:
    edges = {definition["collection"] for definition in graph["edgeDefinitions"]}
    return edges | _vertex_collections(graph)


def _vertex_collections(graph: Document) -> set[str]:
    defined = (each[end] for each in graph["edgeDefinitions"] for end in ("from", "to"))
    return {name for names in defined for name in names} | set(graph["orphanCollections"])


def _drop_unless_used(request: Request, transaction: Transaction, name: str) -> None:
    others = transaction.scan(_graphs(request, transaction))
    collection = transaction.catalog.database(request.database).get(name)
    if collection is not None and not any(name in _collections_of(graph) for graph in others):
        catalog.drop_collection(transaction.sqlite, collection)


# the collections of a graph


def vertex_collections(request: Request, name: str) -> Response:
    with request.transaction() as transaction:
        graph = _load(request, transaction, name)
    return success(200, collections=sorted(_vertex_collections(graph)))


def add_vertex_collection(request: Request, name: str) -> Response:
    collection = str(request.object().get("collection", ""))
    with request.transaction(write=True) as transaction:
        graph = _load(request, transaction, name)
        if collection in graph["orphanCollections"]:
            raise ArangoError(1938)
        if collection in _vertex_collections(graph):
            raise ArangoError(1929)
        _ensure_collection(request, transaction, collection, DOCUMENT)
        graph["orphanCollections"].append(collection)
        return _changed(202, _store(request, transaction, graph))


def drop_vertex_collection(request: Request, name: str, collection: str) -> Response:
    with request.transaction(write=True) as transaction:
        graph = _load(request, transaction, name)
        if collection not in graph["orphanCollections"]:
            raise ArangoError(1928 if collection in _vertex_collections(graph) else 1926)
        graph["orphanCollections"].remove(collection)
        stored = _store(request, transaction, graph)
        if request.flag("dropCollection"):
            _drop_unless_used(request, transaction, collection)
    return _changed(202, stored)


def edge_collections(request: Request, name: str) -> Response:
    with request.transaction() as transaction:
        graph = _load(request, transaction, name)
    return success(200, collections=sorted(each["collection"] for each in graph["edgeDefinitions"]))


def add_edge_definition(request: Request, name: str) -> Response:
    definition = _definition(request.object())
    with request.transaction(write=True) as transaction:
        graph = _load(request, transaction, name)
        if any(each["collection"] == definition["collection"] for each in graph["edgeDefinitions"]):
            raise ArangoError(1920)
        _check_definitions(request, transaction, [definition])
        _create_collections(request, transaction, definition)
        graph["edgeDefinitions"].append(definition)
        return _changed(202, _store(request, transaction, _without_used_orphans(graph)))


def _without_used_orphans(graph: Document) -> Document:
    used = _vertex_collections({**graph, "orphanCollections": []})
    return {**graph, "orphanCollections": [name for name in graph["orphanCollections"] if name not in used]}


def replace_edge_definition(request: Request, name: str, collection: str) -> Response:
    definition = _definition({**request.object(), "collection": collection})
    with request.transaction(write=True) as transaction:
        graph = _load(request, transaction, name)
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
    lost = _vertex_collections(graph) - _vertex_collections(changed)
    return _without_used_orphans({**changed, "orphanCollections": [*graph["orphanCollections"], *sorted(lost)]})


def drop_edge_definition(request: Request, name: str, collection: str) -> Response:
    with request.transaction(write=True) as transaction:
        graph = _load(request, transaction, name)
        changed = _with_orphans(graph, _other_definitions(graph, collection))
        stored = _store(request, transaction, changed)
        if request.flag("dropCollections"):
            _drop_unless_used(request, transaction, collection)
    return _changed(202, stored)


# vertices and edges


def _member(request: Request, transaction: Transaction, name: str, kind: str, collection: str) -> Collection:
    """A collection of the graph, of vertices or of edges."""
    graph = _load(request, transaction, name)
    edges = {definition["collection"] for definition in graph["edgeDefinitions"]}
    if collection not in (edges if kind == "edge" else _vertex_collections(graph)):
        raise ArangoError(1930 if kind == "edge" else 1926)
    return transaction.catalog.collection(request.database, collection)


def _check_ends(request: Request, transaction: Transaction, name: str, collection: str, edge: Any) -> None:
    """An edge of a graph begins and ends in the collections of its definition, at existing vertices."""
    graph = _load(request, transaction, name)
    definition = next(each for each in graph["edgeDefinitions"] if each["collection"] == collection)
    for end, allowed in (("_from", definition["from"]), ("_to", definition["to"])):
        handle = edge.get(end) if isinstance(edge, dict) else None
        if handle is None:
            continue
        owner, _, key = str(handle).partition("/")
        if owner not in allowed:
            raise ArangoError(1947 if owner else 1233)
        if transaction.get(transaction.catalog.collection(request.database, owner), key) is None:
            raise ArangoError(1202, message=f"document not found: {handle}")


def get(kind: str) -> Callable[..., Response]:
    def handler(request: Request, name: str, collection: str, key: str) -> Response:
        with request.transaction() as transaction:
            _member(request, transaction, name, kind, collection)
        return success(200, **{kind: http_documents.read(request, collection, key)})

    return handler


def insert(kind: str) -> Callable[..., Response]:
    def handler(request: Request, name: str, collection: str) -> Response:
        def change(transaction: Transaction, member: Collection) -> Written:
            return transaction.insert(member, request.object())

        return _write(request, name, kind, collection, change)

    return handler


def replace(kind: str) -> Callable[..., Response]:
    def handler(request: Request, name: str, collection: str, key: str) -> Response:
        def change(transaction: Transaction, member: Collection) -> Written:
            options = http_documents.options_of(request)
            return transaction.replace(member, key, request.object(), options, request.header("if-match"))

        return _write(request, name, kind, collection, change)

    return handler


def update(kind: str) -> Callable[..., Response]:
    def handler(request: Request, name: str, collection: str, key: str) -> Response:
        def change(transaction: Transaction, member: Collection) -> Written:
            options = http_documents.options_of(request)
            return transaction.update(member, key, request.object(), options, request.header("if-match"))

        return _write(request, name, kind, collection, change)

    return handler


def _write(
    request: Request,
    name: str,
    kind: str,
    collection: str,
    change: Callable[[Transaction, Collection], Written],
) -> Response:
    with request.transaction(write=True) as transaction:
        member = _member(request, transaction, name, kind, collection)
        if kind == "edge":
            _check_ends(request, transaction, name, collection, request.body)
        old, new = _conditionally(change, transaction, member)
    shown = {key: new[key] for key in ("_id", "_key", "_rev")} if new else {}
    revision = {"_oldRev": old["_rev"]} if old else {}
    images = {"new": new} if request.flag("returnNew") else {}
    images |= {"old": old} if request.flag("returnOld") else {}
    return success(201 if request.flag("waitForSync") else 202, **{kind: shown | revision}, **images)


def _conditionally(
    change: Callable[[Transaction, Collection], Written], transaction: Transaction, member: Collection
) -> Written:
    try:
        return change(transaction, member)
    except RevisionConflict as error:
        raise ArangoError(1200, status=412, message=error.message) from error


def remove(kind: str) -> Callable[..., Response]:
    def handler(request: Request, name: str, collection: str, key: str) -> Response:
        with request.transaction(write=True) as transaction:
            member = _member(request, transaction, name, kind, collection)
            rev = request.header("if-match")
            old, _ = _conditionally(lambda write, owner: write.remove(owner, key, rev), transaction, member)
            if kind == "vertex" and old is not None:
                _remove_edges(request, transaction, old["_id"])
        images = {"old": old} if request.flag("returnOld") else {}
        return success(202, removed=True, **images)

    return handler


def _remove_edges(request: Request, transaction: Transaction, vertex: str) -> None:
    """The edges at a removed vertex, in the edge collections of all graphs, go with it."""
    graphs = list(transaction.scan(_graphs(request, transaction)))
    names = {definition["collection"] for graph in graphs for definition in graph["edgeDefinitions"]}
    for collection in (transaction.catalog.collection(request.database, name) for name in names):
        owners = {index.id: collection.name for index in collection.indexes if index.type == "edge"}
        for key in {edge["_key"] for _, edge in list(transaction.edges(owners, [vertex]))}:
            transaction.remove(collection, key)


def _member_routes(kind: str) -> tuple[Route, ...]:
    one = f"/_api/gharial/{{graph}}/{kind}/{{collection}}/{{key}}"
    return (
        ("POST", f"/_api/gharial/{{graph}}/{kind}/{{collection}}", insert(kind)),
        ("GET", one, get(kind)),
        ("PUT", one, replace(kind)),
        ("PATCH", one, update(kind)),
        ("DELETE", one, remove(kind)),
    )


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
    *_member_routes("vertex"),
    *_member_routes("edge"),
)
