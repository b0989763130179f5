"""Names to choose from in forms: those of what was registered last."""

from collections.abc import Iterable, Mapping

from arangopipe_ops.store import Store

RECENT, RECENT_FACTS = 100, 20
"""Names are taken from so many nodes of a kind, those of metrics from fewer, which are larger; an index finds them."""

_NAMES = """(FOR n IN {collection} SORT n.created DESC, n._key DESC LIMIT {recent}
    FILTER IS_STRING(n.{attribute}) RETURN DISTINCT n.{attribute})"""

_NUMBERS = """(FOR n IN {collection} SORT n.created DESC, n._key DESC LIMIT {recent}
    FOR name IN ATTRIBUTES(n, true) FILTER IS_NUMBER(n[name]) RETURN DISTINCT name)"""


def _names(collection: str, attribute: str) -> str:
    return _NAMES.format(collection=collection, attribute=attribute, recent=RECENT)


def _numbers(collection: str) -> str:
    return _NUMBERS.format(collection=collection, recent=RECENT_FACTS)


_CHOICES: Mapping[str, str] = {
    "project": _names("project", "name"),
    "model": _names("models", "name"),
    "task": _names("models", "task"),
    "technique": _names("models", "technique"),
    "dataset": _names("datasets", "name"),
    "deployment": _names("deployment", "tag"),
    "environment": _names("deployment", "environment"),
    "tag": _names("run", "tag"),
    "status": _names("run", "status"),
    "source": _names("servingperf", "source"),
    "metric": f"UNION_DISTINCT({_numbers('devperf')}, {_numbers('servingperf')})",
}
"""Where the names are found, by what forms and questions call what they name."""


def choices(store: Store, wanted: Iterable[str]) -> dict[str, list[str]]:
    """Return recent names, in order, for each of `wanted` that there can be any of. One request, or none."""
    lists = [f"{name}: SORTED({_CHOICES[name]})" for name in wanted if name in _CHOICES]
    return dict(store.query(f"RETURN {{{', '.join(lists)}}}")[0]) if lists else {}
