"""The statement that changes a stored node, and files what it replaces."""

from typing import TypedDict

from arangopipe_ops.errors import Conflict, Invalid
from arangopipe_ops.model import Document, Target
from arangopipe_ops.store.statements import LOOK_UP, LOOK_UP_ARCHIVED, NOW, check_found


class Change(TypedDict):
    """A node after a change, then others that it changed; and what it replaced: nothing, if it had no effect."""

    nodes: list[Document]
    replaced: list[Document]


_PROMOTION = """
LET active = FIRST(FOR d IN @@nodes FILTER found.slot != null AND d.active_slot == found.slot RETURN d)
LET stale = @over.checked AND active._key != found._key
  AND (active != null OR @over.key != null OR @over.name != null)
  AND (@over.key == null OR active._key != @over.key)
  AND (@over.name == null OR active.@by != @over.name)
LET refusal = found == null ? null : found.slot == null ? "slot" : stale ? NOT_NULL(active._id, "nothing") : null
LET others = active == null OR active._key == found._key ? []
  : [{old: active, doc: MERGE(UNSET(active, "active_slot", "digest"), {status: "archived", ended: now})}]"""

_ALONE = """
LET refusal = null
LET others = []"""

CHANGES: dict[str, tuple[str, str]] = {
    "annotate": (_ALONE, "MERGE(UNSET(found, @dropped), @notes)"),
    "archive": (_ALONE, "found.archived != null ? found : MERGE(found, {archived: now})"),
    "restore": (_ALONE, 'UNSET(found, "archived")'),
    "relate": (
        _ALONE,
        'POSITION(SPLIT(NOT_NULL(found[@attribute], ""), ","), @other) ? found'
        ' : MERGE(found, {[@attribute]: CONCAT_SEPARATOR(",", found[@attribute], @other)})',
    ),
    "promote": (
        _PROMOTION,
        'found.active_slot != null ? found : MERGE(UNSET(found, "ended"), {status: "active", active_slot: found.slot})',
    ),
    "retire": (
        _ALONE,
        'found.status == "archived" ? found'
        ' : MERGE(UNSET(found, "active_slot", "digest"), {status: "archived", ended: now})',
    ),
}
"""What a change asks for beside the node, and what it makes of it."""

_REVISE = """WITH @@nodes, @@audit
{now}
LET found = {look_up}{beside}
LET doc = {made}
LET changed = found == null OR refusal != null ? [] : APPEND(others, doc == found ? [] : [{{old: found, doc}}])
LET written = (FOR r IN @dry_run ? [] : changed
  INSERT MERGE(UNSET(r.doc, "_id", "_rev"), {{revised: now}}) INTO @@nodes OPTIONS {{overwriteMode: "replace"}}
  RETURN NEW)
LET entry = (FOR once IN LENGTH(written) > 0 ? [1] : []
  INSERT MERGE(@audit, {{at: now, touched: written[*]._id, created: [], replaced: changed[*].old}}) INTO @@audit
  RETURN NEW._key)
RETURN {{found, refusal, nodes: @dry_run ? changed[*].doc : written, replaced: changed[*].old}}"""


def revision_text(change: str) -> str:
    """Return the statement of a change by its name in `CHANGES`; its node is the last of those it answers."""
    beside, made = CHANGES[change]
    look_up = LOOK_UP_ARCHIVED if change == "restore" else LOOK_UP
    return _REVISE.format(now=NOW, look_up=look_up, beside=beside, made=made)


def changed(answer: Document, target: Target) -> Change:
    """Return the change that an answer tells of. Raises NotFound, Invalid and Conflict."""
    check_found(answer["found"], target)
    if answer["refusal"] == "slot":
        raise Invalid(answer["found"]["_id"], "names no project and environment; register it again with them")
    if answer["refusal"]:
        problem = f"is not promoted: the active deployment is not the expected one but {answer['refusal']}"
        raise Conflict(answer["found"]["_id"], ["active_slot"], problem)
    return Change(nodes=answer["nodes"][::-1] or [answer["found"]], replaced=answer["replaced"][::-1])
