"""Records (mappings of column names to values) as rows of serving performance, read from a table or computed."""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

from arangopipe_ops.errors import Invalid, Misconfigured
from arangopipe_ops.integrations.source import Calendar, Fault, Period, Row, instant

Record = Mapping[str, Any]


def rows(
    records: Iterable[Record],
    periods: Sequence[Period],
    deployments: Sequence[str],
    *,
    deployment: str = "deployment",
    period_start: str = "period_start",
    period_end: str = "period_end",
    metrics: Sequence[str] | None = None,
) -> Iterator[Row | Fault]:
    """Yield the rows that records are, each one deployment's figures for one period.

    The arguments name columns; `metrics` are all others if left out. Where `period_end` is there, it has to be the
    period's end. Records of other deployments and periods are passed over; one with a time that is none is a fault of
    its deployment. Raises Invalid for a column that is missing.
    """
    calendar, wanted = Calendar(periods), set(deployments)
    apart = (deployment, period_start, period_end)
    damaged: set[str] = set()
    for record in records:
        name = str(_column(record, deployment))
        if name not in wanted:
            continue
        given, until = _column(record, period_start), record.get(period_end)
        try:
            at = instant(given, period_start)
            end = instant(until, period_end) if until is not None else None
        except Invalid as error:
            if name not in damaged:
                yield Fault(str(error), name, _only(periods))
            damaged.add(name)
            continue
        period = calendar.of(at)
        if period is None:
            continue
        if at != period.start or end not in (None, period.end):
            yield Fault(f"a record from {at} is not about the whole period", name, period)
            continue
        names = metrics if metrics is not None else [column for column in record if column not in apart]
        values = {metric: plain(record.get(metric)) for metric in names}
        missing = [metric for metric, value in values.items() if value is None]
        yield Row(name, period, {metric: value for metric, value in values.items() if value is not None}, missing)


def rows_of(
    period: Period,
    records: Iterable[Record],
    deployments: Sequence[str],
    *,
    period_start: str = "period_start",
    **more: Any,
) -> Iterator[Row | Fault]:
    """Yield the rows of records that were asked for one period: those without a column for its start are about it."""
    told = ({period_start: period.start, **record} for record in records)
    return rows(told, [period], deployments, period_start=period_start, **more)


@dataclass
class _Seen:
    """What one deployment predicted in one period, and what came of it."""

    predicted: int = 0
    predictions: list[Any] = field(default_factory=list)
    outcomes: list[Any] = field(default_factory=list)

    def add(self, prediction: Any, outcome: Any) -> None:
        self.predicted += 1
        if not _is_nothing(outcome):
            self.predictions.append(prediction)
            self.outcomes.append(outcome)


@dataclass(frozen=True)
class Outcomes:
    """How predictions are compared with outcomes, which may arrive later.

    `prediction` and `outcome` name columns; a record without outcome is one that nothing came of so far. `metrics` are
    names of scikit-learn's functions (`accuracy_score`), or maps names to those, or to `{"metric": "f1_score",
    "average": "macro"}` with arguments. Beside them the figures have `predictions` and `outcomes`: how many there were.
    """

    metrics: Sequence[str] | Mapping[str, Any]
    prediction: str = "prediction"
    outcome: str = "outcome"
    time: str = "time"

    def rows(
        self,
        records: Iterable[Record],
        periods: Sequence[Period],
        deployments: Sequence[str],
        *,
        deployment: str = "deployment",
    ) -> Iterator[Row | Fault]:
        """Yield the figures of all predictions of each deployment and period.

        A record with a time that is none is a fault, and its deployment has no figures, since those of its other
        records would be of too few; one without a prediction is that for its period. Raises Invalid for a column that
        is missing, Misconfigured.
        """
        functions = self._functions()
        calendar, wanted = Calendar(periods), set(deployments)
        seen: dict[tuple[str, Period], _Seen] = {}
        damaged: dict[tuple[str, Period | None], Fault] = {}
        for record in records:
            name = str(_column(record, deployment))
            if name not in wanted:
                continue
            at, prediction, outcome = (_column(record, each) for each in (self.time, self.prediction, self.outcome))
            try:
                period = calendar.of(instant(at, self.time))
            except Invalid as error:
                damaged[name, _only(periods)] = Fault(str(error), name, _only(periods))
                continue
            if period is not None and _is_nothing(prediction):
                damaged[name, period] = Fault(f"a record has no {self.prediction}", name, period)
            elif period is not None:
                seen.setdefault((name, period), _Seen()).add(prediction, outcome)
        yield from damaged.values()
        for (name, period), each in seen.items():
            if not damaged.keys() & {(name, period), (name, None)}:
                yield from _measured(name, period, each, functions)

    def _functions(self) -> dict[str, Callable[..., Any]]:
        named = self.metrics if isinstance(self.metrics, Mapping) else {name: name for name in self.metrics}
        return {name: _function(metric) for name, metric in named.items()}


def _measured(
    deployment: str, period: Period, seen: _Seen, functions: Mapping[str, Callable[..., Any]]
) -> Iterator[Row | Fault]:
    from sklearn.exceptions import UndefinedMetricWarning

    values: dict[str, Any] = {"predictions": seen.predicted, "outcomes": len(seen.outcomes)}
    for name, function in functions.items() if seen.outcomes else ():
        with warnings.catch_warnings():
            warnings.simplefilter("error", UndefinedMetricWarning)
            try:
                values[name] = function(seen.outcomes, seen.predictions)
            except (ValueError, TypeError, UndefinedMetricWarning) as error:
                yield Fault(f"{name}: {str(error).splitlines()[0][:200]}", deployment, period)
    yield Row(deployment, period, values, [name for name in functions if name not in values])


def _function(metric: Any) -> Callable[..., Any]:
    try:
        from sklearn import metrics
    except ImportError as error:
        raise Misconfigured("metrics of outcomes need scikit-learn: pip install 'arangopipe-ops[drift]'") from error
    arguments = dict(metric) if isinstance(metric, Mapping) else {"metric": metric}
    name = arguments.pop("metric", None)
    found = getattr(metrics, name, None) if isinstance(name, str) and not name.startswith("_") else None
    if not callable(found) or isinstance(found, type):
        raise Invalid("metrics", f"{name!r} is not a function of sklearn.metrics such as accuracy_score")
    return partial(found, **arguments)


def plain(value: Any) -> Any:
    """Return a figure as JSON has it: a decimal number as a number."""
    if not isinstance(value, Decimal):
        return value
    return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)


def _only(periods: Sequence[Period]) -> Period | None:
    """Return the period that a record is about whatever its time is, if only one was asked for."""
    return periods[0] if len(periods) == 1 else None


def _column(record: Record, name: str) -> Any:
    try:
        return record[name]
    except KeyError:
        raise Invalid(name, f"is not a column; there are {', '.join(map(str, record))}") from None


def _is_nothing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))
