"""The whole story on a real Airflow, told by REST: four components, the example DAGs, a database behind a socket."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow_service import AirflowService, running
from served_database import PASSWORD, ServedDatabase, served

DAGS = Path(__file__).parent.parent / "dags"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedDatabase]:
    with served(tmp_path_factory.mktemp("database") / "graph.db") as database:
        yield database


@pytest.fixture(scope="module")
def airflow(database: ServedDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowService]:
    """A running Airflow that knows of the database only what its connection says."""
    home = tmp_path_factory.mktemp("airflow")
    events = {"type": "file", "log_file_path": str(home / "events.jsonl"), "append": True}
    settings = {
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__CORE__DEFAULT_TASK_RETRIES": "5",
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "2",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(events),
    }
    with running(home, DAGS, **settings) as airflow:
        yield airflow


@pytest.fixture(scope="module")
def connection(airflow: AirflowService, database: ServedDatabase) -> dict[str, Any]:
    """The connection to the database, made over the API."""
    connection = {
        "connection_id": "arangopipe_default",
        "conn_type": "arangopipe",
        "host": "127.0.0.1",
        "port": database.port,
        "login": "root",
        "password": PASSWORD,
        "extra": '{"request_timeout": 2}',
    }
    airflow.call("POST", "/api/v2/connections", connection)
    return connection


def test_nothing_is_wrong_with_the_provider(airflow: AirflowService) -> None:
    """Airflow lists the provider and the plugin, and no DAG and no plugin fails to import."""
    providers = airflow.call("GET", "/api/v2/providers?limit=1000")["providers"]
    assert "arangopipe-ops" in [each["package_name"] for each in providers]
    assert airflow.call("GET", "/api/v2/plugins/importErrors")["import_errors"] == []
    assert airflow.call("GET", "/api/v2/importErrors")["import_errors"] == []
    told = {
        words: airflow.command(*words.split()) for words in ("providers list", "plugins", "dags list-import-errors")
    }
    assert "arangopipe-ops" in told["providers list"]
    assert "arangopipe" in told["plugins"]
    assert "No data found" in told["dags list-import-errors"]
    complaints = [
        line for output in told.values() for line in output.splitlines() if "[warning" in line or "[error" in line
    ]
    assert [line for line in complaints if "Could not import graphviz" not in line] == []


def test_the_connection(airflow: AirflowService, connection: dict[str, Any]) -> None:
    """The connection that was made over the API works, and its password is not shown again."""
    answer = airflow.call("POST", "/api/v2/connections/test", connection)
    assert answer["status"] is True, answer
    assert "127.0.0.1" in answer["message"]
    stored = airflow.call("GET", f"/api/v2/connections/{connection['connection_id']}")
    assert PASSWORD not in json.dumps([answer, stored])


@pytest.mark.usefixtures("connection")
def test_an_outage_is_outlived(airflow: AirflowService, database: ServedDatabase) -> None:
    """A task that finds no database is tried again, and succeeds once the database is back."""
    database.stop()
    airflow.trigger("provisioning", "outage")

    def waits() -> bool:
        states = [ti["state"] for ti in airflow.tasks("provisioning", "outage").values()]
        return "up_for_retry" in states

    airflow.wait_for(waits, 90, "a task to be up for retry")
    database.start()
    assert airflow.end("provisioning", "outage") == "success", airflow.tail()
    assert max(ti["try_number"] for ti in airflow.tasks("provisioning", "outage").values()) > 1
    assert set(database.store().counts().values()) == {0}


@pytest.mark.usefixtures("connection")
def test_mapped_tasks_and_their_links(airflow: AirflowService, database: ServedDatabase) -> None:
    """Mapped tasks write one graph, whole; each of their links leads a viewer to the node that this one wrote."""
    assert airflow.run("train_and_record", "run_1") == "success", airflow.tail()
    counts = database.store().counts()
    assert counts | {"project": 1, "datasets": 1, "featuresets": 2, "models": 3, "run": 6, "deployment": 1} == counts
    for index in (0, 5):
        ref = airflow.returned("train_and_record", "run_1", "log_run", index)
        path = f"/api/v2/dags/train_and_record/dagRuns/run_1/taskInstances/log_run/links?map_index={index}"
        links = airflow.call("GET", path)["extra_links"]
        assert set(links) == {"Node", "Lineage"}
        for link in links.values():
            assert ref["_id"] in link
            status, text = airflow.page(link, "viewer")
            assert (status, ref["name"] in text) == (200, True)


def test_pages_are_guarded(airflow: AirflowService) -> None:
    """A page of the plugin is 401 without a token, and a viewer sees it."""
    for page in ("/arangopipe/", "/arangopipe/dags/train_and_record/runs/run_1"):
        assert airflow.page(page, None)[0] == 401
        assert airflow.page(page, "viewer")[0] == 200


def test_cleared_tasks_write_nothing_twice(airflow: AirflowService, database: ServedDatabase) -> None:
    """Of what is cleared and runs again nothing is doubled; a run that took another time is revised once, no more."""
    store = database.store()
    before = store.counts()
    runs = [airflow.returned("train_and_record", "run_1", "log_run", index) for index in range(6)]
    airflow.clear("train_and_record", "run_1", "register_dataset", "train", "log_run")
    assert airflow.end("train_and_record", "run_1") == "success", airflow.tail()
    assert airflow.tasks("train_and_record", "run_1")["log_run[5]"]["try_number"] == 2
    assert store.counts() == before
    [dataset] = store.search("Dataset")["nodes"]
    assert [len(store.history(ref)) for ref in runs] == [2] * 6
    assert len(store.history(dataset["_id"])) == 1
