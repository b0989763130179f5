"""Runs, models and deployments compared, over time too, as the demonstration data was made to say."""

import os
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from statistics import mean
from typing import Any

import pytest
from demonstration import RUNS, TASK, ask, best, demo, iso, of_task

from arangopipe_ops import stages
from arangopipe_ops.analytics import demo_serving, performance
from arangopipe_ops.analytics.coverage import covered
from arangopipe_ops.analytics.demo import DEGRADATION, END, NOISE, PERIOD, TASKS
from arangopipe_ops.analytics.deployments import standing
from arangopipe_ops.analytics.projects import activity, glance, inputs
from arangopipe_ops.errors import Invalid, NotFound
from arangopipe_ops.model import sure_key
from arangopipe_ops.store import Store

__all__ = ["demo"]


def test_best_run(demo: Store) -> None:
    """The best run of a project, task, technique or period is the one with the highest metric among its runs."""
    for chosen, runs in (
        ({}, RUNS),
        ({"project": TASK.project}, of_task(TASK.task)),
        ({"task": TASKS[1].task}, of_task(TASKS[1].task)),
        ({"technique": "ARIMA"}, [run for run in RUNS if run.technique == "ARIMA"]),
        ({"until": "2024-01-01"}, [run for run in RUNS if run.start.year < 2024]),
        ({"where": {"params.depth": {"<": 8}}, "tag": "demo"}, [run for run in RUNS if run.params["depth"] < 8]),
        ({"where": {"model.technique": "ARIMA"}}, [run for run in RUNS if run.technique == "ARIMA"]),
    ):
        [row] = ask(demo, "best-run", metric="accuracy", **chosen)
        run = best(runs)
        assert (row["run_id"], row["value"], row["at"]) == (run.run_id, run.metrics["accuracy"], iso(run.start))
        assert (row["params"], row["metrics"], row["technique"]) == (run.params, run.metrics, run.technique)
        assert [(d["name"], d["version"]) for d in row["datasets"]] == [(run.dataset, run.version)]
        assert [(f["name"], f["version"]) for f in row["featuresets"]] == [(run.featureset, run.version)]
    assert ask(demo, "best-run", metric="accuracy", tag="other") == []
    assert ask(demo, "best-run", metric="accuracy", status="failed") == []
    order = sorted((run.metrics["accuracy"] for run in RUNS if run.metrics), reverse=True)
    rows = ask(demo, "best-run", metric="accuracy", limit=1500)
    assert [row["value"] for row in rows] == order


def test_of_equal_runs_the_newest_is_best(store: Store) -> None:
    """A tie goes to the newest run, whichever was logged last."""
    store.write(stages.register_project("p"))
    store.write(stages.register_model("m", project="p"))
    for run, start in (("new", "2026-03-01"), ("old", "2026-02-01")):
        store.write(stages.log_run(run, model="m", metrics={"a": {"b": 0.5}, "text": "0.9"}, start=start))
    assert [row["run_id"] for row in ask(store, "best-run", metric="a.b", goal="min")] == ["new"]
    assert ask(store, "best-run", metric="text") == []


def test_a_model_at_a_past_time(demo: Store) -> None:
    """The model's newest run before a time tells how it was trained and how well it did."""
    own = [run for run in RUNS if run.model == RUNS[0].model]
    at = own[len(own) // 2].start + timedelta(hours=1)
    rows = ask(demo, "model-at", model=own[0].model, at=at, limit=3)
    expected = sorted((run for run in own if run.start <= at), key=lambda run: run.start, reverse=True)[:3]
    assert [(row["run_id"], row["params"], row["metrics"], row["status"]) for row in rows] == [
        (run.run_id, run.params, run.metrics, run.status) for run in expected
    ]
    assert ask(demo, "model-at", model=own[0].model, at="2000-01-01") == []


def test_summary(demo: Store) -> None:
    """A project's summary counts what the demonstration made for it."""
    for task in TASKS:
        runs = of_task(task.task)
        row = ask(demo, "summary", project=task.project)
        failed = sum(not run.metrics for run in runs)
        assert (row["models"], row["model_versions"]) == (len(task.techniques),) * 2
        assert sorted(row["techniques"]) == sorted(task.techniques)
        assert (row["datasets"], row["featuresets"]) == (2, 2 * len(task.transformations))
        assert row["runs_by_status"] == {"completed": len(runs) - failed, "failed": failed}
        assert (row["runs"], row["last_run"]) == (len(runs), iso(max(run.start for run in runs)))
        assert row["deployments_by_status"] == {"active": 1, "archived": 1}
        assert row["last_activity"] >= row["created"]


def test_a_project_at_a_glance(demo: Store, requests_of: Any) -> None:
    """What a glance counts is what the summary counts, in one request, and of what is unknown it says so."""
    requests = requests_of(demo.db)
    for task in TASKS:
        requests.sent.clear()
        found = glance(demo, task.project)
        assert len(requests) == 1
        row = ask(demo, "summary", project=task.project)
        assert (found["models"], found["versions"], found["runs"]) == (
            row["models"],
            row["model_versions"],
            row["runs"],
        )
        assert (found["tasks"], found["techniques"]) == (row["tasks"], dict.fromkeys(sorted(task.techniques), 1))
        assert found["deployments"] == row["deployments_by_status"]
        assert [demo.get(id)["tag"] for id in found["active"]] == [f"{task.project} v2"]
    with pytest.raises(NotFound, match="nowhere"):
        glance(demo, "nowhere")


def test_what_goes_on_in_projects(demo: Store, requests_of: Any) -> None:
    """For each project there is how many models it has, when the last run was registered, and what is active."""
    ids = [node["_id"] for node in demo.search("Project")["nodes"]]
    requests = requests_of(demo.db)
    found = activity(demo, [*ids, "project/none"])
    assert (len(requests), found.keys()) == (1, set(ids))
    newest = demo.search("Run", limit=1)["nodes"][0]["created"]
    assert max(each["last_run"] for each in found.values()) == newest
    for task in TASKS:
        each = found[demo.get(task.project, "Project")["_id"]]
        assert (each["models"], [d["tag"] for d in each["active"]]) == (len(task.techniques), [f"{task.project} v2"])


def test_what_runs_read(demo: Store) -> None:
    """The data sets and feature sets of runs come with how many of the runs read them."""
    runs = of_task(TASK.task)
    found = inputs(demo, [demo.get(run.run_id, "Run")["_id"] for run in runs])
    counted = {(each["node"]["name"], each["node"]["version"]): each["runs"] for each in found}
    assert counted == Counter(
        pair for run in runs for pair in ((run.dataset, run.version), (run.featureset, run.version))
    )


def test_serving_over_time(demo: Store) -> None:
    """Serving performance comes by period, or put together by year with its statistics."""
    tag = f"{TASK.project} v2"
    given = list(demo_serving(best(of_task(TASK.task)).metrics["accuracy"], seed=7))
    rows = ask(demo, "serving", metric="accuracy", deployment=tag)
    assert [(r["start"], r["end"], r["mean"], r["n"]) for r in rows] == [
        (iso(p["period_start"]), iso(p["period_end"]), p["metrics"]["accuracy"], 1) for p in given
    ]
    for row in ask(demo, "serving", metric="accuracy", deployment=tag, every="year"):
        values = [p["metrics"]["accuracy"] for p in given if str(p["period_start"].year) == row["start"][:4]]
        assert (row["n"], row["min"], row["max"]) == (len(values), min(values), max(values))
        assert row["mean"] == pytest.approx(mean(values))
        assert row["min"] <= row["p50"] <= row["p95"] <= row["max"]
    assert len(ask(demo, "serving", metric="accuracy", deployment=tag, since=END - 2 * PERIOD, until=END)) == 2
    both = ask(demo, "serving", metric="accuracy", project=TASK.project)
    assert {row["deployment"] for row in both} == {tag, f"{TASK.project} v1"}


def test_weeks_begin_on_monday(store: Store) -> None:
    """Down-sampling by week puts Monday to Sunday together, across the end of a year."""
    store.write(stages.register_project("p"))
    store.write(stages.register_model("m", project="p"))
    store.write(stages.register_deployment("d", project="p", model="m"))
    for day in range(28, 32):  # Sunday 28 December 2025 to Wednesday
        start = datetime(2025, 12, day, tzinfo=UTC)
        period = {"period_start": start, "period_end": start + timedelta(days=1)}
        store.write(stages.log_serving_perf("d", metrics={"q": day}, **period))
    rows = ask(store, "serving", metric="q", every="week")
    assert [(row["start"], row["n"], row["mean"]) for row in rows] == [("2025-12-22", 1, 28), ("2025-12-29", 3, 30)]
    assert [row["start"] for row in ask(store, "serving", metric="q", every="month")] == ["2025-12-01"]


def hourly(store: Store, hours: int) -> list[float]:
    """Store figures of so many hours from two sources, and return those of the first."""
    store.write(stages.register_project("p"))
    store.write(stages.register_model("m", project="p"))
    store.write(stages.register_deployment("d", project="p", model="m"))
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    values = [(7 * i) % 101 / 10 for i in range(hours)]
    periods = [(begin + timedelta(hours=i), begin + timedelta(hours=i + 1)) for i in range(hours)]
    store.write_many(
        stages.log_serving_perf("d", metrics={"q": q + apart}, period_start=start, period_end=end, source=name)
        for name, apart in (("first", 0), ("second", 1000))
        for q, (start, end) in zip(values, periods, strict=True)
    )
    return values


def test_serving_is_down_sampled_for_charts(store: Store) -> None:
    """Periods come in at most so many spans, each with its statistics and percentiles, in one request."""
    values = hourly(store, 240)
    for points in (1, 7, 100, 240, 1000):
        rows = ask(store, "serving", metric="q", source="first", points=points, percentiles="25,50,99.9")
        assert len(rows) <= points
        assert len(rows) > min(points, 240) / 2
        place = 0
        for row in rows:
            part = values[place : place + row["n"]]
            assert (row["min"], row["max"]) == (min(part), max(part))
            assert row["mean"] == pytest.approx(mean(part))
            ranks = {25: row["p25"], 50: row["p50"], 99.9: row["p99.9"]}
            assert ranks == {each: pytest.approx(interpolated(part, each)) for each in ranks}
            place += row["n"]
        assert place == 240
    span = {"since": "2026-01-03", "until": "2026-01-05"}
    assert sum(row["n"] for row in ask(store, "serving", metric="q", source="first", points=5, **span)) == 48
    assert [row["n"] for row in ask(store, "serving", metric="q", every="hour", **span)] == [2] * 48


def interpolated(values: list[float], percentile: float) -> float:
    """The percentile as the documentation of AQL has it: by rank p / 100 * (n + 1), between neighbours."""
    ordered, rank = sorted(values), percentile / 100 * (len(values) + 1)
    if rank < 1 or len(ordered) == 1:
        return ordered[0]
    if rank >= len(ordered):
        return ordered[-1]
    low = ordered[int(rank) - 1]
    return low + (rank - int(rank)) * (ordered[int(rank)] - low)


@pytest.mark.skipif("ARANGO_URL" in os.environ, reason="reads the statistics of the embedded client")
def test_a_range_of_serving_costs_what_is_in_it(store: Store, requests_of: Any) -> None:
    """Serving history of a range is found by the index on deployment and period, and so is what collection knows."""
    hourly(store, 240)
    requests = requests_of(store.db)
    assert len(ask(store, "serving", metric="q", deployment="d", since="2026-01-10T22:00:00Z")) == 2
    covered(store, [sure_key("Deployment", "d")], "2026-01-10T22:00:00.000Z", "2026-01-11T00:00:00.000Z", "first")
    for answer in requests.answers:
        statistics = answer["extra"]["stats"]
        assert statistics["scannedFull"] == 0
        assert statistics["scannedIndex"] < 20


@pytest.mark.parametrize(
    "wrong",
    [
        {"points": 0},
        {"points": 3, "every": "day"},
        {"percentiles": "0"},
        {"percentiles": "50,101"},
        {"percentiles": "x"},
    ],
)
def test_wrong_ways_to_put_periods_together_are_refused(wrong: dict[str, Any]) -> None:
    """What is no number of points and no percentile, and two ways at once, are Invalid."""
    with pytest.raises(Invalid):
        performance.serving(None, "q", **wrong)  # type: ignore[arg-type]


def test_serving_drift(demo: Store) -> None:
    """The planted degradation shows: from half of the periods on serving is below development, and it falls."""
    rows = {row["deployment"]: row for row in ask(demo, "serving-drift", metric="accuracy")}
    assert rows.keys() == {f"{task.project} {tag}" for task in TASKS for tag in ("v1", "v2")}
    for task in TASKS:
        run = best(of_task(task.task))
        given = list(demo_serving(run.metrics["accuracy"], seed=7))
        values = [period["metrics"]["accuracy"] for period in given]
        row = rows[f"{task.project} v2"]
        assert (row["project"], row["status"], row["run_id"]) == (task.project, "active", run.run_id)
        assert row["development"] == run.metrics["accuracy"]
        assert row["serving"] == pytest.approx(mean(values))
        assert row["difference"] == pytest.approx(mean(values) - run.metrics["accuracy"])
        assert row["relative"] == pytest.approx(mean(values) / run.metrics["accuracy"] - 1)
        assert (row["latest"], row["periods"], row["below"]) == (values[-1], 22, 11)
        assert row["first_below"] == iso(given[11]["period_start"])
        slope = stats_slope([30.0 * i for i in range(22)], values)
        assert row["trend"] == pytest.approx(slope)
        assert row["trend"] < 0
        assert rows[f"{task.project} v1"]["below"] == 0
    [later] = ask(demo, "serving-drift", metric="accuracy", deployment=f"{TASK.project} v2", margin=3 * DEGRADATION)
    assert later["below"] == 8
    [cost] = ask(demo, "serving-drift", metric="accuracy", deployment=f"{TASK.project} v2", goal="min", margin=NOISE)
    assert cost["below"] == 0


def stats_slope(xs: list[float], ys: list[float]) -> float:
    over = sum((x - mean(xs)) * (y - mean(ys)) for x, y in zip(xs, ys, strict=True))
    return over / sum((x - mean(xs)) ** 2 for x in xs)


def test_what_was_live(store: Store) -> None:
    """What was active at a time is told from the audit: after promotions, retirement and deletion."""
    for project in ("p", "ж"):
        store.write(stages.register_project(project))
    store.write(stages.register_model("m", project="p"))
    times, expected = [now(store)], [[]]

    def then(*live: str) -> None:
        times.append(now(store))
        expected.append(sorted(live))

    store.write(stages.log_run("r", model="m", params={}))
    store.write(stages.register_deployment("one", project="p", model="m", run="r"), reason="first")
    then("one")
    store.write(stages.register_deployment("staged", project="p", model="m", environment="staging"))
    then("one", "staged")
    store.write(stages.register_deployment("two", project="p", model="m", status="scheduled"))
    store.write(stages.register_deployment("other", project="ж", model="m"))
    then("one", "staged", "other")
    store.promote("two", reason="better")
    then("two", "staged", "other")
    store.retire("two")
    store.delete(store.plan_deletion("two", "Deployment"))
    then("staged", "other")
    for at, tags in zip(times, expected, strict=True):
        assert sorted(row["deployment"] for row in ask(store, "live", at=at)) == tags
    assert [row["deployment"] for row in ask(store, "live", at=times[3], project="p", environment="production")] == [
        "one"
    ]
    [one] = ask(store, "live", at=times[3], project="p", environment="production")
    assert (one["run_id"], one["reason"], one["model"]) == ("r", "first", "m")
    [two] = ask(store, "live", at=times[4], environment="production", project="p")
    assert (two["deployment"], two["reason"], two["model"]) == ("two", "better", None)


def test_a_deployment_that_was_registered_again(store: Store) -> None:
    """It counts as what it was registered as last, and at a time before that as what it was then."""
    store.write(stages.register_project("p"))
    for name in ("first", "second"):
        store.write(stages.register_model(name, project="p"))
        store.write(stages.log_run(f"{name} run", model=name, metrics={"a": 0.5}))
    tags = [f"d{number}" for number in range(6)]
    times = []
    for name in ("first", "second"):
        for tag in tags:
            again = stages.register_deployment(tag, project="p", environment=tag, model=name, run=f"{name} run")
            store.write(again, on_conflict="revise")
        times.append(now(store))
    for name, at in zip(("first", "second"), times, strict=True):
        rows = ask(store, "live", at=at)
        assert [(row["deployment"], row["model"], row["run_id"]) for row in rows] == [
            (tag, name, f"{name} run") for tag in tags
        ]
    stands = [standing(store, store.get(tag, "Deployment")["_id"], 1) for tag in tags]
    assert [(each["model"]["name"], each["run"]["run_id"]) for each in stands] == [("second", "second run")] * len(tags)


def now(store: Store) -> str:
    """Return the database's clock, in a millisecond of its own."""
    time.sleep(0.003)
    [at] = store.query("RETURN DATE_ISO8601(DATE_NOW())")
    time.sleep(0.003)
    return str(at)


def test_down_sampling_knows_what_it_says() -> None:
    """The message about `every` names each way there is."""
    with pytest.raises(Invalid) as refused:
        performance.serving(None, "q", every="x")  # type: ignore[arg-type]
    assert all(name in str(refused.value) for name in performance.BUCKETS if name)
