"""What the pages ask of the database."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import Requests
from demonstration import fill
from test_web_pages import TOKEN, Browser, file
from web_addresses import addresses, ids_of

from arangopipe_ops.web.access import FileAccess

__all__ = ["file"]

MOST_REQUESTS, MOST_BYTES = 9, 500_000


@pytest.fixture
def ann(file: Path, made_once: Any) -> Browser:
    """A browser on the demonstration's graph."""
    shutil.copyfile(made_once(fill), file)
    return Browser(FileAccess(f"embedded://{file}", token=TOKEN)).enter()


def test_every_page_asks_little_of_the_database(ann: Browser) -> None:
    """Each page, at each of its addresses, is answered and asks the database less than ten times."""
    store = ann.access.store(TOKEN)
    assert ann.post("/admin/doctor", page="/admin/doctor", look="all").status_code == 303
    asked, answered = {}, {}
    for address in addresses(ann.app, ids_of(store)):
        requests = Requests(store.db)
        answered[address] = ann.client.get(address).status_code
        asked[address] = len(requests)
    assert {address for address, status in answered.items() if status != 200} == {
        "/admin/users/user?name=root",
        "/sign-in",
    }
    assert {address for address, number in asked.items() if number > MOST_REQUESTS} == set()
    assert sum(asked.values()) > len(asked)


def test_a_page_without_an_address_is_an_error(ann: Browser) -> None:
    """Nobody can add a page that these tests leave out."""
    known = ids_of(ann.access.store(TOKEN))
    ann.app.add_api_route("/another", lambda: None)
    try:
        with pytest.raises(LookupError, match="/another"):
            list(addresses(ann.app, known))
    finally:
        ann.app.router.routes.pop()


def test_the_first_page_is_light(ann: Browser) -> None:
    """The first page weighs less than 500 kB together with what it loads."""
    page = ann.get("/")
    parts = [ann.client.get(path).content for path in ("/static/style.css", "/static/app.js", "/static/icon.svg")]
    assert len(page.encode()) + sum(map(len, parts)) < MOST_BYTES
