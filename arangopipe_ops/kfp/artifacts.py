"""What artifacts of KFP say of nodes of the graph: the metadata contract, receipts, and the way back.

An artifact is anything with `uri`, `path` and `metadata`; kfp itself is not needed here. An artifact's URI stays
what KFP made it: consumers fail on one that they cannot download.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeGuard

from arangopipe_ops.errors import Invalid, NotFound
from arangopipe_ops.model import Document, Ref, Reference, target
from arangopipe_ops.store import Store

NODE_ID = "arangopipe.node_id"
_PREFIX = "arangopipe."


class Artifact(Protocol):
    """What is used of `kfp.dsl.Artifact`."""

    uri: str
    metadata: dict[str, Any]

    @property
    def path(self) -> str:
        """Where its content lies on this machine."""


def is_artifact(value: Any) -> TypeGuard[Artifact]:
    return hasattr(value, "uri") and hasattr(value, "metadata")


def leave_receipt(artifact: Artifact, ref: Ref, **more: Any) -> None:
    """Make an artifact stand for a node: flat metadata for whoever lists artifacts, and the Ref as its content."""
    told = {"node_id": ref["_id"], "kind": ref["kind"], "name": ref["name"], "version": ref["version"]}
    artifact.metadata.update({f"{_PREFIX}{name}": value for name, value in told.items() if value is not None})
    write_content(artifact, {**ref, **more})


def leave_answer(artifact: Artifact, answer: Mapping[str, str], content: Mapping[str, Any]) -> None:
    """Make an artifact hold an answer that is no node: its texts as metadata, all of it as content."""
    artifact.metadata.update({f"{_PREFIX}{name}": value for name, value in answer.items()})
    write_content(artifact, content)


def write_content(artifact: Artifact, content: Mapping[str, Any]) -> None:
    """Write JSON as an artifact's content."""
    path = Path(artifact.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False, sort_keys=True), encoding="utf-8")


def reference(store: Store, kind: str, given: Any) -> Reference:
    """Return the reference that an artifact, an `_id`, a name or the URI of a data set is.

    An artifact is known by the node in its metadata; one that holds data also by its URI, in whichever pipeline
    run that was registered, and by its checksum. Raises NotFound, naming the cure, and Invalid.
    """
    if is_artifact(given):
        return _of_artifact(store, kind, given)
    if kind == "Dataset" and isinstance(given, str) and is_place(given):
        return _found(store, {"uri": given}) or _not_found(given)
    return given  # type: ignore[no-any-return]  # whatever else it is, the stage says what is wrong with it


def is_place(text: str) -> bool:
    """Return whether a text is a URI or an absolute path, and not a name or an `_id`."""
    return "://" in text or text.startswith("/")


def _of_artifact(store: Store, kind: str, artifact: Artifact) -> Reference:
    node_id = artifact.metadata.get(NODE_ID)
    if node_id:
        target(kind, {"_id": node_id})
        return {"_id": str(node_id)}
    if kind != "Dataset":
        raise Invalid(kind, f"is an artifact without {NODE_ID} in its metadata ({artifact.uri}); pass on the receipt")
    same = _found(store, {"uri": artifact.uri})
    if same is None and (checksum := checksum_of(artifact)):
        same = _found(store, {"checksum": checksum})
    return same or _not_found(artifact.uri)


def checksum_of(artifact: Artifact) -> str | None:
    """Return the checksum of an artifact that is one file on this machine, as data sets have it."""
    path = Path(artifact.path)
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def facts(artifact: Artifact) -> Document:
    """Return the metadata that users gave an artifact, such as the metrics of Metrics."""
    return {name: value for name, value in artifact.metadata.items() if not name.startswith((_PREFIX, "_"))}


def _found(store: Store, where: Mapping[str, Any]) -> Reference | None:
    page = store.search("Dataset", where, limit=1, count=False)
    return {"_id": page["nodes"][0]["_id"]} if page["nodes"] else None


def _not_found(uri: str) -> Reference:
    raise NotFound([f"a data set at {uri}"])
