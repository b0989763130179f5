"""The components of the pipeline `train_and_record`: ordinary steps, which note their failures."""

from typing import Any, Dict, List, NamedTuple, Optional

from kfp.dsl import Dataset, Input, Metrics, Model, Output


def describe_data(
    pipeline_job_id: Optional[str] = None,
    pipeline_job_name: Optional[str] = None,
    pipeline_task_name: Optional[str] = None,
) -> NamedTuple("Described", [("checksum", str), ("attributes", Dict[str, Any])]):
    """Describe the breast cancer data that scikit-learn ships.

    Returns:
        checksum: Of rows and labels.
        attributes: Rows, classes, schema and summary statistics.
    """
    from arangopipe_ops.kfp import runtime, tumors

    with runtime.step(locals()):
        return tumors.describe_data()


def describe_features(
    featureset: str,
    pipeline_job_id: Optional[str] = None,
    pipeline_job_name: Optional[str] = None,
    pipeline_task_name: Optional[str] = None,
) -> NamedTuple("Made", [("features", List[str]), ("transformation", str)]):
    """Choose the features of a feature set.

    Args:
        featureset: all measurements, or strongest measurements.

    Returns:
        features: Their names.
        transformation: How they are made.
    """
    from arangopipe_ops.kfp import runtime, tumors

    with runtime.step(locals()):
        return tumors.describe_features(featureset)


def train(
    item: Dict[str, str],
    folds: int,
    dataset: Input[Dataset],
    trained: Output[Model],
    pipeline_job_id: Optional[str] = None,
    pipeline_job_name: Optional[str] = None,
    pipeline_task_name: Optional[str] = None,
) -> Dict[str, Any]:
    """Train a technique on a feature set.

    Args:
        item: The technique and the feature set.
        folds: Of the cross-validation.
        dataset: The receipt of the data set.

    Returns:
        trained: The trained pipeline of scikit-learn.
        Output: What log_run takes as its result.
    """
    from arangopipe_ops.kfp import runtime, tumors

    with runtime.step(locals()):
        return tumors.train(item, folds, dataset, trained)


def choose(
    runs: List[str],
    results: List[Dict[str, Any]],
    trained: Input[List[Model]],
    chosen: Output[Model],
    pipeline_job_id: Optional[str] = None,
    pipeline_job_name: Optional[str] = None,
    pipeline_task_name: Optional[str] = None,
) -> NamedTuple("Chosen", [("run", str), ("model", str), ("featureset", str), ("tag", str)]):
    """Choose the trained model with the lowest log loss.

    Args:
        runs: The runs that were logged.
        results: What each of them told.
        trained: What each of them trained.

    Returns:
        chosen: The best one.
        run: Its run.
        model: Its model.
        featureset: Its feature set.
        tag: What its deployment is called.
    """
    from arangopipe_ops.kfp import runtime, tumors

    with runtime.step(locals()) as execution:
        return tumors.choose(execution.job_id, runs, results, trained, chosen)


def serve(
    chosen: Input[Model],
    day: int,
    first_day: str,
    metrics: Output[Metrics],
    pipeline_job_id: Optional[str] = None,
    pipeline_job_name: Optional[str] = None,
    pipeline_task_name: Optional[str] = None,
) -> NamedTuple("Served", [("period_start", str), ("period_end", str)]):
    """Answer one day's share of the rows that nobody trained on.

    Args:
        chosen: The trained model.
        day: Which day, from 0.
        first_day: The date of day 0; today, in UTC, if it is empty.

    Returns:
        metrics: How good the answers were.
        period_start: When the day begins.
        period_end: When it ends.
    """
    from arangopipe_ops.kfp import runtime, tumors

    with runtime.step(locals()):
        return tumors.serve(chosen, day, first_day, metrics)
