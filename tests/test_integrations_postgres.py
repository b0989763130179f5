"""A real PostgreSQL as a source: predictions and their outcomes, its types and time zones, and how it fails."""

import math
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy
from airflow_service import free_port
from real_servers import PASSWORD, postgres

from arangopipe_ops.errors import Invalid, Unauthorized, Unavailable
from arangopipe_ops.integrations.source import Period, Row
from arangopipe_ops.integrations.sql import read
from arangopipe_ops.serving import periods

pytest.importorskip("psycopg")
pytestmark = pytest.mark.slow

DAYS = list(periods("2026-10-23", "2026-10-27", "1d", "Europe/Berlin"))  # one of these days has 25 hours
NAMES = ["iris", "wine"]
QUERY = """SELECT deployment, {time} AS time, prediction, outcome FROM predictions LEFT JOIN outcomes USING (id)
  WHERE {time} >= :period_start AND {time} < :period_end AND deployment IN :deployments"""


def made() -> list[tuple[int, str, datetime, int, int | None]]:
    """Predictions over more than the days, some exactly at their bounds; some have no outcome yet."""
    chance = random.Random(5)
    times = [DAYS[0].start + timedelta(hours=chance.uniform(-20, 120)) for _ in range(300)]
    times += [bound for day in DAYS for bound in (day.start, day.end - timedelta(microseconds=1))]
    rows = [(name, at, chance.randrange(2)) for name in (*NAMES, "other") for at in times]
    return [(i, *row, row[-1] if chance.random() < 0.7 else None if chance.random() < 0.3 else 1 - row[-1])
            for i, row in enumerate(rows)]  # fmt: skip


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The URL of a data base in New York that has predictions, and outcomes apart from them."""
    with postgres() as port:
        place = f"postgresql://ml:{quote(PASSWORD)}@127.0.0.1:{port}/postgres"
        engine = sqlalchemy.create_engine(place)
        with engine.begin() as connection:
            for statement in (
                "CREATE TABLE predictions (id int, deployment text, at timestamptz, utc timestamp, prediction int)",
                "CREATE TABLE outcomes (id int, outcome int)",
                "ALTER DATABASE postgres SET timezone = 'America/New_York'",
            ):
                connection.exec_driver_sql(statement)
            for i, name, at, prediction, outcome in made():
                values = (i, name, at, at.replace(tzinfo=None), prediction)
                connection.exec_driver_sql("INSERT INTO predictions VALUES (%s, %s, %s, %s, %s)", values)
                if outcome is not None:
                    connection.exec_driver_sql("INSERT INTO outcomes VALUES (%s, %s)", (i, outcome))
        engine.dispose()
        yield place


def expected() -> dict[tuple[str, Period], Any]:
    """The figures of each deployment and day, the plain way."""
    found = {}
    for name in NAMES:
        for day in DAYS:
            raw = [each for each in made() if each[1] == name and day.start <= each[2] < day.end]
            known = [prediction == outcome for *_, prediction, outcome in raw if outcome is not None]
            figures = {"predictions": len(raw), "outcomes": len(known), "accuracy_score": sum(known) / len(known)}
            found[name, day] = pytest.approx(figures, rel=1e-12)
    return found


@pytest.mark.parametrize("column", ["at", "utc"], ids=["with a zone", "without"])
def test_figures_are_those_of_the_raw_predictions(url: str, column: str) -> None:
    """Whether times have a zone or not, and whatever zone the data base is in, each prediction is in its day."""
    query, metrics = QUERY.format(time=column), {"metrics": ["accuracy_score"]}
    found = list(read(DAYS, NAMES, url=url, query=query, outcomes=metrics))
    assert {(row.deployment, row.period): row.metrics for row in found if isinstance(row, Row)} == expected()


def test_one_query_groups_by_days_in_utc(url: str) -> None:
    """A query that makes days of its times itself makes them in UTC, as its bounds are."""
    days = list(periods("2026-10-24", "2026-10-26", "1d"))
    query = """SELECT deployment, at::date AS period_start, count(*) AS n FROM predictions
      WHERE at >= :period_start AND at < :period_end GROUP BY 1, 2"""
    found = list(read(days, NAMES, url=url, query=query, together=True))
    counts = {(row.deployment, row.period): row.metrics["n"] for row in found if isinstance(row, Row)}
    assert counts == {
        (name, day): sum(each[1] == name and day.start <= each[2] < day.end for each in made())
        for name in NAMES
        for day in days
    }


def test_its_numbers(url: str) -> None:
    """Exact numbers are numbers; NaN and infinity, which PostgreSQL has in them too, are none."""
    numbers = {"whole": "5::numeric", "exact": "0.25::numeric", "nan": "'NaN'::numeric", "inf": "'Infinity'::numeric",
               "odd": "'-Infinity'::float8", "empty": "NULL::float8"}  # fmt: skip
    query = f"SELECT 'wine' AS deployment, {', '.join(f'{value} AS {name}' for name, value in numbers.items())}"
    [row] = read(DAYS[:1], NAMES, url=url, query=query)
    assert isinstance(row, Row)
    assert (row.metrics["whole"], row.metrics["exact"], row.missing) == (5, 0.25, ["empty"])
    assert math.isnan(row.metrics["nan"])
    assert (row.metrics["inf"], row.metrics["odd"]) == (math.inf, -math.inf)


def test_a_slow_query_is_ended(url: str) -> None:
    """A query that takes too long is an error that says so, and does not go on in the data base."""
    started = time.monotonic()
    with pytest.raises(Unavailable, match=r"did not answer the query within 0\.3 s"):
        list(read(DAYS, NAMES, url=url, query="SELECT 'wine' AS deployment, pg_sleep(60)", timeout=0.3))
    assert time.monotonic() - started < 10
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        going = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(60)%'"
        assert connection.execute(sqlalchemy.text(f"{going} AND pid <> pg_backend_pid()")).scalar() == 0
    engine.dispose()


@pytest.mark.parametrize("wrong", ["port", "password"])
def test_one_that_cannot_be_asked(url: str, wrong: str) -> None:
    """A data base that is not there, and a password that is wrong, are errors that do not tell the password."""
    secret = quote(PASSWORD)
    other = url.replace(secret, "hunter22") if wrong == "password" else f"{url.rpartition(':')[0]}:{free_port()}/x"
    error, says = {
        "port": (Unavailable, "the data base does not answer the query"),
        "password": (Unauthorized, "refuses the credentials: .*password authentication failed"),
    }[wrong]
    with pytest.raises(error, match=says) as caught:
        list(read(DAYS, NAMES, url=other, query="SELECT 1"))
    assert not {secret, PASSWORD, "hunter22"} & set(str(caught.value).split())


@pytest.mark.parametrize(
    ("query", "error", "says"),
    [
        ("SELECT x FROM nothing", Invalid, 'relation "nothing" does not exist'),
        ("SELECT x FROM outcomes", Invalid, 'column "x" does not exist'),
        ("SELECT 1 / 0", Unavailable, "division by zero"),
    ],
)
def test_a_query_that_is_refused(url: str, query: str, error: type[Exception], says: str) -> None:
    """What the data base cannot make sense of is wrong, what fails for the data of today may do tomorrow."""
    with pytest.raises(error, match=says):
        list(read(DAYS, NAMES, url=url, query=query))


def test_nothing_is_written(url: str) -> None:
    """A query that would change something is refused."""
    gone = "WITH gone AS (DELETE FROM outcomes RETURNING 1) SELECT 'wine' AS deployment, count(*) AS n FROM gone"
    with pytest.raises(Invalid, match=r"query: is refused by the data base: .*data-modifying"):
        list(read(DAYS, NAMES, url=url, query=gone))
    [row] = read(DAYS[:1], NAMES, url=url, query="SELECT 'wine' AS deployment, count(*) AS n FROM outcomes")
    assert isinstance(row, Row)
    assert row.metrics["n"] == sum(each[-1] is not None for each in made())


def test_the_time_is_now(url: str) -> None:
    """The session is in UTC, also for what the query itself asks the data base."""
    query = "SELECT 'wine' AS deployment, extract(hour FROM now()) AS hour, current_setting('TIMEZONE') AS zone"
    before = datetime.now(UTC)
    [row] = read(DAYS[:1], NAMES, url=url, query=query)
    assert isinstance(row, Row)
    assert row.metrics["zone"] == "UTC"
    assert row.metrics["hour"] in (before.hour, datetime.now(UTC).hour)
