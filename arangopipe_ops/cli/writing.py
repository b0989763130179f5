"""Commands that write: the stages of a pipeline, and changes to what is stored."""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from arangopipe_ops import stages
from arangopipe_ops.cli.command import (
    Command,
    as_json,
    function_arguments,
    given,
    pairs,
    reason,
    reference,
    store_of,
)
from arangopipe_ops.cli.output import say, say_json
from arangopipe_ops.errors import Invalid
from arangopipe_ops.model import Document, Stage
from arangopipe_ops.stages import arguments_of, make
from arangopipe_ops.store.conditions import json_or_text


def _write_stage(options: argparse.Namespace) -> None:
    stage = make(options.stage, given(options), pairs(options.set))
    say_json(store_of(options).write(stage, on_conflict=options.on_conflict, reason=options.reason))


def _stage(name: str, stage: Callable[..., Stage], *examples: str) -> Command:
    def do(options: argparse.Namespace) -> None:
        _write_stage(options)

    do.__doc__ = stage.__doc__
    return Command(name, do, partial(_stage_arguments, stage=stage), examples)


def _stage_arguments(parser: argparse.ArgumentParser, stage: Callable[..., Stage]) -> None:
    function_arguments(parser, arguments_of(stage))
    _attributes(parser)
    parser.set_defaults(stage=stage)


def _attributes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="any further attribute")
    parser.add_argument("--on-conflict", choices=("fail", "keep", "revise"), default="fail")
    parser.add_argument(
        "--spool", type=Path, metavar="FOLDER", help="that keeps what is written while the database is away"
    )
    reason(parser)


def _register_node(options: argparse.Namespace) -> None:
    """Write a node of any kind, also of one that you added."""
    store = store_of(options)
    stage = store.stage(options.kind)
    stage.add(options.kind, pairs(options.set))
    say_json(store.write(stage, on_conflict=options.on_conflict, reason=options.reason))


def _node_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind")
    _attributes(parser)


def _register_edge(options: argparse.Namespace) -> None:
    """Write an edge of any kind between two stored nodes."""
    store = store_of(options)
    stage = store.stage(options.edge)
    stage.link(options.edge, options.source, options.target, pairs(options.set))
    store.write_all(stage, on_conflict=options.on_conflict, reason=options.reason)


def _edge_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("edge", help="for example run_datasets")
    parser.add_argument("source", help="where the edge leads from: an _id or a name")
    parser.add_argument("target", help="where it leads to: an _id or a name")
    _attributes(parser)


REGISTER: Sequence[Command] = (
    _stage("project", stages.register_project, "--name wine --set owner=ann"),
    _stage("dataset", stages.register_dataset, '--name "wine data" --uri s3://lake/wine.parquet --set rows=178'),
    _stage("featureset", stages.register_featureset, '--name scaled --dataset "wine data" --features \'["alcohol"]\''),
    _stage("model", stages.register_model, "--name forest --project wine --task classification"),
    Command("node", _register_node, _node_arguments, ("Experiment --set name=first",)),
    Command("edge", _register_edge, _edge_arguments, ('run_datasets "run 1" "wine data"',)),
)


def _annotate(options: argparse.Namespace) -> None:
    """Set description, owner, tags, tag or deployment_tag of a node; an empty value removes one."""
    notes = {name: json_or_text(text) if text else None for name, text in _texts(options.notes).items()}
    change = store_of(options).annotate(options.reference, options.kind, reason=options.reason, **notes)
    say_json(change["nodes"][0])


def _texts(notes: Sequence[str]) -> dict[str, str]:
    for note in notes:
        if "=" not in note:
            raise Invalid("", f"{note!r} is not NAME=VALUE")
    return dict(note.split("=", 1) for note in notes)


def _annotate_arguments(parser: argparse.ArgumentParser) -> None:
    reference(parser)
    parser.add_argument("notes", nargs="+", metavar="NAME=VALUE")
    reason(parser)


def _archive(options: argparse.Namespace) -> None:
    """Hide a node from searches and from look-ups by name."""
    store_of(options).archive(options.reference, options.kind, reason=options.reason)


def _restore(options: argparse.Namespace) -> None:
    """Undo archive."""
    store_of(options).restore(options.reference, options.kind, reason=options.reason)


def _reasoned_reference(parser: argparse.ArgumentParser) -> None:
    reference(parser)
    reason(parser)


def _delete(options: argparse.Namespace) -> int:
    """Delete a node, after showing what goes with it and what would dangle."""
    store = store_of(options)
    plan = store.plan_deletion(options.reference, options.kind)
    for what, ids in (
        ("removes", plan["removes"]),
        ("with the edges", plan["edges"]),
        ("takes an influence from", plan["loses"]),
        ("leaves without any edge", plan["orphans"]),
    ):
        if ids:
            sys.stderr.write("\n  ".join([f"{what}:", *ids]) + "\n")
    if not (options.yes or _agreed()):
        sys.stderr.write("nothing was deleted\n")
        return 1
    store.delete(plan, reason=options.reason)
    return 0


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise Invalid("delete", "asks before it deletes; say --yes where nobody can answer")
    sys.stderr.write("delete? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _delete_arguments(parser: argparse.ArgumentParser) -> None:
    reference(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    reason(parser)


def _promote(options: argparse.Namespace) -> None:
    """Make a deployment the active one of its project and environment."""
    change = store_of(options).promote(
        options.deployment, over=options.over, reason=options.reason, dry_run=options.dry_run
    )
    _say_change(change, options)


def _retire(options: argparse.Namespace) -> None:
    """End a deployment."""
    change = store_of(options).retire(options.deployment, reason=options.reason, dry_run=options.dry_run)
    _say_change(change, options)


def _say_change(change: Any, options: argparse.Namespace) -> None:
    if options.json:
        return say_json(change)
    for node in change["nodes"]:
        old = next((old for old in change["replaced"] if old["_id"] == node["_id"]), node)
        say(_moved(old, node) + (", if it were not a dry run" if options.dry_run else ""))
    return None


def _moved(old: Document, new: Document) -> str:
    same = old["status"] == new["status"] if "status" in old else False
    return f"{new['tag']} is {new['status']}" + (" as before" if same else f", was {old.get('status')}")


def _retire_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("deployment", help="its tag or _id")
    parser.add_argument("--dry-run", action="store_true", help="only say what would happen")
    reason(parser)
    as_json(parser)


def _promote_arguments(parser: argparse.ArgumentParser) -> None:
    _retire_arguments(parser)
    parser.add_argument("--over", metavar="TAG", help="only if this one is active now")


COMMANDS: Sequence[Command] = (
    _stage("log-run", stages.log_run, "--run-id r1 --model forest --params '{\"depth\": 3}' --metrics '{\"f1\": 0.9}'"),
    _stage("deploy", stages.register_deployment, "--tag wine-1 --project wine --model forest --run r1"),
    _stage(
        "log-serving",
        stages.log_serving_perf,
        "--deployment wine-1 --metrics '{\"f1\": 0.88}' --period-start 2026-01-01 --period-end 2026-01-08",
    ),
    Command("promote", _promote, _promote_arguments, ("wine-2 --over wine-1 --reason 'more accurate'",)),
    Command("retire", _retire, _retire_arguments, ("wine-2 --dry-run",)),
    Command("annotate", _annotate, _annotate_arguments, ("forest --kind Model owner=ann 'tags=[\"gold\"]' tag=",)),
    Command("archive", _archive, _reasoned_reference, ("forest --kind Model --reason superseded",)),
    Command("restore", _restore, _reasoned_reference, ("models/forest-1b2c",)),
    Command("delete", _delete, _delete_arguments, ("r1 --kind Run --reason 'wrong split'",)),
)
