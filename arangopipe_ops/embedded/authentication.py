"""Who a request over a socket comes from: passwords, access tokens and JSON Web Tokens.

Manual: develop/http-api/authentication.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict

from . import users
from .errors import ArangoError
from .rights import Identity
from .storage import Storage
from .users import User

TOKEN_SECONDS = 3600
ALGORITHM = "HS256"
ISSUER = "arangodb"
KNOWN = 1000
"""How many verified passwords are kept, as keyed digests: the hash is slow on purpose."""
SUPERUSER = Identity("root", superuser=True)


class Authenticator:
    """Checks credentials against a file's users; `secret` signs tokens, and whoever has it is a superuser."""

    def __init__(self, storage: Storage, secret: str | None = None) -> None:
        self._storage = storage
        self._secret = secret or secrets.token_hex(32)
        self._salt = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def identify(self, authorization: str | None) -> Identity:
        """The identity that a header `Authorization` proves; raises 11 (401) if it proves none."""
        scheme, _, value = (authorization or "").partition(" ")
        if scheme.lower() == "basic":
            return self._by_password(value)
        if scheme.lower() == "bearer":
            return self._by_token(value)
        raise _unauthorized()

    def _by_password(self, encoded: str) -> Identity:
        try:
            name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except ValueError:
            raise _unauthorized() from None
        return self.verify(name, password).identity()

    def _by_token(self, token: str) -> Identity:
        import jwt

        try:
            claims = jwt.decode(token, self._secret, algorithms=[ALGORITHM], issuer=ISSUER)
        except jwt.PyJWTError:
            raise _unauthorized() from None
        name = claims.get("preferred_username")
        if name is None:
            return SUPERUSER
        return self._active(str(name)).identity()

    def verify(self, name: str, password: str) -> User:
        """The user, if the password or an access token is right; else raises 11 (401).

        An access token needs no `name`.
        """
        user = self._active(name or users.token_owner(password) or name)
        valid = [user.password, *(token.hash for token in user.tokens if token.active)]
        if not any(self._is_right(password, stored) for stored in valid):
            raise _unauthorized()
        return user

    def _active(self, name: str) -> User:
        with self._storage.transaction(write=False) as transaction:
            user = users.find(transaction.sqlite, name)
        if user is None or not user.active:
            raise _unauthorized()
        return user

    def _is_right(self, password: str, stored: str) -> bool:
        digest = hmac.digest(self._salt, f"{stored}\0{password}".encode(errors="surrogatepass"), hashlib.sha256)
        if digest in self._known:
            return True
        if not users.matches(password, stored):
            return False
        self._known[digest] = None
        if len(self._known) > KNOWN:
            self._known.popitem(last=False)
        return True

    def token(self, name: str, password: str) -> str:
        """A JSON Web Token of a user; raises 401 for wrong credentials."""
        import jwt

        try:
            user = self.verify(name, password)
        except ArangoError:
            raise ArangoError(401) from None
        now = int(time.time())
        claims = {"preferred_username": user.name, "iss": ISSUER, "iat": now, "exp": now + TOKEN_SECONDS}
        return jwt.encode(claims, self._secret, algorithm=ALGORITHM)


def _unauthorized() -> ArangoError:
    return ArangoError(11, status=401, message="not authorized to execute this request")
