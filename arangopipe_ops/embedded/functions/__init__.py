"""AQL's functions, in one table. Manual: aql/functions."""

from __future__ import annotations

from . import (
    arrays,
    bits,
    dates,
    documents,
    dynamic,
    elsewhere,
    network,
    numbers,
    similarity,
    statements,
    strings,
    types,
)
from .signature import Function

__all__ = ["FUNCTIONS", "Function"]

_MODULES = (
    *(arrays, bits, dates, documents, elsewhere, network, numbers),
    *(similarity, statements, strings, types),
)
FUNCTIONS: dict[str, Function] = {name: function for module in _MODULES for name, function in module.TABLE.items()}
FUNCTIONS |= dynamic.table(FUNCTIONS)
