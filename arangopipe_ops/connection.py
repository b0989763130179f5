"""Open a database from a URL: an ArangoDB server or cluster, or the embedded one in a file."""

import json
import os
import random
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import jwt
from arango.client import ArangoClient
from arango.database import StandardDatabase
from arango.exceptions import JWTExpiredError
from arango.http import DefaultHTTPClient
from arango.response import Response
from requests import RequestException, Session
from requests.exceptions import SSLError

from arangopipe_ops.errors import Misconfigured, Unauthorized, Unavailable, from_response

URL_VARIABLE = "ARANGOPIPE_URL"
DEFAULT_FILE = "arangopipe.db"
DEFAULT_TIMEOUT = 30.0

_FORMS = "http(s)://user:password@host:8529/database or embedded:///path/to/file"
_ENCODED = "Special characters in a user or password are percent-encoded."
_SERVER = re.compile(
    r"(?P<scheme>https?)://(?:(?P<user>[^:@/]*)(?::(?P<password>[^@/]*))?@)?(?P<hosts>[^/@?#]+)(?:/(?P<name>[^/?#]*))?/?"
)
_EMBEDDED = re.compile(r"embedded://(?P<path>/.+)")


def connect(url: str | None = None, *, token: str | None = None, timeout: float = DEFAULT_TIMEOUT) -> StandardDatabase:
    """Return python-arango's database object for a URL; nothing is sent yet.

    `http(s)://user:password@host:8529/database` is a server; several hosts of a cluster are separated by
    commas, and a user or password with special characters is percent-encoded. `embedded:///path/to/file` is
    the embedded database in that file. Without `url` the environment's ARANGOPIPE_URL counts, and without
    that the file arangopipe.db in the working directory. A `token` (see `sign_in`) takes the place of user and
    password.

    Requests that do not arrive or are not answered are sent again, with growing pauses, until `timeout`
    seconds have passed; then `Unavailable` is raised. Raises Misconfigured for a URL that is none.
    """
    url = resolved(url)
    if match := _EMBEDDED.fullmatch(url):
        return _open_file(Path(unquote(match["path"])), timeout)
    return _open_server(_server(url), timeout, token)


def sign_in(url: str, user: str, password: str, *, timeout: float = DEFAULT_TIMEOUT) -> str:
    """Return the token that a server gives a user for the password; it ends when the server says (an hour).

    Raises Unauthorized, also for a user who may not use the URL's database, Unavailable, and Misconfigured for a
    URL that is not a server's.
    """
    parts = _server(url)
    hosts, client = _client(parts, timeout)
    session = client.create_session(hosts[0])
    credentials = json.dumps({"username": user, "password": password})
    answer = client.send_request(session, "POST", f"{hosts[0]}/_open/auth", data=credentials)
    if answer.status_code != 200:
        raise from_response(answer.status_code, None, "the server does not know this user or password")
    try:
        token = str(json.loads(answer.raw_body)["jwt"])
    except (ValueError, TypeError, KeyError):
        raise Misconfigured(f"what answers at {hosts[0]} is not ArangoDB.") from None
    name, bearer = parts["name"] or "_system", {"Authorization": f"bearer {token}"}
    admitted = client.send_request(session, "GET", f"{hosts[0]}/_db/{name}/_api/database/current", bearer)
    if admitted.status_code in (401, 403):
        raise Unauthorized(f"{user} may not use the database {unquote(name)}.", signed_in=True)
    return token


def user_of(token: str) -> str | None:
    """Return whose token it says it is; only the server knows whether that is true."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError:
        return None
    return claims.get("preferred_username")


def check_availability(url: str, *, timeout: float = DEFAULT_TIMEOUT) -> None:
    """Return if the server at a URL answers; nobody has to sign in for that. Raises Unavailable."""
    hosts, client = _client(_server(url), timeout)
    client.send_request(client.create_session(hosts[0]), "GET", f"{hosts[0]}/_admin/server/availability")


def is_file(url: str | None = None) -> bool:
    """Return whether a URL leads to an embedded database. Raises Misconfigured for a URL that is none."""
    url = resolved(url)
    return bool(_EMBEDDED.fullmatch(url)) or not _server(url)


def resolved(url: str | None = None) -> str:
    """Return the URL that counts: the one given, the environment's, or that of the file in the working directory."""
    return url or os.environ.get(URL_VARIABLE) or f"embedded://{quote(str(Path(DEFAULT_FILE).absolute()))}"


def _server(url: str) -> re.Match[str]:
    if match := _SERVER.fullmatch(url):
        return match
    raise Misconfigured(f"{redacted(url)!r} is not a database URL; it looks like {_FORMS}. {_ENCODED}")


def describe(db: StandardDatabase) -> str:
    """Return where a database is, without credentials: the URL of a server, or the path of a file."""
    http: Any = db.conn._http
    return f"{','.join(http.hosts)}/{db.name}" if isinstance(http, _PatientClient) else str(http.path)


def without_credentials(url: str) -> str:
    """Return a URL that names no user and no password. Raises Misconfigured for a URL that is none."""
    if _EMBEDDED.fullmatch(url):
        return url
    parts = _server(url)
    return f"{parts['scheme']}://{parts['hosts']}" + (f"/{parts['name']}" if parts["name"] else "")


def redacted(url: str) -> str:
    """Return a URL with everything that may be a credential replaced by `***`."""
    return re.sub(r"//.*@", "//***@", url)


def _open_file(path: Path, timeout: float) -> StandardDatabase:
    from arangopipe_ops.embedded.transport import client  # only who uses a file pays for its engine

    if path.is_dir():
        raise Misconfigured(f"{path} is a folder; name a file in it.")
    if not path.parent.is_dir():
        raise Misconfigured(f"the folder of {path} does not exist; create it, or name another file.")
    return client(path, timeout).db("_system")


def _client(parts: re.Match[str], timeout: float) -> tuple[list[str], "_PatientClient"]:
    hosts = [f"{parts['scheme']}://{host.strip()}" for host in parts["hosts"].split(",") if host.strip()]
    return hosts, _PatientClient(hosts, timeout)


def _open_server(parts: re.Match[str], timeout: float, token: str | None) -> StandardDatabase:
    hosts, http_client = _client(parts, timeout)
    client = ArangoClient(hosts[0], resolver_max_tries=1, http_client=http_client)
    name, user, password = (unquote(parts[key] or "") for key in ("name", "user", "password"))
    if token is not None:
        try:
            return client.db(name or "_system", user_token=token)
        except (JWTExpiredError, jwt.PyJWTError, KeyError, ValueError) as error:
            raise Unauthorized(f"The token is not good (any more): {error}. Sign in again.") from None
    return client.db(name or "_system", username=user or "root", password=password)


_LONGEST = 1e9  # what a socket takes


class _PatientClient(DefaultHTTPClient):
    """Sends a request again, to the next host, until it is answered or the deadline has passed.

    The driver sends a request three times within milliseconds and gives up; here the pauses grow up to two
    seconds. Sending again is safe because every write of this library is idempotent.
    """

    def __init__(self, hosts: list[str], timeout: float) -> None:
        if not 0 < timeout < _LONGEST:
            raise Misconfigured(f"the timeout {timeout:g} is not a number of seconds, more than 0.")
        super().__init__(request_timeout=timeout, retry_attempts=0)
        self.hosts = hosts
        self._current = 0

    def send_request(self, session: Session, method: str, url: str, *args: Any, **kwargs: Any) -> Response:
        deadline = time.monotonic() + self._seconds
        path = url.removeprefix(self.hosts[0])
        pause = 0.05
        while True:
            host = self.hosts[self._current]
            try:
                response = super().send_request(session, method, host + path, *args, **kwargs)
                if response.status_code not in _BUSY:
                    return response
                problem = f"HTTP {response.status_code}"
            except SSLError as error:
                raise Misconfigured(_tls_problem(host, _reason(error))) from None
            except RequestException as error:
                problem = _reason(error)
            self._current = (self._current + 1) % len(self.hosts)
            if time.monotonic() + pause > deadline:
                raise Unavailable(
                    f"no answer from {', '.join(self.hosts)} within {self._seconds:g} s: {problem}. "
                    "Check that the server runs and that host and port are right; trying again is safe."
                )
            time.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, 2.0)

    @property
    def _seconds(self) -> float:
        return float(self.request_timeout or DEFAULT_TIMEOUT)


def _tls_problem(host: str, reason: str) -> str:
    if reason.startswith("certificate"):
        return f"the TLS certificate of {host} is not trusted: {reason}"
    return f"{host} does not answer with TLS ({reason}); the URL of a server without it begins with http://."


_BUSY = {429, 502, 503, 504}


def _reason(error: RequestException) -> str:
    """Return what went wrong in a few words; the driver's own text repeats itself over three lines."""
    known = re.search(r"\[Errno -?\d+\] ([^'\")]+)|(timed out)|(certificate[^'\"()]*)|(wrong version)", str(error))
    return next(filter(None, known.groups())).lower() if known else type(error).__name__
