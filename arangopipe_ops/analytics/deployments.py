"""How deployments stand: what they serve, since when and why, what is wrong with them, and how they served last."""

from collections.abc import Sequence

from arangopipe_ops.analytics.statements import METRICS, PROJECT_OF, PROMOTED, READ
from arangopipe_ops.errors import NotFound
from arangopipe_ops.model import AUDIT, Document
from arangopipe_ops.store import Store

_NEWEST = 20
"""So many of the newest periods tell which metrics there are."""

# What the original Arangopipe wrote has no status, and counts as active.
_STANDS = """
  LET d = DOCUMENT(id)
  FILTER d != null
  LET m = FIRST(FOR x IN deployment_model FILTER x._from == id SORT x.created DESC RETURN DOCUMENT(x._to))
  LET r = DOCUMENT({promoted})
  LET turn = FIRST(FOR once IN {asked} FOR a IN @@audit FILTER id IN a.touched[*]
    LET before = FIRST(a.replaced[* FILTER CURRENT._id == id])
    FILTER before.status != d.status
    SORT a.at DESC LIMIT 1
    RETURN {{at: a.at, reason: a.reason, user: a.provenance.user}})
  LET of_project = {project}
  LET stands = {{
    id,
    tag: d.tag,
    project: of_project.name,
    project_id: of_project._id,
    environment: NOT_NULL(d.environment, "production"),
    status: NOT_NULL(d.status, "active"),
    since: NOT_NULL(turn.at, d.ended, d.created),
    reason: turn.reason,
    user: turn.user,
    model: m == null ? null : KEEP(m, "_id", "name", "version"),
    run: r == null ? null : KEEP(r, "_id", "run_id", "status"),
    last: FIRST(FOR s IN servingperf FILTER s.deployment == d._key
      SORT s.period_start DESC LIMIT 1 RETURN NOT_NULL(s.period_end, s.period_start))
  }}"""


def _stands(asked: str) -> str:
    """Return AQL for how a deployment stands. The audit is looked at once for each element of `asked`, none or one."""
    return _STANDS.format(promoted=PROMOTED, project=PROJECT_OF, asked=asked)


# Of many, the audit is asked only of those that do not tell themselves: an entry of thousands of nodes is large.
_UNLESS_TOLD = "d.ended != null OR d.revised == null ? [] : [1]"

_COLLECTIONS = "project, models, run, modelparams, devperf, datasets, featuresets, deployment, servingperf, alert"

_STANDINGS = f"""WITH {_COLLECTIONS}, @@audit
RETURN (FOR id IN @ids{_stands(_UNLESS_TOLD)}
  RETURN MERGE(stands, {{
    alerts: (FOR a IN alert FILTER a.deployment == d._key AND a.state == "raised" SORT a.rule RETURN a.rule)
  }}))"""


def standings(store: Store, ids: Sequence[str]) -> dict[str, Document]:
    """Return by `_id` how deployments stand; those that are not there are left out. One request.

    `tag`, `project` (its name), `project_id`, `environment`, `status`; `since` when it has that status, and of one that
    was changed to be active the `reason` and the `user`; `model` and `run`, as references; `alerts`: the rules that are
    raised now; `last`: the end of the newest period that is known, UTC.
    """
    [found] = store.query(_STANDINGS, {"ids": list(ids), "@audit": AUDIT})
    return {each["id"]: each for each in found}


_STANDING = f"""WITH {_COLLECTIONS}, @@audit
RETURN FIRST(FOR id IN [@id]{_stands("[1]")}
  LET developed = NOT_NULL(r == null ? null : {METRICS}, {{}})
  LET newest = (FOR s IN servingperf FILTER s.deployment == d._key
    SORT s.period_start DESC LIMIT {_NEWEST} RETURN s)
  LET starts = (FOR s IN servingperf FILTER s.deployment == d._key
    SORT s.period_start DESC LIMIT @periods RETURN s.period_start)
  RETURN MERGE(stands, {{
    node: d,
    featuresets: (FOR x IN deployment_featureset FILTER x._from == id
      LET n = DOCUMENT(x._to) FILTER n != null SORT n.name, n.version RETURN KEEP(n, "_id", "name", "version")),
    datasets: (FOR x IN {READ}
      LET n = DOCUMENT(x) FILTER n != null SORT n.name, n.version RETURN KEEP(n, "_id", "name", "version")),
    development: (FOR name IN ATTRIBUTES(developed, true) FILTER IS_NUMBER(developed[name])
      RETURN [name, developed[name]]),
    metrics: (FOR s IN newest FOR name IN ATTRIBUTES(s, true) FILTER IS_NUMBER(s[name]) RETURN DISTINCT name),
    oldest: LAST(starts),
    alerts: (FOR a IN alert FILTER a.deployment == d._key SORT a.state != "raised", a.rule RETURN a),
    active: FIRST(FOR o IN deployment FILTER d.slot != null AND o.active_slot == d.slot
      RETURN KEEP(o, "_id", "tag"))
  }}))"""


def standing(store: Store, id: str, periods: int) -> Document:
    """Return how a deployment stands, by its `_id`. One request. Raises NotFound.

    Beside what `standings` tells, with the `reason` and the `user` of whatever status: its `node`; the `featuresets`,
    and the `datasets` that the run read; the `development` performance of the run, the names of `metrics` of serving
    performance; `oldest`: when the oldest of the newest `periods` began; all `alerts`, as nodes, those that are raised
    first; and `active`: the deployment that is active where this one would be.
    """
    [found] = store.query(_STANDING, {"id": id, "periods": periods, "@audit": AUDIT})
    if found is None:
        raise NotFound([id])
    return {**found, "development": dict(found["development"]), "metrics": sorted(found["metrics"])}
