"""Answers that take their time: within a moment a page says so, and it shows them once they are there."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial, wraps
from threading import Semaphore
from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import HTTPException, Request
from starlette.responses import Response

from arangopipe_ops.errors import ArangopipeError
from arangopipe_ops.web.access import STATEMENT_SECONDS
from arangopipe_ops.web.pages.rendering import HEADERS, render
from arangopipe_ops.web.pages.sessions import session_of

SOON_SECONDS = 0.2
AGAIN_SECONDS = 2.0
KEPT_SECONDS = 60.0
MOST_AT_ONCE = 16
"""So many answers that take their time are made at once; the threads that are left are for other pages."""

TURNS_OF_A_FILE = 2
"""So many questions are asked at once of a file: its database works in this process, and other pages need it too."""

Key = tuple[str, str]
"""Whose answer it is, and its address."""

Made = Response | ArangopipeError | HTTPException
"""An answer, or what is told in place of one; anything else that making it raises is a fault, also if nobody asks."""


@dataclass
class Progress:
    """How far the making of an answer is, in a sentence."""

    said: str = ""


@dataclass
class Work:
    """An answer that is being made."""

    answer: asyncio.Future[Made]
    progress: Progress
    since: float = field(default_factory=time.monotonic)


class Works:
    """The answers of an application that are being made, or are there and were not fetched yet.

    Nothing is kept of an answer that is there within `soon` seconds, or that has been fetched. Who only looks how far
    it is has a page before them, and is held up to `again` seconds. Of what looks at much of the graph, so many take
    their `turns` at once.
    """

    def __init__(
        self,
        soon: float = SOON_SECONDS,
        again: float = AGAIN_SECONDS,
        kept: float = KEPT_SECONDS,
        turns: int = MOST_AT_ONCE,
    ) -> None:
        self.soon, self.again, self.kept = soon, again, kept
        self.turns = Semaphore(turns)
        self._limiter = CapacityLimiter(MOST_AT_ONCE)
        self._works: dict[Key, Work] = {}

    async def answered(self, key: Key, make: Callable[[], Response], progress: Progress) -> Response | Work:
        """Return an answer, or the work on it if that takes longer. Raises what making it raised."""
        work = self._works.get(key) or self._begun(key, make, progress)
        await asyncio.wait({work.answer}, timeout=self.soon)
        if not work.answer.done():
            return work
        self._drop(key, work)
        made = work.answer.result()
        if isinstance(made, Response):
            return made
        raise made

    async def unfinished(self, key: Key) -> Work | None:
        """Return the work on an answer, or None as soon as there is nothing to wait for."""
        work = self._works.get(key)
        if work is not None:
            await asyncio.wait({work.answer}, timeout=self.again)
        return None if work is None or work.answer.done() else work

    def _begun(self, key: Key, make: Callable[[], Response], progress: Progress) -> Work:
        answer = asyncio.ensure_future(self._made(make))
        work = self._works[key] = Work(answer, progress)
        answer.add_done_callback(lambda _: answer.get_loop().call_later(self.kept, self._drop, key, work))
        return work

    async def _made(self, make: Callable[[], Response]) -> Made:
        try:
            return await to_thread.run_sync(make, limiter=self._limiter)
        except (ArangopipeError, HTTPException) as error:
            return error

    def forget(self, session: str) -> None:
        """Have the answers to somebody made anew: they have changed something since."""
        for key in [key for key in self._works if key[0] == session]:
            del self._works[key]

    def _drop(self, key: Key, work: Work) -> None:
        if self._works.get(key) is work:
            del self._works[key]


def works_of(request: Request) -> Works:
    """Return the answers that are being made."""
    works: Works = request.app.state.works
    return works


def patient(page: Callable[..., Response]) -> Callable[..., Awaitable[Response]]:
    """Have a page that may take long say so to a browser, which looks again until the answer is there.

    Whoever does not ask for a page to look at, such as a script, waits for the answer.
    """

    @wraps(page)
    async def answered(request: Request, **given: Any) -> Response:
        make = partial(page, request=request, **given)
        progress = progress_of(request)
        session, works = session_of(request), works_of(request)
        if session is None or "text/html" not in request.headers.get("accept", ""):
            return await to_thread.run_sync(make)
        key = session.id, f"{request.url.path}?{request.url.query}"
        if request.headers.get("prefer") == "wait":
            work = await works.unfinished(key)
            return Response(status_code=204, headers=HEADERS) if work is None else _being_made(request, work)
        found = await works.answered(key, make, progress)
        return _being_made(request, found) if isinstance(found, Work) else found

    return answered


def progress_of(request: Request) -> Progress:
    """Return where a page that may take long says how far it is."""
    if not hasattr(request.state, "progress"):
        request.state.progress = Progress()
    progress: Progress = request.state.progress
    return progress


@contextmanager
def turn(request: Request) -> Iterator[None]:
    """Look at much of the graph inside, when it is the turn of the request."""
    turns, progress = works_of(request).turns, progress_of(request)
    progress.said = "" if turns.acquire(blocking=False) else "It waits for its turn."
    if progress.said:
        turns.acquire()
        progress.said = ""
    try:
        yield
    finally:
        turns.release()


def _being_made(request: Request, work: Work) -> Response:
    facts = {
        "seconds": round(time.monotonic() - work.since),
        "said": work.progress.said,
        "longest": round(STATEMENT_SECONDS),
    }
    return render(request, "waiting.html", facts, 202)


async def made_anew(request: Request) -> AsyncIterator[None]:
    """Let nobody see after a form what was found before it was carried out."""
    try:
        yield
    finally:
        session = session_of(request)
        if session is not None and request.method not in ("GET", "HEAD"):
            works_of(request).forget(session.id)
