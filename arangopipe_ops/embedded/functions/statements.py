"""Functions of the running statement and of control flow. Manual: aql/functions/miscellaneous."""

from __future__ import annotations

import hashlib
import math
import time
from typing import TYPE_CHECKING, Any

from .. import rules
from ..errors import ArangoError, Undefined
from ..storage import COUNTER_BITS, parse_revision
from ..values import encode, equal, is_number, is_true, less, number, to_string
from .dates import render
from .signature import ANY_NUMBER, Function, integer, mapping

if TYPE_CHECKING:
    from ..context import Context

VERSION = "3.12.4"
"""The ArangoDB release whose behaviour is followed."""

SLEEP_STEP = 0.05
"""Seconds."""


def _document(context: Context, first: Any, second: Any = None) -> Any:
    """DOCUMENT(id), DOCUMENT([ids]), DOCUMENT(collection, key) or DOCUMENT(collection, [keys])."""
    if type(first) is str and second is None:
        return context.document(first)
    wanted = first if second is None else second
    prefix = "" if second is None else f"{to_string(first)}/"
    if not isinstance(wanted, list):
        return _by_handle(context, prefix, wanted)
    found = (_by_handle(context, prefix, item) for item in wanted)
    return [document for document in found if document is not None]


def _by_handle(context: Context, prefix: str, value: Any) -> Any:
    handle = value.get("_id") if isinstance(value, dict) else value
    if not isinstance(handle, str):
        return None
    return context.document(handle if handle.startswith(prefix) else prefix + handle)


def _collections(context: Context) -> list[dict[str, Any]]:
    collections = context.transaction.catalog.database(context.database).values()
    return [{"_id": str(each.id), "name": each.name} for each in sorted(collections, key=lambda c: c.name)]


def _collection_count(context: Context, name: Any) -> int:
    return context.transaction.count(context.collection(to_string(name)))


def _decode_revision(value: Any) -> Any:
    try:
        tick = parse_revision(value) if isinstance(value, str) else -1
        if tick >= 0:
            return {"date": render(tick >> COUNTER_BITS), "count": tick & (1 << COUNTER_BITS) - 1}
    except (ValueError, OverflowError):
        pass
    raise Undefined(1542)


def _fail(context: Context, reason: Any = "") -> None:
    raise ArangoError(1569, to_string(reason))


def _assert(context: Context, condition: Any, message: Any) -> bool:
    if not is_true(condition):
        raise ArangoError(1593, to_string(message))
    return True


def _warn(context: Context, condition: Any, message: Any) -> bool:
    if not is_true(condition):
        context.warn(1594, to_string(message))
    return is_true(condition)


def _first_of(kind: type) -> Function:
    return Function(lambda *values: next((v for v in values if type(v) is kind), None), 1, ANY_NUMBER)


def _not_null(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _in_range(value: Any, low: Any, high: Any, include_low: Any, include_high: Any) -> bool:
    above = less(low, value) or (is_true(include_low) and equal(low, value))
    return above and (less(value, high) or (is_true(include_high) and equal(value, high)))


def _hash(value: Any) -> int:
    """A number below 2**53, equal for equal values; not the number a server computes."""
    return int.from_bytes(hashlib.blake2b(encode(value), digest_size=6).digest())


def _sleep(context: Context, seconds: Any) -> None:
    """Wait, in steps: a statement that is killed or has run for too long ends in between."""
    over = time.monotonic() + (seconds if is_number(seconds) else 0)
    while (left := over - time.monotonic()) > 0:
        context.check_deadline()
        time.sleep(min(left, SLEEP_STEP))


def _min_match(*arguments: Any) -> bool:
    *conditions, wanted = arguments
    return sum(map(is_true, conditions)) >= integer(wanted)


def _schema(context: Context, name: Any) -> Any:
    return context.collection(to_string(name)).properties.get("schema")


def _shard(context: Context, name: Any, keys: Any) -> str:
    """There are no shards: the collection is its only one."""
    mapping(keys)
    return context.collection(to_string(name)).name


SMALLEST_ERROR = 1e-8
"""Of a MinHash signature, whose size grows with the square of its inverse."""


def _minhash_count(error: Any) -> Any:
    if not is_number(error) or not SMALLEST_ERROR <= error < 1:
        raise Undefined(1542)
    return math.ceil(1 / (error * error))


def _minhash_error(size: Any) -> Any:
    if not is_number(size) or size < 1:
        raise Undefined(1542)
    return number(1 / math.sqrt(size))


def _same(value: Any) -> Any:
    return value


def _schema_validate(document: Any, schema: Any) -> dict[str, Any]:
    """Manual: aql/functions/miscellaneous#schema_validate; at any level of the schema."""
    if not isinstance(document, dict) or not (schema is None or isinstance(schema, dict)):
        raise Undefined(1542)
    complaint = rules.complaint(schema, document)
    return {"valid": True} if complaint is None else {"valid": False, "errorMessage": complaint}


TABLE: dict[str, Function] = {
    "ASSERT": Function(_assert, 2, 2, in_context=True, deterministic=False),
    "CHECK_DOCUMENT": Function(lambda value: isinstance(value, dict), 1, 1),
    "COLLECTIONS": Function(_collections, 0, 0, in_context=True),
    "COLLECTION_COUNT": Function(_collection_count, 1, 1, in_context=True, of_collection=True),
    "CURRENT_DATABASE": Function(lambda context: context.database, 0, 0, in_context=True),
    "CURRENT_USER": Function(lambda: None, 0, 0),
    "DECODE_REV": Function(_decode_revision, 1, 1),
    "DOCUMENT": Function(_document, 1, 2, in_context=True, reads=True, of_collection=True),
    "FAIL": Function(_fail, 0, 1, in_context=True, deterministic=False),
    "FIRST_DOCUMENT": _first_of(dict),
    "FIRST_LIST": _first_of(list),
    "HASH": Function(_hash, 1, 1),
    "IN_RANGE": Function(_in_range, 5, 5),
    "MINHASH_COUNT": Function(_minhash_count, 1, 1),
    "MINHASH_ERROR": Function(_minhash_error, 1, 1),
    "MIN_MATCH": Function(_min_match, 2, ANY_NUMBER),
    "NOEVAL": Function(_same, 1, 1, deterministic=False),
    "NOOPT": Function(_same, 1, 1, deterministic=False),
    "NOT_NULL": Function(_not_null, 1, ANY_NUMBER),
    "PASSTHRU": Function(_same, 1, 1),
    "SCHEMA_GET": Function(_schema, 1, 1, in_context=True, of_collection=True),
    "SCHEMA_VALIDATE": Function(_schema_validate, 2, 2),
    "SHARD_ID": Function(_shard, 2, 2, in_context=True, of_collection=True),
    "SLEEP": Function(_sleep, 1, 1, in_context=True, deterministic=False),
    "VERSION": Function(lambda: VERSION, 0, 0),
    "WARN": Function(_warn, 2, 2, in_context=True, deterministic=False),
}
