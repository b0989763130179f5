"""Deployments: what serves where, how well, and which of them should."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from markupsafe import Markup
from pydantic import BaseModel, Field
from starlette.responses import Response

from arangopipe_ops.analytics import Policy, select_model, serving
from arangopipe_ops.analytics.coverage import Hole, covered, holes
from arangopipe_ops.analytics.deployments import standing, standings
from arangopipe_ops.errors import Invalid
from arangopipe_ops.model import Document, moment, sure_key
from arangopipe_ops.store import Page, Store
from arangopipe_ops.web.pages.charts import lines
from arangopipe_ops.web.pages.rendering import address_of, done, figure, instant, name_of, render
from arangopipe_ops.web.pages.sessions import CallersRights, CallersSession, CallersStore, Form, needs, sure
from arangopipe_ops.web.pages.waiting import patient
from arangopipe_ops.web.works import turn

STATUSES = ("active", "scheduled", "archived")
PROJECTS, PERIODS, POINTS, CHARTS, CANDIDATES, HOLES = 100, 200, 100, 3, 10, 50

routes = APIRouter()


class Asked(BaseModel):
    """Which deployments are looked for; an empty text is a condition that is not made."""

    project: str = ""
    environment: str = ""
    status: Literal["", "active", "scheduled", "archived"] = "active"
    limit: int = Field(50, ge=1, le=200)
    cursor: str = ""

    def found(self, store: Store) -> Page:
        """Return a page of the deployments. What has no status, or no environment, is of the original Arangopipe."""
        where: dict[str, Any] = {}
        if self.project:
            key = sure_key("Project", self.project)
            where["project"] = {"in": [self.project, key, f"project/{key}"]}
        for name, value, unsaid in (("environment", self.environment, "production"), ("status", self.status, "active")):
            if value:
                where[name] = {"in": [value, None]} if value == unsaid else value
        return store.search("Deployment", where, limit=self.limit, cursor=self.cursor or None, count=False)

    def next(self, cursor: str) -> str:
        """Return the address of the page that a cursor leads to."""
        return address_of("/deployments", self, cursor=cursor)


@routes.get("/deployments")
def deployments(request: Request, store: CallersStore, asked: Annotated[Asked, Query()]) -> Response:
    """Show which deployments there are, and how each stands."""
    page, projects = asked.found(store), store.search("Project", limit=PROJECTS, count=False)
    stands = standings(store, [node["_id"] for node in page["nodes"]])
    facts = {
        "asked": asked,
        "rows": [stands[node["_id"]] for node in page["nodes"] if node["_id"] in stands],
        "next": asked.next(page["cursor"]) if page["cursor"] else None,
        "projects": [name_of(each, store.schema) for each in projects["nodes"]],
        "statuses": STATUSES,
    }
    return render(request, "deployments.html", facts)


# --- one deployment


class Span(BaseModel):
    """Of which time, and of which metric, the performance is shown; an empty text is what is usual."""

    metric: str = ""
    since: str = ""
    until: str = ""


@routes.get("/deployments/{key}")
@patient
def deployment(
    request: Request, store: CallersStore, rights: CallersRights, key: str, asked: Annotated[Span, Query()]
) -> Response:
    """Show how a deployment stands, and how it has served; what is no time is told beside the form."""
    found, problem = standing(store, f"deployment/{key}", PERIODS), None
    try:
        since, until = _span(asked, found)
    except Invalid as error:
        problem, (since, until) = str(error), _span(Span(), found)
    shown = [asked.metric] if asked.metric else _telling(found)[:CHARTS]
    served = {metric: _served(store, found, metric, since, until) for metric in shown}
    missing = _missing(store, found, since, until)
    facts = {
        "found": found,
        "asked": asked,
        "problem": problem,
        "metrics": _telling(found),
        "most": CHARTS,
        "charts": [_chart(metric, rows, _references(found, metric)) for metric, rows in served.items()],
        "figures": [_figures(metric, rows, found) for metric, rows in served.items() if rows],
        "since": since,
        "missing": missing[-HOLES:][::-1],
        "holes": len(missing),
        "may": rights,
    }
    return render(request, "deployment.html", facts, 422 if problem else 200)


def _span(asked: Span, found: Document) -> tuple[str | None, str]:
    """Return of which time the performance is shown: what was asked for, or else that of the newest periods.

    It ends when the deployment did. Raises Invalid.
    """
    until = moment(asked.until, "until") if asked.until else moment(datetime.now(UTC), "until")
    oldest = found["oldest"] if instant(found["oldest"]) else None  # another program may have written something else
    since = moment(asked.since, "since") if asked.since else oldest
    ended = found["node"].get("ended") if found["status"] == "archived" else None
    return since, min(until, ended) if isinstance(ended, str) else until


def _telling(found: Document) -> list[str]:
    """Return the metrics of serving performance: first those with an alert, then those known from development."""
    alerted = [alert.get("metric") for alert in found["alerts"]]
    return sorted(found["metrics"], key=lambda name: (name not in alerted, name not in found["development"], name))


def _served(store: Store, found: Document, metric: str, since: str | None, until: str) -> list[Document]:
    return serving(store, metric, deployment=found["id"], since=since, until=until, points=POINTS)


def _chart(metric: str, rows: Sequence[Document], references: Mapping[str, float]) -> Markup:
    """Return a metric over time: where periods were put together, their mean between the least and the greatest."""
    names = {"mean": metric} if all(row["n"] == 1 for row in rows) else {"mean": "mean", "min": "least", "max": "most"}
    return lines(metric, {name: list(_points(rows, each)) for each, name in names.items()}, references=references)


def _points(rows: Sequence[Document], name: str) -> Iterator[tuple[datetime, float | None]]:
    """Yield the values of spans over time, with a gap where the next does not begin when the last one ended."""
    ended: datetime | None = None
    for row in rows:
        start, end = instant(row["start"]), instant(row["end"])
        if start is None:
            continue
        if ended is not None and start > ended:
            yield ended, None
        yield start, row[name]
        ended = end


def _references(found: Document, metric: str) -> dict[str, float]:
    """Return what a metric is measured by: the run's own figure, and the limits of its alerts."""
    limits = {alert["rule"]: alert.get("threshold") for alert in found["alerts"] if alert.get("metric") == metric}
    known = {"in development": found["development"].get(metric)}
    known |= {f"limit, {rule}": limit for rule, limit in limits.items()}
    return {f"{name}: {figure(value)}": value for name, value in known.items() if isinstance(value, int | float)}


def _figures(metric: str, rows: Sequence[Document], found: Document) -> Document:
    """Return a metric in figures, for the table beside its chart."""
    count = sum(row["n"] for row in rows)
    mean = sum(row["mean"] * row["n"] for row in rows) / count
    development = found["development"].get(metric)
    return {
        "metric": metric,
        "development": development,
        "mean": mean,
        "difference": None if development is None else mean - development,
        "least": min(row["min"] for row in rows),
        "most": max(row["max"] for row in rows),
        "newest": rows[-1]["mean"],
        "periods": count,
    }


def _missing(store: Store, found: Document, since: str | None, until: str) -> list[Hole]:
    """Return the stretches in which the deployment served and its performance is not known."""
    if since is None:
        return []
    node = found["node"]
    known = covered(store, [node["_key"]], since, until, None)
    begun = instant(node.get("start"))
    begin = max(since, moment(begun, "start")) if begun else since
    return holes(((start, end) for _, start, end in known), begin, until)


# --- promotion


class Rule(BaseModel):
    """The policy that is asked what it would select: a look at all runs of the project. Without a metric none is."""

    metric: str = ""
    goal: Literal["max", "min"] = "max"
    threshold: str = ""
    min_improvement: str = ""
    task: str = ""

    def policy(self, found: Document) -> Policy | None:
        """Return the policy for the place of a deployment, None without a metric. Raises Invalid."""
        threshold = _number("threshold", self.threshold)
        improvement = _number("better by at least", self.min_improvement)
        if not self.metric:
            return None
        return Policy(
            metric=self.metric,
            goal=self.goal,
            threshold=threshold,
            min_improvement=improvement or 0.0,
            environment=found["environment"],
            task=self.task or None,
        )


def _number(label: str, text: str) -> float | None:
    """Return a figure as it was typed, None for an empty text. Raises Invalid."""
    try:
        return float(text) if text.strip() else None
    except ValueError:
        raise Invalid(label, f"{text[:80]!r} is not a number") from None


@routes.get("/deployments/{key}/promotion")
@patient
def promotion(
    request: Request, store: CallersStore, rights: CallersRights, key: str, asked: Annotated[Rule, Query()]
) -> Response:
    """Show what a policy would select, by which figures, and the form that makes this deployment the active one."""
    found = standing(store, f"deployment/{key}", PERIODS)
    policy, problem = None, None
    try:
        policy = asked.policy(found)
    except Invalid as error:
        problem = str(error)
    selection, candidate = None, None
    if policy is not None and found["project"] is not None:
        with turn(request):
            selection = select_model(store, found["project"], policy, runners_up=CANDIDATES - 1)
        candidate = selection["candidate"]
    facts = {
        "found": found,
        "asked": asked,
        "problem": problem,
        "policy": policy,
        "selection": selection,
        "candidates": [candidate, *selection["runners_up"]] if selection and candidate else [],
        "chosen": candidate and candidate["run"],
        "agrees": bool(candidate and found["run"] and found["run"]["_id"] == candidate["run"]),
        "may": rights,
    }
    return render(request, "promotion.html", facts, 422 if problem else 200)


@routes.post("/deployments/{key}/promotion", dependencies=[needs("write")])
def promote(store: CallersStore, request: Request, session: CallersSession, key: str, fields: Form) -> Response:
    """Make a deployment the active one, if that which the page showed as active still is."""
    id = f"deployment/{key}"
    change = store.promote({"_id": id}, over=fields.get("over", ""), reason=fields.get("reason") or None)
    replaced = [old["tag"] for old in change["replaced"] if old["_id"] != id]
    notice = f"{change['nodes'][0]['tag']} is active" + (f"; {', '.join(replaced)} is archived." if replaced else ".")
    return done(request, session, f"/deployments/{key}", notice)


@routes.post("/deployments/{key}/retirement", dependencies=[needs("write"), Depends(sure)])
def retire(store: CallersStore, request: Request, session: CallersSession, key: str, fields: Form) -> Response:
    """End a deployment."""
    change = store.retire({"_id": f"deployment/{key}"}, reason=fields.get("reason") or None)
    return done(request, session, f"/deployments/{key}", f"{change['nodes'][0]['tag']} is archived.")
