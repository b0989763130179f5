"""Documents that a TTL index says are over. Manual: index-and-search/indexing/working-with-indexes/ttl-indexes.

They are removed at the beginning of a writing transaction, at most every `EXPIRY_SECONDS` of a process:
a file that nobody writes to keeps what has expired, as a server does until its next round.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .catalog import Collection, Index
from .values import encode_all

if TYPE_CHECKING:
    from .storage import Transaction

EXPIRY_SECONDS = 30.0


def expire(transaction: Transaction) -> None:
    """Remove what has expired by now."""
    for collection, index in transaction.catalog.expiring:
        keys = {key for low, high in _ranges(index) for key in _keys(transaction, collection, index, low, high)}
        for key in keys:
            transaction.remove(collection, key)


def _ranges(index: Index) -> Iterator[tuple[bytes, bytes]]:
    """Index entries of the past: numbers are seconds since 1970, texts are ISO 8601 in UTC."""
    limit = time.time() - index.definition["expireAfter"]
    text = datetime.fromtimestamp(limit, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    yield encode_all([0]), encode_all([limit])
    yield encode_all(["0"]), encode_all([text])


def _keys(transaction: Transaction, collection: Collection, index: Index, low: bytes, high: bytes) -> list[str]:
    found = transaction.between(collection, index.id, low, high, descending=False, body=False)
    return [document["_key"] for document in found]
