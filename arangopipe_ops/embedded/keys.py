"""Key generators: how a collection names the documents that come without a key.

Manual: concepts/data-structure/documents (key generators), develop/http-api/collections.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from .catalog import Collection
from .errors import ArangoError

if TYPE_CHECKING:
    from .storage import Transaction

TRADITIONAL = "traditional"
AUTOINCREMENT = "autoincrement"
_KEY = re.compile(r"[A-Za-z0-9_\-:.@()+,=;$!*'%]{1,254}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


def options_of(collection: Collection) -> Mapping[str, Any]:
    options: Mapping[str, Any] = collection.properties.get("keyOptions", {})
    return options


def checked_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """All options; raises 1232 for a generator that does not exist or cannot count as it is told to."""
    kind = given.get("type", TRADITIONAL)
    if kind not in GENERATORS:
        raise ArangoError(1232, message=f"invalid key generator type {kind!r}")
    for name, lowest in (("increment", 1), ("offset", 0)):
        value = given.get(name, 1)
        if type(value) is not int or not lowest <= value < 1 << 63:
            raise ArangoError(1232, message=f"invalid key generator: {name} {value!r}")
    counting = {"offset": 0, "increment": 1} if kind == AUTOINCREMENT else {}
    return {"type": TRADITIONAL, "allowUserKeys": True, **counting, **given}


def shown_options(sqlite: sqlite3.Connection, collection: Collection) -> dict[str, Any]:
    """With the last key of a generator that counts."""
    options = {"type": TRADITIONAL, "allowUserKeys": True, **options_of(collection)}
    last = {"lastValue": _last(sqlite, collection)} if options["type"] == AUTOINCREMENT else {}
    return options | last


def accept(transaction: Transaction, collection: Collection, key: Any) -> str:
    """A key that a user chose; raises 1221 if it is illegal, 1222 if the collection chooses for itself."""
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise ArangoError(1221, message=f"illegal document key: {key!r}")
    options = options_of(collection)
    if not options.get("allowUserKeys", True):
        raise ArangoError(1222, message=f"unexpected document key: '{collection.name}' generates its keys")
    if options.get("type") == AUTOINCREMENT:
        _count_from(transaction.sqlite, collection, key)
    return key


def _count_from(sqlite: sqlite3.Connection, collection: Collection, key: str) -> None:
    if not _NUMBER.fullmatch(key):
        raise ArangoError(1221, message=f"illegal document key: {key!r} is no number, as autoincrement needs")
    if int(key) > _last(sqlite, collection):
        _remember(sqlite, collection, int(key))


def generate(transaction: Transaction, collection: Collection) -> str:
    return GENERATORS[options_of(collection).get("type", TRADITIONAL)](transaction, collection)


def _traditional(transaction: Transaction, collection: Collection) -> str:
    return str(transaction.next_tick())


def _padded(transaction: Transaction, collection: Collection) -> str:
    return f"{transaction.next_tick():016x}"


def _uuid(transaction: Transaction, collection: Collection) -> str:
    return str(uuid4())


def _autoincrement(transaction: Transaction, collection: Collection) -> str:
    options, last = options_of(collection), _last(transaction.sqlite, collection)
    offset, increment = options.get("offset", 0), options.get("increment", 1)
    number = offset if last < offset else offset + ((last - offset) // increment + 1) * increment
    _remember(transaction.sqlite, collection, number)
    return str(number)


def _last(sqlite: sqlite3.Connection, collection: Collection) -> int:
    row = sqlite.execute("SELECT value FROM counters WHERE collection = ?", (collection.id,)).fetchone()
    return row[0] if row else 0


def _remember(sqlite: sqlite3.Connection, collection: Collection, number: int) -> None:
    sqlite.execute("INSERT OR REPLACE INTO counters VALUES (?, ?)", (collection.id, number))


GENERATORS: dict[str, Callable[[Transaction, Collection], str]] = {
    TRADITIONAL: _traditional,
    AUTOINCREMENT: _autoincrement,
    "padded": _padded,
    "uuid": _uuid,
}
