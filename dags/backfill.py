"""Judge a model on every day's data, so that any range of days can be done again."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from airflow.sdk import Param, dag, task
from airflow.timetables.interval import CronDataIntervalTimetable

from arangopipe_ops.airflow.operators import (
    LogRunOperator,
    RegisterDatasetOperator,
    RegisterModelOperator,
    RegisterProjectOperator,
)

IMAGES_TO_LEARN = 500
IMAGES_A_DAY = 100


@dag(
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=2,
    tags=["arangopipe"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    params={
        "day": Param(
            None,
            type=["null", "string"],
            format="date",
            description="The day to do, for a run that is started by hand; a scheduled one knows its own.",
        )
    },
)
def daily_performance() -> None:
    """
    ### Every day once, however often it is done

    After midnight the images of the day before become a version of the data set, named after the day, and a run tells
    how many of their digits the model read rightly. Both are identified by the day of the data interval, so that a
    day that is done again is the same two nodes: `airflow backfill create --dag-id daily_performance --from-date
    2026-05-01 --to-date 2026-05-07 --reprocess-behavior completed` may be repeated at will.

    A run that is started by hand has no data interval: give it a `day`.
    """
    day = day_to_do()
    project = RegisterProjectOperator(task_id="register_project", name="digit reader")
    model = RegisterModelOperator(
        task_id="register_model",
        name="reader of 8 by 8 pixels",
        project=project.output,
        task="reading digits",
        technique="logistic regression",
        framework="scikit-learn",
    )
    images = RegisterDatasetOperator(
        task_id="register_day",
        name="scanned digits",
        version=day,
        uri=f"digits:///{day}",
        source="scikit-learn",
        attributes=describe_day(day),
    )
    LogRunOperator(
        task_id="log_day",
        run_id=f"daily_performance {day}",
        model=model.output,
        dataset=images.output,
        start=day,
        metrics=read_digits(day),
    )


@task(retries=0)
def day_to_do(params: Any = None, data_interval_start: Any = None) -> str:
    """Return the day of this DAG run. Raises ValueError if it was started by hand without one."""
    if params["day"]:
        return str(params["day"])
    if data_interval_start is None:
        raise ValueError('this run has no data interval: start it again with a day, {"day": "2026-05-04"}')
    return str(data_interval_start.date())


@task(multiple_outputs=False)
def describe_day(day: str) -> dict[str, Any]:
    """Return what is known of a day's images before anybody reads them."""
    images, digits = images_of(day)
    return {"rows": len(images), "brightness": float(images.mean()), "digits": sorted({int(digit) for digit in digits})}


@task(multiple_outputs=False)
def read_digits(day: str) -> dict[str, float]:
    """Read a day's images with the model, and return how good that was."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    known, labels = load_digits(return_X_y=True)
    model = LogisticRegression(max_iter=200).fit(known[:IMAGES_TO_LEARN], labels[:IMAGES_TO_LEARN])
    images, digits = images_of(day)
    return {"images": len(images), "accuracy": float(model.score(images, digits))}


def images_of(day: str) -> tuple[Any, Any]:
    """Return the images that came in on a day, and what digits they show; the same ones whenever it is asked."""
    import numpy as np
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    chosen = np.random.default_rng(date.fromisoformat(day).toordinal()).choice(
        np.arange(IMAGES_TO_LEARN, len(images)), IMAGES_A_DAY, replace=False
    )
    return images[chosen], digits[chosen]


daily_performance()
