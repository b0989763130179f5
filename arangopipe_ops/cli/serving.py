"""Commands about serving performance: collect it, and tell what is not known of it."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from arangopipe_ops.cli.command import Command, as_json, reason, store_of
from arangopipe_ops.cli.output import Progress, say, say_json, table
from arangopipe_ops.errors import Invalid
from arangopipe_ops.integrations.source import Period
from arangopipe_ops.serving import Configuration, collect, gaps, latest, periods

_SPAN = ("deployment", "source", "period_start", "period_end", "periods")


def _collect(options: argparse.Namespace) -> int:
    """Collect serving performance from the sources that a file names; what they could not tell is said."""
    wanted = Configuration.read(options.file, os.environ)
    progress = Progress("figures")
    report = collect(
        store_of(options),
        _periods(options, options.every or wanted.every, options.timezone or wanted.timezone),
        wanted.sources,
        deployments=options.deployment or wanted.deployments,
        statuses=wanted.statuses,
        on_conflict=options.on_conflict,
        only_missing=options.only_missing,
        batch=options.batch,
        reason=options.reason,
        progress=progress,
    )
    progress.close(report["created"] + report["revised"] + report["same"])
    if options.json:
        say_json(report)
    else:
        names = ("periods", "deployments", "created", "revised", "same", "known")
        say(", ".join(f"{report[name]:,} {name}" for name in names if report[name]))  # type: ignore[literal-required]
        if report["faults"]:
            say(table(report["faults"], (*_SPAN, "message")))
        if report["alerts"]:
            say(table(report["alerts"], ("deployment", "rule", "state", "since", "message")))
    return int(bool(report["faults"]))


def _periods(options: argparse.Namespace, every: str, timezone: str) -> list[Period]:
    if options.since is None:
        return latest(options.last, every, timezone)
    if options.until is None:
        raise Invalid("until", "is missing; say --until with --since, or --last")
    return list(periods(options.since, options.until, every, timezone))


def _span_arguments(parser: argparse.ArgumentParser, every: str | None, timezone: str | None) -> None:
    parser.add_argument("--since", metavar="TIME", help="of the first period")
    parser.add_argument("--until", metavar="TIME", help="where the last period ends")
    parser.add_argument("--last", type=int, default=1, metavar="N", help="periods until now, without --since")
    parser.add_argument("--every", default=every, metavar="LENGTH", help="of a period: 15m, 1h, 1d, 1w, 1M")
    parser.add_argument("--timezone", default=timezone, metavar="NAME", help="whose days they are: Europe/Berlin")
    parser.add_argument("--deployment", action="append", metavar="TAG", help="only this one; may be repeated")
    as_json(parser)


def _collect_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="TOML or JSON with sources, every, timezone, deployments, statuses")
    _span_arguments(parser, None, None)
    parser.add_argument("--only-missing", action="store_true", help="ask only for what is not stored, or not whole")
    parser.add_argument("--on-conflict", choices=("revise", "keep"), default="revise")
    parser.add_argument("--batch", type=int, default=1000, metavar="N", help="nodes in one request")
    reason(parser)


def _gaps(options: argparse.Namespace) -> int:
    """Tell the periods in which a deployment served and of which nothing is known, or not all."""
    spans = _periods(options, options.every, options.timezone)
    found = list(
        gaps(
            store_of(options),
            spans,
            deployments=options.deployment,
            sources=options.source or (),
            partly=options.partly,
        )
    )
    if options.json:
        say_json(found)
    else:
        say(table(found, _SPAN) if found else "no gaps")
    return int(bool(found))


def _gaps_arguments(parser: argparse.ArgumentParser) -> None:
    _span_arguments(parser, "1d", "UTC")
    parser.add_argument("--source", action="append", metavar="NAME", help="that has to tell of all; may be repeated")
    parser.add_argument("--partly", action="store_true", help="figures that lack some metrics will do")


COMMANDS: Sequence[Command] = (
    Command(
        "collect",
        _collect,
        _collect_arguments,
        ("serving.toml --last 24", "serving.toml --since 2026-01-01 --until 2027-01-01 --only-missing"),
    ),
    Command(
        "gaps",
        _gaps,
        _gaps_arguments,
        ("--since 2026-01-01 --until 2026-02-01", "--every 1h --last 48 --source prometheus --deployment wine-1"),
    ),
)
