"""Metrics that runs are ranked by: an index each, by which the best of very many are found."""

from dataclasses import replace
from typing import TYPE_CHECKING

from arangopipe_ops import model
from arangopipe_ops.admin.extension import change_schema
from arangopipe_ops.admin.provisioning import apply, plan, stored_extension
from arangopipe_ops.errors import Invalid
from arangopipe_ops.model import OWN, SCHEMA, Index, Schema
from arangopipe_ops.store import driver_errors

if TYPE_CHECKING:
    from arango.database import StandardDatabase

_KIND = "DevPerf"


def ranked(db: "StandardDatabase") -> list[str]:
    """Return the metrics that runs are ranked by."""
    with driver_errors():
        return ranked_in(model.extended(stored_extension(db)))


def ranked_in(schema: Schema) -> list[str]:
    """Return the metrics that runs of a schema are ranked by."""
    return [index.fields[0] for index in schema.node(_KIND).indexes if _ranks(index)]


def _ranks(index: Index) -> bool:
    return len(index.fields) == 1 and index not in SCHEMA.node(_KIND).indexes


def rank(db: "StandardDatabase", *metrics: str) -> bool:
    """Have runs ranked by metrics of their performance in development; return whether any was not yet.

    `best_run` and policies then find the best of a large project in an index, which each run that is written costs a
    little. Worth it for what decides over deployments. Raises Invalid for a metric inside another (`a.b`), and for what
    the store sets.
    """
    for metric in metrics:
        if not metric or "." in metric or "[" in metric or metric.startswith("_") or metric in OWN:
            raise Invalid("metric", f"{metric!r} is no metric that runs can be ranked by: one inside others is not")

    def with_them(schema: Schema) -> Schema:
        return _ranking(schema, [*ranked_in(schema), *metrics])

    return change_schema(db, with_them, f"rank: {', '.join(metrics)}", before=True)


def unrank(db: "StandardDatabase", *metrics: str) -> bool:
    """Drop what `rank` made for metrics; return whether any was ranked by."""

    def without_them(schema: Schema) -> Schema:
        return _ranking(schema, [each for each in ranked_in(schema) if each not in metrics])

    changed = change_schema(db, without_them, f"unrank: {', '.join(metrics)}", before=False)
    names = {f"{SCHEMA.node(_KIND).collection} ({metric})" for metric in metrics}
    with driver_errors():
        apply(db, [each for each in plan(db) if each.problem == "obsolete" and each.name in names])
    return changed


def _ranking(schema: Schema, metrics: list[str]) -> Schema:
    node = schema.node(_KIND)
    kept = [index for index in node.indexes if not _ranks(index) or index.fields[0] in metrics]
    new = [Index((metric,)) for metric in dict.fromkeys(metrics) if metric not in ranked_in(schema)]
    return schema.extended([replace(node, indexes=(*kept, *new))], [])
