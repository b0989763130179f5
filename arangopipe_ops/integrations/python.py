"""Serving performance from a function of one's own."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from arangopipe_ops.errors import Invalid
from arangopipe_ops.integrations import function
from arangopipe_ops.integrations.source import Fault, Period, Row


def read(
    periods: Sequence[Period], deployments: Sequence[str], *, call: str | Callable[..., Any], **options: Any
) -> Iterator[Row | Fault]:
    """Yield what `call`, a function or the name `module:function` of one, yields: it is given what this is given.

    Raises Invalid for what is neither a Row nor a Fault, Misconfigured for a name that cannot be imported.
    """
    asked = function(call) if isinstance(call, str) else call
    for answer in asked(periods, deployments, **options):
        if not isinstance(answer, Row | Fault):
            raise Invalid("call", f"{answer!r} is neither a Row nor a Fault")
        yield answer
