"""Who may do what: the database decides. A caller's own credentials are exchanged for a token of the database's."""

import secrets
from functools import lru_cache

from arangopipe_ops.connection import DEFAULT_TIMEOUT, connect, is_file, sign_in
from arangopipe_ops.errors import Unauthorized
from arangopipe_ops.store import Store


class ServerAccess:
    """The database on a server: a token is the database's own, and carries its user's permissions and its end.

    This process keeps no password and no token.
    """

    def __init__(self, url: str, timeout: float = DEFAULT_TIMEOUT) -> None:
        self.url = url
        self.timeout = timeout
        self._store = lru_cache(maxsize=64)(self._opened)

    def token(self, username: str, password: str) -> str:
        """Return a token for a user of the database. Raises Unauthorized."""
        return sign_in(self.url, username, password, timeout=self.timeout)

    def store(self, token: str) -> Store:
        """Return the store as the token's user sees it; the first request shows whether the token is good."""
        return self._store(token)

    def _opened(self, token: str) -> Store:
        return Store(connect(self.url, token=token, timeout=self.timeout), provenance={"through": "rest"})


class FileAccess:
    """An embedded database in a file, which has no users: one token, made at the start."""

    def __init__(self, url: str, timeout: float = DEFAULT_TIMEOUT, token: str | None = None) -> None:
        self.secret = token or secrets.token_urlsafe(32)
        self._store = Store(connect(url, timeout=timeout), provenance={"through": "rest"})

    def token(self, username: str, password: str) -> str:
        """Raise Unauthorized: there is nobody to sign in."""
        raise Unauthorized("The database is a file without users. Use the token that was printed at the start.")

    def store(self, token: str) -> Store:
        """Return the store. Raises Unauthorized for another token."""
        if not secrets.compare_digest(token.encode(errors="replace"), self.secret.encode()):
            raise Unauthorized("The token is not the one that was printed at the start.")
        return self._store


Access = ServerAccess | FileAccess


def access_to(url: str | None, *, timeout: float = DEFAULT_TIMEOUT) -> Access:
    """Return the access to the database at a URL. Credentials in the URL are not used for callers."""
    return FileAccess(url or "", timeout) if is_file(url) else ServerAccess(str(url), timeout)
