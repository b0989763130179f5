"""One operator for each stage of a machine-learning pipeline: it writes the stage and returns its Ref.

All arguments are templated. A template that is one expression, such as `"{{ ti.xcom_pull('train') }}"`, becomes
the expression's value and not its text, so references and numbers keep their type. Where an argument is a
reference, the Ref from another task (`task.output`), an `_id` or a name will do.

Running a task again, by retry or by clearing it, writes the same nodes: it changes nothing, or revises them.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator, ExceptionRetryPolicy, RetryAction, RetryRule, XComArg
from jinja2 import Undefined

from arangopipe_ops import errors, stages
from arangopipe_ops.airflow.hooks import DEFAULT_CONN_ID, ArangopipeHook
from arangopipe_ops.airflow.links import ArangopipeLineageLink, ArangopipeNodeLink
from arangopipe_ops.model import Ref, Stage
from arangopipe_ops.model import Reference as StoredReference
from arangopipe_ops.store import OnConflict

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context
    from airflow.sdk.definitions.retry_policy import RetryPolicy

_LASTING: list[type[BaseException] | str] = [
    errors.Invalid,
    errors.NotFound,
    errors.Conflict,
    errors.Misconfigured,
    errors.NotProvisioned,
    errors.Unauthorized,
]

FAIL_ON_LASTING_ERRORS = ExceptionRetryPolicy([RetryRule(_LASTING, RetryAction.FAIL)])
"""Spends no retries on what another attempt cannot cure."""

_LONE_EXPRESSION = re.compile(r"\s*\{\{(?![-+])((?:(?!\{\{|\}\}).)+)(?<![-+])\}\}\s*", re.DOTALL)

_SHOWN_AS_JSON = (
    *("attributes", "result", "parameters", "metrics", "features", "transformation"),
    *("project", "dataset", "featureset", "model", "run", "deployment"),
)

Reference = StoredReference | XComArg
References = Reference | Sequence[Reference]
Attributes = Mapping[str, Any] | XComArg


class ProvisionOperator(BaseOperator):
    """Makes sure that the database holds the metadata graph; returns whether anything was missing."""

    template_fields: Sequence[str] = ("arangopipe_conn_id",)

    def __init__(
        self,
        *,
        arangopipe_conn_id: str = DEFAULT_CONN_ID,
        retry_policy: "RetryPolicy | None" = FAIL_ON_LASTING_ERRORS,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)
        self.arangopipe_conn_id = arangopipe_conn_id

    def execute(self, context: "Context") -> bool:
        return ArangopipeHook(self.arangopipe_conn_id).provision()


class StageOperator(BaseOperator):
    """Writes one stage to the metadata graph, in one request, and returns the Ref of its first node.

    `attributes` are further JSON attributes of that node. `on_conflict` says what happens to a node or edge that
    is stored with different content: it is replaced and kept in the audit (`revise`), left as it is (`keep`), or
    the task fails (`fail`). Raises the errors of `arangopipe_ops.errors`.
    """

    stage: ClassVar[Callable[..., Stage]]
    stage_arguments: ClassVar[tuple[str, ...]]
    template_fields: Sequence[str] = ("attributes", "on_conflict", "arangopipe_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = dict.fromkeys(_SHOWN_AS_JSON, "json")
    operator_extra_links = (ArangopipeNodeLink(), ArangopipeLineageLink())

    def __init__(
        self,
        *,
        attributes: Attributes | None = None,
        on_conflict: OnConflict = "revise",
        arangopipe_conn_id: str = DEFAULT_CONN_ID,
        retry_policy: "RetryPolicy | None" = FAIL_ON_LASTING_ERRORS,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)
        self.attributes: Any = attributes
        self.on_conflict = on_conflict
        self.arangopipe_conn_id = arangopipe_conn_id

    def execute(self, context: "Context") -> Ref:
        stage = stages.make(type(self).stage, self.arguments(context), self.attributes or {})
        store = ArangopipeHook(self.arangopipe_conn_id).store(context)
        return store.write(stage, on_conflict=self.on_conflict)

    def arguments(self, context: "Context") -> dict[str, Any]:
        """Return the stage's arguments; those left at None take the stage's defaults."""
        given = {name: getattr(self, name) for name in self.stage_arguments}
        return {name: value for name, value in given.items() if value is not None}

    def render_template(
        self,
        content: Any,
        context: "Context",
        jinja_env: "jinja2.Environment | None" = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render as Airflow does, but a lone expression to its value.

        Airflow's native rendering would do that too, and also turn a version "1e3" into the number 1000.
        """
        template = isinstance(content, str) and id(content) not in (seen_oids or ())
        if template and (lone := _LONE_EXPRESSION.fullmatch(content)):
            env = jinja_env or self.get_template_env()
            value = env.compile_expression(lone[1], undefined_to_none=False)(context)
            if not isinstance(value, Undefined):
                return value
        return super().render_template(content, context, jinja_env, seen_oids)


class RegisterProjectOperator(StageOperator):
    """Registers a project."""

    stage = stages.register_project
    stage_arguments = ("name",)
    template_fields = (*stage_arguments, *StageOperator.template_fields)

    def __init__(self, *, name: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.name = name


class RegisterDatasetOperator(StageOperator):
    """Registers a data set: where it lies, which system it came from, what is in it.

    Without `version` its content decides the version: schema, checksum and all other attributes.
    """

    stage = stages.register_dataset
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

    `transformation` is any JSON that says how. Without `version` the content decides the version.
    """

    stage = stages.register_featureset
    stage_arguments = ("name", "dataset", "features", "transformation", "version")
    template_fields = (*stage_arguments, *StageOperator.template_fields)

    def __init__(
        self,
        *,
        name: str,
        dataset: References,
        features: Sequence[str] | XComArg | None = None,
        transformation: Any = None,
        version: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.dataset = dataset
        self.features = features
        self.transformation = transformation
        self.version = version


class RegisterModelOperator(StageOperator):
    """Registers a model, that is a technique for a task, in its project.

    Without `version` the content decides the version.
    """

    stage = stages.register_model
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

    stage = stages.log_run
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
        return {**defaults, **result, **explicit}


class RegisterDeploymentOperator(StageOperator):
    """Registers the deployment of a model with the parameters that `run` obtained.

    Of a project and environment one deployment is active: registering an active one archives the other. `status`
    is `active` if it is not given, or `scheduled`, or `archived`.
    """

    stage = stages.register_deployment
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

    stage = stages.log_serving_perf
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
