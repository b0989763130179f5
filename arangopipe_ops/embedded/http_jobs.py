"""Jobs: requests that are answered later. Manual: develop/http-api/jobs."""

from __future__ import annotations

from .errors import ArangoError
from .jobs import DONE, PENDING
from .request import JOB_HEADER, Request, Response, Route

DEFAULT_COUNT = 100


def show(request: Request, number: str) -> Response:
    """A list of the jobs in a state, or whether one job is done: 200, or 204 while it is not."""
    if number in (DONE, PENDING):
        numbers = request.file.jobs.numbers(number, request.user.name)
        return Response(200, numbers[: int(request.number("count", DEFAULT_COUNT))])
    if not number.isdigit():
        raise ArangoError(400, message=f"bad parameter: '{number}' is neither a job nor one of {DONE}, {PENDING}")
    job = request.file.jobs.get(number, request.user.name)
    return Response(204 if job.response is None else 200)


def take(request: Request, number: str) -> Response:
    job = request.file.jobs.take(number, request.user.name)
    if job.response is None:
        return Response(204)
    answer = job.response
    return Response(answer.status, answer.body, {**answer.headers, JOB_HEADER: number})


def cancel(request: Request, number: str) -> Response:
    request.file.jobs.cancel(number, request.user.name)
    return Response(200, {"result": True})


def forget(request: Request, number: str) -> Response:
    """One job, or `all` that are done, or those `expired` by the parameter `stamp`."""
    if number == "all":
        request.file.jobs.forget_before(float("inf"), request.user.name)
    elif number == "expired":
        request.file.jobs.forget_before(request.number("stamp"), request.user.name)
    else:
        request.file.jobs.forget(number, request.user.name)
    return Response(200, {"result": True})


def unnamed(request: Request) -> Response:
    raise ArangoError(400, message="bad parameter: expecting the id of a job")


ROUTES: tuple[Route, ...] = (
    ("GET", "/_api/job/{id}", show),
    ("PUT", "/_api/job", unnamed),
    ("PUT", "/_api/job/{id}", take),
    ("PUT", "/_api/job/{id}/cancel", cancel),
    ("DELETE", "/_api/job/{id}", forget),
)
