"""Stages that wait in a folder until the database is back.

Each process appends to a file of its own, one record to a line: its length, its checksum and its JSON. The record is
on disk before a write returns. `replay` writes the records of all files in the order of time and remembers for each
file how far it came; a record's own id makes the key of its audit entry, so none is written twice.
"""

import fcntl
import hashlib
import heapq
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypedDict
from uuid import uuid4

from arangopipe_ops.errors import ArangopipeError, Conflict, Invalid, Misconfigured, NotFound, Refused, Unavailable
from arangopipe_ops.model import Document, Stage, canonical_text

PROBE_SECONDS = 30.0
"""How long the database is left alone after it could not be reached."""

_RECORDS, _PLACES, _TORN, _REFUSED, _LOCK = ".spool", ".place", ".torn", "refused.jsonl", "replay.lock"
_log = logging.getLogger("arangopipe_ops.spool")


class Replay(TypedDict):
    """What became of the stages that waited.

    `refused` are the errors of those set aside in the file `refused.jsonl` of the folder, `torn` the files whose last
    record was cut off when its process died; what is left of it is kept beside, and was never answered for.
    """

    written: int
    refused: list[str]
    torn: list[str]


class Record(NamedTuple):
    """A stage that waits, and how it is to be written."""

    time: int
    id: str
    stage: Document
    on_conflict: str
    reason: str | None
    provenance: Document


class Spool:
    """A folder of waiting stages, and the file in it that this process appends to."""

    def __init__(self, folder: str | os.PathLike[str], probe_seconds: float = PROBE_SECONDS) -> None:
        self.folder = Path(folder).absolute()
        self._probe_seconds = probe_seconds
        self._probed = float("-inf")
        self._turn = threading.Lock()
        os.register_at_fork(after_in_child=self._forked)
        self._file: int | None = None
        self._path: Path | None = None
        self._owner = 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            problem = f"the spool {self.folder} cannot be made: {error.strerror}"
            raise Misconfigured(f"{problem}; name another folder.") from None

    def _forked(self) -> None:
        self._turn = threading.Lock()

    def caught_up(self, write: Callable[[Record], None]) -> bool:
        """Return whether nothing waits to be written first; where the database may be back, `write` what waits."""
        if self.waits:
            if not self.is_due:
                return False
            try:
                replay(self.folder, write, wait=False)
            except Unavailable:
                self.failed()
        if self.waits:
            return False
        self.end_file()
        return True

    @property
    def waits(self) -> bool:
        """Whether any stage waits in the folder, of this process or another."""
        return any(_size(path) > _place(path) for path in _files(self.folder))

    @property
    def is_due(self) -> bool:
        """Whether it is time to see if the database is back."""
        return time.monotonic() - self._probed >= self._probe_seconds

    def failed(self) -> None:
        """Note that the database is away."""
        self._probed = time.monotonic()

    def keep(self, stage: Stage, on_conflict: str, reason: str | None, provenance: Document) -> None:
        """Append a stage; it is on disk when this returns. Raises Unavailable if it cannot be kept either."""
        record = Record(time.time_ns(), uuid4().hex, stage.to_json(), on_conflict, reason, provenance)
        line = _line(canonical_text(record._asdict()))
        try:
            with self._turn:
                self._append(line)
        except OSError as error:
            raise Unavailable(
                f"the database is away, and {self.folder} cannot keep the stage: {error.strerror}. "
                "Nothing was written; make room and try again."
            ) from error
        _log.info("%s waits in %s", stage.nodes[0].id if stage.nodes else "a stage of edges", self.folder)

    def end_file(self) -> None:
        """Remove this process's file if all in it is written; the next record starts another."""
        if self._path is None:
            return
        with self._turn:
            path = self._path
            if path is not None and self._owner == os.getpid() and _size(path) <= _place(path):
                _remove(path)
                self._close()

    def _append(self, line: bytes) -> None:
        file = self._opened()
        end = os.fstat(file).st_size
        try:
            _append(file, line)
        except OSError:
            os.ftruncate(file, end)
            raise

    def _close(self) -> None:
        if self._file is not None and self._owner == os.getpid():
            os.close(self._file)
        self._file = self._path = None

    def _opened(self) -> int:
        """Return this process's file, which is locked for as long as it may grow."""
        while self._file is None or self._owner != os.getpid() or not (self._path and self._path.exists()):
            self._close()
            self._path = self.folder / f"{time.time_ns():020d}-{os.getpid()}-{uuid4().hex[:8]}{_RECORDS}"
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            self._owner = os.getpid()
            fcntl.flock(self._file, fcntl.LOCK_EX)  # a replay may have removed it until now
            _sync_folder(self.folder)
            _log.warning(
                "The database is away: stages are kept in %s and are not in the graph. "
                "They are written by the next write that finds it back, or by `arangopipe replay %s`.",
                self._path,
                self.folder,
            )
        return self._file


def replay(folder: Path, write: Callable[[Record], None], *, wait: bool = True) -> Replay:
    """Write what waits in a folder, in order and once, by `write`; nothing if another replay is at it and not `wait`.

    A stage that the graph does not take is set aside and the rest goes on. Raises Unavailable and the other errors
    that are not the stage's own; what was written until then is remembered.
    """
    outcome = Replay(written=0, refused=[], torn=[])
    with _locked(folder, wait) as ours:
        files = [_Reader(path) for path in _files(folder)] if ours else []
        for reader, record, end in heapq.merge(*files, key=lambda item: (item[1].time, item[1].id)):
            try:
                write(record)
                outcome["written"] += 1
            except _ITS_OWN_FAULT as error:
                _set_aside(folder, record, error)
                outcome["refused"].append(str(error))
            reader.arrived(end)
        outcome["torn"] += [str(torn) for reader in files if (torn := reader.finish())]
    return outcome


_ITS_OWN_FAULT = (Conflict, NotFound, Invalid, Refused)


class _Reader:
    """The records of one file that are not written yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._torn: Path | None = None
        self._end = self._seen = _place(path)

    def __iter__(self) -> Iterator[tuple["_Reader", Record, int]]:
        with self._opened() as file:
            file.seek(self._end)
            end = self._end
            for line in file:
                record = _record(line)
                if record is None and not line.endswith(b"\n"):
                    return
                end = self._seen = end + len(line)
                if record is None:
                    self._tear(line)
                    self.arrived(end)
                else:
                    yield self, record, end

    def _opened(self) -> BinaryIO:
        try:
            return self.path.open("rb")
        except FileNotFoundError:  # its process has found everything written and removed it
            return BytesIO()

    def arrived(self, end: int) -> None:
        """Remember that everything before `end` is written."""
        place = self.path.with_suffix(_PLACES)
        fresh = place.with_suffix(".new")
        with fresh.open("w") as file:
            file.write(str(end))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(place)
        self._end = end

    def _tear(self, line: bytes) -> None:
        """Keep what is left of a damaged record beside the file."""
        self._torn = self.path.with_suffix(_TORN)
        file = os.open(self._torn, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            _append(file, line)
        finally:
            os.close(file)
        _log.error("%s has a damaged record; what is left of it is in %s.", self.path, self._torn)

    def finish(self) -> Path | None:
        """Remove the file unless its process may still append to it; return where a damaged record is kept."""
        with self._opened() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return self._torn
            file.seek(self._seen)
            rest = file.read()
            if b"\n" in rest:
                return self._torn  # came while the others were written
            if rest:
                self._tear(rest)
            _remove(self.path)
        return self._torn


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_suffix(_PLACES).unlink(missing_ok=True)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{_RECORDS}"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # a replay has just finished it
        return 0


def _place(path: Path) -> int:
    """Return up to which byte the records of a file are written."""
    try:
        return int(path.with_suffix(_PLACES).read_text())
    except FileNotFoundError:
        return 0


def _line(text: str) -> bytes:
    data = text.encode()
    return b"%d %s %s\n" % (len(data), hashlib.sha256(data).hexdigest()[:16].encode(), data)


def _record(line: bytes) -> Record | None:
    """Return the record of a line, None if it is not whole."""
    length, _, rest = line.partition(b" ")
    checksum, _, data = rest.partition(b" ")
    data = data.removesuffix(b"\n")
    whole = line.endswith(b"\n") and length == str(len(data)).encode()
    if not whole or checksum != hashlib.sha256(data).hexdigest()[:16].encode():
        return None
    return Record(**json.loads(data))


def _append(file: int, line: bytes) -> None:
    rest = memoryview(line)
    while rest:
        rest = rest[os.write(file, rest) :]
    os.fsync(file)


def _set_aside(folder: Path, record: Record, error: ArangopipeError) -> None:
    _log.error("A stage that waited is refused and set aside in %s: %s", folder / _REFUSED, error)
    row: Mapping[str, Any] = {"error": f"{type(error).__name__}: {error}", **record._asdict()}
    file = os.open(folder / _REFUSED, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        _append(file, f"{canonical_text(row)}\n".encode())
    finally:
        os.close(file)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _locked(folder: Path, wait: bool) -> Iterator[bool]:
    """Hold the folder against other replays; whether that was possible."""
    with (folder / _LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
