"""Nodes of the graph as Airflow assets: `arangopipe://kind/name`, whose events carry the Ref.

A URI names a kind and a name, not a place: the graph may move, and its assets are the same. Where a deployment
of Airflow writes to several graphs, a `graph` before the kind tells them apart: `arangopipe://graph/kind/name`.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from airflow.sdk import Asset, AssetAlias, AssetWatcher

from arangopipe_ops.errors import Invalid

if TYPE_CHECKING:
    from airflow.sdk import Context

    from arangopipe_ops.model import Ref

SCHEME = "arangopipe"


def asset_uri(kind: str, name: str, *, graph: str | None = None) -> str:
    """Return the URI of a kind of node and its name, in its normal form. Raises Invalid."""
    if not kind or not name:
        raise Invalid("asset", f"needs a kind and a name, not {kind!r} and {name!r}")
    parts = [_kind(kind), _quoted(name)]
    return f"{SCHEME}://{'/'.join([_quoted(graph), *parts] if graph else parts)}"


def create_asset(
    *, kind: str, name: str, graph: str | None = None, extra: Mapping[str, Any] | None = None, **more: Any
) -> Asset:
    """Return the asset of a kind of node and its name; all versions of it are the same asset.

    `more` are arguments of Airflow's Asset (`watchers`, `group`). Raises Invalid.
    """
    from arangopipe_ops.model import canonical  # whoever parses a DAG without assets does not load it

    uri = asset_uri(kind, name, graph=graph)
    return Asset(name=uri, uri=uri, **{"group": _kind(kind), **more}, extra=canonical(dict(extra or {}), "extra"))


def dataset_asset(name: str, **more: Any) -> Asset:
    """Return the asset of a data set; `more` are the arguments of `create_asset`."""
    return create_asset(kind="Dataset", name=name, **more)


def model_asset(name: str, **more: Any) -> Asset:
    """Return the asset of a model; `more` are the arguments of `create_asset`."""
    return create_asset(kind="Model", name=name, **more)


def watched_asset(name: str, kind: str, where: Mapping[str, Any] | None = None, **trigger: Any) -> Asset:
    """Return an asset of that name which changes whenever a node of the kind is registered that meets `where`.

    Whoever writes it: a DAG with this schedule starts, and its asset event has the node's Ref as `payload`.
    `trigger` are further arguments of `triggers.NewNodeTrigger`.
    """
    from arangopipe_ops.airflow.triggers import NewNodeTrigger

    watch = NewNodeTrigger(kind, where, asset=name, **trigger)
    return Asset(name=name, group=_kind(kind), watchers=[AssetWatcher(name=name, trigger=watch)])


def asset_of(ref: Mapping[str, Any], *, graph: str | None = None) -> Asset:
    """Return the asset of a Ref, for an AssetAlias: what is known only when the task runs."""
    return create_asset(kind=ref["kind"], name=ref["name"], graph=graph)


def report(context: "Context", outlets: Iterable[Any], ref: "Ref") -> None:
    """Give the asset events of a task the Ref of what it wrote; an AssetAlias gets the asset of that Ref."""
    from arangopipe_ops.model import canonical

    events, extra = context["outlet_events"], canonical(ref, "extra")
    for outlet in outlets:
        if isinstance(outlet, AssetAlias):
            events[outlet].add(asset_of(ref), extra=extra)
        elif isinstance(outlet, Asset):
            events[outlet].extra |= extra


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Return a URI in its normal form: user and query left out, the kind spelled as in the graph.

    Airflow calls it for every asset of the scheme. Raises ValueError for a URI that names no node.
    """
    names = [unquote(part) for part in (uri.netloc.rpartition("@")[2], *uri.path.split("/")) if part]
    if len(names) not in (2, 3):
        raise ValueError(f"{uri.geturl()!r} is not {SCHEME}://kind/name or {SCHEME}://graph/kind/name")
    graph = names[0] if len(names) == 3 else None
    return urlsplit(asset_uri(names[-2], names[-1], graph=graph))


def convert_asset_to_openlineage(asset: Asset, lineage_context: Any) -> Any:
    """Return OpenLineage's data set for an asset: namespace `arangopipe` or `arangopipe://graph`, name `kind/name`."""
    from airflow.providers.common.compat.openlineage.facet import Dataset  # needs the OpenLineage provider

    uri = urlsplit(asset.uri)
    names = [unquote(part) for part in (uri.netloc, *uri.path.split("/")) if part]
    namespace = f"{SCHEME}://{names[0]}" if len(names) == 3 else SCHEME
    return Dataset(namespace=namespace, name="/".join(names[-2:]))


@cache
def _spelled() -> dict[str, str]:
    from arangopipe_ops.model import SCHEMA

    return {name.lower(): kind for kind, node in SCHEMA.nodes.items() for name in (kind, node.collection)}


def _kind(kind: str) -> str:
    """Return a kind as URIs spell it. Hosts know no case, so all kinds are lower case; a collection means its kind."""
    return _quoted(_spelled().get(kind.lower(), kind).lower())


def _quoted(name: str | None) -> str:
    return quote(str(name), safe="")
