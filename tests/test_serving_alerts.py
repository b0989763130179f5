"""Alerts: raised once, cleared once, by rules on the deployment, whatever order or how often is collected."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from arangopipe_ops import stages
from arangopipe_ops.errors import Invalid
from arangopipe_ops.serving import Fault, Period, Report, Row, Rule, Source, collect, periods
from arangopipe_ops.store import Store

DAYS = list(periods("2026-01-01", "2026-01-21", "1d"))


def start(day: int) -> str:
    return f"{DAYS[day].start:%Y-%m-%dT%H:%M:%S}.000Z"


def deployed(store: Store, *rules: Any, tag: str = "d") -> None:
    """Register a deployment with rules, of a run that had an accuracy of 0.9."""
    store.write_many([stages.register_project("p"), stages.register_model("m", project="p")])
    store.write_many([stages.log_run("r", model="m", params={}, metrics={"accuracy": 0.9})])
    store.write(
        stages.register_deployment(tag, project="p", model="m", run="r", environment=tag, alerts=list(rules)),
        on_conflict="revise",
    )


def told(values: Sequence[float | None], days: Sequence[Period] = DAYS) -> Source:
    """A source that knows the accuracy of the first days; None is a day of which it knows nothing."""
    known = dict(zip(days, values, strict=False))

    def read(periods: Sequence[Period], deployments: Sequence[str]) -> list[Row]:
        given = [(name, day, known.get(day)) for name in deployments for day in periods]
        return [Row(name, day, {"accuracy": value}) for name, day, value in given if value is not None]

    return Source("python", "tests", {"call": read})


def changes(report: Report) -> list[tuple[str, str, str]]:
    return [(each["rule"], each["state"], each["since"]) for each in report["alerts"]]


def test_an_alert_is_raised_once_and_cleared_once(store: Store) -> None:
    """Day after day, each collected twice, an alert is raised when the limit is missed and cleared when it is not."""
    deployed(store, {"metric": "accuracy", "threshold": 0.8})
    values = [0.9, 0.7, 0.6, 0.85, 0.9, 0.5]
    heard = []
    for day in range(len(values)):
        for _ in range(2):
            heard += changes(collect(store, DAYS[day : day + 1], [told(values)]))
    assert heard == [
        ("accuracy limit", "raised", start(1)),
        ("accuracy limit", "cleared", start(3)),
        ("accuracy limit", "raised", start(5)),
    ]
    [alert] = store.search("Alert")["nodes"]
    assert (alert["state"], alert["since"], alert["value"], alert["threshold"]) == ("raised", start(5), 0.5, 0.8)
    assert alert["message"] == "accuracy is 0.5, the limit 0.8"
    events = store.history(alert["_id"])
    assert len(events) == 3
    assert alert["_id"] in [node["_id"] for node in store.lineage("d", kind="Deployment")["nodes"]]


def test_several_periods_in_a_row(store: Store) -> None:
    """A rule about three periods is raised by the third in a row, since the first of them."""
    deployed(store, {"metric": "accuracy", "threshold": 0.8, "periods": 3, "name": "bad for days"})
    values = [0.9, 0.7, 0.7, 0.9, 0.7, 0.7, 0.7, 0.7]
    heard = [change for day in range(8) for change in changes(collect(store, DAYS[day : day + 1], [told(values)]))]
    assert heard == [("bad for days", "raised", start(4))]


def test_drift_is_told_by_the_promoted_run(store: Store) -> None:
    """With a margin the limit is that of the run that was promoted."""
    deployed(store, {"metric": "accuracy", "margin": 0.05})
    assert changes(collect(store, DAYS[:1], [told([0.86])])) == []
    report = collect(store, DAYS[1:2], [told([None, 0.84])])
    assert changes(report) == [("accuracy drift", "raised", start(1))]
    assert report["alerts"][0]["threshold"] == pytest.approx(0.85)


def test_where_less_is_better_the_margin_is_added(store: Store) -> None:
    """Drift of a metric whose least is best is more than the promoted run had, by more than the margin."""
    deployed(store, {"metric": "accuracy", "margin": 0.05, "goal": "min"})
    assert changes(collect(store, DAYS[:1], [told([0.94])])) == []
    report = collect(store, DAYS[1:2], [told([None, 0.96])])
    assert changes(report) == [("accuracy drift", "raised", start(1))]
    assert report["alerts"][0]["threshold"] == pytest.approx(0.95)


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_collections_does_not_matter(store: Store, seed: int) -> None:
    """Whatever order days are collected in, the alert ends as the newest figures have it."""
    random_ = random.Random(seed)
    deployed(store, {"metric": "accuracy", "threshold": 0.8, "periods": 2})
    values = [random_.choice([0.7, 0.9]) for _ in range(8)]
    for day in random_.sample(range(8), 8):
        collect(store, DAYS[day : day + 1], [told(values)])
    raised = [alert for alert in store.search("Alert")["nodes"] if alert["state"] == "raised"]
    assert bool(raised) == (values[-2:] == [0.7, 0.7])
    assert collect(store, DAYS[:8], [told(values)])["alerts"] == []


def test_what_a_source_does_not_tell_is_an_alert(store: Store) -> None:
    """A deployment whose source fails has an alert that says so, once, until the source tells all again."""
    deployed(store)
    deployed(store, tag="other")

    def fails(periods: Sequence[Period], deployments: Sequence[str]) -> list[Row | Fault]:
        return [Fault("no access", "d"), Row("other", periods[0], {"accuracy": 1})]

    broken = Source("python", "tests", {"call": fails})
    assert changes(collect(store, DAYS[:1], [broken])) == [("collected from tests", "raised", start(0))]
    assert changes(collect(store, DAYS[1:2], [broken])) == []
    [alert] = store.search("Alert")["nodes"]
    assert (alert["state"], alert["message"]) == ("raised", "no access")
    assert changes(collect(store, DAYS[2:3], [told([1] * 3)])) == [("collected from tests", "cleared", start(2))]
    dead = Source("python", "tests", {"call": lambda *_: 1 / 0})
    assert len(collect(store, DAYS[3:4], [dead])["alerts"]) == 2
    assert len(collect(store, DAYS[3:4], [told([1] * 4)])["alerts"]) == 2


def test_alerts_end_with_their_rule_and_their_deployment(store: Store) -> None:
    """An alert whose rule is taken away is cleared, and so are those of a deployment that ended; none stays behind."""
    deployed(store, {"metric": "accuracy", "threshold": 0.8, "name": "a"}, {"metric": "accuracy", "threshold": 0.7})
    assert len(collect(store, DAYS[:1], [told([0.1])])["alerts"]) == 2
    deployed(store, {"metric": "accuracy", "threshold": 0.7})
    report = collect(store, DAYS[:1], [told([0.1])])
    assert [(each["rule"], each["state"], each["message"]) for each in report["alerts"]] == [
        ("a", "cleared", "the rule is gone")
    ]
    store.retire("d")
    report = collect(store, DAYS[:1], [told([0.1])])
    assert [(each["rule"], each["message"]) for each in report["alerts"]] == [
        ("accuracy limit", "the deployment has ended")
    ]


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"threshold": 1}, "name its metric"),
        ({"metric": "x"}, "give one of them"),
        ({"metric": "x", "threshold": 1, "margin": 1}, "give one of them"),
        ({"metric": "x", "threshold": "1"}, "'1' is not a number"),
        ({"metric": "x", "threshold": 1, "goal": "best"}, "'best' is not max or min"),
        ({"metric": "x", "threshold": 1, "periods": 0}, "0 is not a number from 1 to 100"),
        ({"metric": "x", "treshold": 1}, "is not part of a rule"),
        ("x", "name its metric"),
    ],
)
def test_a_wrong_rule_is_a_fault(store: Store, rule: Any, says: str) -> None:
    """A rule that cannot be is a fault of the collection, which collects all the same."""
    with pytest.raises(Invalid, match=says):
        Rule.from_json(rule)
    deployed(store, rule)
    report = collect(store, DAYS[:1], [told([0.9])])
    assert report["created"] == 1
    [fault] = report["faults"]
    assert (fault["deployment"], fault["source"]) == ("d", "alerts")
    assert says in fault["message"]


def test_alerts_cost_no_request_where_there_are_none(store: Store, requests_of: Any) -> None:
    """Without rules, alerts and faults a collection asks nothing about them; with them it is two requests more."""
    deployed(store)
    requests = requests_of(store.db)
    collect(store, DAYS[:1], [told([0.9])])
    assert len(requests) == 2
    deployed(store, {"metric": "accuracy", "threshold": 0.8})
    before = len(requests)
    collect(store, DAYS[1:2], [told([0.1, 0.1])])
    assert len(requests) - before == 4


def test_alerts_are_facts_of_their_deployment(store: Store) -> None:
    """Alerts go when their deployment is deleted; its lineage shows the newest one."""
    deployed(store, {"metric": "accuracy", "threshold": 0.8}, {"metric": "accuracy", "threshold": 0.9, "name": "other"})
    collect(store, DAYS[:1], [told([0.85])])
    collect(store, DAYS[1:2], [told([0.85, 0.5])])
    shown = [node for node in store.lineage("d", kind="Deployment")["nodes"] if node["kind"] == "Alert"]
    assert [alert["name"] for alert in shown] == ["accuracy limit"]
    store.retire("d")
    store.delete(store.plan_deletion("d", "Deployment"))
    assert store.counts()["alert"] == 0


def test_an_attempt_tells_what_an_earlier_one_changed(store: Store) -> None:
    """What a task raised or cleared is told by all its attempts, wherever they run, and by no other task or process."""
    deployed(store, {"metric": "accuracy", "threshold": 0.8})
    deployed(store, tag="other")
    task = {"through": "airflow", "dag_id": "serving", "run_id": "1 January", "task_id": "collect", "map_index": -1}
    dead = Source("python", "dead", {"call": lambda *_: 1 / 0})

    def attempt(*sources: Source, day: int = 0, **provenance: Any) -> list[tuple[str, str, str]]:
        worker = Store(store.db, provenance=provenance)
        return sorted(changes(collect(worker, DAYS[day : day + 1], sources, only_missing=True)))

    first = attempt(told([0.5]), dead, host="one", **task)
    failing = [("collected from dead", "raised", start(0))] * 2
    assert first == [("accuracy limit", "raised", start(0)), *failing]
    assert attempt(told([0.5]), dead, host="two", **task) == first
    assert attempt(told([0.5]), dead) == attempt(told([0.5]), dead, through="python", job="nightly") == []
    assert attempt(told([0.5]), dead, **task | {"run_id": "2 January"}) == []
    recovered = Source("python", "dead", {"call": lambda days, names: [Row(name, days[0], {"x": 1}) for name in names]})
    last = attempt(told([0.5]), recovered, **task)
    assert last == [("accuracy limit", "raised", start(0)), *[("collected from dead", "cleared", start(0))] * 2]
    assert attempt(told([0.5]), recovered, **task) == last
    assert attempt(told([0.5, 0.9]), day=1) == [("accuracy limit", "cleared", start(1))]
    assert attempt(told([0.5]), recovered, **task) == last[1:]
