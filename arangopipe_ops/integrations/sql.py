"""Serving performance from any data base that SQLAlchemy knows."""

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

from arangopipe_ops.errors import ArangopipeError, Invalid, Misconfigured, Unauthorized, Unavailable
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

_ZONE: Mapping[str, str] = {
    "postgresql": "SET TIME ZONE 'UTC'",
    "mysql": "SET time_zone = '+00:00'",
    "mariadb": "SET time_zone = '+00:00'",
}
"""What makes a data base take times without a zone for UTC, as we do, whatever its own zone is."""

_CONNECTING = ("psycopg", "psycopg2", "pymysql", "mysqldb")
"""Drivers that would wait for a dead host for minutes, and take a `connect_timeout`."""

_FAILURES = 3
"""After so many queries in a row that failed, no more are sent."""

_DENIED = re.compile("authentication failed|access denied", re.IGNORECASE)
"""What PostgreSQL and MySQL say of a wrong password, for which drivers have no number while they connect."""


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
    timeout: float = 300.0,
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
    `create_engine`. The transaction is rolled back, and has UTC as its time zone on PostgreSQL and MySQL.

    A query that fails, or takes more than `timeout` seconds where its driver can end one (those of PostgreSQL and
    SQLite can), is a fault of its periods, and the others are asked for. If all fail, or three in a row, raises
    what the last failed with: Unavailable, Invalid for a query that is refused, Unauthorized. Raises Misconfigured.
    """
    compared = Outcomes(**outcomes) if outcomes is not None else None
    reader = _Reader(url, query, times, timeout, engine or {})

    def tell(several: Sequence[Period], group: Sequence[str]) -> Iterator[Row | Fault]:
        records = reader.records(several, group)
        if compared is not None:
            return compared.rows(records, several, group, **columns)
        if together:
            return rows(records, several, group, **columns)
        return rows_of(several[0], records, group, **columns)

    groups = _groups(deployments, at_once if reader.names_deployments else max(1, len(deployments)))
    spans = [periods] if together else [[period] for period in periods]
    try:
        yield from _told(tell, ((several, group) for group in groups for several in spans))
    finally:
        reader.close()


def _told(
    tell: Callable[[Sequence[Period], Sequence[str]], Iterator[Row | Fault]],
    questions: Iterable[tuple[Sequence[Period], Sequence[str]]],
) -> Iterator[Row | Fault]:
    """Yield what questions are answered, and then the faults of those that failed. Raises the error of the last."""
    faults: list[Fault] = []
    failure: ArangopipeError | None = None
    in_a_row, answered = 0, False
    for several, group in questions:
        try:
            yield from tell(several, group)
            in_a_row, answered = 0, True
        except ArangopipeError as error:
            failure, in_a_row = error, in_a_row + 1
            faults += (Fault.of(error, period=period) for period in several)
            if in_a_row == _FAILURES:
                break
    if failure is not None and (in_a_row == _FAILURES or not answered):
        raise failure
    yield from faults


class _Reader:
    def __init__(self, url: Any, query: str, times: Times | None, timeout: float, options: Mapping[str, Any]) -> None:
        try:
            import sqlalchemy
        except ImportError as error:
            raise Misconfigured("the source sql needs SQLAlchemy: pip install 'arangopipe-ops[sql]'") from error
        try:
            place = sqlalchemy.make_url(url)
            if place.get_dialect().driver in _CONNECTING:
                place = place.set(query={"connect_timeout": "10", **place.query})
            self._engine = sqlalchemy.create_engine(place, **options)
        except (sqlalchemy.exc.ArgumentError, ImportError, TypeError) as error:
            raise Misconfigured(f"the url is not one that SQLAlchemy takes ({type(error).__name__})") from None
        kind = times or ("text" if self._engine.dialect.name == "sqlite" else "aware")
        if kind not in _BOUND:
            raise Invalid("times", f"{kind!r} is not one of {', '.join(_BOUND)}")
        self._bound, self._timeout = _BOUND[kind], timeout
        if zone := _ZONE.get(self._engine.dialect.name):
            sqlalchemy.event.listen(self._engine, "connect", partial(_set, zone))
        self.names_deployments = re.search(r"(?<![:\w]):deployments\b", query) is not None
        self._text = sqlalchemy.text(query)
        if self.names_deployments:
            self._text = self._text.bindparams(sqlalchemy.bindparam("deployments", expanding=True))
        self._error = sqlalchemy.exc.SQLAlchemyError
        self._refusals = (sqlalchemy.exc.ProgrammingError, sqlalchemy.exc.NotSupportedError)

    def records(self, periods: Sequence[Period], deployments: Sequence[str]) -> Iterator[Record]:
        """Yield the rows of the query for periods and deployments, read in portions. Raises what `_meant` tells."""
        binds: dict[str, Any] = {
            "period_start": self._time(periods[0].start),
            "period_end": self._time(periods[-1].end),
        }
        known = set(self._text._bindparams)
        binds = {name: value for name, value in binds.items() if name in known}
        if self.names_deployments:
            binds["deployments"] = list(deployments)
        try:
            with self._engine.connect().execution_options(yield_per=1000) as connection, self._timed(connection):
                yield from map(dict, connection.execute(self._text, binds).mappings())
        except self._error as error:
            raise self._meant(error) from None

    def _meant(self, error: Exception) -> ArangopipeError:
        """Return what an error of SQLAlchemy is to us; of SQLite one number is all that is wrong with a query."""
        cause = getattr(error, "orig", None)
        told = str(cause).splitlines()[0][:300] if cause and str(cause) else type(error).__name__
        if isinstance(error, self._refusals) or getattr(cause, "sqlite_errorname", None) == "SQLITE_ERROR":
            return Invalid("query", f"is refused by the data base: {told}")
        if _DENIED.search(told):
            return Unauthorized(f"the data base refuses the credentials: {told}")
        return Unavailable(f"the data base does not answer the query: {told}")

    @contextmanager
    def _timed(self, connection: Any) -> Iterator[None]:
        """Have the driver end what takes longer than the time for a query. Raises Unavailable."""
        driver, over = connection.connection.driver_connection, threading.Event()
        stop = getattr(driver, "cancel", None) or getattr(driver, "interrupt", None)

        def end() -> None:
            over.set()
            if stop is not None:
                stop()

        timer = threading.Timer(self._timeout, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        except self._error:
            if over.is_set():
                raise Unavailable(f"the data base did not answer the query within {self._timeout:g} s") from None
            raise
        finally:
            timer.cancel()

    def _time(self, at: datetime) -> Any:
        return self._bound(at.astimezone(UTC))

    def close(self) -> None:
        self._engine.dispose()


def _set(statement: str, driver: Any, _: Any) -> None:
    """Have a connection begin with a statement, which no rollback takes back."""
    cursor = driver.cursor()
    cursor.execute(statement)
    cursor.close()
    driver.commit()


def _groups(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    if size < 1:
        raise Invalid("at_once", f"{size} is not a number from 1")
    return (names[start : start + size] for start in range(0, len(names), size))
