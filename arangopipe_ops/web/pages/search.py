"""Search over all kinds: the whole state is in the address, so that it can be saved and sent."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from arangopipe_ops.errors import Invalid
from arangopipe_ops.model import Document, Schema
from arangopipe_ops.store import Page, Store
from arangopipe_ops.store.conditions import CONDITIONS_HELP, conditions_in
from arangopipe_ops.store.search import MAX_PAGE
from arangopipe_ops.web.pages.exports import csv_file, json_file
from arangopipe_ops.web.pages.nodes import rows_of
from arangopipe_ops.web.pages.rendering import address_of, kind_of, render
from arangopipe_ops.web.pages.sessions import CallersStore

LIMITS = (25, 50, 100, 500)
WITHIN_KIND, WITHIN_ALL = 5_000, 1_000
"""So many nodes of each kind are looked at where no index serves, of one kind or of all."""

NOTES = ("owner", "tags")

routes = APIRouter()


class Asked(BaseModel):
    """What is looked for, as the form has it; an empty text is a condition that is not made."""

    kind: str = ""
    text: str = ""
    name: str = ""
    tag: str = ""
    where: str = ""
    since: str = ""
    until: str = ""
    sort: str = "created"
    way: Literal["asc", "desc"] = "desc"
    archived: bool = False
    columns: Literal["few", "all"] = "few"
    limit: int = Field(50, ge=1, le=500)
    cursor: str = ""

    @property
    def filtered(self) -> bool:
        """Whether it looks for less than all nodes."""
        return any((self.kind, self.text, self.name, self.tag, self.where.strip(), self.since, self.until))

    @property
    def of_kind_alone(self) -> bool:
        """Whether it looks for all nodes of a kind, from the first."""
        return bool(self.kind) and not self.cursor and not self.model_copy(update={"kind": ""}).filtered

    @property
    def within(self) -> int:
        """How many nodes of a kind are looked at, at most."""
        return WITHIN_KIND if self.kind else WITHIN_ALL

    def address(self, path: str = "/search", **changes: Any) -> str:
        """Return the address of this search with some changes, on its first page unless a cursor is given."""
        return address_of(path, self, **{"cursor": "", **changes})

    def found(self, store: Store, limit: int) -> Page:
        """Return a page of what is found. Raises Invalid."""
        where = conditions_in(self.where)
        if self.tag:
            where.setdefault("tags", {})["has"] = self.tag
        return store.search(
            self.kind or None,
            where,
            text=self.text or None,
            name=self.name or None,
            since=self.since or None,
            until=self.until or None,
            archived=self.archived,
            order_by=self.sort,
            descending=self.way == "desc",
            limit=limit,
            cursor=self.cursor or None,
            within=self.within,
        )


Search = Annotated[Asked, Query()]


@routes.get("/search")
def search(request: Request, store: CallersStore, asked: Search) -> Response:
    """Show the form and a page of what is found; what cannot be asked is told beside the form."""
    schema = store.stage().schema
    page, problem = Page(nodes=[], total=None, cursor=None), None
    try:
        page = asked.found(store, asked.limit)
    except Invalid as error:
        problem = str(error)
    facts = {
        "asked": asked,
        "problem": problem,
        "page": page,
        "rows": rows_of(page["nodes"], schema),
        "columns": columns_of(asked, page["nodes"], schema),
        "kinds": list(schema.nodes),
        "sorts": sorts_of(asked.kind, schema),
        "limits": sorted({*LIMITS, asked.limit}),
        "most": MAX_PAGE,
        "reached": page.get("reached", {}),
        "conditions_help": CONDITIONS_HELP,
    }
    return render(request, "search.html", facts, 422 if problem else 200)


@routes.get("/search.csv")
def search_csv(store: CallersStore, asked: Search) -> Response:
    """Return what is found as a table with all attributes, up to the store's largest page."""
    nodes = _exported(store, asked)
    return csv_file(["_id", "_kind", *_attributes(nodes)], nodes, "nodes.csv")


@routes.get("/search.json")
def search_json(store: CallersStore, asked: Search) -> Response:
    """Return the nodes that are found, up to the store's largest page."""
    return json_file(_exported(store, asked), "nodes.json")


def _exported(store: Store, asked: Asked) -> list[Document]:
    schema = store.stage().schema
    return [{**node, "_kind": kind_of(node, schema)} for node in asked.found(store, MAX_PAGE)["nodes"]]


def columns_of(asked: Asked, nodes: list[Document], schema: Schema) -> list[str]:
    """Return the attributes to show beside kind, name and time of registration."""
    if asked.columns == "all":
        return [name for name in _attributes(nodes) if name != "created"]
    if not schema.has(asked.kind):
        return list(NOTES)
    type_ = schema.node(asked.kind)
    known = [*(name for name in type_.identity if name != type_.name), *type_.shows, *NOTES]
    return list(dict.fromkeys(known))


def sorts_of(kind: str, schema: Schema) -> list[str]:
    """Return the attributes to offer for sorting."""
    if not schema.has(kind):
        return ["created", "revised", "owner"]
    type_ = schema.node(kind)
    return list(dict.fromkeys(["created", "revised", type_.name, *type_.identity, *type_.shows, "owner"]))


def _attributes(nodes: list[Document]) -> list[str]:
    """Return all attributes that nodes have, beginning with what they are called."""
    named = {name for node in nodes for name in node if not name.startswith("_")}
    first = sorted({"name", "run_id", "version"} & named)
    return first + sorted(named - set(first))
