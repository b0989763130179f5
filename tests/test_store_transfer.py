"""The graph as JSON lines and back: equal, of one moment, and whole or known not to be."""

import io
import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from conftest import dump, provisioned
from test_store import write_flow

from arangopipe_ops import stages
from arangopipe_ops.admin import extend
from arangopipe_ops.connection import connect
from arangopipe_ops.errors import Conflict, Invalid, NotProvisioned
from arangopipe_ops.model import AUDIT, SCHEMA, EdgeType, NodeType
from arangopipe_ops.store import Store


def fill(store: Store, runs: int) -> None:
    write_flow(store, "first")
    store.write(stages.log_run("first", model="forest", note="revised", metrics={"a": 1}), on_conflict="revise")
    many = (stages.log_run(f"r{i}", model="forest", params={"i": i}, metrics={"x": i / 7}) for i in range(runs))
    store.write_many(many)


def contents(db: Any) -> dict[str, Any]:
    """Every document but its revision, without what provisioning left."""
    return {
        id: {name: value for name, value in document.items() if name != "_rev"}
        for id, document in dump(db).items()
        if "provisioned" not in document and not document["_key"].startswith("extension")
    }


@pytest.fixture
def other(tmp_path: Path, made_once: Any) -> Store:
    """A second graph, in which nothing is."""
    shutil.copyfile(made_once(provisioned), tmp_path / "other.db")
    return Store(connect(f"embedded://{tmp_path}/other.db"))


def test_there_and_back_is_equal(store: Store, other: Store) -> None:
    """A loaded export has every document of the graph and its audit, equal but for `_rev`; so has its export."""
    fill(store, 30)
    lines = list(store.export())
    loaded = other.load(lines)
    assert loaded == {"created": len(lines) - 2, "revised": 0, "same": 0}
    assert contents(other.db) == contents(store.db)
    assert sorted(other.export()) == sorted(lines)
    assert other.history("first", "Run")[0]["changed"] == store.history("first", "Run")[0]["changed"]


def test_a_file_is_lines(store: Store, other: Store, tmp_path: Path) -> None:
    """An export goes to any text file and comes back from it; nodes stand before edges, the audit last."""
    fill(store, 3)
    with (tmp_path / "graph.jsonl").open("w") as file:
        file.writelines(store.export())
    with (tmp_path / "graph.jsonl").open() as file:
        other.load(file)
    rows = [json.loads(line) for line in (tmp_path / "graph.jsonl").read_text().splitlines()]
    assert (rows[0]["format"], rows[0]["version"], rows[-1]["documents"]) == ("arangopipe", 1, len(rows) - 2)
    order = {
        **dict.fromkeys((n.collection for n in SCHEMA.nodes.values()), 0),
        **dict.fromkeys(SCHEMA.edges, 1),
        AUDIT: 2,
    }
    places = [order[row["_id"].partition("/")[0]] for row in rows[1:-1]]
    assert places == sorted(places)
    assert set(places) == {0, 1, 2}


def test_loading_again_changes_nothing(store: Store, other: Store) -> None:
    """A second load finds everything the same and leaves the database as it was."""
    fill(store, 5)
    lines = list(store.export())
    other.load(lines)
    before = dump(other.db)
    assert other.load(lines) == {"created": 0, "revised": 0, "same": len(lines) - 2}
    assert dump(other.db) == before


def test_an_export_is_of_one_moment(store: Store) -> None:
    """What is written while an export is read does not get into it, not even in part."""
    fill(store, 5)
    lines = store.export()
    read = [next(lines)]
    store.write(stages.log_run("late", model="forest", params={"a": 1}, metrics={"b": 1}))
    read += lines
    rows = [json.loads(line) for line in read]
    assert not [row for row in rows if "late" in json.dumps(row)]
    assert sum(rows[0]["counts"].values()) == len(rows) - 2


def test_an_abandoned_export_ends_its_snapshot(store: Store) -> None:
    """Whoever stops reading leaves no transaction behind."""
    fill(store, 3)
    lines = store.export()
    next(lines)
    assert len(store.db.list_transactions()) == 1  # type: ignore[arg-type]
    lines.close()  # type: ignore[attr-defined]
    assert store.db.list_transactions() == []


# --- what is there already -------------------------------------------------------------------------------


@pytest.fixture
def pair(store: Store, other: Store) -> tuple[list[str], Store]:
    """An export, and a store that has one of its data sets with other content and a project of its own."""
    store.write(stages.register_dataset("d", version="1", rows=1))
    other.write(stages.register_dataset("d", version="1", rows=2))
    other.write(stages.register_project("mine"))
    return list(store.export()), other


def test_other_content_fails(pair: tuple[list[str], Store]) -> None:
    """By default the node that differs is named with its attributes, and nothing of its batch is written."""
    lines, other = pair
    before = dump(other.db)
    with pytest.raises(Conflict, match=r"datasets/d-.*rows"):
        other.load(lines)
    assert dump(other.db) == before


def test_other_content_is_kept(pair: tuple[list[str], Store]) -> None:
    """`keep` leaves what is there and loads the rest."""
    lines, other = pair
    other.load(lines, on_conflict="keep")
    assert other.get("d", "Dataset")["rows"] == 2
    assert other.counts() | {"project": 1, "datasets": 1} == other.counts()


def test_other_content_is_revised(pair: tuple[list[str], Store]) -> None:
    """`revise` replaces it, with the old content in the audit."""
    lines, other = pair
    old = other.get("d", "Dataset")
    assert other.load(lines, on_conflict="revise")["revised"] == 1
    assert other.get("d", "Dataset")["rows"] == 1
    assert [e["replaced"] for e in other.db.collection(AUDIT).all() if e.get("replaced")] == [[old]]
    assert other.get("mine", "Project")["name"] == "mine"


def test_the_audit_is_never_replaced(store: Store, other: Store) -> None:
    """An entry of the audit that differs is a conflict even where nodes would be revised."""
    store.write(stages.register_project("p"))
    lines = list(store.export())
    other.load(lines)
    [entry] = [e for e in other.db.collection(AUDIT).all() if e["touched"]]
    other.db.collection(AUDIT).update({"_key": entry["_key"], "reason": "forged"})
    with pytest.raises(Conflict, match="reason"):
        other.load(lines, on_conflict="revise")


# --- types that users added ------------------------------------------------------------------------------

PLANT = NodeType("Plant", "plants", ("name",))
GROWS = EdgeType("model_plant", "Model", "Plant", "from")


def test_added_types_travel(store: Store, other: Store) -> None:
    """An export has the types that users added; loading it says what to do, or does it."""
    extend(store.db, [PLANT], [GROWS])
    store.write(stages.register_project("p"))
    store.write(stages.register_model("m", project="p"))
    stage = store.stage()
    stage.link("model_plant", "m", stage.add("Plant", {"name": "north"}))
    store.write(stage)
    lines = list(store.export())
    with pytest.raises(NotProvisioned, match=r"Plant, model_plant.*admin\.extend"):
        other.load(lines)
    other.load(lines, extend=lambda added: extend(other.db, **added))
    assert contents(other.db) == contents(store.db)
    assert [node["name"] for node in other.lineage("m", kind="Model")["nodes"]] == ["m", "p", "north"]
    Store(other.db).load(lines)


# --- files that are not whole ----------------------------------------------------------------------------


def fill_few(url: str) -> None:
    fill(Store(provisioned(url)), 5)


@pytest.fixture
def lines(filled_by: Any) -> list[str]:
    return list(Store(filled_by(fill_few)).export())


def test_a_file_that_was_cut_off_is_known(lines: list[str], other: Store) -> None:
    """Wherever the file ends early, loading says so with the line, and the whole file completes it."""
    text = "".join(lines)
    last = 0
    for end in [len(text) * k // 12 for k in range(1, 12)] + [len(text) - len(lines[-1]), len(text) - 10]:
        with pytest.raises(Invalid, match=r"^line .*cut off"):
            other.load(io.StringIO(text[:end]))
        done = len(contents(other.db))
        assert done >= last
        last = done
    other.load(io.StringIO(text))
    assert sorted(other.export()) == sorted(lines)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda lines: [], "the file is empty"),
        (lambda lines: lines[1:], "line 1: is not the header"),
        (lambda lines: [lines[0].replace('"version":1', '"version":2'), *lines[1:]], "line 1: version 2 is not 1"),
        (lambda lines: lines[:5] + lines[6:], "does not agree"),
        (lambda lines: [*lines[:5], lines[5].replace("T", "U", 1), *lines[6:]], "does not agree"),
        (lambda lines: [*lines, lines[3]], "follows the end"),
        (lambda lines: [*lines[:5], '{"_id": "secrets/1"}\n', *lines[5:]], "line 6: .*'secrets'"),
        (lambda lines: [*lines[:5], "[]\n", *lines[5:]], "line 6: is not a JSON object"),
    ],
)
def test_a_file_that_was_changed_is_known(lines: list[str], other: Store, change: Any, problem: str) -> None:
    """A missing, altered or foreign line is refused."""
    changed = change(lines)
    assert changed != lines
    with pytest.raises(Invalid, match=problem):
        other.load(changed)


def test_progress_counts_documents(lines: list[str], other: Store) -> None:
    """The callback hears how many documents are done, and of how many."""
    heard: list[tuple[int, int | None]] = []
    other.load(lines, progress=lambda done, total: heard.append((done, total)))
    assert heard[-1] == (len(lines) - 2, len(lines) - 2)


# --- killed ----------------------------------------------------------------------------------------------


def load_and_tell(url: str, path: str, started: Any, enough: int) -> None:
    with open(path) as lines:
        Store(connect(url)).load(lines, progress=lambda done, _: started.set() if done > enough else None)


def kill_and_start_again(store: Store, other: Store, folder: Path) -> None:
    """Export a graph, kill a process that loads it half-way into another, and load it again."""
    path = folder / "graph.jsonl"
    with path.open("w") as file:
        file.writelines(store.export())
    total = len(contents(store.db))
    spawn = multiprocessing.get_context("spawn")
    started = spawn.Event()
    process = spawn.Process(
        target=load_and_tell, args=(f"embedded://{folder}/other.db", str(path), started, total // 2)
    )
    process.start()
    assert started.wait(120)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with path.open() as lines:
        loaded = other.load(lines)
    assert loaded["same"] > total // 2
    assert loaded["created"] + loaded["same"] == total


@pytest.mark.slow
def test_killed_half_way_and_started_again(store: Store, other: Store, tmp_path: Path) -> None:
    """A load that was killed and started again ends with an equal graph."""
    fill(store, 2500)
    kill_and_start_again(store, other, tmp_path)
    assert contents(other.db) == contents(store.db)


@pytest.mark.slow
@pytest.mark.skipif("ARANGO_URL" in os.environ, reason="fills the embedded database")
def test_a_graph_of_100_000_nodes_goes_there_and_back(store: Store, other: Store, tmp_path: Path) -> None:
    """100,000 nodes with their edges and audit are equal after an export and a load that was killed half-way."""
    fill(store, 10_000)
    store.write_many(stages.register_project(f"p{i}") for i in range(70_000))
    assert sum(count for name, count in store.counts().items() if name not in SCHEMA.edges) >= 100_000
    kill_and_start_again(store, other, tmp_path)
    assert sorted(other.export()) == sorted(store.export())
