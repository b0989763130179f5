"""The statement that gathers what is needed to execute a run again, and what its answer lacks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypedDict

from arangopipe_ops.model import ANNOTATIONS, OWN, Document
from arangopipe_ops.store.statements import LOOK_UP

REPRODUCE = f"""WITH run, models, datasets, featuresets, modelparams
LET run = {LOOK_UP}
LET featuresets = (FOR e IN run_featuresets FILTER e._from == run._id
  LET f = DOCUMENT(e._to) FILTER f != null SORT f.name, f.version
  LET bases = (FOR b IN featureset_dataset FILTER b._from == f._id
    LET d = DOCUMENT(b._to) FILTER d != null SORT d.name, d.version RETURN d)
  RETURN {{node: f, bases}})
RETURN {{
  run,
  featuresets,
  params: FIRST(FOR e IN run_modelparams FILTER e._from == run._id SORT e.created DESC LIMIT 1
    RETURN DOCUMENT(e._to)),
  models: (FOR e IN run_models FILTER e._to == run._id LET d = DOCUMENT(e._from) FILTER d != null RETURN d),
  datasets: (FOR e IN run_datasets FILTER e._from == run._id
    LET d = DOCUMENT(e._to) FILTER d != null SORT d.name, d.version RETURN d)
}}"""


class Missing(TypedDict):
    """Something that is not recorded, and why that matters."""

    what: str
    why: str


class Reproduction(TypedDict):
    """What is needed to execute a run again; what is not known is None or empty, and named in `missing`.

    `datasets` are those the run read, and those its feature sets were made of (`through` names the feature set).
    `requirements` are lines for pip. `run` is what else the run says of itself.
    """

    run_id: str
    status: str | None
    project: str | None
    models: list[Document]
    code: Document
    command: list[str]
    python: str | None
    platform: str | None
    requirements: list[str]
    datasets: list[Document]
    featuresets: list[Document]
    params: Document
    seeds: Document
    orchestrator: Document
    host: Document
    run: Document
    missing: list[Missing]


def reproduction(answer: Document) -> Reproduction:
    """Return what an answer holds."""
    run, environment = _content(answer["run"]), _part(answer["run"], "environment")
    apart = {"_id", "run_id", *ANNOTATIONS}
    params = {name: value for name, value in _content(answer["params"] or {}).items() if name not in apart}
    datasets = [_content(node) | {"through": None} for node in answer["datasets"]]
    for row in answer["featuresets"]:
        datasets += [_content(base) | {"through": row["node"].get("name")} for base in row["bases"]]
    found = Reproduction(
        run_id=run["run_id"],
        status=run.get("status"),
        project=run.get("project"),
        models=[_content(node) for node in answer["models"]],
        code=_part(run, "code"),
        command=list(_part(run, "command").get("arguments") or []),
        python=environment.get("python"),
        platform=environment.get("platform"),
        requirements=[f"{name}=={version}" for name, version in sorted(_part(environment, "packages").items())],
        datasets=datasets,
        featuresets=[_content(row["node"]) for row in answer["featuresets"]],
        params=params,
        seeds=dict(_seeds(params)),
        orchestrator=_part(run, "orchestrator"),
        host=_part(run, "host"),
        run={name: value for name, value in run.items() if name not in _APART},
        missing=[],
    )
    found["missing"] = [Missing(what=what, why=why) for what, why in _missing(found)]
    return found


_APART = {"run_id", "status", "project", "code", "command", "environment", "orchestrator", "host"}
_SEEDS = ("seed", "random_state")

# What must be there, whether it is, and why.
_NEEDED: Sequence[tuple[str, Callable[[Reproduction], Any], str]] = (
    ("code.commit", lambda r: r["code"].get("commit"), "which version of the code ran is not known"),
    (
        "code.repository",
        lambda r: r["code"].get("repository"),
        "where the code can be fetched from is not known; it may exist on that machine only",
    ),
    (
        "code.dirty",
        lambda r: not r["code"].get("commit") or r["code"].get("dirty") is not None,
        "nobody knows whether the commit is all that ran",
    ),
    (
        "code.changes",
        lambda r: not r["code"].get("dirty"),
        "the code had changes that are not in the commit, and they are lost",
    ),
    (
        "command",
        lambda r: r["command"] or r["code"].get("script"),
        "what was started, and with which arguments, is not known",
    ),
    ("python", lambda r: r["python"], "results differ between versions of Python and of what it runs"),
    ("packages", lambda r: r["requirements"], "results differ between versions of packages"),
    ("models", lambda r: r["models"], "what was executed is not known"),
    (
        "datasets",
        lambda r: r["datasets"],
        "which data was read is not known; name it with `dataset=`, or link it with `run.use`",
    ),
    ("params", lambda r: r["params"], "which parameters it had is not known"),
    (
        "params.seed",
        lambda r: r["seeds"],
        "without the seed random numbers come out differently; log it as a parameter, such as `seed`",
    ),
)

_OF_A_DATASET = (
    ("uri", "where the data lies is not known"),
    ("checksum", "nobody can tell whether the data is still the same"),
)


def _missing(found: Reproduction) -> Iterator[tuple[str, str]]:
    if found["status"] != "completed":
        yield "end", f"the run is {found['status']}: what it left is not the result of a whole run"
    for what, is_there, why in _NEEDED:
        if not is_there(found):
            yield what, why
    for dataset in _distinct(found["datasets"]):
        for name, why in _OF_A_DATASET:
            if not dataset.get(name):
                yield f"datasets.{dataset.get('name')}.{name}", why
    for featureset in found["featuresets"]:
        if not featureset.get("transformation"):
            yield f"featuresets.{featureset.get('name')}.transformation", "how the features are made is not known"


def _distinct(nodes: Sequence[Document]) -> list[Document]:
    return list({node["_id"]: node for node in nodes}.values())


def _seeds(params: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in params.items():
        if isinstance(value, Mapping):
            yield from _seeds(value, f"{path}{name}.")
        elif value is not None and any(part in name.lower() for part in _SEEDS):
            yield f"{path}{name}", value


def _part(document: Mapping[str, Any], name: str) -> Document:
    """Return an attribute that is an object; a user may have stored anything under its name."""
    part = document.get(name)
    return dict(part) if isinstance(part, Mapping) else {}


def _content(document: Mapping[str, Any]) -> Document:
    """Return what is stored of a node, with its `_id`, without what the store adds."""
    apart = {*OWN, "_key", "_rev"}
    return {name: value for name, value in document.items() if name not in apart}
