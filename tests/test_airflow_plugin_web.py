"""The web application in Airflow's own API server: who gets in, who may write, and what a run's tabs show."""

import re
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, unquote

import pytest
from airflow_home import airflow, run, states
from conftest import dump, provisioned
from served_database import served

from arangopipe_ops import stages
from arangopipe_ops.airflow import operators as ops
from arangopipe_ops.airflow.plugin import ArangopipePlugin
from arangopipe_ops.store import Store

__all__ = ["airflow"]
pytestmark = pytest.mark.slow

ROLES = (None, "nobody", "viewer", "user", "op", "admin")


class Server:
    """Airflow's API server in this process, with the plugin and users of each role, who have its cookie."""

    def __init__(self) -> None:
        from airflow.api_fastapi.app import create_app
        from fastapi.testclient import TestClient

        self.client = TestClient(create_app(apps="core"), follow_redirects=False, raise_server_exceptions=True)

    def get(self, path: str, role: str | None = "viewer") -> Any:
        return self.client.get(path, headers=self._cookie(role))

    def post(self, path: str, role: str | None, **fields: str) -> Any:
        return self.client.post(path, data=fields, headers=self._cookie(role))

    def proof(self, role: str) -> str:
        """Return what the forms of a page that somebody got have in them."""
        from arangopipe_ops.airflow.callers import AirflowUsers

        return AirflowUsers().proof(SimpleNamespace(state=SimpleNamespace(airflow_user=_user(role))))  # type: ignore[arg-type]

    def _cookie(self, role: str | None) -> dict[str, str]:
        from airflow.api_fastapi.app import get_auth_manager

        return {} if role is None else {"cookie": f"_token={get_auth_manager().generate_jwt(_user(role))}"}


def _user(role: str) -> Any:
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    return SimpleAuthManagerUser(username=role, role=None if role == "nobody" else role)


@pytest.fixture(scope="module")
def server(airflow: None) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "k" * 64)
        patch_in_the_plugin(patch)
        yield Server()


def patch_in_the_plugin(patch: pytest.MonkeyPatch) -> None:
    """Let Airflow have our plugin and no other."""
    from airflow import plugins_manager

    apps = ArangopipePlugin.fastapi_apps
    if hasattr(plugins_manager, "get_fastapi_plugins"):
        patch.setattr(plugins_manager, "get_fastapi_plugins", lambda: (apps, []))
    else:  # before Airflow 3.2
        patch.setattr(plugins_manager, "fastapi_apps", apps)
        patch.setattr(plugins_manager, "fastapi_root_middlewares", [])


class Flow:
    """The graph, and two runs of a DAG that registers the same and logs a run of its own each time."""

    def __init__(self, url: str) -> None:
        from airflow.sdk import DAG

        self.url, self.store = url, Store(provisioned(url))
        with DAG("wine", schedule=None) as dag:
            project = ops.RegisterProjectOperator(task_id="project", name="wine")
            ops.RegisterDatasetOperator(task_id="dataset", name="bottles")
            model = ops.RegisterModelOperator.partial(task_id="model", project=project.output)
            model.expand(name=["forest", "bush"])
            log = ops.LogRunOperator(
                task_id="log_run", model="forest", dataset="bottles", parameters={"depth": 3}, metrics={"f1": 0.9}
            )
            parts = [{"stage": "dataset", "name": f"part {i}"} for i in (1, 2)]
            [
                ops.BatchWriteOperator(task_id="batch", stages=parts),
                dag.get_task("dataset"),
                dag.get_task("model"),
            ] >> log
        self.runs = [run(dag) for _ in range(2)]
        for each in self.runs:
            assert set(states(each).values()) == {"success"}
        [self.logged] = self.store.search("Run", {"run_id": f"wine/{self.runs[1].run_id}/log_run"})["nodes"]
        self.store.write(
            stages.register_deployment("d1", project="wine", model="forest", run=self.logged["_id"], status="scheduled")
        )

    def id(self, name: str, kind: str) -> str:
        return str(self.store.get(name, kind)["_id"])

    @property
    def form(self) -> str:
        """The address of a form."""
        return f"/arangopipe/deployments/{self.id('d1', 'Deployment').partition('/')[2]}/promotion"

    def tab(self, task: str = "", which: int = 0) -> str:
        """Return the address of the tab of a DAG run, or of a task instance of it, as Airflow's pages make it."""
        return f"/arangopipe/dags/wine/runs/{quote(self.runs[which].run_id, safe='')}{task and f'/tasks/{task}'}"


@pytest.fixture(scope="module")
def flow(airflow: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flow]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARANGOPIPE_EMBEDDED_CLUSTER", "1")
        url = f"embedded://{tmp_path_factory.mktemp('flow')}/graph.db"
        patch.setenv("ARANGOPIPE_URL", url)
        yield Flow(url)


def routes(method: str) -> list[str]:
    """Return the paths of all pages that take a method, with something in the place of what varies."""
    from arangopipe_ops.airflow.pages import create_app

    found = [route for route in create_app().routes if method in (getattr(route, "methods", None) or ())]
    return [f"/arangopipe{re.sub(r'{[^}]+}', '1', route.path)}" for route in found]  # type: ignore[attr-defined]


# who gets in


@pytest.mark.parametrize("page", ["/", "/search", "/nodes/{id}", "/nodes/{id}/lineage", "/admin", "{run}", "{task}"])
def test_a_page_is_for_those_whom_airflow_lets_see_it(server: Server, flow: Flow, page: str) -> None:
    """Without Airflow's sign-in it is 401, for a user without a role 403, and everybody else sees it."""
    tabs = {"run": flow.tab()[11:], "task": flow.tab("batch")[11:]}
    path = "/arangopipe" + page.format(id=flow.id("forest", "Model"), **tabs)
    told = {role: server.get(path, role).status_code for role in ROLES}
    assert told == {None: 401, "nobody": 403, "viewer": 200, "user": 200, "op": 200, "admin": 200}


def test_no_route_is_left_open(server: Server) -> None:
    """Whatever page and form there is, Airflow is asked first; a form is 401 even with a proof."""
    assert len(routes("GET")) > 10
    assert len(routes("POST")) > 1
    proof = server.proof("admin")
    assert {server.get(path, None).status_code for path in routes("GET")} == {401}
    assert {server.post(path, None, csrf=proof).status_code for path in routes("POST")} == {401}
    assert [method for method in ("PUT", "PATCH", "DELETE") if routes(method)] == []
    assert {server.get(path, "nobody").status_code for path in routes("GET")} == {403}


def test_who_is_not_known_is_led_to_airflows_own_sign_in(server: Server) -> None:
    """There is no second sign-in: the page links to Airflow's, which leads back, and none of ours is there."""
    page = server.get("/arangopipe/search?kind=Run", None).text
    [link] = [unescape(each) for each in re.findall(r'href="([^"]+)"', page) if "login" in each]
    assert link == "/api/v2/auth/login?next=%2Farangopipe%2Fsearch%3Fkind%3DRun"
    answer = server.get(link, None)
    assert answer.status_code == 307
    assert unquote(answer.headers["location"]).endswith("/login?next=/arangopipe/search?kind=Run")
    assert server.get("/arangopipe/sign-in", "admin").status_code == 404
    home = server.get("/arangopipe/").text
    assert "Sign out" not in home
    assert "Sign in" not in home


# who may write


def test_who_may_not_edit_the_connection_changes_nothing(server: Server, flow: Flow) -> None:
    """Every form that changes something is refused to viewers and users, also with a good proof, and says why."""
    before = dump(flow.store.db)
    for role in ("viewer", "user"):
        proof = server.proof(role)
        looks = server.post("/arangopipe/admin/doctor", role, csrf=proof, look="all")
        assert looks.status_code == 303
        for path in set(routes("POST")) - {"/arangopipe/admin/doctor"}:
            answer = server.post(path, role, csrf=proof, sure="yes")
            assert (path, answer.status_code) == (path, 403)
            assert "right to edit" in answer.text
    assert dump(flow.store.db) == before


def test_who_may_edit_it_writes_under_their_name(server: Server, flow: Flow) -> None:
    """An op promotes a deployment with the form of a page, and the audit has their name in Airflow."""
    answer = server.post(flow.form, "op", csrf=server.proof("op"), over="", reason="best")
    assert answer.status_code == 303
    there = answer.headers["location"]
    assert there.startswith("/arangopipe/deployments/")
    assert "d1 is active." in server.get(there, "op").text
    newest = flow.store.history("d1", "Deployment")[0]
    assert (newest["reason"], newest["provenance"]) == ("best", {**newest["provenance"], "user": "op"})
    flow.store.retire("d1")


def test_a_form_has_the_proof_of_its_own_user(server: Server, flow: Flow) -> None:
    """Without a proof, or with that of another user's page, a form is refused."""
    for proof in ("", "0" * 64, server.proof("op")):
        answer = server.post(flow.form, "admin", csrf=proof)
        assert (answer.status_code, "sent from a page" in answer.text) == (403, True)


def test_a_proof_is_good_in_every_process(server: Server, flow: Flow) -> None:
    """Several processes of the API server, which share Airflow's key, take each other's forms."""
    [found] = set(re.findall(r'name="csrf" value="([0-9a-f]+)"', server.get(flow.form, "op").text))
    assert found == server.proof("op")  # of another object, as another process has


def test_the_users_of_the_database_are_not_managed_here(server: Server, flow: Flow) -> None:
    """Its connection may be root's, and Airflow's admin is not the server's."""
    page = server.get("/arangopipe/admin/users", "admin").text
    assert "not managed from Airflow" in page
    forms = [path for path in routes("POST") if "/users" in path]
    assert forms
    assert {server.post(path, "admin", csrf=server.proof("admin"), sure="yes").status_code for path in forms} == {403}


def test_statements_are_for_those_who_may_edit_the_connection(server: Server, flow: Flow) -> None:
    """A statement can read whatever the connection's user can, such as other collections: no viewer runs one."""
    fields = {"text": "FOR d IN datasets FILTER d.name == 'bottles' RETURN d.name", "binds": ""}
    told = {}
    for role in ("viewer", "op"):
        assert server.get("/arangopipe/query", role).status_code == (403 if role == "viewer" else 200)
        told[role] = server.post("/arangopipe/query", role, csrf=server.proof(role), **fields)
    assert (told["viewer"].status_code, "whatever the connection" in told["viewer"].text) == (403, True)
    assert (told["op"].status_code, "bottles</td>" in told["op"].text) == (200, True)


@pytest.mark.parametrize("page", ["/", "/search", "/nodes/models/none"])
def test_the_console_is_offered_to_those_who_may_use_it(server: Server, flow: Flow, page: str) -> None:
    """Who may not run statements finds no way to a page that is refused; all others are there for both."""
    led = {role: _navigation(server.get(f"/arangopipe{page}", role).text) for role in ("viewer", "user", "op")}
    assert led["viewer"] == led["user"] == [path for path in led["op"] if path != "/arangopipe/query"]
    assert "/arangopipe/query" in led["op"]


def _navigation(page: str) -> list[str]:
    return re.findall(r'href="([^"]+)"', page[page.index('<nav aria-label="Main">') : page.index("</nav>")])


# what a browser is told


def test_pages_stand_in_a_frame_of_airflows_and_of_nobody_elses(server: Server, flow: Flow) -> None:
    """Airflow's pages show ours in a frame, other sites may not; nothing stands inline or comes from elsewhere."""
    for path in ("/arangopipe/", f"/arangopipe/nodes/{flow.id('forest', 'Model')}", flow.tab(), "/arangopipe/none"):
        answer = server.get(path)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert policy.endswith("frame-ancestors 'self'")
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", answer.text)


def test_every_link_stays_in_airflow_and_leads_somewhere(server: Server, flow: Flow) -> None:
    """Whatever the pages lead to has the plugin's prefix, and is there, but for the logs of tasks."""
    seen: set[str] = set()
    for path in (
        "/arangopipe/",
        f"/arangopipe/nodes/{flow.id('forest', 'Model')}",
        flow.tab(),
        "/arangopipe/deployments",
    ):
        text = server.get(path, "op").text
        found = {unescape(each) for each in re.findall(r'(?:href|src|action)="([^"]+)"', text)}
        seen |= {each for each in found if each[0] != "#"}
    assert len(seen) > 20
    logs = {link for link in seen if link.startswith(f"http://localhost:8080{flow.tab()[11:].rpartition('/')[0]}")}
    assert logs
    assert [link for link in seen - logs if not link.startswith("/arangopipe/")] == []
    answers = {link: server.get(link, "op").status_code for link in seen - logs}
    assert {link: status for link, status in answers.items() if status != 200} == {}


def test_what_is_stored_is_text(server: Server, flow: Flow) -> None:
    """What a user calls a node, and what a DAG run is called in an address, is escaped wherever it stands."""
    ref = flow.store.write(stages.register_project("<script>alert(1)</script>"))
    for path in (f"nodes/{ref['_id']}", f"nodes/{ref['_id']}/lineage", "dags/wine/runs/<script>alert(1)</script>"):
        assert "<script>alert" not in server.get(f"/arangopipe/{path}").text


@pytest.mark.parametrize(("path", "status"), [("nodes/models/none", 404), ("nodes/nothing/none", 422), ("none", 404)])
def test_what_is_not_there_is_said(server: Server, path: str, status: int) -> None:
    """A wrong address is answered with what is wrong about it."""
    assert server.get(f"/arangopipe/{path}").status_code == status


def test_airflow_under_a_path(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Airflow's base URL has a path, every link and every view begins with it."""
    from airflow.api_fastapi import app

    from arangopipe_ops.airflow.plugin import _view

    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://testserver/team")
    monkeypatch.setattr(app, "API_ROOT_PATH", "/team/")
    patch_in_the_plugin(monkeypatch)
    server = Server()
    assert _view("x", "nav", "/")["href"] == "/team/arangopipe/"
    page = server.get("/team/arangopipe/", "op").text
    links = [link for link in re.findall(r'(?:href|src|action)="([^"]+)"', page) if link[0] != "#"]
    assert len(links) > 5
    assert [link for link in links if not link.startswith("/team/arangopipe/")] == []
    assert {server.get(unescape(link), "op").status_code for link in links} == {200}


# the tabs


def test_the_tab_of_a_dag_run_shows_all_that_it_wrote(server: Server, flow: Flow) -> None:
    """All nodes of the run are in a picture and a list, each with a link to its lineage; another run's are not."""
    page = server.get(flow.tab()).text
    assert f"DAG run {flow.runs[0].run_id}" in page
    assert "<svg" in page
    for name, kind in (("wine", "Project"), ("bottles", "Dataset"), ("forest", "Model"), ("bush", "Model")):
        assert f"/arangopipe/nodes/{flow.id(name, kind)}/lineage" in page
    assert page.count("<td>Run</td>") == 1
    assert flow.logged["_id"] not in page


def test_what_a_run_found_registered_is_in_its_tab(server: Server, flow: Flow) -> None:
    """The second run of the DAG changed nothing but logged its own run; what it registered again is shown as well."""
    page = server.get(flow.tab(which=1)).text
    for name, kind in (("bottles", "Dataset"), ("bush", "Model")):
        assert flow.id(name, kind) in page
    assert flow.logged["_id"] in page


@pytest.mark.parametrize("index", ["", "/{MAP_INDEX}", "/-1", "/%7BMAP_INDEX%7D"])
def test_the_tab_of_a_task_is_the_lineage_of_its_node(server: Server, flow: Flow, index: str) -> None:
    """It leads to the lineage of the node that the task returned, whether or not that was new.

    Where a task is not mapped, Airflow leaves the placeholder of the map index as it is.
    """
    for which in (0, 1):
        answer = server.get(flow.tab("dataset", which) + index)
        assert answer.status_code == 303
        assert answer.headers["location"] == f"/arangopipe/nodes/{flow.id('bottles', 'Dataset')}/lineage"


def test_the_tab_of_a_mapped_task_instance_is_its_own(server: Server, flow: Flow) -> None:
    """Each map index has its node."""
    for index, name in enumerate(("forest", "bush")):
        location = server.get(flow.tab(f"model/{index}")).headers["location"]
        assert location == f"/arangopipe/nodes/{flow.id(name, 'Model')}/lineage"


def test_a_task_that_wrote_several_nodes_lists_them(server: Server, flow: Flow) -> None:
    """A task without one node to return has all that it wrote."""
    page = server.get(flow.tab("batch")).text
    assert "part 1" in page
    assert "part 2" in page
    assert "Task batch" in page


def test_a_task_that_wrote_nothing_says_so(server: Server, flow: Flow) -> None:
    """A task instance that is not there, or wrote nothing, has an empty tab that says what to do."""
    for path in (flow.tab("none"), "/arangopipe/dags/wine/runs/none"):
        answer = server.get(path)
        assert (answer.status_code, "Nothing in the graph was written here" in answer.text) == (200, True)


def test_a_tab_is_one_question(server: Server, flow: Flow, requests_of: Any) -> None:
    """The tab of a DAG run asks the database once, however many tasks it had, and changes nothing."""
    from arangopipe_ops.airflow import callers

    server.get(flow.tab())
    before = dump(flow.store.db)
    store = callers._store(flow.url, 30.0, "viewer")
    asked = requests_of(store.db)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callers.AirflowUsers, "store", lambda *_: store)
        assert server.get(flow.tab()).status_code == 200
    assert len(asked) == 1
    assert dump(flow.store.db) == before


# the database


def test_a_connection_that_leads_nowhere(server: Server, flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with the connection is said as that, with its name, and not as a sign-in that is missing."""
    monkeypatch.setenv("AIRFLOW_CONN_ARANGOPIPE_DEFAULT", "arangopipe://root:secret@127.0.0.1:9/?request_timeout=0.3")
    answer = server.get("/arangopipe/")
    assert answer.status_code == 503
    assert "no answer from http://127.0.0.1:9" in answer.text
    assert "secret" not in answer.text
    monkeypatch.setenv("AIRFLOW_CONN_ARANGOPIPE_DEFAULT", "http://somewhere")
    answer = server.get("/arangopipe/")
    assert answer.status_code == 503
    assert "the connection arangopipe_default is of type" in unescape(answer.text)


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[int]:
    """The port of a database that asks for a password."""
    with served(tmp_path / "locked.db") as database:
        yield database.port


def test_a_connection_with_a_wrong_password(server: Server, locked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database's refusal is not taken for a sign-in to Airflow that is missing."""
    monkeypatch.setenv("AIRFLOW_CONN_ARANGOPIPE_DEFAULT", f"arangopipe://root:wrong@127.0.0.1:{locked}")
    answer = server.get("/arangopipe/")
    assert answer.status_code == 503
    assert "The connection arangopipe_default opens no database" in answer.text
    assert "Sign in" not in answer.text


def test_without_the_extra_the_pages_say_what_is_missing() -> None:
    """The plugin loads where the pages cannot be made, and their address says what to install."""
    program = """
import asyncio, sys
sys.modules["pygal"] = None
from arangopipe_ops.airflow.plugin import ArangopipePlugin
async def send(message): print(message.get("status", ""), message.get("body", b"").decode())
async def receive(): return {"type": "http.request"}
app = ArangopipePlugin.fastapi_apps[0]["app"]
asyncio.run(app({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "503" in done.stdout
    assert "These pages need pygal: pip install 'arangopipe-ops[web]'" in done.stdout
