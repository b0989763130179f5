"""The operator that collects serving performance from where it is measured."""

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.sdk import XComArg

from arangopipe_ops.airflow.operators.metadata import MetadataOperator, at_hand, one_of
from arangopipe_ops.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from airflow.sdk import Context

    from arangopipe_ops.serving import FaultRow, Period
    from arangopipe_ops.store import Store

_SHOWN = 100
"""At most so many faults and alerts are in the answer, which is an XCom."""


class CollectServingPerfOperator(MetadataOperator):
    """Reads how deployments served, and writes a ServingPerf node for each deployment, period and source.

    `sources` are plain data (`arangopipe_ops.serving.Source`), such as `{"type": "prometheus", "metrics": {...}}`. A
    `conn_id` in one is an Airflow connection that gives its URL and credentials, which are in no XCom and no log.
    `deployments` are tags or conditions, all that serve if left out; `statuses` and `on_conflict` are those of
    `arangopipe_ops.serving.collect`.

    It is about the data interval of the DAG run, in periods of the length `every`, which have to fill it; or about
    those from `since` to `until`, where these are given. Days are those of `timezone`, the schedule's if left out.

    What could be collected is written. Then, if a source could not tell all, the task fails, and a retry asks only for
    what is missing; with `on_faults="warn"` it succeeds. `only_missing` says whether to ask only for that; left out, it
    is so on retries, and not after a clear. Returns the counts of the `Report`, and its first 100 `faults` and `alerts`
    with how many more there are; a task that fails for its faults leaves the same as its XCom.
    """

    template_fields: Sequence[str] = (
        *("sources", "deployments", "statuses", "every", "timezone", "since", "until", "on_conflict", "only_missing"),
        *MetadataOperator.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"sources": "json", "deployments": "json"}
    _faults: "Sequence[FaultRow]" = ()

    def __init__(
        self,
        *,
        sources: Sequence[Mapping[str, Any]] | XComArg,
        deployments: Sequence[str] | Mapping[str, Any] | XComArg | None = None,
        statuses: Sequence[str] | None = None,
        every: str = "1d",
        timezone: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        on_conflict: Literal["revise", "keep"] = "revise",
        only_missing: bool | None = None,
        on_faults: Literal["fail", "warn"] = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        one_of("on_faults", on_faults, ("fail", "warn"))
        self.sources: Any = sources
        self.deployments: Any = deployments
        self.statuses = statuses
        self.every = every
        self.timezone = timezone
        self.since = since
        self.until = until
        self.on_conflict = on_conflict
        self.only_missing = only_missing
        self.on_faults = on_faults

    def record(self, store: "Store", context: "Context") -> dict[str, Any]:
        from arangopipe_ops.airflow.source_connections import connected
        from arangopipe_ops.serving import Configuration, collect  # only the task that asks pays for it

        self._faults = ()
        given: dict[str, Any] = {"sources": [connected(each) for each in at_hand(self.sources) or ()]}
        if self.statuses is not None:
            given["statuses"] = self.statuses
        wanted = Configuration.from_json(given, os.environ)
        report = collect(
            store,
            self._periods(context),
            wanted.sources,
            deployments=at_hand(self.deployments),
            statuses=wanted.statuses,
            on_conflict=self.on_conflict,
            only_missing=_is_retry(self, context) if self.only_missing is None else self.only_missing,
        )
        self._faults = report["faults"]
        shown: dict[str, Any] = {**report}
        for name in ("faults", "alerts"):
            shown |= {name: shown[name][:_SHOWN], f"more_{name}": max(0, len(shown[name]) - _SHOWN)}
        return shown

    def execute(self, context: "Context") -> Any:
        from arangopipe_ops.serving import in_words

        answer = super().execute(context)
        if not self._faults:
            return answer
        error = Unavailable(in_words(self._faults))
        if self.on_faults == "warn":
            self.log.warning("Not all is collected: %s", error)
            return answer
        self.learned.error = error
        if self.do_xcom_push:
            context["ti"].xcom_push("return_value", answer)  # the error ends the task without
        raise error

    def _periods(self, context: "Context") -> "list[Period]":
        from arangopipe_ops.serving import periods

        if (self.since is None) != (self.until is None):
            raise Invalid("since", "and until: give both of them, or none for the data interval of the DAG run")
        zone = self.timezone or _timezone_of(self.dag)
        by_hand = self.since is not None
        interval = (context.get("data_interval_start"), context.get("data_interval_end"))
        since, until = (self.since, self.until) if by_hand else interval
        if since is None or until is None:
            raise Invalid("since", "is missing, and this DAG run has no data interval; give since and until")
        found = list(periods(since, until, self.every, zone))
        if not found or not (by_hand or found[-1].end == until):
            cure = "give an `every` and a `timezone` that fit the schedule, which needs a timetable with data intervals"
            raise Invalid(
                "every", f"{since} to {until} is no whole number of periods of {self.every} in {zone}; {cure}"
            )
        return found


def _timezone_of(dag: Any) -> Any:
    """Return the time zone of a DAG's schedule, or else that of its start."""
    timetable = dag.timetable
    return getattr(timetable, "timezone", None) or getattr(timetable, "_timezone", None) or dag.timezone


def _is_retry(task: Any, context: "Context") -> bool:
    """Return whether this is another attempt since the task was cleared, or first started."""
    ti: Any = context["ti"]
    return bool(ti.try_number > ti.max_tries - (task.retries or 0) + 1)
