"""Commands that read: search, one node, its lineage and history, runs side by side."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from arangopipe_ops import drawing
from arangopipe_ops.cli.command import Command, as_json, reference, store_of
from arangopipe_ops.cli.output import json_text, say, say_json, table
from arangopipe_ops.cli.recipe import recipe
from arangopipe_ops.model import Document, Lineage, Schema
from arangopipe_ops.store.conditions import CONDITIONS_HELP, conditions


def _search(options: argparse.Namespace) -> None:
    """Find nodes by any property, the newest first."""
    store = store_of(options)
    page = store.search(
        options.kind,
        conditions(options.where),
        text=options.text,
        name=options.name,
        since=options.since,
        until=options.until,
        archived=options.archived,
        order_by=options.order_by,
        descending=not options.ascending,
        limit=options.limit,
        cursor=options.cursor,
        within=options.within,
        facts=options.facts,
    )
    if options.json:
        return say_json(page)
    if page["nodes"]:
        say(table([_row(node, store.schema, options) for node in page["nodes"]]))
    total = f"more than {options.within:,}" if page["total"] is None else f"{page['total']:,}"
    sys.stderr.write(f"{len(page['nodes'])} of {total}\n")
    if page["cursor"]:
        sys.stderr.write(f"more: --cursor {page['cursor']}\n")
    for kind, until in page.get("reached", {}).items():
        sys.stderr.write(f"not looked at: {kind} --until {until}\n")
    return None


def _row(node: Document, schema: Schema, options: argparse.Namespace) -> Document:
    type_ = schema.node(node["_id"].partition("/")[0])
    row: Document = {"registered": str(node.get("created") or "")[:19].replace("T", " "), "kind": type_.kind}
    row |= {"name": node.get(type_.name, node["_key"]), "version": node.get("version")}
    if options.kind:
        del row["kind"]
    if options.kind or options.columns:
        row |= {name: node.get(name) for name in options.columns or type_.shows}
    else:
        row["about"] = drawing.summary(type_.kind, node, schema)
    return row | {"_id": node["_id"]}


def _search_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", nargs="?", help="for example Run; every kind if left out")
    parser.add_argument("--where", "-w", action="append", default=[], metavar="CONDITION", help=CONDITIONS_HELP)
    parser.add_argument("--text", metavar="WORDS", help="words in name, description or tags")
    parser.add_argument("--name", metavar="BEGINNING", help="how the name begins")
    parser.add_argument("--since", metavar="TIME", help="registered then or later, in UTC")
    parser.add_argument("--until", metavar="TIME", help="registered before")
    parser.add_argument("--archived", action="store_true", help="archived ones too")
    parser.add_argument("--order-by", default="created", metavar="ATTRIBUTE")
    parser.add_argument("--ascending", action="store_true")
    parser.add_argument("--columns", nargs="+", default=(), metavar="ATTRIBUTE", help="which attributes to show")
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--cursor", help="of the page before")
    parser.add_argument("--within", type=int, metavar="N", help="look only at the newest N of each kind")
    parser.add_argument(
        "--no-facts", dest="facts", action="store_false", help="of all kinds no parameters, performance and alerts"
    )
    as_json(parser)


def _show(options: argparse.Namespace) -> None:
    """Print one node as JSON, or what it was at a time."""
    say_json(store_of(options).get(options.reference, options.kind, as_of=options.as_of))


def _show_arguments(parser: argparse.ArgumentParser) -> None:
    reference(parser)
    parser.add_argument("--as-of", metavar="TIME", help="as it was then, in UTC")


_FORMATS: dict[str, Callable[[Lineage, Schema], str | bytes]] = {
    "tree": drawing.tree,
    "json": lambda lineage, schema: json_text(lineage),
    "dot": drawing.dot,
    "mermaid": drawing.mermaid,
    "svg": drawing.svg,
    "png": drawing.png,
}


def _lineage(options: argparse.Namespace) -> None:
    """Trace what influenced a node and what it influenced."""
    store = store_of(options)
    found = store.lineage(
        options.reference,
        kind=options.kind,
        direction=options.direction,
        depth=options.depth,
        kinds=options.kinds,
        fan=options.fan,
    )
    drawn = _FORMATS["json" if options.json else options.format](found, store.schema)
    content = drawn if isinstance(drawn, bytes) else f"{drawn}\n".encode()
    if options.output is None:
        sys.stdout.buffer.write(content)
    else:
        options.output.write_bytes(content)


def _lineage_arguments(parser: argparse.ArgumentParser) -> None:
    reference(parser)
    parser.add_argument("--direction", choices=("upstream", "downstream", "both"), default="both")
    parser.add_argument("--depth", type=int, default=100, help="edges from the start")
    parser.add_argument("--kinds", nargs="+", metavar="KIND", help="keep only nodes of these kinds")
    parser.add_argument(
        "--fan", type=int, metavar="N", help="of more than N nodes by one type of edge follow N, 8 steps"
    )
    parser.add_argument("--format", choices=tuple(_FORMATS), default="tree")
    parser.add_argument("--output", "-o", type=Path, metavar="FILE", help="write there instead")
    as_json(parser)


def _impact(options: argparse.Namespace) -> None:
    """List everything that depends on a node."""
    found = store_of(options).impact(options.reference, kind=options.kind)
    if options.json:
        return say_json(found)
    rows = [{name: node[name] for name in ("depth", "kind", "name", "_id")} for node in map(dict, found)]
    say(table(rows) if rows else "nothing")
    return None


def _json_reference(parser: argparse.ArgumentParser) -> None:
    reference(parser)
    as_json(parser)


def _history(options: argparse.Namespace) -> None:
    """Tell every write that touched a node: when, by whom, why, what it changed."""
    events = store_of(options).history(options.reference, options.kind, limit=options.limit)
    if options.json:
        return say_json(events)
    for event in events:
        by = event["provenance"] or {}
        where = " ".join(str(by[name]) for name in ("through", "dag_id", "task_id") if by.get(name))
        line = f"{event['at']}  {event['action']} by {by.get('user') or 'somebody'}" + (
            f" through {where}" if where else ""
        )
        say(line + (f": {event['reason']}" if event["reason"] else ""))
        for name, (old, new) in event["changed"].items() if event["action"] == "revised" else ():
            say(f"    {name}: {_brief(old)} → {_brief(new)}")
    return None


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _history_arguments(parser: argparse.ArgumentParser) -> None:
    _json_reference(parser)
    parser.add_argument("--limit", type=int, default=100)


def _compare(options: argparse.Namespace) -> None:
    """Lay runs side by side; what differs is marked."""
    compared = store_of(options).compare(options.runs)
    if options.json:
        return say_json(compared)
    rows = []
    for part in ("run", "params", "metrics", "data"):
        for name, values in compared[part].items():
            differs = f"{part}.{name}" in compared["differing"]
            if differs or not options.differing:
                shown = dict(zip(compared["runs"], values, strict=True))
                rows.append({"": "≠" if differs else "", "attribute": f"{part}.{name}", **shown})
    say(table(rows, ["", "attribute", *dict.fromkeys(compared["runs"])]))
    return None


def _compare_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run_id or _id")
    parser.add_argument("--differing", action="store_true", help="only what differs")
    as_json(parser)


def _reproduce(options: argparse.Namespace) -> None:
    """Tell what is needed to execute a run again, and what of it is missing."""
    found = store_of(options).reproduce(options.run)
    if options.json:
        return say_json(found)
    if options.requirements:
        return say("\n".join(found["requirements"]))
    return say(recipe(found))


def _reproduce_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run_id or _id")
    parser.add_argument("--requirements", action="store_true", help="only the packages, as lines for pip")
    as_json(parser)


def _counts(options: argparse.Namespace) -> None:
    """Count nodes and edges."""
    counts = store_of(options).counts()
    if options.json:
        return say_json(counts)
    say(table([{"collection": name, "documents": count} for name, count in counts.items()]))
    return None


COMMANDS: Sequence[Command] = (
    Command(
        "search",
        _search,
        _search_arguments,
        (
            "Dataset -w 'rows>=100' -w uri^=s3://",
            "DevPerf -w 'accuracy>0.9' --columns accuracy",
            "--text wine --within 1000",
        ),
    ),
    Command("show", _show, _show_arguments, ("wine --kind Project", "forest --kind Model --as-of 2026-09-01")),
    Command(
        "lineage",
        _lineage,
        _lineage_arguments,
        (
            "wine-1 --kind Deployment",
            "r1 --kind Run --direction upstream --format svg -o r1.svg",
            '"wine data" --kind Dataset --fan 8',
        ),
    ),
    Command("impact", _impact, _json_reference, ('"wine data" --kind Dataset',)),
    Command("history", _history, _history_arguments, ("wine-1 --kind Deployment",)),
    Command("compare", _compare, _compare_arguments, ("r1 r2 r3 --differing",)),
    Command("reproduce", _reproduce, _reproduce_arguments, ("r1", "r1 --requirements")),
    Command("counts", _counts, as_json),
)
