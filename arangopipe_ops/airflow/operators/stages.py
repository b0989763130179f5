"""One operator for each stage of a machine-learning pipeline: it writes the stage and returns its Ref."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator, XComArg

from arangopipe_ops import errors
from arangopipe_ops.airflow.links import ArangopipeLineageLink, ArangopipeNodeLink
from arangopipe_ops.airflow.operators.metadata import Attributes, MetadataOperator, Reference, References, at_hand

if TYPE_CHECKING:
    from airflow.sdk import Context

    from arangopipe_ops.model import Ref
    from arangopipe_ops.store import OnConflict, Store

_SHOWN_AS_JSON = (
    *("attributes", "result", "parameters", "metrics", "features", "transformation", "selection"),
    *("project", "dataset", "featureset", "model", "run", "deployment"),
)
_DATA = {"dataset": "Dataset", "featureset": "Featureset"}


class StageOperator(MetadataOperator):
    """Writes one stage to the metadata graph, in one request, and returns the Ref of its first node.

    `attributes` are further JSON attributes of that node. `on_conflict` says what happens to a node or edge that
    is stored with different content: it is replaced and kept in the audit (`revise`), left as it is (`keep`), or
    the task fails (`fail`).
    """

    stage: ClassVar[str]
    """Its name in `stages.STAGES`."""
    stage_arguments: ClassVar[tuple[str, ...]]
    template_fields: Sequence[str] = ("attributes", "on_conflict", *MetadataOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = dict.fromkeys(_SHOWN_AS_JSON, "json")
    operator_extra_links = (ArangopipeNodeLink(), ArangopipeLineageLink())

    def __init__(
        self, *, attributes: Attributes | None = None, on_conflict: "OnConflict" = "revise", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.attributes: Any = attributes
        self.on_conflict = on_conflict

    def record(self, store: "Store", context: "Context") -> "Ref":
        from arangopipe_ops import stages  # what tasks need is not loaded by whoever parses a DAG

        arguments = self.arguments(context)
        stage = stages.make(stages.STAGES[self.stage], arguments, self.attributes or {})
        self.learn({**(self.attributes or {}), **arguments})
        ref = store.write(stage, on_conflict=self.on_conflict)
        read = {kind: arguments[name] for name, kind in _DATA.items() if arguments.get(name) is not None}
        self.hook.report(read=read, written=ref if ref["kind"] in _DATA.values() else None)
        return ref

    def arguments(self, context: "Context") -> dict[str, Any]:
        """Return the stage's arguments; those left at None take the stage's defaults."""
        given = {name: at_hand(getattr(self, name)) for name in self.stage_arguments}
        for name, value in given.items():
            if isinstance(value, BaseOperator):
                raise errors.Invalid(name, f"is the task {value.task_id}; give what it returns, as its .output")
        return {name: value for name, value in given.items() if value is not None}


class RegisterProjectOperator(StageOperator):
    """Registers a project."""

    stage = "project"
    stage_arguments = ("name",)
    template_fields = (*stage_arguments, *StageOperator.template_fields)

    def __init__(self, *, name: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.name = name


class RegisterDatasetOperator(StageOperator):
    """Registers a data set: where it lies, which system it came from, what is in it.

    Without `version` its content decides the version: schema, checksum and all other attributes.
    """

    stage = "dataset"
    stage_arguments = ("name", "version", "uri", "source", "checksum")
    template_fields = (*stage_arguments, *StageOperator.template_fields)

    def __init__(
        self,
        *,
        name: str,
        version: str | None = None,
        uri: str | None = None,
        source: str | None = None,
        checksum: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.version = version
        self.uri = uri
        self.source = source
        self.checksum = checksum


class RegisterFeaturesetOperator(StageOperator):
    """Registers a feature set and the data set, or sets, that it is generated from.

    `transformation` is any JSON that says how, `selection` how the features were chosen. Without `version` the
    content decides the version.
    """

    stage = "featureset"
    stage_arguments = ("name", "dataset", "features", "transformation", "selection", "version")
    template_fields = (*stage_arguments, *StageOperator.template_fields)

    def __init__(
        self,
        *,
        name: str,
        dataset: References,
        features: Sequence[str] | XComArg | None = None,
        transformation: Any = None,
        selection: Any = None,
        version: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.dataset = dataset
        self.features = features
        self.transformation = transformation
        self.selection = selection
        self.version = version


class RegisterModelOperator(StageOperator):
    """Registers a model, that is a technique for a task, in its project.

    Without `version` the content decides the version.
    """

    stage = "model"
    stage_arguments = ("name", "project", "task", "technique", "framework", "version")
    template_fields = (*stage_arguments, *StageOperator.template_fields)

    def __init__(
        self,
        *,
        name: str,
        project: Reference,
        task: str | None = None,
        technique: str | None = None,
        framework: str | None = None,
        version: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.project = project
        self.task = task
        self.technique = technique
        self.framework = framework
        self.version = version


class LogRunOperator(StageOperator):
    """Logs a run: what it executed and read, the parameters it obtained, the performance seen in development.

    `result` is a mapping with any of the arguments of `stages.log_run` and further attributes, such as a training
    task returns (`{"params": ..., "metrics": ..., "start": ...}`); the operator's own arguments win over it.
    Airflow has an argument `params` on every operator, so what `result` calls `params` is `parameters` here.

    `run_id` comes from the DAG run, task and map index if it is not given, so that every attempt logs the same
    run; `start` is the start of the DAG run if it is not given.
    """

    stage = "run"
    lineage_outputs = ("model",)
    stage_arguments = (
        "run_id",
        "model",
        "dataset",
        "featureset",
        "metrics",
        "project",
        "status",
        "start",
        "end",
        "tag",
        "deployment_tag",
    )
    template_fields = ("result", "parameters", *stage_arguments, *StageOperator.template_fields)

    def __init__(
        self,
        *,
        result: Attributes | None = None,
        run_id: str | None = None,
        model: Reference | None = None,
        dataset: References | None = None,
        featureset: References | None = None,
        parameters: Attributes | None = None,
        metrics: Attributes | None = None,
        project: Reference | None = None,
        status: str | None = None,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        tag: str | None = None,
        deployment_tag: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.result = result
        self.run_id = run_id
        self.model = model
        self.dataset = dataset
        self.featureset = featureset
        self.parameters = parameters
        self.metrics = metrics
        self.project = project
        self.status = status
        self.start = start
        self.end = end
        self.tag = tag
        self.deployment_tag = deployment_tag

    def arguments(self, context: "Context") -> dict[str, Any]:
        result = self.result or {}
        if not isinstance(result, Mapping):
            raise errors.Invalid("result", f"{result!r} is not a mapping of names to values")
        defaults = {"run_id": task_run_id(context), "start": context["dag_run"].start_date}
        explicit = super().arguments(context)
        if self.parameters is not None:
            explicit["params"] = self.parameters
        arguments = {**defaults, **result, **explicit}
        if arguments.get("params") is None:
            self.warn_of_params(context)
        return arguments


class RegisterDeploymentOperator(StageOperator):
    """Registers the deployment of a model with the parameters that `run` obtained.

    Of a project and environment one deployment is active: registering an active one archives the other. `status`
    is `active` if it is not given, or `scheduled`, or `archived`.
    """

    stage = "deployment"
    stage_arguments = ("tag", "project", "model", "run", "featureset", "environment", "status")
    template_fields = (*stage_arguments, *StageOperator.template_fields)

    def __init__(
        self,
        *,
        tag: str,
        project: Reference,
        model: Reference,
        run: Reference | None = None,
        featureset: References | None = None,
        environment: str | None = None,
        status: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tag = tag
        self.project = project
        self.model = model
        self.run = run
        self.featureset = featureset
        self.environment = environment
        self.status = status


class LogServingPerfOperator(StageOperator):
    """Logs how a deployment served in one period, `period_start` included and `period_end` not.

    There is one node for a deployment, period and `source`: tie the period to the DAG run, not to the clock.
    """

    stage = "serving-perf"
    stage_arguments = ("deployment", "metrics", "period_start", "period_end", "source")
    template_fields = (*stage_arguments, *StageOperator.template_fields)

    def __init__(
        self,
        *,
        deployment: Reference,
        metrics: Attributes,
        period_start: datetime | str,
        period_end: datetime | str,
        source: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.deployment = deployment
        self.metrics = metrics
        self.period_start = period_start
        self.period_end = period_end
        self.source = source


def task_run_id(context: "Context") -> str:
    """Return the id of the run that a task instance logs; every attempt at it has the same."""
    ti = context["ti"]
    mapped = [str(ti.map_index)] if ti.map_index is not None and ti.map_index >= 0 else []
    return "/".join([ti.dag_id, ti.run_id, ti.task_id, *mapped])
