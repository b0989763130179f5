"""Create a database for the graph, and the users who may do with it what they have to and no more."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from arangopipe_ops.admin.provisioning import Difference
from arangopipe_ops.errors import ArangopipeError, Invalid, Unauthorized, Unavailable, from_response

if TYPE_CHECKING:
    from arango.database import StandardDatabase

Role = Literal["owner", "writer", "reader"]
Sharding = Literal["oneshard", "sharded"]

ROLES: dict[str, tuple[str, str]] = {"owner": ("rw", "rw"), "writer": ("ro", "rw"), "reader": ("ro", "ro")}
"""The level that a role has on the database itself (`rw` may create and drop collections) and on its collections."""

_SHARDING: dict[str, str] = {"oneshard": "single", "sharded": "flexible"}
_DUPLICATE_NAME, _DUPLICATE_USER, _UNKNOWN_USER = 1207, 1702, 1703
NO_ACCESS = ("none", "none")
_NO_LEVELS = {None, "none", "undefined"}


@dataclass(frozen=True)
class User:
    """A user and its role in one database.

    An owner may provision and extend the graph, a writer reads and writes documents (all that pipelines need once
    the graph is provisioned), a reader only reads. The password is shown nowhere.
    """

    name: str
    password: str = field(repr=False)
    role: Role = "writer"


def provision_database(
    system: "StandardDatabase",
    name: str,
    *,
    users: Sequence[User] = (),
    sharding: Sharding = "oneshard",
    replication_factor: int | None = None,
    write_concern: int | None = None,
) -> bool:
    """Create a database and its users, where they are missing; return whether anything was.

    `system` is the `_system` database, opened by a user who may administrate the server. A OneShard database has
    all its data on one server (and copies on `replication_factor` - 1 others), so that a statement is a
    transaction; a single server ignores all three. Both numbers are the database's defaults for all collections;
    `write_concern` copies must be in sync, or a write is refused. A user who exists keeps its password. How a
    database is sharded cannot be changed later. Then call `provision` with the new database.
    Raises Invalid, Unauthorized, Unavailable, Refused.
    """
    _check(users, sharding, replication_factor, write_concern)
    differences = _differences(system, name, users, sharding)
    todo = [each for each in differences if each.does == "create"]
    for each in todo:
        if each.what == "database":
            create = partial(system.create_database, name, None, replication_factor, write_concern, _SHARDING[sharding])
            quietly(create, _DUPLICATE_NAME)
    passwords = {user.name: user.password for user in users}
    for each in todo:
        if each.what == "user":
            quietly(partial(system.create_user, each.name, passwords[each.name], active=True), _DUPLICATE_USER)
        if each.what == "right":
            quietly(partial(system.update_permission, **each.wanted))
    return bool(todo)


def plan_database(
    system: "StandardDatabase", name: str, *, users: Sequence[User] = (), sharding: Sharding = "oneshard"
) -> list[Difference]:
    """Return what `provision_database` would do, and which rights its users have beside those; nothing is changed.

    The rights that are too many stay: they may be another's wish. Take them back with the driver's
    `reset_permission`.
    """
    _check(users, sharding, None, None)
    return _differences(system, name, users, sharding)


def _check(users: Sequence[User], sharding: str, replication_factor: int | None, write_concern: int | None) -> None:
    if sharding not in _SHARDING:
        raise Invalid("sharding", f"{sharding!r} is not {' or '.join(_SHARDING)}")
    for path, number in (("replication_factor", replication_factor), ("write_concern", write_concern)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
            raise Invalid(path, f"{number!r} is not a number of copies, 1 or more")
    if write_concern is not None and write_concern > (replication_factor or 1):
        raise Invalid("write_concern", f"{write_concern} is more than the replication factor, {replication_factor}")
    for user in users:
        if user.role not in ROLES:
            raise Invalid("users", f"the role {user.role!r} of {user.name} is not one of {', '.join(ROLES)}")
        if not user.password:
            raise Invalid("users", f"{user.name} has no password")
    if len({user.name for user in users}) < len(users):
        raise Invalid("users", "names one user twice")


def _differences(system: "StandardDatabase", name: str, users: Sequence[User], sharding: Sharding) -> list[Difference]:
    databases = quietly(system.databases)
    differences = []
    if name not in databases:
        differences.append(Difference("database", name, "missing", "create", f"sharding: {sharding}"))
    for user in users:
        differences += _rights(system, name, user)
    return differences


def _rights(system: "StandardDatabase", name: str, user: User) -> Iterator[Difference]:
    level, documents = ROLES[user.role]
    granted = quietly(partial(system.permissions, user.name), _UNKNOWN_USER)
    if granted is None:
        yield Difference("user", user.name, "missing", "create", f"{user.role} of {name}")
    own = (granted or {}).get(name, {})
    for collection, needed, given in (
        (None, level, own.get("permission")),
        ("*", documents, own.get("collections", {}).get("*")),
    ):
        if given != needed:
            where = f"{name}/{collection}" if collection else name
            grant = {"username": user.name, "permission": needed, "database": name, "collection": collection}
            yield Difference("right", user.name, "missing", "create", f"{needed} on {where}", wanted=grant)
    for other, rights in sorted((granted or {}).items()):
        if other != name and rights.get("permission") not in _NO_LEVELS:
            yield Difference("right", user.name, "extra", "nothing", f"has {rights['permission']} on {other} as well")


def quietly(call: Callable[[], Any], unless: int | None = None) -> Any:
    """Return what a call of the driver returns, None if it fails for a reason that is none.

    The driver's exceptions hold the request with its password, so ours stand alone, without a cause.
    """
    from arango.exceptions import ArangoClientError, ArangoServerError, JWTExpiredError, JWTRefreshError

    problem: ArangopipeError
    try:
        return call()
    except (JWTExpiredError, JWTRefreshError):
        problem = Unauthorized("The token is not good (any more). Sign in again.")
    except ArangoServerError as error:
        if error.error_code == unless:
            return None
        problem = from_response(error.http_code, error.error_code, error.error_message)
    except (ArangoClientError, OSError) as error:
        problem = Unavailable(f"the database could not be reached: {type(error).__name__}")
    raise problem
