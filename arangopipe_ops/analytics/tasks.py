"""Questions about what was used: techniques, transformations, selections and data sets."""

from datetime import datetime
from math import comb

from arangopipe_ops.analytics.statements import (
    AT,
    METRICS,
    PARAMS,
    PROJECTS,
    PROMOTED,
    READ,
    READERS,
    RUNS,
    WITHIN,
    Goal,
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
  LET runs = ({runs}
      LET metrics = {metrics}
      RETURN {{id: r._id, run_id: r.run_id, at: {at}, value: {value}}})
  LET projects = {projects}
  COLLECT technique = m.technique == null ? m.type : m.technique INTO group = {{id: m._id, runs, projects}}
  LET runs = UNIQUE(FLATTEN(group[*].runs))
  LET best = FIRST(FOR x IN runs FILTER x.value != null SORT x.value {order}, x.at DESC LIMIT 1 RETURN x)
  SORT LENGTH(runs) DESC, technique
  RETURN {{
    technique,
    models: LENGTH(UNIQUE(group[*].id)),
    runs: LENGTH(runs),
    projects: SORTED_UNIQUE(FLATTEN(group[*].projects)),
    last_run: MAX(runs[*].at),
    best: best.value,
    best_run: best.run_id
  }})}}"""


def techniques(store: Store, task: str, metric: str | None = None, goal: Goal = "max") -> list[Document]:
    """Which techniques were used for a task?

    One row per technique, the most used first. `technique`: its name (null: models that tell none); `models`:
    how many models (versions) use it; `runs`: how many runs; `projects`: the names of their projects;
    `last_run`: when the newest run was, UTC; `best`: the best value of `metric` in development, in the metric's
    own unit (the `goal` says whether most or least is best), null without `metric`; `best_run`: the run that
    reached it. A task is a value, not a node: one that no
    model has gives no rows.
    """
    binds: Document = {"task": task}
    value = value_of("metrics", metric, binds)
    metrics = "null" if metric is None else METRICS
    text = _TECHNIQUES.format(
        models=_MODELS, runs=RUNS, at=AT, metrics=metrics, value=value, projects=PROJECTS, order=order_of(goal)
    )
    return list(ask(store, text, binds))


_FEATURES = """WITH models, run, featuresets
RETURN {{answer: ({models}
  FOR used IN ({runs}
      FOR x IN run_featuresets FILTER x._from == r._id
        RETURN {{run: r._id, at: {at}, features: x._to}})
  COLLECT features = used.features INTO group = {{model: m._id, run: used.run, at: used.at}}
  LET f = DOCUMENT(features)
  FILTER f != null
  LET way = {way}
  FILTER way != null
  COLLECT way_ = way INTO whole = {{name: f.name, id: f._id, group}}
  LET uses = FLATTEN(whole[*].group)
  SORT COUNT_DISTINCT(uses[*].run) DESC, way_
  RETURN {{
    {name}: way_,
    featuresets: SORTED_UNIQUE(whole[*].name),
    models: COUNT_DISTINCT(uses[*].model),
    runs: COUNT_DISTINCT(uses[*].run),
    last_run: MAX(uses[*].at)
  }})}}"""


def transformations(store: Store, task: str) -> list[Document]:
    """Which feature-engineering transformations were used for a task?

    One row per transformation of the feature sets that runs of the task's models read, the most used first.
    `transformation`: as it was registered, any JSON (a feature set of the original Arangopipe: its `generated_by`);
    `featuresets`: the names of the feature sets; `models` and `runs`: how many used them; `last_run`: when the
    newest run was, UTC.
    """
    way = "f.transformation == null ? f.generated_by : f.transformation"
    return list(
        ask(store, _FEATURES.format(models=_MODELS, runs=RUNS, at=AT, way=way, name="transformation"), {"task": task})
    )


def selections(store: Store, task: str) -> list[Document]:
    """Which feature-selection methods were used for a task?

    One row per `selection` of the feature sets that runs of the task's models read, the most used first.
    `selection`: as it was registered, any JSON; `featuresets`: the names of the feature sets; `models` and `runs`:
    how many used them; `last_run`: when the newest run was, UTC. Feature sets that tell no selection are left out.
    """
    return list(
        ask(
            store,
            _FEATURES.format(models=_MODELS, runs=RUNS, at=AT, way="f.selection", name="selection"),
            {"task": task},
        )
    )


_DATASETS = """WITH models, run, datasets
LET rows = ({models}
  FOR used IN ({runs}{within}
      FOR id IN {read} RETURN {{id, run: r._id, at}})
  COLLECT id = used.id INTO group = {{model: m.name, run: used.run, at: used.at}}
  LET data = DOCUMENT(id)
  FILTER data != null
  LET runs = COUNT_DISTINCT(group[*].run)
  SORT runs DESC, data.name, data.version
  RETURN {{
    dataset: data.name,
    version: data.version,
    uri: data.uri,
    models: SORTED_UNIQUE(group[*].model),
    runs,
    first_run: MIN(group[*].at),
    last_run: MAX(group[*].at)
  }})
RETURN {{answer: {{task: @task, since: @since, until: @until, datasets: COUNT_DISTINCT(rows[*].dataset),
  versions: LENGTH(rows), rows}}}}"""


def datasets_used(
    store: Store, task: str, since: str | datetime | None = None, until: str | datetime | None = None
) -> Document:
    """How many data sets, and which, were used for a task in a period?

    `since` (included) and `until` (not) are times of runs; a bare date is its midnight in UTC. `datasets`: how many
    data sets by name; `versions`: how many versions of them; `rows`: one per version, the most used first, with
    `dataset`, `version`, `uri`, the names of the `models`, the number of `runs`, and when the `first_run` and the
    `last_run` of the period were, UTC. A data set counts if a run read it or a feature set that is made from it.
    """
    text = _DATASETS.format(models=_MODELS, runs=RUNS, within=WITHIN, read=READ)
    return dict(ask(store, text, {"task": task, **period(since, until)}))


_INFLUENCE = """WITH models, run, datasets, deployment
{known}
LET used = ({used})
RETURN {{found: {{{found}}}, answer: (FOR u IN used
  COLLECT data_id = u.data, model_id = u.model INTO group = {{run: u.run, at: u.at}}
  LET data = DOCUMENT(data_id)
  LET m = DOCUMENT(model_id)
  FILTER data != null AND m != null
  LET runs = UNIQUE(group[*].run)
  LET deployments = (FOR link IN deployment_model FILTER link._to == model_id
    LET d = DOCUMENT(link._from)
    LET promoted = {promoted}
    FILTER promoted == null OR promoted IN runs
    RETURN d)
  SORT LENGTH(runs) DESC, data.name, data.version, m.name, m.version
  LIMIT @limit
  RETURN {{
    dataset: data.name,
    dataset_version: data.version,
    model: m.name,
    model_version: m.version,
    runs: LENGTH(runs),
    last_run: MAX(group[*].at),
    deployments: LENGTH(deployments),
    active: SORTED(deployments[* FILTER CURRENT.status == "active" RETURN CURRENT.tag])
  }})}}"""

_BY_DATASET = """FOR data IN {source}
  FOR id IN {readers}
    LET r = DOCUMENT(id)
    FILTER r != null AND r.archived == null
    FOR link IN run_models FILTER link._to == r._id{only}
    RETURN {{data: data._id, model: link._from, run: r._id, at: {at}}}"""

_BY_MODEL = """FOR m IN model{runs}
      FOR data IN {read} RETURN {{data, model: m._id, run: r._id, at: {at}}}"""


def influence(store: Store, dataset: str | None = None, model: str | None = None, limit: int = 1000) -> list[Document]:
    """Which data set influences which model?

    One row per pair of a data set's version and a model's version with a run in common, the most runs first, at
    most `limit`; all pairs, or those of one data set, one model (a name: all its versions), or both. `dataset`,
    `dataset_version`, `model`, `model_version`; `runs`: how
    many runs of the model read the data set, by itself or through a feature set; `last_run`: when the newest was,
    UTC; `deployments`: how many deployments of the model promoted one of them; `active`: the tags of those that
    are active now. Raises NotFound for a name that no data set or model has.
    """
    binds: Document = {"limit": limit}
    known, found, only = "", [], ""
    for kind, name in (("Dataset", dataset), ("Model", model)):
        if name is not None:
            known += named(kind, kind.lower())
            found.append(f"{kind}: LENGTH({kind.lower()}) > 0")
            binds |= bound(kind, kind.lower(), name)
    if dataset is None and model is not None:
        used = _BY_MODEL.format(runs=RUNS, read=READ, at=AT)
    else:
        only = "" if model is None else " FILTER link._from IN model[*]._id"
        source = "datasets" if dataset is None else "dataset"
        used = _BY_DATASET.format(source=source, readers=READERS, only=only, at=AT)
    text = _INFLUENCE.format(known=known, used=used, found=", ".join(found), promoted=PROMOTED)
    return list(ask(store, text, binds, Dataset=dataset, Model=model))


_GAIN = """WITH run, datasets, featuresets, modelparams, devperf, models
{known}
LET measured = (
  FOR id IN UNIQUE(FLATTEN((FOR data IN dataset RETURN {readers})))
    LET r = DOCUMENT(id)
    FILTER r != null AND r.archived == null
    LET metrics = {metrics}
    LET value = {value}
    FILTER value != null
    LET sets = (FOR x IN run_featuresets FILTER x._from == r._id RETURN DOCUMENT(x._to))
    LET listed = sets[* FILTER CURRENT.features != null RETURN CURRENT.features]
    LET sources = LENGTH(listed) > 0 ? listed : APPEND(
      (FOR f IN sets FOR source IN [f.schema, f.columns, f.digest == null ? f : null]
        FILTER source != null RETURN source),
      (FOR x IN run_datasets FILTER x._from == r._id
        LET data = DOCUMENT(x._to)
        FILTER data.name IN dataset[*].name
        FOR source IN [data.schema, data.columns] FILTER source != null RETURN source))
    LET present = LENGTH(FOR source IN sources
      FILTER IS_OBJECT(source) ? HAS(source, @attribute) : @attribute IN source
        OR @attribute IN source[* FILTER IS_OBJECT(CURRENT) RETURN CURRENT.name]
      LIMIT 1 RETURN 1) > 0
    LET params = {params}
    LET setting = (FOR name IN ATTRIBUTES(NOT_NULL(params, {{}}), true, true)
      FILTER @same == null ? name NOT IN @apart : name IN @same
      RETURN [name, params[name]])
    FOR link IN run_models FILTER link._to == r._id
      LET m = DOCUMENT(link._from)
      FILTER @task == null OR m.task == @task
      RETURN {{model: m.name, setting, present, value}})
LET pairs = (FOR x IN measured
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
  runs_with: LENGTH(measured[* FILTER CURRENT.present]),
  runs_without: LENGTH(measured[* FILTER NOT CURRENT.present]),
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
    dataset: str,
    metric: str,
    goal: Goal = "max",
    task: str | None = None,
    same: str | None = None,
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
            _GAIN.format(known=known, readers=READERS, metrics=METRICS, value=value, params=PARAMS),
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
