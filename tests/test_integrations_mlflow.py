"""MLflow as a source: a real server, and the answers that servers give."""

import json
import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from answering_server import Asked, answering
from real_servers import log_run, mlflow, post

from arangopipe_ops.integrations.mlflow import read
from arangopipe_ops.integrations.source import Fault, Period, Row
from arangopipe_ops.serving import periods

DAYS = list(periods("2026-03-27", "2026-03-31", "1d", "Europe/Berlin"))
NAMES = ["wine", "iris"]


def milliseconds(period: Period, share: float = 0.5) -> int:
    return int((period.start + share * period.length).timestamp() * 1000)


def run(deployment: str, start: int, **metrics: Any) -> dict[str, Any]:
    values = [{"key": name, "value": value, "timestamp": 0, "step": 0} for name, value in metrics.items()]
    tags = [{"key": "deployment", "value": deployment}]
    return {"info": {"run_id": "x", "start_time": start}, "data": {"metrics": values, "tags": tags}}


def test_pages_are_followed_and_the_newest_run_counts() -> None:
    """All pages of runs are read; of two runs for a deployment and day the one that started last counts."""
    pages = {
        None: {"runs": [run("wine", milliseconds(DAYS[0], 0.7), x=2), run("other", milliseconds(DAYS[0]), x=9)],
               "next_page_token": "more"},
        "more": {"runs": [run("wine", milliseconds(DAYS[0], 0.2), x=1), run("iris", milliseconds(DAYS[1]), x="NaN")]},
    }  # fmt: skip

    def answer(asked: Asked) -> tuple[int, str]:
        if asked.path.endswith("get-by-name"):
            return 200, '{"experiment": {"experiment_id": "7"}}'
        return 200, json.dumps(pages[json.loads(asked.body).get("page_token")])

    with answering(answer) as server:
        found = list(read(DAYS, NAMES, url=server.url, experiments=["serving"], metrics=["x", "y"]))
        sent = json.loads(server.asked[1].body)
    assert sent["experiment_ids"] == ["7"]
    assert sent["filter"] == (
        f"attributes.status = 'FINISHED' and attributes.start_time >= {milliseconds(DAYS[0], 0)}"
        f" and attributes.start_time < {milliseconds(DAYS[-1], 1)}"
    )
    assert str(found) == str(
        [Row("wine", DAYS[0], {"x": 2.0}, ["y"]), Row("iris", DAYS[1], {"x": float("nan")}, ["y"])]
    )


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (200, "[]", "is not MLflow's"),
        (200, '{"runs": [{"info": {}}]}', "has a run that is none"),
        (404, '{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such experiment"}', "no such experiment"),
        (500, "oops", "HTTP 500"),
    ],
)
def test_a_malformed_answer_is_an_error(status: int, body: str, says: str) -> None:
    """What is not an answer of MLflow's raises an error, which collection records as a fault."""

    def answer(asked: Asked) -> tuple[int, str]:
        return (200, '{"experiments": [{"experiment_id": "1"}]}') if "experiments" in asked.path else (status, body)

    with answering(answer) as server, pytest.raises(Exception, match=says):
        list(read(DAYS, NAMES, url=server.url, attempts=1))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow server on a data base of its own; its URL."""
    with mlflow(tmp_path_factory.mktemp("mlflow")) as url:
        yield url


@pytest.mark.slow
def test_figures_are_those_of_the_runs(server: str) -> None:
    """What a real MLflow knows of runs is what was logged from the raw predictions, by deployment and day."""
    experiment = post(server, "experiments/create", name="serving")["experiment_id"]
    random_, expected = random.Random(7), {}
    for name in NAMES:
        for day in DAYS[1:3]:
            right = [random_.random() < 0.8 for _ in range(50)]
            expected[name, day] = {"accuracy": sum(right) / 50, "n": 50.0}
            log_run(server, experiment, name, milliseconds(day, 0), accuracy=0.5, n=1)
            log_run(server, experiment, name, milliseconds(day, 0.999), accuracy=sum(right) / 50, n=50)
            log_run(server, experiment, name, milliseconds(day, 0.9995), status="FAILED", accuracy=0, n=0)
    found = list(read([*DAYS], NAMES, url=server, experiments=["serving"]))
    assert {(row.deployment, row.period): row.metrics for row in found if isinstance(row, Row)} == expected
    later = [Period(day.start + timedelta(days=365), day.end + timedelta(days=365)) for day in DAYS]
    assert list(read(later, NAMES, url=server)) == []


@pytest.mark.slow
def test_the_period_may_be_a_tag(server: str) -> None:
    """A run that evaluates a past day says by a tag which it was."""
    experiment = post(server, "experiments/create", name="late")["experiment_id"]
    told = {"day": "2026-03-28T00:00:00+01:00"}
    log_run(server, experiment, "wine", milliseconds(DAYS[3]), tags=told, accuracy=0.25)
    [row] = read(DAYS, NAMES, url=server, experiments=["late"], period_tag="day")
    assert row == Row("wine", DAYS[1], {"accuracy": 0.25}, [])
    assert not isinstance(row, Fault)


@pytest.mark.slow
def test_what_is_no_number(server: str) -> None:
    """NaN is NaN, infinity, of which MLflow makes a number, is infinity again, and nought is nought."""
    experiment = post(server, "experiments/create", name="odd")["experiment_id"]
    values = {"nan": "NaN", "inf": "Infinity", "less": "-Infinity", "nought": 0.0}
    log_run(server, experiment, "wine", milliseconds(DAYS[0]), **values)
    [row] = read(DAYS, NAMES, url=server, experiments=["odd"])
    assert isinstance(row, Row)
    assert {name: str(value) for name, value in row.metrics.items()} == {
        "nan": "nan", "inf": "inf", "less": "-inf", "nought": "0.0"
    }  # fmt: skip
