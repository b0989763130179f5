"""The statement that writes a stage, what it binds, and what its answer means."""

import getpass
import socket
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Literal, NamedTuple

from arangopipe_ops import model
from arangopipe_ops.errors import Conflict, Invalid, NotFound
from arangopipe_ops.model import (
    ANNOTATIONS,
    OWN,
    Document,
    Edge,
    Node,
    Ref,
    Stage,
    Target,
    canonical_text,
)
from arangopipe_ops.store.statements import NOW, appended

OnConflict = Literal["fail", "keep", "revise"]


def check_policy(on_conflict: str) -> None:
    """Raise Invalid for what is no `OnConflict`."""
    if on_conflict not in ("fail", "keep", "revise"):
        raise Invalid("on_conflict", f"{on_conflict!r} is not fail, keep or revise")


def this_process() -> Document:
    """Return the provenance of what a process writes by itself."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's uid without an entry in the password file
        user = None
    return {"through": "python", "user": user, "host": socket.gethostname()}


class Shape(NamedTuple):
    """What a statement does with one collection: look up references by key or name, write nodes."""

    keys: bool
    names: bool
    nodes: bool
    versioned: bool
    slots: bool


class Groups:
    """A stage's documents grouped by collection: ArangoDB lets one statement modify each collection once."""

    def __init__(self, stage: Stage) -> None:
        self.schema = stage.schema
        self.targets = {end.token: end for edge in stage.edges for end in _stored_ends(edge)}
        touched = [node.type.collection for node in stage.nodes]
        touched += [target.collection for target in self.targets.values()]
        self.collections = list(dict.fromkeys(touched))
        self.nodes: dict[str, list[Node]] = {name: [] for name in self.collections}
        for node in stage.nodes:
            self.nodes[node.type.collection].append(node)
        self.edges: dict[str, list[Edge]] = {}
        for edge in stage.edges:
            self.edges.setdefault(edge.type.name, []).append(edge)

    @property
    def shape(self) -> tuple[tuple[Shape, ...], tuple[bool, ...]]:
        """What decides the statement's text: of each collection of nodes its own, of edges if some are optional."""
        optional = tuple(any(map(_is_optional, edges)) for edges in self.edges.values())
        return tuple(self._shape(name) for name in self.collections), optional

    def _shape(self, collection: str) -> "Shape":
        nodes, targets = self.nodes[collection], self._targets(collection)
        return Shape(
            keys=any(target.key for target in targets),
            names=any(target.name for target in targets),
            nodes=bool(nodes),
            versioned=bool(nodes) and nodes[0].type.versioned,
            slots=any(node.active for node in nodes),
        )

    def _targets(self, collection: str) -> list[Target]:
        return [target for target in self.targets.values() if target.collection == collection]

    def binds(self) -> Document:
        needed = {end.token for edges in self.edges.values() for edge in edges for end in _needed_ends(edge)}
        binds: Document = {"tokens": [token for token in self.targets if token in needed]}
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
        return next(dict(edge.content) for edge in self.edges[collection] if contradicts(edge, old))


def _stored_ends(edge: Edge) -> Iterator[Target]:
    return (end for end in (edge.source, edge.target) if isinstance(end, Target))


def _needed_ends(edge: Edge) -> Iterator[Target]:
    return (end for end in _stored_ends(edge) if end is edge.source or not edge.optional)


def _is_optional(edge: Edge) -> bool:
    return edge.optional and isinstance(edge.target, Target)


def contradicts(edge: Edge, document: Mapping[str, Any]) -> bool:
    """Return whether an edge is a stored one with other content; an end given by name may be any of its collection."""
    if document["_id"].partition("/")[0] != edge.type.name or document.get("digest") == edge.digest:
        return False
    stored = zip((edge.source, edge.target), (document["_from"], document["_to"]), strict=True)
    return all(end.id == id if isinstance(end, Node) else _may_be(end, id) for end, id in stored)


def _may_be(target: Target, id: str) -> bool:
    return target.token == id if target.name is None else id.startswith(f"{target.collection}/")


def _node_row(node: Node) -> Document:
    document = {"_key": node.key, **node.content, **node.notes, "digest": node.digest}
    if node.slot:
        document["slot"] = node.slot
    if node.active:
        document["active_slot"] = node.slot
    return {"doc": document, "notes": node.notes}


def _edge_row(edge: Edge) -> Document:
    source, sink = edge.tokens
    row = {"from": source, "to": sink, "doc": {**edge.content, "digest": edge.digest}}
    return row | ({"optional": True} if _is_optional(edge) else {})


_BY_NAME = """
  (FOR r IN @names{i}
    LET id = FIRST(FOR d IN @@c{i} FILTER d.@by{i} == r.name AND d.archived == null
      SORT d.created DESC LIMIT 1 RETURN d._id)
    FILTER id != null
    RETURN {{[r.token]: id}})"""

_BY_KEY = """
  (FOR r IN @keys{i} FOR d IN @@c{i} FILTER d._key == r.key RETURN {{[r.token]: d._id}})"""

_REFERENCES = """
LET ids = MERGE(UNION([{{}}], []{lookups}))
LET missing = @tokens[* FILTER ids[CURRENT] == null]"""

# A deployment that was archived and promoted again has no digest, and may be what was registered all the same.
_NODES = """
LET seen{i} = (FOR n IN @nodes{i}
  LET old = FIRST(FOR d IN @@c{i} FILTER d._key == n.doc._key RETURN d)
  LET verb = old == null ? "create"
    : old.digest != n.doc.digest AND KEEP(old, ATTRIBUTES(n.doc)) != UNSET(n.doc, "digest") ? @on_conflict
    : KEEP(old, ATTRIBUTES(n.notes)) == n.notes ? "same"
    : @on_conflict == "keep" ? "keep" : "revise"
  RETURN {{doc: MERGE(old == null ? {{}} : KEEP(old, @notes), n.doc), old, verb, at: {at}}})"""

# The newest registered version is `latest`, so no two versions of a name may have the same time.
_NEWER = """NOT_NULL(FIRST(
    FOR d IN @@c{i} FILTER d.@by{i} == n.doc.@by{i} SORT d.created DESC LIMIT 1
    RETURN d.created >= now ? DATE_ADD(d.created, 1, "millisecond") : now), now)"""

_ENDED = """
LET ended{i} = (FOR s IN seen{i} FILTER s.verb IN ["create", "revise"] AND s.doc.active_slot != null
  FOR d IN @@c{i} FILTER d.active_slot == s.doc.active_slot AND d._key != s.doc._key
  LET doc = MERGE(UNSET(d, "_id", "_rev", "active_slot", "digest"), {{status: "archived", ended: now}})
  RETURN {{doc, old: d, verb: "revise", at: now}})"""

_EDGES = """
LET linked{j} = (FOR x IN @edges{j}{kept}
  LET source = NOT_NULL(ids[x.from], x.from)
  LET sink = NOT_NULL(ids[x.to], x.to)
  LET key = SHA1(CONCAT_SEPARATOR("|", @edge{j}, source, sink))
  LET old = FIRST(FOR d IN @@e{j} FILTER d._key == key RETURN d)
  LET verb = old == null ? "create" : old.digest == x.doc.digest ? "same" : @on_conflict
  RETURN {{doc: MERGE(x.doc, {{_key: key, _from: source, _to: sink}}), old, verb, at: now}})"""

_THERE = "\n  FILTER x.optional == null OR ids[x.to] != null"

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
def write_text(shapes: tuple[Shape, ...], edges: tuple[bool, ...]) -> str:
    """Return the statement that writes a stage of this shape.

    First it looks up references and what is stored, then it decides, then it writes each collection once:
    ArangoDB does not read a collection after modifying it in the same statement.
    """
    nodes = [i for i, shape in enumerate(shapes) if shape.nodes]
    slots = [i for i, shape in enumerate(shapes) if shape.slots]
    lookups = [_BY_NAME.format(i=i) for i, shape in enumerate(shapes) if shape.names]
    lookups += [_BY_KEY.format(i=i) for i, shape in enumerate(shapes) if shape.keys]
    times = {i: _NEWER.format(i=i) if shapes[i].versioned else "now" for i in nodes}
    rows = {f"c{i}": f"APPEND(ended{i}, seen{i})" if i in slots else f"seen{i}" for i in nodes}
    rows |= {f"e{j}": f"linked{j}" for j in range(len(edges))}
    seen = [f"seen{i}" for i in nodes] + [f"linked{j}" for j in range(len(edges))]
    parts = [
        "WITH " + ", ".join(f"@@c{i}" for i in range(len(shapes))) if shapes else "",
        f"\n{NOW}",
        _REFERENCES.format(lookups="".join(f",{lookup}" for lookup in lookups)),
        *(_NODES.format(i=i, at=times[i]) for i in nodes),
        *(_ENDED.format(i=i) for i in slots),
        *(_EDGES.format(j=j, kept=_THERE if optional else "") for j, optional in enumerate(edges)),
        _VERDICT.format(seen=appended(seen)),
        *(_WRITE.format(written=f"written_{c}", rows=source, collection=c) for c, source in rows.items()),
        _AUDIT.format(
            written=appended(f"written_{c}" for c in rows), verbs=", ".join(f"seen{i}[*].verb" for i in nodes)
        ),
    ]
    return "".join(parts)


def refuse(answer: Document, groups: Groups) -> None:
    """Raise what stopped a write, if anything did: NotFound, Conflict."""
    if answer["missing"]:
        raise NotFound([str(groups.targets[token]) for token in answer["missing"]])
    for old in answer["conflicts"]:
        raise conflict(old, groups.content(old))


def conflict(old: Document, new: Document) -> Conflict:
    """Return the error that a stored document is not what was to be written, which says where they differ."""
    return Conflict(old["_id"], _differences(_content(old), _content(new)), document=old)


def _content(document: Mapping[str, Any]) -> Document:
    """Return what a document is, without annotations and what the store sets."""
    apart = {*OWN, *ANNOTATIONS}
    return {name: value for name, value in document.items() if name not in apart and not name.startswith("_")}


def _differences(old: Document, new: Document) -> list[str]:
    """Return the attributes that are not the same JSON; in Python alone True would equal 1."""
    texts = [{name: canonical_text(value) for name, value in document.items()} for document in (old, new)]
    return sorted(name for name in old | new if texts[0].get(name) != texts[1].get(name))


def ref_of(node: Node, created: bool) -> Ref:
    """Return the reference to a node that is stored now."""
    return model.ref_of(node.type, {"_id": node.id, "_key": node.key, **node.content}, created)
