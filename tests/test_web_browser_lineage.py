"""What scripts add to the picture of a lineage, in a real browser: size, keys, details, the way to a box."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from browser import Site, Visit, browser, needs_chromium, serving
from test_web_lineage import fill_hub

from arangopipe_ops.connection import connect
from arangopipe_ops.store import Store

__all__ = ["browser"]
pytestmark = [pytest.mark.slow, needs_chromium]

WIDTH = "Number(document.querySelector('#picture svg').getAttribute('width').replace('pt', ''))"


@pytest.fixture(scope="module")
def site(made_once: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    file = shutil.copy(made_once(fill_hub), tmp_path_factory.mktemp("site"))
    with serving(f"embedded://{file}") as site:
        yield site


@pytest.fixture
def ann(browser: Any, site: Site) -> Iterator[Visit]:
    """Somebody who looks at the lineage of a project with a large fan."""
    visit = Visit(browser, site.address).enter()
    path = f"/nodes/{Store(connect(site.url)).get('wine', 'Project')['_id']}/lineage"
    visit.go(path)
    yield visit
    visit.close()


def box(visit: Visit, text: str) -> Any:
    return visit.page.locator("#picture g.node a").filter(has_text=text).first


def test_the_picture_grows_and_shrinks(ann: Visit) -> None:
    """Buttons and keys make the picture larger and smaller, and all of it visible; the region scrolls."""
    page, sizes = ann.page, []
    sizes.append(page.evaluate(WIDTH))
    page.get_by_role("button", name="Larger").click()
    sizes.append(page.evaluate(WIDTH))
    page.locator("#picture").focus()
    page.keyboard.press("+")
    sizes.append(page.evaluate(WIDTH))
    assert sizes == sorted(set(sizes))
    page.keyboard.press("-")
    assert page.evaluate(WIDTH) == pytest.approx(sizes[1])
    page.keyboard.press("0")
    assert page.evaluate(
        "picture.scrollWidth <= picture.clientWidth && picture.scrollHeight <= picture.clientHeight + 20"
    )
    page.get_by_role("button", name="As it was").click()
    assert page.evaluate("picture.scrollHeight > picture.clientHeight")


def test_dragging_moves_the_picture(ann: Visit) -> None:
    """The ground is dragged, and the picture moves with it."""
    page = ann.page
    page.get_by_role("button", name="Larger").click()
    page.get_by_role("button", name="Larger").click()
    page.evaluate("picture.scrollTo(0, 0)")
    place = page.locator("#picture").bounding_box()
    page.mouse.move(place["x"] + 20, place["y"] + 200)
    page.mouse.down()
    page.mouse.move(place["x"] + 20, place["y"] + 120, steps=4)
    page.mouse.up()
    assert page.evaluate("picture.scrollTop") == pytest.approx(80, abs=2)


def test_what_is_pointed_at_is_told(ann: Visit) -> None:
    """A box that is pointed at or reached by the keyboard tells what is known of it, and leads to its node."""
    page = ann.page
    assert "Project · wine" in page.locator("#about").inner_text()
    box(ann, "Model").hover()
    assert "Model · m" in page.locator("#about").inner_text()
    box(ann, "Deployment").focus()
    assert "status active" in page.locator("#about").inner_text()
    page.locator("#details").get_by_role("link", name="Open").click()
    page.wait_for_url("**/nodes/deployment/*")
    assert "Deployment" in page.locator("main").inner_text()


def test_from_box_to_box_by_the_keyboard(ann: Visit) -> None:
    """Arrows lead to the box in their direction, letters open, expand and mark it, Enter puts it in the centre."""
    page = ann.page
    box(ann, "Project").focus()
    page.keyboard.press("ArrowRight")
    assert "Model · m" in page.locator("#about").inner_text()
    page.keyboard.press("ArrowRight")
    first = page.locator("#about").inner_text()
    assert first.startswith(("Run", "Deployment"))
    page.keyboard.press("ArrowDown")
    assert page.locator("#about").inner_text() != first
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("p")
    assert page.locator("svg .way").count() == 3
    page.keyboard.press("Enter")
    page.wait_for_url("**/models/*/lineage")


def test_the_way_to_a_box_is_marked(ann: Visit) -> None:
    """All boxes and edges between the start and a box are marked, and again they are not."""
    page = ann.page
    box(ann, "Deployment").hover()
    button = page.get_by_role("button", name="Mark the way to it")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert page.locator("svg .way.node").count() == 3
    assert page.locator("svg .way.edge").count() == 2
    assert page.locator("svg.marked .node:not(.way)").first.evaluate("it => getComputedStyle(it).opacity") == "0.25"
    button.click()
    assert page.locator("svg .way").count() == 0


def test_a_box_is_expanded(ann: Visit) -> None:
    """A run that is expanded shows its data set beside it, which the project's lineage has not; one stays there."""
    page = ann.page
    before = page.locator("#picture g.node").count()
    box(ann, "Run").focus()
    page.keyboard.press("e")
    page.wait_for_url("**open=**")
    assert page.locator("#picture g.node").count() > before
    assert box(ann, "Dataset").count() == 1
    assert page.locator("#about").inner_text().startswith("Run")
    page.keyboard.press("p")
    assert page.locator("svg .way").count() > 1


def test_hundreds_of_boxes_stay_usable(ann: Visit) -> None:
    """A picture with five hundred boxes is there within seconds, and grows and is marked at once."""
    page = ann.page
    page.get_by_label("Of one fan, at most").select_option("500")
    page.get_by_label("Nodes, at most").select_option("2000")
    page.get_by_role("button", name="Show").click()
    page.locator("#picture g.node").nth(500).wait_for(state="attached")
    took = page.evaluate("() => { const at = performance.now(); ZOOMS.in(); mark(); return performance.now() - at }")
    assert took < 1000


def test_without_scripts_the_page_is_whole(browser: Any, site: Site) -> None:
    """Without scripts there is the picture with its links, and the list expands nodes; nothing shown is dead."""
    visit = Visit(browser, site.address, java_script_enabled=False).enter()
    visit.go(f"/nodes/{Store(connect(site.url)).get('wine', 'Project')['_id']}/lineage")
    assert not visit.page.get_by_role("button", name="Larger").is_visible()
    assert not visit.page.locator("#details").is_visible()
    visit.page.get_by_text("As a list").click()
    visit.page.get_by_role("link", name="Expand m here").click()
    assert "open=models" in visit.page.url
    visit.close()
