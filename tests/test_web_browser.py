"""The pages in a real browser: what people do there, and that all of it can be read by anyone, and is from here."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from browser import PICTURE, SIZES, TOKEN, Site, Visit, browser, needs_chromium, serving
from demonstration import PROJECTS, fill
from test_web_access import ROOT, Database
from test_web_pages import application

from arangopipe_ops import stages
from arangopipe_ops.analytics import QUESTIONS
from arangopipe_ops.connection import connect
from arangopipe_ops.store import Store

__all__ = ["browser"]
pytestmark = [pytest.mark.slow, needs_chromium]

DOCS = Path(__file__).parent.parent / "docs"
FIRST_PAGE_BYTES = 500_000

PAGES = {
    "overview": "/",
    "projects": "/projects",
    "project": "/projects/{project}",
    "search": "/search?kind=Run&text=payments",
    "search-of-nothing": "/search?text=nothing+is+called+so",
    "node": "/nodes/{run}",
    "lineage": "/nodes/{run}/lineage",
    "impact": "/nodes/{dataset}/impact",
    "linked": "/nodes/{dataset}/linked?edge=run_datasets&outward=false",
    "runs": "/runs?project=payments&x=params.depth&y=metrics.accuracy",
    "comparison": "/runs/compare?run={run}&run={other}&run={failed}",
    "ask": "/ask",
    "question": "/ask/serving?metric=accuracy&project=payments&ask=yes",
    "query": "/query?text=FOR+r+IN+run+SORT+r.start+DESC+LIMIT+10+RETURN+r",
    "deployments": "/deployments?status=",
    "deployment": "/deployments/{deployment}",
    "promotion": "/deployments/{deployment}/promotion?metric=accuracy",
    "administration": "/admin",
    "administration-of-nodes": "/admin/nodes",
    "administration-of-types": "/admin/types",
    "administration-of-retention": "/admin/retention?days=30",
    "administration-of-faults": "/admin/doctor",
    "failure": "/nodes/run/none",
}
"""Every page there is, by the name of its picture; each is looked at light and dark, wide and narrow."""

SERVER_PAGES = {
    "administration-of-users": "/admin/users",
    "administration-of-a-user": "/admin/users/user?name=ann",
}
"""Pages that show nothing of a file, and are looked at on a server."""

OPEN_PAGES = {"sign-in": "/sign-in"}
"""Pages for who has not signed in."""

ALL = PAGES | SERVER_PAGES | OPEN_PAGES
UNPICTURED = {"search-of-nothing", "failure"}
"""Pages whose picture is not worth a place in the documentation."""

FILES = {
    "/search.csv",
    "/search.json",
    "/runs.csv",
    "/runs.json",
    "/ask/{name}.{ending}",
    "/nodes/{collection}/{key}/raw",
    "/nodes/{collection}/{key}/lineage.{ending}",
}
"""What is no page but kept as a file."""


def fill_site(url: str) -> None:
    """The demonstration, and what it has none of: a node with tags, and one that is archived."""
    fill(url)
    store = Store(connect(url))
    store.write(stages.register_dataset("wine", version="1", tags=["gold", "small"], owner="ann"))
    store.archive(store.write(stages.register_dataset("wine", version="2", tags=["gold"])), reason="replaced")


@pytest.fixture(scope="module")
def site(made_once: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    file = shutil.copy(made_once(fill_site), tmp_path_factory.mktemp("site"))
    with serving(f"embedded://{file}") as site:
        yield site


@pytest.fixture(scope="module")
def store(site: Site) -> Store:
    return Store(connect(site.url))


@pytest.fixture(scope="module")
def paths(store: Store) -> dict[str, str]:
    """The addresses of PAGES, with the nodes that they are about."""
    nodes = {
        "project": store.get("payments", "Project")["_key"],
        "run": store.get("payments 14", "Run")["_id"],
        "other": store.get("payments 16", "Run")["_id"],
        "failed": store.get("payments 10", "Run")["_id"],
        "dataset": store.get({"name": "transactions", "version": "1"}, "Dataset")["_id"],
        "deployment": store.get("payments v2", "Deployment")["_key"],
    }
    return {name: path.format(**nodes) for name, path in ALL.items()}


@pytest.fixture(scope="module")
def kept(browser: Any, site: Site) -> Any:
    """What a browser keeps after the sign-in; the doctor has looked at the graph once."""
    visit = Visit(browser, site.address).enter()
    visit.go("/admin/doctor")
    visit.click(visit.page.get_by_role("button", name="Look at every node"))
    state = visit.context.storage_state()
    visit.close()
    return state


@pytest.fixture
def anyone(browser: Any, site: Site) -> Iterator[Visit]:
    """Somebody who has not signed in."""
    visit = Visit(browser, site.address)
    yield visit
    visit.close()


@pytest.fixture
def ann(browser: Any, site: Site, kept: Any) -> Iterator[Visit]:
    """Somebody who has signed in."""
    visit = Visit(browser, site.address, storage_state=kept)
    yield visit
    visit.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The pages of a database with users."""
    with serving(Database(tmp_path_factory.mktemp("server") / "served.db").url) as site:
        yield site


@pytest.fixture
def root(browser: Any, server: Site) -> Iterator[Visit]:
    """Somebody who has signed in on the server and may do everything there."""
    visit = Visit(browser, server.address).enter(Database_user="root", Password=ROOT)
    yield visit
    visit.close()


@pytest.fixture
def shown(name: str, request: pytest.FixtureRequest) -> Visit:
    """A visit of the page of a name."""
    who = "root" if name in SERVER_PAGES else "anyone" if name in OPEN_PAGES else "ann"
    visit: Visit = request.getfixturevalue(who)
    visit.refused = {404} if name == "failure" else set()
    return visit


def names(visit: Visit) -> list[str]:
    """Return the names in the table of a page."""
    return [each.strip() for each in visit.page.locator("main tbody tr td:nth-child(2) a").all_inner_texts()]


# what the visits of these tests would notice


@pytest.mark.parametrize(
    ("trouble", "complaint"),
    [
        ("() => { setTimeout(() => { throw new Error('lost') }) }", "script: .*lost"),
        ("() => console.error('lost')", "console: lost"),
        ("() => document.body.setAttribute('style', 'color: red')", "console: .*Content Security Policy"),
        (
            "() => document.head.append(Object.assign(document.createElement('script'), {text: 'x = 1'}))",
            "Security Policy",
        ),
        (
            "() => fetch('https://elsewhere.example').catch(() => {})",
            "request to https://elsewhere.example|Security Policy",
        ),
        ("() => fetch('/nothing')", "404 of"),
    ],
)
def test_a_visit_notices(browser: Any, site: Site, trouble: str, complaint: str) -> None:
    """Errors of scripts, breaches of the security policy, other origins and missing files fail the test they are in."""
    visit = Visit(browser, site.address)
    visit.page.goto("/sign-in")
    visit.page.evaluate(trouble)
    visit.page.wait_for_timeout(200)
    assert any(re.search(complaint, each) for each in visit.complaints), visit.complaints
    with pytest.raises(AssertionError):
        visit.close()


def test_a_visit_finds_barriers(anyone: Visit) -> None:
    """A field without a label, and letters that are hard to see, are barriers."""
    anyone.page.goto("/sign-in")
    anyone.page.evaluate("() => document.querySelector('label').remove()")
    anyone.page.evaluate("() => document.documentElement.style.setProperty('--text', '#ccc')")
    assert {found.partition(":")[0] for found in anyone.barriers()} > {"label", "color-contrast"}


# what people do


def test_signing_in_by_the_link_and_out(anyone: Visit, site: Site) -> None:
    """The printed link leads to the overview; after the sign-out a page asks for the token, and is shown for it."""
    page = anyone.page
    page.goto(site.link)
    assert page.url == f"{site.address}/"
    assert page.get_by_role("heading", name="What the graph holds").is_visible()
    anyone.click(page.get_by_role("navigation").get_by_role("link", name="Search"))
    anyone.click(page.get_by_role("button", name="Sign out"))
    assert page.url == f"{site.address}/sign-in"
    page.goto("/search?kind=Run")
    anyone.refused = {401}
    for token in ("another", TOKEN):
        page.keyboard.type(token)
        anyone.click(page.get_by_role("button", name="Sign in"))
    assert page.url == f"{site.address}/search?kind=Run"
    assert page.get_by_role("table").is_visible()


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"Kind": "Deployment"}, 6),
        ({"Words": "fraud forest"}, 2),
        ({"Kind": "Run", "Name begins with": "payments 1"}, 8),
        ({"Tag": "gold"}, 1),
        ({"Tag": "gold", "archived too": ""}, 2),
        ({"Kind": "Project", "Registered since (UTC)": "2020-01-01"}, 3),
        ({"Kind": "Project", "and before (UTC)": "2020-01-01"}, 0),
        ({"Kind": "Dataset", "Conditions, one on each line": "rows>=10000"}, 6),
        ({"Kind": "Model", "Words": "forest", "Sort by": "owner", "Order": "asc", "On a page": "25"}, 3),
    ],
)
def test_a_search_with_each_filter(ann: Visit, filters: dict[str, str], found: int) -> None:
    """Each filter of the form finds what it says, and the address alone finds the same again."""
    page = ann.page
    page.goto("/search")
    form = page.locator("form.filters")
    for label, value in filters.items():
        field = form.get_by_label(label, exact=True)
        match field.evaluate("it => it.type"):
            case "select-one":
                field.select_option(value)
            case "checkbox":
                field.check()
            case _:
                field.fill(value)
    ann.click(form.get_by_role("button", name="Search"))
    seen = names(ann)
    assert len(seen) == found
    assert f"{found} found" in page.locator("main").inner_text() if found else page.get_by_text("Take a condition away")
    page.goto(page.url)
    assert names(ann) == seen
    for label, value in filters.items():
        assert value in ("", form.get_by_label(label, exact=True).input_value())


def test_sorting_and_leafing_through_a_search(ann: Visit) -> None:
    """A heading sorts, and the next page goes on where the first has ended."""
    page = ann.page
    page.goto("/search?kind=Run&limit=25&sort=run_id&way=asc")
    first = names(ann)
    ann.click(page.get_by_role("link", name="Next page"))
    both = first + names(ann)
    assert len(set(both)) == 50
    ann.click(page.get_by_role("columnheader", name="start").get_by_role("link"))
    starts = page.locator("main tbody time").evaluate_all("all => all.map(each => each.dateTime)")[::2]
    assert starts == sorted(starts, reverse=True)


def test_from_a_search_to_the_lineage_and_its_files(ann: Visit, tmp_path: Path) -> None:
    """From a search to the lineage of what was found; a click puts another node in the centre; the files are of it."""
    page = ann.page
    page.goto("/search?kind=Dataset&text=transactions")
    ann.click(page.get_by_role("table").get_by_role("link", name="transactions").first)
    ann.click(page.get_by_role("link", name="Lineage", exact=True))
    assert page.get_by_role("heading", level=1).inner_text() == "transactions version 2"
    page.get_by_label("Direction").select_option("downstream")
    ann.click(page.get_by_role("button", name="Show"))
    ann.click(page.locator(".lineage svg a").filter(has_text="payments 16").first)
    page.wait_for_url("**/run/**")
    assert page.get_by_role("heading", level=1).inner_text() == "payments 16"
    for name, begins in {"SVG": b"<?xml", "PNG": b"\x89PNG", "DOT": b"digraph", "Mermaid": b"flowchart"}.items():
        with page.expect_download() as coming:
            page.get_by_role("link", name=name, exact=True).click()
        file = tmp_path / name
        coming.value.save_as(file)
        assert file.read_bytes().startswith(begins)
        assert b"payments 16" in file.read_bytes() or name == "PNG"


def test_comparing_runs(ann: Visit) -> None:
    """Runs that are chosen in the table stand side by side, what differs is marked, and one of them can be left out."""
    page = ann.page
    page.goto("/runs?project=payments&sort=run_id&way=asc")
    for run in ("payments 1", "payments 2", "payments 3"):
        page.get_by_label(f"Choose {run}", exact=True).check()
    ann.click(page.get_by_role("button", name="Compare the chosen"))
    heads = page.get_by_role("columnheader").get_by_role("link", name=re.compile("^payments"))
    assert heads.all_inner_texts() == ["payments 1", "payments 2", "payments 3"]
    depth = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="depth"))
    assert depth.get_by_role("cell").all_inner_texts() == ["3", "3", "3"]
    version = page.get_by_role("row").filter(has=page.get_by_label("differs:"))
    assert version.count() > 2
    ann.click(page.get_by_role("link", name="Leave out payments 2"))
    page.get_by_label("Show", exact=True).select_option("differing")
    ann.click(page.get_by_role("button", name="Show"))
    assert heads.all_inner_texts() == ["payments 1", "payments 3"]
    assert page.get_by_role("rowheader", name="depth").count() == 0
    assert page.get_by_role("img", name="accuracy").count() >= 1


def test_promoting_a_deployment(ann: Visit, store: Store) -> None:
    """What a policy advises is promoted with its reason, and the page says so and shows it as active."""
    page = ann.page
    page.goto("/deployments?status=archived&project=payments")
    ann.click(page.get_by_role("link", name="payments v1"))
    ann.click(page.get_by_role("link", name="Promote"))
    page.get_by_label("Metric").fill("accuracy")
    ann.click(page.get_by_role("button", name="Ask"))
    assert "Keep what is active" in page.locator("main").inner_text()
    page.get_by_label("Reason").fill("v2 loses too much")
    ann.click(page.get_by_role("button", name="Promote payments v1"))
    assert "payments v1" in page.get_by_role("status").inner_text()
    stands = {tag: store.get(tag, "Deployment")["status"] for tag in ("payments v1", "payments v2")}
    assert stands == {"payments v1": "active", "payments v2": "archived"}
    ann.click(page.get_by_role("link", name="Node and history"))
    assert "v2 loses too much" in page.locator("main").inner_text()
    store.promote("payments v2", reason="as it was")


def test_the_console_refuses_to_write(ann: Visit, store: Store) -> None:
    """A statement is run and explained; one that would write is refused, and nothing of it happens."""
    page = ann.page
    page.goto("/query")
    page.get_by_label("AQL").fill("FOR r IN run FILTER r.status == @status RETURN {id: r.run_id}")
    page.get_by_label("Bind variables").fill('{"status": "failed"}')
    ann.click(page.get_by_role("button", name="Run", exact=True))
    assert "payments 10" in page.get_by_role("region", name="Result").inner_text()
    assert ann.barriers() == []
    ann.click(page.get_by_role("button", name="Explain"))
    assert page.get_by_role("region", name="Plan").is_visible()
    assert ann.barriers() == []
    page.get_by_label("AQL").fill("FOR p IN project FILTER p.name != @status REMOVE p IN project")
    ann.refused = {422}
    for button in ("Run", "Run and write"):
        ann.click(page.get_by_role("button", name=button, exact=True))
        assert "would write, and nothing was run" in page.get_by_role("alert").inner_text()
    assert store.counts()["project"] == PROJECTS
    ann.refused = set()
    page.get_by_role("link", name="FOR r IN run").first.click()
    assert page.get_by_label("AQL").input_value().startswith("FOR r IN run")


def test_a_statement_is_saved_and_changed(ann: Visit) -> None:
    """Enter in the field of the name saves, and runs nothing; the name stays while the statement is changed."""
    page = ann.page
    page.goto("/query")
    page.get_by_label("AQL").fill("RETURN 1")
    for told in ("names is saved", "in the place of what this file had saved"):
        page.get_by_label("Save as").fill("names")
        with page.expect_navigation():
            page.keyboard.press("Enter")
        assert told in page.get_by_role("status").inner_text()
        assert page.get_by_role("heading", name="Result").count() == 0
        ann.click(page.get_by_role("link", name="names", exact=True))
        page.get_by_label("AQL").fill("RETURN 2")
        ann.click(page.get_by_role("button", name="Run", exact=True))
        assert page.get_by_label("Save as").input_value() == "names"
    assert ann.barriers() == []
    ann.click(page.get_by_role("button", name="Remove names"))


def test_a_new_node_type(ann: Visit, store: Store) -> None:
    """A node type is added, then found in the search as any other, and withdrawn."""
    page = ann.page
    page.goto("/admin")
    ann.click(page.get_by_role("navigation", name="Administration").get_by_role("link", name="Types"))
    form = page.locator("form").filter(has_text="Add node type")
    for label, value in {"Kind": "Report", "Collection": "reports", "Attributes that identify it": "title"}.items():
        form.get_by_label(label).fill(value)
    ann.click(form.get_by_role("button"))
    assert "Report is a type of this graph now" in page.get_by_role("status").inner_text()
    page.goto("/search?kind=Report")
    assert page.get_by_label("Kind").input_value() == "Report"
    page.goto("/admin/types")
    page.get_by_text("Withdraw Report").first.click()
    page.get_by_label("Yes.").check()
    ann.click(page.get_by_role("button", name="Withdraw"))
    assert "Report is withdrawn" in page.get_by_role("status").inner_text()


def test_a_new_user(root: Visit, browser: Any, server: Site) -> None:
    """An administrator makes a user who then reads and may not write, and removes them."""
    page = root.page
    page.goto("/admin/users")
    page.get_by_label("Name", exact=True).fill("dora")
    page.get_by_label("Password").fill("dora's own")
    page.get_by_label("Role").select_option("reader")
    root.click(page.get_by_role("button", name="Make user"))
    assert "dora can sign in" in page.get_by_role("status").inner_text()
    dora = Visit(browser, server.address).enter(Database_user="dora", Password="dora's own")
    dora.page.goto("/admin/nodes")
    assert "You may read this graph, but not write" in dora.page.locator("main").inner_text()
    dora.close()
    page.get_by_label("Yes, from the whole server").check()
    root.click(page.get_by_role("button", name="Remove dora"))
    assert "dora is removed" in page.get_by_role("status").inner_text()
    assert "dora" not in page.get_by_role("table").inner_text()


# keys, times, colours


def test_keys(ann: Visit) -> None:
    """A slash goes to the search, arrows from row to row, enter into one; a question mark shows the keys."""
    page = ann.page
    page.goto("/search?kind=Project&sort=name&way=asc")
    focused = "() => document.activeElement.innerText"
    page.keyboard.press("ArrowDown")
    first = page.evaluate(focused)
    page.keyboard.press("ArrowDown")
    assert [first, page.evaluate(focused)] == names(ann)[:2]
    page.keyboard.press("ArrowUp")
    assert page.evaluate(focused) == first
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keys")
    assert keys.is_visible()
    page.keyboard.press("Escape")
    assert not keys.is_visible()
    page.keyboard.press("/")
    page.keyboard.type("a/b?")
    assert page.get_by_role("search").get_by_role("searchbox").input_value() == "a/b?"
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == first
    page.keyboard.press("Enter")
    page.wait_for_url("**/nodes/project/**")
    page.goto("/ask")
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == page.locator("main li a").first.inner_text()


def test_the_content_is_one_step_away_for_the_keyboard(ann: Visit) -> None:
    """The first stop of the tabulator leads past the head of the page, and is seen there."""
    ann.page.goto("/search")
    ann.page.keyboard.press("Tab")
    assert ann.page.get_by_role("link", name="Skip to content").is_visible()
    ann.page.keyboard.press("Enter")
    ann.page.keyboard.press("Tab")
    assert ann.page.evaluate("() => document.activeElement.id") == "kind"


def test_times_are_those_of_who_looks(ann: Visit) -> None:
    """A time is told in the browser's zone, with UTC on hover, and the page says which zone that is."""
    ann.page.goto("/search?kind=Run&name=payments+14")
    time = ann.page.locator("main tbody time").first
    moment = time.get_attribute("datetime")
    assert moment is not None
    hour = ann.page.evaluate("at => new Date(new Date(at).getTime() + 5.5 * 3600e3).toISOString()", moment)
    assert time.inner_text() == hour[:19].replace("T", " ")
    assert time.get_attribute("title") == f"{moment[:19].replace('T', ' ')} UTC"
    assert "Asia/Calcutta" in ann.page.locator("footer").inner_text().replace("Kolkata", "Calcutta")


def test_without_scripts_times_are_utc(browser: Any, site: Site, kept: Any) -> None:
    """Who allows no script reads the same in UTC, and sees nothing that would do nothing."""
    visit = Visit(browser, site.address, storage_state=kept, java_script_enabled=False)
    visit.page.goto("/search?kind=Run")
    assert visit.page.locator("main tbody time").first.inner_text().endswith(" UTC")
    footer = visit.page.locator("footer")
    assert "in UTC" in footer.inner_text()
    assert footer.get_by_role("button").count() == 0
    visit.close()


def test_colours_that_were_chosen_stay(ann: Visit) -> None:
    """The switch goes from the system's colours to light and to dark, which other pages then have too."""
    page, ground = ann.page, "() => getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="dark")
    page.goto("/")
    system = page.evaluate(ground)
    switch = page.get_by_role("button", name="Colours")
    switch.click()
    light = page.evaluate(ground)
    switch.click()
    assert page.evaluate(ground) == system != light
    page.emulate_media(color_scheme="light")
    page.goto("/search")
    assert page.evaluate(ground) == system
    assert switch.inner_text() == "Colours: dark"


# every page


def test_no_page_is_forgotten(paths: dict[str, str]) -> None:
    """Every page of the application is looked at here."""
    pages = [route for route in application().routes if "GET" in getattr(route, "methods", ())]
    own = {route.path: route for route in pages if not route.path.startswith("/api/")}
    looked_at = [urlsplit(path).path for path in paths.values()]
    missed = {path for path, route in own.items() if not any(route.path_regex.fullmatch(each) for each in looked_at)}
    assert missed == FILES


@pytest.mark.parametrize("name", ALL)
def test_a_page_is_for_everybody(shown: Visit, paths: dict[str, str], name: str) -> None:
    """axe knows nothing that is in the way of who sees or uses a page otherwise, light or dark; it fits in a hand."""
    page = shown.page
    shown.go(paths[name])
    page.locator("details").evaluate_all("all => all.forEach(each => each.open = true)")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert shown.barriers() == []
    for size in SIZES.values():
        page.set_viewport_size(size)
        assert too_wide(shown) == 0


def too_wide(visit: Visit) -> int:
    """Return by how many pixels a page is wider than the window."""
    return int(visit.page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def test_long_words_fit_in_a_hand(ann: Visit, store: Store) -> None:
    """A page is no wider for a URI, a name or an id without a space, wherever it stands."""
    word = "s3://lake/" + "a_word_without_a_space_" * 6
    model = store.write(stages.register_model(word, project="payments"))
    run = store.write(stages.log_run(word, model=model, params={word: word}))
    node = run["_id"]
    ann.page.set_viewport_size(SIZES["narrow"])
    for path in (f"/nodes/{node}", f"/nodes/{node}/lineage", f"/nodes/{node}/impact", f"/runs/compare?run={node}"):
        ann.go(path)
        assert too_wide(ann) == 0, path
    for each in (run, model):
        store.delete(store.plan_deletion(each))


def test_every_question_is_for_everybody(ann: Visit) -> None:
    """The form of each question can be filled in by everybody."""
    for name in QUESTIONS:
        ann.go(f"/ask/{name}")
        assert ann.barriers() == [], name


def test_the_first_page_is_light(browser: Any, site: Site, kept: Any) -> None:
    """All that is loaded for the overview, by a browser that has nothing yet, is little."""
    visit = Visit(browser, site.address, storage_state=kept)
    loaded: list[int] = []
    visit.page.on("response", lambda response: loaded.append(len(response.body())))
    visit.page.goto("/", wait_until="networkidle")
    assert len(loaded) >= 3
    assert sum(loaded) < FIRST_PAGE_BYTES
    visit.close()


@pytest.mark.parametrize("name", sorted(ALL.keys() - UNPICTURED))
def test_the_documentation_shows_each_page(shown: Visit, paths: dict[str, str], name: str, tmp_path: Path) -> None:
    """Each page has its picture in docs/web.md; `make pictures` takes them anew."""
    shown.page.set_viewport_size(PICTURE)
    shown.go(paths[name])
    picture = Path(os.environ.get("PICTURES", tmp_path)).absolute() / f"{name}.webp"
    picture.write_bytes(shown.picture())
    assert 5_000 < picture.stat().st_size < 80_000
    assert f"](images/{name}.webp)" in (DOCS / "web.md").read_text()
    assert (DOCS / "images" / f"{name}.webp").is_file()
