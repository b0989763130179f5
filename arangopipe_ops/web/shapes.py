"""What requests and answers look like, derived from the library's own types and signatures."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Annotated, Any, get_args, get_origin, get_type_hints, is_typeddict

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from arangopipe_ops.model import Reference

NAME = Annotated[str, Field(min_length=1)]
REFERENCE = NAME | dict[str, Any]
REFERENCES = Annotated[list[REFERENCE], Field(fail_fast=True)]
Texts = Annotated[list[str], Field(fail_fast=True)]
"""Of what is wrong with a list the first is told: to collect a million errors takes seconds, and nobody reads them."""

_TIME = Annotated[
    str, Field(description="a time in ISO 8601 with its zone, or a date", examples=["2026-11-01T08:00:00Z"])
]
_PLAIN: Mapping[Any, Any] = {
    Reference: REFERENCE,
    Reference | None: REFERENCE | None,
    Reference | Sequence[Reference]: REFERENCE | REFERENCES,
    Reference | Sequence[Reference] | None: REFERENCE | REFERENCES | None,
    Sequence[str] | None: Texts | None,
    Mapping[str, Any]: dict[str, Any],
    Mapping[str, Any] | None: dict[str, Any] | None,
    datetime | str: _TIME,
    datetime | str | None: _TIME | None,
}
"""Types of arguments as JSON has them."""


class Open(BaseModel):
    """A body that may have more than it says, of the types it says."""

    model_config = ConfigDict(extra="allow", strict=True)


class Shape(BaseModel):
    """A body that has what it says and nothing else, of the types it says."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _one_unknown(cls, body: Any) -> Any:
        """Return a body without the attributes that it may not have, but for the first, which is told."""
        if not isinstance(body, Mapping):
            return body
        unknown = islice((name for name in body if name not in cls.model_fields), 1)
        kept = {*cls.model_fields, *unknown}
        return {name: value for name, value in body.items() if name in kept}


def body_of(
    function: Callable[..., Any], parameters: Sequence[inspect.Parameter], base: type[BaseModel] = Open
) -> type[BaseModel]:
    """Return the shape of a request that calls a function with its arguments."""
    fields: dict[str, Any] = {
        parameter.name: (
            _PLAIN.get(parameter.annotation, NAME if _is_name(parameter) else parameter.annotation),
            ... if parameter.default is parameter.empty else parameter.default,
        )
        for parameter in parameters
    }
    return create_model(function.__name__, __base__=base, __doc__=function.__doc__, **fields)


def _is_name(parameter: inspect.Parameter) -> bool:
    return parameter.annotation is str and parameter.default is parameter.empty


def given(body: BaseModel) -> dict[str, Any]:
    """Return what a request gives, as it is."""
    return {name: value for name, value in body if name in body.model_fields_set}


@cache
def answer_of(type_: Any) -> Any:
    """Return a TypedDict, or a list of one, as a shape of answers."""
    if get_origin(type_) is list:
        return Annotated[list[answer_of(get_args(type_)[0])], Field(fail_fast=True)]  # type: ignore[misc]
    if not is_typeddict(type_):
        return type_
    perhaps = dict.fromkeys(type_.__optional_keys__, None)
    fields: dict[str, Any] = {
        name.lstrip("_"): (answer_of(hint), Field(perhaps.get(name, ...), alias=name))
        for name, hint in get_type_hints(type_).items()
    }
    return create_model(type_.__name__, __doc__=type_.__doc__, **fields)
