"""Opening a database by its URL, and what happens when it does not answer."""

import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from answering_server import answering
from socket_server import PASSWORD, SocketServer, serving

from arangopipe_ops import stages
from arangopipe_ops.admin import provision
from arangopipe_ops.connection import connect, describe, redacted
from arangopipe_ops.errors import Misconfigured, NotProvisioned, Unauthorized, Unavailable
from arangopipe_ops.store import Store

SECRET = "s3cr3t/@:word"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SocketServer]:
    with serving(tmp_path / "served.db") as server:
        yield server


def url_of(*hosts: str, name: str = "_system", password: str = PASSWORD) -> str:
    return f"http://root:{quote(password, safe='')}@{','.join(hosts)}/{name}"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def test_opening_sends_nothing(server: SocketServer) -> None:
    """Connecting to a server costs no request; opening a provisioned graph costs one."""
    provision(connect(url_of(server.address)))
    server.requests.clear()
    db = connect(url_of(server.address))
    assert server.requests == []
    assert provision(db) is False
    assert len(server.requests) == 1


def test_a_flow_over_a_socket(server: SocketServer) -> None:
    """The same library works over HTTP, one request for a stage."""
    db = connect(url_of(server.address))
    provision(db)
    server.requests.clear()
    ref = Store(db).write(stages.register_project("🍷 / \" '"))
    assert server.requests == ["POST /_db/_system/_api/cursor"]
    assert Store(db).get(ref)["name"] == "🍷 / \" '"


def test_without_a_url_the_environment_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument comes first, then ARANGOPIPE_URL, then a file in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ARANGOPIPE_URL", raising=False)
    assert describe(connect()) == str(tmp_path / "arangopipe.db")
    monkeypatch.setenv("ARANGOPIPE_URL", f"embedded://{tmp_path}/other.db")
    assert describe(connect()) == str(tmp_path / "other.db")
    assert describe(connect(f"embedded://{tmp_path}/third.db")) == str(tmp_path / "third.db")


def test_a_path_with_spaces_and_percent_signs(tmp_path: Path) -> None:
    """A path is percent-encoded in a URL, and any file name can be written so."""
    folder = tmp_path / "a b%41"
    folder.mkdir()
    db = connect(f"embedded://{quote(str(folder))}/graph.db")
    provision(db)
    assert (folder / "graph.db").is_file()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://root:{secret}@host/db",
        "http://",
        "http://root:{secret}@/db",
        "http://root:{secret}/more@host/db",
        "http://root:{secret}@more@host/db",
        "http://root:{secret}@host/db/more",
        "http://root:{secret}@host/db?verify=no",
        "embedded://relative.db",
        "embedded:graph.db",
        "/tmp/graph.db",
    ],
)
def test_what_is_no_url_is_misconfigured(url: str) -> None:
    """A URL that is none is refused with the forms that are, and without its password."""
    with pytest.raises(Misconfigured, match="looks like") as refused:
        connect(url.format(secret="s3cr3t"))
    assert "s3cr3t" not in str(refused.value)


def test_a_missing_folder_is_misconfigured(tmp_path: Path) -> None:
    """A file in a folder that does not exist is refused by its name."""
    with pytest.raises(Misconfigured, match="nowhere"):
        connect(f"embedded://{tmp_path}/nowhere/graph.db")


def test_a_folder_is_misconfigured(tmp_path: Path) -> None:
    """A folder in place of a file is told as such."""
    with pytest.raises(Misconfigured, match="is a folder; name a file in it"):
        connect(f"embedded://{tmp_path}")


@pytest.mark.parametrize("answer", [(404, '{"detail": "nothing here"}'), (501, "<html>"), (405, "")])
def test_what_is_not_arangodb_is_misconfigured(answer: tuple[int, str]) -> None:
    """A web server of another kind at that port is told as such."""
    with answering(lambda _: answer) as web, pytest.raises(Misconfigured, match=r"not ArangoDB.*check host and port"):
        Store(connect(web.url)).counts()


def test_a_server_without_tls_is_misconfigured(server: SocketServer) -> None:
    """Who asks with https where there is http is told so, and not that a certificate is bad."""
    db = connect(url_of(server.address).replace("http://", "https://"))
    with pytest.raises(Misconfigured, match=r"does not answer with TLS.*begins with http://"):
        Store(db).counts()


def test_a_wrong_password_is_unauthorized(server: SocketServer) -> None:
    """A wrong password is a typed error for reading and for writing."""
    db = connect(url_of(server.address, password=SECRET))
    with pytest.raises(Unauthorized, match="password"):
        provision(db)
    with pytest.raises(Unauthorized, match="password"):
        Store(db).write(stages.register_project("p"))


def test_a_missing_database_is_named(server: SocketServer) -> None:
    """A database that does not exist is not provisioned, and the message says what to do."""
    with pytest.raises(NotProvisioned, match="Create it"):
        provision(connect(url_of(server.address, name="absent")))


def test_a_host_that_is_down_is_unavailable() -> None:
    """Nobody listening is one typed error after the deadline, which names the host and the reason."""
    with pytest.raises(Unavailable, match=r"no answer from http://127\.0\.0\.1:\d+ within 0\.3 s: connection refused"):
        provision(connect(url_of(f"127.0.0.1:{free_port()}"), timeout=0.3))


def test_an_unknown_host_is_unavailable() -> None:
    """A host name that does not resolve is the same typed error."""
    with pytest.raises(Unavailable, match=r"no answer from http://absent\.invalid:8529"):
        provision(connect(url_of("absent.invalid:8529"), timeout=0.3))


def test_a_server_that_never_answers_is_unavailable() -> None:
    """A server that accepts and says nothing runs into the deadline."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(Unavailable, match="timed out"):
            provision(connect(url_of(f"127.0.0.1:{silent.getsockname()[1]}"), timeout=0.2))


def test_the_next_host_answers(server: SocketServer) -> None:
    """When one host of several is down, another one is asked."""
    db = connect(url_of(f"127.0.0.1:{free_port()}", server.address))
    assert provision(db) is True


@pytest.mark.parametrize("fault", ["lose", "refuse", "503"])
def test_a_write_survives_a_fault(server: SocketServer, fault: str) -> None:
    """A lost reply, a dropped connection and a busy server are sent again, and everything is there once."""
    db = connect(url_of(server.address))
    provision(db)
    store = Store(db)
    project = store.write(stages.register_project("p"))
    server.faults.extend([fault, fault])
    server.requests.clear()
    model = store.write(stages.register_model("m", project=project))
    assert len(server.requests) == 3
    assert store.get(model)["name"] == "m"
    assert store.counts() | {"models": 1, "project_models": 1} == store.counts()


def test_credentials_stay_out_of_sight(server: SocketServer, caplog: pytest.LogCaptureFixture) -> None:
    """No message, representation or log line holds a password."""
    caplog.set_level(logging.DEBUG)
    db = connect(url_of(f"127.0.0.1:{free_port()}", password=SECRET), timeout=0.2)
    with pytest.raises(Unavailable) as refused:
        provision(db)
    chain: list[str] = []
    error: BaseException | None = refused.value
    while error is not None:
        chain.append(repr(error))
        error = error.__cause__ or error.__context__
    seen = "\n".join([*chain, caplog.text, repr(db), repr(Store(db)), describe(db)])
    for form in (SECRET, quote(SECRET, safe=""), PASSWORD):
        assert form not in seen


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("http://root:pw@host:1/db", "http://***@host:1/db"),
        ("http://root:p@w@host/db", "http://***@host/db"),
        ("http://root:p/w@host/db", "http://***@host/db"),
        ("http://host/db", "http://host/db"),
    ],
)
def test_redacted(url: str, safe: str) -> None:
    """A URL is shown without its user and password."""
    assert redacted(url) == safe
