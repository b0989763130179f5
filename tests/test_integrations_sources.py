"""The other sources: data bases, files, HTTP endpoints, functions; the figures are those of the raw predictions."""

import csv
import gzip
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy
from answering_server import Asked, answering

from arangopipe_ops import integrations
from arangopipe_ops.errors import ArangopipeError, Invalid, Misconfigured
from arangopipe_ops.integrations import files, http, python, sql
from arangopipe_ops.integrations.http import parsed
from arangopipe_ops.integrations.records import rows
from arangopipe_ops.integrations.source import Fault, Period, Row, instant, redacted
from arangopipe_ops.serving import Source, collect, periods
from arangopipe_ops.store import Store

DAYS = list(periods("2026-03-27", "2026-04-01", "1d", "Europe/Berlin"))
NAMES = ["wine", "iris", "007"]


class Prediction(NamedTuple):
    deployment: str
    time: datetime
    prediction: int
    outcome: int | None


def made(seed: int = 0, labelled: float = 0.8) -> list[Prediction]:
    """Predictions of deployments over more than the days, some exactly at their bounds; some have no outcome yet."""
    random_ = random.Random(seed)
    first, found = DAYS[0].start, []
    for deployment in (*NAMES, "other"):
        times = [first + timedelta(hours=random_.uniform(-20, 140)) for _ in range(300)]
        times += [period.start for period in DAYS] + [DAYS[-1].end, DAYS[0].start - timedelta(microseconds=1)]
        for at in times:
            truth = random_.randrange(2)
            guess = truth if random_.random() < 0.7 else 1 - truth
            found.append(Prediction(deployment, at, guess, truth if random_.random() < labelled else None))
    return found


def computed(predictions: Sequence[Prediction]) -> dict[tuple[str, Period], dict[str, Any]]:
    """The figures of each deployment and day, the plain way."""
    from sklearn.metrics import accuracy_score, f1_score  # which takes a second

    found = {}
    for name in NAMES:
        for day in DAYS:
            all_ = [each for each in predictions if each.deployment == name and day.start <= each.time < day.end]
            known = [(each.outcome, each.prediction) for each in all_ if each.outcome is not None]
            truth, guess = [pair[0] for pair in known], [pair[1] for pair in known]
            found[name, day] = {
                "predictions": len(all_),
                "outcomes": len(known),
                "accuracy": accuracy_score(truth, guess),
                "f1": f1_score(truth, guess, average="macro"),
            }
    return found


METRICS = {"accuracy": "accuracy_score", "f1": {"metric": "f1_score", "average": "macro"}}
OUTCOMES = {"metrics": METRICS}


def told(found: Sequence[Row | Fault]) -> dict[tuple[str, Period], Any]:
    assert [each for each in found if isinstance(each, Fault)] == []
    return {(row.deployment, row.period): row.metrics for row in found if isinstance(row, Row)}


def text(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S.%f}"


# --- SQL


@pytest.fixture
def database(tmp_path: Path) -> Any:
    """A data base with predictions, outcomes that arrive apart from them, and a view of daily figures; its URL."""
    url = f"sqlite:///{tmp_path}/served.db"
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE predictions (id INTEGER, deployment, time, prediction)"))
        connection.execute(sqlalchemy.text("CREATE TABLE outcomes (id INTEGER, outcome)"))
        said = list(enumerate(made()))
        predictions = [{"i": i, "d": each.deployment, "t": text(each.time), "p": each.prediction} for i, each in said]
        outcomes = [{"i": i, "o": each.outcome} for i, each in said if each.outcome is not None]
        connection.execute(sqlalchemy.text("INSERT INTO predictions VALUES (:i, :d, :t, :p)"), predictions)
        connection.execute(sqlalchemy.text("INSERT INTO outcomes VALUES (:i, :o)"), outcomes)
    engine.dispose()
    return url


JOINED = """SELECT deployment, time, prediction, outcome FROM predictions LEFT JOIN outcomes USING (id)
  WHERE time >= :period_start AND time < :period_end AND deployment IN :deployments"""


def test_a_query_joins_predictions_with_outcomes(database: str) -> None:
    """Metrics of predictions and outcomes that a query joins are those computed from the raw predictions."""
    found = list(sql.read(DAYS, NAMES, url=database, query=JOINED, outcomes=OUTCOMES))
    assert told(found) == computed(made())


def test_outcomes_that_arrive_late_revise_the_figures(store: Store, database: str) -> None:
    """Collected again after more outcomes have arrived, the figures are those with them; others stay as they were."""
    from arangopipe_ops import stages

    store.write_many([stages.register_project("p"), stages.register_model("m", project="p")])
    store.write_many(stages.register_deployment(n, project="p", model="m", environment=n) for n in NAMES)
    source = Source("sql", "labels", {"url": database, "query": JOINED, "outcomes": OUTCOMES})
    assert collect(store, DAYS, [source])["created"] == 15
    engine = sqlalchemy.create_engine(database)
    late = made()
    with engine.begin() as connection:
        for i, each in enumerate(late):
            if each.outcome is None and each.deployment == "wine" and DAYS[1].start <= each.time < DAYS[1].end:
                connection.execute(sqlalchemy.text(f"INSERT INTO outcomes VALUES ({i}, 1)"))
                late[i] = each._replace(outcome=1)
    engine.dispose()
    report = collect(store, DAYS, [source])
    assert (report["created"], report["revised"], report["same"], report["faults"]) == (0, 1, 14, [])
    stored = {node["period_start"]: node for node in store.search("ServingPerf", {"metric": {"exists": False}})["nodes"]
              if node["deployment"].startswith("wine")}  # fmt: skip
    expected = computed(late)["wine", DAYS[1]]
    node = stored[f"{DAYS[1].start:%Y-%m-%dT%H:%M:%S}.000Z"]
    assert {name: node[name] for name in expected} == expected


AVERAGES = """SELECT deployment, {start}count(*) AS n, avg(prediction) AS mean FROM predictions
  WHERE time >= :period_start AND time < :period_end GROUP BY {group}deployment"""


def averages(days: Sequence[Period]) -> dict[tuple[str, Period], dict[str, float]]:
    """How many predictions there were, and their mean, the plain way."""
    raw = {
        (name, day): [p.prediction for p in made() if p.deployment == name and day.start <= p.time < day.end]
        for name in NAMES
        for day in days
    }
    return {place: {"n": len(values), "mean": sum(values) / len(values)} for place, values in raw.items()}


def test_a_query_is_asked_for_each_period(database: str) -> None:
    """Figures that a query aggregates between its bounds are those of each period, of 23 hours too."""
    found = list(sql.read(DAYS, NAMES, url=database, query=AVERAGES.format(start="", group="")))
    assert told(found) == averages(DAYS)


def test_one_query_can_tell_of_all_periods(database: str) -> None:
    """A query that groups by the period itself is asked once for many deployments and periods."""
    days = list(periods("2026-03-27", "2026-03-31", "1d"))
    query = AVERAGES.format(start="date(time) AS day, ", group="date(time), ")
    sent = []
    engine = sqlalchemy.create_engine

    def counted(*args: Any, **options: Any) -> Any:
        made_ = engine(*args, **options)
        sqlalchemy.event.listen(made_, "before_cursor_execute", lambda *event: sent.append(event[2]))
        return made_

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlalchemy, "create_engine", counted)
        found = list(sql.read(days, NAMES, url=database, query=query, together=True, period_start="day"))
    assert told(found) == averages(days)
    assert len(sent) == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"query": "SELECT nonsense FROM nowhere"}, "no such table: nowhere"),
        ({"query": "SELECT 1 AS x"}, "deployment: is not a column; there are period_start, x"),
        ({"query": "SELECT 'wine' AS deployment", "together": True}, "period_start: is not a column"),
        ({"url": "nonsense"}, "not one that SQLAlchemy takes"),
        ({"url": "mysql+nothing://ann:s3cret@x/y"}, "not one that SQLAlchemy takes"),
        ({"times": "local"}, "'local' is not one of aware, naive, text, epoch"),
        ({"outcomes": {"metrics": ["acuracy"]}}, "'acuracy' is not a function of sklearn.metrics"),
    ],
)
def test_a_wrong_query_is_an_error_that_says_so(database: str, options: dict[str, Any], says: str) -> None:
    """What the data base or SQLAlchemy refuses is told by their words, without the address."""
    options = {"url": database, "query": "SELECT 'wine' AS deployment, '2026-01-01' AS period_start", **options}
    with pytest.raises(ArangopipeError) as caught:
        list(sql.read(DAYS, NAMES, **options))
    assert says in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.fixture
def abroad(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clock shows another time than UTC."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_times_without_a_zone_are_utc_wherever_they_are_read(abroad: None) -> None:
    """What a source tells without a zone is UTC, and not by the clock of the machine that collects."""
    assert datetime(2026, 1, 1).astimezone(UTC).hour == 5
    for given in ("2026-01-01T00:00:00", "2026-01-01", datetime(2026, 1, 1), datetime(2026, 1, 1).date(), 1767225600):
        assert instant(given, "time") == datetime(2026, 1, 1, tzinfo=UTC)


def test_a_source_leaves_the_data_base_as_it_was(database: str) -> None:
    """What a query changes is rolled back, also where it answers."""
    with pytest.raises(ArangopipeError, match="data base"):
        list(sql.read(DAYS, NAMES, url=database, query="DELETE FROM predictions"))
    taken = "DELETE FROM predictions WHERE deployment = 'wine' RETURNING deployment, 1 AS x"
    assert all(isinstance(each, Row) for each in sql.read(DAYS, NAMES, url=database, query=taken))
    with sqlalchemy.create_engine(database).connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT count(*) FROM predictions")).scalar() == len(made())


# --- files


def csv_text(records: Sequence[dict[str, Any]]) -> str:
    import io

    file = io.StringIO()
    writer = csv.DictWriter(file, list(records[0]))
    writer.writeheader()
    writer.writerows(records)
    return file.getvalue()


def raw_records() -> list[dict[str, Any]]:
    return [{**each._asdict(), "time": each.time.isoformat()} for each in made()]


def write_csv(path: Path) -> str:
    path.with_suffix(".csv").write_text(csv_text(raw_records()))
    return str(path.with_suffix(".csv"))


def write_json_lines(path: Path) -> str:
    name = f"{path}.jsonl.gz"
    with gzip.open(name, "wt") as file:
        file.writelines(json.dumps(each) + "\n" for each in raw_records())
    return name


def write_parquet(path: Path) -> str:
    pq.write_table(pa.Table.from_pylist([each._asdict() for each in made()]), path.with_suffix(".parquet"))
    return str(path.with_suffix(".parquet"))


@pytest.mark.parametrize("write", [write_csv, write_json_lines, write_parquet])
@pytest.mark.parametrize("prefix", ["", "file://"])
def test_files_of_predictions(tmp_path: Path, write: Callable[[Path], str], prefix: str) -> None:
    """Metrics of predictions in a file of any format, by path or URL, are those of the raw predictions."""
    path = prefix + write(tmp_path / "predictions")
    assert told(list(files.read(DAYS, NAMES, path=path, outcomes=OUTCOMES))) == computed(made())


def test_a_file_for_each_period(tmp_path: Path) -> None:
    """A path can have the period in it; a file that is missing or damaged is a fault of its period and no figures."""
    for day in DAYS:
        records = [{"deployment": name, "period_start": day.start.isoformat(), "x": 0.5, "y": ""} for name in NAMES]
        (tmp_path / f"{day.start:%m-%d}.csv").write_text(csv_text(records))
    (tmp_path / f"{DAYS[1].start:%m-%d}.csv").unlink()
    damaged = tmp_path / f"{DAYS[2].start:%m-%d}.csv"
    damaged.write_text(damaged.read_text() + "iris,2026")
    found = list(files.read(DAYS, NAMES, path=str(tmp_path / "{period_start:%m-%d}.csv")))
    rows = [each for each in found if isinstance(each, Row)]
    assert [(row.deployment, row.period) for row in rows] == [(n, d) for d in (DAYS[0], *DAYS[3:]) for n in NAMES]
    assert all((row.metrics, row.missing) == ({"x": 0.5}, ["y"]) for row in rows)
    faults = {each.period: each.message for each in found if isinstance(each, Fault)}
    assert faults.keys() == {DAYS[1], DAYS[2]}
    assert "not found" in faults[DAYS[1]]
    assert "not as many fields" in faults[DAYS[2]]


def test_parts_of_a_file(tmp_path: Path) -> None:
    """Where a pattern names several files, they are read as one."""
    records = raw_records()
    (tmp_path / "a.csv").write_text(csv_text(records[:500]))
    (tmp_path / "b.csv").write_text(csv_text(records[500:]))
    assert told(list(files.read(DAYS, NAMES, path=f"{tmp_path}/*.csv", outcomes=OUTCOMES))) == computed(made())


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.jsonl", b'{"deployment": "wine"', "is not jsonl"),
        ("x.jsonl", b"[1]", "line 1 is not an object"),
        ("x.jsonl", b"\xff", "is not jsonl"),
        ("x.parquet", b"PAR1", "is not parquet"),
        ("x.csv.gz", b"plain", "cannot be read"),
        ("x.csv", b"a,b\n1,2\n", "deployment: is not a column; there are a, b"),
        ("x.xlsx", b"", "'xlsx' of"),
    ],
)
def test_a_damaged_file_is_a_fault(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    """A file that cannot be read is a fault of each of its periods that says what is wrong."""
    (tmp_path / name).write_bytes(content)
    found = list(files.read(DAYS, NAMES, path=str(tmp_path / name)))
    assert [fault.period for fault in found] == DAYS
    assert all(isinstance(fault, Fault) and says in fault.message for fault in found)


def test_hourly_figures_are_none_of_a_day() -> None:
    """A record that is about another span than the period is a fault, never a figure."""
    start = DAYS[0].start
    records = [
        {"deployment": "wine", "period_start": start, "period_end": start + timedelta(hours=1), "x": 1},
        {"deployment": "wine", "period_start": start + timedelta(hours=1), "x": 1},
        {"deployment": "iris", "period_start": start, "period_end": DAYS[0].end, "x": 2},
    ]
    found = list(rows(records, DAYS, NAMES))
    assert [type(each) for each in found] == [Fault, Fault, Row]
    assert found[2] == Row("iris", DAYS[0], {"x": 2}, [])


def test_a_metric_that_is_not_defined_is_missing() -> None:
    """What scikit-learn cannot compute, or only warns of, is a fault of that metric; the counts are told."""
    from arangopipe_ops.integrations.records import Outcomes

    records = [{"deployment": "wine", "time": DAYS[0].start, "prediction": 0, "outcome": 1}]
    records += [{"deployment": "iris", "time": DAYS[0].start, "prediction": 0, "outcome": None}]
    found = list(Outcomes(["precision_score", "accuracy_score"]).rows(records, DAYS, NAMES))
    [fault] = [each for each in found if isinstance(each, Fault)]
    assert (fault.deployment, fault.message.partition(":")[0]) == ("wine", "precision_score")
    assert [each for each in found if isinstance(each, Row)] == [
        Row("wine", DAYS[0], {"predictions": 1, "outcomes": 1, "accuracy_score": 0.0}, ["precision_score"]),
        Row("iris", DAYS[0], {"predictions": 1, "outcomes": 0}, ["precision_score", "accuracy_score"]),
    ]


# --- HTTP

EXPOSED = r"""# HELP nv_inference_count Number of inferences
# TYPE nv_inference_count counter
nv_inference_count{model="wine",version="1"} 12 1395066363000
nv_inference_count{model="wine",version="2"} 3
seldon_latency_bucket{le="+Inf", path="C:\\x \"y\"\n"} 1.5e3
kserve_up 1

nv_gpu_utilization NaN
"""


def test_the_text_format_is_read() -> None:
    """Samples of Prometheus's text format are read with labels, escapes, timestamps and NaN."""
    found = parsed(EXPOSED)
    assert found[:4] == [
        (("nv_inference_count", {"model": "wine", "version": "1"}), 12.0),
        (("nv_inference_count", {"model": "wine", "version": "2"}), 3.0),
        (("seldon_latency_bucket", {"le": "+Inf", "path": 'C:\\x "y"\n'}), 1500.0),
        (("kserve_up", {}), 1.0),
    ]
    assert str(found[4][1]) == "nan"
    for line in ('x{a="1"', "x", "x y", "1x 5", "{} 5"):
        with pytest.raises(Invalid, match="line 1"):
            parsed(line)


def present() -> list[Period]:
    now = datetime.now(UTC).replace(microsecond=0)
    return [Period(now - timedelta(minutes=2 - i), now - timedelta(minutes=1 - i)) for i in range(2)]


def test_a_model_server_tells_the_present() -> None:
    """What a server exposes now is a figure of the newest period; a selector of several series is none."""
    now = present()
    metrics = {
        "count": 'nv_inference_count{version="2"}',
        "up": "kserve_up",
        "both": 'nv_inference_count{model="wine"}',
        "none": "other",
    }
    with answering(lambda _: (200, EXPOSED)) as server:
        found = list(
            http.read(now, ["a/b"], url=f"{server.url}/{{deployment}}/metrics", format="prometheus", metrics=metrics)
        )
        assert [each.path for each in server.asked] == ["/a%2Fb/metrics"]
        with pytest.raises(Invalid, match="tells the present"):
            list(http.read(DAYS, ["a"], url=f"{server.url}/{{deployment}}", format="prometheus", metrics=metrics))
    assert found == [
        Fault('both: nv_inference_count{model="wine"} is 2 series; name more labels', "a/b", now[-1]),
        Row("a/b", now[-1], {"count": 3.0, "up": 1.0}, ["both", "none"]),
    ]


def test_an_endpoint_is_asked_for_each_deployment_and_period() -> None:
    """The URL names what is asked for, the metrics are at paths of the JSON; a failing one loses nothing of others."""

    def answer(asked: Asked) -> tuple[int, str]:
        if asked.path == "/iris":
            return 500, '{"error": "boom"}'
        if asked.path == "/007":
            return 200, "[]"
        day = datetime.fromisoformat(asked.parameters["from"]).day
        return 200, json.dumps({"stats": {"p99": day / 10, "names": ["x"]}, "none": None})

    metrics = {"p99": "stats.p99", "none": "none", "deep": "stats.p99.x"}
    with answering(answer) as server:
        url = f"{server.url}/{{deployment}}?from={{period_start}}&to={{period_end}}"
        found = list(http.read(DAYS, NAMES, url=url, metrics=metrics, attempts=1))
    assert [each for each in found if isinstance(each, Row)] == [
        Row("wine", day, {"p99": day.start.day / 10}, ["none", "deep"]) for day in DAYS
    ]
    faults = {(each.deployment, each.period): each.message for each in found if isinstance(each, Fault)}
    assert faults.keys() == {(name, day) for name in NAMES[1:] for day in DAYS}
    assert "HTTP 500: boom" in faults["iris", DAYS[0]]
    assert "is not an object" in faults["007", DAYS[0]]


def test_an_endpoint_can_tell_of_all_deployments() -> None:
    """One request for a period may be answered with the records of all deployments."""

    def answer(asked: Asked) -> tuple[int, str]:
        start = asked.parameters["from"]
        records = [{"name": name, "at": start, "x": len(name)} for name in (*NAMES, "other")]
        return 200, json.dumps({"data": {"rows": records}})

    with answering(answer) as server:
        columns = {"deployment": "name", "period_start": "at"}
        url = f"{server.url}/all?from={{period_start}}"
        found = list(http.read(DAYS, NAMES, url=url, records="data.rows", columns=columns, token="t0ken"))
        assert len(server.asked) == len(DAYS)
        assert server.asked[0].headers["Authorization"] == "Bearer t0ken"
    assert told(found) == {(name, day): {"x": len(name)} for name in NAMES for day in DAYS}


def test_slow_endpoints_are_asked_at_once() -> None:
    """Requests for several deployments do not wait for each other."""
    gate = threading.Barrier(3)

    def answer(_: Asked) -> tuple[int, str]:
        gate.wait(5)
        return 200, '{"x": 1}'

    with answering(answer) as server:
        found = list(http.read(present(), NAMES, url=f"{server.url}/{{deployment}}", workers=3))
    assert [row.deployment for row in found] == NAMES


def test_a_dripping_server_gets_no_more_time_than_a_slow_one() -> None:
    """A server that sends its answer byte by byte is given up when its time is over."""
    import socket

    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not stop.wait(0.02):
                try:
                    connection.sendall(b" " * 70)
                except OSError:
                    return

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/{{deployment}}"
    started = time.monotonic()
    [fault] = http.read(present(), ["wine"], url=url, timeout=0.2, attempts=1)
    stop.set()
    listener.close()
    assert "did not answer within 0.2 s" in fault.message  # type: ignore[union-attr]
    assert time.monotonic() - started < 2


# --- functions, names, secrets


def of_a_module(periods: Sequence[Period], deployments: Sequence[str], *, value: float) -> Iterator[Row]:
    yield from (Row(deployment, period, {"x": value}) for deployment in deployments for period in periods)


def test_a_function_by_its_name() -> None:
    """A function is named as module:function and gets the options; what it yields has to be rows and faults."""
    found = list(python.read(DAYS, NAMES, call=f"{__name__}:of_a_module", value=2))
    assert len(told(found)) == 15
    with pytest.raises(Invalid, match="neither a Row nor a Fault"):
        list(python.read(DAYS, NAMES, call=lambda *_: [1]))
    for place in (f"{__name__}:nothing", "no_such_module:x", "nothing", "json:loads.x"):
        with pytest.raises(Misconfigured, match="cannot be imported"):
            list(python.read(DAYS, NAMES, call=place))
    with pytest.raises(Misconfigured, match="is not a function"):
        list(python.read(DAYS, NAMES, call="json"))


def test_other_packages_add_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package adds a source by an entry point; a name of ours stays ours, and an unknown one lists them all."""
    added = [
        EntryPoint(name, f"{__name__}:of_a_module", integrations.ENTRY_POINTS) for name in ("evidently", "prometheus")
    ]
    monkeypatch.setattr(integrations, "entry_points", lambda group: added if group == integrations.ENTRY_POINTS else [])
    assert integrations.reader("evidently") is of_a_module
    assert integrations.reader("prometheus").__module__ == "arangopipe_ops.integrations.prometheus"
    with pytest.raises(Invalid, match="'x' is not one of evidently, files, http, mlflow, prometheus, python, sql"):
        integrations.reader("x")


def test_secrets_are_masked() -> None:
    """Values of options named like secrets, and what stands before @ in a URL, are masked in a message."""
    options = {
        "url": "http://ann:pw12@x/y",
        "password": "hunter22",
        "headers": {"X-A": "abcd"},
        "metrics": {"m": "rate"},
    }
    message = "rate of http://ann:pw12@x/y with hunter22 and abcd"
    assert redacted(message, options) == "rate of http://***@x/y with *** and ***"
