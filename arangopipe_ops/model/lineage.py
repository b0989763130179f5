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


class Cut(TypedDict):
    """What a lineage leaves out: `more` nodes that edges of one type link a node to, `outward` from it or towards it.

    Without `exact` there are even more than those, which nobody counted.
    """

    node: str
    edge: str
    outward: bool
    more: int
    exact: bool


class Lineage(TypedDict):
    """What influenced a node and what it influenced, each node and edge once, the start first.

    `cut` is what was left out of it, where that was asked for.
    """

    start: str
    nodes: list[LineageNode]
    edges: list[LineageEdge]
    cut: list[Cut]
