"""Sensors, run by Airflow's own task runner, in the worker and deferred."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from airflow_home import airflow, graph, outage, returned, run, states

from arangopipe_ops import errors, stages
from arangopipe_ops.airflow import compat
from arangopipe_ops.airflow.sensors import DeploymentStatusSensor, NodeSensor, ServingPerformanceSensor

__all__ = ["airflow", "graph", "outage"]
pytestmark = pytest.mark.slow

QUICK: dict[str, Any] = {"poke_interval": 0.2, "timeout": 30, "retries": 0}
BOTH = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])


def dag(name: str = "waiting", **settings: Any) -> Any:
    from airflow.sdk import DAG

    return DAG(name, schedule=None, **settings)


@pytest.fixture
def deployment(graph: Any) -> Any:
    """A deployment that is scheduled."""
    graph.write(stages.register_project("wine"))
    graph.write(stages.register_model("forest", project="wine"))
    return graph.write(stages.register_deployment("wine-1", project="wine", model="forest", status="scheduled"))


def soon(change: Any, *arguments: Any) -> None:
    """Change the graph while a DAG runs."""
    threading.Timer(1.5, change, arguments).start()


@BOTH
def test_a_sensor_waits_for_a_node(graph: Any, deferrable: bool) -> None:
    """It succeeds once the node is there, and its Ref serves as a reference in the next task."""
    from arangopipe_ops.airflow.operators import RegisterFeaturesetOperator

    with dag() as built:
        found = NodeSensor(task_id="wait", kind="Dataset", reference="bottles", deferrable=deferrable, **QUICK)
        RegisterFeaturesetOperator(task_id="features", name="scaled", dataset=found.output)
    soon(graph.write, stages.register_dataset("bottles", uri="s3://bottles"))
    done = run(built)
    assert set(states(done).values()) == {"success"}
    assert returned(done, "wait")["_id"] == graph.get("bottles", "Dataset")["_id"]
    assert graph.counts()["featureset_dataset"] == 1


@BOTH
def test_a_sensor_waits_for_a_deployment(graph: Any, deployment: Any, deferrable: bool) -> None:
    """It succeeds when another one promotes the deployment."""
    with dag() as built:
        DeploymentStatusSensor(task_id="wait", deployment="wine-1", deferrable=deferrable, **QUICK)
    soon(graph.promote, deployment)
    done = run(built)
    assert states(done) == {"wait": "success"}
    assert returned(done, "wait")["status"] == "active"


@BOTH
def test_a_sensor_waits_for_a_metric(graph: Any, deployment: Any, deferrable: bool) -> None:
    """It succeeds when serving performance falls below the threshold; templates give a number."""
    with dag(params={"floor": 0.9}) as built:
        ServingPerformanceSensor(
            task_id="wait",
            deployment=dict(deployment),
            metric="accuracy",
            comparison="<",
            threshold="{{ params.floor }}",  # type: ignore[arg-type]
            deferrable=deferrable,
            **QUICK,
        )
    period = {"period_start": "2026-05-04", "period_end": "2026-05-05"}
    soon(graph.write, stages.log_serving_perf(deployment, metrics={"accuracy": 0.7}, **period))
    done = run(built)
    assert states(done) == {"wait": "success"}
    assert returned(done, "wait")["value"] == 0.7


@BOTH
def test_what_no_waiting_cures_fails_at_once(graph: Any, deployment: Any, deferrable: bool) -> None:
    """A wrong question, and a deployment that went the other way, end the task on its first attempt."""
    graph.promote(deployment)
    graph.retire(deployment)
    patient = {**QUICK, "retries": 3, "retry_delay": timedelta(0), "deferrable": deferrable}
    with dag() as built:
        NodeSensor(task_id="question", kind="Model", where={"task": {"~": 1}}, **patient)
        DeploymentStatusSensor(task_id="archived", deployment=deployment, unless="archived", **patient)
    done = run(built)
    assert states(done) == {"question": "failed", "archived": "failed"}
    assert {ti.try_number for ti in done.get_task_instances()} == {1}


def test_a_timeout_fails_or_skips(graph: Any) -> None:
    """A sensor in a worker that waits in vain fails, or is skipped with soft_fail."""
    hasty = {**QUICK, "timeout": 0.5}
    with dag() as built:
        NodeSensor(task_id="fails", kind="Model", reference="nowhere", **hasty)
        NodeSensor(task_id="skips", kind="Model", reference="nowhere", soft_fail=True, **hasty)
    assert states(run(built)) == {"fails": "failed", "skips": "skipped"}


def test_a_deferred_wait_has_the_sensors_timeout(graph: Any) -> None:
    """Deferred, the triggerer ends the wait after the timeout; only plain data and the connection's id go there."""
    from airflow.sdk.exceptions import TaskDeferred

    sensor = NodeSensor(
        task_id="wait",
        kind="Model",
        reference="nowhere",
        deferrable=True,
        timeout=7,
        poke_interval=3,
        since="2026-05-04",
    )

    with pytest.raises(TaskDeferred) as deferred:
        sensor._deferred()
    assert deferred.value.timeout == timedelta(seconds=7)
    assert deferred.value.method_name == "execute_complete"
    _, kwargs = deferred.value.trigger.serialize()
    assert kwargs == {
        "condition": "node",
        "arguments": {"kind": "Model", "reference": "nowhere", "since": "2026-05-04T00:00:00.000Z"},
        "arangopipe_conn_id": "arangopipe_default",
        "poke_interval": 3.0,
    }


def test_the_error_of_a_trigger_is_the_tasks(graph: Any) -> None:
    """What ended the wait in the triggerer is raised in the task, with its class, so that retry policies match it."""
    sensor = NodeSensor(task_id="wait", kind="Model", reference="nowhere")
    with pytest.raises(errors.Unauthorized, match=r"^Check user and password$"):
        sensor.execute_complete({}, {"error": "Unauthorized", "message": "Check user and password"})  # type: ignore[typeddict-item]


def test_a_deferred_sensor_has_retries_unless_it_says_otherwise() -> None:
    """Airflow can fail a deferred task whose trigger fired; another attempt finds what the first one found."""
    given = {"task_id": "wait", "kind": "Model"}
    assert NodeSensor(**given, deferrable=True).retries == compat.DEFERRED_RETRIES
    assert NodeSensor(**given, deferrable=True, retries=0).retries == 0
    assert NodeSensor(**given, deferrable=False).retries == 0
    with dag(default_args={"retries": 5}):
        assert NodeSensor(**given, deferrable=True).retries == 5


def test_mapped_sensors(graph: Any) -> None:
    """A sensor is mapped like any operator."""
    for name in ("a", "b"):
        graph.write(stages.register_dataset(name))
    with dag() as built:
        NodeSensor.partial(task_id="wait", kind="Dataset", **QUICK).expand(reference=["a", "b"])
    done = run(built)
    assert states(done) == {"wait[0]": "success", "wait[1]": "success"}
    assert [returned(done, "wait", i)["name"] for i in (0, 1)] == ["a", "b"]


def test_a_database_that_is_away_is_waited_for(outage: Any) -> None:
    """An outage does not fail a sensor, and spends no retry."""
    outage.store.write(stages.register_dataset("bottles"))
    with dag() as built:
        NodeSensor(task_id="wait", kind="Dataset", reference="bottles", **QUICK)
    soon(outage.end)
    done = run(built)
    assert states(done) == {"wait": "success"}
    assert returned(done, "wait")["name"] == "bottles"


def test_a_comparison_that_is_none_is_named() -> None:
    """A misspelled comparison is an error of one line, before anything is asked."""
    sensor = ServingPerformanceSensor(
        task_id="wait",
        deployment="d",
        metric="a",
        comparison="below",  # type: ignore[arg-type]
        threshold=1,
    )
    with pytest.raises(errors.Invalid, match="'below' is not one of <, <=, >, >=, =="):
        sensor.arguments()
