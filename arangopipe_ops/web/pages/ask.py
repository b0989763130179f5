"""The questions of `analytics` as forms, and their answers as tables and charts.

A form is made of the question's signature and docstring, so that a new question is here without further ado.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Request
from markupsafe import Markup
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from arangopipe_ops.analytics import QUESTIONS, choices
from arangopipe_ops.analytics.questions import Question, arguments, ids_of, words
from arangopipe_ops.errors import Invalid, NotFound
from arangopipe_ops.model import Document, Schema
from arangopipe_ops.store.conditions import conditions_in
from arangopipe_ops.web.pages.exports import csv_file, json_file
from arangopipe_ops.web.pages.pictures import drawn, facts, figures, tables
from arangopipe_ops.web.pages.rendering import coded, node_path, render
from arangopipe_ops.web.pages.sessions import CallersStore
from arangopipe_ops.web.pages.waiting import patient
from arangopipe_ops.web.works import apart, turn

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
    label: str
    input: Input
    needed: bool
    default: str
    step: str
    options: tuple[str, ...]


def fields_of(question: Question) -> list[Field]:
    """Return the fields for what a question takes beside the store."""
    said = words(question)
    return [_field(parameter, said[parameter.name]) for parameter in arguments(question)]


class Number(NamedTuple):
    """A kind of numbers: from one to the next in a form, and what people call it."""

    step: str
    said: str


_NUMBERS: Mapping[Any, Number] = {int: Number("1", "a whole number"), float: Number("any", "a number")}


def _field(parameter: inspect.Parameter, label: str) -> Field:
    kinds, options = _kinds(parameter), _options(parameter)
    step = next((number.step for kind, number in _NUMBERS.items() if kind in kinds), "")
    return Field(
        name=parameter.name,
        label=label[0].upper() + label[1:],
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


def _options(parameter: inspect.Parameter) -> tuple[str, ...]:
    """Return what an argument is to be one of, if it is."""
    return tuple(each for kind in _kinds(parameter) if get_origin(kind) is Literal for each in get_args(kind))


def _input(name: str, kinds: Sequence[Any], options: Sequence[str], step: str) -> Input:
    if name == "where":
        return "conditions"
    if options:
        return "choice"
    return "number" if step else "time" if datetime in kinds else "text"


def _is_needed(parameter: inspect.Parameter) -> bool:
    return bool(parameter.default is parameter.empty)


def given(question: Question, sent: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments that a form has sent; an empty text is None where that may be. Raises Invalid."""
    return {
        parameter.name: _read(parameter, sent.get(parameter.name, "").strip())
        for parameter in arguments(question)
        if parameter.name in sent or _is_needed(parameter)
    }


def _read(parameter: inspect.Parameter, text: str) -> Any:
    if not text:
        return _unsaid(parameter)
    if parameter.name == "where":
        return conditions_in(text)
    try:
        return TypeAdapter(parameter.annotation).validate_python(text)
    except ValidationError:
        raise Invalid(parameter.name, f"{text[:80]!r} is not {_wanted(parameter)}") from None


def _wanted(parameter: inspect.Parameter) -> str:
    """Return what an argument is to be, in words."""
    number = next((number.said for kind, number in _NUMBERS.items() if kind in _kinds(parameter)), "such a value")
    return " or ".join(_options(parameter)) or number


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
    fields = fields_of(question)
    answer, problem, status = None, None, 200
    if "ask" in sent:
        try:
            asked = given(question, sent)
            with turn(request):
                answer = question(store, **asked)
        except NotFound as error:
            problem, status = str(error), 404
        except Invalid as error:
            problem, status = _said(error, fields), 422
    title, explained = _prose(question)
    wanted = [sent["draw"]] if sent.get("draw") else DRAWN.get(name, ())
    found, told = ({}, {}) if answer is None else (tables(answer), facts(answer))
    page = {
        "name": name,
        "title": title,
        "explained": explained,
        "fields": fields,
        "sent": sent,
        "query": request.url.query,
        "problem": problem,
        "answered": answer is not None,
        "tables": {label: _table(rows, store.schema) for label, rows in found.items()},
        "facts": told,
        "apart": set(ids_of(told).values()),
        "mentions": mentions(told, store.schema),
        "figures": list(dict.fromkeys(figure for rows in found.values() for figure in figures(rows))),
        "draw": next(iter(wanted), ""),
        "charts": [] if answer is None else list(drawn(answer, wanted)),
        "choices": choices(store, [field.name for field in fields]),
    }
    return render(request, "question.html", page, status)


def _said(error: Invalid, fields: Sequence[Field]) -> str:
    """Return what is wrong, by what the form calls it, without its hints."""
    name = error.path.partition(".")[0]
    label = next((field.label.partition(",")[0] for field in fields if field.name == name), error.path)
    return f"{label}: {error.problem}"


def _question(name: str) -> Question:
    if name not in QUESTIONS:
        raise HTTPException(404, f"There is no question {name!r}, but {', '.join(QUESTIONS)}.")
    return QUESTIONS[name]


def _prose(question: Question) -> tuple[str, list[Markup]]:
    """Return what a question asks, and the paragraphs that explain it."""
    title, *paragraphs = (inspect.getdoc(question) or question.__name__).split("\n\n")
    return title, [coded(each) for each in paragraphs]


MOST_ROWS = 500
"""So many rows of an answer are shown; its files have all."""


class Mention(NamedTuple):
    """What an answer calls a node, and the path that leads there."""

    name: str
    path: str


def _table(rows: Sequence[Document], schema: Schema) -> dict[str, Any]:
    """Return the first rows as a page shows them, each with the nodes that it names; their `_id`s are not shown."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    apart = ids_of(columns).values()
    return {
        "columns": [column for column in columns if column not in apart],
        "rows": [(row, mentions(row, schema)) for row in rows[:MOST_ROWS]],
        "more": len(rows) - MOST_ROWS,
    }


def mentions(row: Document, schema: Schema) -> dict[str, list[Mention]]:
    """Return by column the nodes that a row names, if it tells their `_id`s or, as a name of many versions, a kind."""
    ids, kinds = ids_of(row), {f"{kind.lower()}s": kind for kind in schema.nodes}
    named: dict[str, list[Mention]] = {}
    for column, value in row.items():
        several = _listed(value)
        if column in ids:
            named[column] = [_node(*each) for each in zip(several, _listed(row[ids[column]]), strict=False) if each[1]]
        elif column in kinds:
            named[column] = [each for it in several for each in _of_kind(it, kinds[column])]
    return {column: found for column, found in named.items() if found}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _node(name: str | None, id: str) -> Mention:
    return Mention(name or id, node_path(id))


def _of_kind(it: Any, kind: str) -> Iterator[Mention]:
    """Yield what a column of a kind names: a node of which there is the reference, or all that have a name."""
    if isinstance(it, str):
        yield Mention(it, f"/search?{urlencode({'kind': kind, 'name': it})}")
    if isinstance(it, Mapping) and "_id" in it:
        version = f" version {it['version']}" if it.get("version") else ""
        yield _node(f"{it.get('name') or it['_id']}{version}", it["_id"])
