"""The server's users, and what each may do with one database. Who changes them administrates the server."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import quote

from arangopipe_ops.admin.database import NO_ACCESS, ROLES, quietly
from arangopipe_ops.admin.doctor import access
from arangopipe_ops.errors import Conflict, Invalid, NotFound

if TYPE_CHECKING:
    from arango.database import StandardDatabase

SYSTEM = "_system"
_BAD_NAME, _DUPLICATE_USER, _UNKNOWN_USER = 1700, 1702, 1703


@dataclass(frozen=True)
class Rights:
    """What somebody may do beside reading: `write` nodes and edges, `define` what types, indexes and retention there
    are, `administrate` the users of the server.
    """

    write: bool
    define: bool
    administrate: bool


class KnownUser(TypedDict):
    """A user of the server. One who is not active cannot sign in."""

    name: str
    active: bool


class Permissions(TypedDict):
    """What a user may do with a database.

    `database` and `collections` are the levels (rw, ro, none) that count on it and, unless one has a level of its own,
    on its collections; `role` is that of `GRANTED` which they are, or None; `elsewhere` the levels granted on others.
    """

    name: str
    active: bool
    role: str | None
    database: str
    collections: str
    elsewhere: dict[str, str]


def rights(db: "StandardDatabase", user: str) -> Rights:
    """Return what the user who opened a database may do there, in three requests or four. Raises NotProvisioned."""
    return Rights(
        write=access(db) == "write",
        define=_level(db, user, db.name) == "rw",
        administrate=_level(db, user, SYSTEM) == "rw",
    )


def users(db: "StandardDatabase") -> list[KnownUser]:
    """Return the users of the server, by name. Raises Unauthorized."""
    found = quietly(db.users)
    return sorted((KnownUser(name=each["username"], active=each["active"]) for each in found), key=lambda x: x["name"])


def permissions(db: "StandardDatabase", name: str) -> Permissions:
    """Return what a user may do with a database. Raises NotFound, Unauthorized."""
    path = _path(name)
    user, granted = _of(name, partial(db.user, path)), _of(name, partial(db.permissions, path))
    level, own = _level(db, name, db.name), granted.get(db.name, {}).get("collections", {}).get("*")
    levels = level, level if own in (None, "undefined") else own
    return Permissions(
        name=name,
        active=user["active"],
        role=next((role for role, those in GRANTED.items() if those == levels), None),
        database=levels[0],
        collections=levels[1],
        elsewhere={
            other: each["permission"]
            for other, each in sorted(granted.items())
            if other != db.name and each["permission"] not in ("none", "undefined")
        },
    )


def create_user(db: "StandardDatabase", name: str, password: str, role: str) -> None:
    """Make a user and grant the role. Raises Conflict for a name that is taken, Invalid, Unauthorized."""
    _check(role, password)
    if not name.strip():
        raise Invalid("name", "is missing; a user has one")
    if quietly(partial(db.create_user, name, password, active=True), _DUPLICATE_USER) is None:
        raise Conflict(name, [], "is a user already; grant the role on the user's own page")
    grant(db, name, role)


def grant(db: "StandardDatabase", name: str, role: str) -> None:
    """Give a user the levels of a role, of `ROLES` or `none`, on a database. Raises NotFound, Invalid, Unauthorized."""
    _check(role)
    path = _path(name)
    for collection, level in zip((None, "*"), GRANTED[role], strict=True):
        _of(name, partial(db.update_permission, path, level, db.name, collection))


def change_password(db: "StandardDatabase", name: str, password: str) -> None:
    """Give a user another password. Raises NotFound, Invalid, Unauthorized."""
    _check("none", password)
    _of(name, partial(db.update_user, _path(name), password))


def remove_user(db: "StandardDatabase", name: str) -> None:
    """Remove a user from the server, and so from all its databases. Raises NotFound, Unauthorized."""
    _of(name, partial(db.delete_user, _path(name)))


GRANTED = {**ROLES, "none": NO_ACCESS}
"""The levels on a database and its collections that a role means, `none` being no role."""


def _check(role: str, password: str = "given") -> None:
    if role not in GRANTED:
        raise Invalid("role", f"{role!r} is not one of {', '.join(GRANTED)}")
    if not password:
        raise Invalid("password", "is missing; give one")


def _path(name: str) -> str:
    """Return a name as it stands in a path, which the driver does not see to."""
    return quote(name, safe="")


def _level(db: "StandardDatabase", name: str, database: str) -> str:
    return str(_of(name, partial(db.permission, _path(name), database)))


def _of(name: str, call: Callable[[], Any]) -> Any:
    answer = quietly(call, _UNKNOWN_USER)
    if answer is None:
        raise NotFound([f"user {name!r}"], "Create it first, or check its name.")
    return answer
