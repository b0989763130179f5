"""The example DAGs are run as users run them; each leaves in the graph what its page promises, and nothing twice."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow_home import airflow, graph, returned, run, states
from conftest import dump

from arangopipe_ops import stages
from arangopipe_ops.admin.retention import kept_for
from arangopipe_ops.connection import connect
from arangopipe_ops.store import Store

__all__ = ["airflow", "graph"]
pytestmark = pytest.mark.slow

DAGS = Path(__file__).parent.parent / "dags"
RUN = ("run", "devperf", "run_models", "run_datasets", "run_devperf")
PARAMS = ("modelparams", "run_modelparams")
DEPLOYMENT = ("deployment", "deployment_model", "deployment_modelparams", "deployment_run")


def built(dag_id: str) -> Any:
    """A DAG of the folder, parsed for this run: Airflow leaves the params of a run in the DAG."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(DAGS).dags[dag_id]


def started(dag_id: str, at: datetime | None = None, **params: Any) -> Any:
    """Run a DAG by hand; with `at`, as the same DAG run whenever it is run again."""
    when = {} if at is None else {"logical_date": at, "run_after": at}
    return run(built(dag_id), run_conf=params, **when)


def succeeded(dag_run: Any) -> bool:
    return set(states(dag_run).values()) == {"success"}


class People:
    """Answers what DAG runs ask of people, by Airflow's REST API."""

    def __init__(self) -> None:
        from airflow.api_fastapi.app import create_app, get_auth_manager
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
        from fastapi.testclient import TestClient

        self.client = TestClient(create_app(apps="core"))
        token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="ann", role="admin"))
        self.headers = {"authorization": f"Bearer {token}"}
        self.asked: list[dict[str, Any]] = []

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.client.request(method, f"/api/v2{path}", json=body, headers=self.headers)
        assert answer.is_success, answer.text
        return answer.json()

    def answer(self, option: str, until: threading.Event) -> None:
        while not until.wait(0.2):
            for detail in self.call("GET", "/dags/~/dagRuns/~/hitlDetails?response_received=false")["hitl_details"]:
                ti = detail["task_instance"]
                if ti["state"] not in ("awaiting_input", "deferred"):
                    continue
                self.asked.append(detail)
                path = f"/dags/{ti['dag_id']}/dagRuns/{ti['dag_run_id']}/taskInstances/{ti['task_id']}/-1/hitlDetails"
                self.call("PATCH", path, {"chosen_options": [option], "params_input": {}})

    @contextmanager
    def who_say(self, option: str) -> Iterator[None]:
        done = threading.Event()
        thread = threading.Thread(target=self.answer, args=(option, done))
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


@pytest.fixture
def people(graph: Any, monkeypatch: pytest.MonkeyPatch) -> People:
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "k" * 64)
    return People()


def counted(graph: Any) -> dict[str, int]:
    """The collections of the graph that hold something."""
    return {name: count for name, count in graph.counts().items() if count}


def holding(once: dict[str, int], **several: int) -> dict[str, int]:
    """What counted() is after so many runs and deployments."""
    each = {"runs": (*RUN, *PARAMS), "days": RUN, "deployments": DEPLOYMENT}
    return once | {name: count for kind, count in several.items() if count for name in each[kind]}


def test_a_database_is_provisioned_once(airflow: None, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty database gets the graph and answers; run again nothing is missing."""
    monkeypatch.setenv("ARANGOPIPE_URL", url)
    for missing in (True, False):
        dag_run = started("provisioning")
        assert succeeded(dag_run)
        assert returned(dag_run, "provision") is missing
        assert set(returned(dag_run, "look").values()) == {0}
    assert Store(connect(url)).counts()["deployment_run"] == 0


def test_techniques_are_tried_side_by_side(graph: Any, tmp_path: Path) -> None:
    """A run for every technique, all on one data set; the graph says which is best; again there are more runs only."""
    once = {"project": 1, "datasets": 1, "models": 4, "project_models": 4}
    for times in (1, 2):
        dag_run = started("mapped_techniques", artifacts=str(tmp_path))
        assert succeeded(dag_run)
        assert counted(graph) == holding(once, runs=4 * times)

    [data] = graph.search("Dataset")["nodes"]
    assert (data["rows"], data["uri"]) == (178, (tmp_path / "wine_analyses.csv").as_uri())
    assert data["schema"]["cultivar"] == "integer"
    performances = graph.search("DevPerf")["nodes"]
    assert [each["series"]["accuracy_of_fold"]["count"] for each in performances] == [5] * 8

    best = returned(dag_run, "best")["candidate"]
    assert best["value"] == max(each["accuracy"] for each in performances)
    found = graph.lineage(best["run"], depth=1)["nodes"]
    assert {(each["kind"], each["name"]) for each in found} >= {
        ("Model", best["model_name"]),
        ("Dataset", data["name"]),
    }


def test_a_technique_that_is_cleared_is_the_same_run(graph: Any, tmp_path: Path) -> None:
    """The same DAG run again leaves as many nodes and edges as before."""
    at = datetime(2026, 5, 4, tzinfo=UTC)
    started("mapped_techniques", at, artifacts=str(tmp_path))
    before = counted(graph)
    assert succeeded(started("mapped_techniques", at, artifacts=str(tmp_path)))
    assert counted(graph) == before


def test_champion_and_challengers(graph: Any, people: Any) -> None:
    """What is better and approved replaces the champion; what is worse or rejected is noted on its run, and no more."""
    once = {"project": 1, "datasets": 1, "models": 1, "project_models": 1}
    deploying = {"approve", "deploy", "promote", "live"}
    story: list[tuple[int, str, set[str], int]] = [
        (2, "Approve", {"not_deployed"}, 1),
        (1, "nobody is asked", {*deploying}, 1),
        (4, "Reject", deploying - {"approve"}, 1),
        (4, "Approve", {"not_deployed"}, 2),
    ]
    verdicts = []
    for times, (depth, says, skipped, deployed) in enumerate(story, 1):
        with people.who_say(says):
            dag_run = started("champion_challenger", depth=depth)
        found = states(dag_run)
        assert {task for task, state in found.items() if state == "skipped"} == skipped
        assert set(found.values()) == {"success", "skipped"}
        assert counted(graph) == holding(once, runs=times, deployments=deployed)
        verdicts.append(returned(dag_run, "gate"))
    assert [(each["passed"], each["baseline"]) for each in verdicts] == [
        (True, None),
        (False, verdicts[0]["value"]),
        (True, verdicts[0]["value"]),
        (True, verdicts[0]["value"]),
    ]
    assert [each["subject"].startswith("Deploy the challenger of ") for each in people.asked] == [True] * 3
    assert f"| champion | {verdicts[0]['value']:.4f} |" in people.asked[1]["body"]

    deployments = graph.search("Deployment")["nodes"]
    assert [(each["status"], each["tag"]) for each in deployments] == [
        ("active", f"tumor screening {dag_run.run_id}"),
        ("archived", deployments[1]["tag"]),
    ]
    left = [each["description"] for each in graph.search("Run", {"tags": {"has": "not deployed"}})["nodes"]]
    assert left == ["Not deployed: nobody approved it.", f"Not deployed: {verdicts[1]['reason']}."]


def test_a_champion_that_is_cleared_stays_champion(graph: Any, people: Any) -> None:
    """The same DAG run again is asked again, and is the same run and deployment, which stays active."""
    at = datetime(2026, 5, 4, tzinfo=UTC)
    for _ in (1, 2):
        with people.who_say("Approve"):
            dag_run = started("champion_challenger", at, depth=2)
        assert states(dag_run)["live"] == "success"
        [deployment] = graph.search("Deployment")["nodes"]
        assert deployment["status"] == "active"
        assert counted(graph)["run"] == 1
    assert len(people.asked) == 2


def test_a_model_follows_its_data(graph: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A retraining reads the version that its asset event names, also if a newer one is there; by hand, the newest."""
    versions = []
    for flowers in (60, 60, 90):
        dag_run = started("new_data", flowers=flowers, artifacts=str(tmp_path))
        assert succeeded(dag_run)
        versions.append((returned(dag_run, "measure"), dag_run.run_id))
    assert counted(graph) == {"datasets": 2}

    (first, run_id), (newest, _) = versions[0], versions[-1]
    with monkeypatch.context() as patched:
        start_by_event_of("arangopipe://dataset/iris%20measurements", run_id, patched)
        by_event = started("retrain_on_new_data")
    by_hand = started("retrain_on_new_data")
    for dag_run, data, flowers in ((by_event, first, 60), (by_hand, newest, 90)):
        assert succeeded(dag_run)
        trained = returned(dag_run, "train")
        assert [edge["_to"] for edge in graph.db.collection("run_datasets").find({"_from": trained["_id"]})] == [
            data["_id"]
        ]
        assert graph.get(f"devperf/{trained['_key']}")["flowers"] == flowers
    once = {"project": 1, "datasets": 2, "models": 1, "project_models": 1}
    assert counted(graph) == holding(once, runs=2)
    assert events_of("arangopipe://model/iris%20forest", by_event.run_id)[0].extra["_id"].startswith("run/")


def events_of(uri: str, run_id: str) -> list[Any]:
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        asset = select(AssetModel.id).where(AssetModel.uri == uri).scalar_subquery()
        events = select(AssetEvent).where(AssetEvent.asset_id == asset, AssetEvent.source_run_id == run_id)
        return list(session.scalars(events))


def start_by_event_of(uri: str, run_id: str, patched: pytest.MonkeyPatch) -> None:
    """Have the next DAG run start with the asset event of an earlier one, as the scheduler starts it."""
    from airflow.models import dagrun

    create = dagrun.get_or_create_dagrun
    [event] = events_of(uri, run_id)

    def create_by_event(*, session: Any, **kwargs: Any) -> Any:
        made = create(session=session, **kwargs)
        made.consumed_asset_events.append(session.merge(event))
        session.commit()
        return made

    patched.setattr(dagrun, "get_or_create_dagrun", create_by_event)


def test_a_day_is_there_once(graph: Any) -> None:
    """Days that are done, and done again, leave a version of the data and a run each, and no revision."""
    once = {"project": 1, "models": 1, "project_models": 1}
    for day in (1, 2, 3):
        assert succeeded(started("daily_performance", datetime(2026, 5, day + 1, tzinfo=UTC)))
        assert counted(graph) == holding(once | {"datasets": day}, days=day)
    before = dump(graph.db)
    for day in (1, 2, 3):
        assert succeeded(started("daily_performance", datetime(2026, 5, day + 1, tzinfo=UTC)))
    assert succeeded(run(built("daily_performance"), logical_date=None, run_conf={"day": "2026-05-02"}))
    assert dump(graph.db) == before
    found = graph.search("Run")["nodes"]
    assert [each["run_id"] for each in found] == [f"daily_performance 2026-05-0{day}" for day in (3, 2, 1)]


def test_a_run_without_a_day_says_what_it_needs(graph: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Started by hand without a data interval or a day it fails, and writes nothing that names a day."""
    found = states(run(built("daily_performance"), logical_date=None))
    assert found["day_to_do"] == "failed"
    assert found["log_day"] == "upstream_failed"
    assert "start it again with a day" in capsys.readouterr().out
    assert "datasets" not in counted(graph)


SERVING = ("servingperf", "deployment_servingperf")


def graders_on(graph: Any) -> dict[tuple[str, str, str], Any]:
    """The figures by deployment, day and source; what is there twice fails the test."""
    tags = {each["_key"]: each["tag"] for each in graph.db.collection("deployment").all()}
    nodes = list(graph.db.collection("servingperf").all())
    found = {(tags[each["deployment"]], each["period_start"][:10], each["source"]): each for each in nodes}
    assert len(found) == len(nodes)
    return found


FOREVER = 36_500
DAY = {"since": "2026-05-02", "until": "2026-05-03"}


def collected(at: datetime, folder: Path) -> Any:
    return started("collect_serving_performance", at, artifacts=str(folder), keep_days=FOREVER)


def test_a_day_of_serving_is_collected_once(graph: Any, tmp_path: Path) -> None:
    """Days, done twice and then by hand at once, are one node per deployment and day, and raise each alert once."""
    days = {day: datetime(2026, 5, day + 1, tzinfo=UTC) for day in (2, 3, 4)}
    graders = [f"apple grader {place}" for place in ("north", "south")]
    expected = {(tag, f"2026-05-0{day}", "graded by people") for tag in graders for day in days}
    told: list[list[str]] = []
    for at in days.values():
        dag_run = collected(at, tmp_path)
        assert set(states(dag_run).values()) == {"success", "skipped"}
        told.append(returned(dag_run, "tell_alerts"))
    assert told == [
        [],
        ["apple grader south: worse than in training, raised. accuracy is 0.765, the limit 0.92"],
        ["apple grader south: bad for two days, raised. accuracy is 0.77, the limit 0.9"],
    ]
    found = graders_on(graph)
    assert set(found) == expected
    for (tag, day, _), node in found.items():
        assert (node["predictions"], node["outcomes"]) == (200, 200)
        assert (node["accuracy"] < 0.9) == (tag.endswith("south") and day >= "2026-05-03")
        assert node["accuracy"] == accuracy_in(tmp_path / "apples.db", tag, day)
    training = {"project", "models", "project_models", *RUN, *PARAMS} - {"run_datasets"}
    once = dict.fromkeys(training, 1) | dict.fromkeys((*DEPLOYMENT, "alert", "deployment_alert"), 2)
    assert counted(graph) == once | dict.fromkeys(SERVING, 6)
    assert set(kept_for(graph.db).values()) == {FOREVER}

    before = dump(graph.db)
    for at in days.values():
        collected(at, tmp_path)
    by_hand = {"since": "2026-05-02", "until": "2026-05-05", "artifacts": str(tmp_path), "keep_days": FOREVER}
    dag_run = run(built("collect_serving_performance"), logical_date=None, run_conf=by_hand)
    assert set(states(dag_run).values()) == {"success", "skipped"}
    assert returned(dag_run, "collect", 0)["same"] == 3
    assert returned(dag_run, "tell_alerts") == []
    assert dump(graph.db) == before


def test_who_serves_badly_is_trained_anew(graph: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event that names who serves badly starts a training, which tells why; by hand it has no reason."""
    bad_day = collected(datetime(2026, 5, 8, tzinfo=UTC), tmp_path)
    [event] = events_of("apple grader needs retraining", bad_day.run_id)
    assert event.extra["deployment"] == "apple grader south"
    with monkeypatch.context() as patched:
        start_by_event_of("apple grader needs retraining", bad_day.run_id, patched)
        by_event = started("retrain_apple_grader")
    why = f"apple grader south: {event.extra['reason']}"
    for dag_run, reasons in ((by_event, [why]), (started("retrain_apple_grader"), [])):
        assert succeeded(dag_run)
        key = returned(dag_run, "train")["_key"]
        assert graph.get(f"modelparams/{key}")["reasons"] == reasons


def test_a_shard_that_fails_silences_nobody(graph: Any, tmp_path: Path) -> None:
    """Of a deployment without figures there is an alert, and a failed run in the graph; the others are collected."""
    graph.write_many([stages.register_project("other"), stages.register_model("west", project="other")])
    monitored = {"monitoring": "apple predictions", "environment": "west"}
    graph.write(stages.register_deployment("apple grader west", project="other", model="west", **monitored))
    dag = built("collect_serving_performance")
    dag.get_task("collect").partial_kwargs["retries"] = 0
    dag_run = run(dag, logical_date=None, run_conf={**DAY, "artifacts": str(tmp_path), "keep_days": FOREVER})
    found = states(dag_run)
    assert [found[f"collect[{shard}]"] for shard in range(3)] == ["success", "success", "failed"]
    assert returned(dag_run, "tell_alerts") == [
        "apple grader west: collected from graded by people, raised. there are no figures"
    ]
    assert len(graders_on(graph)) == 2
    [failed] = graph.search("Run", {"status": "failed"})["nodes"]
    assert "apple grader west by graded by people" in str(failed["error"])


def accuracy_in(file: Path, deployment: str, day: str) -> float:
    """The share of predictions of a day that came true, computed by the data base."""
    with sqlite3.connect(file) as connection:
        [(share,)] = connection.execute(
            "SELECT avg(prediction = outcome) FROM predictions WHERE deployment = ? AND date(time) = ?",
            [deployment, day],
        )
    return float(share)


def test_collecting_by_hand_says_what_it_needs(graph: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a data interval or days it fails, and writes no figures."""
    conf = {"artifacts": str(tmp_path)}
    found = states(run(built("collect_serving_performance"), logical_date=None, run_conf=conf))
    assert found["collect[0]"] == "failed"
    assert "give since and until" in capsys.readouterr().out
    assert "servingperf" not in counted(graph)
