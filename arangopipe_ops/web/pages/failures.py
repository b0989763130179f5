"""Errors as pages: the API's problem documents, for people."""

import json

from fastapi import FastAPI, Request
from starlette.responses import Response

from arangopipe_ops.web.pages.rendering import came_from, path_of, render
from arangopipe_ops.web.pages.sessions import callers_of
from arangopipe_ops.web.problems import HANDLERS, Handler

_TOLD = {"allow", "retry-after"}
"""What an error also tells a browser, or who looks whether a page is there."""


def install(app: FastAPI) -> None:
    """Answer errors as pages wherever the path is not the API's."""
    for error, handler in HANDLERS.items():
        app.add_exception_handler(error, _by_path(handler))


def _by_path(handler: Handler) -> Handler:
    async def answered(request: Request, error: Exception) -> Response:
        problem = await handler(request, error)
        if path_of(request).startswith("/api/"):
            return problem
        document = json.loads(bytes(problem.body))
        if problem.status_code == 401:
            return callers_of(request).unknown(request, document["detail"])
        page = render(request, "failure.html", document | {"back": came_from(request)}, problem.status_code)
        page.headers.update({name: value for name, value in problem.headers.items() if name in _TOLD})
        return page

    return answered
