"""TaskFlow: functions whose outcome is recorded, `@task.arangopipe_run` and `@task.arangopipe_dataset`."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk.bases.decorator import DecoratedOperator, task_decorator_factory

from arangopipe_ops import stages
from arangopipe_ops.airflow import assets, compat
from arangopipe_ops.airflow.hooks import DEFAULT_CONN_ID, ArangopipeHook
from arangopipe_ops.airflow.lineage import TellsLineage
from arangopipe_ops.airflow.operators import (
    FAIL_ON_LASTING_ERRORS,
    Attributes,
    Reference,
    References,
    task_run_id,
)
from arangopipe_ops.airflow.operators.metadata import at_hand
from arangopipe_ops.airflow.templates import ValueTemplates
from arangopipe_ops.errors import Invalid
from arangopipe_ops.model import Ref
from arangopipe_ops.store import OnConflict, Run
from arangopipe_ops.store import current_run as get_current_run

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.bases.decorator import TaskDecorator
    from airflow.sdk.definitions.retry_policy import RetryPolicy

__all__ = ["arangopipe_dataset_task", "arangopipe_run_task", "get_current_run"]

_FUNCTION = ("op_args", "op_kwargs")
_SHOWN: dict[str, str] = {"op_args": "py", "op_kwargs": "py"}


class _RecordedFunction(TellsLineage, ValueTemplates, DecoratedOperator, PythonOperator):
    """A decorated function, called as `@task` calls it."""

    lineage_of_hooks = True
    template_fields_renderers: ClassVar[dict[str, str]] = _SHOWN

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        arangopipe_conn_id: str = DEFAULT_CONN_ID,
        retry_policy: "RetryPolicy | None" = FAIL_ON_LASTING_ERRORS,
        **kwargs: Any,
    ) -> None:
        called: dict[str, Any] = {"python_callable": python_callable, "op_args": op_args, "op_kwargs": op_kwargs}
        quiet = {"show_return_value_in_logs": False}  # it may be data
        policy = compat.policy_argument(retry_policy)
        super().__init__(kwargs_to_upstream=called, **policy, **called, **{**quiet, **kwargs})
        self.arangopipe_conn_id = arangopipe_conn_id


class RunDecoratedOperator(_RecordedFunction):
    """Calls a function inside a run of `Store.run`, and returns the run's Ref."""

    custom_operator_name = "@task.arangopipe_run"
    lineage_outputs = ("model",)
    run_arguments: ClassVar[tuple[str, ...]] = ("model", "dataset", "featureset", "project", "tag", "deployment_tag")
    template_fields: Sequence[str] = (
        *(*_FUNCTION, "run_id", "parameters", "attributes", *run_arguments),
        "arangopipe_conn_id",
    )

    def __init__(
        self,
        *,
        model: Reference,
        python_callable: Callable[..., Any],
        op_kwargs: Mapping[str, Any] | None = None,
        run_id: str | None = None,
        dataset: References | None = None,
        featureset: References | None = None,
        parameters: Attributes | None = None,
        project: Reference | None = None,
        tag: str | None = None,
        deployment_tag: str | None = None,
        attributes: Attributes | None = None,
        **kwargs: Any,
    ) -> None:
        if "run" in inspect.signature(python_callable).parameters:
            op_kwargs = {"run": None, **(op_kwargs or {})}
        super().__init__(python_callable=python_callable, op_kwargs=op_kwargs, **kwargs)
        self.model = model
        self.run_id = run_id
        self.dataset = dataset
        self.featureset = featureset
        self.parameters: Any = parameters
        self.project = project
        self.tag = tag
        self.deployment_tag = deployment_tag
        self.attributes: Any = attributes

    def execute(self, context: "Context") -> Ref:
        store = ArangopipeHook(self.arangopipe_conn_id).store(context)
        given = {name: at_hand(getattr(self, name)) for name in self.run_arguments}
        self.learn(given)
        run_id = self.run_id or task_run_id(context)
        with store.run(run_id, params=self.parameters, **given, **(self.attributes or {})) as run:
            if "run" in self.op_kwargs:
                self.op_kwargs = {**self.op_kwargs, "run": run}
            try:
                _take(run, super().execute(context))
            finally:
                self.learn(run.recorded, run.ref)
        assets.report(context, self.outlets, run.ref)
        return run.ref


class DatasetDecoratedOperator(_RecordedFunction):
    """Registers the data set that a function returns, and returns its Ref."""

    custom_operator_name = "@task.arangopipe_dataset"
    stage_arguments: ClassVar[tuple[str, ...]] = ("name", "version", "uri", "source", "checksum")
    template_fields: Sequence[str] = (
        *(*_FUNCTION, *stage_arguments, "attributes", "on_conflict"),
        "arangopipe_conn_id",
    )

    def __init__(
        self,
        *,
        name: str | None = None,
        version: str | None = None,
        uri: str | None = None,
        source: str | None = None,
        checksum: str | None = None,
        attributes: Attributes | None = None,
        statistics: bool = True,
        on_conflict: OnConflict = "revise",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.version = version
        self.uri = uri
        self.source = source
        self.checksum = checksum
        self.attributes: Any = attributes
        self.statistics = statistics
        self.on_conflict = on_conflict

    def execute(self, context: "Context") -> Ref:
        found = _described(super().execute(context), self.statistics)
        given = {name: getattr(self, name) for name in self.stage_arguments}
        own = {name: value for name, value in given.items() if value is not None}
        given = {**found, **(self.attributes or {}), **own}
        self.learn(given)
        stage = stages.make(stages.register_dataset, given, {})
        store = ArangopipeHook(self.arangopipe_conn_id).store(context)
        ref = store.write(stage, on_conflict=self.on_conflict)
        self.learn(given, ref)
        assets.report(context, self.outlets, ref)
        return ref


def arangopipe_run_task(
    python_callable: Callable[..., Any] | None = None, *, multiple_outputs: bool = False, **kwargs: Any
) -> "TaskDecorator":
    """Record a function as a run: `@task.arangopipe_run(model=..., dataset=...)`. The task returns the run's Ref.

    The function returns metrics, or a mapping with `params`, `metrics`, `dataset`, `featureset`, `produced` and
    further attributes, or nothing. If it has a parameter `run`, it gets the run to log to; `get_current_run()` is
    the same one. If it raises, the run is recorded as failed and the exception goes on.

    The arguments are those of `Store.run`, with `parameters` for what Airflow has another `params` for; all are
    templated. `run_id` comes from the DAG run, task and map index, the same for every attempt.
    """
    return task_decorator_factory(
        python_callable, multiple_outputs=multiple_outputs, decorated_operator_class=RunDecoratedOperator, **kwargs
    )


def arangopipe_dataset_task(
    python_callable: Callable[..., Any] | None = None, *, multiple_outputs: bool = False, **kwargs: Any
) -> "TaskDecorator":
    """Register what a function returns: `@task.arangopipe_dataset(name=..., uri=...)`. The task returns the Ref.

    The function returns a frame or the path of a file, which are described (`integrations.tables.describe`, with
    `statistics` or without), the URI of data elsewhere, a mapping of attributes, or nothing. The decorator's own
    arguments, those of `stages.register_dataset`, win over it; all are templated.
    """
    return task_decorator_factory(
        python_callable, multiple_outputs=multiple_outputs, decorated_operator_class=DatasetDecoratedOperator, **kwargs
    )


def _take(run: Run, result: Any) -> None:
    """Log what a function returned. Raises Invalid."""
    if result is None:
        return
    if not isinstance(result, Mapping):
        raise Invalid("result", f"{result!r} is not a mapping of names to values")
    if not any(isinstance(result.get(name), Mapping) for name in ("params", "metrics")):
        result = {"metrics": result}
    facts = dict(result)
    run.log_params(facts.pop("params", None) or {})
    run.log_metrics(facts.pop("metrics", None) or {})
    for product in facts.pop("produced", None) or ():
        run.produced(**({"uri": product} if isinstance(product, str) else product))
    inputs = {name: facts.pop(name) for name in ("dataset", "featureset") if facts.get(name) is not None}
    if inputs:
        run.use(**inputs)
    run.set(**facts)


def _described(result: Any, statistics: bool) -> dict[str, Any]:
    """Return what a function returned as attributes of a data set. Raises Invalid."""
    from arangopipe_ops.integrations.tables import describe

    if result is None:
        return {}
    if isinstance(result, Mapping):
        return dict(result)
    elsewhere = isinstance(result, str) and "://" in result and not result.startswith("file:")
    if elsewhere:
        return {"uri": result}
    return describe(fspath(result) if isinstance(result, PathLike) else result, statistics=statistics)
