"""What it costs to write many runs at once on the embedded database, against the same rows written by hand.

    python benchmarks/bulk.py [--runs 5000] [--folder /dev/shm]

Both write, for every run, three nodes and five edges with their index entries, in transactions of as many runs; by
hand that is `executemany` of ready-made rows. The two take turns, and the figure to read is the ratio. Then the time
of ours is taken apart: making the stages, merging them and making their statements, and the database.
"""

import argparse
import sqlite3
import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path

from log_run import prepare, rows_of_one
from timing import milliseconds

from arangopipe_ops import Stage, Store, stages
from arangopipe_ops.store.bulk import BATCH_NODES, batches
from arangopipe_ops.store.writing import Groups

TURN = BATCH_NODES // 3
"""Runs in one batch."""


def runs(references: dict[str, object], numbers: Iterable[int]) -> list[Stage]:
    params = {f"param_{k}": k * 1.5 for k in range(10)}
    metrics = {f"metric_{k}": k / 7 for k in range(5)}
    return [stages.log_run(f"run {i}", params=params, metrics=metrics, **references) for i in numbers]  # type: ignore[arg-type]


class ByHand:
    """The rows that one run left, again and again under other keys."""

    def __init__(self, path: Path, template: Path) -> None:
        self.documents, self.entries = rows_of_one(template)
        self.file = sqlite3.connect(path, isolation_level=None)
        self.file.execute("PRAGMA journal_mode = WAL")
        self.file.execute("PRAGMA synchronous = NORMAL")
        with sqlite3.connect(template) as source:
            for (sql,) in source.execute("SELECT sql FROM sqlite_master WHERE name IN ('documents', 'entries')"):
                self.file.execute(sql)

    def write(self, numbers: Iterable[int]) -> None:
        documents = [(id + i, c, f"{key}{i}", rev, body) for i in numbers for id, c, key, rev, body in self.documents]
        entries = [(index, value, id + i) for i in numbers for index, value, id in self.entries]
        self.file.execute("BEGIN IMMEDIATE")
        self.file.executemany("INSERT INTO documents VALUES (?, ?, ?, ?, ?)", documents)
        self.file.executemany("INSERT INTO entries VALUES (?, ?, ?)", entries)
        self.file.execute("COMMIT")


def statements(many: list[Stage]) -> None:
    for batch in batches(many, BATCH_NODES):
        batch.mark("")
        Groups(batch.stage).binds()


def measure(store: Store, references: dict[str, object], hand: ByHand, turns: int) -> dict[str, list[float]]:
    """Return the milliseconds of each turn, by what was measured."""
    times: dict[str, list[float]] = {}
    for turn in range(turns):
        numbers = range(1 + turn * TURN, 1 + (turn + 1) * TURN)
        again = runs(references, numbers)
        calls = {
            "make the stages": lambda numbers=numbers: runs(references, numbers),
            "merge, make statements": lambda again=again: statements(again),
            "stages to graph": lambda numbers=numbers: store.write_many(runs(references, numbers)),
            "the same rows by hand": lambda numbers=numbers: hand.write(numbers),
        }
        for name, call in calls.items():
            times.setdefault(name, []).append(milliseconds(call))  # type: ignore[arg-type]
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        store, references = prepare(Path(folder))
        store.write_many(runs(references, [0]))
        hand = ByHand(Path(folder) / "hand.db", Path(folder) / "graph.db")
        times = measure(store, references, hand, max(2, options.runs // TURN))
    ours, other = times["stages to graph"], times["the same rows by hand"]
    print(f"{'':<28}{'ms/run':>10}{'runs/s':>10}")
    for name, each in times.items():
        print(f"{name:<28}{statistics.median(each) / TURN:>10.3f}{1000 * TURN / statistics.median(each):>10.0f}")
    print(f"{'ratio (median)':<28}{statistics.median(a / b for a, b in zip(ours, other, strict=True)):>10.1f}")


if __name__ == "__main__":
    main()
