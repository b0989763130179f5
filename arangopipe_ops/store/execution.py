"""Send a statement, again where it met another writer's, and say in our own errors what failed."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from arangopipe_ops.errors import ArangopipeError, Unauthorized, Unavailable, from_response
from arangopipe_ops.model import Document

if TYPE_CHECKING:
    from arango.database import StandardDatabase

_WRITE_CONFLICT, _NOT_UNIQUE = 1200, 1210


@contextmanager
def driver_errors() -> Iterator[None]:
    """Raise what a failure of the driver stands for, as one of `arangopipe_ops.errors`."""
    from arango.exceptions import ArangoClientError, ArangoServerError, JWTExpiredError, JWTRefreshError

    try:
        yield
    except (JWTExpiredError, JWTRefreshError) as error:
        raise Unauthorized("The token is not good (any more). Sign in again.") from error
    except ArangoServerError as error:
        raise from_response(error.http_code, error.error_code, error.error_message) from error
    except (ArangoClientError, OSError) as error:
        raise Unavailable(f"the database could not be reached: {error}") from error


def contended(error: ArangopipeError) -> bool:
    """Return whether a statement failed because it met another writer's."""
    return getattr(error.__cause__, "error_code", None) in (_WRITE_CONFLICT, _NOT_UNIQUE)


def plan_of(db: "StandardDatabase", text: str, binds: Document) -> Document:
    """Return how the database would execute a statement."""
    with driver_errors():
        plan: Any = db.aql.explain(text, bind_vars=binds)
    return dict(plan)


def execute(db: "StandardDatabase", text: str, binds: Document, patience: float) -> list[Any]:
    """Return a statement's rows; one that meets another writer's is tried again for `patience` seconds."""
    return list(answered(db, text, binds, patience, list))


def answered(
    db: "StandardDatabase", text: str, binds: Document, patience: float, read: Callable[[Any], Any], **options: Any
) -> Any:
    """Return what `read` makes of the cursor over a statement's rows; see `execute`."""
    started, pause = time.monotonic(), 0.02
    while True:
        try:
            with driver_errors():
                return read(db.aql.execute(text, bind_vars=binds, **options))
        except ArangopipeError as error:
            if not contended(error) or time.monotonic() - started > patience:
                raise
        time.sleep(random.uniform(0, pause))
        pause *= 2


def first_rows(limit: int) -> Callable[[Any], list[Any]]:
    """Return what reads no more rows than so many, and tells the database that the others are not wanted."""

    def read(cursor: Any) -> list[Any]:
        rows = list(islice(cursor, limit))
        cursor.close(ignore_missing=True)
        return rows

    return read


def row_count(cursor: Any) -> int:
    """Return how many rows there are, without those themselves."""
    count = int(cursor.count())
    cursor.close(ignore_missing=True)
    return count
