"""Assets: their URIs, and the events of tasks that have them as outlets."""

from typing import Any
from urllib.parse import urlsplit

import pytest
from airflow_home import airflow, graph, run, states

from arangopipe_ops import stages
from arangopipe_ops.airflow import assets
from arangopipe_ops.errors import Invalid

__all__ = ["airflow", "graph"]

NAMES = ["wine", "Wine 2", "a/b", "überraschung 🍷", "50%", "x?y#z", "s3://lake/wine", "%2F"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("graph_name", [None, "prod"])
def test_every_name_has_a_uri_of_its_own(name: str, graph_name: str | None) -> None:
    """A URI is in its normal form at once: Airflow and its handler change nothing of it."""
    uri = assets.asset_uri("Dataset", name, graph=graph_name)
    assert assets.sanitize_uri(urlsplit(uri)).geturl() == uri
    assert assets.dataset_asset(name, graph=graph_name).uri == uri
    assert len({assets.asset_uri("Dataset", each, graph=graph_name) for each in NAMES}) == len(NAMES)


@pytest.mark.parametrize("kind", ["Model", "model", "models", "MODELS"])
def test_a_kind_may_be_spelled_in_any_way(kind: str) -> None:
    """Kind and collection, in any case, are one asset."""
    from airflow.sdk import Asset

    assert Asset(f"arangopipe://{kind}/forest/").uri == "arangopipe://model/forest"
    assert assets.create_asset(kind=kind, name="forest") == assets.model_asset("forest")


def test_credentials_are_dropped() -> None:
    """A user in the URI names no node and is left out."""
    assert assets.sanitize_uri(urlsplit("arangopipe://ann:pw@model/forest")).geturl() == "arangopipe://model/forest"


@pytest.mark.parametrize("uri", ["arangopipe://model", "arangopipe://a/model/b/c", "arangopipe:///"])
def test_a_uri_that_names_no_node_is_refused(uri: str) -> None:
    """What is no kind and name is an error where the DAG is written."""
    with pytest.raises(ValueError, match="is not arangopipe://kind/name"):
        assets.sanitize_uri(urlsplit(uri))


def test_an_asset_needs_a_name() -> None:
    """An empty name is refused."""
    with pytest.raises(Invalid, match="needs a kind and a name"):
        assets.model_asset("")


def test_assets_are_grouped_by_kind_and_keep_their_extra() -> None:
    """The group is the kind, unless another one is given."""
    asset = assets.model_asset("forest", extra={"owner": "ann"})
    assert (asset.group, asset.extra) == ("model", {"owner": "ann"})
    assert assets.model_asset("forest", group="mine").group == "mine"


def test_airflow_registers_handler_factory_and_converter() -> None:
    """Airflow finds all three of the scheme by the provider's description."""
    from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

    manager = ProvidersManagerTaskRuntime()
    assert manager.asset_uri_handlers["arangopipe"] is assets.sanitize_uri
    assert manager.asset_factories["arangopipe"] is assets.create_asset
    assert manager.asset_to_openlineage_converters["arangopipe"] is assets.convert_asset_to_openlineage


def test_openlineage_data_sets() -> None:
    """An asset is the same OpenLineage data set wherever it is written; names keep their characters."""
    pytest.importorskip("openlineage")
    found = assets.convert_asset_to_openlineage(assets.model_asset("a/b"), None)
    assert (found.namespace, found.name) == ("arangopipe", "model/a/b")
    found = assets.convert_asset_to_openlineage(assets.model_asset("forest", graph="prod"), None)
    assert (found.namespace, found.name) == ("arangopipe://prod", "model/forest")


@pytest.mark.slow
def test_asset_events_carry_the_ref(graph: Any) -> None:
    """The event of an outlet has the Ref as extra; an alias gets the asset of what was written."""
    from airflow.models.asset import AssetEvent
    from airflow.sdk import DAG, AssetAlias, task
    from airflow.utils.session import create_session

    project = graph.write(stages.register_project("wine"))
    graph.write(stages.register_model("forest", project=project))
    with DAG("with_outlets", schedule=None) as dag:

        @task.arangopipe_dataset(name="bottles", outlets=[assets.dataset_asset("bottles"), AssetAlias("whatever")])
        def extract() -> dict[str, int]:
            return {"rows": 3}

        extract()
    done = run(dag)
    assert states(done) == {"extract": "success"}
    ref = graph.get("bottles", "Dataset")["_id"]
    with create_session() as session:
        events = session.query(AssetEvent).filter_by(source_run_id=done.run_id, source_dag_id="with_outlets").all()
        found = [(event.uri, event.extra["_id"], event.extra["kind"]) for event in events]
    assert set(found) == {("arangopipe://dataset/bottles", ref, "Dataset")}
    assert 1 <= len(found) <= 2
