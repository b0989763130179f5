"""A policy selects by its rule and says why; of two decisions at once one takes effect."""

import json
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from conftest import dump, provisioned
from hypothesis import given
from hypothesis import strategies as st

from arangopipe_ops import stages
from arangopipe_ops.analytics import Deployed, Policy, demo_runs, demo_stages, deploy, select_model
from arangopipe_ops.connection import connect
from arangopipe_ops.errors import Conflict, Invalid, NotFound
from arangopipe_ops.model import Ref
from arangopipe_ops.store import Store

ACCURACY = Policy("accuracy")


def fill(url: str) -> None:
    store = Store(provisioned(url))
    store.write(stages.register_project("Größe"))
    store.write(stages.register_model("m", project="Größe", task="t"))
    store.write(stages.register_dataset("d"))
    store.write(stages.register_featureset("f", dataset="d"))
    for day, (run, value, status) in enumerate(
        [("low", 0.8, "completed"), ("first", 0.83, "completed"), ("last", 0.83, "completed"), ("bad", 0.99, "failed")],
        start=1,
    ):
        facts = {"params": {"depth": day}, "metrics": {"accuracy": value, "cost": day}, "status": status}
        store.write(stages.log_run(run, model="m", featureset="f", start=f"2026-01-0{day}", **facts))


@pytest.fixture
def project(store: Store, filled_by: Any) -> str:
    """A project with a model and three runs: accuracy 0.8, 0.83 and 0.83, the last a day later, and one that failed."""
    filled_by(fill)
    return "Größe"


def serve(store: Store, project: str, run: str, tag: str = "now") -> Ref:
    return store.write(stages.register_deployment(tag, project=project, model="m", run=run))


@pytest.mark.parametrize(
    ("active", "policy", "decision", "run", "words"),
    [
        (None, ACCURACY, "promote", "last", "run last has accuracy 0.83, and nothing is active in production"),
        (None, Policy("accuracy", threshold=0.9), "none", "last", "does not reach the threshold 0.9"),
        (None, Policy("f1"), "none", None, "no run has f1"),
        (None, Policy("cost", goal="min"), "promote", "low", "cost 1"),
        (None, Policy("accuracy", where={"params.depth": {"<": 3}}), "promote", "first", "0.83"),
        (None, Policy("accuracy", statuses=("failed",)), "promote", "bad", "0.99"),
        (None, Policy("accuracy", task="other"), "none", None, "no run has accuracy"),
        ("low", ACCURACY, "promote", "last", "the active now has 0.8: better by 0.03"),
        ("low", Policy("accuracy", min_improvement=0.03), "promote", "last", "better by 0.03"),
        ("low", Policy("accuracy", min_improvement=0.04), "keep", "last", "less than the 0.04"),
        ("low", Policy("accuracy", threshold=0.83), "promote", "last", "better by 0.03"),
        ("low", Policy("accuracy", threshold=0.84), "keep", "last", "does not reach the threshold 0.84"),
        ("low", Policy("f1"), "keep", None, "no run has f1"),
        ("low", Policy("cost", goal="min"), "keep", "low", "is active as now"),
        ("first", ACCURACY, "keep", "last", "not better"),
        ("last", ACCURACY, "keep", "last", "is active as now"),
        ("bad", ACCURACY, "keep", "last", "the active now has 0.99: not better"),
        ("low", Policy("accuracy", environment="staging"), "promote", "last", "nothing is active in staging"),
    ],
)
def test_a_policy_decides(
    store: Store,
    project: str,
    requests_of: Any,
    active: str | None,
    policy: Policy,
    decision: str,
    run: str | None,
    words: str,
) -> None:
    """Threshold, improvement, conditions, statuses and environment decide, in one request that changes nothing."""
    if active:
        serve(store, project, active)
    before = dump(store.db)
    requests = requests_of(store.db)
    selection = select_model(store, project, policy)
    assert len(requests) == 1
    assert dump(store.db) == before
    assert selection["decision"] == decision
    assert (selection["candidate"] or {}).get("run_id") == run
    assert words in selection["reason"]
    assert (selection["active"] is not None) == (active is not None and policy.environment == "production")
    assert json.loads(json.dumps(selection)) == selection


def test_the_active_without_the_metric_gives_way(store: Store, project: str) -> None:
    """A deployment of unknown worth is replaced by a run that is fit."""
    store.write(stages.register_deployment("unknown", project=project, model="m"))
    selection = select_model(store, project, ACCURACY)
    assert (selection["decision"], selection["active"]["value"]) == ("promote", None)  # type: ignore[index]
    assert "is not known" in selection["reason"]


def test_the_policy_of_the_demonstration(store: Store) -> None:
    """On the demonstration data the best run serves already; without the attribute the best is another."""
    for stage in demo_stages(projects=1):
        store.write(stage)
    runs = [run for run in demo_runs(projects=1) if run.metrics]
    selection = select_model(store, runs[0].project, ACCURACY)
    assert (selection["decision"], selection["candidate"]["run_id"]) == (  # type: ignore[index]
        "keep",
        max(runs, key=lambda run: run.metrics["accuracy"]).run_id,
    )


def test_the_runners_up(store: Store, project: str, requests_of: Any) -> None:
    """As many runs as are asked for stand beside the candidate, the next best first, in the same request."""
    requests = requests_of(store.db)
    selection = select_model(store, project, ACCURACY, runners_up=1)
    assert len(requests) == 1
    told = [(each["run_id"], each["value"], each["model_name"]) for each in selection["runners_up"]]
    assert told == [("first", 0.83, "m")]
    assert [each["run_id"] for each in select_model(store, project, ACCURACY, runners_up=9)["runners_up"]] == [
        "first",
        "low",
    ]
    assert select_model(store, project, ACCURACY)["runners_up"] == []
    with pytest.raises(Invalid, match="runners_up"):
        select_model(store, project, ACCURACY, runners_up=-1)


def test_what_is_archived_is_no_candidate(store: Store, project: str) -> None:
    """Neither a run that is archived nor one of a model that is."""
    store.archive("last", "Run")
    assert select_model(store, project, ACCURACY)["candidate"]["run_id"] == "first"  # type: ignore[index]
    store.archive("m", "Model")
    assert select_model(store, project, ACCURACY)["candidate"] is None


def test_an_unknown_project_is_said(store: Store) -> None:
    """A project that is not there is NotFound, also before any is."""
    with pytest.raises(NotFound, match="Project 'nothing'"):
        select_model(store, "nothing", ACCURACY)


# --- deploying


def test_deploying_promotes_and_says_why(store: Store, project: str) -> None:
    """The selected run is active with its model, parameters and feature sets, and the audit has the reason."""
    serve(store, project, "low", "old")
    done = deploy(store, project, ACCURACY, tag="new", reason="weekly")
    assert (done["replaced"], done["deployment"]["name"]) == ("old", "new")  # type: ignore[index]
    new, old = store.get("new", "Deployment"), store.get("old", "Deployment")
    assert (new["status"], old["status"]) == ("active", "archived")
    kinds = {node["kind"]: node["name"] for node in store.lineage("new", kind="Deployment", depth=2)["nodes"]}
    assert (kinds["Run"], kinds["Model"], kinds["Featureset"]) == ("last", "m", "f")
    assert store.counts()["deployment_featureset"] == 1
    event = store.history("new", "Deployment")[0]
    assert event["reason"] == f"weekly: {done['selection']['reason']}"
    assert deploy(store, project, ACCURACY, tag="again")["selection"]["decision"] == "keep"


def test_a_dry_run_writes_nothing(store: Store, project: str) -> None:
    """With dry_run the decision is told and the graph stays as it was."""
    before = dump(store.db)
    done = deploy(store, project, ACCURACY, tag="new", dry_run=True)
    assert done["selection"]["decision"] == "promote"
    assert done["deployment"] is None
    assert dump(store.db) == before


def test_a_decision_to_keep_writes_nothing(store: Store, project: str) -> None:
    """What is not to be promoted is not even registered."""
    serve(store, project, "last")
    before = dump(store.db)
    assert deploy(store, project, ACCURACY, tag="new")["deployment"] is None
    assert dump(store.db) == before


class Overtaken(Store):
    """A store in which another decision takes effect while one is being put into effect."""

    rival: Callable[[], Any]

    def write(self, *args: Any, **kwargs: Any) -> Ref:
        written = super().write(*args, **kwargs)
        self.rival()
        return written


@pytest.mark.parametrize("active", [None, "low"])
def test_a_decision_that_is_overtaken_loses(store: Store, url: str, project: str, active: str | None) -> None:
    """If another deployment became active since the decision, Conflict is raised and that one stays active."""
    if active:
        serve(store, project, active)
    slow = Overtaken(connect(url))
    slow.rival = lambda: deploy(store, project, ACCURACY, tag="rival")
    with pytest.raises(Conflict):
        deploy(slow, project, ACCURACY, tag="slow")
    assert store.get("rival", "Deployment")["status"] == "active"
    assert store.get("slow", "Deployment")["status"] == "scheduled"


def test_a_deployment_that_was_broken_off_goes_on(store: Store, url: str, project: str) -> None:
    """Registered and then cut off, the same call promotes what it had registered."""
    broken = Overtaken(connect(url))

    def cut() -> None:
        raise KeyboardInterrupt

    broken.rival = cut
    with pytest.raises(KeyboardInterrupt):
        deploy(broken, project, ACCURACY, tag="new")
    assert store.get("new", "Deployment")["status"] == "scheduled"
    assert deploy(store, project, ACCURACY, tag="new")["deployment"] is not None
    assert store.get("new", "Deployment")["status"] == "active"


@pytest.mark.parametrize("active", [None, "low"])
def test_of_two_deployments_at_once_one_is_active(store: Store, url: str, project: str, active: str | None) -> None:
    """Whatever the timing, one decision takes effect and the others lose or see it."""
    if active:
        serve(store, project, active)
    at_once = Barrier(4)

    def decide(number: int) -> Deployed | Conflict:
        own = Store(connect(url))
        at_once.wait()
        try:
            return deploy(own, project, ACCURACY, tag=f"new {number}")
        except Conflict as conflict:
            return conflict

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(decide, range(4)))
    won = [each for each in outcomes if isinstance(each, dict) and each["deployment"]]
    kept = [each for each in outcomes if isinstance(each, dict) and each["selection"]["decision"] == "keep"]
    lost = [each for each in outcomes if isinstance(each, Conflict)]
    assert (len(won), len(kept) + len(lost)) == (1, 3)
    serving = store.search("Deployment", {"status": "active"})["nodes"]
    assert [node["tag"] for node in serving] == [won[0]["deployment"]["name"]]


def test_a_promotion_over_nothing(store: Store, project: str) -> None:
    """Promoting over "" holds only where nothing is active."""
    first = store.write(stages.register_deployment("one", project=project, model="m", status="scheduled"))
    second = store.write(stages.register_deployment("two", project=project, model="m", status="scheduled"))
    store.promote(first, over="")
    with pytest.raises(Conflict, match="not the expected one but deployment/one"):
        store.promote(second, over="")


# --- the policy as data

POLICIES = st.builds(
    Policy,
    metric=st.text(st.characters(codec="utf-8"), min_size=1),
    goal=st.sampled_from(["max", "min"]),
    threshold=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    min_improvement=st.floats(0, 10),
    where=st.dictionaries(
        st.sampled_from(["params.depth", "status"]), st.integers(0, 99) | st.just({">": 1}), max_size=2
    ),
    environment=st.sampled_from(["production", "Größe"]),
    statuses=st.lists(st.sampled_from(["completed", "failed"])).map(tuple),
    task=st.none() | st.just("t"),
)


@given(policy=POLICIES)
def test_a_policy_survives_json(policy: Policy) -> None:
    """A policy written as JSON and read back is the same."""
    assert Policy.from_json(json.loads(json.dumps(policy.to_json()))) == policy


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({}, "policy.metric"),
        ({"metric": ""}, "metric"),
        ({"metric": "a", "goal": "most"}, "goal"),
        ({"metric": "a", "min_improvment": 1}, "policy.min_improvment"),
        ({"metric": "a", "min_improvement": -1}, "min_improvement"),
        ({"metric": "a", "min_improvement": None}, "min_improvement"),
        ({"metric": "a", "threshold": "0.9"}, "threshold"),
        ({"metric": "a", "threshold": math.nan}, "threshold"),
        ({"metric": "a", "min_improvement": math.inf}, "min_improvement"),
        ({"metric": "a", "statuses": "completed"}, "statuses"),
    ],
)
def test_a_policy_that_is_none_is_refused_by_name(data: dict[str, Any], named: str) -> None:
    """A wrong policy names the part that is wrong."""
    with pytest.raises(Invalid) as refused:
        Policy.from_json(data)
    assert refused.value.path == named
