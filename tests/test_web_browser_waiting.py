"""In a real browser: answers that take their time, and earlier ones meanwhile."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import PICTURE, SIZES, Visit, browser, needs_chromium
from fastapi import FastAPI
from test_web_earlier import slow
from test_web_waiting import ASKED, DOCS, EARLIER, HeldAccess, HeldStore, access, app, served

__all__ = ["access", "app", "browser", "slow"]


@pytest.fixture
def address(app: FastAPI) -> Iterator[str]:
    """The pages behind a socket."""
    with served(app) as (_, address):
        yield address


@pytest.fixture
def ann(browser: Any, address: str) -> Iterator[Visit]:
    """Somebody who has signed in."""
    visit = Visit(browser, address).enter()
    yield visit
    visit.close()


@pytest.mark.slow
@needs_chromium
def test_a_browser_looks_again_until_the_answer_is_there(ann: Visit, access: HeldAccess, tmp_path: Path) -> None:
    """Somebody sees for how long it is worked on, and then the answer, at the same address and without a click."""
    page = ann.page
    page.goto(ASKED)
    page.get_by_text("for 2 seconds so far").wait_for()
    access.held.let.set()
    page.get_by_role("cell", name="0.9375").first.wait_for()
    assert page.url.endswith(ASKED)
    assert access.held.asked == 1


@pytest.fixture
def told(ann: Visit) -> Visit:
    """Somebody who has been told to wait."""
    ann.page.goto(ASKED)
    assert ann.page.get_by_role("heading", name="Working on it").is_visible()
    return ann


@pytest.mark.slow
@needs_chromium
def test_waiting_is_for_everybody(told: Visit) -> None:
    """axe finds nothing in the way of anybody who waits, light or dark; the page fits in a hand."""
    for scheme in ("light", "dark"):
        told.page.emulate_media(color_scheme=scheme)
        assert told.barriers() == []
    told.page.set_viewport_size(SIZES["narrow"])
    assert told.page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0


@pytest.fixture
def shown_before(ann: Visit, slow: HeldStore) -> Visit:
    """Somebody who has come back to an answer that a newer one is being made of."""
    slow.let.set()
    ann.go(ASKED)
    slow.let.clear()
    ann.page.reload()
    assert ann.page.get_by_text(EARLIER).is_visible()
    return ann


@pytest.mark.slow
@needs_chromium
def test_a_browser_tells_when_a_newer_answer_is_there(shown_before: Visit, access: HeldAccess) -> None:
    """The earlier answer stays to be read; that there is a newer one is said, and a click leads to it."""
    page = shown_before.page
    assert page.get_by_text("A newer one is being made.").is_visible()
    assert page.get_by_role("cell", name="0.9375").first.is_visible()
    access.held.let.set()
    page.get_by_text("A newer one is there.").wait_for()
    shown_before.click(page.get_by_role("link", name="Look again"))
    assert page.get_by_role("cell", name="0.9375").first.is_visible()
    assert page.get_by_text(EARLIER).count() == 0
    assert access.held.asked == 2


@pytest.mark.slow
@needs_chromium
def test_an_earlier_answer_is_for_everybody(shown_before: Visit) -> None:
    """axe finds nothing in the way of anybody who sees an earlier answer, light or dark; the page fits in a hand."""
    for scheme in ("light", "dark"):
        shown_before.page.emulate_media(color_scheme=scheme)
        assert shown_before.barriers() == []
    shown_before.page.set_viewport_size(SIZES["narrow"])
    wider = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert shown_before.page.evaluate(wider) == 0


@pytest.mark.slow
@needs_chromium
def test_the_documentation_shows_an_earlier_answer(shown_before: Visit, tmp_path: Path) -> None:
    """The page has its picture in docs/web.md; `make pictures` takes it anew."""
    shown_before.page.set_viewport_size(PICTURE)
    picture = Path(os.environ.get("PICTURES", tmp_path)).absolute() / "earlier.webp"
    picture.write_bytes(shown_before.picture())
    assert "](images/earlier.webp)" in (DOCS / "web.md").read_text()
    assert (DOCS / "images" / "earlier.webp").is_file()


@pytest.mark.slow
@needs_chromium
def test_the_documentation_shows_the_wait(told: Visit, tmp_path: Path) -> None:
    """The page has its picture in docs/web.md; `make pictures` takes it anew."""
    told.page.set_viewport_size(PICTURE)
    picture = Path(os.environ.get("PICTURES", tmp_path)).absolute() / "waiting.webp"
    picture.write_bytes(told.picture())
    assert "](images/waiting.webp)" in (DOCS / "web.md").read_text()
    assert (DOCS / "images" / "waiting.webp").is_file()


@pytest.mark.slow
@needs_chromium
def test_without_scripts_the_answer_comes_too(browser: Any, address: str, access: HeldAccess) -> None:
    """A browser without scripts looks again every second."""
    visit = Visit(browser, address, java_script_enabled=False).enter()
    visit.page.goto(ASKED)
    visit.page.get_by_text(re.compile(r"for \d+ seconds? so far")).wait_for()
    access.held.let.set()
    visit.page.get_by_role("cell", name="0.9375").first.wait_for()
    visit.close()
