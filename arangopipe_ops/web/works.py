"""Answers that are being made, and those that were made before."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial, wraps
from threading import Semaphore, Thread
from typing import Any

from anyio import CapacityLimiter
from fastapi import HTTPException, Request
from starlette.responses import HTMLResponse, Response

from arangopipe_ops.errors import ArangopipeError

SOON_SECONDS = 0.2
AGAIN_SECONDS = 2.0
KEPT_SECONDS = 60.0
EARLIER_SECONDS = 3600.0
MOST_BYTES = 64 * 2**20
MOST_AT_ONCE = 16
"""So many answers look at much of the graph at once."""

TURNS_OF_A_FILE = 2
"""So many questions are asked at once of a file: its database works in this process, and other pages need it too."""

MOST_THREADS = 64
"""So many are made at once or wait for their turn. More have no thread yet, however little they look at."""

STOPS = "the service stops; ask again when it is back"

TOLD = (ArangopipeError, HTTPException)
"""What is told in the place of an answer; any other exception is a fault."""

Key = tuple[str, str]
"""Whose answer it is, and its address."""


@dataclass
class Progress:
    """How far the making of an answer is, in a sentence."""

    said: str = ""


@dataclass
class Work:
    """An answer that is being made, or what is told in its place; another exception is a fault, also if nobody asks."""

    answer: asyncio.Future[Any]
    progress: Progress
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    since: float = field(default_factory=time.monotonic)

    async def done(self, seconds: float | None) -> bool:
        """Return whether it is made, within some seconds; None waits for it. Raises if the service stops meanwhile."""
        if not self.answer.done():
            try:
                await asyncio.wait({self.answer}, timeout=seconds)
            except asyncio.CancelledError:
                raise HTTPException(503, STOPS) from None
        return self.answer.done()

    def result(self) -> Any:
        """Return the answer that was made. Raises what is told in its place."""
        made = self.answer.result()
        if isinstance(made, Exception):
            raise made
        return made


@dataclass(frozen=True)
class Earlier:
    """A page that took its time, and the state of the graph that it shows: that when its making began."""

    page: HTMLResponse
    at: datetime

    @property
    def age(self) -> float:
        """How many seconds ago that was, by the clock that people see."""
        return max(0.0, (datetime.now(UTC) - self.at).total_seconds())

    @property
    def lasts(self) -> bool:
        """Whether it may still be shown."""
        return self.age < EARLIER_SECONDS


class Works:
    """The answers of an application that are being made, or are there and were not fetched yet, and earlier ones.

    Nothing is kept of an answer that is there within `soon` seconds. One that took longer is *the* answer until it is
    fetched, or `kept` seconds; then it is what is there to show while a newer one is made, for an hour, the newest of
    them up to `most` bytes. Who only looks how far it is has a page before them, and is held up to `again` seconds. Of
    what looks at much of the graph, so many take their `turns` at once; of what looks at the `whole` of it, one.
    """

    def __init__(
        self,
        soon: float = SOON_SECONDS,
        again: float = AGAIN_SECONDS,
        kept: float = KEPT_SECONDS,
        turns: int = MOST_AT_ONCE,
        most: int = MOST_BYTES,
    ) -> None:
        self.soon, self.again, self.kept, self.most = soon, again, kept, most
        self.turns, self.whole = Semaphore(turns), Semaphore(1)
        self._limiter = CapacityLimiter(MOST_THREADS)
        self._works: dict[Key, Work] = {}
        self._earlier: dict[Key, Earlier] = {}

    async def answered(self, key: Key, make: Callable[[], Response], progress: Progress) -> Response | Work:
        """Return an answer, or the work on it if that takes longer. Raises what making it raised."""
        work = self._works.get(key) or self._begin(key, make, progress)
        if not await work.done(self.soon):
            return work
        self._retire(key, work)
        answer: Response = work.result()
        return answer

    def find(self, key: Key) -> Work | None:
        """Return the work on an answer that nobody has fetched yet, or None."""
        return self._works.get(key)

    def earlier(self, key: Key) -> Earlier | None:
        """Return what there is to show until a newer answer is made, or None."""
        found = self._earlier.get(key)
        return found if found and found.lasts else None

    def begin(self, make: Callable[[], Any], progress: Progress) -> Work:
        """Have something made in a thread."""
        return Work(asyncio.ensure_future(self._made(make)), progress)

    def forget(self, session: str) -> None:
        """Have the answers to somebody made anew: they have changed something since."""
        self._works = {key: work for key, work in self._works.items() if key[0] != session}
        self._earlier = {key: earlier for key, earlier in self._earlier.items() if key[0] != session}

    def _begin(self, key: Key, make: Callable[[], Response], progress: Progress) -> Work:
        work = self._works[key] = self.begin(make, progress)
        loop = work.answer.get_loop()
        work.answer.add_done_callback(lambda _: loop.call_later(self.kept, self._retire, key, work))
        return work

    async def _made(self, make: Callable[[], Any]) -> Any:
        async with self._limiter:
            made = await _apart(make)
        if isinstance(made, Exception) and not isinstance(made, TOLD):
            raise made
        return made

    def _retire(self, key: Key, work: Work) -> None:
        if self._works.get(key) is not work:
            return
        del self._works[key]
        self._earlier.pop(key, None)
        page = work.answer.result()
        if isinstance(page, HTMLResponse) and page.status_code == 200 and time.monotonic() - work.since > self.soon:
            self._earlier[key] = Earlier(page, work.at)
            self._make_room()

    def _make_room(self) -> None:
        self._earlier = {key: each for key, each in self._earlier.items() if each.lasts}
        size = sum(len(each.page.body) for each in self._earlier.values())
        while size > self.most:
            size -= len(self._earlier.pop(next(iter(self._earlier))).page.body)


def _apart(make: Callable[[], Any]) -> asyncio.Future[Any]:
    """Return what a thread will make, or the exception in its place. The process may end meanwhile."""
    made: Future[Any] = Future()
    made.set_running_or_notify_cancel()

    def run() -> None:
        try:
            made.set_result(make())
        except Exception as error:
            made.set_result(error)

    Thread(target=run, daemon=True).start()
    return asyncio.wrap_future(made)


# --- of a request


def works_of(request: Request) -> Works:
    """Return the answers that are being made."""
    works: Works = request.app.state.works
    return works


def progress_of(request: Request) -> Progress:
    """Return where a page that may take long says how far it is."""
    if not hasattr(request.state, "progress"):
        request.state.progress = Progress()
    progress: Progress = request.state.progress
    return progress


@contextmanager
def turn(request: Request, turns: Semaphore | None = None) -> Iterator[None]:
    """Look at much of the graph inside, when it is the turn of the request; `turns` are others than the usual ones."""
    turns, progress = turns or works_of(request).turns, progress_of(request)
    progress.said = "" if turns.acquire(blocking=False) else "It waits for its turn."
    if progress.said:
        turns.acquire()
        progress.said = ""
    try:
        yield
    finally:
        turns.release()


def apart(answer: Callable[..., Response]) -> Callable[..., Awaitable[Response]]:
    """Have what may take long made in a thread of its own, so that those who wait for it hold up no other answer.

    Nor does it hold up the end of the process, which the threads of the framework would.
    """

    @wraps(answer)
    async def answered(request: Request, **given: Any) -> Response:
        return await made(request, partial(answer, request=request, **given))

    return answered


def begun(request: Request, make: Callable[[], Any]) -> Work:
    """Have something made that a page shows later."""
    return works_of(request).begin(make, progress_of(request))


async def made(request: Request, make: Callable[[], Response]) -> Response:
    """Return what is made in a thread of its own, when it is there."""
    work = begun(request, make)
    await work.done(None)
    answer: Response = work.result()
    return answer
