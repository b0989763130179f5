"""The plugin: the web application inside Airflow's API server, with tabs for what a DAG run and a task wrote.

Airflow imports this in every process and for every task, so the pages are imported when somebody asks for the first.
"""

import threading
from typing import Any
from urllib.parse import urlsplit

from arangopipe_ops.airflow.compat import conf
from arangopipe_ops.airflow.links import PREFIX

try:
    from airflow.sdk.plugins_manager import AirflowPlugin
except ImportError:  # before Airflow 3.2
    from airflow.plugins_manager import AirflowPlugin  # type: ignore[assignment]


class Pages:
    """The ASGI application of the pages, made at its first request."""

    def __init__(self) -> None:
        self._app: Any = None
        self._lock = threading.Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            app = self._made()
        except ImportError as error:
            await _unavailable(f"These pages need {error.name or error}: {_CURE}", send)
            return
        await app(scope, receive, send)

    def _made(self) -> Any:
        with self._lock:
            if self._app is None:
                from arangopipe_ops.airflow.pages import create_app

                self._app = create_app()
        return self._app


_CURE = "pip install 'arangopipe-ops[web]' where Airflow's API server runs, and start it again."


async def _unavailable(text: str, send: Any) -> None:
    """Answer without a web framework, which may be what is missing."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


def _view(name: str, destination: str, path: str) -> dict[str, str]:
    """Return a view of a page, whose address begins as Airflow's own do."""
    root = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
    route = f"arangopipe-{destination.replace('_', '-')}"
    return {"name": name, "href": f"{root}{PREFIX}{path}", "destination": destination, "url_route": route}


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
