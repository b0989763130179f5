"""Many stages at once: the same graph as one after the other, in few requests, and resumable."""

import json
import multiprocessing
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import dump

from arangopipe_ops import stages
from arangopipe_ops.admin import provision
from arangopipe_ops.connection import connect
from arangopipe_ops.errors import ArangopipeError, Conflict, Invalid, NotFound
from arangopipe_ops.model import AUDIT, SCHEMA, Stage
from arangopipe_ops.store import Store


def flow(runs: int) -> list[Stage]:
    """A project, its data, and runs that refer to them by name."""
    return [
        stages.register_project("p"),
        stages.register_dataset("d", rows=1),
        stages.register_model("m", project="p"),
        *(stages.log_run(f"r{i}", model="m", dataset="d", params={"i": i}, metrics={"i": i}) for i in range(runs)),
    ]


def graph(db: Any) -> dict[str, Any]:
    """Everything in the graph without the audit, and without what tells when it was written."""
    apart = ("_rev", "created", "revised", "provenance", "ended")
    return {
        id: {name: value for name, value in document.items() if name not in apart}
        for id, document in dump(db).items()
        if not id.startswith(f"{AUDIT}/")
    }


def newest(store: Store, names: list[str]) -> list[str]:
    return [store.get(name, "Dataset")["_id"] for name in names]


def batches_in(db: Any) -> list[Any]:
    return [entry for entry in db.collection(AUDIT).all() if "import" in entry]


def test_many_stages_are_few_requests(store: Store, requests_of: Any) -> None:
    """A thousand nodes are two requests: one to see if they were written before, one to write them."""
    store.write_many(flow(0))
    many = [stages.log_run(f"r{i}", model="m", params={"i": i}, metrics={"i": i}) for i in range(333)]
    requests = requests_of(store.db)
    summary = store.write_many(many)
    assert len(requests) == 2
    assert summary == {"stages": 333, "created": 999, "revised": 0, "same": 0, "resumed": 0}
    assert store.counts() | {"run": 333, "run_modelparams": 333, "run_models": 333} == store.counts()


def test_no_batch_exceeds_its_bounds(store: Store) -> None:
    """No write has more nodes than asked for, or more than 4 MiB where a stage is not larger itself."""
    store.write_many(flow(20), batch=7)
    assert (
        max(len([id for id in e["created"] if id.split("/")[0] not in SCHEMA.edges]) for e in batches_in(store.db)) <= 7
    )
    before = len(batches_in(store.db))
    store.write_many([stages.register_project(f"big {i}", text="x" * 1_500_000) for i in range(5)])
    assert len(batches_in(store.db)) - before == 3


def test_what_is_written_again_is_the_same(store: Store) -> None:
    """The summary counts what was created, revised and the same, each node once."""
    store.write(stages.register_project("old"))
    store.write(stages.register_project("changed", note=1))
    many = [stages.register_project("old"), stages.register_project("changed", note=2), stages.register_project("new")]
    summary = store.write_many(many, on_conflict="revise")
    assert summary == {"stages": 3, "created": 1, "revised": 1, "same": 1, "resumed": 0}


# --- the same as one after the other ---------------------------------------------------------------------


def some_stages(seed: int) -> list[Stage]:
    """Stages that depend on each other by name, key and version, revise each other, and repeat themselves."""
    chance = random.Random(seed)
    many = [
        stages.register_project("p"),
        stages.register_dataset("a", rows=0),
        stages.register_dataset("b", rows=0),
        stages.register_model("m", project="p"),
    ]
    for i in range(40):
        name, rows = chance.choice("ab"), chance.randrange(3)
        known = stages.register_dataset(name, rows=rows, owner=chance.choice(["x", "y"])).nodes[0]
        many.append(
            chance.choice(
                [
                    lambda name=name, rows=rows: stages.register_dataset(name, rows=rows, owner="x"),
                    lambda i=i, name=name: stages.log_run(f"r{i % 7}", model="m", dataset=name, params={"i": i}),
                    lambda i=i: stages.log_run(f"r{i % 7}", model="m", dataset=["a", "b"], metrics={"i": i % 3}),
                    lambda i=i: stages.register_model("m", project="p", depth=i % 2),
                    lambda i=i: stages.register_deployment(f"t{i % 3}", project="p", model="m"),
                    lambda i=i, known=known: register_and_read(f"s{i}", known),
                ]
            )()
        )
    return many


def register_and_read(run_id: str, dataset: Any) -> Stage:
    """A stage with a data set and a run that reads it, and another one by its `_id`."""
    stage = Stage()
    stage.nodes.append(dataset)
    run = stage.add("Run", {"run_id": run_id})
    stage.link("run_datasets", run, dataset)
    stage.link("run_datasets", run, {"_id": stages.register_dataset("b", rows=0).nodes[0].id})
    return stage


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("on_conflict", ["keep", "revise"])
@pytest.mark.slow
def test_many_at_once_mean_one_after_the_other(tmp_path: Path, seed: int, on_conflict: Any) -> None:
    """The graph is the same as by single writes, the newest versions of names and what names lead to included."""
    stores = []
    for name in ("single", "many"):
        db = connect(f"embedded://{tmp_path}/{name}.db")
        provision(db)
        stores.append(Store(db))
    single, many = stores
    refs = [ref for stage in some_stages(seed) for ref in single.write_all(stage, on_conflict=on_conflict)]
    summary = many.write_many(some_stages(seed), on_conflict=on_conflict)
    assert graph(many.db) == graph(single.db)
    assert newest(many, ["a", "b"]) == newest(single, ["a", "b"])
    assert summary["created"] == sum(ref["created"] for ref in refs)


def test_a_name_leads_to_the_version_before_it(store: Store) -> None:
    """A run refers to the newest version registered before it in the stream, not to a later or stored one."""
    store.write(stages.register_dataset("d", rows=9))
    store.write_many(
        [
            stages.register_project("p"),
            stages.register_model("m", project="p"),
            stages.log_run("r0", model="m", dataset="d"),
            stages.register_dataset("d", rows=1),
            stages.log_run("r1", model="m", dataset="d"),
            stages.register_dataset("d", rows=2),
            stages.log_run("r2", model="m", dataset="d"),
        ]
    )
    read = {run: store.lineage(run, kind="Run", direction="upstream", kinds=["Dataset"]) for run in ("r0", "r1", "r2")}
    assert [lineage["nodes"][-1]["document"]["rows"] for lineage in read.values()] == [9, 1, 2]
    assert store.get("d", "Dataset")["rows"] == 2


def test_keys_keep_a_batch_whole(store: Store) -> None:
    """A node registered in the stream and referred to by `_id` goes in the same request as what refers to it."""
    dataset = stages.register_dataset("d")
    featureset = stages.register_featureset("f", dataset={"_id": dataset.nodes[0].id})
    store.write_many([dataset, featureset])
    assert len(batches_in(store.db)) == 1
    assert len(store.lineage("f", kind="Featureset")["nodes"]) == 2


# --- errors ----------------------------------------------------------------------------------------------


def test_a_missing_reference_names_its_stage(store: Store) -> None:
    """The error says which stage it is; its batch is not written, and those before it are."""
    many = flow(10)
    many.insert(8, stages.log_run("lost", model="nowhere"))
    with pytest.raises(NotFound, match=r"^stage 9: not found: 'nowhere' in models"):
        store.write_many(many)
    assert store.counts() | {"project": 1, "models": 1, "datasets": 1, "run": 0} == store.counts()


def test_a_conflict_names_its_stage_and_attributes(store: Store) -> None:
    """The stage with the differing content is named, and so is a line where it was read from one."""
    store.write_many(flow(3))
    changed = [stages.log_run("r9", model="m"), stages.log_run("r1", model="m", params={"i": 7})]
    with pytest.raises(Conflict, match=r"^stage 2: modelparams/.* content in: i") as refused:
        store.write_many(changed)
    assert refused.value.attributes == ["i"]
    assert store.counts()["run"] == 3
    lines = ["", json.dumps({"stage": "run", "run_id": "r1", "model": "m", "params": {"i": 7}})]
    with pytest.raises(Conflict, match=r"^line 2: "):
        store.write_many(stages.read_stages(lines))


def test_an_edge_conflict_names_the_edge_that_differs(store: Store) -> None:
    """Of many edges of one type the differing one decides what the error says."""
    store.write_many(flow(3))

    def linked(run: str, weight: int | None) -> Stage:
        stage = Stage()
        stage.link("run_datasets", run, "d", {} if weight is None else {"weight": weight})
        return stage

    with pytest.raises(Conflict, match=r"^stage 2: run_datasets/.* content in: weight"):
        store.write_many([linked("r0", None), linked({"_id": stages.log_run("r1", model="m").nodes[0].id}, 2)])  # type: ignore[arg-type]


# --- lines -----------------------------------------------------------------------------------------------


def test_lines_are_stages(store: Store) -> None:
    """Every stage can be written as a JSON line."""
    period = {"period_start": "2026-01-01", "period_end": "2026-01-08"}
    given: list[dict[str, Any]] = [
        {"stage": "project", "name": "p"},
        {"stage": "dataset", "name": "d", "rows": 3},
        {"stage": "featureset", "name": "f", "dataset": "d"},
        {"stage": "model", "name": "m", "project": "p"},
        {"stage": "run", "run_id": "r", "model": "m", "featureset": "f", "params": {"a": 1}},
        {"stage": "deployment", "tag": "t", "project": "p", "model": "m", "run": "r"},
        {"stage": "serving-perf", "deployment": "t", "metrics": {"a": 1}, **period},
    ]
    lines = [json.dumps(row) for row in given]
    assert [row["stage"] for row in given] == list(stages.STAGES)
    assert store.write_many(stages.read_stages(lines))["created"] == 8
    assert {node["kind"] for node in store.lineage("t", kind="Deployment")["nodes"]} == {
        *SCHEMA.nodes.keys() - {"DevPerf", "Alert"}
    }


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "is not JSON"),
        ("[1]", "is not a JSON object"),
        ('{"name": "p"}', "stage: None is not one of project, dataset"),
        ('{"stage": "nothing"}', "'nothing' is not one of"),
        ('{"stage": ["run"]}', "is not one of"),
        ('{"stage": "project"}', "name: is missing"),
        ('{"stage": "project", "name": "p", "_key": "k"}', "_key: is set by the store"),
        ('{"stage": "run", "run_id": "r", "model": "m", "start": "soon"}', "not an ISO 8601 time"),
    ],
)
def test_a_bad_line_is_named(line: str, problem: str) -> None:
    """A line that is no stage is refused by its number, counting empty ones."""
    with pytest.raises(Invalid, match=problem) as refused:
        list(stages.read_stages(['{"stage": "project", "name": "p"}', "", line]))
    assert str(refused.value).startswith("line 3: ")


# --- again -----------------------------------------------------------------------------------------------


def interrupted(many: list[Stage], after: int) -> Iterator[Stage]:
    yield from many[:after]
    raise KeyboardInterrupt


def test_started_again_it_does_not_send_what_was_written(store: Store, requests_of: Any) -> None:
    """The batches that an interrupted attempt wrote are looked up and not sent."""
    with pytest.raises(KeyboardInterrupt):
        store.write_many(interrupted(flow(40), 30), batch=15)
    written = store.counts()["run"]
    assert 0 < written < 40
    requests = requests_of(store.db)
    summary = store.write_many(flow(40), batch=15)
    assert summary["resumed"] >= written
    assert summary["created"] == 3 * (40 - written)
    sent = len(requests)
    assert store.counts()["run"] == 40
    assert store.write_many(flow(40), batch=15)["resumed"] == 43
    assert len(requests) - 1 - sent < sent


def test_what_was_deleted_since_is_written_again(store: Store) -> None:
    """An input written before is sent again where something of it was removed or replaced meanwhile."""
    store.write_many(flow(5))
    store.delete(store.plan_deletion("r2", "Run"))
    assert store.counts()["run"] == 4
    store.write_many(flow(5))
    assert store.counts()["run"] == 5
    store.annotate("p", "Project", owner="me")
    store.write_many([stages.register_project("x")])
    changed = stages.log_run("r1", model="m", dataset="d", params={"i": 7}, metrics={"i": 1})
    store.write(changed, on_conflict="revise")
    with pytest.raises(Conflict, match="modelparams"):
        store.write_many(flow(5))


def test_progress_is_told(store: Store) -> None:
    """The callback hears how many stages are done, and of how many where that is known."""
    heard: list[tuple[int, int | None]] = []
    store.write_many(flow(6), batch=6, progress=lambda done, total: heard.append((done, total)))
    assert heard[-1] == (9, 9)
    assert [done for done, _ in heard] == sorted({done for done, _ in heard})
    store.write_many(iter(flow(6)), batch=6, progress=lambda done, total: heard.append((done, total)))
    assert heard[-1] == (9, None)


def import_slowly(url: str, started: Any) -> None:
    store = Store(connect(url))
    store.write_many(flow(3000), batch=30, progress=lambda done, _: started.set() if done > 100 else None)


@pytest.mark.slow
def test_kill_and_start_again_ends_equal(url: str, db: Any, tmp_path: Path) -> None:
    """An import that was killed in the middle and started again leaves the graph of one that was not."""
    spawn = multiprocessing.get_context("spawn")
    started = spawn.Event()
    process = spawn.Process(target=import_slowly, args=(url, started))
    process.start()
    assert started.wait(60)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    store = Store(db)
    half = store.counts()["run"]
    assert 0 < half < 3000
    summary = store.write_many(flow(3000), batch=30)
    assert summary["resumed"] > 0
    assert summary["created"] == 3 * (3000 - half)
    other = connect(f"embedded://{tmp_path}/other.db")
    provision(other)
    Store(other).write_many(flow(3000))
    assert graph(db) == graph(other)


@pytest.mark.parametrize("given", [{"on_conflict": "replace"}, {"batch": 0}])
def test_what_it_is_told_is_checked(store: Store, given: Any) -> None:
    """An unknown policy or a batch of nothing is refused before anything is sent."""
    with pytest.raises(ArangopipeError):
        store.write_many(flow(1), **given)
    assert store.counts()["project"] == 0
