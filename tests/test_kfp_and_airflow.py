"""The same story told by Airflow and by Kubeflow leaves the same graph."""

import json
from pathlib import Path
from typing import Any

import kfp_local
import pytest
from airflow_home import airflow, run

from arangopipe_ops.admin import provision
from arangopipe_ops.connection import connect
from arangopipe_ops.kfp.pipelines import pipelines
from arangopipe_ops.model import OWN, Document
from arangopipe_ops.store import Store

__all__ = ["airflow"]
pytestmark = pytest.mark.slow

OF_THE_EXECUTION = {"run_id", "start", "end", "artifact", "artifact_checksum", "tag", "deployment", *OWN}
"""What differs from one execution to the next, whoever executes it."""


def graph(path: Path, patch: pytest.MonkeyPatch) -> Store:
    """Return a store on a database of its own, which tasks and steps find in the environment."""
    url = f"embedded://{path}"
    patch.setenv("ARANGOPIPE_URL", url)
    patch.setenv("ARANGOPIPE_EMBEDDED_CLUSTER", "1")
    patch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    db = connect(url)
    provision(db)
    return Store(db)


def told(store: Store) -> tuple[list[Any], list[Any]]:
    """Return nodes and edges of a graph, each with what it says, and nodes named by what they are."""
    lines = [json.loads(line) for line in store.export()]
    documents = [line for line in lines if "_id" in line]
    kinds = {node.collection: node for node in store.schema.nodes.values()}
    nodes = {each["_id"]: each for each in documents if each["_id"].partition("/")[0] in kinds}
    edges = [each for each in documents if "_from" in each]
    read = {e["_from"]: nodes[e["_to"]]["name"] for e in edges if e["_id"].startswith("run_featuresets/")}
    executed = {e["_to"]: nodes[e["_from"]]["name"] for e in edges if e["_id"].startswith("run_models/")}

    def named(id: str) -> str:
        collection, _, key = id.partition("/")
        if collection in ("run", "modelparams", "devperf"):
            return f"{collection} of {executed[f'run/{key}']} on {read[f'run/{key}']}"
        return collection if collection == "deployment" else f"{collection} {nodes[id][kinds[collection].name]}"

    return (
        sorted([named(id), said(node)] for id, node in nodes.items()),
        sorted([edge["_id"].partition("/")[0], named(edge["_from"]), named(edge["_to"]), said(edge)] for edge in edges),
    )


def said(document: Document) -> str:
    """Return what a document says, apart from what belongs to the execution."""
    kept = {
        name: value for name, value in document.items() if not name.startswith("_") and name not in OF_THE_EXECUTION
    }
    return json.dumps(kept, sort_keys=True)


def test_both_leave_the_same_lineage(airflow: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes, what they say, and edges are equal, to the digit of a metric."""
    from airflow.dag_processing.dagbag import DagBag

    by_airflow = graph(tmp_path / "airflow.db", monkeypatch)
    dag = DagBag(Path(__file__).parent.parent / "dags").get_dag("train_and_record")
    executed = run(dag)
    assert executed.state == "success"
    first_day = executed.run_after.date().isoformat()

    by_kfp = graph(tmp_path / "kfp.db", monkeypatch)
    kfp_local.execute(pipelines(kfp_local.HERE)["train_and_record"], tmp_path, first_day=first_day)

    nodes, edges = told(by_airflow)
    assert len(nodes) > 20
    assert told(by_kfp)[0] == nodes
    assert told(by_kfp)[1] == edges
