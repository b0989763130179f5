"""TaskFlow: functions whose outcome is recorded, `@task.arangopipe_run` and `@task.arangopipe_dataset`."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk.bases.decorator import DecoratedOperator, task_decorator_factory

from arangopipe_ops.airflow import assets
from arangopipe_ops.airflow.links import ArangopipeLineageLink, ArangopipeNodeLink
from arangopipe_ops.airflow.operators import (
    Attributes,
    MetadataOperator,
    Reference,
    References,
    RegisterDatasetOperator,
    task_run_id,
)
from arangopipe_ops.airflow.operators.metadata import at_hand
from arangopipe_ops.errors import ArangopipeError, Invalid

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.bases.decorator import TaskDecorator

    from arangopipe_ops.model import Ref
    from arangopipe_ops.store import Run, Store
    from arangopipe_ops.store.run import Nowhere

__all__ = ["arangopipe_dataset_task", "arangopipe_run_task", "get_current_run"]

_FUNCTION = ("op_args", "op_kwargs")
_SHOWN = {"op_args": "py", "op_kwargs": "py"}


class _RecordedFunction(MetadataOperator, DecoratedOperator, PythonOperator):
    """A decorated function, called as `@task` calls it. What it raises goes on, whatever is chosen for metadata."""

    lineage_of_hooks = True
    template_fields_renderers: ClassVar[dict[str, str]] = _SHOWN
    operator_extra_links = (ArangopipeNodeLink(), ArangopipeLineageLink())

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        show_return_value_in_logs: bool = False,  # it may be data
        **kwargs: Any,
    ) -> None:
        called: dict[str, Any] = {"python_callable": python_callable, "op_args": op_args, "op_kwargs": op_kwargs}
        super().__init__(
            kwargs_to_upstream=called, show_return_value_in_logs=show_return_value_in_logs, **called, **kwargs
        )

    def call(self, context: "Context") -> Any:
        """Return what the function returns."""
        return DecoratedOperator.execute(self, context)


class RunDecoratedOperator(_RecordedFunction):
    """Calls a function inside a run of `Store.run`, and returns the run's Ref."""

    custom_operator_name = "@task.arangopipe_run"
    lineage_outputs = ("model",)
    run_arguments: ClassVar[tuple[str, ...]] = ("model", "dataset", "featureset", "project", "tag", "deployment_tag")
    template_fields: Sequence[str] = (
        *(*_FUNCTION, "run_id", "parameters", "attributes", *run_arguments),
        *MetadataOperator.template_fields,
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

    def execute(self, context: "Context") -> "Ref | None":
        from arangopipe_ops.store import Run

        given = {name: at_hand(getattr(self, name)) for name in self.run_arguments}
        self.learn(given)
        run = Run(
            self._store(context),
            run_id=self.run_id or task_run_id(context),
            params=self.parameters,
            on_metadata_error=self.on_metadata_error,
            **given,
            **(self.attributes or {}),
        )
        try:
            self._record_call(run, context)
        finally:
            self.learn(run.recorded, run.ref if run.is_recorded else None)
        if not run.recorded["params"]:
            self.warn_of_params(context)
        if not run.is_recorded:
            return None
        assets.report(context, self.outlets, run.ref)
        return run.ref

    def _record_call(self, run: "Run", context: "Context") -> None:
        with run:
            if "run" in self.op_kwargs:
                self.op_kwargs = {**self.op_kwargs, "run": run}
            result = self.call(context)
            with run.forgiving("result"):
                _take(run, result)

    def _store(self, context: "Context") -> "Store | Nowhere":
        try:
            return self.hook.store(context)
        except ArangopipeError as error:
            if self.on_metadata_error == "fail":
                raise
            from arangopipe_ops.store.run import Nowhere

            return Nowhere(error)


class DatasetDecoratedOperator(_RecordedFunction, RegisterDatasetOperator):
    """Registers the data set that a function returns, and returns its Ref."""

    custom_operator_name = "@task.arangopipe_dataset"
    template_fields = (*RegisterDatasetOperator.template_fields, *_FUNCTION)
    template_fields_renderers: ClassVar[dict[str, str]] = RegisterDatasetOperator.template_fields_renderers | _SHOWN

    def __init__(self, *, name: str | None = None, statistics: bool = True, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.statistics = statistics

    def execute(self, context: "Context") -> "Ref | None":
        self._result = self.call(context)
        return super().execute(context)  # type: ignore[no-any-return]

    def arguments(self, context: "Context") -> dict[str, Any]:
        found = _described(self._result, self.statistics)
        for name in self.attributes or ():
            found.pop(name, None)
        return found | super().arguments(context)


def get_current_run() -> "Run | None":
    """Return the run that the task's function is in, for code that is deep inside of it; None outside of any."""
    from arangopipe_ops.store import current_run  # what tasks need is not loaded by whoever parses a DAG

    return current_run()


def arangopipe_run_task(
    python_callable: Callable[..., Any] | None = None, *, multiple_outputs: bool = False, **kwargs: Any
) -> "TaskDecorator":
    """Record a function as a run: `@task.arangopipe_run(model=..., dataset=...)`. The task returns the run's Ref.

    The function returns metrics, or a mapping with `params`, `metrics`, `dataset`, `featureset`, `produced` and
    further attributes, or nothing. If it has a parameter `run`, it gets the run to log to; `get_current_run()` is
    the same one. If it raises, the run is recorded as failed and the exception goes on.

    The arguments are those of `Store.run`, with `parameters` for what Airflow has another `params` for; all are
    templated. `run_id` comes from the DAG run, task and map index, the same for every attempt.

    With `on_metadata_error="warn"` the function runs also where nothing can be recorded; the task then returns None.
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


def _take(run: "Run", result: Any) -> None:
    """Log what a function returned. Raises Invalid."""
    if result is None:
        return
    _mapping("result", result)
    if not any(isinstance(result.get(name), Mapping) for name in ("params", "metrics")):
        result = {"metrics": result}
    facts = dict(result)
    run.log_params(_mapping("params", facts.pop("params", None)))
    run.log_metrics(_mapping("metrics", facts.pop("metrics", None)))
    for product in facts.pop("produced", None) or ():
        run.produced(**({"uri": product} if isinstance(product, str) else _mapping("produced", product)))
    inputs = {name: facts.pop(name) for name in ("dataset", "featureset") if facts.get(name) is not None}
    if inputs:
        run.use(**inputs)
    run.set(**facts)


def _mapping(name: str, given: Any) -> Mapping[str, Any]:
    if not isinstance(given, Mapping | None):
        raise Invalid(name, f"{given!r} is not a mapping of names to values")
    return given or {}


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
