"""Every question answers what the demonstration data was made to say, in one request, whoever wrote the graph."""

import inspect
import json
import os
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest
from conftest import dump, provisioned
from hypothesis import given, settings
from hypothesis import strategies as st

from arangopipe_ops import stages
from arangopipe_ops.admin import provision
from arangopipe_ops.analytics import QUESTIONS, DemoRun, demo_runs, demo_serving, demo_stages, performance
from arangopipe_ops.analytics.coverage import covered
from arangopipe_ops.analytics.demo import DEGRADATION, END, NOISE, PERIOD, TASKS
from arangopipe_ops.analytics.tasks import sign_test
from arangopipe_ops.connection import connect
from arangopipe_ops.errors import Invalid, NotFound
from arangopipe_ops.model import sure_key
from arangopipe_ops.store import Store

PROJECTS = 3
SHAPE = {"seed": 7, "projects": PROJECTS, "periods": 22}
RUNS = list(demo_runs(**SHAPE))
TASK = TASKS[0]


def ask(store: Store, question: str, **arguments: Any) -> Any:
    """Put a question, and see that its answer is plain JSON."""
    answer = QUESTIONS[question](store, **arguments)
    assert json.loads(json.dumps(answer)) == answer
    return answer


def iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def of_task(task: str) -> list[DemoRun]:
    return [run for run in RUNS if run.task == task]


def best(runs: list[DemoRun]) -> DemoRun:
    return max((run for run in runs if run.metrics), key=lambda run: run.metrics["accuracy"])


def fill(url: str) -> None:
    store = Store(provisioned(url))
    for stage in demo_stages(**SHAPE):
        store.write(stage)


@pytest.fixture
def demo(filled_by: Any) -> Store:
    return Store(filled_by(fill))


ARGUMENTS: dict[str, dict[str, Any]] = {
    "techniques": {"task": TASK.task, "metric": "accuracy"},
    "transformations": {"task": TASK.task},
    "selections": {"task": TASK.task},
    "attribute-gain": {"attribute": TASK.attribute, "dataset": TASK.dataset, "metric": "accuracy"},
    "datasets-used": {"task": TASK.task, "since": "2024-01-01"},
    "influence": {},
    "model-at": {"model": f"{TASK.task} by random forest", "at": "2024-01-01"},
    "best-run": {"metric": "accuracy", "project": TASK.project, "where": {"params.depth": {">": 3}}},
    "summary": {"project": TASK.project},
    "serving": {"metric": "accuracy", "project": TASK.project, "every": "month"},
    "serving-drift": {"metric": "accuracy", "project": TASK.project},
    "live": {"at": "2999-01-01", "project": TASK.project},
}
NAMED = [
    ("attribute-gain", "dataset"),
    ("influence", "dataset"),
    ("influence", "model"),
    ("model-at", "model"),
    ("best-run", "project"),
    ("summary", "project"),
    ("serving", "project"),
    ("serving", "deployment"),
    ("serving-drift", "project"),
    ("serving-drift", "deployment"),
    ("live", "project"),
]
"""The arguments that name a node."""


def test_each_question_is_one_request(demo: Store, requests_of: Any) -> None:
    """However many rows come back, a question is one request that carries one statement."""
    requests = requests_of(demo.db)
    for number, (question, arguments) in enumerate(ARGUMENTS.items(), start=1):
        assert ask(demo, question, **arguments), question
        assert len(requests) == number, question
    assert ARGUMENTS.keys() == QUESTIONS.keys()


@pytest.mark.skipif("ARANGO_URL" in os.environ, reason="reads the statistics of the embedded client")
@pytest.mark.parametrize("question", [q for q in QUESTIONS if q not in ("influence", "live")])
def test_questions_scan_no_collection(demo: Store, requests_of: Any, question: str) -> None:
    """What a question names is found by an index, and so is the rest from there."""
    requests = requests_of(demo.db)
    ask(demo, question, **ARGUMENTS[question])
    assert requests.answers[0]["extra"]["stats"]["scannedFull"] == 0
    assert requests.answers[0]["extra"]["warnings"] == []


def test_an_empty_graph_gives_no_rows(store: Store) -> None:
    """Questions about values have empty answers in an empty graph; those that name a node say that it is missing."""
    required = {"summary", "attribute-gain", "model-at"}
    for question in QUESTIONS.keys() - required - {"datasets-used"}:
        plain = {name: value for name, value in ARGUMENTS[question].items() if name not in ("project", "dataset")}
        assert ask(store, question, **plain) == [], question
    assert ask(store, "datasets-used", task="x")["rows"] == []
    for question in required:
        with pytest.raises(NotFound):
            ask(store, question, **ARGUMENTS[question])


@pytest.mark.parametrize(("question", "argument"), NAMED)
def test_an_unknown_name_is_said(demo: Store, question: str, argument: str) -> None:
    """A name that no node has is NotFound, and the message has the name and what it should have been."""
    arguments = {name: value for name, value in ARGUMENTS[question].items() if name != "project"}
    with pytest.raises(NotFound, match=f"{argument.capitalize()} 'Größe ☕'"):
        ask(demo, question, **{**arguments, argument: "Größe ☕"})


@pytest.mark.parametrize(
    ("question", "arguments", "named"),
    [
        ("best-run", {"goal": "most"}, "goal"),
        ("best-run", {"limit": 0}, "limit"),
        ("best-run", {"since": "last year"}, "since"),
        ("best-run", {"where": {"status": {"~": 1}}}, "where.status"),
        ("serving", {"every": "fortnight"}, "every"),
        ("serving", {"deployment": "x"}, "deployment"),
        ("serving-drift", {"goal": "most"}, "goal"),
    ],
)
def test_a_wrong_argument_is_named(store: Store, question: str, arguments: dict[str, Any], named: str) -> None:
    """An argument that cannot be is refused by its name."""
    with pytest.raises(Invalid, match=named):
        ask(store, question, **{**ARGUMENTS[question], **arguments})


def test_every_question_documents_itself() -> None:
    """A docstring begins with the question and names every argument; all but conditions are plain values."""
    for name, question in QUESTIONS.items():
        said = inspect.getdoc(question) or ""
        assert said.splitlines()[0].endswith("?"), name
        for parameter in list(inspect.signature(question).parameters.values())[1:]:
            words = str(parameter.annotation)
            if parameter.name != "where":
                assert not [word for word in ("dict", "list", "Mapping") if word in words], (name, parameter)
            assert parameter.name in said, (name, parameter.name)


def test_every_column_is_documented(demo: Store) -> None:
    """Each column of an answer stands in the docstring of its question."""
    for name, arguments in ARGUMENTS.items():
        answer = ask(demo, name, **arguments)
        row = answer if isinstance(answer, dict) else answer[0]
        said = inspect.getdoc(QUESTIONS[name]) or ""
        assert [column for column in row if column not in said] == [], name


# --- what was used


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.project)
def test_techniques(demo: Store, task: Any) -> None:
    """Each technique of a task comes with its runs, project, newest run and best metric."""
    rows = ask(demo, "techniques", task=task.task, metric="accuracy")
    assert {row["technique"] for row in rows} == set(task.techniques)
    for row in rows:
        runs = [run for run in of_task(task.task) if run.technique == row["technique"]]
        top = best(runs)
        assert row["models"] == 1
        assert row["runs"] == len(runs)
        assert row["projects"] == [task.project]
        assert row["last_run"] == iso(max(run.start for run in runs))
        assert (row["best"], row["best_run"]) == (top.metrics["accuracy"], top.run_id)


def test_the_best_of_a_technique_can_be_the_least(demo: Store) -> None:
    """With the goal min the best value is the smallest."""
    rows = ask(demo, "techniques", task=TASK.task, metric="seconds", goal="min")
    assert {row["best"] for row in rows} == {min(run.metrics["seconds"] for run in of_task(TASK.task) if run.metrics)}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.project)
@pytest.mark.parametrize(
    ("question", "attribute"), [("transformations", "transformation"), ("selections", "selection")]
)
def test_feature_engineering(demo: Store, task: Any, question: str, attribute: str) -> None:
    """Each transformation and selection method comes with the feature sets, models and runs that used it."""
    rows = ask(demo, question, task=task.task)
    wanted = {getattr(run, attribute) for run in of_task(task.task)}
    assert {row[attribute] for row in rows} == wanted
    for row in rows:
        runs = [run for run in of_task(task.task) if getattr(run, attribute) == row[attribute]]
        assert row["featuresets"] == sorted({run.featureset for run in runs}, key=row["featuresets"].index)
        assert row["models"] == len({run.model for run in runs})
        assert row["runs"] == len(runs)


def test_datasets_used_in_a_period(demo: Store) -> None:
    """The data sets of a task in a year are those that its runs of that year read."""
    inside = [run for run in of_task(TASK.task) if run.start.year == 2024]
    answer = ask(demo, "datasets-used", task=TASK.task, since="2024-01-01", until=datetime(2025, 1, 1, tzinfo=UTC))
    assert answer["datasets"] == 1
    assert answer["versions"] == len({run.version for run in inside})
    for row in answer["rows"]:
        runs = [run for run in inside if run.version == row["version"]]
        assert row["dataset"] == TASK.dataset
        assert row["runs"] == len(runs)
        assert row["models"] == sorted({run.model for run in runs})
        assert (row["first_run"], row["last_run"]) == tuple(iso(f(r.start for r in runs)) for f in (min, max))
    assert ask(demo, "datasets-used", task=TASK.task, until="2000-01-01")["rows"] == []


def test_influence(demo: Store) -> None:
    """Every data set version and model with a run in common are a row, with the runs and deployments they share."""
    for chosen in ({}, {"dataset": TASKS[1].dataset}, {"model": RUNS[0].model}):
        keys = {(run.dataset, run.version, run.model) for run in RUNS}
        keys = {key for key in keys if chosen in ({}, {"dataset": key[0]}, {"model": key[2]})}
        rows = ask(demo, "influence", **chosen)
        assert {(row["dataset"], row["dataset_version"], row["model"]) for row in rows} == keys
        for row in rows:
            shared = [r for r in RUNS if (r.dataset, r.version, r.model) == tuple(row[k] for k in ROW)]
            assert row["runs"] == len(shared)
            own = [run for run in RUNS if run.project == shared[0].project]
            tags = {"v1": best([run for run in own if run.version == "1"]), "v2": best(own)}
            assert row["deployments"] == sum(run in shared for run in tags.values())
            assert row["active"] == ([f"{own[0].project} v2"] if tags["v2"] in shared else [])
    assert ask(demo, "influence", dataset=TASK.dataset, model=TASKS[1].task + " by ARIMA") == []


ROW = ("dataset", "dataset_version", "model")


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.project)
def test_attribute_gain(demo: Store, task: Any) -> None:
    """The planted gain of an attribute is found, no gain is not called one, and a loss is a loss."""
    row = ask(demo, "attribute-gain", attribute=task.attribute, dataset=task.dataset, metric="accuracy")
    pairs: dict[Any, dict[str, float]] = {}
    for run in of_task(task.task):
        if run.metrics:
            key = (run.model, *run.params.values())
            pairs.setdefault(key, {})[run.version] = run.metrics["accuracy"]
    gains = [pair["2"] - pair["1"] for pair in pairs.values() if len(pair) == 2]
    wins = sum(gain > 0 for gain in gains)
    assert (row["pairs"], row["wins"], row["losses"]) == (len(gains), wins, len(gains) - wins)
    assert row["mean_gain"] == pytest.approx(mean(gains))
    assert row["mean_gain"] == pytest.approx(task.gain, abs=2 * NOISE)
    assert row["deviation"] == pytest.approx(stdev(gains))
    assert row["effect_size"] == pytest.approx(mean(gains) / stdev(gains))
    assert row["share_of_wins"] == pytest.approx(wins / len(gains))
    assert row["p_value"] == pytest.approx(sign_test(wins, len(gains) - wins))
    assert row["consistent"] is (task.gain > 0)
    worse = ask(demo, "attribute-gain", attribute=task.attribute, dataset=task.dataset, metric="accuracy", goal="min")
    assert worse["mean_gain"] == pytest.approx(-mean(gains))
    assert worse["consistent"] is (task.gain < 0)


def test_attribute_gain_pairs_by_the_named_parameters(demo: Store) -> None:
    """With `same`, only the named parameters make two runs a pair, and several runs of one side count by their mean."""
    row = ask(
        demo, "attribute-gain", attribute=TASK.attribute, dataset=TASK.dataset, metric="accuracy", same="depth, seed"
    )
    assert row["pairs"] == len({(run.model, run.params["depth"]) for run in of_task(TASK.task)})
    nothing = ask(demo, "attribute-gain", attribute="unheard of", dataset=TASK.dataset, metric="accuracy")
    assert (nothing["pairs"], nothing["mean_gain"], nothing["p_value"]) == (0, None, 1.0)
    assert nothing["consistent"] is False


def test_the_sign_test_is_scipys() -> None:
    """The exact p-value is that of SciPy's binomial test."""
    stats = pytest.importorskip("scipy.stats")
    for wins, losses in ((0, 0), (1, 0), (5, 0), (6, 0), (13, 7), (7, 13), (50, 50), (300, 20)):
        expected = stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
        assert sign_test(wins, losses) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("with_", "without"),
    [
        ({"schema": {"a": "int", "b": "int"}}, {"schema": {"a": "int"}}),
        ({"schema": ["a", "b"]}, {"schema": ["a"]}),
        ({"columns": [{"name": "a"}, {"name": "b"}]}, {"columns": [{"name": "a"}]}),
    ],
)
def test_an_attribute_is_found_in_each_shape_of_a_schema(store: Store, with_: Any, without: Any) -> None:
    """Columns may be listed, be keys of a mapping, or be described one by one."""
    store.write(stages.register_project("p"))
    store.write(stages.register_model("m", project="p"))
    for version, shape, value in (("1", without, 1), ("2", with_, 3)):
        store.write(stages.register_dataset("d", version=version, **shape))
        read = {"name": "d", "version": version}
        store.write(stages.log_run(version, model="m", dataset=read, params={"x": 1}, metrics={"q": value}))
    row = ask(store, "attribute-gain", attribute="b", dataset="d", metric="q")
    assert (row["pairs"], row["wins"], row["mean_gain"], row["effect_size"]) == (1, 1, 2, None)


# --- performance


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


def now(store: Store) -> str:
    """Return the database's clock, in a millisecond of its own."""
    time.sleep(0.003)
    [at] = store.query("RETURN DATE_ISO8601(DATE_NOW())")
    time.sleep(0.003)
    return str(at)


# --- what the original wrote


@pytest.fixture
def original(store: Store) -> Store:
    """A data base as the original Arangopipe fills it: no versions, digests, times or promoted runs, and old names."""
    rows: dict[str, list[dict[str, Any]]] = {
        "project": [{"_key": "11", "name": "Housing"}],
        "models": [{"_key": "21", "name": "Housing Model", "type": "LASSO regression", "task": "pricing"}],
        "project_models": [{"_key": "11-21", "_from": "project/11", "_to": "models/21"}],
    }
    for i, columns in enumerate(({"lat": "float"}, {"lat": "float", "income": "float"})):
        run, at = f"run-{i}", f"2020-0{i + 1}-01"
        facts = {"_key": run, "run_id": run}
        for collection, document in (
            ("datasets", {"_key": f"3{i}", "name": f"Housing {i}", "tag": "t"}),
            ("featuresets", {"_key": f"4{i}", "name": f"log {i}", "generated_by": "log pipeline", **columns}),
            ("run", {**facts, "timestamp": f"{at} 12:00:00.123456", "deployment_tag": f"dep {i}"}),
            ("modelparams", {**facts, "alpha": 0.1}),
            ("devperf", {**facts, "timestamp": f"{at} 12:00:00.123456", "rmse": 0.3 - i / 10}),
            ("deployment", {"_key": f"5{i}", "tag": f"dep {i}"}),
            ("servingperf", {"_key": f"6{i}", "rmse": 0.4, "period": f"{at} to 2019-12-01"}),
        ):
            rows.setdefault(collection, []).append(document)
        for edge, source, sink in (
            ("featureset_dataset", f"featuresets/4{i}", f"datasets/3{i}"),
            ("run_models", "models/21", f"run/{run}"),
            ("run_datasets", f"run/{run}", f"datasets/3{i}"),
            ("run_featuresets", f"run/{run}", f"featuresets/4{i}"),
            ("run_modelparams", f"run/{run}", f"modelparams/{run}"),
            ("run_devperf", f"run/{run}", f"devperf/{run}"),
            ("deployment_model", f"deployment/5{i}", "models/21"),
            ("deployment_modelparams", f"deployment/5{i}", f"modelparams/{run}"),
            ("deployment_servingperf", f"deployment/5{i}", f"servingperf/6{i}"),
        ):
            key = "-".join(end.partition("/")[2] for end in (source, sink))
            rows.setdefault(edge, []).append({"_key": key, "_from": source, "_to": sink})
    for name, documents in rows.items():
        store.db.collection(name).insert_many(documents, raise_on_document_error=True)
    return store


def test_questions_of_an_original_data_base(original: Store) -> None:
    """Its edges, timestamps and own attribute names answer where ours are not there."""
    [technique] = ask(original, "techniques", task="pricing", metric="rmse", goal="min")
    assert (technique["technique"], technique["runs"], technique["best_run"]) == ("LASSO regression", 2, "run-1")
    assert technique["last_run"] == "2020-02-01T12:00:00.123456"
    [transformation] = ask(original, "transformations", task="pricing")
    assert (transformation["transformation"], transformation["runs"]) == ("log pipeline", 2)
    assert ask(original, "selections", task="pricing") == []
    used = ask(original, "datasets-used", task="pricing", since="2020-02-01T11:00:00Z", until="2020-02-01T13:00:00Z")
    assert [row["dataset"] for row in used["rows"]] == ["Housing 1"]
    influence = ask(original, "influence", model="Housing Model")
    assert [(row["dataset"], row["runs"], row["deployments"]) for row in influence] == [
        ("Housing 0", 1, 1),
        ("Housing 1", 1, 1),
    ]
    [at] = ask(original, "model-at", model="Housing Model", at="2020-01-15")
    assert (at["run_id"], at["params"]) == ("run-0", {"alpha": 0.1})
    [run] = ask(original, "best-run", metric="rmse", goal="min", project="Housing", technique="LASSO regression")
    assert run["run_id"] == "run-1"
    summary = ask(original, "summary", project="Housing")
    assert (summary["runs_by_status"], summary["deployments_by_status"]) == ({"unknown": 2}, {"unknown": 2})
    assert summary["techniques"] == ["LASSO regression"]
    served = ask(original, "serving", metric="rmse", project="Housing", every="month")
    assert [row["start"] for row in served] == ["2020-01-01", "2020-02-01"]
    drift = ask(original, "serving-drift", metric="rmse", goal="min", project="Housing")
    assert [(row["deployment"], row["run_id"], row["below"]) for row in drift] == [
        ("dep 0", "run-0", 1),
        ("dep 1", "run-1", 1),
    ]
    assert [row["project"] for row in drift] == ["Housing", "Housing"]
    assert [row["deployment"] for row in ask(original, "live", at="2026-01-01", project="Housing")] == [
        "dep 0",
        "dep 1",
    ]
    gain = ask(original, "attribute-gain", attribute="income", dataset="Housing 1", metric="rmse", goal="min")
    assert (gain["runs_with"], gain["runs_without"]) == (1, 0)


# --- against plain Python over the documents


LOGGED = st.fixed_dictionaries(
    {
        "model": st.integers(0, 3),
        "datasets": st.sets(st.integers(0, 2)),
        "featureset": st.none() | st.integers(0, 2),
        "value": st.none() | st.floats(-1, 1) | st.integers(-2, 2),
        "day": st.integers(1, 28),
        "status": st.sampled_from(["completed", "failed"]),
    }
)


@settings(max_examples=25, deadline=None)
@given(runs=st.lists(LOGGED, max_size=12))
@pytest.mark.slow
def test_questions_agree_with_plain_python_over_the_documents(runs: list[dict[str, Any]]) -> None:
    """Whatever was logged, techniques, data sets and the best run are what a loop over all documents finds."""
    with tempfile.TemporaryDirectory() as folder:
        store = filled(Path(folder), runs)
        documents = dump(store.db)
        models = [d for id, d in documents.items() if id.startswith("models/") and d["task"] == "t"]
        links = [d for id, d in documents.items() if id.startswith("run_models/")]
        used: dict[str, set[str]] = {}
        read: dict[str, set[str]] = {}
        for link in links:
            model, run = documents[link["_from"]], documents[link["_to"]]
            if model in models:
                used.setdefault(model["technique"], set()).add(run["_id"])
                if "2026-01-10" <= run["start"][:10] < "2026-01-20":
                    for dataset in read_by(run["_id"], documents):
                        read.setdefault(documents[dataset]["name"], set()).add(run["_id"])
        rows = ask(store, "techniques", task="t")
        assert {r["technique"]: r["runs"] for r in rows} == {
            technique: len(used.get(technique, ())) for technique in {m["technique"] for m in models}
        }
        answer = ask(store, "datasets-used", task="t", since="2026-01-10", until="2026-01-20")
        assert {r["dataset"]: r["runs"] for r in answer["rows"]} == {name: len(ids) for name, ids in read.items()}
        done = [d for id, d in documents.items() if id.startswith("run/") and d["status"] == "completed"]
        values = {d["run_id"]: documents.get(f"devperf/{d['_key']}", {}).get("q") for d in done}
        best_rows = ask(store, "best-run", metric="q", limit=100)
        expected = sorted((value for value in values.values() if value is not None), reverse=True)
        assert [row["value"] for row in best_rows] == expected
        assert all(values[row["run_id"]] == row["value"] for row in best_rows)


def filled(folder: Path, runs: list[dict[str, Any]]) -> Store:
    store = Store(connect(f"embedded://{folder}/graph.db"))
    provision(store.db)
    store.write(stages.register_project("p"))
    for i in range(3):
        store.write(stages.register_dataset(f"d{i}"))
        store.write(stages.register_featureset(f"f{i}", dataset=f"d{i}"))
    for i in range(4):
        known = {"task": "tu"[i // 3], "technique": "xy"[i % 2]}
        store.write(stages.register_model(f"m{i}", project="p", **known))
    for i, run in enumerate(runs):
        stage = stages.log_run(
            f"r{i}",
            model=f"m{run['model']}",
            dataset=[f"d{k}" for k in sorted(run["datasets"])],
            featureset=None if run["featureset"] is None else f"f{run['featureset']}",
            metrics=None if run["value"] is None else {"q": run["value"]},
            start=f"2026-01-{run['day']:02}",
            status=run["status"],
        )
        store.write(stage)
    return store


def read_by(run: str, documents: dict[str, dict[str, Any]]) -> set[str]:
    edges = [d for d in documents.values() if "_from" in d]
    direct = {e["_to"] for e in edges if e["_id"].startswith("run_datasets/") and e["_from"] == run}
    sets = {e["_to"] for e in edges if e["_id"].startswith("run_featuresets/") and e["_from"] == run}
    return direct | {e["_to"] for e in edges if e["_id"].startswith("featureset_dataset/") and e["_from"] in sets}


# --- the demonstration data


def test_the_demonstration_is_deterministic() -> None:
    """The same call gives the same stages, another seed gives others."""

    def drawn(**shape: Any) -> list[Any]:
        return [(node.id, node.content) for stage in demo_stages(**shape) for node in stage.nodes]

    assert drawn() == drawn()
    assert drawn() != drawn(seed=1)
    assert len(drawn(projects=7)) > len(drawn(projects=5))


def test_archived_models_and_runs_are_left_out(demo: Store) -> None:
    """What was archived by hand no longer counts."""
    run = best(of_task(TASK.task))
    demo.archive(run.run_id, "Run")
    [row] = ask(demo, "best-run", metric="accuracy", project=TASK.project)
    assert row["run_id"] == best([other for other in of_task(TASK.task) if other is not run]).run_id
    demo.archive(run.model, "Model")
    assert run.technique not in {row["technique"] for row in ask(demo, "techniques", task=TASK.task)}


def test_down_sampling_knows_what_it_says() -> None:
    """The message about `every` names each way there is."""
    with pytest.raises(Invalid) as refused:
        performance.serving(None, "q", every="x")  # type: ignore[arg-type]
    assert all(name in str(refused.value) for name in performance.BUCKETS if name)
