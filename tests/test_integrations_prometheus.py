"""Prometheus as a source: a real server that scrapes a model server, and the answers that servers give."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from airflow_service import free_port
from answering_server import AnsweringServer, Asked, answering
from model_server import ModelServer, accuracy, ask, of, serving
from real_servers import prometheus

from arangopipe_ops.errors import Invalid
from arangopipe_ops.integrations.prometheus import read
from arangopipe_ops.integrations.source import Fault, Period, Row
from arangopipe_ops.serving import periods

NIGHT = list(periods("2026-01-01T00:00:00", "2026-01-01T03:00:00", "1h"))
DEPLOYMENTS = ["wine", "iris"]


def end(period: Period) -> float:
    """When a query is evaluated for a period."""
    return period.end.timestamp() - 0.001


def matrix(*series: tuple[dict[str, str], list[tuple[float, str]]], **more: Any) -> str:
    result = [{"metric": labels, "values": [list(point) for point in points]} for labels, points in series]
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}, **more})


def constant(value: str) -> Any:
    """An answer in which all deployments have a value in all periods."""
    points = [(end(period), value) for period in NIGHT]
    return lambda _: (200, matrix(*(({"deployment": name}, points) for name in DEPLOYMENTS)))


def asked(server: AnsweringServer, **options: Any) -> list[Row | Fault]:
    options = {"metrics": {"x": "x"}, "pause": 0.01} | options
    return list(read(NIGHT, DEPLOYMENTS, url=server.url, **options))


def test_one_query_tells_of_many_deployments_and_periods() -> None:
    """A metric is one range query whose steps are the ends of the periods, in the form that names deployments."""
    with answering(constant("0.5")) as server:
        found = asked(server, metrics={"x": 'rate(x{d=~"$deployments"}[$period])', "y": "y"})
    assert found == [Row(name, period, {"x": 0.5, "y": 0.5}, []) for name in DEPLOYMENTS for period in NIGHT]
    first, second = server.asked
    assert first.path == "/api/v1/query_range"
    assert first.parameters == {
        "query": 'rate(x{d=~"wine|iris"}[3600000ms])',
        "start": f"{end(NIGHT[0]):.3f}",
        "end": f"{end(NIGHT[-1]):.3f}",
        "step": "3600.000",
    }
    assert second.parameters["query"] == "y"


def test_deployments_are_quoted_and_asked_for_in_groups() -> None:
    """A deployment's name is taken as it is, whatever it holds, and one query names so many at most."""
    names = ['a.b"c\\', "x|y", "ü (1)"]
    with answering(lambda _: (200, matrix())) as server:
        list(read(NIGHT, names, url=server.url, metrics={"x": 'x{d=~"$deployments"}'}, at_once=2))
    assert [each.parameters["query"] for each in server.asked] == [
        r'x{d=~"a\\.b\"c\\\\|x\\|y"}',
        r'x{d=~"ü \\(1\\)"}',
    ]


def test_days_of_other_lengths_are_queries_of_their_own() -> None:
    """Around the change of the clocks, days of 24, 23 and 24 hours are three range queries with their own step."""
    days = list(periods("2026-03-27", "2026-03-31", "1d", "Europe/Berlin"))
    with answering(lambda _: (200, matrix())) as server:
        list(read(days, DEPLOYMENTS, url=server.url, metrics={"x": "x[$period]"}))
    assert [(each.parameters["step"], each.parameters["query"]) for each in server.asked] == [
        ("86400.000", "x[86400000ms]"),
        ("82800.000", "x[82800000ms]"),
        ("86400.000", "x[86400000ms]"),
    ]


def test_series_of_others_are_passed_over() -> None:
    """Series of deployments that were not asked for, and points at other times, are no figures."""
    others = matrix(({"deployment": "other"}, [(end(NIGHT[0]), "1")]), ({"deployment": "wine"}, [(5.0, "1")]))
    with answering(lambda _: (200, others)) as server:
        assert asked(server) == []


def test_what_one_metric_lacks_is_missing() -> None:
    """A deployment without a sample in a period has the other metrics there, and the name of the one it lacks."""

    def answer(asked: Asked) -> tuple[int, str]:
        points = [(end(period), "1") for period in (NIGHT if asked.parameters["query"] == "x" else NIGHT[:1])]
        return 200, matrix(({"deployment": "wine"}, points))

    with answering(answer) as server:
        found = asked(server, metrics={"x": "x", "y": "y"})
    assert [(row.metrics, row.missing) for row in found if isinstance(row, Row)] == [
        ({"x": 1, "y": 1}, []),
        ({"x": 1}, ["y"]),
        ({"x": 1}, ["y"]),
    ]


WINE = ({"deployment": "wine"}, [(end(NIGHT[0]), "1")])
HISTOGRAMS = '{"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "histograms": []}]}}'
MALFORMED = [
    ("no JSON", 200, "<html>", "did not answer JSON but '<html>'"),
    ("a list", 200, "[]", "is not Prometheus's"),
    ("nothing", 200, "{}", "is not Prometheus's"),
    ("a vector", 200, '{"status": "success", "data": {"resultType": "vector", "result": []}}', "is no matrix"),
    ("no times", 200, matrix(WINE).replace("176", "x"), "did not answer JSON"),
    ("no values", 200, matrix((WINE[0], [(1.0, "one")])), "has a point that is no time and value"),
    ("histograms", 200, HISTOGRAMS, "histogram_quantile"),
    ("an error", 400, '{"status": "error", "error": "parse error: unexpected )"}', "parse error: unexpected )"),
    ("overloaded", 503, '{"status": "error", "error": "query queue full"}', "HTTP 503: query queue full"),
    ("locked", 401, "", "refused the credentials"),
    ("elsewhere", 404, "", "/api/v1/query_range"),
    ("a warning", 200, matrix(WINE, warnings=["store-2 is away"]), "store-2 is away"),
]


@pytest.mark.parametrize(("status", "body", "says"), [case[1:] for case in MALFORMED], ids=[c[0] for c in MALFORMED])
def test_a_malformed_answer_is_a_fault_of_its_metric(status: int, body: str, says: str) -> None:
    """What is no proper answer is a fault for every period that was asked for, and the other metrics are told."""

    def answer(asked: Asked) -> tuple[int, str]:
        return constant("2")(asked) if asked.parameters["query"] == "good" else (status, body)  # type: ignore[no-any-return]

    with answering(answer) as server:
        found = asked(server, metrics={"bad": "bad", "good": "good"}, user="ann", password="s3cret")
    faults = [each for each in found if isinstance(each, Fault)]
    assert {fault.period for fault in faults} == set(NIGHT)
    for fault in faults:
        assert fault.message.startswith("bad: ")
        assert says in fault.message
        assert "s3cret" not in fault.message
    rows = [each for each in found if isinstance(each, Row)]
    assert {(row.deployment, row.period) for row in rows} == {
        (name, period) for name in DEPLOYMENTS for period in NIGHT
    }
    assert all(row.metrics == {"good": 2} and row.missing == ["bad"] for row in rows)


def test_warnings_can_be_accepted() -> None:
    """An answer with warnings counts if one says so."""
    body = matrix(({"deployment": "wine"}, [(end(NIGHT[0]), "1")]), warnings=["store-2 is away"])
    with answering(lambda _: (200, body)) as server:
        assert asked(server, accept_warnings=True) == [Row("wine", NIGHT[0], {"x": 1.0}, [])]


def test_two_series_for_a_deployment_are_no_figure() -> None:
    """Where the label leaves two series for a deployment, it is a fault of that deployment alone."""
    point = [(end(NIGHT[0]), "1")]
    body = matrix(
        ({"deployment": "wine", "pod": "a"}, point),
        ({"deployment": "wine", "pod": "b"}, point),
        ({"deployment": "iris"}, point),
        ({"pod": "c"}, point),
    )
    with answering(lambda _: (200, body)) as server:
        found = asked(server)
    assert found == [
        Fault("x: 2 series for one deployment; sum or choose", "wine", lasting=True),
        Fault("x: a series of the answer has no label deployment", lasting=True),
        Row("iris", NIGHT[0], {"x": 1.0}, []),
    ]


def test_a_dead_server_and_a_slow_one_are_faults() -> None:
    """Nobody there, and an answer that does not come in time, are faults after a bounded number of attempts."""
    found = list(read(NIGHT[:1], ["wine"], url=f"http://127.0.0.1:{free_port()}", metrics={"x": "x"}, pause=0.01))
    assert "cannot be reached" in found[0].message  # type: ignore[union-attr]
    release = threading.Event()

    def slow(_: Asked) -> tuple[int, str]:
        release.wait(5)
        return 200, matrix()

    with answering(slow) as server:
        found = list(
            read(NIGHT[:1], ["wine"], url=server.url, metrics={"x": "x"}, timeout=0.05, attempts=2, pause=0.01)
        )
        release.set()
        assert "did not answer within 0.05 s" in found[0].message  # type: ignore[union-attr]
        assert len(server.asked) == 2


def test_an_overloaded_server_is_asked_again() -> None:
    """A server that is busy at first is asked again, and what it then tells counts."""
    answers = iter([(503, ""), (429, "")])
    with answering(lambda asked: next(answers, None) or constant("1")(asked)) as server:
        assert len(asked(server)) == len(DEPLOYMENTS) * len(NIGHT)
        assert len(server.asked) == 3


def test_metrics_have_to_be_named() -> None:
    """Without expressions there is nothing to ask for."""
    with pytest.raises(Invalid, match="metrics: is empty"):
        list(read(NIGHT, DEPLOYMENTS, url="http://x", metrics={}))


# --- a real server


def next_second() -> datetime:
    """The next full second that is far enough away, once it is there."""
    at = datetime.fromtimestamp(int(time.time()) + 1, UTC)
    time.sleep(max(0, at.timestamp() - time.time()))
    return at


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ModelServer, list[Period]]]:
    """A Prometheus that watched a model server for four periods of three seconds; in the last, it started anew."""
    model = ModelServer(dict.fromkeys(DEPLOYMENTS, 0.7))
    with serving(model) as server, prometheus(tmp_path_factory.mktemp("p"), server.url[7:]) as url:
        while not requests.get(f"{url}/api/v1/query", params={"query": "predictions_total"}).json()["data"]["result"]:
            time.sleep(0.1)
        start = next_second()
        days = [Period(start + timedelta(seconds=3 * i), start + timedelta(seconds=3 * i + 3)) for i in range(4)]
        for number, period in enumerate(days):
            time.sleep(max(0, period.start.timestamp() + 0.4 - time.time()))
            if number == 3:
                model.restart()
                time.sleep(0.4)
            for deployment in DEPLOYMENTS:
                ask(server.url, deployment, 20 + 7 * number + len(deployment), str(number))
            model.broken = number >= 2
        time.sleep(max(0, days[-1].end.timestamp() + 0.3 - time.time()))
        yield url, model, days


EXACT = {
    "predictions": "predictions_total - predictions_total offset $period unless resets(predictions_total[$period]) > 0",
    "accuracy": "(right_total - right_total offset $period)"
    " / (predictions_total - predictions_total offset $period unless resets(predictions_total[$period]) > 0)",
}


@pytest.mark.slow
def test_figures_are_those_of_the_raw_predictions(observed: tuple[str, ModelServer, list[Period]]) -> None:
    """What a real Prometheus tells of a model server is what its raw predictions come to, period by period.

    Over the reset of a counter the same expressions tell nothing, rather than something negative.
    """
    url, model, days = observed
    found = list(read(days, DEPLOYMENTS, url=url, metrics=EXACT))
    assert {(row.deployment, row.period) for row in found if isinstance(row, Row)} == {
        (name, day) for name in DEPLOYMENTS for day in days[:3]
    }
    for row in found:
        assert isinstance(row, Row)
        raw = of(model.predictions, row.deployment, row.period)
        assert row.metrics == {"predictions": len(raw), "accuracy": pytest.approx(accuracy(raw), rel=1e-12)}


@pytest.mark.slow
def test_a_counter_that_starts_anew_is_no_negative_figure(observed: tuple[str, ModelServer, list[Period]]) -> None:
    """Over the reset of a counter, `increase` counts from zero, up to what it extrapolates at the period's bounds."""
    url, model, days = observed
    found = list(read(days[3:], DEPLOYMENTS, url=url, metrics={"n": "increase(predictions_total[$period])"}))
    assert len(found) == 2
    for row in found:
        assert isinstance(row, Row)
        assert row.metrics["n"] == pytest.approx(len(of(model.predictions, row.deployment, row.period)), rel=0.12)


@pytest.mark.slow
def test_periods_before_the_first_sample_have_no_figures(observed: tuple[str, ModelServer, list[Period]]) -> None:
    """A period that Prometheus knows nothing of has no row; a gauge that is NaN is told as such."""
    url, _, days = observed
    hour = timedelta(hours=1)
    assert (
        list(read([Period(days[0].start - hour, days[0].end - hour)], DEPLOYMENTS, url=url, metrics={"x": "up"})) == []
    )
    found = list(read(days[2:3], DEPLOYMENTS, url=url, metrics={"x": "accuracy_now"}))
    assert [str(row.metrics["x"]) for row in found if isinstance(row, Row)] == ["nan", "nan"]
    [fault] = {
        each.message for each in read(days, DEPLOYMENTS, url=url, metrics={"x": "sum(("}) if isinstance(each, Fault)
    }
    assert "parse error" in fault
