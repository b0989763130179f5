"""What look-ups and lineage cost on the embedded database as the graph grows.

    python benchmarks/lineage.py [--nodes 10000 1000000] [--folder /dev/shm]

Every graph is made of runs with their parameters, performance and edges, of which one in a hundred is deployed
and served. Each call is made on the same deployment 200 times. The figure to read is the ratio between the
graphs: the cost of an answer should not grow with what is not in it.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from timing import median

from arangopipe_ops import Store, connect, stages
from arangopipe_ops.admin import provision
from arangopipe_ops.model import Node, Stage, digest, edge_key

CALLS = 200
BATCH = 5000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))
    options = parser.parse_args()
    columns = [measure(nodes, options.folder) for nodes in options.nodes]
    print(f"{'median ms':<34}" + "".join(f"{f'{nodes:,} nodes':>18}" for nodes in options.nodes) + f"{'ratio':>8}")
    for name in columns[0]:
        times = [column[name] for column in columns]
        print(f"{name:<34}" + "".join(f"{t:>18.3f}" for t in times) + f"{times[-1] / times[0]:>8.2f}")


def measure(nodes: int, folder: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        store = Store(connect(f"embedded://{place}/graph.db"))
        provision(store.db)
        deployment, run = fill(store, nodes)
        calls: dict[str, Callable[[], object]] = {
            "document by key, python-arango": lambda: store.db.collection("run").get(run["_key"]),
            "Store.get by reference": lambda: store.get(run),
            "Store.get by name, newest version": lambda: store.get("forest", "Model"),
            "Store.search newest 100 runs": lambda: store.search("Run", limit=100),
            "Store.lineage of a run": lambda: store.lineage(run),
            "Store.lineage of a deployment": lambda: store.lineage(deployment),
            "the same, upstream only": lambda: store.lineage(deployment, direction="upstream"),
        }
        return {name: median(call, CALLS) for name, call in calls.items()}


def fill(store: Store, nodes: int) -> tuple[Any, Any]:
    """Fill a graph with about so many nodes; return a deployment and a run from its middle."""
    project = store.write(stages.register_project("benchmark"))
    dataset = store.write(stages.register_dataset("data"))
    shared = {
        "dataset": dataset,
        "featureset": store.write(stages.register_featureset("all", dataset=dataset)),
        "model": store.write(stages.register_model("forest", project=project)),
    }
    runs = nodes // 3
    store_all(store, (stages.log_run(f"run {i}", params={"a": i}, metrics={"b": i}, **shared) for i in range(runs)))
    run = store.get(f"run {runs // 2}", "Run")
    rest = {"project": project, "model": shared["model"], "featureset": shared["featureset"]}
    deployment = store.write(stages.register_deployment("deployed", run=run, **rest))
    for day in range(1, 28):
        period = {"period_start": f"2026-01-{day:02}", "period_end": f"2026-01-{day + 1:02}"}
        store.write(stages.log_serving_perf(deployment, metrics={"accuracy": 0.9}, **period))
    return deployment, run


def store_all(store: Store, many: Iterator[Stage]) -> None:
    """Insert the documents of many stages by the driver's bulk calls, which is quicker than stage by stage."""
    rows: dict[str, list[dict[str, Any]]] = {}
    created = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    for stage in many:
        for node in stage.nodes:
            document = {"_key": node.key, **node.content, "digest": node.digest, "created": created}
            rows.setdefault(node.type.collection, []).append(document)
        for edge in stage.edges:
            ends = [
                end.id if isinstance(end, Node) else f"{end.collection}/{end.key}" for end in (edge.source, edge.target)
            ]
            document = {"_key": edge_key(edge.type.name, *ends), "_from": ends[0], "_to": ends[1]}
            rows.setdefault(edge.type.name, []).append({**document, "digest": digest({}), "created": created})
        for name in [name for name, waiting in rows.items() if len(waiting) >= BATCH]:
            store.db.collection(name).insert_many(rows.pop(name), raise_on_document_error=True)
    for name, waiting in rows.items():
        store.db.collection(name).insert_many(waiting, raise_on_document_error=True)


if __name__ == "__main__":
    main()
