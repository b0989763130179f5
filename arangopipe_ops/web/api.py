"""The JSON API: the library's operations as routes. Writing the same thing twice changes nothing."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict

from arangopipe_ops import drawing
from arangopipe_ops.errors import Unauthorized
from arangopipe_ops.model import Document, Lineage, LineageNode, Ref, Stage
from arangopipe_ops.stages import STAGES, arguments_of, make
from arangopipe_ops.store import Change, Comparison, Deletion, Event, OnConflict, Page, Store
from arangopipe_ops.web.access import Access
from arangopipe_ops.web.problems import RESPONSES
from arangopipe_ops.web.shapes import answer_of, body_of

bearer = HTTPBearer(auto_error=False, description="The token that POST /api/v1/token answers.")


def _access(request: Request) -> Access:
    access: Access = request.app.state.access
    return access


def _store(
    access: Annotated[Access, Depends(_access)],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> Store:
    if credentials is None:
        raise Unauthorized("No token was given. Get one from POST /api/v1/token.")
    return access.store(credentials.credentials)


CallersStore = Annotated[Store, Depends(_store)]
open_routes = APIRouter(tags=["service"])
routes = APIRouter(responses=RESPONSES)

# --- service ---------------------------------------------------------------------------------------------


@open_routes.get("/health")
def health() -> dict[str, Literal["ok"]]:
    """Say that this process answers."""
    return {"status": "ok"}


class Credentials(BaseModel):
    """A user of the database."""

    model_config = ConfigDict(extra="forbid")
    username: str
    password: str


class Token(BaseModel):
    """A token to send as `Authorization: Bearer ...` with every further request."""

    token: str


@open_routes.post("/token", responses={status: RESPONSES[status] for status in (401, 413, 422, 503)})
def token(access: Annotated[Access, Depends(_access)], credentials: Credentials) -> Token:
    """Exchange a database user's name and password for a token that lasts as long as the server says, an hour."""
    return Token(token=access.token(credentials.username, credentials.password))


# --- stages ----------------------------------------------------------------------------------------------

Reason = Annotated[str | None, Query(description="kept in the audit")]


def _stage_route(what: str, stage: Callable[..., Stage]) -> None:
    body = body_of(stage, arguments_of(stage))

    def write(
        store: CallersStore,
        response: Response,
        arguments: Annotated[Any, Body()],
        on_conflict: OnConflict = "fail",
        reason: Reason = None,
    ) -> Any:
        given = arguments.model_dump(exclude_unset=True)
        ref = store.write(make(stage, given, {}), on_conflict=on_conflict, reason=reason)
        response.status_code = 201 if ref["created"] else 200
        return ref

    write.__annotations__["arguments"] = body
    write.__doc__ = stage.__doc__
    routes.post(
        f"/stages/{what}",
        name=f"stage_{what}".replace("-", "_"),
        tags=["stages"],
        response_model=answer_of(Ref),
        responses={201: {"model": answer_of(Ref), "description": "Created"}},
    )(write)


for _what, _stage in STAGES.items():
    _stage_route(_what, _stage)

# --- nodes -----------------------------------------------------------------------------------------------


class SearchRequest(BaseModel):
    """What to look for; see the store's page of the documentation for the operators of `where`."""

    model_config = ConfigDict(extra="forbid")
    kind: str | None = None
    where: dict[str, Any] = {}
    text: str | None = None
    since: str | None = None
    until: str | None = None
    archived: bool = False
    order_by: str = "created"
    descending: bool = True
    limit: int = 100
    cursor: str | None = None
    count: bool = True


@routes.post("/search", tags=["nodes"], response_model=answer_of(Page))
def search(store: CallersStore, asked: SearchRequest) -> Any:
    """Find nodes by any property, page by page, the newest first."""
    return store.search(**asked.model_dump())


@routes.get("/nodes/{collection}/{key}", tags=["nodes"])
def node(store: CallersStore, collection: str, key: str, as_of: str | None = None) -> Document:
    """Return a node, or what it was at a time."""
    return store.get(f"{collection}/{key}", as_of=as_of)


class Annotations(BaseModel):
    """Annotations to set; null removes one."""

    model_config = ConfigDict(extra="forbid")
    description: str | None = None
    owner: str | None = None
    tags: list[str] | None = None
    tag: str | None = None
    deployment_tag: str | None = None


@routes.patch("/nodes/{collection}/{key}", tags=["nodes"], response_model=answer_of(Change))
def annotate(store: CallersStore, collection: str, key: str, notes: Annotations, reason: Reason = None) -> Any:
    """Set or remove annotations of a node."""
    return store.annotate(f"{collection}/{key}", reason=reason, **notes.model_dump(exclude_unset=True))


@routes.post("/nodes/{collection}/{key}/archive", tags=["nodes"], response_model=answer_of(Change))
def archive(store: CallersStore, collection: str, key: str, reason: Reason = None) -> Any:
    """Hide a node from searches and from look-ups by name."""
    return store.archive(f"{collection}/{key}", reason=reason)


@routes.post("/nodes/{collection}/{key}/restore", tags=["nodes"], response_model=answer_of(Change))
def restore(store: CallersStore, collection: str, key: str, reason: Reason = None) -> Any:
    """Undo the archiving of a node."""
    return store.restore(f"{collection}/{key}", reason=reason)


_DRAWINGS: dict[str, tuple[str, Callable[..., str | bytes]]] = {
    "dot": ("text/vnd.graphviz", drawing.dot),
    "mermaid": ("text/plain", drawing.mermaid),
    "svg": ("image/svg+xml", drawing.svg),
    "tree": ("text/plain", drawing.tree),
}


@routes.get("/nodes/{collection}/{key}/lineage", tags=["nodes"], response_model=answer_of(Lineage))
def lineage(
    store: CallersStore,
    collection: str,
    key: str,
    direction: Literal["upstream", "downstream", "both"] = "both",
    depth: Annotated[int, Query(ge=0, le=1000)] = 100,
    kind: Annotated[list[str] | None, Query(description="keep only nodes of these kinds")] = None,
    format: Literal["json", "dot", "mermaid", "svg", "tree"] = "json",
) -> Any:
    """Trace what influenced a node and what it influenced."""
    found = store.lineage(f"{collection}/{key}", direction=direction, depth=depth, kinds=kind)
    if format == "json":
        return found
    media, draw = _DRAWINGS[format]
    return Response(draw(found, store.schema), media_type=media)


@routes.get("/nodes/{collection}/{key}/impact", tags=["nodes"], response_model=answer_of(list[LineageNode]))
def impact(store: CallersStore, collection: str, key: str) -> Any:
    """List everything that depends on a node."""
    return store.impact(f"{collection}/{key}")


@routes.get("/nodes/{collection}/{key}/history", tags=["nodes"], response_model=answer_of(list[Event]))
def history(store: CallersStore, collection: str, key: str, limit: Annotated[int, Query(ge=1, le=10_000)] = 100) -> Any:
    """Tell every write that touched a node, the newest first."""
    return store.history(f"{collection}/{key}", limit=limit)


@routes.get("/nodes/{collection}/{key}/deletion", tags=["nodes"], response_model=answer_of(Deletion))
def plan_deletion(store: CallersStore, collection: str, key: str) -> Any:
    """Say what deleting a node would take with it, and what would dangle."""
    return store.plan_deletion(f"{collection}/{key}")


@routes.post("/deletions", tags=["nodes"], status_code=204)
def delete(store: CallersStore, plan: answer_of(Deletion), reason: Reason = None) -> None:  # type: ignore[valid-type]
    """Carry out a plan of `deletion`, if the graph has not changed since."""
    store.delete(plan.model_dump(), reason=reason)


# --- runs and deployments --------------------------------------------------------------------------------


class Runs(BaseModel):
    """Runs to lay side by side, by `run_id` or `_id`."""

    model_config = ConfigDict(extra="forbid")
    runs: list[str]


@routes.post("/compare", tags=["runs"], response_model=answer_of(Comparison))
def compare(store: CallersStore, asked: Runs) -> Any:
    """Lay runs side by side: parameters, metrics, data, and what differs."""
    return store.compare(asked.runs)


class Promotion(BaseModel):
    """`over` names the deployment thought to be active: if another one is, nothing happens (409)."""

    model_config = ConfigDict(extra="forbid")
    deployment: str
    over: str | None = None
    reason: str | None = None
    dry_run: bool = False


@routes.post("/promotions", tags=["deployments"], response_model=answer_of(Change))
def promote(store: CallersStore, asked: Promotion) -> Any:
    """Make a deployment the active one of its project and environment."""
    return store.promote(asked.deployment, over=asked.over, reason=asked.reason, dry_run=asked.dry_run)


class Retirement(BaseModel):
    """The end of a deployment."""

    model_config = ConfigDict(extra="forbid")
    deployment: str
    reason: str | None = None
    dry_run: bool = False


@routes.post("/retirements", tags=["deployments"], response_model=answer_of(Change))
def retire(store: CallersStore, asked: Retirement) -> Any:
    """End a deployment."""
    return store.retire(asked.deployment, reason=asked.reason, dry_run=asked.dry_run)


@routes.get("/counts", tags=["nodes"])
def counts(store: CallersStore) -> dict[str, int]:
    """Count nodes and edges by collection."""
    return store.counts()
