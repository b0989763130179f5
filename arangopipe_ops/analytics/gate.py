"""Gates: whether a metric of a run or a deployment is good enough to go on."""

from typing import Any, Literal, TypedDict

from arangopipe_ops import model
from arangopipe_ops.analytics.performance import PERIODS
from arangopipe_ops.analytics.policy import ROUNDING
from arangopipe_ops.analytics.statements import (
    METRICS,
    PROMOTED,
    Goal,
    ask,
    bound,
    finite,
    named,
    order_of,
    period,
    value_of,
)
from arangopipe_ops.errors import Invalid
from arangopipe_ops.model import Document
from arangopipe_ops.store import Store

Performance = Literal["development", "serving"]


class Verdict(TypedDict):
    """Whether a gate is `passed`, and why: the metric's value, the baseline's, each None where it is not known."""

    passed: bool
    reason: str
    metric: str
    value: float | None
    threshold: float | None
    baseline: float | None


_OF_RUN = "FIRST(FOR r IN {nodes} LET metrics = {metrics} RETURN {value_of_metrics})"
_OF_DEPLOYMENT = """FIRST(FOR d IN {nodes}
  LET r = DOCUMENT({promoted})
  LET metrics = {metrics}
  RETURN {value_of_metrics})"""
_OF_SERVING = "FIRST(FOR d IN {nodes} RETURN AVERAGE({periods}[*].value))"
_OF_PERIOD = "FIRST(FOR s IN {nodes} RETURN {value_of_s})"

_VALUES: dict[tuple[str, Performance], str] = {
    ("Run", "development"): _OF_RUN,
    ("Deployment", "development"): _OF_DEPLOYMENT,
    ("Deployment", "serving"): _OF_SERVING,
    ("ServingPerf", "serving"): _OF_PERIOD,
}
"""How a metric of a node is found, by its kind and where it performed."""

_GATE = """WITH run, devperf, deployment, servingperf
{known}
RETURN {{found: {{{found}}}, answer: {{{values}}}}}"""


def gate(
    store: Store,
    metric: str,
    node: Any,
    *,
    kind: str | None = None,
    performance: Performance = "development",
    goal: Goal = "max",
    threshold: float | None = None,
    baseline: Any = None,
    baseline_performance: Performance | None = None,
    min_improvement: float = 0.0,
    since: Any = None,
    until: Any = None,
) -> Verdict:
    """Return whether a metric of a node reaches a threshold, is at least as good as that of a baseline, or both.

    A run has its performance in development, a deployment that of the run it promoted, or in `serving` the mean over
    the periods that start from `since` (included) to `until` (not); a ServingPerf has its own. The baseline is another
    node, judged alike unless `baseline_performance` says otherwise; `min_improvement` is by how much it has to be
    surpassed, below zero by how much it may be missed. `kind` is needed where a reference is a name. A metric that is
    not known passes no gate. One request. Raises NotFound for a node that is not there, Invalid.
    """
    order_of(goal)
    if threshold is None and baseline is None:
        raise Invalid("threshold", "is missing, and so is a baseline; a gate needs one of them")
    finite(threshold=threshold, min_improvement=min_improvement)
    times = period(since, until)
    binds: Document = {}
    sought = {"node": (node, performance)}
    if baseline is not None:
        sought["baseline"] = (baseline, baseline_performance or performance)
    parts = {name: _value(name, *each, kind, metric, times, binds) for name, each in sought.items()}
    text = _GATE.format(
        known="".join(known for known, _ in parts.values()),
        found=", ".join(f"{name}: LENGTH({name}) > 0" for name in parts),
        values=", ".join(f"{name}: {value}" for name, (_, value) in parts.items()),
    )
    answer = ask(store, text, binds, **{name: reference for name, (reference, _) in sought.items()})
    value, other = answer["node"], answer.get("baseline")
    reason = _failure(metric, value, goal, threshold, other, baseline is not None, min_improvement)
    return Verdict(
        passed=reason is None,
        reason=reason or f"{metric} is {value:g}",
        metric=metric,
        value=value,
        threshold=threshold,
        baseline=other,
    )


def _value(
    name: str,
    reference: Any,
    performance: Performance,
    kind: str | None,
    metric: str,
    times: Document,
    binds: Document,
) -> tuple[str, str]:
    """Return AQL for the nodes that a reference leads to, and for the metric of the first of them."""
    found = _kind(name, reference, kind)
    place: Performance = "serving" if found == "ServingPerf" else performance
    if (found, place) not in _VALUES:
        raise Invalid(name, f"is a {found}, of which no performance in {place} is known")
    template = _VALUES[found, place]
    binds |= bound(found, name, reference)
    if template is _OF_SERVING:
        binds |= {"since": times["since"], "end": times["until"] or "9999"}
    parts = {"nodes": name, "promoted": PROMOTED, "metrics": METRICS}
    if "{value_of_metrics}" in template:
        parts["value_of_metrics"] = value_of("metrics", metric, binds)
    else:
        parts["value_of_s"] = value_of("s", metric, binds)
        parts["periods"] = PERIODS.format(value=parts["value_of_s"])
    return named(found, name), template.format(**parts)


def _kind(name: str, reference: Any, kind: str | None) -> str:
    """Return the kind that an `_id` tells, or else the one given."""
    id = reference.get("_id") if isinstance(reference, dict) else reference
    collection, slash, _ = str(id or "").partition("/")
    if slash and model.SCHEMA.has(collection):
        return model.SCHEMA.node(collection).kind
    if kind is None:
        raise Invalid(name, f"{reference!r} is neither a Ref nor an _id; give its kind as well")
    return model.SCHEMA.node(kind).kind


def _failure(
    metric: str,
    value: float | None,
    goal: Goal,
    threshold: float | None,
    baseline: float | None,
    compared: bool,
    min_improvement: float,
) -> str | None:
    """Return why a value does not pass, None if it does."""
    if value is None:
        return f"{metric} is not known; check the name of the metric, and where it was measured"
    sign = 1 if goal == "max" else -1
    if threshold is not None and sign * (value - threshold) < 0:
        return f"{metric} is {value:g} and does not reach the threshold {threshold:g}"
    if not compared:
        return None
    if baseline is None:
        return f"{metric} is {value:g}, and that of the baseline is not known"
    gain = sign * (value - baseline)
    if gain < min_improvement - ROUNDING * max(abs(value), abs(baseline)):
        return f"{metric} is {value:g}, that of the baseline {baseline:g}: better by {gain:g}, not {min_improvement:g}"
    return None
