"""The users of a file: rows of its table `users`, with salted hashes instead of passwords and tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .errors import ArangoError
from .rights import ALL, WRITE, Identity

ROOT = "root"
TOKEN_PREFIX = "v1."
_SCRYPT = {"n": 1 << 14, "r": 8, "p": 1}


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, which stands in for its user's password until `valid_until` (seconds since 1970)."""

    id: int
    name: str
    hash: str
    created_at: int
    valid_until: float

    @property
    def active(self) -> bool:
        return time.time() < self.valid_until

    def shown(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "hash"} | {
            "active": self.active,
            "fingerprint": f"v1...{self.hash[-6:]}",
        }


def new_token(name: str) -> str:
    """The text of an access token, which says whose it is."""
    return f"{TOKEN_PREFIX}{name.encode().hex()}.{secrets.token_hex(32)}"


def token_owner(text: str) -> str | None:
    """The user that an access token claims to be of, or None for other texts."""
    encoded, dot, _ = text.removeprefix(TOKEN_PREFIX).partition(".")
    if not text.startswith(TOKEN_PREFIX) or not dot:
        return None
    try:
        return bytes.fromhex(encoded).decode()
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class User:
    name: str
    password: str = field(repr=False)
    """The hash of it."""
    active: bool = True
    extra: dict[str, Any] = field(default_factory=dict)
    grants: dict[str, dict[str, str]] = field(default_factory=dict)
    """As in `rights.Identity`."""
    tokens: tuple[Token, ...] = ()

    def identity(self) -> Identity:
        return Identity(self.name, self.grants)

    def shown(self) -> dict[str, Any]:
        return {"user": self.name, "active": self.active, "extra": self.extra}

    def granted(self, database: str, collection: str, level: str | None) -> User:
        """With one grant more or, if `level` is None, without it."""
        grants = {owner: dict(levels) for owner, levels in self.grants.items()}
        levels = grants.setdefault(database, {})
        if level is None:
            levels.pop(collection, None)
        else:
            levels[collection] = level
        return replace(self, grants={owner: kept for owner, kept in grants.items() if kept})


def hashed(password: str) -> str:
    """A salted hash of a password."""
    salt = secrets.token_bytes(16)
    return f"scrypt${base64.b64encode(salt).decode()}${_derive(password, salt)}"


def matches(password: str, stored: str) -> bool:
    _, salt, expected = stored.split("$")
    return hmac.compare_digest(_derive(password, base64.b64decode(salt)), expected)


def _derive(password: str, salt: bytes) -> str:
    derived = hashlib.scrypt(password.encode(errors="surrogatepass"), salt=salt, dklen=32, **_SCRYPT)
    return base64.b64encode(derived).decode()


def find(sqlite: sqlite3.Connection, name: str) -> User | None:
    row = sqlite.execute("SELECT body FROM users WHERE name = ?", (name,)).fetchone()
    return None if row is None else _read(name, row[0])


def get(sqlite: sqlite3.Connection, name: str) -> User:
    """Raises 1703 if there is no such user."""
    user = find(sqlite, name)
    if user is None:
        raise ArangoError(1703, message=f"user not found: {name}")
    return user


def all_of(sqlite: sqlite3.Connection) -> Iterator[User]:
    for name, body in sqlite.execute("SELECT name, body FROM users ORDER BY name").fetchall():
        yield _read(name, body)


def _read(name: str, body: str) -> User:
    stored = json.loads(body)
    tokens = tuple(Token(**token) for token in stored.pop("tokens"))
    return User(name, **stored, tokens=tokens)


def create(sqlite: sqlite3.Connection, user: User) -> None:
    """Raises 1700 for a name that is none, 1702 for one that is taken."""
    if not user.name or user.name.startswith(":"):
        raise ArangoError(1700)
    if find(sqlite, user.name) is not None:
        raise ArangoError(1702, message=f"duplicate user: {user.name}")
    store(sqlite, user)


def store(sqlite: sqlite3.Connection, user: User) -> None:
    body = asdict(user)
    row = (body.pop("name"), json.dumps(body))
    sqlite.execute("INSERT OR REPLACE INTO users VALUES (?, ?)", row)


def remove(sqlite: sqlite3.Connection, name: str) -> None:
    sqlite.execute("DELETE FROM users WHERE name = ?", (get(sqlite, name).name,))


def forget_database(sqlite: sqlite3.Connection, database: str) -> None:
    """Take back the grants on a database that is gone."""
    for user in all_of(sqlite):
        if database in user.grants:
            store(sqlite, replace(user, grants={name: own for name, own in user.grants.items() if name != database}))


def set_root_password(sqlite: sqlite3.Connection, password: str) -> None:
    """Make the user who may do everything, or give it another password."""
    existing = find(sqlite, ROOT)
    if existing is None:
        store(sqlite, User(ROOT, hashed(password), grants={ALL: {"": WRITE, ALL: WRITE}}))
    elif not matches(password, existing.password):
        store(sqlite, replace(existing, password=hashed(password), active=True))
