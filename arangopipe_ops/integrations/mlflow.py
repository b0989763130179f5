"""Serving performance from MLflow: the metrics of runs that evaluated a deployment, by its REST API."""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from arangopipe_ops.errors import Invalid
from arangopipe_ops.integrations.fetching import Fetcher
from arangopipe_ops.integrations.source import Calendar, Damaged, Fault, Period, Row, instant

_PAGE = 1000


def read(
    periods: Sequence[Period],
    deployments: Sequence[str],
    *,
    url: str,
    experiments: Sequence[str] | None = None,
    tag: str = "deployment",
    period_tag: str | None = None,
    metrics: Sequence[str] | None = None,
    filter: str = "",
    **access: Any,
) -> Iterator[Row | Fault]:
    """Yield the metrics of finished runs: the deployment is the run's `tag`, the period the one in which it started.

    Where runs evaluate a period after it has passed, `period_tag` is the tag that holds a time in it, such as its
    start; then the runs of all time are searched, so bound them by `filter`, in MLflow's syntax; one that is no time is
    a fault of its deployment. Of several runs for a deployment and period the one that started last counts; of a metric
    that was logged several times the last value. `experiments` are names, all if left out; `metrics` names those that
    there should be, all if left out.
    `access`: user and password or token, headers, verify, timeout, attempts, deadline (`Fetcher`). Raises Invalid,
    Unavailable.
    """
    api = _Api(Fetcher(**access), url.rstrip("/"))
    window = [] if period_tag else [f"attributes.start_time >= {_milliseconds(periods[0].start)}"]
    window += [] if period_tag else [f"attributes.start_time < {_milliseconds(periods[-1].end)}"]
    conditions = ["attributes.status = 'FINISHED'", *window, *([filter] if filter else [])]
    calendar, wanted = Calendar(periods), set(deployments)
    newest: dict[tuple[str, Period], tuple[int, dict[str, float]]] = {}
    damaged: dict[str, Fault] = {}
    for started, tags, values in api.runs(api.experiments(experiments), " and ".join(conditions)):
        deployment = tags.get(tag, "")
        if deployment not in wanted:
            continue
        try:
            at = _period_of(tags, period_tag) if period_tag else datetime.fromtimestamp(started / 1000, UTC)
        except Invalid as error:
            damaged[deployment] = Fault(str(error), deployment)
            continue
        period = calendar.of(at) if at else None
        if period is not None and started >= newest.get((deployment, period), (-1, {}))[0]:
            newest[deployment, period] = (started, values)
    yield from damaged.values()
    for (deployment, period), (_, values) in newest.items():
        names = list(values) if metrics is None else metrics
        kept = {name: values[name] for name in names if name in values}
        yield Row(deployment, period, kept, [name for name in names if name not in kept])


def _period_of(tags: Mapping[str, str], name: str) -> datetime | None:
    return instant(tags[name], f"tag {name}") if name in tags else None


def _number(value: Any) -> float:
    """Return a metric as it was logged: MLflow keeps an infinite one as the greatest number that is finite."""
    number = float(value)
    return math.copysign(math.inf, number) if abs(number) == sys.float_info.max else number


class _Api:
    """The few calls of MLflow's REST API that are needed."""

    def __init__(self, fetcher: Fetcher, url: str) -> None:
        self._fetcher, self._url = fetcher, f"{url}/api/2.0/mlflow"

    def experiments(self, names: Sequence[str] | None) -> list[str]:
        """Return the ids of experiments by name, or of all."""
        if names is None:
            found = self._pages("POST", "experiments/search", {"max_results": _PAGE}, "experiments")
            return [str(each["experiment_id"]) for each in found]
        path = f"{self._url}/experiments/get-by-name"
        answers = [self._fetcher.json("GET", path, params={"experiment_name": name}) for name in names]
        try:
            return [str(answer["experiment"]["experiment_id"]) for answer in answers]
        except (KeyError, TypeError):
            raise Damaged("answer", "of MLflow has no experiment") from None

    def runs(
        self, experiments: Sequence[str], condition: str
    ) -> Iterator[tuple[int, Mapping[str, str], dict[str, float]]]:
        """Yield start, tags and last metrics of runs."""
        asked = {"experiment_ids": list(experiments), "filter": condition, "max_results": _PAGE}
        for run in self._pages("POST", "runs/search", asked, "runs") if experiments else ():
            try:
                data = run.get("data", {})
                tags = {tag["key"]: tag["value"] for tag in data.get("tags", ())}
                yield (
                    int(run["info"]["start_time"]),
                    tags,
                    {metric["key"]: _number(metric["value"]) for metric in data.get("metrics", ())},
                )
            except (KeyError, TypeError, ValueError, AttributeError):
                raise Damaged("answer", f"has a run that is none: {str(run)[:100]!r}") from None

    def _pages(self, method: str, path: str, asked: Mapping[str, Any], name: str) -> Iterator[Any]:
        page: dict[str, Any] = {}
        while True:
            answer = self._fetcher.json(method, f"{self._url}/{path}", json={**asked, **page})
            if not isinstance(answer, Mapping):
                raise Damaged("answer", f"is not MLflow's: {str(answer)[:100]!r}")
            yield from answer.get(name, ())
            if not answer.get("next_page_token"):
                return
            page = {"page_token": answer["next_page_token"]}


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)
