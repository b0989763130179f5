"""Functions that call others by name. Manual: aql/functions/miscellaneous#dynamic-function-calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ArangoError
from ..values import to_string
from .signature import ANY_NUMBER, Function, array

if TYPE_CHECKING:
    from ..context import Context


def table(functions: dict[str, Function]) -> dict[str, Function]:
    """CALL and APPLY for these functions; reads and calls of calls are nothing that a plan could foresee."""

    def call(context: Context, name: Any, *arguments: Any) -> Any:
        called = to_string(name).upper()
        function = functions.get(called)
        if function is None:
            raise ArangoError(1582 if "::" in called else 1540, called)
        if function.reads or called in calls:
            raise ArangoError(1578, called)
        function.check(called, len(arguments))
        return function.call(*([context] if function.in_context else []), *arguments)

    def apply(context: Context, name: Any, arguments: Any = None) -> Any:
        return call(context, name, *(array(arguments) if arguments is not None else ()))

    calls = {
        "APPLY": Function(apply, 1, 2, in_context=True, deterministic=False),
        "CALL": Function(call, 1, ANY_NUMBER, in_context=True, deterministic=False),
    }
    return calls
