"""What waits in Airflow's triggerer: a condition of the graph for a sensor, and new nodes for an AssetWatcher.

Triggers are stored in Airflow's database: they hold the connection's id and plain data, and no secret. The
database is asked in threads, since its driver is synchronous; the event loop never waits for it.
"""

import asyncio
import operator
from collections.abc import AsyncIterator, Callable, Hashable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal

from airflow.sdk import Asset
from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent
from anyio import to_thread

from arangopipe_ops import errors, model
from arangopipe_ops.airflow import compat
from arangopipe_ops.airflow.hooks import DEFAULT_CONN_ID, ArangopipeHook
from arangopipe_ops.model import Document, Ref
from arangopipe_ops.store import Store

PAGE = 1_000
OVERLAP = 60.0
SETTLE = 3.0
MAX_PAUSE = 300.0

LASTING = (
    errors.Invalid,
    errors.Misconfigured,
    errors.NotProvisioned,
    errors.Refused,
    errors.Unauthorized,
)
"""What no waiting cures."""

ENDING = (*LASTING, errors.Conflict)

# --- conditions ------------------------------------------------------------------------------------------

Comparison = Literal["<", "<=", ">", ">=", "=="]

COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}


def node(
    store: Store,
    kind: str,
    reference: Any = None,
    where: Mapping[str, Any] | None = None,
    text: str | None = None,
    since: str | None = None,
) -> Document | None:
    """Return the Ref of a node that exists, or of the newest one that a search finds, or None.

    `since` asks of a reference that it was registered or changed since then, of a search that it was registered.
    """
    if reference is None:
        found = store.search(kind, where, text=text, since=since, limit=1, count=False)["nodes"]
    elif where or text:
        raise errors.Invalid("reference", "is given together with a search; give one of them")
    else:
        found = [node for node in _existing(store, kind, reference) if _changed(node) >= (since or "")]
    return dict(model.ref_of(store.schema.node(kind), found[0])) if found else None


def deployment_status(store: Store, deployment: Any, status: Sequence[str], unless: Sequence[str]) -> Document | None:
    """Return the Ref of a deployment that has one of the statuses, with its `status`, or None.

    Raises Conflict where it has one of `unless` instead, from which it is not expected to come back.
    """
    for found in _existing(store, "Deployment", deployment):
        if found["status"] in status:
            return {**model.ref_of(store.schema.node("Deployment"), found), "status": found["status"]}
        if found["status"] in unless:
            problem = f"is {found['status']}, and not {' or '.join(status)}"
            raise errors.Conflict(found["_id"], ["status"], problem)
    return None


def serving_performance(
    store: Store, deployment: Any, metric: str, comparison: str, threshold: float, since: str | None = None
) -> Document | None:
    """Return the Ref of a deployment's newest period that has the metric, if it compares so, or None.

    With it come `value`, `period_start` and `period_end`. `since` leaves out periods that start before.
    """
    where: Document = {"deployment": model.sure_key("Deployment", deployment), metric: {"exists": True}}
    if since is not None:
        where["period_start"] = {">=": since}
    for found in store.search("ServingPerf", where, order_by="period_start", limit=1, count=False)["nodes"]:
        value = _value(found, metric)
        if isinstance(value, int | float) and COMPARISONS[comparison](value, threshold):
            period = {name: found[name] for name in ("period_start", "period_end")}
            return {**model.ref_of(store.schema.node("ServingPerf"), found), "value": value, **period}
    return None


CONDITIONS: Mapping[str, Callable[..., Document | None]] = {
    "node": node,
    "deployment_status": deployment_status,
    "serving_performance": serving_performance,
}
"""What a sensor can wait for: each is asked with a store and plain data, and returns JSON once it is met."""


def ask(store: Store, condition: str, arguments: Mapping[str, Any]) -> Document | None:
    """Return what a condition answers; a node or a connection that is not there yet is None.

    Raises the errors of LASTING, and Conflict.
    """
    try:
        return CONDITIONS[condition](store, **arguments)
    except errors.NotFound:
        return None


def _existing(store: Store, kind: str, reference: Any) -> list[Document]:
    found = store.get(reference, kind)
    return [found] if found.get("archived") is None else []


def _changed(node: Mapping[str, Any]) -> str:
    return str(node.get("revised") or node["created"])


def _value(document: Mapping[str, Any], metric: str) -> Any:
    """Return an attribute; one with dots is inside another, or has them in its own name."""
    inside: Any = document
    for name in metric.split("."):
        inside = inside.get(name) if isinstance(inside, Mapping) else None
    return document.get(metric) if inside is None else inside


# --- triggers --------------------------------------------------------------------------------------------


async def _store(conn_id: str) -> Store:
    return Store(await ArangopipeHook(conn_id).aget_conn())


async def _in_thread(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    return await to_thread.run_sync(partial(function, *arguments, **named), abandon_on_cancel=True)


class ConditionTrigger(BaseTrigger):
    """Fires once, when a condition of `CONDITIONS` is met: `{"found": ...}`, or `{"error": ..., "message": ...}`.

    A database that is away is waited for; an error that lasts ends the wait.
    """

    def __init__(
        self,
        condition: str,
        arguments: Mapping[str, Any],
        arangopipe_conn_id: str = DEFAULT_CONN_ID,
        poke_interval: float = 60.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.condition = condition
        self.arguments = model.canonical(dict(arguments), "arguments")
        self.arangopipe_conn_id = arangopipe_conn_id
        self.poke_interval = poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        kwargs = {
            "condition": self.condition,
            "arguments": self.arguments,
            "arangopipe_conn_id": self.arangopipe_conn_id,
            "poke_interval": self.poke_interval,
        }
        return "arangopipe_ops.airflow.triggers.ConditionTrigger", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        try:
            store = await _store(self.arangopipe_conn_id)
            yield _event({"found": await self._met(store)})
        except ENDING as error:
            yield _event({"error": type(error).__name__, "message": str(error)})

    async def _met(self, store: Store) -> Document:
        while True:
            try:
                if found := await _in_thread(ask, store, self.condition, self.arguments):
                    return dict(found)
            except errors.Unavailable as error:
                self.log.warning("The database is away; asking again: %s", error)
            await asyncio.sleep(self.poke_interval)


class NewNodeTrigger(BaseEventTrigger):
    """For an AssetWatcher: fires for every node of a kind that is registered and meets `where`, with its Ref.

    It begins with what is registered after it first looked. How far it came is kept in the asset's state, so a
    triggerer that starts again goes on from there. One that is killed, not stopped, within seconds of an event may
    fire it once more; it never misses one. Give `asset`, the asset's name, where several assets have equal watchers.

    Watchers of the same connection, kind and interval share one poll; each then looks for itself if there is news.
    """

    def __init__(
        self,
        kind: str,
        where: Mapping[str, Any] | None = None,
        *,
        asset: str | None = None,
        arangopipe_conn_id: str = DEFAULT_CONN_ID,
        poke_interval: float = 30.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kind = kind
        self.where: Document = model.canonical(dict(where or {}), "where")
        self.asset = asset
        self.arangopipe_conn_id = arangopipe_conn_id
        self.poke_interval = poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        kwargs = {
            "kind": self.kind,
            "where": self.where,
            "asset": self.asset,
            "arangopipe_conn_id": self.arangopipe_conn_id,
            "poke_interval": self.poke_interval,
        }
        return "arangopipe_ops.airflow.triggers.NewNodeTrigger", kwargs

    def shared_stream_key(self) -> Hashable:
        return "arangopipe", self.arangopipe_conn_id, self.kind, self.poke_interval

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[int]:
        """Yield whenever there may be new nodes of the kind, by one small request each interval.

        Nodes that are written at the same time become visible in any order, so news is told once more after that.
        """
        trigger = cls(**kwargs)
        store, seen, echoes, number = None, None, 0, 0
        while True:
            store, newest = await trigger._patiently(store, _newest, trigger.kind)
            if newest != seen:
                seen, echoes = newest, 2
            if echoes:
                number, echoes = number + 1, echoes - 1
                yield number
            await asyncio.sleep(trigger.poke_interval)

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        place = _Place(await self._stored())
        begins = place.is_new
        store, refs = await self._patiently(None, place.look, self.kind, self.where)
        if begins:
            await self._keep(place)
        while True:
            for ref in refs:
                yield _event(ref)
            if refs:
                await asyncio.sleep(SETTLE)  # until the triggerer has stored the events
                await self._keep(place)
            await anext(shared_stream)
            store, refs = await self._patiently(store, place.look, self.kind, self.where)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire without sharing the poll, for an Airflow that knows no shared streams."""
        async for event in self.filter_shared_stream(self.open_shared_stream(self.serialize()[1])):
            yield event

    async def _patiently(self, store: Store | None, look: Callable[..., Any], *arguments: Any) -> tuple[Store, Any]:
        """Return a store and what was asked of it; ask until it answers. A watcher has no task that could fail."""
        pause = self.poke_interval
        while True:
            try:
                store = store or await _store(self.arangopipe_conn_id)
                return store, await _in_thread(look, store, *arguments)
            except (errors.ArangopipeError, compat.AirflowNotFoundException) as error:
                store = None
                self.log.error("Watching %s of %s: %s", self.kind, self.arangopipe_conn_id, error)
            await asyncio.sleep(pause)
            pause = max(self.poke_interval, min(2 * pause, MAX_PAUSE))

    @property
    def _key(self) -> str:
        return f"arangopipe-{model.digest([self.arangopipe_conn_id, self.kind, self.where])[:32]}"

    @property
    def _state(self) -> Any:
        state = getattr(self, "asset_state_store", None)  # Airflow has it since 3.3
        return state[Asset.ref(name=self.asset)] if state is not None and self.asset is not None else state

    async def _stored(self) -> Any:
        return await self._state.aget(self._key) if self._state is not None else None

    async def _keep(self, place: "_Place") -> None:
        if self._state is not None:
            await self._state.aset(self._key, place.plain())


class _Place:
    """How far a watcher came: a time, and the keys of what was registered from then on and has been told.

    Times come from the database and are taken before a write commits, so the time lags behind the newest.
    """

    def __init__(self, stored: Any) -> None:
        self.is_new = stored is None
        self._since: str | None = None if stored is None else stored["since"] or None
        self._told: dict[str, str] = {} if stored is None else dict(stored["told"])

    def plain(self) -> Document:
        return {"since": self._since or "", "told": self._told}

    def look(self, store: Store, kind: str, where: Mapping[str, Any]) -> list[Ref]:
        """Return what is new, the oldest first, and move on."""
        fresh: list[Document] = []
        cursor = None
        if self.is_new:
            self._since = _lagging(_created(store.search(kind, limit=1, count=False)["nodes"]))
        while True:
            page = store.search(
                kind, where, since=self._since, descending=False, limit=PAGE, cursor=cursor, count=False
            )
            fresh += [node for node in page["nodes"] if node["_key"] not in self._told]
            if (cursor := page["cursor"]) is None:
                break
        self._told |= {node["_key"]: node["created"] for node in fresh}
        self._move()
        told, self.is_new = [] if self.is_new else fresh, False
        return [model.ref_of(store.schema.node(kind), node, created=True) for node in told]

    def _move(self) -> None:
        newest = max(self._told.values(), default=None)
        if newest is not None:
            self._since = max(self._since or "", _lagging(newest) or "")
            self._told = {key: at for key, at in self._told.items() if at >= self._since}


def _event(payload: Any) -> TriggerEvent:
    return TriggerEvent(payload)  # type: ignore[no-untyped-call]


def _newest(store: Store, kind: str) -> tuple[str | None, int | None]:
    """Return what changes when a node of a kind is registered."""
    page = store.search(kind, limit=1)
    return next((node["_id"] for node in page["nodes"]), None), page["total"]


def _created(nodes: Sequence[Mapping[str, Any]]) -> str | None:
    return nodes[0]["created"] if nodes else None


def _lagging(at: str | None) -> str | None:
    return None if at is None else model.moment(datetime.fromisoformat(at) - timedelta(seconds=OVERLAP), "created")
