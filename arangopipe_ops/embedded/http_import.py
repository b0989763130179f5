"""Many documents at once. Manual: develop/http-api/import."""

from __future__ import annotations

from collections import Counter
from typing import Any

from .catalog import Collection
from .errors import ERRORS, ArangoError
from .request import Request, Response, Route
from .rights import WRITE
from .storage import Transaction, WriteOptions, Written
from .values import dump_json, parse

LINES, AUTO = "documents", "auto"
KINDS = (LINES, AUTO, "array", "list")
"""With any other type, or none, the body is a table."""
LONGEST = 255
"""How many characters of a document its error shows."""
DUPLICATES = {"error": "conflict", "update": "update", "replace": "replace", "ignore": "ignore"}
"""How the parameter `onDuplicate` is called elsewhere."""


def import_documents(request: Request) -> Response:
    options = _options(request)
    values, empty = _values(request)
    counts: Counter[str] = Counter(created=0, errors=0, empty=empty, updated=0, ignored=0)
    errors: list[str] = []
    with request.transaction(write=True) as transaction:
        collection = request.collection(transaction, str(request.params.get("collection")), WRITE)
        if request.flag("overwrite"):
            _empty(transaction, collection)
        accepted: list[Any] = []
        for position, value in enumerate(values, start=1):
            complaint = _complaint(collection, value)
            if complaint is None:
                accepted.append(_prefixed(request, value))
            else:
                _note(
                    request, errors, ArangoError(1233 if isinstance(value, dict) else 600), position, complaint, value
                )
        for position, value in enumerate(accepted):
            try:
                counts[_kind(transaction.insert(collection, value, options))] += 1
            except ArangoError as error:
                _note(request, errors, error, position, f"creating document failed with error '{_brief(error)}'", value)
    counts["errors"] = len(errors)
    return Response(201, {"error": False, **counts, **({"details": errors} if request.flag("details") else {})})


def _complaint(collection: Collection, value: Any) -> str | None:
    """What is wrong with a value at first sight."""
    if not isinstance(value, dict):
        return "invalid JSON type (expecting object)"
    if collection.is_edge and not {"_from", "_to"} <= value.keys():
        return "missing '_from' or '_to' attribute"
    return None


def _note(request: Request, errors: list[str], error: ArangoError, position: int, complaint: str, value: Any) -> None:
    """Raises the error if the import is to be complete. Positions of what is wrong at first sight begin at 1."""
    if request.flag("complete"):
        raise ArangoError(error.num, message=_brief(error)) from error
    shown = dump_json(value)
    shown = f"{shown[:LONGEST]}..." if len(shown) > LONGEST else shown
    errors.append(f"at position {position}: {complaint}, offending document: {shown}")


def _brief(error: ArangoError) -> str:
    """An error's text without what it is about."""
    return ERRORS[error.num][1].partition(" {")[0]


def _options(request: Request) -> WriteOptions:
    wanted = str(request.params.get("onDuplicate", "error"))
    if wanted not in DUPLICATES:
        raise ArangoError(10, message=f"bad parameter: onDuplicate takes {', '.join(DUPLICATES)}")
    return WriteOptions(DUPLICATES[wanted])


def _values(request: Request) -> tuple[list[Any], int]:
    """The documents: an array, or one to a line, or a table: names of attributes and then values.

    Also how many lines are empty.
    """
    kind = request.params.get("type")
    text = request.raw
    lines = kind == LINES or (kind == AUTO and not _text(text).lstrip().startswith("["))
    if isinstance(text, (str, bytes)) and (lines or kind not in KINDS):
        rows, empty = _lines(_text(text))
        return (rows if lines else _table(rows)), empty
    if not isinstance(request.body, list):
        raise ArangoError(400, message="expecting a JSON array in the request")
    return request.body, 0


def _text(raw: Any) -> str:
    try:
        return raw.decode() if isinstance(raw, bytes) else str(raw)
    except UnicodeDecodeError as error:
        raise ArangoError(600, message=f"invalid JSON object: {error}") from None


def _lines(text: str) -> tuple[list[Any], int]:
    """Lines end in line feeds only: other line separators of Unicode may stand in JSON's strings."""
    lines = text.removesuffix("\n").split("\n")
    full = [line for line in lines if line.strip()]
    return [parse(line) for line in full], len(lines) - len(full)


def _table(rows: list[Any]) -> list[Any]:
    if not rows or not all(isinstance(row, list) for row in rows):
        raise ArangoError(400, message="no JSON array found: without a type the lines of an import are arrays")
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
