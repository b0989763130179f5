"""Every question answers what the demonstration data was made to say, in one request, whoever wrote the graph."""

import inspect
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from conftest import dump
from demonstration import TASK, ask, best, demo, of_task
from hypothesis import given, settings
from hypothesis import strategies as st

from arangopipe_ops import stages
from arangopipe_ops.admin import provision
from arangopipe_ops.analytics import QUESTIONS, demo_stages
from arangopipe_ops.connection import connect
from arangopipe_ops.errors import Invalid, NotFound
from arangopipe_ops.store import Store

__all__ = ["demo"]

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
    assert [(row["dataset"], row["runs"], row["deployments"], row["active"]) for row in influence] == [
        ("Housing 0", 1, 1, ["dep 0"]),
        ("Housing 1", 1, 1, ["dep 1"]),
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
