"""How a pipeline's execution ended: failures that steps note, and what the exit task makes of them.

The execution itself is a run, `run_id` being KFP's job id. It is in the graph only where something went wrong.
"""

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from arangopipe_ops import capture, errors
from arangopipe_ops.kfp.execution import FINALIZER_VARIABLE, Execution
from arangopipe_ops.model import OWN, Document, Stage
from arangopipe_ops.store import Store
from arangopipe_ops.store.search import MAX_PAGE

STATUSES = {"SUCCEEDED": "completed", "FAILED": "failed", "CANCELLED": "aborted"}
"""State of KFP -> status of a run. Any other state is one that is not final."""

UNENDED = {"type": "Unended", "message": "the step ended without saying how"}

_NO_JOB = "is not known; call the task with **tracking.provenance()"
_NAMED = re.compile(r"[Tt]he failed tasks are: \[([^\]]+)\]")  # as Vertex says it
_MAX_MESSAGE = 2_000
_STORES = {*OWN}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ended:
    """What the backend says of the end: `state` is empty where it says nothing that is final.

    `steps` are those of the pipeline that note no failures themselves.
    """

    state: str
    message: str = ""
    steps: tuple[str, ...] = ()

    @classmethod
    def of(cls, status: Any, steps: Sequence[str]) -> "Ended":
        """Return what a `PipelineTaskFinalStatus` says; its error is empty on open-source KFP."""
        state = str(status.state or "").upper()
        message = capture.without_secrets(str(status.error_message or ""))[:_MAX_MESSAGE]
        return cls(state if state in STATUSES else "", message, tuple(steps))

    @property
    def error(self) -> Document:
        """What is known of the failure from the backend alone."""
        return {"type": self.state.capitalize(), "message": self.message or "the backend tells no reason"}

    @property
    def named(self) -> list[str]:
        """The steps that failed, as the backend names them."""
        found = _NAMED.search(self.message)
        return [name.strip(" '\"") for name in found[1].split(",")] if found else []


@contextmanager
def noted(execution: Execution, open_store: Callable[[Execution], Store]) -> Iterator[None]:
    """Note an exception under the step's name, where a finalizer will see to it. The exception goes on."""
    try:
        yield
    except (Exception, SystemExit) as error:
        if execution.job_id and os.environ.get(FINALIZER_VARIABLE) and _is_worth_a_note(error):
            with suppress(Exception):  # what went wrong first is what counts
                note(open_store(execution), execution, _described(error))
        raise


def _is_worth_a_note(error: BaseException) -> bool:
    """Return whether an exception is a failure, and not that of the database which would have to be told."""
    ends_well = isinstance(error, SystemExit) and error.code in (None, 0)
    return not ends_well and not isinstance(error, errors.Unavailable)


def note(store: Store, execution: Execution, error: Mapping[str, Any]) -> None:
    """Note an error under the step's name at the run of the pipeline's execution, until that is finalized."""
    if execution.job_id is None:
        raise errors.Invalid("pipeline_job_id", _NO_JOB)
    _write(store, execution, "running", {"error": {**error, "step": execution.task}})


def finalize(
    store: Store, execution: Execution, ended: Ended, *, project: str | None = None, model: str | None = None
) -> str:
    """Record the end of a pipeline's execution; return its status.

    If it failed, its run says so with the step's name, and runs of its steps that never ended fail too. If it
    succeeded, nothing remains of failures that were noted on the way. A state that is not final is taken for a
    failure where one was noted, and for success otherwise.
    """
    if execution.job_id is None:
        raise errors.Invalid("pipeline_job_id", _NO_JOB)
    noted, runs = _noted(store, execution.job_id), _runs_of(store, execution.job_id)
    status = STATUSES.get(ended.state) or ("failed" if "error" in noted else "completed")
    if status == "completed":
        if "error" in noted:
            _take_back(store, execution, noted)
        return status
    for run in runs:
        if run.get("status") == "running":
            _end(store, run)
    error = _error(ended, noted.get("error"), runs)
    more = {"error": error, **({"project": project} if project else {})}
    _log.error("the pipeline %s %s: %s", execution.pipeline, status, error)
    try:
        _write(store, execution, status, more, model)
    except errors.NotFound:  # it failed before the model was registered
        _write(store, execution, status, more)
    return status


def _error(ended: Ended, noted: Mapping[str, Any] | None, runs: Sequence[Mapping[str, Any]]) -> Document:
    """Return what is known of the failure: from the step, from a run of it, from the backend, or by elimination."""
    if noted:
        return dict(noted)
    if runs:
        told = runs[0].get("error") or UNENDED
        return {**told, "step": runs[0].get("provenance", {}).get("task"), "run_id": runs[0]["run_id"]}
    steps = ended.named or list(ended.steps)
    return ended.error | ({"step": steps[0]} if len(steps) == 1 else {"steps": steps})


def _described(error: BaseException) -> Document:
    return {"type": type(error).__name__, "message": capture.without_secrets(str(error))[:_MAX_MESSAGE]}


def _noted(store: Store, job_id: str) -> Document:
    """Return the run of the execution, empty if nothing was noted."""
    try:
        return store.get(job_id, "Run")
    except errors.NotFound:
        return {}


def _take_back(store: Store, execution: Execution, noted: Mapping[str, Any]) -> None:
    """Remove the run of an execution that ended well; one that had failed before, as a whole, is completed now."""
    if noted["status"] == "running":
        store.delete(store.plan_deletion(noted["_id"]), reason="the failure was cured by a retry")
    else:
        _write(store, execution, "completed", {})


def _runs_of(store: Store, job_id: str) -> list[Document]:
    """Return the runs of the execution that did not end well, or not at all."""
    where = {"run_id": {"prefix": f"{job_id}/"}, "status": {"in": ["running", "failed"]}}
    return store.search("Run", where, limit=MAX_PAGE, count=False)["nodes"]


def _end(store: Store, run: Mapping[str, Any]) -> None:
    """Mark a run as failed, all else as it is."""
    stage = Stage()
    own = {name: value for name, value in run.items() if not name.startswith("_") and name not in _STORES}
    stage.add("Run", {**own, "status": "failed", "error": UNENDED})
    store.write(stage, on_conflict="revise", reason="the pipeline ended")


def _write(store: Store, execution: Execution, status: str, more: Mapping[str, Any], model: str | None = None) -> None:
    stage = Stage()
    known = {"run_id": execution.job_id, "status": status, "pipeline": execution.pipeline}
    run = stage.add("Run", {**known, **more})
    if model is not None:
        stage.link("run_models", model, run)
    store.write(stage, on_conflict="revise")
