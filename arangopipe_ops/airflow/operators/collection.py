"""The operator that collects serving performance from where it is measured."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.sdk import Asset, XComArg

from arangopipe_ops.airflow import compat
from arangopipe_ops.airflow.operators.metadata import MetadataOperator, at_hand, one_of
from arangopipe_ops.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from airflow.sdk import Context

    from arangopipe_ops.airflow.windows import Watermark
    from arangopipe_ops.serving import Configuration, FaultRow, Period, Report
    from arangopipe_ops.store import Store

_SHOWN = 100
"""At most so many faults and alerts are in the answer, which is an XCom."""


class CollectServingPerfOperator(MetadataOperator):
    """Reads how deployments served, and writes a ServingPerf node for each deployment, period and source.

    `sources` are plain data (`arangopipe_ops.serving.Source`), such as `{"type": "prometheus", "metrics": {...}}`. A
    `conn_id` in one is an Airflow connection that gives its URL and credentials, which are in no XCom and no log.
    `deployments` are tags or conditions, all that serve if left out; `statuses` and `on_conflict` are those of
    `arangopipe_ops.serving.collect`.

    It is about the data interval of the DAG run, in periods of the length `every`, which have to fill it, or about the
    period that begins with its partition; or about those from `since` to `until`, where these are given. Days are those
    of `timezone`, the schedule's if left out. With `watermark`, an asset among the inlets or outlets, it is about all
    periods from `since` that have ended when the DAG run is due, but for those before which all was told already: until
    when that is so is kept in the state of the asset.

    What could be collected is written. Then, if a source could not tell all, the task fails, and a retry asks only for
    what is missing; with `on_faults="warn"` it succeeds. `only_missing` says whether to ask only for that; left out, it
    is so on retries, and not after a clear, and always with a `watermark`. Returns the counts of the `Report`, and its
    first 100 `faults` and `alerts` with how many more there are; a task that fails for its faults leaves the same as
    its XCom.

    Sources are asked when the last period has ended, and `delay` has passed since. What they do not tell then is asked
    for again every `poke_interval` seconds until `patience` has passed since it ended, unless all of it is lasting
    (`FaultRow`). With `deferrable` it waits in the triggerer and holds no worker, and has two retries then, unless it
    says otherwise (`compat.retries_argument`). Without, periods that end later than `patience`, or one `poke_interval`,
    from now are refused.
    """

    template_fields: Sequence[str] = (
        *("sources", "deployments", "statuses", "every", "timezone", "since", "until", "on_conflict", "only_missing"),
        *MetadataOperator.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"sources": "json", "deployments": "json"}
    _faults: "Sequence[FaultRow]" = ()
    _again = False

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
        watermark: Asset | None = None,
        on_conflict: Literal["revise", "keep"] = "revise",
        only_missing: bool | None = None,
        on_faults: Literal["fail", "warn"] = "fail",
        delay: timedelta = timedelta(0),
        patience: timedelta = timedelta(0),
        poke_interval: float = 300.0,
        deferrable: bool = compat.conf.getboolean("operators", "default_deferrable", fallback=False),
        retries: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**compat.retries_argument(retries, deferrable), **kwargs)
        one_of("on_faults", on_faults, ("fail", "warn"))
        if watermark is not None and watermark not in [*self.inlets, *self.outlets]:
            raise Invalid("watermark", f"{watermark.name!r} is no asset of this task; add it to its inlets or outlets")
        self.sources: Any = sources
        self.deployments: Any = deployments
        self.statuses = statuses
        self.every = every
        self.timezone = timezone
        self.since = since
        self.until = until
        self.watermark = watermark
        self.on_conflict = on_conflict
        self.only_missing = only_missing
        self.on_faults = on_faults
        self.delay = delay
        self.patience = patience
        self.poke_interval = poke_interval
        self.deferrable = deferrable

    def record(self, store: "Store", context: "Context") -> dict[str, Any]:
        from arangopipe_ops.airflow.source_connections import connected
        from arangopipe_ops.serving import Configuration  # only the task that asks pays for it

        self._faults = ()
        given: dict[str, Any] = {"sources": [connected(each) for each in at_hand(self.sources) or ()]}
        if self.statuses is not None:
            given["statuses"] = self.statuses
        wanted = Configuration.from_json(given, os.environ)
        mark = self._mark(context, wanted)
        window = self._window(context, mark)
        if window:
            self._check_wait(window)
            self._wait(window[-1].end + self.delay, self.execute_complete)
        report = self._collected(store, window, wanted, self._asks_for_missing(context))
        self._faults = report["faults"]
        if mark is not None and window and not report["faults"]:
            mark.keep(window[-1].end)
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

    def execute_complete(self, context: "Context", event: Any = None) -> Any:
        """Go on after a wait for the end of the periods."""
        return self.execute(context)

    def execute_again(self, context: "Context", event: Any = None) -> Any:
        """Go on after a wait for what was not told."""
        self._again = True
        return self.execute(context)

    def _asks_for_missing(self, context: "Context") -> bool:
        if self._again or self.only_missing is not None:
            return self._again or bool(self.only_missing)
        return self.watermark is not None or _is_retry(self, context)

    def _mark(self, context: "Context", wanted: "Configuration") -> "Watermark | None":
        """Return the watermark of what is collected; if that is something else, it is another one."""
        from arangopipe_ops.airflow.windows import Watermark

        if self.watermark is None:
            return None
        if self.since is None:
            raise Invalid("since", "is missing; say from when on, for the first time that there is no watermark")
        asked = [[source.name, source.by, source.where] for source in wanted.sources]
        chosen = [at_hand(self.deployments), wanted.statuses]
        subject = [self.arangopipe_conn_id, asked, chosen, self.every, self.timezone]
        return Watermark(context, self.watermark, subject)

    def _window(self, context: "Context", mark: "Watermark | None") -> "list[Period]":
        from arangopipe_ops.airflow import windows

        zone = self.timezone or windows.timezone_of(context["dag"])
        if mark is not None:
            begin = mark.later(self.since, self.every, zone)
            return windows.periods_since(begin, self.until, context, self.every, zone)
        if self.since is None and self.until is None:
            return windows.periods_of_run(context, self.every, zone)
        return windows.periods_between(self.since, self.until, self.every, zone)

    def _collected(
        self, store: "Store", window: "Sequence[Period]", wanted: "Configuration", only_missing: bool
    ) -> "Report":
        """Collect, and again what is missing, as long as there is patience."""
        from arangopipe_ops.serving import collect

        while True:
            report = collect(
                store,
                window,
                wanted.sources,
                deployments=at_hand(self.deployments),
                statuses=wanted.statuses,
                on_conflict=self.on_conflict,
                only_missing=only_missing,
            )
            following = datetime.now(UTC) + timedelta(seconds=self.poke_interval)
            passing = [fault for fault in report["faults"] if not fault["lasting"]]
            if not passing or following > window[-1].end + self.patience:
                return report
            self.log.info("Not all was told yet: %d faults", len(report["faults"]))
            self._wait(following, self.execute_again)
            only_missing = True

    def _check_wait(self, window: "Sequence[Period]") -> None:
        """Raise Invalid for periods whose end a worker would be held for too long."""
        longest = max(self.patience, timedelta(seconds=self.poke_interval))
        if not self.deferrable and window[-1].end > datetime.now(UTC) + longest:
            span = f"{window[0].start} to {window[-1].end} has not ended"
            cure = f"a worker waits for that at most {longest}; the triggerer waits with deferrable=True"
            raise Invalid("until", f"{span}, and {cure}")

    def _wait(self, until: datetime, following: Callable[..., Any]) -> None:
        """Wait here or, deferred, in the triggerer, after which Airflow calls the method that follows."""
        seconds = (until - datetime.now(UTC)).total_seconds()
        if seconds <= 0:
            return
        self.log.info("Waiting until %s", until)
        if not self.deferrable:
            time.sleep(seconds)
            return
        from airflow.providers.standard.triggers.temporal import DateTimeTrigger

        self.defer(trigger=DateTimeTrigger(until), method_name=following.__name__)


def _is_retry(task: Any, context: "Context") -> bool:
    """Return whether this is another attempt since the task was cleared, or first started."""
    ti: Any = context["ti"]
    return bool(ti.try_number > ti.max_tries - (task.retries or 0) + 1)
