"""Databases of a file. Manual: develop/http-api/databases."""

from __future__ import annotations

from typing import Any

from . import catalog, users
from .errors import ArangoError
from .http_users import new_user
from .request import Request, Response, Route, shaped, success
from .rights import NONE, WRITE
from .storage import Transaction


def names(request: Request) -> Response:
    _only_in_system(request)
    with request.transaction() as transaction:
        return success(200, result=list(transaction.catalog.databases))


def accessible(request: Request) -> Response:
    with request.transaction() as transaction:
        databases = list(transaction.catalog.databases)
    return success(200, result=[name for name in databases if request.user.on_database(name) != NONE])


def current(request: Request) -> Response:
    with request.transaction() as transaction:
        number = transaction.catalog.numbers[request.database]
    system = request.database == catalog.SYSTEM
    path = str(request.file.storage.path)
    result = {"id": str(number), "name": request.database, "path": path, "isSystem": system}
    return success(200, result=result)


def create(request: Request) -> Response:
    _only_in_system(request)
    given = request.object(name=str, options=dict, users=list)
    name = given.get("name")
    if name is None:
        raise ArangoError(1229)
    owners = [shaped(each, username=str, user=str, passwd=str, active=bool) for each in given.get("users") or ()]
    with request.transaction(write=True) as transaction:
        catalog.create_database(transaction.sqlite, transaction.catalog, name)
        for owner in owners:
            _grant(transaction, name, owner)
    return success(201, result=True)


def _grant(transaction: Transaction, database: str, given: dict[str, Any]) -> None:
    """The owner of a new database, made if there is no such user yet."""
    name = given.get("username") or given.get("user") or ""
    if users.find(transaction.sqlite, name) is None:
        users.create(transaction.sqlite, new_user(name, given))
    users.store(transaction.sqlite, users.get(transaction.sqlite, name).granted(database, "", WRITE))


def drop(request: Request, name: str) -> Response:
    _only_in_system(request)
    with request.transaction(write=True) as transaction:
        catalog.drop_database(transaction.sqlite, transaction.catalog, name)
        users.forget_database(transaction.sqlite, name)
    return success(200, result=True)


def _only_in_system(request: Request) -> None:
    if request.database != catalog.SYSTEM:
        raise ArangoError(1230, status=403)


ROUTES: tuple[Route, ...] = (
    ("GET", "/_api/database", names),
    ("GET", "/_api/database/user", accessible),
    ("GET", "/_api/database/current", current),
    ("POST", "/_api/database", create),
    ("DELETE", "/_api/database/{name}", drop),
)
