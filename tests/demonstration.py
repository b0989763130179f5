"""The demonstration data as a graph, and questions about it."""

import json
from datetime import datetime
from typing import Any

import pytest
from conftest import provisioned

from arangopipe_ops.analytics import QUESTIONS, DemoRun, demo_runs, demo_stages
from arangopipe_ops.analytics.demo import TASKS
from arangopipe_ops.store import Store

PROJECTS = 3
SHAPE = {"seed": 7, "projects": PROJECTS, "periods": 22}
RUNS = list(demo_runs(**SHAPE))
TASK = TASKS[0]


def ask(store: Store, question: str, **arguments: Any) -> Any:
    """Put a question, and see that its answer is plain JSON."""
    answer = QUESTIONS[question](store, **arguments)
    assert json.loads(json.dumps(answer)) == answer
    return answer


def iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def of_task(task: str) -> list[DemoRun]:
    return [run for run in RUNS if run.task == task]


def best(runs: list[DemoRun]) -> DemoRun:
    return max((run for run in runs if run.metrics), key=lambda run: run.metrics["accuracy"])


def fill(url: str) -> None:
    store = Store(provisioned(url))
    for stage in demo_stages(**SHAPE):
        store.write(stage)


@pytest.fixture
def demo(filled_by: Any) -> Store:
    return Store(filled_by(fill))
