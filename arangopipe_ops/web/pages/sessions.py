"""Who asks for a page, what they may do, and whether a form was sent from a page of ours."""

import hashlib
import hmac
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Annotated, Any, Protocol
from urllib.parse import parse_qsl

from fastapi import Depends, HTTPException, Request
from starlette.responses import Response

from arangopipe_ops.admin import Rights
from arangopipe_ops.errors import Invalid, Unauthorized
from arangopipe_ops.store import Store
from arangopipe_ops.web.access import Access

COOKIE = "arangopipe_session"
IDLE_SECONDS = 3600.0
RIGHTS_SECONDS = 60.0
MAX_SESSIONS = 10_000
MAX_FIELDS = 200

STATEMENTS = "statements"
"""The tag of routes that run what a caller writes, with all the rights that the graph was opened with."""

LOOKS = "looks"
"""The tag of forms that change nothing, for everybody who may see the pages."""


@dataclass
class Session:
    """Somebody who has signed in: the token of the database's, and until when it is kept.

    `rights` are what the database said that they may do, and until when that is believed; `notice` is what the next
    page has to tell them; `statements` are what they asked at the console, the newest first; `examination` is what they
    had the doctor look at last.
    """

    id: str
    token: str = field(repr=False)
    user: str
    until: float
    rights: tuple[Rights, float] | None = None
    notice: str | None = None
    statements: deque[Any] = field(default_factory=lambda: deque(maxlen=30))
    examination: Any = None

    def remembered(self, ask: Callable[[], Rights]) -> Rights:
        """Return the rights, which the database is asked once a minute: it decides at every write."""
        now = time.monotonic()
        if self.rights is None or self.rights[1] < now:
            self.rights = ask(), now + RIGHTS_SECONDS
        return self.rights[0]

    def told(self) -> str | None:
        """Return what there is to tell, once."""
        notice, self.notice = self.notice, None
        return notice


class Sessions:
    """The sessions of this process, in memory: who does nothing for `idle` seconds has to sign in again."""

    def __init__(self, idle: float = IDLE_SECONDS, most: int = MAX_SESSIONS) -> None:
        self.idle, self.most = idle, most
        self._secret = secrets.token_bytes(32)
        self._open: dict[str, Session] = {}
        self._lock = Lock()

    def open(self, token: str, user: str) -> Session:
        """Return a new session; where there are too many, the oldest end."""
        session = Session(secrets.token_urlsafe(32), token, user, time.monotonic() + self.idle)
        with self._lock:
            while len(self._open) >= self.most:
                del self._open[next(iter(self._open))]
            self._open[session.id] = session
        return session

    def find(self, id: str) -> Session | None:
        """Return the session of an id, which lasts longer for it, or None."""
        now = time.monotonic()
        with self._lock:
            session = self._open.get(id)
            if session is None or session.until < now:
                self._open.pop(id, None)
                return None
            session.until = now + self.idle
            return session

    def close(self, id: str) -> None:
        """End a session."""
        with self._lock:
            closed = self._open.pop(id, None)
        if closed:
            closed.examination = None

    def proof(self, cookie: str) -> str:
        """Return what a form of a page has to send along: only a page that was given the cookie can know it."""
        return hmac.new(self._secret, cookie.encode(errors="replace"), hashlib.sha256).hexdigest()


def sessions_of(request: Request) -> Sessions:
    """Return the sessions of the application."""
    sessions: Sessions = request.app.state.sessions
    return sessions


def access_of(request: Request) -> Access:
    """Return the access to the database that is served."""
    access: Access = request.app.state.access
    return access


def cookie_of(request: Request) -> str:
    """Return what the browser keeps for us, or will from this answer on, or an empty text."""
    return getattr(request.state, "cookie", None) or request.cookies.get(COOKIE, "")


class Callers(Protocol):
    """How it is known who asks for a page: by a sign-in of ours, or by what the pages are mounted in."""

    framed_by: str
    """Who may show a page in a frame, as a content security policy says it."""

    signs_out: bool
    """Whether pages offer to sign out."""

    def basis(self, request: Request) -> str:
        """Return in a sentence who decides what somebody may do."""

    def refusals(self, request: Request) -> Mapping[str, str]:
        """Return what is told to who lacks a right of `Rights`, and what it takes to have it."""

    def session(self, request: Request) -> Session | None:
        """Return who asks, or None."""

    def store(self, request: Request, session: Session) -> Store:
        """Return the graph as they see it."""

    def rights(self, request: Request, session: Session) -> Rights:
        """Return what they may do."""

    def runs_statements(self, request: Request) -> bool:
        """Return whether they may run statements of their own, without asking the database."""

    def proof(self, request: Request) -> str:
        """Return what a form has to send along, that only a page given to this browser can know, or an empty text."""

    def unknown(self, request: Request, detail: str) -> Response:
        """Answer who is not known, or not any more; `detail` says to whom."""


def callers_of(request: Request) -> Callers:
    """Return how the application knows who asks."""
    callers: Callers = request.app.state.callers
    return callers


def session_of(request: Request) -> Session | None:
    """Return who asks, or None."""
    return callers_of(request).session(request)


def keep(response: Response, request: Request, value: str) -> None:
    """Have the browser keep a value for us until it is closed: out of reach of scripts and of other sites."""
    secure = request.url.scheme == "https"
    path = request.scope.get("root_path") or "/"
    response.set_cookie(COOKIE, value, path=path, httponly=True, samesite="lax", secure=secure)


def may_change(request: Request) -> bool:
    """Return whether a request may change something: it is a form that does more than look."""
    return request.method not in ("GET", "HEAD") and LOOKS not in request.scope["route"].tags


async def form(request: Request) -> Mapping[str, str]:
    """Return the fields of a form; none of a body that is no form."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
        return {}
    try:
        return dict(parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError:
        return {}


Form = Annotated[Mapping[str, str], Depends(form)]


async def proven(request: Request, fields: Form) -> None:
    """Refuse a form that was not sent from a page of ours."""
    if request.method in ("GET", "HEAD"):
        return
    proof, expected = fields.get("csrf", ""), callers_of(request).proof(request)
    if not expected or not hmac.compare_digest(proof.encode(errors="replace"), expected.encode()):
        raise HTTPException(
            403, "This form is too old, or was not sent from a page of ours. Go back and load it again."
        )


async def current(request: Request) -> Session:
    """Return who asks. Raises Unauthorized."""
    session = session_of(request)
    if session is None:
        raise Unauthorized("Sign in first.")
    return session


CallersSession = Annotated[Session, Depends(current)]


async def signed_in(request: Request, session: CallersSession) -> Store:
    """Return the store as who asks sees it."""
    return callers_of(request).store(request, session)


CallersStore = Annotated[Store, Depends(signed_in)]


def rights_of(request: Request, session: CallersSession) -> Rights:
    """Return what who asks may do."""
    return callers_of(request).rights(request, session)


CallersRights = Annotated[Rights, Depends(rights_of)]


def needs(right: str) -> Any:
    """Return what a route depends on that is only for who has a right."""

    def check(request: Request, rights: CallersRights) -> None:
        if not getattr(rights, right):
            raise Unauthorized(callers_of(request).refusals(request)[right], signed_in=True)

    return Depends(check)


async def sure(fields: Form) -> None:
    """Refuse a form without the tick that says one means it."""
    if fields.get("sure") != "yes":
        raise Invalid("", "Nothing was changed: tick the box that says you are sure.")
