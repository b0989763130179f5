"""Collecting serving performance: one node for each deployment, period and source, whatever happens on the way."""

import math
import multiprocessing
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice, product
from pathlib import Path
from typing import Any

import pytest

from arangopipe_ops import stages
from arangopipe_ops.admin import provision
from arangopipe_ops.connection import connect
from arangopipe_ops.errors import Invalid, Misconfigured, NotFound, Unavailable
from arangopipe_ops.serving import Fault, Period, Row, Source, collect, gaps, periods
from arangopipe_ops.serving.sources import Source as ConfiguredSource
from arangopipe_ops.store import Store

DAYS = list(periods("2026-01-01", "2026-01-11", "1d"))


def register(store: Store, count: int, **attributes: Any) -> list[str]:
    """Register active deployments, each of a project of its own, and return their tags."""
    tags = [f"d{i:05}" for i in range(count)]
    store.write_many(
        [
            stages.register_project("p"),
            stages.register_model("m", project="p"),
            *(stages.register_deployment(tag, project="p", model="m", environment=tag, **attributes) for tag in tags),
        ]
    )
    return tags


@pytest.fixture
def tags(store: Store) -> list[str]:
    return register(store, 3)


def figure(deployment: str, period: Period) -> float:
    """What a deployment's metric is in a period, in these tests."""
    return random.Random(f"{deployment} {period}").random()


def told(periods: Sequence[Period], deployments: Sequence[str], **options: Any) -> Iterator[Row]:
    for period in periods:
        for deployment in deployments:
            yield Row(deployment, period, {"x": figure(deployment, period)})


def source(call: Callable[..., Any] = told, name: str = "tests", **more: Any) -> Source:
    return Source("python", name, {"call": call}, **more)


def stored(store: Store) -> dict[tuple[str, str, str], dict[str, Any]]:
    """All figures by deployment's tag, start of the period and source; one that is there twice fails the test."""
    tags = {each["_key"]: each["tag"] for each in store.db.collection("deployment").all()}
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for node in store.db.collection("servingperf").all():
        place = (tags[node["deployment"]], node["period_start"], node["source"])
        assert place not in found
        found[place] = node
    linked = [edge["_to"] for edge in store.db.collection("deployment_servingperf").all()]
    assert sorted(linked) == sorted(node["_id"] for node in found.values())
    return found


def values(store: Store) -> dict[tuple[str, str, str], Any]:
    return {place: node.get("x") for place, node in stored(store).items()}


def expected(tags: Sequence[str], days: Sequence[Period], source: str = "tests") -> dict[tuple[str, str, str], Any]:
    return {(tag, f"{day.start:%Y-%m-%dT%H:%M:%S}.000Z", source): figure(tag, day) for tag in tags for day in days}


def test_every_deployment_and_period_gets_a_node(store: Store, tags: list[str]) -> None:
    """The nodes are those of all deployments and periods, with the figures of the source."""
    report = collect(store, DAYS, [source()])
    assert values(store) == expected(tags, DAYS)
    assert report == {
        "periods": 10,
        "deployments": 3,
        "created": 30,
        "revised": 0,
        "same": 0,
        "known": 0,
        "faults": [],
        "alerts": [],
    }


def test_again_changes_nothing(store: Store, tags: list[str], requests_of: Any) -> None:
    """Collecting what is stored changes nothing and leaves no trace in the audit; other figures revise it."""
    collect(store, DAYS, [source()])
    audited = store.db.collection("audit").count()
    report = collect(store, DAYS, [source()])
    assert (report["created"], report["revised"], report["same"]) == (0, 0, 30)
    assert store.db.collection("audit").count() == audited

    def later(periods: Sequence[Period], deployments: Sequence[str]) -> Iterator[Row]:
        yield from (Row(row.deployment, row.period, {"x": 7 if row.period == DAYS[3] else row.metrics["x"]})
                    for row in told(periods, deployments))  # fmt: skip

    report = collect(store, DAYS, [source(later)])
    assert (report["created"], report["revised"], report["same"]) == (0, 3, 27)
    assert [node["x"] for place, node in stored(store).items() if "2026-01-04" in place[1]] == [7, 7, 7]


def test_kept_figures_are_not_revised(store: Store, tags: list[str]) -> None:
    """With `keep` what is stored stays."""
    collect(store, DAYS, [source()])
    collect(store, DAYS, [source(lambda periods, names: (Row(n, p, {"x": 1}) for n in names for p in periods))],
            on_conflict="keep")  # fmt: skip
    assert values(store) == expected(tags, DAYS)


@pytest.mark.parametrize(("days", "batch"), [(1, 1000), (10, 7), (10, 30)])
def test_requests_are_those_of_the_batches(
    store: Store, tags: list[str], requests_of: Any, days: int, batch: int
) -> None:
    """One request finds the deployments, and each batch of nodes is one more."""
    requests = requests_of(store.db)
    collect(store, DAYS[:days], [source()], batch=batch)
    assert len(requests) == 1 + math.ceil(len(tags) * days / batch)


def test_a_failing_source_loses_nothing_of_the_others(store: Store, tags: list[str]) -> None:
    """A source that fails is a fault about all deployments; what it told before and what others tell is stored."""

    def dies(periods: Sequence[Period], deployments: Sequence[str]) -> Iterator[Row]:
        yield Row(deployments[0], periods[0], {"x": 1})
        raise ConnectionError("the line is dead")

    report = collect(store, DAYS[:2], [source(dies, "dead"), source()])
    assert values(store) == expected(tags, DAYS[:2]) | {(tags[0], "2026-01-01T00:00:00.000Z", "dead"): 1}
    assert report["faults"] == [
        {
            "deployment": None,
            "source": "dead",
            "message": "ConnectionError: the line is dead",
            "period_start": "2026-01-01T00:00:00.000Z",
            "period_end": "2026-01-03T00:00:00.000Z",
            "periods": 2,
            "lasting": False,
        }
    ]


def test_why_a_metric_is_lacking_is_said_once(store: Store, tags: list[str]) -> None:
    """Where a source says why a metric is lacking everywhere, that is one fault, and not one more per deployment."""

    def lacks(periods: Sequence[Period], deployments: Sequence[str]) -> Iterator[Row | Fault]:
        yield from (Fault("y: parse error", period=period) for period in periods)
        yield from (row._replace(missing=["y"]) for row in told(periods, deployments))

    report = collect(store, DAYS, [source(lacks)])
    assert [(fault["deployment"], fault["message"], fault["periods"]) for fault in report["faults"]] == [
        (None, "y: parse error", 10)
    ]
    assert {tuple(node["missing"]) for node in stored(store).values()} == {("y",)}


def test_a_source_that_keeps_failing_is_left_alone(store: Store, tags: list[str], monkeypatch: Any) -> None:
    """After three failures in a row a source is not asked again, so that time-outs do not add up; the others are."""
    monkeypatch.setattr("arangopipe_ops.serving.collection.CELLS", 3)
    asked = []

    def dies(periods: Sequence[Period], deployments: Sequence[str]) -> Iterator[Row]:
        asked.append(periods)
        raise Unavailable("nobody is there")
        yield

    report = collect(store, DAYS, [source(dies, "dead"), source()])
    assert len(asked) == 3
    assert [(fault["message"], fault["periods"]) for fault in report["faults"]] == [
        ("it failed 3 times in a row and was not asked again", 7),
        ("nobody is there", 3),
    ]
    assert values(store) == expected(tags, DAYS)


def test_the_retry_asks_only_for_what_is_missing(store: Store, tags: list[str]) -> None:
    """With `only_missing` a source is asked for deployments and periods that are not stored, and for no others."""

    def partly(periods: Sequence[Period], deployments: Sequence[str]) -> Iterator[Row | Fault]:
        for row in told(periods, deployments):
            if row.deployment != tags[1] or row.period.start.day < 8:
                yield row
        yield Fault("no access", tags[1], DAYS[8])

    report = collect(store, DAYS, [source(partly)])
    assert [(fault["deployment"], fault["message"], fault["periods"]) for fault in report["faults"]] == [
        (tags[1], "no access", 1),
        (tags[1], "there are no figures", 2),
    ]
    asked = []

    def recorded(periods: Sequence[Period], deployments: Sequence[str]) -> Iterator[Row]:
        asked.append((list(periods), list(deployments)))
        return told(periods, deployments)

    report = collect(store, DAYS, [source(recorded)], only_missing=True)
    assert asked == [(DAYS[7:], [tags[1]])]
    assert (report["created"], report["known"]) == (3, 27)
    assert values(store) == expected(tags, DAYS)
    collect(store, DAYS, [source(recorded)], only_missing=True)
    assert len(asked) == 1


def test_metrics_that_are_lacking_are_asked_for_again(store: Store, tags: list[str]) -> None:
    """Figures without some of their metrics say so, are collected again, and lose nothing by that."""

    def given(**metrics: Any) -> Any:
        return lambda periods, names: (
            Row(name, period, {key: v for key, v in metrics.items() if v is not None},
                [key for key, v in metrics.items() if v is None])
            for name in names for period in periods
        )  # fmt: skip

    collect(store, DAYS[:1], [source(given(x=1, y=None, z=math.nan))])
    assert [(node["x"], node.get("y"), node["missing"]) for node in stored(store).values()] == [
        (1, None, ["y", "z"])
    ] * 3
    report = collect(store, DAYS[:1], [source(given(x=None, y=2, z=None))], only_missing=True)
    assert (report["known"], report["revised"]) == (0, 3)
    assert [(node["x"], node["y"], node["missing"]) for node in stored(store).values()] == [(1, 2, ["z"])] * 3
    collect(store, DAYS[:1], [source(given(x=5, y=6, z=7))], only_missing=True)
    assert [(node["x"], node["y"], node["z"], node.get("missing")) for node in stored(store).values()] == [
        (5, 6, 7, None)
    ] * 3


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_no_figure(store: Store, tags: list[str], odd: float) -> None:
    """NaN and infinity are left out and said, and the other metrics of the row are stored."""
    rows = [Row(tags[0], DAYS[0], {"x": odd, "y": 1}), Row(tags[1], DAYS[0], {"x": odd})]
    report = collect(store, DAYS[:1], [source(lambda *_: rows)], deployments=tags[:2])
    [node] = stored(store).values()
    assert ("x" in node, node["y"], node["missing"]) == (False, 1, ["x"])
    assert [(fault["deployment"], fault["message"]) for fault in report["faults"]] == [
        (tag, f"x is {odd}") for tag in tags[:2]
    ]


def test_two_answers_to_one_question_are_none(store: Store, tags: list[str]) -> None:
    """Two different rows for a deployment and period are a fault and no figures; the same row twice is one."""

    def twice(periods: Sequence[Period], deployments: Sequence[str]) -> Iterator[Row]:
        yield from told(periods, deployments)
        yield from told(periods, deployments)
        yield Row(tags[1], DAYS[0], {"x": 9})

    report = collect(store, DAYS[:1], [source(twice)])
    assert values(store) == expected([tags[0], tags[2]], DAYS[:1])
    assert [(fault["deployment"], fault["message"]) for fault in report["faults"]] == [
        (tags[1], "there are two rows, with different figures")
    ]


@pytest.mark.parametrize("metrics", [{"source": "x"}, {"_key": 1}, {"x": object()}, {"x": [math.nan]}, {"created": 1}])
def test_a_row_that_cannot_be_stored_is_a_fault(store: Store, tags: list[str], metrics: Any) -> None:
    """A row with a value or name that the graph does not take is a fault, and the other rows are stored."""

    def odd(periods: Sequence[Period], deployments: Sequence[str]) -> Iterator[Row]:
        for row in told(periods, deployments):
            yield row._replace(metrics=metrics) if row.deployment == tags[1] else row

    report = collect(store, DAYS, [source(odd)])
    assert values(store) == expected([tags[0], tags[2]], DAYS)
    [fault] = report["faults"]
    assert (fault["deployment"], fault["periods"]) == (tags[1], 10)


def test_secrets_stay_out_of_the_report(store: Store, tags: list[str]) -> None:
    """A message that has a password or token of the source in it is masked."""

    def leaks(*_: Any, **options: Any) -> Any:
        raise RuntimeError(f"cannot open postgresql://ann:{options['password']}@db/x with {options['headers']}")

    options = {"call": leaks, "password": "hunter22", "headers": {"X-Key": "abcdef"}}
    report = collect(store, DAYS[:1], [Source("python", "leaky", options)])
    [fault] = report["faults"]
    assert fault["message"] == "RuntimeError: cannot open postgresql://***@db/x with {'X-Key': '***'}"


def test_which_deployments(store: Store) -> None:
    """Active ones, and archived ones until they ended; others by status, tag or condition."""
    tags = register(store, 4)
    store.write(stages.register_deployment("later", project="p", model="m", status="scheduled", team="x"))
    store.retire(tags[0])
    today = next(iter(periods("2026-01-01", "2026-01-02", "1d")))

    def chosen(days: Any = DAYS[:1], **options: Any) -> list[str]:
        seen: list[str] = []

        def sees(_: Any, names: Sequence[str]) -> list[Row]:
            seen.extend(names)
            return []

        collect(store, days, [source(sees)], **options)
        return seen

    assert chosen() == tags
    future = list(periods("2999-01-01", "2999-01-02", "1d"))
    assert chosen(future) == tags[1:]
    assert chosen(statuses=["active", "scheduled"]) == [*tags[1:], "later"]
    assert chosen(deployments=["later", tags[2]]) == [tags[2], "later"]
    assert chosen(deployments={"team": "x"}, statuses=["scheduled"]) == ["later"]
    with pytest.raises(NotFound, match="nobody"):
        chosen(deployments=["nobody"])
    with pytest.raises(Invalid, match="'later' is not a list"):
        chosen(deployments="later")
    assert today == DAYS[0]


def test_a_source_knows_deployments_by_its_own_names(store: Store) -> None:
    """`by` is the attribute that has the name in the source; those without it, or outside `where`, are left out."""
    register(store, 1)
    for i in range(3):
        store.write(
            stages.register_deployment(
                f"e{i}", project="p", model="m", environment=f"e{i}", monitoring={"service": f"svc-{i % 2}"}, team=i
            )
        )
    asked = []

    def recorded(days: Sequence[Period], names: Sequence[str]) -> Iterator[Row]:
        asked.append(list(names))
        return told(days, names)

    collect(store, DAYS[:1], [source(recorded, by="monitoring.service", where={"team": {"<": 3}})])
    assert asked == [["svc-0", "svc-1"]]
    assert {place[0]: value for place, value in values(store).items()} == {
        f"e{i}": figure(f"svc-{i % 2}", DAYS[0]) for i in range(3)
    }


def test_a_deployment_serves_from_its_start_to_its_end(store: Store) -> None:
    """Periods before a deployment's `start`, and after it ended, are not asked for."""
    register(store, 1, start="2026-01-05")
    store.retire("d00000")
    node = store.get("d00000", "Deployment")
    store.db.collection("deployment").update({"_key": node["_key"], "ended": "2026-01-08T00:00:00.000Z"})
    collect(store, DAYS, [source()])
    assert values(store) == expected(["d00000"], DAYS[4:7])


def test_a_deployment_deleted_meanwhile_loses_nothing_of_others(store: Store, tags: list[str]) -> None:
    """A deployment that is deleted while its source is read is a fault, and the rest of its batch is written."""

    def deletes(periods: Sequence[Period], deployments: Sequence[str]) -> Iterator[Row]:
        store.retire(tags[1])
        store.delete(store.plan_deletion(tags[1], "Deployment"))
        return told(periods, deployments)

    report = collect(store, DAYS, [source(deletes)])
    assert values(store) == expected([tags[0], tags[2]], DAYS)
    [fault] = report["faults"]
    assert (fault["deployment"], fault["message"], fault["periods"]) == (
        tags[1],
        "the deployment was deleted meanwhile",
        10,
    )


def test_wrong_use_is_said_before_anything_is_read(store: Store, tags: list[str]) -> None:
    """Two sources of one name, periods out of order and an unknown policy are refused."""
    with pytest.raises(Invalid, match="two are called 'tests'"):
        collect(store, DAYS, [source(), source()])
    with pytest.raises(Invalid, match="in the order of time"):
        collect(store, [DAYS[1], DAYS[0]], [source()])
    with pytest.raises(Invalid, match="'fail' is not revise or keep"):
        collect(store, DAYS, [source()], on_conflict="fail")  # type: ignore[arg-type]


def test_an_unknown_type_names_those_there_are(store: Store, tags: list[str]) -> None:
    """A source of an unknown type is a fault that lists the types."""
    report = collect(store, DAYS[:1], [Source("prometeus")])
    assert report["faults"][0]["message"].endswith(
        "'prometeus' is not one of files, http, mlflow, prometheus, python, sql"
    )


class Killed(BaseException):
    """The end of a process: nobody catches it."""


@contextmanager
def killed_at(db: Any, request: int, *, answered: bool) -> Iterator[None]:
    """End what is done when that many requests are sent, before the database sees the last one or after."""
    client, left = db.conn._http, request
    send = client.send_request

    def count(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0 and not answered:
            raise Killed
        answer = send(*args, **kwargs)
        if left == 0:
            raise Killed
        return answer

    client.send_request = count
    try:
        with suppress(Killed):
            yield
    finally:
        client.send_request = send


def test_killed_at_any_request_and_run_again(store: Store) -> None:
    """Whichever request is its last, the next collection leaves one node each, and alerts that changed once each."""
    tags = register(store, 2, alerts=[{"metric": "x", "threshold": 0.5}])
    sources = [source(name="one"), source(name="two")]
    year = periods("2026-01-01", "2027-01-01", "1d")
    states = {tag: ["cleared"] for tag in tags}
    done: list[Period] = []
    for request, answered in product(range(1, 8), (False, True)):
        days = list(islice(year, 3))
        done += days
        with killed_at(store.db, request, answered=answered):
            collect(store, days, sources, batch=4)
            assert request > 6  # of two for the deployments, three of 12 nodes, one about alerts, and their own
        collect(store, days, sources, only_missing=bool(request % 2))
        for tag, several in states.items():
            now = "raised" if figure(tag, days[-1]) < 0.5 else "cleared"
            several += [now] * (now != several[-1])
    assert values(store) == expected(tags, done, "one") | expected(tags, done, "two")
    assert alerted(store) == {tag: several[1:] for tag, several in states.items()}


def alerted(store: Store) -> dict[str, list[str]]:
    """The states that the alert of each deployment had, by tag; a second alert of one fails the test."""
    alerts = store.search("Alert")["nodes"]
    found = {store.get(f"deployment/{alert['deployment']}")["tag"]: alert["_id"] for alert in alerts}
    assert len(found) == len(alerts)
    several = {tag: reversed(store.history(id)) for tag, id in found.items()}
    return {tag: [(event["document"] or {})["state"] for event in events] for tag, events in several.items()}


@pytest.mark.parametrize("seed", range(5))
def test_failures_at_any_point_lose_and_double_nothing(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Collections that are broken off at random points and started again end with exactly the expected nodes."""
    monkeypatch.setattr("arangopipe_ops.serving.collection.CELLS", 10)
    random_ = random.Random(seed)
    db = connect(f"embedded://{tmp_path}/graph.db")
    provision(db)
    store = Store(db)
    tags = register(store, 5)

    def dying(periods: Sequence[Period], deployments: Sequence[str]) -> Iterator[Row]:
        for row in told(periods, deployments):
            if random_.random() < 0.05:
                raise Killed
            yield row

    for _ in range(6):
        with suppress(Killed):
            collect(store, DAYS, [source(dying)], batch=random_.randrange(1, 20))
        progress = random_.choice([None, lambda done, _: (_ for _ in ()).throw(Killed)])
        missing = random_.random() < 0.5
        with suppress(Killed):
            collect(store, DAYS[: random_.randrange(10)], [source()], batch=3, progress=progress, only_missing=missing)
    collect(store, DAYS, [source()], only_missing=random_.random() < 0.5)
    assert values(store) == expected(tags, DAYS)
    assert list(gaps(store, DAYS)) == []


def collect_in(file: Path, seed: int = 0) -> None:
    """Collect all days, slowly enough to be killed, in batches that differ from one attempt to the next."""
    collect(Store(connect(f"embedded://{file}")), DAYS, [source()], batch=random.Random(seed).randrange(3, 30))


@pytest.mark.slow
def test_killed_processes_lose_and_double_nothing(tmp_path: Path) -> None:
    """Processes that are killed while they collect, and two that collect at once, leave exactly the expected nodes."""
    file = tmp_path / "graph.db"
    db = connect(f"embedded://{file}")
    provision(db)
    tags = register(Store(db), 40)
    spawn = multiprocessing.get_context("spawn")
    for seed in range(6):
        processes = [spawn.Process(target=collect_in, args=(file, 2 * seed + i)) for i in range(2)]
        for process in processes:
            process.start()
        threading.Event().wait(0.6 + 0.15 * seed)
        for process in processes:
            if process.is_alive():
                os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
    workers = [spawn.Process(target=collect_in, args=(file, 99 + i)) for i in range(2)]
    for process in workers:
        process.start()
    for process in workers:
        process.join(60)
        assert process.exitcode == 0
    assert values(Store(connect(f"embedded://{file}"))) == expected(tags, DAYS)


def test_two_collections_at_once_end_with_one_node_each(store: Store, url: str) -> None:
    """Two collections of the same periods at the same time write every node once, and raise every alert once."""
    tags = register(store, 3, alerts=[{"metric": "x", "threshold": 2}])
    gate = threading.Barrier(2)
    problems: list[BaseException] = []

    def together(periods: Sequence[Period], deployments: Sequence[str]) -> Iterator[Row]:
        gate.wait(10)
        return told(periods, deployments)

    def work() -> None:
        try:
            collect(Store(connect(url)), DAYS, [source(together)], batch=4)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert values(store) == expected(tags, DAYS)
    assert alerted(store) == {tag: ["raised"] for tag in tags}


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
def test_a_year_of_days_is_backfilled(store: Store, tags: list[str], zone: str) -> None:
    """A year of local days, those of 23 and 25 hours among them, is one node each, again and in parts."""
    year = list(periods("2026-01-01", "2027-01-01", "1d", zone))
    assert len(year) == 365
    assert sorted({day.length.total_seconds() / 3600 for day in year}) == [23, 24, 25]
    collect(store, year[100:200], [source()])
    collect(store, iter(year), [source()])
    assert values(store) == expected(tags, year)
    assert list(gaps(store, year, sources=["tests"])) == []


def test_gaps_are_the_periods_without_figures(store: Store, tags: list[str]) -> None:
    """Gaps are told by deployment and source as spans, and filled by collecting what is missing."""
    known = [DAYS[0], DAYS[3], DAYS[4], DAYS[9]]
    collect(store, known, [source()], deployments=tags[:2])
    collect(store, DAYS[9:], [source()], deployments=tags[2:])
    found = [(gap["deployment"], gap["period_start"][:10], gap["period_end"][:10], gap["periods"])
             for gap in gaps(store, DAYS)]  # fmt: skip
    assert sorted(found) == [
        (tag, start, end, n)
        for tag in tags[:2]
        for start, end, n in (("2026-01-02", "2026-01-04", 2), ("2026-01-06", "2026-01-10", 4))
    ]
    of_source = list(gaps(store, DAYS, sources=["tests", "other"]))
    assert {gap["source"] for gap in of_source} == {"tests", "other"}
    assert sum(gap["periods"] for gap in of_source if gap["source"] == "other") == 2 * 10 + 1
    collect(store, DAYS, [source()], only_missing=True)
    assert list(gaps(store, DAYS)) == []


def test_gaps_are_the_same_in_any_portions(store: Store, tags: list[str], monkeypatch: Any) -> None:
    """A gap that spans the portions in which periods are read is one, and figures that lack metrics are in it."""
    collect(store, [DAYS[0], DAYS[9]], [source()])
    collect(store, [DAYS[4]], [source(lambda p, n: (Row(x, p[0], {"x": 1}, ["y"]) for x in n))])
    whole = sorted(gaps(store, iter(DAYS)), key=str)
    assert [gap["periods"] for gap in whole] == [8, 8, 8]
    assert sum(gap["periods"] for gap in gaps(store, DAYS, partly=True)) == 3 * 7
    monkeypatch.setattr(sys.modules["arangopipe_ops.serving.gaps"], "CELLS", 4)
    assert sorted(gaps(store, iter(DAYS)), key=str) == whole


def test_a_source_is_plain_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source is read from plain data, with secrets from the environment, and shows no options."""
    data = {
        "type": "prometheus",
        "url": "http://x",
        "token": {"env": "TOKEN"},
        "by": "monitoring.job",
        "metrics": {"x": "y"},
    }
    found = ConfiguredSource.from_json(data, {"TOKEN": "s3cret"})
    assert (found.name, found.by) == ("prometheus", "monitoring.job")
    assert found.options == {"url": "http://x", "token": "s3cret", "metrics": {"x": "y"}}
    assert "s3cret" not in repr(found)
    with pytest.raises(Misconfigured, match="TOKEN is not set"):
        ConfiguredSource.from_json(data, {})
    with pytest.raises(Invalid, match="has no type"):
        ConfiguredSource.from_json({"url": "x"})
