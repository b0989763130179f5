"""AQL's values: type order, equality, truth and casts, each rule written once.

Manual: aql/fundamentals/type-and-value-order, aql/functions/type-check-and-cast.

The order of values is the order of the bytes of `encode(value)`. Indexes store these bytes and the
comparison operators compare them, so the two cannot disagree. Strings order as an approximation of
ICU's root collation: punctuation < digits < letters, `a` < `B` < `c`, `a` < `A`, accents last.
"""

from __future__ import annotations

import json
import math
import re
import struct
import unicodedata
from collections.abc import Hashable, Iterable
from typing import Any

from .errors import ArangoError

Value = Any
"""null, bool, int, float, str, list or dict with str keys, as the json module reads them."""

TYPE_NAMES: dict[type, str] = {
    type(None): "null",
    bool: "bool",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    range: "array",
}
INTEGERS = range(-(1 << 63), 1 << 64)
SAFE_INTEGER = 1 << 53

# One tag byte opens every encoded value; 0xFF is never one, so `prefix + HIGHEST` bounds a prefix.
_END, _ATTRIBUTE, _NULL, _FALSE, _TRUE, _NUMBER, _STRING, _ARRAY, _OBJECT = (
    bytes([tag]) for tag in (0x01, 0x02, 0x10, 0x20, 0x21, 0x30, 0x40, 0x50, 0x60)
)
HIGHEST = b"\xff"

dump_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
"""Compact JSON text; the encoder is made once, which json.dumps with options does on each call."""

_COLLATION = b"\t\n\v\f\r _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789abcdefghijklmnopqrstuvwxyz"
_IGNORED = bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r") + b"\x7f"
_PRIMARY = bytearray(range(256))
for _weight, _byte in enumerate(_COLLATION, start=1):
    _PRIMARY[_byte] = _PRIMARY[ord(chr(_byte).upper())] = _weight
_COMPLEMENT = bytes(range(255, -1, -1))
_DOUBLE = struct.Struct(">d")
_UNSIGNED = struct.Struct(">Q")
_RESIDUAL = struct.Struct(">H")
_PADDED_EXPONENT = re.compile("e-0")
_NUMERIC_TEXT = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")


def encode(value: Value) -> bytes:
    """Bytes that order as AQL orders the values; equal bytes mean equal values."""
    encoded: bytes = _ENCODERS[type(value)](value)
    return encoded


def encode_all(values: Iterable[Value]) -> bytes:
    """The key of a tuple of values, as an index stores it."""
    return b"".join([_ENCODERS[type(value)](value) for value in values])


def encode_descending(value: Value) -> bytes:
    """Bytes that order the other way round, the greatest value first."""
    return encode(value).translate(_COMPLEMENT) + HIGHEST


def _encode_number(value: float) -> bytes:
    double = float(value) + 0.0
    (bits,) = _UNSIGNED.unpack(_DOUBLE.pack(double))
    ordered = bits ^ 0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else bits | 1 << 63
    # Integers beyond 2**53 share a double with their neighbours: their distance to it tells them apart.
    residual = 0 if -SAFE_INTEGER < double < SAFE_INTEGER else int(value) - int(double)
    return _NUMBER + _UNSIGNED.pack(ordered) + _RESIDUAL.pack(residual + 0x8000)


def _encode_string(value: str) -> bytes:
    exact = value.encode("utf-8", "surrogatepass")
    base = exact if len(exact) == len(value) else _without_accents(value).encode("utf-8", "surrogatepass")
    # Lower case sorts first among equal letters, hence the swapped case of the exact tie-break.
    tie = exact.swapcase().replace(b"\x00", b"\x00\xff")
    return b"%b%b\x00%b\x00" % (_STRING, base.translate(_PRIMARY, _IGNORED), tie)


def _weights(value: str) -> bytes:
    """What decides on the order of texts, unless it is the same: the first part of what `encode` makes of them."""
    base = value if value.isascii() else _without_accents(value)
    return base.encode("utf-8", "surrogatepass").translate(_PRIMARY, _IGNORED)


def _without_accents(value: str) -> str:
    decomposed = unicodedata.normalize("NFD", value)
    return "".join(char for char in decomposed if not unicodedata.combining(char)).casefold()


def _encode_array(value: Iterable[Value]) -> bytes:
    items = list(value)
    while items and items[-1] is None:
        items.pop()
    return _ARRAY + encode_all(items) + _END


def _encode_object(value: dict[str, Value]) -> bytes:
    """A smaller name makes the greater object, as the other one has null there: names are inverted."""
    attributes = sorted((encode(name), encode(item)) for name, item in value.items() if item is not None)
    parts = [_ATTRIBUTE + name.translate(_COMPLEMENT) + item for name, item in attributes]
    return _OBJECT + b"".join(parts) + _END


_ENCODERS: dict[type, Any] = {
    type(None): lambda value: _NULL,
    bool: lambda value: _TRUE if value else _FALSE,
    int: _encode_number,
    float: _encode_number,
    str: _encode_string,
    list: _encode_array,
    range: _encode_array,
    dict: _encode_object,
}
_NUMBERS = frozenset((int, float))


def equal(left: Value, right: Value) -> bool:
    kind = type(left)
    if kind is not type(right):
        return kind in _NUMBERS and type(right) in _NUMBERS and bool(left == right)
    if kind is list or kind is dict:
        return encode(left) == encode(right)
    return bool(left == right)


def less(left: Value, right: Value) -> bool:
    if type(left) in _NUMBERS and type(right) in _NUMBERS:
        return bool(left < right)
    if type(left) is str and type(right) is str and (weights := _weights(left)) != (others := _weights(right)):
        return weights < others
    return encode(left) < encode(right)


def is_true(value: Value) -> bool:
    """AQL's truth: arrays and objects are true even when they are empty."""
    return value is not None and value is not False and value != 0 and value != ""


def is_number(value: Value) -> bool:
    return type(value) in _NUMBERS


def contains(items: Value, value: Value) -> bool:
    """`value IN items`; false when `items` is no array."""
    if type(items) is list and type(value) is str:
        return value in items
    return type(items) in (list, range) and any(equal(item, value) for item in items)


def unique(items: Iterable[Value]) -> list[Value]:
    """The first of each run of equal values, in their order of appearance."""
    first: dict[Hashable, Value] = {}
    for item in items:
        first.setdefault(identity(item), item)
    return list(first.values())


def identity(value: Value) -> Hashable:
    """What equal values have in common, and no others; of texts it costs less than their place in the order."""
    if type(value) is str:
        text: str = value
        return text
    if type(value) is list and value and all(type(item) is str for item in value):
        return tuple(value)
    code = encode(value)
    return _texts(value) if code.startswith(_ARRAY) and value and value[-1] is None else code


def _texts(value: list[Value]) -> Hashable:
    """An array is what it is without the nulls at its end."""
    last = max((at for at, item in enumerate(value, 1) if item is not None), default=0)
    return identity(value[:last])


def number(value: float) -> Value:
    """A computed number as AQL holds it: whole numbers as integers, no NaN or infinity (null)."""
    if type(value) is float and not value.is_integer():
        return value if math.isfinite(value) else None
    if type(value) is int:
        return value if value in INTEGERS else number(float(value))
    if not math.isfinite(value):
        return None
    return int(value) if value == (whole := math.floor(value)) and abs(whole) <= SAFE_INTEGER else value


def to_number(value: Value) -> Value:
    kind = type(value)
    if kind is int or kind is float:
        return value
    if kind is bool:
        return int(value)
    if kind is str:
        return _parse_number(value)
    return to_number(value[0]) if kind is list and len(value) == 1 else 0


def _parse_number(text: str) -> Value:
    if not _NUMERIC_TEXT.fullmatch(text):
        return 0
    try:
        return number(int(text))
    except ValueError:
        return number(float(text)) or 0


def to_string(value: Value) -> str:
    kind = type(value)
    if kind is str:
        return str(value)
    if value is None:
        return ""
    return dump(value)


def to_array(value: Value) -> list[Value]:
    if isinstance(value, (list, range)):
        return list(value)
    if isinstance(value, dict):
        return list(value.values())
    return [] if value is None else [value]


def dump(value: Value) -> str:
    """`value` as compact JSON text."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{dump_json(name)}:{dump(item)}" for name, item in value.items()) + "}"
    if isinstance(value, (list, range)):
        return "[" + ",".join(map(dump, value)) + "]"
    return _digits(value) if type(value) is float else dump_json(value)


def _digits(value: float) -> str:
    """Without the zeros that Python puts behind whole numbers and before exponents."""
    if value == (whole := int(value)) and abs(whole) < 10**15:
        return str(whole)
    return _PADDED_EXPONENT.sub("e-", repr(value))


def adopt(value: Any) -> Value:
    """A copy of a caller's Python object as an AQL value, refusing what JSON cannot express.

    Raises ArangoError 600 for NaN, infinity, numbers beyond a double, keys that are not strings, foreign types and
    cycles.
    """
    try:
        return _adopt(value)
    except RecursionError:
        raise ArangoError(600, message="invalid JSON object: nested too deeply or in a cycle") from None
    except OverflowError:
        raise ArangoError(600, message="invalid JSON object: a number is out of range") from None


def _adopt(value: Any) -> Value:
    kind = type(value)
    if kind is str:
        return value if value.isascii() else _adopt_text(value)
    if kind is bool or value is None:
        return value
    if kind is dict:
        return {_adopt_key(key): _adopt(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [_adopt(item) for item in value]
    if kind is int or kind is float:
        return _adopt_number(value)
    return _adopt_subclass(value)


def _adopt_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ArangoError(600, message="invalid JSON object: half a character in a string") from None
    return text


def _adopt_key(key: Any) -> str:
    if type(key) is str and key.isascii():
        return key
    if isinstance(key, str):
        return _adopt_text(str.__str__(key))
    raise ArangoError(600, message=f"invalid JSON object: attribute name {key!r} is not a string")


def _adopt_number(value: Any) -> Value:
    if not math.isfinite(value):
        raise ArangoError(600, message=f"invalid JSON object: {value} is not a JSON number")
    # A float is looked for in a range by counting through it, so its type comes first.
    return value if type(value) is float or value in INTEGERS else number(value)


def _adopt_subclass(value: Any) -> Value:
    """Enums of strings, numpy's floats, named tuples and their like, by what they are underneath."""
    if isinstance(value, str):
        return _adopt_text(str.__str__(value))
    for kind in (int, float, dict, list, tuple):
        if isinstance(value, kind):
            plain: Any = kind
            return _adopt(plain(value))
    raise ArangoError(600, message=f"invalid JSON object: {type(value).__name__} is not a JSON type")


def parse(text: str | bytes) -> Value:
    """JSON text as an AQL value; ArangoError 600 when it is not JSON."""
    try:
        return adopt(json.loads(text, parse_constant=_refuse_constant))
    except (ValueError, RecursionError) as error:
        raise ArangoError(600, message=f"invalid JSON object: {error}") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
