"""The metadata graph as data: node types, edge types, identity, keys, digests and the Stage.

Nothing here does I/O.
"""

from arangopipe_ops.model.lineage import Cut, Lineage, LineageEdge, LineageNode
from arangopipe_ops.model.references import Ref, Reference, Target, edge_key, key_of, ref_of, sure_key, target
from arangopipe_ops.model.stage import MAX_DOCUMENT_BYTES, Edge, Node, Stage
from arangopipe_ops.model.types import (
    ANNOTATIONS,
    AUDIT,
    GRAPH,
    OWN,
    SCHEMA,
    SCHEMA_VERSION,
    EdgeType,
    Index,
    NodeType,
    Schema,
    extended,
    extension,
)
from arangopipe_ops.model.values import MAX_DEPTH, Document, canonical, canonical_text, digest, moment

__all__ = [
    "ANNOTATIONS",
    "AUDIT",
    "GRAPH",
    "MAX_DEPTH",
    "MAX_DOCUMENT_BYTES",
    "OWN",
    "SCHEMA",
    "SCHEMA_VERSION",
    "Cut",
    "Document",
    "Edge",
    "EdgeType",
    "Index",
    "Lineage",
    "LineageEdge",
    "LineageNode",
    "Node",
    "NodeType",
    "Ref",
    "Reference",
    "Schema",
    "Stage",
    "Target",
    "canonical",
    "canonical_text",
    "digest",
    "edge_key",
    "extended",
    "extension",
    "key_of",
    "moment",
    "ref_of",
    "sure_key",
    "target",
]
