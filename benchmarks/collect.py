"""What it costs to collect serving performance on the embedded database, against the same rows written by hand.

    python benchmarks/collect.py [--deployments 1000 10000] [--metrics 20] [--periods 3] [--folder /dev/shm]

The source is a function that has its figures at once. By hand are the node and the edge of every deployment and period
with their index entries, `executemany` of ready-made rows in transactions of as many. Memory is what collecting takes
beyond what there was before, at its most; with more periods it should stay the same.
"""

import argparse
import math
import sqlite3
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from arangopipe_ops import Store, connect, stages
from arangopipe_ops.admin import provision
from arangopipe_ops.serving import Period, Report, Row, Source, collect, periods
from arangopipe_ops.store.bulk import BATCH_NODES


def prepare(folder: Path, deployments: int) -> Store:
    db = connect(f"embedded://{folder}/graph.db")
    provision(db)
    store = Store(db)
    store.write_many([stages.register_project("p"), stages.register_model("m", project="p")])
    store.write_many(
        stages.register_deployment(f"d{i}", project="p", model="m", environment=str(i)) for i in range(deployments)
    )
    return store


def figures(count: int) -> Callable[..., Iterator[Row]]:
    """Return a source that knows so many metrics of everything."""

    def read(periods: Sequence[Period], deployments: Sequence[str]) -> Iterator[Row]:
        for period in periods:
            for i, deployment in enumerate(deployments):
                start = period.start.timestamp() % 1000
                yield Row(deployment, period, {f"metric_{k}": (i + start) / (k + 7) for k in range(count)})

    return read


def counted(store: Store) -> list[int]:
    """Count the requests that a store sends from now on, in the one number of the list."""
    client: Any = store.db.conn._http  # type: ignore[attr-defined]
    send, sent = client.send_request, [0]

    def recorded(*args: Any, **kwargs: Any) -> Any:
        sent[0] += 1
        return send(*args, **kwargs)

    client.send_request = recorded
    return sent


def by_hand(folder: Path, rows: int) -> float:
    """Return the seconds to write the rows of so many nodes and edges, made from those of one."""
    template, file = folder / "graph.db", sqlite3.connect(folder / "hand.db", isolation_level=None)
    file.execute("PRAGMA journal_mode = WAL")
    file.execute("PRAGMA synchronous = NORMAL")
    with sqlite3.connect(template) as source:
        for (sql,) in source.execute("SELECT sql FROM sqlite_master WHERE name IN ('documents', 'entries')"):
            file.execute(sql)
        newest = source.execute("SELECT * FROM documents WHERE body LIKE '%metric_0%' ORDER BY id DESC LIMIT 1")
        node = newest.fetchone()
        found = source.execute("SELECT * FROM documents WHERE body ->> '_to' = ?", (f"servingperf/{node[2]}",))
        edge = found.fetchone()
        entries = source.execute("SELECT * FROM entries WHERE document IN (?, ?)", (node[0], edge[0])).fetchall()
    start = time.perf_counter()
    for first in range(0, rows, BATCH_NODES):
        numbers = range(first, min(first + BATCH_NODES, rows))
        documents = [(2 * i + j, d[1], f"{d[2]}{i}", d[3], d[4]) for i in numbers for j, d in enumerate((node, edge))]
        indexed = [(e[0], e[1], 2 * i + (e[2] == edge[0])) for i in numbers for e in entries]
        file.execute("BEGIN IMMEDIATE")
        file.executemany("INSERT INTO documents VALUES (?, ?, ?, ?, ?)", documents)
        file.executemany("INSERT INTO entries VALUES (?, ?, ?)", indexed)
        file.execute("COMMIT")
    return time.perf_counter() - start


def timed(call: Callable[[], Report]) -> tuple[float, Report]:
    start = time.perf_counter()
    report = call()
    return time.perf_counter() - start, report


def peak(call: Callable[[], Report]) -> float:
    """Return the MiB that a call takes at its most."""
    tracemalloc.start()
    call()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / 2**20


def measure(folder: Path, deployments: int, metrics: int, days: Sequence[Period]) -> None:
    store = prepare(folder, deployments)
    sent = counted(store)
    source = [Source("python", "benchmark", {"call": figures(metrics)})]
    first, report = timed(lambda: collect(store, days[:1], source))
    assert report["created"] == deployments, report
    requests = sent[0]
    assert requests == 1 + math.ceil(deployments / BATCH_NODES), requests  # one finds the deployments
    hand = by_hand(folder, deployments)
    again, report = timed(lambda: collect(store, days[:1], source))
    assert report["same"] == deployments, report
    retry, report = timed(lambda: collect(store, days[:1], source, only_missing=True))
    assert report["known"] == deployments, report
    one, several = (peak(lambda n=n: collect(store, days[1:n], source)) for n in (2, len(days)))  # type: ignore[misc]
    print(
        f"{deployments:>12,}{first:>9.2f}{deployments / first:>15,.0f}{requests:>10}{hand:>9.2f}{first / hand:>8.1f}"
        f"{again:>9.2f}{retry:>9.2f}{one:>9.0f}{several:>9.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deployments", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--metrics", type=int, default=20)
    parser.add_argument("--periods", type=int, default=4, help="for the memory of several")
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))
    options = parser.parse_args()
    days = list(periods("2026-01-01", "2027-01-01", "1d"))[: options.periods + 1]
    print(f"one period, {options.metrics} metrics; memory of 1 and of {options.periods} periods")
    print(
        f"{'deployments':>12}{'s':>9}{'deployments/s':>15}{'requests':>10}{'by hand':>9}{'ratio':>8}"
        f"{'again s':>9}{'retry s':>9}{'MiB, 1':>9}{f'MiB, {options.periods}':>9}"
    )
    for deployments in options.deployments:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            measure(Path(folder), deployments, options.metrics, days)


if __name__ == "__main__":
    main()
