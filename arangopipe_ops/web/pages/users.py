"""The users of the server, and what each may do with this database."""

from collections.abc import Mapping
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from arangopipe_ops import admin
from arangopipe_ops.errors import Invalid
from arangopipe_ops.web.pages.rendering import done, render
from arangopipe_ops.web.pages.sessions import CallersRights, CallersSession, CallersStore, Form, needs, sure

ROLES: Mapping[str, str] = {
    "reader": "reads",
    "writer": "reads and writes nodes and edges, all that pipelines need",
    "owner": "also changes types, indexes and retention",
    "none": "may not use this database",
}

routes = APIRouter()


@routes.get("/admin/users")
def users(request: Request, store: CallersStore, rights: CallersRights) -> Response:
    """Show the users of the server to who administrates it."""
    facts = {
        "users": admin.users(store.db) if rights.administrate else [],
        "page_of": page_of,
        "roles": ROLES,
        "database": store.db.name,
        "may": rights,
    }
    return render(request, "admin_users.html", facts)


@routes.post("/admin/users", dependencies=[needs("administrate")])
def create(request: Request, store: CallersStore, session: CallersSession, fields: Form) -> Response:
    """Make a user."""
    name = fields.get("name", "").strip()
    admin.create_user(store.db, name, fields.get("password", ""), fields.get("role", ""))
    return done(request, session, page_of(name), f"{name} can sign in now.")


def page_of(name: str) -> str:
    """Return the path of a user's page."""
    return f"/admin/users/user?name={quote(name, safe='')}"


@routes.get("/admin/users/user", dependencies=[needs("administrate")])
def user(request: Request, store: CallersStore, session: CallersSession, name: str) -> Response:
    """Show what a user may do, and the forms that change it."""
    facts = {
        "permissions": admin.permissions(store.db, name),
        "roles": ROLES,
        "database": store.db.name,
        "own": name == session.user,
    }
    return render(request, "admin_user.html", facts)


@routes.post("/admin/users/role", dependencies=[needs("administrate")])
def grant(request: Request, store: CallersStore, session: CallersSession, fields: Form) -> Response:
    """Give a user a role in this database, or take it."""
    name, role = fields.get("name", ""), fields.get("role", "")
    admin.grant(store.db, name, role)
    notice = f"{name} may not use {store.db.name} any more." if role == "none" else f"{name} is a {role} now."
    return done(request, session, page_of(name), notice)


@routes.post("/admin/users/password", dependencies=[needs("administrate")])
def change_password(request: Request, store: CallersStore, session: CallersSession, fields: Form) -> Response:
    """Give a user another password."""
    name = fields.get("name", "")
    admin.change_password(store.db, name, fields.get("password", ""))
    return done(request, session, page_of(name), f"{name} has another password.")


@routes.post("/admin/users/removal", dependencies=[needs("administrate"), Depends(sure)])
def remove(request: Request, store: CallersStore, session: CallersSession, fields: Form) -> Response:
    """Remove a user from the server; nobody removes themselves."""
    name = fields.get("name", "")
    if name == session.user:
        raise Invalid("name", f"{name} is who has signed in; let another administrator do it")
    admin.remove_user(store.db, name)
    return done(request, session, "/admin/users", f"{name} is removed.")
