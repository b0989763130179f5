"""Lineage as pages: drawn with an end, expanded, kept as files; what depends on a node; and the rest of large fans."""

import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from conftest import Requests, dump, provisioned
from test_web_pages import MARKUP, TOKEN, Browser, file, id_of, links
from test_web_pages import fill as fill_small

from arangopipe_ops import stages
from arangopipe_ops.store import Store
from arangopipe_ops.web.access import FileAccess

__all__ = ["file"]

RUNS = 2100
SVG = "{http://www.w3.org/2000/svg}"
ANSWER_BYTES = 60_000


def fill_hub(url: str) -> None:
    """Register a data set that thousands of runs read, the last of which is deployed."""
    store = Store(provisioned(url))
    store.write(stages.register_project("wine"))
    store.write(stages.register_dataset("raw", version="1"))
    store.write(stages.register_model("m", version="1", project="wine"))
    store.write_many(stages.log_run(f"r{i}", model="m", dataset="raw") for i in range(RUNS - 1))
    store.write(stages.log_run("last", model="m", dataset="raw", params={"depth": 3}))
    store.write(stages.register_deployment("live", project="wine", model="m", run="last", status="active"))


@pytest.fixture
def ann(file: Path, made_once: Any) -> Browser:
    """Somebody on a small flow."""
    shutil.copyfile(made_once(fill_small), file)
    return Browser(FileAccess(f"embedded://{file}", token=TOKEN)).enter()


@pytest.fixture
def hub(file: Path, made_once: Any) -> Browser:
    """Somebody on a graph with large fans."""
    shutil.copyfile(made_once(fill_hub), file)
    return Browser(FileAccess(f"embedded://{file}", token=TOKEN)).enter()


def picture(page: str) -> ET.Element:
    return ET.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])


def boxes(page: str) -> list[str]:
    """Return the titles of the boxes of a picture: the `_id` of each node, or that something is cut."""
    groups = [g for g in picture(page).iter(f"{SVG}g") if (g.get("class") or "").startswith("node")]
    return [str(group.findtext(f"{SVG}title")) for group in groups]


# the picture


def test_a_lineage_is_drawn_with_links(ann: Browser) -> None:
    """Each box leads to the lineage of its node, shown in the same way, and says what is known of it."""
    data, run = id_of(ann, MARKUP, "Dataset"), id_of(ann, "r1", "Run")
    page = ann.get(f"/nodes/{data}/lineage?direction=downstream&depth=2")
    drawn = page[page.index("<svg") : page.index("</svg>")]
    assert f"/nodes/{run}/lineage?direction=downstream&depth=2" in links(drawn)
    assert "&lt;script&gt;" in drawn
    assert f'xlink:title="Run&#10;r1&#10;{run}'.replace("-", "&#45;") in drawn
    assert "r1" in ann.get(next(link for link in links(drawn) if run in link))
    assert f"/nodes/{run}/lineage" not in ann.get(f"/nodes/{data}/lineage?direction=upstream")
    assert "Try both ways" in ann.get(f"/nodes/{data}/lineage?direction=upstream")
    assert id_of(ann, "d1", "Deployment") not in ann.get(f"/nodes/{data}/lineage?direction=downstream&depth=1")


def test_the_figure_that_matters_stands_in_the_box(ann: Browser) -> None:
    """Boxes hold kind, name, and metric or status as text, so that neither colour nor shape is the only meaning."""
    page = ann.get(f"/nodes/{id_of(ann, 'r1', 'Run')}/lineage")
    texts = ["".join(text.itertext()) for text in picture(page).iter(f"{SVG}text")]
    assert {"Run", "r1", "status completed", "DevPerf", "f1 0.9375", "Deployment", "status active"} <= set(texts)


def test_a_large_fan_is_collapsed(hub: Browser) -> None:
    """Of thousands of runs eight are drawn and the rest is a box that leads to their list, in one request."""
    page_of = f"/nodes/{id_of(hub, 'raw', 'Dataset')}/lineage"
    hub.get(page_of)
    asked = Requests(hub.access.store(TOKEN).db)
    page = hub.get(page_of)
    assert len(asked) == 1
    assert len(asked.answers[0]) < ANSWER_BYTES
    assert sum(title.startswith("run/") for title in boxes(page)) == 8
    assert "cut 0" in boxes(page)
    assert "and more than 992 more" in page
    rest = next(link for link in links(page[page.index("<svg") :]) if "/linked?" in link)
    assert f"1 to 100 of {RUNS:,}" in hub.get(rest)
    assert sum(title.startswith("run/") for title in boxes(hub.get(f"{page_of}?fan=25"))) == 25


def test_more_nodes_than_are_wanted(hub: Browser) -> None:
    """The nearest nodes are drawn where there are more, and it is said."""
    page = hub.get(f"/nodes/{id_of(hub, 'wine', 'Project')}/lineage?most=3")
    assert "3 nodes, the nearest" in page
    assert len([title for title in boxes(page) if "/" in title]) == 3


def test_a_node_is_expanded_in_place_and_folded(hub: Browser) -> None:
    """What a node in the picture is linked to comes beside it, for one request; its fan has more then, and folds."""
    data, model = id_of(hub, "raw", "Dataset"), id_of(hub, "m", "Model")
    page = hub.get(f"/nodes/{data}/lineage")
    assert model not in boxes(page)
    run = next(title for title in boxes(page) if title.startswith("run/"))
    expand = next(link for link in links(page) if f"open={run.replace('/', '%2F')}" in link)
    asked = Requests(hub.access.store(TOKEN).db)
    wider = hub.get(expand)
    assert len(asked) == 2
    assert model in boxes(wider)
    fold = next(link for link in links(wider) if link.endswith("/lineage"))
    assert sorted(boxes(hub.get(fold))) == sorted(boxes(page))
    more = hub.get(f"/nodes/{data}/lineage?open={data}")
    assert sum(title.startswith("run/") for title in boxes(more)) > 25 - 1
    assert "and more than 975 more" in more
    assert boxes(hub.get(f"/nodes/{data}/lineage?open=run/none")) == boxes(page)
    assert "open" in hub.get(f"/nodes/{data}/lineage?{'&'.join(f'open=run/{i}' for i in range(6))}", 422)


def test_what_cannot_be_drawn_is_a_list(ann: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no picture the page says why, and the list is open."""
    monkeypatch.setattr("arangopipe_ops.drawing.MAX_NODES", 3)
    data = id_of(ann, MARKUP, "Dataset")
    page = ann.get(f"/nodes/{data}/lineage")
    assert "more than a picture shows" in page
    assert "lineage.js" not in page
    assert "<svg" not in page
    assert "<details open>" in page
    assert f"/nodes/{id_of(ann, 'r1', 'Run')}" in links(page)
    assert "more than a picture shows" in ann.get(f"/nodes/{data}/lineage.svg", 422)
    monkeypatch.setattr("arangopipe_ops.web.pages.lineage.LISTED", 2)
    rest = int(re.findall(r"<span>(\d+) nodes</span>", page)[0]) - 2
    assert f"and {rest} more, farther away" in ann.get(f"/nodes/{data}/lineage")


@pytest.mark.parametrize("query", ["depth=9", "depth=-1", "fan=0", "fan=501", "most=2001", "direction=sideways"])
def test_the_picture_has_an_end(ann: Browser, query: str) -> None:
    """Nobody can ask for more than can be drawn."""
    ann.get(f"/nodes/{id_of(ann, 'r1', 'Run')}/lineage?{query}", 422)


@pytest.mark.parametrize(
    ("ending", "begins"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("dot", b"digraph"), ("mmd", b"flowchart LR")]
)
def test_a_lineage_to_keep(ann: Browser, ending: str, begins: bytes) -> None:
    """A lineage is exported in each form, as it is shown, under a name that says so."""
    data = id_of(ann, MARKUP, "Dataset")
    answer = ann.client.get(f"/nodes/{data}/lineage.{ending}?direction=downstream&depth=1")
    assert answer.content.startswith(begins)
    assert f"lineage-{data.partition('/')[2]}.{ending}" in answer.headers["content-disposition"]
    if ending != "png":
        assert "r1" in answer.text
        assert "d1" not in re.sub(r"[0-9a-f]{8,}", "", answer.text)
    assert "There is no gif" in ann.get(f"/nodes/{data}/lineage.gif", 404)


def test_what_is_cut_is_in_the_files(hub: Browser) -> None:
    """DOT and Mermaid say what is left out, as the picture does."""
    data = id_of(hub, "raw", "Dataset")
    assert 'label="and more than 992 more"' in hub.get(f"/nodes/{data}/lineage.dot")
    assert '(["and more than 992 more"])' in hub.get(f"/nodes/{data}/lineage.mmd")


# lists


def test_what_depends_on_a_data_set(hub: Browser) -> None:
    """Active deployments are all told, whatever fan lies between; the rest by kind, with what is left out."""
    data = id_of(hub, "raw", "Dataset")
    asked = Requests(hub.access.store(TOKEN).db)
    page = hub.get(f"/nodes/{data}/impact")
    assert len(asked) == 1
    active = page.partition("Active deployments")[2].partition("</table>")[0]
    assert f"/nodes/{id_of(hub, 'live', 'Deployment')}" in links(active)
    assert "<h2>Model" in page
    assert "and more than 975 more" in page
    assert "No active deployment" in hub.get(f"/nodes/{id_of(hub, 'live', 'Deployment')}/impact")
    assert "Nothing else depends" in hub.get(f"/nodes/{id_of(hub, 'live', 'Deployment')}/impact")


def test_all_neighbours_page_by_page(hub: Browser) -> None:
    """The list of a fan has every node once, page after page, and leads to each of them."""
    path: str | None = f"/nodes/{id_of(hub, 'raw', 'Dataset')}/linked?edge=run_datasets&outward=false&skip={RUNS - 250}"
    seen: list[str] = []
    while path:
        page = hub.get(path)
        table = page.partition("<tbody>")[2].partition("</tbody>")[0]
        seen += [link for link in links(table) if re.fullmatch(r"/nodes/run/[\w.-]+", link)]
        path = next(iter(re.findall(r'rel="next" href="([^"]+)"', page)), "").replace("&amp;", "&")
    assert len(seen) == len(set(seen)) == 250
    node = hub.get(f"/nodes/{id_of(hub, 'raw', 'Dataset')}")
    assert f"/nodes/{id_of(hub, 'raw', 'Dataset')}/linked?edge=run_datasets&outward=false" in links(node)
    assert "so far on" in hub.get(
        f"/nodes/{id_of(hub, 'raw', 'Dataset')}/linked?edge=run_datasets&outward=false&skip=9000"
    )
    hub.get(f"/nodes/{id_of(hub, 'raw', 'Dataset')}/linked?edge=nothing", 422)
    hub.get("/nodes/datasets/none/linked?edge=run_datasets", 404)


def test_what_the_pages_cost(ann: Browser) -> None:
    """Each is one request, and writes nothing; stored markup is shown as text."""
    db, data = ann.access.store(TOKEN).db, id_of(ann, MARKUP, "Dataset")
    before, asked = dump(db), Requests(db)
    for path in ("lineage", "impact", "linked?edge=run_datasets&outward=false", "lineage.png"):
        asked.sent.clear()
        answer = ann.client.get(f"/nodes/{data}/{path}")
        assert answer.status_code == 200
        assert len(asked) == 1, path
        assert b"<script>alert" not in answer.content
    assert dump(db) == before


def test_the_api_does_not_draw_without_end(hub: Browser) -> None:
    """The API refuses to draw what is too large, and takes the same end as the pages."""
    path = f"/api/v1/nodes/{id_of(hub, 'raw', 'Dataset')}/lineage"
    signed = {"headers": {"Authorization": f"Bearer {TOKEN}"}}
    refused = hub.client.get(f"{path}?format=svg", **signed)
    assert refused.status_code == 422
    assert "more than a picture shows" in refused.json()["detail"]
    drawn = hub.client.get(f"{path}?format=svg&fan=4", **signed)
    assert drawn.status_code == 200
    assert drawn.text.count("<title>run/") == 4
    assert hub.client.get(f"{path}?fan=4", **signed).json()["cut"][0]["edge"] == "run_datasets"
