"""Commands that ask: the questions of `analytics`, and which model to serve."""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from arangopipe_ops.analytics import QUESTIONS, Policy, deploy, select_model
from arangopipe_ops.analytics.questions import arguments, ids_of
from arangopipe_ops.cli.command import Command, as_json, function_arguments, given, reason, store_of
from arangopipe_ops.cli.output import say, say_json, table
from arangopipe_ops.errors import Invalid
from arangopipe_ops.store.conditions import conditions

_EXAMPLES: dict[str, str] = {
    "techniques": "--task 'churn prediction' --metric accuracy",
    "transformations": "--task 'churn prediction'",
    "selections": "--task 'churn prediction'",
    "attribute-gain": "--attribute tenure --dataset customers --metric accuracy",
    "datasets-used": "--task 'churn prediction' --since 2024-01-01 --until 2025-01-01",
    "influence": "--dataset customers",
    "model-at": "--model 'churn prediction by gradient boosting' --at 2025-01-01",
    "best-run": "--metric accuracy --project 'customer care' --where 'params.depth<8'",
    "summary": "--project 'customer care'",
    "serving": "--metric accuracy --deployment 'customer care v2' --every week",
    "serving-drift": "--metric accuracy --deployment 'customer care v2'",
    "live": "--at 2026-12-01",
}


def _question(name: str, question: Callable[..., Any]) -> Command:
    parameters = arguments(question)
    plain = [parameter for parameter in parameters if parameter.name != "where"]

    def do(options: argparse.Namespace) -> None:
        asked = given(options)
        if getattr(options, "where", None):
            asked["where"] = conditions(options.where)
        answer = question(store_of(options), **asked)
        return say_json(answer) if options.json else _say_answer(answer)

    def options_of(parser: argparse.ArgumentParser) -> None:
        function_arguments(parser, plain)
        if len(plain) < len(parameters):
            parser.add_argument("--where", "-w", action="append", default=[], metavar="CONDITION")
        as_json(parser)

    do.__doc__ = question.__doc__
    return Command(name, do, options_of, (_EXAMPLES[name],) if name in _EXAMPLES else ())


ASK: Sequence[Command] = tuple(_question(name, question) for name, question in QUESTIONS.items())


def _say_answer(answer: Any) -> None:
    """Print rows as a table; one row as its attributes, those that are rows themselves as tables below."""
    rows = answer if isinstance(answer, list) else None
    if rows is None:
        inner = {name: value for name, value in answer.items() if _is_rows(value)}
        say(table([{"": name, "value": answer[name]} for name in _columns(answer) if name not in inner]))
        for name, value in inner.items():
            say(f"\n{name}")
            say(table(value, _columns(value[0])) if value else "none")
    else:
        say(table(rows, _columns(rows[0])) if rows else "nothing")


def _columns(row: Mapping[str, Any]) -> list[str]:
    """Return the columns that a table shows, which has no room for the `_id`s of what others name."""
    apart = ids_of(row).values()
    return [name for name in row if name not in apart]


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _select(options: argparse.Namespace) -> None:
    """Say which model of a project a policy selects and why, and deploy it if asked to."""
    policy, store = _policy(options), store_of(options)
    if options.deploy is None:
        selection, deployment = select_model(store, options.project, policy), None
    else:
        done = deploy(
            store, options.project, policy, tag=options.deploy, dry_run=options.dry_run, reason=options.reason
        )
        selection, deployment = done["selection"], done["deployment"]
    if options.json:
        return say_json({"selection": selection, "deployment": deployment})
    say(f"{selection['decision']}: {selection['reason']}")
    if deployment:
        say(f"{options.deploy} is active")
    return None


def _policy(options: argparse.Namespace) -> Policy:
    named = {"metric": options.metric, "goal": options.goal, "threshold": options.threshold}
    named |= {"min_improvement": options.min_improvement, "environment": options.environment}
    data = _policy_file(options.policy) if options.policy else {}
    return Policy.from_json(data | {name: value for name, value in named.items() if value is not None})


def _policy_file(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except ValueError as error:
        raise Invalid(str(path), f"is not a policy in JSON: {error}") from None


def _select_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project")
    names = ", ".join(field.name for field in fields(Policy))
    parser.add_argument("--policy", type=Path, metavar="FILE", help=f"JSON with {names}")
    parser.add_argument("--metric")
    parser.add_argument("--goal", choices=("max", "min"))
    parser.add_argument("--threshold", type=float, metavar="X")
    parser.add_argument("--min-improvement", type=float, metavar="X", help="over the active deployment's run")
    parser.add_argument("--environment")
    parser.add_argument("--deploy", metavar="TAG", help="deploy what is selected, under this tag")
    parser.add_argument("--dry-run", action="store_true", help="with --deploy: only say what would happen")
    reason(parser)
    as_json(parser)


COMMANDS: Sequence[Command] = (
    Command(
        "select",
        _select,
        _select_arguments,
        ("'customer care' --metric accuracy --threshold 0.7", "'customer care' --policy policy.json --deploy v3"),
    ),
)
