"""What a table is: the attributes of its data set node.

The same data gives the same answer, to the last digit, from pandas, polars and Arrow: values become plain Python
ones in blocks of fixed length, and one code reads those. No library is imported that is not in use already, except
for Parquet files, which need one.
"""

import hashlib
import math
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from importlib import import_module
from operator import mul
from os import PathLike, fspath
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from arangopipe_ops.errors import Invalid, Misconfigured
from arangopipe_ops.integrations.columns import BLOCK, DAY_ZERO, EPOCH, Column, Table, Values
from arangopipe_ops.integrations.csv_files import of_csv
from arangopipe_ops.integrations.frames import ADAPTERS, adapted
from arangopipe_ops.model import canonical, canonical_text

MAX_SUMMARIES = 1000
MAX_DISTINCT = 10_000
MAX_TOP = 5
MAX_TEXT = 100


def describe(table: Any, *, statistics: bool = True) -> dict[str, Any]:
    """Return what a table is, as attributes for `register_dataset`.

    `table` is a pandas or polars frame, an Arrow table, or the path of a file.

    - `rows`; `schema`: column -> boolean, integer, float, decimal, text, date, datetime, time, duration, binary,
      nested, mixed, or unknown where no value tells.
    - `checksum`: of a file, the SHA-256 of its bytes. Of a table, `values:` and the SHA-256 of names, types and
      values in the order of rows. It does not depend on library, chunks, index or order of columns, nor on whether
      a number is missing as null or as NaN. Times count to the microsecond, those without a zone as UTC; a category
      counts as its value.
    - `size`: of a file, its bytes. Of a table, the bytes that the checksum covers.
    - `summary`, unless `statistics` is False: for each column `count` (of values), `missing`, `distinct` (10,000
      means that or more), and by type `min`, `max`, `mean`, `std` (of the sample), `infinite` or the `top` values.
      It shows values: mind whose they are.
    - of a file, `uri` and `format`. Files other than CSV and Parquet have no rows, schema and summary.

    Raises Invalid for what is not a table, two columns of one name, and a CSV file with rows too long; Misconfigured
    for a Parquet file where neither pyarrow nor polars nor pandas is installed.
    """
    if isinstance(table, str | PathLike):
        return _described_file(Path(_local(fspath(table))), statistics)
    found = adapted(table)
    hashed = _Hash()
    about = {"rows": found.rows, **_read(found, statistics, hashed)}
    return {**about, "checksum": f"values:{hashed.value()}", "size": hashed.size}


def _read(table: Table, statistics: bool, hashed: "_Hash | None") -> dict[str, Any]:
    """Return schema and summary of a table, and feed its values to the hash."""
    schema: dict[str, str] = {}
    summaries: dict[str, Any] = {}
    for column in sorted(table.columns, key=lambda column: column.name):
        if column.name in schema:
            raise Invalid("columns", f"two are called {column.name!r}; rename one")
        schema[column.name] = column.type
        summary = _Summary(_TYPES[column.type]) if statistics and len(summaries) < MAX_SUMMARIES else None
        if hashed:
            hashed.begin(column, table.rows)
        for start in range(0, table.rows, BLOCK) if hashed or summary else ():
            values = column.block(start, min(start + BLOCK, table.rows))
            if hashed:
                hashed.add(_TYPES[column.type], values)
            if summary:
                summary.add(values)
        if summary:
            summaries[column.name] = summary.told()
    return {"schema": schema, **({"summary": summaries} if statistics else {})}


# --- types -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Type:
    """How values of a type are hashed, summed up and shown.

    `code` is the array type that holds them; values without one are hashed as text. `number` makes figures of
    them, `show` what is told of one. `top` says that the most frequent ones are told.
    """

    code: str = ""
    text: Callable[[Any], str] = str
    ordered: bool = False
    number: Callable[[Any], float] | None = None
    show: Callable[[Any], Any] = lambda value: value
    top: bool = False


def _shown_time(microseconds: int) -> str:
    try:
        return str(canonical(EPOCH + timedelta(microseconds=microseconds)))
    except OverflowError:
        return f"{microseconds} microseconds since 1970"


def _json(value: Any) -> str:
    try:
        return canonical_text(canonical(value))
    except Invalid:
        return str(value)


def _plain_decimal(value: Decimal) -> str:
    return format(value.normalize() + 0, "f") if value.is_finite() else str(value)


def _shown_integer(value: int) -> int | float:
    return value if -(2**63) <= value < 2**63 else float(value)


def _seconds(microseconds: int) -> float:
    return microseconds / 1e6


_TYPES: Mapping[str, _Type] = {
    "boolean": _Type("b", top=True),
    "integer": _Type("q", ordered=True, number=float, show=_shown_integer, top=True),
    "float": _Type("d", ordered=True, number=float),
    "decimal": _Type(text=_plain_decimal, ordered=True, number=float, show=float),
    "text": _Type(show=lambda value: value[:MAX_TEXT], top=True),
    "date": _Type("q", ordered=True, show=lambda days: (DAY_ZERO + timedelta(days=days)).isoformat()),
    "datetime": _Type("q", ordered=True, show=_shown_time),
    "time": _Type(text=lambda value: value.isoformat(), ordered=True, show=lambda value: value.isoformat()),
    "duration": _Type("q", ordered=True, number=_seconds, show=_seconds),
    "binary": _Type(text=lambda value: bytes(value).hex()),
    "nested": _Type(text=_json),
    "mixed": _Type(text=_json),
    "unknown": _Type(),
}
"""The types of columns. A date is its days, a datetime and a duration its microseconds since 1970 in UTC."""


# --- what the values say ---------------------------------------------------------------------------------


class _Hash:
    """SHA-256 over columns, each as names, types and blocks of values that look the same from every library."""

    def __init__(self) -> None:
        self.size = 0
        self._sha = hashlib.sha256()

    def begin(self, column: Column, rows: int) -> None:
        self._sha.update(canonical_text([column.name, column.type, rows]).encode())

    def add(self, type_: _Type, values: Values) -> None:
        absent = [value is None for value in values] if None in values else []
        if absent:
            values = [value for value in values if value is not None]
        data, code = _encoded(type_, values)
        for part in (bytes(absent), code.encode(), data):
            self.size += len(part)
            self._sha.update(len(part).to_bytes(8, "little"))
            self._sha.update(part)

    def value(self) -> str:
        return self._sha.hexdigest()


def _encoded(type_: _Type, values: Values) -> tuple[bytes, str]:
    """Return the bytes of values and how they are to be read."""
    if type_.code:
        try:
            return _packed(type_.code, values), type_.code
        except OverflowError:
            pass  # an unsigned integer of 64 bits
    texts = list(map(type_.text, values))
    return _packed("q", map(len, texts)) + "".join(texts).encode(errors="surrogatepass"), "t"


def _packed(code: str, values: Iterable[Any]) -> bytes:
    numbers = array(code, values)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


@dataclass
class _Summary:
    """Figures of a column, block by block. Sums are exact within a block, so they depend on nothing but the values."""

    type: _Type
    count: int = 0
    missing: int = 0
    infinite: int = 0
    least: Any = None
    most: Any = None
    mean: float = 0.0
    squares: float = 0.0
    figures: int = 0
    seen: Counter[Any] = field(default_factory=Counter)
    counting: bool = True

    def add(self, values: Values) -> None:
        present = [value for value in values if value is not None] if None in values else values
        self.count += len(present)
        self.missing += len(values) - len(present)
        if self.counting:
            self._distinguish(present)
        if self.type.code == "d" and not all(map(math.isfinite, present)):
            finite = [value for value in present if math.isfinite(value)]
            self.infinite += len(present) - len(finite)
            present = finite
        if self.type.ordered and present:
            self.least = min(present) if self.least is None else min(self.least, min(present))
            self.most = max(present) if self.most is None else max(self.most, max(present))
        if self.type.number and present:
            self._measure(present)

    def _distinguish(self, present: Values) -> None:
        self.seen.update(map(_json, present) if self.type.text is _json else present)
        self.counting = len(self.seen) < MAX_DISTINCT

    def _measure(self, present: Values) -> None:
        """Add a block to mean and squared deviations, as Chan, Golub and LeVeque do."""
        figures = present if self.type.number is float else list(map(_seconds, present))
        try:
            mean = math.fsum(figures) / len(figures)
            apart = [float(value) - mean for value in figures]
            squares = math.fsum(map(mul, apart, apart))
        except OverflowError:
            mean = squares = math.inf
        total = self.figures + len(figures)
        step = mean - self.mean
        self.mean += step * (len(figures) / total)
        self.squares += squares + step * step * (self.figures * len(figures) / total)
        self.figures = total

    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = {"count": self.count, "missing": self.missing}
        told["distinct"] = min(len(self.seen), MAX_DISTINCT)
        if self.least is not None:
            told |= {"min": self.type.show(self.least), "max": self.type.show(self.most)}
        if self.figures:
            told["mean"] = self.mean
        if self.figures > 1 and self.squares >= 0:
            told["std"] = math.sqrt(self.squares / (self.figures - 1))
        if self.infinite:
            told["infinite"] = self.infinite
        if self.type.top and self.counting and (top := self._top()):
            told["top"] = top
        return {
            name: value for name, value in told.items() if not (isinstance(value, float) and not math.isfinite(value))
        }

    def _top(self) -> list[dict[str, Any]]:
        """Return the most frequent values that occur more than once."""
        often = sorted(
            ((-times, str(value), value) for value, times in self.seen.items() if times > 1), key=lambda x: x[:2]
        )
        return [{"value": self.type.show(value), "count": -times} for times, _, value in often[:MAX_TOP]]


# --- files -----------------------------------------------------------------------------------------------


def _described_file(path: Path, statistics: bool) -> dict[str, Any]:
    if not path.is_file():
        raise Invalid("table", f"{str(path)!r} is not a file")
    with path.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    about = {"uri": path.resolve().as_uri(), "checksum": f"sha256:{checksum}", "size": path.stat().st_size}
    format_ = path.suffix.lower().removeprefix(".")
    if format_ not in _FILES:
        return about
    table = _FILES[format_](path)
    return {**about, "format": format_, "rows": table.rows, **_read(table, statistics, None)}


def _local(path: str) -> str:
    scheme = urlsplit(path).scheme if "://" in path else ""
    if scheme not in ("", "file"):
        raise Invalid("table", f"{scheme} addresses are not read; give a local file")
    return unquote(urlsplit(path).path) if scheme else path


def _of_parquet(path: Path) -> Table:
    """Return a Parquet file as a table, by the first library that is installed."""
    for library, module, function in _PARQUET_READERS:
        try:
            reader = getattr(import_module(module), function)
        except ImportError:
            continue
        return ADAPTERS[library](reader(path))
    raise Misconfigured("describing a Parquet file needs pyarrow, polars or pandas: pip install pyarrow")


_PARQUET_READERS = (
    (("pyarrow", "Table"), "pyarrow.parquet", "read_table"),
    (("polars", "DataFrame"), "polars", "read_parquet"),
    (("pandas", "DataFrame"), "pandas", "read_parquet"),
)


_FILES: Mapping[str, Callable[[Path], Table]] = {"csv": of_csv, "tsv": of_csv, "parquet": _of_parquet}
"""Suffix of a file -> what reads it."""
