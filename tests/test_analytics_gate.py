"""A gate is passed by the metric that reaches its threshold and its baseline, and by no other."""

from typing import Any

import pytest
from conftest import provisioned

from arangopipe_ops import stages
from arangopipe_ops.analytics import gate
from arangopipe_ops.connection import connect
from arangopipe_ops.errors import Invalid, NotFound
from arangopipe_ops.store import Store

LOW = {"node": "low", "kind": "Run"}
SERVED = {"node": "now", "kind": "Deployment", "performance": "serving"}


def fill(url: str) -> None:
    """Two runs, of which one is deployed, and served three days worse and worse."""
    provisioned(url)
    store = Store(connect(url))
    store.write(stages.register_project("p"))
    store.write(stages.register_model("m", project="p"))
    for run, value in (("low", 0.8), ("high", 0.83)):
        store.write(stages.log_run(run, model="m", metrics={"accuracy": value}))
    store.write(stages.register_deployment("now", project="p", model="m", run="high"))
    for day, value in ((1, 0.8), (2, 0.7), (3, 0.1)):
        period = {"period_start": f"2026-05-0{day}", "period_end": f"2026-05-0{day + 1}"}
        store.write(stages.log_serving_perf("now", metrics={"accuracy": value}, **period))


@pytest.fixture
def served(filled_by: Any) -> Store:
    return Store(filled_by(fill))


@pytest.mark.parametrize(
    ("asked", "passed", "value"),
    [
        (LOW | {"threshold": 0.8}, True, 0.8),
        (LOW | {"threshold": 0.81}, False, 0.8),
        (LOW | {"threshold": 0.8, "goal": "min"}, True, 0.8),
        (LOW | {"threshold": 0.79, "goal": "min"}, False, 0.8),
        (LOW | {"threshold": 0, "metric": "cost"}, False, None),
        (LOW | {"baseline": "high"}, False, 0.8),
        (LOW | {"baseline": "high", "goal": "min"}, True, 0.8),
        (LOW | {"baseline": "high", "min_improvement": -0.03}, True, 0.8),
        (LOW | {"baseline": "high", "min_improvement": -0.02}, False, 0.8),
        (LOW | {"baseline": "low"}, True, 0.8),
        ({"node": "high", "kind": "Run", "baseline": "low", "min_improvement": 0.03}, True, 0.83),
        ({"node": "high", "kind": "Run", "baseline": "low", "threshold": 0.9}, False, 0.83),
        ({"node": "now", "kind": "Deployment", "threshold": 0.83}, True, 0.83),
        (SERVED | {"threshold": 0.75, "until": "2026-05-03"}, True, 0.75),
        (SERVED | {"threshold": 0.75, "since": "2026-05-02", "until": "2026-05-03"}, False, 0.7),
        (SERVED | {"threshold": 0, "since": "2026-05-04"}, False, None),
        (SERVED | {"baseline": "now", "baseline_performance": "development"}, False, pytest.approx(1.6 / 3)),
    ],
)
def test_a_gate_is_passed_or_not(
    served: Store, requests_of: Any, asked: dict[str, Any], passed: bool, value: float | None
) -> None:
    """Threshold, baseline, improvement, goal and time decide, in one request; an unknown metric passes nothing."""
    requests = requests_of(served.db)
    verdict = gate(served, **{"metric": "accuracy", **asked})
    assert (verdict["passed"], verdict["value"]) == (passed, value)
    assert verdict["reason"]
    assert len(requests) == 1


def test_a_node_that_is_not_there_passes_no_gate(served: Store) -> None:
    """Neither it nor a baseline that is not there is taken for one that did badly."""
    with pytest.raises(NotFound, match="node 'nothing'"):
        gate(served, "accuracy", "nothing", kind="Run", threshold=0)
    with pytest.raises(NotFound, match="baseline 'nothing'"):
        gate(served, "accuracy", "low", kind="Run", baseline="nothing")


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (LOW, "threshold"),
        (LOW | {"threshold": "0.9"}, "threshold"),
        (LOW | {"threshold": float("nan")}, "threshold"),
        (LOW | {"baseline": "low", "min_improvement": float("nan")}, "min_improvement"),
        (LOW | {"threshold": 0, "goal": "most"}, "goal"),
        ({"node": "low", "threshold": 0}, "node"),
        (LOW | {"performance": "serving", "threshold": 0}, "node"),
    ],
)
def test_a_gate_that_is_none_is_refused_by_name(served: Store, asked: dict[str, Any], named: str) -> None:
    """What cannot be asked names the part that is wrong."""
    with pytest.raises(Invalid) as refused:
        gate(served, **{"metric": "accuracy", **asked})
    assert refused.value.path == named
