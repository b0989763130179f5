"""How much values are alike. Manual: aql/functions/numeric, string, array."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

from ..errors import Undefined
from ..values import encode, is_number, number, to_string
from .signature import Function, array, integer

_CODES = {char: str(code) for code, chars in enumerate(("bfpv", "cgjkqsxz", "dt", "l", "mn", "r"), 1) for char in chars}


def _vector(value: Any) -> list[float]:
    if not all(is_number(item) for item in array(value)):
        raise Undefined(1542)
    numbers: list[float] = value
    return numbers


def _of_vectors(compare: Callable[[list[float], list[float]], float]) -> Function:
    """Of two vectors, or of each row of a matrix and a vector."""

    def one(left: Any, right: Any) -> Any:
        if len(_vector(left)) != len(_vector(right)):
            raise Undefined(1542)
        return number(compare(left, right))

    def call(left: Any, right: Any) -> Any:
        if any(isinstance(row, list) for row in array(left)):
            return [one(row, right) for row in left]
        if any(isinstance(row, list) for row in array(right)):
            return [one(left, row) for row in right]
        return one(left, right)

    return Function(call, 2, 2)


def _cosine(left: list[float], right: list[float]) -> float:
    length = math.hypot(*left) * math.hypot(*right)
    if not length:
        raise Undefined(1542)
    return math.fsum(a * b for a, b in zip(left, right, strict=True)) / length


def _manhattan(left: list[float], right: list[float]) -> float:
    return math.fsum(abs(a - b) for a, b in zip(left, right, strict=True))


def _decay(score: Callable[[float, float, float], float]) -> Function:
    """Of one value or each in an array; `score` gets distance, scale and decay."""

    def call(value: Any, origin: Any, scale: Any, offset: Any, decay: Any) -> Any:
        _vector([origin, scale, offset, decay])
        if scale <= 0 or offset < 0 or not 0 < decay < 1:
            raise Undefined(1542)
        scores = [number(score(max(0.0, abs(each - origin) - offset), scale, decay)) for each in _listed(value)]
        return scores if isinstance(value, list) else scores[0]

    return Function(call, 5, 5)


def _listed(value: Any) -> list[float]:
    return _vector(value if isinstance(value, list) else [value])


def _gauss(distance: float, scale: float, decay: float) -> float:
    sigma = math.sqrt(-0.5 * scale * scale / math.log(decay))
    if sigma == 0:  # the square of a very small scale
        return float(distance == 0)
    ratio = distance / sigma
    return math.exp(-0.5 * ratio * ratio)


def _linear(distance: float, scale: float, decay: float) -> float:
    reach = scale / (1 - decay)
    return max((reach - distance) / reach, 0)


def _jaccard(left: Any, right: Any) -> Any:
    one, other = ({encode(item) for item in array(items)} for items in (left, right))
    return number(len(one & other) / len(one | other)) if one | other else 1


def _whole_match(left: str, right: str) -> float:
    return float(left == right)


def _partial_match(left: str, right: str) -> float:
    return sum(a == b for a, b in zip(left, right, strict=True)) / len(left)


def _grams(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(len(text) - size + 1)]


def _sequence(left: list[str], right: list[str], match: Callable[[str, str], float]) -> float:
    """The longest common subsequence, each pair counted as far as it matches."""
    row = [0.0] * (len(right) + 1)
    for gram in left:
        before = row
        row = [0.0]
        for at, other in enumerate(right):
            row.append(max(row[at], before[at + 1], before[at] + match(gram, other)))
    return row[-1]


def _ngram_similarity(text: Any, target: Any, size: Any) -> Any:
    one, other = to_string(text), to_string(target)
    left, right = (_grams(each, _gram_size(size)) for each in (one, other))
    if not left or not right:
        return int(one == other)
    return _single(_sequence(left, right, _whole_match) / len(right))


def _ngram_positional(text: Any, target: Any, size: Any) -> Any:
    one, other = to_string(text), to_string(target)
    left, right = (_grams(each, _gram_size(size)) for each in (one, other))
    if not left or not right:
        longer = max(len(one), len(other))
        return _single(sum(a == b for a, b in zip(one, other, strict=False)) / longer) if longer else 1
    return _single(_sequence(left, right, _partial_match) / max(len(left), len(right)))


def _gram_size(size: Any) -> int:
    if not is_number(size) or size < 1:
        raise Undefined(1542)
    return integer(size)


def _single(value: float) -> Any:
    """As a number of single precision, in which a server computes it."""
    (rounded,) = struct.unpack("f", struct.pack("f", value))
    return number(rounded)


def _soundex(value: Any) -> str:
    letters = [char for char in to_string(value).strip().lower() if "a" <= char <= "z"]
    if not letters:
        return ""
    digits, last = [], _CODES.get(letters[0], "")
    for char in letters[1:]:
        code = _CODES.get(char, "")
        if code and code != last:
            digits.append(code)
        last = last if char in "hw" else code
    return (letters[0].upper() + "".join(digits) + "000")[:4]


def _levenshtein(left: Any, right: Any) -> int:
    row = list(range(len(to_string(right)) + 1))
    for at, char in enumerate(to_string(left), start=1):
        previous, row[0] = row[0], at
        for to, other in enumerate(to_string(right), start=1):
            previous, row[to] = row[to], min(row[to] + 1, row[to - 1] + 1, previous + (char != other))
    return row[-1]


TABLE: dict[str, Function] = {
    "COSINE_SIMILARITY": _of_vectors(_cosine),
    "DECAY_EXP": _decay(lambda distance, scale, decay: math.exp(math.log(decay) / scale * distance)),
    "DECAY_GAUSS": _decay(_gauss),
    "DECAY_LINEAR": _decay(_linear),
    "JACCARD": Function(_jaccard, 2, 2),
    "L1_DISTANCE": _of_vectors(_manhattan),
    "L2_DISTANCE": _of_vectors(math.dist),
    "LEVENSHTEIN_DISTANCE": Function(_levenshtein, 2, 2),
    "NGRAM_POSITIONAL_SIMILARITY": Function(_ngram_positional, 3, 3),
    "NGRAM_SIMILARITY": Function(_ngram_similarity, 3, 3),
    "SOUNDEX": Function(_soundex, 1, 1),
}
