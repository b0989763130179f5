"""Manual: aql/functions/type-check-and-cast."""

from __future__ import annotations

import re
from typing import Any

from ..values import TYPE_NAMES, is_true, to_array, to_number, to_string
from .dates import is_date_string
from .signature import Function

_KEY = re.compile(r"[A-Za-z0-9_\-:.@()+,=;$!*'%]{1,254}")


def _is(*kinds: str) -> Function:
    return Function(lambda value: TYPE_NAMES[type(value)] in kinds, 1, 1)


def _is_key(value: Any) -> bool:
    return isinstance(value, str) and _KEY.fullmatch(value) is not None


TABLE: dict[str, Function] = {
    "IS_ARRAY": _is("array"),
    "IS_BOOL": _is("bool"),
    "IS_DATESTRING": Function(is_date_string, 1, 1),
    "IS_DOCUMENT": _is("object"),
    "IS_KEY": Function(_is_key, 1, 1),
    "IS_LIST": _is("array"),
    "IS_NULL": _is("null"),
    "IS_NUMBER": _is("number"),
    "IS_OBJECT": _is("object"),
    "IS_STRING": _is("string"),
    "TO_ARRAY": Function(to_array, 1, 1),
    "TO_BOOL": Function(is_true, 1, 1),
    "TO_LIST": Function(to_array, 1, 1),
    "TO_NUMBER": Function(to_number, 1, 1),
    "TO_STRING": Function(to_string, 1, 1),
    "TYPENAME": Function(lambda value: TYPE_NAMES[type(value)], 1, 1),
}
