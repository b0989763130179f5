"""How a stored node is named: its key, and the references that lead to it."""

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from arangopipe_ops.errors import Invalid
from arangopipe_ops.model.types import SCHEMA, SCHEMA_VERSION, NodeType, Schema
from arangopipe_ops.model.values import canonical, digest, storable

_KEY = re.compile(r"[A-Za-z0-9_\-:.@()+,=;$!*'%]{1,254}")


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


def ref_of(type_: NodeType, document: Mapping[str, Any], created: bool = False) -> Ref:
    """Return the reference to a stored node of a type."""
    return Ref(
        schema_version=SCHEMA_VERSION,
        kind=type_.kind,
        _id=document["_id"],
        _key=document["_key"],
        name=document[type_.name],
        version=document.get("version") if type_.versioned else None,
        created=created,
    )


@dataclass(frozen=True, slots=True)
class Target:
    """Where a reference leads: a key, a name (its newest version), or either where a text could be both."""

    collection: str
    key: str | None = None
    name: str | None = None
    said: str = field(default="", compare=False)
    """What people call it, where that is more than the key tells."""

    @property
    def token(self) -> str:
        """Name the target inside one request; an `_id` where the key is sure."""
        return f"{self.collection}/{self.key}" if self.name is None else f"{self.collection}?{self.name}"

    def __str__(self) -> str:
        called = self.said if self.name is None else repr(self.name)
        return f"{called} in {self.collection}" if called else self.token


Reference = Ref | Mapping[str, Any] | str
"""A Ref (or any mapping with `_id`, or with the identity's attributes), an `_id`, or a name (newest version)."""


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


def target(kind: str, reference: Any, schema: Schema = SCHEMA) -> Target:
    """Return where a reference to a node of `kind` leads. Raises Invalid."""
    node = schema.node(kind)
    return _mapped_target(node, reference) if isinstance(reference, Mapping) else _plain_target(node, reference)


def _plain_target(node: NodeType, reference: Any) -> Target:
    if not isinstance(reference, str) or not reference:
        raise Invalid(node.kind, f"{reference!r} is not a reference; give a Ref, an _id or a name")
    collection, _, key = storable(reference, node.kind).partition("/")
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
        return _plain_target(node, identifying(node, node.name, reference))
    if missing:
        raise Invalid(node.kind, f"the reference {dict(reference)!r} has neither _id nor {missing[0]}")
    key = key_of(node.kind, [canonical(reference[name]) for name in node.identity])
    return Target(node.collection, key=key, said=", ".join(f"{name} {reference[name]!r}" for name in node.identity))


def sure_key(kind: str, reference: Any) -> str:
    """Return the `_key` of a node that its name alone identifies (a project, run or deployment)."""
    found = target(kind, reference)
    return found.key or key_of(SCHEMA.node(kind).kind, [found.name])


def identifying(type_: NodeType, name: str, values: Mapping[str, Any]) -> str:
    """Return an attribute that identifies a node. Raises Invalid unless it is a text that is not empty."""
    value = values.get(name)
    if not isinstance(value, str) or not value.strip():
        raise Invalid(f"{type_.kind}.{name}", f"{value!r} is not a name; give a text that is not empty")
    return value
