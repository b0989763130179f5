"""Requests to the systems that sources read: with time-outs, a bounded number of attempts, and plain errors."""

import json
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from arangopipe_ops.errors import Invalid, Misconfigured, NotFound, Refused, Unauthorized, Unavailable

if TYPE_CHECKING:
    import requests

MAX_BYTES = 256 * 1024 * 1024
_AGAIN = {429, 502, 503, 504}


class Fetcher:
    """Fetches from one system. An attempt has `timeout` seconds; `attempts` are made where another may succeed.

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
        self.timeout, self.attempts, self.pause = timeout, attempts, pause

    def json(self, method: str, url: str, **sent: Any) -> Any:
        """Return the JSON that a request is answered with. Raises what `text` raises, Invalid if it is not JSON."""
        text = self.text(method, url, **sent)
        try:
            return json.loads(text)
        except ValueError:
            raise Invalid(_named(url), f"did not answer JSON but {text[:60]!r}") from None

    def text(self, method: str, url: str, **sent: Any) -> str:
        """Return the text that a request is answered with.

        Raises Unavailable, Unauthorized, NotFound, Refused, Misconfigured for what is not a URL, Invalid for an answer
        that is too long.
        """
        for attempt in range(1, self.attempts + 1):
            try:
                return self._once(method, url, sent)
            except Unavailable:
                if attempt == self.attempts:
                    raise
            time.sleep(random.uniform(0.5, 1) * self.pause * 2**attempt)
        raise Invalid("attempts", f"{self.attempts} is not a number from 1")

    def _once(self, method: str, url: str, sent: Mapping[str, Any]) -> str:
        import requests
        import urllib3

        started = time.monotonic()
        try:
            with self._session.request(method, url, timeout=self.timeout, stream=True, **sent) as answer:
                body = self._body(answer, started)
        except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema):
            raise Misconfigured(f"{_named(url)} is not the URL of a server") from None
        except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError):
            raise Unavailable(f"{_named(url)} did not answer within {self.timeout:g} s") from None
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
            raise Unavailable(f"{_named(url)} cannot be reached ({type(error).__name__})") from None
        _checked(answer.status_code, body, url)
        return body.decode(answer.encoding or "utf-8", "replace")

    def _body(self, answer: "requests.Response", started: float) -> bytes:
        """Return the body of an answer; a server that drips does not get more time than another."""
        parts, size = [], 0
        read = getattr(answer.raw, "read1", answer.raw.read)  # what is there, and not a whole block of it
        while part := read(1 << 16, decode_content=True):
            parts.append(part)
            size += len(part)
            if size > MAX_BYTES:
                raise Invalid(_named(answer.url), f"answered more than {MAX_BYTES:,} bytes")
            if time.monotonic() - started > self.timeout:
                raise Unavailable(f"{_named(answer.url)} did not answer within {self.timeout:g} s")
        return b"".join(parts)


def _checked(status: int, body: bytes, url: str) -> None:
    if status < 400:
        return
    said = _said(body)
    if status in (401, 403):
        raise Unauthorized(f"{_named(url)} refused the credentials (HTTP {status})", signed_in=status == 403)
    if status == 404:
        raise NotFound([f"{_named(url)}{said}"])
    if status in _AGAIN or status >= 500:
        raise Unavailable(f"{_named(url)} answered HTTP {status}{said}")
    raise Refused(status, 0, f"{_named(url)}{said}")


def _said(body: bytes) -> str:
    """Return what an error's body tells in the ways of Prometheus and MLflow."""
    with suppress(ValueError, AttributeError):
        told = json.loads(body)
        text = told.get("error") or told.get("message")
        return f": {text[:300]}" if isinstance(text, str) else ""
    return ""


def _named(url: str) -> str:
    try:
        parts = urlsplit(url)
        place = parts.hostname or ""
        return f"{place}:{parts.port}{parts.path}" if parts.port else f"{place}{parts.path}"
    except ValueError:
        return "the address"
