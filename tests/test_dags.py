"""The DAGs are run as users run them, and leave in the graph exactly what they promise."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow_home import airflow, graph, returned, run, states

__all__ = ["airflow", "graph"]
pytestmark = pytest.mark.slow

DAGS = Path(__file__).parent.parent / "dags"

PER_RUN = (
    "run",
    "modelparams",
    "devperf",
    "run_models",
    "run_datasets",
    "run_featuresets",
    "run_modelparams",
    "run_devperf",
)
PER_DEPLOYMENT = ("deployment", "deployment_model", "deployment_modelparams", "deployment_featureset", "deployment_run")

FIRST = (
    {"project": 1, "datasets": 1, "featuresets": 2, "models": 3, "project_models": 3, "featureset_dataset": 2}
    | dict.fromkeys(PER_RUN, 6)
    | dict.fromkeys(PER_DEPLOYMENT, 1)
    | {"servingperf": 2, "deployment_servingperf": 2, "run_outputs": 0, "alert": 0, "deployment_alert": 0}
)
"""What the first run of train_and_record leaves, by collection."""

ONCE = {"project", "datasets", "featuresets", "models", "project_models", "featureset_dataset"}
"""What another run does not add to."""

STAGE_TASKS = 1 + 1 + 2 + 3 + 6 + 1 + 2


def bag(folder: Path = DAGS) -> Any:
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(folder)


@pytest.fixture
def requests(graph: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The requests that anyone sends to the database."""
    sent: list[str] = []
    client = type(graph.db.conn._http)
    send = client.send_request

    def record(self: Any, session: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        sent.append(f"{method} {url}")
        return send(self, session, method, url, *args, **kwargs)

    monkeypatch.setattr(client, "send_request", record)
    return sent


def test_airflow_finds_the_dags_and_no_other() -> None:
    """Every DAG loads without error and tells its story, and the demo script is not taken for one."""
    found = bag()
    assert found.import_errors == {}
    assert {dag_id: Path(dag.fileloc).stem for dag_id, dag in found.dags.items()} == {
        "provisioning": "provisioning",
        "train_and_record": "train_and_record",
        "mapped_techniques": "mapped_techniques",
        "champion_challenger": "champion_challenger",
        "new_data": "asset_retraining",
        "retrain_on_new_data": "asset_retraining",
        "daily_performance": "backfill",
        "collect_serving_performance": "collect_serving_performance",
        "retrain_apple_grader": "collect_serving_performance",
    }
    for dag in found.dags.values():
        assert (dag.doc_md or "").lstrip().startswith("### ")
        assert dag.catchup is False


@pytest.mark.parametrize("path", sorted({*DAGS.glob("*.py")} - {DAGS / "run_demo.py"}), ids=lambda path: path.stem)
def test_parsing_a_dag_loads_no_machine_learning(path: Path) -> None:
    """The scheduler parses a DAG every half minute, so scikit-learn and the driver wait for the tasks."""
    heavy = {"sklearn", "numpy", "pandas", "joblib", "arango", "lark", "requests"}
    program = f"import sys, {path.stem}; print(*{heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=DAGS, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == ""


def test_train_and_record_twice(graph: Any, requests: list[str]) -> None:
    """The first run leaves the whole story; the second adds its runs, deployment and serving performance only.

    Every stage task sends one request, and so does provisioning a database that is provisioned.
    """
    built = bag().dags["train_and_record"]
    first = run(built)
    assert set(states(first).values()) == {"success"}
    assert len(requests) == STAGE_TASKS + 1
    assert graph.counts() == FIRST

    deployment = returned(first, "deploy")
    kinds = {node["kind"] for node in graph.lineage(deployment)["nodes"]}
    assert kinds == set(graph.schema.nodes) - {"Alert"}

    requests.clear()
    second = run(built)
    assert set(states(second).values()) == {"success"}
    assert len(requests) == STAGE_TASKS + 1
    assert graph.counts() == {name: count * (1 if name in ONCE else 2) for name, count in FIRST.items()}

    assert graph.get(deployment)["status"] == "archived"
    assert graph.get(returned(second, "deploy"))["status"] == "active"


def test_the_demo_from_anywhere(tmp_path: Path) -> None:
    """Started in any folder, the demo ends with the lineage of what it deployed."""
    environment = os.environ | {"ARANGOPIPE_URL": f"embedded://{tmp_path}/own.db"}
    command = [sys.executable, str(DAGS / "run_demo.py")]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=180
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for expected in ("train_and_record: success", "Deployment tumor diagnosis", "ServingPerf", "lineage.svg"):
        assert expected in done.stdout
    assert done.stderr == ""
    assert (tmp_path / "own.db").exists()


def test_the_demo_says_what_is_wrong_in_a_line(tmp_path: Path) -> None:
    """A URL that leads nowhere is a message and not a traceback."""
    done = subprocess.run(
        [sys.executable, str(DAGS / "run_demo.py")],
        env=os.environ | {"ARANGOPIPE_URL": "postgres://root:secret@db"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "is not a database URL" in done.stdout
    assert "secret" not in done.stdout
    assert done.stderr == ""
