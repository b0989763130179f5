"""The hook: Airflow's connection as a database URL, and what the test button says."""

import asyncio
import importlib
import json
import logging
from base64 import b64encode
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow_home import HOME
from socket_server import PASSWORD, serving
from test_admin_database import READER, WRITER, address, database, system

from arangopipe_ops import stages
from arangopipe_ops.admin import provision
from arangopipe_ops.airflow import compat
from arangopipe_ops.airflow.assets import asset_uri
from arangopipe_ops.airflow.hooks import ArangopipeHook, connection_url
from arangopipe_ops.connection import connect, describe
from arangopipe_ops.errors import Misconfigured
from arangopipe_ops.store import Store

__all__ = ["address", "database", "system"]
assert HOME.exists()


def connection(**fields: Any) -> Any:
    from airflow.sdk import Connection

    extra = fields.pop("extra", None)
    fields = {"conn_id": "graph", "conn_type": "arangopipe", **fields}
    return Connection(**fields, extra=extra and json.dumps(extra))


def define(monkeypatch: pytest.MonkeyPatch, conn_id: str, **fields: Any) -> None:
    value = {"conn_type": "arangopipe", **fields}
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(value))


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": "db"}, "http://db:8529/"),
        ({"host": "db", "port": 80, "schema": "ml"}, "http://db:80/ml"),
        ({"host": "a, b:1 ,c", "port": 9}, "http://a:9,b:1,c:9/"),
        ({"host": "http://a:8529, http://b:8530/"}, "http://a:8529,b:8530/"),
        ({"host": "https://a"}, "https://a:8529/"),
        ({"host": "a", "extra": {"tls": True}}, "https://a:8529/"),
        ({"host": "a", "extra": {"tls": "true"}}, "https://a:8529/"),
        ({"host": "a", "extra": {"tls": False}}, "http://a:8529/"),
        ({"host": "[::1]", "login": "u"}, "http://u:@[::1]:8529/"),
        ({"host": "a", "login": "ü@", "password": "p/:%", "schema": "m l"}, "http://%C3%BC%40:p%2F%3A%25@a:8529/m%20l"),
        ({"host": "a", "password": "secret"}, "http://root:secret@a:8529/"),
        ({"host": "a", "conn_type": "arangodb"}, "http://a:8529/"),
        ({"extra": {"embedded_file": "/data/my graph.db"}}, "embedded:///data/my%20graph.db"),
    ],
)
def test_a_connection_becomes_a_url(fields: dict[str, Any], url: str) -> None:
    """Hosts, port, credentials, database and extras all reach the URL, escaped."""
    assert connection_url(connection(**fields)) == url
    assert connect(url) if not url.startswith("embedded") else True


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "the connection graph has neither a host nor an embedded_file."),
        ({"host": " , "}, "the connection graph has neither a host nor an embedded_file."),
        (
            {"extra": {"embedded_file": "graph.db"}},
            "the connection graph has the embedded_file 'graph.db', which is no absolute path.",
        ),
        ({"conn_type": "postgres"}, "the connection graph is of type 'postgres', not arangopipe or arangodb."),
    ],
)
def test_a_wrong_connection_is_named(fields: dict[str, Any], problem: str) -> None:
    """A connection that cannot lead to a database says so in one line."""
    with pytest.raises(Misconfigured) as raised:
        connection_url(connection(**fields))
    assert str(raised.value) == problem


@pytest.fixture(params=["get_conn", "aget_conn"])
def opened(request: pytest.FixtureRequest) -> Any:
    """What opens a connection: in a task, and in an event loop."""

    def opened(*conn_id: str) -> Any:
        found = getattr(ArangopipeHook(*conn_id), request.param)()
        return asyncio.run(found) if request.param == "aget_conn" else found

    return opened


def test_a_timeout_that_is_no_number_is_named(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong request_timeout is a Misconfigured connection."""
    define(monkeypatch, "slow", host="db", extra={"request_timeout": "soon"})
    with pytest.raises(Misconfigured, match="the connection slow has a request_timeout of 'soon'"):
        opened("slow")


def test_the_file_of_an_embedded_connection_is_used(
    opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection with an embedded_file opens that file."""
    define(monkeypatch, "laptop", extra={"embedded_file": str(tmp_path / "own graph.db")})
    assert describe(opened("laptop")) == str(tmp_path / "own graph.db")


def test_without_a_default_connection_the_environment_counts(
    opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A laptop needs no connection; ARANGOPIPE_URL is enough."""
    monkeypatch.setenv("ARANGOPIPE_URL", f"embedded://{tmp_path}/from_url.db")
    assert describe(opened()) == str(tmp_path / "from_url.db")


def test_without_any_setting_no_file_is_guessed(opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With neither a connection nor a URL a task fails by name, instead of writing into its working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ARANGOPIPE_URL", raising=False)
    with pytest.raises(Misconfigured, match=r"arangopipe_default is not defined.*ARANGOPIPE_URL"):
        opened()
    assert list(tmp_path.iterdir()) == []


def test_the_default_connection_wins_over_the_environment(
    opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A default connection that is defined is the one in use."""
    monkeypatch.setenv("ARANGOPIPE_URL", f"embedded://{tmp_path}/from_url.db")
    define(monkeypatch, "arangopipe_default", extra={"embedded_file": str(tmp_path / "defined.db")})
    assert describe(opened()) == str(tmp_path / "defined.db")


def test_a_named_connection_that_is_missing_is_an_error(
    opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A misspelled connection never falls back to another database."""
    from arangopipe_ops.airflow.compat import AirflowNotFoundException

    monkeypatch.setenv("ARANGOPIPE_URL", f"embedded://{tmp_path}/from_url.db")
    with pytest.raises(AirflowNotFoundException, match="`arangopipe_defualt` isn't defined"):
        opened("arangopipe_defualt")
    assert not list(tmp_path.iterdir())


def test_the_test_button_tells_what_it_found(url: str, empty_db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says version, place and database, whether the graph is there yet, and what the user may do with it."""
    monkeypatch.setenv("ARANGOPIPE_URL", url)
    ok, message = ArangopipeHook().test_connection()
    assert ok
    assert message.startswith("ArangoDB 3.")
    assert describe(empty_db) in message
    assert "not provisioned yet" in message
    provision(empty_db)
    ok, message = ArangopipeHook().test_connection()
    assert ok
    assert message.endswith("the graph enterprise_ml_graph is provisioned. The user may read and write it.")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("role", "password", "words"),
    [("r", READER, "may read it, and not write."), ("w", WRITER, "may read and write it.")],
)
def test_the_test_button_tells_what_a_user_may_do(
    role: str, password: str, words: str, database: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user who may only read the graph is told so before the first task fails."""
    fields = {"login": f"{database}{role}", "password": password, "schema": database}
    define(monkeypatch, "served", host=address, **fields)
    ok, message = ArangopipeHook("served").test_connection()
    assert ok, message
    assert message.endswith(f"The user {words}")
    assert password not in message


def test_the_hook_provisions_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Provisioning says whether anything was missing."""
    monkeypatch.setenv("ARANGOPIPE_URL", url)
    assert [ArangopipeHook().provision() for _ in range(2)] == [True, False]


@pytest.mark.parametrize(
    ("password", "answer"), [(PASSWORD, "database _system"), ("wrong", "Check user, password and permissions")]
)
def test_the_test_button_reaches_a_server(
    password: str, answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a socket it is the same, and a wrong password is a message and not an exception."""
    with serving(tmp_path / "served.db") as server:
        host, _, port = server.address.partition(":")
        define(monkeypatch, "served", host=host, port=int(port), login="root", password=password)
        ok, message = ArangopipeHook("served").test_connection()
    assert ok == (password == PASSWORD)
    assert answer in message
    assert password not in message


@pytest.mark.parametrize("password", ["root", "a much longer secret"])
def test_no_secret_reaches_a_log_or_a_message(
    password: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the message of a failed test nor a logged URL shows a password, however short."""
    from airflow.sdk.log import redact

    define(
        monkeypatch,
        "down",
        host="127.0.0.1",
        port=9,
        login="service",
        password=password,
        extra={"request_timeout": 0.1},
    )
    basic = b64encode(f"service:{password}".encode()).decode()
    hook = ArangopipeHook("down")
    with caplog.at_level(logging.DEBUG):
        ok, message = hook.test_connection()
    assert not ok
    assert "127.0.0.1:9" in message
    for text in (message, caplog.text, str(redact(connection_url(hook.get_connection("down"))))):
        assert password not in text
        assert password.replace(" ", "%20") not in text
    assert str(redact(f"Authorization: Basic {basic}")) == "Authorization: Basic ***"


def test_hook_lineage_is_told_of_data(url: str, db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data sets and feature sets that were read and written are assets, by name, or by key where that is all."""
    module = importlib.import_module(type(compat.lineage_collector()).__module__)
    collector = module.HookLineageCollector()
    monkeypatch.setattr(module, "get_hook_lineage_collector", lambda: collector)
    monkeypatch.setenv("ARANGOPIPE_URL", url)
    long = "ü" * 1_000
    ArangopipeHook().report(
        read={"Dataset": ["red wine", {"_id": "datasets/abc"}, long], "Featureset": {"_id": "f/1", "name": "a/b"}},
        written=Store(db).write(stages.register_dataset("white")),
    )
    found = collector.collected_assets
    told = [{each.asset.uri for each in those} for those in (found.inputs, found.outputs)]
    known = (("Dataset", "red wine"), ("Dataset", "abc"), ("Featureset", "a/b"))
    assert told == [{asset_uri(kind, name) for kind, name in known}, {asset_uri("Dataset", "white")}]


def test_a_spool_keeps_what_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a `spool` in the connection a write to a database that is away is answered, and kept."""
    extra = {"request_timeout": 0.1, "spool": str(tmp_path / "spool")}
    define(monkeypatch, "down", host="127.0.0.1", port=9, extra=extra)
    ti = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1, log_url="http://log?x")
    store = ArangopipeHook("down").store({"ti": ti, "task": SimpleNamespace(task_type="T")})  # type: ignore[typeddict-item]
    assert store.write(stages.register_project("wine"))["name"] == "wine"
    back = connect(f"embedded://{tmp_path}/back.db")
    provision(back)
    assert Store(back).replay(tmp_path / "spool")["written"] == 1
    assert Store(back).get("wine", "Project")["provenance"]["dag_id"] == "d"
