"""AQL text -> syntax tree."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .build_clauses import TreeBuilder
from .checks import check
from .errors import ArangoError
from .tree import Query

if TYPE_CHECKING:
    from lark import Lark, Token

KEYWORDS = {
    word.lstrip("_"): word
    for words in (
        ("ALL", "AND", "ANY", "ASC", "AT", "COUNT", "DESC", "DISTINCT", "IN", "INBOUND", "KEEP", "LEAST", "LIKE"),
        ("NONE", "NOT", "OPTIONS", "OR", "OUTBOUND", "PRUNE"),
        ("_AGGREGATE", "_COLLECT", "_FALSE", "_FILTER", "_FOR", "_GRAPH", "_INSERT", "_INTO", "_LET", "_LIMIT"),
        ("_NULL", "_REMOVE", "_REPLACE", "_RETURN", "_SORT", "_TRUE", "_UPDATE", "_UPSERT", "_WINDOW", "_WITH"),
        ("SEARCH", "TO"),
    )
    for word in words
} | dict.fromkeys(("ALL_SHORTEST_PATHS", "K_PATHS", "K_SHORTEST_PATHS", "SHORTEST_PATH"), "PATHS")
"""Keywords and their terminals; those of a leading underscore leave no trace in the tree."""


def parse(text: str) -> Query:
    """Raises ArangoError 1501 with line and column, or 1502 for an empty query."""
    from lark.exceptions import UnexpectedInput

    try:
        query: Query = TreeBuilder().build(_lark().parse(text))
    except UnexpectedInput as error:
        raise _syntax_error(error, text) from None
    except RecursionError:
        raise ArangoError(1524) from None
    check(query)
    return query


@cache
def _lark() -> Lark:
    from lark import Lark

    return Lark(
        Path(__file__).with_name("aql.lark").read_text(encoding="utf-8"),
        parser="lalr",
        lexer="basic",
        start="query",
        lexer_callbacks={"NAME": _recognise_keyword},
        maybe_placeholders=True,
        cache=_cache_file(),
    )


def _cache_file() -> str | bool:
    """Where lark keeps the generated parser, which costs a tenth to load; False if not writable."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "arangopipe-ops"
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return str(home / f"aql-{version}.lark") if os.access(home, os.W_OK) else False


def _recognise_keyword(token: Token) -> Token:
    terminal = KEYWORDS.get(token.upper())
    if terminal is not None:
        token.type = terminal
    return token


def _syntax_error(error: Any, text: str) -> ArangoError:
    if not text.strip():
        return ArangoError(1502)
    token = getattr(error, "token", None)
    if token is not None and token.type == "$END":
        return ArangoError(1501, "syntax error, unexpected end of query string")
    near = text[error.pos_in_stream :].split("\n", 1)[0][:48]
    what = KEYWORDS.get(str(token).upper(), "").lstrip("_") if token is not None else ""
    unexpected = f"{what} declaration" if what else "input"
    place = f"{error.line}:{error.column}"
    return ArangoError(1501, f"syntax error, unexpected {unexpected} near '{near}' at position {place}")
