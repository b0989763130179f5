"""Whole collections as lines of JSON, a batch at a time, for several readers at once: the API behind arangodump.

Loaders of graphs, such as those of NetworkX backends, read by it too.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from .errors import ArangoError
from .held import Held, find, forget_expired, owner_of
from .request import Request, Response, Route, shaped, success
from .storage import Transaction
from .values import dump

DEFAULT_BYTES = 16 << 10
DEFAULT_SECONDS = 600.0
CONTENT_TYPE = "application/x-arango-dump"
DUMP_HEADER, SHARD_HEADER, BLOCKED_HEADER = "x-arango-dump-id", "x-arango-dump-shard-id", "x-arango-dump-block-counts"
BODY_TYPES = {"batchSize": int, "prefetchCount": int, "parallelism": int, "ttl": float}
BODY_TYPES |= {"shards": list, "projections": dict}
Batch: TypeAlias = tuple[str, str]
"""A collection's name and some of its documents, one to a line."""
_numbers = itertools.count(time.time_ns())


@dataclass(slots=True, kw_only=True)
class Dump(Held):
    """Collections as they were at one moment."""

    waiting: deque[Batch]
    sent: dict[str, Batch] = field(default_factory=dict)
    """Batches that can be asked for again, by the numbers that their readers gave them."""

    def batch(self, number: str) -> Batch | None:
        """The batch that has this number, else the next one, or None if all were sent."""
        if number not in self.sent:
            try:
                self.sent[number] = self.waiting.popleft()
            except IndexError:
                return None
        return self.sent[number]


def start(request: Request) -> Response:
    given = request.object(**BODY_TYPES)
    if given.get("filters") is not None:
        raise ArangoError(9, message="not implemented: filters of a dump, use an AQL statement")
    if request.flag("useVPack"):
        raise ArangoError(9, message="not implemented: VelocyPack, use JSON")
    names = _texts(given.get("shards") or [], "shards")
    projections = _projections(given)
    size = int(given.get("batchSize") or DEFAULT_BYTES)
    waiting: deque[Batch] = deque()
    with request.transaction() as transaction:
        for name in names:
            waiting.extend((name, text) for text in _batches(request, transaction, name, projections, size))
    forget_expired(request.file.dumps)
    seconds = float(given.get("ttl") or DEFAULT_SECONDS)
    held = Dump(owner=owner_of(request), seconds=seconds, waiting=waiting)
    held.touch()
    number = f"dump-{next(_numbers)}"
    request.file.dumps[number] = held
    return Response(201, headers={DUMP_HEADER: number})


def _texts(value: Any, name: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ArangoError(10, message=f"bad parameter: '{name}' has to be an array of strings")
    return value


def _projections(given: dict[str, Any]) -> dict[str, list[str]] | None:
    """Names and the paths of their values in a document; None for whole documents."""
    paths = given.get("projections")
    return None if paths is None else {name: _texts(path, "projections") for name, path in shaped(paths).items()}


def _batches(
    request: Request, transaction: Transaction, name: str, projections: dict[str, list[str]] | None, size: int
) -> Iterator[str]:
    """A collection's documents in texts of about `size` characters."""
    lines: list[str] = []
    length = 0
    for document in transaction.scan(request.collection(transaction, name)):
        lines.append(dump(document if projections is None else _projected(document, projections)) + "\n")
        length += len(lines[-1])
        if length >= size:
            yield "".join(lines)
            lines, length = [], 0
    if lines:
        yield "".join(lines)


def _projected(document: dict[str, Any], projections: dict[str, list[str]]) -> dict[str, Any]:
    """What the document has at these paths."""
    found = {name: _at(document, path) for name, path in projections.items()}
    return {name: value for name, value in found.items() if value is not ...}


def _at(value: Any, path: list[str]) -> Any:
    for step in path:
        if not isinstance(value, dict) or step not in value:
            return ...
        value = value[step]
    return value


def _dump(request: Request, number: str) -> Dump:
    held: Dump | None = find(request.file.dumps, number, request)
    if held is None:
        raise ArangoError(404, message=f"dump not found: {number}")
    return held


def following(request: Request, number: str) -> Response:
    """The batch that the reader calls `batchId`; 204 once there are no more."""
    held = _dump(request, number)
    wanted = str(request.params.get("batchId", ""))
    if not wanted.isdecimal():
        raise ArangoError(10, message="bad parameter: 'batchId' has to be a whole number")
    held.sent.pop(str(request.params.get("lastBatch", "")), None)
    batch = held.batch(wanted)
    held.touch()
    if batch is None:
        return Response(204)
    return Response(200, batch[1], {"content-type": CONTENT_TYPE, SHARD_HEADER: batch[0], BLOCKED_HEADER: "0"})


def close(request: Request, number: str) -> Response:
    _dump(request, number)
    request.file.dumps.pop(number, None)
    return success(200)


ROUTES: tuple[Route, ...] = (
    ("POST", "/_api/dump/start", start),
    ("POST", "/_api/dump/next/{id}", following),
    ("DELETE", "/_api/dump/{id}", close),
)
