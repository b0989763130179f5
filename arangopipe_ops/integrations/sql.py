"""Serving performance from any data base that SQLAlchemy knows."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from arangopipe_ops.errors import Invalid, Misconfigured, Unavailable
from arangopipe_ops.integrations.records import Outcomes, Record, rows, rows_of
from arangopipe_ops.integrations.source import Fault, Period, Row

Times = Literal["aware", "naive", "text", "epoch"]

_BOUND: Mapping[str, Any] = {
    "aware": lambda at: at,
    "naive": lambda at: at.replace(tzinfo=None),
    "text": lambda at: at.isoformat(" ", "microseconds" if at.microsecond else "seconds").removesuffix("+00:00"),
    "epoch": lambda at: at.timestamp(),
}
"""How a moment is bound: with its zone, in UTC without it, as `2026-01-31 23:00:00`, as seconds since 1970."""


def read(
    periods: Sequence[Period],
    deployments: Sequence[str],
    *,
    url: Any,
    query: str,
    times: Times | None = None,
    outcomes: Mapping[str, Any] | None = None,
    together: bool = False,
    at_once: int = 10_000,
    engine: Mapping[str, Any] | None = None,
    **columns: Any,
) -> Iterator[Row | Fault]:
    """Yield what a query selects: a record for each deployment and period, or for each prediction with `outcomes`.

    The query has the parameters `:period_start` (included) and `:period_end` (not), and optionally `:deployments`, as
    in `WHERE name IN :deployments`, of which a query gets `at_once`. It is asked for each period, and its records need
    not say which. With `together` it is asked once for all periods, between the start of the first and the end of the
    last, and has to group by them and name each one's start. `times` says how the bounds are bound: `text` on SQLite,
    else `aware`, unless given. Times without a zone are UTC. `columns` are those of `records.rows`. `outcomes` are the
    arguments of `records.Outcomes`, for a query that joins predictions with what came of them. `engine`: arguments of
    `create_engine`. The transaction is rolled back. Raises Invalid, Misconfigured, Unavailable.
    """
    reader = _Reader(url, query, times, engine or {})
    try:
        for group in _groups(deployments, at_once if reader.names_deployments else max(1, len(deployments))):
            compared = Outcomes(**outcomes) if outcomes is not None else None
            for several in [periods] if together else [[period] for period in periods]:
                records = reader.records(several, group)
                if compared is not None:
                    yield from compared.rows(records, several, group, **columns)
                elif together:
                    yield from rows(records, several, group, **columns)
                else:
                    yield from rows_of(several[0], records, group, **columns)
    finally:
        reader.close()


class _Reader:
    def __init__(self, url: Any, query: str, times: Times | None, options: Mapping[str, Any]) -> None:
        try:
            import sqlalchemy
        except ImportError as error:
            raise Misconfigured("the source sql needs SQLAlchemy: pip install 'arangopipe-ops[sql]'") from error
        try:
            self._engine = sqlalchemy.create_engine(url, **options)
        except (sqlalchemy.exc.ArgumentError, ImportError, TypeError) as error:
            raise Misconfigured(f"the url is not one that SQLAlchemy takes ({type(error).__name__})") from None
        kind = times or ("text" if self._engine.dialect.name == "sqlite" else "aware")
        if kind not in _BOUND:
            raise Invalid("times", f"{kind!r} is not one of {', '.join(_BOUND)}")
        self._bound = _BOUND[kind]
        self.names_deployments = re.search(r"(?<![:\w]):deployments\b", query) is not None
        self._text = sqlalchemy.text(query)
        if self.names_deployments:
            self._text = self._text.bindparams(sqlalchemy.bindparam("deployments", expanding=True))
        self._error = sqlalchemy.exc.SQLAlchemyError

    def records(self, periods: Sequence[Period], deployments: Sequence[str]) -> Iterator[Record]:
        """Yield the rows of the query for periods and deployments, read in portions."""
        binds: dict[str, Any] = {
            "period_start": self._time(periods[0].start),
            "period_end": self._time(periods[-1].end),
        }
        known = set(self._text._bindparams)
        binds = {name: value for name, value in binds.items() if name in known}
        if self.names_deployments:
            binds["deployments"] = list(deployments)
        try:
            with self._engine.connect().execution_options(yield_per=1000) as connection:
                yield from map(dict, connection.execute(self._text, binds).mappings())
        except self._error as error:
            cause = getattr(error, "orig", None)
            told = str(cause).splitlines()[0][:300] if cause and str(cause) else type(error).__name__
            raise Unavailable(f"the data base does not answer the query: {told}") from None

    def _time(self, at: datetime) -> Any:
        return self._bound(at.astimezone(UTC))

    def close(self) -> None:
        self._engine.dispose()


def _groups(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    if size < 1:
        raise Invalid("at_once", f"{size} is not a number from 1")
    return (names[start : start + size] for start in range(0, len(names), size))
