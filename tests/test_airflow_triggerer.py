"""On a real Airflow with a triggerer: a deferred sensor, and a DAG that starts when a model is registered."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from airflow_service import AIRFLOW, AirflowService, running

from arangopipe_ops import stages
from arangopipe_ops.admin import provision
from arangopipe_ops.connection import connect
from arangopipe_ops.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.airflow]

DAGS = """
from airflow.sdk import dag, task

from arangopipe_ops.airflow.assets import watched_asset
from arangopipe_ops.airflow.sensors import NodeSensor


@dag(schedule=None)
def deferred():
    NodeSensor(
        task_id="wait", kind="Dataset", reference="bottles", deferrable=True, poke_interval=1, timeout=120
    )


@dag(schedule=[watched_asset("grading models", "Model", {"task": "grading"}, poke_interval=1)])
def review():
    @task
    def look(triggering_asset_events):
        return [event.extra["payload"]["name"] for events in triggering_asset_events.values() for event in events]

    look()


deferred()
review()
"""


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A graph in a file that Airflow and the test share."""
    db = connect(f"embedded://{tmp_path_factory.mktemp('graph')}/graph.db")
    provision(db)
    store = Store(db)
    store.write(stages.register_project("wine"))
    return store


@pytest.fixture(scope="module")
def airflow(graph: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowService]:
    """A running Airflow with the DAGs above."""
    home, dags = tmp_path_factory.mktemp("airflow"), tmp_path_factory.mktemp("dags")
    (dags / "waiting.py").write_text(DAGS)
    url = f"embedded://{graph.db.conn._http.path}"  # type: ignore[attr-defined]
    settings = {"ARANGOPIPE_URL": url, "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False"}
    with running(home, dags, **settings) as airflow:
        yield airflow


def seen(airflow: AirflowService) -> list[str]:
    """Return the models that the runs of `review` were started for."""
    names: list[str] = []
    for each in airflow.call("GET", "/api/v2/dags/review/dagRuns")["dag_runs"]:
        if each["state"] == "success":
            path = f"/api/v2/dags/review/dagRuns/{each['dag_run_id']}/taskInstances/look/xcomEntries/return_value"
            value: Any = airflow.call("GET", path)["value"]
            names += value if isinstance(value, list) else [value]
    return sorted(names)


def running_dags(airflow: AirflowService) -> list[str]:
    """Return the states of the runs of `review` that have not ended."""
    runs = airflow.call("GET", "/api/v2/dags/review/dagRuns")["dag_runs"]
    return [each["state"] for each in runs if each["state"] not in ("success", "failed")]


def told(airflow: AirflowService) -> list[str] | None:
    """Return the keys of the models that the watcher keeps as told, or None where it has not looked yet."""
    [asset] = airflow.call("GET", "/api/v2/assets")["assets"]
    places = airflow.call("GET", f"/api/v2/assets/{asset['id']}/state-store")["asset_state_store"]
    return [key for place in places for key in place["value"]["told"]] if places else None


def model(graph: Store, name: str) -> None:
    graph.write(stages.register_model(name, project="wine", task="grading"))


def test_a_deferred_sensor(airflow: AirflowService, graph: Store) -> None:
    """The triggerer finds the node that is registered while the sensor is deferred, and its task succeeds."""

    def waits() -> bool:
        path = "/api/v2/dags/deferred/dagRuns/run_1/taskInstances/wait"
        try:
            return bool(airflow.call("GET", path)["state"] == "deferred")
        except OSError:
            return False

    def register() -> None:
        airflow.wait_for(waits, 90, "the sensor to be deferred")
        graph.write(stages.register_dataset("bottles"))

    thread = threading.Thread(target=register)
    thread.start()
    assert airflow.run("deferred", "run_1") == "success", airflow.tail()
    thread.join()
    path = "/api/v2/dags/deferred/dagRuns/run_1/taskInstances/wait/xcomEntries/return_value"
    assert airflow.call("GET", path)["value"]["name"] == "bottles"


def test_a_new_model_starts_a_dag_also_after_the_triggerer_was_down(airflow: AirflowService, graph: Store) -> None:
    """A model that is registered starts the DAG once, and so does one that is registered while no triggerer runs."""
    airflow.wait_for(lambda: told(airflow) is not None, 90, "the watcher to have looked")
    model(graph, "first")
    airflow.wait_for(lambda: seen(airflow) == ["first"], 60, "the first model to be seen")
    airflow.wait_for(lambda: bool(told(airflow)), 30, "the watcher to keep that")
    old = airflow.processes.pop()
    os.killpg(old.pid, signal.SIGTERM)
    old.wait(30)
    model(graph, "second")
    output = (airflow.home / "triggerer-2.log").open("wb")
    command = [AIRFLOW, "triggerer"]
    airflow.processes.append(
        subprocess.Popen(command, env=airflow.environment, stdout=output, stderr=output, start_new_session=True)
    )
    airflow.wait_for(lambda: len(seen(airflow)) > 1, 90, "the second model to be seen")
    airflow.wait_for(lambda: not running_dags(airflow), 30, "all runs to end")
    time.sleep(5)
    assert seen(airflow) == ["first", "second"]
