"""Commands for whoever runs the database: provision it, serve it."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from getpass import getpass
from pathlib import Path
from typing import Any

from arangopipe_ops import admin
from arangopipe_ops.admin.retention import days_of
from arangopipe_ops.cli.command import Command, as_json, value
from arangopipe_ops.cli.output import Progress, say, say_json, table
from arangopipe_ops.connection import connect, describe, is_file, resolved
from arangopipe_ops.errors import Invalid, Misconfigured


def _database(options: argparse.Namespace) -> Any:
    return connect(options.url, timeout=options.timeout)


def _provision(options: argparse.Namespace) -> None:
    """Create collections, graph and indexes where they are missing."""
    db = _database(options)
    if options.plan:
        return _say_plan(admin.plan(db))
    changed = admin.provision(db, again=options.again, force=options.force, number_of_shards=options.number_of_shards)
    say(f"{describe(db)}: {'provisioned' if changed else 'already provisioned'}")
    return None


def _say_plan(differences: Sequence[admin.Difference]) -> None:
    rows = [
        {
            "what": each.what,
            "name": each.name,
            "problem": each.problem,
            "provision would": f"{each.does}{' with --force' if each.force else ''}",
            "detail": each.detail,
        }
        for each in differences
    ]
    say(table(rows) if rows else "nothing to do")


def _provision_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plan", action="store_true", help="only show what is missing or different")
    parser.add_argument("--again", action="store_true", help="look at everything, also where all was there before")
    parser.add_argument("--force", action="store_true", help="also drop indexes that only earlier versions wanted")
    parser.add_argument("--number-of-shards", type=int, metavar="N", help="of new collections, on a sharded cluster")


def _create_database(options: argparse.Namespace) -> None:
    """Create a database and a user for it, on a server; the URL is that of _system with an administrator."""
    system = _database(options)
    users = [admin.User(options.user, _password(options.user), options.role)] if options.user else []
    layout = {name: getattr(options, name) for name in ("sharding", "replication_factor", "write_concern")}
    changed = admin.provision_database(system, options.name, users=users, **layout)
    say(f"{options.name}: {'created' if changed else 'is there already'}; provision it by its own URL")


def _password(user: str) -> str:
    if given := os.environ.get(_PASSWORD_VARIABLE):
        return given
    if not sys.stdin.isatty():
        raise Misconfigured(f"the password of {user} is missing; set {_PASSWORD_VARIABLE}")
    return getpass(f"password of {user}: ")


_PASSWORD_VARIABLE = "ARANGOPIPE_USER_PASSWORD"


def _create_database_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name")
    parser.add_argument("--user", help=f"to create; the password is ${_PASSWORD_VARIABLE}, or asked for")
    parser.add_argument("--role", choices=("owner", "writer", "reader"), default="writer")
    parser.add_argument("--sharding", choices=("oneshard", "sharded"), default="oneshard", help="on a cluster")
    parser.add_argument("--replication-factor", type=int, metavar="N")
    parser.add_argument("--write-concern", type=int, metavar="N")


def _doctor(options: argparse.Namespace) -> int:
    """Find what is wrong with a database, and what cures it."""
    progress = Progress("documents")
    findings = admin.doctor(
        _database(options),
        scan=options.scan,
        stale_days=options.stale_days,
        progress=lambda collection, done, total: progress(done, total),
    )
    if options.json:
        say_json([asdict(each) for each in findings])
    for each in () if options.json else findings:
        say(str(each))
        for example in each.examples:
            say(f"    {example}")
    if not findings:
        sys.stderr.write("healthy\n")
    return int(any(each.severity == "error" for each in findings))


def _doctor_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-scan", dest="scan", action="store_false", help="do not look at every node and edge")
    parser.add_argument("--stale-days", type=float, default=7.0, metavar="N", help="a run that runs longer is dead")
    as_json(parser)


def _repair(options: argparse.Namespace) -> None:
    """Cure a fault that doctor found, by its name; the audit keeps what is changed."""
    changed = admin.repair(_database(options), options.fault, stale_days=options.stale_days)
    say("\n".join(changed) or "nothing to repair")


def _repair_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("fault", help="for example dangling-edges")
    parser.add_argument("--stale-days", type=float, default=7.0, metavar="N")


def _extend(options: argparse.Namespace) -> None:
    """Add node and edge types of your own to the graph; without arguments, show those there are."""
    db = _database(options)
    if options.node or options.edge:
        admin.extend(db, nodes=options.node, edges=options.edge)
    say_json(admin.extension(db))


def _extend_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = (("node", "kind, collection, identity"), ("edge", "name, source, target, upstream (from or to)"))
    for what, needs in kinds:
        parser.add_argument(
            f"--{what}", action="append", default=[], type=value, metavar="JSON", help=f"an object with {needs}"
        )


def _withdraw(options: argparse.Namespace) -> None:
    """Remove node and edge types that were added."""
    changed = admin.withdraw(_database(options), nodes=options.node, edges=options.edge, force=options.force)
    say("withdrawn" if changed else "there was nothing to withdraw")


def _withdraw_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--node", action="append", default=[], metavar="KIND")
    parser.add_argument("--edge", action="append", default=[], metavar="NAME")
    parser.add_argument("--force", action="store_true", help="with the documents they have")


def _rank(options: argparse.Namespace) -> None:
    """Have runs ranked by metrics, so that the best of very many are found quickly; show by which they are."""
    db = _database(options)
    if options.metric:
        (admin.unrank if options.off else admin.rank)(db, *options.metric)
    say("\n".join(admin.ranked(db)) or "by no metric yet")


def _rank_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("metric", nargs="*", help="a metric of the runs, for example accuracy")
    parser.add_argument("--off", action="store_true", help="not any more")


def _retention(options: argparse.Namespace) -> None:
    """Let the database forget serving performance some days after its period."""
    days = days_of(options.days)
    done = admin.retention(_database(options), days, dry_run=options.dry_run)
    if options.json:
        return say_json(done)
    kept = "for ever" if days is None else f"for {days:g} days; {done['over']:,} that are older go"
    say(f"serving performance {'would be' if options.dry_run else 'is'} kept {kept}")
    return None


def _retention_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("days", help="a number, or off to keep everything")
    parser.add_argument("--dry-run", action="store_true", help="only say what would happen")
    as_json(parser)


def _serve_db(options: argparse.Namespace) -> None:
    """Serve an embedded database file over ArangoDB's HTTP API."""
    try:
        from arangopipe_ops.embedded import server
        from arangopipe_ops.embedded.errors import ArangoError
    except ImportError as error:
        raise Misconfigured(f"serve-db needs {error.name}: pip install 'arangopipe-ops[embedded]'") from None
    password, secret = os.environ.get(server.PASSWORD_VARIABLE), os.environ.get(server.SECRET_VARIABLE)
    try:
        listener = server.listen(options.host, options.port)
        served = server.prepare(options.file, options.host, password, secret)
    except (ValueError, ArangoError) as error:
        raise Invalid("", str(error)) from None
    if served.generated is not None:
        say(f"password of root, shown only now: {served.generated}")
    say(f"serving {options.file} at http://{options.host}:{listener.getsockname()[1]}, stop with Ctrl-C")
    sys.stdout.flush()
    server.run(served.database, listener)


def _serve_db_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--file", type=Path, default=Path("arangopipe.db"), help="default: ./arangopipe.db")
    parser.add_argument("--host", default="127.0.0.1", help="another address needs $ARANGO_ROOT_PASSWORD")
    parser.add_argument("--port", type=int, default=8529)


def _serve(options: argparse.Namespace) -> None:
    """Serve the graph as pages for people and as a JSON API: each caller signs in with a database user."""
    try:
        from arangopipe_ops.embedded.server import is_loopback
        from arangopipe_ops.web import app
        from arangopipe_ops.web.access import TOKEN_VARIABLE, FileAccess, access_to
    except ImportError as error:
        raise Misconfigured(f"serve needs {error.name}: pip install 'arangopipe-ops[web]'") from None
    url, token = resolved(options.url), os.environ.get(TOKEN_VARIABLE)
    if is_file(url) and not token and not is_loopback(options.host):
        raise Invalid("", f"{options.host} is not this machine alone: choose a token in ${TOKEN_VARIABLE} first")
    listener = app.listen(options.host, options.port)
    access = access_to(url, timeout=options.timeout, token=token)
    if access.url != url:
        sys.stderr.write("the user and password in the URL are used by nobody: every caller signs in\n")
    if isinstance(access, FileAccess) and access.generated:
        say(f"token, shown only now: {access.generated}")
    host = f"[{options.host}]" if ":" in options.host else options.host
    address = f"http://{host}:{listener.getsockname()[1]}"
    ticket = f"sign-in?ticket={access.ticket} (this link signs in once)" if isinstance(access, FileAccess) else ""
    say(f"serving {access.url} at {address}/api/v1, stop with Ctrl-C")
    say(f"open {address}/{ticket}")
    sys.stdout.flush()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    app.run(app.create_app(access), listener, access_log=not options.quiet)


def _serve_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="on a file, another address needs $ARANGOPIPE_TOKEN")
    parser.add_argument("--port", type=int, default=8530, help="default: 8530; 0 is any free one")
    parser.add_argument("--quiet", action="store_true", help="do not log requests")


def _completion(options: argparse.Namespace) -> None:
    """Print a script that completes commands and options in your shell."""
    try:
        import shtab
    except ImportError:
        raise Misconfigured("completion needs shtab: pip install 'arangopipe-ops[cli]'") from None
    from arangopipe_ops.cli import parser

    say(shtab.complete(parser(), options.shell))


def _completion_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"))


COMMANDS: Sequence[Command] = (
    Command("provision", _provision, _provision_arguments, ("--plan", "--again --force")),
    Command("create-database", _create_database, _create_database_arguments, ("ml --user pipelines --role writer",)),
    Command("doctor", _doctor, _doctor_arguments, ("--no-scan",)),
    Command("repair", _repair, _repair_arguments, ("dangling-edges",)),
    Command(
        "extend",
        _extend,
        _extend_arguments,
        (
            '--node \'{"kind": "Experiment", "collection": "experiments", "identity": ["name"]}\'',
            '--edge \'{"name": "experiment_runs", "source": "Experiment", "target": "Run", "upstream": "from"}\'',
        ),
    ),
    Command("withdraw", _withdraw, _withdraw_arguments, ("--edge experiment_runs --node Experiment",)),
    Command("rank", _rank, _rank_arguments, ("accuracy f1", "f1 --off")),
    Command("retention", _retention, _retention_arguments, ("400", "off")),
    Command("serve-db", _serve_db, _serve_db_arguments, ("--file graph.db --port 8529",)),
    Command("serve", _serve, _serve_arguments, ("--port 8530", "--host 0.0.0.0 --quiet")),
    Command(
        "completion",
        _completion,
        _completion_arguments,
        ("bash > ~/.local/share/bash-completion/completions/arangopipe",),
    ),
)
