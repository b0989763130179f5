"""The DAGs on a real Airflow, with a scheduler that runs every task in a process of its own."""

from pathlib import Path

import pytest
from airflow_service import running

from arangopipe_ops.connection import connect
from arangopipe_ops.store import Store

DAGS = Path(__file__).parent.parent / "dags"


@pytest.mark.slow
def test_train_and_record_on_a_scheduler(url: str, tmp_path: Path) -> None:
    """Mapped tasks in several processes write one graph, whole, and a second run adds only what is new."""
    home = tmp_path / "airflow"
    home.mkdir()
    with running(home, DAGS, ARANGOPIPE_URL=url) as airflow:
        for i in (1, 2):
            state = airflow.run("train_and_record", f"run_{i}")
            assert state == "success", airflow.tail()
            counts = Store(connect(url)).counts()
            assert counts | {"project": 1, "datasets": 1, "featuresets": 2, "models": 3} == counts
            assert counts | {"run": 6 * i, "modelparams": 6 * i, "devperf": 6 * i} == counts
            assert counts | {"deployment": i, "servingperf": 2 * i, "deployment_run": i} == counts
        [active] = Store(connect(url)).find("Deployment", status="active")
        assert active["tag"] == "tumor diagnosis run_2"
