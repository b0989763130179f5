"""The pages of the plugin. Who may see a DAG run or task in Airflow may see its lineage; the rest asks for plugins."""

import base64
from collections.abc import Iterable
from html import escape
from typing import Any
from urllib.parse import quote

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag, requires_access_view
from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse

from arangopipe_ops import drawing, errors
from arangopipe_ops.airflow.compat import conf
from arangopipe_ops.airflow.hooks import DEFAULT_CONN_ID, ArangopipeHook
from arangopipe_ops.airflow.links import PREFIX
from arangopipe_ops.model import Lineage
from arangopipe_ops.store import Store

MAX_NODES = 50

_MAY_SEE_PLUGINS = Depends(requires_access_view(AccessView.PLUGINS))
_MAY_SEE_RUN = Depends(requires_access_dag("GET", DagAccessEntity.RUN))
_MAY_SEE_TASK = Depends(requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE))

_STATUS = {errors.NotFound: 404, errors.Invalid: 422}
_HEADERS = {"Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'"}
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body{{font:14px system-ui,sans-serif;margin:1rem;color-scheme:light dark}}img{{max-width:100%;background:#fff}}
td,th{{text-align:left;padding:.2rem 1rem .2rem 0}}</style></head><body><h1>{title}</h1>{body}</body></html>"""


def create_app() -> FastAPI:
    """Return the application; every route of it asks Airflow whether its caller may see it."""
    app = FastAPI(title="Arangopipe", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(errors.ArangopipeError, _failed)
    run = "/dags/{dag_id}/runs/{run_id}"
    for path, page, guard in (
        ("/", _home, _MAY_SEE_PLUGINS),
        ("/nodes/{collection}/{key}", _node, _MAY_SEE_PLUGINS),
        ("/lineage/{collection}/{key}", _lineage, _MAY_SEE_PLUGINS),
        (f"{run}/tasks/{{task_id}}", _task, _MAY_SEE_TASK),
        (f"{run}/tasks/{{task_id}}/{{map_index}}", _task, _MAY_SEE_TASK),
        (run, _run, _MAY_SEE_RUN),
    ):
        app.get(path, dependencies=[guard], response_class=HTMLResponse)(page)
    return app


def _store() -> Store:
    return Store(ArangopipeHook(conf.get("arangopipe", "conn_id", fallback=DEFAULT_CONN_ID)).get_conn())


def _home() -> HTMLResponse:
    found = _store().search(limit=MAX_NODES, count=False)
    return _answer("ML metadata", _listed(found["nodes"]))


def _node(collection: str, key: str) -> HTMLResponse:
    document = _store().get(f"{collection}/{key}")
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in document.items())
    return _answer(document["_id"], f"<p>{_link('lineage', document['_id'], 'Lineage')}</p><table>{rows}</table>")


def _lineage(collection: str, key: str) -> HTMLResponse:
    lineage = _store().lineage(f"{collection}/{key}")
    return _answer(f"Lineage of {lineage['nodes'][0]['name']}", _drawn(lineage))


def _run(dag_id: str, run_id: str) -> HTMLResponse:
    return _written_by(f"DAG run {run_id}", {"dag_id": dag_id, "run_id": run_id})


def _task(dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> HTMLResponse:
    wanted = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_index}
    return _written_by(f"Task {task_id}", wanted)


def _written_by(title: str, provenance: dict[str, Any]) -> HTMLResponse:
    """Return the page of what has a provenance, and the lineage of all of it together."""
    store = _store()
    where = {f"provenance.{name}": value for name, value in provenance.items()}
    nodes = store.search(where=where, limit=MAX_NODES, count=False)["nodes"]
    if not nodes:
        return _answer(title, "<p>Nothing in the metadata graph was written here last.</p>")
    return _answer(title, _drawn(_together(store, [node["_id"] for node in nodes])) + _listed(nodes))


def _together(store: Store, ids: Iterable[str]) -> Lineage:
    """Return the lineages of several nodes as one; a node that another one's lineage shows is not asked for."""
    whole: Lineage | None = None
    seen: dict[str, Any] = {}
    edges: dict[tuple[str, str, str], Any] = {}
    for id in ids:
        if id not in seen:
            lineage = store.lineage(id)
            whole = whole or lineage
            seen |= {node["_id"]: node for node in lineage["nodes"]}
            edges |= {(edge["edge"], edge["upstream"], edge["downstream"]): edge for edge in lineage["edges"]}
    assert whole is not None
    return Lineage(start=whole["start"], nodes=list(seen.values()), edges=list(edges.values()), cut=[])


def _drawn(lineage: Lineage) -> str:
    try:
        picture = base64.b64encode(drawing.svg(lineage)).decode()
    except errors.Misconfigured:  # without Graphviz a tree of text says the same
        return f"<pre>{escape(drawing.tree(lineage))}</pre>"
    return f'<img alt="lineage" src="data:image/svg+xml;base64,{picture}">'


def _listed(nodes: Iterable[Any]) -> str:
    rows = "".join(f"<tr><td>{_link('nodes', node['_id'], node['_id'])}</td></tr>" for node in nodes)
    return f"<table>{rows}</table>"


def _link(page: str, id: str, text: str) -> str:
    return f'<a href="{PREFIX}/{page}/{quote(id)}">{escape(text)}</a>'


def _answer(title: str, body: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(_PAGE.format(title=escape(title), body=body), status, _HEADERS)


async def _failed(request: Request, error: Exception) -> HTMLResponse:
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 503)
    return _answer("The metadata graph does not answer this", f"<p>{escape(str(error))}</p>", status)
