"""CSV files as tables, read by the standard library: the same wherever they are read."""

import csv
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from arangopipe_ops.errors import Invalid
from arangopipe_ops.integrations.columns import Column, Table, Values

_ROWS = 2048


def of_csv(path: Path) -> Table:
    """Return a CSV file as a table. The first line names the columns. Raises Invalid.

    A column is boolean, integer, float or text, whichever is the first that all its values allow.
    """
    names: list[str] = []
    columns: list[_Column] = []
    rows = 0
    for block in _blocks(path, names):
        columns = columns or [_Column() for _ in names]
        rows += len(block[0])
        for column, texts in zip(columns, block, strict=True):
            column.add(texts)
    columns = columns or [_Column() for _ in names]
    again = {i: _Column(column.type) for i, column in enumerate(columns) if column.stale}
    for block in _blocks(path, names) if again else ():
        for i, column in again.items():
            column.add(block[i])
    found = [again.get(i, column) for i, column in enumerate(columns)]
    return Table(rows, [Column(name, column.type, column.block) for name, column in zip(names, found, strict=True)])


class _Column:
    """The values of a column, in eight bytes each where they are numbers and none is missing.

    Its type widens as values come. It is `stale` when values were read as a narrower type than it has now.
    """

    def __init__(self, type_: str = "unknown") -> None:
        self.type = type_
        self.stale = False
        self._values: Any = array(_CODES[type_]) if type_ in _CODES else []

    def add(self, texts: Sequence[str]) -> None:
        if _MISSING.isdisjoint(texts):
            values = self._read(texts)
        else:
            read = iter(self._read([text for text in texts if text not in _MISSING]))
            values = [None if text in _MISSING else next(read) for text in texts]
            self._values = list(self._values)
        if not self.stale:
            self._values.extend(values)

    def _read(self, texts: Sequence[str]) -> list[Any]:
        """Return what texts say as values of this type, after widening it if need be."""
        before = self.type
        while texts:
            try:
                return _READ[self.type](texts)
            except (KeyError, ValueError):
                # What was true or false before is no number, even if all of these are.
                self.type = "text" if before == "boolean" else _WIDER[self.type]
            if before != "unknown":
                self.stale = True
            elif not self._values and self.type in _CODES:
                self._values = array(_CODES[self.type])
            elif not self._values:
                self._values = []
        return []

    def block(self, start: int, stop: int) -> Values:
        return list(self._values[start:stop])


def _blocks(path: Path, names: list[str]) -> Iterator[list[tuple[str, ...]]]:
    """Yield the columns of a CSV file block by block, after putting their names into `names`. Raises Invalid."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            separator = _separator(file.readline())
            file.seek(0)
            lines = csv.reader(file, delimiter=separator)
            names[:] = next(lines, [])
            while rows := [row for row in islice(lines, _ROWS) if row]:
                yield list(zip(*_even(rows, len(names), lines.line_num), strict=True))
    except UnicodeDecodeError as error:
        raise Invalid("table", f"{path.name} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except csv.Error as error:
        raise Invalid("table", f"{path.name} is not CSV: {error}") from None


def _even(rows: list[list[str]], width: int, line: int) -> Iterator[list[str]]:
    """Return rows of one width: what a short one lacks is missing. Raises Invalid for a long one."""
    if max(map(len, rows)) > width:
        raise Invalid("table", f"a row before line {line + 1} has more fields than the first line, which has {width}")
    return (row if len(row) == width else row + [""] * (width - len(row)) for row in rows)


def _separator(line: str) -> str:
    return max(",\t;|", key=line.count)


def _nothing(texts: Sequence[str]) -> list[Any]:
    raise ValueError("not missing")


def _booleans(texts: Sequence[str]) -> list[bool]:
    return list(map(_BOOLEANS.__getitem__, texts))


def _integers(texts: Sequence[str]) -> list[int]:
    numbers = list(map(int, texts))
    if "_" in "".join(texts) or max(numbers) >= 2**63 or min(numbers) < -(2**63):
        raise ValueError("not integers of 64 bits")
    return numbers


def _floats(texts: Sequence[str]) -> list[float]:
    if "_" in "".join(texts):
        raise ValueError("not numbers")
    return list(map(float, texts))


_MISSING = frozenset({"", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_CODES = {"integer": "q", "float": "d"}
_READ: Mapping[str, Callable[[Sequence[str]], list[Any]]] = {
    "unknown": _nothing,
    "boolean": _booleans,
    "integer": _integers,
    "float": _floats,
    "text": list,
}
"""Type of a column -> how its texts are read."""

_WIDER = {"unknown": "boolean", "boolean": "integer", "integer": "float", "float": "text"}
