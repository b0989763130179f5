"""Which periods a DAG run is about: those of its data interval or partition, or all since the last collection."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pendulum

from arangopipe_ops.errors import Invalid
from arangopipe_ops.integrations.source import Period
from arangopipe_ops.model import canonical, digest, moment
from arangopipe_ops.serving import periods
from arangopipe_ops.serving.periods import step_of

if TYPE_CHECKING:
    from airflow.sdk import Asset, Context

_LATE = "9999-01-01"
"""An end for periods of which only the first is looked at."""


def periods_between(since: Any, until: Any, every: str, timezone: Any) -> list[Period]:
    """Return the periods between two times that were given by hand. Raises Invalid if there is none."""
    if since is None or until is None:
        raise Invalid("since", "and until: give both of them, or none for the data interval of the DAG run")
    found = list(periods(since, until, every, timezone))
    if not found:
        raise _unfit(since, until, every, timezone)
    return found


def periods_of_run(context: "Context", every: str, timezone: Any) -> list[Period]:
    """Return the period that begins with the partition of a DAG run, or those that fill its data interval.

    Raises Invalid where there is neither, or they do not.
    """
    if context.get("partition_key") is not None:
        return [_of_partition(context, every, timezone)]
    since, until = context.get("data_interval_start"), context.get("data_interval_end")
    if since is None or until is None:
        raise Invalid("since", "is missing, and this DAG run has no data interval; give since and until")
    found = list(periods(since, until, every, timezone))
    if not found or found[-1].end != until:
        raise _unfit(since, until, every, timezone)
    return found


def periods_since(since: Any, until: Any, context: "Context", every: str, timezone: Any) -> list[Period]:
    """Return the periods from a time on that had ended by another, or else when the DAG run was due."""
    dag_run: Any = context["dag_run"]
    return list(periods(since, until or context.get("data_interval_end") or dag_run.run_after, every, timezone))


def timezone_of(dag: Any) -> Any:
    """Return the time zone of a DAG's schedule, or else that of its start."""
    return _scheduled_in(dag) or dag.timezone


class Watermark:
    """Until when all was told of what a task collects, in Airflow's state of an asset.

    It outlives DAG runs. Where Airflow has no such state (before 3.3) there is none, and the same is asked for again.
    """

    def __init__(self, context: "Context", asset: "Asset", collected: Sequence[Any]) -> None:
        states: Any = context.get("asset_state_store")
        self._state = None if states is None else states[asset]
        self._key = f"arangopipe-{digest(canonical(list(collected)))[:32]}"

    def later(self, since: Any, every: str, timezone: Any) -> datetime:
        """Return the mark, or `since` if that is later or there is none. Raises Invalid."""
        begin = next(periods(since, _LATE, every, timezone)).start
        kept = self._state.get(self._key) if self._state is not None else None
        return begin if kept is None else max(begin, datetime.fromisoformat(kept))

    def keep(self, until: datetime) -> None:
        if self._state is not None:
            self._state.set(self._key, moment(until, "watermark"))


def _scheduled_in(dag: Any) -> Any:
    return getattr(dag.timetable, "timezone", None) or getattr(dag.timetable, "_timezone", None)


def _of_partition(context: "Context", every: str, timezone: Any) -> Period:
    """Return the period that begins where the partition does: as Airflow reads its key, or as ISO 8601.

    Where the schedule tells no time zone, days have to begin at midnight: the partition may be of days elsewhere.
    """
    key = context["partition_key"]
    try:
        found = next(periods(context.get("partition_date") or key, _LATE, every, timezone))
    except Invalid as error:
        raise Invalid("partition_key", f"{key!r} tells no period, {error}; give since and until") from None
    if not step_of(every).seconds and _scheduled_in(context["dag"]) is None:
        zone = pendulum.timezone(timezone) if isinstance(timezone, str) else timezone
        midnight = next(periods(found.start.astimezone(zone).date(), _LATE, every, timezone)).start
        if midnight != found.start:
            problem = f"the partition {key!r} begins at {found.start}, which is no midnight in {timezone}"
            raise Invalid("timezone", f"{problem}; give the one whose days they are")
    return found


def _unfit(since: Any, until: Any, every: str, timezone: Any) -> Invalid:
    cure = "give an `every` and a `timezone` that fit the schedule, which needs a timetable with data intervals"
    return Invalid("every", f"{since} to {until} is no whole number of periods of {every} in {timezone}; {cure}")
