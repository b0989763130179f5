"""What the collection of serving performance asks of the graph: which deployments serve, and what of it is known."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from statistics import median_low
from typing import NamedTuple

from arangopipe_ops.analytics.alerts import task_of
from arangopipe_ops.errors import Invalid, NotFound
from arangopipe_ops.model import Document, canonical, moment
from arangopipe_ops.store import Store
from arangopipe_ops.store.search import Where, attribute, filters

Chosen = Sequence[str] | Where | None
"""Deployments by their tags, by conditions as in a search, or all."""

STATUSES = ("active", "archived")

# What has no status is of the original Arangopipe, which knew none: it counts as active.
_SERVING = """WITH deployment, servingperf, alert
RETURN (FOR d IN deployment
  FILTER d.archived == null{chosen}
  LET name = {name}
  FILTER name != null
  SORT d.tag
  RETURN {{
    key: d._key,
    tag: d.tag,
    name: TO_STRING(name),
    start: d.start,
    created: d.created,
    ended: d.status == "archived" ? d.ended : null,
    rules: d.alerts,
    alerts: (FOR a IN alert
      FILTER a.deployment == d._key
        AND (a.state == "raised" OR @task != null AND KEEP(a.provenance, ATTRIBUTES(@task)) == @task)
      RETURN a.rule),
    first: @first
      ? FIRST(FOR s IN servingperf FILTER s.deployment == d._key SORT s.period_start LIMIT 1 RETURN s.period_start)
      : null
  }})"""

_BY_STATUS = """
    AND NOT_NULL(d.status, "active") IN @statuses AND (d.status != "archived" OR d.ended > @since)"""


def serving_deployments(
    store: Store,
    since: str,
    chosen: Chosen = None,
    *,
    by: str = "tag",
    statuses: Sequence[str] = STATUSES,
    where: Where | None = None,
    first: bool = False,
) -> list[Document]:
    """Return the deployments that serve at a time or later, by tag: those of a status, or named by their tags.

    Those that are archived count if they ended after `since`. `by` is the attribute that a source knows them by; those
    without it are left out. `rules` are those of its alerts, `alerts` what is raised, or was changed last by the
    task that asks. With `first` the start of the oldest period that is known comes along. One request. Raises NotFound
    for a tag that no deployment has, Invalid.
    """
    binds: Document = {"first": first, "task": task_of(store.provenance)}
    tags = None if chosen is None or isinstance(chosen, Mapping) else list(chosen)
    if isinstance(chosen, str):
        raise Invalid("deployments", f"{chosen!r} is not a list; give the tags as one")
    if tags is None:
        binds |= {"statuses": list(statuses), "since": since}
        text = _BY_STATUS + filters(chosen or {}, binds)  # type: ignore[arg-type]
    else:
        binds["tags"] = tags
        text = "\n    AND d.tag IN @tags"
    text += filters(where or {}, binds)
    name = attribute(by, "by", binds)
    [found] = store.query(_SERVING.format(chosen=text, name=name), binds)
    if tags is not None and not where and by == "tag" and (gone := set(tags) - {each["tag"] for each in found}):
        raise NotFound([f"Deployment {tag!r}" for tag in sorted(gone)])
    return list(found)


_COVERED = """WITH servingperf
RETURN (FOR key IN @keys
  LET periods = (FOR s IN servingperf
    FILTER s.deployment == key AND s.period_start >= @since AND s.period_start < @until AND IS_STRING(s.period_end)
      AND (@source == null OR s.source == @source) AND (@partly OR s.missing == null)
    RETURN [s.period_start, s.period_end])
  FILTER LENGTH(periods) > 0
  RETURN [key, periods])"""


def covered(
    store: Store, keys: Sequence[str], since: str, until: str, source: str | None, *, partly: bool = False
) -> set[tuple[str, str, str]]:
    """Return for which periods that start from `since` to `until` there are figures: deployment's key, start and end.

    Figures of a `source`, or of any. Those that lack some of their metrics count if `partly`. One request.
    """
    binds = {"keys": list(keys), "since": since, "until": until, "source": source, "partly": partly}
    [found] = store.query(_COVERED, binds)
    return {(key, start, end) for key, periods in found for start, end in periods}


class Hole(NamedTuple):
    """A stretch of which nothing, or not all, is known, and how many periods of the usual length it has room for."""

    start: str
    end: str
    periods: int


def holes(known: Iterable[tuple[str, str]], begin: str, end: str) -> list[Hole]:
    """Return what is not known between two times, by the starts and ends of the periods that are.

    How long a period usually is, the known ones tell: without any there is no hole. What is too short for one at the
    beginning or the end, where a period may not have begun or ended, is none. All times are UTC, as texts.
    """
    spans = sorted(span for each in known if (span := _span(*each)) is not None)
    if not spans:
        return []
    usual = median_low(over - start for start, over in spans)
    first = reached = spans[0][0]
    between = [(first - (first - datetime.fromisoformat(begin)) // usual * usual, first)]
    for start, over in spans:
        between.append((reached, start))
        reached = max(reached, over)
    between.append((reached, reached + (datetime.fromisoformat(end) - reached) // usual * usual))
    return [
        Hole(moment(start, "begin"), moment(over, "end"), max(1, round((over - start) / usual)))
        for start, over in between
        if over > start
    ]


def _span(start: str, end: str) -> tuple[datetime, datetime] | None:
    """Return the times of a period, None where another program wrote something else."""
    try:
        return datetime.fromisoformat(moment(start, "start")), datetime.fromisoformat(moment(end, "end"))
    except Invalid:
        return None


class Lack(NamedTuple):
    """Figures for a period that lack some metrics, by the key they are stored under."""

    key: str
    metrics: Sequence[str]


_KNOWN = """WITH servingperf
RETURN MERGE(FOR lack IN @lacks
  FOR s IN servingperf FILTER s._key == lack.key
    RETURN {[s._key]: KEEP(s, lack.metrics)})"""


def known(store: Store, lacks: Sequence[Lack]) -> dict[str, Document]:
    """Return the metrics that figures lack, as far as they are stored from before, by key. One request."""
    binds = {"lacks": [{"key": lack.key, "metrics": canonical(list(lack.metrics))} for lack in lacks]}
    [found] = store.query(_KNOWN, binds)
    return dict(found or {})
