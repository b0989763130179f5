"""The periods between two moments, by the clock or by the calendar of a time zone."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import pendulum

from arangopipe_ops.errors import Invalid
from arangopipe_ops.integrations.source import Period


class Step(NamedTuple):
    """How far it is from one period to the next: by the calendar, or in seconds by the clock."""

    months: int = 0
    days: int = 0
    seconds: float = 0

    def after(self, start: pendulum.DateTime, number: int, zone: Any) -> pendulum.DateTime:
        """Return where the period of this number ends, counted from the start: 31 January, 28 February, 31 March.

        By the calendar the start is what the clocks of the zone show, without a zone: it may be a time that they skip
        on that day alone, as midnight in Sao Paulo once was. What they show twice is the first time. Times that are
        compared are in UTC, since those of one zone are compared by what its clocks show.
        """
        if self.seconds:
            return start.add(seconds=self.seconds * number)
        shown = start.add(months=self.months * number, days=self.days * number)
        return _moment(shown.replace(fold=0), zone)


_SHORT = re.compile(r"(\d+)([smhdwMy])")
_ISO = re.compile(
    r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?(?<![PT])"
)
_UNITS = {
    "s": Step(seconds=1),
    "m": Step(seconds=60),
    "h": Step(seconds=3600),
    "d": Step(days=1),
    "w": Step(days=7),
    "M": Step(months=1),
    "y": Step(months=12),
}


def periods(since: Any, until: Any, every: Any, timezone: Any = "UTC") -> Iterator[Period]:
    """Yield the periods of a length that follow each other from `since`, as long as they end by `until`.

    `every` is `15m`, `1h`, `1d`, `2w`, `1M` (month), `1y`, an ISO 8601 duration such as `PT1H` or `P1D`, a pendulum
    duration or a timedelta. Hours and less, and timedeltas, are by the clock. Days and more are by the calendar of
    `timezone`: a day on which its clocks change has 23 or 25 hours. Moments without one, and bare dates, are in it.
    Each period is in UTC. Raises Invalid.
    """
    place, step = _zone(timezone), step_of(every)
    given = _read(since, "since")
    bound, end = _moment(given, place), _moment(_read(until, "until"), place)
    start, number = bound, 1
    if not step.seconds:
        start = pendulum.instance(given).naive() if given.tzinfo is None else bound.in_timezone(place).naive()
    while (following := step.after(start, number, place)) <= end:
        if following > bound:
            yield Period(bound, following)
        bound, number = following, number + 1


def latest(count: int, every: Any, timezone: Any = "UTC", now: datetime | None = None) -> list[Period]:
    """Return the last periods of a length that have ended by now; asked again later, they are the same or follow.

    Months and what divides a year begin on 1 January in `timezone`, weeks on Monday, days at midnight; what is by the
    clock and divides a day begins at midnight in UTC. Raises Invalid for other lengths, which need a moment to count
    from.
    """
    place, step = _zone(timezone), step_of(every)
    end = _moment(_read(now or datetime.now(UTC), "now"), place)
    if count < 1:
        raise Invalid("last", f"{count} is not a number of periods")
    shown = end.in_timezone(place).naive()
    if step.seconds and 86400 % step.seconds == 0:
        begin = step.after(end, -count - 1, place).start_of("day")
    elif step.days in (1, 7):
        begin = shown.subtract(days=step.days * (count + 1)).start_of("day" if step.days == 1 else "week")
    elif step.months and 12 % step.months == 0:
        begin = shown.subtract(months=step.months * (count + 1)).start_of("year")
    else:
        raise Invalid("every", f"{every!r} divides neither a day nor a year; say since when")
    return list(periods(begin, end, every, place))[-count:]


def step_of(every: Any) -> Step:
    """Return a length of time, written in any of the ways that `periods` takes. Raises Invalid."""
    step = _step(every)
    if step is None or not any(step):
        raise Invalid("every", f"{every!r} is not a length of time such as 15m, 1h, 1d or P1M")
    if step.seconds < 0 or step.months < 0 or step.days < 0:
        raise Invalid("every", f"{every!r} goes back in time")
    if step.seconds and (step.months or step.days):
        raise Invalid("every", f"{every!r} is by the calendar and by the clock; a length has days, or hours")
    return step


def _step(every: Any) -> Step | None:
    if isinstance(every, pendulum.Duration):
        days = 7 * every.weeks + every.remaining_days
        rest = every.hours * 3600 + every.minutes * 60 + every.remaining_seconds + every.microseconds / 1e6
        return Step(12 * every.years + every.months, days, rest)
    if isinstance(every, timedelta):
        return Step(seconds=every.total_seconds())
    if not isinstance(every, str):
        return None
    if short := _SHORT.fullmatch(every):
        number, unit = int(short[1]), _UNITS[short[2]]
        return Step(number * unit.months, number * unit.days, number * unit.seconds)
    if iso := _ISO.fullmatch(every):
        years, months, weeks, days, hours, minutes = (int(part or 0) for part in iso.groups()[:-1])
        return Step(12 * years + months, 7 * weeks + days, hours * 3600 + minutes * 60 + float(iso[7] or 0))
    return None


def _read(value: Any, path: str) -> datetime:
    """Return a time as it was given, with or without a zone."""
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
        pendulum.instance(value)
    except (ValueError, AttributeError):
        raise Invalid(path, f"{value!r} is not a time") from None
    given: datetime = value
    return given


def _moment(given: datetime, zone: Any) -> pendulum.DateTime:
    """Return a time in UTC. What a clock skips is as much later, as the standard library has it."""
    at = given if given.tzinfo else datetime.combine(given.date(), given.time(), tzinfo=zone)
    return pendulum.instance(at.astimezone(UTC)).in_timezone("UTC")


def _zone(timezone: Any) -> Any:
    try:
        return pendulum.timezone(getattr(timezone, "key", None) or timezone or "UTC")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Invalid("timezone", f"{timezone!r} is not a time zone such as Europe/Berlin") from None
