"""The questions by name: the command line, the REST API and the UI make theirs from signature and docstring."""

from collections.abc import Callable, Mapping
from typing import Any

from arangopipe_ops.analytics.performance import best_run, model_at, serving, serving_drift
from arangopipe_ops.analytics.projects import live, summary
from arangopipe_ops.analytics.tasks import (
    attribute_gain,
    datasets_used,
    influence,
    selections,
    techniques,
    transformations,
)

QUESTIONS: Mapping[str, Callable[..., Any]] = {
    "techniques": techniques,
    "transformations": transformations,
    "selections": selections,
    "attribute-gain": attribute_gain,
    "datasets-used": datasets_used,
    "influence": influence,
    "model-at": model_at,
    "best-run": best_run,
    "summary": summary,
    "serving": serving,
    "serving-drift": serving_drift,
    "live": live,
}
"""Each takes a store, then plain values; it answers rows, or one row, of plain JSON, in one request."""
