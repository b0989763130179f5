"""Runs side by side: what differs, and how their metrics went."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from markupsafe import Markup
from pydantic import BaseModel, Field
from starlette.responses import Response

from arangopipe_ops.analytics import curves
from arangopipe_ops.model import Document
from arangopipe_ops.store import Comparison
from arangopipe_ops.web.pages.charts import bars, scatter
from arangopipe_ops.web.pages.origins import origins
from arangopipe_ops.web.pages.pictures import is_number
from arangopipe_ops.web.pages.rendering import address_of, render
from arangopipe_ops.web.pages.runs import one_against_another
from arangopipe_ops.web.pages.sessions import CallersStore

COMPARED, BARS, CHARTS = 500, 30, 6

routes = APIRouter()


class Chosen(BaseModel):
    """Which runs are compared, by `_id` or `run_id`, and what is shown of them."""

    run: list[str] = Field([], max_length=COMPARED)
    only: Literal["", "differing"] = ""
    x: str = ""
    y: str = ""

    def without(self, index: int) -> str:
        """Return the address of the comparison without one of the runs."""
        return address_of("/runs/compare", self, run=[*self.run[:index], *self.run[index + 1 :]])


SECTIONS: Mapping[str, str] = {
    "params": "Parameters",
    "metrics": "Metrics",
    "data": "Model and data",
    "run": "The run itself",
}
"""The parts of a comparison, and how they are called."""


@routes.get("/runs/compare")
def compare(request: Request, store: CallersStore, asked: Annotated[Chosen, Query()]) -> Response:
    """Show runs side by side, with what differs marked and their metrics as charts."""
    if not asked.run:
        return render(request, "compare.html", {"asked": asked, "runs": []})
    found = store.compare(asked.run)
    logged = curves(store, found["ids"])
    numbers = _numbers(found)
    axes = [asked.x or _first(numbers, "params."), asked.y or _first(numbers, "metrics.")]
    facts = {
        "asked": asked,
        "runs": [
            {"id": id, "run_id": run_id, "origins": origins(logged[id]["run"]) if id in logged else []}
            for id, run_id in zip(found["ids"], found["runs"], strict=True)
        ],
        "sections": [(label, _rows(found, part, asked.only == "differing")) for part, label in SECTIONS.items()],
        "differing": len(found["differing"]),
        "numeric": sorted({*numbers, *filter(None, axes)}),
        "axes": axes,
        "chart": one_against_another(_points(found, numbers), *axes) if all(axes) and len(asked.run) > 1 else None,
        "charts": [*_curves(found, logged), *_bars(found)][:CHARTS],
    }
    return render(request, "compare.html", facts)


def _rows(found: Comparison, part: str, only_differing: bool) -> list[Document]:
    """Return what runs say under each name, and whether that differs."""
    table: Mapping[str, list[Any]] = found[part]  # type: ignore[literal-required]
    rows = [{"name": name, "values": values, "differs": _differs(found, part, name)} for name, values in table.items()]
    return [row for row in rows if row["differs"] or not only_differing]


def _differs(found: Comparison, part: str, name: str) -> bool:
    return f"{part}.{name}" in found["differing"]


def _numbers(found: Comparison) -> dict[str, list[Any]]:
    """Return the parameters and metrics that are numbers, at least for some of the runs."""
    parts = {"params": found["params"], "metrics": found["metrics"]}
    named = {f"{part}.{name}": values for part, table in parts.items() for name, values in table.items()}
    return {name: values for name, values in named.items() if any(map(is_number, values))}


def _first(numbers: Mapping[str, list[Any]], part: str) -> str:
    """Return the first figure of a part that tells runs apart, or else the first, or an empty text."""
    names = [name for name in numbers if name.startswith(part)]
    return next((name for name in names if len(set(map(str, numbers[name]))) > 1), names[0] if names else "")


def _points(found: Comparison, numbers: Mapping[str, list[Any]]) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Yield of each run its model, its name and its figures."""
    for i, run_id in enumerate(found["runs"]):
        model = ", ".join(found["data"]["models"][i]) or "no model"
        yield model, run_id, {name: values[i] for name, values in numbers.items() if is_number(values[i])}


def _curves(found: Comparison, logged: Mapping[str, Document]) -> Iterator[Markup]:
    """Yield for each metric that was logged step by step how it went, a line for each run."""
    named = zip(found["ids"], found["runs"], strict=True)
    series = {run_id: logged[id]["series"] for id, run_id in named if id in logged}
    for name in sorted({name for each in series.values() for name in each}):
        points = {run_id: list(_steps(run_id, each[name])) for run_id, each in series.items() if name in each}
        yield scatter(f"{name}, step by step", points, x="step", y=name, joined=True)


def _steps(label: str, series: list[Any]) -> Iterator[tuple[float, float | None, str]]:
    """Yield the points of a series; what is no number is a gap."""
    for step, value in series:
        if is_number(step):
            yield step, value if is_number(value) else None, label


def _bars(found: Comparison) -> Iterator[Markup]:
    """Yield for each metric that differs how much of it each run reached."""
    if len(found["runs"]) > BARS:
        return
    for name, values in found["metrics"].items():
        if _differs(found, "metrics", name) and any(map(is_number, values)):
            known = [value if is_number(value) else None for value in values]
            yield bars(name, dict(zip(found["runs"], known, strict=True)))
