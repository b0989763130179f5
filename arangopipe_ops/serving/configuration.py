"""What to collect, as a file says it: TOML or JSON."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from arangopipe_ops.errors import Invalid
from arangopipe_ops.serving.periods import step_of
from arangopipe_ops.serving.sources import Source


@dataclass(frozen=True)
class Configuration:
    """What to collect: the sources, the length of a period, the time zone of its days, and which deployments.

    `deployments` are tags or conditions as in a search, `statuses` those of `collect`. Raises Invalid.
    """

    sources: tuple[Source, ...]
    every: str = "1d"
    timezone: str = "UTC"
    deployments: list[str] | Mapping[str, Any] | None = None
    statuses: tuple[str, ...] = field(default=("active", "archived"))

    def __post_init__(self) -> None:
        step_of(self.every)

    @classmethod
    def from_json(cls, data: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> "Configuration":
        """Return the configuration that plain data describes; see `Source.from_json`. Raises Invalid, Misconfigured."""
        known = [each.name for each in fields(cls)]
        if not isinstance(data, Mapping) or not isinstance(data.get("sources"), list) or not data["sources"]:
            raise Invalid("sources", "are missing; list at least one")
        for name in data.keys() - set(known):
            raise Invalid(name, f"is not one of {', '.join(known)}")
        given: dict[str, Any] = dict(data)
        if "statuses" in given:
            given["statuses"] = tuple(given["statuses"])
        sources = tuple(Source.from_json(each, environment) for each in data["sources"])
        return cls(**{**given, "sources": sources})

    @classmethod
    def read(cls, path: Path, environment: Mapping[str, str] | None = None) -> "Configuration":
        """Return the configuration in a file. Raises Invalid, which names it, Misconfigured."""
        try:
            text = path.read_text(encoding="utf-8")
            data = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        except ValueError as error:
            raise Invalid(str(path), f"is not {'JSON' if path.suffix == '.json' else 'TOML'}: {error}") from None
        try:
            return cls.from_json(data, environment)
        except Invalid as error:
            error.where = str(path)
            raise
