"""Node and edge types: the only place that lists them; collections, indexes, forms and pages are derived from it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from arangopipe_ops.errors import Invalid
from arangopipe_ops.model.values import Document

GRAPH = "enterprise_ml_graph"
AUDIT = "audit"
SCHEMA_VERSION = 1

ANNOTATIONS = ("description", "owner", "tags", "tag", "deployment_tag")
"""Attributes that say something about a node without being what it is: they never make a new version."""

OWN = ("created", "revised", "archived", "digest", "provenance", "slot", "active_slot")
"""Attributes that the store sets."""


@dataclass(frozen=True, slots=True)
class Index:
    """An index over attributes of one collection, in order."""

    fields: tuple[str, ...]
    unique: bool = False
    sparse: bool = False


@dataclass(frozen=True, slots=True)
class NodeType:
    """A kind of node.

    `identity` names the attributes that decide `_key`; `name` is the attribute that people call it by; `shows`
    are those that say most about it at a glance (none: its figures).
    """

    kind: str
    collection: str
    identity: tuple[str, ...]
    name: str = "name"
    shows: tuple[str, ...] = ()
    indexes: tuple[Index, ...] = ()

    @property
    def versioned(self) -> bool:
        return "version" in self.identity


@dataclass(frozen=True, slots=True)
class EdgeType:
    """A kind of edge: `source` and `target` are node kinds, `upstream` the end that lineage flows from.

    A fact edge leads from its owner to what was observed of it (parameters, performance). `newest` is the edge
    attribute that orders them: lineage shows the newest beside its owner instead of walking through all.
    `paged` edges may be so many of one source that they are read page by page, those written last first.
    """

    name: str
    source: str
    target: str
    upstream: Literal["from", "to"]
    newest: str | None = None
    paged: bool = False

    @property
    def indexes(self) -> list[Index]:
        newest = [Index(("_from", self.newest))] if self.newest else []
        return newest + ([Index(("_from", "created", "_to"))] if self.paged else [])


@dataclass(frozen=True)
class Schema:
    """The node and edge types of one graph."""

    nodes: Mapping[str, NodeType]
    edges: Mapping[str, EdgeType]

    def node(self, kind: str) -> NodeType:
        """Return a node type by kind or by collection name. Raises Invalid."""
        found = self.nodes.get(kind) or self._by_collection.get(kind)
        if found is None:
            raise Invalid("kind", f"{kind!r} is not one of {', '.join(self.nodes)}")
        return found

    def edge(self, name: str) -> EdgeType:
        """Return an edge type by name. Raises Invalid."""
        if name not in self.edges:
            raise Invalid("edge", f"{name!r} is not one of {', '.join(self.edges)}")
        return self.edges[name]

    def has(self, kind: str) -> bool:
        """Return whether a node type is known, by kind or by collection name."""
        return kind in self.nodes or kind in self._by_collection

    def extended(self, nodes: Sequence[NodeType], edges: Sequence[EdgeType]) -> "Schema":
        """Return this schema with further types; one that has the name of its own takes its place.

        Raises Invalid for a collection that two types share, and an edge whose ends are not known.
        """
        schema = Schema(
            {**self.nodes, **{node.kind: node for node in nodes}}, {**self.edges, **{edge.name: edge for edge in edges}}
        )
        names = [AUDIT, *(node.collection for node in schema.nodes.values()), *schema.edges]
        for name in names:
            if names.count(name) > 1:
                raise Invalid(name, "is the collection of two types; choose another name")
            if not _COLLECTION.fullmatch(name):
                raise Invalid(name, "is not a collection's name: a letter, then letters, digits, _ and -")
        for edge in edges:
            schema.node(edge.source), schema.node(edge.target)
        return schema

    @property
    def _by_collection(self) -> dict[str, NodeType]:
        return {node.collection: node for node in self.nodes.values()}

    def indexes(self) -> dict[str, list[Index]]:
        """Return the secondary indexes of every collection."""
        wanted = {
            node.collection: [
                Index((node.name, "created")),
                Index(("created", "_key")),
                Index(("archived",), sparse=True),
                *node.indexes,
            ]
            for node in self.nodes.values()
        }
        wanted |= {edge.name: edge.indexes for edge in self.edges.values() if edge.indexes}
        return wanted | {
            AUDIT: [Index(("at",)), Index(("touched[*]", "at")), Index(("provenance.run_id",), sparse=True)]
        }


_NAMED = ("name", "version")
_TAGS = tuple(Index((name,), sparse=True) for name in ("tag", "deployment_tag", "tags[*]"))

SCHEMA = Schema(
    nodes={
        node.kind: node
        for node in (
            NodeType("Project", "project", ("name",), shows=("owner",)),
            NodeType(
                "Dataset",
                "datasets",
                _NAMED,
                shows=("uri", "source", "rows"),
                indexes=(Index(("uri",), sparse=True), *_TAGS),
            ),
            NodeType("Featureset", "featuresets", _NAMED, shows=("features", "transformation"), indexes=_TAGS),
            NodeType(
                "Model",
                "models",
                _NAMED,
                shows=("task", "technique", "framework"),
                indexes=(Index(("task",), sparse=True), *_TAGS),
            ),
            NodeType("Run", "run", ("run_id",), name="run_id", shows=("status", "start", "tag"), indexes=_TAGS),
            NodeType("ModelParams", "modelparams", ("run_id",), name="run_id", indexes=_TAGS),
            NodeType("DevPerf", "devperf", ("run_id",), name="run_id", indexes=_TAGS),
            NodeType(
                "Deployment",
                "deployment",
                ("tag",),
                name="tag",
                shows=("status", "environment"),
                indexes=(Index(("active_slot",), unique=True, sparse=True), Index(("project", "status"))),
            ),
            NodeType(
                "ServingPerf",
                "servingperf",
                ("deployment", "period_start", "period_end", "source"),
                name="period_start",
                indexes=(Index(("deployment", "period_start")),),
            ),
            NodeType(
                "Alert",
                "alert",
                ("deployment", "rule"),
                name="rule",
                shows=("state", "since", "message"),
                indexes=(Index(("deployment",)),),
            ),
        )
    },
    edges={
        edge.name: edge
        for edge in (
            EdgeType("project_models", "Project", "Model", "from", paged=True),
            EdgeType("featureset_dataset", "Featureset", "Dataset", "to"),
            EdgeType("run_models", "Model", "Run", "from", paged=True),
            EdgeType("run_datasets", "Run", "Dataset", "to"),
            EdgeType("run_featuresets", "Run", "Featureset", "to"),
            EdgeType("run_outputs", "Run", "Dataset", "from"),
            EdgeType("run_modelparams", "Run", "ModelParams", "from", newest="created"),
            EdgeType("run_devperf", "Run", "DevPerf", "from", newest="created"),
            EdgeType("deployment_model", "Deployment", "Model", "to"),
            EdgeType("deployment_modelparams", "Deployment", "ModelParams", "to"),
            EdgeType("deployment_featureset", "Deployment", "Featureset", "to"),
            EdgeType("deployment_servingperf", "Deployment", "ServingPerf", "from", newest="period_start"),
            EdgeType("deployment_run", "Deployment", "Run", "to"),
            EdgeType("deployment_alert", "Deployment", "Alert", "from", newest="since"),
        )
    },
)

_COLLECTION = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,255}")


def extension(schema: Schema) -> Document:
    """Return what a schema has beyond `SCHEMA`, as plain JSON."""
    return {
        "nodes": [asdict(node) for kind, node in schema.nodes.items() if SCHEMA.nodes.get(kind) != node],
        "edges": [asdict(edge) for name, edge in schema.edges.items() if SCHEMA.edges.get(name) != edge],
    }


def extended(extension: Mapping[str, Any] | None) -> Schema:
    """Return `SCHEMA` with an `extension`. Raises Invalid for one that is none."""
    if extension is None:
        return SCHEMA
    try:
        nodes, edges = [_node_type(each) for each in extension["nodes"]], [EdgeType(**e) for e in extension["edges"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problem = f"does not hold the types that were added to the graph ({error!r}); `arangopipe doctor` has the cure"
        raise Invalid(f"{AUDIT}/extension", problem) from None
    return SCHEMA.extended(nodes, edges)


def _node_type(node: Mapping[str, Any]) -> NodeType:
    indexes = tuple(Index(**{**index, "fields": tuple(index["fields"])}) for index in node["indexes"])
    return NodeType(**{**node, "identity": tuple(node["identity"]), "shows": tuple(node["shows"]), "indexes": indexes})
