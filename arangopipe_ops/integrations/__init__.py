"""One file per outside system, named after it; each returns model values or plain rows, and never writes.

Those in `SOURCES` tell how deployments served (`source.py` says what they are asked and what they answer).
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from arangopipe_ops.errors import Invalid, Misconfigured

SOURCES: Mapping[str, str] = {
    "prometheus": "arangopipe_ops.integrations.prometheus:read",
    "mlflow": "arangopipe_ops.integrations.mlflow:read",
    "sql": "arangopipe_ops.integrations.sql:read",
    "files": "arangopipe_ops.integrations.files:read",
    "http": "arangopipe_ops.integrations.http:read",
    "python": "arangopipe_ops.integrations.python:read",
}
"""The sources of serving performance by name; each is imported when it is first used."""

ENTRY_POINTS = "arangopipe_ops.sources"
"""The group of entry points under which other packages add theirs; a name of `SOURCES` stays ours."""


def reader(name: str) -> Callable[..., Any]:
    """Return the function that reads a source. Raises Invalid for a name that none has, Misconfigured."""
    places = dict(SOURCES)
    if name not in places:  # reading the metadata of all packages takes a while
        places = {each.name: each.value for each in entry_points(group=ENTRY_POINTS)} | places
    if name not in places:
        raise Invalid("source", f"{name!r} is not one of {', '.join(sorted(places))}")
    return function(places[name])


def function(place: str) -> Callable[..., Any]:
    """Return the function at `module:name`. Raises Misconfigured."""
    module, _, _ = place.partition(":")
    try:
        found = EntryPoint("", place, "").load() if ":" in place else import_module(module)
    except (ImportError, AttributeError, ValueError) as error:
        raise Misconfigured(f"{place} cannot be imported: {error}") from error
    if not callable(found):
        raise Misconfigured(f"{place} is not a function; name one as module:function")
    return found  # type: ignore[no-any-return]
