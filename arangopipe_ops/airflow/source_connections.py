"""Airflow's connections to the systems that tell how deployments served."""

from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from airflow.sdk import BaseHook, Connection
from airflow.sdk.log import mask_secret

from arangopipe_ops.errors import Invalid

_DIALECTS = {"postgres": "postgresql"}
"""Airflow's type of a connection -> SQLAlchemy's name, where that is another."""

_WITHOUT = ("files", "python")


def connected(source: Any) -> Any:
    """Return a source, as plain data, with what its connection says instead of the `conn_id`.

    Its own options win. Raises Invalid for a type of source that has no connection, AirflowNotFoundException.
    """
    if not isinstance(source, Mapping) or "conn_id" not in source:
        return source
    type_ = source.get("type")
    if type_ in _WITHOUT:
        raise Invalid("source.conn_id", f"is not for the type {type_}")
    own = {name: value for name, value in source.items() if name != "conn_id"}
    return _OPTIONS.get(str(type_), _server)(BaseHook.get_connection(source["conn_id"]), own)


def _server(connection: Connection, source: Mapping[str, Any]) -> dict[str, Any]:
    """Return the source with URL and credentials of a server; a `url` of its own is a path there."""
    known: dict[str, Any] = {name: connection.extra_dejson.get(name) for name in ("headers", "token", "verify")}
    if connection.login:
        known |= {"user": connection.login, "password": connection.password or ""}
    elif connection.password:
        known["token"] = connection.password
    basic = b64encode(f"{connection.login}:{connection.password}".encode()).decode() if connection.login else None
    _mask(connection.password, known["token"], basic, *(known["headers"] or {}).values())
    url = str(source.get("url") or "")
    place = {"url": url if "://" in url else f"{_address(connection)}{url}"}
    return {**{name: value for name, value in known.items() if value is not None}, **source, **place}


def _address(connection: Connection) -> str:
    if not connection.host:
        raise Invalid("source.conn_id", f"the connection {connection.conn_id} has no host")
    host = connection.host.rstrip("/")
    port = f":{connection.port}" if connection.port else ""
    return f"{host}{port}" if "://" in host else f"{connection.schema or 'http'}://{host}{port}"


def _database(connection: Connection, source: Mapping[str, Any]) -> dict[str, Any]:
    """Return the source with SQLAlchemy's URL of a data base; an extra `sqlalchemy_scheme` names dialect and driver."""
    type_ = str(connection.conn_type)
    scheme = connection.extra_dejson.get("sqlalchemy_scheme") or _DIALECTS.get(type_, type_)
    if scheme.partition("+")[0] == "sqlite":
        return {"url": f"{scheme}:///{connection.host or ''}", **source}
    user, password = (quote(text or "", safe="") for text in (connection.login, connection.password))
    credentials = f"{user}:{password}@" if password else f"{user}@" if user else ""
    _mask(connection.password, password, credentials if password else None)
    port = f":{connection.port}" if connection.port else ""
    place = f"{credentials}{connection.host or ''}{port}/{quote(connection.schema or '', safe='')}"
    return {"url": f"{scheme}://{place}", **source}


def _mask(*secrets: str | None) -> None:
    for secret in filter(None, secrets):
        mask_secret(secret)


_OPTIONS: Mapping[str, Callable[[Connection, Mapping[str, Any]], dict[str, Any]]] = {"sql": _database}
