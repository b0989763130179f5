"""Lineage as text and pictures."""

import xml.etree.ElementTree as ET
from typing import Any

import pytest
from test_store import write_flow

from arangopipe_ops import drawing, stages
from arangopipe_ops.model import Lineage
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
    assert (
        drawing.summary(perf["kind"], perf["document"])
        == "metric_000 0, metric_001 0.1429, metric_002 0.2857, metric_…"
    )


def test_characters_that_xml_has_not(store: Store) -> None:
    """A name with control characters is drawn, as a document that can be parsed."""
    ref = store.write(stages.register_project("a\0b\x01c\ufffe"))
    root = ET.fromstring(drawing.svg(store.lineage(ref), store.schema))
    assert "a\ufffdb\ufffdc\ufffd" in "".join(root.itertext())
