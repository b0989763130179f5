"""Runs as a table, with parameters and metrics as columns."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from markupsafe import Markup
from pydantic import BaseModel, Field
from starlette.responses import Response

from arangopipe_ops.analytics import RunTable, choices, run_table
from arangopipe_ops.analytics.runs import WINDOW
from arangopipe_ops.errors import Invalid, NotFound
from arangopipe_ops.model import Document
from arangopipe_ops.store import Store
from arangopipe_ops.store.conditions import conditions_in
from arangopipe_ops.web.pages.charts import scatter
from arangopipe_ops.web.pages.exports import csv_file, json_file
from arangopipe_ops.web.pages.origins import origins
from arangopipe_ops.web.pages.pictures import is_number
from arangopipe_ops.web.pages.rendering import address_of, render, scalar
from arangopipe_ops.web.pages.sessions import CallersStore

LIMITS = (25, 50, 100, 500)
COLUMNS, BESIDE = 6, 50
CHOSEN = ("project", "model", "tag", "status", "metric")
PARTS: Mapping[str, str] = {"params": "Parameters", "metrics": "Metrics"}
"""What stands in columns beside the run's own attributes, and how it is called."""

routes = APIRouter()


class Asked(BaseModel):
    """Which runs are looked for and what is shown of them; an empty text is a condition that is not made."""

    project: str = ""
    model: str = ""
    tag: str = ""
    status: str = ""
    since: str = ""
    until: str = ""
    where: str = ""
    sort: str = "created"
    way: Literal["asc", "desc"] = "desc"
    show: list[str] = []
    x: str = ""
    y: str = ""
    limit: int = Field(50, ge=1, le=500)
    page: int = Field(1, ge=1, le=WINDOW)
    older: str = ""

    @property
    def filtered(self) -> bool:
        """Whether it looks for less than all runs."""
        return any((self.project, self.model, self.tag, self.status, self.since, self.until, self.where, self.older))

    def address(self, path: str = "/runs", **changes: Any) -> str:
        """Return the address of this table with some changes, on its first page unless another is given."""
        return address_of(path, self, **{"page": 1, **changes})

    def found(self, store: Store, offset: int, limit: int) -> RunTable:
        """Return the runs that meet the conditions. Raises NotFound, Invalid."""
        return run_table(
            store,
            project=self.project or None,
            model=self.model or None,
            tag=self.tag or None,
            status=self.status or None,
            since=self.since or None,
            until=self.until or None,
            where=conditions_in(self.where),
            order_by=self.sort,
            descending=self.way == "desc",
            offset=offset,
            limit=limit,
            older=self.older or None,
            window=WINDOW,
        )


Wanted = Annotated[Asked, Query()]


@routes.get("/runs")
def runs(request: Request, store: CallersStore, asked: Wanted) -> Response:
    """Show the form and the runs that meet it; what cannot be asked is told beside the form."""
    table, problem, status = RunTable(rows=[], found=0, looked=0, back_to=None, older=None), None, 200
    try:
        table = asked.found(store, (asked.page - 1) * asked.limit, asked.limit)
    except (Invalid, NotFound) as error:
        problem, status = str(error), 404 if isinstance(error, NotFound) else 422
    rows = table["rows"]
    names = asked.show or _telling(rows)
    facts = {
        "asked": asked,
        "problem": problem,
        "table": table,
        "rows": [{**row, "cells": _cells(row), "origins": origins(row["run"])} for row in rows],
        "columns": _by_part(names),
        "offered": sorted({*_columns(rows), *names}),
        "shown_names": names,
        "numeric": sorted({name for row in rows for name in _numbers(row)} | {asked.x, asked.y} - {""}),
        "chart": one_against_another(_by_model(rows), asked.x, asked.y) if asked.x and asked.y else None,
        "limits": sorted({*LIMITS, asked.limit}),
        "choices": choices(store, CHOSEN),
        "more": asked.page * asked.limit < table["found"],
        "all": urlencode([("run", row["run"]["_id"]) for row in rows]) if 1 < len(rows) <= BESIDE else None,
    }
    return render(request, "runs.html", facts, status)


@routes.get("/runs.csv")
def runs_csv(store: CallersStore, asked: Wanted) -> Response:
    """Return the runs as a table with all their parameters and metrics."""
    rows = asked.found(store, 0, WINDOW)["rows"]
    plain = [{**row["run"], **row, "model": (row["model"] or {}).get("name"), **_cells(row)} for row in rows]
    own = ["_id", "run_id", "status", "at", "end", "duration", "model", "tag", "tags"]
    return csv_file([*own, *_columns(rows)], plain, "runs.csv")


@routes.get("/runs.json")
def runs_json(store: CallersStore, asked: Wanted) -> Response:
    """Return the runs with all their parameters and metrics."""
    return json_file(asked.found(store, 0, WINDOW), "runs.json")


def _cells(row: Document) -> Document:
    """Return the parameters and metrics of a run by the name of their column; of a value that is not finite, which."""
    metrics = dict(row["metrics"])
    odd = metrics.pop("not_finite", None)
    parts = {"params": row["params"], "metrics": {**metrics, **(odd if isinstance(odd, Mapping) else {})}}
    return {f"{part}.{name}": value for part in PARTS for name, value in parts[part].items()}


def _columns(rows: Sequence[Document]) -> list[str]:
    """Return the names of all parameters and metrics."""
    return sorted({name for row in rows for name in _cells(row)})


def _telling(rows: Sequence[Document]) -> list[str]:
    """Return the columns to begin with: of parameters and of metrics those that most runs have, without nested ones."""
    count = Counter(name for row in rows for name, value in _cells(row).items() if scalar(value))
    common = sorted(count, key=lambda name: (-count[name], name))
    return [name for names in _by_part(common).values() for name in names[:COLUMNS]]


def _by_part(names: Iterable[str]) -> dict[str, list[str]]:
    return {label: [name for name in names if name.startswith(f"{part}.")] for part, label in PARTS.items()}


def _numbers(row: Document) -> dict[str, float]:
    return {name: value for name, value in _cells(row).items() if is_number(value)}


def _by_model(rows: Sequence[Document]) -> Iterator[tuple[str, str, dict[str, float]]]:
    for row in rows:
        model = row["model"] or {}
        yield str(model.get("name", "no model")), str(row["run"].get("run_id", "")), _numbers(row)


def one_against_another(runs: Iterable[tuple[str, str, dict[str, float]]], x: str, y: str) -> Markup:
    """Return one figure of runs against another; of each run the series it is of, its name and its figures."""
    points: dict[str, list[tuple[float, float, str]]] = {}
    for series, label, numbers in runs:
        if x in numbers and y in numbers:
            points.setdefault(series, []).append((numbers[x], numbers[y], label))
    return scatter(f"{y} by {x}", points, x=x, y=y)
