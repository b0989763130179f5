"""Serving performance is collected by a task, from a real data base and a real server, for a DAG run's interval."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow_home import airflow, graph, returned, run, states
from answering_server import Asked, answering
from conftest import dump

from arangopipe_ops import stages
from arangopipe_ops.airflow import compat
from arangopipe_ops.airflow.operators import CollectServingPerfOperator
from arangopipe_ops.errors import Invalid

__all__ = ["airflow", "graph"]
pytestmark = pytest.mark.slow

TAGS = ("wine-1", "wine-2", "wine-3")
QUERY = "SELECT deployment, period_start, accuracy FROM served WHERE period_start >= :period_start"
SECRET = "hunter2-and-more"


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


def windowed(interval: tuple[str, str], zone: str, dag: Any = None, **arguments: Any) -> list[str]:
    """The lengths in hours of the periods that a task is about, in a DAG run with that interval."""
    with dag or daily(zone):
        task = CollectServingPerfOperator(task_id="collect", sources=[], **arguments)
    start, end = (datetime.fromisoformat(each) for each in interval)
    context: Any = {"data_interval_start": start, "data_interval_end": end}
    return [f"{each.length.total_seconds() / 3600:g}" for each in task._periods(context)]


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


# --- connections -----------------------------------------------------------------------------------------


def answer(asked: Asked) -> tuple[int, str]:
    if asked.headers.get("Authorization") not in (f"Bearer {SECRET}", "Basic bWw6aHVudGVyMi1hbmQtbW9yZQ=="):
        return 401, "{}"
    return (200, '{"accuracy": 0.5}') if "wine-2" not in asked.path else (500, SECRET)


@pytest.mark.parametrize("login", ["", "ml"])
def test_a_connection_gives_url_and_credentials(
    wine: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], login: str
) -> None:
    """The server gets them; log, XCom and rendered templates do not, not even what the server says of them."""
    with answering(answer) as server, daily() as built:
        connection = {"conn_type": "http", "host": "127.0.0.1", "port": server.server_port, "password": SECRET}
        monkeypatch.setenv("AIRFLOW_CONN_MODELS", json.dumps({**connection, "login": login}))
        CollectServingPerfOperator(
            task_id="collect",
            sources=[{"type": "http", "conn_id": "models", "url": "/{deployment}/{period_start}", "attempts": 1}],
        )
        dag_run = run(built, **day(3))
    assert states(dag_run) == {"collect": "failed"}
    assert stored(wine) == {(tag, "2026-05-03T00:00", "http"): 0.5 for tag in ("wine-1", "wine-3")}
    assert {each.path.split("/")[1] for each in server.asked} == set(TAGS)
    found = returned(dag_run, "collect")
    assert [each["deployment"] for each in found["faults"]] == ["wine-2"]
    from airflow.models.renderedtifields import RenderedTaskInstanceFields

    rendered = RenderedTaskInstanceFields.get_templated_fields(dag_run.get_task_instance("collect"))
    printed = capfd.readouterr()
    assert "wine-2 by http" in printed.out
    assert "models" in str(rendered)
    assert SECRET not in f"{found}{printed.out}{printed.err}{rendered}"


def test_a_data_base_is_a_connection(wine: Any, served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host of an SQLite connection is the file, as in Airflow's own provider."""
    monkeypatch.setenv("AIRFLOW_CONN_LABELS", json.dumps({"conn_type": "sqlite", "host": f"{tmp_path}/served.db"}))
    with daily() as built:
        CollectServingPerfOperator(task_id="collect", sources=[{"type": "sql", "conn_id": "labels", "query": QUERY}])
    assert states(run(built, **day(3))) == {"collect": "success"}
    assert len(stored(wine)) == 3


def resolved(monkeypatch: pytest.MonkeyPatch, source: Any, **connection: Any) -> Any:
    from arangopipe_ops.airflow.source_connections import connected

    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(connection))
    return connected({**source, "conn_id": "other"})


@pytest.mark.parametrize(
    ("type_", "connection", "expected"),
    [
        ("sql", {"conn_type": "postgres", "host": "db", "login": "a b", "password": "p@ss/word", "schema": "ml"},
         {"url": "postgresql://a%20b:p%40ss%2Fword@db/ml"}),
        ("sql",
         {"conn_type": "postgres", "host": "db", "port": 5433, "extra": {"sqlalchemy_scheme": "postgresql+psycopg"}},
         {"url": "postgresql+psycopg://db:5433/"}),
        ("prometheus", {"conn_type": "http", "host": "https://prom.example.com/"}, {"url": "https://prom.example.com"}),
        ("mlflow",
         {"conn_type": "http", "schema": "https", "host": "mlflow", "port": 5000, "extra": {"token": "abcdef"}},
         {"url": "https://mlflow:5000", "token": "abcdef"}),
        ("prometheus",
         {"conn_type": "http", "host": "p", "extra": {"headers": {"X-Scope-OrgID": "ml"}, "verify": False}},
         {"url": "http://p", "headers": {"X-Scope-OrgID": "ml"}, "verify": False}),
    ],
)  # fmt: skip
def test_what_a_connection_stands_for(
    airflow: None, monkeypatch: pytest.MonkeyPatch, type_: str, connection: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Each type of source gets its options, and keeps its own."""
    found = resolved(monkeypatch, {"type": type_, "name": "own"}, **connection)
    assert found == {"type": type_, "name": "own", **expected}


@pytest.mark.parametrize(("type_", "problem"), [("files", "is not for"), ("http", "has no host")])
def test_a_connection_that_does_not_fit_is_refused(
    airflow: None, monkeypatch: pytest.MonkeyPatch, type_: str, problem: str
) -> None:
    """The error says what is wrong with it."""
    with pytest.raises(Invalid, match=problem):
        resolved(monkeypatch, {"type": type_}, conn_type="http")


def test_parsing_it_loads_nothing_that_only_tasks_need() -> None:
    """The module that a DAG imports names no room but errors and airflow at its top."""
    import ast
    import inspect

    from arangopipe_ops.airflow.operators import collection

    tops: Sequence[Any] = ast.parse(inspect.getsource(collection)).body
    ours = [str(node.module).split(".") for node in tops if isinstance(node, ast.ImportFrom)]
    assert {names[1] for names in ours if names[0] == "arangopipe_ops"} == {"airflow", "errors"}
