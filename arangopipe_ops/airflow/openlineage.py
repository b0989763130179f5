"""What our operators tell OpenLineage: the nodes and the data that a task read and wrote.

A node is the data set that its asset is: namespace `arangopipe`, name `kind/name`, whatever its version. Data that
lies somewhere has the name that OpenLineage gives that place. A task that registers data reads the place and writes
the node: an edge that every tool draws, where they disagree about data sets of two names (symlinks).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from arangopipe_ops import model
from arangopipe_ops.airflow.lineage import ARGUMENTS, PLACES, Learned
from arangopipe_ops.capture import without_secrets
from arangopipe_ops.errors import Invalid
from arangopipe_ops.integrations.openlineage import FACET, NAMESPACE, location
from arangopipe_ops.model import SCHEMA, Document

KINDS = ("Dataset", "Featureset", "Model", "Deployment")
"""The kinds of nodes that are data sets for OpenLineage. Runs are its runs; the others are no data."""

_SHOWN = ("kind", "_id", "name", "version", "created")
_MOST, _MAX_TEXT = 100, 500


def lineage_of(task: Any, learned: Learned, *, ended: bool) -> Any:
    """Return what a task read, and once it has `ended` also what it wrote."""
    from airflow.providers.openlineage.extractors import OperatorLineage  # whoever asks has it

    outputs = _unique(_outputs(task, learned)) if ended and learned.error is None else []
    written = {(each.namespace, each.name) for each in outputs}
    inputs = [each for each in _unique(_inputs(task, learned)) if (each.namespace, each.name) not in written]
    return OperatorLineage(inputs=inputs, outputs=outputs, run_facets={FACET: _facet(task, learned)})


def _inputs(task: Any, learned: Learned) -> Iterator[Any]:
    given = learned.arguments
    for argument, sure in ARGUMENTS.items():
        if argument not in task.lineage_outputs:
            for reference in _each(given.get(argument)):
                yield _node(sure or _kind(reference) or str(given.get("kind")), reference)
    for kind, reference in _linked(given)[0]:
        yield _node(kind, reference)
    for place in PLACES:
        yield _place(given.get(place))


def _outputs(task: Any, learned: Learned) -> Iterator[Any]:
    given, answer = learned.arguments, learned.answer
    if _is_ref(answer):
        yield _node(answer["kind"], answer, given)
    elif isinstance(answer, Mapping) and _is_ref(answer.get("deployment")):
        yield _node("Deployment", answer["deployment"])
    for argument in task.lineage_outputs:
        for reference in _each(given.get(argument)):
            yield _node(ARGUMENTS[argument] or "", reference)
    for kind, reference in _linked(given)[1]:
        yield _node(kind, reference)
    for product in _each(given.get("produced")):
        yield _place(product.get("uri") if isinstance(product, Mapping) else product)


def _linked(given: Mapping[str, Any]) -> tuple[list[tuple[str, Any]], list[tuple[str, Any]]]:
    """Return kind and reference of the ends that an edge flows from, and of those that it flows to."""
    type_ = SCHEMA.edges.get(str(given.get("edge")))
    if type_ is None:
        return [], []
    ends = {
        "from": [(type_.source, reference) for reference in _each(given.get("source"))],
        "to": [(type_.target, reference) for reference in _each(given.get("target"))],
    }
    upstream = ends.pop(type_.upstream)
    return upstream, next(iter(ends.values()))


# --- data sets ------------------------------------------------------------------------------------------


def _node(kind: str, reference: Any, facts: Mapping[str, Any] | None = None) -> Any:
    """Return the data set of a node; None where it is none for OpenLineage, or nobody can say which."""
    from airflow.providers.common.compat.openlineage.facet import Dataset

    if kind not in KINDS or not (name := _name(kind, reference)):
        return None
    named_by_others = location(name) if "://" in name else None
    namespace, known = named_by_others or (NAMESPACE, f"{kind.lower()}/{name}")
    return Dataset(namespace=namespace, name=known, facets=_facets(kind, reference, facts or {}))


def _place(uri: Any) -> Any:
    from airflow.providers.common.compat.openlineage.facet import Dataset

    found = location(uri) if isinstance(uri, str) else None
    return found and Dataset(namespace=found[0], name=found[1])


def _facets(kind: str, reference: Any, facts: Mapping[str, Any]) -> Document:
    from openlineage.client import facet_v2 as facets

    version = reference.get("version") if isinstance(reference, Mapping) else None
    place = location(str(facts.get("uri") or ""))
    found: Document = {"datasetType": facets.dataset_type_dataset.DatasetTypeDatasetFacet(datasetType=kind.upper())}
    if version:
        found["version"] = facets.dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=str(version))
    if columns := [facets.schema_dataset.SchemaDatasetFacetFields(**column) for column in _columns(facts)]:
        found["schema"] = facets.schema_dataset.SchemaDatasetFacet(fields=columns)
    if place:
        uri = "/".join([place[0].rstrip("/"), place[1].lstrip("/")])
        found["dataSource"] = facets.datasource_dataset.DatasourceDatasetFacet(name=place[0], uri=uri)
    if isinstance(text := facts.get("description"), str):
        found["documentation"] = facets.documentation_dataset.DocumentationDatasetFacet(description=_clipped(text))
    return found


def _columns(facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the columns of a data set, which may be column -> type or a list of columns, or the features."""
    given = facts.get("schema") or facts.get("features") or ()
    columns = [{"name": name, "type": type_} for name, type_ in given.items()] if isinstance(given, Mapping) else given
    for column in columns if isinstance(columns, list | tuple) else ():
        about = column if isinstance(column, Mapping) else {"name": column}
        told = {name: about[name] for name in ("name", "type", "description") if isinstance(about.get(name), str)}
        if "name" in told:
            yield told


def _name(kind: str, reference: Any) -> str | None:
    """Return what a node is called, or else its key. Where a text could be both, it is the key."""
    if isinstance(reference, Mapping) and reference.get("name"):
        return str(reference["name"])
    try:
        found = model.target(kind, reference)
    except Invalid:
        return None
    return found.key or found.name


def _kind(reference: Any) -> str | None:
    """Return the kind that a reference itself tells."""
    given = reference if isinstance(reference, Mapping) else {"_id": reference}
    collection = str(given.get("_id")).partition("/")[0]
    of_collection = [node.kind for node in SCHEMA.nodes.values() if node.collection == collection]
    return given.get("kind") or next(iter(of_collection), None)


def _is_ref(answer: Any) -> bool:
    return isinstance(answer, Mapping) and answer.keys() >= {"_id", "kind"}


def _each(references: Any) -> list[Any]:
    if isinstance(references, list | tuple):
        return list(references)
    return [] if references is None else [references]


def _unique(datasets: Iterable[Any]) -> list[Any]:
    """Return each data set once, as it was told first."""
    found: dict[tuple[str, str], Any] = {}
    for each in datasets:
        if each is not None:
            found.setdefault((each.namespace, each.name), each)
    return list(found.values())


def with_declared(task: Any, lineage: Any, task_instance: Any) -> Any:
    """Return lineage with what the task declares as inlets and outlets, and its hooks told.

    OpenLineage itself looks there only for tasks that tell nothing.
    """
    from airflow.providers.openlineage.extractors.manager import ExtractorManager

    manager: Any = ExtractorManager
    inputs = [*lineage.inputs, *map(manager.convert_to_ol_dataset, task.inlets)]
    outputs = [*lineage.outputs, *map(manager.convert_to_ol_dataset, task.outlets)]
    if task.lineage_of_hooks and (told := manager().get_hook_lineage(task_instance)):
        inputs, outputs = [*inputs, *told.inputs], [*outputs, *told.outputs]
    lineage.inputs, lineage.outputs = _unique(inputs), _unique(outputs)
    return lineage


# --- our facet ------------------------------------------------------------------------------------------


def _facet(task: Any, learned: Learned) -> Any:
    from arangopipe_ops.openlineage.facets import ArangopipeMetadataRunFacet

    answer, given = learned.answer, learned.arguments
    node = {name: answer[name] for name in _SHOWN if answer.get(name) is not None} if _is_ref(answer) else None
    return ArangopipeMetadataRunFacet(
        operator=type(task).__name__,
        node=node,
        params=_bounded(given.get("params")),
        metrics=_bounded(given.get("metrics")),
        result=_bounded(answer) if task.lineage_result and node is None else None,
        error=_error(learned.error),
    )


def _error(error: BaseException | None) -> Document | None:
    return None if error is None else {"type": type(error).__name__, "message": _clipped(without_secrets(str(error)))}


def _bounded(facts: Any) -> Document | None:
    """Return as many facts as an event should carry, each of them small, and no secrets."""
    if not isinstance(facts, Mapping):
        return None
    return {str(name): _small(str(name), facts[name]) for name in sorted(facts, key=str)[:_MOST]}


def _small(name: str, value: Any) -> Any:
    try:
        plain = model.canonical(value)
    except Invalid:
        return _clipped(str(value))
    text = plain if isinstance(plain, str) else model.canonical_text(plain)
    safe = without_secrets(f"{name}={text}").removeprefix(f"{name}=")
    return plain if safe == text and len(text) <= _MAX_TEXT else _clipped(safe)


def _clipped(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 1]}…"
