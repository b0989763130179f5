"""Requests to the systems that sources read: with time-outs, a bounded number of attempts, and plain errors."""

import json
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from arangopipe_ops.errors import Invalid, Misconfigured, NotFound, Unauthorized, Unavailable
from arangopipe_ops.integrations.source import Damaged

if TYPE_CHECKING:
    import requests

MAX_BYTES = 256 * 1024 * 1024
_AGAIN = {429, 502, 503, 504}

_UNREACHED = 3
"""After so many requests in a row that did not reach a host, with all their attempts, it is not asked again."""


class GivenUp(Unavailable):
    """No request was made: the time for all of them is over, or the host is dead."""


class _Unreached(Unavailable):
    """Nobody is there; one who is slow is."""


class Fetcher:
    """Makes the requests of one read of a source.

    An attempt has `timeout` seconds; `attempts` are made where another may succeed; all requests together have
    `deadline` seconds, so that many who are slow do not add up, and a host that is dead is soon left alone.
    Its errors name the host and the path of a URL and never the rest, which may hold secrets.
    """

    def __init__(
        self,
        *,
        headers: Mapping[str, str] | None = None,
        user: str | None = None,
        password: str | None = None,
        token: str | None = None,
        verify: bool | str = True,
        timeout: float = 30.0,
        attempts: int = 3,
        deadline: float = 300.0,
        pause: float = 0.2,
    ) -> None:
        import requests

        self._session = requests.Session()
        self._session.headers.update(headers or {})
        self._session.verify = verify
        if token is not None:
            self._session.headers["Authorization"] = f"Bearer {token}"
        if user is not None:
            self._session.auth = (user, password or "")
        self.timeout, self.attempts, self.deadline, self.pause = timeout, attempts, deadline, pause
        self._until = time.monotonic() + deadline
        self._unreached: dict[str, int] = {}
        self.given_up: GivenUp | None = None

    def json(self, method: str, url: str, **sent: Any) -> Any:
        """Return the JSON that a request is answered with. Raises what `text` raises, Damaged if it is not JSON."""
        text = self.text(method, url, **sent)
        try:
            return json.loads(text)
        except ValueError:
            raise Damaged(_named(url), f"did not answer JSON but {text[:60]!r}") from None

    def text(self, method: str, url: str, **sent: Any) -> str:
        """Return the text that a request is answered with.

        Raises Unavailable, GivenUp, Unauthorized, NotFound, Misconfigured for what is not a URL, Invalid for an answer
        that is too long, or to a request that the server refuses.
        """
        for attempt in range(1, self.attempts + 1):
            seconds = min(self.timeout, self._left(url))
            try:
                return self._once(method, url, sent, seconds)
            except Unavailable as error:
                pause = random.uniform(0.5, 1) * self.pause * 2**attempt
                if attempt == self.attempts or time.monotonic() + pause >= self._until:
                    self._note(url, error)
                    raise
            time.sleep(pause)
        raise Invalid("attempts", f"{self.attempts} is not a number from 1")

    def _left(self, url: str) -> float:
        """Return the seconds that a request may take. Raises GivenUp."""
        left = self._until - time.monotonic()
        why = f"the {self.deadline:g} s for all requests are over" if left <= 0 else ""
        if self._unreached.get(_host(url), 0) >= _UNREACHED:
            why = f"its host could not be reached {_UNREACHED} times in a row"
        if why:
            self.given_up = GivenUp(f"{_named(url)} was not asked: {why}")
            raise self.given_up
        return left

    def _note(self, url: str, error: Unavailable) -> None:
        host = _host(url)
        self._unreached[host] = self._unreached.get(host, 0) + 1 if isinstance(error, _Unreached) else 0

    def _once(self, method: str, url: str, sent: Mapping[str, Any], seconds: float) -> str:
        import requests
        import urllib3

        started = time.monotonic()
        try:
            with self._session.request(method, url, timeout=seconds, stream=True, **sent) as answer:
                self._unreached.pop(_host(url), None)
                body = self._body(answer, started + seconds)
        except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema):
            raise Misconfigured(f"{_named(url)} is not the URL of a server") from None
        except requests.exceptions.ConnectTimeout:
            raise _Unreached(f"{_named(url)} cannot be reached within {seconds:.3g} s") from None
        except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError):
            raise Unavailable(f"{_named(url)} did not answer within {seconds:.3g} s") from None
        except requests.exceptions.ConnectionError as error:
            raise _Unreached(f"{_named(url)} cannot be reached ({type(error).__name__})") from None
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
            raise Unavailable(f"{_named(url)} did not answer to the end ({type(error).__name__})") from None
        _checked(answer.status_code, body, url)
        return body.decode(answer.encoding or "utf-8", "replace")

    def _body(self, answer: "requests.Response", until: float) -> bytes:
        """Return the body of an answer; a server that drips does not get more time than another."""
        import requests

        parts, size = [], 0
        read = getattr(answer.raw, "read1", answer.raw.read)  # what is there, and not a whole block of it
        while part := read(1 << 16, decode_content=True):
            parts.append(part)
            size += len(part)
            if size > MAX_BYTES:
                raise Invalid(_named(answer.url), f"answered more than {MAX_BYTES:,} bytes")
            if time.monotonic() > until:
                raise requests.exceptions.ReadTimeout
        return b"".join(parts)


def _checked(status: int, body: bytes, url: str) -> None:
    if status < 400:
        return
    said = _said(body)
    if status in (401, 403):
        raise Unauthorized(f"{_named(url)} refused the credentials (HTTP {status})", signed_in=status == 403)
    if status == 404:
        raise NotFound([f"{_named(url)}{said}"], "Check the URL.")
    if status in _AGAIN or status >= 500:
        raise Unavailable(f"{_named(url)} answered HTTP {status}{said}")
    raise Invalid(_named(url), f"refused the request (HTTP {status}){said}")


def _said(body: bytes) -> str:
    """Return what an error's body tells in the ways of Prometheus and MLflow."""
    with suppress(ValueError, AttributeError):
        told = json.loads(body)
        text = told.get("error") or told.get("message")
        return f": {text[:300]}" if isinstance(text, str) else ""
    return ""


def _host(url: str) -> str:
    """Return what a URL names as the place of its server, whatever else it is."""
    return url.partition("://")[2].partition("/")[0]


def _named(url: str) -> str:
    try:
        parts = urlsplit(url)
        place = parts.hostname or ""
        return f"{place}:{parts.port}{parts.path}" if parts.port else f"{place}{parts.path}"
    except ValueError:
        return "the address"
