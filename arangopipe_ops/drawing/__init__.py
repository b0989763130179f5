"""Draw a lineage: as a tree of text, as DOT, Mermaid, SVG or PNG."""

import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from arangopipe_ops.drawing.graphviz import drawn
from arangopipe_ops.errors import Invalid
from arangopipe_ops.model import ANNOTATIONS, SCHEMA, Cut, Document, Lineage, LineageNode, Schema

MAX_NODES, MAX_EDGES = 2000, 8000
"""What a picture shows at most."""

_NAME_LENGTH, _SUMMARY_LENGTH, _SUMMARY_ITEMS = 60, 60, 4
_BOX_WIDTH, _BOX_ITEMS, _TOOLTIP_LENGTH, _TOOLTIP_ITEMS = 34, 3, 400, 12
_LABELLED, _QUICK = 60, 300
_LOOKS = (
    ("folder", "#dbeafe"),
    ("cylinder", "#dcfce7"),
    ("tab", "#ccfbf1"),
    ("component", "#fef3c7"),
    ("box", "#e5e7eb"),
    ("note", "#ede9fe"),
    ("note", "#fae8ff"),
    ("box3d", "#fee2e2"),
    ("note", "#ffedd5"),
    ("octagon", "#fecaca"),
)
"""Shape and colour of nodes by their kind's place in the schema; the kind stands in each as text."""


def tree(lineage: Lineage, schema: Schema = SCHEMA) -> str:
    """Return a lineage as indented text, each node once, under the nearest node that leads to it.

    `←` leads to what influenced the node above, `→` to what it influenced or what was observed of it.
    """
    nodes = {node["_id"]: node for node in lineage["nodes"]}
    children = _spanning(lineage)
    rest: dict[str, list[str]] = defaultdict(list)
    for cut in lineage["cut"]:
        rest[cut["node"]].append(f"{said(cut)} by {cut['edge']}")

    def lines(id: str, lead: str, arrow: str) -> Iterator[str]:
        yield arrow + _line(nodes[id], schema)
        below = [lines(child, lead, f"{pointing} ") for child, pointing in children[id]]
        below += [iter([text]) for text in rest[id]]
        for i, inner in enumerate(below):
            last = i == len(below) - 1
            yield ("└─ " if last else "├─ ") + next(inner)
            yield from (("   " if last else "│  ") + line for line in inner)

    return "\n".join(lines(lineage["start"], "", ""))


def dot(
    lineage: Lineage,
    schema: Schema = SCHEMA,
    link: Callable[[str], str] | None = None,
    rest: Callable[[Cut], str] | None = None,
) -> str:
    """Return a lineage in Graphviz's language, upstream at the left.

    `link` gives the address of a node by its `_id`, `rest` that of what is cut. Of many edges each tells its type
    only when it is pointed at: labels double the time to draw. What takes long to place is placed less neatly.
    """
    labelled, quick = len(lineage["edges"]) <= _LABELLED, len(lineage["nodes"]) > _QUICK
    rows = [
        "digraph lineage {",
        '  graph [rankdir=LR, bgcolor="transparent", fontname="Helvetica", nodesep=0.25, ranksep=0.6'
        + (", nslimit=0.1, nslimit1=0.1, mclimit=0.1];" if quick else "];"),
        '  node [style="rounded,filled", fontname="Helvetica", fontsize=11, color="#64748b"];',
        '  edge [fontname="Helvetica", fontsize=9, color="#94a3b8", fontcolor="#64748b", arrowsize=0.7];',
    ]
    for node in lineage["nodes"]:
        shape, fill = _LOOKS[list(schema.nodes).index(node["kind"]) % len(_LOOKS)]
        looks = {"label": _dot_lines(_box(node, schema)), "tooltip": _dot_lines(_told_of(node, schema))}
        looks |= {"shape": shape, "fillcolor": fill}
        if node["_id"] == lineage["start"]:
            looks["penwidth"] = "2.5"
        if link is not None:
            looks["URL"] = _dot_text(link(node["_id"]))
        rows.append(f'  "{node["_id"]}" [{_dot_attributes(looks)}];')
    for edge in lineage["edges"]:
        name = _dot_text(edge["edge"])
        looks = {"tooltip": name} | ({"label": name} if labelled else {})
        rows.append(f'  "{edge["upstream"]}" -> "{edge["downstream"]}" [{_dot_attributes(looks)}];')
    for i, cut in enumerate(lineage["cut"]):
        looks = {"label": said(cut), "tooltip": _dot_lines([said(cut), cut["edge"]])}
        looks |= {"shape": "box", "style": "dashed,rounded", "class": "cut"}
        if rest is not None:
            looks["URL"] = _dot_text(rest(cut))
        ends = _flow(cut, f"cut {i}", schema)
        rows.append(f'  "cut {i}" [{_dot_attributes(looks)}];')
        rows.append(f'  "{ends[0]}" -> "{ends[1]}" [style=dashed, tooltip="{_dot_text(cut["edge"])}"];')
    return "\n".join([*rows, "}"])


def mermaid(lineage: Lineage, schema: Schema = SCHEMA) -> str:
    """Return a lineage as a Mermaid flowchart, which Markdown pages draw."""
    short = {node["_id"]: f"n{i}" for i, node in enumerate(lineage["nodes"])}
    rows = ["flowchart LR"]
    for node in lineage["nodes"]:
        parts = [_mermaid_text(line) for line in _box(node, schema)]
        rows.append(f'  {short[node["_id"]]}["{"<br/>".join(parts)}"]')
    rows += [f"  {short[e['upstream']]} -->|{e['edge']}| {short[e['downstream']]}" for e in lineage["edges"]]
    for i, cut in enumerate(lineage["cut"]):
        upstream, downstream = _flow(cut, f"c{i}", schema)
        rows.append(f'  c{i}(["{said(cut)}"])')
        rows.append(f"  {short.get(upstream, upstream)} -.->|{cut['edge']}| {short.get(downstream, downstream)}")
    return "\n".join(rows)


def svg(
    lineage: Lineage,
    schema: Schema = SCHEMA,
    link: Callable[[str], str] | None = None,
    rest: Callable[[Cut], str] | None = None,
) -> bytes:
    """Return a lineage drawn by Graphviz as SVG, with links as in `dot`.

    Raises Invalid for more than a picture shows or what takes too long to draw, Misconfigured where pygraphviz is
    not installed, and Unavailable while too much is drawn.
    """
    return _picture("svg", lineage, dot(lineage, schema, link, rest))


def png(lineage: Lineage, schema: Schema = SCHEMA) -> bytes:
    """Return a lineage drawn by Graphviz as PNG. Raises what `svg` raises."""
    return _picture("png", lineage, dot(lineage, schema))


def _picture(format: str, lineage: Lineage, text: str) -> bytes:
    nodes, edges = len(lineage["nodes"]), len(lineage["edges"])
    if nodes > MAX_NODES or edges > MAX_EDGES:
        raise Invalid(
            "lineage",
            f"{nodes:,} nodes and {edges:,} edges are more than a picture shows, which are {MAX_NODES:,} and "
            f"{MAX_EDGES:,}. Lower the depth, take one side, or less of large fans.",
        )
    return drawn(text, format, nodes + edges)


def said(cut: Cut) -> str:
    """Return how many nodes are left out, as text."""
    if cut["exact"]:
        return f"and {cut['more']:,} more"
    return f"and more than {cut['more']:,} more" if cut["more"] else "and more"


def summary(kind: str, document: Document, schema: Schema = SCHEMA) -> str:
    """Return the few attributes that say most about a node, as `name value` pairs; only a single one is cut short."""
    told = _told(kind, document, schema)[:_SUMMARY_ITEMS]
    texts = [", ".join(told), *(", ".join([*told[:most], "…"]) for most in range(len(told) - 1, 0, -1))]
    return next((text for text in texts if len(text) <= _SUMMARY_LENGTH), _clipped(texts[-1], _SUMMARY_LENGTH))


def _told(kind: str, document: Document, schema: Schema) -> list[str]:
    type_ = schema.node(kind)
    told = type_.shows or [name for name in sorted(document) if _telling(name, document, type_.identity)]
    return [f"{name} {_short(document[name])}" for name in told if document.get(name) is not None]


def _box(node: LineageNode, schema: Schema) -> list[str]:
    """Return the lines in a node's box: kind, name, version and what says most about it."""
    version = node["document"].get("version")
    told = [*([f"version {version}"] if version else []), *_told(node["kind"], node["document"], schema)[:_BOX_ITEMS]]
    return [node["kind"], _shortened(node["name"], _BOX_WIDTH), *(_clipped(line, _BOX_WIDTH) for line in told)]


def _told_of(node: LineageNode, schema: Schema) -> list[str]:
    """Return the lines that tell what is known of a node at a glance, with its name whole."""
    about = [_clipped(line, _TOOLTIP_LENGTH) for line in _told(node["kind"], node["document"], schema)[:_TOOLTIP_ITEMS]]
    version = node["document"].get("version")
    told = [*([f"version {version}"] if version else []), *about]
    return [node["kind"], _clipped(node["name"], _TOOLTIP_LENGTH), node["_id"], *told]


def _flow(cut: Cut, other: str, schema: Schema) -> tuple[str, str]:
    """Return the node that is left out, and the one whose fan it is of, upstream first."""
    away = schema.edge(cut["edge"]).upstream == "from"
    return (cut["node"], other) if cut["outward"] == away else (other, cut["node"])


def _telling(name: str, document: Mapping[str, Any], identity: Sequence[str]) -> bool:
    apart = {"created", "revised", "digest", "provenance", *ANNOTATIONS, *identity}
    return not name.startswith("_") and name not in apart and isinstance(document[name], str | int | float)


def _spanning(lineage: Lineage) -> dict[str, list[tuple[str, str]]]:
    """Return each node's children in a breadth-first tree from the start, with the arrow that leads to them."""
    steps: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for edge in lineage["edges"]:
        steps[edge["downstream"]].append((edge["upstream"], "←"))
        steps[edge["upstream"]].append((edge["downstream"], "→"))
    children: dict[str, list[tuple[str, str]]] = defaultdict(list)
    seen, queue = {lineage["start"]}, deque([lineage["start"]])
    while queue:
        id = queue.popleft()
        for step in steps[id]:
            if step[0] not in seen:
                seen.add(step[0])
                children[id].append(step)
                queue.append(step[0])
    return children


def _line(node: LineageNode, schema: Schema) -> str:
    about = summary(node["kind"], node["document"], schema)
    return f"{node['kind']} {_name(node)}" + (f"  ({about})" if about else "")


def _name(node: LineageNode) -> str:
    version = node["document"].get("version")
    return _shortened(node["name"], _NAME_LENGTH) + (f" @{_clipped(str(version), 16)}" if version else "")


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return f"{len(value)}"
    return _MOMENT.sub(r"\1 \2 UTC", " ".join(str(value).split()))


_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)[\d:.]*Z")


def _shortened(name: str, length: int) -> str:
    """Return a name of bearable length; names that orchestrators make differ at their ends."""
    name = " ".join(name.split())
    return name if len(name) <= length else f"{name[: length // 2]}…{name[-(length // 2 - 1) :]}"


def _clipped(text: str, length: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"


def _dot_attributes(looks: Mapping[str, str]) -> str:
    return ", ".join(f'{name}="{value}"' for name, value in looks.items())


def _dot_lines(lines: Sequence[str]) -> str:
    return "\\n".join(_dot_text(line) for line in lines)


def _dot_text(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text).replace("\\", "\\\\").replace('"', '\\"')


_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
"""Characters that no XML document may hold, and that end a string of Graphviz's."""


def _mermaid_text(text: str) -> str:
    escaped = text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
    return escaped.replace("#", "&#35;")
