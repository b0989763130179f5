"""What alerts on deployments are judged by: their rules, and how they served last."""

from collections.abc import Mapping, Sequence
from typing import Any

from arangopipe_ops.analytics.statements import METRICS, PROMOTED
from arangopipe_ops.model import Document
from arangopipe_ops.store import Store

MOST_PERIODS = 100
"""A rule looks back at most so many periods."""

_WATCHED = f"""WITH deployment, servingperf, alert, run, modelparams, devperf
RETURN (FOR key IN @keys
  FOR d IN deployment FILTER d._key == key
  LET rules = IS_ARRAY(d.alerts) ? d.alerts : []
  LET r = LENGTH(rules) > 0 ? DOCUMENT({PROMOTED}) : null
  LET metrics = r == null ? null : {METRICS}
  RETURN {{
    key,
    tag: d.tag,
    status: d.status,
    known: (FOR a IN alert FILTER a.deployment == d._key RETURN a),
    rules: (FOR rule IN rules RETURN {{
      rule,
      development: metrics[rule.metric],
      recent: (FOR s IN servingperf
        FILTER s.deployment == d._key AND (rule.source == null OR s.source == rule.source)
        SORT s.period_start DESC
        FILTER IS_NUMBER(s[rule.metric])
        LIMIT {MOST_PERIODS}
        RETURN {{value: s[rule.metric], start: s.period_start}})
    }})
  }})"""


def task_of(provenance: Mapping[str, Any]) -> Document | None:
    """Return what a task in one run of Airflow or Kubeflow is known by in all its attempts, None for others."""
    told = {name: value for name, value in provenance.items() if name not in ("user", "host")}
    return told if "run_id" in told or "job_id" in told else None


def watched(store: Store, keys: Sequence[str]) -> list[Document]:
    """Return for deployments their rules, with the newest values of each one's metric, and their alerts so far.

    `recent` is the newest first; `development` is the metric of the run that the deployment promoted. One request.
    """
    [found] = store.query(_WATCHED, {"keys": list(keys)})
    return list(found)
