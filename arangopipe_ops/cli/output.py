"""What people and programs read: tables, JSON, and progress on standard error."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from typing import Any
from unicodedata import east_asian_width

_WIDEST = 60
_WHOLE = {"_id", "message"}


def speak_utf8() -> None:
    """Read and write UTF-8 whatever the locale: names may be of any language, and tables have lines."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="strict" if stream is sys.stdin else "backslashreplace")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def json_text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def say_json(value: Any) -> None:
    say(json_text(value))


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Return rows as aligned columns under their names; numbers at the right. An `_id` and a message are never cut."""
    names = list(columns or dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(row.get(name), name in _WHOLE) for name in names] for row in rows]
    widths = [max(map(_width, column)) for column in zip(names, *cells, strict=True)]
    right = [all(_is_number(row.get(name)) for row in rows) for name in names]
    lines = [names, ["─" * width for width in widths], *cells]
    return "\n".join("  ".join(map(_padded, line, widths, right)).rstrip() for line in lines)


def _padded(cell: str, width: int, right: bool) -> str:
    space = " " * (width - _width(cell))
    return space + cell if right else cell + space


def _width(text: str) -> int:
    """Return how many columns a text takes on a terminal: East Asian characters take two."""
    return sum(2 if east_asian_width(each) in "WF" else 1 for each in text)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _cell(value: Any, whole: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.5g}"
    text = " ".join(_words(value).split())
    return text if whole or len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def _words(value: Any) -> str:
    """Return a value as people write it: a list with commas, a node by name and version, a mapping as its pairs."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        if "_id" in value and "name" in value:
            return f"{value['name']} @{value['version']}" if value.get("version") else str(value["name"])
        return ", ".join(f"{name} {_words(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    return json.dumps(value, ensure_ascii=False)


class Progress:
    """A line on standard error that says how far a long work is; on a terminal it is rewritten in place."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._started = self._shown = time.monotonic()
        self._every = 0.1 if sys.stderr.isatty() else 10.0

    def __call__(self, done: int, total: int | None = None) -> None:
        """Say that so much of `total` is done, or so much if it is not known how much there is."""
        now = time.monotonic()
        if now - self._shown >= self._every:
            self._shown = now
            self._write(self._line(done, total, now - self._started))

    def close(self, done: int) -> None:
        seconds = time.monotonic() - self._started
        self._write(f"{done:,} {self.what} in {seconds:.1f} s", "\n")

    def _line(self, done: int, total: int | None, seconds: float) -> str:
        if not total:
            return f"{done:,} {self.what}"
        left = seconds / done * (total - done) if done else 0
        bar = "█" * int(20 * done / total)
        return f"{bar:<20} {100 * done / total:3.0f} %  {done:,} of {total:,} {self.what}, {left:,.0f} s left"

    def _write(self, line: str, end: str = "") -> None:
        terminal = sys.stderr.isatty()
        sys.stderr.write(f"\r\x1b[K{line}{end}" if terminal else f"{line}\n")
        sys.stderr.flush()
