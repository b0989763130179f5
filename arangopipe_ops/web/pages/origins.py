"""Where something was written: the orchestrator's own page about it, if what is stored leads to one."""

import os
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from arangopipe_ops.model import Document

KFP_VARIABLE = "ARANGOPIPE_KFP_URL"
"""Where Kubeflow's pages are; its components know the ids of their runs, and no address."""


def origins(document: Document) -> list[tuple[str, str]]:
    """Return what leads back to where a node was written: what it is called, and its address.

    What is stored is anybody's text: only the address of a web page is one here.
    """
    found = [(label, web_address(address(document))) for label, address in _ORIGINS.items()]
    return [(label, address) for label, address in found if address]


def web_address(text: Any) -> str | None:
    """Return a text that is the address of a web page, None for anything else, such as a script."""
    if not isinstance(text, str) or not text.isprintable() or " " in text:
        return None
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    return text if parts.scheme in ("http", "https") and parts.hostname else None


def _part(document: Document, *path: str) -> Mapping[str, Any]:
    """Return what stands at a path, empty where another program wrote something else there."""
    found: Any = document
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _airflow(document: Document) -> Any:
    return _part(document, "provenance").get("log_url")


def _kfp(document: Document) -> str | None:
    provenance = _part(document, "provenance")
    told = provenance.get("job_id") if provenance.get("through") == "kfp" else None
    id = told or _part(document, "orchestrator", "kfp").get("run_id")
    pages = os.environ.get(KFP_VARIABLE, "").rstrip("/")
    return f"{pages}/#/runs/details/{quote(str(id), safe='')}" if pages and id else None


def _github(document: Document) -> str | None:
    told = _part(document, "orchestrator", "github")
    server, repository, run = (told.get(name) for name in ("server", "repository", "run_id"))
    return (
        f"{server}/{quote(str(repository))}/actions/runs/{quote(str(run))}" if server and repository and run else None
    )


def _gitlab(document: Document) -> str | None:
    told = _part(document, "orchestrator", "gitlab")
    server, project, job = (told.get(name) for name in ("server", "project", "job_id"))
    return f"https://{server}/{quote(str(project))}/-/jobs/{quote(str(job))}" if server and project and job else None


_ORIGINS: Mapping[str, Callable[[Document], Any]] = {
    "Airflow task log": _airflow,
    "KFP run": _kfp,
    "GitHub run": _github,
    "GitLab job": _gitlab,
}
"""How the address of the page is made of what a node says, by what the page is called."""
