"""A source as it is configured for a collection."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from inspect import signature
from typing import Any

from arangopipe_ops.errors import Invalid, Misconfigured
from arangopipe_ops.integrations import reader
from arangopipe_ops.integrations.source import Read
from arangopipe_ops.store.search import Where


@dataclass(frozen=True)
class Source:
    """Where serving performance is read: a `type` of `integrations.SOURCES` with its `options`.

    `name` is what its figures are stored under, the type if left out. `by` is the attribute of a deployment that holds
    the name it has there: `tag`, or one inside another such as `monitoring.service`; deployments without it are not
    asked for. `where` are conditions on deployments, as in a search. Raises Invalid.
    """

    type: str
    name: str = ""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    by: str = "tag"
    where: Where = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.type, str) or not isinstance(self.name, str) or not isinstance(self.by, str):
            raise Invalid("source", f"{self.name or self.type!r}: type, name and by are texts")
        for each in ("options", "where"):
            if not isinstance(getattr(self, each), Mapping):
                raise Invalid(f"source.{each}", "is not a mapping")
        object.__setattr__(self, "name", self.name or self.type)

    def reader(self) -> Read:
        """Return what reads it. Raises Invalid for an unknown type and for an option that it lacks, Misconfigured."""
        read = reader(self.type)
        for each in signature(read).parameters.values():
            if each.kind is each.KEYWORD_ONLY and each.default is each.empty and each.name not in self.options:
                raise Invalid(f"{self.name}.{each.name}", f"is missing; a source of the type {self.type} needs it")
        return read

    @classmethod
    def from_json(cls, data: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> "Source":
        """Return the source that plain data describes; options are beside the other names, or under `options`.

        A value `{"env": "TOKEN"}` is that of an environment variable. Raises Invalid, and Misconfigured for a variable
        that is not set.
        """
        if not isinstance(data, Mapping) or "type" not in data:
            raise Invalid("source", "has no type, such as prometheus or sql")
        own = {each.name for each in fields(cls)} - {"options"}
        options = {name: value for name, value in data.items() if name not in {*own, "options"}}
        options |= data.get("options") or {}
        filled = {name: _filled(value, environment or {}) for name, value in options.items()}
        return cls(**{name: data[name] for name in own & data.keys()}, options=filled)


def _filled(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        if value.keys() == {"env"}:
            if value["env"] not in environment:
                raise Misconfigured(f"the environment variable {value['env']} is not set, which a source needs")
            return environment[value["env"]]
        return {name: _filled(each, environment) for name, each in value.items()}
    return [_filled(each, environment) for each in value] if isinstance(value, list) else value
