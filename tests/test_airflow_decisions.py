"""The operators that decide, link, write in bulk and ask, run by Airflow's own task runner against a real graph."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow_home import airflow, graph, outage, returned, run, states
from conftest import dump
from test_airflow_operators import REF, at, dag, tries_of_a_lasting_error

from arangopipe_ops import stages
from arangopipe_ops.airflow import operators as ops
from arangopipe_ops.analytics import Policy
from arangopipe_ops.errors import Invalid

__all__ = ["airflow", "graph", "outage"]
pytestmark = pytest.mark.slow

DAY = {"since": "2026-05-03", "until": "2026-05-04"}
NO_DELAY: dict[str, Any] = {"retries": 2, "retry_delay": timedelta(0)}


@pytest.fixture
def wine(graph: Any) -> Any:
    """A model with two runs, the better one deployed and active, the other only scheduled."""
    graph.write(stages.register_project("wine"))
    graph.write(stages.register_model("forest", project="wine"))
    for name, accuracy in (("low", 0.8), ("high", 0.9)):
        graph.write(stages.log_run(name, model="forest", params={"trees": 10}, metrics={"accuracy": accuracy}))
    for tag, name, status in (("now", "high", "active"), ("next", "low", "scheduled")):
        graph.write(stages.register_deployment(tag, project="wine", model="forest", run=name, status=status))
    graph.write(
        stages.log_serving_perf("now", metrics={"accuracy": 0.7}, period_start="2026-05-04", period_end="2026-05-05")
    )
    return graph


def empty(task_id: str) -> Any:
    from airflow.providers.standard.operators.empty import EmptyOperator

    return EmptyOperator(task_id=task_id)


def again(built: Any, db: Any) -> Any:
    """Run a DAG twice as the same DAG run, as a clear does; the second time nothing may change. Return the first."""
    first = run(built, **at())
    answers = {ti.task_id: returned(first, ti.task_id) for ti in first.get_task_instances() if ti.map_index < 0}
    before = dump(db)
    run(built, **at())
    assert dump(db) == before
    return answers


def test_promoting_and_retiring(wine: Any) -> None:
    """The Ref names what was promoted and what it replaced; run again nothing is written."""
    with dag() as built:
        ops.PromoteOperator(task_id="promote", deployment="{{ 'next' }}", over="now", reason="better on Mondays")
    answer = again(built, wine.db)["promote"]
    assert set(answer) == REF | {"replaced"}
    assert (answer["name"], answer["kind"]) == ("next", "Deployment")
    assert answer["replaced"] == wine.get("now", "Deployment")["_id"]
    assert wine.get("next", "Deployment")["status"] == "active"
    with dag("ending") as built:
        ops.RetireOperator(task_id="retire", deployment=answer)
    assert set(again(built, wine.db)["retire"]) == REF
    assert wine.get("next", "Deployment")["status"] == "archived"


def test_a_promotion_over_another_one_fails_at_once(wine: Any) -> None:
    """If another deployment is active than was thought, nothing is promoted and no retry is spent."""
    with dag() as built:
        ops.PromoteOperator(task_id="promote", deployment="next", over="", **NO_DELAY)
    [ti] = run(built).get_task_instances()
    assert (ti.state, ti.try_number) == ("failed", tries_of_a_lasting_error(2))
    assert wine.get("now", "Deployment")["status"] == "active"


@pytest.mark.parametrize("policy", [{"metric": "accuracy"}, Policy("accuracy")], ids=["data", "Policy"])
def test_a_selection_is_told_and_carried_out(wine: Any, policy: Any) -> None:
    """Without `deploy` it is only told; with it the selected run is deployed; run again nothing is written."""
    wine.retire("now")
    with dag() as built:
        told = ops.SelectModelOperator(task_id="told", project="wine", policy=policy)
        done = ops.SelectModelOperator(
            task_id="done", project="wine", policy=policy, deploy="wine {{ run_id }}", reason="due"
        )
        told >> done
    answers = again(built, wine.db)
    assert (answers["told"]["decision"], answers["told"]["candidate"]["run_id"]) == ("promote", "high")
    assert answers["told"]["policy"] == Policy("accuracy").to_json()
    assert set(answers["done"]["deployment"]) == REF
    assert wine.get(answers["done"]["deployment"])["status"] == "active"
    assert wine.history(answers["done"]["deployment"])[0]["reason"] == f"due: {answers['done']['reason']}"


@pytest.mark.parametrize("policy", [{"metrics": "accuracy"}, {"metric": "accuracy", "goal": "up"}, "accuracy"])
def test_a_policy_that_is_none_fails_its_task(wine: Any, policy: Any) -> None:
    """A misspelled policy selects nothing."""
    with dag() as built:
        ops.SelectModelOperator(task_id="select", project="wine", policy=policy, deploy="x")
    assert states(run(built)) == {"select": "failed"}


GATES: dict[str, tuple[dict[str, Any], bool, float | None]] = {
    "a run above": ({"node": "low", "kind": "Run", "threshold": 0.8}, True, 0.8),
    "a run below": ({"node": "low", "kind": "Run", "threshold": 0.81}, False, 0.8),
    "less is better": ({"node": "low", "kind": "Run", "threshold": 0.81, "goal": "min"}, True, 0.8),
    "a metric that is not known": ({"node": "low", "kind": "Run", "threshold": 0, "metric": "cost"}, False, None),
    "a deployment's run": ({"node": "now", "kind": "Deployment", "threshold": 0.9}, True, 0.9),
    "serving": ({"node": "now", "kind": "Deployment", "performance": "serving", "threshold": 0.7}, True, 0.7),
    "serving later": (
        {"node": "now", "kind": "Deployment", "performance": "serving", "threshold": 0, "since": "2026-05-05"},
        False,
        None,
    ),
    "serving against development": (
        {
            "node": "now",
            "kind": "Deployment",
            "performance": "serving",
            "baseline": "now",
            "baseline_performance": "development",
            "min_improvement": -0.1,
        },
        False,
        0.7,
    ),
    "champion and challenger": (
        {"node": "next", "kind": "Deployment", "baseline": "now", "min_improvement": -0.1},
        True,
        0.8,
    ),
    "a template": ({"node": "{{ 'low' }}", "kind": "Run", "threshold": "{{ 0.5 + 0.4 }}"}, False, 0.8),
}


@pytest.mark.parametrize("case", GATES.values(), ids=GATES.keys())
def test_a_gate_judges(wine: Any, case: tuple[dict[str, Any], bool, float | None]) -> None:
    """A metric passes or not, wherever it performed; the verdict has its value and says why."""
    settings, passed, value = case
    with dag() as built:
        gate = ops.MetricGateOperator(task_id="gate", **({"metric": "accuracy", "on_failure": "skip"} | settings))
        gate >> empty("after")
    dag_run = run(built)
    verdict = returned(dag_run, "gate")
    assert (verdict["passed"], verdict["value"]) == (passed, value)
    assert verdict["metric"] in verdict["reason"]
    assert states(dag_run) == {"gate": "success", "after": "success" if passed else "skipped"}


def test_a_gate_that_fails_spends_no_retries(wine: Any) -> None:
    """A metric does not get better by asking again."""
    with dag() as built:
        gate = ops.MetricGateOperator(
            task_id="gate", node="low", kind="Run", metric="accuracy", threshold=0.9, **NO_DELAY
        )
        gate >> empty("after")
    dag_run = run(built)
    assert states(dag_run) == {"gate": "failed", "after": "upstream_failed"}
    assert dag_run.get_task_instance("gate").try_number == 1


@pytest.mark.parametrize(("threshold", "followed"), [(0.8, "deploy"), (0.9, "tell")])
def test_a_gate_branches(wine: Any, threshold: float, followed: str) -> None:
    """Of the two branches one is followed, and what joins them runs."""
    with dag() as built:
        gate = ops.MetricGateOperator(
            task_id="gate",
            node=wine.get("low", "Run")["_id"],
            metric="accuracy",
            threshold=threshold,
            on_failure="branch",
            passed="deploy",
            failed=["tell"],
        )
        join = empty("join")
        join.trigger_rule = "none_failed_min_one_success"
        gate >> [empty("deploy"), empty("tell")] >> join
    dag_run = run(built)
    others = {"deploy", "tell"} - {followed}
    expected = {"gate": "success", "join": "success", followed: "success", others.pop(): "skipped"}
    assert states(dag_run) == expected
    assert returned(dag_run, "gate")["passed"] == (followed == "deploy")


def test_a_mapped_gate_decides_for_each(wine: Any) -> None:
    """In a mapped task group each instance skips or lets pass what follows it."""
    from airflow.sdk import task_group

    with dag() as built:

        @task_group
        def judged(name: str) -> None:
            gate = ops.MetricGateOperator(
                task_id="gate", node=name, kind="Run", metric="accuracy", threshold=0.85, on_failure="skip"
            )
            gate >> empty("after")

        judged.expand(name=["low", "high"])
    found = states(run(built))
    assert (found["judged.after[0]"], found["judged.after[1]"]) == ("skipped", "success")


def test_a_mapped_gate_branches_around_what_joins(wine: Any) -> None:
    """What comes directly after a mapped gate and after the task it follows as well is not skipped."""
    from airflow.sdk import task_group

    with dag() as built:

        @task_group
        def judged(name: str) -> None:
            ways = {"passed": "judged.good", "failed": "judged.bad"}
            gate = ops.MetricGateOperator(
                task_id="gate", node=name, kind="Run", metric="accuracy", threshold=0.85, on_failure="branch", **ways
            )
            join = empty("join")
            join.trigger_rule = "none_failed_min_one_success"
            gate >> [empty("good"), empty("bad"), join]
            [built.get_task("judged.good"), built.get_task("judged.bad")] >> join

        judged.expand(name=["low", "high"])
    found = states(run(built))
    assert [found[f"judged.{name}[0]"] for name in ("good", "bad", "join")] == ["skipped", "success", "success"]
    assert [found[f"judged.{name}[1]"] for name in ("good", "bad", "join")] == ["success", "skipped", "success"]


@pytest.mark.parametrize("how", [{"on_failure": "skip"}, {"on_failure": "branch", "passed": "judged.after"}])
def test_a_gate_that_could_skip_nothing_is_found_when_the_dag_is_parsed(how: dict[str, Any]) -> None:
    """In a group that is mapped over what a task returns, what did not pass would be deployed."""
    from airflow.sdk import task, task_group

    with dag():

        @task
        def names() -> list[str]:
            return ["low", "high"]

        @task_group
        def judged(name: str) -> None:
            ops.MetricGateOperator(task_id="gate", node=name, metric="accuracy", threshold=1, **how) >> empty("after")

        with pytest.raises(Invalid, match="would skip nothing in judged"):
            judged.expand(name=names())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"on_failure": "stop"}, "not one of fail, skip, branch"),
        ({"on_failure": "branch"}, "are the task ids"),
        ({"passed": "a"}, "are the task ids"),
        ({"on_metadata_error": "ignore"}, "not one of fail, warn"),
    ],
)
def test_a_wrong_choice_is_found_when_the_dag_is_parsed(wrong: dict[str, Any], words: str) -> None:
    """Not the night after."""
    with pytest.raises(Invalid, match=words):
        ops.MetricGateOperator(task_id="gate", node="x", metric="accuracy", threshold=1, **wrong)


def test_notes_on_a_stored_node(wine: Any) -> None:
    """They are set and removed without touching what was registered, and once however often the task runs."""
    wine.annotate("low", "Run", owner="ann")
    with dag() as built:
        ops.AnnotateOperator(
            task_id="annotate",
            node="{{ 'low' }}",
            kind="Run",
            notes={"tags": ["not deployed"], "owner": None, "description": "{{ run_id }}"},
            reason="too weak",
        )
    ref = again(built, wine.db)["annotate"]
    low = wine.get(ref)
    assert (ref["name"], low["tags"], "owner" in low) == ("low", ["not deployed"], False)
    assert low["description"].startswith("manual__")
    assert "too weak" in [event.get("reason") for event in wine.history(ref)]


@pytest.mark.parametrize("notes", [{"accuracy": 1}, "a text"])
def test_what_is_no_note_is_refused(wine: Any, notes: Any) -> None:
    """A figure is no note, and nothing is written."""
    with dag() as built:
        ops.AnnotateOperator.partial(task_id="annotate", kind="Run", notes=notes, **NO_DELAY).expand(node=["low"])
    before = wine.get("low", "Run")
    assert set(states(run(built)).values()) == {"failed"}
    assert wine.get("low", "Run") == before


def test_links_between_stored_nodes(wine: Any) -> None:
    """Each source is linked with each target, once."""
    for name in ("red", "white"):
        wine.write(stages.register_dataset(name))
    with dag() as built:
        ops.LinkOperator(task_id="link", edge="run_datasets", source="{{ 'low' }}", target=["red", "white"])
    assert again(built, wine.db)["link"] == {"edge": "run_datasets", "links": 2}
    upstream = wine.lineage("low", kind="Run", direction="upstream", kinds=["Dataset"])
    assert {node["name"] for node in upstream["nodes"]} == {"red", "white"}


def test_a_link_to_nowhere_writes_none(wine: Any) -> None:
    """If one of the nodes is not there, none is linked."""
    wine.write(stages.register_dataset("red"))
    with dag() as built:
        ops.LinkOperator.partial(task_id="link", edge="run_datasets", source="low", **NO_DELAY).expand(
            target=[["red", "nowhere"]]
        )
    [ti] = run(built).get_task_instances()
    assert (ti.state, ti.try_number) == ("failed", tries_of_a_lasting_error(2))
    assert wine.counts()["run_datasets"] == 0


ROWS = [{"stage": "dataset", "name": f"d{i}", "rows": i} for i in range(5)]


@pytest.mark.parametrize("source", ["mappings", "lines", "file", "task"])
def test_many_stages_are_written(graph: Any, source: str, tmp_path: Path) -> None:
    """Mappings, JSON lines, a file and another task's output all do; run again nothing is sent."""
    from airflow.sdk import task

    lines = [json.dumps(row) for row in ROWS]
    (tmp_path / "stages.jsonl").write_text("\n".join(lines))

    with dag() as built:

        @task
        def rows() -> list[dict[str, Any]]:
            return ROWS

        given: dict[str, Any] = {
            "mappings": lambda: {"stages": ROWS},
            "lines": lambda: {"stages": lines},
            "file": lambda: {"path": f"file://{tmp_path}/{{{{ 'stages' }}}}.jsonl"},
            "task": lambda: {"stages": rows()},
        }[source]()
        ops.BatchWriteOperator(task_id="write", batch=2, **given)
    assert again(built, graph.db)["write"] == {"stages": 5, "created": 5, "revised": 0, "same": 0, "resumed": 0}
    assert graph.get("d4", "Dataset")["rows"] == 4


def test_another_attempt_at_a_batch_goes_on_where_the_first_ended(graph: Any) -> None:
    """What one attempt wrote is in the graph, and the next one does not send it again."""
    rows = [*ROWS[:4], {"stage": "featureset", "name": "late", "dataset": "not there yet"}]

    def register(context: Any) -> None:
        graph.write(stages.register_dataset("not there yet"))

    with dag() as built:
        ops.BatchWriteOperator(
            task_id="write", stages=rows, batch=2, retry_policy=None, on_retry_callback=register, **NO_DELAY
        )
    done = run(built)
    assert done.get_task_instance("write").try_number == 2
    assert returned(done, "write") == {"stages": 5, "created": 1, "revised": 0, "same": 0, "resumed": 4}


@pytest.mark.parametrize("given", [{"path": "/nowhere/x.jsonl"}, {"stages": [{"stage": "dataset"}]}, {"stages": [7]}])
def test_what_is_no_stage_fails_the_task(graph: Any, given: dict[str, Any]) -> None:
    """A missing file and a wrong line are no work for a retry."""
    with dag() as built:
        ops.BatchWriteOperator(task_id="write", **given, **NO_DELAY)
    [ti] = run(built).get_task_instances()
    assert (ti.state, ti.try_number) == ("failed", tries_of_a_lasting_error(2))


@pytest.mark.parametrize(
    ("result", "answer"), [("rows", [1, 2, 3]), ("first", 1), ("count", 3), ("none", None)], ids=lambda x: str(x)
)
def test_aql_answers_what_is_asked(graph: Any, result: Any, answer: Any) -> None:
    """Rows, the first, how many, or nothing; bind variables are templated and keep their type."""
    with dag(params={"n": 3}) as built:
        ops.AQLOperator(
            task_id="ask", query="FOR i IN 1..@n RETURN i", bind_vars={"n": "{{ params.n }}"}, result=result
        )
    dag_run = run(built)
    assert states(dag_run) == {"ask": "success"}
    assert returned(dag_run, "ask") == answer


def test_aql_stands_in_a_file_and_is_mapped(graph: Any, tmp_path: Path) -> None:
    """`template_ext`: the query is the file's, found where the DAG looks for templates."""
    (tmp_path / "twice.aql").write_text("RETURN @n * 2")
    with dag(template_searchpath=str(tmp_path)) as built:
        ops.AQLOperator.partial(task_id="ask", query="twice.aql", result="first").expand(bind_vars=[{"n": 2}, {"n": 3}])
    dag_run = run(built)
    assert [returned(dag_run, "ask", i) for i in (0, 1)] == [4, 6]


WRITING = 'INSERT {_key: @key, name: "x"} INTO project'


@pytest.mark.parametrize(
    ("query", "allow_writes", "state"),
    [
        (f"{WRITING} RETURN NEW._key", False, "failed"),
        (f"{WRITING} RETURN NEW._key", True, "success"),
        ("/* INSERT */ FOR p IN project FILTER p._key == CONCAT(@key, ' REMOVE') RETURN p._key", False, "success"),
        ("LET w = (REMOVE @key IN project) RETURN 1", False, "failed"),
        ("RETURN @key, NONSENSE", False, "failed"),
    ],
)
def test_aql_writes_only_if_it_is_allowed_to(graph: Any, query: str, allow_writes: bool, state: str) -> None:
    """The database's plan decides what a write is, not the words in the text."""
    with dag() as built:
        ops.AQLOperator(task_id="ask", query=query, bind_vars={"key": "k"}, allow_writes=allow_writes, **NO_DELAY)
    [ti] = run(built).get_task_instances()
    assert (ti.state, ti.try_number) == (state, 1 if state == "success" else tries_of_a_lasting_error(2))
    assert graph.counts()["project"] == (1 if allow_writes else 0)


def test_too_many_rows_are_never_cut(graph: Any) -> None:
    """A result beyond the limit fails the task; a count is no such result."""
    with dag() as built:
        for result in ("rows", "first", "count"):
            ops.AQLOperator(task_id=result, query="FOR i IN 1..2500 RETURN i", result=result, max_rows=2000)
    dag_run = run(built)
    assert states(dag_run) == {"rows": "failed", "first": "success", "count": "success"}
    assert returned(dag_run, "count") == 2500


def operators_of_all_kinds() -> dict[str, Any]:
    return {
        "provision": ops.ProvisionOperator,
        "stage": lambda **k: ops.RegisterDatasetOperator(name="bottles", **k),
        "promote": lambda **k: ops.PromoteOperator(deployment="x", **k),
        "retire": lambda **k: ops.RetireOperator(deployment="x", **k),
        "select": lambda **k: ops.SelectModelOperator(project="x", policy={"metric": "a"}, **k),
        "gate": lambda **k: ops.MetricGateOperator(node="x", kind="Run", metric="a", threshold=1, **k),
        "annotate": lambda **k: ops.AnnotateOperator(node="x", kind="Run", notes={"owner": "ann"}, **k),
        "link": lambda **k: ops.LinkOperator(edge="run_datasets", source="x", target="y", **k),
        "batch": lambda **k: ops.BatchWriteOperator(stages=ROWS, **k),
        "aql": lambda **k: ops.AQLOperator(query="RETURN 1", **k),
        "retention": lambda **k: ops.RetentionOperator(days=7, **k),
        "collect": lambda **k: ops.CollectServingPerfOperator(sources=[{"type": "http"}], **DAY, **k),
    }


@pytest.mark.parametrize("choice", ["fail", "warn"])
def test_an_outage_fails_a_task_or_is_a_warning(
    airflow: None, choice: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With `warn` every operator succeeds while the database is away, and says what was not recorded."""
    down = {"conn_type": "arangopipe", "host": "127.0.0.1", "port": 9, "extra": {"request_timeout": 0.05}}
    monkeypatch.setenv("AIRFLOW_CONN_DOWN", json.dumps(down))
    kinds = operators_of_all_kinds()
    with dag() as built:
        for task_id, make in kinds.items():
            make(task_id=task_id, arangopipe_conn_id="down", on_metadata_error=choice)
    dag_run = run(built)
    assert set(states(dag_run).values()) == {"success" if choice == "warn" else "failed"}
    assert not [task_id for task_id in kinds if returned(dag_run, task_id) is not None]
    if choice == "warn":
        assert "Not recorded: RegisterDatasetOperator(name='bottles'). Unavailable" in capfd.readouterr().out


def test_an_outage_is_worth_a_retry(outage: Any) -> None:
    """Unavailability spends a retry, and the next attempt finds the database back and writes."""
    with dag() as built:
        ops.RegisterProjectOperator(task_id="project", name="wine", on_retry_callback=outage.end, **NO_DELAY)
    [ti] = run(built).get_task_instances()
    assert (ti.state, ti.try_number) == ("success", 2)
    assert outage.store.get("wine", "Project")["provenance"]["task_id"] == "project"


def test_a_lasting_error_is_a_warning_too(graph: Any) -> None:
    """No work is lost to its metadata, whatever is wrong with it; tasks that need the reference go on alike."""
    with dag() as built:
        dataset = ops.RegisterDatasetOperator(task_id="dataset", name="", on_metadata_error="warn")
        ops.RegisterFeaturesetOperator(task_id="f", name="f", dataset=dataset.output, on_metadata_error="warn")
    assert set(states(run(built)).values()) == {"success"}
    assert graph.counts()["datasets"] == graph.counts()["featuresets"] == 0


def test_with_a_spool_an_outage_loses_nothing(graph: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """References are answered while the database is away, later tasks use them, and the replay writes all of it."""
    extra = {"request_timeout": 0.05, "spool": str(tmp_path / "spool")}
    down = {"conn_type": "arangopipe", "host": "127.0.0.1", "port": 9, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_ARANGOPIPE_DEFAULT", json.dumps(down))
    with dag() as built:
        dataset = ops.RegisterDatasetOperator(task_id="dataset", name="bottles", on_metadata_error="warn")
        ops.RegisterFeaturesetOperator(task_id="f", name="scaled", dataset=dataset.output, on_metadata_error="warn")
    dag_run = run(built)
    assert set(states(dag_run).values()) == {"success"}
    assert graph.replay(tmp_path / "spool") == {"written": 2, "refused": [], "torn": []}
    assert graph.get(returned(dag_run, "f"))["provenance"]["task_id"] == "f"


def test_events_of_outlets_carry_the_ref(wine: Any) -> None:
    """Whoever is started by the asset knows which node it is about."""
    from airflow.models.asset import AssetEvent
    from airflow.sdk import Asset
    from airflow.utils.session import create_session

    asset = Asset(name=f"bottles of {id(wine)}", uri=f"s3://lake/bottles/{id(wine)}")
    with dag() as built:
        ops.RegisterDatasetOperator(task_id="dataset", name="bottles", outlets=[asset])
    dag_run = run(built)
    with create_session() as session:
        events = session.query(AssetEvent).filter(AssetEvent.source_run_id == dag_run.run_id).all()
        assert [event.extra for event in events] == [returned(dag_run, "dataset")]
