"""The runs of models that have a metric and meet conditions, the best first: AQL for `best_run` and for policies."""

from typing import Any

from arangopipe_ops.analytics.statements import METRICS, PARAMS, RUNS, WITHIN, order_of, value_of
from arangopipe_ops.model import AUDIT, Document
from arangopipe_ops.store.search import Where, filters

FEW = 2_000
"""So many runs are looked at one by one in any case."""

WINDOW = 1_000
"""So many of all runs are looked at, the best by the metric, for those that are asked for."""

_MODELS = """
LET found_models = ({models}
  FILTER m.archived == null AND (@task == null OR m.task == @task)
    AND (@technique == null OR m.technique == @technique OR (m.technique == null AND m.type == @technique))
  RETURN m)"""

_FIT = """{within}
      FILTER (@statuses == null OR NOT_NULL(r.status, "completed") IN @statuses)
        AND (@tag == null OR r.tag == @tag OR @tag IN r.tags[*])
      LET metrics = {metrics}
      LET value = {value}
      FILTER value != null{where}"""

_WHERE = """
      LET d = MERGE(r, {{metrics, model: m, params: {params}}}){filters}"""

_BEST = """
      SORT value {order}, at DESC, r._key, m._key
      LIMIT @limit
      RETURN {{r, m, at, value, metrics}})"""

_ONE_BY_ONE = """
LET candidates = (FOR m IN found_models{runs}{fit}{best}"""

_BEST_OF_ALL_FIRST = """
LET many = LENGTH(FOR m IN found_models FOR link IN run_models FILTER link._from == m._id LIMIT @few RETURN 1) == @few
LET ranked = many AND LENGTH(FOR a IN @@audit FILTER a._key == "extension"
  FOR n IN a.nodes FILTER n.kind == "DevPerf" FOR i IN n.indexes FILTER i.fields == [@metric] RETURN 1) > 0
LET top = (FILTER ranked
  FOR x IN devperf FILTER x.@metric > true AND x.@metric < ""
    SORT x.@metric {order} LIMIT @window RETURN {{id: x._id, value: x.@metric}})
LET end = LENGTH(top) == @window ? LAST(top).value : null
LET model_of = ZIP(found_models[*]._id, found_models)
LET near = (FOR one IN top
    FILTER end == null OR one.value != end
    FOR r IN DOCUMENT(UNIQUE(FOR x IN run_devperf FILTER x._to == one.id RETURN x._from))
      FILTER r.archived == null
    FOR id IN UNIQUE(FOR link IN run_models FILTER link._to == r._id RETURN link._from)
      LET m = model_of[id]
      FILTER m != null{fit}
      FILTER metrics._id == one.id{best}
LET enough = ranked AND (end == null OR LENGTH(near) == @limit)
LET others = (FOR m IN (enough ? [] : found_models){runs}{fit}{best}
LET candidates = enough ? near : others"""
# Values between `true` and an empty text are numbers: https://docs.arangodb.com/3.12/aql/fundamentals/type-and-value-order


def candidates(metric: str, goal: str, where: Where, models: str, binds: Document) -> str:
    """Return AQL for the runs of `models` that have the metric and meet `where`, the best first, and bind its values.

    Of many runs, and by a metric that is ranked (`admin.rank`), the best of all runs are looked at first, and the
    others only if too few of these are asked for. It leaves `since`, `until`, `task`, `technique`, `tag`, `statuses`
    and `limit` to be bound.
    """
    conditions = _WHERE.format(params=PARAMS, filters=filters(where, binds)) if where else ""
    order = order_of(goal)
    pieces = {
        "runs": RUNS,
        "fit": _FIT.format(within=WITHIN, metrics=METRICS, value=value_of("metrics", metric, binds), where=conditions),
        "best": _BEST.format(order=order),
        "order": order,
    }
    found = _MODELS.format(models=models)
    if "." in metric:
        return found + _ONE_BY_ONE.format(**pieces)
    binds |= {"few": FEW, "window": WINDOW, "metric": metric, "@audit": AUDIT}
    return found + _BEST_OF_ALL_FIRST.format(**pieces)


_OF_PROJECT = "FOR x IN project_models FILTER x._from == p._id LET m = DOCUMENT(x._to) FILTER m != null"


def source_of(project: Any, task: str | None) -> str:
    """Return AQL for the models to look at: a project's, a task's, or all."""
    if project is not None:
        return _OF_PROJECT
    return "FOR m IN models" if task is None else "FOR m IN models FILTER m.task == @task"
