"""`arangopipe ...`: arguments in, tables or JSON out. Every command is one call of the library."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from functools import cache

from arangopipe_ops import __version__, errors
from arangopipe_ops.cli import asking, compiling, managing, moving, reading, serving, writing
from arangopipe_ops.cli.command import Command
from arangopipe_ops.cli.output import speak_utf8
from arangopipe_ops.connection import DEFAULT_TIMEOUT, URL_VARIABLE, resolved, without_credentials

EXIT_CODES: Mapping[type[BaseException], int] = {
    errors.NotFound: 3,
    errors.Conflict: 4,
    errors.Unauthorized: 5,
    errors.Unavailable: 6,
    errors.NotProvisioned: 7,
}
"""What a program may act on; any other error is 1, wrong usage 2, Ctrl-C 130, a closed pipe 141."""

COMMANDS: Sequence[Command] = (
    *writing.COMMANDS,
    *reading.COMMANDS,
    *asking.COMMANDS,
    *serving.COMMANDS,
    *moving.COMMANDS,
    *managing.COMMANDS,
)

_EPILOG = """exit codes:
  0 done   1 refused, or something was found   2 wrong usage   3 not found   4 conflict   5 not allowed
  6 the database cannot be reached: try again   7 not provisioned   130 interrupted
  141 nobody reads the output any more"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; an error is one line on standard error."""
    speak_utf8()
    options = parser().parse_args(arguments)
    try:
        code = options.do(options)
        sys.stdout.flush()
    except errors.ArangopipeError as error:
        place = f" The database is {_place(options)}." if isinstance(error, errors.NotProvisioned) else ""
        sys.stderr.write(f"arangopipe: {error}{place}\n")
        return EXIT_CODES.get(type(error), 1)
    except BrokenPipeError:  # such as `arangopipe search | head -1`
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - what is left in the buffer is written at the exit
        return 141
    except OSError as error:
        sys.stderr.write(
            f"arangopipe: {error.filename}: {error.strerror}\n" if error.filename else f"arangopipe: {error}\n"
        )
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("arangopipe: interrupted\n")
        return 130
    return code or 0


def _place(options: argparse.Namespace) -> str:
    """Return the database that was asked: people who forget where they are have provisioned another one."""
    return without_credentials(resolved(options.url))


@cache
def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="arangopipe",
        description="ML metadata in one graph: register, search, trace lineage, ask.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"arangopipe-ops {__version__}")
    top.add_argument("--url", help=f"the database; else ${URL_VARIABLE}, else ./arangopipe.db")
    top.add_argument("--timeout", type=float, default=DEFAULT_TIMEOUT, metavar="S", help="seconds to wait")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    register = commands.add_parser("register", help="Write a node or an edge", description="Write a node or an edge.")
    kinds = register.add_subparsers(metavar="WHAT", required=True)
    for command in writing.REGISTER:
        _add(kinds, command)
    for command in COMMANDS:
        _add(commands, command)
    ask = commands.add_parser("ask", help="Answer a question over the graph", description="Answer a question.")
    questions = ask.add_subparsers(metavar="QUESTION", required=True)
    for command in asking.ASK:
        _add(questions, command)
    kubeflow = commands.add_parser("kfp", help="Components for Kubeflow", description="Components for Kubeflow.")
    for command in compiling.KFP:
        _add(kubeflow.add_subparsers(metavar="WHAT", required=True), command)
    return top


def _add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", command: Command) -> None:
    added = commands.add_parser(
        command.name,
        help=command.help,
        description=command.help if command.help.endswith("?") else f"{command.help}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if command.examples:
        lines = "\n".join(f"  {added.prog} {example}" for example in command.examples)
        added.epilog = f"for example:\n{lines}"
    command.arguments(added)
    added.set_defaults(do=command.do)
