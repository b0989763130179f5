"""The metrics of a run while it runs: the last value of each, and the series it went through, bounded in size."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from arangopipe_ops.errors import Invalid
from arangopipe_ops.model import Document, Stage, canonical

MAX_POINTS = 1_000
"""How many points of one series are stored."""

MAX_ALL_POINTS = 50_000
"""How many points the series of one run have together, in a document that holds 16 MB."""

SET_HERE = ("series", "not_finite", "run_id")


class Series:
    """What one metric went through, in the order of logging: step, value and time of at most so many points.

    A series that grows too long loses every second point, and from then on takes only every second one, and so on:
    what is kept is evenly spread, always with the first and the last. Count, least and greatest value are those of
    all points. A value that is not finite is null in the series.
    """

    def __init__(self) -> None:
        self.count = 0
        self.not_finite = 0
        self.stepped = False
        self.last: tuple[Any, Any, datetime] | None = None
        self._finite: tuple[Any, Any] | None = None
        self._kept: list[tuple[Any, Any, datetime]] = []
        self._every = 1

    def add(self, value: Any, step: Any, at: datetime, most: int) -> None:
        """Add a point, with the step after the last one if none is given."""
        self.stepped = self.stepped or step is not None
        if step is None:
            step = self.last[0] + 1 if self.last else 0
        self.last = (step, value, at)
        if self.count % self._every == 0:
            self._kept.append(self.last)
        self.count += 1
        if not _is_finite(value):
            self.not_finite += 1
        else:
            low, high = self._finite or (value, value)
            self._finite = (min(low, value), max(high, value))
        self.thin(most)

    def thin(self, most: int) -> None:
        """Leave at most so many points."""
        while len(self._kept) >= most:
            self._kept = self._kept[::2]
            self._every *= 2

    def document(self) -> Document:
        points = self._kept if not self.last or self._kept[-1] is self.last else [*self._kept, self.last]
        low, high = self._finite or (None, None)
        return {
            "count": self.count,
            "min": low,
            "max": high,
            "step": [step for step, _, _ in points],
            "value": [value if _is_finite(value) else None for _, value, _ in points],
            "time": [at for _, _, at in points],
        }


class Metrics:
    """The metrics of one run. Numbers make series; any other JSON has only its last value."""

    def __init__(self) -> None:
        self._series: dict[str, Series] = {}
        self._plain: Document = {}

    def log(self, values: Mapping[str, Any], step: Any = None) -> None:
        """Take values, all or none of them. Raises Invalid."""
        if step is not None and not _is_number(step := _plain(step)):
            raise Invalid("step", f"{step!r} is not a number")
        canonical(step, "step")
        given = {name: _plain(value) for name, value in values.items()}
        _check(given)
        at = datetime.now(UTC)
        for name, value in given.items():
            if _is_number(value):
                self._plain.pop(name, None)
                self._series.setdefault(name, Series()).add(value, step, at, self._most())
            else:
                self._series.pop(name, None)
                self._plain[name] = value

    def document(self) -> Document:
        """Return the metrics as they are stored.

        A metric is its last value; one whose last value is not finite has none, and `not_finite` says which
        value it was: a diverged training is found by that, and never by a comparison.
        """
        last = {name: series.last[1] for name, series in self._series.items() if series.last}
        longer = {name: series for name, series in self._series.items() if series.stepped or series.count > 1}
        for series in longer.values():
            series.thin(self._most())
        found: Document = {**self._plain, **{name: value for name, value in last.items() if _is_finite(value)}}
        if longer:
            found["series"] = {name: series.document() for name, series in longer.items()}
        if odd := {name: str(float(value)) for name, value in last.items() if not _is_finite(value)}:
            found["not_finite"] = odd
        return found

    def _most(self) -> int:
        return max(2, min(MAX_POINTS, MAX_ALL_POINTS // max(1, len(self._series))))


def _check(given: Mapping[str, Any]) -> None:
    """Raise Invalid for what could not be stored later, when the run ends and it is too late."""
    for name in SET_HERE:
        if name in given:
            raise Invalid(f"metrics.{name}", "is set by the run; choose another name")
    storable = {name: 0 if _is_number(value) and not _is_finite(value) else value for name, value in given.items()}
    Stage().add("DevPerf", {**storable, "run_id": "checked"})


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_finite(value: float) -> bool:
    return isinstance(value, int) or math.isfinite(value)
