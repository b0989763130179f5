"""Go through all nodes and edges, in statements of bounded size, and tell which are not as the model has them.

Nothing is changed. Each fault is a name and an `_id`; `doctor` counts them, `repair` works through them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from arangopipe_ops import model
from arangopipe_ops.errors import Invalid
from arangopipe_ops.model import ANNOTATIONS, OWN, Document, EdgeType, NodeType, Schema
from arangopipe_ops.store.execution import execute

if TYPE_CHECKING:
    from arango.database import StandardDatabase

Progress = Callable[[str, int, int], None]
"""Is told a collection's name, how many of its documents have been looked at, and how many there are."""

EDGES_AT_ONCE, NODES_AT_ONCE = 5_000, 500


class Fault(NamedTuple):
    """What is wrong with one document. `about` is what several faults have in common: an active slot."""

    name: str
    id: str
    document: Document
    about: str = ""


@dataclass(frozen=True)
class Scan:
    """Which collections there are, which runs are taken for dead, who is told of the progress."""

    schema: Schema
    collections: frozenset[str]
    stale_days: float = 7.0
    now: float = 0.0
    progress: Progress | None = None

    def faults(self, db: "StandardDatabase", names: frozenset[str] | None = None) -> Iterator[Fault]:
        """Yield the faults of all edges, then those of all nodes; only those of some names, if any are given."""
        if names is None or names & EDGE_FAULTS:
            for edge in self.schema.edges.values():
                ends = {edge.name, *(self.schema.node(kind).collection for kind in (edge.source, edge.target))}
                if ends <= self.collections:
                    yield from (fault for fault in self._edges(db, edge) if names is None or fault.name in names)
        if names is None or names - EDGE_FAULTS:
            for node in self.schema.nodes.values():
                if node.collection in self.collections:
                    yield from (fault for fault in self._nodes(db, node) if names is None or fault.name in names)

    def _edges(self, db: "StandardDatabase", edge: EdgeType) -> Iterator[Fault]:
        text, binds = edge_text(self.schema, edge)
        for page in self._pages(db, edge.name, text, binds, EDGES_AT_ONCE):
            for row in page:
                if row["fault"]:
                    yield Fault(row["fault"], f"{edge.name}/{row['_key']}", row)

    def _nodes(self, db: "StandardDatabase", node: NodeType) -> Iterator[Fault]:
        text, binds = _node_text(self, node)
        active: dict[str, list[Document]] = {}
        for page in self._pages(db, node.collection, text, binds, NODES_AT_ONCE):
            for row in page:
                yield from self._node(node, row)
                if node.kind == "Deployment" and (slot := _claimed(row["document"])):
                    active.setdefault(slot, []).append(row["document"])
        for slot, rivals in active.items():
            newest_first = sorted(rivals, key=lambda each: str(each.get("created")), reverse=True)
            for document in newest_first[1:]:
                yield Fault("two-active", document["_id"], document, slot)

    def _node(self, node: NodeType, row: Mapping[str, Any]) -> Iterator[Fault]:
        document = row["document"]
        checks: dict[str, bool] = {
            "ownerless-facts": not row["owned"],
            "orphan-nodes": row["owned"] and not row["linked"] and document.get("archived") is None,
            "changed-content": "digest" in document and document["digest"] not in _digests(node, document),
            "wrong-key": "digest" in document and document["_key"] not in self._keys(node, document),
            "active-slots": node.kind == "Deployment" and mended_slot(document) != document,
            "stale-runs": node.kind == "Run" and self._stale(document),
        }
        for name, wrong in checks.items():
            if wrong:
                yield Fault(name, document["_id"], document)

    def _keys(self, node: NodeType, document: Document) -> set[str]:
        """Return the keys that a node may have: its own, or its owner's where it has its owner's identity."""
        owners = [self.schema.node(edge.source) for edge in _fact_edges(self.schema, node)]
        kinds = [node.kind, *(owner.kind for owner in owners if owner.identity == node.identity)]
        identity = [document.get(name) for name in node.identity]
        return {model.key_of(kind, identity) for kind in kinds}

    def _stale(self, run: Document) -> bool:
        limit = datetime.fromtimestamp(self.now, UTC) - timedelta(days=self.stale_days)
        since = run.get("start") or run.get("created")
        return run.get("status") == "running" and isinstance(since, str) and since < limit.isoformat()[:19]

    def _pages(
        self, db: "StandardDatabase", collection: str, text: str, binds: Document, size: int
    ) -> Iterator[list[Document]]:
        """Yield what a statement says of some keys at once. The keys alone come from one statement that streams them.

        That costs the same per document whether or not the database can go through keys in order.
        """
        total = _count(db, collection) if self.progress else 0
        streamed: Any = db.aql.execute(
            _KEYS,
            bind_vars={"@c": collection},
            batch_size=size,
            stream=True,
            ttl=_HOUR,  # type: ignore[arg-type]
        )
        try:
            seen = 0
            while keys := list(islice(streamed, size)):
                yield execute(db, text, binds | {"keys": keys}, patience=10)
                seen += len(keys)
                if self.progress:
                    self.progress(collection, seen, max(seen, total))
        finally:
            streamed.close(ignore_missing=True)


_KEYS = "FOR d IN @@c RETURN d._key"
_HOUR = 3600.0

_EDGES = """WITH {ends}
FOR e IN @@e FILTER e._key IN @keys
  LET wrong = NOT IS_SAME_COLLECTION(@source, e._from) OR NOT IS_SAME_COLLECTION(@target, e._to)
  LET there = wrong ? 2 : LENGTH(FOR v IN @@source FILTER v._key == SPLIT(e._from, "/", 2)[1] LIMIT 1 RETURN 1)
    + LENGTH(FOR v IN @@target FILTER v._key == SPLIT(e._to, "/", 2)[1] LIMIT 1 RETURN 1)
  LET fault = wrong ? "wrong-ends" : there < 2 ? "dangling-edges" : {older} ? "older-links" : null
  RETURN {{_key: e._key, _from: e._from, _to: e._to, fault}}"""

_OLDER = """LENGTH(FOR o IN @@e
    FILTER o._{end} == e._{end} AND [o.created, o._key] > [e.created, e._key] LIMIT 1 RETURN 1) > 0"""

_ALONE = {
    "run_models": "to",
    "deployment_model": "from",
    "deployment_modelparams": "from",
    "deployment_run": "from",
}
"""At which end an edge should be the only one of its type: a run has one model, a deployment one model and run."""

EDGE_FAULTS = frozenset({"wrong-ends", "dangling-edges", "older-links"})

_NODES = """WITH {collections}
FOR d IN @@c FILTER d._key IN @keys
  RETURN {{document: d, owned: {owned}, linked: {linked}}}"""

_LED_TO = "LENGTH(FOR e IN @@e{j} FILTER e._{end} == d._id LIMIT 1 RETURN 1) > 0"


def edge_text(schema: Schema, edge: EdgeType) -> tuple[str, Document]:
    """Return the statement that says of some edges (`keys`) of a type what is wrong with them, and what it binds."""
    source, target = schema.node(edge.source).collection, schema.node(edge.target).collection
    binds = {"@e": edge.name, "@source": source, "@target": target, "source": source, "target": target}
    ends = "@@source" if source == target else "@@source, @@target"
    older = _OLDER.format(end=_ALONE[edge.name]) if edge.name in _ALONE else "false"
    return _EDGES.format(ends=ends, older=older), binds


def _node_text(scan: Scan, node: NodeType) -> tuple[str, Document]:
    """Facts need an owner. What comes from something else is an orphan if no edge leads to it or from it."""
    edges = [edge for edge in scan.schema.edges.values() if edge.name in scan.collections]
    facts = [edge for edge in _fact_edges(scan.schema, node) if edge in edges]
    flows = {(_upstream(scan.schema, edge).kind, _downstream(scan.schema, edge).kind) for edge in edges}
    # Where two kinds flow into each other, as data sets and runs do, neither needs the other.
    comes_from = [end for start, end in flows if end == node.kind and (end, start) not in flows]
    binds: Document = {"@c": node.collection}
    owned, linked = [], []
    for j, edge in enumerate(edges):
        for end, kind in (("from", edge.source), ("to", edge.target)):
            if scan.schema.node(kind) == node:
                binds[f"@e{j}"] = edge.name
                linked.append(_LED_TO.format(j=j, end=end))
                if edge in facts and end == "to":
                    owned.append(linked[-1])
    if not comes_from:
        binds, linked = {"@c": node.collection}, []
    text = _NODES.format(
        collections=", ".join(f"@{name}" for name in binds),
        owned=" OR ".join(owned) or "true",
        linked=" OR ".join(linked) or "true",
    )
    return text, binds


def _fact_edges(schema: Schema, node: NodeType) -> list[EdgeType]:
    return [edge for edge in schema.edges.values() if edge.newest and schema.node(edge.target) == node]


def _upstream(schema: Schema, edge: EdgeType) -> NodeType:
    return schema.node(edge.source if edge.upstream == "from" else edge.target)


def _downstream(schema: Schema, edge: EdgeType) -> NodeType:
    return schema.node(edge.target if edge.upstream == "from" else edge.source)


def _count(db: "StandardDatabase", collection: str) -> int:
    [count] = execute(db, "RETURN LENGTH(@@c)", {"@c": collection}, patience=10)
    return int(count)


# --- what a node should be ---------------------------------------------------------------------------------


def digest_of(node: NodeType, document: Document) -> str:
    """Return the digest of a stored node's content, as `Stage` computes it."""
    apart = {*OWN, *(name for name in ANNOTATIONS if name not in node.identity)}
    content = {name: value for name, value in document.items() if name not in apart and not name.startswith("_")}
    try:
        return model.digest(model.canonical(content))
    except Invalid:
        return ""


def _digests(node: NodeType, document: Document) -> set[str]:
    """Return the digests that a node may have: its own, or, promoted, that of when it was registered."""
    found = {digest_of(node, document)}
    if document.get("slot") and document.get("status") == "active":
        found.add(digest_of(node, {**document, "status": "scheduled"}))
    return found


def _claimed(deployment: Document) -> str | None:
    """Return the slot that a deployment is active in, as one of two attributes says."""
    slot = deployment.get("active_slot") or (deployment.get("slot") if deployment.get("status") == "active" else None)
    return str(slot) if slot else None


def mended_slot(deployment: Document) -> Document:
    """Return a deployment with the active slot that its status says it has, and without one otherwise."""
    mended = {name: value for name, value in deployment.items() if name != "active_slot"}
    if deployment.get("status") == "active" and deployment.get("slot"):
        mended["active_slot"] = deployment["slot"]
    return mended
