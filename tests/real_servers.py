"""The servers that sources read, as tests start them: Prometheus, MLflow, PostgreSQL.

Where one is not installed, a test is skipped by its name. MLflow is the program `mlflow` of the PATH, or the one that
MLFLOW_PROGRAM names: it and Airflow cannot be installed in one environment.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from airflow_service import free_port

PASSWORD = "an apple's core"


@contextmanager
def started(
    command: Sequence[Any], log: Path, is_ready: Callable[[], bool], end: int = signal.SIGTERM, **how: Any
) -> Iterator[None]:
    """Run a server for the time of a `with` block, which begins when it is ready; `end` is the signal that ends it."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, **how)
    try:
        deadline = time.monotonic() + 60
        while not is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(log.read_text())
            time.sleep(0.05)
        yield
    finally:
        os.killpg(process.pid, end)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def answers(url: str) -> Callable[[], bool]:
    def is_ready() -> bool:
        try:
            return requests.get(url, timeout=1).ok
        except requests.RequestException:
            return False

    return is_ready


@contextmanager
def prometheus(folder: Path, target: str, every: str = "100ms") -> Iterator[str]:
    """A real Prometheus that scrapes a target; its URL."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("there is no prometheus; apt-get install prometheus")
    config = folder / "prometheus.yml"
    config.write_text(
        f"scrape_configs: [{{job_name: models, scrape_interval: {every}, scrape_timeout: {every},"
        f' static_configs: [{{targets: ["{target}"]}}]}}]'
    )
    url = f"http://127.0.0.1:{free_port()}"
    options = [f"--config.file={config}", f"--storage.tsdb.path={folder}/data", f"--web.listen-address={url[7:]}"]
    with started([program, *options], folder / "prometheus.log", answers(f"{url}/-/ready")):
        yield url


@contextmanager
def mlflow(folder: Path) -> Iterator[str]:
    """A real MLflow server on a data base of its own; its URL."""
    program = os.environ.get("MLFLOW_PROGRAM") or shutil.which("mlflow")
    if program is None:
        pytest.skip("there is no mlflow; install it in an environment of its own and name it by MLFLOW_PROGRAM")
    url = f"http://127.0.0.1:{free_port()}"
    command = [program, "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--port", url.rpartition(":")[2], "--default-artifact-root", str(folder), "--workers", "1"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    kill = signal.SIGKILL  # asked to end, it may take 20 seconds
    with started(command, folder / "mlflow.log", answers(f"{url}/health"), kill, cwd=folder, env=environment):
        yield url


@contextmanager
def postgres() -> Iterator[int]:
    """A real PostgreSQL, whose user is `ml` with PASSWORD and whose data base `postgres`; its port.

    Its folder is none of pytest's, since it does not run as root and may not enter those.
    """
    found = [Path(shutil.which("postgres") or "none"), *sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))]
    program = found[-1].resolve()
    if not program.exists():
        pytest.skip("there is no postgres; apt-get install postgresql")
    who = {"user": "postgres"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="postgres") as made:
        folder, port = Path(made), free_port()
        (folder / "password").write_text(PASSWORD)
        for path in (folder, folder / "password") if who else ():
            shutil.chown(path, **who)
        named = ["--username=ml", f"--pwfile={folder}/password", "--auth=scram-sha-256"]
        initdb = [program.with_name("initdb"), "--no-sync", "--encoding=UTF8", *named, folder / "data"]
        subprocess.run(initdb, check=True, capture_output=True, cwd=folder, **who)
        options = ["-D", folder / "data", "-p", str(port), "-h", "127.0.0.1", "-k", "", "-F"]
        is_ready = [program.with_name("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        with started(
            [program, *options],
            folder / "log",
            lambda: subprocess.run(is_ready, check=False).returncode == 0,
            signal.SIGINT,  # it does not wait for clients to leave
            cwd=folder,
            **who,
        ):
            yield port


def log_run(
    url: str, experiment: str, deployment: str, start: int, status: str = "FINISHED", tags: Any = None, **metrics: Any
) -> None:
    """Log a run to MLflow that evaluated a deployment, with every metric logged twice; the second value counts."""
    pairs = [{"key": name, "value": value} for name, value in {"deployment": deployment, **(tags or {})}.items()]
    made = post(url, "runs/create", experiment_id=experiment, start_time=start, tags=pairs)["run"]["info"]["run_id"]
    values = [
        {"key": name, "value": logged, "timestamp": start + step, "step": step}
        for name, value in metrics.items()
        for step, logged in enumerate((0.123, value))
    ]
    post(url, "runs/log-batch", run_id=made, metrics=values)
    post(url, "runs/update", run_id=made, status=status, end_time=start + 1000)


def post(url: str, path: str, **sent: Any) -> Any:
    """Send a request to MLflow's REST API."""
    answer = requests.post(f"{url}/api/2.0/mlflow/{path}", json=sent, timeout=30)
    answer.raise_for_status()
    return answer.json()
