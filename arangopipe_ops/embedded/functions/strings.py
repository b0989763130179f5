"""Manual: aql/functions/string. Regular expressions are Python's, close to ICU's."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import string
import uuid
from functools import cache, lru_cache
from typing import Any
from urllib.parse import quote

from ..errors import ArangoError, Undefined
from ..values import dump, is_true, parse, to_string
from .signature import ANY_NUMBER, Function, integer

_GROUP = re.compile(r"\$(\d)")
CASTAGNOLI = 0x82F63B78
LONGEST = 16 * 1024 * 1024
"""How many characters REPEAT makes at most."""


@lru_cache(maxsize=256)
def _pattern(expression: str, ignore_case: bool) -> re.Pattern[str]:
    try:
        return re.compile(expression, re.IGNORECASE if ignore_case else 0)
    except re.error:
        raise Undefined(1543) from None


@lru_cache(maxsize=256)
def _wildcards(pattern: str) -> str:
    """`%` is any text, `_` any character, a backslash escapes them.

    What stands between two `%` is looked for once, from the left: to try all places takes longer with each `%`.
    """
    parts, at = [""], 0
    while at < len(pattern):
        if pattern[at] == "%":
            parts.append("")
        elif pattern[at] == "\\" and pattern[at + 1 : at + 2] in ("%", "_", "\\"):
            at += 1
            parts[-1] += re.escape(pattern[at])
        else:
            parts[-1] += "." if pattern[at] == "_" else re.escape(pattern[at])
        at += 1
    first, *middle = parts
    last = f".*{middle.pop()}" if middle else ""
    return "(?s)" + first + "".join(f"(?>.*?{part})" for part in middle) + last


def utf8(value: Any) -> bytes:
    return to_string(value).encode()


def like(text: Any, pattern: Any, ignore_case: Any = False) -> bool:
    if not isinstance(text, str) or not isinstance(pattern, str):
        return False
    return _pattern(_wildcards(pattern), is_true(ignore_case)).fullmatch(text) is not None


def regex_test(text: Any, pattern: Any, ignore_case: Any = False) -> bool:
    return _pattern(to_string(pattern), is_true(ignore_case)).search(to_string(text)) is not None


def _regex_matches(text: Any, pattern: Any, ignore_case: Any = False) -> Any:
    match = _pattern(to_string(pattern), is_true(ignore_case)).search(to_string(text))
    return None if match is None else [match.group(), *(group or "" for group in match.groups())]


def _regex_replace(text: Any, pattern: Any, replacement: Any, ignore_case: Any = False) -> str:
    regex, wanted = _pattern(to_string(pattern), is_true(ignore_case)), to_string(replacement)
    if any(int(group) > regex.groups for group in _GROUP.findall(wanted)):
        raise Undefined(1543)
    return regex.sub(_GROUP.sub(r"\\g<\1>", wanted.replace("\\", "\\\\")), to_string(text))


def _regex_split(text: Any, pattern: Any, ignore_case: Any = False, limit: Any = None) -> list[Any]:
    parts = _pattern(to_string(pattern), is_true(ignore_case)).split(to_string(text))
    return parts if limit is None else parts[: integer(limit)]


def _concat(*values: Any) -> str:
    items = values[0] if len(values) == 1 and isinstance(values[0], list) else values
    return "".join([to_string(item) for item in items])


def _concat_separator(separator: Any, *values: Any) -> str:
    items = values[0] if len(values) == 1 and isinstance(values[0], list) else values
    return to_string(separator).join([to_string(item) for item in items if item is not None])


def _contains(text: Any, search: Any, return_index: Any = False) -> Any:
    found = to_string(text).find(to_string(search)) if search != "" else -1
    return found if is_true(return_index) else found >= 0


def _starts_with(text: Any, prefixes: Any, at_least: Any = 1) -> bool:
    wanted = prefixes if isinstance(prefixes, list) else [prefixes]
    holds = sum(to_string(text).startswith(to_string(prefix)) for prefix in wanted)
    return holds >= (integer(at_least) if isinstance(prefixes, list) else 1)


def _find_first(text: Any, search: Any, start: Any = 0, end: Any = None) -> int:
    last = None if end is None else integer(end) + 1
    return to_string(text).find(to_string(search), max(integer(start), 0), last)


def _find_last(text: Any, search: Any, start: Any = 0, end: Any = None) -> int:
    last = None if end is None else integer(end) + 1
    return to_string(text).rfind(to_string(search), max(integer(start), 0), last)


def _substring(text: Any, offset: Any, length: Any = None) -> str:
    whole, start = to_string(text), integer(offset)
    tail = whole[max(start, -len(whole)) if start < 0 else start :]
    return tail if length is None else tail[: max(integer(length), 0)]


def _right(text: Any, length: Any) -> str:
    count = integer(length)
    return to_string(text)[-count:] if count > 0 else ""


def _trim(text: Any, kind: Any = 0) -> str:
    """`kind` is 1 for the left, 2 for the right side, or the characters to strip from both."""
    whole = to_string(text)
    if isinstance(kind, str):
        return whole.strip(kind)
    return {1: whole.lstrip(), 2: whole.rstrip()}.get(integer(kind), whole.strip())


def _trim_left(text: Any, characters: Any = None) -> str:
    return to_string(text).lstrip(None if characters is None else to_string(characters))


def _trim_right(text: Any, characters: Any = None) -> str:
    return to_string(text).rstrip(None if characters is None else to_string(characters))


def _split(text: Any, separator: Any = None, limit: Any = None) -> list[str]:
    whole = to_string(text)
    if separator is None:
        return [whole]
    separators = [to_string(item) for item in (separator if isinstance(separator, list) else [separator])]
    parts = list(whole) if "" in separators else re.split("|".join(map(re.escape, separators)), whole)
    return parts if limit is None else parts[: integer(limit)]


def _substitute(text: Any, search: Any, replacement: Any = None, limit: Any = None) -> str:
    pairs = _substitutions(search, replacement)
    if isinstance(search, dict) and replacement is not None:
        limit = replacement
    if not pairs:
        return to_string(text)
    pattern = re.compile("|".join(map(re.escape, pairs)))
    count = 0 if limit is None else integer(limit)
    return pattern.sub(lambda match: pairs[match.group()], to_string(text), count)


def _substitutions(search: Any, replacement: Any) -> dict[str, str]:
    if isinstance(search, dict):
        return {name: to_string(value) for name, value in search.items()}
    if not isinstance(search, list):
        return {to_string(search): to_string(replacement)}
    values = replacement if isinstance(replacement, list) else [replacement] * len(search)
    padded = [*values, *[""] * (len(search) - len(values))]
    return {to_string(name): to_string(value) for name, value in zip(search, padded, strict=False)}


def _json_parse(text: Any) -> Any:
    if not isinstance(text, str):
        raise Undefined(1542)
    try:
        return parse(text)
    except ArangoError:
        raise Undefined(1542) from None


def _random_token(length: Any) -> str:
    size = integer(length)
    if not 0 <= size <= 65536:
        raise ArangoError(1504)
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(size))


@cache
def _crc32_table() -> list[int]:
    remainders = list(range(256))
    for _ in range(8):
        remainders = [each >> 1 ^ (CASTAGNOLI if each & 1 else 0) for each in remainders]
    return remainders


def _crc32(text: Any) -> str:
    """With Castagnoli's polynomial: not the checksum of zip files."""
    table, value = _crc32_table(), 0xFFFF_FFFF
    for byte in utf8(text):
        value = value >> 8 ^ table[(value ^ byte) & 0xFF]
    return f"{value ^ 0xFFFF_FFFF:X}"


def _fnv64(text: Any) -> str:
    """FNV-1a."""
    value = 0xCBF29CE484222325
    for byte in utf8(text):
        value = (value ^ byte) * 0x100000001B3 & 0xFFFF_FFFF_FFFF_FFFF
    return f"{value:X}"


def _substring_bytes(text: Any, offset: Any, length: Any = None, left: Any = 0, right: Any = None) -> str:
    """By bytes of UTF-8, then by `left` and `right` characters more on either side."""
    whole = utf8(text)
    start = integer(offset) + len(whole) if integer(offset) < 0 else integer(offset)
    end = len(whole) if length is None else start + integer(length)
    try:
        before, found, after = whole[:start].decode(), whole[start:end].decode(), whole[end:].decode()
    except UnicodeDecodeError:
        raise Undefined(1542) from None
    more = integer(left)
    return (before[-more:] if more > 0 else "") + found + after[: integer(left if right is None else right)]


def _repeat(value: Any, count: Any, separator: Any = "") -> str:
    text, times, joint = to_string(value), max(integer(count), 0), to_string(separator)
    if times > LONGEST or (len(text) + len(joint)) * times > LONGEST:
        raise Undefined(1542)
    return joint.join([text] * times)


def _to_char(code: Any) -> str:
    point = integer(code)
    if not 0 <= point < 0x110000 or 0xD800 <= point < 0xE000:
        raise Undefined(1542)
    return chr(point)


def _hash(algorithm: str) -> Function:
    new = getattr(hashlib, algorithm)

    def digest(value: Any) -> str:
        text: str = new(utf8(value), usedforsecurity=False).hexdigest()
        return text

    return Function(digest, 1, 1)


TABLE: dict[str, Function] = {
    "CHAR_LENGTH": Function(lambda text: len(to_string(text)), 1, 1),
    "CONCAT": Function(_concat, 1, ANY_NUMBER),
    "CONCAT_SEPARATOR": Function(_concat_separator, 2, ANY_NUMBER),
    "CONTAINS": Function(_contains, 2, 3),
    "CRC32": Function(_crc32, 1, 1),
    "ENCODE_URI_COMPONENT": Function(lambda text: quote(utf8(text), safe="-_.!~*'()"), 1, 1),
    "FIND_FIRST": Function(_find_first, 2, 4),
    "FIND_LAST": Function(_find_last, 2, 4),
    "FNV64": Function(_fnv64, 1, 1),
    "JSON_PARSE": Function(_json_parse, 1, 1),
    "JSON_STRINGIFY": Function(dump, 1, 1),
    "LEFT": Function(lambda text, length: to_string(text)[: max(integer(length), 0)], 2, 2),
    "LIKE": Function(like, 2, 3),
    "LOWER": Function(lambda text: to_string(text).lower(), 1, 1),
    "LTRIM": Function(_trim_left, 1, 2),
    "MD5": _hash("md5"),
    "RANDOM_TOKEN": Function(_random_token, 1, 1, deterministic=False),
    "REGEX_MATCHES": Function(_regex_matches, 2, 3),
    "REGEX_REPLACE": Function(_regex_replace, 3, 4),
    "REGEX_SPLIT": Function(_regex_split, 2, 4),
    "REGEX_TEST": Function(regex_test, 2, 3),
    "REPEAT": Function(_repeat, 2, 3),
    "REVERSE": Function(lambda value: value[::-1] if isinstance(value, list) else to_string(value)[::-1], 1, 1),
    "RIGHT": Function(_right, 2, 2),
    "RTRIM": Function(_trim_right, 1, 2),
    "SHA1": _hash("sha1"),
    "SHA256": _hash("sha256"),
    "SHA512": _hash("sha512"),
    "SPLIT": Function(_split, 1, 3),
    "STARTS_WITH": Function(_starts_with, 2, 3),
    "SUBSTITUTE": Function(_substitute, 2, 4),
    "SUBSTRING": Function(_substring, 2, 3),
    "SUBSTRING_BYTES": Function(_substring_bytes, 2, 5),
    "TO_BASE64": Function(lambda text: base64.b64encode(utf8(text)).decode(), 1, 1),
    "TO_CHAR": Function(_to_char, 1, 1),
    "TO_HEX": Function(lambda text: utf8(text).hex(), 1, 1),
    "TRIM": Function(_trim, 1, 2),
    "UPPER": Function(lambda text: to_string(text).upper(), 1, 1),
    "UUID": Function(lambda: str(uuid.uuid4()), 0, 0, deterministic=False),
}
