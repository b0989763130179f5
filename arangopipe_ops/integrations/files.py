"""Serving performance from files: CSV, JSON lines and Parquet, on this machine or wherever fsspec reaches."""

import csv
import glob
import gzip
import io
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import IO, Any
from urllib.parse import urlsplit

from arangopipe_ops.errors import Invalid, Misconfigured, NotFound, Unavailable
from arangopipe_ops.integrations.records import Outcomes, Record, rows
from arangopipe_ops.integrations.source import Damaged, Fault, Period, Row


def read(
    periods: Sequence[Period],
    deployments: Sequence[str],
    *,
    path: str,
    format: str | None = None,
    outcomes: Mapping[str, Any] | None = None,
    storage: Mapping[str, Any] | None = None,
    **columns: Any,
) -> Iterator[Row | Fault]:
    """Yield what files hold: a record for each deployment and period, or for each prediction with `outcomes`.

    `path` may have the bounds of a period in it, `perf-{period_start:%Y-%m-%d}.csv` (UTC), and `*`; a URL such as
    `s3://lake/perf.parquet` is read by fsspec with the arguments `storage`. A file is read once for all of its
    periods. `format` is csv, jsonl or parquet; it is told by the name's ending, before `.gz`, if left out. In CSV what
    reads as a number is one, but for names and times, and nothing is no value. `columns` are those of `records.rows`,
    `outcomes` the arguments of `records.Outcomes`. A file that is not there, or that is damaged anywhere, is a fault
    of its periods, and no figures. Raises Invalid, Misconfigured.
    """
    files: dict[str, list[Period]] = {}
    for period in periods:
        files.setdefault(_filled(path, period), []).append(period)
    for pattern, of in files.items():
        try:
            compared = Outcomes(**outcomes) if outcomes is not None else None
            texts = {"deployment", "period_start", "period_end", *columns.values(), compared.time if compared else ""}
            records = _records(pattern, format, storage or {}, texts)
            read = compared.rows if compared else rows
            yield from list(read(records, of, deployments, **columns))
        except (Invalid, NotFound, Unavailable) as error:
            yield from (Fault.of(error, period=period) for period in of)


def _filled(path: str, period: Period) -> str:
    try:
        return path.format(period_start=period.start, period_end=period.end)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise Invalid("path", f"{path!r} cannot be filled in ({error}); it may have period_start, period_end") from None


def _records(pattern: str, format: str | None, storage: Mapping[str, Any], texts: Collection[Any]) -> Iterator[Record]:
    found = list(_opened(pattern, storage))
    if not found:
        raise NotFound([_shown(pattern)], "Check the path.")
    for name, opened in found:
        kind = format or name.removesuffix(".gz").rpartition(".")[2].lower()
        if kind not in FORMATS:
            raise Invalid("format", f"{kind!r} of {_shown(name)} is not one of {', '.join(FORMATS)}")
        try:
            with opened() as file:
                plain: Any = gzip.GzipFile(fileobj=file) if name.endswith(".gz") else file
                yield from FORMATS[kind](plain, texts)
        except FileNotFoundError:
            raise NotFound([_shown(name)], "Check the path.") from None
        except Invalid as error:
            error.where = _shown(name)
            raise
        except (OSError, EOFError) as error:
            raise Unavailable(f"{_shown(name)} cannot be read ({type(error).__name__})") from None
        except (ValueError, csv.Error) as error:
            raise Damaged(_shown(name), f"is not {kind}: {str(error)[:200]}") from None


Opened = Callable[[], AbstractContextManager[IO[bytes]]]


def _opened(pattern: str, storage: Mapping[str, Any]) -> Iterator[tuple[str, Opened]]:
    """Yield the files that a path or URL names, each with what opens it."""
    if "://" not in pattern:
        names = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]
        yield from ((name, _local(name)) for name in names)
        return
    try:
        import fsspec
    except ImportError as error:
        raise Misconfigured("files at a URL need fsspec: pip install 'arangopipe-ops[files]'") from error
    try:
        system, path = fsspec.core.url_to_fs(pattern, **storage)
        names = sorted(system.glob(path)) if glob.has_magic(path) else [path]
    except (ImportError, ValueError, TypeError) as error:
        raise Misconfigured(f"{_shown(pattern)} is not a URL that fsspec reads ({type(error).__name__})") from None
    except OSError as error:
        raise Unavailable(f"{_shown(pattern)} cannot be read ({type(error).__name__})") from None
    yield from ((name, _remote(system, name)) for name in names)


def _local(name: str) -> Opened:
    return lambda: open(name, "rb")


def _remote(system: Any, name: str) -> Opened:
    @contextmanager
    def opened() -> Iterator[IO[bytes]]:
        with system.open(name, "rb") as file:
            yield file

    return opened


def _csv(file: IO[bytes], texts: Collection[Any]) -> Iterator[Record]:
    with io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        for record in csv.DictReader(text, strict=True):
            if None in record or None in record.values():
                raise ValueError(f"a record has not as many fields as there are columns: {list(record.values())[:5]}")
            yield {name: value or None if name in texts else _value(value) for name, value in record.items()}


def _value(text: str) -> Any:
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    return text or None


def _json_lines(file: IO[bytes], texts: Collection[Any]) -> Iterator[Record]:
    with io.TextIOWrapper(file, "utf-8") as text:
        for number, line in enumerate(text, 1):
            if line.strip():
                record = json.loads(line)
                if not isinstance(record, dict):
                    raise ValueError(f"line {number} is not an object")
                yield record


def _parquet(file: IO[bytes], texts: Collection[Any]) -> Iterator[Record]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise Misconfigured("Parquet files need pyarrow: pip install 'arangopipe-ops[files]'") from error
    for batch in parquet.ParquetFile(file).iter_batches():
        yield from batch.to_pylist()


FORMATS: Mapping[str, Callable[[IO[bytes], Collection[Any]], Iterator[Record]]] = {
    "csv": _csv,
    "jsonl": _json_lines,
    "ndjson": _json_lines,
    "parquet": _parquet,
}
"""How a file is read, by its format; where all values are text, those columns stay so."""


def _shown(name: str) -> str:
    """Return a path or URL without what may be a secret in it."""
    if "://" not in name:
        return name
    parts = urlsplit(name)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
