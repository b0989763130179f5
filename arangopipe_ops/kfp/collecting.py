"""Where serving performance comes from, and for which period."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import unquote, urlsplit
from urllib.request import urlopen

from arangopipe_ops import errors
from arangopipe_ops.model import Document, moment
from arangopipe_ops.stages import slot_of
from arangopipe_ops.store import Store

TIMEOUT = 30.0

_PERIOD = re.compile(r"(\d+) (minute|hour|day|week)s?")
_EPOCH = datetime(1970, 1, 5, tzinfo=UTC)  # a Monday


def active_deployment(store: Store, project: Any, environment: str) -> Document:
    """Return the reference to the deployment that is active. Raises NotFound."""
    if not project:
        raise errors.Invalid("deployment", "is missing; give it, or the project whose active deployment is meant")
    page = store.search("Deployment", {"active_slot": slot_of(project, environment)}, limit=1, count=False)
    if not page["nodes"]:
        raise errors.NotFound([f"an active deployment of {project!r} in {environment}"])
    return {"_id": page["nodes"][0]["_id"]}


def window(period: str, end: str | None = None, now: datetime | None = None) -> tuple[str, str]:
    """Return beginning and end of a period: the one that ends at `end`, or else the last that is over.

    `period` is a number and minute, hour, day or week. Periods that are not tied to an `end` follow each other from a
    Monday's midnight in UTC, so that collecting twice in one of them collects the same. Raises Invalid.
    """
    found = _PERIOD.fullmatch(period.strip())
    if not found or not int(found[1]):
        raise errors.Invalid("period", f"{period!r} is not a number of minutes, hours, days or weeks, such as '1 day'")
    length = timedelta(**{f"{found[2]}s": int(found[1])})
    if end:
        last = datetime.fromisoformat(moment(end, "period_end"))
    else:
        now = now or datetime.now(UTC)
        last = now - (now - _EPOCH) % length
    return moment(last - length, "period_start"), moment(last, "period_end")


def read(uri: str, deployment: Any, start: str, end: str) -> Document:
    """Return the metrics, a JSON object, that a file or an HTTP address answers.

    `{deployment}`, `{period_start}` and `{period_end}` in `uri` are filled in. Raises Invalid for another answer, and
    Unavailable for none.
    """
    named = deployment.get("_id") if isinstance(deployment, dict) else deployment
    for name, value in (("deployment", named), ("period_start", start), ("period_end", end)):
        uri = uri.replace(f"{{{name}}}", str(value))
    try:
        metrics = json.loads(_content(uri))
    except ValueError as error:
        raise errors.Invalid("uri", f"{uri} does not answer JSON: {error}") from None
    if not isinstance(metrics, dict):
        raise errors.Invalid("uri", f"{uri} does not answer a JSON object of metrics")
    return metrics


def _content(uri: str) -> bytes:
    parts = urlsplit(uri)
    try:
        if parts.scheme in ("http", "https"):
            with urlopen(uri, timeout=TIMEOUT) as answer:
                return bytes(answer.read())
        if parts.scheme in ("", "file"):
            return Path(unquote(parts.path) if parts.scheme else uri).read_bytes()
    except (URLError, OSError) as error:
        raise errors.Unavailable(f"{uri} cannot be read: {error}") from None
    raise errors.Invalid("uri", f"{parts.scheme} addresses are not read; give a file or an http(s) address")
