"""Read and write the metadata graph: every write is one request that carries one AQL statement."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from arangopipe_ops import model
from arangopipe_ops.errors import (
    ArangopipeError,
    Conflict,
    Invalid,
    Misconfigured,
    NotFound,
    NotProvisioned,
    Unavailable,
)
from arangopipe_ops.model import (
    ANNOTATIONS,
    AUDIT,
    SCHEMA,
    Document,
    Lineage,
    LineageNode,
    NodeType,
    Ref,
    Schema,
    Stage,
    Target,
)
from arangopipe_ops.store.bulk import BATCH_NODES, COUNTED, WRITTEN, Batch, Earlier, Progress, Summary, batches
from arangopipe_ops.store.comparison import COMPARE, Comparison, comparison
from arangopipe_ops.store.deletion import Deletion, delete_text, deletion, plan_text
from arangopipe_ops.store.execution import answered, contended, driver_errors, execute, first_rows, plan_of, row_count
from arangopipe_ops.store.fans import (
    Dependents,
    bounded,
    bounds,
    dependents,
    dependents_text,
    fans_text,
)
from arangopipe_ops.store.history import AS_OF, HISTORY, Event, events
from arangopipe_ops.store.lineage import SIDES, Direction, impact_text, lineage_of, lineage_text
from arangopipe_ops.store.neighbours import (
    DEEPEST,
    Link,
    Linked,
    Neighbourhood,
    linked,
    linked_text,
    neighbourhood,
    neighbours_text,
)
from arangopipe_ops.store.reproduction import REPRODUCE, Reproduction, reproduction
from arangopipe_ops.store.revision import Change, changed, revision_text
from arangopipe_ops.store.run import OnMetadataError, Run, current_run
from arangopipe_ops.store.search import MAX_PAGE, Page, Search, Where
from arangopipe_ops.store.spool import Record, Replay, Spool, replay
from arangopipe_ops.store.statements import EXTENSION, LOOK_UP, check_found, collection_of, counts_text, id_of, look_up
from arangopipe_ops.store.transfer import Loaded, Reader, check_types, export, lacking, load_text
from arangopipe_ops.store.window import Window
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
from arangopipe_ops.store.written import Written, written, written_text

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


class Store:
    """The metadata graph in one database.

    `provenance` is stored with everything this store writes: who runs, through what (`python`, `airflow`,
    `kfp`), and the orchestrator's ids. A statement that meets another writer's is tried again, with growing
    pauses, for `patience` seconds. Node and edge types that users added to the graph are known without further
    ado; a `schema` says that there are only those it has. All methods raise the errors of
    `arangopipe_ops.errors` and no others.

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
        spool: str | os.PathLike[str] | None = None,
    ) -> None:
        self.db = db
        self.patience = patience
        self.schema = schema or SCHEMA
        self.provenance = model.canonical(this_process() | dict(provenance or {}), "provenance")
        self._fixed = schema is not None
        self._spool = Spool(spool) if spool is not None else None

    def query(
        self,
        text: str,
        binds: Document | None = None,
        *,
        limit: int | None = None,
        seconds: float | None = None,
        memory: int | None = None,
    ) -> list[Any]:
        """Return the rows of an AQL statement, in one request for each 1,000 of them; at most `limit` of them.

        The database ends it after so many `seconds`, or when it takes more `memory` than so many bytes.
        """
        read = list if limit is None else first_rows(limit)
        options = {"max_runtime": seconds, "memory_limit": memory or 0}
        return list(answered(self.db, text, binds or {}, self.patience, read, **options))

    def explain(self, text: str, binds: Document | None = None) -> Document:
        """Return the plan of an AQL statement, which is not executed."""
        return plan_of(self.db, text, binds or {})

    def row_count(self, text: str, binds: Document | None = None) -> int:
        """Return how many rows an AQL statement has; they stay in the database."""
        return int(answered(self.db, text, binds or {}, self.patience, row_count, count=True, batch_size=1))

    def modifies(self, text: str, binds: Document | None = None) -> bool:
        """Return whether an AQL statement would modify data; the database says so, and does not execute it."""
        return bool(self.explain(text, binds)["isModificationQuery"])

    # --- writing

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

    # --- reading

    def get(self, reference: Any, kind: str | None = None, *, as_of: Any = None) -> Document:
        """Return one node's document, or what it was at a time. `kind` is needed where the reference is a name.

        Raises NotFound, also for a node that did not exist at that time.
        """
        target = self._target(reference, kind)
        text, binds = f"RETURN {LOOK_UP}", self._look_up(target)
        if as_of is not None:
            text, binds = AS_OF, binds | {"@audit": AUDIT, "id": id_of(target), "at": model.moment(as_of, "as_of")}
        [found] = self.query(text, binds)
        if found is None:
            raise NotFound([f"{target} as of {binds['at']}" if as_of is not None else str(target)])
        return dict(found)

    def search(
        self,
        kind: str | None = None,
        where: Where | None = None,
        *,
        text: str | None = None,
        name: str | None = None,
        since: Any = None,
        until: Any = None,
        archived: bool = False,
        order_by: str = "created",
        descending: bool = True,
        limit: int = 100,
        cursor: str | None = None,
        count: bool = True,
        within: int | None = None,
        facts: bool = True,
    ) -> Page:
        """Return a page of the nodes of a kind, or of all kinds, that meet all conditions, the newest first.

        `text` are words that all stand in name, description or tags; `name` is the beginning of the name; `since`
        (included) and `until` (not) are times of registration. The page's `cursor` leads to the next one of the same
        search. Archived nodes are left out unless asked for. One request; what is compared with an index costs no scan
        (docs/store.md). With `within`, a search that would scan or sort a kind looks only at that many of its nodes,
        the newest, and `reached` of the page says where it ended. All kinds without `facts` are those that are not
        observed of a run or deployment: no parameters, performance and alerts.
        """
        times = {name: model.moment(at, name) for name, at in (("since", since), ("until", until)) if at is not None}
        if within is not None and not 1 <= within <= MAX_PAGE:
            raise Invalid("within", f"{within} is not between 1 and {MAX_PAGE:,}")
        scans = bool(where or text or name or order_by != "created")
        search = (Window if within is not None and scans else Search)(
            kind,
            where or {},
            model.canonical(text, "text"),
            model.canonical(name, "name"),
            times.get("since"),
            times.get("until"),
            archived,
            model.canonical(order_by, "order_by"),
            descending,
            limit,
            within,
            facts,
        )
        if kind is not None:
            text_, binds = search.statement([self._type(kind)], cursor, count)
            return search.page(self.query(text_, binds)[0])
        return search.page(self._of_all_kinds(lambda schema: search.statement(search.types(schema), cursor, count)))

    def lineage(
        self,
        reference: Any,
        *,
        kind: str | None = None,
        direction: Direction = "both",
        depth: int = 100,
        kinds: Sequence[str] | None = None,
        fan: int | None = None,
        limit: int = 2000,
    ) -> Lineage:
        """Return what influenced a node (upstream), what it influenced (downstream), or both.

        With every run and deployment come its newest facts: parameters, performance in development, serving
        performance. `depth` bounds the edges from the start; `kinds` keeps only nodes of those kinds.

        With `fan` the work is bounded too: where one type of edge leads from a node to more than `fan` others, only
        so many are followed, and `cut` tells how many are left out. There are then the nearest `limit` nodes, at most
        8 edges from the start, and all edges between them. Raises NotFound.
        """
        target = self._target(reference, kind)
        if direction not in SIDES:
            raise Invalid("direction", f"{direction!r} is not upstream, downstream or both")
        if depth < 0:
            raise Invalid("depth", f"{depth} is not a number of edges")
        found, start = self._look_up(target), self.schema.node(target.collection).kind
        ends = bounds(depth, fan, limit) if fan is not None else None
        if ends is None:
            answer = self._of_all_kinds(lambda schema: lineage_text(schema, direction), **found, depth=depth)
        else:
            answer = self._of_all_kinds(lambda schema: fans_text(schema, start, direction, ends), **found)
        check_found(answer["start"], target)
        wanted = {self.schema.node(name).kind for name in kinds or self.schema.nodes}
        if ends is None:
            return lineage_of(answer, self.schema, wanted)
        return bounded(answer, self.schema, start, direction, wanted, ends)

    def neighbours(self, reference: Any, kind: str | None = None, *, limit: int = 50) -> Neighbourhood:
        """Return a node and what it is linked to, by type of edge, at most `limit` of each. Raises NotFound."""
        target = self._target(reference, kind)
        if limit < 1:
            raise Invalid("limit", f"{limit} is not a number of nodes")
        collection, found = target.collection, self._look_up(target)
        answer = self._of_all_kinds(lambda schema: neighbours_text(schema, collection), **found, limit=limit + 1)
        check_found(answer["found"], target)
        return neighbourhood(answer, self.schema, collection, limit)

    def linked(
        self,
        reference: Any,
        edge: str,
        *,
        kind: str | None = None,
        outward: bool = True,
        limit: int = 100,
        skip: int = 0,
    ) -> Linked:
        """Return nodes that edges of one type link a node to: `outward` from it, or those they come from.

        They are in the order in which the database keeps the edges: sorting a million of them would take its time.
        At most 10,000 can be skipped. Raises NotFound.
        """
        target = self._target(reference, kind)
        if limit < 1 or not 0 <= skip <= DEEPEST:
            raise Invalid("limit", f"{limit} and skip {skip} are to be numbers of nodes, of which {DEEPEST:,} at most")
        if edge not in self.schema.edges:
            self._ask_types()
        text, binds = linked_text(self.schema, target.collection, edge, outward)
        [answer] = self.query(text, binds | self._look_up(target) | {"limit": limit, "skip": skip})
        check_found(answer["found"], target)
        return linked(answer, self.schema, edge, outward)

    def dependents(
        self, reference: Any, *, kind: str | None = None, depth: int = 8, fan: int = 25, limit: int = 500
    ) -> Dependents:
        """Return which active deployments depend on a node, and a part of all that does: see `impact` and `lineage`.

        The deployments are all there, however large the fans between. Raises NotFound.
        """
        target = self._target(reference, kind)
        found, start, ends = self._look_up(target), self.schema.node(target.collection).kind, bounds(depth, fan, limit)
        answer = self._of_all_kinds(lambda schema: dependents_text(schema, start, ends), **found)
        check_found(answer["start"], target)
        return dependents(answer, self.schema, start, ends)

    def impact(self, reference: Any, *, kind: str | None = None) -> list[LineageNode]:
        """Return everything that depends on a node: what it influenced, and the models of the runs among them.

        Nearest first. The lineage follows influence, which leads from a model to its runs; here the way back
        counts as well, since a model learned from what its run read.
        """
        target = self._target(reference, kind)
        found = self._look_up(target)
        answer = self._of_all_kinds(lambda schema: impact_text(schema), **found, depth=100)
        check_found(answer["start"], target)
        return lineage_of(answer, self.schema, set(self.schema.nodes))["nodes"][1:]

    def compare(self, runs: Sequence[Any]) -> Comparison:
        """Return runs side by side: parameters, metrics, data, and what else the runs tell of themselves."""
        targets = [model.target("Run", run, self.schema) for run in runs]
        rows = self.query(COMPARE, {"runs": [{"key": target.key, "name": target.name} for target in targets]})
        return comparison(rows, targets)

    def reproduce(self, run: Any) -> Reproduction:
        """Return what is needed to execute a run again, and what of it is `missing`. Raises NotFound."""
        target = self._target(run, "Run")
        [answer] = self.query(REPRODUCE, self._look_up(target))
        check_found(answer["run"], target)
        return reproduction(answer)

    def history(self, reference: Any, kind: str | None = None, *, limit: int = 100) -> list[Event]:
        """Return the writes that touched a node, newest first: when, by whom, why, and what they changed.

        A deleted node is looked up by its `_id`. Raises NotFound.
        """
        target = self._target(reference, kind)
        if limit < 1:
            raise Invalid("limit", f"{limit} is not a number of writes")
        binds = self._look_up(target) | {"@audit": AUDIT, "id": id_of(target), "limit": limit}
        [answer] = self.query(HISTORY, binds)
        if answer["found"] is None and not answer["events"]:
            raise NotFound([str(target)])
        return list(events(answer))

    def written_by(self, provenance: Mapping[str, Any], *, also: Sequence[str] = (), limit: int = 50) -> Written:
        """Return the nodes that were written with a provenance, such as `{"run_id": ...}`, and what they are linked to.

        `also` are `_id`s of nodes to show with them, such as what a task registered that was there already.
        """
        if not provenance:
            raise Invalid("provenance", "is empty; it says whose writes are meant")
        if limit < 1:
            raise Invalid("limit", f"{limit} is not a number of nodes")
        values = {f"value{i}": model.canonical(value, "provenance") for i, value in enumerate(provenance.values())}
        answer = self._of_all_kinds(lambda schema: written_text(schema, provenance, limit), **values, also=list(also))
        return written(answer, self.schema, limit)

    def export(self) -> Iterator[str]:
        """Yield the whole graph as JSON lines, as it was at the first of them: nodes, edges, then the audit.

        What provisioning left in the audit is not part of it. Stop reading for less than a minute at a time: a
        server ends a snapshot that nobody uses.
        """
        self._ask_types()
        yield from export(self.db, self.schema)

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

    def counts(self) -> dict[str, int]:
        """Return how many nodes and edges there are, by collection."""
        return dict(self._of_all_kinds(counts_text)["counts"])

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

    def _of_all_kinds(self, statement: Callable[[Schema], tuple[str, Document]], **binds: Any) -> Document:
        """Return the answer to a statement about all kinds, asked again if it tells of kinds that were added."""
        while True:
            schema = self.schema
            text, named = statement(schema)
            try:
                [answer] = self.query(text, named | binds | {"@audit": AUDIT})
            except NotProvisioned:  # a kind that was withdrawn meanwhile has no collection
                if self._ask_types():
                    continue
                raise
            self._learned(answer["extension"])
            if self.schema == schema:  # another thread may have learned it meanwhile
                return dict(answer)

    def _ask_types(self) -> bool:
        """Learn the types that users added to the graph; return whether any were new."""
        return self._learned(self.query(f"RETURN {EXTENSION}", {"@audit": AUDIT})[0])

    def _learned(self, extension: Mapping[str, Any] | None) -> bool:
        """Take over the types that users added to the graph; return whether any were new."""
        schema = self.schema if self._fixed else model.extended(extension)
        known, self.schema = self.schema == schema, schema
        return not known

    def _type(self, kind: str) -> NodeType:
        if not self.schema.has(kind):
            self._ask_types()
        return self.schema.node(kind)

    def _target(self, reference: Any, kind: str | None) -> Target:
        type_ = self._type(collection_of(reference) if kind is None else kind)
        return model.target(type_.kind, reference, self.schema)

    def _look_up(self, target: Target) -> Document:
        return look_up(self.schema.node(target.collection), target)
