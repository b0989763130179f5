"""Run train_and_record with a real Airflow, in a folder of its own, and show what it recorded: `make demo`."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from typing import Any

from pluggy import HookimplMarker
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from arangopipe_ops import Store, connect, drawing, errors, model

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".demo"
AIRFLOW_HOME = HOME / "airflow"
LOG = HOME / "airflow.log"
DRAWING = HOME / "lineage.svg"
COMMANDS = Path(sys.executable).parent

hookimpl = HookimplMarker("airflow")

SERVER = "http://root:arangopipe@localhost:8529/_system"


def main() -> int:
    """Run the DAG and show what it recorded; return the exit code."""
    url = configure()
    with quiet() as console:
        try:
            store = Store(connect())
            with console.status("Connecting to the database ..."):
                before = counts(store)
            migrate(console)
            if not run(console):
                return 1
            show(console, store, before, url)
        except errors.ArangopipeError as error:
            console.print(f"[red]✗[/] {escape(str(error))}", soft_wrap=True)
            return 1
        except subprocess.CalledProcessError as error:
            console.print(f"[red]✗[/] {escape(str(error))}\nThe log is {near(LOG)}")
            return 1
        except KeyboardInterrupt:
            console.print("Stopped.")
            return 130
    return 0


def configure() -> str | None:
    """Give Airflow a home of the demo's own, whatever the user's is like; return the user's own database URL."""
    url = os.environ.get("ARANGOPIPE_URL")
    for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
        del os.environ[name]
    os.environ |= {
        "AIRFLOW_HOME": str(AIRFLOW_HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{airflow_database()}",
        "ARANGOPIPE_URL": url or f"embedded://{HOME}/arangopipe.db",
    }
    AIRFLOW_HOME.mkdir(parents=True, exist_ok=True)
    return url


def airflow_database() -> Path:
    """Return the file of Airflow's own metadata, which another version of Airflow could not read."""
    return AIRFLOW_HOME / f"airflow-{version('apache-airflow')}.db"


@contextmanager
def quiet() -> Iterator[Console]:
    """Send everything that is written to the terminal to the log; only the console still reaches the terminal."""
    sys.stdout.flush()
    terminal, errors_too = os.dup(1), os.dup(2)
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        with os.fdopen(os.dup(terminal), "w") as screen:
            yield Console(file=screen, highlight=False)
    finally:
        sys.stdout.flush()
        os.dup2(terminal, 1)
        os.dup2(errors_too, 2)


# --- running ---------------------------------------------------------------------------------------------


def migrate(console: Console) -> None:
    """Create the database of Airflow's own metadata, once."""
    if airflow_database().exists():
        return
    unfinished = airflow_database().with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    place = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{unfinished}"}
    with console.status("Creating Airflow's own database, once ..."):
        subprocess.run([COMMANDS / "airflow", "db", "migrate"], env=os.environ | place, check=True)
    unfinished.rename(airflow_database())


def run(console: Console) -> bool:
    """Run the DAG, showing its tasks as they finish; return whether it succeeded."""
    started = time.perf_counter()
    with console.status("Starting Airflow ..."):
        from airflow.dag_processing.dagbag import DagBag
        from airflow.sdk.listener import get_listener_manager

        dag = DagBag(ROOT / "dags" / "train_and_record.py").dags["train_and_record"]
    progress = Progress(task.task_id for task in dag.topological_sort())
    get_listener_manager().add_listener(progress)
    with Live(progress, console=console, refresh_per_second=8):
        result = dag.test()
    console.print(f"\n{dag.dag_id}: {result.state} after {time.perf_counter() - started:.0f} s")
    for task_id, error in progress.failures.items():
        console.print(f"[red]✗[/] {task_id}: {escape(error)}", soft_wrap=True)
    if result.state != "success":
        console.print(f"The log is {near(LOG)}")
    return bool(result.state == "success")


class Progress:
    """Listens to Airflow and shows each task with how many instances of it are done, and their seconds."""

    def __init__(self, task_ids: Iterable[str]) -> None:
        self.seconds: dict[str, list[float]] = {task_id: [] for task_id in task_ids}
        self.failures: dict[str, str] = {}
        self.running: str | None = None
        self.since = 0.0

    @hookimpl
    def on_task_instance_running(self, task_instance: Any) -> None:
        self.running, self.since = task_instance.task_id, time.perf_counter()

    @hookimpl
    def on_task_instance_success(self, task_instance: Any) -> None:
        self.finish(task_instance.task_id)

    @hookimpl
    def on_task_instance_failed(self, task_instance: Any, error: Any) -> None:
        self.finish(task_instance.task_id)
        self.failures[task_instance.task_id] = f"{type(error).__name__}: {error}"

    def finish(self, task_id: str) -> None:
        self.seconds[task_id].append(time.perf_counter() - self.since)
        self.running = None

    def __rich__(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for task_id, seconds in self.seconds.items():
            times = f"×{len(seconds)}" if len(seconds) > 1 else ""
            table.add_row(self.sign(task_id), task_id, times, f"{sum(seconds):.2f} s" if seconds else "")
        return table

    def sign(self, task_id: str) -> str:
        states = {"[red]✗": task_id in self.failures, "[yellow]▸": task_id == self.running}
        finished = "[green]✓" if self.seconds[task_id] else "[dim]·"
        return next((sign for sign, holds in states.items() if holds), finished)


# --- showing ---------------------------------------------------------------------------------------------


def show(console: Console, store: Store, before: dict[str, int], url: str | None) -> None:
    """Show the lineage of the newest deployment, what the graph holds, and where to go from here."""
    [deployment] = store.search("Deployment", limit=1)["nodes"]
    lineage = store.lineage(deployment)
    console.rule("what led to the deployment, and how it serves")
    console.print(drawing.tree(lineage), markup=False, soft_wrap=True)
    console.rule("what the graph holds, and what this run added")
    console.print(census(store.counts(), before))
    console.rule("where to go from here")
    console.print(f"Data     {'$ARANGOPIPE_URL' if url else near(HOME / 'arangopipe.db')}", soft_wrap=True)
    console.print(f"Drawing  {draw(lineage)}", soft_wrap=True)
    console.print("\n".join(["", *next_steps(deployment["tag"], url)]), markup=False, soft_wrap=True)


def counts(store: Store) -> dict[str, int]:
    """Return the size of every collection, or nothing in a database that holds no graph yet."""
    try:
        return store.counts()
    except errors.NotProvisioned:
        return {}


def census(now: dict[str, int], before: dict[str, int]) -> Table:
    """Return a table of nodes and, beside them, edges."""
    rows = {name: (name, str(count), added(count - before.get(name, 0))) for name, count in now.items()}
    nodes = [rows.pop(node.collection) for node in model.SCHEMA.nodes.values()]
    table = Table.grid(padding=(0, 2))
    for node, edge in zip_longest(nodes, rows.values(), fillvalue=("", "", "")):
        table.add_row(*node, "  ", *edge)
    return table


def added(count: int) -> str:
    return f"[green]+{count}" if count else ""


def draw(lineage: model.Lineage) -> str:
    """Draw the lineage; return where, or why not."""
    try:
        DRAWING.write_bytes(drawing.svg(lineage))
    except errors.Misconfigured as error:
        return escape(str(error))
    return str(near(DRAWING))


def next_steps(tag: str, url: str | None) -> list[str]:
    database = "" if url else f"ARANGOPIPE_URL={shlex.quote(os.environ['ARANGOPIPE_URL'])} "
    opener = "open" if sys.platform == "darwin" else "xdg-open"
    return [
        f"{database}{near(COMMANDS / 'arangopipe')} lineage {shlex.quote(tag)} --kind Deployment",
        f"{opener} {near(DRAWING)}",
        f"docker compose up -d && ARANGOPIPE_URL={SERVER} make demo",
    ]


def near(path: Path) -> Path:
    """Return a path as it is typed in the working directory."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    sys.exit(main())
