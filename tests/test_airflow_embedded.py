"""A real Airflow on an embedded file: fifty tasks at once, a deferred sensor, a DAG that a new model starts."""

import multiprocessing
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow_home import HOME  # before airflow is imported
from airflow_service import AIRFLOW, AirflowService, running

from arangopipe_ops import stages
from arangopipe_ops.admin import provision
from arangopipe_ops.connection import connect
from arangopipe_ops.store import Store

assert HOME
pytestmark = [pytest.mark.slow, pytest.mark.airflow]

TASKS = 50
EDGES = ("run_models", "run_datasets", "run_modelparams", "run_devperf")
LOCKED = re.compile(r"database is locked|database table is locked|SQLITE_BUSY|timed out waiting", re.IGNORECASE)

DAGS = f"""
from airflow.sdk import dag, task

from arangopipe_ops.airflow.assets import watched_asset
from arangopipe_ops.airflow.operators import LogRunOperator
from arangopipe_ops.airflow.sensors import NodeSensor


@dag(schedule=None, max_active_tasks=16)
def fifty():
    LogRunOperator.partial(
        task_id="log", model="forest", dataset="grapes", retries=2, max_active_tis_per_dag=16
    ).expand(result=[{{"params": {{"depth": i}}, "metrics": {{"accuracy": i / 100}}}} for i in range({TASKS})])


@dag(schedule=None)
def deferred():
    NodeSensor(
        task_id="wait", kind="Dataset", reference="bottles", deferrable=True, poke_interval=1, timeout=120
    )


@dag(schedule=[watched_asset("grading models", "Model", {{"task": "grading"}}, poke_interval=1)])
def review():
    @task
    def look(triggering_asset_events):
        return [event.extra["payload"]["name"] for events in triggering_asset_events.values() for event in events]

    look()


fifty()
deferred()
review()
"""


def begun(folder: Path) -> Store:
    """A graph in a file, with something to run."""
    store = Store(connect(f"embedded://{folder}/graph.db"))
    provision(store.db)
    store.write(stages.register_project("wine"))
    store.write(stages.register_model("forest", project="wine"))
    store.write(stages.register_dataset("grapes"))
    return store


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A graph in a file that Airflow and the test share."""
    return begun(tmp_path_factory.mktemp("graph"))


@pytest.fixture(scope="module")
def airflow(graph: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowService]:
    """A running Airflow of sixteen workers with the DAGs above."""
    home, dags = tmp_path_factory.mktemp("airflow"), tmp_path_factory.mktemp("dags")
    (dags / "waiting.py").write_text(DAGS)
    url = f"embedded://{graph.db.conn._http.path}"  # type: ignore[attr-defined]
    settings = {"AIRFLOW__CORE__PARALLELISM": "16", "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False"}
    with running(home, dags, ARANGOPIPE_URL=url, **settings) as airflow:
        yield airflow


# --- fifty tasks at once


def check(graph: Store, run_id: str) -> None:
    """Every task has its run, with its own figures and every edge, once."""
    counts = graph.counts()
    assert {name: counts[name] for name in ("run", *EDGES)} == dict.fromkeys(("run", *EDGES), TASKS)
    runs = graph.search("Run", limit=TASKS)["nodes"]
    assert {node["run_id"] for node in runs} == {f"fifty/{run_id}/log/{i}" for i in range(TASKS)}
    assert all(graph.get(f"modelparams/{node['_key']}")["depth"] == index_of(node) for node in runs)


def index_of(run: dict[str, Any]) -> int:
    return int(run["run_id"].rpartition("/")[2])


def execute(index: int, gate: Any, answers: Any) -> None:
    """Execute the operator as a mapped task does, once all others are ready."""
    from airflow.sdk.definitions.context import Context

    from arangopipe_ops.airflow.operators import LogRunOperator

    result = {"params": {"depth": index}, "metrics": {"accuracy": index / 100}}
    task = LogRunOperator(task_id="log", model="forest", dataset="grapes", result=result)
    ti = SimpleNamespace(dag_id="fifty", run_id="r1", task_id="log", map_index=index, log_url="http://airflow/log")
    context: Any = Context(ti=ti, task=task, dag_run=SimpleNamespace(start_date="2026-05-04"), outlet_events={})
    gate.wait(120)
    try:
        answers.put(task.execute(context)["name"])
    except Exception as error:
        answers.put(repr(error))


def test_fifty_tasks_at_the_very_same_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty processes that write to one file at once all write, and none is refused."""
    graph = begun(tmp_path)
    monkeypatch.setenv("ARANGOPIPE_URL", f"embedded://{tmp_path}/graph.db")
    import arangopipe_ops.airflow.operators

    assert arangopipe_ops.airflow.operators  # loaded once, for all that are forked
    fork = multiprocessing.get_context("fork")
    gate, answers = fork.Barrier(TASKS), fork.Queue()
    workers = [fork.Process(target=execute, args=(i, gate, answers)) for i in range(TASKS)]
    for worker in workers:
        worker.start()
    told = sorted(answers.get(timeout=120) for _ in workers)
    for worker in workers:
        worker.join(30)
    assert told == sorted(f"fifty/r1/log/{i}" for i in range(TASKS))
    check(graph, "r1")


def test_fifty_mapped_tasks_on_a_real_airflow(airflow: AirflowService, graph: Store) -> None:
    """With sixteen workers all succeed at the first attempt, nothing is lost, and no log tells of a lock."""
    assert airflow.run("fifty", "r1", seconds=300) == "success", airflow.tail()
    found = airflow.call("GET", f"/api/v2/dags/fifty/dagRuns/r1/taskInstances?limit={2 * TASKS}")["task_instances"]
    assert [(ti["state"], ti["try_number"]) for ti in found] == [("success", 1)] * TASKS
    check(graph, "r1")
    logs = [log.read_text(errors="replace") for log in (airflow.home / "logs").rglob("task_id=log/**/*.log")]
    assert len(logs) == TASKS
    assert not [log for log in logs if LOCKED.search(log)]


# --- what the triggerer does


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
