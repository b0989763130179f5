"""Read OpenLineage events: what SQL, Spark, dbt or Airflow told of their jobs, as runs and data sets of the graph.

Events of version 1 and 2 of the specification are taken as plain JSON. Nothing here does I/O.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from arangopipe_ops.errors import Invalid
from arangopipe_ops.model import Document, Node, Stage, moment, target

SOURCE = "openlineage"
UNVERSIONED = "unversioned"

NAMESPACE = "arangopipe"
"""The namespace of nodes of the graph, which are called `kind/name` there."""
FACET = "arangopipe_metadata"
"""The run facet by which what our own operators tell is known; `node` in it is the Ref of what one wrote."""

_OWN_EDGES = {
    ("inputs", "dataset"): "run_datasets",
    ("inputs", "featureset"): "run_featuresets",
    ("inputs", "model"): "run_models",
    ("outputs", "dataset"): "run_outputs",
}
"""The edge between a run and a node of the graph that it names, by side and kind."""

_SAME_SCHEME = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "postgresql": "postgres"}
_OBJECT_STORES = {"s3", "gs", "abfs", "abfss", "wasb", "wasbs"}
_DATABASES = {"postgres", "mysql", "mssql", "redshift", "trino", "snowflake", "oracle", "bigquery"}

_ENDED = {"COMPLETE": "completed", "FAIL": "failed", "ABORT": "aborted"}
_MAX_TEXT = 8_000

_SIDES = (("inputs", "run_datasets", "inputFacets"), ("outputs", "run_outputs", "outputFacets"))
"""What a run read and wrote: the event's list, the edge, and where facts about this reading or writing stand."""

_JOB_FACETS = (
    ("sql", "query", "query"),
    ("jobType", "integration", "integration"),
    ("jobType", "jobType", "job_type"),
    ("sourceCodeLocation", "url", "source_code"),
    ("documentation", "description", "description"),
)
_DATASET_FACETS = (
    ("dataSource", "uri", "data_source"),
    ("documentation", "description", "description"),
    ("lifecycleStateChange", "lifecycleStateChange", "lifecycle"),
    ("storage", "storageLayer", "storage"),
    ("storage", "fileFormat", "format"),
)
_STATISTICS = (("rowCount", "rows"), ("bytes", "bytes"), ("size", "bytes"), ("fileCount", "files"))

Event = Mapping[str, Any]


@dataclass
class _Job:
    """What the events about one run tell, whatever their order."""

    facts: Document = field(default_factory=dict)
    links: dict[tuple[str, "_Name"], Document] = field(default_factory=dict)
    own_links: dict[tuple[str, str, str | None], Document] = field(default_factory=dict)
    """To nodes of the graph, by edge, name and version."""
    facet: Document | None = None
    """What an operator of ours told of itself."""

    @property
    def own_run(self) -> Event | None:
        """The run of the graph that our operator recorded itself."""
        node = (self.facet or {}).get("node")
        if not isinstance(node, Mapping) or node.get("kind") != "Run":
            return None
        with suppress(Invalid):
            return {"_id": f"run/{target('Run', node).key}"}
        return None

    @property
    def is_news(self) -> bool:
        """Whether it tells more than the graph has: our own operators do where they meet the data of others."""
        made = any(edge == "run_outputs" for edge, _, _ in self.own_links)
        return self.facet is None or bool(self.links and (self.own_run or made))


_Name = tuple[str, str]
"""Name and version of a data set."""


def stages_of(events: Iterable[Event]) -> Iterator[Stage]:
    """Yield one stage for each run that the events tell of, then one for each data set that no run touches.

    Events may be repeated and come in any order: they are merged first, so that many runs are held in memory.
    A data set's name is `namespace/name`; without a version facet its version is `unversioned`, because such a
    name means one place, whatever lies there. Write the stages with `on_conflict="revise"`, or, where each knows
    only a part, as `arangopipe_ops.openlineage.record` does. Raises Invalid, naming the event.

    Data sets of our own namespace are the stored nodes, which the stages link to. What our own operators told is
    left out where the graph has it already.
    """
    jobs: dict[str, _Job] = {}
    datasets: dict[_Name, Document] = {}
    for at, _, event in sorted(_placed(events), key=lambda placed: placed[:2]):
        for side, _, _ in _SIDES:
            for each in filter(_is_foreign, _mappings(event, side)):
                datasets.setdefault(_named(each), {}).update(_dataset(each))
        if "dataset" in event and _is_foreign(event["dataset"]):
            datasets.setdefault(_named(event["dataset"]), {}).update(_dataset(event["dataset"]))
        if "run" in event:
            _learn(jobs.setdefault(event["run"]["runId"], _Job()), event, at)
    told = set()
    for run_id, job in jobs.items():
        told |= {name for _, name in job.links}
        if job.is_news:
            yield _stage(run_id, job, datasets)
    for name in [name for name in datasets if name not in told]:
        stage = Stage()
        _add_dataset(stage, name, datasets[name])
        yield stage


def facts_of(stage: Stage) -> Stage:
    """Return the part of a stage that says more than that something exists.

    An event may only name a data set that another one described; this part is without such mentions.
    """
    part = Stage(stage.schema)
    part.nodes = [node for node in stage.nodes if node.notes or node.content.keys() - _MENTION]
    part.edges = [edge for edge in stage.edges if edge.content]
    return part


def completed(stage: Stage, stored: Mapping[str, Document]) -> Stage:
    """Return a stage whose nodes also have what is stored of them, by `_id`, and not told anew.

    Where the end of a run is stored and only its beginning is told, what is stored wins.
    """
    whole = Stage(stage.schema)
    for node in stage.nodes:
        known, told = stored.get(node.id, {}), {**node.content, **node.notes}
        late = known.get("end") and not told.get("end")
        whole.add(node.type.kind, {**told, **known} if late else {**known, **told})
    whole.edges = stage.edges
    return whole


_MENTION = {"name", "version", "uri", "source"}


# --- one event ------------------------------------------------------------------------------------------


def _placed(events: Iterable[Event]) -> Iterator[tuple[str, int, Event]]:
    """Yield each event with its time and place. Raises Invalid for one that is no event."""
    for number, event in enumerate(events, 1):
        try:
            _check(event)
            yield moment(event.get("eventTime"), "eventTime"), number, event
        except Invalid as error:
            error.where = f"event {number}"
            raise


def _check(event: Any) -> None:
    if not isinstance(event, Mapping) or not event.keys() & {"run", "job", "dataset"}:
        raise Invalid("", "is no OpenLineage event: it has neither run, job nor dataset")
    if "run" in event:
        _check_texts(event["run"], "run", "runId")
        _check_texts(event.get("job"), "job", "name")
    for side, _, _ in _SIDES:
        for each in _mappings(event, side):
            _check_texts(each, side, "name", "namespace")
    if "dataset" in event:
        _check_texts(event["dataset"], "dataset", "name", "namespace")


def _check_texts(value: Any, path: str, *names: str) -> None:
    for name in names:
        found = value.get(name) if isinstance(value, Mapping) else None
        if not isinstance(found, str) or not found.strip():
            raise Invalid(f"{path}.{name}", f"{found!r} is not a text")


def _learn(job: _Job, event: Event, at: str) -> None:
    """Take what an event tells of its run; events come in the order of their times."""
    kind = str(event.get("eventType") or "").upper()
    job.facts |= _run(event)
    facet = _facets(event["run"]).get(FACET)
    if isinstance(facet, Mapping):
        job.facet = {**(job.facet or {}), **_given(facet)}
    if kind == "START":
        job.facts.setdefault("start", at)
    if kind in _ENDED:
        job.facts |= {"status": _ENDED[kind], "end": at}
    for side, edge, facts in _SIDES:
        for each in _mappings(event, side):
            if _is_foreign(each):
                link = job.links.setdefault((edge, _named(each)), {})
                link |= _statistics(each, facts) | _columns(each)
            elif own := _own_link(side, each):
                job.own_links.setdefault(own, {}).update(_statistics(each, facts))


def _run(event: Event) -> Document:
    job, facets = event["job"], _facets(event["run"])
    told = {
        "job": _joined(job),
        "producer": event.get("producer"),
        "parent": _inside(facets, "parent", "run", "runId"),
        "parent_job": _parent_job(facets),
        "engine": _inside(facets, "processing_engine", "name"),
        "nominal_start": _inside(facets, "nominalTime", "nominalStartTime"),
        "nominal_end": _inside(facets, "nominalTime", "nominalEndTime"),
        "error": _error(facets),
    }
    return _given(told | _picked(_facets(job), _JOB_FACETS))


def _error(facets: Event) -> Document | None:
    told = {
        "message": _inside(facets, "errorMessage", "message"),
        "traceback": _inside(facets, "errorMessage", "stackTrace"),
    }
    return {name: str(text)[:_MAX_TEXT] for name, text in told.items() if text is not None} or None


def _parent_job(facets: Event) -> str | None:
    job = _inside(facets, "parent", "job")
    return _joined(job) if isinstance(job, Mapping) and job.get("name") else None


def _dataset(each: Event) -> Document:
    facets = _facets(each)
    told = _picked(facets, _DATASET_FACETS)
    if fields := [_field(each) for each in _mappings(facets.get("schema"), "fields")]:
        told["schema"] = fields
    return _given(told)


def _field(each: Event) -> Document:
    found = _given({name: each.get(name) for name in ("name", "type", "description")})
    if inner := [_field(part) for part in _mappings(each, "fields")]:
        found["fields"] = inner
    return found


def _statistics(each: Event, side: str) -> Document:
    told: Document = {}
    for facet in ("dataQualityMetrics", "inputStatistics", "outputStatistics"):
        found = {ours: _inside(each, side, facet, theirs) for theirs, ours in _STATISTICS}
        told |= _given(found)
    return told


def _columns(each: Event) -> Document:
    """Return the columns of other data sets that each column of a data set was made from."""
    fields = _inside(_facets(each), "columnLineage", "fields")
    made = {
        column: sorted({f"{_joined(source)}#{source.get('field')}" for source in _mappings(told, "inputFields")})
        for column, told in (fields.items() if isinstance(fields, Mapping) else ())
    }
    return {"columns": made} if made else {}


def _named(each: Event) -> _Name:
    version = _inside(_facets(each), "version", "datasetVersion")
    return _joined(each), str(version) if version else UNVERSIONED


def location(uri: str) -> _Name | None:
    """Return the namespace and the name by which OpenLineage knows a place, without credentials; None if it is none."""
    if uri.startswith("/"):
        return "file", uri
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    if "://" not in uri or not parts.scheme or not (parts.netloc or parts.path.strip("/")):
        return None
    scheme = _SAME_SCHEME.get(parts.scheme.lower(), parts.scheme.lower())
    # Of Azure's stores the container stands where others have a user.
    host = parts.netloc if scheme.startswith(("abfs", "wasb")) else parts.netloc.rpartition("@")[2]
    if scheme == "bigquery":
        return scheme, _dotted(f"{host}{parts.path}")
    if scheme in _DATABASES:
        return f"{scheme}://{host}", _dotted(parts.path)
    path = parts.path.lstrip("/") if scheme in _OBJECT_STORES else parts.path
    return f"{scheme}://{host}" if host else scheme, path or "/"


def _dotted(path: str) -> str:
    return ".".join(part for part in path.split("/") if part) or "/"


def _is_foreign(each: Event) -> bool:
    return each.get("namespace") != NAMESPACE


def _own_link(side: str, each: Event) -> tuple[str, str, str | None] | None:
    """Return edge, name and version of a node of the graph; None where no edge leads there."""
    kind, _, name = str(each["name"]).partition("/")
    version = _inside(_facets(each), "version", "datasetVersion")
    edge = _OWN_EDGES.get((side, kind))
    return (edge, name, str(version) if version else None) if edge and name else None


# --- what is written ------------------------------------------------------------------------------------


def _stage(run_id: str, job: _Job, datasets: Mapping[_Name, Document]) -> Stage:
    stage = Stage()
    stage.origin = f"run {run_id}"
    run: Any = job.own_run
    if run is None:
        run = stage.add("Run", {"status": "running", **job.facts, "run_id": run_id, "source": SOURCE})
        for (edge, known, version), facts in job.own_links.items():
            node = {"name": known, "version": version}
            source, sink = (run, node) if stage.schema.edge(edge).source == "Run" else (node, run)
            stage.link(edge, source, sink, facts)
    for (edge, name), facts in job.links.items():
        stage.link(edge, run, _add_dataset(stage, name, datasets[name]), facts)
    return stage


def _add_dataset(stage: Stage, name: _Name, facts: Document) -> Node:
    uri = name[0] if "://" in name[0] else None
    return stage.add("Dataset", {**facts, "name": name[0], "version": name[1], "uri": uri, "source": SOURCE})


def _joined(each: Event) -> str:
    """Return `namespace/name`; some producers begin a path with a slash, and others do not."""
    namespace, name = each.get("namespace"), str(each.get("name"))
    return f"{namespace}/{name.lstrip('/')}" if namespace else name


def _facets(each: Any) -> Event:
    found = each.get("facets") if isinstance(each, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _inside(facets: Event, *path: str) -> Any:
    found: Any = facets
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _mappings(each: Any, name: str) -> list[Event]:
    """Return what a list inside of a facet holds; what is no object in it is passed over."""
    found = _inside(each, name)
    return [part for part in found if isinstance(part, Mapping)] if isinstance(found, list) else []


def _picked(facets: Event, table: Iterable[tuple[str, str, str]]) -> Document:
    found = {ours: _inside(facets, facet, theirs) for facet, theirs, ours in table}
    return {name: value[:_MAX_TEXT] if isinstance(value, str) else value for name, value in found.items()}


def _given(values: Mapping[str, Any]) -> Document:
    return {name: value for name, value in values.items() if value is not None}
