"""The questions of `analytics` as forms, and their answers as tables and charts.

A form is made of the question's signature and docstring, so that a new question is here without further ado.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from fastapi import APIRouter, HTTPException, Request
from markupsafe import Markup
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from arangopipe_ops.analytics import QUESTIONS, choices
from arangopipe_ops.errors import Invalid, NotFound
from arangopipe_ops.store.conditions import conditions_in
from arangopipe_ops.web.pages.exports import csv_file, json_file
from arangopipe_ops.web.pages.pictures import drawn, facts, figures, tables
from arangopipe_ops.web.pages.rendering import coded, render
from arangopipe_ops.web.pages.sessions import CallersStore
from arangopipe_ops.web.pages.waiting import apart, patient, turn

DRAWN: Mapping[str, tuple[str, ...]] = {
    "attribute-gain": ("wins", "losses", "ties"),
    "serving": ("mean",),
    "serving-drift": ("difference",),
}
"""The figures of an answer that say most, where that is not the first."""

routes = APIRouter()


Input = Literal["text", "time", "number", "choice", "conditions"]


class Field(NamedTuple):
    """A field of a form: what an argument of a question is called, and how it is given."""

    name: str
    input: Input
    needed: bool
    default: str
    step: str
    options: tuple[str, ...]


def fields_of(question: Callable[..., Any]) -> list[Field]:
    """Return the fields for what a question takes beside the store."""
    return [_field(parameter) for parameter in _arguments(question)]


def _arguments(question: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(question).parameters.values())[1:]


_STEPS: Mapping[Any, str] = {int: "1", float: "any"}


def _field(parameter: inspect.Parameter) -> Field:
    kinds = _kinds(parameter)
    options = tuple(each for kind in kinds if get_origin(kind) is Literal for each in get_args(kind))
    step = next((step for kind, step in _STEPS.items() if kind in kinds), "")
    return Field(
        name=parameter.name,
        input=_input(parameter.name, kinds, options, step),
        needed=_is_needed(parameter),
        default="" if _is_needed(parameter) or parameter.default is None else str(parameter.default),
        step=step,
        options=options if type(None) not in kinds else ("", *options),
    )


def _kinds(parameter: inspect.Parameter) -> tuple[Any, ...]:
    """Return the types that an argument may have."""
    annotation = parameter.annotation
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _input(name: str, kinds: Sequence[Any], options: Sequence[str], step: str) -> Input:
    if name == "where":
        return "conditions"
    if options:
        return "choice"
    return "number" if step else "time" if datetime in kinds else "text"


def _is_needed(parameter: inspect.Parameter) -> bool:
    return bool(parameter.default is parameter.empty)


def given(question: Callable[..., Any], sent: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments that a form has sent; an empty text is None where that may be. Raises Invalid."""
    return {
        parameter.name: _read(parameter, sent.get(parameter.name, "").strip())
        for parameter in _arguments(question)
        if parameter.name in sent or _is_needed(parameter)
    }


def _read(parameter: inspect.Parameter, text: str) -> Any:
    if not text:
        return _unsaid(parameter)
    if parameter.name == "where":
        return conditions_in(text)
    try:
        return TypeAdapter(parameter.annotation).validate_python(text)
    except ValidationError as error:
        raise Invalid(parameter.name, f"{text[:80]!r}: {error.errors()[0]['msg']}") from None


def _unsaid(parameter: inspect.Parameter) -> Any:
    """Return what an argument is of which nothing is said."""
    if _is_needed(parameter):
        raise Invalid(parameter.name, "is needed")
    return None if type(None) in _kinds(parameter) else parameter.default


# --- pages


@routes.get("/ask")
def ask(request: Request, store: CallersStore) -> Response:
    """Show which questions there are."""
    store.stage()
    return render(request, "ask.html", {"questions": {name: _prose(each)[0] for name, each in QUESTIONS.items()}})


@routes.get("/ask/{name}.{ending}")
@apart
def answer_file(request: Request, store: CallersStore, name: str, ending: str) -> Response:
    """Return an answer as a file: all of it as JSON, or its rows as CSV."""
    question = _question(name)
    with turn(request):
        answer = question(store, **given(question, request.query_params))
    if ending == "json":
        return json_file(answer, f"{name}.json")
    if ending != "csv":
        raise HTTPException(404, f"There is no {ending} of an answer, but csv, json.")
    rows = [row for each in tables(answer).values() for row in each] or [facts(answer)]
    return csv_file(list(dict.fromkeys(column for row in rows for column in row)), rows, f"{name}.csv")


@routes.get("/ask/{name}")
@patient
def answer(request: Request, store: CallersStore, name: str) -> Response:
    """Show the form of a question, and once it is sent the answer; what cannot be asked is told beside the form."""
    question, sent = _question(name), request.query_params
    answer, problem, status = None, None, 200
    if "ask" in sent:
        try:
            arguments = given(question, sent)
            with turn(request):
                answer = question(store, **arguments)
        except (Invalid, NotFound) as error:
            problem, status = str(error), 404 if isinstance(error, NotFound) else 422
    fields = fields_of(question)
    title, explained = _prose(question)
    wanted = [sent["draw"]] if sent.get("draw") else DRAWN.get(name, ())
    found = {} if answer is None else tables(answer)
    page = {
        "name": name,
        "title": title,
        "explained": explained,
        "fields": fields,
        "sent": sent,
        "query": request.url.query,
        "problem": problem,
        "answered": answer is not None,
        "tables": {label: _table(rows) for label, rows in found.items()},
        "facts": {} if answer is None else facts(answer),
        "figures": list(dict.fromkeys(figure for rows in found.values() for figure in figures(rows))),
        "draw": next(iter(wanted), ""),
        "charts": [] if answer is None else list(drawn(answer, wanted)),
        "choices": choices(store, [field.name for field in fields]),
    }
    return render(request, "question.html", page, status)


def _question(name: str) -> Callable[..., Any]:
    if name not in QUESTIONS:
        raise HTTPException(404, f"There is no question {name!r}, but {', '.join(QUESTIONS)}.")
    return QUESTIONS[name]


def _prose(question: Callable[..., Any]) -> tuple[str, list[Markup]]:
    """Return what a question asks, and the paragraphs that explain it."""
    title, *paragraphs = (inspect.getdoc(question) or question.__name__).split("\n\n")
    return title, [coded(each) for each in paragraphs]


MOST_ROWS = 500
"""So many rows of an answer are shown; its files have all."""

LINKS: Mapping[str, str] = {"run_id": "run", "deployment": "id"}
"""The columns that name a node, and those that hold its `_id`."""


def _table(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the first rows as a page shows them: names lead to the nodes whose `_id` stands in a column of its own."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    links = {name: id for name, id in LINKS.items() if name in columns and id in columns}
    shown = [column for column in columns if column not in links.values()]
    return {"columns": shown, "rows": rows[:MOST_ROWS], "more": len(rows) - MOST_ROWS, "links": links}
