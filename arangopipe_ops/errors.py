"""Every error that arangopipe_ops raises on purpose.

Each class is one fact about what went wrong and what cures it; the attributes carry the data.
"""

from collections.abc import Mapping, Sequence
from typing import Any


class ArangopipeError(Exception):
    """Base class: `except ArangopipeError` catches everything this library raises on purpose.

    `where` says which of many it was about, for example `line 12`.
    """

    where: str | None = None

    def __str__(self) -> str:
        text = super().__str__()
        return f"{self.where}: {text}" if self.where else text


class Invalid(ArangopipeError):
    """A value cannot be stored as given. `path` names it, for example `params.learning_rate`; `problem` says why."""

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"{path}: {problem}" if path else problem)


class NotFound(ArangopipeError):
    """A reference leads nowhere; nothing was written. `references` names each one."""

    def __init__(self, references: Sequence[str], cure: str = "Register it first, or check its name.") -> None:
        self.references = list(references)
        super().__init__(f"not found: {', '.join(self.references)}. {cure}")


class Conflict(ArangopipeError):
    """What is stored is not what the write takes for granted; nothing was written.

    `id` is the stored document's, `attributes` are the names whose values differ; `document` is what is stored,
    where that was answered.
    """

    def __init__(
        self,
        id: str,
        attributes: Sequence[str],
        problem: str | None = None,
        document: Mapping[str, Any] | None = None,
    ) -> None:
        self.id = id
        self.document = document
        self.attributes = list(attributes)
        super().__init__(
            f"{id} {problem}"
            if problem
            else f"{id} is already stored with different content in: {', '.join(self.attributes)}. "
            "Give it a version or name of its own, or choose on_conflict='revise' or 'keep'."
        )


class Misconfigured(ArangopipeError):
    """A setting is wrong (a URL, a missing extra); nothing was written."""


class NotProvisioned(ArangopipeError):
    """The database, or a collection of the graph in it, does not exist yet."""


class Unauthorized(ArangopipeError):
    """The server does not know the user, or (`signed_in`) knows who it is, and the user lacks a permission."""

    def __init__(self, message: str, *, signed_in: bool = False) -> None:
        self.signed_in = signed_in
        super().__init__(message)


class Unavailable(ArangopipeError):
    """The database could not be reached, or stayed too busy, until the deadline. Trying again is safe."""


class Refused(ArangopipeError):
    """The server refused a request for another reason. `number` is ArangoDB's errorNum, `status` its HTTP code."""

    def __init__(self, status: int, number: int, message: str) -> None:
        self.status = status
        self.number = number
        super().__init__(f"the database refused the request: {message} (error {number}, HTTP {status})")


# ArangoDB's error numbers that mean more than "refused".
# https://docs.arangodb.com/3.12/develop/error-codes-and-meanings/
_WRITE_CONFLICT, _CLUSTER_TIMEOUT, _LOCK_TIMEOUT, _QUERY_KILLED, _SHUTTING_DOWN = 1200, 1457, 18, 1500, 30
_COLLECTION_MISSING, _DATABASE_MISSING, _GRAPH_MISSING = 1203, 1228, 1924
_UNAVAILABLE = {_WRITE_CONFLICT, _CLUSTER_TIMEOUT, _LOCK_TIMEOUT, _SHUTTING_DOWN}
_CRASHED = 500
_NOT_PROVISIONED = {
    _COLLECTION_MISSING: "Run `arangopipe provision` once, or check the name.",
    _DATABASE_MISSING: "Create it, or check the name at the end of the URL.",
    _GRAPH_MISSING: "Run `arangopipe provision` once.",
}


def from_response(status: int, number: int | None, message: str | None) -> ArangopipeError:
    """Return the error that an answer of ArangoDB stands for: HTTP status, errorNum and errorMessage."""
    number, said = number or 0, message
    message = (message or f"HTTP {status}").rstrip(". ")
    if status in (401, 403):
        problem = f"{message}. Check user, password and permissions on this database."
        return Unauthorized(problem, signed_in=status == 403)
    if number in _NOT_PROVISIONED:
        return NotProvisioned(f"{message}. {_NOT_PROVISIONED[number]}")
    if number == _QUERY_KILLED:
        return Unavailable(f"{message}: it took longer than it may. Nothing was written; ask for less, or try again.")
    if number in _UNAVAILABLE or status in (429, 502, 503, 504):
        return Unavailable(f"{message}. Nothing was written; trying again is safe.")
    if not said and number in (0, status) and status != _CRASHED:
        return Misconfigured(f"what answers is not ArangoDB ({message}); check host and port of the URL.")
    return Refused(status, number, message)
