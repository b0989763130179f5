"""What one step of a pipeline writes: nodes and edges, stored together or not at all."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from arangopipe_ops.errors import Invalid
from arangopipe_ops.model.references import Target, identifying, key_of, target
from arangopipe_ops.model.types import ANNOTATIONS, OWN, SCHEMA, EdgeType, NodeType, Schema, extended, extension
from arangopipe_ops.model.values import Document, canonical, canonical_text, digest

MAX_DOCUMENT_BYTES = 16 * 1024 * 1024


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
    """An edge to write, between nodes of the same stage or nodes that are stored already.

    An `optional` one is not written where its target is not stored.
    """

    type: EdgeType
    source: Node | Target
    target: Node | Target
    content: Mapping[str, Any]
    optional: bool = False

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
                {
                    "edge": e.type.name,
                    "ends": [_end(e.source, places), _end(e.target, places)],
                    "content": e.content,
                    "optional": e.optional,
                }
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
            optional = row.get("optional", False)
            stage.edges.append(Edge(stage.schema.edge(row["edge"]), source, sink, row["content"], optional))
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
        identity = [identifying(type_, name, values) for name in type_.identity]
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

    def link(
        self,
        edge: str,
        source: Any,
        target_: Any,
        attributes: Mapping[str, Any] | None = None,
        *,
        optional: bool = False,
    ) -> None:
        """Add an edge. Its ends are nodes of this stage, or references to stored ones. Raises Invalid.

        An `optional` edge is left out where its target is not stored; any other one is then NotFound.
        """
        type_ = self.schema.edge(edge)
        ends = [
            end if isinstance(end, Node) else target(kind, end, self.schema)
            for kind, end in ((type_.source, source), (type_.target, target_))
        ]
        link = Edge(type_, ends[0], ends[1], canonical(attributes or {}, edge), optional)
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
