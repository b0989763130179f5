"""Functions of a server that are missing here, and what does their work instead."""

from __future__ import annotations

from .signature import Function, missing

_INSTEAD = {
    "FILTER and persistent indexes": (
        *("ANALYZER", "BM25", "BOOST", "EXISTS", "FULLTEXT", "LEVENSHTEIN_MATCH", "MINHASH_MATCH"),
        *("NGRAM_MATCH", "OFFSET_INFO", "PHRASE", "TFIDF", "TOKENS"),
    ),
    "numbers of coordinates and FILTER": (
        *("DISTANCE", "GEO_AREA", "GEO_CONTAINS", "GEO_DISTANCE", "GEO_EQUALS", "GEO_INTERSECTS", "GEO_IN_RANGE"),
        *("GEO_LINESTRING", "GEO_MULTILINESTRING", "GEO_MULTIPOINT", "GEO_MULTIPOLYGON", "GEO_POINT"),
        *("GEO_POLYGON", "IS_IN_POLYGON", "NEAR", "WITHIN", "WITHIN_RECTANGLE"),
    ),
    "COSINE_SIMILARITY() or L2_DISTANCE() with SORT and LIMIT": (
        *("APPROX_NEAR_COSINE", "APPROX_NEAR_INNER_PRODUCT", "APPROX_NEAR_L2"),
    ),
    "JACCARD()": ("MINHASH",),
    "the expression without it": ("V8",),
}

TABLE: dict[str, Function] = {name: missing(instead) for instead, names in _INSTEAD.items() for name in names}
