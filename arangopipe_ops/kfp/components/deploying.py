"""Components that deploy, promote and select models, and record how deployments serve."""

from typing import Any, Dict, List, NamedTuple, Optional

from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output


def register_deployment(
    tag: str,
    project: str,
    model: Input[Model],
    receipt: Output[Artifact],
    run: Optional[Input[Artifact]] = None,
    featureset: Optional[Input[Dataset]] = None,
    environment: Optional[str] = None,
    status: Optional[str] = None,
    attributes: Optional[Dict[str, Any]] = None,
    on_conflict: str = "revise",
    on_error: str = "fail",
    pipeline_job_id: Optional[str] = None,
    pipeline_job_name: Optional[str] = None,
    pipeline_task_name: Optional[str] = None,
) -> NamedTuple("Written", [("node_id", str), ("created", bool)]):
    """Register the deployment of a model with the parameters that a run obtained.

    Of a project and environment one deployment is active: registering an active one archives the other.

    Args:
        tag: What the deployment is called.
        project: The project: an _id or a name.
        model: The receipt of the model.
        run: The receipt of the run that is promoted.
        featureset: The receipt of the feature set that feeds it.
        environment: Where it serves; production if it is not given.
        status: active if it is not given, or scheduled, or archived.
    """
    from arangopipe_ops.kfp import runtime

    return runtime.write("deployment", locals())


def register_deployment_by_reference(
    tag: str,
    project: str,
    model: str,
    receipt: Output[Artifact],
    run: Optional[str] = None,
    featureset: Optional[str] = None,
    environment: Optional[str] = None,
    status: Optional[str] = None,
    attributes: Optional[Dict[str, Any]] = None,
    on_conflict: str = "revise",
    on_error: str = "fail",
    pipeline_job_id: Optional[str] = None,
    pipeline_job_name: Optional[str] = None,
    pipeline_task_name: Optional[str] = None,
) -> NamedTuple("Written", [("node_id", str), ("created", bool)]):
    """Register the deployment of a model by references; nothing is downloaded.

    Of a project and environment one deployment is active: registering an active one archives the other.

    Args:
        tag: What the deployment is called.
        project: The project: an _id or a name.
        model: The model: an _id or a name.
        run: The run that is promoted: an _id or its id.
        featureset: The feature set that feeds it: an _id or a name.
        environment: Where it serves; production if it is not given.
        status: active if it is not given, or scheduled, or archived.
    """
    from arangopipe_ops.kfp import runtime

    return runtime.write("deployment", locals())


def promote(
    deployment: str,
    receipt: Output[Artifact],
    over: Optional[str] = None,
    reason: Optional[str] = None,
    on_error: str = "fail",
    pipeline_job_id: Optional[str] = None,
    pipeline_job_name: Optional[str] = None,
    pipeline_task_name: Optional[str] = None,
) -> NamedTuple("Promoted", [("node_id", str), ("replaced", str)]):
    """Make a registered deployment the active one of its project and environment, and archive the other.

    Args:
        deployment: The deployment: an _id or its tag.
        over: The deployment that is thought to be active, empty if none is; the step fails if another one is by now.
        reason: Kept in the audit.

    Returns:
        replaced: The _id of the deployment that was active, empty if there was none.
    """
    from arangopipe_ops.kfp import runtime

    return runtime.promote(locals())


def select_model(
    project: str,
    policy: Dict[str, Any],
    receipt: Output[Artifact],
    deploy: Optional[str] = None,
    reason: Optional[str] = None,
    on_error: str = "fail",
    pipeline_job_id: Optional[str] = None,
    pipeline_job_name: Optional[str] = None,
    pipeline_task_name: Optional[str] = None,
) -> NamedTuple("Selected", [("decision", str), ("reason", str), ("run", str), ("model", str), ("deployment", str)]):
    """Select the model of a project that a policy wants to serve, and say why.

    Args:
        project: The project: an _id or a name.
        policy: The rule as plain data, such as {"metric": "accuracy", "threshold": 0.9}.
        deploy: The tag of the deployment that carries out a decision to promote; without one nothing is changed.
        reason: Kept in the audit, before the policy's.

    Returns:
        receipt: The decision with candidate, active deployment and policy.
        decision: promote, keep or none.
        reason: Why, in words.
        run: The _id of the best run, empty if there is none.
        model: The _id of its model.
        deployment: The _id of the deployment that was promoted, empty if none was.
    """
    from arangopipe_ops.kfp import runtime

    return runtime.select_model(locals())


def log_serving_performance(
    deployment: str,
    metrics: Input[Metrics],
    period_start: str,
    period_end: str,
    receipt: Output[Metrics],
    source: Optional[str] = None,
    attributes: Optional[Dict[str, Any]] = None,
    on_conflict: str = "revise",
    on_error: str = "fail",
    pipeline_job_id: Optional[str] = None,
    pipeline_job_name: Optional[str] = None,
    pipeline_task_name: Optional[str] = None,
) -> NamedTuple("Written", [("node_id", str), ("created", bool)]):
    """Log how a deployment served in one period; the same period from the same source again replaces it.

    Args:
        deployment: The deployment: an _id or its tag.
        metrics: What was measured.
        period_start: When the period begins, ISO 8601, included.
        period_end: When it ends, not included.
        source: Where it was measured; manual if it is not given.
    """
    from arangopipe_ops.kfp import runtime

    return runtime.write("serving-perf", locals())


def log_serving_performance_by_reference(
    deployment: str,
    metrics: Dict[str, Any],
    period_start: str,
    period_end: str,
    receipt: Output[Metrics],
    source: Optional[str] = None,
    attributes: Optional[Dict[str, Any]] = None,
    on_conflict: str = "revise",
    on_error: str = "fail",
    pipeline_job_id: Optional[str] = None,
    pipeline_job_name: Optional[str] = None,
    pipeline_task_name: Optional[str] = None,
) -> NamedTuple("Written", [("node_id", str), ("created", bool)]):
    """Log how a deployment served in one period, with the metrics as a parameter; nothing is downloaded.

    Args:
        deployment: The deployment: an _id or its tag.
        metrics: What was measured.
        period_start: When the period begins, ISO 8601, included.
        period_end: When it ends, not included.
        source: Where it was measured; manual if it is not given.
    """
    from arangopipe_ops.kfp import runtime

    return runtime.write("serving-perf", locals())


def collect_serving_performance(
    sources: List[Dict[str, Any]],
    receipt: Output[Artifact],
    deployments: Optional[List[str]] = None,
    every: str = "1d",
    timezone: str = "UTC",
    last: int = 1,
    since: Optional[str] = None,
    until: Optional[str] = None,
    only_missing: bool = False,
    on_conflict: str = "revise",
    on_error: str = "fail",
    pipeline_job_id: Optional[str] = None,
    pipeline_job_name: Optional[str] = None,
    pipeline_task_name: Optional[str] = None,
) -> NamedTuple("Collected", [("created", int), ("revised", int), ("same", int), ("faults", int)]):
    """Read how deployments served from where it is measured, and log it: a node for each, period and source.

    What could be collected is written; then the step fails if a source could not tell all.

    Args:
        sources: Where it is measured, such as {"type": "prometheus", "metrics": {...}}; a value {"env": "TOKEN"} is
            that of an environment variable.
        deployments: Their tags; all that serve if they are not given, or that the "where" of a source chooses.
        every: The length of a period, such as 15m, 1h, 1d, 1w or 1M.
        timezone: Whose days they are, such as Europe/Berlin.
        last: How many of the last periods that are over, where since and until are not given.
        since: When the first period begins, ISO 8601.
        until: When the last period ends.
        only_missing: Whether only what is not stored, or not whole, is asked for.
        on_conflict: What happens to a node that is stored with other figures: revise or keep.

    Returns:
        receipt: The report, with what each source could not tell, and the alerts that were raised or cleared.
        created: How many nodes are new.
        revised: How many had other figures.
        same: How many were stored already.
        faults: How much could not be told.
    """
    from arangopipe_ops.kfp import runtime

    return runtime.collect_serving_performance(locals())
