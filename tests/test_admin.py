"""Provisioning a database."""

import multiprocessing
from typing import Any

import pytest

from arangopipe_ops import admin
from arangopipe_ops.admin import provision
from arangopipe_ops.connection import connect
from arangopipe_ops.model import AUDIT, GRAPH, SCHEMA


def test_provisioning_creates_what_the_model_says(db: Any) -> None:
    """Every collection, edge definition and index of the model is there."""
    graph = db.graph(GRAPH)
    assert {d["edge_collection"] for d in graph.edge_definitions()} == set(SCHEMA.edges)
    assert set(graph.vertex_collections()) == {node.collection for node in SCHEMA.nodes.values()}
    for collection, wanted in SCHEMA.indexes().items():
        present = {(tuple(i["fields"]), i["unique"], i["sparse"]) for i in db.collection(collection).indexes()}
        assert {(index.fields, index.unique, index.sparse) for index in wanted} <= present


def test_provisioning_again_is_one_request(db: Any, requests_of: Any) -> None:
    """On a provisioned database nothing changes, and it costs one request."""
    requests = requests_of(db)
    assert provision(db) is False
    assert len(requests) == 1


def test_provisioning_is_in_the_audit(db: Any) -> None:
    """The audit says when the graph was provisioned, and as what."""
    [entry] = list(db.collection(AUDIT).all())
    assert entry["definition"] == admin.definition()
    assert entry["at"].endswith("Z")


def test_what_exists_stays(empty_db: Any) -> None:
    """A database with the graph, some collections and data in them is completed, and the data stay."""
    empty_db.create_graph(GRAPH, [admin.definition()["edges"][0]])
    collection = admin.definition()["edges"][0]["from_vertex_collections"][0]
    empty_db.collection(collection).insert({"_key": "old", "name": "from before"})
    assert provision(empty_db) is True
    assert empty_db.collection(collection).get("old")["name"] == "from before"
    assert {d["edge_collection"] for d in empty_db.graph(GRAPH).edge_definitions()} == set(SCHEMA.edges)


def provision_url(url: str) -> bool:
    return provision(connect(url))


@pytest.mark.slow
def test_provisioning_at_once(url: str, empty_db: Any) -> None:
    """Four processes that provision an empty database at the same time all succeed."""
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        answers = pool.map(provision_url, [url] * 4)
    assert any(answers)
    assert provision(empty_db) is False
