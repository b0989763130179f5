"""Much at once: stages in as JSON lines, the graph out as JSON lines, neither ever whole in memory."""

from collections.abc import AsyncIterator, Iterator
from itertools import chain
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
from fastapi import HTTPException, Request
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect

from arangopipe_ops.stages import read_stages
from arangopipe_ops.store import OnConflict, Store, Summary
from arangopipe_ops.web.problems import MAX_BODY_BYTES

MEDIA_TYPE = "application/x-ndjson"
CHUNK_CHARACTERS = 64 * 1024
LINES: dict[str, Any] = {MEDIA_TYPE: {"schema": {"type": "string"}}}

_uploads = anyio.CapacityLimiter(4)
"""How many bodies are read at once; one that comes slowly holds a thread."""


class Lines(StreamingResponse):
    """JSON lines."""

    media_type = MEDIA_TYPE


async def write_lines(request: Request, store: Store, on_conflict: OnConflict, reason: str | None) -> Summary:
    """Write the stages that a body describes while it arrives. Raises what `Store.write_many` raises."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise HTTPException(415, f"the body is not said to be JSON lines; send Content-Type: {MEDIA_TYPE}")
    arriving = lines_of(request)

    def lines() -> Iterator[str]:
        while (line := anyio.from_thread.run(anext, arriving, None)) is not None:
            yield line

    def write() -> Summary:
        return store.write_many(read_stages(lines()), on_conflict=on_conflict, reason=reason)

    return await anyio.to_thread.run_sync(write, limiter=_uploads)


async def lines_of(request: Request) -> AsyncIterator[str]:
    """Yield the lines of a body while it arrives. Raises HTTPException."""
    line = bytearray()
    try:
        async for chunk in request.stream():
            *ends, rest = chunk.split(b"\n")
            for end in ends:
                yield _text(line + end)
                line.clear()
            line += rest
            if len(line) > MAX_BODY_BYTES:
                raise HTTPException(413, f"a line is larger than {MAX_BODY_BYTES:,} bytes")
    except ClientDisconnect:
        raise HTTPException(400, "the body ended early") from None
    if line:
        yield _text(line)


def _text(line: bytearray) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise HTTPException(400, "the body is not UTF-8") from None


def export(store: Store) -> Lines:
    """Return the graph as a response. What goes wrong before the first line is raised here."""
    lines = store.export()
    return Lines(_chunks(chain([next(lines)], lines)))


def _chunks(lines: Iterator[str]) -> Iterator[str]:
    """Yield lines in larger pieces, as each is handed from thread to thread."""
    piece, size = [], 0
    for line in lines:
        piece.append(line)
        size += len(line)
        if size > CHUNK_CHARACTERS:
            yield "".join(piece)
            piece, size = [], 0
    yield "".join(piece)
