"""What the server says about itself. Manual: develop/http-api/administration, develop/http-api/monitoring.

What a process with one file has nothing to say about is empty, or the answer says that it is embedded.
"""

from __future__ import annotations

import os
import platform
import socket
import sqlite3
import time
from datetime import UTC, datetime
from typing import Any

from .errors import ArangoError
from .functions.statements import VERSION
from .request import Request, Response, Route, success
from .settings import LEVELS

LICENSE = "community"
ENGINE = "rocksdb"
"""The one engine that ArangoDB has, and that clients ask for."""
STORAGE = "sqlite"
"""What stores documents in truth."""
INDEXES = ("primary", "edge", "persistent", "hash", "skiplist", "ttl", "inverted")
ALIASES = {"hash": "persistent", "skiplist": "persistent"}
MODE = "embedded"


def version(request: Request) -> Response:
    body: dict[str, Any] = {"server": "arango", "license": LICENSE, "version": VERSION}
    return Response(200, body | ({"details": _details()} if request.flag("details") else {}))


def _details() -> dict[str, str]:
    return {
        "architecture": "64bit",
        "mode": MODE,
        "platform": platform.system().lower(),
        "python-version": platform.python_version(),
        "server-version": VERSION,
        "sqlite-version": sqlite3.sqlite_version,
        "storage-engine": STORAGE,
    }


def engine(request: Request) -> Response:
    supports = {"indexes": list(INDEXES), "aliases": {"indexes": ALIASES}}
    return Response(200, {"name": ENGINE, "storage": STORAGE, "supports": supports})


def role(request: Request) -> Response:
    return success(200, role="SINGLE", mode=MODE)


def mode(request: Request) -> Response:
    return Response(200, {"mode": "default"})


def change_mode(request: Request) -> Response:
    if request.object(mode=str).get("mode") != "default":
        raise ArangoError(10, message="bad parameter: the only mode is 'default', use the file's permissions")
    return mode(request)


def availability(request: Request) -> Response:
    """200 if the file can be read; the error says why it cannot."""
    with request.transaction():
        return success(200, mode="default")


def server_time(request: Request) -> Response:
    return success(200, time=time.time())


def status(request: Request) -> Response:
    info = {"maintenance": False, "role": "SINGLE", "writeOpsEnabled": True, "readOnly": False}
    shown = {"server": "arango", "license": LICENSE, "version": VERSION, "mode": MODE, "operationMode": MODE}
    return Response(200, {**shown, "pid": os.getpid(), "host": socket.gethostname(), "serverInfo": info})


def target_version(request: Request) -> Response:
    return success(200, version="".join(part.zfill(2) for part in VERSION.split("-")[0].split(".")))


def license_status(request: Request) -> Response:
    return Response(200, {"license": "none"})


def echo(request: Request) -> Response:
    body = request.raw if isinstance(request.raw, str) else ""
    return Response(
        200,
        {
            "database": request.database,
            "user": request.user.name,
            "protocol": "http",
            "requestType": "GET" if request.raw is None else "POST",
            "parameters": dict(request.params),
            "requestBody": body,
            "rawRequestBody": list(body.encode()),
        },
    )


def reload_routing(request: Request) -> Response:
    """There is no routing to load."""
    return success(200)


def support_info(request: Request) -> Response:
    deployment = {"type": "single", "mode": MODE}
    return Response(200, {"deployment": deployment, "date": datetime.now(UTC).isoformat()})


def statistics(request: Request) -> Response:
    now = time.time()
    used = os.times()
    system = {"userTime": used.user, "systemTime": used.system, "numberOfThreads": 0}
    client = {"httpConnections": 0}
    server = {"uptime": time.process_time(), "physicalMemory": 0}
    return success(200, time=now, enabled=False, system=system, client=client, http={}, server=server)


def statistics_description(request: Request) -> Response:
    return success(200, groups=[], figures=[])


def metrics(request: Request) -> Response:
    """In Prometheus' format."""
    counted = {"arangopipe_embedded_cursors": len(request.file.cursors)}
    lines = [f"# TYPE {name} gauge\n{name} {value}\n" for name, value in counted.items()]
    return Response(200, "".join(lines), {"content-type": "text/plain; version=0.0.4"})


def compact(request: Request) -> Response:
    """Give the space of what was deleted back to the file system's caches: SQLite's own checkpoint."""
    with request.file.storage.pool.use() as sqlite:
        sqlite.execute("PRAGMA wal_checkpoint(PASSIVE)")
    return Response(200, {})


def tls(request: Request) -> Response:
    """There are no certificates: put a proxy in front for TLS."""
    return success(200, result={"keyfile": {}, "SNI": {}})


def forbidden(request: Request) -> Response:
    raise ArangoError(11, message="forbidden: secrets and keys cannot be read or changed over HTTP")


def options(request: Request) -> Response:
    storage = request.file.storage
    return Response(200, {"database.file": str(storage.path), "busy-seconds": storage.pool.busy_seconds})


def options_description(request: Request) -> Response:
    described = {"database.file": {"description": "the file"}, "busy-seconds": {"description": "wait for a lock"}}
    return Response(200, described)


# the log, which is Python's own


def log_levels(request: Request) -> Response:
    levels = request.file.settings.log_levels
    return Response(200, {"global": levels, "appenders": {}} if request.flag("withAppenders") else levels)


def change_log_levels(request: Request) -> Response:
    given = request.object()
    for topic, level in given.items():
        if str(level).upper() not in LEVELS:
            raise ArangoError(10, message=f"bad parameter: {topic} takes one of {', '.join(LEVELS)}")
    request.file.settings.log_levels.update({topic: str(level).upper() for topic, level in given.items()})
    return log_levels(request)


def reset_log_levels(request: Request) -> Response:
    request.file.settings.reset_log_levels()
    return log_levels(request)


def log_settings(request: Request) -> Response:
    return Response(200, request.file.settings.structured)


def change_log_settings(request: Request) -> Response:
    for name, wanted in request.object().items():
        if wanted:
            request.file.settings.structured[name] = True
        else:
            request.file.settings.structured.pop(name, None)
    return log_settings(request)


def log(request: Request) -> Response:
    """Empty: the log goes through Python's `logging`."""
    return Response(200, {"totalAmount": 0, "lid": [], "topic": [], "level": [], "timestamp": [], "text": []})


def log_entries(request: Request) -> Response:
    return Response(200, {"total": 0, "messages": []})


def no_api_calls(request: Request) -> Response:
    """Requests are not recorded."""
    return success(200, result={"calls": []})


def no_queries(request: Request) -> Response:
    """Statements are not recorded, see /_api/query for those that run or were slow."""
    return success(200, result={"queries": []})


def nothing(request: Request) -> Response:
    """Of what cannot be created here there is none."""
    return Response(200, [])


def no_result(request: Request) -> Response:
    return success(200, result=[])


ROUTES: tuple[Route, ...] = (
    ("GET", "/_api/version", version),
    ("PUT", "/_api/version", version),
    ("GET", "/_admin/version", version),
    ("GET", "/_api/engine", engine),
    ("GET", "/_admin/server/role", role),
    ("GET", "/_admin/server/mode", mode),
    ("PUT", "/_admin/server/mode", change_mode),
    ("GET", "/_admin/server/availability", availability),
    ("GET", "/_admin/server/tls", tls),
    ("POST", "/_admin/server/tls", tls),
    ("GET", "/_admin/server/jwt", forbidden),
    ("POST", "/_admin/server/jwt", forbidden),
    ("POST", "/_admin/server/encryption", forbidden),
    ("GET", "/_admin/time", server_time),
    ("GET", "/_admin/status", status),
    ("GET", "/_admin/database/target-version", target_version),
    ("GET", "/_admin/license", license_status),
    ("GET", "/_admin/echo", echo),
    ("POST", "/_admin/echo", echo),
    ("POST", "/_admin/routing/reload", reload_routing),
    ("GET", "/_admin/support-info", support_info),
    ("GET", "/_admin/statistics", statistics),
    ("GET", "/_admin/statistics-description", statistics_description),
    ("GET", "/_admin/metrics", metrics),
    ("GET", "/_admin/metrics/v2", metrics),
    ("PUT", "/_admin/compact", compact),
    ("GET", "/_admin/options", options),
    ("GET", "/_admin/options-description", options_description),
    ("GET", "/_admin/log/level", log_levels),
    ("PUT", "/_admin/log/level", change_log_levels),
    ("DELETE", "/_admin/log/level", reset_log_levels),
    ("GET", "/_admin/log/structured", log_settings),
    ("PUT", "/_admin/log/structured", change_log_settings),
    ("GET", "/_admin/log", log),
    ("GET", "/_admin/log/entries", log_entries),
    ("GET", "/_admin/server/api-calls", no_api_calls),
    ("GET", "/_admin/server/aql-queries", no_queries),
    ("GET", "/_api/tasks", nothing),
    ("GET", "/_api/foxx", nothing),
    ("GET", "/_api/aqlfunction", no_result),
)
