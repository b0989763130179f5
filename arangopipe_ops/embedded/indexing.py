"""What a document has in the indexes of its collection."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

from .catalog import EXPANSION, Collection, Index
from .values import encode_all, unique

if TYPE_CHECKING:
    from .storage import Document


def entries_of(collection: Collection, document: Document) -> list[tuple[int, bytes]]:
    return [(index.id, value) for index in collection.indexes for value in index_values(index, document)]


def index_values(index: Index, document: Document) -> list[bytes]:
    """The document's entries in the index: one, or none if sparse, or one for each array element."""
    if index.expanded:
        return _expanded_values(index, document)
    values = [read(document) for read in readers(index.fields)]
    return [] if index.sparse and None in values else [encode_all(values)]


def _expanded_values(index: Index, document: Document) -> list[bytes]:
    choices = [
        _elements(read(document)) if EXPANSION in name else [read(document)]
        for name, read in zip(index.fields, readers(index.fields), strict=True)
    ]
    rows = [row for row in product(*choices) if not (index.sparse and None in row)]
    return list(dict.fromkeys(encode_all(row) for row in rows))


def _elements(value: Any) -> list[Any]:
    return unique(value) if isinstance(value, list) else []


@lru_cache(maxsize=1024)
def readers(fields: tuple[str, ...]) -> tuple[Callable[[Any], Any], ...]:
    """For each attribute path (`a`, `a.b`, `a[*].b`) a function that reads it from a document."""
    return tuple(_reader(name) for name in fields)


def _reader(path: str) -> Callable[[Any], Any]:
    before, expansion, after = path.partition(EXPANSION)
    if expansion:
        outer, inner = _reader(before), _reader(after.lstrip(".")) if after else None
        return lambda document: _each(outer(document), inner)
    names = path.split(".")
    if len(names) == 1:
        return lambda document: document.get(path) if isinstance(document, dict) else None
    return lambda document: _dig(document, names)


def _each(items: Any, read: Callable[[Any], Any] | None) -> Any:
    return [read(item) for item in items] if read is not None and isinstance(items, list) else items


def _dig(value: Any, names: list[str]) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value
