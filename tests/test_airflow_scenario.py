"""The whole story on a real Airflow, told by REST: four components, the example DAGs, a database behind a socket."""

import json
import time
import urllib.error
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from airflow_service import AirflowService, free_port, running
from served_database import PASSWORD, ServedDatabase, served

from arangopipe_ops import stages
from arangopipe_ops.store import Store

DAGS = Path(__file__).parent.parent / "dags"

pytestmark = [pytest.mark.slow, pytest.mark.airflow]


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


@pytest.fixture(scope="module", autouse=True)
def connection(airflow: AirflowService, database: ServedDatabase) -> dict[str, Any]:
    """The connection to the database, made over the API for all tests."""
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


def metrics(store: Store, run: Any) -> Any:
    """Return the performance of a run in development."""
    [found] = store.search("DevPerf", {"run_id": run["name"]})["nodes"]
    return found


def test_nothing_is_wrong_with_the_provider(airflow: AirflowService) -> None:
    """Airflow lists the provider and the plugin, and no DAG and no plugin fails to import."""
    providers = airflow.call("GET", "/api/v2/providers?limit=1000")["providers"]
    assert "arangopipe-ops" in [each["package_name"] for each in providers]
    assert airflow.call("GET", "/api/v2/plugins/importErrors")["import_errors"] == []
    assert airflow.call("GET", "/api/v2/importErrors")["import_errors"] == []
    commands = ("providers list", "plugins", "dags list-import-errors")
    with ThreadPoolExecutor() as pool:
        told = dict(zip(commands, pool.map(lambda words: airflow.command(*words.split()), commands), strict=True))
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


def test_a_connection_that_leads_nowhere(airflow: AirflowService, connection: dict[str, Any]) -> None:
    """The test button says why, without the password."""
    closed = connection | {"connection_id": "closed", "port": free_port(), "extra": '{"request_timeout": 1}'}
    answer = airflow.call("POST", "/api/v2/connections/test", closed)
    assert answer["status"] is False
    assert "connection refused" in answer["message"]
    assert PASSWORD not in json.dumps(answer)


def test_the_connection_form(airflow: AirflowService) -> None:
    """Airflow shows the form of our connection type, with the extras as fields of their own."""
    [form] = [f for f in airflow.call("GET", "/ui/connections/hook_meta") if f["connection_type"] == "arangopipe"]
    assert {"tls", "request_timeout", "embedded_file", "spool"} <= set(form["extra_fields"])
    assert form["standard_fields"]["host"]["title"] == "Hosts"


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
    for page in ("/arangopipe/", "/arangopipe/runs", "/arangopipe/dags/train_and_record/runs/run_1"):
        assert airflow.page(page, None)[0] == 401
        assert airflow.page(page, "viewer")[0] == 200


def test_tabs_show_what_was_written(airflow: AirflowService) -> None:
    """The tab of the DAG run has the runs that its mapped tasks logged; that of a task leads to the node's lineage."""
    refs = [airflow.returned("train_and_record", "run_1", "log_run", index) for index in range(6)]
    _, whole = airflow.page("/arangopipe/dags/train_and_record/runs/run_1", "viewer")
    assert [ref["name"] for ref in refs if ref["_id"] not in whole] == []
    _, one = airflow.page("/arangopipe/dags/train_and_record/runs/run_1/tasks/log_run/5", "viewer")
    assert f"<title>Lineage of {refs[5]['name']}" in one


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


def test_techniques_in_mapped_task_functions(airflow: AirflowService, database: ServedDatabase) -> None:
    """A mapped training function is a run for each technique, and the graph says which one did best."""
    assert airflow.run("mapped_techniques", "run_1") == "success", airflow.tail()
    best = airflow.returned("mapped_techniques", "run_1", "best")
    runs = [airflow.returned("mapped_techniques", "run_1", "train", index) for index in range(4)]
    store = database.store()
    accuracy = {run["_id"]: metrics(store, run)["accuracy"] for run in runs}
    assert best["decision"] == "promote"
    assert best["candidate"]["value"] == max(accuracy.values())


def answered(airflow: AirflowService, run_id: str, choice: str) -> bool:
    """Answer a run that waits for a person, and return whether it has ended.

    Airflow 3.3 asks a second time if the answer comes before its scheduler has noted that the task waits.
    """
    run = f"/api/v2/dags/champion_challenger/dagRuns/{run_id}"
    if airflow.tasks("champion_challenger", run_id)["approve"]["state"] in ("deferred", "awaiting_input"):
        question = f"{run}/taskInstances/approve/-1/hitlDetails"
        if not airflow.call("GET", question)["response_received"]:
            time.sleep(3)
            assert "accuracy" in airflow.call("GET", question)["body"]
            airflow.call("PATCH", question, {"chosen_options": [choice]})
    return airflow.call("GET", run)["state"] in ("success", "failed")


def test_a_person_decides_about_the_challenger(airflow: AirflowService, database: ServedDatabase) -> None:
    """The run waits for a person, without a worker; a no leaves the champion active."""
    store = database.store()
    for run_id, depth, choice in (("first", 2, "Approve"), ("second", 4, "Reject")):
        airflow.trigger("champion_challenger", run_id, depth=depth)
        airflow.wait_for(partial(answered, airflow, run_id, choice), 180, "champion_challenger to end")
        assert airflow.end("champion_challenger", run_id) == "success", airflow.tail()
    found = store.search("Deployment", {"project": "tumor screening"})["nodes"]
    assert [(node["tag"], node["status"]) for node in found] == [("tumor screening first", "active")]
    rejected = store.get(airflow.returned("champion_challenger", "second", "train"))
    assert rejected["tags"] == ["not deployed"]
    assert airflow.returned("champion_challenger", "first", "live")["status"] == "active"


def test_the_sensor_waits_in_the_triggerer(airflow: AirflowService, database: ServedDatabase) -> None:
    """A deployment that was scheduled anew is waited for without a worker; its promotion ends the wait."""
    dag_id, run_id = "champion_challenger", "first"
    tag, store = f"tumor screening {run_id}", database.store()
    anew = stages.register_deployment(
        tag, project="tumor screening", model="screening forest", status="scheduled", replicas=2
    )
    deployment = store.write(anew, on_conflict="revise")

    def waits() -> bool:
        live = airflow.tasks(dag_id, run_id)["live"]
        return live["state"] == "deferred" and "ConditionTrigger" in live["trigger"]["classpath"]

    airflow.clear(dag_id, run_id, "live")
    airflow.wait_for(waits, 120, "the sensor to be deferred")
    store.promote(deployment)
    assert airflow.end(dag_id, run_id) == "success", airflow.tail()
    live = airflow.returned(dag_id, run_id, "live")
    assert (live["_id"], live["status"]) == (deployment["_id"], "active")


def test_new_data_starts_a_retraining(airflow: AirflowService, database: ServedDatabase) -> None:
    """The asset event of a data set starts the DAG that waits for it, which trains on the version that it names."""
    airflow.unpause("retrain_on_new_data")
    assert airflow.run("new_data", "run_1", flowers=60) == "success", airflow.tail()

    def retrained() -> list[str]:
        runs = airflow.call("GET", "/api/v2/dags/retrain_on_new_data/dagRuns")["dag_runs"]
        return [each["dag_run_id"] for each in runs if each["state"] == "success"]

    airflow.wait_for(lambda: bool(retrained()), 120, "the retraining to end")
    [run_id] = retrained()
    data = airflow.returned("new_data", "run_1", "measure")
    run = airflow.returned("retrain_on_new_data", quote(run_id), "train")
    store = database.store()
    assert data["_id"] in [node["_id"] for node in store.lineage(run, direction="upstream")["nodes"]]
    assert metrics(store, run)["flowers"] == 60


def test_days_are_done_again(airflow: AirflowService, database: ServedDatabase) -> None:
    """A backfill of three days, done twice, leaves each day once."""
    body = {"dag_id": "daily_performance", "from_date": "2026-05-01T00:00:00Z", "to_date": "2026-05-03T00:00:00Z"}
    airflow.unpause("daily_performance")

    def yesterday_is_done() -> bool:
        runs = airflow.call("GET", "/api/v2/dags/daily_performance/dagRuns")["dag_runs"]
        return [each["state"] for each in runs] == ["success"]

    def accepted() -> bool:
        """Airflow refuses a backfill where its SQLite is written meanwhile, and its scheduler may die of that."""
        try:
            with airflow.standing_still():
                airflow.call("POST", "/api/v2/backfills", body | {"reprocess_behavior": "completed"})
        except urllib.error.HTTPError:
            return False
        return True

    def ended() -> bool:
        """End the backfills whose runs have ended, which Airflow itself would see twice a minute."""
        try:
            for each in airflow.call("GET", "/api/v2/backfills?dag_id=daily_performance")["backfills"]:
                if not each["completed_at"]:
                    airflow.call("PUT", f"/api/v2/backfills/{each['id']}/cancel")
        except urllib.error.HTTPError:
            return False
        return True

    def runs() -> dict[str, str]:
        found = airflow.call("GET", "/api/v2/dags/daily_performance/dagRuns")["dag_runs"]
        return {each["dag_run_id"]: each["state"] for each in found if each["run_type"] == "backfill"}

    def done() -> bool:
        return not {"queued", "running"} & set(runs().values())

    three = [f"2026-05-0{day}" for day in (1, 2, 3)]
    store = database.store()
    airflow.wait_for(yesterday_is_done, 120, "the scheduled day to be done")
    for time_done in (1, 2):
        airflow.wait_for(accepted, 60, "the backfill to be accepted")
        airflow.wait_for(done, 180, "the runs of the backfill to end")
        airflow.wait_for(ended, 60, "the backfill to end")
        assert list(runs().values()) == ["success"] * 3
        tries = [airflow.tasks("daily_performance", quote(run))["log_day"]["try_number"] for run in runs()]
        assert min(tries) >= time_done
        days = [node["version"] for node in store.search("Dataset", {"name": "scanned digits"})["nodes"]]
        assert sorted(day for day in days if day < "2026-06") == three  # unpaused, it has done yesterday as well
        logged = [node["run_id"] for node in store.search("Run", limit=1000)["nodes"]]
        assert sorted(id for id in logged if id.startswith("daily_performance 2026-05")) == [
            f"daily_performance {day}" for day in three
        ]


def test_openlineage_events_tell_what_was_written(airflow: AirflowService, database: ServedDatabase) -> None:
    """OpenLineage's file transport has, for tasks of all kinds, our facet, and data sets as inputs and outputs."""
    lines = (airflow.home / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    ended = {each["job"]["name"]: each for each in events if each["eventType"] == "COMPLETE"}
    logged = ended["train_and_record.log_run"]
    facet = logged["run"]["facets"]["arangopipe_metadata"]
    assert facet["operator"] == "LogRunOperator"
    assert facet["node"]["kind"] == "Run"
    assert database.store().get(facet["node"]["_id"])["run_id"] == facet["node"]["name"]
    assert 0 < facet["metrics"]["accuracy"] <= 1
    assert "dataset/breast cancer wisconsin" in [each["name"] for each in logged["inputs"]]
    [registered] = ended["mapped_techniques.extract"]["outputs"]
    assert (registered["namespace"], registered["name"]) == ("arangopipe", "dataset/wine analyses")
    assert len(registered["facets"]["schema"]["fields"]) == 14
    assert PASSWORD not in "".join(lines)
