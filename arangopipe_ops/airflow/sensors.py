"""Sensors: they wait until the graph holds something, in a worker or, deferred, in the triggerer.

A database that is away is waited for. What no waiting cures (a wrong password, a graph that is not provisioned)
fails the task at once. A sensor returns the Ref of what it found, which any reference argument accepts.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from arangopipe_ops import errors
from arangopipe_ops.airflow import compat
from arangopipe_ops.airflow.hooks import DEFAULT_CONN_ID, ArangopipeHook
from arangopipe_ops.airflow.operators import FAIL_ON_LASTING_ERRORS, Reference
from arangopipe_ops.airflow.templates import ValueTemplates

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.retry_policy import RetryPolicy

    from arangopipe_ops.airflow.triggers import Comparison


class ConditionSensor(ValueTemplates, BaseSensorOperator):
    """Waits until a condition of `triggers.CONDITIONS` is met.

    `deferrable` waits in the triggerer and holds no worker, and has two retries then, unless it says otherwise
    (`compat.retries_argument`).
    """

    condition: ClassVar[str]
    asked: ClassVar[tuple[str, ...]]
    template_fields: Sequence[str] = ("arangopipe_conn_id",)

    def __init__(
        self,
        *,
        arangopipe_conn_id: str = DEFAULT_CONN_ID,
        deferrable: bool = compat.conf.getboolean("operators", "default_deferrable", fallback=False),
        retries: int | None = None,
        retry_policy: "RetryPolicy | None" = FAIL_ON_LASTING_ERRORS,
        **kwargs: Any,
    ) -> None:
        several = compat.retries_argument(retries, deferrable)
        super().__init__(**compat.policy_argument(retry_policy), **several, **kwargs)
        self.arangopipe_conn_id = arangopipe_conn_id
        self.deferrable = deferrable

    def poke(self, context: "Context") -> bool | PokeReturnValue:
        found = self._found(context)
        return PokeReturnValue(True, found) if found else False

    def execute(self, context: "Context") -> Any:
        if not self.deferrable:
            return super().execute(context)
        return self._found(context) or self._deferred()

    def execute_complete(self, context: "Context", event: dict[str, Any]) -> Any:
        """Return what the trigger found. Raises the error of `arangopipe_ops.errors` that ended its wait."""
        if "error" in event:
            kind = getattr(errors, event["error"])
            raise kind.__new__(kind, event["message"])  # its arguments did not come along, its message did
        return event["found"]

    def arguments(self) -> dict[str, Any]:
        """Return what the condition is asked with. Raises Invalid for what is not plain data."""
        from arangopipe_ops import model  # what tasks need is not loaded by whoever parses a DAG

        given = {name: getattr(self, name) for name in self.asked}
        return dict(model.canonical({name: value for name, value in given.items() if value is not None}))

    def _deferred(self) -> NoReturn:
        from arangopipe_ops.airflow.triggers import ConditionTrigger

        self.defer(
            trigger=ConditionTrigger(
                self.condition, self.arguments(), self.arangopipe_conn_id, float(self.poke_interval)
            ),
            method_name=self.execute_complete.__name__,
            timeout=timedelta(seconds=self.timeout),
        )

    def _found(self, context: "Context") -> dict[str, Any] | None:
        from arangopipe_ops.airflow.triggers import ask

        try:
            return ask(ArangopipeHook(self.arangopipe_conn_id).store(context), self.condition, self.arguments())
        except errors.Unavailable as error:
            self.log.warning("The database is away; asking again: %s", error)
            return None


class NodeSensor(ConditionSensor):
    """Waits for a node: one that `reference` leads to, or the newest that meets `where` and `text`, as in a search.

    `since`, a time, asks of a reference that the node was registered or changed since, of a search that it was
    registered since.
    """

    condition = "node"
    asked = ("kind", "reference", "where", "text", "since")
    template_fields = (*asked, *ConditionSensor.template_fields)

    def __init__(
        self,
        *,
        kind: str,
        reference: Reference | None = None,
        where: Mapping[str, Any] | None = None,
        text: str | None = None,
        since: datetime | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kind = kind
        self.reference = reference
        self.where = where
        self.text = text
        self.since = since

    def arguments(self) -> dict[str, Any]:
        return _timed(super().arguments())


class DeploymentStatusSensor(ConditionSensor):
    """Waits until a deployment has a `status`, or one of several; with one of `unless` it fails (Conflict)."""

    condition = "deployment_status"
    asked = ("deployment", "status", "unless")
    template_fields = (*asked, *ConditionSensor.template_fields)

    def __init__(
        self,
        *,
        deployment: Reference,
        status: str | Sequence[str] = "active",
        unless: str | Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.deployment = deployment
        self.status = status
        self.unless = unless

    def arguments(self) -> dict[str, Any]:
        given = super().arguments()
        return given | {name: _several(given[name]) for name in ("status", "unless")}


class ServingPerformanceSensor(ConditionSensor):
    """Waits until a metric of a deployment's newest period compares so with a threshold: `"accuracy", "<", 0.9`.

    `since`, a time, leaves out periods that start before.
    """

    condition = "serving_performance"
    asked = ("deployment", "metric", "comparison", "threshold", "since")
    template_fields = (*asked, *ConditionSensor.template_fields)

    def __init__(
        self,
        *,
        deployment: Reference,
        metric: str,
        comparison: "Comparison",
        threshold: float,
        since: datetime | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.deployment = deployment
        self.metric = metric
        self.comparison = comparison
        self.threshold = threshold
        self.since = since

    def arguments(self) -> dict[str, Any]:
        from arangopipe_ops.airflow.triggers import COMPARISONS

        if self.comparison not in COMPARISONS:
            raise errors.Invalid("comparison", f"{self.comparison!r} is not one of {', '.join(COMPARISONS)}")
        return _timed(super().arguments())


def _timed(arguments: dict[str, Any]) -> dict[str, Any]:
    from arangopipe_ops import model

    since = arguments.get("since")
    return arguments if since is None else arguments | {"since": model.moment(since, "since")}


def _several(given: Any) -> list[str]:
    return [given] if isinstance(given, str) else list(given)
