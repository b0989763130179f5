"""On a real Airflow: the DAGs with a scheduler that runs every task in a process of its own, and the connection."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow_service import AirflowService, running

from arangopipe_ops.connection import connect
from arangopipe_ops.store import Store

DAGS = Path(__file__).parent.parent / "dags"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowService]:
    """A running Airflow whose tasks write to a file of their own."""
    home = tmp_path_factory.mktemp("airflow")
    settings = {"ARANGOPIPE_URL": f"embedded://{home}/graph.db", "AIRFLOW__CORE__TEST_CONNECTION": "Enabled"}
    with running(home, DAGS, **settings) as airflow:
        yield airflow


def test_train_and_record_on_a_scheduler(airflow: AirflowService) -> None:
    """Mapped tasks in several processes write one graph, whole, and a second run adds only what is new."""
    store = Store(connect(airflow.environment["ARANGOPIPE_URL"]))
    for i in (1, 2):
        state = airflow.run("train_and_record", f"run_{i}")
        assert state == "success", airflow.tail()
        counts = store.counts()
        assert counts | {"project": 1, "datasets": 1, "featuresets": 2, "models": 3} == counts
        assert counts | {"run": 6 * i, "modelparams": 6 * i, "devperf": 6 * i} == counts
        assert counts | {"deployment": i, "servingperf": 2 * i, "deployment_run": i} == counts
    [active] = store.search("Deployment", {"status": "active"})["nodes"]
    assert active["tag"] == "tumor diagnosis run_2"
    assert active["provenance"] | {"through": "airflow", "run_id": "run_2", "task_id": "deploy"} == active["provenance"]


def test_the_connection_form(airflow: AirflowService) -> None:
    """Airflow shows the form of our connection type, with the extras as fields of their own."""
    [form] = [f for f in airflow.call("GET", "/ui/connections/hook_meta") if f["connection_type"] == "arangopipe"]
    assert {"tls", "request_timeout", "embedded_file"} <= set(form["extra_fields"])
    assert form["standard_fields"]["host"]["title"] == "Hosts"


def test_the_test_button(airflow: AirflowService, tmp_path: Path) -> None:
    """The button says what a connection leads to, and why one does not work, without its password."""
    good = {"conn_type": "arangopipe", "extra": f'{{"embedded_file": "{tmp_path}/tested.db"}}'}
    answer = airflow.call("POST", "/api/v2/connections/test", {"connection_id": "good", **good})
    assert answer["status"] is True
    assert "is not provisioned yet" in answer["message"]
    bad = {"conn_type": "arangopipe", "host": "127.0.0.1", "port": 1, "password": "s3cr3t-word"}
    bad["extra"] = '{"request_timeout": 1}'
    answer = airflow.call("POST", "/api/v2/connections/test", {"connection_id": "bad", **bad})
    assert answer["status"] is False
    assert "connection refused" in answer["message"]
    assert "s3cr3t" not in answer["message"]
