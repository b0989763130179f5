"""Serving performance from an HTTP endpoint: JSON, or the text that servers of models expose for Prometheus.

That text is what KServe, Seldon and Triton have under `/metrics`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal
from urllib.parse import quote

from arangopipe_ops.errors import ArangopipeError, Invalid
from arangopipe_ops.integrations.fetching import Fetcher, GivenUp
from arangopipe_ops.integrations.records import plain, rows_of
from arangopipe_ops.integrations.source import Damaged, Fault, Period, Row


def read(
    periods: Sequence[Period],
    deployments: Sequence[str],
    *,
    url: str,
    format: Literal["json", "prometheus"] = "json",
    metrics: Mapping[str, str] | None = None,
    records: str = "",
    workers: int = 8,
    columns: Mapping[str, Any] | None = None,
    **access: Any,
) -> Iterator[Row | Fault]:
    """Yield what an endpoint tells of deployments.

    The `url` may have `{deployment}`, `{period_start}` and `{period_end}` (ISO 8601, UTC) in it, and there is a request
    for each that it names, `workers` of them at once; a url that is `{deployment}` alone is the deployment's own, for
    which collection knows it by that attribute. An endpoint whose URL names no period tells the present: it is asked
    for the newest period alone, while that lasts or until as much time again has passed.

    `metrics` maps names to where they are: in JSON the path of a value (`stats.p99`), in the text a series, such as
    `latency_sum{model="wine"}`, which has to be one. Counters are as the server has them, since its start; for a
    period's use Prometheus. In JSON, all values of the object if left out. Without `{deployment}` the JSON is a list of
    records, at the path `records`, with the `columns` of `records.rows`.
    What fails is a fault of its deployment and period, and the others are told.
    `access`: user and password or token, headers, verify, timeout, attempts, deadline (`Fetcher`). Raises Invalid, and
    GivenUp when nothing was told and no more requests are made.
    """
    if format not in ("json", "prometheus"):
        raise Invalid("format", f"{format!r} is not json or prometheus")
    if format == "prometheus" and ("{deployment}" not in url or not metrics):
        raise Invalid("url", "has no {deployment}, or metrics are not named; the text names no deployments")
    fetcher = Fetcher(**access)
    asked = list(periods) if "{period_start}" in url or "{period_end}" in url else _present(periods)
    if "{deployment}" not in url:
        for period in asked:
            yield from _of_all(fetcher, url, records, columns or {}, period, deployments)
        return
    one, told = partial(_of_one, fetcher, url, format, metrics), False
    with ThreadPoolExecutor(workers) as threads:
        pairs = [(period, deployment) for period in asked for deployment in deployments]
        for answers in threads.map(lambda pair: one(*pair), pairs):
            told = told or any(isinstance(each, Row) for each in answers)
            yield from answers
    if fetcher.given_up is not None and not told:
        raise fetcher.given_up


def _of_all(
    fetcher: Fetcher,
    url: str,
    records: str,
    columns: Mapping[str, Any],
    period: Period,
    deployments: Sequence[str],
) -> Iterator[Row | Fault]:
    """Yield what one request tells of all deployments in a period, a fault if it fails. Raises GivenUp."""
    try:
        found = _at(fetcher.json("GET", _filled(url, period)), records)
        if not isinstance(found, list) or not all(isinstance(each, Mapping) for each in found):
            raise Damaged(records or "answer", "is not a list of records")
        yield from rows_of(period, found, deployments, **columns)
    except GivenUp:
        raise
    except ArangopipeError as error:
        yield Fault.of(error, period=period)


def _present(periods: Sequence[Period]) -> list[Period]:
    """Return the newest period, if it is now or was just before."""
    newest, now = periods[-1], datetime.now(UTC)
    if not newest.start <= now < newest.end + newest.length:
        raise Invalid("url", f"names no period, so that it tells the present, and not {newest}")
    return [newest]


def _of_one(
    fetcher: Fetcher, url: str, format: str, metrics: Mapping[str, str] | None, period: Period, deployment: str
) -> list[Row | Fault]:
    place = deployment if url == "{deployment}" else _filled(url, period, deployment)
    try:
        if format == "prometheus":
            return _selected(parsed(fetcher.text("GET", place)), metrics or {}, deployment, period)
        found = fetcher.json("GET", place)
        if not isinstance(found, Mapping):
            raise Damaged("answer", f"is not an object: {str(found)[:60]!r}")
        told = {name: _at(found, path) for name, path in metrics.items()} if metrics else dict(found)
        values = {name: plain(value) for name, value in told.items() if value is not None}
        return [Row(deployment, period, values, [name for name in told if name not in values])]
    except ArangopipeError as error:
        return [Fault.of(error, deployment, period)]


def _filled(url: str, period: Period, deployment: str = "") -> str:
    parts = {"deployment": deployment, "period_start": _iso(period.start), "period_end": _iso(period.end)}
    for name, value in parts.items():
        url = url.replace(f"{{{name}}}", quote(value, safe=""))
    return url


def _iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _at(found: Any, path: str) -> Any:
    for name in path.split(".") if path else ():
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


# --- the text format: https://prometheus.io/docs/instrumenting/exposition_formats/

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"'
_SERIES = re.compile(rf"({_NAME})\s*(?:\{{\s*((?:{_LABEL}\s*,?\s*)*)\}})?")
_ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}

Series = tuple[str, Mapping[str, str]]


def parsed(text: str) -> list[tuple[Series, float]]:
    """Return the samples of a text in Prometheus's exposition format. Raises Damaged, naming the line.

    A text that does not end with its line is cut off, perhaps within a number.
    """
    if text and not text.endswith("\n"):
        raise Damaged(f"line {len(text.splitlines())}", "is not ended; the text is cut off")
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = _SERIES.match(line)
        rest = line[match.end() :].split() if match else []
        try:
            found.append((_series(line, f"line {number}"), float(rest[0])))
        except (Invalid, ValueError, IndexError):
            raise Damaged(f"line {number}", f"{line[:60]!r} is not a sample") from None
    return found


def _series(text: str, path: str) -> Series:
    match = _SERIES.match(text.strip())
    if match is None:
        raise Invalid(path, f'{text!r} is not a series such as hits_total{{model="wine"}}')
    labels = re.findall(_LABEL, match[2] or "")
    return match[1], {
        name: re.sub(r"\\.", lambda each: _ESCAPES.get(each[0], each[0]), value) for name, value in labels
    }


def _selected(
    samples: Sequence[tuple[Series, float]], metrics: Mapping[str, str], deployment: str, period: Period
) -> list[Row | Fault]:
    """Return the samples that metrics name; one that names several series has no value."""
    values: dict[str, float] = {}
    faults: list[Row | Fault] = []
    for metric, selector in metrics.items():
        name, labels = _series(selector, f"metrics.{metric}")
        fits = [value for (other, has), value in samples if other == name and labels.items() <= has.items()]
        if len(fits) == 1:
            values[metric] = fits[0]
        elif fits:
            faults.append(Fault(f"{metric}: {selector} is {len(fits)} series; name more labels", deployment, period))
    return [*faults, Row(deployment, period, values, [metric for metric in metrics if metric not in values])]
