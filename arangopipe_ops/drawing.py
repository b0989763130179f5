"""Draw a lineage: as a tree of text, as DOT, Mermaid or SVG."""

import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Lock
from typing import Any

from arangopipe_ops.errors import Misconfigured
from arangopipe_ops.model import ANNOTATIONS, SCHEMA, Document, Lineage, LineageNode, Schema

_NAME_LENGTH, _SUMMARY_LENGTH, _SUMMARY_ITEMS = 60, 60, 4
_BOX_WIDTH, _BOX_ITEMS, _TOOLTIP_LENGTH = 34, 3, 400
_FILLS = ("#dbeafe", "#dcfce7", "#ccfbf1", "#fef3c7", "#e5e7eb", "#ede9fe", "#fae8ff", "#fee2e2", "#ffedd5")


def tree(lineage: Lineage, schema: Schema = SCHEMA) -> str:
    """Return a lineage as indented text, each node once, under the nearest node that leads to it.

    `←` leads to what influenced the node above, `→` to what it influenced or what was observed of it.
    """
    nodes = {node["_id"]: node for node in lineage["nodes"]}
    children = _spanning(lineage)

    def lines(id: str, lead: str, arrow: str) -> Iterator[str]:
        yield arrow + _line(nodes[id], schema)
        below = children[id]
        for i, (child, pointing) in enumerate(below):
            last = i == len(below) - 1
            inner = lines(child, lead, f"{pointing} ")
            yield ("└─ " if last else "├─ ") + next(inner)
            yield from (("   " if last else "│  ") + line for line in inner)

    return "\n".join(lines(lineage["start"], "", ""))


def dot(lineage: Lineage, schema: Schema = SCHEMA, link: Callable[[str], str] | None = None) -> str:
    """Return a lineage in Graphviz's language, upstream at the left; `link` gives a node's address by its `_id`."""
    rows = [
        "digraph lineage {",
        '  graph [rankdir=LR, bgcolor="transparent", fontname="Helvetica", nodesep=0.25, ranksep=0.6];',
        '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11, color="#64748b"];',
        '  edge [fontname="Helvetica", fontsize=9, color="#94a3b8", fontcolor="#64748b", arrowsize=0.7];',
    ]
    for node in lineage["nodes"]:
        label = "\\n".join(_dot_text(line) for line in _box(node, schema))
        tooltip = _dot_text(f"{_clipped(node['name'], _TOOLTIP_LENGTH)} ({node['_id']})")
        looks = {"label": label, "tooltip": tooltip, "fillcolor": _fill(node, schema)}
        if node["_id"] == lineage["start"]:
            looks["penwidth"] = "2.5"
        if link is not None:
            looks["URL"] = _dot_text(link(node["_id"]))
        attributes = ", ".join(f'{name}="{value}"' for name, value in looks.items())
        rows.append(f'  "{node["_id"]}" [{attributes}];')
    for edge in lineage["edges"]:
        rows.append(f'  "{edge["upstream"]}" -> "{edge["downstream"]}" [label="{_dot_text(edge["edge"])}"];')
    return "\n".join([*rows, "}"])


def mermaid(lineage: Lineage, schema: Schema = SCHEMA) -> str:
    """Return a lineage as a Mermaid flowchart, which Markdown pages draw."""
    short = {node["_id"]: f"n{i}" for i, node in enumerate(lineage["nodes"])}
    rows = ["flowchart LR"]
    for node in lineage["nodes"]:
        parts = [_mermaid_text(line) for line in _box(node, schema)]
        rows.append(f'  {short[node["_id"]]}["{"<br/>".join(parts)}"]')
    rows += [f"  {short[e['upstream']]} -->|{e['edge']}| {short[e['downstream']]}" for e in lineage["edges"]]
    return "\n".join(rows)


def svg(lineage: Lineage, schema: Schema = SCHEMA, link: Callable[[str], str] | None = None) -> bytes:
    """Return a lineage drawn by Graphviz as SVG, its nodes linked as in `dot`.

    Raises Misconfigured where pygraphviz is not installed.
    """
    try:
        import pygraphviz
    except ImportError as error:
        raise Misconfigured("drawing needs pygraphviz: pip install 'arangopipe-ops[draw]'") from error
    with _GRAPHVIZ:
        return bytes(pygraphviz.AGraph(string=dot(lineage, schema, link)).draw(format="svg", prog="dot"))


_GRAPHVIZ = Lock()
"""Graphviz works in this process, for one thread at a time."""


def summary(kind: str, document: Document, schema: Schema = SCHEMA) -> str:
    """Return the few attributes that say most about a node, as `name value` pairs."""
    return _clipped(", ".join(_told(kind, document, schema)[:_SUMMARY_ITEMS]), _SUMMARY_LENGTH)


def _told(kind: str, document: Document, schema: Schema) -> list[str]:
    type_ = schema.node(kind)
    told = type_.shows or [name for name in sorted(document) if _telling(name, document, type_.identity)]
    return [f"{name} {_short(document[name])}" for name in told if document.get(name) is not None]


def _box(node: LineageNode, schema: Schema) -> list[str]:
    """Return the lines in a node's box: kind, name, version and what says most about it."""
    version = node["document"].get("version")
    told = [*([f"version {version}"] if version else []), *_told(node["kind"], node["document"], schema)[:_BOX_ITEMS]]
    return [node["kind"], _shortened(node["name"], _BOX_WIDTH), *(_clipped(line, _BOX_WIDTH) for line in told)]


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
    return f"{len(value)}" if isinstance(value, list) else str(value)


def _shortened(name: str, length: int) -> str:
    """Return a name of bearable length; names that orchestrators make differ at their ends."""
    name = " ".join(name.split())
    return name if len(name) <= length else f"{name[: length // 2]}…{name[-(length // 2 - 1) :]}"


def _clipped(text: str, length: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"


def _fill(node: LineageNode, schema: Schema) -> str:
    return _FILLS[list(schema.nodes).index(node["kind"]) % len(_FILLS)]


def _dot_text(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text).replace("\\", "\\\\").replace('"', '\\"')


_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
"""Characters that no XML document may hold, and that end a string of Graphviz's."""


def _mermaid_text(text: str) -> str:
    escaped = text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
    return escaped.replace("#", "&#35;")
