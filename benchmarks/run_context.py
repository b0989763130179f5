"""What it costs to write a run as a `with` statement, against its two writes alone.

    python benchmarks/run_context.py [--runs 200] [--folder /dev/shm]

Both write the same run when it begins and when it ends, with the same captured attributes, to the embedded database;
the difference is what the run asks of git and of the process, and what it logs. They take turns, and the figure to
read is the ratio. What one call of `log_metrics` costs stands below.
"""

import argparse
import statistics
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from timing import milliseconds

from arangopipe_ops import Store, capture, connect, stages
from arangopipe_ops.admin import provision

STEPS = 100


def prepare(folder: Path) -> tuple[Store, dict[str, Any]]:
    db = connect(f"embedded://{folder}/graph.db")
    provision(db)
    store = Store(db)
    project = store.write(stages.register_project("benchmark"))
    dataset = store.write(stages.register_dataset("data", uri="s3://lake/data.parquet"))
    return store, {"model": store.write(stages.register_model("forest", project=project)), "dataset": dataset}


def as_a_context(store: Store, references: dict[str, Any], i: int) -> None:
    with store.run(f"context {i}", params={"depth": 3}, **references) as run:
        for step in range(STEPS):
            run.log_metrics({"loss": 1 / (step + 1)}, step=step)


def as_two_writes(store: Store, references: dict[str, Any], i: int, captured: dict[str, Any]) -> None:
    start = datetime.now(UTC)
    common: dict[str, Any] = {"params": {"depth": 3}, "start": start, **captured}
    store.write(stages.log_run(f"two {i}", status="running", **references, **common), on_conflict="revise")
    values = [1 / (step + 1) for step in range(STEPS)]
    series = {"step": [*range(STEPS)], "value": values, "time": [datetime.now(UTC)] * STEPS}
    ended = stages.log_run(
        f"two {i}",
        end=datetime.now(UTC),
        metrics={"loss": values[-1], "series": {"loss": series}},
        **references,
        **common,
    )
    store.write(ended, on_conflict="revise")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))
    options = parser.parse_args()
    times: dict[str, list[float]] = {"store.run": [], "two writes": [], "capture.everything": []}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        store, references = prepare(Path(folder))
        captured = capture.everything()
        for i in range(-3, options.runs):
            taken = {
                "store.run": milliseconds(lambda i=i: as_a_context(store, references, i)),  # type: ignore[misc]
                "two writes": milliseconds(lambda i=i: as_two_writes(store, references, i, captured)),  # type: ignore[misc]
                "capture.everything": milliseconds(capture.everything),
            }
            for name, took in taken.items() if i >= 0 else ():
                times[name].append(took)
        with store.run("logging", **references) as run:
            logged = (
                milliseconds(lambda: [run.log_metrics({"loss": 0.5}, step=step) for step in range(10_000)]) / 10_000
            )
    print(f"{'':<24}{'median ms':>10}{'p95 ms':>10}")
    for name, taken_ in times.items():
        print(f"{name:<24}{statistics.median(taken_):>10.2f}{statistics.quantiles(taken_, n=20)[-1]:>10.2f}")
    pairs = zip(times["store.run"], times["two writes"], strict=True)
    print(f"{'ratio (median)':<24}{statistics.median(a / b for a, b in pairs):>10.2f}")
    print(f"{'one log_metrics':<24}{logged:>10.3f}")


if __name__ == "__main__":
    main()
