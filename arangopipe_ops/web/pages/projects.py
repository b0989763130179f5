"""Projects: which there are, and what goes on in one. What a page costs does not grow with the project."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from markupsafe import Markup
from pydantic import BaseModel, Field
from starlette.responses import Response

from arangopipe_ops import drawing
from arangopipe_ops.analytics.deployments import standings
from arangopipe_ops.analytics.projects import COUNTED, LOOKED, activity, glance, inputs
from arangopipe_ops.analytics.runs import run_table
from arangopipe_ops.model import Document
from arangopipe_ops.store import Page, Store
from arangopipe_ops.store.search import MAX_PAGE
from arangopipe_ops.web.pages.charts import bars, lines
from arangopipe_ops.web.pages.nodes import rows_of
from arangopipe_ops.web.pages.pictures import is_number
from arangopipe_ops.web.pages.rendering import address_of, instant, render, timed
from arangopipe_ops.web.pages.sessions import CallersStore

RUNS, RECENT, BEST, MODELS, SPANS = 200, 20, 5, 5, 12
_LESS_IS_BETTER = re.compile(r"loss|error|mae|mse|perplexity|latency|seconds|\btime|_time", re.IGNORECASE)

routes = APIRouter()


class Asked(BaseModel):
    """Which projects are looked for."""

    name: str = ""
    sort: Literal["created", "name"] = "created"
    limit: int = Field(50, ge=1, le=200)
    cursor: str = ""

    def found(self, store: Store) -> Page:
        """Return a page of the projects."""
        return store.search(
            "Project",
            name=self.name or None,
            order_by=self.sort,
            descending=self.sort == "created",
            limit=self.limit,
            cursor=self.cursor or None,
            within=MAX_PAGE,
        )

    def next(self, cursor: str) -> str:
        """Return the address of the page that a cursor leads to."""
        return address_of("/projects", self, cursor=cursor)


@routes.get("/projects")
def projects(request: Request, store: CallersStore, asked: Annotated[Asked, Query()]) -> Response:
    """Show which projects there are, and what goes on in each."""
    page = asked.found(store)
    facts = {
        "asked": asked,
        "page": page,
        "active": activity(store, [node["_id"] for node in page["nodes"]]),
        "counted": LOOKED,
        "next": asked.next(page["cursor"]) if page["cursor"] else None,
    }
    return render(request, "projects.html", facts)


# --- one project


class Measured(BaseModel):
    """By which metric runs are compared; an empty text is what is usual."""

    metric: str = ""
    goal: Literal["", "max", "min"] = ""


@routes.get("/projects/{key}")
def project(request: Request, store: CallersStore, key: str, asked: Annotated[Measured, Query()]) -> Response:
    """Show what there is in a project, its newest runs, the best of them, and what of it is active."""
    id = f"project/{key}"
    found = glance(store, id)
    runs = run_table(store, project=id, window=RUNS, limit=RUNS)["rows"]
    metrics = metrics_of(runs)
    metric = asked.metric or (metrics[0] if metrics else "")
    goal = asked.goal or ("min" if _LESS_IS_BETTER.search(metric) else "max")
    stands = standings(store, found["active"])
    facts = {
        "id": id,
        "found": found,
        "name": found["project"].get("name", key),
        "runs": [_told(run) for run in runs[:RECENT]],
        "sample": len(runs),
        "most": {"runs": RUNS, "counted": COUNTED, "looked": LOOKED},
        "metrics": metrics,
        "metric": metric,
        "goal": goal,
        "best": [_told(run) for run in best_of(runs, metric, goal)],
        "trend": _trend(runs, metric) if metric else None,
        "pictures": _pictures(runs, found["techniques"]),
        "active": list(stands.values()),
        "inputs": _inputs(store, runs),
    }
    return render(request, "project.html", facts)


def metrics_of(runs: Sequence[Document]) -> list[str]:
    """Return the names of the figures that runs measured, the most frequent first."""
    named = Counter(name for run in runs for name, value in run["metrics"].items() if is_number(value))
    return sorted(named, key=lambda name: (-named[name], name))


def best_of(runs: Sequence[Document], metric: str, goal: str) -> list[Document]:
    """Return the runs that did best by a metric."""
    measured = [run for run in runs if is_number(run["metrics"].get(metric))]
    return sorted(measured, key=lambda run: run["metrics"][metric], reverse=goal == "max")[:BEST]


def trend(runs: Sequence[Document], metric: str) -> dict[str, list[tuple[datetime, float | None]]]:
    """Return a metric over time by model, the models with the most runs first."""
    points: dict[str, list[tuple[datetime, float | None]]] = defaultdict(list)
    for run in runs:
        at, value = instant(run["at"]), run["metrics"].get(metric)
        if at is not None and is_number(value):
            points[_model_of(run)].append((at, value))
    return {name: sorted(points[name]) for name in sorted(points, key=lambda name: (-len(points[name]), name))}


def _trend(runs: Sequence[Document], metric: str) -> Markup:
    series = trend(runs, metric)
    few = dict(islice(series.items(), MODELS))
    return lines(f"{metric}, of {len(few)} of {len(series)} models" if len(few) < len(series) else metric, few)


def _pictures(runs: Sequence[Document], techniques: Mapping[str, int]) -> Iterator[Markup]:
    if techniques:
        yield bars("Models by technique", {str(name): count for name, count in techniques.items()})
    if runs:
        yield bars("Runs by status", dict(Counter(str(run["run"].get("status", "unknown")) for run in runs)))
        unit, spans = _by_time(runs)
        cut = f", the newest {SPANS} of {len(spans)}" if len(spans) > SPANS else ""
        yield bars(f"Runs by {unit}{cut}", dict(sorted(spans.items(), reverse=True)[:SPANS]))


def _by_time(runs: Sequence[Document]) -> tuple[str, Counter[str]]:
    """Return how many runs there were in a day, or in a month if there are many days."""
    days = Counter(str(run["at"])[:10] for run in runs)
    return ("day", days) if len(days) <= SPANS else ("month", Counter(str(run["at"])[:7] for run in runs))


def _inputs(store: Store, runs: Sequence[Document]) -> list[Document]:
    read = inputs(store, [run["run"]["_id"] for run in runs])
    rows = rows_of([each["node"] for each in read], store.schema)
    return [row | {"runs": each["runs"]} for row, each in zip(rows, read, strict=True)]


def _told(run: Document) -> Document:
    """Return a run with its figures as texts."""
    params, metrics = (timed(drawing.summary(kind, run[facts])) for kind, facts in _FACTS.items())
    return run | {"obtained": params, "measured": metrics}


_FACTS = {"ModelParams": "params", "DevPerf": "metrics"}


def _model_of(run: Document) -> str:
    return str((run["model"] or {}).get("name", "unknown model"))
