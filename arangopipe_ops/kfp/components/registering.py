"""Components that register what a pipeline works with."""

from typing import Any, Dict, List, NamedTuple, Optional

from kfp.dsl import Artifact, Dataset, Input, Model, Output


def provision() -> bool:
    """Make sure that the database holds the metadata graph.

    Returns:
        Output: Whether anything was missing.
    """
    from arangopipe_ops.kfp import runtime

    return runtime.provision()


def register_project(
    name: str,
    receipt: Output[Artifact],
    attributes: Optional[Dict[str, Any]] = None,
    on_conflict: str = "revise",
    on_error: str = "fail",
    pipeline_job_id: Optional[str] = None,
    pipeline_job_name: Optional[str] = None,
    pipeline_task_name: Optional[str] = None,
) -> NamedTuple("Written", [("node_id", str), ("created", bool)]):
    """Register a project.

    Args:
        name: What the project is called.
    """
    from arangopipe_ops.kfp import runtime

    return runtime.write("project", locals())


def register_dataset(
    name: str,
    data: Input[Dataset],
    receipt: Output[Dataset],
    version: Optional[str] = None,
    source: Optional[str] = None,
    statistics: bool = True,
    attributes: Optional[Dict[str, Any]] = None,
    on_conflict: str = "revise",
    on_error: str = "fail",
    pipeline_job_id: Optional[str] = None,
    pipeline_job_name: Optional[str] = None,
    pipeline_task_name: Optional[str] = None,
) -> NamedTuple("Written", [("node_id", str), ("created", bool)]):
    """Register a data set that a step made, described from its content: checksum, size, schema and summary.

    The same content is the same data set, wherever KFP put it this time. CSV and Parquet files are described by
    column, others by checksum and size.

    Args:
        name: What the data set is called.
        data: The data; KFP downloads it. register_dataset_by_reference needs no download.
        version: Told apart from others of the name by it; without one the checksum decides.
        source: The system that it came from.
        statistics: Whether to sum up the columns; the summary shows values.
    """
    from arangopipe_ops.kfp import runtime

    return runtime.write("dataset", locals())


def register_dataset_by_reference(
    name: str,
    receipt: Output[Dataset],
    uri: Optional[str] = None,
    version: Optional[str] = None,
    source: Optional[str] = None,
    checksum: Optional[str] = None,
    attributes: Optional[Dict[str, Any]] = None,
    on_conflict: str = "revise",
    on_error: str = "fail",
    pipeline_job_id: Optional[str] = None,
    pipeline_job_name: Optional[str] = None,
    pipeline_task_name: Optional[str] = None,
) -> NamedTuple("Written", [("node_id", str), ("created", bool)]):
    """Register a data set by what is said of it; nothing is downloaded.

    Args:
        name: What the data set is called.
        uri: Where it lies.
        source: The system that it came from.
        checksum: Of its content, such as sha256:... .
    """
    from arangopipe_ops.kfp import runtime

    return runtime.write("dataset", locals())


def register_featureset(
    name: str,
    dataset: Input[Dataset],
    receipt: Output[Dataset],
    features: Optional[List[str]] = None,
    transformation: Optional[str] = None,
    selection: Optional[str] = None,
    version: Optional[str] = None,
    attributes: Optional[Dict[str, Any]] = None,
    on_conflict: str = "revise",
    on_error: str = "fail",
    pipeline_job_id: Optional[str] = None,
    pipeline_job_name: Optional[str] = None,
    pipeline_task_name: Optional[str] = None,
) -> NamedTuple("Written", [("node_id", str), ("created", bool)]):
    """Register a feature set and the data set that it is generated from.

    Args:
        name: What the feature set is called.
        dataset: The receipt of the data set, or the data itself, which is known by its URI or checksum.
        features: The names of the features.
        transformation: How the features were made.
        selection: How the features were chosen.
    """
    from arangopipe_ops.kfp import runtime

    return runtime.write("featureset", locals())


def register_featureset_by_reference(
    name: str,
    dataset: str,
    receipt: Output[Dataset],
    datasets: Optional[List[str]] = None,
    features: Optional[List[str]] = None,
    transformation: Optional[str] = None,
    selection: Optional[str] = None,
    version: Optional[str] = None,
    attributes: Optional[Dict[str, Any]] = None,
    on_conflict: str = "revise",
    on_error: str = "fail",
    pipeline_job_id: Optional[str] = None,
    pipeline_job_name: Optional[str] = None,
    pipeline_task_name: Optional[str] = None,
) -> NamedTuple("Written", [("node_id", str), ("created", bool)]):
    """Register a feature set and the data sets that it is generated from; nothing is downloaded.

    Args:
        name: What the feature set is called.
        dataset: The data set: an _id, a name (its newest version), or a URI.
        datasets: Further data sets.
        features: The names of the features.
        transformation: How the features were made.
        selection: How the features were chosen.
    """
    from arangopipe_ops.kfp import runtime

    return runtime.write("featureset", locals())


def register_model(
    name: str,
    project: str,
    receipt: Output[Model],
    task: Optional[str] = None,
    technique: Optional[str] = None,
    framework: Optional[str] = None,
    version: Optional[str] = None,
    attributes: Optional[Dict[str, Any]] = None,
    on_conflict: str = "revise",
    on_error: str = "fail",
    pipeline_job_id: Optional[str] = None,
    pipeline_job_name: Optional[str] = None,
    pipeline_task_name: Optional[str] = None,
) -> NamedTuple("Written", [("node_id", str), ("created", bool)]):
    """Register a model, that is a technique for a task, in its project.

    Args:
        name: What the model is called.
        project: The project: an _id or a name.
        task: What the model is for, such as binary classification.
        technique: How it does that, such as random forest.
        framework: What it is made with, such as scikit-learn.
    """
    from arangopipe_ops.kfp import runtime

    return runtime.write("model", locals())
