"""Questions about how well models do: in development, at a past time, and in production."""

from typing import Annotated, Any, Literal

from arangopipe_ops import model as graph
from arangopipe_ops.analytics.candidates import candidates, source_of
from arangopipe_ops.analytics.statements import (
    AT,
    DEPLOYED,
    METRICS,
    PARAMS,
    PROJECT_OF,
    PROMOTED,
    READ,
    RUNS,
    AtMost,
    Best,
    Since,
    Time,
    Until,
    ask,
    bound,
    named,
    order_of,
    period,
    value_of,
)
from arangopipe_ops.errors import Invalid
from arangopipe_ops.model import Document
from arangopipe_ops.store import Store
from arangopipe_ops.store.search import Where

_APART = [*graph.OWN, *graph.ANNOTATIONS, "run_id"]

_INPUTS = """
  datasets: (FOR id IN {read} LET n = DOCUMENT(id) FILTER n != null
    SORT n.name, n.version RETURN KEEP(n, "_id", "name", "version", "uri", "checksum")),
  featuresets: (FOR x IN run_featuresets FILTER x._from == r._id LET n = DOCUMENT(x._to) FILTER n != null
    SORT n.name, n.version RETURN KEEP(n, "_id", "name", "version"))"""

INPUTS = _INPUTS.format(read=READ)

_BEST = """WITH project, models, run, modelparams, devperf, datasets, featuresets
{known}{candidates}
RETURN {{found: {{{found}}}, answer: (FOR c IN candidates
  LET r = c.r
  RETURN {{
  run_id: r.run_id,
  run: r._id,
  model: c.m.name,
  model_id: c.m._id,
  model_version: c.m.version,
  technique: c.m.technique == null ? c.m.type : c.m.technique,
  value: c.value,
  at: c.at,
  tag: r.tag,
  params: UNSET({params}, @apart),
  metrics: UNSET(c.metrics, @apart),{inputs}
  }})}}"""


def best_run(
    store: Store,
    metric: str,
    goal: Best = "max",
    project: str | None = None,
    task: str | None = None,
    technique: str | None = None,
    tag: str | None = None,
    since: Since = None,
    until: Until = None,
    status: str | None = "completed",
    where: Annotated[Where | None, "conditions, one on each line"] = None,
    limit: AtMost = 1,
) -> list[Document]:
    """Which run is the best by a metric in development, that is, which model should be deployed on its statistics?

    One row per run, the best first (of equals the newest), at most `limit`; by the `goal` the most or the least of
    the metric is best. The runs can be those of a `project`, a `task`, a `technique`, with a `tag`, from `since`
    (included) to `until` (not; bare dates are midnight UTC), of a `status` (runs that tell none count as completed;
    None: any), and meet `where`: conditions as in a search, on the run, and on `params.`, `metrics.` and `model.` of
    it. `run_id` and `run` (its _id); `model`, `model_id`, `model_version` and `technique`; `value`: the metric, in its
    own unit; `at`: when the run was, UTC; `tag`; `params`, `metrics`, `datasets` and `featuresets` of the run. Raises
    NotFound for a project that is not there.
    """
    binds: Document = {
        **period(since, until),
        "task": task,
        "technique": technique,
        "tag": tag,
        "statuses": None if status is None else [status],
        "limit": whole(limit),
        "apart": _APART,
    }
    known, found = "", ""
    if project is not None:
        known, found = named("Project", "owner") + "\nLET p = FIRST(owner)", "Project: p != null"
        binds |= bound("Project", "owner", project)
    text = candidates(metric, goal, where or {}, source_of(project, task), binds)
    statement = _BEST.format(known=known, candidates=text, found=found, params=PARAMS, inputs=INPUTS)
    return [_plain(row) for row in ask(store, statement, binds, Project=project)]


_MODEL_AT = """WITH models, run, modelparams, devperf, datasets, featuresets
{known}
RETURN {{found: {{Model: LENGTH(model) > 0}}, answer: (
  FOR m IN model{runs}
      LET at = {at}
      FILTER at <= @at
      SORT at DESC, r._key
      LIMIT @limit
      LET metrics = {metrics}
      RETURN {{
  run_id: r.run_id,
  run: r._id,
  model: m.name,
  model_id: m._id,
  model_version: m.version,
  at,
  status: r.status,
  params: UNSET({params}, @apart),
  metrics: UNSET(metrics, @apart),
  revised: metrics.revised,{inputs}
      }})}}"""


def model_at(store: Store, model: str, at: Time, limit: AtMost = 1) -> list[Document]:
    """How was a model trained at a past time, and how well did it do ("two months ago")?

    The newest runs of the model (a name: of all its versions) that started at `at` or before (a bare date is its
    midnight in UTC), the newest first, at most `limit`. `run_id` and `run` (its _id); `model`, `model_id`,
    `model_version`; `at`: when the run was, UTC; `status`; `params`: what it was trained with; `metrics`: how well it
    did in development, in the metrics' own units; `revised`: when the metrics were last corrected, UTC, null if never;
    `datasets` and `featuresets`: what it read. Raises NotFound for a name that no model has.
    """
    binds = {"at": graph.moment(at, "at"), "limit": whole(limit), "apart": _APART, **bound("Model", "model", model)}
    statement = _MODEL_AT.format(
        known=named("Model", "model"), runs=RUNS, at=AT, metrics=METRICS, params=PARAMS, inputs=INPUTS
    )
    return [_plain(row) for row in ask(store, statement, binds, Model=model)]


# --- in production

PERIODS = """(FOR s IN APPEND(
      (FOR n IN servingperf
        FILTER n.deployment == d._key AND n.period_start >= NOT_NULL(@since, "") AND n.period_start < @end RETURN n),
      (FOR x IN deployment_servingperf FILTER x._from == d._id AND x.period_start == null RETURN DOCUMENT(x._to)))
      LET at = s.period_start == null ? s.period : s.period_start
      LET value = {value}
      FILTER value != null AND at < @end AND (@since == null OR at >= @since)
      RETURN {{at, until: s.period_end, value}})"""
# Nodes of the original do not say whose they are, nor their edges when the period started.

_CHOSEN: dict[str, str] = {
    "Deployment": "\nLET ids = served[*]._id",
    "Project": f"\nLET p = FIRST(owner)\nLET ids = p == null ? [] : {DEPLOYED}",
    "": "\nLET ids = (FOR d IN deployment FILTER d.archived == null RETURN d._id)",
}


def _deployments(project: str | None, deployment: str | None, binds: Document) -> tuple[str, str]:
    """Return AQL for the `ids` of the deployments that are asked for, and for whether what was named exists."""
    if project is not None and deployment is not None:
        raise Invalid("deployment", "is given with a project; give one of them")
    if deployment is not None:
        binds |= bound("Deployment", "served", deployment)
        return named("Deployment", "served") + _CHOSEN["Deployment"], "Deployment: LENGTH(served) > 0"
    if project is not None:
        binds |= bound("Project", "owner", project)
        return named("Project", "owner") + _CHOSEN["Project"], "Project: LENGTH(owner) > 0"
    return _CHOSEN[""], ""


Every = Literal["hour", "day", "week", "month", "year"]

BUCKETS: dict[Every | None, str] = {
    None: "s.at",
    "hour": 'CONCAT(LEFT(s.at, 13), ":00:00.000Z")',
    "day": "LEFT(s.at, 10)",
    "week": 'LEFT(DATE_SUBTRACT(LEFT(s.at, 10), (DATE_DAYOFWEEK(LEFT(s.at, 10)) + 6) % 7, "day"), 10)',
    "month": 'CONCAT(LEFT(s.at, 7), "-01")',
    "year": 'CONCAT(LEFT(s.at, 4), "-01-01")',
}
"""How periods are put together, by their start in UTC; a week begins on Monday."""

_POINT = "FLOOR((DATE_TIMESTAMP(s.at) - begin) / width)"
"""Which of so many equal spans a period starts in."""

_SPANS = """
  LET begin = DATE_TIMESTAMP(@since == null ? MIN(periods[*].at) : @since)
  LET over = DATE_TIMESTAMP(@end == "9999" ? MAX(periods[*].at) : @end)
  LET width = CEIL((over - begin + 1) / @points)"""

_SERVING = """WITH project, models, deployment, servingperf
{known}
RETURN {{found: {{{found}}}, answer: (FOR id IN ids
  LET d = DOCUMENT(id)
  FILTER d != null
  LET periods = {periods}{spans}
  FOR s IN periods
    COLLECT tag = d.tag, deployment_id = id, bucket = {bucket} INTO group = {{at: s.at, value: s.value, until: s.until}}
    LET values = group[*].value
    RETURN MERGE({{
      deployment: tag,
      deployment_id,
      start: {start},
      end: MAX(group[*].until),
      n: LENGTH(values),
      mean: AVERAGE(values),
      min: MIN(values),
      max: MAX(values)
    }}, ZIP(@names, @percentiles[* RETURN PERCENTILE(values, CURRENT, "interpolation")])))}}"""


def serving(
    store: Store,
    metric: str,
    deployment: str | None = None,
    project: str | None = None,
    since: Since = None,
    until: Until = None,
    every: Annotated[Every | None, "put together by"] = None,
    points: Annotated[int | None, "points, at most"] = None,
    source: str | None = None,
    percentiles: str = "50,95",
) -> list[Document]:
    """How did deployments serve over time?

    One row per deployment and period, the oldest first: of one `deployment`, those of a `project`, or all; of periods
    that start from `since` (included) to `until` (not), bare dates being midnight UTC; as one `source` tells, or all.
    `every` puts periods together by the hour, day, week (from Monday), month or year in which they start, UTC; for a
    chart, `points` puts them together in at most so many equal spans. `deployment`: its tag, and
    `deployment_id`; `start`, `end`: of the period, or the start of the hour, day, week, month or year, or of the first
    period in the span, and the end of the last period, UTC; `n`: how many values of the metric; their `mean`, `min`,
    `max`, and interpolated `percentiles` (numbers with commas): `p50` (median) and `p95`, in the metric's own unit.
    Raises NotFound for a deployment or project that is not there.
    """
    if every not in BUCKETS:
        raise Invalid("every", f"{every!r} is not {', '.join(filter(None, BUCKETS))}")
    if every is not None and points is not None:
        raise Invalid("points", "is given with every; give one of them")
    binds: Document = {**_span(since, until), **_percentiles(percentiles)}
    known, found = _deployments(project, deployment, binds)
    value = value_of("s", metric, binds)
    if source is not None:
        binds["source"] = source
        value = f"(s.source == @source ? {value} : null)"
    if points is not None:
        binds["points"] = whole(points, "points")
    text = _SERVING.format(
        known=known,
        found=found,
        periods=PERIODS.format(value=value),
        spans=_SPANS if points is not None else "",
        bucket=BUCKETS[every] if points is None else _POINT,
        start="bucket" if points is None else "MIN(group[*].at)",
    )
    return list(ask(store, text, binds, Project=project, Deployment=deployment))


def _percentiles(percentiles: str) -> Document:
    """Return what binds the percentiles and the names of their columns."""
    try:
        wanted = [float(each) for each in percentiles.split(",")]
    except (ValueError, AttributeError):
        raise Invalid("percentiles", f"{percentiles!r} are not numbers such as 50,99.9") from None
    if not all(0 < each <= 100 for each in wanted):
        raise Invalid("percentiles", f"{percentiles!r} are not all above 0 and at most 100")
    return {"percentiles": wanted, "names": [f"p{each:g}" for each in wanted]}


_DRIFT = """WITH project, models, run, modelparams, devperf, deployment, servingperf
{known}
RETURN {{found: {{{found}}}, answer: (FOR id IN ids
  LET d = DOCUMENT(id)
  FILTER d != null
  LET periods = (FOR s IN {periods} SORT s.at RETURN s)
  FILTER LENGTH(periods) > 0
  LET r = DOCUMENT({promoted})
  LET metrics = r == null ? null : {metrics}
  LET development = {value}
  LET values = periods[*].value
  LET worse = development == null ? null : periods[* FILTER @sign * (CURRENT.value - development) < -@margin]
  LET serving = AVERAGE(values)
  LET of_project = {project}
  LET first = DATE_TIMESTAMP(LEFT(periods[0].at, 10))
  LET days = periods[* RETURN (DATE_TIMESTAMP(LEFT(CURRENT.at, 10)) - first) / 86400000]
  LET middle = AVERAGE(days)
  LET spread = SUM(days[* RETURN POW(CURRENT - middle, 2)])
  SORT d.tag
  RETURN {{
    deployment: d.tag,
    deployment_id: id,
    project: of_project.name,
    project_id: of_project._id,
    environment: d.environment,
    status: d.status,
    run_id: r.run_id,
    run: r._id,
    development,
    serving,
    difference: development == null ? null : serving - development,
    relative: development == null OR development == 0 ? null : (serving - development) / ABS(development),
    latest: LAST(values),
    periods: LENGTH(periods),
    below: worse == null ? null : LENGTH(worse),
    first_below: worse[0].at,
    last_period: LAST(periods).at,
    trend: spread > 0
      ? SUM(FOR i IN 0..LENGTH(days) - 1 RETURN (days[i] - middle) * (values[i] - serving)) / spread
      : null
  }})}}"""


def serving_drift(
    store: Store,
    metric: str,
    goal: Best = "max",
    deployment: str | None = None,
    project: str | None = None,
    since: Since = None,
    until: Until = None,
    margin: Annotated[float, "worse by more than"] = 0.0,
) -> list[Document]:
    """How far is serving performance from what was seen in development?

    One row per deployment with serving performance: of one `deployment`, those of a `project`, or all; of periods that
    start from `since` (included) to `until` (not), bare dates being midnight UTC. `deployment` (its tag) and
    `deployment_id`, `project`, `project_id`, `environment`, `status`; `run_id` and `run` (its _id): what it promoted;
    `development`: the metric of that run; `serving`: the mean over the periods; `difference`: serving minus
    development; `relative`: that by the size of development, as a share (-0.1: ten per cent less); `latest`: the value
    of the newest period, which starts at `last_period`; `periods`: how many; `below`: in how many of them the metric is
    worse than development, by the `goal`, by more than `margin`; `first_below`: when the first of them starts, UTC;
    `trend`: the least-squares slope, the metric's change in a day, null with a single day. What needs development is
    null where the promoted run or its metric is not known. Raises NotFound for a deployment or project that is not
    there.
    """
    order_of(goal)
    binds: Document = {**_span(since, until), "sign": 1 if goal == "max" else -1, "margin": margin}
    known, found = _deployments(project, deployment, binds)
    text = _DRIFT.format(
        known=known,
        found=found,
        periods=PERIODS.format(value=value_of("s", metric, binds)),
        promoted=PROMOTED,
        metrics=METRICS,
        value=value_of("metrics", metric, binds),
        project=PROJECT_OF,
    )
    return list(ask(store, text, binds, Project=project, Deployment=deployment))


def _span(since: Any, until: Any) -> Document:
    times = period(since, until)
    return {"since": times["since"], "end": times["until"] or "9999"}


def whole(number: int, name: str = "limit", least: int = 1) -> int:
    """Return a whole number from `least`. Raises Invalid."""
    if isinstance(number, bool) or not isinstance(number, int) or number < least:
        raise Invalid(name, f"{number!r} is not a number from {least}")
    return number


def _plain(row: Document) -> Document:
    """Return a row without the system attributes of the parameters and metrics in it."""
    facts = {
        name: {key: value for key, value in (row[name] or {}).items() if not key.startswith("_")}
        for name in ("params", "metrics")
    }
    return {**row, **facts}
