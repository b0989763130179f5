"""The periods of which nothing is known, though a deployment served in them."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypedDict

from arangopipe_ops.analytics.coverage import STATUSES, Chosen, covered, serving_deployments
from arangopipe_ops.integrations.source import Period
from arangopipe_ops.model import moment
from arangopipe_ops.serving.collection import CELLS, Monitored, told_start
from arangopipe_ops.store import Store


class Gap(TypedDict):
    """Periods that follow each other of which a source (None: any) told nothing of a deployment, or not all."""

    deployment: str
    source: str | None
    period_start: str
    period_end: str
    periods: int


def gaps(
    store: Store,
    periods: Iterable[Period],
    *,
    deployments: Chosen = None,
    sources: Sequence[str] = (),
    statuses: Sequence[str] = STATUSES,
    partly: bool = False,
) -> Iterator[Gap]:
    """Yield the gaps in what is known of periods, which are in the order of time: by deployment as far as they end.

    With `sources` each of them is expected to tell of every deployment, else any of them will do. A deployment serves
    from its attribute `start`, or else from when it was registered or from its oldest figures, until it ended. Figures
    that lack metrics are a gap, unless `partly`. Raises Invalid, NotFound.
    """
    following = iter(periods)
    chunk = list(islice(following, 1))
    if not chunk:
        return
    since = moment(chunk[0].start, "period")
    found = serving_deployments(store, since, deployments, statuses=statuses, first=True)
    served = [
        Monitored(
            each["key"],
            each["tag"],
            each["name"],
            told_start(each["start"]) or min(filter(None, (each["created"], each["first"])), default=None),
            each["ended"],
        )
        for each in found
    ]
    size = max(1, CELLS // max(1, len(served)))
    chunk += islice(following, size - 1)
    open_: dict[tuple[str, str | None], Gap] = {}
    while chunk and served:
        for source in sources or (None,):
            yield from _in_chunk(store, chunk, served, source, open_, partly)
        chunk = list(islice(following, size))
    yield from sorted(open_.values(), key=lambda gap: (gap["deployment"], gap["source"] or ""))


def _in_chunk(
    store: Store,
    chunk: Sequence[Period],
    served: Sequence[Monitored],
    source: str | None,
    open_: dict[tuple[str, str | None], Gap],
    partly: bool,
) -> Iterator[Gap]:
    """Go on with the gaps that are open, and yield those that end."""
    times = [(period, moment(period.start, "period"), moment(period.end, "period")) for period in chunk]
    keys = [each.key for each in served]
    stored = covered(store, keys, times[0][1], times[-1][2], source, partly=partly)
    for each in served:
        place = (each.tag, source)
        for period, start, end in times:
            lacking = each.serves_in(period) and (each.key, start, end) not in stored
            gap = open_.get(place)
            if gap is not None and (not lacking or gap["period_end"] != start):
                yield open_.pop(place)
                gap = None
            if gap is not None:
                gap["period_end"] = end
                gap["periods"] += 1
            elif lacking:
                open_[place] = Gap(deployment=each.tag, source=source, period_start=start, period_end=end, periods=1)
