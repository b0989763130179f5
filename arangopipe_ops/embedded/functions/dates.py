"""Manual: aql/functions/date. A date is a number of milliseconds since 1970 or an ISO 8601 string; UTC."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from ..errors import Undefined
from ..values import is_number, is_true, number, to_number, to_string
from . import zones
from .signature import Function

Duration: TypeAlias = list[tuple[str, int]]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND, SECOND = timedelta(milliseconds=1), timedelta(seconds=1)

_ISO = re.compile(
    r"\s*(\d{1,4})(?:-(\d{1,2})(?:-(\d{1,2})(?:[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?)?)?"
    r"(?:[Zz]|([-+])(\d{2}):?(\d{2}))?\s*"
)
_DURATION = re.compile(
    r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.(\d{1,3}))?S)?)?"
)
UNITS = {
    alias: unit
    for unit, aliases in {
        "years": "y year years",
        "months": "m month months",
        "weeks": "w week weeks",
        "days": "d day days",
        "hours": "h hour hours",
        "minutes": "i minute minutes",
        "seconds": "s second seconds",
        "milliseconds": "f millisecond milliseconds",
    }.items()
    for alias in aliases.split()
}
MILLISECONDS = {
    "years": 365.2425 * 86_400_000,
    "months": 30.436875 * 86_400_000,
    "weeks": 604_800_000,
    "days": 86_400_000,
    "hours": 3_600_000,
    "minutes": 60_000,
    "seconds": 1_000,
    "milliseconds": 1,
}
_START = {"month": 1, "day": 1, "hour": 0, "minute": 0, "second": 0, "microsecond": 0}
_TRUNCATED = {"years": 0, "months": 1, "days": 2, "hours": 3, "minutes": 4, "seconds": 5}
"""Unit -> how many of the fields in `_START` survive a truncation to it."""
DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def moment(value: Any) -> datetime:
    """A date value as a UTC datetime; what is no date makes the call null with warning 1572."""
    try:
        if is_number(value):
            return EPOCH + timedelta(milliseconds=value)
        if isinstance(value, str) and (found := _from_text(value)) is not None:
            return found
    except (ValueError, OverflowError):
        pass
    raise Undefined(1572)


@lru_cache(maxsize=1024)
def _from_text(text: str) -> datetime | None:
    """Kept, as the rows of a loop are often of the same days."""
    match = _ISO.fullmatch(text)
    return None if match is None else _from_match(match)


def _from_match(match: re.Match[str]) -> datetime:
    year, month, day, hour, minute, second = (int(part or default) for part, default in zip(
        match.groups()[:6], (0, 1, 1, 0, 0, 0), strict=True
    ))  # fmt: skip
    fraction, sign, zone_hours, zone_minutes = match.groups()[6:]
    microsecond = int((fraction or "0").ljust(6, "0")[:6]) // 1000 * 1000
    local = datetime(year, month, day, hour, minute, second, microsecond, tzinfo=UTC)
    if sign is None:
        return local
    offset = timedelta(hours=int(zone_hours), minutes=int(zone_minutes))
    return local - offset if sign == "+" else local + offset


def is_date_string(value: Any) -> bool:
    try:
        return isinstance(value, str) and moment(value) is not None
    except Undefined:
        return False


def timestamp(at: datetime) -> int:
    return (at - EPOCH) // MILLISECOND


def iso(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z".rjust(24, "0")


def render(milliseconds: int) -> str:
    return iso(EPOCH + milliseconds * MILLISECOND)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _build(*parts: Any) -> datetime:
    """One date value, or year, month, day, hour, minute, second, millisecond.

    Days and what is smaller run over into what is greater, but nothing is negative.
    """
    if len(parts) == 1:
        return moment(parts[0])
    if len(parts) == 2:
        raise Undefined(1542)
    fields = [int(to_number(part)) for part in parts]
    year, month, day, hour, minute, second, milliseconds = (fields + [1, 1, 1, 0, 0, 0, 0][len(fields) :])[:7]
    try:
        if min(day, hour, minute, second, milliseconds) < 0:
            raise Undefined(1572)
        start = datetime(year, month, 1, tzinfo=UTC) + timedelta(days=day - 1)
        return start + timedelta(hours=hour, minutes=minute, seconds=second, milliseconds=milliseconds)
    except (ValueError, OverflowError):
        raise Undefined(1572) from None


def _unit(name: Any) -> str:
    try:
        return UNITS[to_string(name).lower()]
    except KeyError:
        raise Undefined(1542) from None


def _shift(at: datetime, unit: str, amount: Any) -> datetime:
    """Days and longer units count on the calendar of the date's zone, shorter ones on the clock."""
    try:
        if unit in ("years", "months"):
            return _shift_months(at, int(amount) * (12 if unit == "years" else 1))
        distance = timedelta(milliseconds=amount * MILLISECONDS[unit])
        if unit in ("weeks", "days"):
            return at + distance
        return (at.astimezone(UTC) + distance).astimezone(at.tzinfo)
    except (ValueError, OverflowError):
        raise Undefined(1572) from None


def _shift_months(at: datetime, months: int) -> datetime:
    """Days that the target month does not have run over into the next one."""
    year, month = divmod(at.year * 12 + at.month - 1 + months, 12)
    return at.replace(year=year, month=month + 1, day=1) + timedelta(days=at.day - 1)


def _add(sign: int) -> Callable[..., str]:
    """DATE_ADD(date, amount, unit, timezone) or DATE_ADD(date, duration, timezone)."""

    def add(date: Any, amount: Any, unit: Any = None, zone: Any = None) -> str:
        if isinstance(amount, str):
            parts, zone = duration(amount), unit
        elif is_number(amount):
            parts = [(_unit(unit), amount)]
        else:
            raise Undefined(1542)
        return iso(_utc(shift_by(_local(date, zone), parts, sign)))

    return add


def shift_by(at: datetime, parts: Duration, sign: int) -> datetime:
    for unit, amount in parts:
        at = _shift(at, unit, sign * amount)
    return at


def duration(text: Any) -> Duration:
    """The parts of an ISO 8601 duration, by unit."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise Undefined(1542)
    *whole, fraction = match.groups()
    counts = [int(part or 0) for part in whole] + [int((fraction or "0").ljust(3, "0"))]
    return [(unit, count) for unit, count in zip(MILLISECONDS, counts, strict=True) if count]


def _diff(first: Any, second: Any, unit: Any, as_float: Any = False, zone: Any = None, other: Any = None) -> Any:
    """The flag may be left out before the time zones, which make it a difference of local times."""
    if isinstance(as_float, str):
        as_float, zone, other = False, as_float, zone
    start, end = _local(first, zone), _local(second, zone if other is None else other)
    exact = (end.replace(tzinfo=UTC) - start.replace(tzinfo=UTC)) / MILLISECOND / MILLISECONDS[_unit(unit)]
    return number(exact) if is_true(as_float) else int(exact)


def _truncate(date: Any, unit: Any, zone: Any = None) -> str:
    at, name = _local(date, zone), _unit(unit)
    if name == "milliseconds":
        return iso(_utc(at))
    kept = _TRUNCATED.get(name)
    if kept is None:
        raise Undefined(1542)
    fields = dict(list(_START.items())[kept:])
    return iso(_utc(at.replace(**fields)))  # type: ignore[arg-type]


def _round(date: Any, amount: Any, unit: Any, zone: Any = None) -> str:
    """The start of the bin of `amount` units that the date is in; bins are counted from 1970 on."""
    name = _unit(unit)
    size = to_number(amount) * MILLISECONDS[name]
    if name in ("years", "months", "weeks") or size <= 0 or to_number(amount) != int(to_number(amount)):
        raise Undefined(1542)
    at = _local(date, zone)
    excess = timestamp(at.replace(tzinfo=UTC)) % size
    return iso(_utc(at - timedelta(milliseconds=excess)))


def _compare(first: Any, second: Any, start: Any, end: Any = None, zone: Any = None, other: Any = None) -> bool:
    """Whether both dates agree in all fields from unit `start` to unit `end`."""
    order = [unit for unit in MILLISECONDS if unit != "weeks"]
    units = _unit(start), _unit(start if end is None else end)
    if "weeks" in units or order.index(units[0]) > order.index(units[1]):
        raise Undefined(1542)
    one, two = _fields(_local(first, zone)), _fields(_local(second, zone if other is None else other))
    return all(one[unit] == two[unit] for unit in order[order.index(units[0]) : order.index(units[1]) + 1])


def _fields(at: datetime) -> dict[str, int]:
    return {
        "years": at.year,
        "months": at.month,
        "days": at.day,
        "hours": at.hour,
        "minutes": at.minute,
        "seconds": at.second,
        "milliseconds": at.microsecond // 1000,
    }


def _year_day(at: datetime) -> int:
    return at.timetuple().tm_yday


def _is_leap(at: datetime) -> bool:
    return (at.year % 4 == 0 and at.year % 100 != 0) or at.year % 400 == 0


def _days_in_month(at: datetime) -> int:
    first = at.replace(day=1)
    return (_shift_months(first, 1) - first).days


def _iso_week_year(at: datetime) -> dict[str, int]:
    year, week, _ = at.isocalendar()
    return {"week": week, "year": year}


PLACEHOLDERS: dict[str, Callable[[datetime], Any]] = {
    "%t": timestamp,
    "%z": iso,
    "%w": lambda at: at.isoweekday() % 7,
    "%y": lambda at: at.year,
    "%yy": lambda at: f"{at.year % 100:02d}",
    "%yyyy": lambda at: f"{at.year:04d}",
    "%yyyyyy": lambda at: f"{at.year:+07d}",
    "%m": lambda at: at.month,
    "%mm": lambda at: f"{at.month:02d}",
    "%mmm": lambda at: MONTHS[at.month - 1][:3],
    "%mmmm": lambda at: MONTHS[at.month - 1],
    "%d": lambda at: at.day,
    "%dd": lambda at: f"{at.day:02d}",
    "%h": lambda at: at.hour,
    "%hh": lambda at: f"{at.hour:02d}",
    "%i": lambda at: at.minute,
    "%ii": lambda at: f"{at.minute:02d}",
    "%s": lambda at: at.second,
    "%ss": lambda at: f"{at.second:02d}",
    "%f": lambda at: at.microsecond // 1000,
    "%fff": lambda at: f"{at.microsecond // 1000:03d}",
    "%x": _year_day,
    "%xxx": lambda at: f"{_year_day(at):03d}",
    "%k": lambda at: at.isocalendar().week,
    "%kk": lambda at: f"{at.isocalendar().week:02d}",
    "%l": lambda at: int(_is_leap(at)),
    "%q": lambda at: (at.month + 2) // 3,
    "%a": lambda at: _days_in_month(at),
    "%www": lambda at: DAYS[at.isoweekday() % 7][:3],
    "%wwww": lambda at: DAYS[at.isoweekday() % 7],
    "%%": lambda at: "%",
    "%": lambda at: "",
}
_PLACEHOLDER = re.compile(
    "|".join(re.escape(name) for name in sorted(PLACEHOLDERS, key=len, reverse=True)), re.IGNORECASE
)


def _format(date: Any, template: Any, zone: Any = None) -> str:
    at = _local(date, zone)
    return _PLACEHOLDER.sub(lambda match: str(PLACEHOLDERS[match.group().lower()](at)), to_string(template))


def _zone(name: Any) -> ZoneInfo:
    try:
        return ZoneInfo(to_string(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Undefined(1542) from None


def _local(date: Any, zone: Any) -> datetime:
    """A date on the clocks of a time zone, UTC if there is none."""
    return moment(date) if zone is None else _moved(moment(date), _zone(zone))


def _utc(at: datetime) -> datetime:
    return _moved(at, UTC)


def _moved(at: datetime, zone: tzinfo) -> datetime:
    try:
        return at.astimezone(zone)
    except (OverflowError, ValueError):
        raise Undefined(1572) from None


def _utc_to_local(date: Any, zone: Any, zone_info: Any = False) -> Any:
    known = _zone(zone)
    at = _moved(moment(date), known)
    local = iso(at).removesuffix("Z")
    return {"local": local, **_zone_info(at, known)} if is_true(zone_info) else local


def _local_to_utc(date: Any, zone: Any, zone_info: Any = False) -> Any:
    known = _zone(zone)
    at = _utc(moment(date).replace(tzinfo=known))
    utc = iso(at)
    return {"utc": utc, **_zone_info(_moved(at, known), known)} if is_true(zone_info) else utc


def _zone_info(at: datetime, zone: ZoneInfo) -> dict[str, Any]:
    """About a moment on the clocks of a zone."""
    begin, end = (change and iso(change) for change in zones.span(zone, _utc(at)))
    offset = (at.utcoffset() or timedelta()) // SECOND
    info = {"name": at.tzname(), "begin": begin, "end": end, "dst": bool(at.dst()), "offset": offset}
    return {"tzdb": zones.version(), "zoneInfo": info}


def _system_zone() -> str:
    """By the link that Unix systems keep."""
    place = str(Path("/etc/localtime").resolve())
    return place.partition("zoneinfo/")[2] or "Etc/UTC"


def _part(read: Callable[[datetime], Any]) -> Function:
    return Function(lambda date, zone=None: read(_local(date, zone)), 1, 2)


TABLE: dict[str, Function] = {
    "DATE_ADD": Function(_add(1), 2, 4),
    "DATE_COMPARE": Function(_compare, 3, 6),
    "DATE_DAY": _part(lambda at: at.day),
    "DATE_DAYOFWEEK": _part(lambda at: at.isoweekday() % 7),
    "DATE_DAYOFYEAR": _part(_year_day),
    "DATE_DAYS_IN_MONTH": _part(_days_in_month),
    "DATE_DIFF": Function(_diff, 3, 6),
    "DATE_FORMAT": Function(_format, 2, 3),
    "DATE_HOUR": _part(lambda at: at.hour),
    "DATE_ISO8601": Function(lambda *parts: iso(_build(*parts)), 1, 7),
    "DATE_ISOWEEK": _part(lambda at: at.isocalendar().week),
    "DATE_ISOWEEKYEAR": _part(_iso_week_year),
    "DATE_LEAPYEAR": _part(_is_leap),
    "DATE_LOCALTOUTC": Function(_local_to_utc, 2, 3),
    "DATE_MILLISECOND": _part(lambda at: at.microsecond // 1000),
    "DATE_MINUTE": _part(lambda at: at.minute),
    "DATE_MONTH": _part(lambda at: at.month),
    "DATE_NOW": Function(_now, 0, 0, deterministic=False),
    "DATE_QUARTER": _part(lambda at: (at.month + 2) // 3),
    "DATE_ROUND": Function(_round, 3, 4),
    "DATE_SECOND": _part(lambda at: at.second),
    "DATE_SUBTRACT": Function(_add(-1), 2, 4),
    "DATE_TIMESTAMP": Function(lambda *parts: number(timestamp(_build(*parts))), 1, 7),
    "DATE_TIMEZONE": Function(_system_zone, 0, 0),
    "DATE_TIMEZONES": Function(lambda: sorted(available_timezones()), 0, 0),
    "DATE_TRUNC": Function(_truncate, 2, 3),
    "DATE_UTCTOLOCAL": Function(_utc_to_local, 2, 3),
    "DATE_YEAR": _part(lambda at: at.year),
}
