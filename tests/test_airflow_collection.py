"""Serving performance is collected by a task, from a real data base and a real server, for a DAG run's interval."""

import asyncio
import random
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from airflow_home import airflow, graph, returned, run, states
from conftest import dump

from arangopipe_ops import stages
from arangopipe_ops.airflow import compat
from arangopipe_ops.airflow.operators import CollectServingPerfOperator
from arangopipe_ops.errors import Invalid, Unauthorized
from arangopipe_ops.model import moment
from arangopipe_ops.serving import Period, Row

__all__ = ["airflow", "graph"]
pytestmark = pytest.mark.slow

TAGS = ("wine-1", "wine-2", "wine-3")
QUERY = "SELECT deployment, period_start, accuracy FROM served WHERE period_start >= :period_start"
YEAR = {
    "type": "sql",
    "url": "sqlite://",
    "times": "epoch",
    "query": """SELECT 'wine-1' deployment, :period_start period_start, 0.9 accuracy,
      (:period_end - :period_start) / 3600 hours""",
}
"""A source that knows how long each period was."""

HAS_STATE = compat.HAS_RETRY_POLICIES  # both since Airflow 3.3


@pytest.fixture
def wine(graph: Any) -> Any:
    """Three deployments, of which one is active in each environment."""
    deployed = [stages.register_deployment(tag, project="wine", model="forest", environment=tag) for tag in TAGS]
    graph.write_many([stages.register_project("wine"), stages.register_model("forest", project="wine"), *deployed])
    return graph


@pytest.fixture
def served(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A data base of figures: two days of May for each deployment."""
    connection = sqlite3.connect(tmp_path / "served.db")
    connection.execute("CREATE TABLE served (deployment, period_start, accuracy)")
    rows = [(tag, f"2026-05-0{day} 00:00:00", 0.9 - day / 100) for tag in TAGS for day in (3, 4)]
    connection.executemany("INSERT INTO served VALUES (?, ?, ?)", rows)
    connection.commit()
    yield connection
    connection.close()


def source(folder: Path) -> dict[str, Any]:
    return {"type": "sql", "name": "labels", "url": f"sqlite:///{folder}/served.db", "query": QUERY}


def daily(zone: str = "UTC", **settings: Any) -> Any:
    from airflow.sdk import DAG
    from airflow.timetables.interval import CronDataIntervalTimetable

    start = datetime(2026, 1, 1, tzinfo=UTC)
    return DAG("serving", schedule=CronDataIntervalTimetable("@daily", zone), start_date=start, **settings)


def day(number: int) -> dict[str, Any]:
    """The DAG run whose interval is that day of May."""
    at = datetime(2026, 5, number + 1, tzinfo=UTC)
    return {"logical_date": at, "run_after": at}


def stored(store: Any) -> dict[tuple[str, str, str], Any]:
    """The accuracy by deployment, start of the period and source; what is there twice fails the test."""
    nodes = list(store.db.collection("servingperf").all())
    tags = {each["_key"]: each["tag"] for each in store.db.collection("deployment").all()}
    found = {(tags[n["deployment"]], n["period_start"][:16], n["source"]): n.get("accuracy") for n in nodes}
    assert len(found) == len(nodes)
    return found


def test_a_day_is_collected_once(wine: Any, served: Any, tmp_path: Path) -> None:
    """The period is the data interval; doing it again changes nothing, and the answer says what was done."""
    with daily() as built:
        CollectServingPerfOperator(task_id="collect", sources=[source(tmp_path)])
    dag_run = run(built, **day(3))
    assert states(dag_run) == {"collect": "success"}
    assert stored(wine) == {(tag, "2026-05-03T00:00", "labels"): 0.87 for tag in TAGS}
    expected = {"periods": 1, "deployments": 3, "created": 3, "revised": 0, "same": 0, "known": 0}
    assert returned(dag_run, "collect") == {**expected, "faults": [], "alerts": [], "more_faults": 0, "more_alerts": 0}
    before = dump(wine.db)
    again = run(built, **day(3))
    assert dump(wine.db) == before
    assert returned(again, "collect")["same"] == 3


def test_shards_and_dates_by_hand(wine: Any, served: Any, tmp_path: Path) -> None:
    """Mapped over shards of deployments, each task collects its own; a range of days is one collection."""
    with daily() as built:
        CollectServingPerfOperator.partial(
            task_id="collect", sources=[source(tmp_path)], since="{{ params.since }}", until="{{ params.until }}"
        ).expand(deployments=[["wine-1", "wine-3"], ["wine-2"]])
    built.params = {"since": "2026-05-03", "until": "2026-05-05"}
    dag_run = run(built, logical_date=None)
    assert states(dag_run) == {"collect[0]": "success", "collect[1]": "success"}
    assert [returned(dag_run, "collect", index)["created"] for index in (0, 1)] == [4, 2]
    assert len(stored(wine)) == 6


def test_a_retry_asks_for_what_is_missing(
    wine: Any, served: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What can be had is written; the error names the others, the retry asks only for them, and a clear for all."""
    served.execute("DELETE FROM served WHERE deployment = 'wine-2'")
    served.commit()

    def arrive(context: Any) -> None:
        with sqlite3.connect(tmp_path / "served.db") as late:
            late.execute("INSERT INTO served VALUES ('wine-2', '2026-05-03 00:00:00', 0.5)")
            late.execute("UPDATE served SET accuracy = 0.1 WHERE deployment = 'wine-1'")

    with daily() as built:
        CollectServingPerfOperator(
            task_id="collect",
            sources=[source(tmp_path)],
            retries=1,
            retry_delay=timedelta(0),
            on_retry_callback=arrive,
        )
    dag_run = run(built, **day(3))
    ti = dag_run.get_task_instance("collect")
    assert (ti.state, ti.try_number) == ("success", 2)
    found = returned(dag_run, "collect")
    assert [found[name] for name in ("created", "known", "faults")] == [1, 2, []]
    assert stored(wine)["wine-2", "2026-05-03T00:00", "labels"] == 0.5
    assert stored(wine)["wine-1", "2026-05-03T00:00", "labels"] == 0.87
    said = capsys.readouterr().out
    assert "wine-2 by labels in 1 periods from 2026-05-03" in said
    assert "wine-1 by labels" not in said


def test_a_retry_tells_the_alerts_of_the_attempt_before(wine: Any, served: Any, tmp_path: Path) -> None:
    """An attempt that raised an alert failed for another deployment: the answer of the last attempt has both."""
    rules = [{"metric": "accuracy", "threshold": 0.9}]
    ruled = stages.register_deployment("wine-1", project="wine", model="forest", environment="wine-1", alerts=rules)
    wine.write(ruled, on_conflict="revise")
    served.execute("DELETE FROM served WHERE deployment = 'wine-2'")
    served.commit()
    with daily() as built:
        CollectServingPerfOperator(task_id="collect", sources=[source(tmp_path)], retries=1, retry_delay=timedelta(0))
    dag_run = run(built, **day(3))
    assert dag_run.get_task_instance("collect").try_number == 2
    told = [(each["deployment"], each["rule"], each["state"]) for each in returned(dag_run, "collect")["alerts"]]
    expected = [("wine-1", "accuracy limit", "raised"), ("wine-2", "collected from labels", "raised")]
    assert sorted(told) == expected
    assert returned(run(built, **day(4)), "collect")["alerts"] == []


@pytest.mark.parametrize(
    ("attempt", "most", "retry"), [(1, 2, False), (2, 2, True), (2, 3, False), (3, 3, True), (3, 4, False)]
)
def test_a_clear_is_no_retry(attempt: int, most: int, retry: bool) -> None:
    """Airflow counts attempts on after a clear, and raises their most by the retries: these are 2 and begin anew."""
    from arangopipe_ops.airflow.operators.collection import _is_retry

    ti: Any = SimpleNamespace(try_number=attempt, max_tries=most)
    assert _is_retry(SimpleNamespace(retries=2), {"ti": ti}) is retry  # type: ignore[typeddict-item]


@pytest.mark.parametrize(("on_faults", "state"), [("fail", "failed"), ("warn", "success")])
def test_what_failed_is_in_the_answer(wine: Any, served: Any, tmp_path: Path, on_faults: Any, state: str) -> None:
    """One dead source loses nothing of the other; whether the task fails for it can be chosen."""
    dead = {"type": "sql", "name": "dead", "url": f"sqlite:///{tmp_path}/none/none.db", "query": QUERY}
    with daily() as built:
        CollectServingPerfOperator(task_id="collect", sources=[dead, source(tmp_path)], on_faults=on_faults)
    dag_run = run(built, **day(4))
    assert states(dag_run) == {"collect": state}
    assert stored(wine) == {(tag, "2026-05-04T00:00", "labels"): 0.86 for tag in TAGS}
    [fault] = returned(dag_run, "collect")["faults"]
    assert (fault["source"], fault["deployment"], fault["periods"]) == ("dead", None, 1)


def test_no_work_is_lost_when_nothing_can_be_written(
    wine: Any, served: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong with the arguments fails at once; as a warning, the task succeeds without an answer."""
    with daily() as built:
        for choice in ("fail", "warn"):
            CollectServingPerfOperator(
                task_id=choice, sources=[source(tmp_path)], deployments=["none"], retries=2, on_metadata_error=choice
            )
    dag_run = run(built, **day(3))
    assert states(dag_run) == {"fail": "failed", "warn": "success"}
    assert dag_run.get_task_instance("fail").try_number == (1 if compat.HAS_RETRY_POLICIES else 3)
    assert returned(dag_run, "warn") is None
    assert "Deployment 'none'" in capsys.readouterr().out


def test_a_run_without_an_interval_says_what_it_needs(
    wine: Any, served: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It fails and writes nothing."""
    with daily() as built:
        CollectServingPerfOperator(task_id="collect", sources=[source(tmp_path)])
    assert states(run(built, logical_date=None)) == {"collect": "failed"}
    assert "give since and until" in capsys.readouterr().out
    assert stored(wine) == {}


def windowed(interval: tuple[str, str], zone: str, **arguments: Any) -> list[str]:
    """The lengths in hours of the periods that a task is about, in a DAG run with that interval."""
    start, end = (datetime.fromisoformat(each) for each in interval)
    return lengths(daily(zone), arguments, data_interval_start=start, data_interval_end=end)


def lengths(dag: Any, arguments: dict[str, Any], **context: Any) -> list[str]:
    with dag:
        task = CollectServingPerfOperator(task_id="collect", sources=[], **arguments)
    window = task._window({"dag": dag, **context}, None)  # type: ignore[typeddict-item]
    return [f"{each.length.total_seconds() / 3600:g}" for each in window]


@pytest.mark.parametrize(
    ("zone", "interval", "every", "hours"),
    [
        ("Europe/Berlin", ("2026-03-28T23:00+00:00", "2026-03-29T22:00+00:00"), "1d", ["23"]),
        ("Europe/Berlin", ("2026-10-24T22:00+00:00", "2026-10-25T23:00+00:00"), "1d", ["25"]),
        ("America/New_York", ("2026-03-08T05:00+00:00", "2026-03-09T04:00+00:00"), "1d", ["23"]),
        ("America/New_York", ("2026-11-01T04:00+00:00", "2026-11-02T05:00+00:00"), "1d", ["25"]),
        ("Europe/Berlin", ("2026-10-24T22:00+00:00", "2026-10-25T23:00+00:00"), "5h", ["5"] * 5),
    ],
)
def test_days_are_those_of_the_schedule(zone: str, interval: tuple[str, str], every: str, hours: list[str]) -> None:
    """A day on which the clocks change has 23 or 25 hours, without anybody naming the time zone again."""
    assert windowed(interval, zone, every=every) == hours


@pytest.mark.parametrize(
    ("interval", "arguments"),
    [
        (("2026-05-03T00:00+00:00", "2026-05-03T00:00+00:00"), {}),
        (("2026-05-03T00:00+00:00", "2026-05-03T01:00+00:00"), {}),
        (("2026-03-28T23:00+00:00", "2026-03-29T22:00+00:00"), {"timezone": "UTC"}),
        (("2026-10-24T22:00+00:00", "2026-10-25T23:00+00:00"), {"timezone": "UTC"}),
        (("2026-05-03T00:00+00:00", "2026-05-04T00:00+00:00"), {"every": "5h"}),
        (("2026-05-03T00:00+00:00", "2026-05-04T00:00+00:00"), {"since": "2026-05-03"}),
    ],
)
def test_an_interval_that_periods_do_not_fill_is_refused(interval: tuple[str, str], arguments: dict[str, Any]) -> None:
    """No hour is passed over in silence: the error names the interval and the cure."""
    with pytest.raises(Invalid, match="give"):
        windowed(interval, "Europe/Berlin", **arguments)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
def test_a_year_is_backfilled(wine: Any, zone: str) -> None:
    """The days that Airflow's backfill makes of a year, in any order and some of them twice, are one node each."""
    from airflow.serialization.serialized_objects import DagSerialization

    with daily(zone) as built:
        task = CollectServingPerfOperator(task_id="collect", sources=[YEAR], deployments=["wine-1"])
    scheduled = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(built))
    year = (datetime(2025, 1, 1, tzinfo=ZoneInfo(zone)), datetime(2025, 12, 31, tzinfo=ZoneInfo(zone)))
    days = [info.data_interval for info in scheduled.iter_dagrun_infos_between(*year)]
    ti = SimpleNamespace(try_number=1, max_tries=0)
    chance = random.Random(zone)
    for day in chance.sample(days, len(days)) + chance.sample(days, 20):
        context: Any = {"dag": built, "ti": ti, "data_interval_start": day.start, "data_interval_end": day.end}
        assert task.record(wine, context)["faults"] == []
    begins = [datetime(2025, 1, 1) + timedelta(days=number) for number in range(366)]
    bounds = [moment(each.replace(tzinfo=ZoneInfo(zone)), "day") for each in begins]
    found = list(wine.db.collection("servingperf").all())
    assert sorted((each["period_start"], each["period_end"]) for each in found) == list(pairwise(bounds))
    assert {each["hours"] for each in found} == {23, 24, 25}


# --- partitions ------------------------------------------------------------------------------------------


def partitioned(zone: str) -> Any:
    from airflow.sdk import DAG, CronPartitionTimetable

    schedule = CronPartitionTimetable("@daily", timezone=zone, run_offset=-1)
    return DAG("partitions", schedule=schedule, start_date=datetime(2026, 1, 1, tzinfo=UTC))


def of_partition(key: str, patched: pytest.MonkeyPatch) -> None:
    """Have DAG runs be those of a partition, as the scheduler makes them."""
    from airflow.models import dagrun

    create = dagrun.get_or_create_dagrun

    def create_partition(*, dag: Any, session: Any, **kwargs: Any) -> Any:
        made = create(dag=dag, session=session, **kwargs)
        made.partition_key, made.partition_date = key, dag.timetable.resolve_partition_date(key)
        session.commit()
        return made

    patched.setattr(dagrun, "get_or_create_dagrun", create_partition)


@pytest.mark.skipif(not HAS_STATE, reason="Airflow tells tasks of partitions since 3.3")
@pytest.mark.parametrize(("zone", "hours"), [("Europe/Berlin", 23), ("UTC", 24)])
def test_a_partition_is_a_period(
    wine: Any, served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str, hours: int
) -> None:
    """The day of a partition's key is that of the timetable's zone; collected again it is the same node."""
    of_partition("2026-03-29T00:00:00", monkeypatch)
    for created in (1, 0):
        with partitioned(zone) as built:
            CollectServingPerfOperator(task_id="collect", sources=[YEAR], deployments=["wine-1"])
        dag_run = run(built, logical_date=None)
        assert states(dag_run) == {"collect": "success"}
        assert returned(dag_run, "collect")["created"] == created
    [node] = wine.search("ServingPerf")["nodes"]
    start, end = (datetime.fromisoformat(node[name]) for name in ("period_start", "period_end"))
    assert start == datetime(2026, 3, 29, tzinfo=ZoneInfo(zone))
    assert (end - start) == timedelta(hours=hours)


def by_assets() -> Any:
    from airflow.sdk import DAG, Asset

    return DAG("by_assets", schedule=[Asset("predictions")], start_date=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("key", "date", "arguments", "hours"),
    [
        ("2026-05-03", None, {}, "24"),
        ("2026-05-03T04", None, {"every": "1h"}, "1"),
        ("2026-03-29", None, {"timezone": "Europe/Berlin"}, "23"),
        ("2026-02", datetime(2026, 2, 1, tzinfo=UTC), {"every": "1M"}, "672"),
        ("us|2026-10-25", datetime(2026, 10, 24, 22, tzinfo=UTC), {"timezone": "Europe/Berlin"}, "25"),
    ],
)
def test_what_a_partition_is_about(key: str, date: Any, arguments: dict[str, Any], hours: str) -> None:
    """Where it begins is what Airflow read in its key, or what the key is in ISO 8601."""
    assert lengths(by_assets(), arguments, partition_key=key, partition_date=date) == [hours]


@pytest.mark.parametrize(
    ("key", "date", "problem"),
    [
        ("us", None, "'us' tells no period"),
        ("2026-02", None, "'2026-02' tells no period"),
        ("2026-05-03", datetime(2026, 5, 2, 22, tzinfo=UTC), "no midnight in UTC; give the one whose days they are"),
    ],
)
def test_a_partition_that_tells_no_period_is_refused(key: str, date: Any, problem: str) -> None:
    """What is no time, or midnight somewhere else, is not guessed."""
    with pytest.raises(Invalid, match=problem):
        lengths(by_assets(), {}, partition_key=key, partition_date=date)


# --- since the last time ---------------------------------------------------------------------------------


def hourly_since(folder: Path, **arguments: Any) -> Any:
    """A DAG that collects all days since 3 May of which not all is told."""
    from airflow.sdk import DAG, Asset

    seen = Asset("wine serving")
    with DAG("since", schedule=None) as built:
        CollectServingPerfOperator(
            task_id="collect", sources=[source(folder)], since="2026-05-03", watermark=seen, inlets=[seen], **arguments
        )
    return built


def collected(built: Any, number: int) -> Any:
    """What the collection returns in a DAG run that is due in the night after that day of May."""
    dag_run = run(built, logical_date=None, run_after=datetime(2026, 5, number + 1, 1, tzinfo=UTC))
    return returned(dag_run, "collect")


def test_a_watermark_moves_when_all_is_told(wine: Any, served: Any, tmp_path: Path) -> None:
    """Each run is about what ended since; if a source could not tell all, the next asks again, only for that."""
    figures = ("periods", "created", "known")

    def told(number: int) -> list[int]:
        answer = collected(hourly_since(tmp_path), number)
        return [*(answer[name] for name in figures), len(answer["faults"])]

    assert told(3) == [1, 3, 0, 0]
    assert told(3) == ([0, 0, 0, 0] if HAS_STATE else [1, 0, 3, 0])
    served.execute("DELETE FROM served WHERE deployment = 'wine-2'")
    served.commit()
    done = 0 if HAS_STATE else 1
    assert told(4) == [1 + done, 2, 3 * done, 1]
    rows = [(tag, f"2026-05-0{day} 00:00:00", 0.5) for tag, day in (("wine-2", 4), *((tag, 5) for tag in TAGS))]
    served.executemany("INSERT INTO served VALUES (?, ?, ?)", rows)
    served.commit()
    assert told(5) == [2 + done, 4, 2 + 3 * done, 0]
    assert told(5)[0] == (0 if HAS_STATE else 3)
    assert len(stored(wine)) == 9
    other = collected(hourly_since(tmp_path, deployments=["wine-1"]), 5)
    assert (other["periods"], other["known"]) == (3, 3)


def test_shards_have_watermarks_of_their_own(wine: Any, served: Any, tmp_path: Path) -> None:
    """Mapped, what one shard was not told holds back no other."""
    from airflow.sdk import DAG, Asset

    served.execute("DELETE FROM served WHERE deployment = 'wine-2'")
    served.commit()
    seen = Asset("wine serving")
    for shards in ([0, 1, 2], [1, 0, 2]):
        with DAG("since", schedule=None) as built:
            CollectServingPerfOperator.partial(
                task_id="collect", sources=[source(tmp_path)], since="2026-05-03", watermark=seen, inlets=[seen]
            ).expand(deployments=[[TAGS[shard]] for shard in shards])
        dag_run = run(built, logical_date=None, run_after=datetime(2026, 5, 4, 1, tzinfo=UTC))
        told = {TAGS[shard]: returned(dag_run, "collect", index) for index, shard in enumerate(shards)}
        assert [told[tag]["faults"] == [] for tag in TAGS] == [True, False, True]
    assert [told[tag]["periods"] for tag in TAGS] == ([0, 1, 0] if HAS_STATE else [1, 1, 1])


def test_a_watermark_needs_an_asset_and_a_beginning(graph: Any, tmp_path: Path) -> None:
    """Both are said by name."""
    from airflow.sdk import DAG, Asset

    seen = Asset("wine serving")
    with DAG("since", schedule=None), pytest.raises(Invalid, match="'wine serving' is no asset of this task"):
        CollectServingPerfOperator(task_id="collect", sources=[], since="2026-05-03", watermark=seen)
    with DAG("since", schedule=None) as built:
        CollectServingPerfOperator(task_id="collect", sources=[source(tmp_path)], watermark=seen, outlets=[seen])
    assert states(run(built, logical_date=None)) == {"collect": "failed"}


# --- waiting ---------------------------------------------------------------------------------------------

ASKED: list[list[str]] = []


def late(periods: Sequence[Period], deployments: Sequence[str], arrives: int) -> Iterator[Row]:
    """The figures of a source that knows wine-2 only when it is asked for the so manieth time."""
    ASKED.append(list(deployments))
    for tag in deployments:
        if tag != "wine-2" or len(ASKED) >= arrives:
            yield from (Row(tag, period, {"accuracy": 0.5}) for period in periods)


def refused(periods: Sequence[Period], deployments: Sequence[str], arrives: int) -> Iterator[Row]:
    """A source that knows nobody."""
    ASKED.append(list(deployments))
    raise Unauthorized("the password is wrong")


def hour_until(until: datetime, *, arrives: int = 1, source: Any = late, **arguments: Any) -> Any:
    """A DAG run about the hour until then."""
    ASKED.clear()
    name = source.__name__
    source = {"type": "python", "name": name, "call": f"{late.__module__}:{name}", "arrives": arrives}
    with daily() as built:
        CollectServingPerfOperator(
            task_id="collect",
            sources=[source],
            every="1h",
            since=until - timedelta(hours=1),
            until=until,
            poke_interval=0.1,
            retries=0,
            **arguments,
        )
    return run(built, logical_date=None)


@pytest.mark.parametrize("deferrable", [True, False])
def test_what_is_late_is_waited_for(wine: Any, deferrable: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """As long as there is patience, what is missing is asked for again, in the same attempt."""
    patience = timedelta(minutes=10)
    dag_run = hour_until(datetime.now(UTC), arrives=3, patience=patience, deferrable=deferrable)
    assert states(dag_run) == {"collect": "success"}
    assert [len(each) for each in ASKED] == [3, 1, 1]
    found = returned(dag_run, "collect")
    assert [found[name] for name in ("created", "known", "faults")] == [1, 2, []]
    assert sorted(stored(wine).values()) == [0.5] * 3
    assert [(alert["deployment"], alert["state"]) for alert in found["alerts"]] == [("wine-2", "cleared")]
    assert ("DEFERRED" in capsys.readouterr().out) is deferrable


def test_patience_has_an_end(wine: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Then the task fails, and names what was not told; of days long past it waits for nothing."""
    hour = timedelta(hours=1)
    dag_run = hour_until(datetime.now(UTC) - hour, arrives=2, patience=hour / 2, deferrable=True)
    assert states(dag_run) == {"collect": "failed"}
    assert len(ASKED) == 1
    assert "wine-2 by late in 1 periods" in capsys.readouterr().out


def test_patience_is_for_what_waiting_cures(wine: Any) -> None:
    """Credentials that are refused are refused later too: the task fails at once."""
    dag_run = hour_until(datetime.now(UTC), source=refused, patience=timedelta(seconds=5))
    assert states(dag_run) == {"collect": "failed"}
    assert len(ASKED) == 1
    [fault] = returned(dag_run, "collect")["faults"]
    assert (fault["message"], fault["lasting"]) == ("the password is wrong", True)


def test_a_worker_is_not_held_for_days(wine: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Periods that end far in the future are refused, with their end and the cure."""
    until = datetime(2126, 5, 3, tzinfo=UTC)
    assert states(hour_until(until, patience=timedelta(minutes=10))) == {"collect": "failed"}
    said = capsys.readouterr().out
    assert "2126-05-02 23:00:00+00:00 to 2126-05-03 00:00:00+00:00 has not ended" in said
    assert "at most 0:10:00; the triggerer waits with deferrable=True" in said
    assert ASKED == []


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_period_that_has_not_ended_is_waited_for(wine: Any, deferrable: bool) -> None:
    """Nothing is read before it ended and the delay is over."""
    until = datetime.now(UTC) + timedelta(seconds=1)
    delay = timedelta(seconds=3)
    dag_run = hour_until(until, delay=delay, patience=timedelta(minutes=1), deferrable=deferrable)
    assert states(dag_run) == {"collect": "success"}
    assert len(ASKED) == 1
    assert min(node["created"] for node in wine.search("ServingPerf")["nodes"]) >= moment(until + delay, "due")


def test_a_wait_is_handed_to_the_triggerer(wine: Any) -> None:
    """Deferred, the task ends; the trigger fires when it is time, and tells the task where to go on."""
    from airflow.sdk.exceptions import TaskDeferred

    task = CollectServingPerfOperator(task_id="collect", sources=[], deferrable=True)
    due = datetime.now(UTC) + timedelta(seconds=0.5)
    with pytest.raises(TaskDeferred) as deferred:
        task._wait(due, task.execute_again)
    assert deferred.value.method_name == "execute_again"
    asyncio.run(anext(deferred.value.trigger.run()))
    assert datetime.now(UTC) >= due
    task._wait(due, task.execute_again)


def test_a_deferrable_task_has_retries() -> None:
    """Two, as deferred sensors have, unless it says otherwise."""
    given: Any = {"task_id": "collect", "sources": []}
    assert CollectServingPerfOperator(**given, deferrable=True).retries == compat.DEFERRED_RETRIES
    assert CollectServingPerfOperator(**given, deferrable=True, retries=0).retries == 0
    assert CollectServingPerfOperator(**given).retries == 0


def test_parsing_it_loads_nothing_that_only_tasks_need() -> None:
    """The module that a DAG imports names no room but errors and airflow at its top."""
    import ast
    import inspect

    from arangopipe_ops.airflow.operators import collection

    tops: Sequence[Any] = ast.parse(inspect.getsource(collection)).body
    ours = [str(node.module).split(".") for node in tops if isinstance(node, ast.ImportFrom)]
    assert {names[1] for names in ours if names[0] == "arangopipe_ops"} == {"airflow", "errors"}
