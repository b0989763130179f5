"""Read and write the metadata graph: every write is one request that carries one AQL statement."""

import os
from collections.abc import Callable, Iterable, Mapping, Sized
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from arangopipe_ops import model
from arangopipe_ops.errors import ArangopipeError, Conflict, Invalid, Misconfigured, Unavailable
from arangopipe_ops.model import ANNOTATIONS, AUDIT, Document, Ref, Schema, Stage
from arangopipe_ops.store.bulk import BATCH_NODES, COUNTED, WRITTEN, Batch, Earlier, Progress, Summary, batches
from arangopipe_ops.store.comparison import Comparison
from arangopipe_ops.store.deletion import Deletion, delete_text, deletion, plan_text
from arangopipe_ops.store.execution import contended, driver_errors, execute
from arangopipe_ops.store.fans import Dependents
from arangopipe_ops.store.history import Event
from arangopipe_ops.store.neighbours import Link, Linked, Neighbourhood
from arangopipe_ops.store.reader import GraphReader
from arangopipe_ops.store.reproduction import Reproduction
from arangopipe_ops.store.revision import Change, changed, revision_text
from arangopipe_ops.store.run import OnMetadataError, Run, current_run
from arangopipe_ops.store.search import Page, Where
from arangopipe_ops.store.spool import Record, Replay, Spool, replay
from arangopipe_ops.store.statements import check_found
from arangopipe_ops.store.transfer import Loaded, Reader, check_types, lacking, load_text
from arangopipe_ops.store.writing import (
    Groups,
    OnConflict,
    check_policy,
    conflict,
    ref_of,
    refuse,
    this_process,
    write_text,
)
from arangopipe_ops.store.written import Written

if TYPE_CHECKING:
    from arango.database import StandardDatabase

__all__ = [
    "Change",
    "Comparison",
    "Deletion",
    "Dependents",
    "Event",
    "Link",
    "Linked",
    "Loaded",
    "Neighbourhood",
    "OnConflict",
    "Page",
    "Replay",
    "Reproduction",
    "Run",
    "Store",
    "Summary",
    "Where",
    "Written",
    "current_run",
    "driver_errors",
]


class Store(GraphReader):
    """The metadata graph in one database: what `GraphReader` asks of it, and every write.

    `provenance` is stored with everything this store writes: who runs, through what (`python`, `airflow`,
    `kfp`), and the orchestrator's ids. `schema`, `patience` and `seconds` are those of the reader.

    With `spool`, a folder, a stage that cannot be written because the database is away (`Unavailable`) is kept
    there, and answered with the references it will have. From then on stages queue up behind it: a write first
    writes what waits, if the database is back, or else joins it. `replay` does so at once.
    """

    def __init__(
        self,
        db: "StandardDatabase",
        *,
        schema: Schema | None = None,
        provenance: Mapping[str, Any] | None = None,
        patience: float = 10.0,
        seconds: float | None = None,
        spool: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(db, schema=schema, patience=patience, seconds=seconds)
        self.provenance = model.canonical(this_process() | dict(provenance or {}), "provenance")
        self._spool = Spool(spool) if spool is not None else None

    def stage(self, *types: str) -> Stage:
        """Return an empty stage that knows the types users added to this graph.

        The database is not asked if only `types`, of nodes or edges, are needed and they are known.
        """
        if not types or not all(self.schema.has(name) or name in self.schema.edges for name in types):
            self._ask_types()
        return Stage(self.schema)

    def write(self, stage: Stage, *, on_conflict: OnConflict = "fail", reason: str | None = None) -> Ref:
        """Write a stage, whole or not at all, and return a reference to its first node. See `write_all`."""
        if not stage.nodes:
            raise Invalid("stage", "has no node; use write_all for a stage of edges alone")
        return self.write_all(stage, on_conflict=on_conflict, reason=reason)[0]

    def write_all(self, stage: Stage, *, on_conflict: OnConflict = "fail", reason: str | None = None) -> list[Ref]:
        """Write a stage, whole or not at all, and return a reference to each of its nodes.

        Writing the same stage again changes nothing. A node or edge that is stored with different content is
        refused (`fail`), left as it is (`keep`), or replaced with the old content kept in the audit (`revise`).
        `reason` is kept in the audit too. Raises NotFound for an edge that leads nowhere, Conflict, Unavailable.
        """
        check_policy(on_conflict)
        if self._spool is not None and not self._spool.caught_up(self._write_record):
            return self._put_by(self._spool, stage, on_conflict, reason)
        try:
            verbs = self._send(stage, on_conflict, self._entry(reason))
        except Unavailable:
            if self._spool is None:
                raise
            self._spool.failed()
            return self._put_by(self._spool, stage, on_conflict, reason)
        return [ref_of(node, verbs[node.id] == "create") for node in stage.nodes]

    def write_many(
        self,
        stages: Iterable[Stage],
        *,
        on_conflict: OnConflict = "fail",
        reason: str | None = None,
        batch: int = BATCH_NODES,
        resume: bool = True,
        progress: Progress | None = None,
    ) -> Summary:
        """Write any number of stages, merged into batches of at most `batch` nodes and 4 MiB, each of them whole.

        The graph ends as if they were written one after the other. An error names the stage it is about: nothing
        of that batch is written, those before it are. Starting again with the same input does not send again what
        was written; to know that costs a request for each batch, which without `resume` is not made. Raises what
        `write_all` raises.
        """
        check_policy(on_conflict)
        if batch < 1:
            raise Invalid("batch", f"{batch} is not a number of nodes")
        total = len(stages) if isinstance(stages, Sized) else None
        summary = Summary(stages=0, created=0, revised=0, same=0, resumed=0)
        earlier = Earlier(self.query)
        for each in batches(stages, batch):
            entry = earlier.entry(each, on_conflict) if resume else {}
            if entry is None:
                summary["resumed"] += len(each.parts)
            else:
                for verb in self._send_batch(each, on_conflict, self._entry(reason, entry)):
                    summary[COUNTED[verb]] += 1
            summary["stages"] += len(each.parts)
            if progress is not None:
                progress(summary["stages"], total)
        return summary

    def replay(self, folder: str | os.PathLike[str]) -> Replay:
        """Write the stages that wait in a folder, in the order of time and each once.

        One that the graph does not take is set aside and the rest goes on. Raises Unavailable, and the errors that
        are not the stage's own, with what was written until then remembered; Misconfigured for a folder that is none.
        """
        place = Path(folder)
        if not place.is_dir():
            raise Misconfigured(f"{place} is not a folder; name the one that was given as `spool`.")
        return replay(place, self._write_record)

    def run(
        self,
        run_id: str | None = None,
        *,
        model: model.Reference,
        dataset: Any = None,
        featureset: Any = None,
        params: Mapping[str, Any] | None = None,
        project: model.Reference | None = None,
        tag: str | None = None,
        deployment_tag: str | None = None,
        on_metadata_error: OnMetadataError = "fail",
        **attributes: Any,
    ) -> Run:
        """Return a run to use in a `with` statement: it is recorded when it begins and when it ends (docs/runs.md).

        Without `run_id` it has the orchestrator's, the same for every attempt, or else a unique one. With
        `on_metadata_error="warn"` the body runs also where nothing can be recorded.
        """
        known = {"project": project, "tag": tag, "deployment_tag": deployment_tag}
        return Run(
            self,
            run_id=run_id,
            model=model,
            dataset=dataset,
            featureset=featureset,
            params=params,
            on_metadata_error=on_metadata_error,
            **known,
            **attributes,
        )

    def annotate(self, reference: Any, kind: str | None = None, *, reason: str | None = None, **notes: Any) -> Change:
        """Set annotations (description, owner, tags, tag, deployment_tag) of a node; None removes one."""
        for name in notes.keys() - set(ANNOTATIONS):
            raise Invalid(name, f"is not an annotation, which are {', '.join(ANNOTATIONS)}; register the node again")
        given = {name: value for name, value in notes.items() if value is not None}
        binds = {"notes": model.canonical(given), "dropped": sorted(notes.keys() - given.keys())}
        return self._revise("annotate", reference, kind, reason, binds)

    def archive(self, reference: Any, kind: str | None = None, *, reason: str | None = None) -> Change:
        """Hide a node from searches and from look-ups by name; lineage and its `_id` still lead to it."""
        return self._revise("archive", reference, kind, reason)

    def restore(self, reference: Any, kind: str | None = None, *, reason: str | None = None) -> Change:
        """Undo `archive`; a name leads to the newest version that is archived."""
        return self._revise("restore", reference, kind, reason)

    def relate(self, reference: Any, other: str, kind: str | None = None, *, reason: str | None = None) -> Change:
        """Note on a node that another one, an `_id`, is related: in its attribute `related_<collection>`.

        That is how the original Arangopipe links entities. It is no edge, and lineage does not follow it.
        """
        attribute = f"related_{other.partition('/')[0]}"
        return self._revise("relate", reference, kind, reason, {"attribute": attribute, "other": other})

    def promote(self, deployment: Any, *, over: Any = None, reason: str | None = None, dry_run: bool = False) -> Change:
        """Make a registered deployment the active one of its project and environment, and archive the other.

        `over` is the deployment that is thought to be active ("" if none is): if another one is by now, nothing
        happens and Conflict is raised, as it is for one of two promotions at once. With `dry_run` nothing is written.
        """
        expected = model.target("Deployment", over, self.schema) if over else None
        check = {"checked": over is not None, "key": expected and expected.key, "name": expected and expected.name}
        return self._revise("promote", deployment, "Deployment", reason, {"over": check}, dry_run=dry_run)

    def retire(self, deployment: Any, *, reason: str | None = None, dry_run: bool = False) -> Change:
        """End a deployment; its project then has no active one in that environment."""
        return self._revise("retire", deployment, "Deployment", reason, dry_run=dry_run)

    def plan_deletion(self, reference: Any, kind: str | None = None) -> Deletion:
        """Return what deleting a node would take with it, and what would dangle; nothing is changed."""
        target = self._target(reference, kind)
        found = self._look_up(target)
        answer = self._of_all_kinds(lambda schema: plan_text(schema, schema.node(target.collection)), **found)
        check_found(answer["found"], target)
        return deletion(answer, self.schema)

    def delete(self, plan: Deletion, *, reason: str | None = None) -> None:
        """Carry out a plan of `plan_deletion`, in one request; the audit keeps what it removes.

        Raises Conflict if the graph has changed since, and Invalid for an active deployment: retire it first.
        """
        if not plan["removes"]:
            raise Invalid("removes", "is empty; use a plan of plan_deletion")
        target = self._target(plan["removes"][0], None)
        if plan["active"]:
            raise Invalid(plan["removes"][0], "is an active deployment; retire it first")
        text, binds = delete_text(self.schema, self.schema.node(target.collection))
        binds |= self._look_up(target) | self._entry(reason) | {"expected": plan["expected"]}
        [answer] = self.query(text, binds)
        check_found(answer["found"], target)
        if not answer["removed"]:
            raise Conflict(plan["removes"][0], [], "or what hangs on it has changed since the plan; make a new plan")

    def load(
        self,
        lines: Iterable[str],
        *,
        on_conflict: OnConflict = "fail",
        extend: Callable[[Document], object] | None = None,
        progress: Progress | None = None,
    ) -> Loaded:
        """Write the lines of an export into this graph, in batches, so that it holds equal documents.

        What is there and equal stays; what is there with other content follows `on_conflict`, and a replaced
        document is kept in the audit, of which nothing is ever replaced. Loading again what was cut short ends
        equal. Types that users added and this graph lacks are given to `extend` (`admin.extend` of this database).
        Raises Invalid, naming the line, for a file that was cut off or changed, once all before it is written;
        NotProvisioned for types that are missing, Conflict.
        """
        check_policy(on_conflict)
        reader = Reader(lines)
        self._prepare(reader.schema, extend)
        loaded, done = Loaded(created=0, revised=0, same=0), 0
        for collection, documents in reader.batches():
            for verb in self._load(collection, documents, on_conflict):
                loaded[COUNTED[verb]] += 1
            done += len(documents)
            if progress is not None:
                progress(done, reader.total)
        return loaded

    # --- inside

    def _revise(
        self,
        change: str,
        reference: Any,
        kind: str | None,
        reason: str | None,
        binds: Mapping[str, Any] | None = None,
        *,
        dry_run: bool = False,
    ) -> Change:
        target = self._target(reference, kind)
        given = self._look_up(target) | self._entry(reason) | dict(binds or {}) | {"dry_run": dry_run}
        patience = 0.0 if change == "promote" else self.patience
        try:
            [answer] = execute(self.db, revision_text(change), given, patience)
        except ArangopipeError as error:
            if change == "promote" and contended(error):
                raise Conflict(str(target), ["active_slot"], "lost against another promotion; look again") from error
            raise
        return changed(answer, target)

    def _send_batch(self, batch: Batch, on_conflict: OnConflict, entry: Document) -> Iterable[str]:
        try:
            return self._send(batch.stage, on_conflict, entry).values()
        except ArangopipeError as error:
            batch.name_stage(error)
            raise

    def _put_by(self, spool: Spool, stage: Stage, on_conflict: str, reason: str | None) -> list[Ref]:
        spool.keep(stage, on_conflict, reason, self.provenance)
        return [ref_of(node, False) for node in stage.nodes]

    def _write_record(self, record: Record) -> None:
        key = f"spool-{record.id}"
        if self.query(WRITTEN, {"@audit": AUDIT, "key": key}) != [None]:
            return
        waited = {"_key": key, "spooled": model.moment(datetime.fromtimestamp(record.time / 1e9, UTC), "time")}
        entry = self._entry(record.reason, waited) | {"provenance": record.provenance}
        entry["audit"]["provenance"] = record.provenance
        self._send(Stage.from_json(record.stage), record.on_conflict, entry)

    def _send(self, stage: Stage, on_conflict: str, entry: Document) -> dict[str, str]:
        """Write a stage, and return what became of each of its nodes."""
        groups = Groups(stage)
        binds = groups.binds() | {"provenance": self.provenance} | entry | {"on_conflict": on_conflict}
        [answer] = self.query(write_text(*groups.shape), binds)
        refuse(answer, groups)
        return dict(zip(groups.written(), chain.from_iterable(answer["verbs"]), strict=True))

    def _prepare(self, wanted: Schema, extend: Callable[[Document], object] | None) -> None:
        """Make sure that the graph has the types of another one."""
        self._ask_types()
        if extend is not None and lacking(self.schema, wanted):
            extend(model.extension(wanted))
            self._ask_types()
        check_types(self.schema, wanted)

    def _load(self, collection: str, documents: list[Document], on_conflict: OnConflict) -> list[str]:
        binds = {"@c": collection, "docs": documents, "on_conflict": on_conflict}
        if collection != AUDIT:
            binds |= self._entry("load")
        elif on_conflict == "revise":
            binds["on_conflict"] = "fail"
        [answer] = self.query(load_text(collection), binds)
        new = {document["_id"]: document for document in documents}
        for old in answer["conflicts"]:
            raise conflict(old, new[old["_id"]])
        return list(answer["verbs"])

    def _entry(self, reason: str | None, more: Mapping[str, Any] | None = None) -> Document:
        """Return what a statement binds to leave an entry in the audit."""
        entry = {"_key": uuid4().hex, "provenance": self.provenance, **(more or {})}
        return {"@audit": AUDIT, "audit": entry | ({"reason": model.canonical(reason, "reason")} if reason else {})}
