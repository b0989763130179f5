"""Manual: aql/functions/array."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import Any

from ..errors import ArangoError
from ..values import contains, encode, equal, identity, is_true, to_number, to_string, unique
from .ranges import MAX_RANGE
from .signature import ANY_NUMBER, Function, array, integer


def length(value: Any) -> int:
    if value is None or value is False:
        return 0
    if value is True:
        return 1
    return len(value) if isinstance(value, (list, dict)) else len(to_string(value))


def flatten(items: list[Any], depth: int = 1) -> list[Any]:
    if depth <= 0:
        return items
    flat: list[Any] = []
    for item in items:
        if type(item) is list:
            flat.extend(flatten(item, depth - 1))
        else:
            flat.append(item)
    return flat


def _flatten(items: Any, depth: Any = 1) -> list[Any]:
    return flatten(array(items), integer(depth))


def _nth(items: Any, position: Any) -> Any:
    index = integer(position)
    return array(items)[index] if 0 <= index < len(array(items)) else None


def _push(items: Any, value: Any, only_new: Any = False) -> list[Any]:
    before = [] if items is None else array(items)
    return before if is_true(only_new) and contains(before, value) else [*before, value]


def _unshift(items: Any, value: Any, only_new: Any = False) -> list[Any]:
    before = [] if items is None else array(items)
    return before if is_true(only_new) and contains(before, value) else [value, *before]


def _append(items: Any, values: Any, only_new: Any = False) -> list[Any]:
    added = values if type(values) is list else [] if values is None else [values]
    both = [*([] if items is None else array(items)), *added]
    return unique(both) if is_true(only_new) else both


def _union(*lists: Any) -> list[Any]:
    return list(chain.from_iterable(array(items) for items in lists))


def _occurrences(lists: tuple[Any, ...]) -> tuple[dict[bytes, Any], Counter[bytes]]:
    """Each distinct value, and in how many of the lists it is."""
    values = {encode(item): item for items in lists for item in array(items)}
    return values, Counter(key for items in lists for key in {encode(item) for item in items})


def _intersection(*lists: Any) -> list[Any]:
    values, counts = _occurrences(lists)
    return [value for key, value in values.items() if counts[key] == len(lists)]


def _outersection(*lists: Any) -> list[Any]:
    values, counts = _occurrences(lists)
    return [value for key, value in values.items() if counts[key] == 1]


def _minus(items: Any, *others: Any) -> list[Any]:
    excluded = {identity(item) for other in others for item in array(other)}
    return [item for item in unique(array(items)) if identity(item) not in excluded]


def _slice(items: Any, start: Any, count: Any = None) -> list[Any]:
    first = integer(start)
    tail = array(items)[max(first, -len(items)) if first < 0 else first :]
    return tail if count is None else tail[: integer(count)]


def _position(items: Any, value: Any, return_index: Any = False) -> Any:
    found = next((at for at, item in enumerate(array(items)) if equal(item, value)), -1)
    return found if is_true(return_index) else found >= 0


def _remove_value(items: Any, value: Any, limit: Any = None) -> list[Any]:
    left = len(array(items)) if limit is None or to_number(limit) < 0 else integer(limit)
    kept = []
    for item in array(items):
        if left and equal(item, value):
            left -= 1
        else:
            kept.append(item)
    return kept


def _remove_values(items: Any, values: Any) -> list[Any]:
    excluded = [] if values is None else array(values)
    return [item for item in array(items) if not contains(excluded, item)]


def _remove_nth(items: Any, position: Any) -> list[Any]:
    index = integer(position)
    size = len(array(items))
    return [item for at, item in enumerate(items) if at != (index + size if index < 0 else index)]


def _replace_nth(items: Any, position: Any, value: Any, *padding: Any) -> list[Any]:
    """Raises 1542 if the place is beyond the next one and there is nothing to fill up with."""
    index, copy = integer(position), list(array(items))
    index = max(index + len(copy), 0) if index < 0 else index
    if index > MAX_RANGE:
        raise ArangoError(1504)
    if index > len(copy) and not padding:
        raise ArangoError(1542, "REPLACE_NTH")
    copy.extend([padding[0] if padding else None] * (index + 1 - len(copy)))
    copy[index] = value
    return copy


def _interleave(*lists: Any) -> list[Any]:
    longest = max((len(array(items)) for items in lists), default=0)
    return [items[at] for at in range(longest) for items in lists if at < len(items)]


def _first(items: Any) -> Any:
    return next(iter(array(items)), None)


def _last(items: Any) -> Any:
    return next(reversed(array(items)), None)


TABLE: dict[str, Function] = {
    "APPEND": Function(_append, 2, 3),
    "CONTAINS_ARRAY": Function(_position, 2, 3),
    "COUNT": Function(length, 1, 1),
    "COUNT_DISTINCT": Function(lambda items: len(unique(array(items))), 1, 1),
    "COUNT_UNIQUE": Function(lambda items: len(unique(array(items))), 1, 1),
    "FIRST": Function(_first, 1, 1),
    "FLATTEN": Function(_flatten, 1, 2),
    "INTERLEAVE": Function(_interleave, 2, ANY_NUMBER),
    "INTERSECTION": Function(_intersection, 2, ANY_NUMBER),
    "LAST": Function(_last, 1, 1),
    "LENGTH": Function(length, 1, 1),
    "MINUS": Function(_minus, 2, ANY_NUMBER),
    "NTH": Function(_nth, 2, 2),
    "OUTERSECTION": Function(_outersection, 2, ANY_NUMBER),
    "POP": Function(lambda items: None if items is None else array(items)[:-1], 1, 1),
    "POSITION": Function(_position, 2, 3),
    "PUSH": Function(_push, 2, 3),
    "REMOVE_NTH": Function(_remove_nth, 2, 2),
    "REMOVE_VALUE": Function(_remove_value, 2, 3),
    "REMOVE_VALUES": Function(_remove_values, 2, 2),
    "REPLACE_NTH": Function(_replace_nth, 3, 4),
    "SHIFT": Function(lambda items: None if items is None else array(items)[1:], 1, 1),
    "SLICE": Function(_slice, 2, 3),
    "SORTED": Function(lambda items: sorted(array(items), key=encode), 1, 1),
    "SORTED_UNIQUE": Function(lambda items: sorted(unique(array(items)), key=encode), 1, 1),
    "UNION": Function(_union, 2, ANY_NUMBER),
    "UNION_DISTINCT": Function(lambda *lists: unique(_union(*lists)), 2, ANY_NUMBER),
    "UNIQUE": Function(lambda items: unique(array(items)), 1, 1),
    "UNSHIFT": Function(_unshift, 2, 3),
}
