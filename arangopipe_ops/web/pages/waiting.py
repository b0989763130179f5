"""Answers that take their time: within a moment a page says so, and it shows them once they are there."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial, wraps
from typing import Any

from fastapi import Request
from starlette.responses import HTMLResponse, Response

from arangopipe_ops.model import moment
from arangopipe_ops.web.access import STATEMENT_SECONDS
from arangopipe_ops.web.pages.rendering import HEADERS, render
from arangopipe_ops.web.pages.sessions import may_change, session_of
from arangopipe_ops.web.works import Earlier, Work, made, progress_of, works_of

_CONTENT = b'<main id="content" tabindex="-1">\n'


def patient(page: Callable[..., Response]) -> Callable[..., Awaitable[Response]]:
    """Have a page that may take long say so to a browser, which looks again until the answer is there.

    Where there is an earlier answer, that is shown meanwhile, and says that it is one. Whoever does not ask for a page
    to look at, such as a script, waits for the answer.
    """

    @wraps(page)
    async def answered(request: Request, **given: Any) -> Response:
        request.state.made_apart = True
        make = partial(page, request=request, **given)
        session, works = session_of(request), works_of(request)
        if session is None or not _is_browser(request):
            return _shown(request, await made(request, make))
        key = session.id, f"{request.url.path}?{request.url.query}"
        if _looks(request):
            going_on = works.find(key)
            return (going_on and await unfinished(request, going_on)) or _there()
        found = await works.answered(key, make, progress_of(request))
        if isinstance(found, Response):
            return _shown(request, found)
        earlier = works.earlier(key)
        return _shown(request, earlier.page, earlier) if earlier else _being_made(request, found)

    return answered


async def waited(request: Request, work: Work) -> bool:
    """Return whether a work is done, after some time: a script waits until it is, and who only looks for longer."""
    works = works_of(request)
    seconds = (works.again if _looks(request) else works.soon) if _is_browser(request) else None
    return await work.done(seconds)


async def unfinished(request: Request, work: Work) -> Response | None:
    """Return what is told of a work that goes on, and to who only looks that it is done; None if it is to be shown."""
    if not await waited(request, work):
        return _being_made(request, work)
    return _there() if _looks(request) else None


def _is_browser(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _looks(request: Request) -> bool:
    """Whether a page that has been shown asks how far it is."""
    return request.headers.get("prefer") == "wait"


def _there() -> Response:
    return Response(status_code=204, headers=HEADERS)


def _being_made(request: Request, work: Work) -> Response:
    facts = {
        "seconds": round(time.monotonic() - work.since),
        "said": work.progress.said,
        "longest": round(STATEMENT_SECONDS),
    }
    return render(request, "waiting.html", facts, 202)


def _shown(request: Request, page: Response, earlier: Earlier | None = None) -> Response:
    """Return a page with what is told above it and is no part of it, since it may be kept.

    That is what a form has done, and of an earlier answer that it is one, in HTTP also how old (RFC 9111, 5.1).
    """
    session = session_of(request)
    if session is None or not isinstance(page, HTMLResponse):
        return page
    above, headers = b"", dict(page.headers)
    if notice := session.told():
        above += bytes(render(request, "notice.html", {"told": notice}).body)
    if earlier:
        above += bytes(render(request, "earlier.html", {"at": moment(earlier.at, "at")}).body)
        headers["Age"] = f"{earlier.age:.0f}"
    del headers["content-length"]
    return HTMLResponse(bytes(page.body).replace(_CONTENT, _CONTENT + above, 1), page.status_code, headers)


async def made_anew(request: Request) -> AsyncIterator[None]:
    """Let nobody see after a form what was found before it was carried out."""
    try:
        yield
    finally:
        session = session_of(request)
        if session is not None and may_change(request):
            works_of(request).forget(session.id)
