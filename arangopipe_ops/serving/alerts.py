"""Alerts on deployments: raised once, cleared once, and kept in the graph with their history."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, TypedDict

from arangopipe_ops.analytics.alerts import MOST_PERIODS, task_of, watched
from arangopipe_ops.errors import Invalid
from arangopipe_ops.model import Document, Stage
from arangopipe_ops.serving.faults import FaultRow
from arangopipe_ops.store import Store

State = Literal["raised", "cleared"]


class AlertChange(TypedDict):
    """An alert that was raised or cleared: by which rule, since the start of which period, at which value."""

    deployment: str
    rule: str
    state: State
    since: str
    metric: str | None
    value: float | None
    threshold: float | None
    message: str


@dataclass(frozen=True)
class Rule:
    """When a deployment is in trouble: its `metric` misses the `threshold` in so many `periods` in a row.

    By the `goal` the most or the least is best. With `margin` the threshold is that of the run it promoted, less (or
    more) the margin: a rule of drift. `source` is whose figures count, any if left out. Raises Invalid.
    """

    metric: str
    threshold: float | None = None
    goal: str = "max"
    margin: float | None = None
    periods: int = 1
    source: str | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.metric, str) or not self.metric:
            raise Invalid("alerts.metric", f"{self.metric!r} is not the name of a metric")
        if self.goal not in ("max", "min"):
            raise Invalid("alerts.goal", f"{self.goal!r} is not max or min")
        if (self.threshold is None) == (self.margin is None):
            raise Invalid("alerts.threshold", "and margin: give one of them")
        for name in ("threshold", "margin"):
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int | float | None):
                raise Invalid(f"alerts.{name}", f"{number!r} is not a number")
        if isinstance(self.periods, bool) or not isinstance(self.periods, int) or not 1 <= self.periods <= MOST_PERIODS:
            raise Invalid("alerts.periods", f"{self.periods!r} is not a number from 1 to {MOST_PERIODS}")
        object.__setattr__(
            self, "name", self.name or f"{self.metric} {'drift' if self.margin is not None else 'limit'}"
        )

    @classmethod
    def from_json(cls, data: Any) -> "Rule":
        """Return the rule that plain JSON describes. Raises Invalid."""
        known = [each.name for each in fields(cls)]
        if not isinstance(data, Mapping) or "metric" not in data:
            raise Invalid("alerts", f"{data!r} is not a rule; name its metric")
        for name in data.keys() - set(known):
            raise Invalid(f"alerts.{name}", f"is not part of a rule, which has {', '.join(known)}")
        return cls(**data)

    def limit(self, development: Any) -> float | None:
        """Return what the metric has to reach, None if it is not known."""
        if self.threshold is not None:
            return self.threshold
        if isinstance(development, bool) or not isinstance(development, int | float):
            return None
        return development - (self.margin or 0) * (1 if self.goal == "max" else -1)

    def missed(self, recent: Sequence[Mapping[str, Any]], limit: float) -> bool | None:
        """Return whether the newest values all miss the limit, None if there are too few to tell."""
        last = recent[: self.periods]
        sign = 1 if self.goal == "max" else -1
        missing = [sign * (each["value"] - limit) < 0 for each in last]
        if not missing or (all(missing) and len(missing) < self.periods):
            return None
        return all(missing)


def problems(rules: Any) -> Iterator[str]:
    """Yield what is wrong with the rules in a deployment's attribute `alerts`."""
    if rules is not None and not isinstance(rules, list):
        yield "alerts: is not a list of rules"
    for each in rules if isinstance(rules, list) else ():
        try:
            Rule.from_json(each)
        except (Invalid, TypeError) as error:
            yield str(error)


def evaluate(store: Store, keys: Sequence[str], collected: Iterable[AlertChange] = ()) -> list[AlertChange]:
    """Judge deployments, by their keys, by the rules in their attribute `alerts`; return what was raised and cleared.

    That is by this collection, or by an earlier attempt of the same task, whose answer may be lost. What counts are the
    newest figures in the graph, so that neither the order of collections nor a repetition matters. An alert is a node
    of its own, revised when it changes; one whose rule is gone, or whose deployment ended, is cleared. `collected` are
    changes that the collection itself brings. Two requests, and one for each 1,000 alerts.
    """
    known = {each["key"]: each for each in watched(store, keys)} if keys else {}
    found = [(key, change) for key, each in known.items() for change in _changes(each)]
    tags = {each["tag"]: key for key, each in known.items()}
    found += [(tags[change["deployment"]], change) for change in collected if change["deployment"] in tags]
    news = [(key, change) for key, change in found if _is_news(change, known[key]["known"])]
    stages = [_stage(key, change) for key, change in news]
    store.write_many(stages, on_conflict="revise", reason="evaluated at collection", resume=False)
    earlier = _changed_earlier(known.values(), task_of(store.provenance))
    told = {(change["deployment"], change["rule"]) for _, change in news}
    return [
        *(change for _, change in news),
        *(change for change in earlier if (change["deployment"], change["rule"]) not in told),
    ]


def _changed_earlier(deployments: Iterable[Mapping[str, Any]], task: Document | None) -> Iterator[AlertChange]:
    """Yield the alerts that a task changed in an earlier attempt, and nobody since."""
    for deployment in deployments if task is not None else ():
        for alert in deployment["known"]:
            if {**alert["provenance"], **(task or {})} == alert["provenance"]:
                stored = {name: alert.get(name) for name in AlertChange.__annotations__}
                yield AlertChange(**{**stored, "deployment": deployment["tag"]})  # type: ignore[typeddict-item]


def _is_news(change: AlertChange, known: Sequence[Document]) -> bool:
    """Return whether an alert is not as it is stored; one that was never raised need not be cleared."""
    state = next((alert["state"] for alert in known if alert["rule"] == change["rule"]), "cleared")
    return bool(state != change["state"])


def _changes(deployment: Mapping[str, Any]) -> Iterator[AlertChange]:
    """Yield what the rules of a deployment say now."""
    seen = set()
    for each in deployment["rules"]:
        try:
            rule = Rule.from_json(each["rule"])
        except (Invalid, TypeError):
            continue  # it was said when the deployment was collected
        seen.add(rule.name)
        limit = rule.limit(each["development"])
        missed = rule.missed(each["recent"], limit) if limit is not None else None
        if missed is not None and deployment["status"] != "archived":
            newest = each["recent"][0]
            yield AlertChange(
                deployment=deployment["tag"],
                rule=rule.name,
                state="raised" if missed else "cleared",
                since=each["recent"][rule.periods - 1]["start"] if missed else newest["start"],
                metric=rule.metric,
                value=newest["value"],
                threshold=limit,
                message=f"{rule.metric} is {newest['value']:g}, the limit {limit:g}",
            )
    for alert in deployment["known"]:
        gone = alert["rule"] not in seen and alert.get("metric") is not None
        if gone or deployment["status"] == "archived":
            message = "the deployment has ended" if deployment["status"] == "archived" else "the rule is gone"
            yield AlertChange(
                deployment=deployment["tag"],
                rule=alert["rule"],
                state="cleared",
                since=alert["since"],
                metric=alert.get("metric"),
                value=None,
                threshold=None,
                message=message,
            )


def of_collection(
    monitored: Mapping[str, Iterable[str]], faults: Sequence[FaultRow], since: str
) -> Iterator[AlertChange]:
    """Yield whether each source told all of each deployment: an alert by the name of the source, and what it is."""
    of_all = {row["source"]: row for row in faults if row["deployment"] is None}
    of_one = {(row["source"], row["deployment"]): row for row in faults}
    for source, tags in monitored.items():
        for tag in tags:
            fault = of_one.get((source, tag)) or of_all.get(source)
            yield AlertChange(
                deployment=tag,
                rule=f"collected from {source}",
                state="raised" if fault else "cleared",
                since=fault["period_start"] if fault else since,
                metric=None,
                value=None,
                threshold=None,
                message=fault["message"] if fault else "all is told",
            )


def _stage(key: str, change: AlertChange) -> Stage:
    stage = Stage()
    facts: dict[str, Any] = {**change, "deployment": key}
    node = stage.add("Alert", {name: value for name, value in facts.items() if value is not None})
    stage.link("deployment_alert", {"_id": f"deployment/{key}"}, node, {"since": change["since"]})
    return stage
