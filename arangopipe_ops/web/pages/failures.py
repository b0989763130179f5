"""Errors as pages: the API's problem documents, for people."""

import json
from urllib.parse import quote

from fastapi import FastAPI, Request
from starlette.responses import RedirectResponse, Response

from arangopipe_ops.web.pages.rendering import path_of, render
from arangopipe_ops.web.pages.sessions import cookie_of, sessions_of
from arangopipe_ops.web.problems import HANDLERS, Handler


def install(app: FastAPI) -> None:
    """Answer errors as pages wherever the path is not the API's."""
    for error, handler in HANDLERS.items():
        app.add_exception_handler(error, _by_path(handler))


def _by_path(handler: Handler) -> Handler:
    async def answered(request: Request, error: Exception) -> Response:
        problem = await handler(request, error)
        if path_of(request).startswith("/api/"):
            return problem
        if problem.status_code == 401:
            return _to_sign_in(request)
        document = json.loads(bytes(problem.body))
        return render(request, "failure.html", document, problem.status_code)

    return answered


def _to_sign_in(request: Request) -> Response:
    """Lead to the sign-in and from there back; a session whose token is good no more has ended."""
    sessions_of(request).close(cookie_of(request))
    root = request.scope.get("root_path", "")
    query = f"?{request.url.query}" if request.url.query else ""
    back = f"?next={quote(path_of(request) + query, safe='')}" if request.method == "GET" else ""
    return RedirectResponse(f"{root}/sign-in{back}", 303)
