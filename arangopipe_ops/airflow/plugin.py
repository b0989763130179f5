"""The plugin: pages with the lineage of a DAG run, a task and a node, inside of Airflow's API server.

Airflow imports this in every process and for every task, so the pages are imported when somebody asks for the first.
"""

import threading
from typing import Any

from airflow.sdk.plugins_manager import AirflowPlugin

from arangopipe_ops.airflow.compat import conf
from arangopipe_ops.airflow.links import PREFIX


class Pages:
    """The ASGI application of the pages, made at its first request."""

    def __init__(self) -> None:
        self._app: Any = None
        self._lock = threading.Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._made()(scope, receive, send)

    def _made(self) -> Any:
        with self._lock:
            if self._app is None:
                from arangopipe_ops.airflow.pages import create_app

                self._app = create_app()
        return self._app


def _view(name: str, destination: str, path: str) -> dict[str, str]:
    route = f"arangopipe-{destination.replace('_', '-')}"
    return {"name": name, "href": f"{PREFIX}{path}", "destination": destination, "url_route": route}


def _listeners() -> list[Any]:
    """Return the listener where it is wanted; elsewhere not even its module is imported."""
    if not conf.getboolean("arangopipe", "record_outcomes", fallback=False):
        return []
    from arangopipe_ops.airflow import listeners

    return [listeners]


class ArangopipePlugin(AirflowPlugin):
    """Pages, tabs and the listener. Airflow finds it by its entry point."""

    name = "arangopipe"
    fastapi_apps = [{"app": Pages(), "url_prefix": PREFIX, "name": "Arangopipe"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {**_view("ML metadata", "nav", "/"), "category": "browse"},
        _view("Lineage", "dag_run", "/dags/{DAG_ID}/runs/{RUN_ID}"),
        _view("Lineage", "task_instance", "/dags/{DAG_ID}/runs/{RUN_ID}/tasks/{TASK_ID}/{MAP_INDEX}"),
    ]
    listeners = _listeners()
