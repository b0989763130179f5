"""Questions about whole projects: what there is in one, and what was live."""

from datetime import datetime

from arangopipe_ops import model
from arangopipe_ops.analytics.statements import (
    AT,
    DEPLOYED,
    METRICS,
    PROJECT_OF,
    PROMOTED,
    READ,
    RUNS,
    ask,
    bound,
    named,
)
from arangopipe_ops.model import AUDIT, Document
from arangopipe_ops.store import Store

_SUMMARY = """WITH project, models, run, datasets, featuresets, deployment
{known}
LET p = FIRST(owner)
LET found_models = (FOR x IN project_models FILTER x._from == p._id
  LET m = DOCUMENT(x._to) FILTER m != null AND m.archived == null RETURN m)
LET runs = (FOR m IN found_models{runs}
      LET sets = (FOR x IN run_featuresets FILTER x._from == r._id RETURN x._to)
      RETURN DISTINCT {{id: r._id, at: {at}, status: NOT_NULL(r.status, "unknown"), sets, read: {read}}})
LET deployments = (FOR id IN (p == null ? [] : {deployed}) LET d = DOCUMENT(id) FILTER d.archived == null RETURN d)
RETURN {{found: {{Project: p != null}}, answer: {{
  project: p.name,
  owner: p.owner,
  description: p.description,
  created: p.created,
  models: COUNT_DISTINCT(found_models[*].name),
  model_versions: LENGTH(found_models),
  tasks: SORTED_UNIQUE(found_models[* FILTER CURRENT.task != null RETURN CURRENT.task]),
  techniques: SORTED_UNIQUE(found_models[* FILTER NOT_NULL(CURRENT.technique, CURRENT.type) != null
    RETURN NOT_NULL(CURRENT.technique, CURRENT.type)]),
  datasets: COUNT_DISTINCT(FLATTEN(runs[*].read)),
  featuresets: COUNT_DISTINCT(FLATTEN(runs[*].sets)),
  runs: LENGTH(runs),
  runs_by_status: MERGE(FOR x IN runs COLLECT status = x.status WITH COUNT INTO n RETURN {{[status]: n}}),
  deployments: LENGTH(deployments),
  deployments_by_status: MERGE(FOR d IN deployments
    COLLECT status = NOT_NULL(d.status, "unknown") WITH COUNT INTO n RETURN {{[status]: n}}),
  last_run: MAX(runs[*].at),
  last_activity: MAX(APPEND(runs[*].at, FLATTEN(APPEND(found_models, deployments)[* RETURN
    [CURRENT.created, CURRENT.revised]])[* FILTER CURRENT != null]))
}}}}"""


def summary(store: Store, project: str) -> Document:
    """What is there in a project?

    `project`, `owner`, `description`, `created`; `models`: by name, and `model_versions`; the `tasks` and `techniques`
    of the models; `datasets` and `featuresets`: how many versions its runs read (data sets also through feature
    sets); `runs` and `runs_by_status`; `deployments` and `deployments_by_status` (what tells no status is
    `unknown`); `last_run`: when the newest run was; `last_activity`: the newest run, registration or revision of a
    model or deployment. Times are UTC. Raises NotFound.
    """
    text = _SUMMARY.format(known=named("Project", "owner"), runs=RUNS, at=AT, read=READ, deployed=DEPLOYED)
    return dict(ask(store, text, bound("Project", "owner", project), Project=project))


_RECENT = """WITH project, models, run, devperf
{known}
LET p = FIRST(owner)
RETURN {{found: {{Project: p != null}}, answer: (FOR x IN project_models FILTER x._from == p._id
  LET m = DOCUMENT(x._to) FILTER m != null{runs}
      LET at = {at}
      COLLECT id = r._id INTO found = {{r, m, at}}
      LET row = FIRST(found)
      SORT row.at DESC, id LIMIT @limit
      LET r = row.r
      LET perf = {metrics}
      RETURN {{
        id,
        run_id: r.run_id,
        status: r.status,
        at: row.at,
        model_id: row.m._id,
        model: row.m.name,
        model_version: row.m.version,
        metrics: perf
      }})}}"""


def recent_runs(store: Store, project: str, limit: int = 20) -> list[Document]:
    """Return the newest runs of a project's models: `id`, `run_id`, `status`, `at`, the model, and what was measured.

    Raises NotFound.
    """
    known = named("Project", "owner")
    text = _RECENT.format(known=known, runs=RUNS, at=AT, metrics=METRICS)
    return list(ask(store, text, bound("Project", "owner", project) | {"limit": limit}, Project=project))


_LIVE = """WITH project, models, run, modelparams, deployment, @@audit
{known}
LET removed = UNIQUE(FLATTEN((FOR a IN @@audit FILTER a.at > @at AND a.removed != null
  RETURN a.removed[* FILTER STARTS_WITH(CURRENT, "deployment/")])))
LET ids = APPEND({ids}, removed)
RETURN {{found: {{{found}}}, answer: (FOR id IN ids
  LET later = FIRST(FOR a IN @@audit FILTER id IN a.touched[*] AND a.at > @at SORT a.at LIMIT 1 RETURN a)
  LET d = later == null ? DOCUMENT(id) : FIRST(later.replaced[* FILTER CURRENT._id == id])
  FILTER d != null AND d.created <= @at AND NOT_NULL(d.status, "active") == "active"
    AND (d.archived == null OR d.archived > @at)
    AND (@environment == null OR NOT_NULL(d.environment, "production") == @environment){only}
  LET m = FIRST(FOR x IN deployment_model FILTER x._from == id RETURN DOCUMENT(x._to))
  LET since = FIRST(FOR a IN @@audit FILTER id IN a.touched[*] AND a.at <= @at SORT a.at DESC LIMIT 1 RETURN a)
  LET project_name = {project}
  SORT project_name, d.environment, d.tag
  RETURN {{
    project: project_name,
    environment: d.environment,
    deployment: d.tag,
    id,
    model: m.name,
    model_version: m.version,
    run_id: DOCUMENT({promoted}).run_id,
    since: since == null ? d.created : since.at,
    reason: since.reason,
    status: d.status
  }})}}"""


def live(
    store: Store, at: str | datetime, project: str | None = None, environment: str | None = None
) -> list[Document]:
    """What was live at a time?

    One row per deployment that was active at `at` (a bare date is its midnight in UTC), of all projects or one, in all
    environments or one, as the audit tells: also those that were deleted since, whose model and run are null.
    `project`, `environment`, `deployment` (its tag), `id`, `model`, `model_version`; `run_id`: the run it promoted;
    `since`: the last write to it before, which made it what it was, UTC, and the `reason` given for that;
    `status`: active, or null for a deployment of the original Arangopipe, which knew no states: such a one counts as
    live always. Raises NotFound for a project that is not there.
    """
    binds: Document = {"at": model.moment(at, "at"), "environment": environment, "@audit": AUDIT}
    known, found, ids, only = "", "", "(FOR d IN deployment RETURN d._id)", ""
    if project is not None:
        known, found = named("Project", "owner") + "\nLET p = FIRST(owner)", "Project: p != null"
        ids = f"(p == null ? [] : {DEPLOYED})"
        only = "\n    AND (d.project == null OR d.project IN [p._key, p._id, p.name])"
        binds |= bound("Project", "owner", project)
    text = _LIVE.format(
        known=known, found=found, ids=ids, only=only, project=PROJECT_OF, promoted=PROMOTED.replace("d._id", "id")
    )
    return list(ask(store, text, binds, Project=project))
