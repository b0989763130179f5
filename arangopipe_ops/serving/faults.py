"""What went wrong in a collection, put together over periods, so that it takes no more room for more of them."""

from collections.abc import Sequence
from typing import TypedDict

from arangopipe_ops.integrations.source import Period
from arangopipe_ops.model import moment

_NAMED = 10
"""At most so many faults are put in words."""


class FaultRow(TypedDict):
    """What a source could not tell of a deployment (None: of all), in how many periods between which times.

    A `lasting` one is not cured by collecting again later, all else being as it is.
    """

    deployment: str | None
    source: str
    message: str
    period_start: str
    period_end: str
    periods: int
    lasting: bool


class Faults:
    """The faults of a collection, one for each deployment, source and message."""

    def __init__(self) -> None:
        self._found: dict[tuple[str | None, str, str], FaultRow] = {}

    def add(
        self,
        deployment: str | None,
        source: str,
        message: str,
        period: Period,
        count: int = 1,
        *,
        lasting: bool = False,
    ) -> None:
        start, end = moment(period.start, "period"), moment(period.end, "period")
        row = self._found.setdefault(
            (deployment, source, message),
            FaultRow(
                deployment=deployment,
                source=source,
                message=message,
                period_start=start,
                period_end=end,
                periods=0,
                lasting=lasting,
            ),
        )
        row["period_start"], row["period_end"] = min(row["period_start"], start), max(row["period_end"], end)
        row["periods"] += count

    def rows(self) -> list[FaultRow]:
        """Return them by source and deployment, those about all deployments first."""
        return sorted(self._found.values(), key=lambda row: (row["source"], row["deployment"] or "", row["message"]))


def in_words(faults: Sequence[FaultRow]) -> str:
    """Return which deployments and sources failed, when, and why: the first ten, and how many more there are."""
    first = [
        f"{row['deployment'] or 'all deployments'} by {row['source']} in {row['periods']} periods "
        f"from {row['period_start']} to {row['period_end']}: {row['message']}"
        for row in faults[:_NAMED]
    ]
    more = [f"and {len(faults) - _NAMED} more"] if len(faults) > _NAMED else []
    return f"what could be collected is written; but not all was told: {'; '.join([*first, *more])}"
