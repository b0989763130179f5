"""Addresses of computers. Manual: aql/functions/string."""

from __future__ import annotations

import re
from typing import Any

from ..errors import Undefined
from ..values import is_number
from .signature import Function

_OCTET = r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_ADDRESS = re.compile(rf"{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}", re.ASCII)


def is_ipv4(value: Any) -> bool:
    return isinstance(value, str) and _ADDRESS.fullmatch(value) is not None


def _to_number(address: Any) -> int:
    if not is_ipv4(address):
        raise Undefined(1542)
    return int.from_bytes(bytes(map(int, address.split("."))))


def _from_number(value: Any) -> str:
    if not is_number(value) or not 0 <= value < 1 << 32:
        raise Undefined(1542)
    return ".".join(map(str, int(value).to_bytes(4)))


TABLE: dict[str, Function] = {
    "IPV4_FROM_NUMBER": Function(_from_number, 1, 1),
    "IPV4_TO_NUMBER": Function(_to_number, 1, 1),
    "IS_IPV4": Function(is_ipv4, 1, 1),
}
