"""What a source of serving performance is asked, and what it answers.

A source is a function `read(periods, deployments, **options)` that yields rows and faults. `periods` are in the order
of time and do not overlap; `deployments` are the names by which the source knows them. It may leave out what it does
not know: the collection says what is missing. It writes nothing, prints nothing, and tells no secret in a message.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple, TypeAlias

from arangopipe_ops.errors import ArangopipeError, Invalid, NotFound, Unavailable


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A span of time, `start` included and `end` not, in UTC. Raises Invalid for one that is empty or has no zone."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            at = getattr(self, name)
            if at.tzinfo is None:
                raise Invalid(f"period.{name}", f"{at} has no time zone")
            utc = at.astimezone(UTC)
            object.__setattr__(self, name, datetime.combine(utc.date(), utc.time(), UTC))
        if self.end <= self.start:
            raise Invalid("period.end", f"{self.end} is not after {self.start}")

    @property
    def length(self) -> timedelta:
        return self.end - self.start

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%dT%H:%M:%S}Z to {self.end:%Y-%m-%dT%H:%M:%S}Z"


class Row(NamedTuple):
    """How a deployment served in a period. `missing` names metrics that should be there and are not."""

    deployment: str
    period: Period
    metrics: Mapping[str, Any]
    missing: Sequence[str] = ()


class Damaged(Invalid):
    """What a source answered is not of its form: it is cut off, still being written, or a page about an outage."""


_PASSING = (Unavailable, NotFound, Damaged)


class Fault(NamedTuple):
    """What a source could not tell, and why: of one deployment or all, in one period or all.

    A `lasting` one is not cured by asking again later: a query that is refused, credentials, a wrong option.
    """

    message: str
    deployment: str | None = None
    period: Period | None = None
    lasting: bool = False

    @classmethod
    def of(cls, error: Exception, deployment: str | None = None, period: Period | None = None) -> "Fault":
        """Return the fault that an error is; what is not known to last may pass."""
        ours = isinstance(error, ArangopipeError)
        lasting = isinstance(error, ArangopipeError | TypeError) and not isinstance(error, _PASSING)
        return cls(str(error) if ours else f"{type(error).__name__}: {error}", deployment, period, lasting)


Answer: TypeAlias = Iterable[Row | Fault]
Read: TypeAlias = Callable[..., Answer]


def instant(value: Any, path: str) -> datetime:
    """Return a time that a source gave: a time, a date, ISO 8601 text, or seconds since 1970; UTC if it has no zone.

    Raises Invalid.
    """
    try:
        if isinstance(value, str):
            value = (
                datetime.fromtimestamp(float(value), UTC)
                if _SECONDS.fullmatch(value)
                else datetime.fromisoformat(value)
            )
        elif isinstance(value, int | float) and not isinstance(value, bool):
            value = datetime.fromtimestamp(value, UTC)
        elif isinstance(value, date) and not isinstance(value, datetime):
            value = datetime.combine(value, time())
        elif hasattr(value, "to_pydatetime"):
            value = value.to_pydatetime()
    except (ValueError, OverflowError, OSError):
        raise Invalid(path, f"{value!r} is not a time") from None
    if not isinstance(value, datetime):
        raise Invalid(path, f"{value!r} is not a time")
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


_SECONDS = re.compile(r"\d{9,10}(\.\d+)?")


class Calendar:
    """Finds the period in which something happened."""

    def __init__(self, periods: Sequence[Period]) -> None:
        self.periods = periods
        self._starts = [period.start for period in periods]

    def of(self, at: datetime) -> Period | None:
        """Return the period that holds a time, None if none of them does."""
        place = bisect_right(self._starts, at) - 1
        return self.periods[place] if place >= 0 and at < self.periods[place].end else None


_SECRET = re.compile(r"(?i)passw|secret|token|auth|credential|api.?key|headers")
_USER_INFO = re.compile(r"(\w[\w+.-]*://)[^/\s@]+@")
MASK = "***"


def redacted(message: str, options: Mapping[str, Any]) -> str:
    """Return a message without the secrets of a source's options: by their names, and those in a URL."""
    for secret in sorted(_secrets(options), key=len, reverse=True):
        message = message.replace(secret, MASK)
    return _USER_INFO.sub(rf"\1{MASK}@", message)


def _secrets(value: Any, secret: bool = False) -> set[str]:
    if isinstance(value, Mapping):
        parts = [_secrets(each, secret or bool(_SECRET.search(str(name)))) for name, each in value.items()]
        return set().union(*parts)
    if isinstance(value, list | tuple):
        return set().union(*(_secrets(each, secret) for each in value))
    return {value} if secret and isinstance(value, str) and len(value) > 3 else set()
