"""Pieces that the questions share, and how a question is put: one statement, one answer, one request.

In every piece `m` is a model, `r` a run, `p` a project, `d` a deployment.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from arangopipe_ops import model
from arangopipe_ops.errors import Invalid, NotFound
from arangopipe_ops.model import Document
from arangopipe_ops.store import Store
from arangopipe_ops.store.search import attribute

Goal = Literal["max", "min"]

# Arguments that several questions have, with the words for them where their name is none.
Best = Annotated[Goal, "best is"]
DatasetName = Annotated[str, "data set"]
Since = Annotated[str | datetime | None, "since"]
Until = Annotated[str | datetime | None, "before"]
Time = Annotated[str | datetime, "at the time"]
AtMost = Annotated[int, "rows, at most"]

ORDERS: Mapping[str, str] = {"max": "DESC", "min": "ASC"}
"""How to sort so that the best value of a goal comes first."""

_RUNS = """
    LET linked = (FOR link IN run_models FILTER link._from {models} RETURN link._to)
    FOR r IN run
      FILTER r._id IN linked AND r.archived == null"""
# Looked up together, which costs less than a DOCUMENT() for each, above all in a cluster.

RUNS = _RUNS.format(models="== m._id")

RUNS_OF_ALL = _RUNS.format(models="IN ids")
"""The runs of the models with these `ids`, each run once."""

# What the original Arangopipe wrote has a local `timestamp` instead, with a space where ISO 8601 has a T.
AT = '(r.start != null ? r.start : r.timestamp != null ? SUBSTITUTE(r.timestamp, " ", "T") : r.created)'
"""When a run was: its start, or else when it was logged."""

WITHIN = f"""
      LET at = {AT}
      FILTER (@since == null OR at >= @since) AND (@until == null OR at < @until)"""

METRICS = """FIRST(FOR x IN run_devperf FILTER x._from == r._id SORT x.created DESC LIMIT 1
        RETURN DOCUMENT(x._to))"""

PARAMS = """FIRST(FOR x IN run_modelparams FILTER x._from == r._id SORT x.created DESC LIMIT 1
        RETURN DOCUMENT(x._to))"""

READ = """UNION_DISTINCT(
        (FOR x IN run_datasets FILTER x._from == r._id RETURN x._to),
        (FOR x IN run_featuresets FILTER x._from == r._id
          FOR y IN featureset_dataset FILTER y._from == x._to RETURN y._to))"""
"""The data sets that a run read, by themselves or through its feature sets."""

READERS = """UNION_DISTINCT(
      (FOR x IN run_datasets FILTER x._to == data._id RETURN x._from),
      (FOR y IN featureset_dataset FILTER y._to == data._id
        FOR x IN run_featuresets FILTER x._to == y._from RETURN x._from))"""
"""The runs that read the data set `data`, by itself or through its feature sets."""

PROMOTED = """NOT_NULL(
      FIRST(FOR x IN deployment_run FILTER x._from == d._id SORT x.created DESC RETURN x._to),
      FIRST(FOR x IN deployment_modelparams FILTER x._from == d._id SORT x.created DESC
        FOR y IN run_modelparams FILTER y._to == x._to RETURN y._from))"""
"""The run that a deployment promoted, the last one if it was registered again; the original Arangopipe linked only the
parameters that it obtained."""

DEPLOYED = """UNION_DISTINCT(
    (FOR d IN deployment FILTER d.project IN [p._key, p._id, p.name] RETURN d._id),
    (FOR x IN project_models FILTER x._from == p._id
      FOR y IN deployment_model FILTER y._to == x._to
        FILTER DOCUMENT(y._from).project == null
        RETURN y._from))"""
"""The deployments of a project; those of the original Arangopipe tell theirs only by their model."""

PROJECT_OF = """(d.project == null
      ? FIRST(FOR x IN deployment_model FILTER x._from == d._id
          FOR y IN project_models FILTER y._to == x._to RETURN DOCUMENT(y._from))
      : NOT_NULL(
          FIRST(FOR q IN project FILTER q.name == d.project RETURN q),
          FIRST(FOR q IN project FILTER q._key == LAST(SPLIT(d.project, "/")) RETURN q),
          {name: d.project}))"""
"""The project of a deployment; where there is none, one that has but the name that the deployment tells."""


def named(kind: str, variable: str) -> str:
    """Return AQL for the nodes that a reference leads to: one by key, or all versions of a name."""
    type_ = model.SCHEMA.node(kind)
    return f"""
LET {variable} = UNION_DISTINCT(
  (FOR n IN {type_.collection} FILTER n._key == @{variable}_key RETURN n),
  (FOR n IN {type_.collection}
    FILTER @{variable} != null AND n.{type_.name} == @{variable} AND n.archived == null RETURN n))"""


def bound(kind: str, variable: str, reference: Any) -> Document:
    """Return what `named` binds. Raises Invalid."""
    target = model.target(kind, reference)
    return {variable: target.name, f"{variable}_key": target.key}


def value_of(document: str, metric: str | None, binds: Document) -> str:
    """Return AQL for a metric in a document, null where it is not a number; it may be inside another (`a.b`)."""
    if metric is None:
        return "null"
    found = attribute(metric, "metric", binds).replace("d.@", f"{document}.@").replace("d[", f"{document}[")
    return f"(IS_NUMBER({found}) ? {found} : null)"


def order_of(goal: str) -> str:
    """Return how to sort for a goal. Raises Invalid."""
    if goal not in ORDERS:
        raise Invalid("goal", f"{goal!r} is not max or min")
    return ORDERS[goal]


def finite(**numbers: float | None) -> None:
    """Refuse what is no number to compare with; None is one that is not given. Raises Invalid."""
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, int | float | None):
            raise Invalid(name, f"{number!r} is not a number")
        if number is not None and not abs(number) < math.inf:
            raise Invalid(name, f"{number!r} is not a finite number")


def period(since: Any, until: Any) -> Document:
    """Return what `WITHIN` binds: times as canonical text. Raises Invalid."""
    times = {"since": since, "until": until}
    return {name: None if at is None else model.moment(at, name) for name, at in times.items()}


def ask(store: Store, text: str, binds: Document, **sought: Any) -> Any:
    """Return the `answer` of a statement that tells in `found` which of the `sought` names exist. Raises NotFound."""
    [result] = store.query(text, binds)
    missing = [f"{kind} {sought[kind]!r}" for kind, found in (result.get("found") or {}).items() if not found]
    if missing:
        raise NotFound(missing)
    return result["answer"]
