"""An Airflow home of the tests' own, and DAGs that run in this process. To be imported before airflow is."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from socket_server import Outage

HOME = Path(tempfile.mkdtemp(prefix="airflow_home_"))
os.environ |= {"AIRFLOW_HOME": str(HOME), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}


def _remove(owner: int) -> None:
    if os.getpid() == owner:  # a task's process, which is forked, leaves it to us
        shutil.rmtree(HOME, ignore_errors=True)


atexit.register(_remove, os.getpid())


@pytest.fixture(scope="session")
def airflow() -> None:
    """Airflow's own metadata database."""
    command = [Path(sys.executable).parent / "airflow", "db", "migrate"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    DagBundlesManager().sync_bundles_to_db()


@pytest.fixture
def graph(airflow: None, url: str, store: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The store that tasks without a connection write to."""
    monkeypatch.setenv("ARANGOPIPE_URL", url)
    return store


@pytest.fixture
def outage(airflow: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outage]:
    """The database that the default connection leads to, which is away until `outage.end`."""
    with Outage(tmp_path / "away.db") as outage:
        monkeypatch.setenv("AIRFLOW_CONN_ARANGOPIPE_DEFAULT", outage.connection)
        yield outage


def run(dag: Any, **kwargs: Any) -> Any:
    """Run a DAG with Airflow's task runner and API in this process; return the DAG run."""
    try:
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    except ImportError:  # before Airflow 3.2
        from airflow.models.dagbag import DagBag, sync_bag_to_db

    bag = DagBag(os.devnull)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)
    return dag.test(**kwargs)


def states(dag_run: Any) -> dict[str, str]:
    """Return the state of every task instance, by task_id, or task_id[map_index] of a mapped one."""
    return {
        ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]": str(ti.state)
        for ti in dag_run.get_task_instances()
    }


def returned(dag_run: Any, task_id: str, map_index: int = -1) -> Any:
    """Return what a task instance returned."""
    return dag_run.get_task_instance(task_id, map_index=map_index).xcom_pull(task_id, map_indexes=map_index)
