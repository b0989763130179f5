"""AQL typed by people: run, explained, remembered while they are signed in, and saved for all.

Whether a statement writes is what the database says when it explains it, which is done before each is run.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from arangopipe_ops.admin import Rights
from arangopipe_ops.errors import ArangopipeError, Conflict, Invalid, NotFound, Unauthorized
from arangopipe_ops.model import Document
from arangopipe_ops.store import Store
from arangopipe_ops.store.saved import forget_query, save_query, saved_queries
from arangopipe_ops.web.pages.exports import csv_file, json_file
from arangopipe_ops.web.pages.rendering import done, pretty, render
from arangopipe_ops.web.pages.sessions import (
    STATEMENTS,
    CallersRights,
    CallersSession,
    CallersStore,
    Form,
    Session,
    callers_of,
    needs,
)
from arangopipe_ops.web.problems import status_of
from arangopipe_ops.web.works import apart

SHOWN, KEPT, COLUMNS = 100, 10_000, 50
SECONDS, MEMORY = 20.0, 512 * 1024 * 1024
REMEMBERED, LONGEST = 4_000, 100_000

routes = APIRouter(tags=[STATEMENTS])


class Statement(NamedTuple):
    """A statement and the JSON of its bind variables, as they were typed."""

    text: str = ""
    binds: str = ""

    @property
    def address(self) -> str:
        """The path of the console with this in it, not yet run."""
        given = {name: value for name, value in self._asdict().items() if value}
        return f"/query?{urlencode(given)}" if given else "/query"

    def variables(self) -> Document:
        """Return the bind variables. Raises Invalid."""
        try:
            variables = json.loads(self.binds) if self.binds.strip() else {}
        except ValueError as error:
            raise Invalid("bind variables", f"are not JSON: {error}") from None
        if not isinstance(variables, dict):
            raise Invalid("bind variables", 'are to be an object of JSON, as {"name": "wine"}')
        return variables


class Console(NamedTuple):
    """Somebody at the console, and what they ask."""

    request: Request
    store: Store
    session: Session
    rights: Rights
    asked: Statement
    name: str = ""

    def page(self, status: int = 200, **facts: Any) -> Response:
        """Return the page with the form, what became of the statement, and those of before."""
        known = {
            "asked": self.asked,
            "name": self.name,
            "past": list(self.session.statements),
            "saved": {name: (Statement(it["text"], it["binds"]), it) for name, it in saved_queries(self.store).items()},
            "may": self.rights,
            "limits": {"rows": SHOWN, "kept": KEPT, "seconds": SECONDS},
        }
        nothing = {"problem": None, "place": None, "plan": None, "rows": None}
        return render(self.request, "console.html", {**known, **nothing, **facts}, status)

    def remember(self) -> None:
        """Keep the statement with the session, as the newest."""
        past = self.session.statements
        if sum(map(len, self.asked)) <= REMEMBERED:
            if self.asked in past:
                past.remove(self.asked)
            past.appendleft(self.asked)


def at_console(
    request: Request, store: CallersStore, session: CallersSession, rights: CallersRights, fields: Form
) -> Console:
    """Return who sent a form, and the statement in it."""
    text = fields.get("text", "").replace("\r\n", "\n")
    return Console(request, store, session, rights, Statement(text, fields.get("binds", "")), fields.get("name", ""))


AtConsole = Annotated[Console, Depends(at_console)]


@routes.get("/query")
def console(console: AtConsole, text: str = "", binds: str = "", saved: str = "") -> Response:
    """Show the form, with a statement that stands in the address or is saved."""
    if saved:
        queries = saved_queries(console.store)
        if saved not in queries:
            raise NotFound([saved])
        text, binds = queries[saved]["text"], queries[saved]["binds"]
    return console._replace(asked=Statement(text, binds), name=saved).page()


@routes.post("/query")
@apart
def ask(request: Request, console: AtConsole, fields: Form) -> Response:
    """Run a statement that only reads, or explain any."""
    return _answered(console, fields, writes=False)


@routes.post("/query/write", dependencies=[needs("write")])
def write(console: AtConsole, fields: Form) -> Response:
    """Run a statement that may write, if its form says so."""
    return _answered(console, fields, writes=fields.get("sure") == "yes")


@routes.post("/query/save", dependencies=[needs("write")])
def save(console: AtConsole) -> Response:
    """Save a statement under a name."""
    try:
        replaced = save_query(console.store, console.name, *console.asked, by=console.session.user)
    except (Invalid, Conflict) as error:
        return console.page(status_of(error), problem=str(error))
    instead = f", in the place of what {replaced['by']} had saved" if replaced else ""
    told = f"{console.name.strip()} is saved, for all who read this graph{instead}."
    return done(console.request, console.session, console.asked.address, told)


@routes.post("/query/forget", dependencies=[needs("write")])
def forget(console: AtConsole, fields: Form) -> Response:
    """Remove a saved statement."""
    name = fields.get("name", "")
    told = "is removed" if forget_query(console.store, name) else "was not saved"
    return done(console.request, console.session, "/query", f"{name} {told}.")


def _answered(console: Console, fields: Mapping[str, str], *, writes: bool) -> Response:
    """Do with a statement what a form says. What the database says against it stands beside the form."""
    console.remember()
    try:
        return _done(console, fields.get("do", "run"), writes)
    except Unauthorized as error:
        if not error.signed_in:
            raise
        return console.page(403, problem=str(error))
    except ArangopipeError as error:
        return console.page(status_of(error), problem=str(error), place=_place(str(error), console.asked.text))


def _done(console: Console, what: str, writes: bool) -> Response:
    text, variables = console.asked.text, console.asked.variables()
    plan = console.store.explain(text, variables)
    if what == "explain":
        return console.page(plan=plan, nodes=list(_nodes(plan["nodes"])), raw=pretty(plan))
    if plan["isModificationQuery"] and not writes:
        if not console.rights.write:
            raise Unauthorized(callers_of(console.request).refusals(console.request)["write"], signed_in=True)
        return console.page(422, problem=_REFUSED)
    limit = SHOWN if what == "run" else KEPT
    started = time.perf_counter()
    rows = console.store.query(text, variables, limit=limit + 1, seconds=SECONDS, memory=MEMORY)
    took = time.perf_counter() - started
    if what == "json":
        return json_file(rows[:limit], "result.json")
    columns = _columns(rows)
    if what == "csv":
        return csv_file(columns, [_row(row, columns) for row in rows[:limit]], "result.csv")
    return console.page(
        rows=rows[:limit],
        more=len(rows) > limit,
        columns=columns[:COLUMNS],
        collections={type_.collection for type_ in console.store.schema.nodes.values()},
        cells=[_row(row, columns) for row in rows[:limit]],
        wrote=plan["isModificationQuery"],
        took=took,
        raw=raw if len(raw := pretty(rows[:limit])) <= LONGEST else None,
    )


_REFUSED = "This statement would write, and nothing was run. Tick the box that says you mean it, and run it there."


def _columns(rows: Sequence[Any]) -> list[str]:
    """Return the attributes of rows, in the order in which they appear, or one column for what has none."""
    if not rows or not all(isinstance(row, dict) for row in rows):
        return ["value"]
    return list(dict.fromkeys(name for row in rows for name in row)) or ["value"]


def _row(row: Any, columns: Sequence[str]) -> Document:
    return row if isinstance(row, dict) and columns != ["value"] else {"value": row}


def _nodes(nodes: Sequence[Document], level: int = 0) -> Iterator[Document]:
    """Yield the nodes of a plan, those of subqueries beneath the one that has them."""
    for node in nodes:
        indexes = [f"{it['type']} ({', '.join(map(str, it.get('fields', [])))})" for it in _indexes(node)]
        yield {
            "level": level,
            "type": node["type"].removesuffix("Node"),
            "collection": node.get("collection", ""),
            "indexes": indexes,
            "cost": node.get("estimatedCost"),
            "rows": node.get("estimatedNrItems"),
        }
        yield from _nodes(node.get("subquery", {}).get("nodes", []), level + 1)


def _indexes(node: Document) -> list[Document]:
    """Return the indexes that a node of a plan uses; those of a traversal are by depth."""
    used = node.get("indexes", [])
    return used if isinstance(used, list) else used.get("base", [])


def _place(problem: str, text: str) -> tuple[int, str, str] | None:
    """Return the line that an error is about: its number, and its text before and from there on."""
    found = re.search(r"position (\d+):(\d+)", problem)
    lines = text.split("\n")
    if found is None or not 1 <= int(found[1]) <= len(lines):
        return None
    line, column = lines[int(found[1]) - 1], max(0, int(found[2]) - 1)
    return int(found[1]), line[:column], line[column:]
