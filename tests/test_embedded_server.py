"""The embedded database behind a socket of its own: the command, users, rights, requests that are wrong."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from arango import ArangoClient
from arango import exceptions as errors
from arango.http import DefaultHTTPClient, DeflateRequestCompression

from arangopipe_ops.embedded.rights import Identity
from arangopipe_ops.embedded.server import listen, prepare, run

pytestmark = pytest.mark.slow

PASSWORD = "correct horse"
SECRET = "a secret that is as long as it has to be"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(port)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a file that is served in a thread of this process."""
    path, port = tmp_path_factory.mktemp("served") / "x.db", _free_port()
    served = prepare(path, "127.0.0.1", PASSWORD, SECRET)
    threading.Thread(target=run, args=(served.database, listen(port=port)), daemon=True).start()
    _wait_for(port)
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def system(server: str) -> Any:
    return ArangoClient(server).db("_system", "root", PASSWORD)


@pytest.fixture
def db(server: str, system: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A database of the test's own, as its user `ann` sees it."""
    name = re.sub(r"\W", "_", request.node.name)[:60]
    system.create_database(name, users=[{"username": "ann", "password": "ann's", "active": True}])
    yield ArangoClient(server).db(name, "ann", "ann's")
    system.delete_database(name)


def _send(server: str, method: str, path: str, **kwargs: Any) -> requests.Response:
    return requests.request(method, server + path, auth=("root", PASSWORD), timeout=20, **kwargs)


# the command


def _start(path: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "arangopipe_ops", "serve-db", "--file", str(path), *arguments]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ARANGO_")}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=kept | environment)


def test_command_makes_up_a_password_once(tmp_path: Path) -> None:
    """`serve-db` prints a new root password the first time only, and it works from then on."""
    port = _free_port()
    process = _start(tmp_path / "x.db", "--port", str(port))
    assert process.stdout is not None
    password = process.stdout.readline().rpartition(" ")[2].strip()
    _wait_for(port)
    assert ArangoClient(f"http://127.0.0.1:{port}").db("_system", "root", password).version().startswith("3.12")
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert password not in output
    assert prepare(tmp_path / "x.db", "127.0.0.1").generated is None


def test_command_without_its_port_keeps_the_password(tmp_path: Path) -> None:
    """A port that is in use or none is one line, and no password is made up that would be shown only then."""
    with listen(port=0) as taken:
        for port in (taken.getsockname()[1], 99999):
            process = _start(tmp_path / "x.db", "--port", str(port))
            out, err = process.communicate(timeout=30)
            assert (process.returncode, out, err.count("\n")) == (1, "", 1)
            assert "in use" in err or "the port 99999 is not between 0 and 65535" in err
    assert not (tmp_path / "x.db").exists()


def test_command_finishes_what_it_works_on(tmp_path: Path) -> None:
    """SIGTERM lets a request at work end, and what it wrote is in the file."""
    port = _free_port()
    process = _start(tmp_path / "x.db", "--port", str(port), ARANGO_ROOT_PASSWORD=PASSWORD)
    _wait_for(port)
    url = f"http://127.0.0.1:{port}"
    ArangoClient(url).db("_system", "root", PASSWORD).create_collection("c")
    answers: list[int] = []
    query = {"query": "FOR x IN 1..3 LET slept = SLEEP(0.2) INSERT {x, slept} INTO c"}
    request = threading.Thread(
        target=lambda: answers.append(_send(url, "post", "/_api/cursor", json=query).status_code)
    )
    request.start()
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    request.join()
    process.communicate(timeout=20)
    assert answers == [201]
    from arangopipe_ops.embedded.transport import client

    assert client(tmp_path / "x.db").db("_system").collection("c").count() == 3


def test_other_addresses_need_a_chosen_password(tmp_path: Path) -> None:
    """Nobody but this machine may connect to a file whose password was made up."""
    process = _start(tmp_path / "x.db", "--host", "0.0.0.0")
    _, complaint = process.communicate(timeout=20)
    assert process.returncode == 1
    assert complaint.startswith("arangopipe: ")
    assert "ARANGO_ROOT_PASSWORD" in complaint
    with pytest.raises(ValueError, match=r"0\.0\.0\.0"):
        prepare(tmp_path / "y.db", "0.0.0.0")


# who may do what


def test_credentials_are_checked(server: str, db: Any) -> None:
    """Passwords and tokens are needed and have to be right; an inactive user is nobody."""
    client = ArangoClient(server)
    assert client.db(db.name, "ann", "ann's", auth_method="jwt", verify=True)
    for user, password in (("ann", "wrong"), ("nobody", "ann's"), ("", "")):
        with pytest.raises(errors.ServerVersionError) as failure:
            client.db(db.name, user, password).version()
        assert (failure.value.http_code, failure.value.error_code) == (401, 11)
    assert requests.get(f"{server}/_api/version", timeout=9).status_code == 401
    for header in ("Basic !", "Basic Og==", "Bearer x.y.z", "Digest x", "Bearer"):
        assert requests.get(f"{server}/_api/version", headers={"authorization": header}, timeout=9).status_code == 401
    client.db("_system", "root", PASSWORD).update_user("ann", "ann's", active=False)
    with pytest.raises(errors.ServerVersionError):
        db.version()
    client.db("_system", "root", PASSWORD).update_user("ann", "ann's", active=True)


def test_passwords_are_not_in_the_file(server: str, system: Any, db: Any) -> None:
    """Neither passwords nor access tokens can be read from the file or over HTTP."""
    token = db.create_access_token("ann", "ci", int(time.time()) + 60)["token"]
    assert ArangoClient(server).db(db.name, "ann", token).version()
    folder = Path(system.properties()["path"]).parent
    content = b"".join(path.read_bytes() for path in folder.iterdir())
    for secret in ("ann's", PASSWORD, token, SECRET):
        assert secret.encode() not in content
    assert "password" not in json.dumps(system.users())


@pytest.mark.parametrize("level", ["rw", "ro", "none"])
def test_rights_on_collections(system: Any, db: Any, level: str) -> None:
    """Documents and statements reach a collection as far as the user's right on it goes."""
    db.create_collection("open").insert({"_key": "a"})
    closed = db.create_collection("closed")
    closed.insert({"_key": "a"})
    system.update_permission("ann", level, db.name, "closed")
    attempts = {
        "ro": (lambda: closed.get("a"), lambda: list(db.aql.execute("FOR d IN closed RETURN d"))),
        "rw": (
            lambda: closed.insert({}),
            lambda: closed.truncate(),
            lambda: db.aql.execute("FOR d IN open INSERT {} INTO closed"),
        ),
    }
    allowed = {"rw": {"ro", "rw"}, "ro": {"ro"}, "none": set()}[level]
    for need, calls in attempts.items():
        for call in calls:
            if need in allowed:
                call()
            else:
                with pytest.raises(errors.ArangoServerError) as failure:
                    call()
                assert failure.value.http_code == 403
    assert ("closed" in [each["name"] for each in db.collections()]) == (level != "none")
    if level == "none":
        with pytest.raises(errors.AQLQueryExecuteError, match="closed"):
            db.aql.execute("RETURN DOCUMENT(CONCAT('clo', 'sed/a'))")


@pytest.mark.parametrize(
    ("grants", "expected"),
    [
        (
            {
                "_system": {"": "none"},
                "*": {"": "ro", "*": "rw"},
                "shop1": {"products": "ro", "*": "none"},
                "shop2": {"reviews": "none"},
            },
            {("shop1", "products"): "ro", ("shop1", "customers"): "rw", ("shop2", "reviews"): "none"},
        ),
        (
            {
                "_system": {"": "ro"},
                "shop2": {"": "rw"},
                "*": {"": "none"},
                "shop1": {"customers": "none", "*": "none"},
            },
            {("shop1", "products"): "ro", ("shop1", "customers"): "none", ("shop2", "reviews"): "rw"},
        ),
    ],
)
def test_the_manuals_examples_of_rights(grants: Any, expected: Any) -> None:
    """A grant on the collection itself counts; else the highest of the wildcards', the database's and `_system`'s."""
    identity = Identity("JohnSmith", grants)
    assert {place: identity.on_collection(*place) for place in expected} == expected


def test_rights_on_databases(server: str, system: Any, db: Any) -> None:
    """A user sees the databases it has rights on, and changes nothing where it may only read."""
    assert db.databases_accessible_to_user() == [db.name]
    with pytest.raises(errors.CollectionListError) as failure:
        ArangoClient(server).db("_system", "ann", "ann's").collections()
    assert failure.value.http_code == 401
    for call in (db.users, lambda: db.create_database("x"), lambda: db.update_permission("ann", "rw", "_system")):
        with pytest.raises(errors.ArangoServerError) as denied:
            call()
        assert denied.value.http_code == 403
    system.update_permission("ann", "ro", db.name)
    with pytest.raises(errors.CollectionCreateError) as refused:
        db.create_collection("c")
    assert refused.value.http_code == 403


def test_users_ask_about_themselves(server: str, system: Any, db: Any) -> None:
    """Without a right on the database users still learn which databases they may use, and nothing of others."""
    own = requests.get(f"{server}/_api/user/ann/database", auth=("ann", "ann's"), timeout=20)
    assert own.json()["result"] == {db.name: "rw"}
    another = "root"
    other = requests.get(f"{server}/_api/user/{another}/database", auth=("ann", "ann's"), timeout=20)
    assert other.status_code == 401


def test_access_tokens_need_no_name(server: str, db: Any) -> None:
    """An access token says whose it is; with the name of somebody else it is worth nothing."""
    token = db.create_access_token("ann", "nameless", int(time.time()) + 60)["token"]
    url = f"{server}/_db/{db.name}/_api/version"
    statuses = [requests.get(url, auth=(name, token), timeout=20).status_code for name in ("", "ann", "root")]
    assert statuses == [200, 200, 401]
    answer = requests.post(f"{server}/_open/auth", json={"username": "", "password": token}, timeout=20)
    assert requests.get(url, headers={"Authorization": f"bearer {answer.json()['jwt']}"}, timeout=20).ok
    for wrong in ("", "v1.zz.00", "v1." + b"ann".hex() + ".00", "v1"):
        assert requests.get(url, auth=("", wrong), timeout=20).status_code == 401


def test_an_empty_password_is_none(tmp_path: Path) -> None:
    """An empty password in the environment does not leave a file without a root user."""
    assert prepare(tmp_path / "x.db", "127.0.0.1", "").generated
    with pytest.raises(ValueError, match="choose a password"):
        prepare(tmp_path / "y.db", "0.0.0.0", "")


# requests that are wrong


def _malformed() -> Iterator[tuple[str, str, bytes]]:
    bodies = (b"{", b"[1", b'"x"', b"7", b"[]", b"{}", b"\xff\xfe", b'{"name": 7, "query": 7, "fields": 7}')
    bodies += (b'{"query": "RETURN 1", "batchSize": "x", "options": 7}', b'{"query": "RETURN \\ud800"}')
    bodies += (b'{"collections": {"write": 7}}', b'{"edgeDefinitions": [7], "name": "g"}', b'["\\ud800", null, 7, []]')
    bodies += (b"[" * 100_000, b'{"a":' * 100_000)
    paths = ("cursor", "collection", "index?collection=c", "gharial", "document/c", "import?collection=c&type=array")
    paths += ("query", "explain", "user", "database", "transaction/begin", "token/root", "cursor/1", "import?type=x")
    for path in paths:
        for body in bodies:
            yield "POST", f"/_api/{path}", body
    paths = ("document/c", "document/c/a", "collection/c/properties", "collection/c/rename", "query/properties")
    for path in (*paths, "simple/by-example", "simple/remove-by-keys?collection=c", "simple/all?collection=c"):
        for body in bodies:
            yield "PUT", f"/_api/{path}", body
            yield "PATCH", f"/_api/{path}", body


def test_malformed_requests_are_errors_of_arangodb(server: str, system: Any) -> None:
    """Whatever the body, the answer is JSON with ArangoDB's error, never 500 and never a broken connection."""
    system.create_collection("c", system=False)
    with requests.Session() as session:
        session.auth = ("root", PASSWORD)
        for method, path, body in _malformed():
            answer = session.request(method, server + path, data=body, timeout=20)
            assert answer.status_code < 500 or answer.status_code == 501, (method, path, body[:60], answer.text)
            if answer.status_code >= 400:
                assert answer.json()["errorNum"], (method, path, body[:60])
    system.delete_collection("c")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/_db/nowhere/_api/collection", 404),
        ("/_api/nothing", 404),
        ("/", 404),
        ("//", 404),
        ("/_db/", 404),
        ("/_api/document/%FF/%00", 404),
        ("/_api/job/done?count=x", 400),
        ("/_api/cursor", 404),
        ("/_api/view/none", 404),
        ("/_api/view/v/properties/x", 501),
        ("/_api/analyzer/a/b", 501),
        ("/_api/foxx/service", 501),
        ("/_api/replication/inventory", 501),
        ("/_admin/cluster/health", 501),
    ],
)
def test_paths_that_lead_nowhere(server: str, path: str, status: int) -> None:
    """An unknown path is 404, a part of ArangoDB that is not here 501 with what to use instead."""
    answer = _send(server, "get", path)
    assert answer.status_code == status
    assert answer.json()["errorNum"] == 9 if status == 501 else answer.json()["error"]
    assert status != 501 or ", use " in answer.json()["errorMessage"]


def test_an_answer_tells_how_long_it_waited(server: str) -> None:
    """The time in the queue is a header of every answer."""
    assert 0 <= float(_send(server, "get", "/_api/version").headers["x-arango-queue-time-seconds"]) < 20
    assert "x-arango-queue-time-seconds" in _send(server, "get", "/_api/nothing").headers


def test_bytes_are_no_text(server: str) -> None:
    """A body that is no text is refused by a route that reads it, and otherwise as the route itself is."""
    assert _send(server, "post", "/_api/foxx", data=b"PK\xae").json()["errorNum"] == 9
    assert _send(server, "post", "/_api/cursor", data=b"PK\xae").json()["errorNum"] == 600


def test_an_unexpected_error_is_logged(server: str, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """A bug in a handler is HTTP 500 with error 4, and a log record with its traceback."""
    monkeypatch.setattr("arangopipe_ops.embedded.catalog.Catalog.database", None)
    answer = _send(server, "get", "/_api/collection")
    assert (answer.status_code, answer.json()["errorNum"]) == (500, 4)
    assert any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
def test_packed_bodies(server: str, encoding: str) -> None:
    """Bodies may be packed; an unknown or broken packing is 400."""
    pack = {"gzip": gzip.compress, "deflate": zlib.compress, "br": bytes}[encoding]
    headers = {"content-encoding": encoding}
    answer = _send(server, "post", "/_api/cursor", data=pack(b'{"query": "RETURN 7"}'), headers=headers)
    assert answer.status_code == (400 if encoding == "br" else 201)
    assert _send(server, "post", "/_api/cursor", data=b"broken", headers=headers).status_code == 400


@pytest.mark.parametrize("packed", [False, True])
def test_little_is_read_of_whom_nobody_knows(server: str, packed: bool) -> None:
    """A large body is read of users only, and where anybody may ask it is 413, also one that is small when packed."""
    body = b'{"query": "RETURN 1"}' + b" " * 1_000_000
    headers, content = ({"content-encoding": "gzip"}, gzip.compress(body)) if packed else ({}, body)
    answers = {
        path: requests.post(server + path, data=content, headers=headers, auth=auth, timeout=20).status_code
        for path, auth in (("/_api/cursor", None), ("/_open/auth", None), ("/_db/_system/_api/cursor", ("root", "x")))
    }
    assert answers == {"/_api/cursor": 401, "/_open/auth": 413, "/_db/_system/_api/cursor": 401}
    assert _send(server, "POST", "/_api/cursor", data=content, headers=headers).json()["result"] == [1]


def test_the_driver_packs_what_is_large(server: str) -> None:
    """python-arango's own compression of requests and responses works."""
    client = ArangoClient(
        server, http_client=DefaultHTTPClient(), request_compression=DeflateRequestCompression(threshold=1)
    )
    text = "ä" * 5000
    assert list(client.db("_system", "root", PASSWORD).aql.execute("RETURN @x", bind_vars={"x": text})) == [text]


def test_health_says_whether_the_file_can_be_read(server: str, system: Any) -> None:
    """A probe gets 200 while the file answers, without credentials; names of databases stay secret."""
    assert requests.get(f"{server}/_admin/server/availability", timeout=9).status_code == 200
    assert requests.get(f"{server}/_db/x/_admin/server/availability", timeout=9).status_code == 401
    assert system.check_availability() == "default"


# many at once


def test_writers_over_sockets_take_turns(server: str, db: Any) -> None:
    """Threads with clients of their own write one after the other, and nothing is lost."""
    db.create_collection("c")

    def write() -> None:
        own = ArangoClient(server).db(db.name, "ann", "ann's").collection("c")
        for number in range(20):
            own.insert({"number": number})

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert db.collection("c").count() == 120


def test_waiting_writers_do_not_lock_out_a_transaction(tmp_path: Path) -> None:
    """A transaction goes on and commits while more requests than there are threads wait for its lock."""
    port = _free_port()
    served = prepare(tmp_path / "x.db", "127.0.0.1", PASSWORD)
    threading.Thread(target=run, args=(served.database, listen(port=port), 2), daemon=True).start()
    _wait_for(port)
    url = f"http://127.0.0.1:{port}"
    db = ArangoClient(url).db("_system", "root", PASSWORD)
    db.create_collection("c")
    inside = db.begin_transaction(exclusive="c")
    waiting = [
        threading.Thread(target=_send, args=(url, "post", "/_api/document/c"), kwargs={"json": {"_key": str(key)}})
        for key in range(6)
    ]
    for thread in waiting:
        thread.start()
    time.sleep(0.3)
    started = time.monotonic()
    inside.collection("c").insert({"_key": "inside"})
    inside.commit_transaction()
    assert time.monotonic() - started < 5
    for thread in waiting:
        thread.join()
    assert db.collection("c").count() == 7


def test_a_dump_is_read_in_batches(server: str, system: Any) -> None:
    """A dump gives the documents of its collections as they were, a batch for each number, until it is closed."""
    for name in ("left", "right"):
        system.create_collection(name).insert_many([{"_key": str(n), "n": {"x": n}} for n in range(20)])
    body = {
        "batchSize": 200,
        "shards": ["left", "right"],
        "projections": {"key": ["_key"], "x": ["n", "x"], "y": ["y"]},
    }
    started = _send(server, "post", "/_api/dump/start", json=body)
    dump = started.headers["x-arango-dump-id"]
    system.collection("left").truncate()
    found, number = [], 0
    while (batch := _send(server, "post", f"/_api/dump/next/{dump}?batchId={number}")).status_code == 200:
        again = _send(server, "post", f"/_api/dump/next/{dump}?batchId={number}")
        assert again.text == batch.text
        found += [(batch.headers["x-arango-dump-shard-id"], json.loads(line)) for line in batch.text.splitlines()]
        number += 1
    assert (started.status_code, batch.status_code) == (201, 204)
    assert number > 2
    expected = [(name, {"key": str(n), "x": n}) for name in ("left", "right") for n in range(20)]
    assert found == expected
    assert _send(server, "post", f"/_api/dump/next/{dump}?batchId={number}&lastBatch=0").status_code == 204
    assert _send(server, "delete", f"/_api/dump/{dump}").status_code == 200
    assert _send(server, "post", f"/_api/dump/next/{dump}?batchId=0").status_code == 404
    for name in ("left", "right"):
        system.delete_collection(name)


@pytest.mark.parametrize(
    ("path", "body", "error"),
    [
        ("start", {"shards": ["nowhere"]}, 1203),
        ("start", {"shards": [1]}, 10),
        ("start", {"projections": {"a": "a"}}, 10),
        ("start", {"filters": {}}, 9),
        ("start?useVPack=true", {}, 9),
        ("next/none?batchId=0", {}, 404),
    ],
)
def test_dumps_that_are_refused(server: str, path: str, body: dict[str, Any], error: int) -> None:
    """A dump needs collections that exist, paths as arrays, and gives JSON."""
    assert _send(server, "post", f"/_api/dump/{path}", json=body).json()["errorNum"] == error
