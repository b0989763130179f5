"""Many documents at once. Manual: develop/http-api/import."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from .catalog import Collection
from .errors import ArangoError
from .request import Request, Response, Route
from .rights import WRITE
from .storage import Transaction, WriteOptions, Written
from .values import parse

LINES, AUTO = "documents", "auto"
KINDS = (LINES, AUTO, "array", "list")
"""With any other type, or none, the body is a table."""
DUPLICATES = {"error": "conflict", "update": "update", "replace": "replace", "ignore": "ignore"}
"""How the parameter `onDuplicate` is called elsewhere."""


def import_documents(request: Request) -> Response:
    options = _options(request)
    counts: Counter[str] = Counter(created=0, errors=0, empty=0, updated=0, ignored=0)
    errors: list[str] = []
    values = _values(request)
    with request.transaction(write=True) as transaction:
        collection = request.collection(transaction, str(request.params.get("collection")), WRITE)
        if request.flag("overwrite"):
            _empty(transaction, collection)
        for position, value in enumerate(values):
            try:
                written = transaction.insert(collection, _prefixed(request, value), options)
                counts[_kind(written)] += 1
            except ArangoError as error:
                message = f"at position {position}: {error.message}"
                if request.flag("complete"):
                    raise ArangoError(error.num, message=message) from error
                counts["errors"] += 1
                errors.append(message)
    details = {"details": errors} if request.flag("details") else {}
    return Response(201, {"error": False, **counts, **details})


def _options(request: Request) -> WriteOptions:
    wanted = str(request.params.get("onDuplicate", "error"))
    if wanted not in DUPLICATES:
        raise ArangoError(10, message=f"bad parameter: onDuplicate takes {', '.join(DUPLICATES)}")
    return WriteOptions(DUPLICATES[wanted])


def _values(request: Request) -> list[Any]:
    """The documents: an array, or one to a line, or a table: names of attributes and then values."""
    kind = request.params.get("type")
    text = request.raw
    lines = kind == LINES or (kind == AUTO and not _text(text).lstrip().startswith("["))
    if isinstance(text, (str, bytes)) and (lines or kind not in KINDS):
        rows = list(_lines(_text(text)))
        return rows if lines else _table(rows)
    return request.array()


def _text(raw: Any) -> str:
    try:
        return raw.decode() if isinstance(raw, bytes) else str(raw)
    except UnicodeDecodeError as error:
        raise ArangoError(600, message=f"invalid JSON object: {error}") from None


def _lines(text: str) -> Iterator[Any]:
    return (parse(line) for line in text.splitlines() if line.strip())


def _table(rows: list[Any]) -> list[Any]:
    if not rows or not all(isinstance(row, list) for row in rows):
        raise ArangoError(400, message="bad parameter: without a type the lines of an import are arrays")
    names, *values = rows
    return [{str(name): value for name, value in zip(names, row, strict=False)} for row in values]


def _prefixed(request: Request, value: Any) -> Any:
    """With the collections of `fromPrefix` and `toPrefix` before keys that stand for ends of edges."""
    ends = {"_from": request.params.get("fromPrefix"), "_to": request.params.get("toPrefix")}
    if not isinstance(value, dict) or not any(ends.values()):
        return value
    return value | {
        end: f"{prefix}/{value[end]}"
        for end, prefix in ends.items()
        if prefix and isinstance(value.get(end), str) and "/" not in value[end]
    }


def _empty(transaction: Transaction, collection: Collection) -> None:
    for key in [document["_key"] for document in transaction.scan(collection, body=False)]:
        transaction.remove(collection, key)


def _kind(written: Written) -> str:
    old, new = written
    if new is None:
        return "ignored"
    return "created" if old is None else "updated"


ROUTES: tuple[Route, ...] = (("POST", "/_api/import", import_documents),)
