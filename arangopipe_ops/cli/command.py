"""What a command is, and the arguments that several commands share."""

import argparse
import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from arangopipe_ops.connection import connect
from arangopipe_ops.errors import Invalid
from arangopipe_ops.model import SCHEMA
from arangopipe_ops.store import Store
from arangopipe_ops.store.conditions import json_or_text


@dataclass(frozen=True)
class Command:
    """A command: its words, what it does, which arguments it takes, and how it is used.

    `do` gets the parsed options and may return an exit code. Its docstring's first line is the command's help.
    """

    name: str
    do: Callable[[argparse.Namespace], int | None]
    arguments: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    examples: Sequence[str] = ()

    @property
    def help(self) -> str:
        return (self.do.__doc__ or "").splitlines()[0].rstrip(".")


def store_of(options: argparse.Namespace) -> Store:
    database = connect(options.url, timeout=options.timeout)
    return Store(database, provenance={"through": "cli"}, spool=getattr(options, "spool", None))


def reference(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", help="an _id, or a name with --kind")
    kind(parser)


def kind(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kind", help=f"{', '.join(SCHEMA.nodes)}, or one of your own")


def reason(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", metavar="TEXT", help="kept in the audit")


def as_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def function_arguments(parser: argparse.ArgumentParser, parameters: Sequence[inspect.Parameter]) -> None:
    """Add an option for every parameter of a function; one that is given is in the options under its name."""
    for parameter in parameters:
        parser.add_argument(
            f"--{parameter.name.replace('_', '-')}",
            required=parameter.default is parameter.empty,
            default=argparse.SUPPRESS,
            **_reading(parameter),
        )
    parser.set_defaults(named=[parameter.name for parameter in parameters])


def given(options: argparse.Namespace) -> dict[str, Any]:
    """Return the function arguments that were given."""
    return {name: getattr(options, name) for name in options.named if hasattr(options, name)}


_TIMES = ("at", "since", "until", "start", "end", "period_start", "period_end")


def _reading(parameter: inspect.Parameter) -> dict[str, Any]:
    """Return how an option for a parameter is read."""
    annotation = parameter.annotation
    if parameter.name in _TIMES:
        return {"metavar": "TIME"}
    kinds = [kind for kind in (get_args(annotation) or (annotation,)) if kind is not type(None)]
    chosen = next((kind for kind in (annotation, *kinds) if get_origin(kind) is Literal), None)
    if chosen is not None:
        return {"choices": get_args(chosen)}
    if kinds == [bool]:
        return {"action": argparse.BooleanOptionalAction}
    for plain, metavar in ((int, "N"), (float, "X"), (str, "TEXT")):
        if kinds == [plain]:
            return {"type": plain, "metavar": metavar}
    return {"type": value, "metavar": "TEXT|JSON"}


def value(text: str) -> Any:
    """Return a text that looks like a JSON object or list as such."""
    if not text.startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from None


def pairs(texts: Sequence[str]) -> dict[str, Any]:
    """Return NAME=VALUE texts as a dict; a value that is JSON is taken as such, anything else as text."""
    found = {}
    for text in texts:
        name, equals, plain = text.partition("=")
        if not equals:
            raise Invalid("", f"{text!r} is not NAME=VALUE")
        found[name] = json_or_text(plain)
    return found
