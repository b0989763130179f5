"""What was used for a task, and what an attribute gains, as the demonstration data was made to say."""

from datetime import UTC, datetime
from statistics import mean, stdev
from typing import Any

import pytest
from demonstration import RUNS, TASK, ask, best, demo, iso, of_task

from arangopipe_ops import stages
from arangopipe_ops.analytics.demo import NOISE, TASKS
from arangopipe_ops.analytics.tasks import sign_test
from arangopipe_ops.store import Store

__all__ = ["demo"]


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


def test_a_run_counts_once(store: Store) -> None:
    """A run of two models, which reads a data set in three ways, is one run in every question; an archived one none."""
    first, last, later = (f"2026-01-0{day}T00:00:00.000Z" for day in (1, 2, 3))
    store.write(stages.register_project("p"))
    store.write(stages.register_dataset("d"))
    for name in "fg":
        known = {"transformation": "log", "selection": "lasso"}
        store.write(stages.register_featureset(name, dataset="d", features=[name], **known))
    for model in "ab":
        store.write(stages.register_model(model, project="p", task="t", technique="x"))
        for run, start, value in (("gone", later, 0.9), ("twice", last, 0.8)):
            facts = {"dataset": "d", "featureset": ["f", "g"], "metrics": {"q": value}, "start": start}
            store.write(stages.log_run(run, model=model, **facts))
    store.write(stages.log_run("once", model="a", dataset="d", metrics={"q": 0.7}, start=first))
    store.archive("gone", "Run")
    [row] = ask(store, "techniques", task="t", metric="q")
    assert (row["models"], row["runs"], row["last_run"], row["best_run"]) == (2, 2, last, "twice")
    for question in ("transformations", "selections"):
        [row] = ask(store, question, task="t")
        assert (row["featuresets"], row["models"], row["runs"], row["last_run"]) == (["f", "g"], 2, 1, last)
    [row] = ask(store, "datasets-used", task="t")["rows"]
    assert (row["models"], row["runs"], row["first_run"], row["last_run"]) == (["a", "b"], 2, first, last)
    for chosen in ({}, {"dataset": "d"}):
        rows = ask(store, "influence", **chosen)
        assert [(row["model"], row["runs"], row["last_run"]) for row in rows] == [("a", 2, last), ("b", 1, last)]
    assert ask(store, "influence", model="b") == ask(store, "influence", model="b", dataset="d") == rows[1:]
    row = ask(store, "summary", project="p")
    assert (row["datasets"], row["featuresets"], row["runs"], row["last_run"]) == (1, 2, 2, last)
    assert row["runs_by_status"] == {"completed": 2}


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
