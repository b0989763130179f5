"""Many writers and many crashes on one embedded file: what was written is there once, and whole.

    python benchmarks/soak.py [--processes 8] [--writes 500] [--rounds 200] [--folder DIR]

First some processes write stages at once; then a writer is killed (SIGKILL) in the middle of its work, round
after round. After each part the graph is held against what must be in it. Ends with exit code 1 if it is not.
"""

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from arangopipe_ops import Store, connect, stages
from arangopipe_ops.admin import provision
from arangopipe_ops.model import AUDIT

SPAWN = multiprocessing.get_context("spawn")
FACTS = ("modelparams", "devperf", "run_models", "run_modelparams", "run_devperf")


def write_runs(url: str, writer: str, count: int, started: Any = None) -> int:
    store = Store(connect(url))
    model = store.write(stages.register_model("m", project=store.write(stages.register_project("p"))))
    if started is not None:
        started.set()
    for i in range(count):
        store.write(stages.log_run(f"{writer} {i}", model=model, params={"i": i}, metrics={"i": i}))
    return count


def write_at_once(url: str, processes: int, writes: int) -> None:
    started = time.perf_counter()
    with SPAWN.Pool(processes) as pool:
        done = pool.starmap(write_runs, [(url, f"process {i}", writes) for i in range(processes)])
    seconds = time.perf_counter() - started
    print(f"{processes} processes x {writes} writes: {sum(done)} in {seconds:.1f} s, {sum(done) / seconds:.0f}/s")


def crash(url: str, rounds: int) -> None:
    for i in range(rounds):
        started = SPAWN.Event()
        process = SPAWN.Process(target=write_runs, args=(url, f"round {i}", 1_000_000, started))
        process.start()
        started.wait(60)
        time.sleep(random.uniform(0, 0.05))
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        if (i + 1) % 20 == 0:
            print(f"killed {i + 1} writers: {whole(url)} runs, all whole")


def whole(url: str) -> int:
    """Return how many runs there are, each with its facts, edges and one audit entry; end the program otherwise."""
    db = connect(url)
    counts = Store(db).counts()
    query = "FOR a IN @@audit FILTER LENGTH(a.created[* FILTER LIKE(CURRENT, 'run/%')]) > 0 RETURN LENGTH(a.created)"
    audited = list(db.aql.execute(query, bind_vars={"@audit": AUDIT}))  # type: ignore[arg-type]
    runs = counts["run"]
    if {counts[name] for name in FACTS} != {runs} or audited != [6] * runs or counts["project"] != 1:
        sys.exit(f"not whole: {counts}, {len(audited)} audit entries")
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--writes", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        url = f"embedded://{folder}/graph.db"
        provision(connect(url))
        write_at_once(url, options.processes, options.writes)
        if whole(url) != options.processes * options.writes:
            sys.exit("writes were lost or doubled")
        crash(url, options.rounds)


if __name__ == "__main__":
    main()
