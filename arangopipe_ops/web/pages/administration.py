"""Looking after the graph: what is archived, which types there are, how long performance is kept, what is wrong."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from arangopipe_ops import admin, stages
from arangopipe_ops.admin.retention import days_of
from arangopipe_ops.errors import Invalid, Unauthorized
from arangopipe_ops.model import SCHEMA, moment
from arangopipe_ops.store.search import MAX_PAGE
from arangopipe_ops.web.pages.nodes import rows_of
from arangopipe_ops.web.pages.rendering import address_of, done, name_of, redirect, render
from arangopipe_ops.web.pages.sessions import (
    LOOKS,
    CallersRights,
    CallersSession,
    CallersStore,
    Form,
    Session,
    callers_of,
    needs,
    sure,
)
from arangopipe_ops.web.pages.waiting import patient, unfinished, waited
from arangopipe_ops.web.works import Work, begun, progress_of, turn, works_of

PAGE = 50

routes = APIRouter()


@routes.get("/admin")
def administration(request: Request, rights: CallersRights) -> Response:
    """Show what can be administrated, and by whom."""
    facts = {"may": rights, "basis": callers_of(request).basis(request)}
    return render(request, "administration.html", facts)


# --- nodes


class Listed(BaseModel):
    """Which nodes are listed, also those that are archived; an empty text is a condition that is not made."""

    kind: str = "Project"
    name: str = ""
    cursor: str = ""

    def address(self, **changes: str) -> str:
        """Return the address of this list with some changes."""
        return address_of("/admin/nodes", self, **changes)


@routes.get("/admin/nodes")
def nodes(request: Request, store: CallersStore, rights: CallersRights, asked: Annotated[Listed, Query()]) -> Response:
    """Show the nodes of a kind, and the form that archives or restores each."""
    schema = store.stage().schema
    page = store.search(
        asked.kind,
        name=asked.name or None,
        archived=True,
        limit=PAGE,
        cursor=asked.cursor or None,
        count=False,
        within=MAX_PAGE,
    )
    facts = {
        "kind": schema.node(asked.kind).kind,
        "kinds": list(schema.nodes),
        "asked": asked,
        "rows": rows_of(page["nodes"], schema),
        "looked": MAX_PAGE if page.get("reached") else None,
        "next": page["cursor"] and asked.address(cursor=page["cursor"]),
        "may": rights,
    }
    return render(request, "admin_nodes.html", facts)


@routes.post("/admin/nodes/{collection}/{key}/{change}", dependencies=[needs("write")])
def change_node(
    request: Request,
    store: CallersStore,
    session: CallersSession,
    collection: str,
    key: str,
    change: Literal["archive", "restore"],
    fields: Form,
) -> Response:
    """Hide a node from searches, or undo that; then show the list that its form was in."""
    changed = getattr(store, change)(f"{collection}/{key}", reason=fields.get("reason") or None)
    told = {"archive": "is archived", "restore": "is restored"}[change]
    listed = Listed(**{name: fields[name] for name in Listed.model_fields if name in fields})
    return done(request, session, listed.address(), f"{name_of(changed['nodes'][0], store.schema)} {told}.")


@routes.post("/admin/projects", dependencies=[needs("write")])
def register_project(request: Request, store: CallersStore, session: CallersSession, fields: Form) -> Response:
    """Register a project."""
    notes = {name: fields[name] for name in ("owner", "description") if fields.get(name)}
    ref = store.write(stages.register_project(fields.get("name", ""), **notes))
    notice = f"{ref['name']} is registered." if ref["created"] else f"{ref['name']} was registered before."
    return done(request, session, "/admin/nodes?kind=Project", notice)


# --- types


@routes.get("/admin/types")
def types(request: Request, store: CallersStore, rights: CallersRights) -> Response:
    """Show the node and edge types that were added to the graph, and by which metrics runs are ranked."""
    schema = store.stage().schema
    facts = {
        "kinds": list(schema.nodes),
        "nodes": [node for kind, node in schema.nodes.items() if kind not in SCHEMA.nodes],
        "edges": [edge for name, edge in schema.edges.items() if name not in SCHEMA.edges],
        "ranked": admin.ranked_in(schema),
        "may": rights,
    }
    return render(request, "admin_types.html", facts)


@routes.post("/admin/types/nodes", dependencies=[needs("define")])
def add_node_type(request: Request, store: CallersStore, session: CallersSession, fields: Form) -> Response:
    """Add a node type."""
    given: dict[str, Any] = {name: fields.get(name, "").strip() for name in ("kind", "collection")}
    lists = {name: _listed(fields.get(name, "")) for name in ("identity", "shows")}
    added = admin.extend(store.db, nodes=[given | lists])
    return done(request, session, "/admin/types", _added(given["kind"], added))


@routes.post("/admin/types/edges", dependencies=[needs("define")])
def add_edge_type(request: Request, store: CallersStore, session: CallersSession, fields: Form) -> Response:
    """Add an edge type."""
    given = {name: fields.get(name, "").strip() for name in ("name", "source", "target", "upstream")}
    added = admin.extend(store.db, edges=[given])
    return done(request, session, "/admin/types", _added(given["name"], added))


@routes.post("/admin/types/ranking", dependencies=[needs("define")])
def rank(request: Request, store: CallersStore, session: CallersSession, fields: Form) -> Response:
    """Have runs ranked by a metric, or not any more."""
    metric, off = fields.get("metric", "").strip(), "off" in fields
    changed = (admin.unrank if off else admin.rank)(store.db, metric)
    notice = f"Runs are ranked by {metric}."
    if off:
        notice = f"Runs are not ranked by {metric}{' any more' if changed else ', and were not before'}."
    return done(request, session, "/admin/types", notice)


def _listed(text: str) -> list[str]:
    """Return what stands between commas."""
    return [each for each in map(str.strip, text.split(",")) if each]


def _added(name: str, added: bool) -> str:
    return f"{name} is a type of this graph now." if added else f"{name} was a type of this graph before."


@routes.post("/admin/types/withdrawal", dependencies=[needs("define"), Depends(sure)])
def withdraw(request: Request, store: CallersStore, session: CallersSession, fields: Form) -> Response:
    """Remove a node or edge type that was added and has no documents."""
    nodes, edges = ([fields[name]] if fields.get(name) else [] for name in ("node", "edge"))
    gone = admin.withdraw(store.db, nodes=nodes, edges=edges)
    notice = f"{', '.join(nodes + edges)} is withdrawn." if gone else "There was nothing to withdraw."
    return done(request, session, "/admin/types", notice)


# --- retention


@routes.get("/admin/retention")
@patient
def retention(request: Request, store: CallersStore, rights: CallersRights, days: str = "") -> Response:
    """Show how long serving performance is kept, and what would go if it were kept for some days."""
    plan, problem = None, None
    try:
        plan = admin.retention(store.db, days_of(days), dry_run=True) if days else None
    except Invalid as error:
        problem = str(error)
    facts = {"kept": admin.kept_for(store.db), "plan": plan, "problem": problem, "days_asked": days, "may": rights}
    return render(request, "admin_retention.html", facts, 422 if problem else 200)


@routes.post("/admin/retention", dependencies=[needs("define"), Depends(sure)])
def keep_for(request: Request, store: CallersStore, session: CallersSession, fields: Form) -> Response:
    """Let the database forget serving performance some days after its period, or never."""
    days = days_of(fields.get("days", ""))
    admin.retention(store.db, days)
    notice = "Serving performance is kept for ever." if days is None else f"It is kept for {days:g} days."
    return done(request, session, "/admin/retention", notice)


# --- doctor


@dataclass(frozen=True)
class Examination:
    """What the doctor found; `whole` says whether every node and edge was looked at."""

    findings: Sequence[admin.Finding]
    whole: bool


@routes.get("/admin/doctor")
async def doctor(request: Request, store: CallersStore, session: CallersSession, rights: CallersRights) -> Response:
    """Show what the caller's last examination found wrong with the database, and what cures it."""
    work: Work | None = session.examination
    if work and (told := await unfinished(request, work)):
        return told
    facts = {
        "examination": _found(session),
        "at": work and moment(work.at, "at"),
        "collections": {type_.collection for type_ in store.schema.nodes.values()},
        "repairs": set(admin.REPAIRS),
        "may": rights,
    }
    return render(request, "admin_doctor.html", facts)


def _found(session: Session) -> Examination | None:
    """Return what was found. Raises what kept the doctor from it, once: then one can have it look again."""
    work, session.examination = session.examination, None
    found: Examination | None = work and work.result()
    session.examination = work
    return found


def _goes_on(session: Session) -> bool:
    work: Work | None = session.examination
    return work is not None and not work.answer.done()


@routes.post("/admin/doctor", tags=[LOOKS])
async def examine(request: Request, store: CallersStore, session: CallersSession, fields: Form) -> Response:
    """Have the doctor look at the database: at its structure, or at every node and edge as well.

    Nobody has it look twice at once. It stops where who asked has signed out.
    """
    progress = progress_of(request)

    def tell(collection: str, seen: int, total: int) -> None:
        if session.examination is None:
            raise Unauthorized("Sign in first.")
        progress.said = f"It is at {collection}, {seen:,} of {total:,}."

    def examined() -> Examination:
        whole = fields.get("look") == "all"
        with turn(request, works_of(request).whole) if whole else nullcontext(), turn(request):
            return Examination(admin.doctor(store.db, progress=tell, scan=whole), whole)

    if not _goes_on(session):
        session.examination = begun(request, examined)
    await waited(request, session.examination)
    return redirect(request, "/admin/doctor")


@routes.post("/admin/doctor/repair", dependencies=[needs("write"), Depends(sure)])
def repair(request: Request, store: CallersStore, session: CallersSession, fields: Form) -> Response:
    """Cure a fault that the doctor found."""
    changed = admin.repair(store.db, fields.get("fault", ""))
    session.examination = session.examination if _goes_on(session) else None
    notice = f"{len(changed):,} repaired." if changed else "There was nothing to repair."
    return done(request, session, "/admin/doctor", notice)
