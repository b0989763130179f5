"""The seven stages: which nodes and edges each one holds."""

from datetime import UTC, datetime
from typing import Any

import pytest

from arangopipe_ops import stages
from arangopipe_ops.errors import Invalid
from arangopipe_ops.model import Stage, key_of

DATASET = {"_id": "datasets/wine-1"}


def outline(stage: Stage) -> tuple[list[str], list[str]]:
    return [node.type.kind for node in stage.nodes], [edge.type.name for edge in stage.edges]


@pytest.mark.parametrize(
    ("stage", "kinds", "edges"),
    [
        (stages.register_project("p"), ["Project"], []),
        (stages.register_dataset("d"), ["Dataset"], []),
        (stages.register_featureset("f", dataset="d"), ["Featureset"], ["featureset_dataset"]),
        (stages.register_featureset("f", dataset=["d", "e"]), ["Featureset"], ["featureset_dataset"] * 2),
        (stages.register_model("m", project="p"), ["Model"], ["project_models"]),
        (
            stages.log_run("r", model="m", dataset="d", featureset="f", params={"a": 1}, metrics={"b": 2}),
            ["Run", "ModelParams", "DevPerf"],
            ["run_models", "run_datasets", "run_featuresets", "run_modelparams", "run_devperf"],
        ),
        (stages.log_run("r", model="m"), ["Run"], ["run_models"]),
        (
            stages.register_deployment("t", project="p", model="m", run="r", featureset="f"),
            ["Deployment"],
            ["deployment_model", "deployment_featureset", "deployment_run", "deployment_modelparams"],
        ),
        (
            stages.log_serving_perf("t", metrics={}, period_start="2026-01-01", period_end="2026-01-02"),
            ["ServingPerf"],
            ["deployment_servingperf"],
        ),
    ],
)
def test_a_stage_holds_its_nodes_and_edges(stage: Stage, kinds: list[str], edges: list[str]) -> None:
    """Each stage holds its own nodes and an edge for every reference."""
    assert outline(stage) == (kinds, edges)


def test_a_run_and_its_facts_share_a_key() -> None:
    """Parameters and performance are found by their run's key alone."""
    stage = stages.log_run("r", model="m", params={}, metrics={})
    assert {node.key for node in stage.nodes} == {key_of("Run", ["r"])}


def test_a_run_passes_its_tags_to_its_facts() -> None:
    """Parameters and performance can be searched by the tags of their run."""
    stage = stages.log_run("r", model="m", tag="a", deployment_tag="b", params={"c": 1}, metrics={"d": 1})
    assert [node.notes for node in stage.nodes] == [{"tag": "a", "deployment_tag": "b"}] * 3


def test_a_featureset_of_another_dataset_is_another_version() -> None:
    """The base data sets are part of a feature set's content."""
    one = stages.register_featureset("f", dataset=DATASET)
    two = stages.register_featureset("f", dataset={"_id": "datasets/wine-2"})
    assert one.nodes[0].key != two.nodes[0].key


def test_periods_in_other_zones_are_the_same_node() -> None:
    """One period written in two time zones is one node."""
    utc = stages.log_serving_perf("t", metrics={}, period_start="2026-01-01", period_end="2026-01-02")
    berlin = stages.log_serving_perf(
        "t",
        metrics={},
        period_start="2026-01-01T01:00:00+01:00",
        period_end=datetime(2026, 1, 2, tzinfo=UTC),
    )
    assert utc.nodes == berlin.nodes


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: stages.log_run("r", model="m", params=[1]), "not a mapping"),  # type: ignore[arg-type]
        (lambda: stages.log_run("r", model="m", metrics={"run_id": "other"}), r"DevPerf\.run_id"),
        (lambda: stages.log_run("r", model="m", metrics={"loss": float("nan")}), r"DevPerf\.loss.*nan"),
        (lambda: stages.log_run("r", model="m", start="yesterday"), r"Run\.start"),
        (lambda: stages.register_deployment("t", project="p", model="m", status="on"), "scheduled"),  # type: ignore[arg-type]
        (
            lambda: stages.log_serving_perf("t", metrics={}, period_start="2026-01-02", period_end="2026-01-02"),
            "after",
        ),
        (lambda: stages.register_model("m", project=None), "Project: None is not a reference"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_argument_is_named(make: Any, says: str) -> None:
    """An argument that cannot be stored is refused by its name before anything is sent."""
    with pytest.raises(Invalid, match=says):
        make()


def test_what_a_face_collects_is_checked() -> None:
    """A name given as argument and as attribute is refused, and so is an argument that nobody gave."""
    assert stages.make(stages.register_dataset, {"name": "d"}, {"rows": 1}).nodes[0].content["rows"] == 1
    with pytest.raises(Invalid, match="uri: is given twice"):
        stages.make(stages.register_dataset, {"name": "d", "uri": "u"}, {"uri": "v"})
    for arguments in ({"name": "m"}, {"name": "m", "project": None}):
        with pytest.raises(Invalid, match="project: is missing; register_model needs it"):
            stages.make(stages.register_model, arguments, {})
