"""The questions by name: the command line, the REST API and the UI make theirs from signature and docstring."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args, get_type_hints

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

Question = Callable[..., Any]

QUESTIONS: Mapping[str, Question] = {
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


def arguments(question: Question) -> list[inspect.Parameter]:
    """Return what a question takes beside the store, with the plain types of it."""
    types = get_type_hints(question)
    given = list(inspect.signature(question).parameters.values())[1:]
    return [parameter.replace(annotation=types[parameter.name]) for parameter in given]


def words(question: Question) -> dict[str, str]:
    """Return what people call the arguments of a question: the words that its type is annotated with, or its name."""
    types = get_type_hints(question, include_extras=True)
    names = [parameter.name for parameter in arguments(question)]
    return {name: _annotation(types[name]) or name.replace("_", " ") for name in names}


def _annotation(type_: Any) -> str | None:
    parts = (type_, *get_args(type_))
    return next((str(each.__metadata__[0]) for each in parts if hasattr(each, "__metadata__")), None)


_ODD: Mapping[str, str] = {"run_id": "run", "deployment": "id"}


def ids_of(columns: Iterable[str]) -> dict[str, str]:
    """Return for the columns of an answer that name nodes the columns that hold the `_id`s of these.

    They are `model_id` for `model` and `project_ids` for `projects`; a run is named by `run_id`, its `_id` is `run`.
    """
    known = list(columns)
    found = {name: ids for name, ids in _ODD.items() if name in known and ids in known}
    apart = found.values()
    regular = ((name, ids) for name in known for ids in (f"{name}_id", f"{name.removesuffix('s')}_ids"))
    return {name: ids for name, ids in regular if ids in known and name not in apart} | found
