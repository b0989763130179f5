"""OpenLineage events, read as runs and data sets."""

import itertools
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arangopipe_ops.errors import Invalid
from arangopipe_ops.integrations.openlineage import FACET, UNVERSIONED, location, stages_of
from arangopipe_ops.model import key_of

SCHEMA = {"fields": [{"name": "id", "type": "int"}, {"name": "at", "type": "struct", "fields": [{"name": "day"}]}]}


def dataset(name: str, namespace: str = "postgres://db:5432", **facets: Any) -> dict[str, Any]:
    return {"namespace": namespace, "name": name, "facets": facets}


def event(kind: str, second: int, run: str = "r1", **given: Any) -> dict[str, Any]:
    """An event as producers send it; `facets` are its run's."""
    return {
        "eventType": kind,
        "eventTime": f"2026-05-04T03:02:{second:02}+00:00",
        "producer": "https://producer",
        "run": {"runId": run, "facets": given.pop("facets", {})},
        "job": {"namespace": "dbt", "name": "orders", "facets": given.pop("job_facets", {})},
        **given,
    }


def told(events: Any) -> list[dict[str, Any]]:
    return [stage.to_json() for stage in stages_of(events)]


START = event("START", 1, inputs=[dataset("raw.orders")])
COMPLETE = event(
    "COMPLETE",
    9,
    inputs=[dataset("raw.orders", schema=SCHEMA)],
    outputs=[{**dataset("mart.orders"), "outputFacets": {"outputStatistics": {"rowCount": 7, "size": 100}}}],
)


def test_a_run_has_what_its_events_told_together() -> None:
    """Beginning, end, state, inputs, outputs and their facets become one stage, the run first."""
    [stage] = stages_of([START, COMPLETE])
    run, raw, mart = (node.content for node in stage.nodes)
    assert (run["run_id"], run["status"], run["job"]) == ("r1", "completed", "dbt/orders")
    assert (run["start"], run["end"]) == ("2026-05-04T03:02:01.000Z", "2026-05-04T03:02:09.000Z")
    assert (raw["name"], raw["version"]) == ("postgres://db:5432/raw.orders", UNVERSIONED)
    assert [each["name"] for each in raw["schema"]] == ["id", "at"]
    assert raw["schema"][1]["fields"] == [{"name": "day"}]
    assert mart["name"] == "postgres://db:5432/mart.orders"
    assert {edge.type.name: dict(edge.content) for edge in stage.edges} == {
        "run_datasets": {},
        "run_outputs": {"rows": 7, "bytes": 100},
    }


@pytest.mark.parametrize("order", list(itertools.permutations([START, COMPLETE, START])))
def test_order_and_repetition_do_not_matter(order: Any) -> None:
    """The same events tell the same, whichever comes first and however often."""
    assert told(order) == told([START, COMPLETE])


@pytest.mark.parametrize(
    ("kind", "status"),
    [("START", "running"), ("RUNNING", "running"), ("COMPLETE", "completed"), ("FAIL", "failed"), ("ABORT", "aborted")],
)
def test_the_type_of_the_last_event_is_the_state(kind: str, status: str) -> None:
    """Each of the specification's types has its state in the graph."""
    [stage] = stages_of([event(kind, 1)])
    assert stage.nodes[0].content["status"] == status


def test_a_failure_and_a_parent_are_told() -> None:
    """What a failed run says of its error, and which run started it, are attributes of the run."""
    facets = {
        "errorMessage": {"message": "no such table", "stackTrace": "at line 1", "programmingLanguage": "SQL"},
        "parent": {"run": {"runId": "r0"}, "job": {"namespace": "airflow", "name": "daily"}},
    }
    [stage] = stages_of([event("FAIL", 2, facets=facets, job_facets={"sql": {"query": "SELECT 1"}})])
    run = stage.nodes[0].content
    assert run["error"] == {"message": "no such table", "traceback": "at line 1"}
    assert (run["parent"], run["parent_job"], run["query"]) == ("r0", "airflow/daily", "SELECT 1")


def test_a_version_facet_is_the_version() -> None:
    """Two versions of one data set are two nodes of one name."""
    version = [dataset("t", version={"datasetVersion": text}) for text in ("1", "2")]
    [stage] = stages_of([event("COMPLETE", 1, inputs=[version[0]], outputs=[version[1]])])
    assert [(node.content["name"], node.content["version"]) for node in stage.nodes[1:]] == [
        ("postgres://db:5432/t", "1"),
        ("postgres://db:5432/t", "2"),
    ]


def test_a_slash_before_a_path_makes_no_other_data_set() -> None:
    """Producers disagree whether a path in a bucket begins with a slash; the data set is the same."""
    both = [dataset(name, "s3://lake") for name in ("/a/b", "a/b")]
    [stage] = stages_of([event("COMPLETE", 1, inputs=both)])
    assert [node.content["name"] for node in stage.nodes[1:]] == ["s3://lake/a/b"]


def test_column_lineage_stands_on_the_edge() -> None:
    """Which columns a column was made from is told of the run that made it."""
    source = {"namespace": "postgres://db:5432", "name": "raw", "field": "price"}
    facet = {"fields": {"total": {"inputFields": [source]}}}
    [stage] = stages_of([event("COMPLETE", 1, outputs=[dataset("mart", columnLineage=facet)])])
    assert stage.edges[0].content == {"columns": {"total": ["postgres://db:5432/raw#price"]}}


def test_events_without_a_run_tell_of_data_sets() -> None:
    """The dataset and job events of version 2 of the specification leave the data sets they name."""
    at = {"eventTime": "2026-05-04T03:02:01Z"}
    alone = {**at, "dataset": dataset("t", schema=SCHEMA)}
    job = {**at, "job": {"namespace": "n", "name": "j"}, "inputs": [dataset("u")]}
    names = [stage.nodes[0].content["name"] for stage in stages_of([alone, job])]
    assert names == ["postgres://db:5432/t", "postgres://db:5432/u"]


@pytest.mark.parametrize(
    ("broken", "path"),
    [
        ([], ""),
        ({"eventTime": "2026-05-04T03:02:01Z"}, ""),
        ({**START, "eventTime": "2026-05-04T03:02:01"}, "eventTime"),
        ({**START, "run": {}}, "run.runId"),
        ({**START, "job": {"name": " "}}, "job.name"),
        ({**START, "inputs": [{"name": "t"}]}, "inputs.namespace"),
    ],
)
def test_what_is_no_event_is_refused(broken: Any, path: str) -> None:
    """The error says which event it is, and where in it."""
    with pytest.raises(Invalid) as caught:
        list(stages_of([START, broken]))
    assert (caught.value.path, caught.value.where) == (path, "event 2")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
NAMES = ["schema", "version", "columnLineage", "documentation", "errorMessage", "parent", "sql", "outputStatistics"]
INNER = [
    "fields",
    "datasetVersion",
    "message",
    "run",
    "job",
    "runId",
    "query",
    "rowCount",
    "description",
    "inputFields",
]
FACETS = JSON | st.dictionaries(
    st.sampled_from(NAMES), JSON | st.dictionaries(st.sampled_from(INNER), JSON | st.dictionaries(st.just("x"), JSON))
)


@given(FACETS, FACETS, FACETS, FACETS)
def test_strange_facets_never_break_a_reader(run: Any, job: Any, data: Any, output: Any) -> None:
    """Whatever facets hold, they are read or refused as Invalid."""
    odd = {"namespace": "n", "name": "t", "facets": data, "outputFacets": output}
    with suppress(Invalid):
        list(stages_of([event("COMPLETE", 1, facets=run, job_facets=job, outputs=[odd])]))


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        ("s3://lake/a/b.parquet", ("s3://lake", "a/b.parquet")),
        ("s3a://key:secret@lake/a?X-Amz-Signature=abc#part", ("s3://lake", "a")),
        ("gcs://lake/a", ("gs://lake", "a")),
        ("s3://lake", ("s3://lake", "/")),
        ("abfss://data@account.dfs.core.windows.net/a/b", ("abfss://data@account.dfs.core.windows.net", "a/b")),
        ("hdfs://node:8020/a/b", ("hdfs://node:8020", "/a/b")),
        ("file:///tmp/a.csv", ("file", "/tmp/a.csv")),
        ("file://host/tmp/a.csv", ("file://host", "/tmp/a.csv")),
        ("/tmp/a.csv", ("file", "/tmp/a.csv")),
        ("postgresql://user:secret@db:5432/shop/public/orders", ("postgres://db:5432", "shop.public.orders")),
        ("bigquery://project/sales/orders", ("bigquery", "project.sales.orders")),
        ("https://user@example.com/a?token=abc", ("https://example.com", "/a")),
        ("a.csv", None),
        ("wine: the data", None),
        ("://", None),
        ("http://[broken", None),
        ("", None),
    ],
)
def test_a_place_has_the_name_that_openlineage_gives_it(uri: str, named: Any) -> None:
    """So other tools name the same place the same; credentials and queries are no part of a name."""
    assert location(uri) == named


def own(name: str, version: str | None = None) -> dict[str, Any]:
    """A node of the graph, as events name it."""
    return dataset(name, "arangopipe", **({"version": {"datasetVersion": version}} if version else {}))


def test_data_of_our_namespace_are_the_stored_nodes() -> None:
    """A run of others is linked to the nodes of the graph that it names, and makes none; others are passed over."""
    given = {
        "inputs": [own("dataset/bottles", "1"), own("featureset/a/b"), own("model/forest"), own("project/wine")],
        "outputs": [own("dataset/bottles"), own("model/forest"), own("dataset/"), own("nothing")],
    }
    [stage] = stages_of([event("COMPLETE", 1, **given)])
    assert [node.type.kind for node in stage.nodes] == ["Run"]
    assert sorted((edge.type.name, *edge.tokens) for edge in stage.edges) == [
        ("run_datasets", stage.nodes[0].id, f"datasets/{key_of('Dataset', ['bottles', '1'])}"),
        ("run_featuresets", stage.nodes[0].id, "featuresets?a/b"),
        ("run_models", "models?forest", stage.nodes[0].id),
        ("run_outputs", stage.nodes[0].id, "datasets?bottles"),
    ]


@pytest.mark.parametrize("facet", [{}, {"node": None}, {"node": {"kind": "Run", "_id": "run/x"}}, {"node": "odd"}])
def test_what_our_operators_told_is_left_out_where_the_graph_has_it(facet: Any) -> None:
    """An event with our facet and no data of others makes no run."""
    assert told([event("COMPLETE", 1, facets={FACET: facet}, outputs=[own("dataset/bottles")])]) == []


def test_what_our_run_produced_elsewhere_is_its_own() -> None:
    """The run is the stored one, and only the data of others is added; a node that is no run is none of it."""
    given = {"outputs": [dataset("a", "s3://models"), own("model/forest")]}
    [stage] = stages_of([event("COMPLETE", 1, facets={FACET: {"node": {"kind": "Run", "_id": "run/x"}}}, **given)])
    assert [(node.type.kind, node.content["name"]) for node in stage.nodes] == [("Dataset", "s3://models/a")]
    assert [edge.tokens for edge in stage.edges] == [("run/x", stage.nodes[0].id)]
    assert told([event("COMPLETE", 1, facets={FACET: {"node": {"kind": "Run", "_id": "odd/x"}}}, **given)]) == []
