"""Ask the metadata graph: every question is one request that carries one AQL statement."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from arangopipe_ops import model
from arangopipe_ops.errors import Invalid, NotFound, NotProvisioned
from arangopipe_ops.model import AUDIT, SCHEMA, Document, Lineage, LineageNode, NodeType, Schema, Target
from arangopipe_ops.store.comparison import COMPARE, Comparison, comparison
from arangopipe_ops.store.execution import answered, first_rows, plan_of, row_count
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
    Linked,
    Neighbourhood,
    linked,
    linked_text,
    neighbourhood,
    neighbours_text,
)
from arangopipe_ops.store.reproduction import REPRODUCE, Reproduction, reproduction
from arangopipe_ops.store.search import MAX_PAGE, Page, Search, Where
from arangopipe_ops.store.statements import EXTENSION, LOOK_UP, check_found, collection_of, counts_text, id_of, look_up
from arangopipe_ops.store.transfer import export
from arangopipe_ops.store.window import Window
from arangopipe_ops.store.written import Written, written, written_text

if TYPE_CHECKING:
    from arango.database import StandardDatabase


class GraphReader:
    """Everything that can be asked of the metadata graph in one database.

    A statement that meets another writer's is tried again, with growing pauses, for `patience` seconds; the database
    ends one that is executed for more than `seconds`, if they are given. Node and edge types that users added to the
    graph are known without further ado; a `schema` says that there are only those it has. All methods raise the
    errors of `arangopipe_ops.errors` and no others.
    """

    def __init__(
        self,
        db: "StandardDatabase",
        *,
        schema: Schema | None = None,
        patience: float = 10.0,
        seconds: float | None = None,
    ) -> None:
        self.db = db
        self.patience = patience
        self.seconds = seconds
        self.schema = schema or SCHEMA
        self._fixed = schema is not None

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
        options = {"max_runtime": seconds or self.seconds, "memory_limit": memory or 0}
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
        kind: str | None = None,
        *,
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
        self, reference: Any, kind: str | None = None, *, depth: int = 8, fan: int = 25, limit: int = 500
    ) -> Dependents:
        """Return which active deployments depend on a node, and a part of all that does: see `impact` and `lineage`.

        The deployments are all there, however large the fans between. Raises NotFound.
        """
        target = self._target(reference, kind)
        found, start, ends = self._look_up(target), self.schema.node(target.collection).kind, bounds(depth, fan, limit)
        answer = self._of_all_kinds(lambda schema: dependents_text(schema, start, ends), **found)
        check_found(answer["start"], target)
        return dependents(answer, self.schema, start, ends)

    def impact(self, reference: Any, kind: str | None = None) -> list[LineageNode]:
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

    def counts(self) -> dict[str, int]:
        """Return how many nodes and edges there are, by collection."""
        return dict(self._of_all_kinds(counts_text)["counts"])

    # --- inside

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
