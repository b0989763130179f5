"""The web application, mounted in Airflow's API server: the same pages, for those whom Airflow lets in."""

from fastapi import Depends, FastAPI

from arangopipe_ops.airflow import tabs
from arangopipe_ops.airflow.callers import AirflowUsers
from arangopipe_ops.web import pages, problems


def create_app() -> FastAPI:
    """Return the application. Before anything else every route asks Airflow who the caller is."""
    users = AirflowUsers()
    app = FastAPI(
        title="Arangopipe",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        dependencies=[Depends(users.enter)],
    )
    problems.install(app)
    pages.mount(app, users, tabs.routes)
    return app
