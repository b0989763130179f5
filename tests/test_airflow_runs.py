"""Runs that tasks write with `store.run`, executed by Airflow's own task runner."""

from datetime import UTC, datetime
from typing import Any

import pytest
from airflow_home import airflow, graph, run, states

from arangopipe_ops import stages

__all__ = ["airflow", "graph"]
pytestmark = pytest.mark.slow


def test_a_mapped_task_has_a_run_for_each_index(graph: Any) -> None:
    """Airflow puts the map index in no variable; the run knows it all the same, and run again it is the same one."""
    from airflow.sdk import DAG, task

    graph.write(stages.register_project("wine"))
    graph.write(stages.register_model("forest", project="wine"))
    with DAG("with_runs", schedule=None) as dag:

        @task
        def train(depth: int) -> None:
            from arangopipe_ops import Store, connect

            with Store(connect()).run(model="forest", params={"depth": depth}):
                pass

        train.expand(depth=[5, 6])
        train.override(task_id="alone")(7)

    when = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
    done = run(dag, logical_date=when, run_after=when)
    assert set(states(done).values()) == {"success"}
    runs = {node["run_id"] for node in graph.search("Run")["nodes"]}
    assert runs == {f"with_runs/{done.run_id}/{ending}" for ending in ("train/0", "train/1", "alone")}
