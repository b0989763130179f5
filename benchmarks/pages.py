"""What every page of the web application costs on a graph of 1,000,000 nodes in an embedded file.

    python benchmarks/pages.py [--nodes 1000000] [--folder /dev/shm] [--keep graph.db]

The graph is made at first, which takes minutes: a project with a third of the runs and data sets that 20,000 of them
read, 300 projects that share the rest, deployments that were served every hour for a year; runs are ranked by accuracy.
Then each page of the application is asked for at the addresses of `tests/web_addresses.py`, as a browser does. The
figures to read are the median until something is seen, which should be below 300 ms, and until all is there, which is
more where the page says first that it is being made; for these also until the whole earlier answer is seen by who comes
back; the requests to the database, below 10; and the bytes of the first page, below 500,000. What is there at once is
asked for again beside two questions that look at all runs of a task, as many as take turns. With `--keep` the file is
made once and used again.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any, NamedTuple

from fastapi.testclient import TestClient

from arangopipe_ops import Store, connect, stages
from arangopipe_ops.admin import provision, rank
from arangopipe_ops.analytics import techniques
from arangopipe_ops.model import AUDIT, Node, Stage, digest, edge_key, moment
from arangopipe_ops.web.access import FileAccess
from arangopipe_ops.web.app import create_app
from arangopipe_ops.web.works import TURNS_OF_A_FILE, Works

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from conftest import Requests
from web_addresses import addresses

CALLS, TOKEN = 7, "benchmark"
ACCEPTED, PATIENCE_MS = 202, 5_000
MOST_MS, MOST_REQUESTS, MOST_BYTES = 300, 10, 500_000
PROJECTS, MODELS, FAN, BATCH = 300, 5, 20_000, 5_000
END, SPAN = datetime(2026, 11, 1, tzinfo=UTC), timedelta(days=730)
TECHNIQUES = ("gradient boosting", "random forest", "logistic regression", "isolation forest")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--keep", type=Path, help="the file to make, or to use if it is there")
    parser.add_argument("--only", default="", help="addresses that hold this text")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = options.keep or Path(folder) / "graph.db"
        url = f"embedded://{path.absolute()}"
        if not path.exists():
            fill(url, options.nodes)
        report(url, options.only)


# the graph


def fill(url: str, nodes: int) -> None:
    store = Store(connect(url))
    provision(store.db)
    rank(store.db, "accuracy")
    started = time.perf_counter()
    written = 0
    for rows in batches(graph(nodes)):
        for collection, documents in rows.items():
            store.db.collection(collection).insert_many(documents, raise_on_document_error=True)
        written += sum(len(documents) for name, documents in rows.items() if name in NODES)
        seconds = time.perf_counter() - started
        print(f"\r{written:>12,} of {nodes:,} nodes, {seconds:.0f} s", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


NODES = {node.collection for node in stages.register_project("x").schema.nodes.values()}


def batches(many: Iterator[tuple[datetime, Stage]]) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """Yield the documents of stages by collection, with the entry in the audit that writing them together leaves.

    The driver's bulk calls are quicker than `Store.write_many`, and only so can nodes have the age they would have.
    """
    rows: dict[str, list[dict[str, Any]]] = {}
    touched: list[str] = []
    created = ""
    for at, stage in many:
        created = moment(at, "created")
        for node in stage.nodes:
            rows.setdefault(node.type.collection, []).append(_node(node, created))
            touched.append(node.id)
        for edge in stage.edges:
            ends = [
                end.id if isinstance(end, Node) else f"{end.collection}/{end.key}" for end in (edge.source, edge.target)
            ]
            document = {"_key": edge_key(edge.type.name, *ends), "_from": ends[0], "_to": ends[1], **edge.content}
            rows.setdefault(edge.type.name, []).append({**document, "digest": digest({}), "created": created})
        if len(touched) >= BATCH:
            yield {**rows, AUDIT: [_entry(created, touched)]}
            rows, touched = {}, []
    yield {**rows, AUDIT: [_entry(created, touched)]}


def _node(node: Node, created: str) -> dict[str, Any]:
    document = {"_key": node.key, **node.content, **node.notes, "digest": node.digest, "created": created}
    if node.active:
        document |= {"slot": node.slot, "active_slot": node.slot}
    return document


def _entry(at: str, touched: list[str]) -> dict[str, Any]:
    return {"at": at, "touched": touched, "provenance": {"through": "python", "user": "ann"}}


def graph(nodes: int) -> Iterator[tuple[datetime, Stage]]:
    """Yield the stages of a graph of about so many nodes, each with its time: the big project, then the others."""
    scale = nodes / 1_000_000
    runs = round(205_000 * scale)
    yield from project(0, runs * 45 // 100, 4 * MODELS, round(40_000 * scale))
    for number in range(1, PROJECTS + 1):
        yield from project(number, runs * 55 // 100 // PROJECTS, MODELS, round(1_100 * scale))


def project(number: int, runs: int, models: int, periods: int) -> Iterator[tuple[datetime, Stage]]:
    """Yield a project with models, data sets that `FAN` runs each read, runs, and deployments that were served."""
    name, random = f"project {number}", Random(number)
    project = stages.register_project(name, owner=f"owner {number % 7}", description="of the benchmark")
    data = [
        stages.register_dataset(
            f"{name} data {k}",
            version="1",
            uri=f"s3://lake/{number}/{k}.parquet",
            schema={f"column {i}": "double" for i in range(8)},
            rows=10_000,
            tags=["gold"],
        )
        for k in range(1 + runs // FAN)
    ]
    features = stages.register_featureset(f"{name} features", version="1", dataset=id_of(data[0]), features=["a", "b"])
    made = [
        stages.register_model(
            f"{name} model {k}",
            version="1",
            project=id_of(project),
            task=f"task {number % 11}",
            technique=TECHNIQUES[k % len(TECHNIQUES)],
            tags=["forest"],
        )
        for k in range(models)
    ]
    yield from ((END - SPAN, stage) for stage in (project, *data, features, *made))
    for i in range(runs):
        at = END - SPAN + i * SPAN / runs
        yield at, run(f"{name} run {i}", at, i, made[i % models], data[i // FAN], features, random)
    for k, status in enumerate(("archived", "active")):
        tag = f"{name} v{k}"
        links = {"model": id_of(made[k]), "run": {"run_id": f"{name} run {k}"}, "featureset": id_of(features)}
        deployment = stages.register_deployment(tag, project=name, status=status, **links)  # type: ignore[arg-type]
        yield END - SPAN / 2, deployment
        yield from served(id_of(deployment), periods * (1 + 8 * k) // 10, random)


def run(run_id: str, at: datetime, i: int, model: Stage, data: Stage, features: Stage, random: Random) -> Stage:
    return stages.log_run(
        run_id,
        model=id_of(model),
        dataset=id_of(data),
        featureset=id_of(features),
        params={"depth": i % 9, "rate": round(random.random(), 3), "seed": i},
        metrics={"accuracy": round(0.7 + 0.2 * random.random(), 4), "loss": round(random.random(), 4)},
        status="failed" if i % 10 == 9 else "completed",
        start=at,
        end=at + timedelta(minutes=9),
    )


def served(deployment: str, periods: int, random: Random) -> Iterator[tuple[datetime, Stage]]:
    for i in range(periods):
        start = END - (periods - i) * SPAN / 2 / periods
        metrics = {"accuracy": round(0.8 + 0.1 * random.random(), 4)}
        end = start + SPAN / 2 / periods
        yield end, stages.log_serving_perf(deployment, metrics=metrics, period_start=start, period_end=end)


def id_of(stage: Stage) -> str:
    return stage.nodes[0].id


# the pages


def report(url: str, only: str) -> None:
    app = create_app(FileAccess(url, token=TOKEN))
    store = app.state.access.store(TOKEN)
    with TestClient(
        app, follow_redirects=False, raise_server_exceptions=False, headers={"Accept": "text/html,*/*;q=0.8"}
    ) as client:
        client.get(f"/sign-in?ticket={app.state.access.ticket}")
        requests = Requests(store.db)
        print(f"{sum(counted(store).values()):,} nodes")
        print(f"\n{'median ms':>10}{'whole ms':>10}{'again ms':>10}{'requests':>10}{'bytes':>12}  page")
        asked = [each for each in addresses(app, ids(store)) if only in each]
        visits = {each: visit(client, requests, each) for each in asked}
        print(f"\n{sum(each.again is not None for each in visits.values())} say first that they are being made")
        slow = sum(not each.fine for each in visits.values())
        print(f"{slow} not below {MOST_MS} ms, or not below {MOST_REQUESTS} requests, or refused")
        beside(client, requests, store, [each for each, found in visits.items() if found.again is None])


class Visit(NamedTuple):
    """What an address costs: until something is seen, until all is there, and until an earlier answer is seen again."""

    first: float
    whole: float
    again: float | None
    requests: int
    bytes: int
    status: int

    @property
    def fine(self) -> bool:
        most = max(self.first, self.again or 0)
        return self.status < 400 and most < MOST_MS and self.requests < MOST_REQUESTS


def visit(client: TestClient, requests: Requests, address: str) -> Visit:
    """Go to an address several times as a browser does, and print the medians; the first time does not count."""
    looked = [look(client, requests, address)]
    looked += [look(client, requests, address) for _ in range(CALLS if looked[0].whole < PATIENCE_MS else 1)]
    first, whole = (statistics.median(times) for times in zip(*(each[:2] for each in looked[1:]), strict=True))
    again = statistics.median(come_back(client, address) for _ in range(3)) if whole > first else None
    found = looked[0]._replace(first=first, whole=whole, again=again)
    mark = "" if found.fine else f"  {found.status} !"
    shown = f"{again:>10.1f}" if again else " " * 10
    print(f"{first:>10.1f}{whole:>10.1f}{shown}{found.requests:>10}{found.bytes:>12,}  {address}{mark}", flush=True)
    return found


def look(client: TestClient, requests: Requests, address: str) -> Visit:
    """Go to an address for the first time, and while it says that it is being made, look again."""
    client.app.state.works = Works(turns=TURNS_OF_A_FILE)  # type: ignore[attr-defined]
    requests.sent.clear()
    started = time.perf_counter()
    answer = client.get(address)
    first = whole = (time.perf_counter() - started) * 1000
    while answer.status_code == ACCEPTED:
        answer = client.get(address)
        whole = (time.perf_counter() - started) * 1000
    return Visit(first, whole, None, len(requests), len(answer.content), answer.status_code)


def come_back(client: TestClient, address: str) -> float:
    """Return the milliseconds until an earlier answer is seen, and wait until the newer one is made."""
    started = time.perf_counter()
    answer = client.get(address)
    took = (time.perf_counter() - started) * 1000
    assert "age" in answer.headers, address
    while client.get(address, headers={"Prefer": "wait"}).status_code == ACCEPTED:
        pass
    assert client.get(address).status_code == answer.status_code
    return took


def beside(client: TestClient, requests: Requests, store: Store, asked: list[str]) -> None:
    """Go to addresses while as many questions as take turns are asked in the same process, and print the medians."""
    print(f"\nbeside {TURNS_OF_A_FILE} questions about all runs of a task\n{'median ms':>10}{'whole ms':>10}  page")
    with occupied(store):
        for address in asked:
            looked = [look(client, requests, address)[:2] for _ in range(CALLS)]
            first, whole = (statistics.median(times) for times in zip(*looked, strict=True))
            print(f"{first:>10.1f}{whole:>10.1f}  {address}{'' if first < MOST_MS else '  !'}", flush=True)


@contextmanager
def occupied(store: Store) -> Iterator[None]:
    """Have questions asked inside, each again when it is answered."""
    over = Event()

    def ask() -> None:
        while not over.is_set():
            techniques(store, "task 0", "accuracy")

    threads = [Thread(target=ask) for _ in range(TURNS_OF_A_FILE)]
    for each in threads:
        each.start()
    try:
        yield
    finally:
        over.set()
        for each in threads:
            each.join()


def counted(store: Store) -> dict[str, int]:
    return {name: count for name, count in store.counts().items() if name in NODES}


def ids(store: Store) -> dict[str, str]:
    """Return the nodes and the task that are asked for: those of the big project, which most hangs on."""
    named = {
        "project": ("Project", "project 0"),
        "dataset": ("Dataset", "project 0 data 0"),
        "featureset": ("Featureset", "project 0 features"),
        "model": ("Model", "project 0 model 0"),
        "run": ("Run", "project 0 run 0"),
        "deployment": ("Deployment", "project 0 v1"),
    }
    return {**{name: store.get(node, kind)["_id"] for name, (kind, node) in named.items()}, "task": "task 0"}


if __name__ == "__main__":
    main()
