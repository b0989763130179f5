"""How a task instance ended, where its own operator cannot tell."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from arangopipe_ops.airflow.operators import task_run_id
from arangopipe_ops.errors import NotFound
from arangopipe_ops.model import ANNOTATIONS, OWN, Document, Ref, Stage
from arangopipe_ops.store import Store

if TYPE_CHECKING:
    from airflow.sdk import Context

_MAX_TEXT = 2_000


def record_outcome(store: Store, context: "Context", status: str, error: Any = None) -> Ref:
    """Write that a task instance ended without a result, as the end of its run; what the run has otherwise stays.

    Its id is what `LogRunOperator` would have given it, so a later attempt that succeeds replaces it.
    """
    ti = context["ti"]
    run_id = task_run_id(context)
    told = {"run_id": run_id, "status": status, "end": datetime.now(UTC), "start": ti.start_date}
    stage = Stage()
    stage.add("Run", {"job": f"{ti.dag_id}/{ti.task_id}", **told, **_stored(store, run_id), **_end(told, error)})
    return store.write(stage, on_conflict="revise")


def _end(told: Document, error: Any) -> Document:
    end = {name: told[name] for name in ("run_id", "status", "end")}
    return end | ({"error": _described(error)} if error is not None else {})


def _stored(store: Store, run_id: str) -> Document:
    try:
        found = store.get({"run_id": run_id}, "Run")
    except NotFound:
        return {}
    apart = {*OWN, *ANNOTATIONS}
    return {name: value for name, value in found.items() if name not in apart and not name.startswith("_")}


def _described(error: Any) -> Document:
    if isinstance(error, BaseException):
        return {"type": type(error).__qualname__, "message": _clipped(error)}
    return {"message": _clipped(error)}


def _clipped(value: Any) -> str:
    return str(value)[:_MAX_TEXT].encode(errors="replace").decode()
