"""Tables to keep: CSV and JSON."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from arangopipe_ops.web.pages.rendering import download, plain, pretty


def csv_file(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], name: str) -> Response:
    """Return rows as a file with a heading; values inside values are JSON."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([_cell(column) for column in columns])
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return download(text.getvalue(), "text/csv; charset=utf-8", name)


def json_file(content: Any, name: str) -> Response:
    """Return a value as a file."""
    return download(pretty(content), "application/json", name)


def _cell(value: Any) -> Any:
    """Return a value for a table; a text that a spreadsheet would take for a formula is marked as text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = plain(value)
    return f"'{text}" if text and text[0] in "=+-@\t\r" else text
