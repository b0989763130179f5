"""Where a node comes from and what it led to: drawn, as lists, and as files."""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Query, Request
from markupsafe import Markup
from pydantic import BaseModel, Field
from starlette.responses import Response

from arangopipe_ops import drawing
from arangopipe_ops.errors import Invalid, Misconfigured, Unavailable
from arangopipe_ops.model import Cut, Lineage, LineageEdge, LineageNode, Schema
from arangopipe_ops.store import Link, Neighbourhood, Store
from arangopipe_ops.web.pages.nodes import rows_of
from arangopipe_ops.web.pages.rendering import address_of, download, kind_of, name_of, node_path, render
from arangopipe_ops.web.pages.sessions import CallersStore
from arangopipe_ops.web.pages.waiting import patient

FANS, MOST = (8, 25, 100, 500), (150, 500, drawing.MAX_NODES)
OPENED, BESIDE, LISTED, PAGE = 5, 25, 500, 100
DEPTHS = range(9)

routes = APIRouter()


class Asked(BaseModel):
    """How much of a lineage is shown: `fan` nodes by one type of edge, `most` in all, more around those in `open`."""

    direction: Literal["both", "upstream", "downstream"] = "both"
    depth: int = Field(4, ge=DEPTHS[0], le=DEPTHS[-1])
    fan: int = Field(FANS[0], ge=1, le=FANS[-1])
    most: int = Field(MOST[0], ge=1, le=MOST[-1])
    open: list[str] = Field([], max_length=OPENED)

    def query(self, **changes: object) -> str:
        """Return what stands in the address for this, with some changes."""
        return address_of("", self, **changes)

    def found(self, store: Store, id: str) -> Lineage:
        """Return the lineage of a node, with what the nodes in `open` are linked to beside it."""
        lineage = store.lineage(id, direction=self.direction, depth=self.depth, fan=self.fan, limit=self.most)
        for each in self.open:
            if any(node["_id"] == each for node in lineage["nodes"]):
                _widen(lineage, store.neighbours(each, limit=BESIDE), store.schema)
        return lineage


Shown = Annotated[Asked, Query()]


@routes.get("/nodes/{collection}/{key}/lineage")
@patient
def lineage(request: Request, store: CallersStore, collection: str, key: str, asked: Shown) -> Response:
    """Draw where a node comes from and what it led to; every box leads to that node's lineage."""
    found = asked.found(store, f"{collection}/{key}")
    picture, problem = drawn(request, found, store.schema, asked.query(open=[]))
    facts = {
        "asked": asked,
        "start": found["nodes"][0],
        "rows": _rows(found["nodes"][:LISTED], store.schema),
        "cut": _cuts(found),
        "count": len(found["nodes"]),
        "drawn": picture,
        "problem": problem,
        "formats": {ending: label for ending, (label, _, _) in FORMATS.items()},
        "choices": {"fan": sorted({*FANS, asked.fan}), "most": sorted({*MOST, asked.most}), "depth": DEPTHS},
        "openable": len(asked.open) < OPENED,
    }
    return render(request, "lineage.html", facts)


def drawn(request: Request, lineage: Lineage, schema: Schema, query: str = "") -> tuple[Markup | None, str | None]:
    """Return a lineage as a picture to stand in a page, or why there is none. A box leads to its node's lineage."""
    root = request.scope.get("root_path", "")
    try:
        picture = drawing.svg(
            lineage, schema, lambda id: f"{root}{node_path(id)}/lineage{query}", lambda cut: root + rest_path(cut)
        ).decode()
    except (Invalid, Misconfigured, Unavailable) as error:
        return None, str(error)
    return Markup(picture[picture.index("<svg") :]), None  # Graphviz escapes what it writes


FORMATS: Mapping[str, tuple[str, str, Callable[[Lineage, Schema], str | bytes]]] = {
    "svg": ("SVG", "image/svg+xml", drawing.svg),
    "png": ("PNG", "image/png", drawing.png),
    "dot": ("DOT", "text/vnd.graphviz", drawing.dot),
    "mmd": ("Mermaid", "text/plain; charset=utf-8", drawing.mermaid),
}
"""What a lineage can be kept as, by the ending of the file."""


@routes.get("/nodes/{collection}/{key}/lineage.{ending}")
def lineage_file(store: CallersStore, collection: str, key: str, ending: str, asked: Shown) -> Response:
    """Return a lineage as a file."""
    if ending not in FORMATS:
        raise HTTPException(404, f"There is no {ending} of a lineage, but {', '.join(FORMATS)}.")
    _, media, draw = FORMATS[ending]
    found = asked.found(store, f"{collection}/{key}")
    return download(draw(found, store.schema), media, f"lineage-{key}.{ending}")


@routes.get("/nodes/{collection}/{key}/impact")
@patient
def impact(request: Request, store: CallersStore, collection: str, key: str) -> Response:
    """List what depends on a node."""
    found = store.dependents(f"{collection}/{key}")
    lineage = found["lineage"]
    kinds: dict[str, list[LineageNode]] = {}
    for node in lineage["nodes"][1:]:
        kinds.setdefault(node["kind"], []).append(node)
    facts = {
        "start": lineage["nodes"][0],
        "active": rows_of(found["active"], store.schema),
        "complete": found["complete"],
        "kinds": {kind: _rows(kinds[kind], store.schema) for kind in sorted(kinds, key=lambda kind: len(kinds[kind]))},
        "cut": _cuts(lineage),
    }
    return render(request, "impact.html", facts)


@routes.get("/nodes/{collection}/{key}/linked")
def linked(
    request: Request,
    store: CallersStore,
    collection: str,
    key: str,
    edge: str,
    outward: bool = True,
    skip: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """List all that edges of one type link a node to, page by page."""
    found = store.linked(f"{collection}/{key}", edge, outward=outward, limit=PAGE, skip=skip)
    path = rest_path(Cut(node=found["node"]["_id"], edge=edge, outward=outward, more=0, exact=False))
    facts = {
        "node": found["node"],
        "name": name_of(found["node"], store.schema),
        "kind": kind_of(found["node"], store.schema),
        "edge": edge,
        "outward": outward,
        "other": found["kind"],
        "rows": rows_of(found["nodes"], store.schema),
        "total": found["total"],
        "skip": skip,
        "before": f"{path}&skip={max(0, skip - PAGE)}" if skip else None,
        "after": f"{path}&skip={skip + PAGE}" if skip + PAGE < found["total"] else None,
    }
    return render(request, "linked.html", facts)


def rest_path(cut: Cut) -> str:
    """Return the path of the list that has what is cut of a fan."""
    outward = "true" if cut["outward"] else "false"
    return f"{node_path(cut['node'])}/linked?{urlencode({'edge': cut['edge'], 'outward': outward})}"


def _rows(nodes: list[LineageNode], schema: Schema) -> list[dict[str, object]]:
    """Return nodes of a lineage as tables show them."""
    rows = rows_of([node["document"] for node in nodes], schema)
    return [{**row, "depth": node["depth"]} for row, node in zip(rows, nodes, strict=True)]


def _cuts(lineage: Lineage) -> list[dict[str, object]]:
    """Return what is cut of a lineage: how much of which fan, and where all of it is listed."""
    names = {node["_id"]: node["name"] for node in lineage["nodes"]}
    return [
        {"said": drawing.said(cut), "edge": cut["edge"], "name": names[cut["node"]], "path": rest_path(cut)}
        for cut in lineage["cut"]
    ]


def _widen(lineage: Lineage, around: Neighbourhood, schema: Schema) -> None:
    """Add to a lineage what one of its nodes is linked to."""
    known = {node["_id"]: node for node in lineage["nodes"]}
    here = known[around["node"]["_id"]]
    flows = {(edge["edge"], edge["upstream"], edge["downstream"]) for edge in lineage["edges"]}
    for link in around["links"]:
        edges = [_flow(here["_id"], node["_id"], link, schema) for node in link["nodes"]]
        new = [edge for edge in edges if (edge["edge"], edge["upstream"], edge["downstream"]) not in flows]
        lineage["edges"] += new
        lineage["nodes"] += [
            LineageNode(
                _id=node["_id"], kind=link["kind"], name=name_of(node, schema), depth=here["depth"] + 1, document=node
            )
            for node in link["nodes"]
            if node["_id"] not in known
        ]
        known |= {node["_id"]: node for node in lineage["nodes"]}
        _uncut(lineage, here["_id"], link, len(new))


def _flow(here: str, other: str, link: Link, schema: Schema) -> LineageEdge:
    away = (schema.edge(link["edge"]).upstream == "from") == link["outward"]
    upstream, downstream = (here, other) if away else (other, here)
    return LineageEdge(edge=link["edge"], upstream=upstream, downstream=downstream, document={})


def _uncut(lineage: Lineage, here: str, link: Link, new: int) -> None:
    """Say how much of a fan is cut now that more of it is shown."""
    fan = (here, link["edge"], link["outward"])
    before = [cut for cut in lineage["cut"] if (cut["node"], cut["edge"], cut["outward"]) == fan]
    lineage["cut"] = [cut for cut in lineage["cut"] if cut not in before]
    if link["more"]:
        more, exact = (max(0, before[0]["more"] - new), before[0]["exact"]) if before else (0, False)
        lineage["cut"].append(Cut(node=here, edge=link["edge"], outward=link["outward"], more=more, exact=exact))
