"""What a time zone was at a moment, and from when to when: the argument `zoneinfo` of two date functions.

Python tells what a zone is at a moment but not when that changes, so its changes are looked for: day by
day, then by halves. The data of zones ends with 2037; from then on rules repeat every year.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import MAXYEAR, UTC, datetime, timedelta
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TypeAlias
from zoneinfo import TZPATH, ZoneInfo

FIRST_YEAR, LAST_YEAR = 1800, 2037
"""Between them changes are irregular; no zone has had a change before."""
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
State: TypeAlias = tuple[timedelta | None, str | None, timedelta | None]


def _state(zone: ZoneInfo, moment: datetime) -> State:
    at = moment.astimezone(zone)
    return at.utcoffset(), at.tzname(), at.dst()


@lru_cache(maxsize=64)
def _irregular(zone: ZoneInfo) -> list[datetime]:
    return _changes(zone, datetime(FIRST_YEAR, 1, 1, tzinfo=UTC), datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC))


@lru_cache(maxsize=64)
def _regular(zone: ZoneInfo, year: int) -> list[datetime]:
    """The changes in the years around one after `LAST_YEAR`."""
    first, last = max(year - 1, LAST_YEAR + 1), min(year + 1, MAXYEAR)
    return _changes(zone, datetime(first, 1, 1, tzinfo=UTC), datetime(last, 12, 31, tzinfo=UTC))


def _changes(zone: ZoneInfo, day: datetime, end: datetime) -> list[datetime]:
    """The moments from a day to another, in UTC, at which the zone's offset, name or saving becomes another."""
    found = []
    before = _state(zone, day)
    while day < end:
        after = _state(zone, day + DAY)
        if after != before:
            found.append(_halved(zone, day, before))
        day, before = day + DAY, after
    return found


def _halved(zone: ZoneInfo, day: datetime, before: State) -> datetime:
    """The first second within a day at which the zone is not as `before`."""
    low, high = 0, DAY // SECOND
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _state(zone, day + middle * SECOND) == before else (low, middle)
    return day + high * SECOND


def span(zone: ZoneInfo, moment: datetime) -> tuple[datetime | None, datetime | None]:
    """When what holds at `moment` began and ends, in UTC; None for no beginning or end."""
    changes = _irregular(zone)
    if moment.year >= LAST_YEAR:
        changes = changes + _regular(zone, moment.year)
    later = bisect_right(changes, moment)
    return changes[later - 1] if later else None, changes[later] if later < len(changes) else None


@lru_cache(maxsize=1)
def version() -> str:
    """Of the database of time zones, e.g. `2025b`: the system's or the package's, in the order Python looks."""
    for folder in map(Path, TZPATH):
        for name in ("+VERSION", "tzdata.zi"):
            if (folder / name).is_file():
                with (folder / name).open(encoding="utf-8") as lines:
                    return lines.readline().removeprefix("# version").strip()
    try:
        return str(import_module("tzdata").IANA_VERSION)
    except ImportError:
        return "unknown"
