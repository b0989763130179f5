"""The statement that lays runs side by side, and what its answer means."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

from arangopipe_ops import model
from arangopipe_ops.errors import NotFound
from arangopipe_ops.model import ANNOTATIONS, OWN, Document, Target

COMPARE = """WITH run, models, datasets, featuresets, modelparams, devperf
FOR r IN @runs
  LET run = NOT_NULL(FIRST(FOR d IN run FILTER d._key == r.key RETURN d),
    FIRST(FOR d IN run FILTER d.run_id == r.name RETURN d))
  RETURN {
    run,
    params: FIRST(FOR e IN run_modelparams FILTER e._from == run._id SORT e.created DESC LIMIT 1
      RETURN DOCUMENT(e._to)),
    metrics: FIRST(FOR e IN run_devperf FILTER e._from == run._id SORT e.created DESC LIMIT 1
      RETURN DOCUMENT(e._to)),
    models: (FOR e IN run_models FILTER e._to == run._id RETURN KEEP(DOCUMENT(e._from), "name", "version", "_id")),
    datasets: (FOR e IN run_datasets FILTER e._from == run._id
      LET d = DOCUMENT(e._to) SORT d.name, d.version RETURN KEEP(d, "name", "version", "_id", "checksum")),
    featuresets: (FOR e IN run_featuresets FILTER e._from == run._id
      LET d = DOCUMENT(e._to) SORT d.name, d.version RETURN KEEP(d, "name", "version", "_id"))
  }"""


class Comparison(TypedDict):
    """Runs side by side: every list has a value for each of `runs`, in order; None where a run has none.

    `ids` are the runs' `_id`s. `differing` names what is not the same for all, as `params.depth`.
    """

    runs: list[str]
    ids: list[str]
    params: dict[str, list[Any]]
    metrics: dict[str, list[Any]]
    data: dict[str, list[Any]]
    run: dict[str, list[Any]]
    differing: list[str]


def comparison(rows: Sequence[Document], targets: Sequence[Target]) -> Comparison:
    """Return the comparison that an answer holds. Raises NotFound, naming each run that is not there."""
    missing = [str(target) for target, row in zip(targets, rows, strict=True) if row["run"] is None]
    if missing:
        raise NotFound(missing)
    parts: dict[str, dict[str, list[Any]]] = {
        "params": _side_by_side([_plain(row["params"]) for row in rows]),
        "metrics": _side_by_side([_plain(row["metrics"]) for row in rows]),
        "data": _side_by_side([{what: _named(row[what]) for what in _INPUTS} for row in rows]),
        "run": _side_by_side([dict(_flat(_plain(row["run"]))) for row in rows]),
    }
    differing = [
        f"{part}.{name}"
        for part, table in parts.items()
        for name, values in table.items()
        if len({model.canonical_text(value) for value in values}) > 1
    ]
    return Comparison(
        runs=[str(row["run"].get("run_id", row["run"]["_key"])) for row in rows],
        ids=[row["run"]["_id"] for row in rows],
        params=parts["params"],
        metrics=parts["metrics"],
        data=parts["data"],
        run=parts["run"],
        differing=differing,
    )


_INPUTS = ("models", "datasets", "featuresets")
_APART = {*OWN, *ANNOTATIONS, "run_id", "series"}


def _plain(document: Mapping[str, Any] | None) -> Document:
    return {name: value for name, value in (document or {}).items() if name not in _APART and not name.startswith("_")}


def _flat(document: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what stands in objects under its path: `code.commit`, `environment.packages.numpy`."""
    for name, value in document.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def _named(nodes: Sequence[Document | None]) -> list[str]:
    """Return the names of nodes; an edge of another program's may lead nowhere."""
    return [f"{node.get('name', node['_id'])} @{node.get('version', '')}" for node in nodes if node]


def _side_by_side(documents: Sequence[Document]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for document in documents for name in document)
    return {name: [document.get(name) for document in documents] for name in names}
