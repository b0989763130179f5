"""What it costs to import the Airflow provider in a fresh interpreter, against Airflow's own ArangoDB provider.

    python benchmarks/airflow_imports.py [--repeat 15] [--peer-python PATH]

Airflow parses DAG files in processes that have Airflow loaded, so what counts is what a provider adds to that: the
processor time after the names of `airflow.sdk` that every provider and DAG file needs are there. Each figure is the
median of fresh interpreters that take turns; the ratio is to the peer's operators. Bytecode is written before, into a
folder of the benchmark's own.

The peer is installed with pip into a temporary folder, beside the packages of this environment. `--peer-python` names
the interpreter of another environment instead, with Airflow, the peer and our own dependencies in it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PEER = "apache-airflow-providers-arangodb==2.10.1"

THERE_ALREADY = (
    "from airflow.sdk import DAG, Asset, BaseHook, BaseOperator, BaseOperatorLink, BaseSensorOperator, Connection, task"
)
PYTHON_TASKS = f"{THERE_ALREADY}; import airflow.providers.standard.decorators.python"

MEASURED = {
    "the peer's operators": (THERE_ALREADY, "airflow.providers.arangodb.operators.arangodb"),
    "the peer's sensors": (THERE_ALREADY, "airflow.providers.arangodb.sensors.arangodb"),
    "our operators": (THERE_ALREADY, "arangopipe_ops.airflow.operators"),
    "our sensors": (THERE_ALREADY, "arangopipe_ops.airflow.sensors"),
    "our decorators": (PYTHON_TASKS, "arangopipe_ops.airflow.decorators"),
    "all three of ours": (
        PYTHON_TASKS,
        "arangopipe_ops.airflow.operators, arangopipe_ops.airflow.sensors, arangopipe_ops.airflow.decorators",
    ),
}
"""What is imported -> what is there before, and the modules. Whoever decorates functions has Airflow's own `@task`."""

PROGRAM = """
import json, sys, time
{before}
loaded, began = set(sys.modules), time.process_time()
import {modules}
took = time.process_time() - began
print(json.dumps([took * 1000, len(set(sys.modules) - loaded)]))
"""


def environment(folder: Path) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
    return plain | {
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder / "peer")]),
        "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
    }


def measured(python: Path, what: str, folder: Path) -> tuple[float, int]:
    before, modules = MEASURED[what]
    command = [str(python), "-c", PROGRAM.format(before=before, modules=modules)]
    done = subprocess.run(command, env=environment(folder), cwd=folder, capture_output=True, text=True, check=True)
    took, count = json.loads(done.stdout.splitlines()[-1])
    return took, count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--peer-python", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.peer_python is None:
            install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
            subprocess.run([*install, "--target", str(folder / "peer"), PEER], check=True)
        python = options.peer_python or Path(sys.executable)
        times: dict[str, list[float]] = {what: [] for what in MEASURED}
        modules = {what: measured(python, what, folder)[1] for what in MEASURED}  # writes the bytecode as well
        for _ in range(options.repeat):
            for what, took in times.items():
                took.append(measured(python, what, folder)[0])
    peer = statistics.median(times["the peer's operators"])
    print(f"{'':<24}{'median ms':>10}{'best ms':>10}{'modules':>10}{'ratio':>8}")
    for what, took in times.items():
        median = statistics.median(took)
        print(f"{what:<24}{median:>10.1f}{min(took):>10.1f}{modules[what]:>10}{median / peer:>8.2f}")


if __name__ == "__main__":
    main()
