"""Periods: by the clock and by the calendar, in zones whose clocks change."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pendulum
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arangopipe_ops.errors import Invalid
from arangopipe_ops.integrations.source import Period
from arangopipe_ops.serving import latest, periods
from arangopipe_ops.serving.periods import Step, step_of

ZONES = [
    *("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"),
    *("Asia/Kathmandu", "Pacific/Apia", "America/Sao_Paulo", "America/Havana"),
]
LENGTHS = ["15m", "1h", "6h", "1d", "1w", "1M", "3M", "1y", "PT90M", "P10D", "P1M"]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("America/New_York", "2026-03-08", 23),
        ("America/New_York", "2026-11-01", 25),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("Europe/Berlin", "2026-07-01", 24),
    ],
)
def test_a_local_day_has_its_own_hours(zone: str, day: str, hours: float) -> None:
    """A day on which clocks change is as long as it is there, and so many hours by the clock."""
    following = date.fromisoformat(day) + timedelta(days=1)
    [found] = periods(day, following, "1d", zone)
    assert found.length == timedelta(hours=hours)
    assert found.start.astimezone(ZoneInfo(zone)).isoformat()[:19] == f"{day}T00:00:00"
    assert found.end.astimezone(ZoneInfo(zone)).isoformat()[:19] == f"{following}T00:00:00"
    assert len(list(periods(day, following, "1h", zone))) == int(hours)


@settings(deadline=None, max_examples=50)
@given(
    st.sampled_from(ZONES),
    st.sampled_from(LENGTHS),
    st.dates(date(2000, 1, 1), date(2035, 1, 1)),
    st.integers(0, 40),
)
def test_periods_follow_each_other(zone: str, every: str, start: date, days: int) -> None:
    """Periods begin at the start, touch without overlap, end by the end, and leave less than one of them over."""
    until = start + timedelta(days=days)
    found = list(periods(start, until, every, zone))
    first, last = (datetime(d.year, d.month, d.day, tzinfo=ZoneInfo(zone)).astimezone(UTC) for d in (start, until))
    if found:
        assert found[0].start == first
        assert found[-1].end <= last
    for one, next_ in pairwise(found):
        assert one.end == next_.start
    longest = {"y": 366, "M": 31 * 3}.get(every[-1], 10) + 1
    assert last - (found[-1].end if found else first) < timedelta(days=longest)


@settings(deadline=None)
@given(st.sampled_from(ZONES), st.dates(date(2000, 1, 1), date(2035, 1, 1)))
def test_days_begin_and_end_at_midnight(zone: str, start: date) -> None:
    """Days are the local ones: each begins when its date does, as the standard library has it."""
    found = list(periods(start, start + timedelta(days=5), "1d", zone))
    days = [start + timedelta(days=i) for i in range(5)]
    if zone != "Pacific/Apia":  # where 30 December 2011 never was
        starts = [datetime(d.year, d.month, d.day, tzinfo=ZoneInfo(zone)).astimezone(UTC) for d in days]
        assert [period.start for period in found] == starts


def test_months_keep_to_the_day_they_begin_on() -> None:
    """A month counted from the 31st ends on the last day of shorter months, and is back on the 31st after them."""
    found = list(periods("2026-01-31", "2026-05-31", "1M"))
    assert [f"{period.end:%m-%d}" for period in found] == ["02-28", "03-31", "04-30", "05-31"]


@pytest.mark.parametrize(
    ("every", "step"),
    [
        ("15m", Step(seconds=900)),
        ("2w", Step(days=14)),
        ("P1Y2M", Step(months=14)),
        ("P1W2D", Step(days=9)),
        ("PT36H", Step(seconds=36 * 3600)),
        ("PT0.5S", Step(seconds=0.5)),
        (timedelta(days=1), Step(seconds=86400)),
        (pendulum.duration(days=1), Step(days=1)),
        (pendulum.duration(months=3), Step(months=3)),
        (pendulum.duration(hours=5, minutes=1), Step(seconds=5 * 3600 + 60)),
    ],
)
def test_a_length_is_by_the_calendar_or_by_the_clock(every: object, step: Step) -> None:
    """A length is told in any of several ways, as days and months or as seconds."""
    assert step_of(every) == step


@pytest.mark.parametrize(
    "every", ["", "1", "h", "P", "PT", "P1DT1H", "0h", "-1h", None, 5, timedelta(0), timedelta(-1), "1d "]
)
def test_what_is_no_length_is_refused(every: object) -> None:
    """What is no length, or is one by both, is Invalid."""
    with pytest.raises(Invalid, match="every"):
        step_of(every)


@pytest.mark.parametrize(("since", "zone"), [("yesterday", "UTC"), (5, "UTC"), ("2026-01-01", "Mars/Base")])
def test_what_is_no_time_or_zone_is_refused(since: object, zone: str) -> None:
    """A moment that is none, and a zone that is none, are Invalid."""
    with pytest.raises(Invalid):
        list(periods(since, "2026-01-02", "1d", zone))


def test_a_moment_with_a_zone_is_that_moment() -> None:
    """A moment that has a zone of its own is not moved; days are counted from it by the calendar of the zone."""
    found = next(periods("2026-03-28T12:00:00+00:00", "2026-04-01", "1d", "Europe/Berlin"))
    assert found == Period(datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 3, 29, 11, tzinfo=UTC))


def test_a_period_is_never_empty_and_has_a_zone() -> None:
    """A period without length, and one without a zone, are Invalid; whatever its zone, it is in UTC."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(Invalid, match="not after"):
        Period(at, at)
    with pytest.raises(Invalid, match="no time zone"):
        Period(at.replace(tzinfo=None), at)
    local = Period(at.astimezone(ZoneInfo("Asia/Tokyo")), pendulum.instance(at).add(hours=1))
    assert (local.start, type(local.end)) == (at, datetime)
    assert local.start.tzinfo is UTC


@settings(deadline=None)
@given(
    st.sampled_from(ZONES),
    st.sampled_from(["15m", "1h", "6h", "1d", "1w", "1M", "3M", "1y"]),
    st.datetimes(datetime(2000, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),
    st.integers(1, 5),
    st.timedeltas(timedelta(0), timedelta(days=40)),
)
def test_the_latest_periods_are_the_same_whenever_asked(
    zone: str, every: str, now: datetime, count: int, later: timedelta
) -> None:
    """The latest periods have ended, no other follows them by now, and asked later they are on the same grid."""
    found = latest(count, every, zone, now)
    assert len(found) == count
    assert found[-1].end <= now
    again = latest(400 if every in ("15m", "1h") else 40, every, zone, now + later)
    if again[0].start <= found[0].start:
        assert set(found) <= set(again)


@pytest.mark.parametrize("every", ["5h", "3d", "5M"])
def test_lengths_without_a_beginning_are_refused(every: str) -> None:
    """The latest periods of a length that divides neither day nor year would differ from one day to the next."""
    with pytest.raises(Invalid, match="say since when"):
        latest(1, every)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("America/Sao_Paulo", "2018-11-04", [23, 24, 24]),  # midnight was skipped
        ("America/Havana", "2026-10-31", [24, 25, 24]),  # midnight comes twice
    ],
)
def test_days_begin_at_midnight_where_clocks_change_at_midnight(zone: str, day: str, hours: list[int]) -> None:
    """A skipped midnight moves its own day alone, and one that comes twice is the first; asked for either way."""
    begin = datetime.fromisoformat(day)
    found = list(periods(day, begin + timedelta(days=3), "1d", zone))
    spans = [(each.start, each.end) for each in found]
    assert [(end - start) / timedelta(hours=1) for start, end in spans] == hours
    assert latest(3, "1d", zone, found[-1].end) == found
    assert {end.astimezone(ZoneInfo(zone)).hour for _, end in spans} == {0}
