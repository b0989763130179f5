"""Sign in with a database user, or on a file with its token or the link printed at the start; sign out."""

import secrets

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from arangopipe_ops.connection import user_of
from arangopipe_ops.errors import Unauthorized
from arangopipe_ops.web.access import FileAccess
from arangopipe_ops.web.pages.rendering import render
from arangopipe_ops.web.pages.sessions import Form, access_of, cookie_of, keep, session_of, sessions_of

routes = APIRouter()


@routes.get("/sign-in")
def sign_in_page(request: Request, ticket: str = "", next: str = "") -> Response:
    """Show the form, or take the ticket of a link, which then stands in the address no more."""
    if session_of(request) is not None:
        return _on(request, next)
    if not ticket:
        return _asked(request, next)
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
        return _asked(request, next, str(error))
    return _entered(request, token, next)


@routes.post("/sign-out")
def sign_out(request: Request) -> Response:
    """End the session."""
    sessions_of(request).close(cookie_of(request))
    return RedirectResponse(f"{_root(request)}/sign-in", 303)


def _asked(request: Request, next: str, problem: str | None = None) -> Response:
    cookie = cookie_of(request) or secrets.token_urlsafe(32)
    facts = {"next": next, "problem": problem, "file": isinstance(access_of(request), FileAccess)}
    response = render(request, "sign_in.html", facts, 401 if problem else 200, cookie=cookie)
    keep(response, request, cookie)
    return response


def _entered(request: Request, token: str, next: str) -> Response:
    """Open a session under an id of its own: one that the browser had before may be known to others."""
    sessions = sessions_of(request)
    user = "this file" if isinstance(access_of(request), FileAccess) else user_of(token) or "?"
    response = _on(request, next)
    keep(response, request, sessions.open(token, user).id)
    return response


def _on(request: Request, next: str) -> Response:
    return RedirectResponse(_root(request) + (next if _is_ours(next) else "/"), 303)


def _is_ours(path: str) -> bool:
    """Return whether a path leads to a page of ours; `//x` and `/\\x` lead to other sites."""
    return path.startswith("/") and path[1:2] not in ("/", "\\") and path.isprintable()


def _root(request: Request) -> str:
    return str(request.scope.get("root_path", ""))
