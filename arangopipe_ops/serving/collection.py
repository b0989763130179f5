"""Serving performance is read from its sources and written to the graph, for many deployments and periods at once."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Any, Literal, NamedTuple, TypedDict

from arangopipe_ops.analytics.coverage import STATUSES, Chosen, Lack, covered, known, serving_deployments
from arangopipe_ops.errors import Invalid, NotFound
from arangopipe_ops.integrations.source import Fault, Period, Row, instant, redacted
from arangopipe_ops.model import Stage, moment
from arangopipe_ops.serving.alerts import AlertChange, evaluate, of_collection, problems
from arangopipe_ops.serving.faults import FaultRow, Faults
from arangopipe_ops.serving.sources import Source
from arangopipe_ops.stages import log_serving_perf
from arangopipe_ops.store import Store
from arangopipe_ops.store.bulk import BATCH_NODES, Progress

CELLS = 10_000
"""At most so many figures, of a deployment in a period, are read at once, or one period's: they are held in memory."""

_READS = 10
"""Where deployments lack different periods, a source is asked so many times at most, and then for all at once."""

_FAILURES = 3
"""After so many reads in a row that failed altogether, a source is not asked again in the same collection."""


class Report(TypedDict):
    """What a collection came to.

    `periods` and `deployments` it was about; nodes that it `created`, `revised`, or found to be the `same`; figures
    that were `known` and not asked for (`only_missing`); the `faults`, none if all is well; and the `alerts` that were
    raised or cleared, by it or by an earlier attempt of the same task.
    """

    periods: int
    deployments: int
    created: int
    revised: int
    same: int
    known: int
    faults: list[FaultRow]
    alerts: list[AlertChange]


def collect(
    store: Store,
    periods: Iterable[Period],
    sources: Sequence[Source],
    *,
    deployments: Chosen = None,
    statuses: Sequence[str] = STATUSES,
    on_conflict: Literal["revise", "keep"] = "revise",
    only_missing: bool = False,
    batch: int = BATCH_NODES,
    reason: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Read how deployments served in periods, which are in the order of time, and write a ServingPerf node for each.

    There is one node for a deployment, period and source. Collecting again what is stored changes nothing; other
    figures revise it, or with `keep` do not. `only_missing` asks only for what is not there, or lacks metrics. Without
    `deployments` it is about those of the `statuses`; archived ones until they ended.

    What a source fails to tell is a fault in the report, and loses nothing else. Of a row that lacks metrics the others
    are stored, with the names of those in `missing`; what is stored of those stays. A metric that is NaN or infinite is
    lacking. A source that fails altogether three times in a row is not asked again. All is written in batches of at
    most `batch` nodes, one request each. Raises Invalid, and what `Store.write_many` raises: Unavailable, when starting
    again goes on.
    """
    _checked(sources, on_conflict)
    collection = _Collection(store, sources, only_missing)
    following = iter(periods)
    chunk = list(islice(following, 1))
    if chunk:
        collection.choose(chunk[0], deployments, statuses)
    writing = _Writing(store, on_conflict, reason, collection.faults)
    found = collection.read(chunk, following)
    while rows := list(islice(found, batch)):
        writing.write(rows, batch)
        if progress is not None:
            progress(writing.done, None)
    alerts = collection.alerts()
    return Report(
        periods=collection.periods,
        deployments=len({each.key for several in collection.monitored for each in several}),
        created=writing.created,
        revised=writing.revised,
        same=writing.same,
        known=collection.known,
        faults=collection.faults.rows(),
        alerts=alerts,
    )


def _checked(sources: Sequence[Source], on_conflict: str) -> None:
    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise Invalid("sources", f"two are called {name!r}; give one another name")
    if on_conflict not in ("revise", "keep"):
        raise Invalid("on_conflict", f"{on_conflict!r} is not revise or keep")


class Monitored(NamedTuple):
    """A deployment as a source knows it, and while when it serves, as far as that is told."""

    key: str
    tag: str
    name: str
    start: str | None
    ended: str | None
    rules: Any = None
    alerts: Sequence[str] = ()

    def serves_in(self, period: Period) -> bool:
        """Return whether it serves in some of a period."""
        begun = self.start is None or self.start < moment(period.end, "period")
        return begun and (self.ended is None or self.ended > moment(period.start, "period"))


Cell = tuple[str, Period]
"""A deployment's key, and a period."""


@dataclass(frozen=True)
class Figures:
    """What is known of a deployment in a period, to be stored."""

    source: str
    deployment: Monitored
    period: Period
    metrics: Mapping[str, Any]
    missing: Sequence[str] = field(default=())

    @cached_property
    def stage(self) -> Stage:
        """The stage that stores them. Raises Invalid."""
        more = {"missing": sorted(self.missing)} if self.missing else {}
        if more and "missing" in self.metrics:
            raise Invalid("missing", "is the name of a metric; choose another name for it")
        return log_serving_perf(
            {"_id": f"deployment/{self.deployment.key}"},
            metrics=self.metrics,
            period_start=self.period.start,
            period_end=self.period.end,
            source=self.source,
            **more,
        )


class _Collection:
    """Reads all sources, chunk by chunk of periods, and keeps what went wrong."""

    def __init__(self, store: Store, sources: Sequence[Source], only_missing: bool) -> None:
        self.store, self.sources, self.only_missing = store, sources, only_missing
        self.monitored: list[list[Monitored]] = [[] for _ in sources]
        self.faults = Faults()
        self.periods = self.known = 0
        self.first: Period | None = None
        self._failures: dict[str, list[Fault]] = {}

    def choose(self, first: Period, deployments: Chosen, statuses: Sequence[str]) -> None:
        """Find the deployments of each source, which serve in the first period or later."""
        self.first = first
        at = moment(first.start, "period")
        for several, source in zip(self.monitored, self.sources, strict=True):
            found = serving_deployments(
                self.store, at, deployments, by=source.by, statuses=statuses, where=source.where
            )
            several += [
                Monitored(
                    each["key"],
                    each["tag"],
                    each["name"],
                    told_start(each["start"]),
                    each["ended"],
                    each["rules"],
                    each["alerts"],
                )
                for each in found
            ]

    def read(self, chunk: list[Period], following: Iterator[Period]) -> Iterator[Figures]:
        """Yield what there is of the first periods and of those that follow, some periods at a time."""
        size = max(1, CELLS // max(1, *map(len, self.monitored))) if self.monitored else 1
        chunk += islice(following, size - 1)
        last: Period | None = None
        while chunk:
            for period in chunk:
                if last is not None and period.start < last.end:
                    raise Invalid("periods", f"{period} comes after {last}; give them in the order of time")
                last = period
            self.periods += len(chunk)
            for source, monitored in zip(self.sources, self.monitored, strict=True):
                yield from self._source(source, monitored, chunk)
            chunk = list(islice(following, size))

    def alerts(self) -> list[AlertChange]:
        """Judge the deployments that have rules, alerts or faults."""
        if self.first is None:
            return []
        several = {each.key: each for monitored in self.monitored for each in monitored}
        for each in several.values():
            for problem in problems(each.rules):
                self.faults.add(each.tag, "alerts", problem, self.first, lasting=True)
        faults = self.faults.rows()
        faulty = {row["deployment"] for row in faults}
        names = {row["source"] for row in faults if row["deployment"] is None}
        faulty |= {
            each.tag
            for source, monitored in zip(self.sources, self.monitored, strict=True)
            for each in monitored
            if source.name in names
        }
        keys = [each.key for each in several.values() if each.rules or each.alerts or each.tag in faulty]
        tags = {
            source.name: [each.tag for each in monitored]
            for source, monitored in zip(self.sources, self.monitored, strict=True)
        }
        return evaluate(self.store, keys, of_collection(tags, faults, moment(self.first.start, "period")))

    def _source(self, source: Source, monitored: Sequence[Monitored], chunk: Sequence[Period]) -> Iterator[Figures]:
        asked = {(each.key, period): each for each in monitored for period in chunk if each.serves_in(period)}
        if self.only_missing and asked:
            stored = covered(
                self.store,
                [each.key for each in monitored],
                moment(chunk[0].start, "period"),
                moment(chunk[-1].end, "period"),
                source.name,
            )
            there = [cell for cell in asked if (cell[0], *_times(cell[1])) in stored]
            self.known += len(there)
            for cell in there:
                del asked[cell]
        for several in _reads(asked):
            reading = _Reading(source, several, self.faults)
            failures = self._failures.setdefault(source.name, [])
            if len(failures) < _FAILURES:
                yield from reading.figures()
                self._failures[source.name] = [*failures, reading.failure] if reading.failure else []
            else:
                message = f"it failed {_FAILURES} times in a row and was not asked again"
                reading.fail(failures[-1]._replace(message=message))


def told_start(start: Any) -> str | None:
    """Return when a deployment began to serve, if it tells so."""
    try:
        return moment(instant(start, "start"), "start")
    except Invalid:
        return None


def _times(period: Period) -> tuple[str, str]:
    return moment(period.start, "period"), moment(period.end, "period")


def _reads(asked: Mapping[Cell, Monitored]) -> Iterator[dict[Cell, Monitored]]:
    """Yield what to ask for at once: the deployments that lack the same periods, or all."""
    lacking: dict[str, list[Period]] = {}
    for key, period in asked:
        lacking.setdefault(key, []).append(period)
    groups: dict[tuple[Period, ...], set[str]] = {}
    for key, several in lacking.items():
        groups.setdefault(tuple(several), set()).add(key)
    if len(groups) > _READS:
        yield dict(asked)
        return
    for keys in groups.values():
        yield {cell: each for cell, each in asked.items() if cell[0] in keys}


class _Reading:
    """One read of one source: what was asked, what it answered, what it did not."""

    def __init__(self, source: Source, asked: Mapping[Cell, Monitored], faults: Faults) -> None:
        self.source, self.asked, self.faults = source, asked, faults
        self.by_name: dict[str, dict[str, Monitored]] = {}
        for each in asked.values():
            self.by_name.setdefault(each.name, {})[each.key] = each
        self.periods = sorted({period for _, period in asked})
        self.found: dict[Cell, Row] = {}
        self.told: set[tuple[str | None, Period | None]] = set()
        self.failure: Fault | None = None

    def figures(self) -> Iterator[Figures]:
        """Yield what the source tells, once all of it is known: two rows for one cell are none."""
        if not self.asked:
            return
        try:
            for answer in self.source.reader()(self.periods, sorted(self.by_name), **self.source.options):
                self._take(answer)
        except Exception as error:  # whatever a source fails with, the others go on
            self.failure = Fault.of(error)
            self.fail(self.failure)
        for cell, each in self.asked.items():
            row = self.found.get(cell)
            if row is None:
                self._lacks(each, cell[1], "there are no figures")
            elif (figures := self._checked(each, row)) is not None:
                yield figures

    def _take(self, answer: Row | Fault) -> None:
        if isinstance(answer, Fault):
            self.fail(answer)
            return
        known = self.by_name.get(answer.deployment, {})
        for key, each in known.items():
            cell = (key, answer.period)
            if cell not in self.asked:
                continue
            other = self.found.setdefault(cell, answer)
            if other is not answer and other != answer:
                self._put(each, answer.period, "there are two rows, with different figures")
                self.found[cell] = answer._replace(metrics={}, missing=())

    def fail(self, fault: Fault) -> None:
        """Put down what is not told, and why."""
        message = redacted(fault.message, self.source.options)
        concerned = self.by_name.get(fault.deployment, {}).values() if fault.deployment is not None else [None]
        period = fault.period if fault.period is not None else Period(self.periods[0].start, self.periods[-1].end)
        count = 1 if fault.period is not None else len(self.periods)
        for each in concerned:
            tag = each.tag if each else None
            self.faults.add(tag, self.source.name, message, period, count, lasting=fault.lasting)
            self.told.add((each.key if each else None, fault.period))

    def _put(self, each: Monitored, period: Period, message: str, *, lasting: bool = False) -> None:
        self.faults.add(each.tag, self.source.name, message, period, lasting=lasting)

    def _lacks(self, each: Monitored, period: Period, message: str) -> None:
        """Say what there is not, unless it was said why."""
        if not self.told & {(each.key, period), (each.key, None), (None, period), (None, None)}:
            self._put(each, period, message)

    def _checked(self, each: Monitored, row: Row) -> Figures | None:
        """Return the figures of a row that can be stored, None if there are none."""
        odd = [name for name, value in row.metrics.items() if isinstance(value, float) and not math.isfinite(value)]
        missing = sorted({*row.missing, *odd})
        for name in odd:
            self._put(each, row.period, f"{name} is {row.metrics[name]}")
        if lacking := sorted(set(missing) - set(odd)):
            self._lacks(each, row.period, f"there is no {', '.join(lacking)}")
        metrics = {name: value for name, value in row.metrics.items() if name not in odd}
        figures = Figures(self.source.name, each, row.period, metrics, missing)
        if not metrics:
            return None
        try:
            _ = figures.stage
        except Invalid as error:
            self._put(each, row.period, str(error), lasting=True)
            return None
        return figures


class _Writing:
    """Writes figures batch by batch, and counts what became of them."""

    def __init__(
        self, store: Store, on_conflict: Literal["revise", "keep"], reason: str | None, faults: Faults
    ) -> None:
        self.store, self.on_conflict, self.reason, self.faults = store, on_conflict, reason, faults
        self.created = self.revised = self.same = self.done = 0

    def write(self, rows: Sequence[Figures], batch: int) -> None:
        pairs = [(each, each.stage) for each in rows]
        if any(each.missing for each in rows):
            pairs = self._completed(pairs)
        while pairs:
            try:
                summary = self.store.write_many(
                    [stage for _, stage in pairs],
                    on_conflict=self.on_conflict,
                    reason=self.reason,
                    batch=batch,
                    resume=False,
                )
            except NotFound as error:
                pairs = self._without(pairs, error)
                continue
            self.created += summary["created"]
            self.revised += summary["revised"]
            self.same += summary["same"]
            break
        self.done += len(rows)

    def _completed(self, pairs: list[tuple[Figures, Stage]]) -> list[tuple[Figures, Stage]]:
        """Return figures with what is stored of the metrics they lack: nothing is lost because a source lost it."""
        lacks = [Lack(stage.nodes[0].key, each.missing) for each, stage in pairs if each.missing]
        stored = known(self.store, lacks)
        completed = []
        for each, stage in pairs:
            if more := stored.get(stage.nodes[0].key):
                left = [name for name in each.missing if name not in more]
                each = replace(each, metrics={**each.metrics, **more}, missing=left)
                stage = each.stage
            completed.append((each, stage))
        return completed

    def _without(self, pairs: list[tuple[Figures, Stage]], error: NotFound) -> list[tuple[Figures, Stage]]:
        """Return figures but for those of deployments that were deleted meanwhile."""
        left = [(each, stage) for each, stage in pairs if f"deployment/{each.deployment.key}" not in error.references]
        if len(left) == len(pairs):
            raise error
        for each, _ in pairs:
            if f"deployment/{each.deployment.key}" in error.references:
                message = "the deployment was deleted meanwhile"
                self.faults.add(each.deployment.tag, each.source, message, each.period, lasting=True)
        return left
