"""What one write promises."""

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import dump

from arangopipe_ops import stages
from arangopipe_ops.admin import provision
from arangopipe_ops.connection import connect
from arangopipe_ops.errors import Conflict, Invalid, NotFound, NotProvisioned, Refused, Unavailable
from arangopipe_ops.model import AUDIT, Ref, Stage, edge_key
from arangopipe_ops.store import Store

PERIOD = {"period_start": "2026-01-01", "period_end": "2026-01-08"}


def write_flow(store: Store, run_id: str = "r1", accuracy: float = 0.9) -> dict[str, Ref]:
    """Write the seven stages of one pipeline and return their references."""
    project = store.write(stages.register_project("wine"))
    dataset = store.write(stages.register_dataset("wine data", uri="s3://lake/wine.parquet", rows=178))
    featureset = store.write(stages.register_featureset("all", dataset=dataset, features=["a", "b"]))
    model = store.write(stages.register_model("forest", project=project, task="classification"))
    run = store.write(
        stages.log_run(
            run_id,
            model=model,
            dataset=dataset,
            featureset=featureset,
            params={"depth": 3},
            metrics={"accuracy": accuracy},
        )
    )
    deployment = store.write(
        stages.register_deployment(f"dep {run_id}", project=project, model=model, run=run, featureset=featureset)
    )
    perf = store.write(stages.log_serving_perf(deployment, metrics={"accuracy": 0.8}, **PERIOD))
    return {
        "project": project,
        "dataset": dataset,
        "featureset": featureset,
        "model": model,
        "run": run,
        "deployment": deployment,
        "perf": perf,
    }


# --- one request -----------------------------------------------------------------------------------------


def test_a_flow_is_seven_requests(store: Store, requests_of: Any) -> None:
    """Each stage is one request, and the flow of seven stages is seven."""
    requests = requests_of(store.db)
    write_flow(store)
    assert len(requests) == 7
    assert {path.partition("/_api")[2] for _, path in requests.sent} == {"/cursor"}


def test_names_cost_no_further_request(store: Store, requests_of: Any) -> None:
    """References by name are looked up by the statement that uses them."""
    write_flow(store)
    requests = requests_of(store.db)
    store.write(stages.log_run("r2", model="forest", dataset="wine data", featureset="all", params={}, metrics={}))
    assert len(requests) == 1


def test_reading_is_one_request(store: Store, requests_of: Any) -> None:
    """Getting, finding, counting and tracing lineage are one request each."""
    flow = write_flow(store)
    requests = requests_of(store.db)
    store.get(flow["run"])
    store.get("forest", "Model")
    store.search("Run", {"run_id": "r1"})
    store.counts()
    store.lineage(flow["deployment"])
    assert len(requests) == 5


@pytest.mark.skipif("ARANGO_URL" in os.environ, reason="reads the statistics of the embedded client")
def test_nothing_is_scanned(store: Store, requests_of: Any) -> None:
    """Every lookup of a write, a get and a lineage is served by an index."""
    flow = write_flow(store)
    requests = requests_of(store.db)
    write_flow(store, "r2")
    store.write(stages.log_run("r3", model="forest", dataset="wine data", featureset="all"))
    store.get("forest", "Model")
    store.get(flow["run"])
    for direction in ("upstream", "downstream", "both"):
        store.lineage(flow["run"], direction=direction)  # type: ignore[arg-type]
    assert [answer["extra"]["stats"]["scannedFull"] for answer in requests.answers] == [0] * 13


# --- all or nothing, idempotent --------------------------------------------------------------------------


def test_writing_again_changes_nothing(store: Store) -> None:
    """Every stage sent a second time answers the same references and leaves the database as it was."""
    first = write_flow(store)
    before = dump(store.db)
    second = write_flow(store)
    assert dump(store.db) == before
    assert [ref["_id"] for ref in second.values()] == [ref["_id"] for ref in first.values()]
    assert all(ref["created"] for ref in first.values())
    assert not any(ref["created"] for ref in second.values())


@pytest.mark.skipif("ARANGO_URL" in os.environ, reason="the reply is lost in the embedded client")
def test_a_lost_reply_changes_nothing(store: Store, requests_of: Any) -> None:
    """When the reply is lost and the driver sends the request again, everything is there once."""
    project = store.write(stages.register_project("p"))
    model = store.write(stages.register_model("m", project=project))
    requests = requests_of(store.db)
    requests.replies_to_lose = 1
    ref = store.write(stages.log_run("r", model=model, params={"a": 1}, metrics={"b": 2}))
    assert len(requests) == 2
    assert store.counts() | {"run": 1, "modelparams": 1, "devperf": 1, "run_models": 1} == store.counts()
    [entry] = [e for e in store.db.collection(AUDIT).all() if ref["_id"] in e["touched"]]
    assert len(entry["created"]) == 6


@pytest.mark.parametrize("on_conflict", ["fail", "keep", "revise"])
def test_a_missing_reference_writes_nothing(store: Store, on_conflict: Any) -> None:
    """A stage with one reference that leads nowhere writes no node, no edge and no audit entry."""
    write_flow(store)
    before = dump(store.db)
    stage = stages.log_run("new", model="forest", dataset=["wine data", "nowhere"], params={"a": 1}, metrics={})
    with pytest.raises(NotFound, match="'nowhere' in datasets") as refused:
        store.write(stage, on_conflict=on_conflict)
    assert refused.value.references == ["'nowhere' in datasets"]
    with pytest.raises(NotFound, match="models/gone"):
        store.write(stages.log_run("new", model={"_id": "models/gone"}), on_conflict=on_conflict)
    assert dump(store.db) == before


def test_a_missing_version_is_named_as_it_was_asked_for(store: Store) -> None:
    """A reference by name and version that leads nowhere is told by these, and not by a key that nobody knows."""
    wanted = {"name": "nowhere", "version": "7"}
    with pytest.raises(NotFound, match="name 'nowhere', version '7' in datasets"):
        store.write(stages.register_featureset("scaled", dataset=wanted))
    with pytest.raises(NotFound, match="name 'nowhere', version '7' in datasets"):
        store.get(wanted, "Dataset")
    with pytest.raises(NotFound, match="'nowhere' in models"):
        store.lineage("nowhere", "Model")


def test_every_missing_reference_is_named(store: Store) -> None:
    """All references that lead nowhere are named at once."""
    with pytest.raises(NotFound) as refused:
        store.write(stages.log_run("r", model="m", dataset="d", featureset="f"))
    assert sorted(refused.value.references) == ["'d' in datasets", "'f' in featuresets", "'m' in models"]


def register_all(url: str, rounds: int) -> None:
    store = Store(connect(url))
    for i in range(rounds):
        store.write(stages.register_project(f"p{i % 10}"))


@pytest.mark.slow
def test_many_writers_end_with_one_node_each(url: str, db: Any) -> None:
    """8 processes that register the same 10 names 50 times each end with 10 nodes and 10 audit entries."""
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        pool.starmap(register_all, [(url, 50)] * 8)
    store = Store(db)
    assert store.counts()["project"] == 10
    assert len([e for e in db.collection(AUDIT).all() if e["touched"]]) == 10


def test_threads_share_a_store(store: Store) -> None:
    """One store may be used from several threads at once."""
    with ThreadPoolExecutor(8) as pool:
        refs = list(pool.map(lambda i: store.write(stages.register_project(f"p{i % 5}")), range(100)))
    assert len({ref["_id"] for ref in refs}) == store.counts()["project"] == 5
    assert sum(ref["created"] for ref in refs) == 5


def write_until_killed(url: str, attempt: int, started: Any) -> None:
    store = Store(connect(url))
    model = store.write(stages.register_model("m", project=store.write(stages.register_project("p"))))
    started.set()
    for i in range(100_000):
        store.write(stages.log_run(f"{attempt} {i}", model=model, params={"i": i}, metrics={"i": i}))


@pytest.mark.slow
@pytest.mark.skipif("ARANGO_URL" in os.environ, reason="kills the process that holds the embedded database")
def test_kill_in_mid_write_leaves_all_or_nothing(url: str, db: Any) -> None:
    """After kill -9 at any moment every run is there with its parameters, performance, edges and audit."""
    spawn = multiprocessing.get_context("spawn")
    for attempt in range(5):
        started = spawn.Event()
        process = spawn.Process(target=write_until_killed, args=(url, attempt, started))
        process.start()
        assert started.wait(30)
        time.sleep(0.05 + 0.037 * attempt)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    counts = Store(db).counts()
    runs = counts["run"]
    assert runs > 0
    assert {counts[name] for name in ("modelparams", "devperf", "run_models", "run_modelparams", "run_devperf")} == {
        runs
    }
    entries = [entry for entry in db.collection(AUDIT).all() if any(id.startswith("run/") for id in entry["touched"])]
    assert len(entries) == runs
    assert all(len(entry["created"]) == 6 for entry in entries)


# --- names and values ------------------------------------------------------------------------------------

NAMES = [
    "a/b",
    "a\\b",
    'say "hi"',
    "it's",
    "{{ braces }}",
    "🍷 wein",
    "x" * 5000,
    "a`b",
    "line\nbreak",
    "projects/1",
    "%41",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_a_name(store: Store, name: str) -> None:
    """A node is stored and found again by any name, and linked by it."""
    ref = store.write(stages.register_project(name))
    assert store.get(name, "Project")["name"] == name
    assert store.get(ref)["name"] == name
    model = store.write(stages.register_model(name, project=name))
    assert [node["name"] for node in store.lineage(model)["nodes"]] == [name, name]


def test_a_name_that_looks_like_an_id(store: Store) -> None:
    """A data set named like an _id is found by that name, and an _id wins where both exist."""
    plain = store.write(stages.register_dataset("wine"))
    named = store.write(stages.register_dataset(f"datasets/{plain['_key']}x"))
    assert store.get(named["name"], "Dataset")["_id"] == named["_id"]
    assert store.get(plain["_id"], "Dataset")["_id"] == plain["_id"]
    featureset = store.write(stages.register_featureset("f", dataset=named["name"]))
    assert [n["_id"] for n in store.lineage(featureset)["nodes"]][1] == named["_id"]


@pytest.mark.parametrize(
    "text",
    ['" } INTO project REMOVE "x', "') RETURN 1 //", "@@c0", "@nodes0", "FOR d IN project REMOVE d IN project", "${x}"],
)
def test_a_value_that_holds_aql_stays_a_value(store: Store, text: str) -> None:
    """Query text in a name, a value or an attribute's name is stored as it is."""
    store.write(stages.register_project(text, note=text, nested={text: [text]}))
    found = store.get(text, "Project")
    assert (found["name"], found["note"], found["nested"]) == (text, text, {text: [text]})
    assert [d["_id"] for d in store.search("Project", {"note": text})["nodes"]] == [found["_id"]]


def test_values_come_back_as_they_were(store: Store) -> None:
    """JSON values of every kind are read back equal."""
    values = {
        "null": None,
        "yes": True,
        "int": -(2**53),
        "float": 0.1,
        "text": "é\u0000\n",
        "list": [1, [2]],
        "dict": {"": 0},
    }
    store.write(stages.register_project("p", values=values))
    assert store.get("p", "Project")["values"] == values


# --- conflicts -------------------------------------------------------------------------------------------


def test_different_content_is_a_conflict(store: Store) -> None:
    """The same identity with other content is refused, naming what differs, and nothing is written."""
    store.write(stages.register_dataset("d", version="1", rows=1, uri="u", owner="me"))
    before = dump(store.db)
    with pytest.raises(Conflict, match="different content in: columns, rows, uri") as refused:
        store.write(stages.register_dataset("d", version="1", rows=2, columns=3, owner="you"))
    assert refused.value.attributes == ["columns", "rows", "uri"]
    assert dump(store.db) == before


def test_true_is_not_one(store: Store) -> None:
    """Values that Python takes for equal, but JSON does not, are a conflict that names them."""
    store.write(stages.register_dataset("d", version="1", flag=True))
    with pytest.raises(Conflict, match="content in: flag"):
        store.write(stages.register_dataset("d", version="1", flag=1))


def test_keep_leaves_what_is_stored(store: Store) -> None:
    """`keep` answers the reference and changes nothing."""
    store.write(stages.register_dataset("d", version="1", rows=1, owner="me"))
    before = dump(store.db)
    ref = store.write(stages.register_dataset("d", version="1", rows=2, owner="you"), on_conflict="keep")
    assert ref["created"] is False
    assert dump(store.db) == before


def test_revise_keeps_the_old_content_in_the_audit(store: Store) -> None:
    """`revise` replaces the content, keeps annotations and creation time, and files what it replaced."""
    ref = store.write(stages.register_dataset("d", version="1", rows=1, uri="u", owner="me"))
    old = store.get(ref)
    assert store.write(stages.register_dataset("d", version="1", rows=2), on_conflict="revise")["created"] is False
    new = store.get(ref)
    assert (new["rows"], new["owner"], new["created"]) == (2, "me", old["created"])
    assert "uri" not in new
    assert "revised" in new
    [entry] = [e for e in store.db.collection(AUDIT).all() if e.get("replaced")]
    assert entry["replaced"] == [old]


def test_an_annotation_revises_without_a_version(store: Store) -> None:
    """A new description revises the node under every policy but keep; the other annotations stay."""
    ref = store.write(stages.register_dataset("d", rows=1, owner="me"))
    store.write(stages.register_dataset("d", rows=1, description="new"), on_conflict="keep")
    assert "description" not in store.get(ref)
    assert store.write(stages.register_dataset("d", rows=1, description="new"))["_id"] == ref["_id"]
    found = store.get(ref)
    assert (found["owner"], found["description"]) == ("me", "new")


def test_a_changed_edge_is_a_conflict(store: Store) -> None:
    """An edge that carries data follows the same rules as a node."""
    write_flow(store)

    def link(weight: int) -> Stage:
        stage = Stage()
        stage.link("run_datasets", "r1", "wine data", {"weight": weight})
        return stage

    with pytest.raises(Conflict, match="weight"):
        store.write_all(link(1))
    assert store.write_all(link(1), on_conflict="revise") == []
    store.write_all(link(1))
    [edge] = store.db.collection("run_datasets").all()
    assert edge["weight"] == 1


def test_an_unknown_policy_is_refused(store: Store) -> None:
    """A policy that does not exist is named before anything is sent."""
    with pytest.raises(Invalid, match="on_conflict"):
        store.write(stages.register_project("p"), on_conflict="overwrite")  # type: ignore[arg-type]


# --- versions, edges, audit ------------------------------------------------------------------------------


def test_the_newest_registered_version_is_the_latest(store: Store) -> None:
    """A name leads to the version that was registered last, however fast they follow each other."""
    for i in range(20):
        ref = store.write(stages.register_dataset("d", rows=i))
        assert store.get("d", "Dataset")["_id"] == ref["_id"]
    store.write(stages.register_dataset("d", rows=3))
    assert store.get("d", "Dataset")["rows"] == 19


def test_a_name_leads_to_nothing_that_is_archived(store: Store) -> None:
    """What a write refers to by name is the newest version that is not archived; of none it is NotFound."""
    store.write(stages.register_project("wine"))
    versions = [store.write(stages.register_model("forest", project="wine", version=v)) for v in ("1", "2")]
    store.archive(versions[1])
    store.write(stages.log_run("r", model="forest"))
    assert [node["document"]["version"] for node in store.lineage("r", kind="Run", kinds=["Model"])["nodes"]] == ["1"]
    store.archive(versions[0])
    with pytest.raises(NotFound, match="forest"):
        store.write(stages.log_run("s", model="forest"))


def test_edge_keys_are_the_same_in_python_and_aql(store: Store) -> None:
    """The key that the database computes for an edge is the one that model.py computes."""
    flow = write_flow(store)
    [edge] = store.db.collection("project_models").all()
    assert edge["_key"] == edge_key("project_models", flow["project"]["_id"], flow["model"]["_id"])


def test_the_audit_says_who_wrote_what_and_when(db: Any) -> None:
    """There is one audit entry per write, with its provenance and every document it made."""
    store = Store(db, provenance={"through": "airflow", "dag_id": "d"})
    ref = store.write(stages.register_model("m", project=store.write(stages.register_project("p"))))
    entries = sorted((e for e in db.collection(AUDIT).all() if e["touched"]), key=lambda e: e["at"])
    assert [len(e["created"]) for e in entries] == [1, 2]
    assert entries[1]["created"][0] == ref["_id"]
    assert entries[1]["provenance"]["dag_id"] == "d"
    assert store.get(ref)["provenance"] == entries[1]["provenance"]


def test_one_deployment_of_a_project_and_environment_is_active(store: Store) -> None:
    """Registering an active deployment archives the one before it, in the same request, and files it."""
    write_flow(store)
    one = store.get("dep r1", "Deployment")
    store.write(stages.register_deployment("dep 2", project="wine", model="forest"))
    assert store.get("dep r1", "Deployment")["status"] == "archived"
    assert [d["tag"] for d in store.search("Deployment", {"status": "active"})["nodes"]] == ["dep 2"]
    store.write(stages.register_deployment("other", project="wine", model="forest", environment="staging"))
    assert len(store.search("Deployment", {"status": "active"})["nodes"]) == 2
    [entry] = [e for e in store.db.collection(AUDIT).all() if e.get("replaced")]
    assert entry["replaced"] == [one]


def test_a_statement_may_have_an_end(store: Store) -> None:
    """One that is executed for longer is ended by the database; what the caller allows it goes before."""
    long = "FOR a IN 1..1000 FOR b IN 1..1000 FILTER a < 0 RETURN a"
    hasty = Store(store.db, seconds=0.01)
    with pytest.raises(Unavailable, match="longer than it may"):
        hasty.query(long)
    assert hasty.query(long, seconds=60) == store.query(long) == []


def test_a_run_without_parameters_is_deployed(store: Store) -> None:
    """The edge to parameters is there as soon as they are; a run that is not there is an error as before."""
    store.write(stages.register_project("wine"))
    store.write(stages.register_model("forest", project="wine"))
    store.write(stages.log_run("r", model="forest", metrics={"f1": 0.9}))
    deployment = stages.register_deployment("d", project="wine", model="forest", run="r")
    for stage in (deployment, Stage.from_json(deployment.to_json())):
        store.write(stage)
        assert (store.counts()["deployment_run"], store.counts()["deployment_modelparams"]) == (1, 0)
    store.write(stages.log_run("r", model="forest", metrics={"f1": 0.9}, params={"depth": 3}))
    store.write(deployment)
    assert store.counts()["deployment_modelparams"] == 1
    with pytest.raises(NotFound, match="nowhere"):
        store.write(stages.register_deployment("e", project="wine", model="forest", run="nowhere"))


def test_a_batch_links_what_it_holds(store: Store) -> None:
    """Written together in one request, a run and its deployment are linked as if one had followed the other."""
    steps = [
        stages.register_project("wine"),
        stages.register_model("forest", project="wine"),
        stages.log_run("r", model="forest", params={"depth": 3}),
        stages.log_run("bare", model="forest"),
        stages.register_deployment("d", project="wine", model="forest", run="r"),
        stages.register_deployment("e", project="wine", model="forest", run="bare", environment="test"),
    ]
    store.write_many(steps)
    counts = store.counts()
    assert (counts["deployment"], counts["deployment_run"], counts["deployment_modelparams"]) == (2, 2, 1)


def test_an_archived_deployment_comes_back_only_on_purpose(store: Store) -> None:
    """Registering an archived deployment again is a conflict; revising makes it the active one."""
    write_flow(store)
    stage = stages.register_deployment("again", project="wine", model="forest")
    store.write(stage)
    store.write(stages.register_deployment("next", project="wine", model="forest"))
    with pytest.raises(Conflict, match="status"):
        store.write(stage)
    store.write(stage, on_conflict="revise")
    assert [d["tag"] for d in store.search("Deployment", {"status": "active"})["nodes"]] == ["again"]


# --- errors ----------------------------------------------------------------------------------------------


def test_a_statement_that_meets_another_writer_is_tried_again(store: Store) -> None:
    """What another writer is in the way of is written once that is gone; after `patience` seconds it is refused."""
    projects = store.db.collection("project")
    statement = 'INSERT {_key: "taken"} INTO project RETURN NEW._key'
    projects.insert({"_key": "taken"})
    with pytest.raises(Refused, match="unique constraint"):
        Store(store.db, patience=0).query(statement)
    gone = threading.Timer(0.1, projects.delete, ["taken"])
    gone.start()
    assert store.query(statement) == ["taken"]
    gone.join()


def test_a_database_that_is_not_provisioned_says_so(empty_db: Any) -> None:
    """Writing to an empty database names the cure."""
    with pytest.raises(NotProvisioned, match="arangopipe provision"):
        Store(empty_db).write(stages.register_project("p"))


@pytest.mark.skipif("ARANGO_URL" in os.environ, reason="takes the lock of the embedded file")
def test_a_locked_file_is_unavailable(tmp_path: Path) -> None:
    """A writer that holds the file too long makes others fail with a typed error, and nothing is written."""
    import sqlite3

    db = connect(f"embedded://{tmp_path}/locked.db", timeout=0.1)
    provision(db)
    other = sqlite3.connect(tmp_path / "locked.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        Store(db, patience=0).write(stages.register_project("p"))
    other.execute("ROLLBACK")
    assert Store(db).counts()["project"] == 0
