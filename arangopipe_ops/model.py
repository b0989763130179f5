"""The metadata graph as data: node types, edge types, identity, keys, digests and the Stage.

This is the only place that lists node and edge types; collections, indexes, queries, forms and pages are
derived from it. Nothing here does I/O.
"""

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, time
from enum import Enum
from functools import cached_property
from os import PathLike, fspath
from typing import Any, Literal, TypedDict
from uuid import UUID

from arangopipe_ops.errors import Invalid

GRAPH = "enterprise_ml_graph"
AUDIT = "audit"
SCHEMA_VERSION = 1

MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 64


Document = dict[str, Any]


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
    """

    name: str
    source: str
    target: str
    upstream: Literal["from", "to"]
    newest: str | None = None

    @property
    def indexes(self) -> list[Index]:
        return [Index(("_from", self.newest))] if self.newest else []


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
        return wanted | {AUDIT: [Index(("at",)), Index(("touched[*]", "at"))]}


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
                indexes=(Index(("active_slot",), unique=True, sparse=True), Index(("project",))),
            ),
            NodeType(
                "ServingPerf",
                "servingperf",
                ("deployment", "period_start", "period_end", "source"),
                name="period_start",
                indexes=(Index(("deployment", "period_start")),),
            ),
        )
    },
    edges={
        edge.name: edge
        for edge in (
            EdgeType("project_models", "Project", "Model", "from"),
            EdgeType("featureset_dataset", "Featureset", "Dataset", "to"),
            EdgeType("run_models", "Model", "Run", "from"),
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


ANNOTATIONS = ("description", "owner", "tags", "tag", "deployment_tag")
"""Attributes that say something about a node without being what it is: they never make a new version."""

OWN = ("created", "revised", "archived", "digest", "provenance", "slot", "active_slot")
"""Attributes that the store sets."""


class Ref(TypedDict):
    """A small JSON-safe reference to a stored node, which every place that takes a reference accepts.

    `created` says whether the write that returned it made the node.
    """

    schema_version: int
    kind: str
    _id: str
    _key: str
    name: str
    version: str | None
    created: bool


class LineageNode(TypedDict):
    """A node of a lineage. `depth` counts the edges from the start."""

    _id: str
    kind: str
    name: str
    depth: int
    document: Document


class LineageEdge(TypedDict):
    """An edge of a lineage, as it flows: `upstream` influenced `downstream`."""

    edge: str
    upstream: str
    downstream: str
    document: Document


class Lineage(TypedDict):
    """What influenced a node and what it influenced, each node and edge once, the start first."""

    start: str
    nodes: list[LineageNode]
    edges: list[LineageEdge]


# --- values ----------------------------------------------------------------------------------------------


def canonical(value: Any, path: str = "") -> Any:
    """Return `value` as JSON that means the same whichever way it came.

    Orchestrators change types on the way: integers come back as floats, tuples as lists. So integral floats
    become integers, times UTC ISO 8601 text, keys are sorted, numpy and pandas values become plain ones.
    Raises Invalid, naming the path, for NaN and infinity, times without a zone, cycles, and anything else that
    is not JSON.
    """
    return _canonical(value, path, ())


def _canonical(value: Any, path: str, parents: tuple[int, ...]) -> Any:
    for types, convert in _SCALARS:
        if isinstance(value, types):
            return convert(value, path)
    if id(value) in parents:
        raise Invalid(path, "refers to itself; store a reference by name instead")
    if len(parents) >= MAX_DEPTH:
        raise Invalid(path, f"is nested deeper than {MAX_DEPTH} levels")
    inside = (*parents, id(value))
    if isinstance(value, Mapping):
        return _canonical_mapping(value, path, inside)
    if isinstance(value, set | frozenset):
        return sorted((_canonical(item, f"{path}[]", inside) for item in value), key=canonical_text)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [_canonical(item, f"{path}[{i}]", inside) for i, item in enumerate(value)]
    if hasattr(value, "tolist"):
        return _canonical(value.tolist(), path, inside)
    raise Invalid(path, f"{type(value).__name__} cannot be stored; convert it to text, a number, a list or a dict")


def _canonical_mapping(value: Mapping[Any, Any], path: str, inside: tuple[int, ...]) -> dict[str, Any]:
    items = [(_attribute(name, path), item) for name, item in value.items()]
    if len({name for name, _ in items}) < len(items):
        raise Invalid(path, "two of its keys are the same as text")
    return {name: _canonical(item, f"{path}.{name}" if path else name, inside) for name, item in sorted(items)}


def _attribute(name: Any, path: str) -> str:
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise Invalid(path, f"the key {name!r} is not text")
    return _text(str(name), path)


def _text(value: str, path: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Invalid(path, "holds half of a surrogate pair, which no database can store") from None
    return str(value)


def _whole(value: int, path: str) -> int:
    if not -(2**63) <= value < 2**63:
        raise Invalid(path, "is an integer of more than 64 bits; store it as text")
    return int(value)


def _real(value: float, path: str) -> int | float:
    if not math.isfinite(value):
        raise Invalid(path, f"is {float(value)!r}, which JSON cannot hold; leave it out or store None")
    return int(value) if value.is_integer() and abs(value) < 2**53 else float(value)


def _instant(value: datetime, path: str) -> str:
    if value.tzinfo is None:
        raise Invalid(path, "is a time without a zone; give it one, for example datetime.now(timezone.utc)")
    unit = "microseconds" if value.microsecond % 1000 else "milliseconds"
    try:
        return value.astimezone(UTC).isoformat(timespec=unit).replace("+00:00", "Z")
    except OverflowError:
        raise Invalid(path, "is a time outside of the years 1 to 9999") from None


# The order matters: a bool is an int, a datetime is a date, and numpy.float64 is a float.
_SCALARS: tuple[tuple[Any, Callable[[Any, str], Any]], ...] = (
    (type(None), lambda value, path: None),
    (bool, lambda value, path: value),
    (Enum, lambda value, path: _canonical(value.value, path, ())),
    (str, _text),
    (int, _whole),
    (float, _real),
    (datetime, _instant),
    (date, lambda value, path: value.isoformat()),
    (UUID, lambda value, path: str(value)),
    (PathLike, lambda value, path: _text(fspath(value), path)),
)


def moment(value: Any, path: str) -> str:
    """Return a point in time as canonical UTC text; a bare date is its midnight in UTC. Raises Invalid."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value) if "T" in value or " " in value else date.fromisoformat(value)
        except ValueError:
            raise Invalid(path, f"{value!r} is not an ISO 8601 time") from None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time(), UTC)
    if not isinstance(value, datetime):
        raise Invalid(path, f"{value!r} is not a time")
    return _instant(value, path)


def canonical_text(value: Any) -> str:
    """Return canonical JSON text: equal values, and only they, have equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    """Return the SHA-256 of a canonical value, in hexadecimal."""
    return hashlib.sha256(canonical_text(value).encode()).hexdigest()


def key_of(kind: str, identity: Sequence[Any]) -> str:
    """Return the `_key` of a node: a readable slug, then a hash of kind and identity; at most 113 characters.

    `identity` holds the values of the node type's identity attributes, in order.
    """
    plain = unicodedata.normalize("NFKD", str(identity[0])).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^A-Za-z0-9]+", "_", plain)[:80].strip("_")
    return f"{slug}-{digest([kind, *identity])[:32]}" if slug else digest([kind, *identity])[:32]


def edge_key(edge: str, source: str, target: str) -> str:
    """Return the `_key` of an edge between two `_id`s; the database computes the same in AQL."""
    return hashlib.sha1(f"{edge}|{source}|{target}".encode()).hexdigest()


# --- references ------------------------------------------------------------------------------------------

_KEY = re.compile(r"[A-Za-z0-9_\-:.@()+,=;$!*'%]{1,254}")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a reference leads: a key, a name (its newest version), or either where a text could be both."""

    collection: str
    key: str | None = None
    name: str | None = None

    @property
    def token(self) -> str:
        """Name the target inside one request; an `_id` where the key is sure."""
        return f"{self.collection}/{self.key}" if self.name is None else f"{self.collection}?{self.name}"

    def __str__(self) -> str:
        return self.token if self.name is None else f"{self.name!r} in {self.collection}"


Reference = Ref | Mapping[str, Any] | str
"""A Ref (or any mapping with `_id`, or with the identity's attributes), an `_id`, or a name (newest version)."""


def target(kind: str, reference: Any, schema: Schema = SCHEMA) -> Target:
    """Return where a reference to a node of `kind` leads. Raises Invalid."""
    node = schema.node(kind)
    if isinstance(reference, Mapping):
        return _mapped_target(node, reference)
    if not isinstance(reference, str) or not reference:
        raise Invalid(node.kind, f"{reference!r} is not a reference; give a Ref, an _id or a name")
    collection, _, key = _text(reference, node.kind).partition("/")
    looks_like_id = collection == node.collection and _KEY.fullmatch(key)
    return Target(node.collection, key=key if looks_like_id else None, name=reference)


def _mapped_target(node: NodeType, reference: Mapping[str, Any]) -> Target:
    if "_id" in reference:
        collection, _, key = str(reference["_id"]).partition("/")
        if collection != node.collection or not _KEY.fullmatch(key):
            raise Invalid(node.kind, f"{reference['_id']!r} is not the _id of a {node.kind}")
        return Target(collection, key=key)
    missing = [name for name in node.identity if reference.get(name) is None]
    if missing == ["version"]:
        return target(node.kind, _identifying(node, node.name, reference))
    if missing:
        raise Invalid(node.kind, f"the reference {dict(reference)!r} has neither _id nor {missing[0]}")
    return Target(node.collection, key=key_of(node.kind, [canonical(reference[name]) for name in node.identity]))


def sure_key(kind: str, reference: Any, schema: Schema = SCHEMA) -> str:
    """Return the `_key` of a node that its name alone identifies (a project, run or deployment)."""
    found = target(kind, reference, schema)
    return found.key or key_of(schema.node(kind).kind, [found.name])


# --- stages ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Node:
    """A node to write. `content` decides the digest (and a missing version), `notes` are its annotations.

    Of the nodes with the same `slot` one is active.
    """

    type: NodeType
    key: str
    content: Mapping[str, Any]
    notes: Mapping[str, Any] = field(default_factory=dict)
    slot: str | None = None
    active: bool = False

    @property
    def id(self) -> str:
        return f"{self.type.collection}/{self.key}"

    @property
    def digest(self) -> str:
        return self._measured[0]

    @property
    def size(self) -> int:
        """About how many bytes it takes to send."""
        return self._measured[1] + (len(canonical_text(self.notes)) if self.notes else 0)

    @cached_property
    def _measured(self) -> tuple[str, int]:
        text = canonical_text(self.content).encode()
        return hashlib.sha256(text).hexdigest(), len(text)


@dataclass(frozen=True)
class Edge:
    """An edge to write, between nodes of the same stage or nodes that are stored already."""

    type: EdgeType
    source: Node | Target
    target: Node | Target
    content: Mapping[str, Any]

    @cached_property
    def digest(self) -> str:
        return digest(self.content) if self.content else _EMPTY

    @cached_property
    def tokens(self) -> tuple[str, str]:
        """Name both ends inside one request; an end that is sure is its `_id`."""
        source, sink = (end.id if isinstance(end, Node) else end.token for end in (self.source, self.target))
        return source, sink


class Stage:
    """What one step of a pipeline writes: nodes and edges that are stored together or not at all.

    The first node is the stage's subject. Values are checked and made canonical as they are added, so an
    error names the argument that caused it before anything is sent.
    """

    origin: str | None = None
    """Where it was read, for example `line 12`; an error about one of many names it."""

    def __init__(self, schema: Schema = SCHEMA) -> None:
        self.schema = schema
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []

    def to_json(self) -> Document:
        """Return the stage as plain JSON, with the types that users added to its schema."""
        places = {node.id: i for i, node in enumerate(self.nodes)}
        added = extension(self.schema)
        return {
            "nodes": [
                {"kind": n.type.kind, **{name: getattr(n, name) for name in _NODE_FIELDS}, "content": dict(n.content)}
                for n in self.nodes
            ],
            "edges": [
                {"edge": e.type.name, "ends": [_end(e.source, places), _end(e.target, places)], "content": e.content}
                for e in self.edges
            ],
            "extension": added if any(added.values()) else None,
        }

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> "Stage":
        """Return the stage that `to_json` was asked of."""
        stage = cls(extended(given["extension"]))
        for row in given["nodes"]:
            own = {name: row[name] for name in _NODE_FIELDS}
            stage.nodes.append(Node(stage.schema.node(row["kind"]), content=row["content"], **own))
        for row in given["edges"]:
            source, sink = (stage.nodes[end] if isinstance(end, int) else Target(**end) for end in row["ends"])
            stage.edges.append(Edge(stage.schema.edge(row["edge"]), source, sink, row["content"]))
        return stage

    def add(
        self,
        kind: str,
        attributes: Mapping[str, Any],
        *,
        key: str | None = None,
        slot: str | None = None,
        active: bool = False,
    ) -> Node:
        """Add a node and return it, for use as the end of an edge.

        A versioned node without `version` gets the digest of its content as its version. Attributes that are
        None are left out. `key` is for a node that has its owner's identity. Of the nodes with the same `slot`
        one is active: writing another active one archives it. Raises Invalid.
        """
        type_ = self.schema.node(kind)
        values = _checked(type_, attributes)
        notes = {name: values.pop(name) for name in ANNOTATIONS if name in values and name not in type_.identity}
        if type_.versioned and "version" not in values:
            values["version"] = digest(values)[:16]
        identity = [_identifying(type_, name, values) for name in type_.identity]
        node = Node(type_, key or key_of(type_.kind, identity), values, notes, slot, active)
        return self._keep(node)

    def _keep(self, node: Node) -> Node:
        for other in self.nodes:
            if other.id == node.id:
                if other != node:
                    raise Invalid(node.id, "is in this stage twice, with different content")
                return other
        self.nodes.append(node)
        return node

    def link(self, edge: str, source: Any, target_: Any, attributes: Mapping[str, Any] | None = None) -> None:
        """Add an edge. Its ends are nodes of this stage, or references to stored ones. Raises Invalid."""
        type_ = self.schema.edge(edge)
        ends = [
            end if isinstance(end, Node) else target(kind, end, self.schema)
            for kind, end in ((type_.source, source), (type_.target, target_))
        ]
        link = Edge(type_, ends[0], ends[1], canonical(attributes or {}, edge))
        if link not in self.edges:
            self.edges.append(link)


_NODE_FIELDS = ("key", "notes", "slot", "active")
_EMPTY = digest({})


def _end(end: Node | Target, places: Mapping[str, int]) -> Document | int:
    return places[end.id] if isinstance(end, Node) else asdict(end)


def _checked(type_: NodeType, attributes: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in attributes.items() if value is not None}
    for name in given:
        if name in OWN or str(name).startswith("_"):
            raise Invalid(f"{type_.kind}.{name}", "is set by the store; choose another name")
    values: dict[str, Any] = canonical(given, type_.kind)
    if (size := len(canonical_text(values).encode())) > MAX_DOCUMENT_BYTES:
        raise Invalid(
            type_.kind,
            f"is {size:,} bytes, more than {MAX_DOCUMENT_BYTES:,}; store the data elsewhere and register its URI",
        )
    return values


def _identifying(type_: NodeType, name: str, values: Mapping[str, Any]) -> str:
    value = values.get(name)
    if not isinstance(value, str) or not value.strip():
        raise Invalid(f"{type_.kind}.{name}", f"{value!r} is not a name; give a text that is not empty")
    return value
