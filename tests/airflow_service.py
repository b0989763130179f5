"""A real Airflow for tests: api-server, scheduler, dag-processor and triggerer, each a process of its own."""

import atexit
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
AIRFLOW = Path(sys.executable).parent / "airflow"
PASSWORDS = {"admin": "adm-pw-1", "viewer": "view-pw-1"}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


@cache
def original() -> Path:
    """A home with its configuration and its migrated database, made once for all Airflows of this process."""
    home = Path(tempfile.mkdtemp(prefix="airflow_original_"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    environment = settings(home, home / "dags", "http://127.0.0.1:0")
    subprocess.run([AIRFLOW, "db", "migrate"], env=environment, check=True, capture_output=True, timeout=300)
    with closing(sqlite3.connect(home / "airflow.db")) as log:
        log.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return home


def settle(home: Path) -> None:
    """Make a home for an Airflow, whose configuration names paths in it."""
    configuration = (original() / "airflow.cfg").read_text()
    (home / "airflow.cfg").write_text(configuration.replace(str(original()), str(home)))
    shutil.copyfile(original() / "airflow.db", home / "airflow.db")
    (home / "passwords.json").write_text(json.dumps(PASSWORDS))


class AirflowService:
    """A running Airflow. `call` speaks its REST API as admin."""

    def __init__(self, home: Path, dags: Path, environment: dict[str, str]) -> None:
        self.home = home
        self.url = f"http://127.0.0.1:{free_port()}"
        self.environment = settings(home, dags, self.url) | environment
        self.processes: list[subprocess.Popen[bytes]] = []
        self.token = ""

    def start(self) -> None:
        settle(self.home)
        for component in COMPONENTS:
            log = (self.home / f"{component}.log").open("wb")
            self.processes.append(
                subprocess.Popen(
                    [AIRFLOW, component], env=self.environment, stdout=log, stderr=log, start_new_session=True
                )
            )
        self.wait_for(self.healthy, 120, "all components to be healthy")
        login = {"username": "admin", "password": PASSWORDS["admin"]}
        self.token = self.call("POST", "/auth/token", login)["access_token"]

    def stop(self) -> None:
        """End the components, last the API server, to which tasks that end have something to tell."""
        server, others = self.processes[:1], self.processes[1:]
        for process in others:
            os.killpg(process.pid, signal.SIGTERM)
        for process in others:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        for process in server:  # asked to end, it would tidy up its memory for seconds
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Halt all components but the API server, so that nothing else writes to Airflow's database."""
        others = [each.pid for each, name in zip(self.processes, COMPONENTS, strict=True) if name != "api-server"]
        for pid in others:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in others:
                os.kill(pid, signal.SIGCONT)

    def healthy(self) -> bool:
        try:
            states = self.call("GET", "/api/v2/monitor/health")
        except OSError:
            return False
        return all(states[name]["status"] == "healthy" for name in ("metadatabase", "scheduler", "dag_processor"))

    def call(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.token}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def page(self, path: str, user: str | None) -> tuple[int, str]:
        """Return the status and text of a page, as a user sees it, or somebody without a token."""
        request = urllib.request.Request(path if path.startswith("http") else self.url + path)
        if user is not None:
            login = {"username": user, "password": PASSWORDS[user]}
            request.add_header("authorization", f"Bearer {self.call('POST', '/auth/token', login)['access_token']}")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def command(self, *arguments: str) -> str:
        """Return what an `airflow` command prints, with what it writes to stderr."""
        command, both = [AIRFLOW, *arguments], subprocess.STDOUT
        done = subprocess.run(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=both, text=True, check=True, timeout=120
        )
        return done.stdout

    def run(self, dag_id: str, run_id: str, seconds: float = 180, **conf: Any) -> str:
        """Trigger a DAG and return the state that its run ends in."""
        self.trigger(dag_id, run_id, **conf)
        return self.end(dag_id, run_id, seconds)

    def unpause(self, dag_id: str) -> None:
        def parsed() -> bool:
            try:
                return bool(self.call("GET", f"/api/v2/dags/{dag_id}"))
            except urllib.error.HTTPError:
                return False

        self.wait_for(parsed, 60, f"{dag_id} to be parsed")
        self.call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})

    def trigger(self, dag_id: str, run_id: str, **conf: Any) -> None:
        """Start a run of a DAG; `conf` are its params."""
        body = {"logical_date": None, "dag_run_id": run_id, "conf": conf}

        def triggered() -> bool:
            """Ask again where Airflow's SQLite was locked; a run that is there by then is a conflict."""
            try:
                self.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)
            except urllib.error.HTTPError as error:
                return error.code == 409
            return True

        self.unpause(dag_id)
        self.wait_for(triggered, 30, f"{dag_id} to be triggered")

    def end(self, dag_id: str, run_id: str, seconds: float = 180) -> str:
        """Wait for a run and return the state that it ends in."""

        def state() -> str:
            return str(self.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])

        self.wait_for(lambda: state() in ("success", "failed"), seconds, f"{dag_id} to end")
        return state()

    def tasks(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return the task instances of a run, by task_id, or task_id[map_index] of a mapped one."""
        found = self.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return {ti["task_id"] if ti["map_index"] < 0 else f"{ti['task_id']}[{ti['map_index']}]": ti for ti in found}

    def clear(self, dag_id: str, run_id: str, *task_ids: str) -> None:
        """Clear task instances of a run that ended, so that they run again."""
        body = {"dry_run": False, "dag_run_id": run_id, "only_failed": False, "task_ids": list(task_ids)}
        self.call("POST", f"/api/v2/dags/{dag_id}/clearTaskInstances", body)

    def returned(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Any:
        """Return what a task instance returned."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self.call("GET", f"{path}?map_index={map_index}")["value"]

    def wait_for(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {seconds} s for {what}\n{self.tail()}")
            time.sleep(0.3)

    def tail(self) -> str:
        logs = (f"{log.name}: {log.read_text(errors='replace')[-1500:]}" for log in sorted(self.home.glob("*.log")))
        return "\n".join(logs)


def settings(home: Path, dags: Path, url: str) -> dict[str, str]:
    """An environment in which Airflow uses nothing of the machine's own Airflow, and no fixed port."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return plain | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": url.rpartition(":")[2],
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API_AUTH__JWT_SECRET": "k" * 64,
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        "NO_COLOR": "1",
    }


@contextmanager
def running(home: Path, dags: Path, **environment: str) -> Iterator[AirflowService]:
    service = AirflowService(home, dags, environment)
    try:
        service.start()
        yield service
    finally:
        service.stop()
