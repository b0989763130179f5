"""What a lineage is made of."""

from typing import TypedDict

from arangopipe_ops.model.values import Document


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
