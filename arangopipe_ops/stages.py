"""The seven stages of a machine-learning pipeline: each function returns the Stage to write, and does no I/O.

Beside the named arguments every stage takes any JSON attribute; it is stored and searchable like the others.
Where an argument is a reference, a Ref, an `_id` or a name will do (`arangopipe_ops.model.Reference`).
All of them raise `errors.Invalid`, naming the argument.
"""

import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from arangopipe_ops.errors import Invalid
from arangopipe_ops.model import Reference, Stage, digest, moment, sure_key, target


def register_project(name: str, **attributes: Any) -> Stage:
    """Register a project."""
    stage = Stage()
    stage.add("Project", {"name": name, **attributes})
    return stage


def register_dataset(
    name: str,
    *,
    version: str | None = None,
    uri: str | None = None,
    source: str | None = None,
    checksum: str | None = None,
    **attributes: Any,
) -> Stage:
    """Register a data set: where it lies, which system it came from, what is in it."""
    stage = Stage()
    known = {"version": version, "uri": uri, "source": source, "checksum": checksum}
    stage.add("Dataset", {"name": name, **known, **attributes})
    return stage


def register_featureset(
    name: str,
    *,
    dataset: Reference | Sequence[Reference],
    features: Sequence[str] | None = None,
    transformation: Any = None,
    selection: Any = None,
    version: str | None = None,
    **attributes: Any,
) -> Stage:
    """Register a feature set and the data set, or sets, that it is generated from.

    `transformation` says how the features were made, `selection` how they were chosen.
    """
    stage = Stage()
    known = {"version": version, "features": features, "transformation": transformation, "selection": selection}
    bases = [_spelled("Dataset", base) for base in each(dataset)]
    node = stage.add("Featureset", {"name": name, **known, "datasets": bases, **attributes})
    for base in each(dataset):
        stage.link("featureset_dataset", node, base, _given(transformation=transformation))
    return stage


def register_model(
    name: str,
    *,
    project: Reference,
    task: str | None = None,
    technique: str | None = None,
    framework: str | None = None,
    version: str | None = None,
    **attributes: Any,
) -> Stage:
    """Register a model, that is a technique for a task, in its project."""
    stage = Stage()
    known = {"version": version, "task": task, "technique": technique, "framework": framework}
    node = stage.add("Model", {"name": name, **known, **attributes})
    stage.link("project_models", project, node)
    return stage


def log_run(
    run_id: str,
    *,
    model: Reference,
    dataset: Reference | Sequence[Reference] | None = None,
    featureset: Reference | Sequence[Reference] | None = None,
    params: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    project: Reference | None = None,
    status: str = "completed",
    start: datetime | str | None = None,
    end: datetime | str | None = None,
    tag: str | None = None,
    deployment_tag: str | None = None,
    **attributes: Any,
) -> Stage:
    """Log a run: what it executed and read, the parameters it obtained, the performance seen in development.

    `params` and `metrics` are stored as nodes of their own, under the run's key. Times are UTC in the graph.
    `project` is an attribute of the run: its model may belong to several.
    """
    stage = Stage()
    tags = _given(tag=tag, deployment_tag=deployment_tag)
    known = {name: moment(at, f"Run.{name}") for name, at in _given(start=start, end=end).items()}
    if project is not None:
        known["project"] = _named("Project", project)
    run = stage.add("Run", {"run_id": run_id, "status": status, **known, **tags, **attributes})
    stage.link("run_models", model, run)
    link_inputs(stage, run, dataset=dataset, featureset=featureset)
    for edge, kind, facts in (
        ("run_modelparams", "ModelParams", params),
        ("run_devperf", "DevPerf", metrics),
    ):
        if facts is not None:
            owned = _owned(kind, facts, run_id=run_id)
            stage.link(edge, run, stage.add(kind, {**owned, **tags}, key=run.key))
    return stage


def link_inputs(stage: Stage, run: Any, *, dataset: Any = None, featureset: Any = None) -> None:
    """Add the edges from a run, a node of the stage or a reference, to what it read."""
    for edge, references in (("run_datasets", dataset), ("run_featuresets", featureset)):
        for reference in each(references):
            stage.link(edge, run, reference)


def register_deployment(
    tag: str,
    *,
    project: Reference,
    model: Reference,
    run: Reference | None = None,
    featureset: Reference | Sequence[Reference] | None = None,
    environment: str = "production",
    status: Literal["scheduled", "active", "archived"] = "active",
    **attributes: Any,
) -> Stage:
    """Register the deployment of a model with the parameters that `run` obtained, if it logged any.

    Only one deployment of a project and environment is active: registering an active one archives the other
    in the same request.
    """
    if status not in ("scheduled", "active", "archived"):
        raise Invalid("Deployment.status", f"{status!r} is not scheduled, active or archived")
    stage = Stage()
    known = {"environment": environment, "status": status, "project": _named("Project", project)}
    slot = slot_of(project, environment)
    node = stage.add("Deployment", {"tag": tag, **known, **attributes}, slot=slot, active=status == "active")
    stage.link("deployment_model", node, model)
    for reference in each(featureset):
        stage.link("deployment_featureset", node, reference)
    if run is not None:
        stage.link("deployment_run", node, run)
        params = f"modelparams/{sure_key('Run', run)}"
        stage.link("deployment_modelparams", node, {"_id": params}, optional=True)
    return stage


def slot_of(project: Reference, environment: str) -> str:
    """Return what the deployments of a project and environment share, of which one is active."""
    return digest([sure_key("Project", project), environment])[:32]


def log_serving_perf(
    deployment: Reference,
    *,
    metrics: Mapping[str, Any],
    period_start: datetime | str,
    period_end: datetime | str,
    source: str = "manual",
    **attributes: Any,
) -> Stage:
    """Log how a deployment served in one period, `period_start` included and `period_end` not.

    There is one node for a deployment, period and source: logging it again replaces it.
    """
    period = {
        "period_start": moment(period_start, "ServingPerf.period_start"),
        "period_end": moment(period_end, "ServingPerf.period_end"),
    }
    if period["period_end"] <= period["period_start"]:
        raise Invalid("ServingPerf.period_end", f"{period['period_end']} is not after {period['period_start']}")
    stage = Stage()
    identity = {"deployment": sure_key("Deployment", deployment), **period, "source": source}
    node = stage.add("ServingPerf", {**_owned("ServingPerf", metrics, **identity), **attributes})
    stage.link("deployment_servingperf", deployment, node, period)
    return stage


STAGES: Mapping[str, Callable[..., Stage]] = {
    "project": register_project,
    "dataset": register_dataset,
    "featureset": register_featureset,
    "model": register_model,
    "run": log_run,
    "deployment": register_deployment,
    "serving-perf": log_serving_perf,
}
"""The stages by the name of what they register."""


def make(stage: Callable[..., Stage], arguments: Mapping[str, Any], attributes: Mapping[str, Any]) -> Stage:
    """Return the stage made from named arguments and further attributes, as the faces collect them.

    Raises Invalid for a name given as both, and for an argument that is missing or None.
    """
    for name in arguments.keys() & attributes.keys():
        raise Invalid(name, "is given twice, as an argument and as an attribute")
    given = {**arguments, **attributes}
    for parameter in arguments_of(stage):
        if parameter.default is parameter.empty and given.get(parameter.name) is None:
            raise Invalid(parameter.name, f"is missing; {stage.__name__} needs it")
    return stage(**given)


def read_stages(lines: Iterable[str | Mapping[str, Any]]) -> Iterator[Stage]:
    """Yield the stages that JSON lines, or mappings, describe: `{"stage": "dataset", "name": "wine", ...}`.

    `stage` is a name of `STAGES`, the rest are its arguments and attributes; empty lines are passed over. Raises
    Invalid, naming the line.
    """
    for number, line in enumerate(lines, 1):
        if not isinstance(line, str) or line.strip():
            try:
                stage = _stage_of(line)
            except Invalid as error:
                error.where = f"line {number}"
                raise
            stage.origin = f"line {number}"
            yield stage


def _stage_of(line: str | Mapping[str, Any]) -> Stage:
    try:
        parsed = json.loads(line) if isinstance(line, str) else line
    except ValueError as error:
        raise Invalid("", f"is not JSON: {error}") from None
    if not isinstance(parsed, Mapping):
        raise Invalid("", "is not a JSON object")
    given = dict(parsed)
    name = given.pop("stage", None)
    if not isinstance(name, str) or name not in STAGES:
        raise Invalid("stage", f"{name!r} is not one of {', '.join(STAGES)}")
    return make(STAGES[name], given, {})


def arguments_of(stage: Callable[..., Stage]) -> list[inspect.Parameter]:
    """Return the named arguments of a stage function, in order."""
    parameters = inspect.signature(stage).parameters.values()
    return [parameter for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def each(references: Any) -> Iterable[Any]:
    """Return one reference, or each of several; none for None."""
    if references is None:
        return ()
    several = isinstance(references, Sequence) and not isinstance(references, str)
    return references if several else (references,)


def _spelled(kind: str, reference: Any) -> str:
    """Return a reference as it enters another node's content: its key if that is sure, else as it was given."""
    found = target(kind, reference)
    return found.name or str(found.key)


def _named(kind: str, reference: Any) -> str:
    """Return a reference by name where it has one, so that a Ref and a name are the same content."""
    named = reference.get("name") if isinstance(reference, Mapping) else None
    return str(named) if named else _spelled(kind, reference)


def _owned(kind: str, facts: Mapping[str, Any], **identity: str) -> dict[str, Any]:
    """Return facts together with the identity of what they are observed of. Raises Invalid if they disagree."""
    if not isinstance(facts, Mapping):
        raise Invalid(kind, f'{facts!r} is not a mapping of names to values, such as {{"accuracy": 0.9}}')
    for name, value in identity.items():
        if facts.get(name, value) != value:
            raise Invalid(f"{kind}.{name}", f"{facts[name]!r} is not {value!r}; choose another name for it")
    return {**facts, **identity}
