"""The transport, as openlineage-python makes and calls it."""

import logging
from typing import Any

import pytest

from arangopipe_ops import Store, connect

client = pytest.importorskip("openlineage.client")

TYPE = "arangopipe_ops.openlineage.transport.ArangopipeTransport"


def emitted(url: str | None) -> None:
    from openlineage.client.event_v2 import Job, OutputDataset, Run, RunEvent, RunState

    config = {"transport": {"type": TYPE, **({"url": url} if url else {})}}
    run = Run("01890000-0000-7000-8000-000000000001")
    client.OpenLineageClient(config=config).emit(
        RunEvent(
            eventType=RunState.COMPLETE,
            eventTime="2026-05-04T03:02:01Z",
            run=run,
            job=Job("spark", "etl"),
            producer="https://producer",
            outputs=[OutputDataset("s3://lake", "a/b")],
        )
    )


def test_a_client_with_the_transport_writes_into_the_graph(store: Store, url: str) -> None:
    """A tool's configuration names the class, and its events are in the graph."""
    emitted(url)
    assert store.get({"name": "s3://lake/a/b", "version": "unversioned"}, "Dataset")["uri"] == "s3://lake/a/b"
    assert [run["job"] for run in store.search("Run")["nodes"]] == ["spark/etl"]


def test_the_environment_says_which_graph(store: Store, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a URL in the configuration ARANGOPIPE_URL counts."""
    monkeypatch.setenv("ARANGOPIPE_URL", url)
    emitted(None)
    assert store.counts()["run_outputs"] == 1


def test_a_job_goes_on_where_its_metadata_cannot_be_written(empty_db: Any, url: str, caplog: Any) -> None:
    """A graph that is not provisioned is a warning in the log, and no error of the job."""
    with caplog.at_level(logging.WARNING):
        emitted(url)
    assert "was not recorded" in caplog.text
    assert connect(url).has_graph("enterprise_ml_graph") is False
