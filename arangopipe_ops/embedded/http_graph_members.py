"""Vertices and edges of named graphs. Manual: develop/http-api/graphs/named-graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import http_documents
from .catalog import Collection
from .errors import ArangoError, RevisionConflict
from .http_graphs import all_graphs, load, vertex_collections_of
from .request import Request, Response, Route, success
from .rights import READ, WRITE
from .rules import REPLACE, UPDATE
from .storage import Transaction, Written


def _member(request: Request, transaction: Transaction, name: str, kind: str, collection: str, need: str) -> Collection:
    """A collection of the graph, of vertices or of edges, that may be read or written to."""
    graph = load(request, transaction, name)
    edges = {definition["collection"] for definition in graph["edgeDefinitions"]}
    if collection not in (edges if kind == "edge" else vertex_collections_of(graph)):
        raise ArangoError(1930 if kind == "edge" else 1926)
    return request.collection(transaction, collection, need)


def _check_ends(request: Request, transaction: Transaction, name: str, collection: str, edge: Any) -> None:
    """An edge of a graph begins and ends in the collections of its definition, at existing vertices."""
    graph = load(request, transaction, name)
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
    """Read a member. The route for edges reads from any collection, which programs for ArangoDB rely on."""

    def handler(request: Request, name: str, collection: str, key: str) -> Response:
        with request.transaction() as transaction:
            if kind == "vertex":
                _member(request, transaction, name, kind, collection, READ)
            else:
                load(request, transaction, name)
                request.collection(transaction, collection, READ)
        return success(200, **{kind: http_documents.read(request, collection, key)})

    return handler


def insert(kind: str) -> Callable[..., Response]:
    def handler(request: Request, name: str, collection: str) -> Response:
        def write(transaction: Transaction, member: Collection) -> Written:
            return transaction.insert(member, request.object())

        return _write(request, name, kind, collection, write)

    return handler


def change(kind: str, event: str) -> Callable[..., Response]:
    def handler(request: Request, name: str, collection: str, key: str) -> Response:
        def write(transaction: Transaction, member: Collection) -> Written:
            options = http_documents.options_of(request)
            return transaction.change(event, member, key, request.object(), options, request.header("if-match"))

        return _write(request, name, kind, collection, write)

    return handler


def _write(
    request: Request,
    name: str,
    kind: str,
    collection: str,
    write: Callable[[Transaction, Collection], Written],
) -> Response:
    with request.transaction(write=True) as transaction:
        member = _member(request, transaction, name, kind, collection, WRITE)
        if kind == "edge":
            _check_ends(request, transaction, name, collection, request.body)
        old, new = _conditionally(write, transaction, member)
    shown = {key: new[key] for key in ("_id", "_key", "_rev")} if new else {}
    revision = {"_oldRev": old["_rev"]} if old else {}
    images = {"new": new} if request.flag("returnNew") else {}
    images |= {"old": old} if request.flag("returnOld") else {}
    status = 201 if http_documents.waits_for_sync(request, member) else 202
    return success(status, **{kind: shown | revision}, **images)


def _conditionally(
    write: Callable[[Transaction, Collection], Written], transaction: Transaction, member: Collection
) -> Written:
    try:
        return write(transaction, member)
    except RevisionConflict as error:
        raise ArangoError(1200, status=412, message=error.message) from error


def remove(kind: str) -> Callable[..., Response]:
    def handler(request: Request, name: str, collection: str, key: str) -> Response:
        with request.transaction(write=True) as transaction:
            member = _member(request, transaction, name, kind, collection, WRITE)
            rev = request.header("if-match")
            old, _ = _conditionally(lambda within, owner: within.remove(owner, key, rev), transaction, member)
            if kind == "vertex" and old is not None:
                _remove_edges(request, transaction, old["_id"])
        images = {"old": old} if request.flag("returnOld") else {}
        return success(202, removed=True, **images)

    return handler


def _remove_edges(request: Request, transaction: Transaction, vertex: str) -> None:
    """The edges at a removed vertex, in the edge collections of all graphs, go with it."""
    graphs = all_graphs(request, transaction)
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
        ("PUT", one, change(kind, REPLACE)),
        ("PATCH", one, change(kind, UPDATE)),
        ("DELETE", one, remove(kind)),
    )


ROUTES: tuple[Route, ...] = (*_member_routes("vertex"), *_member_routes("edge"))
