"""What a run logs while it is at work: metrics, series, parameters, and what it uses."""

import sys
import threading
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from runs import graph, linked, metrics_of, params_of

from arangopipe_ops import stages
from arangopipe_ops.errors import Invalid, NotFound
from arangopipe_ops.store import Store
from arangopipe_ops.store.run import MAX_PRODUCTS
from arangopipe_ops.store.series import MAX_ALL_POINTS, MAX_POINTS, Metrics

__all__ = ["graph"]


def test_a_metric_is_its_last_value_and_its_series(graph: Store) -> None:
    """A repeated metric is found by its last value, and keeps step, value and time of every point."""
    with graph.run(model="forest") as run:
        for epoch in range(5):
            run.log_metrics({"loss": 1 / (epoch + 1)}, step=epoch * 10)
        run.log_metrics(accuracy=0.5)
        run.log_metrics(accuracy=0.9)
        run.log_metrics(once=1, matrix=[[1, 2], [3, 4]])
    [found] = graph.search("DevPerf", {"accuracy": {">": 0.8}, "loss": 0.2, "series.loss.max": 1})["nodes"]
    assert found["series"]["loss"]["step"] == [0, 10, 20, 30, 40]
    assert found["series"]["loss"]["value"] == [1, 0.5, 1 / 3, 0.25, 0.2]
    assert found["series"]["loss"]["time"] == sorted(found["series"]["loss"]["time"])
    assert found["series"]["accuracy"]["step"] == [0, 1]
    assert found["matrix"] == [[1, 2], [3, 4]]
    assert set(found["series"]) == {"loss", "accuracy"}


@pytest.mark.parametrize("count", [1, 2, MAX_POINTS - 1, MAX_POINTS, MAX_POINTS + 1, 5 * MAX_POINTS + 3])
def test_a_long_series_is_thinned(count: int) -> None:
    """At most so many points are kept: the first, the last, and evenly spread ones; count and extremes are of all."""
    metrics = Metrics()
    for step in range(count):
        metrics.log({"loss": 1000.5 if step == 777 else float(step) / 7}, step)
    assert len(metrics._series["loss"]._kept) < MAX_POINTS, "no more is kept in memory"
    series = metrics.document()["series"]["loss"]
    steps = series["step"]
    assert len(steps) == len(series["value"]) == len(series["time"]) <= MAX_POINTS
    assert len(steps) >= min(count, MAX_POINTS // 2)
    assert (steps[0], steps[-1], series["count"]) == (0, count - 1, count)
    assert len({later - earlier for earlier, later in pairwise(steps[:-1])}) <= 1
    if count > 777:
        assert series["max"] == 1000.5


def test_many_series_share_the_room() -> None:
    """The points of all series of a run together are bounded, however many metrics there are."""
    metrics = Metrics()
    for _ in range(300):
        metrics.log({f"m{i}": 0.5 for i in range(400)})
    series = metrics.document()["series"]
    assert len(series) == 400
    assert sum(len(one["step"]) for one in series.values()) <= MAX_ALL_POINTS
    assert all(one["count"] == 300 for one in series.values())


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf")])
def test_a_diverging_training_is_recorded(graph: Store, odd: float) -> None:
    """NaN and infinity end no training: the series has null there, and the metric no value that could be compared."""
    with graph.run(model="forest") as run:
        run.log_metrics(loss=0.5, step=1)
        run.log_metrics(loss=odd, step=2)
        run.log_metrics(accuracy=odd)
        run.log_metrics(f1=odd)
        run.log_metrics(f1=0.5)
    found = metrics_of(graph, run)
    assert found["not_finite"] == {"loss": str(odd), "accuracy": str(odd)}
    assert ("loss" in found, "accuracy" in found, found["f1"]) == (False, False, 0.5)
    assert found["series"]["loss"]["value"] == [0.5, None]
    assert (found["series"]["loss"]["min"], found["series"]["loss"]["max"]) == (0.5, 0.5)
    assert graph.search("DevPerf", {"not_finite.loss": {"exists": True}})["total"] == 1


def test_values_of_numpy_are_numbers(graph: Store) -> None:
    """A numpy scalar or an array of no dimension makes a series like a float, also if it is NaN."""
    numpy = pytest.importorskip("numpy")
    with graph.run(model="forest") as run:
        run.log_params(rate=numpy.float32(0.5), layers=numpy.array([1, 2]))
        for step in numpy.arange(2):
            run.log_metrics(loss=numpy.float32("nan") if step else numpy.array(0.25), step=step)
    assert metrics_of(graph, run)["series"]["loss"]["value"] == [0.25, None]
    assert (params_of(graph, run)["rate"], params_of(graph, run)["layers"]) == (0.5, [1, 2])


REFUSED: list[tuple[str, Any]] = [
    ("an object", lambda run: run.log_metrics(accuracy=object())),
    ("NaN inside", lambda run: run.log_metrics(matrix=[1.0, float("nan")])),
    ("a name of the run's", lambda run: run.log_metrics(series=1)),
    ("the store's name", lambda run: run.log_metrics(created=1)),
    ("a hidden name", lambda run: run.log_metrics({"_key": 1})),
    ("a huge number", lambda run: run.log_metrics(accuracy=10**400)),
    ("no step", lambda run: run.log_metrics(accuracy=1, step="first")),
    ("a step of NaN", lambda run: run.log_metrics(accuracy=1, step=float("nan"))),
    ("a NaN parameter", lambda run: run.log_params(rate=float("nan"))),
    ("a parameter of the store's name", lambda run: run.log_params(digest=1)),
    ("an overlarge parameter", lambda run: run.log_params(text="x" * 17_000_000)),
    ("status", lambda run: run.set(status="completed")),
    ("model", lambda run: run.set(model="tree")),
    ("an attribute", lambda run: run.set(x=object())),
    ("a product", lambda run: run.produced("s3://x", size=float("nan"))),
    ("too many products", lambda run: [run.produced(f"s3://{i}") for i in range(MAX_PRODUCTS + 1)]),
]


@pytest.mark.parametrize("log", [case[1] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_cannot_be_stored_is_refused_at_once(graph: Store, log: Any) -> None:
    """A wrong value is an error where it is logged, and the rest of the run is recorded as if it had not been."""
    with graph.run(model="forest") as run:
        run.log_metrics(accuracy=0.5)
        run.log_params(depth=3)
        with pytest.raises(Invalid):
            log(run)
    assert graph.get(run.ref)["status"] == "completed"
    assert metrics_of(graph, run)["accuracy"] == 0.5
    assert params_of(graph, run)["depth"] == 3


def test_a_run_is_used_once(graph: Store) -> None:
    """Logging before the beginning and after the end is refused, and so is a second beginning."""
    run = graph.run(model="forest")
    for early in (
        lambda: run.log_metrics(a=1),
        lambda: run.flush(),
        lambda: run.run_id,
        lambda: run.use(dataset="data"),
    ):
        with pytest.raises(Invalid, match="has not begun"):
            early()
    with run:
        pass
    with pytest.raises(Invalid, match="has ended"):
        run.log_metrics(a=1)
    with pytest.raises(Invalid, match="a second time"), run:
        pytest.fail("the body ran")


def test_what_is_used_is_linked_at_once(graph: Store) -> None:
    """Data is linked while the body runs; data that nobody registered is refused there, and the run goes on."""
    with graph.run(model="forest") as run:
        run.use(dataset=["data"], featureset="all")
        run.use(dataset="data")
        assert len(linked(graph, "run_datasets")) == len(linked(graph, "run_featuresets")) == 1
        with pytest.raises(NotFound):
            run.use(dataset="nothing")
    assert graph.get(run.ref)["status"] == "completed"


def test_a_name_means_the_version_that_was_the_newest_at_the_beginning(graph: Store) -> None:
    """Versions that are registered while a run goes on are not linked to it."""
    with graph.run(model="forest", dataset="data", featureset="all"):
        before = [linked(graph, edge) for edge in ("run_models", "run_datasets", "run_featuresets")]
        graph.write(stages.register_dataset("data", uri="s3://lake/2"))
        graph.write(stages.register_model("forest", project="wine", task="regression"))
    assert [linked(graph, edge) for edge in ("run_models", "run_datasets", "run_featuresets")] == before


def test_threads_log_at_once(graph: Store, request: pytest.FixtureRequest) -> None:
    """Nothing that several threads log is lost, while another one writes what there is so far."""
    request.addfinalizer(partial(sys.setswitchinterval, sys.getswitchinterval()))
    sys.setswitchinterval(1e-6)
    with graph.run(model="forest") as run:

        def log(thread: int) -> None:
            for step in range(200):
                run.log_metrics({"shared": step, f"own{thread}": step})
                run.log_params({f"p{thread}_{step % 5}": step})
                run.produced(f"s3://{thread}/{step % 5}")

        threads = [threading.Thread(target=log, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            run.flush()
        for thread in threads:
            thread.join()
    found = metrics_of(graph, run)["series"]
    assert found["shared"]["count"] == 1600
    assert all(found[f"own{i}"]["step"] == list(range(200)) for i in range(8))
    assert len([name for name in params_of(graph, run) if name.startswith("p")]) == 40 + len(["provenance"])
    assert len(graph.get(run.ref)["produced"]) == 40
