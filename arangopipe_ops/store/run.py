"""A run as people write it: recorded when it begins, and when it ends, whichever way it ends."""

import logging
import os
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self
from uuid import uuid4

from arangopipe_ops import capture, model, stages
from arangopipe_ops.errors import ArangopipeError, Invalid
from arangopipe_ops.model import Document, Node, Ref, Reference, Stage
from arangopipe_ops.store.series import Metrics

if TYPE_CHECKING:
    from arangopipe_ops.store import Store

MAX_PRODUCTS = 1_000
MAX_MESSAGE, MAX_TRACEBACK, MAX_FRAMES = 2_000, 8_000, 40

_SET_HERE = {"run_id", "status", "start", "end", "duration", "error", "produced", "parent", "metrics", "params"}
_REFERENCES = {"model", "dataset", "featureset"}

OnMetadataError = Literal["fail", "warn"]

_log = logging.getLogger(__name__)
_current: ContextVar["Run | None"] = ContextVar("current_run", default=None)


def current_run() -> "Run | None":
    """Return the innermost run that is being executed here, for code that is deep inside of it.

    A thread knows it only if it was started with a copy of the context, as `asyncio.to_thread` does.
    """
    run = _current.get()
    while run is not None and run.status != "running":
        run = run.outer
    return run


class Run:
    """One run while it is executed. `Store.run` makes it; `with` begins and ends it.

    All methods may be called from several threads. A value that cannot be stored is refused (Invalid) when it is
    logged, so that the end of a run is not lost to it.

    With `on_metadata_error="warn"` the body runs whatever becomes of its record: an error of `arangopipe_ops.errors` is
    a warning that names what was not recorded. A beginning that could not be recorded is written with the end.
    """

    def __init__(
        self,
        store: "Store | Nowhere",
        *,
        model: Reference,
        run_id: str | None = None,
        dataset: Any = None,
        featureset: Any = None,
        params: Mapping[str, Any] | None = None,
        on_metadata_error: OnMetadataError = "fail",
        **attributes: Any,
    ) -> None:
        self.status = "new"
        self.is_recorded = False
        """Whether the graph knows how the run ended."""
        self.outer: Run | None = None
        self._store = store
        self._references = {"model": model, "dataset": dataset, "featureset": featureset}
        self._run_id = run_id
        self._ref: Ref | None = None
        self._used: dict[str, list[Any]] = {}
        self._params: Document = {}
        self._metrics = Metrics()
        self._produced: dict[str, Document] = {}
        self._unlinked: list[Document] = []
        self._given: Document = {}
        self._own: Document = {}
        self._on_metadata_error = on_metadata_error
        self._state, self._writing = threading.RLock(), threading.RLock()
        self._token: Token[Run | None] | None = None
        with self.forgiving("attributes"):
            self._given = _checked(attributes, _SET_HERE)
        with self.forgiving("parameters"):
            self._log_params(params or {})

    @property
    def run_id(self) -> str:
        """The run's id; one that is not given is known once the run has begun."""
        if self._run_id is None:
            raise Invalid("run", "has not begun; use it in a with statement")
        return self._run_id

    @property
    def ref(self) -> Ref:
        """The reference to the run; `created` says whether it is new, and not one that is run again."""
        if self._ref is None:
            raise Invalid("run", "has not begun; use it in a with statement")
        return self._ref

    @property
    def recorded(self) -> Document:
        """What it was given and has taken so far: attributes, references, params, metrics, what it produced."""
        with self._state:
            own = {"params": dict(self._params), "metrics": self._metrics.document(), **self._references, **self._used}
            return {**self._given, **own, "produced": list(self._produced.values())}

    def __enter__(self) -> Self:
        """Record the beginning, in one request. Raises NotFound for the model or data; then nothing is recorded."""
        if self.status != "new":
            raise Invalid("run", "is used a second time; make another one with store.run")
        self.outer = current_run()
        self._own = capture.everything() | {"start": datetime.now(UTC)}
        if self.outer is not None:
            self._own["parent"] = self.outer._run_id
        self._began, self._process = time.monotonic(), os.getpid()
        with self.forgiving("beginning"):
            self._begin("running")
        self.status = "running"
        self._token = _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Record the end, in one request. What the body raised goes on unchanged, whether that succeeds or not."""
        if os.getpid() != self._process:  # a forked child leaves the body as well, but the run is its parent's
            return
        with suppress(ValueError):  # raised where the run ends in another context than it began in
            _current.reset(self._token)  # type: ignore[arg-type]
        try:
            with self._state:
                self._end(error)
            with self.forgiving("end"):
                self._flush()
        except Exception as failure:
            if error is None:
                raise
            note = f"the end of run {self._run_id!r} could not be recorded: {failure}"
            _log.error("%s", note)  # nobody prints the notes of SystemExit
            error.add_note(note)

    def log_params(self, params: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """Take parameters; of two values of the same one the later counts. They are written when the run ends."""
        with self._recording("parameters"):
            self._log_params({**(params or {}), **named})

    def log_metrics(self, metrics: Mapping[str, Any] | None = None, /, *, step: Any = None, **named: Any) -> None:
        """Take metrics seen in development. Numbers that are logged again, or with a step, make a series.

        NaN and infinity are taken as well: a training that diverges is not ended by that.
        """
        with self._recording("metrics"):
            self._metrics.log({**(metrics or {}), **named}, step)

    def set(self, **attributes: Any) -> None:
        """Take attributes of the run, such as `tag`, `description`, or any other name."""
        with self._recording("attributes"):
            self._given |= _checked({**self._given, **attributes}, _SET_HERE | _REFERENCES)

    def produced(self, uri: str, checksum: str | None = None, **attributes: Any) -> None:
        """Take something that the run made, by its place; the same place again replaces it."""
        given = {"uri": uri, "checksum": checksum, **attributes}
        product = {name: value for name, value in given.items() if value is not None}
        with self._recording("products"):
            if len(self._produced) >= MAX_PRODUCTS and uri not in self._produced:
                raise Invalid("produced", f"has {MAX_PRODUCTS:,} items already; store a list of them and give its URI")
            self._produced[uri] = model.canonical(product, "produced")

    def use(self, *, dataset: Any = None, featureset: Any = None) -> None:
        """Link what the run reads, at once and in one request. Raises NotFound."""
        if self._ref is None and self.status == "running":  # the database was away; the end will show if it is back
            self._unlinked.append({"dataset": dataset, "featureset": featureset})
            return
        with self.forgiving("data"):
            self._link(dataset=dataset, featureset=featureset)

    def flush(self) -> None:
        """Write what was taken so far, in one request; also the end, if that could not be written before."""
        with self.forgiving("state"):
            self._flush()

    @contextmanager
    def forgiving(self, what: str) -> Iterator[None]:
        """Make an error of this library a warning that says `what` of the run was not recorded, if that was chosen."""
        try:
            yield
        except ArangopipeError as error:
            if self._on_metadata_error == "fail":
                raise
            _log.warning("Not recorded: %s of run %r. %s: %s", what, self._run_id, type(error).__name__, error)

    # --- inside

    def _begin(self, status: str) -> None:
        unsure = False
        if self._run_id is None:
            self._run_id, unsure = _own_id(self._store.provenance, self._own, self._references["model"])
        self._ref = self._store.write(self._stage(status), on_conflict="revise")
        if unsure and not self._ref["created"]:
            _log.warning(_AGAIN, self._run_id)

    def _link(self, **inputs: Any) -> None:
        stage = Stage()
        stages.link_inputs(stage, self.ref, **inputs)
        self._store.write_all(stage, on_conflict="keep")
        with self._state:
            for name, given in inputs.items():
                before = self._used.get(name) or stages.each(self._references[name])
                self._used[name] = [*before, *stages.each(given)]

    def _flush(self) -> None:
        with self._writing:
            if self._ref is None and self.status != "new":
                self._begin(self.status)
            while self._unlinked:
                with self.forgiving("data"):
                    self._link(**self._unlinked.pop(0))
            with self._state:
                # The ends of the run's edges were looked up when it began: a name may mean a newer version by now.
                stage = self._stage(status=self.status, again=not self.ref["created"])
                stage.edges = [edge for edge in stage.edges if isinstance(edge.source, Node)]
                stage.edges = [edge for edge in stage.edges if isinstance(edge.target, Node)]
            self._store.write(stage, on_conflict="revise")
            self.is_recorded = self.status != "running"

    @contextmanager
    def _recording(self, what: str) -> Iterator[None]:
        with self._state, self.forgiving(what):
            if self.status != "running":
                raise Invalid("run", "has not begun" if self.status == "new" else f"has ended ({self.status})")
            yield

    def _log_params(self, params: Mapping[str, Any]) -> None:
        checked = {**self._params, **model.canonical(params, "params")}
        Stage().add("ModelParams", {**checked, "run_id": "checked"})
        self._params = checked

    def _stage(self, status: str, again: bool = False) -> Stage:
        """Return the run as it stands. One that is run `again` replaces what it had of parameters and metrics."""
        attributes = {**self._own, **self._given}
        if self._produced:
            attributes["produced"] = list(self._produced.values())
        metrics = self._metrics.document()
        return stages.log_run(
            self.run_id,
            **self._references,
            params=self._params if self._params or again else None,
            metrics=metrics if metrics or again else None,
            status=status,
            **attributes,
        )

    def _end(self, error: BaseException | None) -> None:
        self.status = _outcome(error)
        self._own |= {"end": datetime.now(UTC), "duration": round(time.monotonic() - self._began, 3)}
        self._own["environment"] = capture.environment()  # the body has imported more
        if error is not None and self.status != "completed":
            self._own["error"] = _described(error)


class Nowhere:
    """Takes the place of a store that cannot be opened: whatever is written to it raises why."""

    def __init__(self, reason: ArangopipeError) -> None:
        self.provenance: Document = {}
        self._reason = reason

    def write(self, stage: Stage, **options: Any) -> NoReturn:
        """Raise why."""
        raise self._reason

    write_all = write


def _checked(attributes: Mapping[str, Any], taken: set[str]) -> Document:
    """Return attributes of a run that can be stored. Raises Invalid."""
    for name in sorted(attributes.keys() & taken):
        raise Invalid(f"run.{name}", "is set by the run itself; choose another name")
    Stage().add("Run", {**attributes, "run_id": "checked", "project": None})
    return dict(attributes)


def _outcome(error: BaseException | None) -> str:
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "completed"
    return "failed" if isinstance(error, Exception | SystemExit) else "aborted"


def _described(error: BaseException) -> Document:
    """Return what an error says: bounded in size, always storable, and without what looks like a secret."""
    module, name = type(error).__module__, type(error).__qualname__
    found = {"type": name if module == "builtins" else f"{module}.{name}"}
    with suppress(Exception):  # an exception is the user's own class: it may fail to say what it is
        found["message"] = _storable(str(error), MAX_MESSAGE)
        lines = traceback.TracebackException.from_exception(error, limit=-MAX_FRAMES, compact=True).format()
        found["traceback"] = _storable("".join(lines), MAX_TRACEBACK)
    return found


def _storable(text: str, most: int) -> str:
    """Return text with its middle cut out if it is too long."""
    bounded = text if len(text) <= 4 * most else f"{text[: 2 * most]} … {text[-2 * most :]}"
    plain = capture.without_secrets(bounded.encode(errors="replace").decode())
    return plain if len(plain) <= most else f"{plain[: most // 4]} … {plain[-(most - most // 4 - 3) :]}"


# --- ids -------------------------------------------------------------------------------------------------

_begun: Counter[tuple[str, str | None]] = Counter()
_begun_lock = threading.Lock()


_AGAIN = (
    "run %r was logged before, and is replaced: right for a task that is run again. Airflow's variables do not say "
    "whether the task is mapped; if it is, set AIRFLOW_CTX_MAP_INDEX or give a run_id"
)


def _own_id(provenance: Mapping[str, Any], captured: Mapping[str, Any], reference: Any) -> tuple[str, bool]:
    """Return the id of a run that was given none, and whether another run could have it by mistake.

    It is the orchestrator's, or else a unique one. Every attempt at an Airflow task has the same id, and so has
    its n-th run of that process.
    """
    airflow = captured.get("orchestrator", {}).get("airflow", {})
    told = _airflow_task(provenance)
    task = told or _airflow_task({**airflow, "run_id": airflow.get("dag_run_id")})
    if task is None:
        return f"{_called(reference)}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:8]}", False
    with _begun_lock:
        _begun[task, airflow.get("try_number")] += 1
        number = _begun[task, airflow.get("try_number")]
    return task if number == 1 else f"{task}#{number}", told is None and "map_index" not in airflow


def _airflow_task(ids: Mapping[str, Any]) -> str | None:
    names = [ids.get(name) for name in ("dag_id", "run_id", "task_id")]
    index = ids.get("map_index")
    mapped = [str(index)] if index is not None and int(index) >= 0 else []
    return "/".join([*map(str, names), *mapped]) if all(names) else None


def _called(reference: Any) -> str:
    """Return what a model is called, for people."""
    named = reference.get("name") if isinstance(reference, Mapping) else None
    target = model.target("Model", reference)
    return str(named or target.name or target.key)[:80]
