"""The pages in a real browser: what people do there, that all of it is readable, and that nothing is loaded from elsewhere."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import SIZES, Site, Visit, chromium, needs_chromium
from demonstration import fill

from arangopipe_ops.connection import connect
from arangopipe_ops.store import Store

pytestmark = [pytest.mark.slow, needs_chromium]

DOCS = Path(__file__).parent.parent / "docs"
PICTURES = "ARANGOPIPE_PICTURES"

PAGES = {
    "overview": "/",
    "project": "/projects/{project}",
    "search": "/search?kind=Run&text=payments",
    "search-of-nothing": "/search?text=nothing+is+called+so",
    "node": "/nodes/{run}",
    "lineage": "/nodes/{dataset}/lineage?direction=downstream&depth=2",
    "failure": "/nodes/run/none",
}
"""Every page there is, by the name of its picture; each is looked at light and dark, wide and narrow."""

NOT_PICTURED = {"search-of-nothing", "failure"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def site(made_once: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    file = tmp_path_factory.mktemp("site") / "graph.db"
    shutil.copyfile(made_once(fill), file)
    site = Site(f"embedded://{file}")
    yield site
    site.stop()


@pytest.fixture(scope="module")
def paths(site: Site) -> dict[str, str]:
    """The addresses of PAGES, with the nodes that they are about."""
    store = Store(connect(site.url))
    nodes = {
        "project": store.get("payments", "Project")["_key"],
        "run": store.get("payments 14", "Run")["_id"],
        "dataset": store.get("transactions", "Dataset")["_id"],
    }
    return {name: path.format(**nodes) for name, path in PAGES.items()}


@pytest.fixture(scope="module")
def kept(browser: Any, site: Site) -> Any:
    """What a browser keeps after the sign-in."""
    visit = Visit(browser, site.address).enter()
    yield visit.context.storage_state()
    visit.close()


@pytest.fixture
def ann(browser: Any, site: Site, kept: Any) -> Iterator[Visit]:
    """Somebody who has signed in."""
    visit = Visit(browser, site.address, storage_state=kept)
    yield visit
    visit.close()


def names(visit: Visit) -> list[str]:
    """Return the names in the table of a page."""
    return [each.strip() for each in visit.page.locator("main tbody tr td:nth-child(2) a").all_inner_texts()]


# what people do


def test_signing_in_by_the_link_and_out(browser: Any, site: Site) -> None:
    """The printed link leads to the overview, once; after the sign-out one is asked for the token, and led on."""
    visit = Visit(browser, site.address)
    page = visit.page
    page.goto(site.link)
    assert page.url == f"{site.address}/"
    assert page.get_by_role("heading", name="What the graph holds").is_visible()
    page.get_by_role("link", name="Search").click()
    page.get_by_role("button", name="Sign out").click()
    assert page.url == f"{site.address}/sign-in"
    page.goto("/search?kind=Run")
    page.get_by_label("Token").fill("another")
    visit.refused = {401}
    page.get_by_role("button", name="Sign in").click()
    assert "not the one that was printed" in page.get_by_role("alert").inner_text()
    visit.enter()
    assert page.url == f"{site.address}/"
    visit.close()


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"Kind": "Run"}, 112),
        ({"Words in name": "fraud"}, 3),
    ],
)
def test_a_search_with_each_filter(ann: Visit, filters: dict[str, str], found: int) -> None:
    """Each filter of the form finds what it says, and the address alone finds the same again."""
    ann.page.goto("/search")
    form = ann.page.locator("form.filters")
    for label, value in filters.items():
        field = form.get_by_label(label, exact=True)
        field.select_option(value) if field.evaluate("it => it.tagName") == "SELECT" else field.fill(value)
    form.get_by_role("button", name="Search").click()
    assert f"{found} found" in ann.page.locator("main").inner_text()
    before = names(ann)
    ann.page.goto(ann.page.url)
    assert names(ann) == before
