"""A run as people write it: what is recorded when it begins and when it ends, whichever way it ends."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import dump, provisioned
from socket_server import serving
from test_connection import url_of

from arangopipe_ops import current_run, stages
from arangopipe_ops.capture import ORCHESTRATORS
from arangopipe_ops.connection import connect
from arangopipe_ops.errors import Invalid, NotFound, Unavailable
from arangopipe_ops.store import Store
from arangopipe_ops.store.run import MAX_MESSAGE, MAX_PRODUCTS, MAX_TRACEBACK, Run
from arangopipe_ops.store.series import MAX_ALL_POINTS, MAX_POINTS, Metrics


def fill(url: str) -> None:
    store = Store(provisioned(url))
    store.write(stages.register_project("wine"))
    store.write(stages.register_model("forest", project="wine"))
    store.write(stages.register_dataset("data", uri="s3://lake/1"))
    store.write(stages.register_featureset("all", dataset="data"))


@pytest.fixture
def graph(filled_by: Any, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store with something to run, outside of any orchestrator."""
    for system in ORCHESTRATORS:
        for variable in (system.sign, *system.ids.values()):
            monkeypatch.delenv(variable, raising=False)
    return Store(filled_by(fill))


def metrics_of(store: Store, run: Run) -> dict[str, Any]:
    return store.get(f"devperf/{run.ref['_key']}")


def params_of(store: Store, run: Run) -> dict[str, Any]:
    return store.get(f"modelparams/{run.ref['_key']}")


def linked(store: Store, edge: str) -> list[str]:
    return sorted(e["_to"] for e in store.db.collection(edge).all())


# --- beginning and end -----------------------------------------------------------------------------------


def test_a_run_is_two_requests(graph: Store, requests_of: Any) -> None:
    """Beginning and ending are one request each, whatever is logged between; linking and flushing are one each."""
    requests = requests_of(graph.db)
    with graph.run(model="forest", dataset="data", featureset="all", params={"depth": 3}) as run:
        assert len(requests) == 1
        for step in range(10):
            run.log_metrics(accuracy=step / 10, step=step)
        run.log_params(width=2)
        run.set(tag="try")
        run.produced("s3://models/1")
        assert len(requests) == 1
    assert len(requests) == 2
    with graph.run(model="forest") as run:
        run.use(dataset="data")
        run.flush()
    assert len(requests) == 6


def test_a_run_is_there_from_its_beginning(graph: Store) -> None:
    """While the body runs the run is stored as `running`, with its parameters and what it reads."""
    with graph.run(
        "r1", model="forest", dataset="data", params={"depth": 3}, project="wine", tag="try", team="x"
    ) as run:
        found = graph.get(run.ref)
        assert {name: found[name] for name in ("run_id", "status", "project", "tag", "team")} == {
            "run_id": "r1",
            "status": "running",
            "project": "wine",
            "tag": "try",
            "team": "x",
        }
        assert "end" not in found
        assert params_of(graph, run)["depth"] == 3
        assert len(linked(graph, "run_datasets")) == len(linked(graph, "run_models")) == 1


def test_a_run_tells_how_it_ended(graph: Store) -> None:
    """Start, end, duration, parameters, metrics, products and attributes are those that were logged."""
    with graph.run(model="forest", params={"depth": 3}) as run:
        time.sleep(0.05)
        run.log_params({"seed": 7}, width=2)
        run.log_metrics({"accuracy": 0.9}, f1=0.8)
        run.produced("s3://models/1", "abc", size=10)
        run.produced("s3://models/1", "def", size=11)
        run.set(description="a try", rows=5)
    found = graph.get(run.ref)
    assert (found["status"], found["description"], found["rows"]) == ("completed", "a try", 5)
    assert found["produced"] == [{"uri": "s3://models/1", "checksum": "def", "size": 11}]
    assert found["start"] < found["end"]
    assert 0.05 <= found["duration"] < 5
    assert "error" not in found
    assert {name: params_of(graph, run)[name] for name in ("depth", "seed", "width")} == {
        "depth": 3,
        "seed": 7,
        "width": 2,
    }
    metrics = metrics_of(graph, run)
    assert (metrics["accuracy"], metrics["f1"], "series" in metrics) == (0.9, 0.8, False)


def test_a_project_is_the_same_by_reference_and_by_name(graph: Store) -> None:
    """A run's project is stored by its name, whichever way it was given."""
    project = graph.write(stages.register_project("wine"))
    with graph.run(model="forest", project=project) as run:
        pass
    assert graph.get(run.ref)["project"] == "wine"
    assert stages.log_run("r", model="m", project=project).nodes == stages.log_run("r", model="m", project="wine").nodes


ENDINGS: list[tuple[BaseException, str]] = [
    (ValueError("bad"), "failed"),
    (MemoryError(), "failed"),
    (SystemExit(2), "failed"),
    (SystemExit("no data"), "failed"),
    (SystemExit(0), "completed"),
    (SystemExit(), "completed"),
    (KeyboardInterrupt(), "aborted"),
    (GeneratorExit(), "aborted"),
    (asyncio.CancelledError(), "aborted"),
]


@pytest.mark.parametrize(("error", "status"), ENDINGS, ids=[repr(error) for error, _ in ENDINGS])
def test_what_the_body_raises_is_recorded_and_goes_on(graph: Store, error: BaseException, status: str) -> None:
    """The very exception of the body leaves it, the run says how it ended, and what was logged before is kept."""
    run = graph.run(model="forest")

    def body() -> None:
        with run:
            run.log_metrics(accuracy=0.5)
            raise error

    with pytest.raises(type(error)) as caught:
        body()
    assert caught.value is error
    found = graph.get(run.ref)
    assert found["status"] == status
    assert metrics_of(graph, run)["accuracy"] == 0.5
    if status == "completed":
        assert "error" not in found
    else:
        assert found["error"]["type"].endswith(type(error).__name__)
        assert found["error"]["message"] == str(error)
        assert "raise error" in found["error"]["traceback"]


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("cannot say")


@pytest.mark.parametrize("message", ["\ud800", "x" * 1_000_000, "secret" * 100_000, "a.b" * 100_000, Unprintable()])
def test_any_error_can_be_recorded(graph: Store, message: Any) -> None:
    """An error that is overlong, no text or cannot say what it is ends the run like any other."""
    error = message if isinstance(message, Unprintable) else ValueError(message)
    started = time.monotonic()
    with pytest.raises(type(error)), graph.run(model="forest") as run:
        raise error
    assert time.monotonic() - started < 5
    found = graph.get(run.ref)["error"]
    assert found["type"].endswith(type(error).__name__)
    assert len(found.get("message", "")) <= MAX_MESSAGE
    assert len(found.get("traceback", "")) <= MAX_TRACEBACK


def test_an_error_tells_no_secret(graph: Store) -> None:
    """Neither message nor traceback hold the credentials of a URL or what is called a password or token."""
    with pytest.raises(ValueError, match="no answer"), graph.run(model="forest") as run:
        raise ValueError("no answer from https://ann:geheim@db:8529/ml?token=geheim, api_key='geheim'")
    stored = json.dumps(graph.get(run.ref))
    assert "geheim" not in stored
    assert "db:8529/ml" in stored


def test_without_a_beginning_nothing_runs(graph: Store) -> None:
    """An unknown model or data set is refused before the body runs, and nothing is written."""
    before = dump(graph.db)
    for references in ({"model": "nobody"}, {"model": "forest", "dataset": "nothing"}):
        with pytest.raises(NotFound), graph.run(**references):  # type: ignore[arg-type]
            pytest.fail("the body ran")
    assert dump(graph.db) == before
    assert current_run() is None


# --- when the database is away ---------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Any]:
    """A database behind a socket, which can be ended, and a store on it."""
    with serving(tmp_path / "served.db") as server:
        fill(url_of(server.address))
        yield server, Store(connect(url_of(server.address), timeout=1))


def test_the_bodys_error_wins_over_the_databases(served: Any, caplog: pytest.LogCaptureFixture) -> None:
    """If the end cannot be recorded, the body's exception goes on, with a note, and the log says so too."""
    server, store = served
    run = store.run("r1", model="forest")

    def body() -> None:
        with run:
            server.faults.extend(["refuse"] * 1000)
            raise ValueError("bad")

    with pytest.raises(ValueError, match="bad") as caught:
        body()
    server.faults.clear()
    assert "the end of run 'r1' could not be recorded" in caught.value.__notes__[0]
    assert caught.value.__notes__[0] in caplog.text
    assert store.get(run.ref)["status"] == "running"


def test_an_end_that_failed_can_be_written_later(served: Any) -> None:
    """A run that ended well, but could not be recorded, is an error, and `flush` records it once that works."""
    server, store = served
    run = store.run(model="forest")

    def body() -> None:
        with run:
            run.log_metrics(accuracy=0.9)
            server.faults.extend(["refuse"] * 1000)

    with pytest.raises(Unavailable):
        body()
    server.faults.clear()
    assert run.status == "completed"
    assert store.get(run.ref)["status"] == "running"
    run.flush()
    assert store.get(run.ref)["status"] == "completed"
    assert metrics_of(store, run)["accuracy"] == 0.9


def refused(server: Any) -> Any:
    """End the database for what follows."""
    server.faults.extend(["refuse"] * 1000)


def test_with_warn_the_body_runs_without_a_database(served: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing can be recorded: all that the body calls is harmless, it ends well, and warnings name what is lost."""
    server, store = served
    refused(server)
    with store.run("r1", model="forest", on_metadata_error="warn") as run:
        assert (current_run(), run.run_id) == (run, "r1")
        run.log_params(trees=10)
        run.log_metrics(loss=0.5, step=1)
        run.set(owner="ann")
        run.produced("s3://m")
        run.use(dataset="data")
        run.flush()
    server.faults.clear()
    assert (run.status, run.is_recorded) == ("completed", False)
    assert store.counts()["run"] == 0
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [text.partition(" of run 'r1'. Unavailable")[0] for text in warned] == [
        f"Not recorded: {what}" for what in ("beginning", "state", "end")
    ]


def test_with_warn_a_database_that_comes_back_misses_nothing(served: Any) -> None:
    """A run whose beginning could not be recorded is whole at its end, with its links and its true start."""
    server, store = served
    refused(server)
    with store.run("r1", model="forest", featureset="all", params={"trees": 10}, on_metadata_error="warn") as run:
        run.use(dataset="data")
        run.log_metrics(accuracy=0.9)
        time.sleep(0.01)
        server.faults.clear()
    assert run.is_recorded
    found = store.get(run.ref)
    assert (found["status"], found["start"] < found["end"]) == ("completed", True)
    assert (params_of(store, run)["trees"], metrics_of(store, run)["accuracy"]) == (10, 0.9)
    assert [len(linked(store, edge)) for edge in ("run_models", "run_datasets", "run_featuresets")] == [1, 1, 1]


def test_with_warn_only_the_end_may_be_lost(served: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A run whose end could not be recorded is no error, and says that the graph does not know how it ended."""
    server, store = served
    with store.run("r1", model="forest", on_metadata_error="warn") as run:
        refused(server)
    server.faults.clear()
    assert not run.is_recorded
    assert store.get(run.ref)["status"] == "running"
    assert "Not recorded: end of run 'r1'. Unavailable" in caplog.text


def test_with_warn_what_cannot_be_stored_is_left_out(graph: Store, caplog: pytest.LogCaptureFixture) -> None:
    """A value that no database takes, and data that nobody registered, cost the run nothing but themselves."""
    given: dict[str, Any] = {"model": "forest", "params": {"trees": float("nan")}, "on_metadata_error": "warn"}
    with graph.run("r1", **given) as run:
        run.log_params(depth=3)
        run.log_params(rate=float("inf"))
        run.log_metrics(accuracy=0.9)
        run.use(dataset="nothing")
    assert run.is_recorded
    assert graph.get(run.ref)["status"] == "completed"
    assert {"trees", "rate"}.isdisjoint(params_of(graph, run))
    assert (params_of(graph, run)["depth"], metrics_of(graph, run)["accuracy"]) == (3, 0.9)
    assert [text in caplog.text for text in ("parameters of run 'r1'", "data of run 'r1'")] == [True, True]


def test_with_warn_a_model_that_is_not_there_stops_nothing(graph: Store) -> None:
    """The body runs, and nothing is recorded of it."""
    with graph.run("r1", model="nobody", on_metadata_error="warn") as run:
        done = True
    assert (done, run.is_recorded, graph.counts()["run"]) == (True, False, 0)


def test_with_warn_the_bodys_own_error_goes_on(served: Any) -> None:
    """Whatever becomes of the record, what the body raises is raised; also an error of this library."""
    server, store = served
    refused(server)

    def body() -> None:
        with store.run("r1", model="forest", on_metadata_error="warn"):
            raise Unavailable("of the body")

    with pytest.raises(Unavailable, match="of the body"):
        body()
    server.faults.clear()


def test_a_lost_answer_changes_nothing(served: Any) -> None:
    """Requests that are sent again leave one run, begun and ended once."""
    server, store = served
    server.faults.append("lose")
    with store.run("r1", model="forest") as run:
        run.log_metrics(accuracy=0.9)
        server.faults.append("lose")
    [entry, begun] = store.history(run.ref)
    assert (begun["action"], entry["action"]) == ("created", "revised")
    assert store.counts()["devperf"] == 1


# --- processes -------------------------------------------------------------------------------------------

PROGRAM = """
import sys, time
from arangopipe_ops import Store, connect
with Store(connect(sys.argv[1])).run("r1", model="forest", params={"try": int(sys.argv[2])}) as run:
    run.log_metrics(accuracy=0.1)
    run.flush()
    print("ready", flush=True)
    sys.stdin.readline()
    run.log_metrics(f1=0.7)
"""


def start(url: str, attempt: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PROGRAM, url, str(attempt)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_killed_process_leaves_a_running_run(graph: Store, url: str) -> None:
    """kill -9 leaves `running` and what was flushed; the same run again ends it, as one node."""
    process = start(url, 1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    found = graph.get("r1", "Run")
    assert found["status"] == "running"
    assert graph.search("DevPerf", {"accuracy": 0.1})["total"] == 1

    process = start(url, 2)
    process.communicate("\n")
    assert process.returncode == 0
    found = graph.get("r1", "Run")
    assert found["status"] == "completed"
    assert graph.counts() | {"run": 1, "modelparams": 1, "devperf": 1, "run_models": 1} == graph.counts()
    assert graph.get(f"modelparams/{found['_key']}")["try"] == 2


def test_ctrl_c_ends_a_run(graph: Store, url: str) -> None:
    """SIGINT in the body records an aborted run before the process ends."""
    process = start(url, 1)
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert graph.get("r1", "Run")["status"] == "aborted"


def test_a_run_again_replaces_its_former_figures(graph: Store) -> None:
    """A second attempt that fails early does not keep the metrics and the error of the first one."""

    def first() -> None:
        with graph.run("r1", model="forest", params={"a": 1}) as run:
            run.log_metrics(accuracy=0.9)
            raise ValueError("late")

    with pytest.raises(ValueError, match="late"):
        first()
    with graph.run("r1", model="forest") as run:
        found = graph.get(run.ref)
        assert (found["status"], "error" in found, "end" in found) == ("running", False, False)
    assert not run.ref["created"]
    assert "accuracy" not in metrics_of(graph, run)
    assert "a" not in params_of(graph, run)
    assert graph.history(metrics_of(graph, run))[0]["changed"]["accuracy"] == [0.9, None]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_end_the_run(graph: Store, url: str) -> None:
    """A child process that leaves the body as well ends nothing: the run is its parent's."""
    program = """
import os, sys
from arangopipe_ops import Store, connect
store = Store(connect(sys.argv[1]))
with store.run("r1", model="forest") as run:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        print(Store(connect(sys.argv[1])).get("r1", "Run")["status"])
"""
    done = subprocess.run([sys.executable, "-c", program, url], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "running\n"
    assert graph.get("r1", "Run")["status"] == "completed"


# --- what is logged --------------------------------------------------------------------------------------


def test_a_metric_is_its_last_value_and_its_series(graph: Store) -> None:
    """A repeated metric is found by its last value, and keeps step, value and time of every point."""
    with graph.run(model="forest") as run:
        for epoch in range(5):
            run.log_metrics({"loss": 1 / (epoch + 1)}, step=epoch * 10)
        run.log_metrics(accuracy=0.5)
        run.log_metrics(accuracy=0.9)
        run.log_metrics(once=1, matrix=[[1, 2], [3, 4]])
    [found] = graph.search("DevPerf", {"accuracy": {">": 0.8}, "loss": 0.2, "series.loss.max": 1})["nodes"]
    assert found["series"]["loss"]["step"] == [0, 10, 20, 30, 40]
    assert found["series"]["loss"]["value"] == [1, 0.5, 1 / 3, 0.25, 0.2]
    assert found["series"]["loss"]["time"] == sorted(found["series"]["loss"]["time"])
    assert found["series"]["accuracy"]["step"] == [0, 1]
    assert found["matrix"] == [[1, 2], [3, 4]]
    assert set(found["series"]) == {"loss", "accuracy"}


@pytest.mark.parametrize("count", [1, 2, MAX_POINTS - 1, MAX_POINTS, MAX_POINTS + 1, 5 * MAX_POINTS + 3])
def test_a_long_series_is_thinned(count: int) -> None:
    """At most so many points are kept: the first, the last, and evenly spread ones; count and extremes are of all."""
    metrics = Metrics()
    for step in range(count):
        metrics.log({"loss": 1000.5 if step == 777 else float(step) / 7}, step)
    assert len(metrics._series["loss"]._kept) < MAX_POINTS, "no more is kept in memory"
    series = metrics.document()["series"]["loss"]
    steps = series["step"]
    assert len(steps) == len(series["value"]) == len(series["time"]) <= MAX_POINTS
    assert len(steps) >= min(count, MAX_POINTS // 2)
    assert (steps[0], steps[-1], series["count"]) == (0, count - 1, count)
    assert len({later - earlier for earlier, later in pairwise(steps[:-1])}) <= 1
    if count > 777:
        assert series["max"] == 1000.5


def test_many_series_share_the_room() -> None:
    """The points of all series of a run together are bounded, however many metrics there are."""
    metrics = Metrics()
    for _ in range(300):
        metrics.log({f"m{i}": 0.5 for i in range(400)})
    series = metrics.document()["series"]
    assert len(series) == 400
    assert sum(len(one["step"]) for one in series.values()) <= MAX_ALL_POINTS
    assert all(one["count"] == 300 for one in series.values())


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf")])
def test_a_diverging_training_is_recorded(graph: Store, odd: float) -> None:
    """NaN and infinity end no training: the series has null there, and the metric no value that could be compared."""
    with graph.run(model="forest") as run:
        run.log_metrics(loss=0.5, step=1)
        run.log_metrics(loss=odd, step=2)
        run.log_metrics(accuracy=odd)
        run.log_metrics(f1=odd)
        run.log_metrics(f1=0.5)
    found = metrics_of(graph, run)
    assert found["not_finite"] == {"loss": str(odd), "accuracy": str(odd)}
    assert ("loss" in found, "accuracy" in found, found["f1"]) == (False, False, 0.5)
    assert found["series"]["loss"]["value"] == [0.5, None]
    assert (found["series"]["loss"]["min"], found["series"]["loss"]["max"]) == (0.5, 0.5)
    assert graph.search("DevPerf", {"not_finite.loss": {"exists": True}})["total"] == 1


def test_values_of_numpy_are_numbers(graph: Store) -> None:
    """A numpy scalar or an array of no dimension makes a series like a float, also if it is NaN."""
    numpy = pytest.importorskip("numpy")
    with graph.run(model="forest") as run:
        run.log_params(rate=numpy.float32(0.5), layers=numpy.array([1, 2]))
        for step in numpy.arange(2):
            run.log_metrics(loss=numpy.float32("nan") if step else numpy.array(0.25), step=step)
    assert metrics_of(graph, run)["series"]["loss"]["value"] == [0.25, None]
    assert (params_of(graph, run)["rate"], params_of(graph, run)["layers"]) == (0.5, [1, 2])


REFUSED: list[tuple[str, Any]] = [
    ("an object", lambda run: run.log_metrics(accuracy=object())),
    ("NaN inside", lambda run: run.log_metrics(matrix=[1.0, float("nan")])),
    ("a name of the run's", lambda run: run.log_metrics(series=1)),
    ("the store's name", lambda run: run.log_metrics(created=1)),
    ("a hidden name", lambda run: run.log_metrics({"_key": 1})),
    ("a huge number", lambda run: run.log_metrics(accuracy=10**400)),
    ("no step", lambda run: run.log_metrics(accuracy=1, step="first")),
    ("a step of NaN", lambda run: run.log_metrics(accuracy=1, step=float("nan"))),
    ("a NaN parameter", lambda run: run.log_params(rate=float("nan"))),
    ("a parameter of the store's name", lambda run: run.log_params(digest=1)),
    ("an overlarge parameter", lambda run: run.log_params(text="x" * 17_000_000)),
    ("status", lambda run: run.set(status="completed")),
    ("model", lambda run: run.set(model="tree")),
    ("an attribute", lambda run: run.set(x=object())),
    ("a product", lambda run: run.produced("s3://x", size=float("nan"))),
    ("too many products", lambda run: [run.produced(f"s3://{i}") for i in range(MAX_PRODUCTS + 1)]),
]


@pytest.mark.parametrize("log", [case[1] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_cannot_be_stored_is_refused_at_once(graph: Store, log: Any) -> None:
    """A wrong value is an error where it is logged, and the rest of the run is recorded as if it had not been."""
    with graph.run(model="forest") as run:
        run.log_metrics(accuracy=0.5)
        run.log_params(depth=3)
        with pytest.raises(Invalid):
            log(run)
    assert graph.get(run.ref)["status"] == "completed"
    assert metrics_of(graph, run)["accuracy"] == 0.5
    assert params_of(graph, run)["depth"] == 3


def test_a_run_is_used_once(graph: Store) -> None:
    """Logging before the beginning and after the end is refused, and so is a second beginning."""
    run = graph.run(model="forest")
    for early in (
        lambda: run.log_metrics(a=1),
        lambda: run.flush(),
        lambda: run.run_id,
        lambda: run.use(dataset="data"),
    ):
        with pytest.raises(Invalid, match="has not begun"):
            early()
    with run:
        pass
    with pytest.raises(Invalid, match="has ended"):
        run.log_metrics(a=1)
    with pytest.raises(Invalid, match="a second time"), run:
        pytest.fail("the body ran")


def test_what_is_used_is_linked_at_once(graph: Store) -> None:
    """Data is linked while the body runs; data that nobody registered is refused there, and the run goes on."""
    with graph.run(model="forest") as run:
        run.use(dataset=["data"], featureset="all")
        run.use(dataset="data")
        assert len(linked(graph, "run_datasets")) == len(linked(graph, "run_featuresets")) == 1
        with pytest.raises(NotFound):
            run.use(dataset="nothing")
    assert graph.get(run.ref)["status"] == "completed"


def test_a_name_means_the_version_that_was_the_newest_at_the_beginning(graph: Store) -> None:
    """Versions that are registered while a run goes on are not linked to it."""
    with graph.run(model="forest", dataset="data", featureset="all"):
        before = [linked(graph, edge) for edge in ("run_models", "run_datasets", "run_featuresets")]
        graph.write(stages.register_dataset("data", uri="s3://lake/2"))
        graph.write(stages.register_model("forest", project="wine", task="regression"))
    assert [linked(graph, edge) for edge in ("run_models", "run_datasets", "run_featuresets")] == before


def test_threads_log_at_once(graph: Store, request: pytest.FixtureRequest) -> None:
    """Nothing that several threads log is lost, while another one writes what there is so far."""
    request.addfinalizer(partial(sys.setswitchinterval, sys.getswitchinterval()))
    sys.setswitchinterval(1e-6)
    with graph.run(model="forest") as run:

        def log(thread: int) -> None:
            for step in range(200):
                run.log_metrics({"shared": step, f"own{thread}": step})
                run.log_params({f"p{thread}_{step % 5}": step})
                run.produced(f"s3://{thread}/{step % 5}")

        threads = [threading.Thread(target=log, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            run.flush()
        for thread in threads:
            thread.join()
    found = metrics_of(graph, run)["series"]
    assert found["shared"]["count"] == 1600
    assert all(found[f"own{i}"]["step"] == list(range(200)) for i in range(8))
    assert len([name for name in params_of(graph, run) if name.startswith("p")]) == 40 + len(["provenance"])
    assert len(graph.get(run.ref)["produced"]) == 40


# --- the current run -------------------------------------------------------------------------------------


def test_code_deep_inside_finds_its_run(graph: Store) -> None:
    """The innermost run is known in the body, also in a thread with its context; an inner one names the outer."""
    assert current_run() is None
    with graph.run("outer", model="forest") as outer:
        with graph.run("inner", model="forest") as inner:
            assert current_run() is inner
            assert asyncio.run(asyncio.to_thread(current_run)) is inner
        assert current_run() is outer
    assert current_run() is None
    assert graph.get(inner.ref)["parent"] == "outer"
    assert "parent" not in graph.get(outer.ref)


def test_a_run_may_end_in_another_thread(graph: Store) -> None:
    """A run that is ended elsewhere than it began is ended, and is nobody's current run."""
    run = graph.run(model="forest")
    run.__enter__()
    thread = threading.Thread(target=run.__exit__, args=(None, None, None))
    thread.start()
    thread.join()
    assert graph.get(run.ref)["status"] == "completed"
    assert current_run() is None


# --- ids -------------------------------------------------------------------------------------------------

TASK = {"AIRFLOW_CTX_DAG_ID": "wine", "AIRFLOW_CTX_DAG_RUN_ID": "manual__1", "AIRFLOW_CTX_TASK_ID": "train"}


def airflow(monkeypatch: pytest.MonkeyPatch, dag: str, **more: str) -> None:
    for name, value in (TASK | {"AIRFLOW_CTX_DAG_ID": dag} | more).items():
        monkeypatch.setenv(name, value)


def test_a_run_of_its_own_has_a_readable_id(graph: Store) -> None:
    """Outside of an orchestrator every run is another one, called after its model."""
    ids = set()
    for reference in ("forest", graph.get("forest", "Model")):
        with graph.run(model=reference) as run:
            ids.add(run.run_id)
    assert len(ids) == 2
    assert all(id.startswith("forest-") for id in ids)


def test_every_attempt_at_a_task_is_the_same_run(graph: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's DAG run and task are the id; the number of the attempt is told, but is no part of it."""
    ids = []
    for attempt in ("1", "2"):
        airflow(monkeypatch, "dag a", AIRFLOW_CTX_TRY_NUMBER=attempt)
        with graph.run(model="forest") as run:
            ids.append(run.run_id)
    assert ids == ["dag a/manual__1/train"] * 2
    assert graph.counts()["run"] == 1
    assert graph.get(run.ref)["orchestrator"]["airflow"]["try_number"] == "2"


def test_several_runs_of_one_task_are_several(graph: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs of a loop in one task have ids of their own, the same ones in the next attempt."""
    for attempt in ("1", "2"):
        airflow(monkeypatch, "dag b", AIRFLOW_CTX_TRY_NUMBER=attempt)
        for depth in range(3):
            with graph.run(model="forest", params={"depth": depth}) as run:
                assert run.run_id == "dag b/manual__1/train" + ("" if depth == 0 else f"#{depth + 1}")
    assert graph.counts()["run"] == 3


def test_a_mapped_task_has_a_run_for_each_index(graph: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The map index is part of the id where there is one, 0 as well; -1 means that the task is not mapped."""
    for index, ending in (("0", "/0"), ("1", "/1"), ("-1", "")):
        airflow(monkeypatch, "dag c", AIRFLOW_CTX_MAP_INDEX=index)
        with graph.run(model="forest") as run:
            assert run.run_id == f"dag c/manual__1/train{ending}"


def test_the_stores_provenance_comes_first(graph: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that an operator's hook made knows its task instance, whatever the environment says."""
    airflow(monkeypatch, "other")
    provenance = {"dag_id": "dag d", "run_id": "manual__1", "task_id": "train", "map_index": 0}
    with Store(graph.db, provenance=provenance).run(model="forest") as run:
        assert run.run_id == "dag d/manual__1/train/0"


def test_replacing_a_run_by_mistake_is_loud(
    graph: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where Airflow does not say whether a task is mapped, a run that is there already is replaced with a warning."""
    airflow(monkeypatch, "dag e", AIRFLOW_CTX_TRY_NUMBER="1")
    with graph.run(model="forest"):
        assert not caplog.records
    airflow(monkeypatch, "dag e", AIRFLOW_CTX_TRY_NUMBER="2")
    with graph.run(model="forest"):
        assert "AIRFLOW_CTX_MAP_INDEX" in caplog.text
