"""Read and write the metadata graph: every write is one request that carries one AQL statement."""

import getpass
import random
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from uuid import uuid4

from arangopipe_ops import model
from arangopipe_ops.errors import ArangopipeError, Conflict, Invalid, NotFound, Unavailable, from_response
from arangopipe_ops.model import (
    ANNOTATIONS,
    AUDIT,
    SCHEMA,
    Document,
    Edge,
    EdgeType,
    Lineage,
    LineageEdge,
    LineageNode,
    Node,
    Ref,
    Schema,
    Stage,
    Target,
)

if TYPE_CHECKING:
    from arango.database import StandardDatabase

OnConflict = Literal["fail", "keep", "revise"]
Direction = Literal["upstream", "downstream", "both"]

_CONTENDED = {1200, 1210}  # two writers met: ArangoDB's write conflict and unique constraint violated


@contextmanager
def driver_errors() -> Iterator[None]:
    """Raise what a failure of the driver stands for, as one of `arangopipe_ops.errors`."""
    from arango.exceptions import ArangoClientError, ArangoServerError

    try:
        yield
    except ArangoServerError as error:
        raise from_response(error.http_code, error.error_code, error.error_message) from error
    except (ArangoClientError, OSError) as error:
        raise Unavailable(f"the database could not be reached: {error}") from error


class Store:
    """The metadata graph in one database.

    `provenance` is stored with everything this store writes: who runs, through what (`python`, `airflow`,
    `kfp`), and the orchestrator's ids. A statement that meets another writer's is tried again, with growing
    pauses, for `patience` seconds. All methods raise the errors of `arangopipe_ops.errors` and no others.
    """

    def __init__(
        self,
        db: "StandardDatabase",
        *,
        schema: Schema = SCHEMA,
        provenance: Mapping[str, Any] | None = None,
        patience: float = 10.0,
    ) -> None:
        self.db = db
        self.patience = patience
        self.schema = schema
        self.provenance = model.canonical(_this_process() | dict(provenance or {}), "provenance")

    def write(self, stage: Stage, *, on_conflict: OnConflict = "fail") -> Ref:
        """Write a stage, whole or not at all, and return a reference to its first node. See `write_all`."""
        if not stage.nodes:
            raise Invalid("stage", "has no node; use write_all for a stage of edges alone")
        return self.write_all(stage, on_conflict=on_conflict)[0]

    def write_all(self, stage: Stage, *, on_conflict: OnConflict = "fail") -> list[Ref]:
        """Write a stage, whole or not at all, and return a reference to each of its nodes.

        Writing the same stage again changes nothing. A node or edge that is stored with different content is
        refused (`fail`), left as it is (`keep`), or replaced with the old content kept in the audit (`revise`).
        Raises NotFound for an edge that leads nowhere, Conflict, Unavailable.
        """
        if on_conflict not in ("fail", "keep", "revise"):
            raise Invalid("on_conflict", f"{on_conflict!r} is not fail, keep or revise")
        groups = _Groups(stage)
        text = _write_text(*groups.shape)
        binds = groups.binds() | {
            "on_conflict": on_conflict,
            "audit": {"_key": uuid4().hex, "provenance": self.provenance},
            "provenance": self.provenance,
            "@audit": AUDIT,
        }
        [answer] = self._execute(text, binds)
        self._refuse(groups, answer)
        verbs = dict(zip(groups.written(), chain.from_iterable(answer["verbs"]), strict=True))
        return [_ref(node, verbs[node.id] == "create") for node in stage.nodes]

    def get(self, reference: Any, kind: str | None = None) -> Document:
        """Return one node's document. `kind` is needed where the reference is a name. Raises NotFound."""
        target = self._target(reference, kind)
        found = self._execute(f"RETURN {_LOOK_UP}", self._look_up(target))
        if found[0] is None:
            raise NotFound([str(target)])
        return dict(found[0])

    def find(self, kind: str, *, limit: int = 100, **equals: Any) -> list[Document]:
        """Return the nodes of a kind whose attributes equal the given values, newest first."""
        node = self.schema.node(kind)
        filters = "".join(f"FILTER d.@attribute{i} == @value{i} " for i in range(len(equals)))
        binds: Document = {"@nodes": node.collection, "limit": limit}
        for i, (name, value) in enumerate(equals.items()):
            binds |= {f"attribute{i}": name, f"value{i}": model.canonical(value, name)}
        return self._execute(f"FOR d IN @@nodes {filters}SORT d.created DESC LIMIT @limit RETURN d", binds)

    def lineage(
        self,
        reference: Any,
        *,
        kind: str | None = None,
        direction: Direction = "both",
        depth: int = 100,
        kinds: Sequence[str] | None = None,
    ) -> Lineage:
        """Return what influenced a node (upstream), what it influenced (downstream), or both.

        With every run and deployment come its newest facts: parameters, performance in development, serving
        performance. `depth` bounds the edges from the start; `kinds` keeps only nodes of those kinds.
        Raises NotFound.
        """
        target = self._target(reference, kind)
        if direction not in _SIDES:
            raise Invalid("direction", f"{direction!r} is not upstream, downstream or both")
        wanted = {self.schema.node(name).kind for name in kinds or self.schema.nodes}
        text, binds = _lineage_text(self.schema, direction)
        [answer] = self._execute(text, binds | self._look_up(target) | {"depth": depth})
        if answer["start"] is None:
            raise NotFound([str(target)])
        return self._lineage(answer, wanted)

    def counts(self) -> dict[str, int]:
        """Return how many nodes and edges there are, by collection."""
        names = [node.collection for node in self.schema.nodes.values()] + list(self.schema.edges)
        entries = ", ".join(f"[@name{i}]: LENGTH(@@c{i})" for i in range(len(names)))
        binds = {f"name{i}": name for i, name in enumerate(names)}
        binds |= {f"@c{i}": name for i, name in enumerate(names)}
        [answer] = self._execute(f"RETURN {{{entries}}}", binds)
        return dict(answer)

    def _execute(self, text: str, binds: Document) -> list[Any]:
        started, pause = time.monotonic(), 0.02
        while True:
            try:
                with driver_errors():
                    return list(self.db.aql.execute(text, bind_vars=binds))  # type: ignore[arg-type]
            except ArangopipeError as error:
                contended = getattr(error.__cause__, "error_code", None) in _CONTENDED
                if not contended or time.monotonic() - started > self.patience:
                    raise
            time.sleep(random.uniform(0, pause))
            pause *= 2

    def _refuse(self, groups: "_Groups", answer: Document) -> None:
        """Raise what stopped the write, if anything did."""
        if answer["missing"]:
            raise NotFound([str(groups.targets[token]) for token in answer["missing"]])
        for old in answer["conflicts"]:
            raise Conflict(old["_id"], _differences(_content(old), groups.content(old)))

    def _target(self, reference: Any, kind: str | None) -> Target:
        if kind is None:
            text = reference.get("_id") if isinstance(reference, Mapping) else reference
            kind = str(text).partition("/")[0]
            if kind not in {node.collection for node in self.schema.nodes.values()}:
                raise Invalid("kind", f"is needed to look up {reference!r}: it is neither a Ref nor an _id")
        return model.target(kind, reference, self.schema)

    def _look_up(self, target: Target) -> Document:
        node = self.schema.node(target.collection)
        return {"@nodes": node.collection, "key": target.key, "by": node.name, "name": target.name}

    def _lineage(self, answer: Document, wanted: set[str]) -> Lineage:
        nodes: dict[str, LineageNode] = {}
        for row in answer["nodes"]:
            document = row["node"]
            kind = self.schema.node(document["_id"].partition("/")[0])
            if kind.kind in wanted and document["_id"] not in nodes:
                name = str(document.get(kind.name, document["_key"]))
                nodes[document["_id"]] = LineageNode(
                    _id=document["_id"], kind=kind.kind, name=name, depth=row["depth"], document=document
                )
        edges = {
            document["_id"]: self._flow(document)
            for document in answer["edges"]
            if document["_from"] in nodes and document["_to"] in nodes
        }
        ordered = sorted(nodes.values(), key=lambda node: node["depth"])
        return Lineage(start=answer["start"], nodes=ordered, edges=list(edges.values()))

    def _flow(self, document: Document) -> LineageEdge:
        name = document["_id"].partition("/")[0]
        ends = (document["_from"], document["_to"])
        upstream, downstream = ends if self.schema.edge(name).upstream == "from" else ends[::-1]
        return LineageEdge(edge=name, upstream=upstream, downstream=downstream, document=document)


def _this_process() -> Document:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's uid without an entry in the password file
        user = None
    return {"through": "python", "user": user, "host": socket.gethostname()}


def _ref(node: Node, created: bool) -> Ref:
    return Ref(
        schema_version=model.SCHEMA_VERSION,
        kind=node.type.kind,
        _id=node.id,
        _key=node.key,
        name=node.content[node.type.name],
        version=node.content.get("version") if node.type.versioned else None,
        created=created,
    )


def _content(document: Mapping[str, Any]) -> Document:
    apart = {"created", "revised", "digest", "provenance", "active_slot", *ANNOTATIONS}
    return {name: value for name, value in document.items() if name not in apart and not name.startswith("_")}


def _differences(old: Document, new: Document) -> list[str]:
    """Return the attributes that are not the same JSON; in Python alone True would equal 1."""
    texts = [{name: model.canonical_text(value) for name, value in document.items()} for document in (old, new)]
    return sorted(name for name in old | new if texts[0].get(name) != texts[1].get(name))


# --- writing ---------------------------------------------------------------------------------------------


class _Shape(NamedTuple):
    """What a statement does with one collection: look up references by key or name, write nodes."""

    keys: bool
    names: bool
    nodes: bool
    versioned: bool
    slots: bool


class _Groups:
    """A stage's documents grouped by collection: ArangoDB lets one statement modify each collection once."""

    def __init__(self, stage: Stage) -> None:
        self.schema = stage.schema
        self.targets = {end.token: end for edge in stage.edges for end in _stored_ends(edge)}
        touched = [node.type.collection for node in stage.nodes]
        touched += [target.collection for target in self.targets.values()]
        self.collections = list(dict.fromkeys(touched))
        self.nodes = {name: [n for n in stage.nodes if n.type.collection == name] for name in self.collections}
        self.edges = {edge.type.name: [e for e in stage.edges if e.type == edge.type] for edge in stage.edges}

    @property
    def shape(self) -> tuple[tuple[_Shape, ...], int]:
        """What decides the statement's text; everything else is a bind variable."""
        return tuple(self._shape(name) for name in self.collections), len(self.edges)

    def _shape(self, collection: str) -> "_Shape":
        nodes, targets = self.nodes[collection], self._targets(collection)
        return _Shape(
            keys=any(target.key for target in targets),
            names=any(target.name for target in targets),
            nodes=bool(nodes),
            versioned=bool(nodes) and nodes[0].type.versioned,
            slots=any(node.active_slot for node in nodes),
        )

    def _targets(self, collection: str) -> list[Target]:
        return [target for target in self.targets.values() if target.collection == collection]

    def binds(self) -> Document:
        binds: Document = {"tokens": list(self.targets)}
        if any(self.nodes.values()):
            binds["notes"] = ANNOTATIONS
        for i, (collection, shape) in enumerate(zip(self.collections, self.shape[0], strict=True)):
            targets = self._targets(collection)
            node = self.schema.node(collection)
            binds[f"@c{i}"] = collection
            if shape.keys:
                binds[f"keys{i}"] = [{"token": t.token, "key": t.key} for t in targets if t.key]
            if shape.names:
                binds[f"names{i}"] = [{"token": t.token, "name": t.name} for t in targets if t.name]
            if shape.nodes:
                binds[f"nodes{i}"] = [_node_row(node) for node in self.nodes[collection]]
            if shape.names or shape.versioned:
                binds[f"by{i}"] = node.name
        for j, (name, edges) in enumerate(self.edges.items()):
            binds |= {f"@e{j}": name, f"edge{j}": name, f"edges{j}": [_edge_row(edge) for edge in edges]}
        return binds

    def written(self) -> list[str]:
        """Return the `_id`s of the nodes, in the order of the answer."""
        return [node.id for name in self.collections for node in self.nodes[name]]

    def content(self, old: Mapping[str, Any]) -> Document:
        """Return the content that this stage has for a stored document."""
        collection, _, key = old["_id"].partition("/")
        for node in self.nodes.get(collection, ()):
            if node.key == key:
                return dict(node.content)
        return next(dict(edge.content) for edge in self.edges[collection])


def _stored_ends(edge: Edge) -> Iterator[Target]:
    return (end for end in (edge.source, edge.target) if isinstance(end, Target))


def _node_row(node: Node) -> Document:
    document = {"_key": node.key, **node.content, **node.notes, "digest": node.digest}
    if node.active_slot:
        document["active_slot"] = node.active_slot
    return {"doc": document, "notes": node.notes}


def _edge_row(edge: Edge) -> Document:
    ends = [end.id if isinstance(end, Node) else end.token for end in (edge.source, edge.target)]
    document = {**edge.content, "digest": model.digest(edge.content)}
    return {"from": ends[0], "to": ends[1], "doc": document}


_BY_NAME = """
  (FOR r IN @names{i}
    LET id = FIRST(FOR d IN @@c{i} FILTER d.@by{i} == r.name SORT d.created DESC LIMIT 1 RETURN d._id)
    FILTER id != null
    RETURN {{[r.token]: id}})"""

_BY_KEY = """
  (FOR r IN @keys{i} FOR d IN @@c{i} FILTER d._key == r.key RETURN {{[r.token]: d._id}})"""

_REFERENCES = """
LET now = DATE_ISO8601(DATE_NOW())
LET ids = MERGE(UNION([{{}}], []{lookups}))
LET missing = @tokens[* FILTER ids[CURRENT] == null]"""

_NODES = """
LET seen{i} = (FOR n IN @nodes{i}
  LET old = FIRST(FOR d IN @@c{i} FILTER d._key == n.doc._key RETURN d)
  LET verb = old == null ? "create"
    : old.digest != n.doc.digest ? @on_conflict
    : KEEP(old, ATTRIBUTES(n.notes)) == n.notes ? "same"
    : @on_conflict == "keep" ? "keep" : "revise"
  RETURN {{doc: MERGE(old == null ? {{}} : KEEP(old, @notes), n.doc), old, verb, at: {at}}})"""

# The newest registered version is `latest`, so no two versions of a name may have the same time.
_NEWER = """NOT_NULL(FIRST(
    FOR d IN @@c{i} FILTER d.@by{i} == n.doc.@by{i} SORT d.created DESC LIMIT 1
    RETURN d.created >= now ? DATE_ADD(d.created, 1, "millisecond") : now), now)"""

_ARCHIVED = """
LET archived{i} = (FOR s IN seen{i} FILTER s.verb IN ["create", "revise"] AND s.doc.active_slot != null
  FOR d IN @@c{i} FILTER d.active_slot == s.doc.active_slot AND d._key != s.doc._key
  LET doc = MERGE(UNSET(d, "_id", "_rev", "active_slot", "digest"), {{status: "archived", archived: now}})
  RETURN {{doc, old: d, verb: "revise", at: now}})"""

_EDGES = """
LET linked{j} = (FOR x IN @edges{j}
  LET source = NOT_NULL(ids[x.from], x.from)
  LET sink = NOT_NULL(ids[x.to], x.to)
  LET key = SHA1(CONCAT_SEPARATOR("|", @edge{j}, source, sink))
  LET old = FIRST(FOR d IN @@e{j} FILTER d._key == key RETURN d)
  LET verb = old == null ? "create" : old.digest == x.doc.digest ? "same" : @on_conflict
  RETURN {{doc: MERGE(x.doc, {{_key: key, _from: source, _to: sink}}), old, verb, at: now}})"""

_VERDICT = """
LET seen = UNION([], []{seen})
LET conflicts = seen[* FILTER CURRENT.verb == "fail" RETURN CURRENT.old]
LET rows = LENGTH(missing) + LENGTH(conflicts) == 0 ? ["create", "revise"] : []"""

_WRITE = """
LET {written} = (FOR s IN {rows} FILTER s.verb IN rows
  INSERT MERGE(s.doc, {{provenance: @provenance, created: s.old == null ? s.at : s.old.created}},
    s.old == null ? {{}} : {{revised: now}})
  INTO @@{collection} OPTIONS {{overwriteMode: "replace"}}
  RETURN {{id: NEW._id, old: s.old}})"""

_AUDIT = """
LET written = UNION([], []{written})
LET entry = (FOR once IN LENGTH(written) > 0 ? [1] : []
  INSERT MERGE(@audit, {{
    at: now,
    touched: written[*].id,
    created: written[* FILTER CURRENT.old == null RETURN CURRENT.id],
    replaced: written[* FILTER CURRENT.old != null RETURN CURRENT.old]
  }}) INTO @@audit
  RETURN NEW._key)
RETURN {{missing, conflicts, verbs: [{verbs}]}}"""


@cache
def _write_text(shapes: tuple[_Shape, ...], edges: int) -> str:
    """Return the statement that writes a stage of this shape.

    First it looks up references and what is stored, then it decides, then it writes each collection once:
    ArangoDB does not read a collection after modifying it in the same statement.
    """
    nodes = [i for i, shape in enumerate(shapes) if shape.nodes]
    slots = [i for i, shape in enumerate(shapes) if shape.slots]
    lookups = [_BY_NAME.format(i=i) for i, shape in enumerate(shapes) if shape.names]
    lookups += [_BY_KEY.format(i=i) for i, shape in enumerate(shapes) if shape.keys]
    times = {i: _NEWER.format(i=i) if shapes[i].versioned else "now" for i in nodes}
    rows = {f"c{i}": f"APPEND(archived{i}, seen{i})" if i in slots else f"seen{i}" for i in nodes}
    rows |= {f"e{j}": f"linked{j}" for j in range(edges)}
    seen = [f"seen{i}" for i in nodes] + [f"linked{j}" for j in range(edges)]
    parts = [
        "WITH " + ", ".join(f"@@c{i}" for i in range(len(shapes))) if shapes else "",
        _REFERENCES.format(lookups="".join(f",{lookup}" for lookup in lookups)),
        *(_NODES.format(i=i, at=times[i]) for i in nodes),
        *(_ARCHIVED.format(i=i) for i in slots),
        *(_EDGES.format(j=j) for j in range(edges)),
        _VERDICT.format(seen=_appended(seen)),
        *(_WRITE.format(written=f"written_{c}", rows=source, collection=c) for c, source in rows.items()),
        _AUDIT.format(
            written=_appended(f"written_{c}" for c in rows), verbs=", ".join(f"seen{i}[*].verb" for i in nodes)
        ),
    ]
    return "".join(parts)


def _appended(arguments: Iterable[str]) -> str:
    return "".join(f", {argument}" for argument in arguments)


# --- reading ---------------------------------------------------------------------------------------------

_LOOK_UP = """NOT_NULL(
  FIRST(FOR d IN @@nodes FILTER d._key == @key RETURN d),
  FIRST(FOR d IN @@nodes FILTER @name != null AND d.@by == @name SORT d.created DESC LIMIT 1 RETURN d))"""

_SIDES: dict[str, tuple[str, ...]] = {
    "upstream": ("up",),
    "downstream": ("down",),
    "both": ("up", "down"),
}

_ARROWS = {
    ("up", "to"): "OUTBOUND",
    ("up", "from"): "INBOUND",
    ("down", "to"): "INBOUND",
    ("down", "from"): "OUTBOUND",
}
"""How a step up or down follows an edge, by the end of it that is upstream."""

_WALK = """
LET {side} = (FOR v, e, p IN 0..@depth OUTBOUND found {edges}
  OPTIONS {{order: "bfs", uniqueVertices: "global"}}
  FILTER v != null
  RETURN {{node: v, depth: LENGTH(p.edges)}})
LET {side}_edges = (FOR n IN {side} FILTER n.depth < @depth
  FOR v, e IN 1..1 OUTBOUND n.node {edges}
  RETURN e)"""

_FACTS = """
LET facts{k} = (FOR n IN walked FILTER n.depth < @depth AND IS_SAME_COLLECTION(@owner{k}, n.node)
  LET fact = FIRST(FOR e IN @@f{k} FILTER e._from == n.node._id SORT e.@newest{k} DESC LIMIT 1 RETURN e)
  FILTER fact != null
  RETURN {{node: DOCUMENT(fact._to), depth: n.depth + 1, edge: fact}})"""

_LINEAGE = """
RETURN {{
  start: found._id,
  nodes: UNION(walked, []{facts}),
  edges: UNION([], []{edges})
}}"""


def _lineage_text(schema: Schema, direction: str) -> tuple[str, Document]:
    """Return the statement that walks from a looked-up node, and the names it binds.

    A breadth-first walk finds every node once, by one of the edges that lead there; a second step from each
    node then finds all edges between them. Facts are not walked through but looked up, newest first.
    """
    sides = _SIDES[direction]
    nodes, facts = [*schema.nodes.values()], [edge for edge in schema.edges.values() if edge.newest]
    edges = [edge for edge in schema.edges.values() if "up" in sides or not edge.newest]
    binds: Document = {f"@v{i}": node.collection for i, node in enumerate(nodes)}
    binds |= {f"@e{j}": edge.name for j, edge in enumerate(edges)}
    for k, fact in enumerate(facts):
        binds |= {f"@f{k}": fact.name, f"newest{k}": fact.newest, f"owner{k}": schema.node(fact.source).collection}
    found = [f"{side}_edges" for side in sides] + [f"facts{k}[*].edge" for k in range(len(facts))]
    parts = [
        "WITH " + ", ".join(f"@@v{i}" for i in range(len(nodes))),
        f"\nLET found = {_LOOK_UP}",
        *(_WALK.format(side=side, edges=_steps(edges, side)) for side in sides),
        f"\nLET walked = UNION([], {', '.join(sides)})",
        *(_FACTS.format(k=k) for k in range(len(facts))),
        _LINEAGE.format(facts=_appended(f"facts{k}" for k in range(len(facts))), edges=_appended(found)),
    ]
    return "".join(parts), binds


def _steps(edges: Sequence[EdgeType], side: str) -> str:
    """Return the edge collections to follow, each with its direction. From a fact the way up is to its owner."""
    followed = [(j, edge) for j, edge in enumerate(edges) if side == "up" or not edge.newest]
    return ", ".join(f"{_ARROWS[side, edge.upstream]} @@e{j}" for j, edge in followed)
