"""Who asks for a page inside Airflow: whom Airflow says, with the rights that they have there."""

import hashlib
import hmac
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Any
from urllib.parse import quote

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, ConnectionDetails
from airflow.api_fastapi.core_api.security import get_user
from airflow.models import Connection
from fastapi import Depends, HTTPException, Request
from starlette.responses import Response

from arangopipe_ops.admin import Rights, rights
from arangopipe_ops.airflow.compat import conf
from arangopipe_ops.airflow.hooks import DEFAULT_CONN_ID, ArangopipeHook
from arangopipe_ops.airflow.links import PREFIX
from arangopipe_ops.connection import connect, is_file
from arangopipe_ops.store import Store
from arangopipe_ops.web.access import STATEMENT_SECONDS
from arangopipe_ops.web.pages.rendering import render
from arangopipe_ops.web.pages.sessions import MAX_SESSIONS, STATEMENTS, Session, may_change

_NONE = Rights(write=False, define=False, administrate=False)
_OF_A_FILE = Rights(write=True, define=True, administrate=False)

_REFUSALS = {
    "write": "You may read this graph, but not write to it: "
    "that needs the right to edit the connection {0} in Airflow.",
    "define": "You may not change what this graph is made of: "
    "that needs the right to edit the connection {0} in Airflow, and Administrate on the database for its user.",
    "statements": "You may not run statements of your own: they can read and write whatever the connection {0} can, "
    "so that needs the right to edit it in Airflow.",
    "administrate": "The users of the database are not managed from Airflow; `arangopipe serve` does that.",
}


class AirflowUsers:
    """Callers whom Airflow has let in. The graph is that of a connection: who may edit that may write.

    Its user in the database is one for all, so the users of the database are not for anybody here to manage.
    """

    framed_by = "'self'"
    signs_out = False

    def __init__(self) -> None:
        self._conn_id = conf.get("arangopipe", "conn_id", fallback=DEFAULT_CONN_ID)
        self._refusals = {right: text.format(self._conn_id) for right, text in _REFUSALS.items()}
        self._key = str(conf.get("api", "secret_key")).encode()  # the same in all processes of the API server
        self._session = lru_cache(MAX_SESSIONS)(_session)
        self._store = lru_cache(64)(_store)

    def basis(self, request: Request) -> str:
        """Say who may write."""
        return f"Airflow decides: who may edit the connection {self._conn_id} there may write here."

    def refusals(self, request: Request) -> Mapping[str, str]:
        """Return what is told to who lacks a right in Airflow."""
        return self._refusals

    def enter(self, request: Request, user: Annotated[Any, Depends(get_user)]) -> None:
        """Let a caller in whom Airflow knows and lets see plugins; what changes anything is for those who may write."""
        if not get_auth_manager().is_authorized_view(access_view=AccessView.PLUGINS, user=user):
            raise HTTPException(403, "These pages are for those who may see plugins in Airflow.")
        needed = _needed(request)
        if needed and not self._may_edit(user):
            raise HTTPException(403, self._refusals[needed])
        request.state.airflow_user = user

    def session(self, request: Request) -> Session | None:
        """Return the session of the user whom Airflow let in."""
        user = getattr(request.state, "airflow_user", None)
        return user and self._session(str(user.get_id()), str(user.get_name()))

    def store(self, request: Request, session: Session) -> Store:
        """Return the graph of the connection; what is written to it tells who did. Raises Misconfigured."""
        return self._store(*ArangopipeHook(self._conn_id).target(), session.user)

    def rights(self, request: Request, session: Session) -> Rights:
        """Return what Airflow lets the caller do, and the database the connection's user."""
        if not self._may_edit(request.state.airflow_user):
            return _NONE
        return session.remembered(lambda: self._granted(session))

    def runs_statements(self, request: Request) -> bool:
        """Return whether the caller may edit the connection, with whose rights a statement runs."""
        return self._may_edit(request.state.airflow_user)

    def _may_edit(self, user: Any) -> bool:
        team = (
            Connection.get_team_name(self._conn_id) if conf.getboolean("core", "multi_team", fallback=False) else None
        )
        details = ConnectionDetails(conn_id=self._conn_id, team_name=team)
        return bool(get_auth_manager().is_authorized_connection(method="PUT", details=details, user=user))

    def _granted(self, session: Session) -> Rights:
        url, timeout = ArangopipeHook(self._conn_id).target()
        if is_file(url):
            return _OF_A_FILE
        db = self._store(url, timeout, session.user).db
        return replace(rights(db, str(db.username)), administrate=False)

    def proof(self, request: Request) -> str:
        """Return what only a page that was given to this user can know."""
        session = self.session(request)
        return hmac.new(self._key, f"form of {session.id}".encode(), hashlib.sha256).hexdigest() if session else ""

    def unknown(self, request: Request, detail: str) -> Response:
        """Lead whom Airflow does not know to its sign-in; one whom it knows has met a connection that is not good."""
        if self.session(request) is not None:
            told = f"The connection {self._conn_id} opens no database: {detail}"
            return _failure(request, 503, "Unavailable", told)
        told = "Airflow does not know who you are, or not any more."
        return _failure(request, 401, "Sign in to Airflow", told, sign_in=_sign_in(request))


def _failure(request: Request, status: int, title: str, detail: str, **more: str) -> Response:
    return render(request, "failure.html", {"status": status, "title": title, "detail": detail, **more}, status)


def _needed(request: Request) -> str | None:
    """Return what right a request needs beside that to see the pages, by what is told to who lacks it."""
    if STATEMENTS in request.scope["route"].tags:
        return "statements"
    return "write" if may_change(request) else None


def _session(id: str, name: str) -> Session:
    return Session(id, "", name, math.inf)


def _store(url: str, timeout: float, user: str) -> Store:
    provenance = {"through": "airflow", "user": user}
    return Store(connect(url, timeout=timeout), provenance=provenance, seconds=STATEMENT_SECONDS)


def _sign_in(request: Request) -> str:
    """Return the address of Airflow's sign-in, which leads back here."""
    airflow = str(request.scope.get("root_path", "")).removesuffix(PREFIX)
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return f"{airflow}/api/v2/auth/login?next={quote(here, safe='')}"
