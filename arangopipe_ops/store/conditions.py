"""Conditions of a search as people write them: `rows>=100`, `uri^=s3://`."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from arangopipe_ops.errors import Invalid

_COMPARISONS: Mapping[str, str] = {
    "!=": "!=",
    "==": "==",
    "<=": "<=",
    ">=": ">=",
    "^=": "prefix",
    "~=": "contains",
    "@=": "has",
    "=": "==",
    "<": "<",
    ">": ">",
}
"""How a condition is written, longer signs first."""

CONDITIONS_HELP = (
    "a condition: rows>=100, name=wine, uri^=s3:// (begins), name~=red (contains), tags@=gold, owner (is set)"
)


def conditions(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return conditions such as `rows>=100`, `uri^=s3://` or `owner` (exists) for a search. Raises Invalid."""
    where: dict[str, dict[str, Any]] = {}
    for text in texts:
        at, sign = min(
            ((text.find(sign), sign) for sign in _COMPARISONS if sign in text),
            key=lambda found: (found[0], -len(found[1])),
            default=(len(text), ""),
        )
        name, plain = text[:at].strip(), text[at + len(sign) :].strip()
        if sign == "=" and plain.startswith(("<", ">")):
            raise Invalid(name, f"'={plain[0]}' is not one of {', '.join(_COMPARISONS)}; quote a text that begins so")
        operator = _COMPARISONS.get(sign, "exists")
        wanted = json_or_text(plain) if operator not in ("prefix", "contains") else plain
        where.setdefault(name, {})[operator] = True if operator == "exists" else wanted
    return where


def conditions_in(text: str) -> dict[str, dict[str, Any]]:
    """Return the conditions that stand in a text, one on each line. Raises Invalid."""
    return conditions([line for line in text.splitlines() if line.strip()])


def json_or_text(text: str) -> Any:
    """Return what a text is in JSON, or else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
