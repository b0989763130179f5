"""Airflow's connection to the metadata graph."""

import os
import re
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from airflow.sdk import BaseHook, Connection
from airflow.sdk.log import mask_secret

from arangopipe_ops.airflow import assets, compat
from arangopipe_ops.errors import ArangopipeError, Misconfigured

if TYPE_CHECKING:
    from airflow.sdk import Context

    from arangopipe_ops.store import Store

DEFAULT_CONN_ID = "arangopipe_default"

_CONN_TYPES = ("arangopipe", "arangodb")
_PORT = 8529
_RIGHTS = {
    "write": "may read and write it.",
    "read": "may read it, and not write.",
    "none": "may neither read nor write it.",
}


class ArangopipeHook(BaseHook):
    """The metadata graph that an Airflow connection leads to.

    The connection is of type `arangopipe`, or the `arangodb` of Airflow's own ArangoDB provider: hosts, port,
    user, password, database (`schema`), and in the extras `tls`, `request_timeout` in seconds, or an
    `embedded_file` instead of a server, and `spool`, a folder that keeps stages while the database is away. Where
    nobody has defined the default connection, the environment's ARANGOPIPE_URL counts; a connection that was asked
    for by name must exist. What fails raises the errors of `arangopipe_ops.errors`, which retry policies can name.
    """

    conn_name_attr: ClassVar[str] = "arangopipe_conn_id"
    default_conn_name: ClassVar[str] = DEFAULT_CONN_ID
    conn_type: ClassVar[str] = "arangopipe"
    hook_name: ClassVar[str] = "Arangopipe"

    def __init__(self, arangopipe_conn_id: str = DEFAULT_CONN_ID, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arangopipe_conn_id = arangopipe_conn_id

    def get_conn(self) -> Any:
        """Return python-arango's StandardDatabase; nothing is sent yet.

        Raises Misconfigured for a connection of another type or with wrong settings, and
        AirflowNotFoundException for a named connection that does not exist.
        """
        return self._opened(self._connection())

    async def aget_conn(self) -> Any:
        """Return what `get_conn` returns, for code in an event loop."""
        return self._opened(await self._aconnection())

    def target(self) -> tuple[str, float]:
        """Return the URL that `get_conn` opens, with its password, and the seconds until a request is given up."""
        return self._target(self._connection())

    def store(self, context: "Context") -> "Store":
        """Return the metadata graph; what is written to it tells which task instance wrote it."""
        from arangopipe_ops.store import Store  # what tasks need is not loaded by whoever parses a DAG

        connection = self._connection()
        spool = connection.extra_dejson.get("spool") if connection is not None else None
        return Store(self._opened(connection), provenance=provenance(context), spool=spool or None)

    def report(self, *, read: Mapping[str, Any] | None = None, written: Mapping[str, Any] | None = None) -> None:
        """Tell Airflow's hook lineage of data: references that were read, by kind, and a Ref that was written.

        Each is an asset `arangopipe://kind/name`. It costs no request, and never fails a task.
        """
        collector = compat.lineage_collector()
        for kind, references in (read or {}).items():
            for reference in [references] if isinstance(references, str | Mapping) else references:
                with suppress(ValueError):  # Airflow takes no URI of more than 1,500 characters
                    collector.add_input_asset(self, uri=_asset_uri(kind, reference))
        if written is not None:
            with suppress(ValueError):
                collector.add_output_asset(self, uri=_asset_uri(written["kind"], written))

    def provision(self) -> bool:
        """Make sure that the database holds the graph; return whether anything was missing."""
        from arangopipe_ops import admin

        return admin.provision(self.get_conn())

    def test_connection(self) -> tuple[bool, str]:
        """Return whether the database can be used, and what it is: version, place, graph, what the user may do."""
        from arangopipe_ops import admin
        from arangopipe_ops.connection import describe
        from arangopipe_ops.model import GRAPH
        from arangopipe_ops.store import driver_errors

        try:
            db = self.get_conn()
            with driver_errors():
                version, provisioned = db.version(), db.has_graph(GRAPH)
            rights = f" The user {_RIGHTS[admin.access(db)]}" if provisioned else ""
        except ArangopipeError as error:
            return False, str(error)
        state = "is provisioned" if provisioned else "is not provisioned yet; run a ProvisionOperator once"
        return True, f"ArangoDB {version} at {describe(db)}, database {db.name}: the graph {GRAPH} {state}.{rights}"

    def _connection(self) -> Connection | None:
        with suppress(*self._expected):
            return self.get_connection(self.arangopipe_conn_id)
        return None

    async def _aconnection(self) -> Connection | None:
        with suppress(*self._expected):
            return await self.aget_connection(self.arangopipe_conn_id)
        return None

    @property
    def _expected(self) -> tuple[type[Exception], ...]:
        """The default connection, and no other, need not be defined."""
        return (compat.AirflowNotFoundException,) if self.arangopipe_conn_id == self.default_conn_name else ()

    def _opened(self, connection: Connection | None) -> Any:
        """Return the database of a connection; of none, that of the environment."""
        from arangopipe_ops.connection import connect, describe  # it imports the driver

        url, timeout = self._target(connection)
        db = connect(url, timeout=timeout)
        if connection is None:
            self.log.info("No connection %s is defined; using %s", self.arangopipe_conn_id, describe(db))
        return db

    def _target(self, connection: Connection | None) -> tuple[str, float]:
        from arangopipe_ops.connection import DEFAULT_TIMEOUT, URL_VARIABLE  # it imports the driver

        if connection is not None:
            return connection_url(connection), _timeout(connection) or DEFAULT_TIMEOUT
        if not os.environ.get(URL_VARIABLE):
            # Airflow says "not defined" also when it failed to look: a file is no place to guess then.
            raise Misconfigured(
                f"the connection {self.arangopipe_conn_id} is not defined; define it, or set {URL_VARIABLE} where "
                "tasks run, for example to embedded:///path/to/graph.db."
            )
        return os.environ[URL_VARIABLE], DEFAULT_TIMEOUT


def connection_url(connection: Connection) -> str:
    """Return the URL that `arangopipe_ops.connect` takes; what is secret in it is masked in logs.

    Raises Misconfigured.
    """
    if connection.conn_type not in _CONN_TYPES:
        raise _misconfigured(connection, f"is of type {connection.conn_type!r}, not {' or '.join(_CONN_TYPES)}")
    if file := connection.extra_dejson.get("embedded_file"):
        if not file.startswith("/"):
            raise _misconfigured(connection, f"has the embedded_file {file!r}, which is no absolute path")
        return f"embedded://{quote(file)}"
    hosts = [host.strip() for host in (connection.host or "").split(",") if host.strip()]
    if not hosts:
        raise _misconfigured(connection, "has neither a host nor an embedded_file")
    authorities = ",".join(_authority(host, connection.port or _PORT) for host in hosts)
    return f"{_scheme(connection)}:{_credentials(connection)}{authorities}/{quote(connection.schema or '', safe='')}"


def _scheme(connection: Connection) -> str:
    tls = str(connection.extra_dejson.get("tls", "")).lower() in ("true", "1", "yes")
    return "https" if tls or (connection.host or "").strip().startswith("https://") else "http"


def _authority(host: str, port: int) -> str:
    """Return host:port of a host that may be spelled as a URL and may name a port of its own."""
    name = re.sub(r"^https?://", "", host).rstrip("/")
    return name if re.search(r":\d+$", name) else f"{name}:{port}"


def _credentials(connection: Connection) -> str:
    """Return `//user:password@`. As a whole it is always long enough for Airflow to mask it."""
    if not connection.login and not connection.password:
        return "//"
    user, password = (quote(text or "", safe="") for text in (connection.login or "root", connection.password))
    credentials = f"//{user}:{password}@"
    basic = b64encode(f"{connection.login or 'root'}:{connection.password or ''}".encode()).decode()
    for secret in filter(None, (connection.password, password, credentials, basic)):
        mask_secret(secret)
    return credentials


def _timeout(connection: Connection) -> float | None:
    given = connection.extra_dejson.get("request_timeout")
    try:
        return float(given) if given is not None else None
    except (TypeError, ValueError):
        raise _misconfigured(connection, f"has a request_timeout of {given!r}, which is no number") from None


def _misconfigured(connection: Connection, problem: str) -> Misconfigured:
    return Misconfigured(f"the connection {connection.conn_id} {problem}.")


def provenance(context: "Context") -> dict[str, Any]:
    """Return which task instance is running. It is the same for every attempt at it.

    `map_index` is -1 for a task that is not mapped.
    """
    ti = context["ti"]
    return {
        "through": "airflow",
        "dag_id": ti.dag_id,
        "run_id": ti.run_id,
        "task_id": ti.task_id,
        "map_index": ti.map_index,
        "log_url": ti.log_url.partition("?")[0],
        "operator": context["task"].task_type,
    }


def _asset_uri(kind: str, reference: Any) -> str:
    """Return the asset's URI of a node by its name where that is known, or else by its key."""
    given = reference if isinstance(reference, Mapping) else {"name": reference}
    return assets.asset_uri(kind, str(given.get("name") or str(given.get("_id")).partition("/")[2]))
