"""The plugin's pages, in Airflow's own API server; and the links that lead to them."""

import subprocess
import sys
from typing import Any

import pytest
from airflow_home import airflow, graph, run, states

from arangopipe_ops import stages
from arangopipe_ops.airflow import operators as ops
from arangopipe_ops.airflow.plugin import ArangopipePlugin

__all__ = ["airflow", "graph"]
pytestmark = pytest.mark.slow


class Server:
    """Airflow's API server in this process, with the plugin and users of each role."""

    def __init__(self) -> None:
        from airflow.api_fastapi.app import create_app
        from fastapi.testclient import TestClient

        self.client = TestClient(create_app(apps="core"))

    def get(self, path: str, role: str | None = "viewer") -> Any:
        from airflow.api_fastapi.app import get_auth_manager
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

        headers = {}
        if role is not None:
            user = SimpleAuthManagerUser(username=role, role=None if role == "nobody" else role)
            headers["authorization"] = f"Bearer {get_auth_manager().generate_jwt(user)}"
        return self.client.get(path, headers=headers)


@pytest.fixture
def server(graph: Any, monkeypatch: pytest.MonkeyPatch) -> Server:
    from airflow import plugins_manager

    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "k" * 64)
    apps = (ArangopipePlugin.fastapi_apps, [])
    monkeypatch.setattr(plugins_manager, "get_fastapi_plugins", lambda: apps)
    return Server()


@pytest.fixture
def done(graph: Any) -> Any:
    """A DAG run that registered two models in one mapped task."""
    from airflow.sdk import DAG

    with DAG("linked", schedule=None) as dag:
        project = ops.RegisterProjectOperator(task_id="project", name="wine")
        ops.RegisterModelOperator.partial(task_id="model", project=project.output).expand(name=["forest", "bush"])
    dag_run = run(dag)
    assert set(states(dag_run).values()) == {"success"}
    return dag_run


PAGES = (
    "/arangopipe/",
    "/arangopipe/nodes/{id}",
    "/arangopipe/lineage/{id}",
    "/arangopipe/dags/linked/runs/{run}",
    "/arangopipe/dags/linked/runs/{run}/tasks/project",
    "/arangopipe/dags/linked/runs/{run}/tasks/model/1",
)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_for_those_whom_airflow_lets_see_it(server: Server, graph: Any, done: Any, page: str) -> None:
    """Without a token it is 401, for a user without a role 403, and a viewer sees it."""
    path = page.format(id=graph.get("forest", "Model")["_id"], run=done.run_id)
    told = {role: server.get(path, role).status_code for role in (None, "nobody", "viewer")}
    assert told == {None: 401, "nobody": 403, "viewer": 200}


def test_every_route_is_guarded() -> None:
    """A page that is added without a guard is missed here."""
    from arangopipe_ops.airflow.pages import create_app

    routes: list[Any] = list(create_app().routes)
    assert len(routes) == len(PAGES)
    assert all(route.dependencies for route in routes)


def test_the_pages_show_what_was_written(server: Server, graph: Any, done: Any) -> None:
    """The page of a DAG run has all its nodes, that of a mapped task instance its own, drawn with their lineage."""
    forest, bush = (graph.get(name, "Model")["_id"] for name in ("forest", "bush"))
    whole = server.get(f"/arangopipe/dags/linked/runs/{done.run_id}").text
    assert forest in whole
    assert bush in whole
    assert "data:image/svg+xml;base64," in whole
    one = server.get(f"/arangopipe/dags/linked/runs/{done.run_id}/tasks/model/1").text
    assert (forest in one, bush in one) == (False, True)


def test_names_are_text_and_never_markup(server: Server, graph: Any) -> None:
    """What a user calls a node is escaped wherever it stands."""
    ref = graph.write(stages.register_project("<script>alert(1)</script>"))
    for page in ("nodes", "lineage"):
        answer = server.get(f"/arangopipe/{page}/{ref['_id']}")
        assert "<script" not in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(("path", "status"), [("nodes/models/none", 404), ("nodes/nothing/none", 422)])
def test_what_is_not_there_is_said(server: Server, path: str, status: int) -> None:
    """A wrong address is answered with what is wrong about it."""
    assert server.get(f"/arangopipe/{path}").status_code == status


def test_the_links_of_a_mapped_task_lead_to_its_own_node(
    server: Server, graph: Any, done: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each map index has the node and the lineage of what it wrote, and the pages are there."""
    from urllib.parse import urlsplit

    for index, name in enumerate(("forest", "bush")):
        ti = done.get_task_instance("model", map_index=index)
        for kind, page in (("Node", "nodes"), ("Lineage", "lineage")):
            link = ti.xcom_pull("model", key=f"_link_Arangopipe{kind}Link", map_indexes=index)
            assert link == f"http://localhost:8080/arangopipe/{page}/{graph.get(name, 'Model')['_id']}"
            assert server.get(urlsplit(link).path).status_code == 200


def test_links_lead_where_the_configuration_says(graph: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A web application that runs elsewhere is named once."""
    from airflow.sdk import DAG

    monkeypatch.setenv("AIRFLOW__ARANGOPIPE__UI_URL", "https://ml.example.com/")
    with DAG("elsewhere", schedule=None) as dag:
        ops.RegisterProjectOperator(task_id="project", name="wine")
    link = run(dag).get_task_instance("project").xcom_pull("project", key="_link_ArangopipeNodeLink")
    assert link == f"https://ml.example.com/nodes/{graph.get('wine', 'Project')['_id']}"


def test_the_plugin_loads_no_page_before_one_is_asked_for() -> None:
    """Every task imports the plugin; it loads no web framework, driver or page."""
    program = "import arangopipe_ops.airflow.plugin, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"fastapi", "arango", "arangopipe_ops.airflow.pages", "arangopipe_ops.airflow.listeners"} & set(loaded)


def test_the_views_have_routes_of_their_own() -> None:
    """Airflow leaves out a view whose route another one has."""
    routes = [view["url_route"] for view in ArangopipePlugin.external_views]
    assert len(set(routes)) == len(routes) == 3
