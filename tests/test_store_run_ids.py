"""The id of a run: its own, or that of the task that it belongs to."""

import pytest
from runs import graph

from arangopipe_ops.store import Store

__all__ = ["graph"]

TASK = {"AIRFLOW_CTX_DAG_ID": "wine", "AIRFLOW_CTX_DAG_RUN_ID": "manual__1", "AIRFLOW_CTX_TASK_ID": "train"}


def airflow(monkeypatch: pytest.MonkeyPatch, dag: str, **more: str) -> None:
    for name, value in (TASK | {"AIRFLOW_CTX_DAG_ID": dag} | more).items():
        monkeypatch.setenv(name, value)


def test_a_run_of_its_own_has_a_readable_id(graph: Store) -> None:
    """Outside of an orchestrator every run is another one, called after its model."""
    ids = set()
    for reference in ("forest", graph.get("forest", "Model")):
        with graph.run(model=reference) as run:
            ids.add(run.run_id)
    assert len(ids) == 2
    assert all(id.startswith("forest-") for id in ids)


def test_every_attempt_at_a_task_is_the_same_run(graph: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's DAG run and task are the id; the number of the attempt is told, but is no part of it."""
    ids = []
    for attempt in ("1", "2"):
        airflow(monkeypatch, "dag a", AIRFLOW_CTX_TRY_NUMBER=attempt)
        with graph.run(model="forest") as run:
            ids.append(run.run_id)
    assert ids == ["dag a/manual__1/train"] * 2
    assert graph.counts()["run"] == 1
    assert graph.get(run.ref)["orchestrator"]["airflow"]["try_number"] == "2"


def test_several_runs_of_one_task_are_several(graph: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs of a loop in one task have ids of their own, the same ones in the next attempt."""
    for attempt in ("1", "2"):
        airflow(monkeypatch, "dag b", AIRFLOW_CTX_TRY_NUMBER=attempt)
        for depth in range(3):
            with graph.run(model="forest", params={"depth": depth}) as run:
                assert run.run_id == "dag b/manual__1/train" + ("" if depth == 0 else f"#{depth + 1}")
    assert graph.counts()["run"] == 3


def test_a_mapped_task_has_a_run_for_each_index(graph: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The map index is part of the id where there is one, 0 as well; -1 means that the task is not mapped."""
    for index, ending in (("0", "/0"), ("1", "/1"), ("-1", "")):
        airflow(monkeypatch, "dag c", AIRFLOW_CTX_MAP_INDEX=index)
        with graph.run(model="forest") as run:
            assert run.run_id == f"dag c/manual__1/train{ending}"


def test_the_stores_provenance_comes_first(graph: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that an operator's hook made knows its task instance, whatever the environment says."""
    airflow(monkeypatch, "other")
    provenance = {"dag_id": "dag d", "run_id": "manual__1", "task_id": "train", "map_index": 0}
    with Store(graph.db, provenance=provenance).run(model="forest") as run:
        assert run.run_id == "dag d/manual__1/train/0"


def test_replacing_a_run_by_mistake_is_loud(
    graph: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where Airflow does not say whether a task is mapped, a run that is there already is replaced with a warning."""
    airflow(monkeypatch, "dag e", AIRFLOW_CTX_TRY_NUMBER="1")
    with graph.run(model="forest"):
        assert not caplog.records
    airflow(monkeypatch, "dag e", AIRFLOW_CTX_TRY_NUMBER="2")
    with graph.run(model="forest"):
        assert "AIRFLOW_CTX_MAP_INDEX" in caplog.text
