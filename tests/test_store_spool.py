"""When the database is away: stages wait in a folder and are written in order, once."""

import json
import logging
import multiprocessing
import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from conftest import dump
from socket_server import PASSWORD, SocketServer

from arangopipe_ops import stages
from arangopipe_ops.admin import provision
from arangopipe_ops.connection import connect
from arangopipe_ops.errors import Conflict, Invalid, Misconfigured, NotFound, NotProvisioned, Unavailable
from arangopipe_ops.model import AUDIT, SCHEMA, NodeType, Stage
from arangopipe_ops.store import Store

pytestmark = pytest.mark.slow

SPAWN = multiprocessing.get_context("spawn")


def serve(path: str, port: int) -> None:
    SocketServer(Path(path), port).serve_forever()


class Server:
    """A database in a process of its own, which is killed when it goes down."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self.url = f"http://root:{quote(PASSWORD)}@127.0.0.1:{self.port}/_system"
        self._process: Any = None

    def up(self) -> None:
        self._process = SPAWN.Process(target=serve, args=(str(self.path), self.port))
        self._process.start()
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    Store(connect(self.url)).counts()  # the first answer takes long
                    return
            time.sleep(0.02)
        raise AssertionError("the server does not come up")

    def down(self) -> None:
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.join()
            self._process = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that holds an empty graph, and is down."""
    provision(connect(f"embedded://{tmp_path}/graph.db"))
    server = Server(tmp_path / "graph.db")
    yield server
    server.down()


@pytest.fixture
def graph(server: Server) -> Store:
    """What the server stores, read around it."""
    return Store(connect(f"embedded://{server.path}"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def away(server: Server, folder: Path) -> Callable[..., Store]:
    """Makes stores that leave the server alone for long once it was away."""

    def make() -> Store:
        store = Store(connect(server.url, timeout=1.0), spool=folder)
        store._spool._probe_seconds = 1000.0  # type: ignore[union-attr]
        return store

    return make


def later(store: Any) -> Store:
    """Return the store as it is when it looks for the server again."""
    store._spool._probe_seconds = 0.0
    return store  # type: ignore[no-any-return]


def flow(store: Store, run_id: str = "r") -> list[Any]:
    """A project, a model and a run, each referring to the one before."""
    project = store.write(stages.register_project("p"))
    model = store.write(stages.register_model("m", project=project))
    return [project, model, store.write(stages.log_run(run_id, model="m", params={"a": 1}, metrics={"b": 1}))]


def leave(store: Any) -> None:
    """Let go of the file that a store appends to, as its process does when it ends."""
    store._spool._close()


def names_in(folder: Path) -> list[str]:
    return sorted(path.suffix or path.name for path in folder.iterdir() if path.suffix != ".lock")


# --- keeping ---------------------------------------------------------------------------------------------


def test_training_goes_on(server: Server, graph: Store, away: Any, folder: Path) -> None:
    """With the server down every write answers the references that its nodes have once replayed."""
    store = away()
    refs = flow(store)
    leave(store)
    assert [ref["created"] for ref in refs] == [False, False, False]
    assert graph.counts()["project"] == 0
    assert graph.replay(folder) == {"written": 3, "refused": [], "torn": []}
    for ref in refs:
        assert graph.get(ref)["_key"] == ref["_key"]
    other = {ref["_id"]: ref for ref in flow(graph)}
    assert [other[ref["_id"]] for ref in refs] == refs
    assert names_in(folder) == []


def test_without_a_folder_nothing_is_kept(server: Server, tmp_path: Path) -> None:
    """Off by default: the error is raised and no file appears."""
    before = sorted(tmp_path.iterdir())
    with pytest.raises(Unavailable):
        Store(connect(server.url, timeout=0.2)).write(stages.register_project("p"))
    assert sorted(tmp_path.iterdir()) == before


def test_only_an_absent_database_is_waited_for(server: Server, away: Any, folder: Path) -> None:
    """Errors of the stage itself are raised at once and keep nothing."""
    server.up()
    store = away()
    store.write(stages.register_dataset("d", version="1", rows=1))
    with pytest.raises(Conflict):
        store.write(stages.register_dataset("d", version="1", rows=2))
    with pytest.raises(NotFound):
        store.write(stages.log_run("r", model="nowhere"))
    with pytest.raises(Invalid):
        store.write(stages.register_project("p"), on_conflict="other")
    assert names_in(folder) == []


def test_it_is_loud_and_says_no_secret(
    server: Server, away: Any, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning names the folder and the cure, each stage is told; neither log nor file has the password or host."""
    with caplog.at_level(logging.INFO, "arangopipe_ops"):
        flow(away())
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert f"arangopipe replay {folder}" in warnings[0]
    assert sum(" waits in " in record.getMessage() for record in caplog.records) == 3
    kept = "".join(path.read_text() for path in folder.iterdir()) + caplog.text
    for secret in (PASSWORD, quote(PASSWORD), str(server.port), "127.0.0.1"):
        assert secret not in kept
    assert [path.stat().st_mode & 0o77 for path in folder.glob("*.spool")] == [0]


def test_a_folder_that_cannot_be_is_said_at_once(db: Any, tmp_path: Path) -> None:
    """A spool in the place of a file is refused when the store is made, and replaying no folder likewise."""
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured, match="cannot be made"):
        Store(db, spool=tmp_path / "file")
    with pytest.raises(Misconfigured, match="is not a folder"):
        Store(db).replay(tmp_path / "absent")


# --- order -----------------------------------------------------------------------------------------------


def test_later_stages_queue_up(server: Server, graph: Store, away: Any, folder: Path) -> None:
    """While stages wait and the database is left alone, later ones join them, even if it is back by now."""
    store = away()
    store.write(stages.register_project("p"))
    server.up()
    assert store.write(stages.register_model("m", project="p"))["created"] is False
    assert graph.counts()["models"] == 0
    assert graph.replay(folder)["written"] == 2
    assert store.write(stages.log_run("r", model="m"))["created"] is True


def test_the_next_write_catches_up(server: Server, graph: Store, away: Any, folder: Path) -> None:
    """A write that finds the database back writes what waits first, so that it may depend on it."""
    store = away()
    store.write(stages.register_project("p"))
    store.write(stages.register_model("m", project="p"))
    server.up()
    assert later(store).write(stages.log_run("r", model="m"))["created"] is True
    assert len(graph.lineage("r", kind="Run")["nodes"]) == 3
    assert names_in(folder) == []
    server.down()
    store.write(stages.log_run("r2", model="m"))
    assert names_in(folder) == [".spool"]
    assert graph.replay(folder)["written"] == 1


def test_the_next_process_catches_up(server: Server, graph: Store, away: Any, folder: Path) -> None:
    """What another process left is written before a new process's first write, which depends on it."""
    process = SPAWN.Process(target=register_one, args=(server.url, str(folder), "p"))
    process.start()
    process.join()
    assert names_in(folder) == [".spool"]
    server.up()
    assert away().write(stages.register_model("m", project="p"))["created"] is True
    assert names_in(folder) == []


def register_one(url: str, folder: str, name: str) -> None:
    Store(connect(url, timeout=0.05), spool=folder).write(stages.register_project(name))


@pytest.mark.slow
def test_processes_take_their_turns(server: Server, graph: Store, away: Any, folder: Path) -> None:
    """Stages of several processes are written in the order in which they were kept."""
    one, two = away(), away()
    for i in range(6):
        (one, two)[i % 2].write(stages.register_dataset("d", rows=i))
    leave(one), leave(two)
    assert names_in(folder) == [".spool", ".spool"]
    assert graph.replay(folder)["written"] == 6
    nodes = graph.search("Dataset", order_by="created", descending=False)["nodes"]
    assert [node["rows"] for node in nodes] == list(range(6))
    assert graph.get("d", "Dataset")["rows"] == 5


def test_names_stay_names(server: Server, graph: Store, away: Any, folder: Path) -> None:
    """A reference by name leads to what is newest when the stage is written, not when it was kept."""
    graph.write(stages.register_project("p"))
    store = away()
    store.write(stages.register_model("m", project="p", depth=2))
    store.write(stages.log_run("r", model="m"))
    graph.write(stages.register_model("m", project="p", depth=1))
    graph.replay(folder)
    [model] = graph.lineage("r", kind="Run", kinds=["Model"])["nodes"]
    assert model["document"]["depth"] == 2


# --- once ------------------------------------------------------------------------------------------------


def test_policy_reason_and_author_are_kept(server: Server, graph: Store, folder: Path) -> None:
    """A stage that waited is written as it was meant: policy, reason, author, and since when it waited."""
    graph.write(stages.register_dataset("d", version="1", rows=1))
    store = Store(connect(server.url, timeout=0.2), provenance={"through": "airflow", "task_id": "t"}, spool=folder)
    store.write(stages.register_dataset("d", version="1", rows=2), on_conflict="revise", reason="cleared")
    graph.replay(folder)
    found = graph.get("d", "Dataset")
    assert (found["rows"], found["provenance"]["task_id"]) == (2, "t")
    event = graph.history(found)[0]
    assert (event["reason"], event["provenance"]["through"], event["action"]) == ("cleared", "airflow", "revised")
    [entry] = [e for e in graph.db.collection(AUDIT).all() if "spooled" in e]
    assert entry["spooled"] < entry["at"]


def test_a_refused_stage_is_set_aside(server: Server, graph: Store, away: Any, folder: Path) -> None:
    """A conflict and a missing reference go to a file with their errors; the rest is written."""
    graph.write(stages.register_dataset("d", version="1", rows=1))
    store = away()
    store.write(stages.register_project("before"))
    store.write(stages.register_dataset("d", version="1", rows=2))
    store.write(stages.log_run("r", model="nowhere"))
    store.write(stages.register_project("after"))
    leave(store)
    done = graph.replay(folder)
    assert done["written"] == 2
    assert ["different content" in done["refused"][0], "'nowhere' in models" in done["refused"][1]] == [True, True]
    rows = [json.loads(line) for line in (folder / "refused.jsonl").read_text().splitlines()]
    assert [row["error"].split(":")[0] for row in rows] == ["Conflict", "NotFound"]
    assert Stage.from_json(rows[0]["stage"]).nodes[0].content["rows"] == 2
    assert names_in(folder) == [".jsonl"]
    assert graph.counts()["project"] == 2


def test_what_is_not_the_stages_fault_stops_the_replay(server: Server, away: Any, folder: Path, tmp_path: Path) -> None:
    """A database that is away or lacks the graph ends the replay, and everything still waits."""
    store = away()
    flow(store)
    with pytest.raises(Unavailable):
        Store(connect(server.url, timeout=0.2)).replay(folder)
    with pytest.raises(NotProvisioned):
        Store(connect(f"embedded://{tmp_path}/bare.db")).replay(folder)
    assert Store(connect(f"embedded://{server.path}")).replay(folder)["written"] == 3


def test_a_torn_record_is_skipped_and_reported(server: Server, graph: Store, away: Any, folder: Path) -> None:
    """A file whose last record was cut off gives all others; what is left of that one is kept beside."""
    flow(away())
    [path] = folder.glob("*.spool")
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == 10]
    for end in (ends[1] + 1, ends[1] + 40, ends[2] - 1):
        copy = folder.parent / f"torn {end}"
        copy.mkdir()
        (copy / path.name).write_bytes(whole[:end])
        done = graph.replay(copy)
        assert (done["written"], done["refused"]) == (2, [])
        assert [Path(torn).read_bytes() for torn in done["torn"]] == [whole[ends[1] : end]]
        assert names_in(copy) == [".torn"]


def test_a_damaged_record_does_not_stop_the_others(server: Server, graph: Store, away: Any, folder: Path) -> None:
    """A record whose bytes changed on disk is kept beside and those after it are written."""
    store = away()
    for name in ("one", "two", "three"):
        store.write(stages.register_project(name))
    leave(store)
    [path] = folder.glob("*.spool")
    path.write_bytes(path.read_bytes().replace(b'"two"', b'"twO"'))
    done = graph.replay(folder)
    assert (done["written"], len(done["torn"])) == (2, 1)
    assert {node["name"] for node in graph.search("Project")["nodes"]} == {"one", "three"}


def replay_slowly(path: str, folder: str, started: Any) -> None:
    store = Store(connect(f"embedded://{path}"))
    write, count = store._write_record, 0

    def counted(record: Any) -> None:
        nonlocal count
        write(record)
        count += 1
        if count == 20:
            started.set()
            time.sleep(60)

    store._write_record = counted  # type: ignore[method-assign]
    store.replay(folder)


def test_a_killed_replay_goes_on(server: Server, graph: Store, away: Any, folder: Path) -> None:
    """Killed after a write that it had not noted yet, a replay continues, and a revision since then stays."""
    store = away()
    for i in range(40):
        store.write(stages.register_dataset("d", version="1", rows=i), on_conflict="revise")
    started = SPAWN.Event()
    process = SPAWN.Process(target=replay_slowly, args=(str(server.path), str(folder), started))
    process.start()
    assert started.wait(60)
    os.kill(process.pid, signal.SIGKILL)  # type: ignore[arg-type]
    process.join()
    assert graph.get("d", "Dataset")["rows"] == 19
    graph.write(stages.register_dataset("d", version="1", rows=100), on_conflict="revise")
    assert graph.replay(folder) == {"written": 21, "refused": [], "torn": []}
    assert graph.get("d", "Dataset")["rows"] == 39
    rows = [event["document"]["rows"] for event in graph.history("d", "Dataset")]  # type: ignore[index]
    assert rows[::-1] == [*range(20), 100, *range(20, 40)]
    leave(store)
    assert graph.replay(folder) == {"written": 0, "refused": [], "torn": []}
    assert names_in(folder) == []


def replay_all(path: str, folder: str) -> int:
    return Store(connect(f"embedded://{path}")).replay(folder)["written"]


@pytest.mark.slow
def test_two_replays_write_once(server: Server, graph: Store, away: Any, folder: Path) -> None:
    """Two replays at once share the work: every stage is written by one of them."""
    store = away()
    for i in range(60):
        store.write(stages.register_project(f"p{i}"))
    leave(store)
    with SPAWN.Pool(2) as pool:
        written = pool.starmap(replay_all, [(str(server.path), str(folder))] * 2)
    assert sum(written) == 60
    assert len([e for e in graph.db.collection(AUDIT).all() if "spooled" in e]) == 60
    assert names_in(folder) == []


def test_a_file_in_use_is_replayed_and_left(server: Server, graph: Store, away: Any, folder: Path) -> None:
    """A replay writes what a living process has kept so far and leaves it its file."""
    store = away()
    store.write(stages.register_project("p"))
    assert graph.replay(folder)["written"] == 1
    assert names_in(folder) == [".place", ".spool"]
    before = dump(graph.db)
    assert graph.replay(folder)["written"] == 0
    assert dump(graph.db) == before


def keep_until_killed(url: str, folder: str, started: Any) -> None:
    store = Store(connect(url, timeout=0.05), spool=folder)
    for i in range(100_000):
        ref = store.write(stages.register_project(f"p{i}"))
        with open(f"{folder}/../acknowledged", "a") as file:
            file.write(f"{ref['_key']}\n")
        if i == 50:
            started.set()


def test_what_was_acknowledged_survives_a_kill(server: Server, graph: Store, folder: Path) -> None:
    """After kill -9 of the training every stage whose write had returned is replayed."""
    started = SPAWN.Event()
    process = SPAWN.Process(target=keep_until_killed, args=(server.url, str(folder), started))
    process.start()
    assert started.wait(60)
    os.kill(process.pid, signal.SIGKILL)  # type: ignore[arg-type]
    process.join()
    done = graph.replay(folder)
    keys = (folder.parent / "acknowledged").read_text().split()
    assert len(keys) > 50
    assert done["written"] in (len(keys), len(keys) + 1)
    assert set(keys) <= {document["_key"] for document in graph.db.collection("project").all()}


def keep_on_a_full_disk(url: str, folder: str, told: Any) -> None:
    store = Store(connect(url, timeout=0.05), spool=folder)
    store.write(stages.register_project("fits"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    try:
        store.write(stages.register_project("large", text="x" * 10_000))
    except Unavailable as error:
        told.put(str(error))
    store.write(stages.register_project("fits too"))


def test_a_disk_that_is_full_is_said(server: Server, graph: Store, folder: Path) -> None:
    """A stage that can be neither written nor kept raises Unavailable, and leaves no half of a record."""
    told = SPAWN.Queue()
    process = SPAWN.Process(target=keep_on_a_full_disk, args=(server.url, str(folder), told))
    process.start()
    assert "cannot keep the stage: File too large" in told.get(timeout=60)
    process.join()
    assert process.exitcode == 0
    assert graph.replay(folder) == {"written": 2, "refused": [], "torn": []}


# --- stages as text --------------------------------------------------------------------------------------


def test_a_stage_comes_back_from_json() -> None:
    """Nodes, edges, references by name and key, slots and added types are the same after a way through JSON."""
    schema = SCHEMA.extended([NodeType("Plant", "plants", ("name",))], [])
    own = Stage(schema)
    own.add("Plant", {"name": "north", "owner": "me"})
    given = [
        own,
        stages.register_deployment("t", project="p", model={"_id": "models/m"}, run="r", featureset=["f", "g"]),
        stages.log_run("r", model="m", dataset="datasets/x", params={"a": [1, {"b": None}]}, metrics={}, owner="me"),
    ]
    for stage in given:
        back = Stage.from_json(json.loads(json.dumps(stage.to_json())))
        assert (back.nodes, back.edges, back.schema) == (stage.nodes, stage.edges, stage.schema)
