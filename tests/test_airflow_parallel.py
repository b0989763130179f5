"""Fifty tasks at once on one embedded file: on a real Airflow, and at the very same moment."""

import multiprocessing
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow_home import HOME  # before airflow is imported
from airflow_service import running

from arangopipe_ops import stages
from arangopipe_ops.admin import provision
from arangopipe_ops.connection import connect
from arangopipe_ops.store import Store

assert HOME
pytestmark = [pytest.mark.slow, pytest.mark.airflow]

TASKS = 50
EDGES = ("run_models", "run_datasets", "run_modelparams", "run_devperf")
LOCKED = re.compile(r"database is locked|database table is locked|SQLITE_BUSY|timed out waiting", re.IGNORECASE)

DAG = f"""
from airflow.sdk import dag

from arangopipe_ops.airflow.operators import LogRunOperator


@dag(schedule=None, max_active_tasks=16)
def fifty():
    LogRunOperator.partial(
        task_id="log", model="forest", dataset="bottles", retries=2, max_active_tis_per_dag=16
    ).expand(result=[{{"params": {{"depth": i}}, "metrics": {{"accuracy": i / 100}}}} for i in range({TASKS})])


fifty()
"""


@pytest.fixture
def graph(tmp_path: Path) -> Store:
    """A graph in a file, with something to run."""
    store = Store(connect(f"embedded://{tmp_path}/graph.db"))
    provision(store.db)
    store.write(stages.register_project("wine"))
    store.write(stages.register_model("forest", project="wine"))
    store.write(stages.register_dataset("bottles"))
    return store


def check(graph: Store, run_id: str) -> None:
    """Every task has its run, with its own figures and every edge, once."""
    counts = graph.counts()
    assert {name: counts[name] for name in ("run", *EDGES)} == dict.fromkeys(("run", *EDGES), TASKS)
    runs = graph.search("Run", limit=TASKS)["nodes"]
    assert {node["run_id"] for node in runs} == {f"fifty/{run_id}/log/{i}" for i in range(TASKS)}
    assert all(graph.get(f"modelparams/{node['_key']}")["depth"] == index_of(node) for node in runs)


def index_of(run: dict[str, Any]) -> int:
    return int(run["run_id"].rpartition("/")[2])


def test_fifty_mapped_tasks_on_a_real_airflow(graph: Store, tmp_path: Path) -> None:
    """With sixteen workers all succeed at the first attempt, nothing is lost, and no log tells of a lock."""
    home, dags = tmp_path / "airflow", tmp_path / "dags"
    home.mkdir(), dags.mkdir()
    (dags / "fifty.py").write_text(DAG)
    url = f"embedded://{tmp_path}/graph.db"
    with running(home, dags, ARANGOPIPE_URL=url, AIRFLOW__CORE__PARALLELISM="16") as airflow:
        assert airflow.run("fifty", "r1", seconds=300) == "success", airflow.tail()
        found = airflow.call("GET", f"/api/v2/dags/fifty/dagRuns/r1/taskInstances?limit={2 * TASKS}")["task_instances"]
    assert [(ti["state"], ti["try_number"]) for ti in found] == [("success", 1)] * TASKS
    check(graph, "r1")
    logs = [log.read_text(errors="replace") for log in (home / "logs").rglob("task_id=log/**/*.log")]
    assert len(logs) == TASKS
    assert not [log for log in logs if LOCKED.search(log)]


def execute(index: int, gate: Any, answers: Any) -> None:
    """Execute the operator as a mapped task does, once all others are ready."""
    from airflow.sdk.definitions.context import Context

    from arangopipe_ops.airflow.operators import LogRunOperator

    result = {"params": {"depth": index}, "metrics": {"accuracy": index / 100}}
    task = LogRunOperator(task_id="log", model="forest", dataset="bottles", result=result)
    ti = SimpleNamespace(dag_id="fifty", run_id="r1", task_id="log", map_index=index, log_url="http://airflow/log")
    context: Any = Context(ti=ti, task=task, dag_run=SimpleNamespace(start_date="2026-05-04"), outlet_events={})
    gate.wait(120)
    try:
        answers.put(task.execute(context)["name"])
    except Exception as error:
        answers.put(repr(error))


def test_fifty_tasks_at_the_very_same_moment(graph: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty processes that write to one file at once all write, and none is refused."""
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
