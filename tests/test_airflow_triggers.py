"""The triggers, run by their own async generators as the triggerer does."""

import asyncio
import inspect
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow_home import HOME  # before airflow is imported
from socket_server import Outage

from arangopipe_ops import stages
from arangopipe_ops.airflow import triggers
from arangopipe_ops.airflow.triggers import ConditionTrigger, NewNodeTrigger
from arangopipe_ops.errors import Unauthorized
from arangopipe_ops.model import canonical, moment

pytestmark = pytest.mark.slow

assert HOME

FAST = 0.05


@pytest.fixture
def graph(url: str, store: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A graph that triggers without a connection reach, and that settles at once."""
    monkeypatch.setenv("ARANGOPIPE_URL", url)
    monkeypatch.setattr(triggers, "SETTLE", 0)
    return store


class State:
    """Airflow's state of an asset, as a trigger uses it."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    async def aget(self, key: str) -> Any:
        return self.kept.get(key)

    async def aset(self, key: str, value: Any) -> None:
        assert value == canonical(value)
        self.kept[key] = value


def revived(trigger: Any) -> Any:
    """Return a trigger as the triggerer makes it: from the class path and arguments in Airflow's database."""
    from airflow._shared.module_loading import import_string
    from airflow.models.trigger import Trigger
    from airflow.serialization.decoders import smart_decode_trigger_kwargs

    path, kwargs = trigger.serialize()
    stored = Trigger._decrypt_kwargs(Trigger.encrypt_kwargs(kwargs))
    return import_string(path)(**{name: smart_decode_trigger_kwargs(value) for name, value in stored.items()})


def fired(trigger: Any, change: Callable[[], Any] = lambda: None, *, seconds: float = 20) -> Any:
    """Return the payload of the first event, after a change that is made once the trigger waits."""

    async def wait() -> Any:
        events = revived(trigger).run()
        first = asyncio.ensure_future(anext(events))
        await asyncio.sleep(4 * FAST)
        await asyncio.to_thread(change)
        try:
            return (await asyncio.wait_for(first, seconds)).payload
        finally:
            await events.aclose()

    return asyncio.run(wait())


@pytest.mark.parametrize(
    ("trigger", "path"),
    [
        (ConditionTrigger("node", {"kind": "Model"}), "arangopipe_ops.airflow.triggers.ConditionTrigger"),
        (NewNodeTrigger("Model"), "arangopipe_ops.airflow.triggers.NewNodeTrigger"),
    ],
)
def test_class_paths_are_stored_data(trigger: Any, path: str) -> None:
    """Deferred tasks and watchers in Airflow's database name these classes: renaming one would strand them."""
    found, kwargs = trigger.serialize()
    assert found == path
    assert kwargs == canonical(kwargs)
    assert kwargs["arangopipe_conn_id"] == "arangopipe_default"
    assert set(inspect.signature(type(trigger)).parameters) == set(kwargs)
    assert revived(trigger).serialize() == trigger.serialize()


def test_a_node_that_is_there_fires_at_once(graph: Any) -> None:
    """The event has the Ref of the node."""
    ref = graph.write(stages.register_project("wine"))
    payload = fired(ConditionTrigger("node", {"kind": "Project", "reference": "wine"}, poke_interval=FAST))
    assert payload == {"found": {**ref, "created": False}}


def test_a_node_that_comes_later_fires_then(graph: Any) -> None:
    """The trigger waits for what a search finds, and for a name."""
    arguments = {"kind": "Dataset", "where": {"rows": {">": 5}}}
    graph.write(stages.register_dataset("small", rows=1))
    change = lambda: graph.write(stages.register_dataset("large", rows=9))  # noqa: E731
    assert fired(ConditionTrigger("node", arguments, poke_interval=FAST), change)["found"]["name"] == "large"


def shifted(at: str, **by: float) -> str:
    return moment(datetime.fromisoformat(at) + timedelta(**by), "at")


def test_a_change_is_waited_for(graph: Any) -> None:
    """With `since` a node counts that was registered or revised after it, and neither an older nor an archived one."""
    graph.write(stages.register_project("wine", owner="ann"))
    since = shifted(graph.get("wine", "Project")["created"], milliseconds=1)
    arguments = {"kind": "Project", "reference": "wine", "since": since}
    assert triggers.ask(graph, "node", arguments) is None
    change = lambda: graph.annotate("wine", "Project", owner="bob")  # noqa: E731
    assert fired(ConditionTrigger("node", arguments, poke_interval=FAST), change)["found"]["name"] == "wine"
    [archived] = graph.archive("wine", "Project")["nodes"]
    for reference in ("wine", archived["_id"]):
        assert triggers.ask(graph, "node", {"kind": "Project", "reference": reference}) is None


def deployed(graph: Any) -> Any:
    graph.write(stages.register_project("wine"))
    graph.write(stages.register_model("forest", project="wine"))
    return graph.write(stages.register_deployment("wine-1", project="wine", model="forest", status="scheduled"))


def test_the_status_of_a_deployment(graph: Any) -> None:
    """A promotion fires; a status that was excluded ends the wait with an error."""
    ref = deployed(graph)
    arguments = {"deployment": ref, "status": ["active"], "unless": ["archived"]}
    trigger = ConditionTrigger("deployment_status", arguments, poke_interval=FAST)
    payload = fired(trigger, lambda: graph.promote(ref))
    assert (payload["found"]["status"], payload["found"]["_id"]) == ("active", ref["_id"])
    graph.retire(ref)
    payload = fired(trigger)
    assert (payload["error"], ref["_id"] in payload["message"]) == ("Conflict", True)


def served(graph: Any, ref: Any, day: int, **metrics: Any) -> None:
    period = {"period_start": f"2026-05-{day:02}", "period_end": f"2026-05-{day + 1:02}"}
    graph.write(stages.log_serving_perf(ref, metrics=metrics, **period))


@pytest.mark.parametrize("metric", ["accuracy", "by_class.red", "p.95"])
def test_the_newest_period_decides(graph: Any, metric: str) -> None:
    """A period that is worse fires, when it is the newest one with the metric; an older one does not."""
    ref = deployed(graph)
    value = (lambda number: {"by_class": {"red": number}}) if metric == "by_class.red" else lambda n: {metric: n}
    served(graph, ref, 1, **value(0.5))
    served(graph, ref, 2, **value(0.95))
    arguments = {"deployment": "wine-1", "metric": metric, "comparison": "<", "threshold": 0.9}
    assert triggers.ask(graph, "serving_performance", arguments) is None
    assert triggers.ask(graph, "serving_performance", {**arguments, "comparison": ">="})["value"] == 0.95
    trigger = ConditionTrigger("serving_performance", arguments, poke_interval=FAST)
    payload = fired(trigger, lambda: (served(graph, ref, 3, **value(0.8)), served(graph, ref, 4, other=1)))
    assert (payload["found"]["value"], payload["found"]["period_start"]) == (0.8, "2026-05-03T00:00:00.000Z")
    assert triggers.ask(graph, "serving_performance", {**arguments, "since": "2026-05-04T00:00:00.000Z"}) is None


@pytest.mark.parametrize(
    ("comparison", "met"),
    [
        ("<", [True, False, False]),
        ("<=", [True, True, False]),
        ("==", [False, True, False]),
        (">", [False, False, True]),
        (">=", [False, True, True]),
    ],
)
def test_a_threshold_is_reached_or_not(graph: Any, comparison: str, met: list[bool]) -> None:
    """Below, at and above the threshold each comparison is what its sign says."""
    deployed(graph)
    period = {"period_start": "2026-05-01", "period_end": "2026-05-02"}
    found = []
    for value in (0.8, 0.9, 0.95):
        graph.write(stages.log_serving_perf("wine-1", metrics={"accuracy": value}, **period), on_conflict="revise")
        asked = {"deployment": "wine-1", "metric": "accuracy", "comparison": comparison, "threshold": 0.9}
        found.append(triggers.ask(graph, "serving_performance", asked) is not None)
    assert found == met


def test_a_text_is_below_no_threshold(graph: Any) -> None:
    """A metric that is no number meets no condition, and breaks none."""
    ref = deployed(graph)
    served(graph, ref, 1, grade="A")
    arguments = {"deployment": ref, "metric": "grade", "comparison": "<", "threshold": 1}
    assert triggers.ask(graph, "serving_performance", arguments) is None


def test_each_poke_is_one_request(graph: Any, requests_of: Any) -> None:
    """Waiting costs one small request a time, whatever it is for."""
    ref = deployed(graph)
    requests = requests_of(graph.db)
    performance = {"deployment": ref, "metric": "accuracy", "comparison": "<", "threshold": 0.9}
    for condition, arguments in (
        ("node", {"kind": "Model", "reference": "nowhere"}),
        ("node", {"kind": "Model", "where": {"task": "none"}}),
        ("deployment_status", {"deployment": ref, "status": ["active"], "unless": []}),
        ("serving_performance", performance),
    ):
        assert triggers.ask(graph, condition, arguments) is None
    assert len(requests) == 4
    triggers._newest(graph, "Model")
    assert len(requests) == 5


def test_an_error_that_lasts_ends_the_wait(empty_db: Any, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph that is not provisioned, and a search that is none, are errors and no reason to wait."""
    monkeypatch.setenv("ARANGOPIPE_URL", url)
    payload = fired(ConditionTrigger("node", {"kind": "Model", "reference": "forest"}))
    assert payload["error"] == "NotProvisioned"
    payload = fired(ConditionTrigger("node", {"kind": "Model", "where": {"a": {"~": 1}}}))
    assert (payload["error"], "'~' is not one of the operators" in payload["message"]) == ("Invalid", True)


def test_a_database_that_is_away_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage makes the trigger wait, and the event comes once the database is back."""
    with Outage(tmp_path / "away.db") as outage:
        monkeypatch.setenv("AIRFLOW_CONN_ARANGOPIPE_DEFAULT", outage.connection)
        outage.store.write(stages.register_project("wine"))
        trigger = ConditionTrigger("node", {"kind": "Project", "reference": "wine"}, poke_interval=FAST)

        def end() -> None:
            time.sleep(0.5)
            outage.end()

        assert fired(trigger, end)["found"]["name"] == "wine"


def test_the_event_loop_is_not_blocked(graph: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the database takes its time, other triggers run."""
    monkeypatch.setattr(triggers, "ask", lambda *arguments: time.sleep(0.6) or {"kind": "Model"})

    async def ticks() -> int:
        events = ConditionTrigger("node", {"kind": "Model"}).run()
        first, count = asyncio.ensure_future(anext(events)), 0
        while not first.done():
            await asyncio.sleep(0.01)
            count += 1
        return count

    assert asyncio.run(ticks()) > 20


# --- watchers --------------------------------------------------------------------------------------------


class Watch:
    """A triggerer's life: watchers that share their streams by key, from start to stop."""

    def __init__(self, *watchers: NewNodeTrigger, states: list[Any] | None = None) -> None:
        self.watchers = [revived(each) for each in watchers]
        for each, state in zip(self.watchers, states or [], strict=False):
            each.asset_state_store = state
        self.events: list[list[str]] = [[] for _ in self.watchers]
        self.polls: dict[Any, int] = {}

    async def __aenter__(self) -> "Watch":
        keys: dict[Any, list[asyncio.Queue[Any]]] = {}
        self.tasks = []
        for i, each in enumerate(self.watchers):
            queue: asyncio.Queue[Any] = asyncio.Queue()
            keys.setdefault(each.shared_stream_key(), []).append(queue)
            self.tasks.append(asyncio.ensure_future(self.consume(i, each, queue)))
        for key, queues in keys.items():
            first = next(each for each in self.watchers if each.shared_stream_key() == key)
            self.tasks.append(asyncio.ensure_future(self.produce(first, queues)))
        self.streams = len(keys)
        await asyncio.sleep(10 * FAST)
        return self

    async def produce(self, trigger: Any, queues: list[Any]) -> None:
        async for raw in trigger.open_shared_stream(trigger.serialize()[1]):
            for queue in queues:
                queue.put_nowait(raw)

    async def consume(self, i: int, trigger: Any, queue: Any) -> None:
        async def stream() -> AsyncIterator[Any]:
            while True:
                yield await queue.get()

        async for event in trigger.filter_shared_stream(stream()):
            self.events[i].append(event.payload["name"])

    async def __aexit__(self, *exception: Any) -> None:
        await asyncio.sleep(12 * FAST)
        for task in self.tasks:
            assert not task.done(), task
            task.cancel()


def watched(*watchers: NewNodeTrigger, states: list[Any], change: Callable[[], Any] = lambda: None) -> Any:
    async def live() -> Any:
        async with Watch(*watchers, states=states) as watch:
            await asyncio.to_thread(change)
        return watch.events

    return asyncio.run(live())


def model(graph: Any, name: str, **attributes: Any) -> Any:
    return graph.write(stages.register_model(name, project="wine", **attributes))


def test_a_watcher_fires_for_each_new_node(graph: Any) -> None:
    """What is there already does not fire; what comes and meets `where` fires once, with its Ref."""
    graph.write(stages.register_project("wine"))
    model(graph, "old", task="grading")
    watcher = NewNodeTrigger("Model", {"task": "grading"}, poke_interval=FAST)

    def change() -> None:
        for name in ("a", "b"):
            model(graph, name, task="grading")
        model(graph, "other", task="pricing")

    assert watched(watcher, states=[State()], change=change) == [["a", "b"]]


@pytest.mark.slow
def test_nothing_is_missed_or_told_twice_across_restarts(graph: Any) -> None:
    """What came while no triggerer ran fires at its next start, what fired before does not, however often it starts."""
    graph.write(stages.register_project("wine"))
    watcher, state = NewNodeTrigger("Model", poke_interval=FAST), State()
    assert watched(watcher, states=[state], change=lambda: model(graph, "first")) == [["first"]]
    model(graph, "between")
    assert watched(watcher, states=[state]) == [["between"]]
    assert watched(watcher, states=[state]) == [[]]
    assert watched(watcher, states=[state], change=lambda: model(graph, "last")) == [["last"]]


def test_a_write_that_becomes_visible_late_is_not_missed(graph: Any) -> None:
    """A node whose time is before that of one that was told already, as of a slow transaction, still fires."""
    graph.write(stages.register_project("wine"))
    model(graph, "told")
    created = graph.get("told", "Model")["created"]
    place = triggers._Place(None)
    place.look(graph, "Model", {})
    late = model(graph, "late")
    graph.db.collection("models").update({"_key": late["_key"], "created": shifted(created, seconds=-20)})
    place = triggers._Place(place.plain())
    assert [ref["name"] for ref in place.look(graph, "Model", {})] == ["late"]
    assert place.look(graph, "Model", {}) == []


def test_a_burst_is_told_whole_and_once(graph: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """More nodes than a page holds, all of one time, are all told; what is kept stays small once time passes."""
    monkeypatch.setattr(triggers, "PAGE", 7)
    graph.write(stages.register_project("wine"))
    place = triggers._Place(None)
    assert place.look(graph, "Dataset", {}) == []
    graph.write_many([stages.register_dataset(f"d{i}") for i in range(50)])
    assert len({ref["_id"] for ref in place.look(graph, "Dataset", {})}) == 50
    assert place.look(graph, "Dataset", {}) == []
    monkeypatch.setattr(triggers, "OVERLAP", -0.001)
    graph.write(stages.register_dataset("last"))
    place.look(graph, "Dataset", {})
    assert len(place.plain()["told"]) <= 1


def test_watchers_of_a_kind_share_one_poll(graph: Any) -> None:
    """Watchers of the same connection, kind and interval have one stream; each gets what its own `where` means."""
    graph.write(stages.register_project("wine"))
    tasks = [f"task{i}" for i in range(5)]
    watchers = [NewNodeTrigger("Model", {"task": task}, poke_interval=FAST) for task in tasks]
    other = NewNodeTrigger("Dataset", poke_interval=FAST)
    assert len({each.shared_stream_key() for each in watchers}) == 1
    assert other.shared_stream_key() != watchers[0].shared_stream_key()
    assert len({each._key for each in [*watchers, other]}) == 6

    def change() -> None:
        model(graph, "m3", task="task3")
        graph.write(stages.register_dataset("bottles"))

    events = watched(*watchers, other, states=[State() for _ in range(6)], change=change)
    assert events == [[], [], [], ["m3"], [], ["bottles"]]


def test_idle_watchers_ask_nothing_of_their_own(graph: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is new, ten watchers cost the requests of one."""
    asked: list[str] = []
    search = type(graph).search

    def counted(self: Any, kind: str, *arguments: Any, **named: Any) -> Any:
        asked.append("poll" if named.get("limit") == 1 and named.get("count", True) else "look")
        return search(self, kind, *arguments, **named)

    monkeypatch.setattr(type(graph), "search", counted)
    watchers = [NewNodeTrigger("Model", {"task": str(i)}, poke_interval=FAST) for i in range(10)]

    async def live() -> tuple[int, int]:
        async with Watch(*watchers, states=[State() for _ in watchers]):
            await asyncio.sleep(10 * FAST)
            looks, polls = asked.count("look"), asked.count("poll")
            await asyncio.sleep(20 * FAST)
            return asked.count("look") - looks, asked.count("poll") - polls

    looks, polls = asyncio.run(live())
    assert looks == 0
    assert 3 <= polls <= 25


def test_a_watcher_outlives_an_outage(graph: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watcher has no task that could fail: it says what is wrong and goes on when the cure is there."""
    graph.write(stages.register_project("wine"))
    search, locked = type(graph).search, [False]

    def guarded(self: Any, *arguments: Any, **named: Any) -> Any:
        if locked[0]:
            raise Unauthorized("who are you")
        return search(self, *arguments, **named)

    monkeypatch.setattr(type(graph), "search", guarded)

    async def live() -> Any:
        async with Watch(NewNodeTrigger("Model", poke_interval=FAST), states=[State()]) as watch:
            locked[0] = True
            await asyncio.sleep(4 * FAST)
            await asyncio.to_thread(model, graph, "meanwhile")
            locked[0] = False
            await asyncio.sleep(20 * FAST)
        return watch.events

    assert asyncio.run(live()) == [["meanwhile"]]


def test_a_named_asset_keeps_its_own_place(graph: Any) -> None:
    """Where several assets have equal watchers, each trigger names its asset and uses that one's state."""
    from airflow.sdk import Asset
    from airflow.sdk.execution_time.context import AssetStateStoreAccessors

    state = AssetStateStoreAccessors(inlets=[Asset("one"), Asset("two")])
    trigger = NewNodeTrigger("Model", asset="two")
    trigger.asset_state_store = state
    assert trigger._state == state[Asset("two")]


@pytest.mark.slow
def test_importing_the_triggers_loads_no_driver() -> None:
    """Defining a watcher in a DAG costs no driver."""
    modules = "arangopipe_ops.airflow.triggers, arangopipe_ops.airflow.sensors, arangopipe_ops.airflow.assets"
    program = f"import sys, {modules}; print('arango' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
