"""Creating a database and its users, on a server with rights."""

import json
import logging
import socket
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import pytest

from arangopipe_ops import errors, stages
from arangopipe_ops.admin import User, access, doctor, extend, plan_database, provision, provision_database
from arangopipe_ops.connection import connect
from arangopipe_ops.embedded.server import listen, prepare, run
from arangopipe_ops.store import Store

ROOT, SECRET = "correct horse", "a secret that is as long as it has to be"
WRITER, READER = "tr0ub4dor-writes", "tr0ub4dor-reads"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Host and port of a file that is served in a thread of this process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    served = prepare(tmp_path_factory.mktemp("served") / "x.db", "127.0.0.1", ROOT, SECRET)
    threading.Thread(target=run, args=(served.database, listen(port=port)), daemon=True).start()
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return f"127.0.0.1:{port}"
        time.sleep(0.02)
    raise TimeoutError(port)


@pytest.fixture
def system(address: str) -> Any:
    return connect(f"http://root:{ROOT.replace(' ', '%20')}@{address}/_system")


@pytest.fixture
def database(system: Any, address: str, request: pytest.FixtureRequest) -> str:
    """The name of a provisioned database with a writer and a reader of its own."""
    name = f"db{abs(hash(request.node.name)) % 10**9}"
    users = [User(f"{name}w", WRITER), User(f"{name}r", READER, role="reader")]
    assert provision_database(system, name, users=users)
    provision(as_user("root", ROOT.replace(" ", "%20"), address, name))
    return name


def as_user(user: str, password: str, address: str, database: str) -> Any:
    return connect(f"http://{user}:{password}@{address}/{database}", timeout=5)


def test_access_is_what_a_user_may_do_with_the_graph(database: str, address: str) -> None:
    """It is tried and not looked up, and nothing is written."""
    users = {"write": ("w", WRITER), "read": ("r", READER)}
    for right, (suffix, password) in users.items():
        assert access(as_user(f"{database}{suffix}", password, address, database)) == right
    assert Store(as_user(f"{database}r", READER, address, database)).counts()["project"] == 0


def test_a_writer_writes_and_changes_no_structure(database: str, address: str) -> None:
    """A pipeline's user registers and reads; it creates no collection, and sees no other database."""
    db = as_user(f"{database}w", WRITER, address, database)
    store = Store(db)
    assert provision(db) is False
    assert store.write(stages.register_project("wine"))["created"]
    assert store.search("Project")["total"] == 1
    with pytest.raises(errors.Unauthorized):
        extend(db, nodes=[{"kind": "Report", "collection": "reports", "identity": ["name"]}])
    for other in ("_system", f"{database}x"):
        with pytest.raises((errors.Unauthorized, errors.NotProvisioned)):
            Store(as_user(f"{database}w", WRITER, address, other)).counts()


def test_a_reader_only_reads(database: str, address: str) -> None:
    """The optional reader searches, and may write nothing."""
    store = Store(as_user(f"{database}r", READER, address, database))
    assert store.search("Project")["total"] == 0
    with pytest.raises(errors.Unauthorized):
        store.write(stages.register_project("wine"))


def test_an_owner_provisions_and_extends(system: Any, address: str) -> None:
    """An owner does in its database what changes its structure, and nothing in others."""
    provision_database(system, "owned", users=[User("owner", WRITER, role="owner")])
    db = as_user("owner", WRITER, address, "owned")
    assert provision(db)
    assert extend(db, nodes=[{"kind": "Report", "collection": "reports", "identity": ["name"]}])
    with pytest.raises(errors.Unauthorized):
        provision_database(as_user("owner", WRITER, address, "_system"), "more")


def test_creating_again_changes_nothing(system: Any, database: str, address: str) -> None:
    """With all in place nothing is planned, nothing done, and a password stays what it was."""
    users = [User(f"{database}w", "another"), User(f"{database}r", "another", role="reader")]
    assert plan_database(system, database, users=users) == []
    assert provision_database(system, database, users=users) is False
    Store(as_user(f"{database}w", WRITER, address, database)).counts()


def test_the_plan_names_what_is_missing_and_what_is_too_much(system: Any, database: str) -> None:
    """Before anything is changed: the database, a user, its rights; and a right elsewhere that it should not have."""
    planned = plan_database(system, "planned", users=[User("newcomer", WRITER)])
    assert [(each.what, each.does) for each in planned] == [
        ("database", "create"),
        ("user", "create"),
        ("right", "create"),
        ("right", "create"),
    ]
    assert "planned" not in system.databases()
    system.update_permission(f"{database}w", "ro", "_system")
    [extra] = plan_database(system, database, users=[User(f"{database}w", WRITER)])
    assert (extra.problem, extra.does) == ("extra", "nothing")
    assert "ro on _system" in extra.detail


def test_at_once(system: Any, address: str) -> None:
    """Two that create the same database and user at the same time both succeed."""
    failures: list[BaseException] = []

    def create() -> None:
        try:
            own = connect(f"http://root:{ROOT.replace(' ', '%20')}@{address}/_system")
            for i in range(5):
                provision_database(own, f"atonce{i}", users=[User(f"both{i}", WRITER)])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=create) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert provision_database(system, "atonce4", users=[User("both4", WRITER)]) is False


def test_passwords_are_shown_nowhere(address: str, system: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in a user's text, nor in the log, nor in an error or what it stems from, nor in a plan."""
    caplog.set_level(logging.DEBUG)
    user = User("", WRITER)
    assert WRITER not in repr(user)
    assert WRITER not in repr(plan_database(system, "secret", users=[User("newcomer", WRITER)]))
    with pytest.raises(errors.ArangopipeError) as refused:
        provision_database(system, "secret", users=[user])
    error: BaseException | None = refused.value
    assert WRITER not in "".join(traceback.format_exception(error))
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None
    provision_database(system, "secret", users=[User("silent", WRITER)])
    assert WRITER not in caplog.text


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({}, {"sharding": "single"}),
        (
            {"replication_factor": 3, "write_concern": 2},
            {"sharding": "single", "replicationFactor": 3, "writeConcern": 2},
        ),
        ({"sharding": "sharded", "replication_factor": 2}, {"sharding": "flexible", "replicationFactor": 2}),
    ],
)
def test_replication_is_asked_for_where_it_belongs(tmp_path: Path, given: Any, sent: Any) -> None:
    """Sharding, replication factor and write concern go to the database's options, and nowhere else."""
    system, bodies = connect(f"embedded://{tmp_path}/x.db"), []
    send = system.conn._http.send_request

    def record(session: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        bodies.append((method, url.partition("/_api/")[2], kwargs.get("data") or (args[2:3] or (None,))[0]))
        return send(session, method, url, *args, **kwargs)

    system.conn._http.send_request = record
    provision_database(system, "clustered", **given)
    [made] = [data for method, path, data in bodies if (method, path) == ("post", "database")]
    assert (made if isinstance(made, dict) else json.loads(made))["options"] == sent


def test_shards_are_for_what_can_have_them(tmp_path: Path) -> None:
    """In a sharded database everything gets the shards, but for collections with a unique index: they have one."""
    db, shards = connect(f"embedded://{tmp_path}/x.db"), {}
    send = db.conn._http.send_request

    def record(session: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        data = kwargs.get("data")
        if method == "post" and url.endswith(("/_api/collection", "/_api/gharial")):
            given = data if isinstance(data, dict) else json.loads(data)
            assert "waitForSync" not in given or given["waitForSync"] is False
            shards[given["name"]] = given.get("numberOfShards") or given.get("options", {}).get("numberOfShards")
        return send(session, method, url, *args, **kwargs)

    db.conn._http.send_request = record
    provision(db, number_of_shards=3)
    assert shards == {"deployment": 1, "audit": 3, "enterprise_ml_graph": 3}


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"sharding": "many"}, "sharding"),
        ({"replication_factor": 0}, "replication_factor"),
        ({"replication_factor": 2, "write_concern": 3}, "write_concern"),
        ({"users": [User("a", "")]}, "users"),
        ({"users": [User("a", "x"), User("a", "y")]}, "users"),
        ({"users": [User("a", "x", role="king")]}, "users"),  # type: ignore[arg-type]
    ],
)
def test_settings_that_cannot_be(system: Any, given: Any, path: str) -> None:
    """What no cluster can be is refused before anything is sent, naming the setting."""
    with pytest.raises(errors.Invalid) as refused:
        provision_database(system, "impossible", **given)
    assert refused.value.path == path
    assert "impossible" not in system.databases()


def test_the_doctor_sees_a_reader(database: str, address: str, system: Any) -> None:
    """Who may only read is told so, and the call that the cure names gives the right."""
    name = f"{database}r"
    [finding] = doctor(as_user(name, READER, address, database))
    assert finding.name == "permissions"
    [call] = [part for part in finding.cure.split("`")[1::2] if "(" in part]
    eval(call, {"provision_database": provision_database, "User": User, "system": system, "password": READER})
    assert doctor(as_user(name, READER, address, database)) == []


@pytest.mark.parametrize(
    ("user", "password", "database", "expected"),
    [("root", "wrong", "_system", "permissions"), ("root", "correct%20horse", "nowhere", "database")],
)
def test_the_doctor_before_the_door(address: str, user: str, password: str, database: str, expected: str) -> None:
    """A wrong password and a database that is not there are findings, not errors."""
    [finding] = doctor(as_user(user, password, address, database))
    assert (finding.name, finding.severity) == (expected, "error")


def test_the_doctor_without_a_server() -> None:
    """A server that does not answer is a finding that says where it was looked for."""
    [finding] = doctor(connect("http://root:x@127.0.0.1:9/ml", timeout=0.1))
    assert finding.name == "connection"
    assert "127.0.0.1:9" in finding.problem
