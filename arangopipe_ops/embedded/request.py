"""What the handlers of HTTP routes take and give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias

from .errors import ArangoError
from .storage import Transaction

if TYPE_CHECKING:
    from .http import Database

FALSE_WORDS = frozenset(("0", "false", "False", ""))


@dataclass(slots=True)
class Response:
    """An HTTP response; `body` is a Python object of JSON's types, or None for no body."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        return HTTPStatus(self.status).phrase


@dataclass(slots=True)
class Request:
    """A request to one database of a file."""

    file: Database
    database: str
    params: Mapping[str, Any]
    headers: Mapping[str, str]
    body: Any

    @contextmanager
    def transaction(self, write: bool = False) -> Iterator[Transaction]:
        """One transaction on the file, in which the request's database is known to exist."""
        with self.file.storage.transaction(write, write and self.flag("waitForSync")) as transaction:
            transaction.catalog.database(self.database)
            yield transaction

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.params.get(name)
        return default if value is None else str(value) not in FALSE_WORDS

    def header(self, name: str) -> str | None:
        """A header by its lower-case name, without the quotes that etags have."""
        value = next((text for key, text in self.headers.items() if key.lower() == name), None)
        return None if value is None else value.strip('"')

    def object(self) -> dict[str, Any]:
        """The body, which has to be an object."""
        if not isinstance(self.body, dict):
            raise ArangoError(400, message="bad parameter: expecting a JSON object as the body")
        return self.body


Handler: TypeAlias = Callable[..., Response]
Route: TypeAlias = tuple[str, str, Handler]
"""Method, path with {placeholders}, and the handler, which gets their values behind the request."""


def success(status: int, /, **body: Any) -> Response:
    """A response in the usual envelope."""
    return Response(status, {"error": False, "code": status, **body})
