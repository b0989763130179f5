"""Templates to answers: how values are shown, and what every answer says to the browser."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from fastapi import Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from pydantic import BaseModel
from starlette.responses import HTMLResponse, RedirectResponse, Response

from arangopipe_ops import __version__, model
from arangopipe_ops.errors import Invalid
from arangopipe_ops.model import Document, Schema
from arangopipe_ops.web.pages.sessions import Session, callers_of, session_of

_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors "
)

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": f"{_POLICY}'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""What every answer says to the browser: nothing from elsewhere, nothing inline, nothing kept."""

_CONSOLE = "/query"

NAVIGATION: tuple[tuple[str, str], ...] = (
    ("/", "Overview"),
    ("/projects", "Projects"),
    ("/search", "Search"),
    ("/runs", "Runs"),
    ("/deployments", "Deployments"),
    ("/ask", "Ask"),
    (_CONSOLE, "Query"),
    ("/admin", "Administration"),
)
"""Where every page leads to, and how it is called there; the console only for those who may use it."""

MOST_INSIDE = 100
"""So many entries of a value are shown."""

_CODE = re.compile(r"`([^`]+)`")
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(:\d\d)?(\.\d+)?Z")
_TOLD = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d) UTC")


def render(request: Request, template: str, facts: Mapping[str, Any], status: int = 200) -> Response:
    """Return a page, with what a form has done before; one that is made apart gets that when it is shown."""
    callers, session = callers_of(request), session_of(request)
    made_apart = getattr(request.state, "made_apart", False)
    known = {
        "root": request.scope.get("root_path", ""),
        "page_path": path_of(request),
        "user": session and session.user,
        "navigation": _navigation(request) if session else (),
        "notice": session.told if session and not made_apart else lambda: None,
        "csrf": callers.proof(request),
        "signs_out": callers.signs_out,
        "refusals": callers.refusals(request),
    }
    headers = {**HEADERS, "Content-Security-Policy": _POLICY + callers.framed_by}
    return HTMLResponse(_TEMPLATES.get_template(template).render(**known, **facts), status, headers)


def _navigation(request: Request) -> Sequence[tuple[str, str]]:
    if callers_of(request).runs_statements(request):
        return NAVIGATION
    return [(path, label) for path, label in NAVIGATION if path != _CONSOLE]


def done(request: Request, session: Session, path: str, notice: str) -> Response:
    """Lead from a form that was carried out to a page, which says so."""
    session.notice = notice
    return redirect(request, path)


def redirect(request: Request, path: str) -> Response:
    """Lead to another page of ours."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}{path}", 303)


def path_of(request: Request) -> str:
    """Return the path of a request inside the application."""
    return str(request.scope["path"]).removeprefix(request.scope.get("root_path", ""))


def came_from(request: Request) -> str | None:
    """Return the path and query of the page that somebody came from, if that is another one of ours."""
    said = request.headers.get("referer", "")
    again = request.method == "GET" and said == str(request.url)
    try:
        came = urlsplit(said)
    except ValueError:
        return None
    ours = came.netloc == request.headers.get("host")
    return urlunsplit(("", "", f"/{came.path.lstrip('/')}", came.query, "")) if ours and not again else None


def download(content: str | bytes, media: str, name: str) -> Response:
    """Return a file to keep."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{plain}"'}
    content = content.encode(errors="replace") if isinstance(content, str) else content
    return Response(content, media_type=media, headers=headers)


def address_of(path: str, asked: BaseModel, **changes: Any) -> str:
    """Return the address of a page that was asked so, with some changes; what is usual is left out."""
    given = asked.model_copy(update=changes).model_dump(mode="json", exclude_defaults=True)
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def name_of(document: Document, schema: Schema) -> str:
    """Return what people call a node."""
    return str(document.get(schema.node(collection_of(document)).name, document["_key"]))


def kind_of(document: Document, schema: Schema) -> str:
    """Return the kind of a node."""
    return schema.node(collection_of(document)).kind


def collection_of(document: Document) -> str:
    """Return the collection of a document."""
    return str(document["_id"]).partition("/")[0]


def node_path(id: str) -> str:
    """Return the path of a node's page."""
    return f"/nodes/{quote(id, safe='/')}"


def deployment_path(id: str) -> str:
    """Return the path of a deployment's own page."""
    return f"/deployments/{quote(id.partition('/')[2], safe='')}"


def coded(text: str) -> Markup:
    """Return a text with what stands between backquotes marked as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))


def time_of(value: str) -> str | None:
    """Return a moment as people read it, or None for a text that is none."""
    found = _MOMENT.fullmatch(value)
    return f"{found[1]} {found[2]}{found[3] or ''} UTC" if found else None


def instant(value: Any) -> datetime | None:
    """Return a time as it is stored, None for anything else that another program wrote."""
    try:
        return datetime.fromisoformat(model.moment(value, "time"))
    except Invalid:
        return None


def moment(value: Any) -> Any:
    """Return a moment marked as one; any other value as it is."""
    read = time_of(value) if isinstance(value, str) else None
    return Markup('<time datetime="{}">{}</time>').format(value, read) if read else value


def timed(text: str) -> Markup:
    """Return a text with the times in it marked as such."""
    return Markup(_TOLD.sub(r'<time datetime="\1T\2Z">\g<0></time>', str(escape(text))))


def figure(value: float) -> str:
    """Return a number as people read it: with six digits, or, if it is large, whole and with its thousands apart."""
    if LARGE <= abs(value) < LARGEST:
        return f"{value:,.0f}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


LARGE, LARGEST = 10_000, 1e15


def plain(value: Any) -> str:
    """Return a value as text: JSON, but a text as it is."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def pretty(value: Any) -> str:
    """Return a value as JSON on many lines."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def scalar(value: Any) -> bool:
    """Return whether a value has nothing inside."""
    return not isinstance(value, dict | list)


_TEMPLATES = Environment(
    loader=PackageLoader("arangopipe_ops.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {
    "coded": coded,
    "deployment_path": deployment_path,
    "figure": figure,
    "moment": moment,
    "node_path": node_path,
    "plain": plain,
}
_TEMPLATES.tests |= {"scalar": scalar}
_TEMPLATES.globals |= {"most_inside": MOST_INSIDE, "version": __version__}
