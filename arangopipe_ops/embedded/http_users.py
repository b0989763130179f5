"""Users, their rights and tokens. Manual: develop/http-api/users, develop/http-api/authentication."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from . import users
from .errors import ArangoError
from .request import Request, Response, Route, success
from .rights import ALL, LEVELS, NONE
from .storage import Transaction
from .users import Token, User

TOKEN_DAYS = 90
UNDEFINED = "undefined"


def sign_in(request: Request) -> Response:
    given = request.object(username=str, password=str)
    token = request.file.authenticator.token(given.get("username") or "", given.get("password") or "")
    return Response(200, {"jwt": token})


def listing(request: Request) -> Response:
    with request.transaction() as transaction:
        return success(200, result=[user.shown() for user in users.all_of(transaction.sqlite)])


def show(request: Request, name: str) -> Response:
    with request.transaction() as transaction:
        return success(200, **users.get(transaction.sqlite, name).shown())


def create(request: Request) -> Response:
    given = request.object(user=str, passwd=str, active=bool, extra=dict)
    made = new_user(given.get("user") or "", given)
    with request.transaction(write=True) as transaction:
        users.create(transaction.sqlite, made)
    return success(201, **made.shown())


def new_user(name: str, given: dict[str, Any]) -> User:
    active = given.get("active")
    return User(name, users.hashed(given.get("passwd") or ""), active is not False, given.get("extra") or {})


def replace_user(request: Request, name: str) -> Response:
    """Everything but the rights and tokens is new."""
    given = request.object(passwd=str, active=bool, extra=dict)
    made = new_user(name, given)
    return _changed(request, name, lambda old: replace(made, grants=old.grants, tokens=old.tokens))


def update_user(request: Request, name: str) -> Response:
    given = request.object(passwd=str, active=bool, extra=dict)
    password, active = given.get("passwd"), given.get("active")

    def change(old: User) -> User:
        return replace(
            old,
            password=old.password if password is None else users.hashed(password),
            active=old.active if active is None else active,
            extra=old.extra | (given.get("extra") or {}),
        )

    return _changed(request, name, change)


def _changed(request: Request, name: str, change: Callable[[User], User]) -> Response:
    with request.transaction(write=True) as transaction:
        user = change(users.get(transaction.sqlite, name))
        users.store(transaction.sqlite, user)
    return success(200, **user.shown())


def remove(request: Request, name: str) -> Response:
    with request.transaction(write=True) as transaction:
        users.remove(transaction.sqlite, name)
    return success(202)


# rights


def rights(request: Request, name: str) -> Response:
    """On the databases that the user may read; with `full` on all, and also on their collections."""
    full = request.flag("full")
    with request.transaction() as transaction:
        user = users.get(transaction.sqlite, name)
        rights = {each: _database_rights(transaction, user, each, full) for each in transaction.catalog.databases}
    shown = {each: level for each, level in rights.items() if level != NONE}
    default = user.grants.get(ALL, {}).get("")
    anywhere: dict[str, Any] = {ALL: {"permission": default or NONE}} if full else {ALL: default} if default else {}
    return success(200, result=shown | anywhere)


def _database_rights(transaction: Transaction, user: User, database: str, full: bool) -> Any:
    level = user.identity().on_database(database)
    if not full:
        return level
    own = user.grants.get(database, {})
    collections = {each: own.get(each, UNDEFINED) for each in transaction.catalog.databases[database]}
    return {"permission": own.get("", UNDEFINED), "collections": collections | {ALL: own.get(ALL, UNDEFINED)}}


def show_right(request: Request, name: str, database: str, collection: str = "") -> Response:
    with request.transaction() as transaction:
        identity = users.get(transaction.sqlite, name).identity()
    level = identity.on_collection(database, collection) if collection else identity.on_database(database)
    return success(200, result=level)


def grant(request: Request, name: str, database: str, collection: str = "") -> Response:
    level = request.object(grant=str).get("grant")
    if level not in LEVELS:
        raise ArangoError(10, message=f"bad parameter: 'grant' takes {', '.join(LEVELS)}")
    _changed(request, name, lambda user: user.granted(database, collection, level))
    shown = f"{database}/{collection}" if collection else database
    return success(200, **{shown: level})


def take_back(request: Request, name: str, database: str, collection: str = "") -> Response:
    _changed(request, name, lambda user: user.granted(database, collection, None))
    return success(202)


# access tokens


def tokens(request: Request, name: str) -> Response:
    with request.transaction() as transaction:
        user = users.get(transaction.sqlite, name)
    return Response(200, {"tokens": [token.shown() for token in user.tokens]})


def create_token(request: Request, name: str) -> Response:
    """The answer holds the token, which is not shown again."""
    given = request.object(name=str, valid_until=float)
    text = users.new_token(name)
    now = int(time.time())
    until = given.get("valid_until") or now + TOKEN_DAYS * 86400
    with request.transaction(write=True) as transaction:
        user = users.get(transaction.sqlite, name)
        if not given.get("name") or any(token.name == given["name"] for token in user.tokens):
            raise ArangoError(1207, message="duplicate name: a token needs a name of its own")
        number = max((token.id for token in user.tokens), default=0) + 1
        token = Token(number, given["name"], users.hashed(text), now, until)
        users.store(transaction.sqlite, replace(user, tokens=(*user.tokens, token)))
    return Response(200, token.shown() | {"token": text})


def remove_token(request: Request, name: str, number: str) -> Response:
    with request.transaction(write=True) as transaction:
        user = users.get(transaction.sqlite, name)
        kept = tuple(token for token in user.tokens if str(token.id) != number)
        if len(kept) == len(user.tokens):
            raise ArangoError(404, message=f"token not found: {number}")
        users.store(transaction.sqlite, replace(user, tokens=kept))
    return Response(200, {})


_ON = "/_api/user/{user}/database/{database}"
ROUTES: tuple[Route, ...] = (
    ("POST", "/_open/auth", sign_in),
    ("GET", "/_api/user", listing),
    ("POST", "/_api/user", create),
    ("GET", "/_api/user/{user}", show),
    ("PUT", "/_api/user/{user}", replace_user),
    ("PATCH", "/_api/user/{user}", update_user),
    ("DELETE", "/_api/user/{user}", remove),
    ("GET", "/_api/user/{user}/database", rights),
    ("GET", _ON, show_right),
    ("PUT", _ON, grant),
    ("DELETE", _ON, take_back),
    ("GET", f"{_ON}/{{collection}}", show_right),
    ("PUT", f"{_ON}/{{collection}}", grant),
    ("DELETE", f"{_ON}/{{collection}}", take_back),
    ("GET", "/_api/token/{user}", tokens),
    ("POST", "/_api/token/{user}", create_token),
    ("DELETE", "/_api/token/{user}/{number}", remove_token),
)
