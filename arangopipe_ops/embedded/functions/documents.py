"""Functions of objects. Manual: aql/functions/document-object."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import Undefined
from ..values import encode, equal, is_number, is_true, to_string
from .arrays import flatten
from .signature import ANY_NUMBER, Function, array, mapping

Pairs = list[list[Any]]


def _names(arguments: tuple[Any, ...]) -> list[str]:
    return [to_string(name) for name in flatten(list(arguments))]


def _keep(value: Any, *names: Any) -> dict[str, Any]:
    source = mapping(value)
    return {name: source[name] for name in _names(names) if name in source}


def _unset(value: Any, *names: Any) -> dict[str, Any]:
    excluded = set(_names(names))
    return {name: item for name, item in mapping(value).items() if name not in excluded}


def _keep_recursive(value: Any, *names: Any) -> dict[str, Any]:
    wanted = set(_names(names))
    kept = ((name, _within(item, _keep_recursive, wanted)) for name, item in mapping(value).items())
    return {name: item for name, item in kept if name in wanted}


def _unset_recursive(value: Any, *names: Any) -> dict[str, Any]:
    excluded = set(_names(names))
    items = mapping(value).items()
    return {name: _within(item, _unset_recursive, excluded) for name, item in items if name not in excluded}


def _within(value: Any, change: Any, names: Iterable[str]) -> Any:
    if isinstance(value, list):
        return [_within(item, change, names) for item in value]
    return change(value, *names) if isinstance(value, dict) else value


def _attributes(value: Any, without_system: Any = False, sort: Any = False) -> list[str]:
    names = [name for name in mapping(value) if not (is_true(without_system) and name.startswith("_"))]
    return sorted(names, key=encode) if is_true(sort) else names


def _values(value: Any, without_system: Any = False) -> list[Any]:
    names = _attributes(value, without_system)
    return [value[name] for name in names]


def _merge(*documents: Any) -> dict[str, Any]:
    sources = documents[0] if len(documents) == 1 and isinstance(documents[0], list) else documents
    merged: dict[str, Any] = {}
    for source in sources:
        merged |= mapping(source)
    return merged


def _merge_recursive(*documents: Any) -> dict[str, Any]:
    sources = documents[0] if len(documents) == 1 and isinstance(documents[0], list) else documents
    merged: dict[str, Any] = {}
    for source in sources:
        for name, value in mapping(source).items():
            both = isinstance(value, dict) and isinstance(merged.get(name), dict)
            merged[name] = _merge_recursive(merged[name], value) if both else value
    return merged


def _matches(document: Any, examples: Any, return_index: Any = False) -> Any:
    listed = examples if isinstance(examples, list) else [examples]
    found = next((at for at, example in enumerate(listed) if _matches_one(document, example)), -1)
    return found if is_true(return_index) else found >= 0


def _matches_one(document: Any, example: Any) -> bool:
    source = mapping(document)
    return all(equal(source.get(name), value) for name, value in mapping(example).items())


def _translate(value: Any, lookup: Any, default: Any = None) -> Any:
    return mapping(lookup).get(to_string(value), value if default is None else default)


def _zip(keys: Any, values: Any) -> dict[str, Any]:
    if len(array(keys)) != len(array(values)):
        raise Undefined(1542)
    found: dict[str, Any] = {}
    for key, value in zip(keys, values, strict=True):
        found.setdefault(to_string(key), value)
    return found


def _entries(value: Any) -> Pairs:
    return [[name, item] for name, item in mapping(value).items()]


def _value(document: Any, path: Any) -> Any:
    for step in array(path):
        if isinstance(document, dict):
            document = document.get(to_string(step))
        elif isinstance(document, list) and is_number(step) and -len(document) <= step < len(document):
            document = document[int(step)]
        else:
            return None
    return document


def _identifier(value: Any) -> list[str]:
    text = value.get("_id") if isinstance(value, dict) else value
    if not isinstance(text, str) or text.count("/") != 1:
        raise Undefined(1542)
    return text.split("/")


def _parse_identifier(value: Any) -> dict[str, str]:
    collection, key = _identifier(value)
    return {"collection": collection, "key": key}


def _is_same_collection(collection: Any, document: Any) -> bool:
    return _identifier(document)[0] == to_string(collection)


TABLE: dict[str, Function] = {
    "ATTRIBUTES": Function(_attributes, 1, 3),
    "ENTRIES": Function(_entries, 1, 1),
    "HAS": Function(lambda value, name: isinstance(value, dict) and to_string(name) in value, 2, 2),
    "IS_SAME_COLLECTION": Function(_is_same_collection, 2, 2, of_collection=True),
    "KEEP": Function(_keep, 2, ANY_NUMBER),
    "KEEP_RECURSIVE": Function(_keep_recursive, 2, ANY_NUMBER),
    "KEYS": Function(_attributes, 1, 3),
    "MATCHES": Function(_matches, 2, 3),
    "MERGE": Function(_merge, 1, ANY_NUMBER),
    "MERGE_RECURSIVE": Function(_merge_recursive, 1, ANY_NUMBER),
    "PARSE_COLLECTION": Function(lambda value: _identifier(value)[0], 1, 1),
    "PARSE_IDENTIFIER": Function(_parse_identifier, 1, 1),
    "PARSE_KEY": Function(lambda value: _identifier(value)[1], 1, 1),
    "TRANSLATE": Function(_translate, 2, 3),
    "UNSET": Function(_unset, 2, ANY_NUMBER),
    "UNSET_RECURSIVE": Function(_unset_recursive, 2, ANY_NUMBER),
    "VALUE": Function(_value, 2, 2),
    "VALUES": Function(_values, 1, 2),
    "ZIP": Function(_zip, 2, 2),
}
