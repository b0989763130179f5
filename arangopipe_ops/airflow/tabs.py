"""What a DAG run or a task instance wrote, as tabs in Airflow: for those who may see it there."""

from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from arangopipe_ops.airflow.links import linked
from arangopipe_ops.store import Store
from arangopipe_ops.web.pages.lineage import drawn
from arangopipe_ops.web.pages.nodes import rows_of
from arangopipe_ops.web.pages.rendering import node_path, redirect, render
from arangopipe_ops.web.pages.sessions import CallersStore
from arangopipe_ops.web.pages.waiting import patient

MAX_NODES = 100

routes = APIRouter()

_RUN = "/dags/{dag_id}/runs/{run_id}"
_TASK = f"{_RUN}/tasks/{{task_id}}"
_MAY_SEE_RUN = Depends(requires_access_dag("GET", DagAccessEntity.RUN))
_MAY_SEE_TASK = Depends(requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE))


@routes.get(_RUN, dependencies=[_MAY_SEE_RUN])
@patient
def run(request: Request, store: CallersStore, dag_id: str, run_id: str) -> Response:
    """Show what a DAG run wrote."""
    provenance = {"dag_id": dag_id, "run_id": run_id}
    return _written(request, store, f"DAG run {run_id}", provenance, linked(provenance, MAX_NODES))


@routes.get(_TASK, dependencies=[_MAY_SEE_TASK])
@routes.get(f"{_TASK}/{{map_index}}", dependencies=[_MAY_SEE_TASK])
@patient
def task(
    request: Request, store: CallersStore, dag_id: str, run_id: str, task_id: str, map_index: str = ""
) -> Response:
    """Lead to the lineage of the node that a task instance returned, or show what it wrote.

    Airflow leaves the map index of a task that is not mapped as the placeholder that it is.
    """
    index = int(map_index) if map_index.isdecimal() else -1
    provenance = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": index}
    ids = linked(provenance, MAX_NODES)
    if len(ids) == 1:
        return redirect(request, f"{node_path(ids[0])}/lineage")
    return _written(request, store, f"Task {task_id}", provenance, ids)


def _written(request: Request, store: Store, who: str, provenance: dict[str, Any], also: list[str]) -> Response:
    found = store.written_by(provenance, also=also, limit=MAX_NODES)
    picture, problem = None, None
    if found["lineage"] is not None:
        picture, problem = drawn(request, found["lineage"], store.schema)
    facts = {
        "who": who,
        "rows": rows_of(found["nodes"], store.schema),
        "more": found["more"],
        "drawn": picture,
        "problem": problem,
    }
    return render(request, "written.html", facts)
