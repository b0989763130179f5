"""Who may do what: identities, their rights on databases and collections, and what requests need.

Manual: operations/administration/user-management.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from .catalog import SYSTEM, Catalog
from .errors import ArangoError

NONE, READ, WRITE = "none", "ro", "rw"
LEVELS = {NONE: 0, READ: 1, WRITE: 2}
ALL = "*"
PUBLIC, USE, DEFINE, OWN, ADMIN = "public", "use", "define", "own", "admin"
"""What a request needs: nothing; reading the database; writing to it; that the path names who asks; writing
to `_system`, which is enough for `OWN` as well.
"""

_NEEDS: tuple[tuple[str, str, str], ...] = (
    ("POST", r"/_open/auth", PUBLIC),
    ("GET", r"/_admin/server/availability", PUBLIC),
    ("GET", r"/_api/database/(user|current)", USE),
    (r".*", r"/_api/database.*", ADMIN),
    ("GET|PUT|PATCH", r"/_api/user/[^/]+", OWN),
    ("GET", r"/_api/user/[^/]+/database.*", OWN),
    (r".*", r"/_api/token/.*", OWN),
    (r".*", r"/_api/user.*", ADMIN),
    ("GET", r"/_admin/(server/(role|mode|id|tls)|time|echo|status|license|metrics.*|statistics.*)", USE),
    ("GET", r"/_admin/(statistics-description|database/target-version)", USE),
    ("POST", r"/_admin/(echo|routing/reload)", USE),
    (r".*", r"/_admin/.*", ADMIN),
    ("POST", r"/_api/(collection|gharial)", DEFINE),
    ("DELETE", r"/_api/(collection|gharial)/[^/]+", DEFINE),
    ("PUT", r"/_api/collection/[^/]+/(properties|rename)", DEFINE),
    ("POST|DELETE", r"/_api/index.*", DEFINE),
    ("DELETE", r"/_api/query-plan-cache", DEFINE),
    ("POST", r"/_api/gharial/[^/]+/(vertex|edge)", DEFINE),
    ("PUT|DELETE", r"/_api/gharial/[^/]+/(vertex|edge)/[^/]+", DEFINE),
    (r".*", r".*", USE),
)
_TABLE = tuple((re.compile(method), re.compile(path), need) for method, path, need in _NEEDS)


def need_of(method: str, path: str) -> str:
    """What a request needs: the first row of the table that matches."""
    return next(need for verb, route, need in _TABLE if verb.fullmatch(method) and route.fullmatch(path))


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks. `grants` is database -> collection -> level; "" is the database itself, "*" is any other."""

    name: str
    grants: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    superuser: bool = False

    def on_database(self, database: str) -> str:
        """The grant on it, or else the higher one of those on any database and on `_system`."""
        if self.superuser:
            return WRITE
        return self._given(database) or self._highest((ALL, ""), (SYSTEM, ""))

    def on_collection(self, database: str, collection: str) -> str:
        """The grant on it, or else the highest one of those on any collection and on the database.

        System collections follow the database. Without a right on the database no request comes this far.
        """
        level = self.on_database(database)
        if self.superuser or collection.startswith("_"):
            return level
        elsewhere = self._highest((database, ALL), (ALL, ALL), (ALL, ""), (SYSTEM, ""))
        return self._given(database, collection) or max(level, elsewhere, key=LEVELS.__getitem__)

    def _given(self, database: str, collection: str = "") -> str | None:
        return self.grants.get(database, {}).get(collection)

    def _highest(self, *places: tuple[str, str]) -> str:
        return max((self._given(*place) or NONE for place in places), key=LEVELS.__getitem__)

    def require(self, database: str, collection: str, need: str) -> None:
        """Raises 11 (403) if the collection may not be read, 1004 (403) if it may not be written to."""
        level = self.on_collection(database, collection)
        if level == NONE:
            raise ArangoError(11, message=f"forbidden: no access to collection '{collection}'")
        if LEVELS[level] < LEVELS[need]:
            raise ArangoError(1004, message=f"read only: collection '{collection}' may not be written to")

    def admit(self, method: str, path: str, database: str) -> None:
        """Raises 11: as 401 for a database without access, as 403 for rights that do not suffice.

        `path` is quoted, as in a URL. Users may ask about themselves in any database.
        """
        need = PUBLIC if self.superuser else need_of(method, path)
        if need == PUBLIC:
            return
        own = need == OWN and unquote(path.split("/")[3]) == self.name
        if self.on_database(database) == NONE and not (own and path.startswith("/_api/user/")):
            raise ArangoError(11, status=401, message="not authorized to execute this request")
        if own:
            return
        if need == DEFINE and self.on_database(database) != WRITE:
            raise ArangoError(11, message=f"forbidden: database '{database}' is read only for '{self.name}'")
        if need in (ADMIN, OWN) and self.on_database(SYSTEM) != WRITE:
            message = f"forbidden: this needs write access to {SYSTEM}"
            raise ArangoError(11 if database == SYSTEM else 1230, status=403, message=message)

    def hidden(self, catalog: Catalog, database: str) -> frozenset[str]:
        """The database's collections that may not be read."""
        if self.superuser:
            return frozenset()
        return frozenset(name for name in catalog.databases[database] if self.on_collection(database, name) == NONE)

    def visible(self, catalog: Catalog, database: str) -> Catalog:
        """The catalog without the database's collections that may not be read."""
        hidden = self.hidden(catalog, database)
        seen = {name: each for name, each in catalog.databases[database].items() if name not in hidden}
        return replace(catalog, databases=catalog.databases | {database: seen})


IN_PROCESS = Identity("root", superuser=True)
"""Who opens the file in process: its permissions are the file's own."""
