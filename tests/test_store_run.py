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
from pathlib import Path
from typing import Any

import pytest
from conftest import dump
from runs import fill, graph, linked, metrics_of, params_of
from socket_server import serving
from test_connection import url_of

from arangopipe_ops import current_run, stages
from arangopipe_ops.connection import connect
from arangopipe_ops.errors import NotFound, Unavailable
from arangopipe_ops.store import Store
from arangopipe_ops.store.run import MAX_MESSAGE, MAX_TRACEBACK

__all__ = ["graph"]


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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
