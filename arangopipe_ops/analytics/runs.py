"""Runs as a table, with what they obtained and how well they did; and what their metrics went through."""

from collections.abc import Sequence
from typing import Any, TypedDict

from arangopipe_ops import model as graph
from arangopipe_ops.analytics.statements import AT, METRICS, PARAMS, ask, bound, named
from arangopipe_ops.errors import Invalid
from arangopipe_ops.model import ANNOTATIONS, OWN, Document
from arangopipe_ops.store import Store
from arangopipe_ops.store.search import Where, attribute, filters

WINDOW = 1_000
"""So many runs are looked at for one table, those registered last: most conditions on runs have no index."""

MODELS = 1_000
"""Of a project they are those of so many models, the ones registered last."""


class RunTable(TypedDict):
    """Some of the runs that meet the conditions, among those that were looked at.

    `rows` have `run`, `model`, `at` (when it was), `duration` (in seconds), `params` and `metrics`. `found` counts the
    runs that meet the conditions; `looked` all that were looked at, the last of them registered at `back_to`. `older`
    leads to those before it, if there are any.
    """

    rows: list[Document]
    found: int
    looked: int
    back_to: str | None
    older: str | None


_OF_ALL = """
  FOR x IN run{span}
    SORT x.created DESC, x._key DESC LIMIT @reach
    RETURN {{id: x._id, created: x.created}}"""

_OF_MODELS = """
  LET ids = {ids}
  LET enough = (FOR each IN FLATTEN((FOR id IN ids RETURN (FOR x IN run_models FILTER x._from == id{span}
      SORT x.created DESC, x._to DESC LIMIT @some
      RETURN {{id: x._to, created: x.created}})))
    COLLECT id = each.id AGGREGATE created = MAX(each.created)
    SORT created DESC LIMIT @window, 1
    RETURN created)[0]
  LET oldest = MAX([@since, enough])
  FOR each IN FLATTEN((FOR id IN ids RETURN (FOR x IN run_models FILTER x._from == id{before}
      FILTER x.created >= oldest
      SORT x.created DESC, x._to DESC LIMIT @reach
      RETURN {{id: x._to, created: x.created}})))
    COLLECT id = each.id AGGREGATE created = MAX(each.created)
    SORT created DESC, id DESC LIMIT @reach
    RETURN {{id, created}}"""

"""A few runs of each model tell how far back is enough; what is older is not read of models with many runs.

Of two limits an index may serve but one, so there is one.
"""

_OF_PROJECT = """(FOR x IN project_models FILTER x._from == owner[0]._id
      SORT x.created DESC, x._to DESC LIMIT @most RETURN x._to)"""

_TABLE = """WITH project, models, run, modelparams, devperf
{known}
LET reached = ({reached})
LET looked = SLICE(reached, 0, @window)
LET found = (FOR each IN looked
  LET r = DOCUMENT(each.id)
  FILTER r != null AND r.archived == null
    AND (@status == null OR r.status == @status)
    AND (@tag == null OR @tag IN [r.tag, r.deployment_tag] OR @tag IN r.tags[*]){facts}
  LET d = {document}{conditions}
  SORT {order}
  RETURN r._id)
RETURN {{found: {{{found}}}, answer: {{
  found: LENGTH(found),
  looked: LENGTH(looked),
  last: LAST(looked),
  more: LENGTH(reached) > @window,
  rows: (FOR id IN SLICE(found, @offset, @limit)
    LET r = DOCUMENT(id)
    LET m = {model}
    RETURN {{
      run: KEEP(r, @kept),
      at: {at},
      duration: {duration},
      model: m == null ? null : KEEP(m, "_id", "name", "version"),
      params: UNSET(NOT_NULL({params}, {{}}), @apart),
      metrics: UNSET(NOT_NULL({metrics}, {{}}), @apart)
    }})
}}}}"""

_MODEL = "FIRST(FOR x IN run_models FILTER x._to == r._id RETURN DOCUMENT(x._from))"

_DURATION = """(IS_NUMBER(r.duration) ? r.duration
      : IS_DATESTRING(r.start) AND IS_DATESTRING(r.end) ? (DATE_TIMESTAMP(r.end) - DATE_TIMESTAMP(r.start)) / 1000
      : null)"""
"""How many seconds a run took, as it says itself, or from its start to its end."""

_FACTS: dict[str, str] = {"params": PARAMS, "metrics": METRICS, "model": _MODEL, "at": AT, "duration": _DURATION}
"""What conditions and the order may be about beside the run's own attributes."""

_KEPT = [*ANNOTATIONS, "_id", "run_id", "status", "created", "end", "duration", "error", "provenance", "orchestrator"]
_APART = [*OWN, *ANNOTATIONS, "_id", "_key", "_rev", "run_id", "series"]


def run_table(
    store: Store,
    *,
    project: str | None = None,
    model: str | None = None,
    tag: str | None = None,
    status: str | None = None,
    since: Any = None,
    until: Any = None,
    where: Where | None = None,
    order_by: str = "created",
    descending: bool = True,
    offset: int = 0,
    limit: int = 50,
    older: str | None = None,
    window: int = WINDOW,
) -> RunTable:
    """Return runs with their parameters and metrics: of `window` runs those that meet all conditions, sorted.

    The runs looked at are those of a `project`, of a `model` (a name: of all its versions), or all, that were
    registered from `since` (included) to `until` (not), last registered first; `older` goes on where another table
    ended. `where` and `order_by` are about the run, and `params.`, `metrics.` and `model.` of it; a run that lacks what
    is sorted by comes last. One request. Raises NotFound for a project or model that is not there, Invalid.
    """
    binds: Document = {
        "window": window,
        "reach": window + 1,
        "status": status,
        "tag": tag,
        "offset": offset,
        "limit": limit,
        "kept": _KEPT,
        "apart": _APART,
    }
    conditions = filters(where or {}, binds)
    order = attribute(order_by, "order", binds)
    facts = sorted({name.partition(".")[0] for name in (*(where or {}), order_by)} & _FACTS.keys())
    known, found, ids = _models(project, model, binds)
    if ids:
        binds |= {"some": window // 10 + 1, "since": None}
    before = _before(until, older, "_to" if ids else "_key", binds)
    span = _since(since, binds) + before
    text = _TABLE.format(
        known=known,
        found=found,
        reached=_OF_MODELS.format(ids=ids, span=span, before=before) if ids else _OF_ALL.format(span=span),
        facts="".join(f"\n  LET {name} = {_FACTS[name]}" for name in facts),
        document=f"MERGE(r, {{{', '.join(facts)}}})" if facts else "r",
        conditions=conditions,
        order=f"{order} == null, {order} {'DESC' if descending else 'ASC'}, each.created DESC, each.id DESC",
        model=_MODEL,
        at=AT,
        duration=_DURATION,
        params=PARAMS,
        metrics=METRICS,
    )
    answer = ask(store, text, binds, Project=project, Model=model)
    last = answer["last"]
    return RunTable(
        rows=answer["rows"],
        found=answer["found"],
        looked=answer["looked"],
        back_to=last and last["created"],
        older=f"{last['created'] or ''}~{last['id'].partition('/')[2]}" if answer["more"] else None,
    )


def _models(project: str | None, model: str | None, binds: Document) -> tuple[str, str, str]:
    """Return AQL for what was named, for whether that exists, and for the models that were asked for, if any were."""
    known, found, ids = "", [], []
    for kind, variable, name, models in (
        ("Project", "owner", project, _OF_PROJECT),
        ("Model", "chosen", model, "chosen[*]._id"),
    ):
        if name is not None:
            known += named(kind, variable)
            found.append(f"{kind}: LENGTH({variable}) > 0")
            ids.append(models)
            binds |= bound(kind, variable, name)
    if project is not None:
        binds["most"] = MODELS
    return known, ", ".join(found), f"INTERSECTION({ids[0]}, {ids[-1]})" if ids else ""


def _since(since: Any, binds: Document) -> str:
    """Return AQL for the time since which runs were registered."""
    if since is None:
        return ""
    binds["since"] = graph.moment(since, "since")
    return "\n    FILTER x.created >= @since"


def _before(until: Any, older: str | None, end: str, binds: Document) -> str:
    """Return AQL for the time before which they were; `end` is the attribute that tells those of one time apart."""
    conditions = []
    if until is not None:
        binds["until"] = graph.moment(until, "until")
        conditions.append("x.created < @until")
    if older is not None:
        created, tilde, key = older.partition("~")
        if not tilde:
            raise Invalid("older", f"{older[:80]!r} is not where a table of runs ended; start again without it")
        binds |= {"last": created or None, "last_end": key if end == "_key" else f"run/{key}"}
        conditions.append(f"x.created <= @last AND (x.created < @last OR x.{end} < @last_end)")
    return "".join(f"\n    FILTER {condition}" for condition in conditions)


_CURVES = """WITH run, devperf
FOR place IN 0..LENGTH(@runs) - 1
  LET r = DOCUMENT(@runs[place])
  FILTER r != null
  LET metrics = {metrics}
  LET names = place < @drawn ? ATTRIBUTES(NOT_NULL(metrics.series, {{}}), true, true) : []
  RETURN {{
    run: KEEP(r, "_id", "run_id", "provenance", "orchestrator"),
    series: MERGE(FOR name IN SLICE(names, 0, @most)
      LET s = metrics.series[name]
      LET last = LENGTH(s.value) - 1
      LET every = CEIL((last + 1) / @points)
      RETURN {{[name]: (FOR i IN 0..MAX([last, 0]) FILTER i <= last AND (i % every == 0 OR i == last)
        RETURN [s.step[i], s.value[i]])}})
  }}"""


def curves(
    store: Store, runs: Sequence[str], *, drawn: int = 20, most: int = 8, points: int = 100
) -> dict[str, Document]:
    """Return for runs, by `_id`, the `run`, where it was written, and the `series` its metrics went through.

    A series is pairs of step and value. They come for the first runs that are `drawn`, of each at most so many
    metrics, and about so many points, evenly taken, with the last. One request; runs that are not there are left out.
    """
    binds = {"runs": list(runs), "drawn": drawn, "most": most, "points": points}
    return {row["run"]["_id"]: row for row in store.query(_CURVES.format(metrics=METRICS), binds)}
