"""Commands that move much at once: import, export, replay of what waits, demonstration data."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from arangopipe_ops import admin
from arangopipe_ops.analytics import demo_stages
from arangopipe_ops.cli.command import Command, as_json, reason, store_of
from arangopipe_ops.cli.output import Progress, say, say_json
from arangopipe_ops.errors import Invalid
from arangopipe_ops.model import moment
from arangopipe_ops.stages import read_stages


def _import(options: argparse.Namespace) -> None:
    """Write stages from JSON lines, or load an export; starting again goes on where it stopped."""
    store = store_of(options)
    with _reading(options.file) as file:
        first = file.readline()
        lines = chain([first], file)
        if _is_export(first):
            progress = Progress("documents")
            extend = partial(_extend, store.db)
            done: Any = store.load(lines, on_conflict=options.on_conflict, extend=extend, progress=progress)
            count = sum(done.values())
        else:
            progress = Progress("stages")
            stages = read_stages(lines)
            done = store.write_many(stages, on_conflict=options.on_conflict, reason=options.reason, progress=progress)
            count = done["stages"]
    progress.close(count)
    _say_done(done, options)


def _extend(db: Any, added: dict[str, Any]) -> None:
    admin.extend(db, **added)


def _is_export(line: str) -> bool:
    try:
        header = json.loads(line)
    except ValueError:
        return False
    return isinstance(header, dict) and "format" in header and "stage" not in header


@contextmanager
def _reading(path: Path) -> Iterator[TextIO]:
    try:
        if str(path) == "-":
            yield sys.stdin
            return
        with path.open(encoding="utf-8") as file:
            yield file
    except UnicodeDecodeError as error:
        raise Invalid(str(path), f"is not UTF-8 text: {error.reason}") from None


def _say_done(done: dict[str, Any], options: argparse.Namespace) -> None:
    if options.json:
        say_json(done)
    else:
        say(", ".join(f"{count:,} {name}" for name, count in done.items() if count) or "nothing to write")


def _import_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="JSON lines; - is standard input")
    parser.add_argument("--on-conflict", choices=("fail", "keep", "revise"), default="fail")
    reason(parser)
    as_json(parser)


def _export(options: argparse.Namespace) -> None:
    """Write the whole graph with its audit as JSON lines, which `import` loads into another database."""
    lines = store_of(options).export()
    if options.file is None:
        sys.stdout.writelines(lines)
        return
    if options.file.exists() and not options.overwrite:
        raise Invalid(str(options.file), "exists; choose another file, or say --overwrite")
    progress, count = Progress("documents"), 0
    unfinished = options.file.with_name(f"{options.file.name}.part")
    with unfinished.open("w", encoding="utf-8") as file:
        for count, line in enumerate(lines):
            file.write(line)
            progress(count)
    unfinished.replace(options.file)
    progress.close(max(count - 1, 0))


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, nargs="?", help="standard output if left out")
    parser.add_argument("--overwrite", action="store_true", help="a file that exists")


def _replay(options: argparse.Namespace) -> int:
    """Write the stages that wait in a spool folder, in order and once."""
    done = store_of(options).replay(options.folder)
    if options.json:
        say_json(done)
    else:
        say(f"{done['written']:,} written, {len(done['refused']):,} refused, {len(done['torn']):,} torn")
        for problem in (*done["refused"], *done["torn"]):
            say(f"    {problem}")
    return int(bool(done["refused"] or done["torn"]))


def _replay_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path)
    as_json(parser)


def _demo_data(options: argparse.Namespace) -> None:
    """Fill the graph with demonstration data: projects, runs, deployments, months of serving performance."""
    store = store_of(options)
    admin.provision(store.db)
    progress = Progress("stages")
    end = datetime.fromisoformat(moment(options.end or datetime.now(UTC).date(), "end"))
    stages = list(demo_stages(seed=options.seed, projects=options.projects, periods=options.periods, end=end))
    done = store.write_many(stages, on_conflict="keep", reason="demonstration data", progress=progress)
    progress.close(done["stages"])
    _say_done(dict(done), options)


def _demo_data_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--projects", type=int, default=2)
    parser.add_argument("--periods", type=int, default=22, help="of serving performance, per deployment")
    parser.add_argument("--end", metavar="TIME", help="of the last period, in UTC; today if left out")
    as_json(parser)


COMMANDS: Sequence[Command] = (
    Command("import", _import, _import_arguments, ("stages.jsonl", "graph.jsonl --on-conflict keep")),
    Command("export", _export, _export_arguments, ("graph.jsonl", "> graph.jsonl")),
    Command("replay", _replay, _replay_arguments, ("/var/spool/arangopipe",)),
    Command("demo-data", _demo_data, _demo_data_arguments, ("--projects 3 --end 2026-11-01",)),
)
