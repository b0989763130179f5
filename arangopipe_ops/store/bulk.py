"""Many stages at once: they are merged into batches of bounded size, each one statement and whole."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, TypedDict

from arangopipe_ops import model
from arangopipe_ops.errors import ArangopipeError, Conflict, NotFound
from arangopipe_ops.model import AUDIT, Document, Edge, Node, Stage, Target
from arangopipe_ops.store.writing import contradicts

BATCH_NODES = 1000
BATCH_BYTES = 4 * 1024 * 1024

Progress = Callable[[int, int | None], object]
"""Called with how many are done, and of how many where that is known."""


class Summary(TypedDict):
    """What became of many stages.

    `created`, `revised` and `same` count their nodes; `resumed` counts stages that an earlier attempt at the same
    input had written, so that they were not sent again.
    """

    stages: int
    created: int
    revised: int
    same: int
    resumed: int


COUNTED: Mapping[str, Literal["created", "revised", "same"]] = {
    "create": "created",
    "revise": "revised",
    "same": "same",
    "keep": "same",
}
"""What became of a node or edge -> where it is counted."""

WRITTEN = "RETURN FIRST(FOR a IN @@audit FILTER a._key == @key RETURN a.at)"
"""When the write of an audit entry took place."""

CHANGED = """FOR a IN @@audit
  FILTER a.at >= @since AND a.import != @import AND (a.removed != null OR LENGTH(a.replaced || []) > 0)
  FOR id IN a.touched
    RETURN DISTINCT id"""
"""What other writes have replaced or removed since an import began."""


class Earlier:
    """What earlier attempts at the same input have written.

    A batch that was written is not sent again, unless another write has replaced or removed something of it since.
    """

    def __init__(self, query: Callable[[str, Document], list[Any]]) -> None:
        self._query = query
        self._first: str | None = None
        self._mark = ""
        self._changed: set[str] | None = None

    def entry(self, batch: "Batch", on_conflict: str) -> Document | None:
        """Return what the audit entry of a batch has in addition, None if the batch is not to be sent."""
        self._mark = batch.mark(self._mark or on_conflict)
        self._first = self._first or self._mark
        key = f"batch-{self._mark}"
        [since] = self._query(WRITTEN, {"@audit": AUDIT, "key": key})
        if since is None:
            return {"_key": key, "import": self._first}
        if self._changed is None:
            binds = {"@audit": AUDIT, "since": since, "import": self._first}
            self._changed = set(self._query(CHANGED, binds))
        return {"import": self._first} if batch.ids() & self._changed else None


class Batch:
    """Stages that are written as one.

    Writing them together has to mean the same as writing them one after the other. So a stage starts another batch
    where it depends on what this one changes: by the name of something versioned that is registered here, whose
    newest version only the database knows, or with other content of the same node.
    """

    def __init__(self) -> None:
        self.stage = Stage()
        self.parts: list[tuple[int, Stage]] = []
        self.size = 0
        self._nodes: dict[str, Node] = {}
        self._names: set[tuple[str, Any]] = set()
        self._slots: set[str | None] = set()
        self._edges: dict[tuple[str, str, str], Edge] = {}
        self._ends: set[tuple[str, str | None]] = set()
        self._loose: set[tuple[str, str | None]] = set()

    def takes(self, stage: Stage, nodes: int) -> bool:
        """Return whether a stage may go along, in a batch of so many nodes at most."""
        if not self.parts:
            return True
        size = sum(node.size for node in stage.nodes)
        if len(self._nodes) + len(stage.nodes) > nodes or self.size + size > BATCH_BYTES:
            return False
        if stage.schema is not self.stage.schema and stage.schema != self.stage.schema:
            return False
        return not any(map(self._alters, stage.nodes)) and not any(map(self._depends, stage.edges))

    def add(self, position: int, stage: Stage) -> None:
        """Take a stage in, the one at a position of the input."""
        if not self.parts:
            self.stage.schema = stage.schema
        self.parts.append((position, stage))
        for node in stage.nodes:
            if node.id not in self._nodes:
                self._keep(node)
        edges = [self._resolved(edge) for edge in stage.edges]
        for edge in edges:
            if (edge.type.name, *edge.tokens) not in self._edges:
                self._link(edge)

    def mark(self, before: str) -> str:
        """Return a digest of this batch and of all before it."""
        nodes = [[node.id, *_state(node)] for node in self.stage.nodes]
        edges = [[edge.type.name, *edge.tokens, edge.digest] for edge in self.stage.edges]
        return model.digest([before, nodes, edges])[:32]

    def ids(self) -> set[str]:
        """Return what it writes and what that leads to, as far as is known without the database."""
        return {*self._nodes, *(token for edge in self.stage.edges for token in edge.tokens)}

    def name_stage(self, error: ArangopipeError) -> None:
        """Let an error say which stage it is about."""
        for position, stage in self.parts:
            if _concerns(error, stage):
                error.where = stage.origin or f"stage {position}"
                return

    def _keep(self, node: Node) -> None:
        self.stage.nodes.append(node)
        self.size += node.size
        self._nodes[node.id] = node
        self._names.add((node.type.collection, node.content.get(node.type.name)))
        if node.active:
            self._slots.add(node.slot)

    def _link(self, edge: Edge) -> None:
        self.stage.edges.append(edge)
        name, tokens = edge.type.name, edge.tokens
        self._edges[(name, *tokens)] = edge
        self._ends |= {(name, tokens[0]), (name, tokens[1]), (name, None)}
        if _loose(edge):
            self._loose |= {(name, end) for end in _sure(edge) or (None,)}

    def _alters(self, node: Node) -> bool:
        known = self._nodes.get(node.id)
        if known is not None:
            return known is not node and _state(known) != _state(node)
        another_version = node.type.versioned and (node.type.collection, node.content[node.type.name]) in self._names
        return another_version or (node.active and node.slot in self._slots)

    def _depends(self, edge: Edge) -> bool:
        edge = self._resolved(edge)
        known = self._edges.get((edge.type.name, *edge.tokens))
        if known is not None:
            return known.digest != edge.digest
        return any(self._names_here(end) for end in (edge.source, edge.target)) or self._may_be_here(edge)

    def _names_here(self, end: Node | Target) -> bool:
        return isinstance(end, Target) and end.name is not None and (end.collection, end.name) in self._names

    def _may_be_here(self, edge: Edge) -> bool:
        """Return whether the batch may hold the same edge already, with an end spelled otherwise."""
        name = edge.type.name
        if _loose(edge):
            return any((name, end) in self._ends for end in _sure(edge) or (None,))
        return any((name, end) in self._loose for end in (*_sure(edge), None))

    def _resolved(self, edge: Edge) -> Edge:
        source, sink = (self._here(end) for end in (edge.source, edge.target))
        return edge if source is edge.source and sink is edge.target else replace(edge, source=source, target=sink)

    def _here(self, end: Node | Target) -> Node | Target:
        """Return the node of this batch that an end leads to, if it surely does."""
        if isinstance(end, Node):
            return end
        if end.key is not None and (found := self._nodes.get(f"{end.collection}/{end.key}")):
            return found
        if end.name is None or (end.collection, end.name) not in self._names:
            return end
        type_ = self.stage.schema.node(end.collection)
        same = self._nodes.get(f"{type_.collection}/{model.key_of(type_.kind, [end.name])}")
        return same if same is not None and type_.identity == (type_.name,) else end


def batches(stages: Iterable[Stage], nodes: int) -> Iterator[Batch]:
    """Yield stages in batches of at most so many nodes; a stage that has more makes one alone."""
    batch = Batch()
    for position, stage in enumerate(stages, 1):
        if not batch.takes(stage, nodes):
            yield batch
            batch = Batch()
        batch.add(position, stage)
    if batch.parts:
        yield batch


def _state(node: Node) -> list[Any]:
    return [node.digest, model.canonical_text(node.notes) if node.notes else "", node.slot, node.active]


def _loose(edge: Edge) -> bool:
    """Return whether only the database knows where an edge leads."""
    return len(_sure(edge)) < 2


def _sure(edge: Edge) -> list[str]:
    ends = (edge.source, edge.target)
    return [token for end, token in zip(ends, edge.tokens, strict=True) if isinstance(end, Node) or end.name is None]


def _concerns(error: ArangopipeError, stage: Stage) -> bool:
    if isinstance(error, NotFound):
        ends = [end for edge in stage.edges for end in (edge.source, edge.target) if isinstance(end, Target)]
        return any(str(end) in error.references for end in ends)
    if isinstance(error, Conflict):
        old: Mapping[str, Any] = error.document or {"_id": error.id}
        return any(node.id == error.id for node in stage.nodes) or any(contradicts(edge, old) for edge in stage.edges)
    return False
