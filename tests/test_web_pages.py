"""The pages: what each shows, and that none of them writes or trusts what is stored."""

import re
import shutil
from collections.abc import Iterator
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from conftest import Requests, dump, provisioned
from fastapi import FastAPI
from fastapi.testclient import TestClient
from test_web_access import Database

from arangopipe_ops import stages
from arangopipe_ops.connection import connect
from arangopipe_ops.errors import Unavailable
from arangopipe_ops.store import Store
from arangopipe_ops.web.access import FileAccess
from arangopipe_ops.web.app import create_app
from arangopipe_ops.web.pages.projects import trend
from arangopipe_ops.web.pages.rendering import NAVIGATION, figure, timed
from arangopipe_ops.web.pages.sessions import Sessions

TOKEN = "the token"
OUR_SCRIPT = re.compile(r'<script src="/static/[a-z]+\.js\?[\d.]+"( defer)?></script>')
MARKUP = "<script>alert('x')</script> & \"<b>\" {{ 7 * 7 }}"


@cache
def application() -> FastAPI:
    """Return the application, which takes longer to make than to use; each test gives it an access of its own."""
    return create_app(None)  # type: ignore[arg-type]


class Browser:
    """What somebody with a browser sees, and what the database is asked for it."""

    def __init__(self, access: Any, site: str = "http://testserver") -> None:
        self.app = application()
        self.access = self.app.state.access = access
        self.app.state.sessions = Sessions()
        self.client = TestClient(self.app, base_url=site, follow_redirects=False, raise_server_exceptions=False)

    def get(self, path: str, status: int = 200) -> str:
        """Return a page, after a look at its status and at what it tells the browser."""
        answer = self.client.get(path)
        assert answer.status_code == status, answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        return answer.text

    def post(self, path: str, page: str = "/sign-in", **fields: str) -> Any:
        """Send a form as the page that holds it does."""
        return self.client.post(path, data={"csrf": proof(self.client.get(page).text), **fields})

    def enter(self) -> "Browser":
        assert self.post("/sign-in", token=TOKEN).status_code == 303
        return self


def proof(page: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', page)
    assert found is not None, page
    return found[1]


def links(page: str) -> list[str]:
    return [unescape(found) for found in re.findall(r'href="([^"]+)"', page)]


def fill(url: str) -> None:
    """Register a small flow, with a name that is markup, and a node with values inside values."""
    provisioned(url)
    store = Store(connect(url))
    wine = store.write(stages.register_project("wine", owner="ann"))
    for version in range(1, 6):
        store.write(stages.register_dataset("wine data", version=str(version), uri="s3://lake/wine", tags=["gold"]))
    store.write(stages.register_dataset(MARKUP, description=MARKUP, statistics={MARKUP: {"deep": [{"er": 7331}]}}))
    model = store.write(stages.register_model("forest", project=wine, task="classification"))
    run = stages.log_run("r1", model=model, dataset=MARKUP, params={"depth": 3}, metrics={"f1": 0.9375})
    store.write(run)
    store.write(stages.register_deployment("d1", project=wine, model=model, run="r1", status="active"))
    store.annotate("wine", "Project", description=MARKUP, reason=f"asked by {MARKUP}")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARANGOPIPE_EMBEDDED_CLUSTER", "1")
    return tmp_path / "graph.db"


@pytest.fixture
def anyone(file: Path, made_once: Any) -> Browser:
    """A browser that has not signed in, on a small flow."""
    shutil.copyfile(made_once(fill), file)
    return Browser(FileAccess(f"embedded://{file}", token=TOKEN))


@pytest.fixture
def ann(anyone: Browser) -> Browser:
    return anyone.enter()


@pytest.fixture
def empty(file: Path, made_once: Any) -> Browser:
    shutil.copyfile(made_once(provisioned), file)
    return Browser(FileAccess(f"embedded://{file}", token=TOKEN)).enter()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    return Database(tmp_path_factory.mktemp("users") / "served.db")


def id_of(browser: Browser, name: str, kind: str) -> str:
    return str(browser.access.store(TOKEN).get(name, kind)["_id"])


# every page


def paths(browser: Browser) -> list[str]:
    data = id_of(browser, MARKUP, "Dataset")
    project = id_of(browser, "wine", "Project")
    return [
        "/",
        "/search",
        "/search?kind=Dataset&columns=all&text=script",
        "/search.csv",
        f"/nodes/{data}",
        f"/nodes/{project}",
        f"/nodes/{data}/raw",
        f"/nodes/{data}/lineage",
        f"/nodes/{data}/lineage.svg",
        f"/nodes/{data}/lineage.dot",
        f"/nodes/{data}/lineage.mmd",
        f"/nodes/{data}/impact",
        f"/nodes/{data}/linked?edge=run_datasets&outward=false",
        f"/projects/{project.partition('/')[2]}",
    ]


def test_a_page_costs_few_requests_and_writes_nothing(ann: Browser) -> None:
    """Every page asks less than ten times, and the graph is afterwards what it was."""
    db = ann.access.store(TOKEN).db
    before, asked = dump(db), Requests(db)
    for path in paths(ann):
        asked.sent.clear()
        ann.get(path)
        assert 1 <= len(asked) <= 4, path
    assert dump(db) == before


def test_stored_markup_is_text(ann: Browser) -> None:
    """Names, descriptions, attributes and reasons that are markup are shown as they are, on every page."""
    for path in paths(ann):
        answer = ann.client.get(path)
        if "html" in answer.headers["content-type"] or "svg" in answer.headers["content-type"]:
            assert "<script>" not in answer.text, path
            assert "<b>&" not in answer.text
            assert "49" not in re.sub(r'"[^"]*"', "", answer.text.partition("<h1>")[2].partition("</h1>")[0])
    page = ann.get(f"/nodes/{id_of(ann, MARKUP, 'Dataset')}")
    assert "&lt;script&gt;alert(" in page


def test_pages_hold_no_script_and_nothing_from_elsewhere(ann: Browser) -> None:
    """No page has a script or a style inside, or an address of another site; scripts are files of ours."""
    for path in paths(ann):
        answer = ann.client.get(path)
        if "text/html" in answer.headers["content-type"]:
            assert not re.search(r"<(style|iframe|object|embed)\b|\sstyle=|\son\w+=|javascript:", answer.text)
            assert "<script" not in OUR_SCRIPT.sub("", answer.text)
            assert not [link for link in links(answer.text) if not link.startswith(("/", "#"))]
            assert not re.search(r"(src|href|action)=\"?(https?:)?//", answer.text)
    assert ann.client.get("/static/style.css").headers["content-type"].startswith("text/css")


def test_every_link_leads_somewhere(ann: Browser) -> None:
    """What the pages link to is there."""
    seen: set[str] = set()
    for path in paths(ann):
        answer = ann.client.get(path)
        if "text/html" in answer.headers["content-type"]:
            seen |= {link for link in links(answer.text) if link.startswith("/")}
    assert len(seen) > 30
    assert {link: status for link in seen if (status := ann.client.get(link).status_code) != 200} == {}


def test_every_page_leads_to_the_others_and_says_where_one_is(ann: Browser) -> None:
    """The navigation is the same on every page, and marks the one that is shown."""
    for path, label in NAVIGATION:
        page = ann.get(path)
        navigation = page[page.index('<nav aria-label="Main">') : page.index("</nav>")]
        assert re.findall(r'<a href="([^"]+)" aria-current="page">([^<]+)</a>', navigation) == [(path, label)]
        assert {other for other, _ in NAVIGATION} <= set(links(page))
    assert "aria-current" not in ann.get("/nothing", 404)


def test_what_is_not_there(ann: Browser) -> None:
    """A node that is not there, a kind that is none and a path that leads nowhere are pages that say so."""
    for page in (ann.get("/nodes/datasets/none", 404), ann.get("/nodes/datasets/none/lineage", 404)):
        assert re.search(r'role="alert">not found: .*none', page)
    assert "none" in ann.get("/projects/none", 404)
    assert "is not one of" in ann.get("/nodes/nothing/x", 422)
    assert "nothing at this path" in ann.get("/nothing", 404)
    assert "depth" in ann.get("/nodes/datasets/x/lineage?depth=deep", 422)


def test_what_an_error_tells_a_browser(ann: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the page, an error says which methods there are, or when to come again."""
    assert ann.client.put("/admin/doctor").headers["allow"] == "GET, POST"
    assert ann.client.head("/search").headers["allow"] == "GET"

    def gone(*_: Any, **__: Any) -> Any:
        raise Unavailable("the database does not answer")

    monkeypatch.setattr(Store, "counts", gone)
    assert ann.client.get("/").headers["retry-after"] == "5"


def test_an_empty_graph_says_what_to_do(empty: Browser) -> None:
    """Where nothing is registered, the pages say how to begin."""
    assert "arangopipe register project" in empty.get("/")
    assert "arangopipe register project" in empty.get("/search")
    assert "Take a condition away" in empty.get("/search?text=wine")


# a node, its project


def test_a_node_shows_what_is_known_of_it(ann: Browser) -> None:
    """Attributes, folded where they are deep; neighbours by edge; the writes with what they changed; times as such."""
    page = ann.get(f"/nodes/{id_of(ann, 'r1', 'Run')}")
    for edge in ("run_models", "run_datasets", "run_devperf", "deployment_run"):
        assert f"<code>{edge}</code>" in page
    assert re.search(r'<time datetime="[\d-]+T[\d:.]+Z">[\d-]+ [\d:]+ UTC</time>', page)
    deep = ann.get(f"/nodes/{id_of(ann, MARKUP, 'Dataset')}")
    assert "<details><summary>1 entry</summary>" in deep
    project = ann.get(f"/nodes/{id_of(ann, 'wine', 'Project')}")
    assert re.search(r"<b>revised</b>.*asked by &lt;script", project)
    assert re.search(r"<b>created</b>", project)
    assert "<ins>" in project
    assert f"/projects/{id_of(ann, 'wine', 'Project').partition('/')[2]}" in links(project)


def test_large_values_are_cut(ann: Browser) -> None:
    """Of a value with many entries some are shown, a long text is folded, and a long document is a file."""
    summary = {f"column {i:04}": {"mean": i} for i in range(3000)}
    wide = stages.register_dataset("wide", summary=summary, series=list(range(5000)), query="SELECT " + "x, " * 1000)
    page = ann.get(f"/nodes/{ann.access.store(TOKEN).write(wide)['_id']}")
    assert "column 0099" in page
    assert "column 0100" not in page
    assert "and 2,900 more, which the JSON has" in page
    assert "and 4,900 more, which the JSON has" in page
    assert re.search(r"<details><summary>SELECT [x, ]{93}…</summary>SELECT", page)
    assert "The document is long" in page


def test_what_another_program_wrote(ann: Browser) -> None:
    """Nodes without a name, a time or a history are shown as far as they go."""
    db = ann.access.store(TOKEN).db
    for collection in ("project", "run", "servingperf"):
        db.collection(collection).insert({"_key": "bare", "items": {"values": None}, "provenance": "a text", "tags": 3})
        page = ann.get(f"/nodes/{collection}/bare")
        assert "<h1>bare" in page
        assert "The audit knows nothing of it" in page
        assert "bare" in ann.get(f"/nodes/{collection}/bare/lineage")
    db.collection("project_models").insert({"_from": "project/bare", "_to": "models/none"})
    db.collection("deployment").insert({"_key": "odd", "project": "bare", "status": ["live"]})
    db.collection("models").insert({"_key": "odd", "technique": {"a": 1}})
    db.collection("project_models").insert({"_from": "project/bare", "_to": "models/odd"})
    for path in ("/", "/search", "/search?columns=all", "/search?kind=Run", "/search.csv", "/projects/bare"):
        assert "bare" in ann.get(path), path


def test_many_neighbours_are_cut(ann: Browser) -> None:
    """Of many neighbours by one edge some are shown, and that there are more."""
    store = ann.access.store(TOKEN)
    store.write_many(stages.log_run(f"many {i}", model="forest") for i in range(30))
    page = ann.get(f"/nodes/{id_of(ann, 'forest', 'Model')}")
    assert page.count("/nodes/run/many") == 25 - page.count("/nodes/run/r1")
    assert "and more than these 25" in page


def test_a_node_as_it_is_stored(ann: Browser) -> None:
    """The JSON is the document, as a file."""
    id = id_of(ann, MARKUP, "Dataset")
    answer = ann.client.get(f"/nodes/{id}/raw")
    assert answer.json() == ann.access.store(TOKEN).get(id)
    assert "attachment" in answer.headers["content-disposition"]


def test_the_list_of_projects(ann: Browser) -> None:
    """Each project is there with its models, its last run and what is active, and is found by its name."""
    page = ann.get("/projects")
    row = page[page.index("<tbody>") : page.index("</tbody>")]
    assert f"/deployments/{id_of(ann, 'd1', 'Deployment').partition('/')[2]}" in links(row)
    assert '<td class="number">1</td>' in row
    assert row.count("<time") == 2
    assert "wine" in ann.get("/projects?name=wi&sort=name")
    assert "No project is called like that" in ann.get("/projects?name=x")


def test_a_chart_that_leaves_runs_out_says_so(ann: Browser) -> None:
    """Of the months in which a project had runs the newest twelve are drawn, and it is said of how many."""
    store, path = ann.access.store(TOKEN), f"/projects/{id_of(ann, 'wine', 'Project').partition('/')[2]}"
    assert "Runs by day<" in ann.get(path)
    for month in range(14):
        start = f"{2024 + month // 12}-{1 + month % 12:02}-01T00:00:00Z"
        store.write(stages.log_run(f"of month {month}", model="forest", start=start))
    assert "Runs by month, the newest 12 of 15<" in ann.get(path)


def test_a_kind_without_nodes(ann: Browser) -> None:
    """A kind of which there is nothing is not called a condition that is too narrow."""
    assert "There is no Alert yet" in ann.get("/search?kind=Alert")
    assert "Take a condition away" in ann.get("/search?kind=Alert&text=x")


def test_a_project_tells_what_goes_on(ann: Browser) -> None:
    """Counts, newest runs with what was measured, the best of them, and what is active."""
    page = ann.get(f"/projects/{id_of(ann, 'wine', 'Project').partition('/')[2]}")
    assert re.search(r"<b>1</b> model<", page)
    assert "f1 0.9375" in page
    assert f"/deployments/{id_of(ann, 'd1', 'Deployment').partition('/')[2]}" in links(page)
    assert f"/nodes/{id_of(ann, 'r1', 'Run')}" in links(page)
    assert "classification" in page
    assert "best is" in page.lower()
    assert page.count('<figure class="chart">') >= 3
    assert ">r1<" in ann.get(f"/projects/{id_of(ann, 'wine', 'Project').partition('/')[2]}?metric=f1&goal=min")
    none = ann.get(f"/projects/{id_of(ann, 'wine', 'Project').partition('/')[2]}?metric=recall")
    assert "None of these runs has a figure called recall" in none


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("metric=f1", "r1"),
        ("metric=f1&goal=min", "small"),
        ("metric=val_loss", "small"),
        ("metric=val_loss&goal=max", "large"),
        ("metric=training_time", "small"),
        ("metric=sentiment", "large"),
    ],
)
def test_the_best_runs_of_a_project(ann: Browser, query: str, first: str) -> None:
    """Most is best, or least where the metric's name says loss, error or time, or one says so."""
    store = ann.access.store(TOKEN)
    for name, figures in (
        ("large", {"f1": 0.5, "val_loss": 0.9, "training_time": 9, "sentiment": 9}),
        ("small", {"f1": 0.25, "val_loss": 0.1, "training_time": 1, "sentiment": 1}),
    ):
        store.write(stages.log_run(name, model="forest", metrics=figures))
    page = ann.get(f"/projects/{id_of(ann, 'wine', 'Project').partition('/')[2]}?{query}")
    best = page[page.index("Best runs") : page.index("Recent runs")]
    assert re.findall(r'<th scope="row"><a [^>]+>([^<]+)', best)[0] == first


def test_a_trend_is_by_model_and_time() -> None:
    """Each model has a line from its oldest run to its newest, the most runs first; no figure is no point."""
    told = [("tree", 1, 0.5), ("net", 3, 0.25), ("net", 2, 0.75), (None, 2, 1), ("net", 1, True), ("tree", 2, None)]
    runs = [
        {"model": name and {"name": name}, "at": f"2026-01-0{day}T00:00:00.000Z", "metrics": {"f1": value}}
        for name, day, value in told
    ]
    assert [(name, [(at.day, value) for at, value in line]) for name, line in trend(runs, "f1").items()] == [
        ("net", [(2, 0.75), (3, 0.25)]),
        ("tree", [(1, 0.5)]),
        ("unknown model", [(2, 1)]),
    ]


def test_the_newest_runs_are_those_registered_last(ann: Browser) -> None:
    """The newest runs of a project tell when they were registered, by which they are ordered, and when they started."""
    store = ann.access.store(TOKEN)
    for name, start in (("late", "2026-03-01"), ("early", "2026-02-01")):
        store.write(stages.log_run(name, model="forest", start=f"{start}T00:00:00Z"))
    page = ann.get(f"/projects/{id_of(ann, 'wine', 'Project').partition('/')[2]}")
    recent = page[page.index("Recent runs <small") :]
    assert re.findall(r'<th scope="row"><a [^>]+>([^<]+)', recent)[:3] == ["early", "late", "r1"]
    table = recent[: recent.index("</table>")]
    assert re.search(r'<th scope="col">Started</th><th scope="col" aria-sort="descending">Registered</th>', table)
    times = [re.findall(r'datetime="([^"]+)"', row)[-2:] for row in table.split("<tr>")[2:4]]
    assert [start[:10] for start, _ in times] == ["2026-02-01", "2026-03-01"]
    assert times[0][1] >= times[1][1]
    assert f'last run registered <time datetime="{times[0][1]}"' in page


@pytest.mark.parametrize(("name", "kind"), [("r1", "Run"), ("d1", "Deployment")])
def test_a_node_is_one_click_from_its_project(ann: Browser, name: str, kind: str) -> None:
    """A run and a deployment lead to their project, and to their lineage."""
    id = id_of(ann, name, kind)
    project = f"/projects/{id_of(ann, 'wine', 'Project').partition('/')[2]}"
    assert {project, f"/nodes/{id}/lineage"} <= set(links(ann.get(f"/nodes/{id}")))


def test_what_identifies_a_node_is_an_attribute(ann: Browser) -> None:
    """The tag of a deployment is its name and stands among the attributes; the tag of a run is a note about it."""
    ann.access.store(TOKEN).write(stages.log_run("tagged", model="forest", tag="t"))
    for name, kind, first in (("d1", "Deployment", True), ("tagged", "Run", False)):
        page = ann.get(f"/nodes/{id_of(ann, name, kind)}")
        assert (page.index("<dt>tag</dt>") < page.index("<h2>Registration</h2>")) is first


def test_a_run_leads_to_what_it_obtained(ann: Browser) -> None:
    """All parameters and metrics of a run are one click from its page."""
    [way] = [link for link in links(ann.get(f"/nodes/{id_of(ann, 'r1', 'Run')}")) if link.startswith("/runs/compare")]
    page = ann.get(way)
    assert "depth" in page
    assert "0.9375" in page


def test_a_page_of_an_error_leads_back(ann: Browser) -> None:
    """Who came from a page of ours is led back to it, and nobody to another site."""
    for came, back in (
        ("http://testserver/search?text=a%26b", "/search?text=a%26b"),
        ("http://testserver//evil.example/x", "/evil.example/x"),
        ("https://evil.example/search", None),
        ("http://testserver/projects/none", None),
        ("http://[", None),
        ("", None),
    ):
        answer = ann.client.get("/projects/none", headers={"Referer": came})
        assert answer.status_code == 404
        assert re.findall(r'<a href="([^"]+)">Back</a>', unescape(answer.text)) == ([back] if back else []), came


def test_times_that_a_summary_tells_are_times(ann: Browser) -> None:
    """What is said about a node has its times in the zone of who looks, as all others."""
    store = ann.access.store(TOKEN)
    store.write(stages.log_run("timed", model="forest", start="2026-02-01T03:04:05Z"))
    assert 'start <time datetime="2026-02-01T03:04Z">2026-02-01 03:04 UTC</time>' in ann.get("/search?name=timed")
    assert timed("<b> 2026-02-01 03:04 UTC").startswith('&lt;b&gt; <time datetime="2026-02-01T03:04Z">2026')


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"),
        (2026, "2026"),
        (9999, "9999"),
        (10_000, "10,000"),
        (-1234567, "-1,234,567"),
        (0.1 + 0.2, "0.3"),
        (1 / 3, "0.333333"),
        (-1.5e-9, "-1.5e-09"),
        (1234567.891, "1,234,568"),
        (1e20, "1e+20"),
        (10**15, "1000000000000000"),
    ],
)
def test_figures_are_written_alike(value: float, said: str) -> None:
    """A figure has six digits, and a large one its thousands apart."""
    assert figure(value) == said
