"""Collect every day how deployments served, tell what is wrong, and retrain where that is not good enough."""

import logging
import os
import random
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Asset, Param, Variable, dag, get_current_context, task, task_group
from airflow.timetables.interval import CronDataIntervalTimetable

from arangopipe_ops.airflow.hooks import ArangopipeHook
from arangopipe_ops.airflow.notifications import ArangopipeNotifier
from arangopipe_ops.airflow.operators import (
    CollectServingPerfOperator,
    LogRunOperator,
    MetricGateOperator,
    RegisterDeploymentOperator,
    RegisterModelOperator,
    RegisterProjectOperator,
    RetentionOperator,
)

SCHEDULE = os.environ.get("APPLES_SCHEDULE", "@daily")
EVERY = os.environ.get("APPLES_EVERY", "1d")

MODEL = "apple grader"
GRADERS = ("apple grader north", "apple grader south")
APPLES_A_DAY = 200
NEW_VARIETY = date(2026, 5, 3)
"""Since then an apple grows in the south that the model has never seen."""

LEAST, DRIFT = 0.9, 0.05
"""The accuracy has to be so high, and not so much below that of the training."""

ALERTS = [
    {"metric": "accuracy", "threshold": LEAST, "periods": 2, "name": "bad for two days"},
    {"metric": "accuracy", "margin": DRIFT, "name": "worse than in training"},
]

MONITORING = "apple predictions"
DEPLOYMENTS_A_TASK = 1
"""Thousands are as well; here they show how the work is shared."""

QUERY = """SELECT deployment, time, prediction, outcome FROM predictions
  WHERE time >= :period_start AND time < :period_end AND deployment IN :deployments"""

RETRAINING = Asset("apple grader needs retraining")
RETRIES: dict[str, Any] = {"retries": 2, "retry_delay": timedelta(seconds=10)}


@dag(
    schedule=CronDataIntervalTimetable(SCHEDULE, timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["arangopipe"],
    default_args=RETRIES,
    params={
        "since": Param(None, type=["null", "string"], format="date", description="First day, for a run by hand."),
        "until": Param(None, type=["null", "string"], format="date", description="The day after the last."),
        "artifacts": Param(
            "",
            type="string",
            description="Folder for data, which all workers share; empty: artifacts in AIRFLOW_HOME.",
        ),
        "keep_days": Param(
            400, type=["null", "number"], exclusiveMinimum=0, description="Days that figures are kept; null: forever."
        ),
    },
)
def collect_serving_performance() -> None:
    """
    ### How did it serve yesterday?

    Two deployments grade apples. What they said, and what a person said of the same apples, is in an SQLite file,
    which `serve` fills as production would. After midnight the figures of the day before are computed from it and
    recorded, one node for each deployment, day and source, however often that is done; who is late is waited for. Then
    `tell_alerts` says what began or ended, and where the accuracy was too low an event of the asset `apple grader needs
    retraining` starts `retrain_apple_grader`, if that DAG is not paused. Figures of more than `keep_days` go.

    A run that is started by hand has no data interval: give it `since` and `until`. The Variable `apples_sources` names
    other sources, such as a Prometheus; the environment has another schedule in APPLES_SCHEDULE and APPLES_EVERY.
    """
    project = RegisterProjectOperator(task_id="register_project", name="apple grading")
    model = RegisterModelOperator(task_id="register_model", name=MODEL, project=project.output, task="grading apples")
    trained = LogRunOperator(
        task_id="log_training",
        run_id="apple grader of 2025",
        model=model.output,
        start="2025-12-01",
        parameters={"varieties": 12},
        metrics={"accuracy": 0.97},
    )
    deployments = RegisterDeploymentOperator.partial(
        task_id="deploy",
        project=project.output,
        model=model.output,
        run=trained.output,
        attributes={"monitoring": MONITORING, "alerts": ALERTS},
        map_index_template="{{ task.tag }}",
    ).expand_kwargs([{"tag": tag, "environment": tag.removeprefix("apple grader ")} for tag in GRADERS])

    shards = shards_of_deployments()
    collect = CollectServingPerfOperator.partial(
        task_id="collect",
        sources=where_measured(serve("{{ params.artifacts }}")),
        every=EVERY,
        since="{{ params.since }}",
        until="{{ params.until }}",
        patience=timedelta(hours=6),
        deferrable=True,
        on_failure_callback=ArangopipeNotifier(),
        map_index_template="{{ task.deployments | join(', ') }}",
    ).expand(deployments=shards)
    tell_alerts(collect.output)

    deployments >> shards
    watched = watch.expand(deployment=list(GRADERS))
    keep = RetentionOperator(task_id="keep", days="{{ params.keep_days }}", trigger_rule="none_failed")
    collect >> watched >> keep


@task_group
def watch(deployment: str) -> None:
    """Let pass what serves well enough, and ask for a retraining of what does not."""
    gate = MetricGateOperator(
        task_id="gate",
        node=deployment,
        kind="Deployment",
        performance="serving",
        metric="accuracy",
        threshold=LEAST,
        baseline=deployment,
        baseline_performance="development",
        min_improvement=-DRIFT,
        since="{{ params.since or data_interval_start }}",
        until="{{ params.until or data_interval_end }}",
        on_failure="branch",
        passed=[],
        failed="watch.ask_for_retraining",
    )
    gate >> ask_for_retraining(deployment, gate.output)


@task(outlets=[RETRAINING])
def ask_for_retraining(deployment: str, verdict: dict[str, Any], outlet_events: Any = None) -> None:
    """Say which deployment serves badly, and why, in the event of the asset."""
    outlet_events[RETRAINING].extra = {"deployment": deployment, "reason": verdict["reason"]}


@task(trigger_rule="all_done")
def tell_alerts(reports: Any) -> list[str]:
    """Tell which alerts were raised and cleared, also by shards that failed. A notifier would; here it is the log."""
    alerts = [alert for report in reports for alert in report["alerts"]]
    told = [f"{each['deployment']}: {each['rule']}, {each['state']}. {each['message']}" for each in alerts]
    for line in told:
        logging.getLogger("airflow.task").warning(line)
    return told


@dag(schedule=[RETRAINING], catchup=False, max_active_runs=1, tags=["arangopipe"], default_args=RETRIES)
def retrain_apple_grader() -> None:
    """
    ### Learn the apples that there are now

    Started by what `collect_serving_performance` found, it records a training, with the reasons for it. Whether what
    was trained is deployed is another question: see `champion_challenger`.
    """
    train(reasons())


@task(multiple_outputs=False)
def reasons(triggering_asset_events: Any = None) -> list[str]:
    """Return which deployments serve badly, and why; a run that is started by hand has no reasons."""
    events = [event.extra for events in (triggering_asset_events or {}).values() for event in events]
    return sorted({f"{event['deployment']}: {event['reason']}" for event in events})


@task.arangopipe_run(model=MODEL)
def train(reasons: list[str]) -> dict[str, Any]:
    """Train; this is where yours goes. The task records what it returns."""
    return {"params": {"reasons": reasons}, "metrics": {"accuracy": 0.97}}


@task(multiple_outputs=False)
def shards_of_deployments() -> list[list[str]]:
    """Return the tags of the deployments that are monitored here, so many for each task."""
    graph = ArangopipeHook().store(get_current_context())
    found = graph.search("Deployment", {"monitoring": MONITORING, "status": "active"}, limit=1000)["nodes"]
    tags = sorted(each["tag"] for each in found)
    return [tags[start : start + DEPLOYMENTS_A_TASK] for start in range(0, len(tags), DEPLOYMENTS_A_TASK)]


@task(multiple_outputs=False)
def where_measured(file: str) -> list[dict[str, Any]]:
    """Return the sources: those in the Airflow Variable `apples_sources`, or else the file that `serve` fills."""
    of_people = {
        "type": "sql",
        "name": "graded by people",
        "url": f"sqlite:///{file}",
        "query": QUERY,
        "outcomes": {"metrics": {"accuracy": "accuracy_score"}},
    }
    found: list[dict[str, Any]] = Variable.get("apples_sources", default=[of_people], deserialize_json=True)
    return found


@task
def serve(folder: str, params: Any = None, data_interval_start: Any = None, data_interval_end: Any = None) -> str:
    """Write what the graders said in the days of this DAG run, and return the file; the same days are the same rows."""
    path = artifacts(folder) / "apples.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    first, end = (
        date.fromisoformat(given) if given else at and at.date()
        for given, at in ((params["since"], data_interval_start), (params["until"], data_interval_end))
    )
    with closing(sqlite3.connect(path, timeout=60)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS predictions (deployment, time, prediction, outcome)")
        for number in range((end - first).days if first and end else 0):
            day = first + timedelta(days=number)
            connection.execute("DELETE FROM predictions WHERE date(time) = ?", [str(day)])
            rows = [row for grader in GRADERS for row in graded(grader, day)]
            connection.executemany("INSERT INTO predictions VALUES (?, ?, ?, ?)", rows)
    return str(path)


def graded(grader: str, day: date) -> list[tuple[str, str, str, str]]:
    """Return what a grader, and then a person, said of the apples of a day: when, and the grades."""
    chance = random.Random(f"{grader} {day}")
    knows_them = grader.endswith("north") or day < NEW_VARIETY
    rows = []
    for number in range(APPLES_A_DAY):
        at = datetime(day.year, day.month, day.day) + timedelta(minutes=number)
        grade, other = chance.sample(["A", "B", "C"], 2)
        said = grade if chance.random() < (0.97 if knows_them else 0.8) else other
        rows.append((grader, str(at), said, grade))
    return rows


def artifacts(folder: str) -> Path:
    """Return the folder for data; without a given one it is in AIRFLOW_HOME."""
    return Path(folder or f"{os.environ.get('AIRFLOW_HOME', '~/airflow')}/artifacts").expanduser().absolute()


collect_serving_performance()
retrain_apple_grader()
