"""Lineage as text and pictures."""

import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Any

import pytest
from test_store import write_flow

from arangopipe_ops import drawing, stages
from arangopipe_ops.drawing import graphviz
from arangopipe_ops.errors import Invalid, Unavailable
from arangopipe_ops.model import Cut, Lineage, LineageEdge, LineageNode
from arangopipe_ops.store import Store

AWKWARD = 'say "hi" \\ <b> & {x} | 🍷\nend'


@pytest.fixture
def lineage(store: Store) -> Lineage:
    return store.lineage(write_flow(store)["deployment"])


@pytest.fixture
def awkward(store: Store) -> Lineage:
    store.write(stages.register_project(AWKWARD))
    return store.lineage(store.write(stages.register_model(AWKWARD, project=AWKWARD, task=AWKWARD)))


def test_the_tree_shows_every_node_once(lineage: Lineage) -> None:
    """The tree begins with the start and has one line per node, with what says most about it."""
    lines = drawing.tree(lineage).splitlines()
    assert lines[0] == "Deployment dep r1  (status active, environment production)"
    assert len(lines) == len(lineage["nodes"])
    assert any(line.endswith("ServingPerf 2026-01-01T00:00:00.000Z  (accuracy 0.8)") for line in lines)
    assert any("← Dataset wine data" in line and "rows 178" in line for line in lines)


def test_the_tree_keeps_a_name_on_its_line(awkward: Lineage) -> None:
    """A name with line breaks does not break the tree."""
    assert len(drawing.tree(awkward).splitlines()) == 2


def test_the_boxes_of_a_picture_lead_somewhere(awkward: Lineage) -> None:
    """Each box has the address that is given for its node, whatever characters it holds."""
    pytest.importorskip("pygraphviz")
    picture = ET.fromstring(drawing.svg(awkward, link=lambda id: f'/see?it={id}&"<x>\\N'))
    links = [a.get("{http://www.w3.org/1999/xlink}href") for a in picture.iter("{http://www.w3.org/2000/svg}a")]
    assert sorted(filter(None, links)) == sorted(f'/see?it={node["_id"]}&"<x>\\N' for node in awkward["nodes"])


@pytest.mark.parametrize("case", ["lineage", "awkward"])
def test_the_svg_is_a_picture_of_all_nodes(case: str, request: pytest.FixtureRequest) -> None:
    """Graphviz draws every node and edge, whatever characters their names hold."""
    pytest.importorskip("pygraphviz")
    lineage = request.getfixturevalue(case)
    picture = ET.fromstring(drawing.svg(lineage))
    groups = [g.get("class") for g in picture.iter("{http://www.w3.org/2000/svg}g")]
    assert groups.count("node") == len(lineage["nodes"])
    assert groups.count("edge") == len(lineage["edges"])


def test_the_svg_shows_names_as_they_are(awkward: Lineage) -> None:
    """Markup in a name is shown as text."""
    pytest.importorskip("pygraphviz")
    texts = [t.text for t in ET.fromstring(drawing.svg(awkward)).iter("{http://www.w3.org/2000/svg}text")]
    assert " ".join(AWKWARD.split()) in texts


def test_a_box_stays_narrow_and_its_tooltip_says_all(store: Store) -> None:
    """A long name is shortened in its box and whole in the tooltip."""
    pytest.importorskip("pygraphviz")
    name = "train_and_record/manual__2026-11-23T09:03:06.540548+00:00/log_run/0"
    text = drawing.svg(store.lineage(store.write(stages.register_project(name)))).decode()
    assert "train_and_record/" in text
    assert f"{name}&#10;project/" in text.replace("&#45;", "-")
    assert f">{name}<" not in text.replace("&#45;", "-")


def test_mermaid_names_every_node(awkward: Lineage) -> None:
    """Mermaid's flowchart holds a line per node and edge, with markup escaped."""
    text = drawing.mermaid(awkward)
    assert len(text.splitlines()) == 1 + len(awkward["nodes"]) + len(awkward["edges"])
    assert "<b>" not in text


def test_a_summary_is_short(store: Store) -> None:
    """A node with a hundred metrics is summed up by a few of them."""
    metrics: dict[str, Any] = {f"metric_{i:03}": i / 7 for i in range(100)}
    store.write(stages.register_project("p"))
    store.write(stages.register_model("m", project="p"))
    run = store.write(stages.log_run("r", model="m", metrics=metrics))
    [perf] = [n for n in store.lineage(run)["nodes"] if n["kind"] == "DevPerf"]
    assert drawing.summary(perf["kind"], perf["document"]) == "metric_000 0, metric_001 0.1429, metric_002 0.2857, …"


def test_a_summary_ends_between_two_facts() -> None:
    """No number is cut where it would read as another; a single long text is."""
    document = {"uri": "s3://" + "x" * 40, "source": "demo", "rows": 123_456_789}
    assert drawing.summary("Dataset", document) == f"uri s3://{'x' * 40}, …"
    assert drawing.summary("Dataset", {"uri": "x" * 100}) == f"uri {'x' * 55}…"
    run = {"status": "completed", "start": "2026-01-02T03:04:05.678Z"}
    assert drawing.summary("Run", run) == "status completed, start 2026-01-02 03:04 UTC"


def test_characters_that_xml_has_not(store: Store) -> None:
    """A name with control characters is drawn, as a document that can be parsed."""
    ref = store.write(stages.register_project("a\0b\x01c\ufffe"))
    root = ET.fromstring(drawing.svg(store.lineage(ref), store.schema))
    assert "a\ufffdb\ufffdc\ufffd" in "".join(root.itertext())


def star(rays: int) -> Lineage:
    """A data set with so many runs, as a lineage."""
    document = {"_id": "datasets/d", "_key": "d", "name": "d"}
    start = LineageNode(_id="datasets/d", kind="Dataset", name="d", depth=0, document=document)
    runs = [
        LineageNode(_id=f"run/{i}", kind="Run", name=f"r{i}", depth=1, document={"_id": f"run/{i}", "_key": str(i)})
        for i in range(rays)
    ]
    edges = [
        LineageEdge(edge="run_datasets", upstream="datasets/d", downstream=run["_id"], document={}) for run in runs
    ]
    return Lineage(start="datasets/d", nodes=[start, *runs], edges=edges, cut=[])


CUT = Cut(node="datasets/d", edge="run_datasets", outward=False, more=240, exact=True)


def test_what_is_left_out_is_drawn(lineage: Lineage) -> None:
    """A collapsed fan is a box downstream of its node, which says how much it stands for and leads to the rest."""
    small = {**star(2), "cut": [CUT, {**CUT, "more": 992, "exact": False}]}
    text = drawing.dot(small, rest=lambda cut: f"/rest?of={cut['node']}")
    assert 'label="and 240 more"' in text
    assert 'label="and more than 992 more"' in text
    assert 'URL="/rest?of=datasets/d"' in text
    assert '"datasets/d" -> "cut 0"' in text
    assert "n0 -.->|run_datasets| c0" in drawing.mermaid(small)
    assert drawing.tree(small).splitlines()[-2:] == [
        "├─ and 240 more by run_datasets",
        "└─ and more than 992 more by run_datasets",
    ]
    upstream = Cut(node="run/1", edge="run_datasets", outward=True, more=0, exact=False)
    assert '"cut 0" -> "run/1"' in drawing.dot({**star(2), "cut": [upstream]})
    assert drawing.said(upstream) == "and more"


def test_many_edges_have_no_labels() -> None:
    """Edges of a large picture tell their type only when pointed at."""
    assert 'label="run_datasets"' in drawing.dot(star(5))
    assert 'label="run_datasets"' not in drawing.dot(star(100))
    assert 'tooltip="run_datasets"' in drawing.dot(star(100))


def test_png(lineage: Lineage) -> None:
    """A lineage is drawn as PNG."""
    pytest.importorskip("pygraphviz")
    assert drawing.png(lineage).startswith(b"\x89PNG\r\n")


def test_a_large_picture_holds_up_no_other(lineage: Lineage) -> None:
    """While a thousand nodes are drawn another thread draws a few."""
    pytest.importorskip("pygraphviz")
    with ThreadPoolExecutor() as threads:
        large = threads.submit(drawing.svg, star(1000))
        assert drawing.svg(lineage)
        assert not large.done()
        assert large.result().count(b'class="node"') == 1001


def test_a_picture_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many nodes, too long a time and too many pictures at once are told, and leave nothing at work."""
    pytest.importorskip("pygraphviz")
    with pytest.raises(Invalid, match="2,001 nodes and 2,000 edges are more than a picture shows"):
        drawing.svg(star(2000))
    monkeypatch.setattr(graphviz, "SECONDS", 0.05)
    with pytest.raises(Invalid, match=r"more than 0\.05 s to draw"):
        drawing.svg(star(1500))
    monkeypatch.setattr(graphviz, "_places", BoundedSemaphore(1))
    with graphviz._places, pytest.raises(Unavailable, match="other large pictures"):
        drawing.svg(star(1500))
    assert graphviz._places.acquire(blocking=False)
