"""Pipelines for the tests, executed by KFP's own local runner: a process for each step, no docker, no cluster."""

from pathlib import Path
from typing import Any, Dict, List, Optional

from kfp import dsl, local
from kfp.dsl import Dataset, Input, Metrics, Model, Output

from arangopipe_ops.kfp.components import FUNCTIONS
from arangopipe_ops.kfp.factory import Settings, components
from arangopipe_ops.kfp.tracking import provenance, tracked, watched, with_run_finalizer

HERE = Settings(packages=(), secret_name=None)
"""This interpreter has everything."""

made = components(FUNCTIONS, HERE)


def execute(pipeline: Any, folder: Path, *, cache: bool = False, **given: Any) -> Any:
    """Execute a pipeline; raise RuntimeError, naming the step, if it fails."""
    caching = {"enable_caching": True, "cache_root": str(folder / "cache")} if cache else {}  # new in 2.17
    local.init(
        local.SubprocessRunner(use_venv=False),
        pipeline_root=str(folder / "out"),
        workspace_root=str(folder / "workspace"),  # it is removed at the end
        **caching,
    )
    return pipeline(**given)


def call(component: str, /, retries: int = 0, **given: Any) -> Any:
    """Return a tracked task of one of our components."""
    return tracked(made[component](**given, **provenance()), retries=retries, backoff="0s")


def step(function: Any) -> Any:
    """Make a component of a function that stands for a user's own."""
    return dsl.component(function, base_image=HERE.image, install_kfp_package=False)


@step
def prepare(rows: int, data: Output[Dataset]):
    """Write a CSV file."""
    with open(data.path + ".csv", "w") as file:
        file.write("a,b\n" + "".join(f"{i},{i * i}\n" for i in range(rows)))
    data.uri = data.uri + ".csv"


@step
def fit(depth: str, data: Input[Dataset], trained: Output[Model], metrics: Output[Metrics]):
    """Pretend to learn from the data."""
    with open(data.path) as file, open(trained.path, "w") as out:
        out.write(f"{depth}: {len(file.readlines())}")
    metrics.log_metric("accuracy", 0.5 + int(depth) / 10)


@step
def break_down(why: str):
    """Fail."""
    raise ValueError(why)


@step
def break_once(
    marker: str,
    model: Input[Model],
    data: Input[Dataset],
    report: Output[Metrics],
    pipeline_job_id: Optional[str] = None,
    pipeline_job_name: Optional[str] = None,
    pipeline_task_name: Optional[str] = None,
):
    """Fail at the first attempt, in the middle of a recorded run."""
    from pathlib import Path

    from arangopipe_ops.kfp import runtime

    with runtime.run(locals(), report, model=model, dataset=data, tag="flaky") as run:
        if not Path(marker).exists():
            Path(marker).touch()
            raise ConnectionError("the first attempt is lost")
        run.log_metrics(accuracy=0.75)


def registered(data: Any) -> tuple[Any, Any]:
    """Register the data and a model; return the two tasks."""
    project = call("register_project", name="wine")
    dataset = call("register_dataset", name="wine", data=data, source="tests")
    model = call("register_model", name="forest", project=project.outputs["node_id"], technique="random forest")
    return dataset, model


def logged(fitted: Any, dataset: Any, model: Any) -> Any:
    return call(
        "log_run",
        model=model.outputs["receipt"],
        dataset=dataset.outputs["receipt"],
        metrics=fitted.outputs["metrics"],
        trained=fitted.outputs["trained"],
    )


@dsl.pipeline(name="looped")
def looped(rows: int = 5):
    """Train three times in a loop and once more beside it, and log each."""
    data = prepare(rows=rows)
    dataset, model = registered(data.outputs["data"])
    with dsl.ParallelFor(["1", "2", "3"]) as depth:
        fitted = fit(depth=depth, data=data.outputs["data"])
        logged(fitted, dataset, model)
    logged(fit(depth="4", data=data.outputs["data"]), dataset, model)


@dsl.pipeline(name="by-place")
def by_place(rows: int = 5):
    """Log a run on data that only an earlier pipeline run registered: the step that made it comes from the cache."""
    data = prepare(rows=rows)
    fitted = fit(depth="1", data=data.outputs["data"])
    project = call("register_project", name="wine")
    model = call("register_model", name="forest", project=project.outputs["node_id"], technique="random forest")
    call("log_run", model=model.outputs["receipt"], dataset=data.outputs["data"], metrics=fitted.outputs["metrics"])


@dsl.pipeline(name="flaky")
def flaky(marker: str):
    """A run that fails at its first attempt."""
    with with_run_finalizer(made["finalize_run"](**provenance()), retries=0):
        data = prepare(rows=5)
        dataset, model = registered(data.outputs["data"])
        tracked(
            break_once(marker=marker, model=model.outputs["receipt"], data=dataset.outputs["receipt"], **provenance()),
            retries=1,
            backoff="0s",
        )


@dsl.pipeline(name="failing")
def failing(why: str = "no luck"):
    """A pipeline in which a step that knows nothing of us fails, and is watched."""
    with with_run_finalizer(made["finalize_run"](project="wine", model="forest", **provenance()), retries=0):
        data = prepare(rows=5)
        dataset, model = registered(data.outputs["data"])
        broken = break_down(why=why).after(dataset, model)
        watched(broken, made["log_failure"](step=broken.name, **provenance()), retries=0)


@dsl.pipeline(name="failing-unwatched")
def failing_unwatched():
    """A pipeline in which the only step that knows nothing of us fails."""
    with with_run_finalizer(made["finalize_run"](**provenance()), retries=0):
        project = call("register_project", name="wine")
        break_down(why="no luck").after(project)


@dsl.pipeline(name="failing-writer")
def failing_writer():
    """A pipeline in which one of our components fails."""
    with with_run_finalizer(made["finalize_run"](**provenance()), retries=0):
        call("register_project", name="wine")
        call("register_model", name="forest", project="never registered")


@dsl.pipeline(name="plain")
def plain(name: str = "wine"):
    """What every version of the local runner can execute: a chain of components, by reference and by receipt."""
    ready = tracked(made["provision"](), retries=0)
    project = call("register_project", name=name).after(ready)
    dataset = call("register_dataset_by_reference", name=name, uri="s3://lake/wine.csv", version="1").after(ready)
    features = call("register_featureset", name="scaled", dataset=dataset.outputs["receipt"])
    model = call("register_model", name="forest", project=project.outputs["node_id"])
    run = call(
        "log_run_by_reference",
        model=model.outputs["node_id"],
        dataset=dataset.outputs["node_id"],
        featureset=features.outputs["node_id"],
        params={"depth": 3},
        metrics={"accuracy": 0.9},
    )
    deployment = call(
        "register_deployment_by_reference",
        tag="blue",
        project=project.outputs["node_id"],
        model=model.outputs["node_id"],
        run=run.outputs["node_id"],
        featureset=features.outputs["node_id"],
    )
    call(
        "log_serving_performance_by_reference",
        deployment=deployment.outputs["node_id"],
        metrics={"accuracy": 0.8},
        period_start="2026-03-01",
        period_end="2026-03-02",
    )


@dsl.pipeline(name="everything")
def everything(text: str, note: Dict[str, Any], sources: List[Dict[str, Any]]):
    """Every component once, each text parameter through KFP."""
    provision = tracked(made["provision"](), retries=0)
    project = call("register_project", name=text, attributes=note).after(provision)
    data = prepare(rows=5)
    dataset = call("register_dataset", name=text, data=data.outputs["data"], source=text, attributes=note)
    dataset.after(provision)
    place = call("register_dataset_by_reference", name=text, version=text, uri=text, source=text, checksum=text)
    place.after(provision)
    features = call(
        "register_featureset",
        name=text,
        dataset=dataset.outputs["receipt"],
        features=["a", "b"],
        transformation=text,
        selection=text,
    )
    more = call(
        "register_featureset_by_reference",
        name=text,
        version=text,
        dataset=place.outputs["node_id"],
        transformation=text,
        selection=text,
    )
    model = call(
        "register_model", name=text, project=project.outputs["node_id"], task=text, technique=text, framework=text
    )
    fitted = fit(depth="3", data=data.outputs["data"])
    run = call(
        "log_run",
        model=model.outputs["receipt"],
        dataset=dataset.outputs["receipt"],
        featureset=features.outputs["receipt"],
        metrics=fitted.outputs["metrics"],
        trained=fitted.outputs["trained"],
        params={"depth": 3},
        tag=text,
        attributes=note,
    )
    best = call(
        "log_run_by_reference",
        model=model.outputs["node_id"],
        dataset=dataset.outputs["node_id"],
        featureset=more.outputs["node_id"],
        metrics={"accuracy": 0.9},
        params={"depth": 4},
        run_id=text,
        project=text,
        tag=text,
        deployment_tag=text,
    )
    blue = call(
        "register_deployment",
        tag="blue",
        project=project.outputs["node_id"],
        model=model.outputs["receipt"],
        run=run.outputs["receipt"],
        featureset=features.outputs["receipt"],
        environment=text,
    )
    green = call(
        "register_deployment_by_reference",
        tag=text,
        project=project.outputs["node_id"],
        model=model.outputs["node_id"],
        run=best.outputs["node_id"],
        featureset=more.outputs["node_id"],
        environment=text,
        status="scheduled",
    ).after(blue)
    promoted = call("promote", deployment=green.outputs["node_id"], over=blue.outputs["node_id"], reason=text)
    period = {"period_start": "2026-03-01", "period_end": "2026-03-02"}
    call(
        "log_serving_performance",
        deployment=promoted.outputs["node_id"],
        metrics=fitted.outputs["metrics"],
        source=text,
        **period,
    )
    call(
        "log_serving_performance_by_reference",
        deployment=promoted.outputs["node_id"],
        metrics={"accuracy": 0.8},
        source="by reference",
        **period,
    )
    call(
        "collect_serving_performance",
        sources=sources,
        since="2026-03-02",
        until="2026-03-03",
    ).after(promoted)
    call(
        "select_model", project=text, policy={"metric": "accuracy", "threshold": 0.7}, deploy="selected", reason=text
    ).after(promoted)
