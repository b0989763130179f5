"""What it costs to log a run and to ask for a lineage over REST, against a route that does nothing.

    python benchmarks/rest.py [--runs 1000] [--folder /dev/shm]

`arangopipe serve` runs on a file, in a process of its own; clients keep their connections over the loopback. The
floor is a FastAPI application with one route that reads a body and answers it, served alike and asked in turn.
"""

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from timing import milliseconds

TOKEN = "benchmark"
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}

FLOOR = """
import sys, uvicorn
from fastapi import FastAPI
app = FastAPI()
@app.post("/echo")
def echo(body: dict) -> dict:
    return body
uvicorn.run(app, port=int(sys.argv[1]), log_config=None, access_log=False)
"""


class Client:
    """One connection that stays open."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        self._connection.request(method, path, json.dumps(body) if body is not None else None, HEADERS)
        answer = self._connection.getresponse()
        text = answer.read()
        assert answer.status < 300, text
        return json.loads(text)


def start(arguments: list[str], port: int) -> subprocess.Popen[bytes]:
    environment = os.environ | {"ARANGOPIPE_TOKEN": TOKEN}
    process = subprocess.Popen(
        [sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while True:
        try:
            http.client.HTTPConnection("127.0.0.1", port).connect()
            return process
        except OSError:
            assert process.poll() is None, "the server did not start"
            time.sleep(0.05)


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def run_body(i: int) -> dict[str, Any]:
    params = {f"param_{k}": k * 1.5 for k in range(10)}
    metrics = {f"metric_{k}": k / 7 for k in range(5)}
    return {"run_id": f"run {i}", "params": params, "metrics": metrics, **REFERENCES}


REFERENCES: dict[str, Any] = {}
"""What the runs refer to, by the reference that registering it answers."""


def prepare(client: Client) -> None:
    for what, body in (
        ("project", {"name": "benchmark"}),
        ("dataset", {"name": "data", "uri": "s3://lake/data.parquet"}),
        ("featureset", {"name": "all", "dataset": "data"}),
        ("model", {"name": "forest", "project": "benchmark"}),
    ):
        ref = client("POST", f"/api/v1/stages/{what}", body)
        if what != "project":
            REFERENCES[what] = ref


def log(port: int, numbers: range) -> list[float]:
    client = Client(port)
    prepare(client)
    return [milliseconds(lambda i=i: client("POST", "/api/v1/stages/run", run_body(i))) for i in numbers]  # type: ignore[misc]


def together(port: int, clients: int, runs: int) -> tuple[list[float], float]:
    """Return the times of so many clients at once, in processes of their own, and the runs a second of all."""
    times: list[float] = []
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import rest; "
        "print(rest.log(int(sys.argv[2]), range(*map(int, sys.argv[3:]))))"
    )

    def one(n: int) -> None:
        bounds = (1_000_000 * (n + 1), 1_000_000 * (n + 1) + runs)
        command = [sys.executable, "-c", program, str(Path(__file__).parent), str(port), *map(str, bounds)]
        times.extend(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))

    threads = [threading.Thread(target=one, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, clients * 1000 / statistics.mean(times)


def resident(process: subprocess.Popen[bytes]) -> float:
    """Return the memory of a process in MiB."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def row(name: str, times: list[float], rate: float | None = None) -> None:
    p95 = statistics.quantiles(times, n=20)[-1]
    rate = rate or 1000 / statistics.mean(times)
    print(f"{name:<34}{statistics.median(times):>10.2f}{p95:>10.2f}{rate:>10.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))
    options = parser.parse_args()
    port, floor_port = free_port(), free_port()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        url = f"embedded://{folder}/graph.db"
        serve = ["-m", "arangopipe_ops", "--url", url, "serve", "--quiet", "--port", str(port)]
        servers = [start(serve, port), start(["-c", FLOOR, str(floor_port)], floor_port)]
        try:
            measure(servers[0], port, floor_port, options.runs)
        finally:
            for server in servers:
                server.terminate()
                server.wait(20)


def measure(server: subprocess.Popen[bytes], port: int, floor_port: int, runs: int) -> None:
    client, floor = Client(port), Client(floor_port)
    prepare(client)
    log(port, range(100))
    print(f"{'':<34}{'median ms':>10}{'p95 ms':>10}{'a second':>10}")
    ours, nothing = [], []
    for i in range(100, 100 + runs):
        ours.append(milliseconds(lambda i=i: client("POST", "/api/v1/stages/run", run_body(i))))  # type: ignore[misc]
        nothing.append(milliseconds(lambda i=i: floor("POST", "/echo", run_body(i))))  # type: ignore[misc]
    row("log a run, 1 client", ours)
    row("a route that does nothing", nothing)
    print(f"{'ratio (median)':<34}{statistics.median(a / b for a, b in zip(ours, nothing, strict=True)):>10.1f}")
    row("log a run, 4 clients", *together(port, 4, runs // 4))
    run = client("GET", "/api/v1/nodes?kind=Run&name=run%20200")["_id"]
    for direction in ("upstream", "both"):
        path = f"/api/v1/nodes/{run}/lineage?direction={direction}"
        row(f"lineage of a run, {direction}", [milliseconds(lambda: client("GET", path)) for _ in range(runs // 4)])  # noqa: B023
    row("a node", [milliseconds(lambda: client("GET", f"/api/v1/nodes/{run}")) for _ in range(runs // 2)])
    search = {"kind": "Run", "limit": 100}
    row("search, 100 runs", [milliseconds(lambda: client("POST", "/api/v1/search", search)) for _ in range(runs // 8)])
    print(f"{'memory of the server':<34}{resident(server):>10.0f} MiB")


if __name__ == "__main__":
    main()
