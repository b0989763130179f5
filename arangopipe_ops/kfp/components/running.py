"""Components that log runs, and how a pipeline's execution ended."""

from typing import Any, Dict, List, NamedTuple, Optional

from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output, PipelineTaskFinalStatus


def log_run(
    model: Input[Model],
    receipt: Output[Artifact],
    dataset: Optional[Input[Dataset]] = None,
    featureset: Optional[Input[Dataset]] = None,
    metrics: Optional[Input[Metrics]] = None,
    trained: Optional[Input[Model]] = None,
    params: Optional[Dict[str, Any]] = None,
    result: Optional[Dict[str, Any]] = None,
    run_id: Optional[str] = None,
    project: Optional[str] = None,
    status: Optional[str] = None,
    start: Optional[str] = None,
    end: Optional[str] = None,
    tag: Optional[str] = None,
    deployment_tag: Optional[str] = None,
    attributes: Optional[Dict[str, Any]] = None,
    on_conflict: str = "revise",
    on_error: str = "fail",
    pipeline_job_id: Optional[str] = None,
    pipeline_job_name: Optional[str] = None,
    pipeline_task_name: Optional[str] = None,
) -> NamedTuple("Written", [("node_id", str), ("created", bool)]):
    """Log a run: what it executed and read, the parameters it obtained, the performance seen in development.

    Its id comes from the pipeline's execution, the step and its output, so that a retry logs the same run and every
    iteration of a loop one of its own.

    Args:
        model: The receipt of the model that was trained.
        dataset: The receipt of the data set, or the data itself, which is known by its URI or checksum.
        featureset: The receipt of the feature set.
        metrics: What the training measured.
        trained: What the training made; its URI and checksum are kept.
        params: Hyper-parameters and fitted parameters.
        result: Any of the other parameters and further attributes, as a training step returns them; a parameter that
            is given wins over it.
        run_id: An id of your own.
        project: The project: an _id or a name.
        status: How it ended; completed if it is not given.
        start: When it started, ISO 8601.
        end: When it ended, ISO 8601.
        tag: A tag to find it by.
        deployment_tag: The tag of the deployment that it is meant for.
    """
    from arangopipe_ops.kfp import runtime

    return runtime.write("run", locals())


def log_run_by_reference(
    receipt: Output[Artifact],
    model: Optional[str] = None,
    dataset: Optional[str] = None,
    datasets: Optional[List[str]] = None,
    featureset: Optional[str] = None,
    metrics: Optional[Dict[str, Any]] = None,
    params: Optional[Dict[str, Any]] = None,
    result: Optional[Dict[str, Any]] = None,
    run_id: Optional[str] = None,
    project: Optional[str] = None,
    status: Optional[str] = None,
    start: Optional[str] = None,
    end: Optional[str] = None,
    tag: Optional[str] = None,
    deployment_tag: Optional[str] = None,
    attributes: Optional[Dict[str, Any]] = None,
    on_conflict: str = "revise",
    on_error: str = "fail",
    pipeline_job_id: Optional[str] = None,
    pipeline_job_name: Optional[str] = None,
    pipeline_task_name: Optional[str] = None,
) -> NamedTuple("Written", [("node_id", str), ("created", bool)]):
    """Log a run by references to what it executed and read; nothing is downloaded.

    Args:
        model: The model: an _id or a name (its newest version). Needed, here or in the result.
        dataset: The data set: an _id, a name or a URI.
        datasets: Further data sets.
        featureset: The feature set: an _id or a name.
        metrics: The performance seen in development.
        params: Hyper-parameters and fitted parameters.
        result: Any of the other parameters and further attributes, as a training step returns them; a parameter that
            is given wins over it.
        run_id: An id of your own.
        project: The project: an _id or a name.
        status: How it ended; completed if it is not given.
        start: When it started, ISO 8601.
        end: When it ended, ISO 8601.
        tag: A tag to find it by.
        deployment_tag: The tag of the deployment that it is meant for.
    """
    from arangopipe_ops.kfp import runtime

    return runtime.write("run", locals())


def log_failure(
    status: PipelineTaskFinalStatus,
    step: str,
    pipeline_job_id: Optional[str] = None,
    pipeline_job_name: Optional[str] = None,
    pipeline_task_name: Optional[str] = None,
) -> bool:
    """Note that one step failed, for finalize_run to record; tracking.watched puts it after that step.

    Args:
        status: Filled by KFP.
        step: The step's name.

    Returns:
        Output: Whether it failed.
    """
    from arangopipe_ops.kfp import runtime

    return runtime.log_failure(locals())


def finalize_run(
    receipt: Output[Artifact],
    status: PipelineTaskFinalStatus,
    steps: Optional[List[str]] = None,
    project: Optional[str] = None,
    model: Optional[str] = None,
    pipeline_job_id: Optional[str] = None,
    pipeline_job_name: Optional[str] = None,
    pipeline_task_name: Optional[str] = None,
) -> str:
    """Record that a pipeline's execution failed or was cancelled, and at which step; an exit task.

    tracking.with_run_finalizer puts it in its place. An execution that succeeds leaves nothing of its own.

    Args:
        status: Filled by KFP.
        steps: The steps that do not note failures themselves; tracking.with_run_finalizer fills it.
        project: The project that the execution belongs to.
        model: The model that it works on, to which the failed execution is linked.

    Returns:
        receipt: The status and the id of the execution.
        Output: completed, failed or aborted.
    """
    from arangopipe_ops.kfp import runtime

    return runtime.finalize_run(locals())
