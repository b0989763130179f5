"""The statements that plan and carry out the deletion of a node."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from arangopipe_ops.model import Document, NodeType, Schema
from arangopipe_ops.store.statements import EXTENSION, LOOK_UP, NOW, appended


class Deletion(TypedDict):
    """What deleting a node would do.

    `removes` are the node and the facts observed of it, `edges` what leads to and from them. `loses` are the nodes
    that would lose something that influenced them, `orphans` those that would be left without any edge. `active` says
    whether it is an active deployment, `expected` is what `Store.delete` finds unchanged, or refuses.
    """

    removes: list[str]
    active: bool
    edges: list[str]
    loses: list[str]
    orphans: list[str]
    expected: list[list[str]]


_FOUND = """WITH {collections}, @@audit
{now}
LET found = {look_up}{facts}
LET nodes = UNION([], found == null ? [] : [found]{observed})
LET ids = nodes[*]._id{touching}
LET edges = UNION([], []{touched})
LET present = SORTED(APPEND(nodes, edges)[* RETURN [CURRENT._id, CURRENT._rev]])"""

_FACTS = """
LET facts{k} = (FOR e IN @@f{k} FILTER found != null AND e._from == found._id
  LET fact = DOCUMENT(e._to)
  FILTER fact != null
  RETURN fact)"""

_TOUCHING = """
LET edges{j} = UNION_DISTINCT(
  (FOR id IN ids FOR e IN @@e{j} FILTER e._from == id RETURN e),
  (FOR id IN ids FOR e IN @@e{j} FILTER e._to == id RETURN e))"""

_PLAN = """
LET ends = MINUS(UNION_DISTINCT(edges[*]._from, edges[*]._to), ids)
LET orphans = (FOR id IN ends FILTER {others} == 0 RETURN id)
RETURN {{found, ids, edges, orphans, present, extension: {extension}}}"""

_OTHERS = """LENGTH(FOR e IN @@e{j} FILTER e._from == id AND e._to NOT IN ids LIMIT 1 RETURN 1)
  + LENGTH(FOR e IN @@e{j} FILTER e._to == id AND e._from NOT IN ids LIMIT 1 RETURN 1)"""

_DELETE = """
LET rows = present == @expected AND found != null ? [1] : []{removals}
LET entry = (FOR once IN rows
  INSERT MERGE(@audit, {{at: now, touched: ids, created: [], removed: ids, replaced: APPEND(nodes, edges)}})
  INTO @@audit
  RETURN NEW._key)
RETURN {{found, removed: LENGTH(rows)}}"""

_REMOVAL = """
LET gone_{c} = (FOR once IN rows FOR d IN {source} FILTER IS_SAME_COLLECTION(@name_{c}, d)
  REMOVE d._key IN @@{c} RETURN 1)"""


def plan_text(schema: Schema, type_: NodeType) -> tuple[str, Document]:
    """Return the statement that says what deleting a node of a type would do, and the collections it binds."""
    text, binds = _found(schema, type_)
    others = "\n  + ".join(_OTHERS.format(j=j) for j in range(len(schema.edges)))
    return text + _PLAN.format(others=others, extension=EXTENSION), binds


def delete_text(schema: Schema, type_: NodeType) -> tuple[str, Document]:
    """Return the statement that deletes a node of a type if nothing has changed, and the collections it binds."""
    text, binds = _found(schema, type_)
    kinds = dict.fromkeys([type_.kind, *(edge.target for edge in _fact_edges(schema, type_))])
    rows = {f"r{i}": ("nodes", schema.node(kind).collection) for i, kind in enumerate(kinds)}
    rows |= {f"e{j}": (f"edges{j}", name) for j, name in enumerate(schema.edges)}
    binds |= {f"@{c}": name for c, (_, name) in rows.items()} | {f"name_{c}": name for c, (_, name) in rows.items()}
    removals = "".join(_REMOVAL.format(c=c, source=source) for c, (source, _) in rows.items())
    return text + _DELETE.format(removals=removals), binds


def deletion(answer: Document, schema: Schema) -> Deletion:
    """Return the plan that an answer holds."""
    ids = answer["ids"]
    return Deletion(
        removes=ids,
        active=answer["found"].get("active_slot") is not None,
        edges=[edge["_id"] for edge in answer["edges"]],
        loses=sorted({end for edge in answer["edges"] if (end := _loser(edge, schema)) not in ids}),
        orphans=sorted(answer["orphans"]),
        expected=answer["present"],
    )


def _loser(edge: Mapping[str, Any], schema: Schema) -> str:
    upstream = schema.edge(edge["_id"].partition("/")[0]).upstream
    return str(edge["_to" if upstream == "from" else "_from"])


def _fact_edges(schema: Schema, type_: NodeType) -> Sequence[Any]:
    return [edge for edge in schema.edges.values() if edge.newest and edge.source == type_.kind]


def _found(schema: Schema, type_: NodeType) -> tuple[str, Document]:
    facts = _fact_edges(schema, type_)
    binds: Document = {f"@v{i}": node.collection for i, node in enumerate(schema.nodes.values())}
    binds |= {f"@f{k}": edge.name for k, edge in enumerate(facts)}
    binds |= {f"@e{j}": name for j, name in enumerate(schema.edges)}
    text = _FOUND.format(
        collections=", ".join(f"@@v{i}" for i in range(len(schema.nodes))),
        now=NOW,
        look_up=LOOK_UP,
        facts="".join(_FACTS.format(k=k) for k in range(len(facts))),
        observed=appended(f"facts{k}" for k in range(len(facts))),
        touching="".join(_TOUCHING.format(j=j) for j in range(len(schema.edges))),
        touched=appended(f"edges{j}" for j in range(len(schema.edges))),
    )
    return text, binds
