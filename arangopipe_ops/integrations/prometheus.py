"""Serving performance from Prometheus, or what answers its HTTP API: Thanos, Mimir, VictoriaMetrics.

One query for each metric tells of many deployments and periods: the result's series are told apart by a label.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby, product
from typing import Any, NamedTuple

from arangopipe_ops.errors import ArangopipeError, Invalid
from arangopipe_ops.integrations.fetching import Fetcher, GivenUp
from arangopipe_ops.integrations.source import Damaged, Fault, Period, Row

_MOMENT = timedelta(milliseconds=1)
_POINTS = 10_000
"""Prometheus refuses more than 11,000 points of a series in one answer."""

_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")


def read(
    periods: Sequence[Period],
    deployments: Sequence[str],
    *,
    url: str,
    metrics: Mapping[str, str],
    label: str = "deployment",
    at_once: int = 1000,
    accept_warnings: bool = False,
    **access: Any,
) -> Iterator[Row | Fault]:
    """Yield what PromQL expressions, one for each metric, have as their value at the end of each period.

    In an expression `$period` stands for the length of the period, as in `increase(hits_total[$period])`, and
    `$deployments` for a regular expression of the deployments: `hits_total{deployment=~"$deployments"}`; without it
    all series are asked for, with it those of `at_once` deployments. `label` is the label that names the deployment.
    Periods of one length that follow each other are one range query, whose steps are the ends of the periods.

    A query is evaluated one millisecond before the period's end, since the end is not in it. Rules of Prometheus apply:
    a plain series has its last value, none if that is older than five minutes or the target is gone (staleness); `rate`
    and `increase` take a counter's reset for a start from zero, and extrapolate to the whole period. What is exact, and
    nothing over a reset, is `x - x offset $period unless resets(x[$period]) > 0`. Two series for a deployment, and an
    answer with warnings (unless `accept_warnings`), are faults and no figures.
    `access`: user and password or token, headers, verify, timeout, attempts, deadline (`Fetcher`). Raises Invalid, and
    GivenUp when no more queries are made.
    """
    if not isinstance(metrics, Mapping) or not metrics:
        raise Invalid("metrics", "is empty; name a PromQL expression for each metric")
    reader = _Reader(Fetcher(**access), url.rstrip("/"), label, accept_warnings)
    for each in _groups(deployments, at_once if _is_bounded(metrics) else max(1, len(deployments))):
        yield from _told(reader, periods, each, metrics)


def _told(
    reader: "_Reader", periods: Sequence[Period], deployments: Sequence[str], metrics: Mapping[str, str]
) -> Iterator[Row | Fault]:
    found: dict[tuple[str, Period], dict[str, float]] = {}
    wanted, given_up = set(deployments), None
    for run, (metric, expression) in product(_runs(periods), metrics.items()):
        try:
            for answer in reader.ask(_filled(expression, run[0], deployments), run, metric):
                if isinstance(answer, Fault):
                    yield answer
                elif answer.deployment in wanted:
                    found.setdefault((answer.deployment, answer.period), {})[metric] = answer.value
        except GivenUp as error:
            given_up = error
            break
        except ArangopipeError as error:
            yield from (Fault.of(error, period=period)._replace(message=f"{metric}: {error}") for period in run)
    for (deployment, period), values in found.items():
        yield Row(deployment, period, values, [name for name in metrics if name not in values])
    if given_up is not None:
        raise given_up


class _Value(NamedTuple):
    deployment: str
    period: Period
    value: float


class _Reader(NamedTuple):
    """Asks one server, and knows what tells its series apart."""

    fetcher: Fetcher
    url: str
    label: str
    accept_warnings: bool

    def ask(self, query: str, run: Sequence[Period], metric: str) -> Iterator[_Value | Fault]:
        """Yield the values of an expression at the ends of periods of one length that follow each other."""
        step = run[0].length.total_seconds()
        sent = {"query": query, "start": _seconds(run[0].end - _MOMENT), "end": _seconds(run[-1].end - _MOMENT)}
        answer = self.fetcher.json("POST", f"{self.url}/api/v1/query_range", data=sent | {"step": f"{step:.3f}"})
        if warnings := self._warnings(answer):
            yield from (Fault(f"{metric}: {warnings}", period=period) for period in run)
            return
        ends = {_milliseconds(period.end - _MOMENT): period for period in run}
        by_deployment: dict[str, list[Mapping[str, Any]]] = {}
        for series in _series(answer):
            by_deployment.setdefault(series["metric"].get(self.label, ""), []).append(series)
        for deployment, several in by_deployment.items():
            if not deployment:
                yield Fault(f"{metric}: a series of the answer has no label {self.label}", lasting=True)
            elif len(several) > 1:
                problem = f"{len(several)} series for one deployment; sum or choose"
                yield Fault(f"{metric}: {problem}", deployment, lasting=True)
            else:
                yield from _values(deployment, several[0], ends)

    def _warnings(self, answer: Any) -> str:
        told = answer.get("warnings") if isinstance(answer, Mapping) and not self.accept_warnings else None
        return f"the server warns: {'; '.join(map(str, told))[:300]}" if told else ""


def _series(answer: Any) -> list[Mapping[str, Any]]:
    """Return the series of an answer. Raises Damaged for one that is no matrix, Invalid for other histograms."""
    try:
        if answer["status"] != "success" or answer["data"]["resultType"] != "matrix":
            raise Damaged("answer", f"is no matrix: {str(answer.get('error', answer['data']))[:200]}")
        found = list(answer["data"]["result"])
        for series in found:
            series["metric"].items()
            if "values" not in series:
                raise Invalid("answer", "has native histograms; take histogram_quantile or histogram_sum of them")
        return found
    except (KeyError, TypeError, AttributeError):
        raise Damaged("answer", f"is not Prometheus's: {str(answer)[:100]!r}") from None


def _values(deployment: str, series: Mapping[str, Any], ends: Mapping[int, Period]) -> Iterator[_Value]:
    try:
        points = [(round(float(at) * 1000), float(value)) for at, value in series["values"]]
    except (TypeError, ValueError):
        raise Damaged("answer", f"has a point that is no time and value, for {deployment!r}") from None
    return (_Value(deployment, ends[at], value) for at, value in points if at in ends)


def _runs(periods: Sequence[Period]) -> Iterator[list[Period]]:
    """Yield periods of one length that follow each other, of no more points than a server answers."""
    run: list[Period] = []
    for period in periods:
        joins = run and period.start == run[-1].end and period.length == run[0].length and len(run) < _POINTS
        if run and not joins:
            yield run
            run = []
        run.append(period)
    if run:
        yield run


def _groups(names: Sequence[str], size: int) -> Iterator[list[str]]:
    if size < 1:
        raise Invalid("at_once", f"{size} is not a number from 1")
    return ([name for _, name in each] for _, each in groupby(enumerate(names), key=lambda pair: pair[0] // size))


def _is_bounded(metrics: Mapping[str, str]) -> bool:
    return any("$deployments" in expression for expression in metrics.values())


def _filled(expression: str, period: Period, deployments: Sequence[str]) -> str:
    """Return an expression with the length of the period, and the deployments quoted for RE2 and for PromQL."""
    names = "|".join(_SPECIAL.sub(r"\\\g<0>", name) for name in deployments)
    quoted = names.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    length = f"{round(period.length.total_seconds() * 1000)}ms"
    return expression.replace("$period", length).replace("$deployments", quoted)


def _seconds(at: datetime) -> str:
    return f"{at.timestamp():.3f}"


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)
