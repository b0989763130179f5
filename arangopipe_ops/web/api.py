"""The JSON API: the library's operations as routes. Writing the same thing twice changes nothing."""

import inspect
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from typing import Annotated, Any, Literal

import anyio
import anyio.to_thread
from fastapi import APIRouter, Body, Depends, HTTPException, Query, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import BaseModel, Field

from arangopipe_ops import drawing
from arangopipe_ops.analytics import QUESTIONS
from arangopipe_ops.analytics.questions import arguments
from arangopipe_ops.errors import Misconfigured, Unauthorized
from arangopipe_ops.model import Document, EdgeType, Lineage, LineageNode, NodeType, Ref, Stage
from arangopipe_ops.stages import STAGES, arguments_of, make
from arangopipe_ops.store import Change, Comparison, Deletion, Event, OnConflict, Page, Store, Summary
from arangopipe_ops.web import bulk
from arangopipe_ops.web.access import Access
from arangopipe_ops.web.problems import MAX_UNKNOWN_BYTES, Answer, problems
from arangopipe_ops.web.shapes import REFERENCE, Shape, Texts, answer_of, body_of, given
from arangopipe_ops.web.works import apart, turn

MAX_COMPARED = 1000

bearer = HTTPBearer(auto_error=False, description="The token that POST /api/v1/token answers, or a file's own.")


class SignedIn(APIRoute):
    """A route that looks at the token before it reads the body, and has the database do so before a large one."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def signed_in(request: Request) -> Response:
            access = _access(request)
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer":
                raise Unauthorized(f"No token was given. Send Authorization: Bearer TOKEN; {access.tokens}.")
            request.state.store = access.store(token.strip())
            if _is_large(request):
                await anyio.to_thread.run_sync(access.confirm, token.strip())
            return await handle(request)

        return signed_in


def _is_large(request: Request) -> bool:
    """Return whether a request has a body that may be large."""
    said = request.headers.get("content-length", "0")
    return "transfer-encoding" in request.headers or not said.isdecimal() or int(said) > MAX_UNKNOWN_BYTES


def _access(request: Request) -> Access:
    access: Access = request.app.state.access
    return access


async def _store(request: Request) -> Store:
    store: Store = request.state.store
    return store


CallersStore = Annotated[Store, Depends(_store)]
open_routes = APIRouter(tags=["service"])
routes = APIRouter(
    route_class=SignedIn,
    dependencies=[Depends(bearer)],
    responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 503),
)


# --- service ---------------------------------------------------------------------------------------------

_ready_checks = anyio.CapacityLimiter(2)


@open_routes.get("/health")
async def health() -> dict[str, Literal["ok"]]:
    """Say that this process answers."""
    return {"status": "ok"}


@open_routes.get("/ready", responses=problems(503))
async def ready(request: Request) -> dict[str, Literal["ready"]]:
    """Say that the database answers, also while every other request waits for it."""
    await anyio.to_thread.run_sync(_access(request).check, limiter=_ready_checks)
    return {"status": "ready"}


@routes.get("/openapi.json", include_in_schema=False)
def openapi(request: Request, store: CallersStore) -> Any:
    """Return this API's description."""
    _check(store)
    return Answer(request.app.openapi())


def _check(store: Store) -> None:
    """Ask the database whether the token is good, where nothing else is asked of it."""
    store.stage()


class Credentials(Shape):
    """A user of the database."""

    username: str
    password: str


class Token(BaseModel):
    """A token to send as `Authorization: Bearer ...` with every further request."""

    token: str


@open_routes.post("/token", responses=problems(400, 401, 403, 413, 415, 422, 503))
def token(request: Request, credentials: Credentials) -> Token:
    """Exchange a database user's name and password for a token that lasts as long as the server says, an hour."""
    return Token(token=_access(request).token(credentials.username, credentials.password))


# --- stages ----------------------------------------------------------------------------------------------

Reason = Annotated[str | None, Query(description="kept in the audit")]


def _written(store: Store, stage: Stage, on_conflict: OnConflict, reason: str | None) -> Answer:
    ref = store.write(stage, on_conflict=on_conflict, reason=reason)
    return Answer(ref, 201 if ref["created"] else 200)


CREATED: dict[int | str, dict[str, Any]] = {201: {"model": answer_of(Ref), "description": "Created"}}


def _stage_route(what: str, stage: Callable[..., Stage]) -> None:
    body = body_of(stage, arguments_of(stage))

    def write(
        store: CallersStore, arguments: Annotated[Any, Body()], on_conflict: OnConflict = "fail", reason: Reason = None
    ) -> Any:
        return _written(store, make(stage, given(arguments), {}), on_conflict, reason)

    write.__annotations__["arguments"] = body
    write.__doc__ = stage.__doc__
    name = f"stage_{what}".replace("-", "_")
    routes.post(f"/stages/{what}", name=name, tags=["stages"], response_model=answer_of(Ref), responses=CREATED)(write)


for _what, _stage in STAGES.items():
    _stage_route(_what, _stage)


@routes.post(
    "/stages",
    tags=["stages"],
    response_model=answer_of(Summary),
    openapi_extra={"requestBody": {"required": True, "content": bulk.LINES}},
)
async def write_stages(
    request: Request, store: CallersStore, on_conflict: OnConflict = "fail", reason: Reason = None
) -> Any:
    """Write any number of stages, one JSON line each: `{"stage": "dataset", "name": "wine", ...}`.

    They are written in batches while they arrive. An error names its line: nothing of that batch is written, those
    before it are, and sending all again goes on where it stopped.
    """
    return Answer(await bulk.write_lines(request, store, on_conflict, reason))


@routes.get("/export", tags=["nodes"], response_class=bulk.Lines, responses={200: {"content": bulk.LINES}})
def export(store: CallersStore) -> Any:
    """Return the whole graph as JSON lines, as `arangopipe export` writes it; the last one has the checksum."""
    return bulk.export(store)


@routes.post("/nodes/{kind}", tags=["stages"], response_model=answer_of(Ref), responses=CREATED)
def register_node(
    store: CallersStore, kind: str, attributes: dict[str, Any], on_conflict: OnConflict = "fail", reason: Reason = None
) -> Any:
    """Register a node of any kind, also of one that you added."""
    stage = store.stage(kind)
    stage.add(kind, attributes)
    return _written(store, stage, on_conflict, reason)


class NewEdge(Shape):
    """An edge between two stored nodes: a Ref, an `_id`, or a name, which is its newest version."""

    source: REFERENCE
    target: REFERENCE
    attributes: dict[str, Any] = Field({})


@routes.post("/edges/{edge}", tags=["stages"], status_code=204)
def register_edge(
    store: CallersStore, edge: str, new: NewEdge, on_conflict: OnConflict = "fail", reason: Reason = None
) -> None:
    """Register an edge of any kind, also of one that you added."""
    stage = store.stage(edge)
    stage.link(edge, new.source, new.target, new.attributes)
    store.write_all(stage, on_conflict=on_conflict, reason=reason)


class Kinds(BaseModel):
    """The types of nodes and edges in this graph, with those that were added to it."""

    nodes: list[NodeType]
    edges: list[EdgeType]


@routes.get("/kinds", tags=["nodes"], response_model=Kinds)
def kinds(store: CallersStore) -> Any:
    """List the types of nodes and edges that this graph has."""
    schema = store.stage().schema
    return Answer(
        {"nodes": [asdict(node) for node in schema.nodes.values()], "edges": [asdict(e) for e in schema.edges.values()]}
    )


# --- nodes -----------------------------------------------------------------------------------------------


class SearchRequest(Shape):
    """What to look for; see the store's page of the documentation for the operators of `where`."""

    kind: str | None = None
    where: dict[str, Any] = Field({})
    text: str | None = None
    name: str | None = None
    since: str | None = None
    until: str | None = None
    archived: bool = False
    order_by: str = "created"
    descending: bool = True
    limit: int = 100
    cursor: str | None = None
    count: bool = True
    within: int | None = None
    facts: bool = True


@routes.post("/search", tags=["nodes"], response_model=answer_of(Page))
def search(store: CallersStore, asked: SearchRequest) -> Any:
    """Find nodes by any property, page by page, the newest first."""
    return Answer(store.search(**given(asked)))


@routes.get("/nodes", tags=["nodes"], response_model=Document)
def node_by_name(store: CallersStore, kind: str, name: str, as_of: str | None = None) -> Any:
    """Return the newest version of a node by its name, or what it was at a time."""
    return Answer(store.get(name, kind, as_of=as_of))


@routes.get("/nodes/{collection}/{key}", tags=["nodes"], response_model=Document)
def node(store: CallersStore, collection: str, key: str, as_of: str | None = None) -> Any:
    """Return a node, or what it was at a time."""
    return Answer(store.get(f"{collection}/{key}", as_of=as_of))


class Annotations(Shape):
    """Annotations to set; null removes one."""

    description: str | None = None
    owner: str | None = None
    tags: Texts | None = None
    tag: str | None = None
    deployment_tag: str | None = None


@routes.patch("/nodes/{collection}/{key}", tags=["nodes"], response_model=answer_of(Change))
def annotate(store: CallersStore, collection: str, key: str, notes: Annotations, reason: Reason = None) -> Any:
    """Set or remove annotations of a node."""
    return Answer(store.annotate(f"{collection}/{key}", reason=reason, **given(notes)))


@routes.post("/nodes/{collection}/{key}/archive", tags=["nodes"], response_model=answer_of(Change))
def archive(store: CallersStore, collection: str, key: str, reason: Reason = None) -> Any:
    """Hide a node from searches and from look-ups by name."""
    return Answer(store.archive(f"{collection}/{key}", reason=reason))


@routes.post("/nodes/{collection}/{key}/restore", tags=["nodes"], response_model=answer_of(Change))
def restore(store: CallersStore, collection: str, key: str, reason: Reason = None) -> Any:
    """Undo the archiving of a node."""
    return Answer(store.restore(f"{collection}/{key}", reason=reason))


_DRAWINGS: dict[str, tuple[str, Callable[..., str | bytes]]] = {
    "dot": ("text/vnd.graphviz", drawing.dot),
    "mermaid": ("text/plain", drawing.mermaid),
    "svg": ("image/svg+xml", drawing.svg),
    "tree": ("text/plain", drawing.tree),
}


@routes.get(
    "/nodes/{collection}/{key}/lineage",
    tags=["nodes"],
    response_model=answer_of(Lineage),
    responses={200: {"content": {media: {} for media, _ in _DRAWINGS.values()}}, **problems(406)},
)
def lineage(
    store: CallersStore,
    collection: str,
    key: str,
    direction: Literal["upstream", "downstream", "both"] = "both",
    depth: Annotated[int, Query(ge=0, le=1000)] = 100,
    kind: Annotated[list[str] | None, Query(description="keep only nodes of these kinds")] = None,
    fan: Annotated[int | None, Query(ge=1, le=1000, description="follow only so many of one type of edge")] = None,
    format: Literal["json", "dot", "mermaid", "svg", "tree"] = "json",
) -> Any:
    """Trace what influenced a node and what it influenced. With `fan` the work is bounded: see the store's page."""
    found = store.lineage(f"{collection}/{key}", direction=direction, depth=depth, kinds=kind, fan=fan)
    if format == "json":
        return Answer(found)
    media, draw = _DRAWINGS[format]
    try:
        return Response(draw(found, store.schema), media_type=media)
    except Misconfigured as error:
        raise HTTPException(406, str(error)) from None


@routes.get("/nodes/{collection}/{key}/impact", tags=["nodes"], response_model=answer_of(list[LineageNode]))
def impact(store: CallersStore, collection: str, key: str) -> Any:
    """List everything that depends on a node."""
    return Answer(store.impact(f"{collection}/{key}"))


@routes.get("/nodes/{collection}/{key}/history", tags=["nodes"], response_model=answer_of(list[Event]))
def history(store: CallersStore, collection: str, key: str, limit: Annotated[int, Query(ge=1, le=10_000)] = 100) -> Any:
    """Tell every write that touched a node, the newest first."""
    return Answer(store.history(f"{collection}/{key}", limit=limit))


@routes.get("/nodes/{collection}/{key}/deletion", tags=["nodes"], response_model=answer_of(Deletion))
def plan_deletion(store: CallersStore, collection: str, key: str) -> Any:
    """Say what deleting a node would take with it, and what would dangle."""
    return Answer(store.plan_deletion(f"{collection}/{key}"))


@routes.post("/deletions", tags=["nodes"], status_code=204)
def delete(store: CallersStore, plan: answer_of(Deletion), reason: Reason = None) -> None:  # type: ignore[valid-type]
    """Carry out a plan of `deletion`, if the graph has not changed since."""
    store.delete(plan.model_dump(), reason=reason)


# --- runs and deployments --------------------------------------------------------------------------------


class Runs(Shape):
    """Runs to lay side by side, by `run_id` or `_id`."""

    runs: Annotated[Texts, Field(min_length=1, max_length=MAX_COMPARED)]


@routes.post("/compare", tags=["runs"], response_model=answer_of(Comparison))
def compare(store: CallersStore, asked: Runs) -> Any:
    """Lay runs side by side: parameters, metrics, data, and what differs."""
    return Answer(store.compare(asked.runs))


class Promotion(Shape):
    """`over` names the deployment thought to be active: if another one is, nothing happens (409)."""

    deployment: str
    over: str | None = None
    reason: str | None = None
    dry_run: bool = False


@routes.post("/promotions", tags=["deployments"], response_model=answer_of(Change))
def promote(store: CallersStore, asked: Promotion) -> Any:
    """Make a deployment the active one of its project and environment."""
    return Answer(store.promote(**given(asked)))


class Retirement(Shape):
    """The end of a deployment."""

    deployment: str
    reason: str | None = None
    dry_run: bool = False


@routes.post("/retirements", tags=["deployments"], response_model=answer_of(Change))
def retire(store: CallersStore, asked: Retirement) -> Any:
    """End a deployment."""
    return Answer(store.retire(**given(asked)))


class Question(BaseModel):
    """A question to ask by `POST /questions/{name}`."""

    name: str
    asks: str


@routes.get("/questions", tags=["questions"], response_model=list[Question])
def questions(store: CallersStore) -> Any:
    """List the questions that the graph answers."""
    _check(store)
    return Answer([{"name": name, "asks": inspect.getdoc(question)} for name, question in QUESTIONS.items()])


def _question_route(name: str, question: Callable[..., Any]) -> None:
    body = body_of(question, arguments(question), Shape)

    def ask(request: Request, store: CallersStore, arguments: Annotated[Any, Body()]) -> Answer:
        with turn(request):
            return Answer(question(store, **given(arguments)))

    ask.__annotations__["arguments"] = body
    ask.__doc__ = question.__doc__
    routes.post(
        f"/questions/{name}",
        name=f"ask_{name}".replace("-", "_"),
        tags=["questions"],
        response_model=inspect.signature(question).return_annotation,
    )(apart(ask))


for _name, _question in QUESTIONS.items():
    _question_route(_name, _question)


@routes.get("/counts", tags=["nodes"], response_model=dict[str, int])
def counts(store: CallersStore) -> Any:
    """Count nodes and edges by collection."""
    return Answer(store.counts())
