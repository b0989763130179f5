"""What the handlers of HTTP routes take and give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias

from .catalog import Collection
from .errors import ArangoError
from .rights import READ, WRITE, Identity
from .storage import Transaction
from .values import adopt, parse

if TYPE_CHECKING:
    from .http import Database

FALSE_WORDS = frozenset(("0", "false", "False", ""))
TRANSACTION_HEADER = "x-arango-trx-id"
ASYNC_HEADER = "x-arango-async"
JOB_HEADER = "x-arango-async-id"
TYPE_NAMES = {str: "a string", int: "a whole number", float: "a number", bool: "a boolean", list: "an array"}
TYPE_NAMES |= {dict: "an object"}


@dataclass(slots=True)
class Response:
    """An HTTP response; `body` is a Python object of JSON's types, text, or None for no body.

    Text is what a header `content-type` says; without that header a body travels as JSON.
    """

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        return HTTPStatus(self.status).phrase

    @property
    def is_json(self) -> bool:
        return self.body is not None and "content-type" not in self.headers


@dataclass(slots=True)
class Request:
    """A request to one database of a file."""

    file: Database
    database: str
    params: Mapping[str, Any]
    headers: Mapping[str, str]
    """Their names are in lower case."""
    raw: Any
    """The body as it came: JSON text, or a Python object of JSON's types."""
    user: Identity
    _content: Any = field(default=...)

    @property
    def body(self) -> Any:
        """The body's value; raises 600 if it is not JSON."""
        if self._content is ...:
            self._content = parse(self.raw) if isinstance(self.raw, (str, bytes)) else adopt(self.raw)
        return self._content

    @contextmanager
    def transaction(self, write: bool = False, sync: bool = False) -> Iterator[Transaction]:
        """One transaction on the file, in which the request's database is known to exist.

        It is part of the stream transaction that the request names, if it does.
        """
        sync = write and (sync or self.flag("waitForSync"))
        with self._begun(write, sync) as transaction:
            transaction.catalog.database(self.database)
            yield transaction

    @contextmanager
    def _begun(self, write: bool, sync: bool) -> Iterator[Transaction]:
        number = self.header(TRANSACTION_HEADER)
        if number is None:
            with self.file.storage.transaction(write, sync) as transaction:
                yield transaction
        else:
            with self.file.streams.use(number, self.database, self.user.name) as transaction:
                yield transaction

    def collection(self, transaction: Transaction, name: str, need: str = READ) -> Collection:
        """A collection, by name or number, that the request may read, or write to.

        Raises 11 or 1004 (both 403), 1652 and 1203.
        """
        name = transaction.catalog.name_of(self.database, name)
        self.check(transaction, {name: need})
        return transaction.catalog.collection(self.database, name)

    def check(self, transaction: Transaction, needs: Mapping[str, str], planning: bool = False) -> None:
        """Raises 11 or 1004 without the rights, 1652 for a write that a stream transaction did not declare."""
        if not self.user.superuser:
            for name, need in needs.items():
                self.user.require(self.database, name, need)
        if transaction.writable is not None and not planning:
            for name, need in needs.items():
                if need == WRITE and name not in transaction.writable:
                    raise ArangoError(1652, message=f"unregistered collection used in transaction: {name} [write]")

    def restrict(self, transaction: Transaction, needs: Mapping[str, str]) -> None:
        """For a statement that needs these collections: it meets no other one that the user may not read."""
        self.check(transaction, needs)
        if not self.user.superuser:
            transaction.catalog = self.user.visible(transaction.catalog, self.database)

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.params.get(name)
        return default if value is None else str(value) not in FALSE_WORDS

    def number(self, name: str, default: float = 0.0) -> float:
        """A parameter that has to be a number; raises 10 if it is none."""
        try:
            return float(self.params.get(name, default))
        except (TypeError, ValueError):
            raise ArangoError(10, message=f"bad parameter: '{name}' has to be a number") from None

    def header(self, name: str) -> str | None:
        """A header by its lower-case name, without the quotes that etags have."""
        value = self.headers.get(name)
        return None if value is None else value.strip('"')

    def object(self, **types: type) -> dict[str, Any]:
        """The body, which has to be an object; attributes of `types` that are there have these types."""
        if not isinstance(self.body, dict):
            raise ArangoError(400, message="bad parameter: expecting a JSON object as the body")
        return shaped(self.body, **types)

    def array(self) -> list[Any]:
        """The body, which has to be an array."""
        if not isinstance(self.body, list):
            raise ArangoError(400, message="bad parameter: expecting a JSON array as the body")
        return self.body


def shaped(given: Any, **types: type) -> dict[str, Any]:
    """`given` if it is an object whose attributes have these types where they are there; else raises 10."""
    if not isinstance(given, dict):
        raise ArangoError(10, message="bad parameter: expecting an object")
    for name, value in given.items() if types else ():
        if value is not None and name in types and not _is(value, types[name]):
            raise ArangoError(10, message=f"bad parameter: '{name}' has to be {TYPE_NAMES[types[name]]}")
    return given


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return type(value) in (int, float)
    return type(value) is kind


Handler: TypeAlias = Callable[..., Response]
Route: TypeAlias = tuple[str, str, Handler]
"""Method, path with {placeholders}, and the handler, which gets their values behind the request."""


def success(status: int, /, **body: Any) -> Response:
    """A response in the usual envelope."""
    return Response(status, {"error": False, "code": status, **body})
