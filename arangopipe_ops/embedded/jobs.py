"""Requests that are answered later (`x-arango-async`). Manual: develop/http-api/jobs."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .errors import ArangoError
from .queries import Queries
from .request import Response

DONE, PENDING = "done", "pending"
AT_ONCE = 8
"""How many jobs run at the same time."""
WAITING = 1000
"""How many jobs may be unfinished."""


@dataclass(slots=True)
class Job:
    number: str
    user: str
    work: Callable[[], Response]
    stamp: float = field(default_factory=time.time)
    thread: int | None = None
    response: Response | None = None
    cancelled: bool = False

    @property
    def state(self) -> str:
        return PENDING if self.response is None else DONE


class Jobs:
    """The jobs of a file, in this process; a job belongs to the user who started it."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._jobs: dict[str, Job] = {}
        self._unfinished = 0
        self._numbers = itertools.count(time.time_ns())
        self._places = threading.BoundedSemaphore(AT_ONCE)

    def start(self, user: str, work: Callable[[], Response], keep: bool) -> str:
        """Do `work` in a thread; its response is kept until it is fetched, if it is to be kept."""
        job = Job(str(next(self._numbers)), user, work)
        if self._unfinished >= WAITING:
            raise ArangoError(503, message=f"service unavailable: {WAITING} jobs are unfinished")
        self._unfinished += 1
        if keep:
            self._jobs[job.number] = job
        threading.Thread(target=self._run, args=(job,), name=f"job-{job.number}", daemon=True).start()
        return job.number

    def _run(self, job: Job) -> None:
        try:
            with self._places:
                job.thread = threading.get_ident()
                killed = ArangoError(1500)
                job.response = Response(killed.status, killed.body()) if job.cancelled else job.work()
        finally:
            self._unfinished -= 1

    def get(self, number: str, user: str) -> Job:
        job = self._jobs.get(number)
        if job is None or job.user != user:
            raise ArangoError(404, message=f"job not found: {number}")
        return job

    def take(self, number: str, user: str) -> Job:
        """A job whose response, if it has one, is fetched once."""
        job = self.get(number, user)
        if job.response is not None:
            self._jobs.pop(number, None)
        return job

    def numbers(self, state: str, user: str) -> list[str]:
        return [job.number for job in list(self._jobs.values()) if (job.state, job.user) == (state, user)]

    def cancel(self, number: str, user: str) -> None:
        job = self.get(number, user)
        job.cancelled = True
        if job.response is None and job.thread is not None:
            self._queries.kill_in(job.thread)

    def forget(self, number: str, user: str) -> None:
        self._jobs.pop(self.get(number, user).number, None)

    def forget_before(self, stamp: float, user: str) -> None:
        """Forget the user's jobs that were started before `stamp`, in seconds since 1970; they still run."""
        for job in list(self._jobs.values()):
            if job.user == user and job.stamp < stamp:
                self._jobs.pop(job.number, None)
