"""The pipelines of the catalogue: train a model and record every step, the same with failures, and serving."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from kfp import dsl

from arangopipe_ops.kfp import tumors
from arangopipe_ops.kfp.components import FUNCTIONS, training
from arangopipe_ops.kfp.factory import Settings, components
from arangopipe_ops.kfp.tracking import provenance, tracked, with_run_finalizer

_STEPS = (training.describe_data, training.describe_features, training.train, training.choose, training.serve)
_LEARNING = ("scikit-learn", "joblib")

_PROJECT = "tumor diagnosis"

Call = Callable[..., Any]


def pipelines(settings: Settings, *, retries: int = 3) -> dict[str, Any]:
    """Return the pipelines by name, made of components with these settings."""
    made = {**components(FUNCTIONS, settings), **components(_STEPS, settings.requiring(*_LEARNING))}

    def call(name: str) -> Call:
        def called(**given: Any) -> Any:
            task = made[name](**given, **provenance())
            return tracked(task, secret_name=settings.secret_name, retries=retries)

        return called

    tasks = SimpleNamespace(**{name: call(name) for name in made})
    tasks.provision = lambda: tracked(made["provision"](), secret_name=settings.secret_name, retries=retries)
    tasks.finalizer = lambda **given: with_run_finalizer(
        made["finalize_run"](**given, **provenance()), secret_name=settings.secret_name, retries=retries
    )
    return {
        name: dsl.pipeline(name=name.replace("_", "-"))(make(tasks))
        for name, make in (
            ("train_and_record", _train_and_record),
            ("train_and_record_failures", _train_and_record_failures),
            ("scheduled_serving_performance", _scheduled_serving_performance),
        )
    }


def _train_and_record(tasks: Any) -> Call:
    def train_and_record(folds: int = 3, first_day: str = "") -> None:
        """Train three techniques on two feature sets, record all of it, deploy the best and serve with it.

        Run it again and it adds six runs, one deployment and two days of serving performance; project, data set,
        feature sets and models are the same nodes as before.

        Args:
            folds: Of the cross-validation.
            first_day: The date of the first day of serving; today, in UTC, if it is empty.
        """
        _story(tasks, folds, first_day)

    return train_and_record


def _train_and_record_failures(tasks: Any) -> Call:
    def train_and_record_failures(folds: int = 3, first_day: str = "") -> None:
        """Train as train_and_record does; where a step fails, the execution is recorded as failed, with its name.

        Args:
            folds: Of the cross-validation.
            first_day: The date of the first day of serving; today, in UTC, if it is empty.
        """
        with tasks.finalizer(project=_PROJECT):
            _story(tasks, folds, first_day)

    return train_and_record_failures


def _scheduled_serving_performance(tasks: Any) -> Call:
    def scheduled_serving_performance(
        sources: list[dict[str, Any]],
        every: str = "1d",
        timezone: str = "UTC",
        last: int = 1,
        since: str = "",
        until: str = "",
        only_missing: bool = False,
    ) -> None:
        """Collect how all deployments that serve did so in the last periods; for a recurring run.

        Args:
            sources: Where it is measured, such as {"type": "prometheus", "metrics": {...}}; the "where" of one chooses
                deployments.
            every: The length of a period, such as 15m, 1h, 1d, 1w or 1M.
            timezone: Whose days they are, such as Europe/Berlin.
            last: How many of the last periods that are over, where since and until are empty.
            since: When the first period begins, ISO 8601.
            until: When the last period ends.
            only_missing: Whether only what is not stored, or not whole, is asked for.
        """
        tasks.collect_serving_performance(
            sources=sources,
            every=every,
            timezone=timezone,
            last=last,
            since=since,
            until=until,
            only_missing=only_missing,
        )

    return scheduled_serving_performance


def _story(tasks: Any, folds: Any, first_day: Any) -> None:
    provision, data = tasks.provision(), tasks.describe_data()
    project = tasks.register_project(name=_PROJECT, attributes={"owner": "data science"}).after(provision)
    dataset = tasks.register_dataset_by_reference(
        name="breast cancer wisconsin",
        uri="https://archive.ics.uci.edu/dataset/17",
        source="scikit-learn",
        checksum=data.outputs["checksum"],
        attributes=data.outputs["attributes"],
    ).after(provision)
    models = [_model(tasks, project, technique) for technique in tumors.TECHNIQUES]
    featuresets = [_featureset(tasks, dataset, name) for name in tumors.FEATURES]

    with dsl.ParallelFor(tumors.combinations(), name="each-combination") as item:
        trained = tasks.train(item=item, folds=folds, dataset=dataset.outputs["receipt"])
        trained.after(*models, *featuresets)
        run = tasks.log_run_by_reference(result=trained.outputs["Output"])
    best = tasks.choose(
        runs=dsl.Collected(run.outputs["node_id"]),
        results=dsl.Collected(trained.outputs["Output"]),
        trained=dsl.Collected(trained.outputs["trained"]),
    )

    deployment = tasks.register_deployment_by_reference(
        tag=best.outputs["tag"],
        project=_PROJECT,
        run=best.outputs["run"],
        model=best.outputs["model"],
        featureset=best.outputs["featureset"],
    )
    for day in range(tumors.SERVING_DAYS):
        served = tasks.serve(chosen=best.outputs["chosen"], day=day, first_day=first_day).after(deployment)
        tasks.log_serving_performance(
            deployment=deployment.outputs["node_id"],
            metrics=served.outputs["metrics"],
            period_start=served.outputs["period_start"],
            period_end=served.outputs["period_end"],
            source="held-out data",
        )


def _model(tasks: Any, project: Any, technique: str) -> Any:
    return tasks.register_model(
        project=project.outputs["node_id"],
        task="binary classification",
        framework="scikit-learn",
        **tumors.about_model(technique),
    )


def _featureset(tasks: Any, dataset: Any, name: str) -> Any:
    made = tasks.describe_features(featureset=name)
    return tasks.register_featureset(
        name=name,
        dataset=dataset.outputs["receipt"],
        features=made.outputs["features"],
        transformation=made.outputs["transformation"],
    )
