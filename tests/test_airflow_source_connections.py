"""Airflow connections are where sources are: they get its URL and credentials, and nobody else sees those."""

import json
from pathlib import Path
from typing import Any

import pytest
from airflow_home import airflow, graph, returned, run, states
from answering_server import Asked, answering
from test_airflow_collection import QUERY, TAGS, daily, day, served, stored, wine

from arangopipe_ops.airflow.operators import CollectServingPerfOperator
from arangopipe_ops.errors import Invalid

__all__ = ["airflow", "graph", "served", "wine"]
pytestmark = pytest.mark.slow

SECRET = "hunter2-and-more"


def answer(asked: Asked) -> tuple[int, str]:
    if asked.headers.get("Authorization") not in (f"Bearer {SECRET}", "Basic bWw6aHVudGVyMi1hbmQtbW9yZQ=="):
        return 401, "{}"
    return (200, '{"accuracy": 0.5}') if "wine-2" not in asked.path else (500, SECRET)


@pytest.mark.parametrize("login", ["", "ml"])
def test_a_connection_gives_url_and_credentials(
    wine: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], login: str
) -> None:
    """The server gets them; log, XCom and rendered templates do not, not even what the server says of them."""
    with answering(answer) as server, daily() as built:
        connection = {"conn_type": "http", "host": "127.0.0.1", "port": server.server_port, "password": SECRET}
        monkeypatch.setenv("AIRFLOW_CONN_MODELS", json.dumps({**connection, "login": login}))
        CollectServingPerfOperator(
            task_id="collect",
            sources=[{"type": "http", "conn_id": "models", "url": "/{deployment}/{period_start}", "attempts": 1}],
        )
        dag_run = run(built, **day(3))
    assert states(dag_run) == {"collect": "failed"}
    assert stored(wine) == {(tag, "2026-05-03T00:00", "http"): 0.5 for tag in ("wine-1", "wine-3")}
    assert {each.path.split("/")[1] for each in server.asked} == set(TAGS)
    found = returned(dag_run, "collect")
    assert [each["deployment"] for each in found["faults"]] == ["wine-2"]
    from airflow.models.renderedtifields import RenderedTaskInstanceFields

    rendered = RenderedTaskInstanceFields.get_templated_fields(dag_run.get_task_instance("collect"))
    printed = capfd.readouterr()
    assert "wine-2 by http" in printed.out
    assert "models" in str(rendered)
    assert SECRET not in f"{found}{printed.out}{printed.err}{rendered}"


def test_a_data_base_is_a_connection(wine: Any, served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host of an SQLite connection is the file, as in Airflow's own provider."""
    monkeypatch.setenv("AIRFLOW_CONN_LABELS", json.dumps({"conn_type": "sqlite", "host": f"{tmp_path}/served.db"}))
    with daily() as built:
        CollectServingPerfOperator(task_id="collect", sources=[{"type": "sql", "conn_id": "labels", "query": QUERY}])
    assert states(run(built, **day(3))) == {"collect": "success"}
    assert len(stored(wine)) == 3


def resolved(monkeypatch: pytest.MonkeyPatch, source: Any, **connection: Any) -> Any:
    from arangopipe_ops.airflow.source_connections import connected

    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(connection))
    return connected({**source, "conn_id": "other"})


@pytest.mark.parametrize(
    ("type_", "connection", "expected"),
    [
        ("sql", {"conn_type": "postgres", "host": "db", "login": "a b", "password": "p@ss/word", "schema": "ml"},
         {"url": "postgresql://a%20b:p%40ss%2Fword@db/ml"}),
        ("sql",
         {"conn_type": "postgres", "host": "db", "port": 5433, "extra": {"sqlalchemy_scheme": "postgresql+psycopg"}},
         {"url": "postgresql+psycopg://db:5433/"}),
        ("prometheus", {"conn_type": "http", "host": "https://prom.example.com/"}, {"url": "https://prom.example.com"}),
        ("mlflow",
         {"conn_type": "http", "schema": "https", "host": "mlflow", "port": 5000, "extra": {"token": "abcdef"}},
         {"url": "https://mlflow:5000", "token": "abcdef"}),
        ("prometheus",
         {"conn_type": "http", "host": "p", "extra": {"headers": {"X-Scope-OrgID": "ml"}, "verify": False}},
         {"url": "http://p", "headers": {"X-Scope-OrgID": "ml"}, "verify": False}),
    ],
)  # fmt: skip
def test_what_a_connection_stands_for(
    airflow: None, monkeypatch: pytest.MonkeyPatch, type_: str, connection: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Each type of source gets its options, and keeps its own."""
    found = resolved(monkeypatch, {"type": type_, "name": "own"}, **connection)
    assert found == {"type": type_, "name": "own", **expected}


@pytest.mark.parametrize(("type_", "problem"), [("files", "is not for"), ("http", "has no host")])
def test_a_connection_that_does_not_fit_is_refused(
    airflow: None, monkeypatch: pytest.MonkeyPatch, type_: str, problem: str
) -> None:
    """The error says what is wrong with it."""
    with pytest.raises(Invalid, match=problem):
        resolved(monkeypatch, {"type": type_}, conn_type="http")
