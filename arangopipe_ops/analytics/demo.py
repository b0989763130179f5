"""Demonstration data whose answers are known by construction: the tests, the command line and the UI use it.

Everything follows from the tables and the seed: the same call gives the same stages, on any machine.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from random import Random
from typing import Any

from arangopipe_ops import stages
from arangopipe_ops.model import Stage


@dataclass(frozen=True)
class DemoTask:
    """What a demonstration project does.

    `techniques` and their accuracy with the first data set version; `transformations` and the selection method
    that goes with each; the second version of the data set has `attribute` in addition, which adds `gain` to the
    accuracy.
    """

    task: str
    project: str
    dataset: str
    columns: tuple[str, ...]
    attribute: str
    gain: float
    techniques: dict[str, float]
    transformations: dict[str, str]


TASKS: tuple[DemoTask, ...] = (
    DemoTask(
        task="churn prediction",
        project="customer care",
        dataset="customers",
        columns=("age", "plan", "calls"),
        attribute="tenure",
        gain=0.04,
        techniques={"gradient boosting": 0.84, "random forest": 0.82, "logistic regression": 0.78},
        transformations={"standardised": "mutual information", "one-hot": "recursive elimination"},
    ),
    DemoTask(
        task="demand forecasting",
        project="Café Größe 需要",
        dataset="Verkäufe ☕",
        columns=("Filiale", "Wochentag", "価格"),
        attribute="Wetter",
        gain=0.0,
        techniques={"gradient boosting": 0.88, "ARIMA": 0.8},
        transformations={"log": "lasso", "lag features": "lasso", "standardised": "variance threshold"},
    ),
    DemoTask(
        task="fraud detection",
        project="payments",
        dataset="transactions",
        columns=("amount", "merchant", "country"),
        attribute="device",
        gain=-0.03,
        techniques={"isolation forest": 0.74, "random forest": 0.9},
        transformations={"standardised": "mutual information"},
    ),
)
"""A project does the task of its number; beyond the last it starts again, with a number in its names."""

DEPTHS = (3, 5, 8, 13)
"""The parameter that runs try out; the accuracy rises by `DEPTH_GAIN` from one to the next."""

DEPTH_GAIN = 0.004
NOISE = 0.002
"""The accuracy is off by at most so much; less than half of what a depth adds, so that the best is known."""

END = datetime(2026, 11, 1, tzinfo=UTC)
PERIOD = timedelta(days=30)
DEGRADATION = 0.01
"""From half of the periods on, serving loses so much in each."""


@dataclass(frozen=True)
class DemoRun:
    """A run of the demonstration, before it is made a stage."""

    run_id: str
    project: str
    task: str
    model: str
    technique: str
    dataset: str
    version: str
    featureset: str
    transformation: str
    selection: str
    params: dict[str, Any]
    metrics: dict[str, float]
    start: datetime
    status: str


def demo_runs(
    *, seed: int = 0, projects: int = 2, periods: int = 22, end: datetime = END, repeats: int = 1
) -> Iterator[DemoRun]:
    """Yield the runs: each technique with each transformation, depth and data set version, `repeats` times.

    They are spread evenly over the time before the first period of serving. Every tenth has failed, without metrics.
    """
    for number in range(projects):
        task, mark = _numbered(number)
        random = Random(f"{seed} {number}")
        settings = list(product(range(repeats), DEPTHS, ("1", "2"), task.transformations, task.techniques))
        first = end - periods * PERIOD - timedelta(days=2 * 365)
        for i, (repeat, depth, version, transformation, technique) in enumerate(settings):
            accuracy = task.techniques[technique] + DEPTHS.index(depth) * DEPTH_GAIN
            accuracy += task.gain * (version == "2") + random.uniform(-NOISE, NOISE)
            failed = i % 10 == 9
            yield DemoRun(
                run_id=f"{task.project}{mark} {i + 1}",
                project=f"{task.project}{mark}",
                task=task.task,
                model=f"{task.task} by {technique}{mark}",
                technique=technique,
                dataset=f"{task.dataset}{mark}",
                version=version,
                featureset=f"{task.dataset}{mark} {transformation}",
                transformation=transformation,
                selection=task.transformations[transformation],
                params={"depth": depth, "transformation": transformation, "seed": seed + repeat},
                metrics={} if failed else {"accuracy": round(accuracy, 6), "seconds": 10 * depth},
                start=first + i * timedelta(days=2 * 365) / len(settings),
                status="failed" if failed else "completed",
            )


def demo_serving(
    development: float, *, seed: int = 0, periods: int = 22, end: datetime = END
) -> Iterator[dict[str, Any]]:
    """Yield the serving performance of a deployment by period: as in development at first, then degrading."""
    random = Random(f"{seed} serving")
    for i in range(periods):
        lost = max(0, i - periods // 2 + 1) * DEGRADATION
        start = end - (periods - i) * PERIOD
        accuracy = round(development - lost + random.uniform(0, NOISE), 6)
        yield {"period_start": start, "period_end": start + PERIOD, "metrics": {"accuracy": accuracy}}


def demo_stages(
    *, seed: int = 0, projects: int = 2, periods: int = 22, end: datetime = END, repeats: int = 1
) -> Iterator[Stage]:
    """Yield the demonstration's stages, in the order in which they are to be written.

    For each project: it and its data set in two versions, of which the second has the attribute; a feature set for
    each version and transformation; a model for each technique; the runs; the deployment `... v1` of the best
    run on the first version, then, in its place, `... v2` of the best run of all, with serving performance that
    degrades from half of the `periods` on. The last period ends at `end`. Deterministic.
    """
    runs = list(demo_runs(seed=seed, projects=projects, periods=periods, end=end, repeats=repeats))
    for number in range(projects):
        task, mark = _numbered(number)
        own = [run for run in runs if run.project == f"{task.project}{mark}"]
        yield from _inputs(task, mark)
        yield from (_logged(run) for run in own)
        yield from _deployed(own, seed=seed, periods=periods, end=end)


def _numbered(number: int) -> tuple[DemoTask, str]:
    turn, place = divmod(number, len(TASKS))
    return TASKS[place], f" {turn + 1}" if turn else ""


def _inputs(task: DemoTask, mark: str) -> Iterator[Stage]:
    project, dataset = f"{task.project}{mark}", f"{task.dataset}{mark}"
    yield stages.register_project(project, owner="demo", description=f"A demonstration: {task.task}")
    for version in ("1", "2"):
        columns = [*task.columns, *([task.attribute] if version == "2" else [])]
        uri = f"s3://demo/{_slug(dataset)}/{version}.parquet"
        yield stages.register_dataset(
            dataset, version=version, uri=uri, source="demo", schema=dict.fromkeys(columns, "double"), rows=10_000
        )
        for transformation, selection in task.transformations.items():
            yield stages.register_featureset(
                f"{dataset} {transformation}",
                version=version,
                dataset={"name": dataset, "version": version},
                features=columns,
                transformation=transformation,
                selection=selection,
            )
    for technique in task.techniques:
        yield stages.register_model(
            f"{task.task} by {technique}{mark}",
            project=project,
            task=task.task,
            technique=technique,
            framework="scikit-learn",
            version="1",
        )


def _slug(text: str) -> str:
    """Return a name as it may stand in a URI."""
    return text.encode().hex() if not text.isascii() else text.replace(" ", "-")


def _logged(run: DemoRun) -> Stage:
    return stages.log_run(
        run.run_id,
        model={"name": run.model, "version": "1"},
        dataset={"name": run.dataset, "version": run.version},
        featureset={"name": run.featureset, "version": run.version},
        params=run.params,
        metrics=run.metrics or None,
        status=run.status,
        start=run.start,
        end=run.start + timedelta(minutes=run.params["depth"]),
        tag="demo",
    )


def _deployed(runs: list[DemoRun], *, seed: int, periods: int, end: datetime) -> Iterator[Stage]:
    finished = [run for run in runs if run.metrics]
    for tag, versions, served in (("v1", ("1",), min(4, periods)), ("v2", ("1", "2"), periods)):
        best = max((run for run in finished if run.version in versions), key=lambda run: run.metrics["accuracy"])
        deployment = f"{best.project} {tag}"
        yield stages.register_deployment(
            deployment,
            project=best.project,
            model={"name": best.model, "version": "1"},
            run=best.run_id,
            featureset={"name": best.featureset, "version": best.version},
        )
        for period in list(demo_serving(best.metrics["accuracy"], seed=seed, periods=periods, end=end))[:served]:
            yield stages.log_serving_perf(deployment, source="demo", **period)
