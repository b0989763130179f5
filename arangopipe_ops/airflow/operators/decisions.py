"""Operators that decide about models: promote and retire deployments, select by a policy, stop at a gate."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from arangopipe_ops.airflow import compat
from arangopipe_ops.airflow.operators.metadata import Attributes, MetadataOperator, Reference, one_of, ref_of
from arangopipe_ops.errors import Invalid

if TYPE_CHECKING:
    from airflow.sdk import Context

    from arangopipe_ops.analytics import Policy
    from arangopipe_ops.analytics.gate import Performance
    from arangopipe_ops.analytics.statements import Goal
    from arangopipe_ops.store import Store

_RETURN_VALUE = "return_value"


class PromoteOperator(MetadataOperator):
    """Makes a registered deployment the active one of its project and environment, and archives the other.

    `over` is the deployment that is thought to be active ("" if none is): if another one is by now, the task fails.
    Returns the deployment's Ref, with the `_id` of the one that it `replaced`, or None.
    """

    template_fields: Sequence[str] = ("deployment", "over", "reason", *MetadataOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {"deployment": "json", "over": "json"}

    def __init__(
        self, *, deployment: Reference, over: Reference | None = None, reason: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.deployment = deployment
        self.over = over
        self.reason = reason

    def record(self, store: "Store", context: "Context") -> dict[str, Any]:
        change = store.promote(self.deployment, over=self.over, reason=self.reason)
        promoted = change["nodes"][0]
        others = [old["_id"] for old in change["replaced"] if old["_id"] != promoted["_id"]]
        return {**ref_of(promoted, store), "replaced": next(iter(others), None)}


class RetireOperator(MetadataOperator):
    """Ends a deployment; its project then has no active one in that environment. Returns its Ref."""

    template_fields: Sequence[str] = ("deployment", "reason", *MetadataOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {"deployment": "json"}

    def __init__(self, *, deployment: Reference, reason: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deployment = deployment
        self.reason = reason

    def record(self, store: "Store", context: "Context") -> Any:
        return ref_of(store.retire(self.deployment, reason=self.reason)["nodes"][0], store)


class SelectModelOperator(MetadataOperator):
    """Selects the model of a project that a policy wants to serve, and says why.

    `policy` is plain data (`arangopipe_ops.analytics.Policy`): `{"metric": "accuracy", "threshold": 0.9}`. Returns
    the `Selection`: `decision` (`promote`, `keep`, `none`), `reason`, `candidate`, `active`. With `deploy` a decision
    to promote is carried out as the deployment of that tag, and the answer also has the `deployment`, a Ref or None,
    and the tag that it `replaced`.
    """

    template_fields: Sequence[str] = ("project", "policy", "deploy", "reason", *MetadataOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {"project": "json", "policy": "json"}

    def __init__(
        self,
        *,
        project: Reference,
        policy: "Policy | Attributes",
        deploy: str | None = None,
        reason: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.project = project
        self.policy: Any = policy.to_json() if hasattr(policy, "to_json") else policy
        self.deploy = deploy
        self.reason = reason

    def record(self, store: "Store", context: "Context") -> dict[str, Any]:
        from arangopipe_ops import analytics  # only the task that asks pays for it, not whoever parses the DAG

        if not isinstance(self.policy, Mapping):
            raise Invalid("policy", f"{self.policy!r} is not a mapping of names to values")
        policy = analytics.Policy.from_json(self.policy)
        if self.deploy is None:
            return {**analytics.select_model(store, self.project, policy)}
        done = analytics.deploy(store, self.project, policy, tag=self.deploy, reason=self.reason)
        return {**done["selection"], "deployment": done["deployment"], "replaced": done["replaced"]}


class MetricGateOperator(MetadataOperator):
    """Lets the DAG go on if a metric of a run, deployment or serving performance is good enough.

    `threshold`, `baseline` and the rest mean what they mean in `arangopipe_ops.analytics.gate`. Where the metric does
    not pass, `on_failure` decides: the task fails, without retries (`fail`); it succeeds and skips the tasks directly
    after it (`skip`); or it follows the task ids in `failed` and not those in `passed` (`branch`). Returns the
    `Verdict`. With `on_metadata_error="warn"` a gate whose metric cannot be read stands open.
    """

    inherits_from_skipmixin = True
    template_fields: Sequence[str] = (
        *("node", "metric", "threshold", "baseline", "min_improvement", "kind", "since", "until", "passed", "failed"),
        *MetadataOperator.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"node": "json", "baseline": "json"}

    def __init__(
        self,
        *,
        node: Reference,
        metric: str,
        threshold: float | str | None = None,
        baseline: Reference | None = None,
        min_improvement: float | str = 0.0,
        goal: "Goal" = "max",
        kind: str | None = None,
        performance: "Performance" = "development",
        baseline_performance: "Performance | None" = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        on_failure: Literal["fail", "skip", "branch"] = "fail",
        passed: str | Sequence[str] = (),
        failed: str | Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        one_of("on_failure", on_failure, ("fail", "skip", "branch"))
        if (on_failure == "branch") != bool(passed or failed):
            raise Invalid("passed", "and failed are the task ids of on_failure='branch', and of no other")
        if on_failure != "fail":
            self._refuse_late_instances(on_failure)
        self.node = node
        self.metric = metric
        self.threshold = threshold
        self.baseline = baseline
        self.min_improvement = min_improvement
        self.goal = goal
        self.kind = kind
        self.performance = performance
        self.baseline_performance = baseline_performance
        self.since = since
        self.until = until
        self.on_failure = on_failure
        self.passed = passed
        self.failed = failed

    def _refuse_late_instances(self, on_failure: str) -> None:
        """Airflow cannot skip what it makes later: the task instances of a group mapped over a task's output."""
        group = self.get_closest_mapped_task_group()
        if group is not None and any(group.iter_mapped_dependencies()):
            what = f"{on_failure!r} would skip nothing in {group.group_id}, which is mapped over what a task returns"
            raise Invalid("on_failure", f"{what}. Map it over a list that stands in the DAG, or use 'fail'")

    def record(self, store: "Store", context: "Context") -> Any:
        from arangopipe_ops import analytics

        return analytics.gate(
            store,
            self.metric,
            self.node,
            kind=self.kind,
            performance=self.performance,
            goal=self.goal,
            threshold=self.threshold,  # type: ignore[arg-type]  # a text is refused by name
            baseline=self.baseline,
            baseline_performance=self.baseline_performance,
            min_improvement=self.min_improvement,  # type: ignore[arg-type]
            since=self.since,
            until=self.until,
        )

    def execute(self, context: "Context") -> Any:
        verdict = super().execute(context)
        passed = verdict is None or verdict["passed"]
        self.log.info("The gate is %s: %s", "passed" if passed else "not passed", verdict and verdict["reason"])
        if self.on_failure == "branch":
            self._follow(context, verdict, self.passed if passed else self.failed)
        elif not passed and self.on_failure == "skip":
            self._follow(context, verdict, ())
        elif not passed:
            raise compat.AirflowFailException(verdict["reason"])
        return verdict

    def _follow(self, context: "Context", verdict: Any, tasks: str | Sequence[str]) -> None:
        ti: Any = context["ti"]
        if verdict is not None:
            ti.xcom_push(_RETURN_VALUE, verdict)  # skipping ends the task by an exception
        followed = [tasks] if isinstance(tasks, str) else list(tasks)
        compat.skipping()().skip_all_except(ti, followed)
        if ti.map_index >= 0:  # Airflow leaves those of the same mapped task group to the scheduler, which runs them
            compat.skip_now([(task_id, ti.map_index) for task_id in self._left_out(followed)])

    def _left_out(self, followed: Sequence[str]) -> set[str]:
        """Return the tasks directly after this one that are neither followed nor come after one that is."""
        dag: Any = self.dag
        later = {later for task_id in followed for later in dag.get_task(task_id).get_flat_relative_ids(upstream=False)}
        return self.downstream_task_ids - {*followed} - later
