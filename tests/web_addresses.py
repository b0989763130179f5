"""An address of every page, for what goes through all of them: the tests, and `benchmarks/pages.py`.

A page that is not in `ADDRESSES` is an error there, so that no page is left out.
"""

from collections.abc import Iterator, Mapping
from urllib.parse import quote

from fastapi import FastAPI

from arangopipe_ops import Store

ADDRESSES: Mapping[str, tuple[str, ...]] = {
    "/sign-in": ("/sign-in",),
    "/": ("/",),
    "/search": (
        "/search",
        "/search?kind=Run",
        "/search?kind=Run&sort=status&columns=all",
        "/search?kind=Dataset&tag=gold&text=lake&since=2020-01-01",
        "/search?text=nothing+has+these+words",
        "/search?name=project+1",
        "/search?where=status%3Dfailed",
        "/search?since=2025-06-01",
        "/search?name=p&text=run",
        "/search?kind=Run&sort=status&way=asc&limit=500&columns=all",
    ),
    "/search.csv": ("/search.csv?kind=Dataset", "/search.csv?kind=Run&tag=none"),
    "/search.json": ("/search.json?kind=Model",),
    "/nodes/{collection}/{key}": (
        "/nodes/{project}",
        "/nodes/{dataset}",
        "/nodes/{model}",
        "/nodes/{run}",
        "/nodes/{deployment}",
    ),
    "/nodes/{collection}/{key}/raw": ("/nodes/{run}/raw",),
    "/nodes/{collection}/{key}/lineage": (
        "/nodes/{run}/lineage",
        "/nodes/{dataset}/lineage",
        "/nodes/{deployment}/lineage",
        "/nodes/{dataset}/lineage?depth=8&fan=500&most=2000",
        "/nodes/{model}/lineage?open={run}&open={dataset}&open={model}&open={project}&open={deployment}",
    ),
    "/nodes/{collection}/{key}/lineage.{ending}": ("/nodes/{run}/lineage.svg", "/nodes/{run}/lineage.mmd"),
    "/nodes/{collection}/{key}/impact": ("/nodes/{dataset}/impact", "/nodes/{run}/impact"),
    "/nodes/{collection}/{key}/linked": (
        "/nodes/{model}/linked?edge=run_models",
        "/nodes/{dataset}/linked?edge=run_datasets&outward=false",
        "/nodes/{dataset}/linked?edge=run_datasets&outward=false&skip=9900",
    ),
    "/projects": ("/projects", "/projects?name=p&sort=name"),
    "/projects/{key}": ("/projects/{project_key}", "/projects/{project_key}?metric=loss"),
    "/deployments": ("/deployments", "/deployments?status=&limit=200"),
    "/deployments/{key}": ("/deployments/{deployment_key}", "/deployments/{deployment_key}?since=2020-01-01"),
    "/deployments/{key}/promotion": (
        "/deployments/{deployment_key}/promotion",
        "/deployments/{deployment_key}/promotion?metric=accuracy",
    ),
    "/runs": (
        "/runs",
        "/runs?project={project}",
        "/runs?project={project}&status=failed&since=2020-01-01",
        "/runs?model={model}&sort=metrics.accuracy&where=status%3Dfailed",
        "/runs?limit=500&x=params.seed&y=metrics.accuracy",
    ),
    "/runs.csv": ("/runs.csv?model={model}",),
    "/runs.json": ("/runs.json?model={model}",),
    "/runs/compare": ("/runs/compare", "/runs/compare?run={run}"),
    "/ask": ("/ask",),
    "/ask/{name}": (
        "/ask/live",
        "/ask/best-run",
        "/ask/attribute-gain?attribute=amount&dataset={dataset}&metric=accuracy&ask=yes",
        "/ask/best-run?metric=accuracy&project={project}&limit=10&ask=yes",
        "/ask/datasets-used?task={task}&ask=yes",
        "/ask/influence?dataset={dataset}&ask=yes",
        "/ask/live?at=2026-10-31&ask=yes",
        "/ask/model-at?model={model}&at=2026-10-31&ask=yes",
        "/ask/selections?task={task}&ask=yes",
        "/ask/serving?metric=accuracy&ask=yes",
        "/ask/serving-drift?metric=accuracy&ask=yes",
        "/ask/summary?project={project}&ask=yes",
        "/ask/techniques?task={task}&metric=accuracy&ask=yes",
        "/ask/transformations?task={task}&ask=yes",
    ),
    "/ask/{name}.{ending}": ("/ask/live.csv?at=2026-01-01",),
    "/query": ("/query",),
    "/admin": ("/admin",),
    "/admin/nodes": ("/admin/nodes", "/admin/nodes?kind=Run"),
    "/admin/types": ("/admin/types",),
    "/admin/retention": ("/admin/retention", "/admin/retention?days=30"),
    "/admin/doctor": ("/admin/doctor",),
    "/admin/users": ("/admin/users",),
    "/admin/users/user": ("/admin/users/user?name=root",),
}
"""Paths of pages, each with addresses of it; in braces is the `_id` of a node, or a task."""

KINDS = ("Project", "Dataset", "Featureset", "Model", "Run", "ModelParams", "DevPerf", "Deployment", "ServingPerf")


def ids_of(store: Store) -> dict[str, str]:
    """Return the newest node of each kind, and the task of that model."""
    newest = {kind.lower(): store.search(kind, limit=1)["nodes"][0] for kind in KINDS}
    return {**{name: node["_id"] for name, node in newest.items()}, "task": newest["model"]["task"]}


def addresses(app: FastAPI, ids: Mapping[str, str]) -> Iterator[str]:
    """Yield addresses of every page that the application has, with these nodes. Raises LookupError."""
    known = {**ids, **{f"{name}_key": id.partition("/")[2] for name, id in ids.items()}}
    known = {name: quote(value) for name, value in known.items()}
    paths = [route.path for route in app.routes if "GET" in getattr(route, "methods", ())]  # type: ignore[attr-defined]
    pages = [path for path in paths if not path.startswith("/api/")]
    if missing := set(pages) - ADDRESSES.keys():
        raise LookupError(f"tests/web_addresses.py has no address of {', '.join(sorted(missing))}")
    for path in pages:
        yield from (address.format(**known) for address in ADDRESSES[path])
