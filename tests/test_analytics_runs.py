"""What the pages of runs ask: a bounded table, what metrics went through, names to choose from."""

from typing import Any

import pytest
from conftest import provisioned
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_admin_ranking import as_json

from arangopipe_ops import stages
from arangopipe_ops.analytics import RunTable, choices, curves, run_table
from arangopipe_ops.store import Store

MODELS = ("forest", "net", "tree")


def fill(url: str) -> None:
    """Three models of two projects, with runs of which many were registered at one time, and one of two models."""
    store = Store(provisioned(url))
    for project, model in (("wine", "forest"), ("wine", "net"), ("beer", "tree")):
        store.write_all(stages.register_project(project), on_conflict="keep")
        store.write(stages.register_model(model, project=project, task="classification"))
    for turn in range(3):
        several = (stages.log_run(f"{m} {turn}.{i}", model=m, metrics={"f1": i}) for i in range(4) for m in MODELS)
        store.write_many(several)
    stage = stages.log_run("of two", model="forest")
    stage.link("run_models", "net", stage.nodes[0])
    store.write(stage)
    store.archive(store.write(stages.log_run("hidden", model="forest")))


@pytest.fixture
def graph(filled_by: Any) -> Store:
    return Store(filled_by(fill))


def every(store: Store, **asked: Any) -> list[RunTable]:
    """Return all tables of what is asked, each going on where the one before ended."""
    tables = [run_table(store, **asked)]
    while older := tables[-1]["older"]:
        tables.append(run_table(store, **asked, older=older))
    return tables


def runs(*tables: RunTable) -> list[str]:
    return [row["run"]["run_id"] for table in tables for row in table["rows"]]


@pytest.mark.parametrize("window", [1, 2, 3, 5, 7, 100])
@pytest.mark.parametrize(
    ("asked", "models"),
    [
        ({}, MODELS),
        ({"project": "wine"}, ("forest", "net")),
        ({"model": "tree"}, ("tree",)),
        ({"model": "net"}, ("net",)),
    ],
)
def test_tables_that_follow_each_other_have_each_run_once(
    graph: Store, asked: dict[str, Any], models: tuple[str, ...], window: int
) -> None:
    """However few runs a table looks at, also of those registered at one time, together they have all of them once."""
    tables = every(graph, **asked, window=window, limit=100)
    seen = runs(*tables)
    of_two = [] if models == ("tree",) else ["of two"]
    assert sorted(seen) == sorted([f"{m} {turn}.{i}" for m in models for turn in range(3) for i in range(4)] + of_two)
    assert max(table["looked"] for table in tables) <= window
    backs = [table["back_to"] for table in tables if table["back_to"]]
    assert backs == sorted(backs, reverse=True)


def test_a_beginning_long_ago_costs_nothing(graph: Store, requests_of: Any) -> None:
    """Of a project no more runs are read where a time is given since which they were registered."""
    requests = requests_of(graph.db)
    tables = [run_table(graph, project="wine", window=1, since=since) for since in (None, "2020-01-01")]
    read = [answer["extra"]["stats"]["scannedIndex"] for answer in map(as_json, requests.answers)]
    assert tables[0] == tables[1]
    assert read[0] == read[1]


def test_a_project_is_looked_at_from_the_newest(graph: Store) -> None:
    """Of many models that have been run, the runs registered last are looked at, whichever model they are of."""
    graph.write_many(stages.log_run(f"late {i}", model="net") for i in range(30))
    assert set(runs(run_table(graph, project="wine", window=30))) == {f"late {i}" for i in range(30)}


def test_what_an_earlier_table_tells(graph: Store) -> None:
    """An empty graph has an empty table; one that is whole leads nowhere."""
    whole = run_table(graph, limit=5)
    assert (whole["found"], whole["looked"], whole["older"], len(whole["rows"])) == (37, 38, None, 5)
    none = run_table(graph, since="2999-01-01")
    assert none == {"rows": [], "found": 0, "looked": 0, "back_to": None, "older": None}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 60), st.integers(1, 20))
def test_a_curve_is_bounded_and_ends_where_the_metric_ended(graph: Store, length: int, points: int) -> None:
    """Of a series about so many points are given, evenly, with the first and the last."""
    with graph.run("curved", model="net") as run:
        for step in range(length):
            run.log_metrics({"loss": step}, step=step)
    [found] = curves(graph, [run.ref["_id"]], points=points).values()
    steps = [step for step, _ in found["series"]["loss"]]
    assert steps[0] == 0
    assert steps[-1] == length - 1
    assert len(steps) <= points + 1
    assert steps == sorted(set(steps))


def test_curves_of_what_is_asked_alone(graph: Store) -> None:
    """Runs that are not there are left out, metrics beyond the most are, and a run without series has none."""
    with graph.run("curved", model="net") as run:
        for step in range(3):
            run.log_metrics({"a": step, "b": step}, step=step)
    plain = graph.get("tree 0.0", "Run")["_id"]
    found = curves(graph, [plain, "run/none", run.ref["_id"]], most=1)
    assert {id: list(row["series"] or {}) for id, row in found.items()} == {plain: [], run.ref["_id"]: ["a"]}
    assert curves(graph, [plain, run.ref["_id"]], drawn=1)[run.ref["_id"]]["series"] in ({}, None)
    assert curves(graph, []) == {}


def test_names_to_choose_from(graph: Store, requests_of: Any) -> None:
    """The names of what is there, in order, each once, in one request; of what cannot be chosen there are none."""
    sent = requests_of(graph.db)
    found = choices(graph, ["project", "model", "task", "metric", "deployment", "goal"])
    assert len(sent) == 1
    assert found == {
        "project": ["beer", "wine"],
        "model": ["forest", "net", "tree"],
        "task": ["classification"],
        "metric": ["f1"],
        "deployment": [],
    }
    assert choices(graph, ["goal"]) == {}
    assert len(sent) == 1
