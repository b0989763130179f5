"""Metrics that runs are ranked by, and the best runs found by them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from random import Random
from typing import Any

import pytest
from conftest import provisioned

from arangopipe_ops import stages
from arangopipe_ops.admin import doctor, extend, extension, plan, rank, ranked, unrank, withdraw
from arangopipe_ops.analytics import Policy, best_run, candidates, select_model
from arangopipe_ops.errors import Invalid
from arangopipe_ops.model import SCHEMA, Index, Stage
from arangopipe_ops.store import Store

RUNS = 120
CONDITIONS: list[dict[str, Any]] = [
    {},
    {"goal": "min"},
    {"project": "big"},
    {"project": "big", "goal": "min", "limit": 7},
    {"project": "small", "limit": 3},
    {"task": "taste", "limit": 200},
    {"technique": "forest", "limit": 4},
    {"tag": "gold", "limit": 5},
    {"status": None, "limit": 12},
    {"status": "failed"},
    {"since": "2026-03-01", "until": "2026-04-01", "limit": 4},
    {"project": "big", "where": {"params.depth": {"<": 2}}, "limit": 6},
    {"where": {"metrics.loss": {"<": 0}}, "limit": 6},
]


def runs() -> Iterator[Stage]:
    """Runs of two projects with few different values, some that are none, some archived below, some corrected."""
    random = Random(7)
    for project, technique in product(("big", "small"), ("forest", "bush")):
        yield stages.register_model(f"{project} {technique}", project=project, task="taste", technique=technique)
    for number in range(RUNS):
        project = "small" if number % 10 == 0 else "big"
        accuracy: Any = round(random.random(), 1)
        yield stages.log_run(
            f"run {number}",
            model=f"{project} {('forest', 'bush')[number % 2]}",
            params={"depth": number % 5},
            metrics={"accuracy": {0: "high", 1: None, 2: True}.get(number % 40, accuracy), "loss": random.random()},
            status="failed" if number % 7 == 0 else "completed",
            start=f"2026-0{1 + number % 9}-01T00:00:00Z",
            tag="gold" if number % 3 == 0 else None,
        )


def fill(url: str) -> None:
    store = Store(provisioned(url))
    for name in ("big", "small"):
        store.write(stages.register_project(name))
    for stage in runs():
        store.write(stage)
    best = best_run(store, "accuracy", limit=2)
    store.archive({"_id": best[0]["run"]})
    link_further(store)


@pytest.fixture
def store(filled_by: Any) -> Store:
    return Store(filled_by(fill))


def link_further(store: Store) -> None:
    """Link runs as other programs may have: some to a second model, or twice to one, some to another performance."""
    random = Random(11)
    models = sorted(model["_id"] for model in store.db.collection("models").all())
    for link in sorted(store.db.collection("run_models").all(), key=lambda link: link["_key"]):
        if random.random() < 0.3:
            add(store, "run_models", random.choice(models), link["_to"])
        if random.random() < 0.3:
            year = random.choice((2020, 2090))
            key = store.db.collection("devperf").insert({"accuracy": round(random.random(), 1) + 0.5})["_key"]
            add(store, "run_devperf", link["_to"], f"devperf/{key}", created=f"{year}-01-01T00:00:00.000Z")


def add(store: Store, edges: str, source: str, target: str, **more: str) -> None:
    store.db.collection(edges).insert({"_from": source, "_to": target, **more}, silent=True)


def answers(store: Store) -> list[Any]:
    return [best_run(store, "accuracy", **conditions) for conditions in CONDITIONS]


@pytest.mark.parametrize("window", [1, 5, 40, 1000])
def test_the_best_are_the_same_by_rank(store: Store, monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    """Whatever is asked, the answer is the same as without an index, however many of the best are looked at first."""
    expected = answers(store)
    assert all(expected[:-1])
    rank(store.db, "accuracy")
    monkeypatch.setattr(candidates, "FEW", 1)
    monkeypatch.setattr(candidates, "WINDOW", window)
    assert answers(store) == expected


def test_of_many_runs_the_best_are_found_by_index(
    store: Store, monkeypatch: pytest.MonkeyPatch, requests_of: Any
) -> None:
    """By a metric that is ranked most runs are not looked at, still in one request; a policy finds them as well."""
    rank(store.db, "accuracy")
    requests = requests_of(store.db)
    asked = partial(best_run, store, "accuracy", project="big")
    one_by_one = asked()
    monkeypatch.setattr(candidates, "FEW", 10)
    monkeypatch.setattr(candidates, "WINDOW", 10)
    assert asked() == one_by_one
    slow, quick = (answer["extra"]["stats"]["scannedIndex"] for answer in map(as_json, requests.answers))
    assert quick < slow / 3
    selected = select_model(store, "big", Policy("accuracy"))["candidate"]
    assert selected is not None
    assert [selected["run_id"]] == [row["run_id"] for row in one_by_one]


def as_json(body: Any) -> Any:
    return json.loads(body) if isinstance(body, str) else body


def test_ranking_and_not_any_more(db: Any) -> None:
    """Metrics are added and taken away one by one; the database is as it should be all the while."""
    assert (ranked(db), rank(db, "accuracy", "f1"), rank(db, "f1")) == ([], True, False)
    assert rank(db, "loss")
    assert ranked(db) == ["accuracy", "f1", "loss"]
    assert (plan(db), doctor(db)) == ([], [])
    assert (unrank(db, "f1", "none"), unrank(db, "f1")) == (True, False)
    assert ranked(db) == ["accuracy", "loss"]
    assert (plan(db), doctor(db)) == ([], [])
    fields = [index["fields"] for index in db.collection("devperf").indexes()]
    assert ["loss"] in fields
    assert ["f1"] not in fields


def test_ranking_and_types_of_ones_own(db: Any) -> None:
    """Neither loses the other."""
    rank(db, "accuracy")
    extend(db, nodes=[{"kind": "Report", "collection": "reports", "identity": ["title"]}])
    rank(db, "loss")
    assert ([node["kind"] for node in extension(db)["nodes"]], ranked(db)) == (
        ["DevPerf", "Report"],
        ["accuracy", "loss"],
    )
    withdraw(db, nodes=["Report"])
    assert ranked(db) == ["accuracy", "loss"]


def test_ranking_and_an_index_of_ones_own(db: Any) -> None:
    """An index of performance over several attributes, which somebody added, ranks nothing and stays."""
    indexes = [*SCHEMA.node("DevPerf").indexes, Index(("accuracy", "created"))]
    extend(db, nodes=[replace(SCHEMA.node("DevPerf"), indexes=tuple(indexes))])
    assert ranked(db) == []
    rank(db, "loss")
    unrank(db, "accuracy")
    assert ranked(db) == ["loss"]
    assert plan(db) == []
    assert ["accuracy", "created"] in [index["fields"] for index in db.collection("devperf").indexes()]


@pytest.mark.parametrize("metric", ["", "a.b", "_key", "a[*]", "created"])
def test_what_cannot_be_ranked(db: Any, metric: str) -> None:
    """A metric that an index cannot have is refused, and nothing is changed."""
    with pytest.raises(Invalid, match="metric: "):
        rank(db, "accuracy", metric)
    assert ranked(db) == []


def test_a_store_is_none_the_wiser(store: Store) -> None:
    """Runs are written and exported as before, by a store that was open before."""
    rank(store.db, "accuracy")
    store.write(stages.log_run("late", model="big forest", metrics={"accuracy": 3.0}))
    assert best_run(Store(store.db), "accuracy")[0]["run_id"] == "late"
    assert store.search("DevPerf", {"accuracy": {">": 2}})["total"] == 1
