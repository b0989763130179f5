"""A graph with something to run, and what a run leaves in it."""

from typing import Any

import pytest
from conftest import provisioned

from arangopipe_ops import stages
from arangopipe_ops.capture import ORCHESTRATORS
from arangopipe_ops.store import Store
from arangopipe_ops.store.run import Run


def fill(url: str) -> None:
    store = Store(provisioned(url))
    store.write(stages.register_project("wine"))
    store.write(stages.register_model("forest", project="wine"))
    store.write(stages.register_dataset("data", uri="s3://lake/1"))
    store.write(stages.register_featureset("all", dataset="data"))


@pytest.fixture
def graph(filled_by: Any, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store with something to run, outside of any orchestrator."""
    for system in ORCHESTRATORS:
        for variable in (system.sign, *system.ids.values()):
            monkeypatch.delenv(variable, raising=False)
    return Store(filled_by(fill))


def metrics_of(store: Store, run: Run) -> dict[str, Any]:
    return store.get(f"devperf/{run.ref['_key']}")


def params_of(store: Store, run: Run) -> dict[str, Any]:
    return store.get(f"modelparams/{run.ref['_key']}")


def linked(store: Store, edge: str) -> list[str]:
    return sorted(e["_to"] for e in store.db.collection(edge).all())
