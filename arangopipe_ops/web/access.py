"""Who may do what: the database decides. A caller's own credentials are exchanged for a token of the database's."""

import secrets
from functools import lru_cache
from threading import Lock

from arangopipe_ops.admin import Rights, provision, rights
from arangopipe_ops.connection import (
    DEFAULT_TIMEOUT,
    check_availability,
    connect,
    is_file,
    resolved,
    sign_in,
    user_of,
    without_credentials,
)
from arangopipe_ops.errors import Unauthorized
from arangopipe_ops.store import Store, driver_errors

TOKEN_VARIABLE = "ARANGOPIPE_TOKEN"
READY_SECONDS = 2.0
STATEMENT_SECONDS = 60.0
"""How long the database may work for one statement of somebody who may be gone by then."""


class ServerAccess:
    """The database on a server: a token is the database's own, and carries its user's permissions and its end.

    This process keeps no password, and tokens only in memory, to go on with a caller's connection.
    """

    tokens = "POST /api/v1/token gives one"

    def __init__(self, url: str, timeout: float = DEFAULT_TIMEOUT) -> None:
        self.url = without_credentials(url)
        self.timeout = timeout
        self._store = lru_cache(maxsize=64)(self._opened)

    def token(self, username: str, password: str) -> str:
        """Return a token for a user of the database. Raises Unauthorized."""
        return sign_in(self.url, username, password, timeout=self.timeout)

    def redeemed(self, ticket: str) -> str:
        """Raise Unauthorized: nobody is given a link."""
        raise Unauthorized("This database has users. Sign in as one of them.")

    def store(self, token: str) -> Store:
        """Return the store as the token's user sees it; the first request shows whether the token is good."""
        return self._store(token)

    def confirm(self, token: str) -> None:
        """Return if the database knows the token. Raises Unauthorized."""
        self.store(token).stage()

    def rights(self, token: str) -> Rights:
        """Return what the token's user may do, as the database says."""
        return rights(self.store(token).db, user_of(token) or "")

    def check(self) -> None:
        """Return if the database answers. Raises Unavailable."""
        check_availability(self.url, timeout=min(READY_SECONDS, self.timeout))

    def _opened(self, token: str) -> Store:
        db = connect(self.url, token=token, timeout=self.timeout)
        return Store(db, provenance={"through": "rest", "user": user_of(token)}, seconds=STATEMENT_SECONDS)


class FileAccess:
    """An embedded database in a file, which has no users: one token, chosen or made at the start.

    `ticket` is good for one sign-in in place of it, so that a link may hold it. The graph is provisioned if it is
    not there yet.
    """

    tokens = f"it was printed at the start, or chosen there by ${TOKEN_VARIABLE}"

    def __init__(self, url: str, timeout: float = DEFAULT_TIMEOUT, token: str | None = None) -> None:
        self.url = url
        self.generated = None if token else secrets.token_urlsafe(32)
        self._token = token or self.generated or ""
        self.ticket = secrets.token_urlsafe(32)
        self._tickets, self._redeeming = [self.ticket], Lock()
        db = connect(url, timeout=timeout)
        self._store = Store(db, provenance={"through": "rest"}, seconds=STATEMENT_SECONDS)
        provision(self._store.db)

    def token(self, username: str, password: str) -> str:
        """Raise Unauthorized: there is nobody to sign in."""
        raise Unauthorized(f"The database is a file without users. Use its token: {self.tokens}.")

    def redeemed(self, ticket: str) -> str:
        """Return the token for the ticket. Raises Unauthorized for any other text, and the second time."""
        with self._redeeming:
            if not any(_same(ticket, good) for good in self._tickets):
                raise Unauthorized("The link has been used, or is another start's. Use the token.")
            self._tickets.clear()
        return self._token

    def store(self, token: str) -> Store:
        """Return the store. Raises Unauthorized for another token."""
        if not _same(token, self._token):
            raise Unauthorized(
                f"The token is not the one that was printed at the start, or chosen by ${TOKEN_VARIABLE}."
            )
        return self._store

    def confirm(self, token: str) -> None:
        """Return if it is the token. Raises Unauthorized."""
        self.store(token)

    def rights(self, token: str) -> Rights:
        """Return what whoever has the token may do: everything, but for users, which a file has not."""
        return Rights(write=True, define=True, administrate=False)

    def check(self) -> None:
        """Return if the file can be read. Raises an ArangopipeError."""
        with driver_errors():
            self._store.db.conn.ping()


def _same(given: str, secret: str) -> bool:
    return secrets.compare_digest(given.encode(errors="replace"), secret.encode(errors="replace"))


Access = ServerAccess | FileAccess


def access_to(url: str | None = None, *, timeout: float = DEFAULT_TIMEOUT, token: str | None = None) -> Access:
    """Return the access to the database at a URL. Credentials in the URL are used by nobody; `token` is a file's."""
    url = resolved(url)
    return FileAccess(url, timeout, token) if is_file(url) else ServerAccess(url, timeout)
