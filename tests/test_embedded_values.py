"""AQL's values: their order, their casts, and what of a caller's objects becomes one."""

from __future__ import annotations

import enum
import itertools
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arangopipe_ops.embedded.errors import ArangoError
from arangopipe_ops.embedded.values import (
    adopt,
    contains,
    encode,
    encode_descending,
    equal,
    identity,
    less,
    parse,
    to_number,
    to_string,
    unique,
)

ASCENDING: list[Any] = [
    *(None, False, True, -(2**63), -1.5, -1, 0, 0.5, 1, 2**53, 2**53 + 1, 2**64 - 1, 1e300),
    *("", " ", "_", "0", "10", "9", "a", "A", "ab", "b", "B", "e", "é", "z"),
    *([], [None, 0], [False], [0], [0, 1], [1], ["a"], [[]]),
    *({}, {"b": 0}, {"a": None, "b": 1}, {"a": 0}, {"a": 0, "b": 0}),
]

numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
run = settings(max_examples=200, deadline=None, database=None)


def test_values_have_one_order() -> None:
    """Null < bool < number < string < array < object, and each of them in its own order."""
    for (at, left), (to, right) in itertools.product(enumerate(ASCENDING), repeat=2):
        assert less(left, right) == (at < to), (left, right)


@run
@given(json_values, json_values)
def test_order_and_equality_agree(left: Any, right: Any) -> None:
    """Of two values exactly one is less, or they are equal, in the index as in a comparison."""
    assert less(left, right) + less(right, left) + equal(left, right) == 1
    assert equal(left, right) == (encode(left) == encode(right)) == (identity(left) == identity(right))
    assert less(left, right) == (encode(left) < encode(right))


def test_values_are_the_same_where_they_are_equal() -> None:
    """Nulls at the end of an array and in an object are nothing, a number is none but itself, and a text no array."""
    values: list[Any] = [*ASCENDING, ["a", "b"], ["a", None], ["a", "b", None, None], [None], {"a": None}, 1.0, ["1"]]
    values += ["ab", "Ab", "a\x00", "a", ["a\x00"], [["a"]], [["a", None]], "1", True, ["a", 1], ["a", 1.0]]
    for left, right in itertools.product(values, repeat=2):
        assert (identity(left) == identity(right)) == (encode(left) == encode(right)), (left, right)
        assert contains([right], left) == equal(left, right)


@run
@given(json_values, json_values, json_values, json_values)
def test_values_have_an_order_downwards(left: Any, right: Any, one: Any, other: Any) -> None:
    """Bytes for a descending order are the other way round, also with the bytes of another value behind them."""
    assert (encode_descending(left) < encode_descending(right)) == less(right, left)
    downwards = less(right, left) or (equal(left, right) and less(one, other))
    assert (encode_descending(left) + encode(one) < encode_descending(right) + encode(other)) == downwards
    upwards = less(left, right) or (equal(left, right) and less(other, one))
    assert (encode(left) + encode_descending(one) < encode(right) + encode_descending(other)) == upwards


@run
@given(json_values)
def test_json_comes_back(value: Any) -> None:
    """A JSON value is adopted as it is, from an object as from text."""
    assert adopt(value) == value
    assert parse(json.dumps(value)) == value


@run
@given(st.lists(json_values, max_size=5), json_values)
def test_sets_follow_equality(items: list[Any], value: Any) -> None:
    """`unique` keeps the first of equal values, and `contains` finds one of them."""
    kept = unique(items)
    assert all(not equal(one, other) for one, other in itertools.combinations(kept, 2))
    assert all(contains(kept, item) for item in items)
    assert contains(items, value) == any(equal(item, value) for item in items)


class Colour(enum.StrEnum):
    RED = "red"


ADOPTED: list[tuple[Any, Any]] = [
    ((1, (2,)), [1, [2]]),
    (Colour.RED, "red"),
    ({Colour.RED: True}, {"red": True}),
    (2**70, float(2**70)),
]


@pytest.mark.parametrize(("value", "expected"), ADOPTED)
def test_python_objects_become_values(value: Any, expected: Any) -> None:
    """Tuples, enumerations of strings and large integers are what JSON makes of them."""
    assert adopt(value) == expected


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, 10**400, {1: 2}, {1, 2}, b"x", object(), "\ud800", {"\udfff": 1}]
)
def test_no_json_is_refused(value: Any) -> None:
    """What JSON cannot express is error 600, never stored as something else."""
    with pytest.raises(ArangoError, match="600"):
        adopt([value])


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "1e999", "9" * 400, "{", '"\\ud800"', "[" * 100_000])
def test_no_json_text_is_refused(text: str) -> None:
    """Text that is no JSON value is error 600."""
    with pytest.raises(ArangoError, match="600"):
        parse(text)


CASTS: list[tuple[Any, Any, str]] = [
    (None, 0, ""),
    (True, 1, "true"),
    ("-17.5", -17.5, "-17.5"),
    ("1e3", 1000, "1e3"),
    ("12a", 0, "12a"),
    ([], 0, "[]"),
    ([7], 7, "[7]"),
    ([1, 2], 0, "[1,2]"),
    ({"a": 1}, 0, '{"a":1}'),
    (1.0, 1, "1"),
    (2e-7, 2e-7, "2e-7"),
]


@pytest.mark.parametrize(("value", "number", "text"), CASTS)
def test_casts(value: Any, number: Any, text: str) -> None:
    """A value as a number and as a string, as the manual's chapter on casts has it."""
    assert to_number(value) == number
    assert to_string(value) == text
