"""What the components do, without kfp: connect, write or decide, leave a receipt, answer.

A component's body is two lines: it imports this module and hands it its parameters, `locals()`. The database is told
by the environment alone, because KFP logs every parameter: ARANGOPIPE_URL, and ARANGOPIPE_USER and
ARANGOPIPE_PASSWORD where the URL does not name them.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import quote

from arangopipe_ops import admin, errors, stages
from arangopipe_ops.connection import URL_VARIABLE, connect
from arangopipe_ops.kfp import artifacts, finalizing
from arangopipe_ops.kfp.artifacts import Artifact, is_artifact
from arangopipe_ops.kfp.execution import GIVEN, Execution
from arangopipe_ops.model import SCHEMA, Document, ref_of
from arangopipe_ops.store import Run, Store

USER_VARIABLE, PASSWORD_VARIABLE = "ARANGOPIPE_USER", "ARANGOPIPE_PASSWORD"

_APART = {"runtime", "receipt", "attributes", "on_conflict", "on_error", "statistics", *GIVEN}
_KINDS = {"dataset": "Dataset", "featureset": "Featureset", "model": "Model", "run": "Run", "deployment": "Deployment"}

_log = logging.getLogger(__name__)


class Written(NamedTuple):
    """What a component that writes a node returns: its `_id`, and whether the node is new."""

    node_id: str
    created: bool


class Promoted(NamedTuple):
    """The deployment that is active now, and the `_id` of the one it replaced, empty if there was none."""

    node_id: str
    replaced: str


class Selected(NamedTuple):
    """What a policy decided; what there is not is empty."""

    decision: str
    reason: str
    run: str
    model: str
    deployment: str


class Collected(NamedTuple):
    """How many nodes a collection wrote or found to be the same, and how many faults there were."""

    created: int
    revised: int
    same: int
    faults: int


# --- components ------------------------------------------------------------------------------------------


def provision() -> bool:
    """Make sure that the database holds the metadata graph; return whether anything was missing."""
    return admin.provision(open_store(Execution()).db)


def write(stage: str, given: Mapping[str, Any]) -> Written:
    """Write a stage of `stages.STAGES` from a component's parameters, and leave the receipt.

    Artifacts become references, metrics or what was produced, by the parameter they were given as. With `on_error`
    `warn` whatever the library raises is a warning, and receipt and answer are empty.
    """
    execution = execution_of(given)
    answer = Written("", False)
    with _recorded(execution, given):
        store = open_store(execution)
        arguments = _arguments(store, given)
        if adapt := _ADAPT.get(stage):
            arguments = adapt(store, arguments, given)
        made = stages.make(stages.STAGES[stage], arguments, given.get("attributes") or {})
        ref = store.write(made, on_conflict=given.get("on_conflict") or "revise")
        artifacts.leave_receipt(given["receipt"], ref)
        answer = Written(ref["_id"], ref["created"])
        _log.info("%s: %s", "created" if ref["created"] else "stored already", ref["_id"])
    return answer


def promote(given: Mapping[str, Any]) -> Promoted:
    """Make a registered deployment the active one of its project and environment. See `Store.promote`."""
    execution = execution_of(given)
    answer = Promoted("", "")
    with _recorded(execution, given):
        store = open_store(execution)
        deployment = artifacts.reference(store, "Deployment", given["deployment"])
        change = store.promote(deployment, over=given.get("over"), reason=given.get("reason"))
        node = change["nodes"][0]
        others = [old["_id"] for old in change["replaced"] if old["_id"] != node["_id"]]
        answer = Promoted(node["_id"], next(iter(others), ""))
        artifacts.leave_receipt(given["receipt"], ref_of(SCHEMA.node("Deployment"), node), replaced=answer.replaced)
    return answer


def select_model(given: Mapping[str, Any]) -> Selected:
    """Select the model of a project by a policy and, with a tag to `deploy`, put that into effect."""
    from arangopipe_ops import analytics  # most components do not ask

    execution = execution_of(given)
    answer = Selected("none", "", "", "", "")
    with _recorded(execution, given):
        tag = given.get("deploy")
        deployed = analytics.deploy(
            open_store(execution),
            given["project"],
            analytics.Policy.from_json(given["policy"]),
            tag=tag or "",
            dry_run=not tag,
            reason=given.get("reason"),
        )
        selection, deployment = deployed["selection"], deployed["deployment"]
        candidate = selection["candidate"]
        answer = Selected(
            decision=selection["decision"],
            reason=selection["reason"],
            run=candidate["run"] if candidate else "",
            model=candidate["model"] if candidate else "",
            deployment=deployment["_id"] if deployment else "",
        )
        artifacts.leave_answer(given["receipt"], answer._asdict(), deployed)
    return answer


def collect_serving_performance(given: Mapping[str, Any]) -> Collected:
    """Read how deployments served from where it is measured, and write a node for each, period and source.

    What could be collected is written; then what a source could not tell is an error, or with `on_error` `warn` a
    warning. The receipt has the report in either case.
    """
    from arangopipe_ops.kfp import collecting  # most components collect nothing
    from arangopipe_ops.serving import in_words

    execution = execution_of(given)
    answer = Collected(0, 0, 0, 0)
    with _recorded(execution, given):
        report = collecting.collected(open_store(execution), given)
        faults = report["faults"]
        answer = Collected(report["created"], report["revised"], report["same"], len(faults))
        told = {name: str(number) for name, number in answer._asdict().items()}
        artifacts.leave_answer(given["receipt"], told, report)
        if faults and given.get("on_error") == "warn":
            _log.warning("not all is collected: %s", in_words(faults))
        elif faults:
            raise errors.Unavailable(in_words(faults))
    return answer


def log_failure(given: Mapping[str, Any]) -> bool:
    """Note that a step failed if KFP says so; return whether it does."""
    execution = replace(Execution.of(given, ""), task=given["step"])
    ended = finalizing.Ended.of(given["status"], ())
    if ended.state == "FAILED":
        finalizing.note(open_store(execution), execution, ended.error)
    return ended.state == "FAILED"


def finalize_run(given: Mapping[str, Any]) -> str:
    """Record how a pipeline's execution ended, if it did not end well; return the status in the graph's words."""
    execution = execution_of(given)
    ended = finalizing.Ended.of(given["status"], given.get("steps") or [])
    known = {name: given.get(name) for name in ("project", "model")}
    status = finalizing.finalize(open_store(execution), execution, ended, **known)
    artifacts.write_content(given["receipt"], {"status": status, "job_id": execution.job_id})
    return status


# --- for the bodies of users' own components -------------------------------------------------------------


@contextmanager
def step(given: Mapping[str, Any]) -> Iterator[Execution]:
    """Note a failure of what is inside, under this step's name, for `finalize_run` to record.

    `given` are the component's parameters, `locals()`, with those that `tracking.provenance` fills.
    """
    execution = Execution.of(given, "")
    with finalizing.noted(execution, open_store):
        yield execution


@contextmanager
def run(
    given: Mapping[str, Any],
    output: Artifact,
    *,
    model: Any,
    dataset: Any = None,
    featureset: Any = None,
    run_id: str | None = None,
    **attributes: Any,
) -> Iterator[Run]:
    """Record what is inside as a run, which fails if it raises. `Store.run` says what else can be given.

    Its id comes from the pipeline's execution, the step and `output`, one of its artifacts, so that a retry is the
    same run and each iteration of a loop another. Model and data may be artifacts.
    """
    execution = Execution.of(given, output.uri)
    with finalizing.noted(execution, open_store):
        store = open_store(execution)
        asked = {"model": model, "dataset": dataset, "featureset": featureset}
        references: dict[str, Any] = {
            name: artifacts.reference(store, _KINDS[name], value) for name, value in asked.items() if value is not None
        }
        with store.run(run_id or execution.run_id(asked), **references, **attributes) as recorded:
            yield recorded


def open_store(execution: Execution) -> Store:
    """Return the metadata graph that the environment names. Raises Misconfigured."""
    return Store(connect(_url()), provenance=execution.provenance())


def execution_of(given: Mapping[str, Any]) -> Execution:
    return Execution.of(given, given["receipt"].uri)


# --- inside ----------------------------------------------------------------------------------------------


def _url() -> str:
    url = os.environ.get(URL_VARIABLE)
    if not url:
        raise errors.Misconfigured(
            f"{URL_VARIABLE} is not set in this step; use arangopipe_ops.kfp.tracking.tracked(task, secret_name=...), "
            "or set it where the local runner is started."
        )
    user, password = os.environ.get(USER_VARIABLE), os.environ.get(PASSWORD_VARIABLE)
    scheme, sign, rest = url.partition("://")
    if user is None or "@" in rest or scheme == "embedded":
        return url
    return f"{scheme}{sign}{quote(user, safe='')}:{quote(password or '', safe='')}@{rest}"


@contextmanager
def _recorded(execution: Execution, given: Mapping[str, Any]) -> Iterator[None]:
    """Do what a component does; note its failure for the finalizer, or make it a warning."""
    on_error = given.get("on_error") or "fail"
    if on_error not in ("fail", "warn"):
        raise errors.Invalid("on_error", f"{on_error!r} is not fail or warn")
    if on_error == "fail":
        with finalizing.noted(execution, open_store):
            yield
        return
    try:
        yield
    except errors.ArangopipeError as error:
        _log.warning("not recorded: %s: %s", type(error).__name__, error)
        artifacts.write_content(given["receipt"], {"error": str(error), "type": type(error).__name__})


def _arguments(store: Store, given: Mapping[str, Any]) -> Document:
    """Return a stage's arguments from a component's parameters; those that were not given are left out."""
    arguments: Document = {}
    for name, value in given.items():
        if name not in _APART and value is not None:
            arguments |= _READ.get(name, _as_given)(store, name, value, given)
    several = [*arguments.pop("datasets", ())]
    if several:
        first = [arguments["dataset"]] if "dataset" in arguments else []
        arguments["dataset"] = [*first, *several]
    return arguments


def _as_given(store: Store, name: str, value: Any, given: Mapping[str, Any]) -> Document:
    return {name: value}


def _reference(store: Store, name: str, value: Any, given: Mapping[str, Any]) -> Document:
    return {name: artifacts.reference(store, _KINDS[name], value)}


def _references(store: Store, name: str, value: Any, given: Mapping[str, Any]) -> Document:
    return {name: [artifacts.reference(store, "Dataset", each) for each in value]}


def _metrics(store: Store, name: str, value: Any, given: Mapping[str, Any]) -> Document:
    return {name: artifacts.facts(value) if is_artifact(value) else value}


def _data(store: Store, name: str, value: Artifact, given: Mapping[str, Any]) -> Document:
    """Describe a data set where it lies; without a version its checksum is the version, wherever it lies."""
    from arangopipe_ops.integrations.tables import describe

    found = describe(value.path, statistics=given.get("statistics", True)) if os.path.isfile(value.path) else {}
    told = artifacts.facts(value)
    checksum = found.get("checksum")
    version = {"version": checksum.partition(":")[2][:16]} if checksum and given.get("version") is None else {}
    return {**told, **found, **version, "uri": value.uri}


def _trained(store: Store, name: str, value: Artifact, given: Mapping[str, Any]) -> Document:
    checksum = artifacts.checksum_of(value)
    return {"produced": [{"uri": value.uri, **({"checksum": checksum} if checksum else {})}]}


_READ = {
    **dict.fromkeys(_KINDS, _reference),
    "datasets": _references,
    "metrics": _metrics,
    "data": _data,
    "trained": _trained,
}
"""Parameter -> what makes arguments of a stage of it; any other is one itself."""


def _run_arguments(store: Store, arguments: Document, given: Mapping[str, Any]) -> Document:
    """Return the arguments of a run: what its result tells, overruled by what was given, under this execution's id."""
    result = arguments.pop("result", None) or {}
    if not isinstance(result, Mapping):
        raise errors.Invalid("result", f"{result!r} is not a mapping of names to values")
    inputs = {name: value for name, value in given.items() if name not in _APART or name == "attributes"}
    return {"run_id": execution_of(given).run_id(inputs), **result, **arguments}


Adapt = Callable[[Store, Document, Mapping[str, Any]], Document]
_ADAPT: Mapping[str, Adapt] = {"run": _run_arguments}
