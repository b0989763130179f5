"""The pages inside a real running Airflow, in a real browser, as its admin and as its viewer."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow_service import PASSWORDS, AirflowService, running
from browser import PICTURE, Visit, browser, needs_chromium
from served_database import PASSWORD, ServedDatabase, served

__all__ = ["browser"]
pytestmark = [pytest.mark.slow, pytest.mark.airflow, needs_chromium]

DAG = """
from airflow.sdk import DAG
from arangopipe_ops.airflow import operators as ops

with DAG("wine", schedule=None):
    provision = ops.ProvisionOperator(task_id="provision")
    project = ops.RegisterProjectOperator(task_id="project", name="wine")
    dataset = ops.RegisterDatasetOperator(task_id="dataset", name="bottles")
    model = ops.RegisterModelOperator.partial(task_id="model", project=project.output).expand(name=["forest", "bush"])
    measured = {"parameters": {"depth": 3}, "metrics": {"f1": 0.9}}
    log = ops.LogRunOperator(task_id="log_run", model="forest", dataset=dataset.output, **measured)
    provision >> [project, dataset]
    model >> log
"""
RUN = "/dags/wine/runs/run_1"
OURS = "/arangopipe/"
OF_THE_FRAME = "An iframe which has both allow-scripts and allow-same-origin for its sandbox attribute"
"""What Chromium says of the frames that Airflow's pages make, on behalf of whatever page is in one."""


class Guest(Visit):
    """Somebody at Airflow's pages: what is wrong in ours is a complaint, what is wrong in Airflow's own is not ours.

    An error is of the page whose file it happened in; a request is of the frame that sent it.
    """

    def _on_console(self, message: Any) -> None:
        if self._is_ours(message.location["url"]) and not message.text.startswith(OF_THE_FRAME):
            super()._on_console(message)

    def _on_script_error(self, error: Any) -> None:
        if OURS in (error.stack or ""):
            super()._on_script_error(error)

    def _on_request(self, request: Any) -> None:
        if self._is_ours(request.url if request.is_navigation_request() else request.frame.url):
            super()._on_request(request)

    def _on_response(self, response: Any) -> None:
        if self._is_ours(response.url):
            super()._on_response(response)

    def _is_ours(self, url: str) -> bool:
        return url.startswith(self.address + OURS)

    def sign_in(self, user: str) -> None:
        """Fill in the form of Airflow's own sign-in, which the page shows."""
        for name, value in (("username", user), ("password", PASSWORDS[user])):
            self.page.locator(f"input[name={name}]").fill(value)
        self.page.locator("button[type=submit]").click()
        self.page.wait_for_url(lambda url: "/auth/" not in url)

    def enter_as(self, user: str) -> "Guest":
        self.page.goto("/")
        self.page.locator("input[name=username]").wait_for()
        self.page.wait_for_load_state()
        self.sign_in(user)
        return self

    def tab(self, path: str) -> Any:
        """Return what the tab Lineage of a page of Airflow's shows."""
        self.page.goto(path)
        self.page.get_by_role("link", name="Lineage", exact=True).click()
        return self.frame()

    def frame(self) -> Any:
        """Return what stands in the frame of our pages, once that is there."""
        frame = self.page.frame_locator("iframe")
        frame.get_by_role("navigation", name="Main").wait_for()
        frame.locator(".waiting").wait_for(state="detached")
        frame.get_by_role("navigation", name="Main").wait_for()
        return frame


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedDatabase]:
    with served(tmp_path_factory.mktemp("database") / "graph.db") as database:
        yield database


@pytest.fixture(scope="module")
def airflow(database: ServedDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowService]:
    """A running Airflow in which a DAG has registered data and models and logged a run."""
    home = tmp_path_factory.mktemp("airflow")
    (home / "dags").mkdir()
    (home / "dags" / "wine.py").write_text(DAG)
    connection = {"conn_type": "arangopipe", "host": "127.0.0.1", "port": database.port, "login": "root"}
    with running(home, home / "dags") as airflow:
        connection |= {"connection_id": "arangopipe_default", "password": PASSWORD}
        airflow.call("POST", "/api/v2/connections", connection)
        assert airflow.run("wine", "run_1") == "success", airflow.tail()
        yield airflow


@pytest.fixture(scope="module")
def kept(browser: Any, airflow: AirflowService) -> dict[str, Any]:
    """What the browsers of admin and viewer keep after Airflow's sign-in."""
    states = {}
    for user in PASSWORDS:
        guest = Guest(browser, airflow.url).enter_as(user)
        states[user] = guest.context.storage_state()
        guest.close()
    return states


@pytest.fixture(params=["admin", "viewer"])
def guest(request: Any, browser: Any, airflow: AirflowService, kept: dict[str, Any]) -> Iterator[Guest]:
    guest = Guest(browser, airflow.url, storage_state=kept[request.param])
    yield guest
    guest.close()


@pytest.fixture
def admin(browser: Any, airflow: AirflowService, kept: dict[str, Any]) -> Iterator[Guest]:
    guest = Guest(browser, airflow.url, storage_state=kept["admin"])
    yield guest
    guest.close()


@pytest.fixture
def viewer(browser: Any, airflow: AirflowService, kept: dict[str, Any]) -> Iterator[Guest]:
    guest = Guest(browser, airflow.url, storage_state=kept["viewer"])
    yield guest
    guest.close()


TROUBLE = """
addEventListener("DOMContentLoaded", () => {
  console.error("said");
  document.body.setAttribute("style", "color: red");
  fetch("/arangopipe/nothing");
  fetch("https://elsewhere.example").catch(() => {});
  setTimeout(() => { throw new Error("thrown") });
});
"""


def test_a_guest_notices_what_is_wrong_in_our_frame(browser: Any, airflow: AirflowService, kept: Any) -> None:
    """Errors of scripts, breaches of the policy and missing files are complaints in our pages, not in Airflow's own."""
    guest = Guest(browser, airflow.url, storage_state=kept["viewer"])
    guest.page.route(
        "**/arangopipe/static/app.js*", lambda route: route.fulfill(body=TROUBLE, content_type="text/javascript")
    )
    guest.page.goto("/plugin/arangopipe-nav")
    guest.frame()
    guest.page.evaluate("() => { console.error('of Airflow'); fetch('/api/v2/nothing') }")
    guest.page.wait_for_timeout(500)
    told = "\n".join(guest.complaints)
    for each in ("console: said", "Content Security Policy", "404 of", "script: thrown", "elsewhere.example"):
        assert each in told
    assert "of Airflow" not in told
    assert "/api/v2/nothing" not in told
    guest.context.close()


def test_the_menu_leads_to_all_pages(guest: Guest) -> None:
    """Browse, ML metadata shows the overview without a sign-in; Airflow's address follows, and leads there again."""
    page = guest.page
    page.goto("/")
    page.get_by_role("button", name="Browse").click()
    page.get_by_text("ML metadata", exact=True).click()
    frame = guest.frame()
    assert frame.get_by_role("heading", name="What the graph holds").is_visible()
    assert frame.get_by_role("button", name="Sign out").count() == 0
    frame.get_by_role("navigation", name="Main").get_by_role("link", name="Search").click()
    page.wait_for_url("**/plugin/arangopipe-nav/arangopipe/search")
    frame.get_by_label("Name begins with").fill("bott")
    frame.get_by_label("Kind", exact=True).select_option("Dataset")
    frame.get_by_role("button", name="Search").last.click()
    page.wait_for_url("**/arangopipe/search?*name=bott*")
    page.reload()
    assert guest.frame().get_by_role("link", name="bottles").first.is_visible()


def test_the_tab_of_a_dag_run(guest: Guest) -> None:
    """It draws what the run wrote; a click at a box leads to the lineage of its node."""
    frame = guest.tab(RUN)
    assert frame.get_by_role("heading", level=1).inner_text() == "DAG run run_1"
    picture = frame.get_by_role("region", name="What was written, drawn")
    for name in ("wine", "bottles", "forest", "bush"):
        assert picture.locator("svg a").filter(has_text=name).first.is_visible()
    picture.locator("svg a").filter(has_text="bottles").first.click()
    frame.get_by_text("Lineage of a Dataset").wait_for()
    assert frame.get_by_role("heading", level=1).inner_text().startswith("bottles")


@pytest.mark.parametrize(
    ("task", "kind", "name"),
    [
        ("dataset", "Dataset", "bottles"),
        ("model/mapped/0", "Model", "forest"),
        ("log_run", "Run", "wine/run_1/log_run"),
    ],
)
def test_the_tab_of_a_task_instance(guest: Guest, task: str, kind: str, name: str) -> None:
    """It draws the lineage of the node that the task instance returned, mapped or not."""
    frame = guest.tab(f"{RUN}/tasks/{task}")
    assert frame.get_by_text(f"Lineage of a {kind}").is_visible()
    assert frame.get_by_role("heading", level=1).inner_text().startswith(name)
    assert frame.locator("svg a").filter(has_text="wine/run_1").first.is_visible()


def test_a_task_that_writes_nothing(viewer: Guest) -> None:
    """Its tab says so."""
    assert viewer.tab(f"{RUN}/tasks/provision").get_by_text("Nothing in the graph was written here").is_visible()


def test_the_log_opens_in_airflow_and_not_in_the_frame(guest: Guest) -> None:
    """What leads from a run to its task's log leaves the frame."""
    guest.page.goto("/plugin/arangopipe-nav/arangopipe/runs")
    guest.frame().get_by_role("link", name="Airflow task log").first.click()
    guest.page.wait_for_url(f"**{RUN}/tasks/log_run**")
    assert guest.page.locator("iframe").count() == 0


def test_the_pages_have_airflows_colours(viewer: Guest) -> None:
    """Where Airflow is dark or light, whatever the system is, so are the pages in it."""
    for theme in ("dark", "light"):
        viewer.page.goto("/")
        viewer.page.evaluate("theme => { localStorage.theme = theme }", theme)
        viewer.page.goto("/plugin/arangopipe-nav")
        assert viewer.frame().locator("html").get_attribute("data-scheme") == theme


def test_an_admin_writes(admin: Guest, database: ServedDatabase) -> None:
    """An admin registers a project with the form of the page, and the graph has it under their name."""
    admin.page.goto("/plugin/arangopipe-nav/arangopipe/admin/nodes")
    frame = admin.frame()
    frame.get_by_label("Name", exact=True).fill("cheese")
    frame.get_by_role("button", name="Register").click()
    frame.get_by_text("cheese is registered.").wait_for()
    assert database.store().get("cheese", "Project")["provenance"]["user"] == "admin"


def test_a_viewer_does_not(viewer: Guest) -> None:
    """A viewer sees no form that writes, and what right it takes."""
    viewer.page.goto("/plugin/arangopipe-nav/arangopipe/admin/nodes")
    frame = viewer.frame()
    assert frame.locator("form[method=post]").count() == 0
    assert frame.get_by_text("the right to edit the connection arangopipe_default").is_visible()


def test_a_viewer_has_the_doctor_look(viewer: Guest) -> None:
    """What changes nothing is for everybody, also where it is a form; a repair is offered to nobody who may not."""
    viewer.page.goto("/plugin/arangopipe-nav/arangopipe/admin/doctor")
    viewer.frame().get_by_role("button", name="Look at every node").click()
    viewer.frame().get_by_text("as seen").wait_for()
    assert viewer.frame().get_by_role("button", name="Repair").count() == 0


def test_who_has_not_signed_in_signs_in_to_airflow(browser: Any, airflow: AirflowService) -> None:
    """A page's own address leads somebody unknown to Airflow's sign-in, and from there back to that page."""
    guest = Guest(browser, airflow.url)
    guest.refused = {401}
    guest.page.goto("/arangopipe/search?kind=Run")
    guest.page.get_by_role("link", name="Sign in").click()
    guest.sign_in("viewer")
    guest.page.wait_for_url("**/arangopipe/search?kind=Run")
    assert guest.page.get_by_role("link", name="wine/run_1/log_run").first.is_visible()
    guest.close()


def test_the_documentation_has_its_picture(viewer: Guest, tmp_path: Path) -> None:
    """The tab of a DAG run has its picture in docs/web.md; `make pictures` takes it anew."""
    viewer.page.set_viewport_size(PICTURE)
    viewer.tab(RUN).get_by_role("region", name="What was written, drawn").wait_for()
    picture = Path(os.environ.get("PICTURES", tmp_path)).absolute() / "airflow.webp"
    picture.write_bytes(viewer.picture())
    assert 5_000 < picture.stat().st_size < 60_000
    docs = Path(__file__).parent.parent / "docs"
    assert "](images/airflow.webp)" in (docs / "web.md").read_text()
    assert (docs / "images" / "airflow.webp").is_file()
