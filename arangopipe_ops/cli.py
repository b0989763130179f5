"""`arangopipe ...`: arguments in, text or JSON out. Every command is one call of the library."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from arangopipe_ops import __version__, admin, drawing
from arangopipe_ops.connection import DEFAULT_TIMEOUT, URL_VARIABLE, connect, describe
from arangopipe_ops.errors import ArangopipeError, Invalid
from arangopipe_ops.model import SCHEMA, Lineage
from arangopipe_ops.stages import STAGES, arguments_of, make
from arangopipe_ops.store import Store

_FORMATS: dict[str, Callable[[Lineage], str | bytes]] = {
    "tree": drawing.tree,
    "json": lambda lineage: _json(lineage),
    "dot": drawing.dot,
    "mermaid": drawing.mermaid,
    "svg": drawing.svg,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, or 1 with the error on standard error."""
    options = _parser().parse_args(arguments)
    try:
        options.do(options)
    except (ArangopipeError, OSError) as error:
        sys.stderr.write(f"arangopipe: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="arangopipe", description="ML metadata in one graph: register, look up, trace lineage."
    )
    parser.add_argument("--version", action="version", version=f"arangopipe-ops {__version__}")
    parser.add_argument("--url", help=f"the database; else ${URL_VARIABLE}, else ./arangopipe.db")
    parser.add_argument("--timeout", type=float, default=DEFAULT_TIMEOUT, metavar="S", help="seconds to wait")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    command = commands.add_parser("provision", help="create collections, graph and indexes where missing")
    command.set_defaults(do=_provision)

    register = commands.add_parser("register", help="write one stage of a pipeline")
    kinds = register.add_subparsers(metavar="WHAT", required=True)
    for what, stage in STAGES.items():
        _add_stage(kinds.add_parser(what, help=(stage.__doc__ or "").splitlines()[0]), stage)

    command = commands.add_parser("show", help="print one node as JSON")
    _add_reference(command)
    command.set_defaults(do=_show)

    command = commands.add_parser("find", help="list nodes of a kind, newest first")
    command.add_argument("kind", help=", ".join(SCHEMA.nodes))
    command.add_argument("--where", action="append", default=[], metavar="NAME=VALUE", help="may be repeated")
    command.add_argument("--limit", type=int, default=20)
    command.set_defaults(do=_find)

    command = commands.add_parser("lineage", help="trace what influenced a node and what it influenced")
    _add_reference(command)
    command.add_argument("--direction", choices=("upstream", "downstream", "both"), default="both")
    command.add_argument("--depth", type=int, default=100, help="edges from the start")
    command.add_argument("--kinds", nargs="+", metavar="KIND", help="keep only nodes of these kinds")
    command.add_argument("--format", choices=tuple(_FORMATS), default="tree")
    command.add_argument("--output", "-o", type=Path, metavar="FILE", help="write there instead")
    command.set_defaults(do=_lineage)

    command = commands.add_parser("counts", help="count nodes and edges")
    command.set_defaults(do=_counts)

    command = commands.add_parser("serve-db", help="serve an embedded database file over ArangoDB's HTTP API")
    command.add_argument("--file", type=Path, default=Path("arangopipe.db"), help="default: ./arangopipe.db")
    command.add_argument("--host", default="127.0.0.1", help="another address needs $ARANGO_ROOT_PASSWORD")
    command.add_argument("--port", type=int, default=8529)
    command.set_defaults(do=_serve_db)
    return parser


def _add_stage(command: argparse.ArgumentParser, stage: Callable[..., Any]) -> None:
    """Add an option for every argument of a stage function."""
    named = arguments_of(stage)
    for parameter in named:
        plain = parameter.annotation in (str, str | None)
        command.add_argument(
            f"--{parameter.name.replace('_', '-')}",
            type=str if plain else _value,
            required=parameter.default is parameter.empty,
            default=argparse.SUPPRESS,
            metavar="TEXT" if plain else "TEXT|JSON",
        )
    command.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="any further attribute")
    command.add_argument("--on-conflict", choices=("fail", "keep", "revise"), default="fail")
    command.set_defaults(do=_register, stage=stage, named=[parameter.name for parameter in named])


def _add_reference(command: argparse.ArgumentParser) -> None:
    command.add_argument("reference", help="an _id, or a name with --kind")
    command.add_argument("--kind", help=", ".join(SCHEMA.nodes))


def _provision(options: argparse.Namespace) -> None:
    db = connect(options.url, timeout=options.timeout)
    changed = admin.provision(db)
    _say(f"{describe(db)}: {'provisioned' if changed else 'already provisioned'}")


def _register(options: argparse.Namespace) -> None:
    given = {name: getattr(options, name) for name in options.named if hasattr(options, name)}
    stage = make(options.stage, given, _pairs(options.set))
    _say(_json(_store(options).write(stage, on_conflict=options.on_conflict)))


def _show(options: argparse.Namespace) -> None:
    _say(_json(_store(options).get(options.reference, options.kind)))


def _find(options: argparse.Namespace) -> None:
    found = _store(options).search(options.kind, _pairs(options.where), limit=options.limit, count=False)
    for document in found["nodes"]:
        name = document.get(SCHEMA.node(options.kind).name, document["_key"])
        _say("\t".join((document.get("created") or "", str(name), document.get("version", ""), document["_id"])))


def _lineage(options: argparse.Namespace) -> None:
    found = _store(options).lineage(
        options.reference,
        kind=options.kind,
        direction=options.direction,
        depth=options.depth,
        kinds=options.kinds,
    )
    drawn = _FORMATS[options.format](found)
    content = drawn if isinstance(drawn, bytes) else f"{drawn}\n".encode()
    if options.output is None:
        sys.stdout.buffer.write(content)
    else:
        options.output.write_bytes(content)


def _counts(options: argparse.Namespace) -> None:
    counts = _store(options).counts()
    width = max(map(len, counts))
    for name, count in counts.items():
        _say(f"{name:<{width}}  {count:>8,}")


def _serve_db(options: argparse.Namespace) -> None:
    try:
        from arangopipe_ops.embedded import server
        from arangopipe_ops.embedded.errors import ArangoError
    except ImportError as error:
        raise Invalid("", f"serve-db needs {error.name}: pip install 'arangopipe-ops[embedded]'") from None
    password, secret = os.environ.get(server.PASSWORD_VARIABLE), os.environ.get(server.SECRET_VARIABLE)
    try:
        served = server.prepare(options.file, options.host, password, secret)
    except (ValueError, ArangoError) as error:
        raise Invalid("", str(error)) from None
    if served.generated is not None:
        _say(f"password of root, shown only now: {served.generated}")
    _say(f"serving {options.file} at http://{options.host}:{options.port}, stop with Ctrl-C")
    sys.stdout.flush()
    server.run(served.database, options.host, options.port)


def _store(options: argparse.Namespace) -> Store:
    return Store(connect(options.url, timeout=options.timeout), provenance={"through": "cli"})


def _value(text: str) -> Any:
    if not text.startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from None


def _pairs(texts: Sequence[str]) -> dict[str, Any]:
    """Return NAME=VALUE texts as a dict; a value that is JSON is taken as such, anything else as text."""
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise Invalid("", f"{text!r} is not NAME=VALUE")
        try:
            pairs[name] = json.loads(value)
        except ValueError:
            pairs[name] = value
    return pairs


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
