"""Sources that are dead, slow, malformed, cut off, or tell no numbers: recorded faults, never a wrong figure."""

import json
import math
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow_service import free_port
from answering_server import Answer, Asked, answering
from conftest import provisioned

from arangopipe_ops import stages
from arangopipe_ops.errors import Unavailable
from arangopipe_ops.integrations import http, mlflow, prometheus, sql
from arangopipe_ops.integrations.fetching import Fetcher, GivenUp
from arangopipe_ops.integrations.records import Outcomes, plain, rows
from arangopipe_ops.integrations.source import Fault, Period, Row
from arangopipe_ops.serving import Source, collect, periods
from arangopipe_ops.store import Store

DAYS = list(periods("2026-03-27", "2026-03-30", "1d", "Europe/Berlin"))
TAGS = ["iris", "wine"]
PATH = "/{deployment}?from={period_start}"


def fill(url: str) -> None:
    deployed = [stages.register_deployment(tag, project="p", model="m", environment=tag) for tag in TAGS]
    flow = [stages.register_project("p"), stages.register_model("m", project="p"), *deployed]
    Store(provisioned(url)).write_many(flow)


@pytest.fixture
def graph(filled_by: Any) -> Store:
    """A graph with active deployments."""
    return Store(filled_by(fill))


def healthy(periods: Sequence[Period], deployments: Sequence[str]) -> Iterator[Row]:
    yield from (Row(deployment, period, {"x": 1}) for deployment in deployments for period in periods)


def stored(store: Store) -> dict[str, list[dict[str, Any]]]:
    """The figures in the graph, by source."""
    found: dict[str, list[dict[str, Any]]] = {}
    for node in store.db.collection("servingperf").all():
        found.setdefault(node["source"], []).append({name: node[name] for name in ("x", "y") if name in node})
    return found


# --- every source, every way to fail

Options = dict[str, Any]


def of_prometheus(url: str) -> Options:
    return {"url": url, "metrics": {"x": "x"}, "attempts": 1}


def of_mlflow(url: str) -> Options:
    return {"url": url, "attempts": 1}


def of_http(url: str) -> Options:
    return {"url": f"{url}{PATH}", "metrics": {"x": "x"}, "attempts": 1}


def of_text(url: str) -> Options:
    return {**of_http(url), "format": "prometheus"}


def of_list(url: str) -> Options:
    return {"url": f"{url}/all?from={{period_start}}", "attempts": 1}


ASKING: dict[str, tuple[str, Callable[[str], Options]]] = {
    "prometheus": ("prometheus", of_prometheus),
    "mlflow": ("mlflow", of_mlflow),
    "http": ("http", of_http),
    "http text": ("http", of_text),
    "http list": ("http", of_list),
}


def series(value: str, label: str = "deployment") -> str:
    points = [[period.end.timestamp() - 0.001, value] for period in DAYS]
    found = [{"metric": {label: tag}, "values": points} for tag in TAGS]
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": found}})


def logged(value: Any) -> str:
    runs = [
        {
            "info": {"start_time": period.start.timestamp() * 1000},
            "data": {"metrics": [{"key": "x", "value": value}], "tags": [{"key": "deployment", "value": tag}]},
        }
        for period in DAYS
        for tag in TAGS
    ]
    return json.dumps({"runs": runs, "experiments": [{"experiment_id": 1}]})


def listed(value: float) -> str:
    return json.dumps([{"deployment": tag, "x": value} for tag in TAGS])


PROPER: dict[str, Callable[[float], str]] = {
    "prometheus": lambda value: series(str(value)),
    "mlflow": lambda value: logged(str(value)),
    "http": lambda value: json.dumps({"x": value}),
    "http text": lambda value: f"x {value}\n",
    "http list": listed,
}
"""What each is answered when all is well."""


@contextmanager
def cut_off(text: str, declared: bool) -> Iterator[str]:
    """A server that ends the connection within its answer, and has said or not how long that is; its URL."""
    listener, stop = socket.create_server(("127.0.0.1", 0)), threading.Event()
    length = f"Content-Length: {len(text) + 1}\r\n" if declared else ""

    def serve() -> None:
        while not stop.is_set():
            connection, _ = listener.accept()
            with connection:
                if connection.recv(65536):
                    connection.sendall(f"HTTP/1.1 200 OK\r\n{length}Connection: close\r\n\r\n{text}".encode())
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):  # a body that nobody reads would make the end a reset
                        pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stop.set()
        socket.create_connection(listener.getsockname()).close()
        thread.join()
        listener.close()


def failing(store: Store, type_: str, options: Options) -> list[str]:
    """Collect from a source that fails and one that does not; return what is said of the one, if the other is whole."""
    report = collect(store, DAYS, [Source(type_, "failing", options), Source("python", "healthy", {"call": healthy})])
    assert stored(store) == {"healthy": [{"x": 1}] * len(DAYS) * len(TAGS)}
    assert {fault["source"] for fault in report["faults"]} == {"failing"}
    told = Counter[str | None]()
    for fault in report["faults"]:
        told[fault["deployment"]] += fault["periods"]
    assert set(told.values()) == {len(DAYS)}
    assert None in told or set(told) == set(TAGS)
    return [fault["message"] for fault in report["faults"]]


@pytest.mark.parametrize("asking", ASKING)
def test_nobody_is_there(graph: Store, asking: str) -> None:
    """A dead server is a fault of all that was asked, and no figure."""
    type_, options = ASKING[asking]
    messages = failing(graph, type_, options(f"http://127.0.0.1:{free_port()}"))
    assert any("cannot be reached" in message for message in messages)


@pytest.mark.parametrize("asking", ASKING)
def test_no_answer_in_time(graph: Store, asking: str) -> None:
    """A slow server is a fault of all that was asked, and no figure."""
    type_, options = ASKING[asking]
    release = threading.Event()

    def slow(_: Asked) -> Answer:
        release.wait(10)
        return 200, PROPER[asking](0.5)

    with answering(slow) as server:
        messages = failing(graph, type_, {**options(server.url), "timeout": 0.1})
        release.set()
    assert "did not answer within 0.1 s" in messages[0]


@pytest.mark.parametrize("asking", ASKING)
@pytest.mark.parametrize("answer", ["<html>", "[1]", '{"x"', "\0", "", '{"error": "x"}'])
def test_another_answer(graph: Store, asking: str, answer: str) -> None:
    """What is not of the form that is asked for is a fault, and no figure."""
    type_, options = ASKING[asking]
    with answering(lambda _: (200, answer)) as server:
        assert failing(graph, type_, options(server.url))


@pytest.mark.parametrize("asking", ASKING)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number(graph: Store, asking: str, value: float) -> None:
    """NaN and infinity are faults that say so, and no figure."""
    type_, options = ASKING[asking]
    with answering(lambda _: (200, PROPER[asking](value))) as server:
        assert failing(graph, type_, options(server.url)) == [f"x is {value}"] * len(TAGS)


@pytest.mark.parametrize("asking", ASKING)
@pytest.mark.parametrize("declared", [True, False], ids=["of some length", "of no length"])
def test_half_an_answer(graph: Store, asking: str, declared: bool) -> None:
    """An answer that is cut off, here within its last number or right before its end, is a fault, and no figure."""
    type_, options = ASKING[asking]
    whole = PROPER[asking](123)
    with cut_off(whole[:-1], declared) as url:
        message = failing(graph, type_, options(url))[0]
    assert any(words in message for words in (["did not answer to the end"] if declared else ["cut off", "JSON"]))


def csv(x: str) -> str:
    lines = [f"{tag},{day.start.isoformat()},{x}" for tag in TAGS for day in DAYS]
    return "\n".join(["deployment,period_start,x", *lines, ""])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "not found"),
        (csv("nan"), "x is nan"),
        (csv("-inf"), "x is -inf"),
        (csv(""), "there is no x"),
        (csv("1,2"), "not as many fields"),
        (csv("1").replace("2026", "soon"), "is not a time"),
        ("", "there are no figures"),
    ],
)
def test_a_file_that_tells_nothing(graph: Store, tmp_path: Path, content: str | None, says: str) -> None:
    """A file that is missing or damaged, and cells that are no numbers, are faults, and no figure."""
    path = tmp_path / "x.csv"
    if content is not None:
        path.write_text(content)
    assert says in failing(graph, "files", {"path": str(path)})[0]


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) AS x FROM n"
SOON = "SELECT 'iris' AS deployment, 1 AS x, 'soon' AS period_start UNION ALL SELECT 'wine', 1, 'soon'"
VALUES = "SELECT 'iris' AS deployment, {0} AS x UNION ALL SELECT 'wine', {0}"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"url": "sqlite:////none/none.db", "query": VALUES}, "unable to open database file"),
        ({"query": ENDLESS, "timeout": 0.1}, "did not answer the query within 0.1 s"),
        ({"query": "SELECT 1 AS x"}, "deployment: is not a column"),
        ({"query": VALUES.format("9e999")}, "x is inf"),
        ({"query": VALUES.format("NULL")}, "there is no x"),
        ({"query": SOON}, "'soon' is not a time"),
    ],
)
def test_a_query_that_tells_nothing(graph: Store, tmp_path: Path, options: Options, says: str) -> None:
    """A data base that is dead or slow, a wrong query, and values that are no numbers, are faults, and no figure."""
    assert says in failing(graph, "sql", {"url": f"sqlite:///{tmp_path}/x.db", **options})[0]


def raising(*_: Any) -> Any:
    raise OSError("the line is dead")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (raising, "OSError: the line is dead"),
        (lambda *_: [1], "neither a Row nor a Fault"),
        (lambda *_: None, "TypeError"),
        (lambda days, tags: [Row(tag, day, {"x": math.nan}) for tag in tags for day in days], "x is nan"),
        (lambda days, tags: [Row(tag, day, {"x": object()}) for tag in tags for day in days], "ServingPerf.x"),
    ],
)
def test_a_function_that_tells_nothing(graph: Store, call: Any, says: str) -> None:
    """What a function raises, and what is no row or no number, are faults, and no figure."""
    assert says in failing(graph, "python", {"call": call})[0]


# --- what waiting cures


def lasting(store: Store, type_: str, options: Options) -> set[bool]:
    """Whether the faults of a source that fails are lasting."""
    return {fault["lasting"] for fault in collect(store, DAYS, [Source(type_, "", options)])["faults"]}


@pytest.mark.parametrize("asking", ASKING)
@pytest.mark.parametrize(
    ("answer", "lasts"),
    [((400, ""), True), ((401, ""), True), ((403, ""), True), ((404, ""), False), ((503, ""), False),
     ((200, "<html>"), False)],
)  # fmt: skip
def test_what_a_server_refuses_lasts(graph: Store, asking: str, answer: Answer, lasts: bool) -> None:
    """A request and credentials that are refused are so later too; what is not there yet, or out of order, may come."""
    type_, options = ASKING[asking]
    with answering(lambda _: answer) as server:
        assert lasting(graph, type_, options(server.url)) == {lasts}


@pytest.mark.parametrize(
    ("options", "lasts"),
    [
        ({"query": "SELECT x FROM none"}, True),
        ({"query": "SELECT"}, True),
        ({"query": "SELECT 1 AS x"}, True),
        ({"url": "sqlite:////none/none.db", "query": "SELECT 1"}, False),
        ({"query": ENDLESS, "timeout": 0.1}, False),
    ],
)
def test_a_query_that_is_refused_lasts(graph: Store, tmp_path: Path, options: Options, lasts: bool) -> None:
    """A missing table or column and a wrong query are so later too; a data base may come back."""
    assert lasting(graph, "sql", {"url": f"sqlite:///{tmp_path}/x.db", **options}) == {lasts}


def test_a_file_may_come_and_its_format_does_not(graph: Store, tmp_path: Path) -> None:
    """A file that is not there, or not whole, may be later; a format that nobody reads is none."""
    (tmp_path / "half.csv").write_text(csv("1,2"))
    found = {name: lasting(graph, "files", {"path": f"{tmp_path}/{name}"}) for name in ("x.csv", "half.csv", "x.doc")}
    assert found == {"x.csv": {False}, "half.csv": {False}, "x.doc": {True}}


def test_what_a_function_raises_may_pass(graph: Store) -> None:
    """What is not known to last may pass; arguments that a source does not take are wrong later too."""
    assert lasting(graph, "python", {"call": raising}) == {False}
    assert lasting(graph, "python", {"call": healthy, "colour": "red"}) == {True}


def test_what_is_not_asked_again_lasts_as_its_failures(graph: Store, monkeypatch: Any) -> None:
    """A source that was left alone for a lasting fault is not worth waiting for either."""
    monkeypatch.setattr("arangopipe_ops.serving.collection.CELLS", 1)
    month = list(periods("2026-01-01", "2026-02-01", "1d"))
    for options, lasts in (({"call": healthy, "colour": "red"}, True), ({"call": raising}, False)):
        report = collect(graph, month, [Source("python", "", options)])
        assert [fault["lasting"] for fault in report["faults"]] == [lasts] * 2


# --- how long it may take


@pytest.fixture
def many() -> list[str]:
    return [f"d{number:03}" for number in range(200)]


DAY = DAYS[:1]


@pytest.mark.slow
def test_many_slow_ones_do_not_add_up(many: list[str]) -> None:
    """However many do not answer, a read takes its deadline; who answers is told, and every other is a fault."""
    release = threading.Event()

    def answer(asked: Asked) -> Answer:
        if asked.path > "/d019":
            release.wait(10)
        return 200, '{"x": 1}'

    started = time.monotonic()
    with answering(answer) as server:
        found = list(http.read(DAY, many, url=f"{server.url}{PATH}", timeout=0.5, attempts=2, deadline=0.8, pause=0.01))
        took, requests = time.monotonic() - started, len(server.asked)
        release.set()
    assert took < 2.5
    assert requests < 100
    assert [row.deployment for row in found if isinstance(row, Row)] == many[:20]
    faults = [each for each in found if isinstance(each, Fault)]
    assert [(each.deployment, each.period) for each in faults] == [(name, DAY[0]) for name in many[20:]]
    assert "did not answer within" in faults[0].message
    assert faults[-1].message.endswith("/d199 was not asked: the 0.8 s for all requests are over")


@pytest.mark.slow
def test_a_dead_host_is_left_alone(many: list[str]) -> None:
    """A host that cannot be reached three times in a row is not tried for all of its deployments; another one is."""
    with answering(lambda _: (200, '{"x": 1}')) as server:
        dead, alive = f"http://127.0.0.1:{free_port()}/", f"{server.url}/"
        urls = [(alive if number % 2 else dead) + name for number, name in enumerate(many)]
        started = time.monotonic()
        found = list(http.read(present(), urls, url="{deployment}", pause=0.1, workers=4))
        took = time.monotonic() - started
    assert took < 5
    assert {row.deployment for row in found if isinstance(row, Row)} == set(urls[1::2])
    messages = [each.message for each in found if isinstance(each, Fault)]
    assert len(messages) == 100
    assert 3 <= sum("cannot be reached" in each for each in messages) < 10
    assert "was not asked: its host could not be reached 3 times in a row" in messages[-1]


def present() -> list[Period]:
    now = datetime.now(UTC)
    return [Period(now - timedelta(minutes=1), now)]


@pytest.mark.slow
def test_who_is_slow_is_not_dead(many: list[str]) -> None:
    """However many in a row do not answer in time, or answer an error, the others of their host are asked."""
    release = threading.Event()

    def answer(asked: Asked) -> Answer:
        if asked.path < "/d004":
            release.wait(10)
        return (503, "") if asked.path < "/d010" else (200, '{"x": 1}')

    with answering(answer) as server:
        options = {"timeout": 0.25, "attempts": 1, "workers": 1}
        found = list(http.read(DAY, many[:20], url=f"{server.url}{PATH}", **options))
        release.set()
    assert [row.deployment for row in found if isinstance(row, Row)] == many[10:20]


@pytest.mark.slow
def test_metrics_of_a_slow_prometheus(many: list[str]) -> None:
    """What was told before the deadline counts; then the read ends, and says so once."""
    release = threading.Event()

    def answer(asked: Asked) -> Answer:
        if asked.parameters["query"] != "m00":
            release.wait(10)
        return 200, series("2")

    metrics = {f"m{number:02}": f"m{number:02}" for number in range(50)}
    started = time.monotonic()
    with answering(answer) as server:
        answers = prometheus.read(DAY, TAGS, url=server.url, metrics=metrics, timeout=0.4, deadline=0.7)
        rows = [each for each in told_before(answers, "the 0.7 s for all requests are over") if isinstance(each, Row)]
        assert len(server.asked) < 8
        release.set()
    assert time.monotonic() - started < 2
    assert [(row.metrics, len(row.missing)) for row in rows] == [({"m00": 2}, 49)] * len(TAGS)


def told_before(answers: Iterator[Row | Fault], says: str) -> list[Row | Fault]:
    """What a source tells before it gives up."""
    found: list[Row | Fault] = []
    with pytest.raises(GivenUp, match=re.escape(says)):
        found.extend(answers)
    return found


@pytest.mark.parametrize("asking", ["prometheus", "http", "mlflow"])
def test_a_collection_leaves_a_dead_server_alone(graph: Store, monkeypatch: Any, asking: str) -> None:
    """Of many portions of periods three are tried, and all of them are faults."""
    monkeypatch.setattr("arangopipe_ops.serving.collection.CELLS", 10 * len(TAGS))
    type_, options = ASKING[asking]
    given = {**options(f"http://127.0.0.1:{free_port()}"), "metrics": {f"m{n}": "x" for n in range(5)}}
    months = list(periods("2026-01-01", "2026-04-11", "1d"))
    report = collect(graph, months, [Source(type_, "", given)])
    by_message = Counter({row["message"]: row["periods"] for row in report["faults"]})
    assert by_message["it failed 3 times in a row and was not asked again"] == 70
    assert stored(graph) == {}


@pytest.mark.slow
def test_the_retry_after_the_deadline_goes_on(graph: Store) -> None:
    """What was not asked for in time is asked for by the retry, and that alone."""
    release, asked_again = threading.Event(), []

    def answer(asked: Asked) -> Answer:
        if asked.path == "/wine":
            asked_again.append(asked.parameters["from"])
            release.wait(10)
        return 200, '{"x": 1}'

    with answering(answer) as server:
        options = {"url": f"{server.url}{PATH}", "timeout": 0.5, "attempts": 1, "deadline": 0.6, "workers": 2}
        source = Source("http", "", options)
        report = collect(graph, DAYS, [source])
        assert {fault["deployment"] for fault in report["faults"]} == {"wine"}
        release.set()
        server.asked.clear()
        report = collect(graph, DAYS, [source], only_missing=True)
        assert {each.path for each in server.asked} == {"/wine"}
    assert report["faults"] == []
    assert stored(graph) == {"http": [{"x": 1}] * len(DAYS) * len(TAGS)}


def test_a_request_gets_no_more_than_what_is_left() -> None:
    """Attempts of one request end with the deadline too, and the error says what happened, not only that time is up."""
    release = threading.Event()

    def slow(_: Asked) -> Answer:
        release.wait(10)
        return 200, ""

    with answering(slow) as server:
        fetcher, started = Fetcher(timeout=10, deadline=0.3), time.monotonic()
        with pytest.raises(Unavailable, match=r"did not answer within 0\.(3|2\d+) s"):
            fetcher.text("GET", server.url)
        assert time.monotonic() - started < 2
        with pytest.raises(GivenUp):
            fetcher.text("GET", server.url)
        release.set()
        assert len(server.asked) == 1


# --- one that is damaged, and the others


def test_a_damaged_record_is_of_its_deployment() -> None:
    """A record with a time that is none is a fault of its deployment, and the others are told."""
    records = [{"deployment": tag, "period_start": DAYS[0].start.isoformat(), "x": 1} for tag in (*TAGS, "other")]
    records[0]["period_start"] = records[2]["period_start"] = "soon"
    [fault, row] = rows(records, DAYS, TAGS)
    assert fault == Fault("period_start: 'soon' is not a time", "iris")
    assert row == Row("wine", DAYS[0], {"x": 1}, [])


@pytest.mark.slow
def test_figures_of_too_few_predictions_are_none() -> None:
    """Where a prediction is missing, its period has no figures; where a time is none, the deployment has none."""
    records = [
        {"deployment": tag, "time": day.start.isoformat(), "prediction": 1, "outcome": 1}
        for tag in (*TAGS, "rose")
        for day in DAYS
    ]
    records[0]["prediction"], records[3]["time"] = None, "soon"
    found = list(Outcomes(["accuracy_score"]).rows(records, DAYS, [*TAGS, "rose"]))
    assert [each for each in found if isinstance(each, Fault)] == [
        Fault("a record has no prediction", "iris", DAYS[0]),
        Fault("time: 'soon' is not a time", "wine"),
    ]
    assert [(row.deployment, row.period) for row in found if isinstance(row, Row)] == [
        *(("iris", day) for day in DAYS[1:]),
        *(("rose", day) for day in DAYS),
    ]


def test_a_query_that_fails_for_one_period(tmp_path: Path) -> None:
    """What a data base cannot answer for a period is a fault of that period, and the others are told."""
    query = """SELECT 'iris' AS deployment, CASE WHEN :period_start LIKE '2026-03-27%' THEN abs(-9223372036854775808)
      ELSE 1 END AS x"""
    found = list(sql.read(DAYS, TAGS, url=f"sqlite:///{tmp_path}/x.db", query=query))
    assert [row.period for row in found if isinstance(row, Row)] == [DAYS[0], DAYS[2]]
    [fault] = [each for each in found if isinstance(each, Fault)]
    assert (fault.period, "integer overflow" in fault.message) == (DAYS[1], True)


def test_a_run_whose_period_is_none() -> None:
    """A tag of an MLflow run that is no time is a fault of its deployment, and other runs are told."""
    runs = [
        {
            "info": {"start_time": 1},
            "data": {
                "metrics": [{"key": "x", "value": 1}],
                "tags": [{"key": "deployment", "value": tag}, {"key": "day", "value": day}],
            },
        }
        for tag, day in (("iris", "soon"), ("other", "soon"), ("wine", DAYS[0].start.isoformat()))
    ]
    body = json.dumps({"runs": runs, "experiments": [{"experiment_id": 1}]})
    with answering(lambda _: (200, body)) as server:
        found = list(mlflow.read(DAYS, TAGS, url=server.url, period_tag="day"))
    assert found == [Fault("tag day: 'soon' is not a time", "iris"), Row("wine", DAYS[0], {"x": 1}, [])]


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_decimal_numbers_that_are_none(text: str) -> None:
    """What PostgreSQL's numeric has beside numbers is a number that is none, which a collection says, and no error."""
    from decimal import Decimal

    assert not math.isfinite(plain(Decimal(text)))
    assert plain(Decimal("5.00")) == 5


@pytest.mark.parametrize(
    ("type_", "options", "missing"),
    [("files", {"pth": "x.csv"}, "path"), ("prometheus", {"url": "http://x"}, "metrics")],
)
def test_an_option_that_is_missing_is_named(graph: Store, type_: str, options: Options, missing: str) -> None:
    """What a type of source needs, such as a name that was misspelt, is named, and waiting cures nothing."""
    says = f"failing.{missing}: is missing; a source of the type {type_} needs it"
    assert failing(graph, type_, options) == [says]
    assert lasting(graph, type_, options) == {True}
