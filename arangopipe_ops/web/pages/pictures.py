"""Answers as charts. What is drawn follows from an answer's shape, so that a new question has a picture too."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from arangopipe_ops.analytics.questions import ids_of
from arangopipe_ops.model import Document
from arangopipe_ops.web.pages.charts import bars, lines

MOST_BARS = 30
MOST_LINES = 30
MOST_POINTS = 10_000
"""So many points the lines of a chart have together; where there are more, only one of every few is drawn."""

TIMES = ("at", "start", "end")
"""The columns that say when, if they stand before the first number of a row."""

Rows = Sequence[Document]
Point = tuple[datetime, float | None]


def tables(answer: Any) -> dict[str, Rows]:
    """Return the rows of an answer: the answer itself, or those that one row holds under their names."""
    if isinstance(answer, list):
        return {"": answer}
    return {name: value for name, value in answer.items() if _is_rows(value)}


def facts(answer: Any) -> Document:
    """Return what an answer of one row says beside the rows that it holds."""
    return {} if isinstance(answer, list) else {name: each for name, each in answer.items() if not _is_rows(each)}


def figures(rows: Rows) -> list[str]:
    """Return what can be drawn of rows: the columns of numbers, also those inside of a column."""
    names = dict.fromkeys(name for row in rows for name, value in _numbers(row))
    return sorted(names, key=lambda name: ("." in name, name.startswith("params.")))


def drawn(answer: Any, wanted: Sequence[str] = ()) -> Iterator[Markup]:
    """Yield the charts of an answer; of rows the first of the `wanted` figures that they have, or else the first."""
    for rows in tables(answer).values():
        known = figures(rows)
        if known:
            yield _chart(rows, next((each for each in wanted if each in known), known[0]))
    said = facts(answer)
    for name, value in said.items():
        if isinstance(value, Mapping) and value and all(map(is_number, value.values())):
            yield bars(name.replace("_", " "), value)
    if chosen := {name: said[name] for name in wanted if is_number(said.get(name))}:
        yield bars(", ".join(chosen), chosen)


def _chart(rows: Rows, figure: str) -> Markup:
    """Return a figure of rows as lines over time where a time tells them apart, or else as bars."""
    ahead = _ahead(rows)
    names = [name for name in ahead if name not in TIMES]
    time = next((name for name in ahead if name in TIMES), None)
    if time and not _tell_apart(rows, names):
        return _lines(rows, figure, names, time)
    return _bars(rows[:MOST_BARS], figure, names)


def _lines(rows: Rows, figure: str, names: Sequence[str], time: str) -> Markup:
    by: dict[str, list[Document]] = {}
    for row in rows:
        by.setdefault(_label(row, names), []).append(row)
    first = {name: by[name] for name in sorted(by)[:MOST_LINES]}
    step = -(-sum(map(len, first.values())) // MOST_POINTS)
    told = {f"{MOST_LINES} of {len(by):,} lines": len(by) > MOST_LINES, f"one of {step} points": step > 1}
    title = ", ".join([figure, *(each for each, said in told.items() if said)])
    return lines(title, {name: _points(each, figure, time, step) for name, each in first.items()})


def _points(rows: Rows, figure: str, time: str, step: int) -> list[Point]:
    """Return one of every `step` rows as a point, the oldest first; a row whose time is none is left out."""
    ordered = sorted(rows, key=lambda row: str(row[time]))[::step]
    return [(at, dict(_numbers(row)).get(figure)) for row in ordered if (at := _time(row[time])) is not None]


def _bars(rows: Rows, figure: str, names: Sequence[str]) -> Markup:
    """Return a bar for each row, called by as many of its columns as tell the rows apart, those that say most first."""
    said = {name: len({row.get(name) for row in rows}) for name in names}
    names = sorted((name for name in names if said[name] > 1), key=lambda name: -said[name]) or names
    telling = next((names[:n] for n in range(1, len(names)) if _tell_apart(rows, names[:n])), names)
    values: dict[str, float | None] = {}
    for place, row in enumerate(rows, 1):
        label = _label(row, telling)
        values[f"{label} ({place})" if label in values else label] = dict(_numbers(row)).get(figure)
    return bars(figure, values)


def _tell_apart(rows: Rows, names: Sequence[str]) -> bool:
    return len({_label(row, names) for row in rows}) == len(rows)


def _ahead(rows: Rows) -> list[str]:
    """Return the columns of text before the first of numbers: what the rows are about."""
    names: list[str] = []
    ids = ids_of(rows[0]).values()
    for name in rows[0]:
        values = [row.get(name) for row in rows if row.get(name) is not None]
        if values and all(map(is_number, values)):
            break
        if name not in ids and all(isinstance(value, str) for value in values):
            names.append(name)
    return names


def _label(row: Document, names: Sequence[str]) -> str:
    return ", ".join(str(row[name]) for name in names if row.get(name) is not None) or "unknown"


def _numbers(row: Document) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a row by their columns, and those that stand inside of a column, one step deep."""
    for name, value in row.items():
        if is_number(value):
            yield name, value
        elif isinstance(value, dict):
            yield from ((f"{name}.{key}", each) for key, each in value.items() if is_number(each))


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)


def is_number(value: Any) -> bool:
    """Return whether a value can stand in a chart."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _time(value: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
