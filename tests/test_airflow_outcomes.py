"""What the notifier and the listener record of tasks that end without a result."""

import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from airflow_home import airflow, graph, run, states

from arangopipe_ops import stages
from arangopipe_ops.airflow import listeners
from arangopipe_ops.airflow.notifications import ArangopipeNotifier

__all__ = ["airflow", "graph"]
pytestmark = pytest.mark.slow


def failing(callback: Any = None, error: str = "out of memory") -> Any:
    from airflow.sdk import DAG, task

    with DAG("failing", schedule=None) as dag:

        @task(on_failure_callback=callback)
        def train(depth: int) -> None:
            if depth:
                raise ValueError(error)

        train.expand(depth=[0, 1])
    return run(dag)


def test_the_notifier_records_the_task_that_failed(graph: Any) -> None:
    """The mapped instance that failed is a failed run with its error and its log; the other one is none."""
    done = failing(ArangopipeNotifier())
    [recorded] = graph.search("Run")["nodes"]
    assert recorded["run_id"] == f"failing/{done.run_id}/train/1"
    assert (recorded["status"], recorded["error"]) == ("failed", {"type": "ValueError", "message": "out of memory"})
    assert recorded["provenance"]["map_index"] == 1


def test_a_run_that_was_begun_ends_as_failed(graph: Any) -> None:
    """What the run had told before it was killed stays."""
    from airflow.sdk import DAG, task

    graph.write(stages.register_project("p"))
    graph.write(stages.register_model("m", project="p"))
    with DAG("killed", schedule=None) as dag:

        @task(on_failure_callback=ArangopipeNotifier(status="aborted"))
        def train(ti: Any = None) -> None:
            graph.write(stages.log_run(f"killed/{ti.run_id}/train", model="m", status="running", note="begun"))
            raise ValueError("killed")

        train()
    run(dag)
    [recorded] = graph.search("Run")["nodes"]
    assert (recorded["status"], recorded["note"], recorded["error"]["message"]) == ("aborted", "begun", "killed")


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Any:
    from airflow.sdk.listener import get_listener_manager

    monkeypatch.setenv("AIRFLOW__ARANGOPIPE__RECORD_OUTCOMES", "True")
    manager = get_listener_manager()
    manager.add_listener(listeners)
    yield
    manager.pm.unregister(listeners)


def test_the_listener_records_failed_and_skipped_tasks(graph: Any, listening: Any) -> None:
    """Tasks of any operator are recorded, those that succeed are not."""
    from airflow.sdk import DAG, task
    from airflow.sdk.exceptions import AirflowSkipException

    with DAG("watched", schedule=None) as dag:

        @task
        def broken() -> None:
            raise ValueError("no")

        @task
        def passed_over() -> None:
            raise AirflowSkipException

        @task
        def fine() -> None: ...

        broken(), passed_over(), fine()
    done = run(dag)
    found = {
        node["run_id"].removeprefix(f"watched/{done.run_id}/"): node["status"] for node in graph.search("Run")["nodes"]
    }
    assert found == {"broken": "failed", "passed_over": "skipped"}


def test_what_is_tried_again_is_no_failure_yet(graph: Any, listening: Any) -> None:
    """An attempt that another one follows is not recorded, and neither is the success of that one."""
    from airflow.sdk import DAG, task

    with DAG("patient", schedule=None) as dag:

        @task(retries=1, retry_delay=timedelta(0))
        def flaky(ti: Any = None) -> None:
            if ti.try_number == 1:
                raise ValueError("not yet")

        flaky()
    assert states(run(dag)) == {"flaky": "success"}
    assert graph.counts()["run"] == 0


def test_the_listener_is_off_unless_it_is_asked_for(
    graph: Any, listening: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the option nothing is recorded."""
    monkeypatch.setenv("AIRFLOW__ARANGOPIPE__RECORD_OUTCOMES", "False")
    failing()
    assert graph.counts()["run"] == 0


def test_the_listener_never_fails_a_task(graph: Any, listening: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no database to write to, tasks end as they would without the listener."""
    monkeypatch.setenv("ARANGOPIPE_URL", "nonsense://")
    assert states(failing()) == {"train[0]": "success", "train[1]": "failed"}


@pytest.fixture
def black_hole(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("ARANGOPIPE_URL", f"http://root:secret@127.0.0.1:{server.getsockname()[1]}")
        server.setblocking(False)
        yield server


def test_the_listener_waits_no_longer_than_its_time(
    airflow: None, listening: Any, black_hole: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    """A database that hangs holds a worker up for five seconds and no longer, and the task ends as it would."""
    began = time.monotonic()
    assert states(failing()) == {"train[0]": "success", "train[1]": "failed"}
    assert "was not recorded within 5.0 s" in caplog.text
    assert 5 <= time.monotonic() - began < 15
    black_hole.accept()


def test_a_row_of_airflows_database_is_left_alone(
    airflow: None, black_hole: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the scheduler or somebody in Airflow's pages ends a task, nobody waits for us: nothing is sent."""
    row = failing().get_task_instance("train", map_index=1)
    monkeypatch.setenv("AIRFLOW__ARANGOPIPE__RECORD_OUTCOMES", "True")
    caplog.clear()
    listeners.on_task_instance_failed(None, row, "lost")
    listeners.on_task_instance_skipped(None, row)
    with pytest.raises(BlockingIOError):
        black_hole.accept()
    assert (row.state, caplog.text) == ("failed", "")


@pytest.mark.parametrize("broken", [{"state": "failed"}, {"state": "failed", "dag_id": "d"}])
def test_the_listener_raises_nothing(listening: Any, broken: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is given, and whatever its own settings are, Airflow goes on."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    ti = RuntimeTaskInstance.model_construct(**broken)
    listeners.on_task_instance_failed(None, ti, ValueError("no"))
    monkeypatch.setenv("AIRFLOW__ARANGOPIPE__RECORD_OUTCOMES", "perhaps")
    listeners.on_task_instance_skipped(None, ti)
