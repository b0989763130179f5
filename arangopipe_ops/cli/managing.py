"""Commands for whoever runs the database: provision it, serve it."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from arangopipe_ops import admin
from arangopipe_ops.cli.command import Command
from arangopipe_ops.cli.output import say
from arangopipe_ops.connection import connect, describe, is_file, resolved
from arangopipe_ops.errors import Invalid, Misconfigured


def _provision(options: argparse.Namespace) -> None:
    """Create collections, graph and indexes where they are missing."""
    db = connect(options.url, timeout=options.timeout)
    changed = admin.provision(db)
    say(f"{describe(db)}: {'provisioned' if changed else 'already provisioned'}")


def _serve_db(options: argparse.Namespace) -> None:
    """Serve an embedded database file over ArangoDB's HTTP API."""
    try:
        from arangopipe_ops.embedded import server
        from arangopipe_ops.embedded.errors import ArangoError
    except ImportError as error:
        raise Misconfigured(f"serve-db needs {error.name}: pip install 'arangopipe-ops[embedded]'") from None
    password, secret = os.environ.get(server.PASSWORD_VARIABLE), os.environ.get(server.SECRET_VARIABLE)
    try:
        served = server.prepare(options.file, options.host, password, secret)
    except (ValueError, ArangoError) as error:
        raise Invalid("", str(error)) from None
    if served.generated is not None:
        say(f"password of root, shown only now: {served.generated}")
    say(f"serving {options.file} at http://{options.host}:{options.port}, stop with Ctrl-C")
    sys.stdout.flush()
    server.run(served.database, options.host, options.port)


def _serve_db_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--file", type=Path, default=Path("arangopipe.db"), help="default: ./arangopipe.db")
    parser.add_argument("--host", default="127.0.0.1", help="another address needs $ARANGO_ROOT_PASSWORD")
    parser.add_argument("--port", type=int, default=8529)


def _serve(options: argparse.Namespace) -> None:
    """Serve the operations as a JSON API: each caller signs in with a database user."""
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
    say(f"serving {access.url} at http://{host}:{listener.getsockname()[1]}/api/v1, stop with Ctrl-C")
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
    Command("provision", _provision),
    Command("serve-db", _serve_db, _serve_db_arguments, ("--file graph.db --port 8529",)),
    Command("serve", _serve, _serve_arguments, ("--port 8530", "--host 0.0.0.0 --quiet")),
    Command(
        "completion",
        _completion,
        _completion_arguments,
        ("bash > ~/.local/share/bash-completion/completions/arangopipe",),
    ),
)
