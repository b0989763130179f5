"""A real Airflow collects, interval by interval, what real monitoring systems measured of a model server.

`dags/collect_serving_performance.py` runs as it is on a schedule of seconds, with the Variable that names its sources.
What it leaves in the graph is compared with the raw predictions, which the model server kept.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from airflow_service import AirflowService, running
from model_server import ModelServer, accuracy, ask, of, serving
from real_servers import PASSWORD, log_run, mlflow, post, postgres, prometheus
from served_database import PASSWORD as GRAPH_PASSWORD
from served_database import ServedDatabase, served

from arangopipe_ops.admin import provision
from arangopipe_ops.serving import Period, gaps, periods
from arangopipe_ops.store import Store

psycopg = pytest.importorskip("psycopg")
pytestmark = [pytest.mark.slow, pytest.mark.airflow]

DAG = "collect_serving_performance"
NORTH, SOUTH = GRADERS = ("apple grader north", "apple grader south")
SECONDS = 20
EVERY = timedelta(seconds=SECONDS)
RUNS = 3

LEAST = 0.97 - 0.05
"""What the DAG's gate lets pass, by the accuracy in training."""

RISEN = "{0} - {0} offset $period unless resets({0}[$period]) > 0"
METRICS = {
    "predictions": RISEN.format("predictions_total"),
    "accuracy": f"({RISEN.format('right_total')}) / ({RISEN.format('predictions_total')})",
}
QUERY = """SELECT deployment, time, prediction, outcome FROM predictions
  WHERE time >= :period_start AND time < :period_end AND deployment IN :deployments"""
LABELLED = {"type": "sql", "query": QUERY, "outcomes": {"metrics": {"accuracy": "accuracy_score"}}}
SOURCES = [
    {"type": "prometheus", "conn_id": "prometheus", "metrics": METRICS},
    {"type": "mlflow", "conn_id": "mlflow", "experiments": ["apple grading"]},
    {**LABELLED, "name": "postgres", "conn_id": "postgres"},
    {**LABELLED, "name": "sqlite", "conn_id": "sqlite"},
]


class Production:
    """Apples come and are graded, in each period some; what was said is logged, and evaluated before the period ends.

    It keeps away from the bounds of the periods, so that Prometheus has scraped what it did in one of them.
    """

    def __init__(self, model: ModelServer, url: str, mlflow: str, postgres: str, sqlite: Path) -> None:
        self.model, self.url, self.mlflow, self.postgres, self.sqlite = model, url, mlflow, postgres, sqlite
        self.experiment = post(mlflow, "experiments/create", name="apple grading")["experiment_id"]
        self.first = self.period_after(datetime.now(UTC))
        self.error: BaseException | None = None
        table = "CREATE TABLE predictions (deployment text, time {}, prediction text, outcome text)"
        with psycopg.connect(postgres) as connection:
            connection.execute(table.format("timestamptz"))
        with closing(sqlite3.connect(sqlite)) as file, file:
            file.execute(table.format("text"))

    @staticmethod
    def period_after(at: datetime) -> Period:
        start = datetime.fromtimestamp((at.timestamp() // SECONDS + 1) * SECONDS, UTC)
        return Period(start, start + EVERY)

    def go_on(self, ended: threading.Event) -> None:
        period, number = self.first, 0
        try:
            while not ended.wait(period.start.timestamp() + 3 - time.time()):
                self.serve(number)
                self.record(period)
                assert datetime.now(UTC) < period.end - timedelta(seconds=2), "this machine is too slow"
                period, number = Period(period.end, period.end + EVERY), number + 1
        except BaseException as error:
            self.error = error

    def serve(self, number: int) -> None:
        for deployment in GRADERS:
            ask(self.url, deployment, 30 + 7 * number + len(deployment), str(number))

    def record(self, period: Period) -> None:
        """Write down the predictions of a period, and to MLflow how good they were."""
        found = {deployment: of(self.model.predictions, deployment, period) for deployment in GRADERS}
        rows = [each for several in found.values() for each in several]
        with psycopg.connect(self.postgres) as connection:
            connection.cursor().executemany("INSERT INTO predictions VALUES (%s, %s, %s, %s)", rows)
        texts = [(name, f"{at:%Y-%m-%d %H:%M:%S.%f}", *more) for name, at, *more in rows]
        with closing(sqlite3.connect(self.sqlite)) as file, file:
            file.executemany("INSERT INTO predictions VALUES (?, ?, ?, ?)", texts)
        start = int(time.time() * 1000)
        for deployment, several in found.items():
            log_run(self.mlflow, self.experiment, deployment, start, accuracy=accuracy(several), n=len(several))


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A model server that is asked and monitored all the time; the Airflow connections to where it is measured."""
    folder, model = tmp_path_factory.mktemp("production"), ModelServer({NORTH: 0.97, SOUTH: 0.7})
    with (
        serving(model) as server,
        prometheus(folder, server.url[7:], every="500ms") as watching,
        mlflow(folder) as tracking,
        postgres() as port,
    ):
        place = f"postgresql://ml:{quote(PASSWORD)}@127.0.0.1:{port}/postgres"
        made = Production(model, server.url, tracking, place, folder / "predictions.db")
        ended = threading.Event()
        thread = threading.Thread(target=made.go_on, args=[ended])
        thread.start()
        sql = {"host": "127.0.0.1", "port": port, "login": "ml", "password": PASSWORD, "schema": "postgres"}
        yield {
            "made": made,
            "prometheus": {"conn_type": "http", "host": watching},
            "mlflow": {"conn_type": "http", "host": tracking},
            "postgres": {"conn_type": "postgres", **sql},
            "sqlite": {"conn_type": "sqlite", "host": str(folder / "predictions.db")},
        }
        ended.set()
        thread.join()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedDatabase]:
    with served(tmp_path_factory.mktemp("database") / "graph.db") as database:
        yield database


@pytest.fixture(scope="module")
def airflow(
    production: dict[str, Any], database: ServedDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AirflowService]:
    """A running Airflow with one DAG, on a schedule of its own; all else it knows are connections and a Variable."""
    home, dags = tmp_path_factory.mktemp("airflow"), tmp_path_factory.mktemp("dags")
    schedule = {"APPLES_SCHEDULE": f"* * * * * */{SECONDS}", "APPLES_EVERY": f"{SECONDS}s"}
    often = dict.fromkeys(("REFRESH_INTERVAL", "BUNDLE_REFRESH_CHECK_INTERVAL"), "1")
    settings = schedule | {f"AIRFLOW__DAG_PROCESSOR__{name}": value for name, value in often.items()}
    graph = {"conn_type": "arangopipe", "host": "127.0.0.1", "port": database.port, "login": "root"}
    provision(database.store().db)
    with running(home, dags, **settings) as airflow:
        for name, connection in (production | {"arangopipe_default": {**graph, "password": GRAPH_PASSWORD}}).items():
            if name != "made":
                airflow.call("POST", "/api/v2/connections", {"connection_id": name, **connection})
        airflow.call("POST", "/api/v2/variables", {"key": "apples_sources", "value": json.dumps(SOURCES)})
        made: Production = production["made"]
        time.sleep(max(0, made.first.end.timestamp() - time.time()))  # Airflow begins with the interval that ended last
        (dags / f"{DAG}.py").symlink_to(Path(__file__).parent.parent / "dags" / f"{DAG}.py")
        yield airflow


@pytest.fixture(scope="module")
def runs(airflow: AirflowService, production: dict[str, Any]) -> dict[str, Period]:
    """Runs that the scheduler made, one after the other, and their data intervals; one more may have begun."""
    made: Production = production["made"]

    def found(state: str) -> list[Any]:
        runs = airflow.call("GET", f"/api/v2/dags/{DAG}/dagRuns")["dag_runs"]
        return [each for each in runs if each["state"] == state]

    airflow.unpause(DAG)
    airflow.wait_for(lambda: len(found("success")) >= RUNS or bool(found("failed")), 400, f"{RUNS} runs of {DAG}")
    airflow.call("PATCH", f"/api/v2/dags/{DAG}", {"is_paused": True})  # no run of a paused DAG goes on
    assert made.error is None, made.error
    assert found("failed") == [], airflow.tail()
    ended = found("success")
    assert {each["run_type"] for each in ended} == {"scheduled"}
    bounds = ("data_interval_start", "data_interval_end")
    return {each["dag_run_id"]: Period(*(datetime.fromisoformat(each[name]) for name in bounds)) for each in ended}


def stored(store: Store, until: datetime) -> dict[tuple[str, str, str], dict[str, float]]:
    """The metrics by deployment, start of the period and source, up to a time; what is there twice fails the test."""
    tags = {each["_key"]: each["tag"] for each in store.db.collection("deployment").all()}
    found: dict[tuple[str, str, str], dict[str, float]] = {}
    for node in store.db.collection("servingperf").all():
        place = (tags[node["deployment"]], node["period_start"], node["source"])
        assert place not in found
        if datetime.fromisoformat(node["period_start"]) < until:
            found[place] = {name: node[name] for name in ("accuracy", "predictions", "outcomes", "n") if name in node}
    return found


def expected(model: ModelServer, periods: Iterable[Period]) -> dict[tuple[str, str, str], Any]:
    """What the raw predictions come to, as each source tells it."""
    found: dict[tuple[str, str, str], Any] = {}
    for period in periods:
        for deployment in GRADERS:
            raw = of(model.predictions, deployment, period)
            number, share = len(raw), pytest.approx(accuracy(raw), rel=1e-12)
            counted = {"accuracy": share, "predictions": number}
            told = {
                "prometheus": counted,
                "mlflow": {"accuracy": share, "n": number},
                "postgres": {**counted, "outcomes": number},
                "sqlite": {**counted, "outcomes": number},
            }
            start = f"{period.start:%Y-%m-%dT%H:%M:%S}.000Z"
            found |= {(deployment, start, source): metrics for source, metrics in told.items()}
    return found


def test_figures_are_those_of_the_raw_predictions(
    runs: dict[str, Period], production: dict[str, Any], database: ServedDatabase
) -> None:
    """For each interval that was run, each source and deployment has one node, and its figures are the true ones."""
    assert len(runs) >= RUNS
    assert {period.length for period in runs.values()} == {EVERY}
    until = max(runs.values()).end
    assert stored(database.store(), until) == expected(production["made"].model, runs.values())


def test_what_was_not_run_is_a_gap(runs: dict[str, Period], database: ServedDatabase) -> None:
    """Between the first run and the last, what is not known are the intervals that the scheduler passed over."""
    first, last = min(runs.values()), max(runs.values())
    every = list(periods(first.start, last.end, f"{SECONDS}s"))
    names = [source.get("name", source["type"]) for source in SOURCES]
    found = list(gaps(database.store(), every, sources=names))
    left_out = sorted(set(every) - set(runs.values()))
    assert {gap["deployment"] for gap in found} == (set(GRADERS) if left_out else set())
    assert sum(gap["periods"] for gap in found) == len(left_out) * len(GRADERS) * len(SOURCES)


def test_a_retraining_is_asked_for(
    airflow: AirflowService, runs: dict[str, Period], production: dict[str, Any]
) -> None:
    """A grader that served badly in an interval is in an event of the asset, by the run of that interval."""
    predictions = production["made"].model.predictions
    shares = {
        (run_id, name): accuracy(of(predictions, name, period)) for run_id, period in runs.items() for name in GRADERS
    }
    events = airflow.call("GET", "/api/v2/assets/events?limit=1000")["asset_events"]
    asked = sorted(
        (each["source_run_id"], each["extra"]["deployment"]) for each in events if each["source_run_id"] in runs
    )
    assert asked == sorted(place for place, share in shares.items() if share < LEAST)
    assert {(run_id, SOUTH) for run_id in runs} <= set(asked)


def test_no_secret_is_in_what_tasks_leave(airflow: AirflowService, runs: dict[str, Period]) -> None:
    """The password of the data base is in no XCom and no log of the tasks that collected."""
    left = [airflow.returned(DAG, quote(run_id), "collect", index) for run_id in runs for index in (0, 1)]
    assert [each["faults"] for each in left] == [[]] * len(left)
    logs = [path.read_text(errors="replace") for path in airflow.home.glob("logs/dag_id=*/**/*.log")]
    assert any("collect" in text for text in logs)
    for secret in (PASSWORD, quote(PASSWORD), GRAPH_PASSWORD):
        assert secret not in json.dumps(left) + "".join(logs)
