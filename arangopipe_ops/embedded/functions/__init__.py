"""AQL's functions, in one table. Manual: aql/functions."""

from __future__ import annotations

from . import arrays, dates, documents, numbers, statements, strings, types
from .signature import Function

__all__ = ["FUNCTIONS", "Function"]

FUNCTIONS: dict[str, Function] = (
    arrays.TABLE | dates.TABLE | documents.TABLE | numbers.TABLE | statements.TABLE | strings.TABLE | types.TABLE
)
