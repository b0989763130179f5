"""The plugin as Airflow loads it, and the links of tasks. Its pages: test_airflow_plugin_web.py."""

import subprocess
import sys
from typing import Any

import pytest
from airflow_home import airflow, graph, run, states
from test_airflow_plugin_web import Server, server

from arangopipe_ops.airflow import operators as ops
from arangopipe_ops.airflow.plugin import ArangopipePlugin

__all__ = ["airflow", "graph", "server"]
pytestmark = pytest.mark.slow


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


def test_the_links_of_a_mapped_task_lead_to_its_own_node(
    server: Server, graph: Any, done: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each map index has the node and the lineage of what it wrote, and the pages are there."""
    from urllib.parse import urlsplit

    for index, name in enumerate(("forest", "bush")):
        ti = done.get_task_instance("model", map_index=index)
        for kind, page in (("Node", ""), ("Lineage", "/lineage")):
            link = ti.xcom_pull("model", key=f"_link_Arangopipe{kind}Link", map_indexes=index)
            assert link == f"http://localhost:8080/arangopipe/nodes/{graph.get(name, 'Model')['_id']}{page}"
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
    assert not {
        "fastapi",
        "arango",
        "arangopipe_ops.web",
        "arangopipe_ops.airflow.pages",
        "arangopipe_ops.airflow.listeners",
    } & set(loaded)


def test_the_views_have_routes_of_their_own() -> None:
    """Airflow leaves out a view whose route another one has."""
    routes = [view["url_route"] for view in ArangopipePlugin.external_views]
    assert len(set(routes)) == len(routes) == 3
