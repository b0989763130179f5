"""Questions about what was used: techniques, transformations, selections and data sets."""

from math import comb
from typing import Annotated

from arangopipe_ops.analytics.statements import (
    AT,
    METRICS,
    PARAMS,
    PROMOTED,
    READ,
    READERS,
    RUNS,
    RUNS_OF_ALL,
    WITHIN,
    AtMost,
    Best,
    DatasetName,
    Since,
    Until,
    ask,
    bound,
    named,
    order_of,
    period,
    value_of,
)
from arangopipe_ops.model import ANNOTATIONS, OWN, Document
from arangopipe_ops.store import Store

_MODELS = "FOR m IN models FILTER m.task == @task AND m.archived == null"

_TECHNIQUES = """WITH project, models, run, devperf
RETURN {{answer: ({models}
  COLLECT technique = m.technique == null ? m.type : m.technique INTO ids = m._id
  LET runs = ({runs}
      LET metrics = {metrics}
      RETURN {{id: r._id, run_id: r.run_id, at: {at}, value: {value}}})
  LET owners = (FOR owner IN UNIQUE(FOR x IN project_models FILTER x._to IN ids RETURN x._from)
    LET p = DOCUMENT(owner)
    FILTER p != null
    SORT p.name
    RETURN p)
  LET best = FIRST(FOR x IN runs FILTER x.value != null SORT x.value {order}, x.at DESC LIMIT 1 RETURN x)
  SORT LENGTH(runs) DESC, technique
  RETURN {{
    technique,
    models: LENGTH(ids),
    runs: LENGTH(runs),
    projects: owners[*].name,
    project_ids: owners[*]._id,
    last_run: MAX(runs[*].at),
    best: best.value,
    best_run: best.run_id,
    best_run_id: best.id
  }})}}"""


def techniques(store: Store, task: str, metric: str | None = None, goal: Best = "max") -> list[Document]:
    """Which techniques were used for a task?

    One row per technique, the most used first. `technique`: its name (null: models that tell none); `models`:
    how many models (versions) use it; `runs`: how many runs; `projects`: the names of their projects, and
    `project_ids`; `last_run`: when the newest run was, UTC; `best`: the best value of `metric` in development, in the
    metric's own unit (the `goal` says whether most or least is best), null without `metric`; `best_run`: the run that
    reached it, and `best_run_id`. A task is a value, not a node: one that no model has gives no rows.
    """
    binds: Document = {"task": task}
    value = value_of("metrics", metric, binds)
    metrics = "null" if metric is None else METRICS
    text = _TECHNIQUES.format(
        models=_MODELS, runs=RUNS_OF_ALL, at=AT, metrics=metrics, value=value, order=order_of(goal)
    )
    return list(ask(store, text, binds))


_FEATURES = """WITH models, run, featuresets
LET ids = ({models} RETURN m._id)
LET made = ({runs}
      RETURN r._id)
RETURN {{answer: (FOR x IN run_featuresets FILTER x._from IN made
  COLLECT features = x._to INTO by_runs = x._from
  LET f = DOCUMENT(features)
  FILTER f != null
  LET way = {way}
  FILTER way != null
  COLLECT way_ = way INTO uses = {{name: f.name, by_runs}}
  LET runs = UNIQUE(FLATTEN(uses[*].by_runs))
  SORT LENGTH(runs) DESC, way_
  RETURN {{
    {name}: way_,
    featuresets: SORTED_UNIQUE(uses[*].name),
    models: LENGTH(INTERSECTION(ids, (FOR x IN run_models FILTER x._to IN runs RETURN DISTINCT x._from))),
    runs: LENGTH(runs),
    last_run: MAX(FOR r IN run FILTER r._id IN runs RETURN {at})
  }})}}"""


def transformations(store: Store, task: str) -> list[Document]:
    """Which feature-engineering transformations were used for a task?

    One row per transformation of the feature sets that runs of the task's models read, the most used first.
    `transformation`: as it was registered, any JSON (a feature set of the original Arangopipe: its `generated_by`);
    `featuresets`: the names of the feature sets; `models` and `runs`: how many used them; `last_run`: when the
    newest run was, UTC.
    """
    way = "f.transformation == null ? f.generated_by : f.transformation"
    return list(ask(store, _ways("transformation", way), {"task": task}))


def selections(store: Store, task: str) -> list[Document]:
    """Which feature-selection methods were used for a task?

    One row per `selection` of the feature sets that runs of the task's models read, the most used first.
    `selection`: as it was registered, any JSON; `featuresets`: the names of the feature sets; `models` and `runs`:
    how many used them; `last_run`: when the newest run was, UTC. Feature sets that tell no selection are left out.
    """
    return list(ask(store, _ways("selection", "f.selection"), {"task": task}))


def _ways(name: str, way: str) -> str:
    return _FEATURES.format(models=_MODELS, runs=RUNS_OF_ALL, at=AT, way=way, name=name)


_DATASETS = """WITH models, run, datasets
LET rows = ({models}{runs}{within}
      LET own = (FOR x IN run_datasets FILTER x._from == r._id RETURN x._to)
      LET sets = (FOR x IN run_featuresets FILTER x._from == r._id RETURN x._to)
  COLLECT read = own, read_sets = sets
    AGGREGATE by_models = UNIQUE(m.name), by_runs = UNIQUE(r._id), first_run = MIN(at), last_run = MAX(at)
  FOR used IN UNION_DISTINCT(read, (FOR y IN featureset_dataset FILTER y._from IN read_sets RETURN y._to))
  COLLECT id = used INTO uses = {{by_models, by_runs, first_run, last_run}}
  LET data = DOCUMENT(id)
  FILTER data != null
  LET runs = COUNT_DISTINCT(FLATTEN(uses[*].by_runs))
  SORT runs DESC, data.name, data.version
  RETURN {{
    dataset: data.name,
    dataset_id: data._id,
    version: data.version,
    uri: data.uri,
    models: SORTED_UNIQUE(FLATTEN(uses[*].by_models)),
    runs,
    first_run: MIN(uses[*].first_run),
    last_run: MAX(uses[*].last_run)
  }})
RETURN {{answer: {{task: @task, since: @since, until: @until, datasets: COUNT_DISTINCT(rows[*].dataset),
  versions: LENGTH(rows), rows}}}}"""


def datasets_used(store: Store, task: str, since: Since = None, until: Until = None) -> Document:
    """How many data sets, and which, were used for a task in a period?

    `since` (included) and `until` (not) are times of runs; a bare date is its midnight in UTC. `datasets`: how many
    data sets by name; `versions`: how many versions of them; `rows`: one per version, the most used first, with
    `dataset`, `dataset_id`, `version`, `uri`, the names of the `models`, the number of `runs`, and when the `first_run`
    and the `last_run` of the period were, UTC. A data set counts if a run read it or a feature set that is made from
    it.
    """
    text = _DATASETS.format(models=_MODELS, runs=RUNS, within=WITHIN)
    return dict(ask(store, text, {"task": task, **period(since, until)}))


_INFLUENCE = """WITH models, run, datasets, deployment
{known}
RETURN {{found: {{{found}}}, answer: ({used}
    AGGREGATE runs = UNIQUE(r._id), last_run = MAX({at})
  LET read = DOCUMENT(data_id)
  LET by = DOCUMENT(model_id)
  FILTER read != null AND by != null
  SORT LENGTH(runs) DESC, read.name, read.version, by.name, by.version
  LIMIT @limit
  LET deployments = (FOR link IN deployment_model FILTER link._to == model_id
    LET d = DOCUMENT(link._from)
    LET promoted = {promoted}
    FILTER promoted == null OR promoted IN runs
    RETURN d)
  LET active = (FOR d IN deployments FILTER NOT_NULL(d.status, "active") == "active" SORT d.tag RETURN d)
  RETURN {{
    dataset: read.name,
    dataset_id: data_id,
    dataset_version: read.version,
    model: by.name,
    model_id,
    model_version: by.version,
    runs: LENGTH(runs),
    last_run,
    deployments: LENGTH(deployments),
    active: active[*].tag,
    active_ids: active[*]._id
  }})}}"""

_BY_DATASET = """FOR data IN {source}
  LET readers = {readers}
  FOR r IN run
    FILTER r._id IN readers AND r.archived == null
    FOR link IN run_models FILTER link._to == r._id
  COLLECT data_id = data._id, model_id = link._from"""

_BY_MODEL = """FOR m IN model{runs}
      FOR used IN {read}{only}
  COLLECT data_id = used, model_id = m._id"""


def influence(
    store: Store, dataset: DatasetName | None = None, model: str | None = None, limit: AtMost = 1000
) -> list[Document]:
    """Which data set influences which model?

    One row per pair of a data set's version and a model's version with a run in common, the most runs first, at
    most `limit`; all pairs, or those of one data set, one model (a name: all its versions), or both. `dataset`,
    `dataset_id`, `dataset_version`, `model`, `model_id`, `model_version`; `runs`: how many runs of the model read the
    data set, by itself or through a feature set; `last_run`: when the newest was, UTC; `deployments`: how many
    deployments of the model promoted one of them; `active`: the tags of those that are active now, and `active_ids`.
    Raises NotFound for a name that no data set or model has.
    """
    binds: Document = {"limit": limit}
    known, found = "", []
    for kind, name in (("Dataset", dataset), ("Model", model)):
        if name is not None:
            known += named(kind, kind.lower())
            found.append(f"{kind}: LENGTH({kind.lower()}) > 0")
            binds |= bound(kind, kind.lower(), name)
    if model is not None:
        only = "" if dataset is None else " FILTER used IN dataset[*]._id"
        used = _BY_MODEL.format(runs=RUNS, read=READ, only=only)
    else:
        used = _BY_DATASET.format(source="datasets" if dataset is None else "dataset", readers=READERS)
    text = _INFLUENCE.format(known=known, used=used, at=AT, found=", ".join(found), promoted=PROMOTED)
    return list(ask(store, text, binds, Dataset=dataset, Model=model))


_HAS = """LENGTH(FOR source IN sources
    FILTER source != null
    FILTER IS_OBJECT(source) ? HAS(source, @attribute) : @attribute IN source
      OR @attribute IN source[* FILTER IS_OBJECT(CURRENT) RETURN CURRENT.name]
    LIMIT 1 RETURN 1) > 0"""
"""Whether one of the `sources`, shapes of a table or lists of features, tells the attribute."""

_GAIN = """WITH run, datasets, featuresets, modelparams, devperf, models
{known}
LET measured = (
  FOR id IN UNIQUE(FLATTEN((FOR data IN dataset RETURN {readers})))
    LET r = DOCUMENT(id)
    FILTER r != null AND r.archived == null
    LET metrics = {metrics}
    LET value = {value}
    FILTER value != null
    LET sets = (FOR x IN run_featuresets FILTER x._from == r._id RETURN x._to)
    LET used = (FOR x IN run_datasets FILTER x._from == r._id RETURN x._to)
    LET params = {params}
    LET setting = (FOR name IN ATTRIBUTES(NOT_NULL(params, {{}}), true, true)
      FILTER @same == null ? name NOT IN @apart : name IN @same
      RETURN [name, params[name]])
    FOR link IN run_models FILTER link._to == r._id
      LET m = DOCUMENT(link._from)
      FILTER @task == null OR m.task == @task
      RETURN {{model: m.name, setting, sets, used, value}})
LET sets = (FOR f IN DOCUMENT(UNIQUE(FLATTEN(measured[*].sets)))
  LET sources = f.features == null ? [f.schema, f.columns, f.digest == null ? f : null] : [f.features]
  RETURN {{id: f._id, lists: f.features != null, has: {has}}})
LET used = (FOR data IN DOCUMENT(UNIQUE(FLATTEN(measured[*].used)))
  LET sources = data.name IN dataset[*].name ? [data.schema, data.columns] : []
  RETURN {{id: data._id, has: {has}}})
LET listing = sets[* FILTER CURRENT.lists RETURN CURRENT.id]
LET listed = sets[* FILTER CURRENT.lists AND CURRENT.has RETURN CURRENT.id]
LET holding = APPEND(sets, used)[* FILTER CURRENT.has RETURN CURRENT.id]
LET seen = (FOR x IN measured
  LET present = x.sets ANY IN listing ? x.sets ANY IN listed : x.sets ANY IN holding OR x.used ANY IN holding
  RETURN {{model: x.model, setting: x.setting, present, value: x.value}})
LET pairs = (FOR x IN seen
  COLLECT model = x.model, setting = x.setting INTO group = {{present: x.present, value: x.value}}
  LET having = group[* FILTER CURRENT.present RETURN CURRENT.value]
  LET without = group[* FILTER NOT CURRENT.present RETURN CURRENT.value]
  FILTER LENGTH(having) > 0 AND LENGTH(without) > 0
  RETURN @sign * (AVERAGE(having) - AVERAGE(without)))
LET wins = LENGTH(pairs[* FILTER CURRENT > 0])
LET losses = LENGTH(pairs[* FILTER CURRENT < 0])
LET deviation = LENGTH(pairs) > 1 ? STDDEV_SAMPLE(pairs) : null
RETURN {{found: {{Dataset: LENGTH(dataset) > 0}}, answer: {{
  attribute: @attribute,
  runs_with: LENGTH(seen[* FILTER CURRENT.present]),
  runs_without: LENGTH(seen[* FILTER NOT CURRENT.present]),
  pairs: LENGTH(pairs),
  wins,
  losses,
  ties: LENGTH(pairs) - wins - losses,
  mean_gain: AVERAGE(pairs),
  deviation,
  effect_size: deviation > 0 ? AVERAGE(pairs) / deviation : null,
  share_of_wins: LENGTH(pairs) > 0 ? wins / LENGTH(pairs) : null
}}}}"""


def attribute_gain(
    store: Store,
    attribute: str,
    dataset: DatasetName,
    metric: str,
    goal: Best = "max",
    task: str | None = None,
    same: Annotated[str | None, "parameters that are the same"] = None,
) -> Document:
    """Did adding an attribute to a data set bring consistent gains?

    Runs that read `dataset` (any version of the name), of a `task` if it is given, are paired: same model name, same
    parameters, with against without the attribute. The parameters are all that a run obtained, or those named in
    `same`, separated by commas: name the settings there if fitted values are stored among them. Several runs of one
    side count by their mean. A run has the attribute if one of its feature sets lists it in `features`; where none
    lists features, if it is in the `schema` or `columns` of a feature set (or among the attributes of one that the
    original Arangopipe made) or of the data set.

    `attribute` as given; `runs_with`, `runs_without`: how many runs with the `metric` have it and have not; `pairs`,
    of which `wins`, `losses` and `ties` have a better, worse and equal metric with it; `mean_gain`: positive
    is better whichever the `goal`, in the metric's unit; `deviation`: the sample standard deviation of the pairs'
    improvements; `effect_size`: Cohen's d of paired differences, mean by deviation (Cohen 1988, section 2.3.5),
    null where the deviation is 0 or there are no two pairs; `share_of_wins`: of all pairs; `p_value`: of the exact
    two-sided sign test, ties left out; `consistent`: more wins than losses, a positive mean gain and
    p_value < 0.05, for which six pairs are needed at least. Raises NotFound for a data set that is not there.
    """
    order_of(goal)
    binds: Document = {
        "attribute": attribute,
        "task": task,
        "same": [name.strip() for name in same.split(",")] if same is not None else None,
        "apart": _APART,
        "sign": 1 if goal == "max" else -1,
        **bound("Dataset", "dataset", dataset),
    }
    value = value_of("metrics", metric, binds)
    known = named("Dataset", "dataset")
    row = dict(
        ask(
            store,
            _GAIN.format(known=known, readers=READERS, metrics=METRICS, value=value, params=PARAMS, has=_HAS),
            binds,
            Dataset=dataset,
        )
    )
    row["p_value"] = sign_test(row["wins"], row["losses"])
    row["consistent"] = row["wins"] > row["losses"] and row["mean_gain"] > 0 and row["p_value"] < LEVEL
    return row


LEVEL = 0.05
"""The p-value below which a difference counts as consistent."""

_APART = [*OWN, *ANNOTATIONS, "run_id", "timestamp"]


def sign_test(wins: int, losses: int) -> float:
    """Return the exact two-sided p-value of so many wins and losses if both were equally likely."""
    trials = wins + losses
    tail = sum(comb(trials, k) for k in range(min(wins, losses) + 1))
    return float(min(1.0, 2 * tail / 2**trials))
