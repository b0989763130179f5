"""Find what is wrong with a database, and say what cures it. Nothing is changed."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from arangopipe_ops import model
from arangopipe_ops.admin.provisioning import Difference, plan, stored_extension
from arangopipe_ops.admin.retention import kept_for
from arangopipe_ops.admin.scans import Fault, Progress, Scan
from arangopipe_ops.admin.structure import collections_of
from arangopipe_ops.errors import ArangopipeError, Invalid, NotProvisioned, Unauthorized, Unavailable
from arangopipe_ops.model import AUDIT, Schema
from arangopipe_ops.store import driver_errors
from arangopipe_ops.store.execution import execute

if TYPE_CHECKING:
    from arango.database import StandardDatabase

Severity = Literal["error", "warning"]

SUPPORTED = ("3.11.", "3.12.", "4.")
EXAMPLES = 5


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, how often, and what cures it.

    What stands between backquotes in `cure` is Python: `db` is the database, `store` a Store on it, `system` its
    server's `_system` database, and the functions are those of `arangopipe_ops.admin`.
    """

    name: str
    severity: Severity
    problem: str
    cure: str
    count: int = 1
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.severity}: {self.name}: {self.problem}. {self.cure}"


def doctor(
    db: "StandardDatabase",
    *,
    progress: Progress | None = None,
    scan: bool = True,
    stale_days: float = 7.0,
    clock_tolerance: float = 5.0,
    clock: Callable[[], float] = time.time,
) -> list[Finding]:
    """Return what is wrong with a database, the gravest first; an empty list means that it is healthy.

    It looks at connection, server, permissions, structure and clock in some thirty requests, then at every edge and
    node, in statements of bounded size; `progress` is told a collection's name, how far it is and how many there are.
    `scan=False` leaves that out. Runs that have been running for more than `stale_days` are taken for dead.
    """
    findings: list[Finding] = []
    try:
        with driver_errors():
            findings += _server(db, clock, clock_tolerance)
            schema, unreadable = _schema(db)
            findings += unreadable
            findings += _structure(db, schema)
            names = frozenset(collections_of(db))
            findings += _rights(db, schema, names)
            findings += _retention(db)
            if scan:
                work = Scan(schema, names, stale_days, clock(), progress)
                findings += _faults(work.faults(db), stale_days)
    except ArangopipeError as error:
        findings.append(_stopped(db, error))
    return sorted(findings, key=lambda finding: finding.severity)


def _stopped(db: "StandardDatabase", error: ArangopipeError) -> Finding:
    """What keeps the doctor from going on."""
    create = f'As an administrator: `provision_database(system, "{db.name}", users=[User(name, password)])`.'
    known: dict[type[ArangopipeError], tuple[str, str]] = {
        Unavailable: ("connection", "Start the server, or correct host and port in the URL, and try again."),
        Unauthorized: ("permissions", f"Correct user and password in the URL. {create}"),
        NotProvisioned: ("database", create),
    }
    name, cure = known.get(type(error), ("refused", "See what the server's log says about it."))
    return Finding(name, "error", str(error).rstrip("."), cure)


def _server(db: "StandardDatabase", clock: Callable[[], float], tolerance: float) -> Iterator[Finding]:
    version = str(db.version())
    if not version.startswith(SUPPORTED):
        yield Finding(
            "version",
            "warning",
            f"the server is ArangoDB {version}, which nobody has tried with this package",
            "Use ArangoDB 3.11, 3.12 or later.",
        )
    before = clock()
    [answered] = execute(db, "RETURN DATE_NOW()", {}, patience=10)
    after, there = clock(), answered / 1000
    off = there - after if there > after else there - before if there < before else 0.0
    if abs(off) > tolerance:
        yield Finding(
            "clock",
            "warning",
            f"the server's clock is {abs(off):,.0f} s {'ahead of' if off > 0 else 'behind'} this machine's",
            "Let both take the time from NTP: the server's decides which version is the latest, "
            "this machine's says when a run started and ended.",
        )


def _schema(db: "StandardDatabase") -> tuple[Schema, list[Finding]]:
    try:
        return model.extended(stored_extension(db)), []
    except Invalid as error:
        cure = 'Put the last one back that was readable: `repair(db, "extension")`.'
        return model.SCHEMA, [Finding("extension", "error", str(error), cure, 1, (f"{AUDIT}/extension",))]


_AGAIN = "Run `provision(db, again=True)`, in a shell: arangopipe provision --again"
_FORCE = "`provision(db, force=True)`, in a shell: arangopipe provision --force"
_CURES: dict[tuple[str, str], tuple[str, Severity, str]] = {
    ("missing", "create"): ("missing", "error", f"{_AGAIN}."),
    ("different", "change"): ("different", "error", f"Run {_FORCE}."),
    ("different", "nothing"): ("different", "error", "Rename that collection, then `provision(db, again=True)`."),
    ("obsolete", "drop"): ("obsolete", "warning", f"It costs time at every write: {_FORCE}."),
}


def _structure(db: "StandardDatabase", schema: Schema) -> Iterator[Finding]:
    differences = [each for each in plan(db, schema=schema) if each.what != "retention"]
    missing = {each.what for each in differences if each.problem == "missing"}
    if "graph" in missing:
        yield Finding("not-provisioned", "error", "the graph does not exist", f"{_AGAIN}.")
        return
    groups: dict[tuple[str, str, str], list[Difference]] = {}
    for each in differences:
        if (each.problem, each.does) in _CURES:
            groups.setdefault((each.what, each.problem, each.does), []).append(each)
    for (what, problem, does), group in groups.items():
        prefix, severity, cure = _CURES[problem, does]
        names = tuple(each.name for each in group)
        shown = "; ".join(f"{each.name}: {each.detail}" for each in group[:EXAMPLES])
        yield Finding(f"{prefix}-{what.replace(' ', '-')}", severity, shown, cure, len(group), names[:EXAMPLES])


def _rights(db: "StandardDatabase", schema: Schema, names: frozenset[str]) -> Iterator[Finding]:
    """Try a statement that would write to every collection, and writes nothing."""
    wanted = [*(node.collection for node in schema.nodes.values()), *schema.edges, AUDIT]
    collections = [name for name in wanted if name in names]
    if not collections:
        return
    try:
        _try(db, "FOR d IN [] INSERT d INTO @@c{i} RETURN 1", collections)
    except Unauthorized as error:
        user = getattr(db, "username", None)
        cure = f'As an administrator: `provision_database(system, "{db.name}", users=[User("{user}", password)])`.'
        yield Finding("permissions", "warning", f"{user} may read the graph but not write to it ({error})", cure)


def access(db: "StandardDatabase") -> Literal["write", "read", "none"]:
    """Return what the user may do with the graph, in one request or two that change nothing. Raises NotProvisioned."""
    collections = [*(node.collection for node in model.SCHEMA.nodes.values()), *model.SCHEMA.edges, AUDIT]
    trials: tuple[tuple[Literal["write", "read"], str], ...] = (
        ("write", "FOR d IN [] INSERT d INTO @@c{i} RETURN 1"),
        ("read", "FOR d IN @@c{i} LIMIT 1 RETURN 1"),
    )
    for right, statement in trials:
        try:
            _try(db, statement, collections)
        except Unauthorized:
            continue
        return right
    return "none"


def _try(db: "StandardDatabase", statement: str, collections: Sequence[str]) -> None:
    """Execute a statement on every one of the collections `@@c{i}`, all at once."""
    text = "".join(f"\nLET x{i} = ({statement.format(i=i)})" for i in range(len(collections)))
    execute(db, f"{text}\nRETURN 1", {f"@c{i}": name for i, name in enumerate(collections)}, patience=10)


def _retention(db: "StandardDatabase") -> Iterator[Finding]:
    kept = kept_for(db)
    if len(set(kept.values())) > 1:
        told = ", ".join(f"{name} {f'{days:g} days' if days else 'forever'}" for name, days in kept.items())
        days = max(days for days in kept.values() if days)
        cure = f"Choose one number of days, or None, for both: `retention(db, {days:g})`."
        yield Finding("retention", "error", f"nodes and their edges are kept for different times: {told}", cure)


# --- what the scans find -----------------------------------------------------------------------------------

_DELETE = '`store.delete(store.plan_deletion("{id}"))`'

FAULTS: dict[str, tuple[Severity, str, str]] = {
    "dangling-edges": (
        "error",
        "edges lead to or from a node that does not exist",
        'Remove them: `repair(db, "dangling-edges")`.',
    ),
    "wrong-ends": (
        "error",
        "edges join nodes of other kinds than the model says",
        'Remove them: `repair(db, "wrong-ends")`. The audit keeps what they were.',
    ),
    "older-links": (
        "warning",
        "edges lead to the model or run of before: a deployment or run was registered again with another one",
        'Keep the newest of each: `repair(db, "older-links")`. The audit keeps what they were.',
    ),
    "ownerless-facts": (
        "warning",
        "parameters or performance belong to no run or deployment",
        'Delete them: `repair(db, "ownerless-facts")`. The audit keeps what they were.',
    ),
    "orphan-nodes": (
        "warning",
        "nodes that come from something have no edge at all",
        "Link each one, or archive it, or delete it: " + _DELETE + ".",
    ),
    "changed-content": (
        "error",
        "nodes are not what was registered: somebody changed them past this package",
        'Restore each one, or take it as it is now: `repair(db, "changed-content")`.',
    ),
    "wrong-key": (
        "error",
        "nodes have another key than their identity says, so that a second one can be registered beside them",
        "Register each one again and link it, then delete the old one: " + _DELETE + ".",
    ),
    "two-active": (
        "error",
        "deployments are active beside a newer one of the same project and environment",
        'Retire the older ones: `store.retire("{id}")`.',
    ),
    "active-slots": (
        "error",
        "deployments have a status and an active slot that contradict each other",
        'Let the status decide, once no two are active: `repair(db, "active-slots")`.',
    ),
    "stale-runs": (
        "warning",
        "runs have been running for more than {days:g} days",
        'If they are dead, say so: `repair(db, "stale-runs", stale_days={days:g})`.',
    ),
}
"""What each fault of `scans` means, and its cure."""


def _faults(faults: Iterator[Fault], stale_days: float) -> Iterator[Finding]:
    counts: dict[str, int] = {}
    examples: dict[str, list[str]] = {}
    for fault in faults:
        counts[fault.name] = counts.get(fault.name, 0) + 1
        kept: Any = examples.setdefault(fault.name, [])
        kept.extend(islice([fault.id], max(0, EXAMPLES - len(kept))))
    for name, (severity, problem, cure) in FAULTS.items():
        if name in counts:
            told = {"days": stale_days, "id": examples[name][0]}
            problem = f"{counts[name]:,} {problem.format(**told)}: {', '.join(examples[name])}"
            yield Finding(name, severity, problem, cure.format(**told), counts[name], tuple(examples[name]))
