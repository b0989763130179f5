"""Sign in with a database user, or on a file with its token or the link printed at the start; sign out."""

import secrets
from collections.abc import Mapping
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import Response

from arangopipe_ops.admin import Rights
from arangopipe_ops.connection import user_of
from arangopipe_ops.errors import Unauthorized
from arangopipe_ops.store import Store
from arangopipe_ops.web.access import FileAccess
from arangopipe_ops.web.pages.rendering import came_from, path_of, redirect, render
from arangopipe_ops.web.pages.sessions import (
    Form,
    Session,
    access_of,
    cookie_of,
    keep,
    session_of,
    sessions_of,
)
from arangopipe_ops.web.works import works_of

routes = APIRouter()


_OF_A_SERVER = {
    "write": "You may read this graph, but not write to it: "
    "that needs Read/Write on its collections (the role writer).",
    "define": "You may not change what this graph is made of: "
    "that needs Administrate on its database (the role owner).",
    "administrate": "You may not see or change users: that needs Administrate on the server's database _system.",
}
_OF_A_FILE = _OF_A_SERVER | {
    "administrate": "A file has no users: whoever has its token may do everything. "
    "`arangopipe serve-db --file …` serves it as a database with users."
}


class SignedIn:
    """Callers who have signed in here: each has a session, and the rights that the database gives them."""

    framed_by = "'none'"
    signs_out = True

    def basis(self, request: Request) -> str:
        """Say what a token is good for."""
        return _OF_A_FILE["administrate"] if _is_file(request) else "The database decides: it gives each user rights."

    def refusals(self, request: Request) -> Mapping[str, str]:
        """Return what is told to who lacks a right in the database."""
        return _OF_A_FILE if _is_file(request) else _OF_A_SERVER

    def session(self, request: Request) -> Session | None:
        """Return the session that the browser's cookie opens."""
        return sessions_of(request).find(cookie_of(request))

    def store(self, request: Request, session: Session) -> Store:
        """Return the store as the session's token opens it. Raises Unauthorized."""
        return access_of(request).store(session.token)

    def rights(self, request: Request, session: Session) -> Rights:
        """Return what the database lets them do."""
        return session.remembered(lambda: access_of(request).rights(session.token))

    def runs_statements(self, request: Request) -> bool:
        """Return true: a statement runs with the caller's own rights."""
        return True

    def proof(self, request: Request) -> str:
        """Return what only a page that was given the browser's cookie can know."""
        cookie = cookie_of(request)
        return sessions_of(request).proof(cookie) if cookie else ""

    def unknown(self, request: Request, detail: str) -> Response:
        """Lead to the sign-in and from there back; a session whose token is good no more has ended."""
        sessions_of(request).close(cookie_of(request))
        if request.method == "GET":
            query = f"?{request.url.query}" if request.url.query else ""
            return redirect(request, f"/sign-in?{urlencode({'next': path_of(request) + query})}")
        form = (came_from(request) or "/").removeprefix(request.scope.get("root_path", ""))
        return redirect(request, f"/sign-in?{urlencode({'next': form, 'unsent': 'yes'})}")


_UNSENT = "Nothing was done: you were not signed in any more. Sign in, and send the form again."


@routes.get("/sign-in")
def sign_in_page(request: Request, ticket: str = "", next: str = "", unsent: bool = False) -> Response:
    """Show the form, or take the ticket of a link, which then stands in the address no more."""
    if session_of(request) is not None:
        return _on(request, next)
    if not ticket:
        return _asked(request, next, _UNSENT if unsent else None, status=200)
    try:
        return _entered(request, access_of(request).redeemed(ticket), next)
    except Unauthorized as error:
        return _asked(request, next, str(error))


@routes.post("/sign-in")
def sign_in(request: Request, form: Form) -> Response:
    """Open a session for whoever the database knows."""
    access, next = access_of(request), form.get("next", "")
    try:
        if isinstance(access, FileAccess):
            token = form.get("token", "").strip()
            access.store(token)
        else:
            token = access.token(form.get("username", ""), form.get("password", ""))
    except Unauthorized as error:
        return _asked(request, next, str(error), form.get("username", ""))
    return _entered(request, token, next)


@routes.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """End the session."""
    sessions_of(request).close(cookie_of(request))
    works_of(request).forget(cookie_of(request))
    return redirect(request, "/sign-in")


def _asked(request: Request, next: str, problem: str | None, username: str = "", status: int = 401) -> Response:
    request.state.cookie = cookie_of(request) or secrets.token_urlsafe(32)
    facts = {"next": next, "problem": problem, "username": username, "file": _is_file(request)}
    response = render(request, "sign_in.html", facts, status)
    keep(response, request, cookie_of(request))
    return response


def _entered(request: Request, token: str, next: str) -> Response:
    """Open a session under an id of its own: one that the browser had before may be known to others."""
    sessions = sessions_of(request)
    user = "this file" if _is_file(request) else user_of(token) or "?"
    response = _on(request, next)
    keep(response, request, sessions.open(token, user).id)
    return response


def _is_file(request: Request) -> bool:
    return isinstance(access_of(request), FileAccess)


def _on(request: Request, next: str) -> Response:
    return redirect(request, next if _is_ours(next) else "/")


def _is_ours(path: str) -> bool:
    """Return whether a path leads to a page of ours; `//x` and `/\\x` lead to other sites."""
    return path.startswith("/") and path[1:2] not in ("/", "\\") and path.isprintable()
