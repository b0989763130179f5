"""What each question costs on the embedded database, against a search for the newest 100 runs of the same graph.

    python benchmarks/analytics.py [--runs 20000] [--projects 21] [--folder /dev/shm]

The graph is the demonstration's, repeated until it has so many runs in so many projects; every
question is asked of one of them, so that the rest of the graph should not count. The figures to read are the ratio to
`Store.search`, and the microseconds per run that the question is about. They are of the processor's time, as the
database is in this process.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time
from typing import Any

from lineage import store_all
from timing import median

from arangopipe_ops import Store, connect
from arangopipe_ops.admin import provision
from arangopipe_ops.analytics import QUESTIONS, Policy, demo_runs, demo_stages, select_model
from arangopipe_ops.analytics.demo import TASKS
from arangopipe_ops.model import Stage

CALLS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--projects", type=int, default=21)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))
    options = parser.parse_args()
    once = len(list(demo_runs(projects=options.projects)))
    shape = {"projects": options.projects, "repeats": max(1, round(options.runs / once))}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        store = Store(connect(f"embedded://{folder}/graph.db"))
        provision(store.db)
        fill(store, demo_stages(**shape))
        runs = list(demo_runs(**shape))
        report(store, runs)


def fill(store: Store, many: Iterator[Stage]) -> None:
    """Write what is referred to by stages, and the runs in bulk between them."""
    waiting: list[Stage] = []
    for stage in many:
        if stage.nodes[0].type.kind == "Run":
            waiting.append(stage)
            continue
        store_all(store, iter(waiting))
        waiting = []
        store.write(stage)


def report(store: Store, runs: list[Any]) -> None:
    task, project = TASKS[0], f"{TASKS[0].project} 7"
    dataset, model = f"{TASKS[0].dataset} 7", f"{TASKS[0].task} by random forest 7"
    of_task = sum(run.task == task.task for run in runs)
    of_project = sum(run.project == project for run in runs)
    of_model = sum(run.model == model for run in runs)
    asked: dict[str, tuple[str, dict[str, Any], int]] = {
        "techniques of a task": ("techniques", {"task": task.task, "metric": "accuracy"}, of_task),
        "transformations of a task": ("transformations", {"task": task.task}, of_task),
        "selections of a task": ("selections", {"task": task.task}, of_task),
        "data sets of a task, one year": (
            "datasets-used",
            {"task": task.task, "since": "2024-01-01", "until": "2025-01-01"},
            of_task,
        ),
        "gain of an attribute": (
            "attribute-gain",
            {"attribute": task.attribute, "dataset": dataset, "metric": "accuracy"},
            of_project,
        ),
        "influence of a data set": ("influence", {"dataset": dataset}, of_project),
        "influence on a model": ("influence", {"model": model}, of_model),
        "influence, all": ("influence", {}, len(runs)),
        "a model at a past time": ("model-at", {"model": model, "at": "2024-01-01"}, of_model),
        "best run of a project": ("best-run", {"metric": "accuracy", "project": project}, of_project),
        "best run of all": ("best-run", {"metric": "accuracy"}, len(runs)),
        "summary of a project": ("summary", {"project": project}, of_project),
        "serving of a project by month": (
            "serving",
            {"metric": "accuracy", "project": project, "every": "month"},
            0,
        ),
        "serving drift of a project": ("serving-drift", {"metric": "accuracy", "project": project}, 0),
        "what was live, all projects": ("live", {"at": "2999-01-01"}, 0),
    }
    base = median(lambda: store.search("Run", limit=100), CALLS, process_time)
    print(f"{len(runs):,} runs, {of_task:,} of the task, {of_project:,} of the project\n")
    print(f"{'':<34}{'ms':>10}{'ratio':>10}{'us/run':>10}")
    print(f"{'Store.search, newest 100 runs':<34}{base:>10.2f}{1:>10.2f}{'':>10}")
    calls: dict[str, tuple[Callable[[], object], int]] = {
        name: (lambda q=question, a=arguments: QUESTIONS[q](store, **a), about)  # type: ignore[misc]
        for name, (question, arguments, about) in asked.items()
    }
    calls["policy: select_model"] = (lambda: select_model(store, project, Policy("accuracy")), of_project)
    for name, (call, about) in calls.items():
        taken = median(call, CALLS, process_time)
        each = f"{taken / about * 1000:>10.1f}" if about else ""
        print(f"{name:<34}{taken:>10.2f}{taken / base:>10.2f}{each}")


if __name__ == "__main__":
    main()
