"""What it costs to log a run on the embedded database, against the same rows written by hand.

    python benchmarks/log_run.py [--runs 500] [--folder /dev/shm]

Both write, for every run, three nodes, five edges and the audit entry, with their index entries, in one
transaction of a SQLite file with the same journal and durability; by hand that is `executemany` of ready-made
rows. The two take turns, and the figure to read is the ratio.
"""

import argparse
import sqlite3
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from timing import milliseconds

from arangopipe_ops import Store, connect, stages
from arangopipe_ops.admin import provision


def prepare(folder: Path) -> tuple[Store, dict[str, object]]:
    db = connect(f"embedded://{folder}/graph.db")
    provision(db)
    store = Store(db)
    project = store.write(stages.register_project("benchmark"))
    dataset = store.write(stages.register_dataset("data", uri="s3://lake/data.parquet"))
    return store, {
        "model": store.write(stages.register_model("forest", project=project)),
        "dataset": dataset,
        "featureset": store.write(stages.register_featureset("all", dataset=dataset)),
    }


def log_one(store: Store, references: dict[str, object], i: int) -> None:
    params = {f"param_{k}": k * 1.5 for k in range(10)}
    metrics = {f"metric_{k}": k / 7 for k in range(5)}
    store.write(stages.log_run(f"run {i}", params=params, metrics=metrics, **references))  # type: ignore[arg-type]


def rows_of_one(path: Path) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """Return the documents and index entries that the last run left, as the rows to write by hand."""
    with sqlite3.connect(path) as file:
        last = file.execute("SELECT id FROM documents WHERE key LIKE 'run_0-%' OR body LIKE '%run_0-%'").fetchall()
        ids = [row[0] for row in last]
        marks = ",".join("?" * len(ids))
        documents = file.execute(f"SELECT * FROM documents WHERE id IN ({marks})", ids).fetchall()
        return documents, file.execute(f"SELECT * FROM entries WHERE document IN ({marks})", ids).fetchall()


def by_hand(path: Path, template: Path) -> Callable[[int], None]:
    documents, entries = rows_of_one(template)
    file = sqlite3.connect(path, isolation_level=None)
    file.execute("PRAGMA journal_mode = WAL")
    file.execute("PRAGMA synchronous = NORMAL")
    with sqlite3.connect(template) as source:
        for (sql,) in source.execute("SELECT sql FROM sqlite_master WHERE name IN ('documents', 'entries')"):
            file.execute(sql)

    def write(i: int) -> None:
        file.execute("BEGIN IMMEDIATE")
        ready = [(id + i, collection, f"{key}{i}", rev, body) for id, collection, key, rev, body in documents]
        file.executemany("INSERT INTO documents VALUES (?, ?, ?, ?, ?)", ready)
        file.executemany("INSERT INTO entries VALUES (?, ?, ?)", [(idx, value, id + i) for idx, value, id in entries])
        file.execute("COMMIT")

    return write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        store, references = prepare(Path(folder))
        log_one(store, references, 0)
        write = by_hand(Path(folder) / "hand.db", Path(folder) / "graph.db")
        ours, hand = [], []
        for i in range(1, options.runs + 1):
            ours.append(milliseconds(lambda i=i: log_one(store, references, i)))  # type: ignore[misc]
            hand.append(milliseconds(lambda i=i: write(i)))  # type: ignore[misc]
    ratio = statistics.median(a / b for a, b in zip(ours, hand, strict=True))
    print(f"{'':<28}{'median ms':>10}{'p95 ms':>10}{'runs/s':>10}")
    for name, times in (("Store.write(log_run)", ours), ("the same rows by hand", hand)):
        p95 = statistics.quantiles(times, n=20)[-1]
        print(f"{name:<28}{statistics.median(times):>10.3f}{p95:>10.3f}{1000 / statistics.mean(times):>10.0f}")
    print(f"{'ratio (median)':<28}{ratio:>10.1f}")


if __name__ == "__main__":
    main()
