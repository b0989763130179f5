"""Manual: aql/functions/numeric. Statistics ignore nulls and are null for anything but numbers."""

from __future__ import annotations

import math
import operator
import random
import statistics
from collections.abc import Callable
from functools import reduce
from typing import Any

from ..errors import ArangoError, Undefined
from ..values import encode, is_number, number, to_number
from .ranges import MAX_RANGE, span
from .signature import Function, array, numbers


def _of_number(operation: Callable[..., float]) -> Callable[..., Any]:
    """A mathematical function of AQL values; outside of its domain it is null."""

    def call(*values: Any) -> Any:
        try:
            return number(operation(*[to_number(value) for value in values]))
        except (ValueError, ZeroDivisionError, OverflowError):
            return None

    return call


def _of_numbers(operation: Callable[[list[Any]], Any], at_least: int = 1) -> Callable[[Any], Any]:
    """A statistic of an array of numbers; of too few of them it is null."""

    def call(values: Any) -> Any:
        kept = numbers(values)
        return number(operation(kept)) if len(kept) >= at_least else None

    return call


def _extreme(choose: Callable[..., Any]) -> Callable[[Any], Any]:
    def call(values: Any) -> Any:
        kept = [value for value in array(values) if value is not None]
        if len(kept) < 2:
            return kept[0] if kept else None
        return choose(kept, key=None if all(map(is_number, kept)) else encode)

    return call


def _percentile(values: Any, rank: Any, method: Any = "rank") -> Any:
    """Manual: aql/functions/numeric#percentile; `rank` in 0 <= rank <= 100."""
    ordered, wanted = sorted(numbers(values)), to_number(rank)
    if not 0 <= wanted <= 100:
        raise Undefined(1542)
    if not ordered:
        return None
    if method == "interpolation":
        return _interpolated(ordered, wanted)
    return ordered[min(max(math.ceil(wanted / 100 * len(ordered)), 1), len(ordered)) - 1]


def _interpolated(ordered: list[Any], rank: float) -> Any:
    place = rank / 100 * (len(ordered) + 1)
    lower = math.floor(place)
    if lower < 1 or lower >= len(ordered):
        return ordered[0 if lower < 1 else -1]
    return number(ordered[lower - 1] + (place - lower) * (ordered[lower] - ordered[lower - 1]))


def _range(first: Any, last: Any, step: Any = None) -> list[Any]:
    """Without a step, of whole numbers, which the ends are cut to."""
    if step is None:
        return list(span(first, last))
    start, stop, size = to_number(first), to_number(last), to_number(step)
    if size == 0 or (stop - start) * size < 0:
        raise Undefined(1542)
    steps = (stop - start) / size
    if steps > MAX_RANGE:
        raise ArangoError(1504)
    return [number(start + at * size) for at in range(math.floor(steps) + 1)]


def _added(values: list[Any]) -> Any:
    """One after the other, as a server adds; some versions of Python's `sum` round otherwise."""
    return reduce(operator.add, values, 0)


def _deviations(values: list[Any]) -> float:
    """The sum of the squares of the distances from the mean, by Welford's method, which rounds as a server does."""
    mean = total = 0.0
    for count, value in enumerate(values, start=1):
        distance = value - mean
        mean += distance / count
        total += distance * (value - mean)
    return total


def _root(operation: Callable[[list[Any]], float]) -> Callable[[list[Any]], float]:
    return lambda values: math.sqrt(operation(values))


def _of_population(values: list[Any]) -> float:
    return _deviations(values) / len(values)


def _of_sample(values: list[Any]) -> float:
    return _deviations(values) / (len(values) - 1)


_population = _of_numbers(_of_population)
_sample = _of_numbers(_of_sample, at_least=2)
_population_deviation = _of_numbers(_root(_of_population))
_sample_deviation = _of_numbers(_root(_of_sample), at_least=2)
_average = _of_numbers(lambda values: _added(values) / len(values))
_sum = _of_numbers(_added, at_least=0)

TABLE: dict[str, Function] = {
    "ABS": Function(_of_number(abs), 1, 1),
    "ACOS": Function(_of_number(math.acos), 1, 1),
    "ASIN": Function(_of_number(math.asin), 1, 1),
    "ATAN": Function(_of_number(math.atan), 1, 1),
    "ATAN2": Function(_of_number(math.atan2), 2, 2),
    "AVERAGE": Function(_average, 1, 1),
    "AVG": Function(_average, 1, 1),
    "CEIL": Function(_of_number(math.ceil), 1, 1),
    "COS": Function(_of_number(math.cos), 1, 1),
    "DEGREES": Function(_of_number(math.degrees), 1, 1),
    "EXP": Function(_of_number(math.exp), 1, 1),
    "EXP2": Function(_of_number(lambda value: 2.0**value), 1, 1),
    "FLOOR": Function(_of_number(math.floor), 1, 1),
    "LOG": Function(_of_number(math.log), 1, 1),
    "LOG10": Function(_of_number(math.log10), 1, 1),
    "LOG2": Function(_of_number(math.log2), 1, 1),
    "MAX": Function(_extreme(max), 1, 1),
    "MEDIAN": Function(_of_numbers(statistics.median), 1, 1),
    "MIN": Function(_extreme(min), 1, 1),
    "PERCENTILE": Function(_percentile, 2, 3),
    "PI": Function(lambda: math.pi, 0, 0),
    "POW": Function(_of_number(math.pow), 2, 2),
    "PRODUCT": Function(_of_numbers(math.prod, at_least=0), 1, 1),
    "RADIANS": Function(_of_number(math.radians), 1, 1),
    "RANDOM": Function(random.random, 0, 0, deterministic=False),
    "RAND": Function(random.random, 0, 0, deterministic=False),
    "RANGE": Function(_range, 2, 3),
    "ROUND": Function(_of_number(lambda value: math.floor(value + 0.5)), 1, 1),
    "SIN": Function(_of_number(math.sin), 1, 1),
    "SQRT": Function(_of_number(math.sqrt), 1, 1),
    "STDDEV": Function(_population_deviation, 1, 1),
    "STDDEV_POPULATION": Function(_population_deviation, 1, 1),
    "STDDEV_SAMPLE": Function(_sample_deviation, 1, 1),
    "SUM": Function(_sum, 1, 1),
    "TAN": Function(_of_number(math.tan), 1, 1),
    "VARIANCE": Function(_population, 1, 1),
    "VARIANCE_POPULATION": Function(_population, 1, 1),
    "VARIANCE_SAMPLE": Function(_sample, 1, 1),
}
