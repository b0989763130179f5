"""Questions about whole projects: what there is in one, and what was live."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

from arangopipe_ops import model
from arangopipe_ops.analytics.statements import (
    AT,
    DEPLOYED,
    PROJECT_OF,
    PROMOTED,
    READ,
    RUNS_OF_ALL,
    Time,
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
LET ids = found_models[*]._id
LET runs = ({runs}
      RETURN {{id: r._id, at: {at}, status: NOT_NULL(r.status, "unknown")}})
LET made = runs[*].id
LET sets = (FOR x IN run_featuresets FILTER x._from IN made RETURN DISTINCT x._to)
LET read = UNION_DISTINCT(
  (FOR x IN run_datasets FILTER x._from IN made RETURN DISTINCT x._to),
  (FOR y IN featureset_dataset FILTER y._from IN sets RETURN y._to))
LET deployments = (FOR id IN (p == null ? [] : {deployed}) LET d = DOCUMENT(id) FILTER d.archived == null RETURN d)
RETURN {{found: {{Project: p != null}}, answer: {{
  project: p.name,
  project_id: p._id,
  owner: p.owner,
  description: p.description,
  created: p.created,
  models: COUNT_DISTINCT(found_models[*].name),
  model_versions: LENGTH(found_models),
  tasks: SORTED_UNIQUE(found_models[* FILTER CURRENT.task != null RETURN CURRENT.task]),
  techniques: SORTED_UNIQUE(found_models[* FILTER NOT_NULL(CURRENT.technique, CURRENT.type) != null
    RETURN NOT_NULL(CURRENT.technique, CURRENT.type)]),
  datasets: LENGTH(read),
  featuresets: LENGTH(sets),
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

    `project`, `project_id`, `owner`, `description`, `created`; `models`: by name, and `model_versions`; the `tasks` and
    `techniques` of the models; `datasets` and `featuresets`: how many versions its runs read (data sets also through
    feature sets); `runs` and `runs_by_status`; `deployments` and `deployments_by_status` (what tells no status is
    `unknown`); `last_run`: when the newest run was; `last_activity`: the newest run, registration or revision of a
    model or deployment. Times are UTC. Raises NotFound.
    """
    text = _SUMMARY.format(known=named("Project", "owner"), runs=RUNS_OF_ALL, at=AT, deployed=DEPLOYED)
    return dict(ask(store, text, bound("Project", "owner", project), Project=project))


_GLANCE = """WITH project, models, run, deployment
{known}
LET p = FIRST(owner)
LET made = (FOR x IN project_models FILTER x._from == p._id SORT x.created DESC LIMIT @most RETURN x._to)
LET seen = (FOR id IN made LET m = DOCUMENT(id) FILTER m != null AND m.archived == null RETURN m)
LET deployed = (FOR d IN deployment FILTER d.project IN [p._key, p._id, p.name] LIMIT @most RETURN d)
LET originals = (FOR id IN UNIQUE(FLATTEN((FOR m IN made
    RETURN (FOR x IN deployment_model FILTER x._to == m LIMIT @most RETURN x._from))))
  LIMIT @most
  LET d = DOCUMENT(id)
  FILTER d != null AND d.project == null
  RETURN d)
LET deployments = APPEND(deployed, originals)[* FILTER CURRENT.archived == null]
RETURN {{found: {{Project: p != null}}, answer: {{
  project: p,
  models: COUNT_DISTINCT(seen[*].name),
  versions: LENGTH(FOR x IN project_models FILTER x._from == p._id LIMIT @counted RETURN 1),
  tasks: SORTED_UNIQUE(seen[* FILTER CURRENT.task != null RETURN CURRENT.task]),
  techniques: (FOR m IN seen
    COLLECT technique = NOT_NULL(m.technique, m.type) WITH COUNT INTO n
    FILTER technique != null
    SORT n DESC, technique
    RETURN [TO_STRING(technique), n]),
  runs: SUM(FOR id IN made RETURN LENGTH(FOR x IN run_models FILTER x._from == id LIMIT @counted RETURN 1)),
  deployments: (FOR d IN deployments
    COLLECT status = NOT_NULL(d.status, "active") WITH COUNT INTO n
    RETURN [TO_STRING(status), n]),
  active: (FOR d IN deployments FILTER NOT_NULL(d.status, "active") == "active" SORT d.environment, d.tag RETURN d._id)
}}}}"""

LOOKED, COUNTED = 200, 100_000
"""Of so many models and deployments the details are looked at; so many models and runs are counted."""


class Glance(TypedDict):
    """What there is in a project, as far as it costs little.

    `models` by name, `tasks`, `techniques` with how many models use them, and `runs` (archived ones among them) are
    those of the newest `LOOKED` versions. `versions`, and the runs of each, are counted to `COUNTED`, and are one more
    if there are more. `deployments` are counted by status, and `active` has the `_id`s of those that are, of `LOOKED`
    at most.
    """

    project: Document
    models: int
    versions: int
    tasks: list[str]
    techniques: dict[str, int]
    runs: int
    deployments: dict[str, int]
    active: list[str]


def glance(store: Store, project: str) -> Glance:
    """Return what there is in a project, for a cost that does not grow with it. One request. Raises NotFound."""
    binds = bound("Project", "owner", project) | {"most": LOOKED, "counted": COUNTED + 1}
    found: Glance = ask(store, _GLANCE.format(known=named("Project", "owner")), binds, Project=project)
    return {**found, "techniques": dict(found["techniques"]), "deployments": dict(found["deployments"])}


_SEEN = """WITH project, run
FOR id IN @ids
  LET p = DOCUMENT(id)
  FILTER p != null
  LET made = (FOR x IN project_models FILTER x._from == id SORT x.created DESC LIMIT @most RETURN x._to)
  RETURN [id, {
    models: LENGTH(FOR x IN project_models FILTER x._from == id LIMIT @counted RETURN 1),
    last_run: MAX(FOR m IN made
      RETURN FIRST(FOR e IN run_models FILTER e._from == m SORT e.created DESC LIMIT 1 RETURN e.created)),
    active: (FOR d IN deployment FILTER d.project IN [p._key, p._id, p.name] AND d.status == "active"
      SORT d.tag LIMIT @most RETURN KEEP(d, "_id", "tag"))
  }]"""
_NEWEST_MODELS = 20


def activity(store: Store, ids: Sequence[str]) -> dict[str, Document]:
    """Return by `_id` what goes on in projects. One request.

    `models`: how many versions, counted to `LOOKED` and one more if there are more; `last_run`: when a run of one of
    the newest models was registered last, UTC, or null; `active`: deployments, as references.
    """
    return dict(store.query(_SEEN, {"ids": list(ids), "most": _NEWEST_MODELS, "counted": LOOKED + 1}))


_HOMES: Mapping[str, str] = {
    "Run": """WITH project, models, run
FOR x IN run_models FILTER x._to == @id
  FOR y IN project_models FILTER y._to == x._from
    COLLECT home = y._from
    LET p = DOCUMENT(home)
    FILTER p != null
    SORT p.name
    RETURN KEEP(p, "_id", "name")""",
    "Deployment": f"""WITH project, models, deployment
FOR d IN deployment FILTER d._id == @id
  LET p = {PROJECT_OF}
  FILTER p._id != null
  RETURN KEEP(p, "_id", "name")""",
}
"""How the project of a node is found that no edge links to it."""


def homes(store: Store, kind: str, id: str) -> list[Document]:
    """Return the projects, as references, of a run or a deployment; nothing for other kinds. One request, or none."""
    return store.query(_HOMES[kind], {"id": id}) if kind in _HOMES else []


_INPUTS = """WITH run, datasets, featuresets
FOR id IN @runs
  LET r = {{_id: id}}
  FOR used IN UNION_DISTINCT({read}, (FOR x IN run_featuresets FILTER x._from == id RETURN x._to))
  COLLECT node_id = used WITH COUNT INTO runs
  LET node = DOCUMENT(node_id)
  FILTER node != null
  SORT runs DESC, node.name, node.version
  LIMIT @limit
  RETURN {{node, runs}}"""


def inputs(store: Store, runs: Sequence[str], limit: int = 50) -> list[Document]:
    """Return the data sets and feature sets that runs, by `_id`, read: each `node`, and how many of the `runs` did.

    A data set counts if a run read it or a feature set that is made from it. The most read first. One request.
    """
    return store.query(_INPUTS.format(read=READ), {"runs": list(runs), "limit": limit})


_THEN = "x.created <= @at DESC, x.created DESC"

_LIVE = """WITH project, models, run, modelparams, deployment, @@audit
{known}
LET removed = UNIQUE(FLATTEN((FOR a IN @@audit FILTER a.at > @at AND a.removed != null
  RETURN a.removed[* FILTER STARTS_WITH(CURRENT, "deployment/")])))
LET written = (FOR id IN APPEND({ids}, removed)
  RETURN {{id, by: (FOR a IN @@audit FILTER id IN a.touched[*] RETURN a._key)}})
LET told = MERGE(FOR a IN @@audit FILTER a._key IN UNIQUE(FLATTEN(written[*].by))
  LET replaced = a.replaced[* FILTER STARTS_WITH(CURRENT._id, "deployment/")]
  RETURN {{[a._key]: {{at: a.at, reason: a.reason, replaced}}}})
RETURN {{found: {{{found}}}, answer: (FOR each IN written
  LET id = each.id
  LET writes = each.by[* RETURN told[CURRENT]]
  LET later = FIRST(FOR a IN writes FILTER a.at > @at SORT a.at LIMIT 1 RETURN a)
  LET d = later == null ? DOCUMENT(id) : FIRST(later.replaced[* FILTER CURRENT._id == id])
  FILTER d != null AND d.created <= @at AND NOT_NULL(d.status, "active") == "active"
    AND (d.archived == null OR d.archived > @at)
    AND (@environment == null OR NOT_NULL(d.environment, "production") == @environment){only}
  LET m = FIRST(FOR x IN deployment_model FILTER x._from == id SORT {then} RETURN DOCUMENT(x._to))
  LET since = FIRST(FOR a IN writes FILTER a.at <= @at SORT a.at DESC LIMIT 1 RETURN a)
  LET of_project = {project}
  LET r = DOCUMENT({promoted})
  SORT of_project.name, d.environment, d.tag
  RETURN {{
    project: of_project.name,
    project_id: of_project._id,
    environment: d.environment,
    deployment: d.tag,
    id,
    model: m.name,
    model_id: m._id,
    model_version: m.version,
    run_id: r.run_id,
    run: r._id,
    since: since == null ? d.created : since.at,
    reason: since.reason,
    status: d.status
  }})}}"""


def live(store: Store, at: Time, project: str | None = None, environment: str | None = None) -> list[Document]:
    """What was live at a time?

    One row per deployment that was active at `at` (a bare date is its midnight in UTC), of all projects or one, in all
    environments or one, as the audit tells: also those that were deleted since, whose model and run are null.
    `project`, `project_id`, `environment`, `deployment` (its tag), `id`, `model`, `model_id`, `model_version`; `run_id`
    and `run`: the run it promoted; `since`: the last write to it before, which made it what it was, UTC, and the
    `reason` given for that; `status`: active, or null for a deployment of the original Arangopipe, which knew no
    states: such a one counts as live always. Raises NotFound for a project that is not there.
    """
    binds: Document = {"at": model.moment(at, "at"), "environment": environment, "@audit": AUDIT}
    known, found, ids, only = "", "", "(FOR d IN deployment RETURN d._id)", ""
    if project is not None:
        known, found = named("Project", "owner") + "\nLET p = FIRST(owner)", "Project: p != null"
        ids = f"(p == null ? [] : {DEPLOYED})"
        only = "\n    AND (d.project == null OR d.project IN [p._key, p._id, p.name])"
        binds |= bound("Project", "owner", project)
    promoted = PROMOTED.replace("d._id", "id").replace("x.created DESC", _THEN)
    text = _LIVE.format(known=known, found=found, ids=ids, only=only, project=PROJECT_OF, promoted=promoted, then=_THEN)
    return list(ask(store, text, binds, Project=project))
