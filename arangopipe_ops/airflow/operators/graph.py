"""Operators on the graph itself: notes, edges between nodes, many stages at once, AQL, and how long it is kept."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.sdk import ObjectStoragePath, XComArg

from arangopipe_ops.airflow.operators.metadata import (
    Attributes,
    MetadataOperator,
    Reference,
    References,
    one_of,
    ref_of,
)
from arangopipe_ops.errors import Invalid

if TYPE_CHECKING:
    from airflow.sdk import Context

    from arangopipe_ops.store import OnConflict, Store, Summary


class AnnotateOperator(MetadataOperator):
    """Sets notes of a stored node: description, owner, tags, tag, deployment_tag; None removes one. Returns its Ref.

    `notes` are their values by name, and `reason` is for the audit. A `node` that is given by name needs its `kind`.
    """

    template_fields: Sequence[str] = ("node", "notes", "kind", "reason", *MetadataOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = dict.fromkeys(("node", "notes"), "json")

    def __init__(
        self,
        *,
        node: Reference,
        notes: Attributes,
        kind: str | None = None,
        reason: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.node = node
        self.notes: Any = notes
        self.kind = kind
        self.reason = reason

    def record(self, store: "Store", context: "Context") -> Any:
        if not isinstance(self.notes, Mapping):
            raise Invalid("notes", f"{self.notes!r} is not a mapping of names to values")
        return ref_of(store.annotate(self.node, self.kind, reason=self.reason, **self.notes)["nodes"][0], store)


class LinkOperator(MetadataOperator):
    """Links stored nodes by an edge, each `source` with each `target`; returns the edge's name and how many `links`.

    `edge` is an edge type of the graph (`run_datasets`), which also says of what kinds the references are. All of
    them are written in one request, or none.
    """

    template_fields: Sequence[str] = (
        *("edge", "source", "target", "attributes", "on_conflict"),
        *MetadataOperator.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = dict.fromkeys(("source", "target", "attributes"), "json")

    def __init__(
        self,
        *,
        edge: str,
        source: References,
        target: References,
        attributes: Attributes | None = None,
        on_conflict: "OnConflict" = "revise",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.edge = edge
        self.source = source
        self.target = target
        self.attributes: Any = attributes
        self.on_conflict = on_conflict

    def record(self, store: "Store", context: "Context") -> dict[str, Any]:
        stage = store.stage(self.edge)
        for source in _each("source", self.source):
            for target in _each("target", self.target):
                stage.link(self.edge, source, target, self.attributes)
        store.write_all(stage, on_conflict=self.on_conflict)
        return {"edge": self.edge, "links": len(stage.edges)}


class BatchWriteOperator(MetadataOperator):
    """Writes many stages in batches, each whole, and returns how many were new, revised or the same.

    They are `stages`, mappings such as `{"stage": "dataset", "name": "wine"}` (or the same as JSON text), or the
    lines of the file at `path`, which may be any URL that Airflow's object storage opens. Of a file no more than a
    batch is in memory. Another attempt does not send again what an earlier one wrote. An error names the stage.
    """

    template_fields: Sequence[str] = ("path", "stages", "on_conflict", *MetadataOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {"stages": "json"}

    def __init__(
        self,
        *,
        stages: Iterable[Mapping[str, Any] | str] | XComArg | None = None,
        path: str | None = None,
        on_conflict: "OnConflict" = "revise",
        batch: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (stages is None) == (path is None):
            raise Invalid("stages", "and path: give one of them")
        self.stages: Any = stages
        self.path = path
        self.on_conflict = on_conflict
        self.batch = batch

    def record(self, store: "Store", context: "Context") -> "Summary":
        if self.path is None:
            return self._write(store, _each("stages", self.stages))
        try:
            with ObjectStoragePath(self.path).open("r", encoding="utf-8") as lines:  # type: ignore[no-untyped-call]
                return self._write(store, lines)
        except FileNotFoundError:
            raise Invalid("path", f"there is no file {self.path}") from None

    def _write(self, store: "Store", lines: Iterable[Any]) -> "Summary":
        from arangopipe_ops import stages

        bounds: dict[str, Any] = {} if self.batch is None else {"batch": self.batch}
        return store.write_many(stages.read_stages(lines), on_conflict=self.on_conflict, **bounds)


class AQLOperator(MetadataOperator):
    """Executes an AQL statement, and returns its rows, the `first` of them or None, their `count`, or `none`.

    Pass values as `bind_vars` and not by a template in the text. A result of more than `max_rows` rows fails the task
    and is never cut. Unless `allow_writes`, a statement that modifies data is not executed: the database is asked for
    its plan first. A statement that writes is executed once for every attempt: let it be safe to repeat.
    """

    lineage_result = False
    template_fields: Sequence[str] = ("query", "bind_vars", *MetadataOperator.template_fields)
    template_ext: Sequence[str] = (".aql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"query": "sql", "bind_vars": "json"}

    def __init__(
        self,
        *,
        query: str,
        bind_vars: Attributes | None = None,
        result: Literal["rows", "first", "count", "none"] = "rows",
        max_rows: int = 1_000,
        allow_writes: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        one_of("result", result, _RESULTS)
        self.query = query
        self.bind_vars: Any = bind_vars
        self.result = result
        self.max_rows = max_rows
        self.allow_writes = allow_writes

    def record(self, store: "Store", context: "Context") -> Any:
        binds = dict(self.bind_vars or {})
        if not self.allow_writes and store.modifies(self.query, binds):
            raise Invalid("query", "modifies data; say allow_writes=True if it is to")
        if self.result == "count":
            return store.row_count(self.query, binds)
        rows = store.query(self.query, binds, limit=_FETCHED.get(self.result, self.max_rows + 1))
        if self.result != "rows":
            return rows[0] if rows else None
        if len(rows) > self.max_rows:
            done = "; what it wrote is written" if self.allow_writes else ""
            raise Invalid("query", f"has more than {self.max_rows:,} rows: add a LIMIT, or raise max_rows{done}")
        return rows


_RESULTS = ("rows", "first", "count", "none")
_FETCHED = {"first": 1, "none": 0}


def _each(name: str, given: Any) -> Iterable[Any]:
    """Return one reference, or each of several. Raises Invalid for nothing."""
    if given is None:
        raise Invalid(name, "is missing")
    return [given] if isinstance(given, str | Mapping) else given


class RetentionOperator(MetadataOperator):
    """Keeps serving performance for some `days` after the end of its period, or forever (None).

    The database removes what is over by itself, from then on. Returns the `Retention`: `days`, and how many periods are
    `over`. Setting what is set changes nothing; another number needs the right to create indexes.
    """

    template_fields: Sequence[str] = ("days", *MetadataOperator.template_fields)

    def __init__(self, *, days: float | str | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.days: Any = days

    def record(self, store: "Store", context: "Context") -> dict[str, Any]:
        from arangopipe_ops import admin

        return dict(admin.retention(store.db, self.days))
