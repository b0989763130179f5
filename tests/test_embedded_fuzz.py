"""Broken and nested queries fail as a server's do: with one of ArangoDB's errors, and soon."""

from __future__ import annotations

import random
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from arangopipe_ops.embedded.errors import ArangoError
from arangopipe_ops.embedded.functions import FUNCTIONS
from arangopipe_ops.embedded.http import MODULES, Database
from arangopipe_ops.embedded.parser import parse

CASE = re.compile(r"^(?!//)(.+?)\n=> ", re.MULTILINE)
TOKEN = re.compile(r"\s+|\"[^\"]*\"|'[^']*'|\w+|[^\w\s]")
QUERIES = [
    query
    for file in sorted((Path(__file__).parent / "aql").glob("*.aql"))
    for query in CASE.findall(file.read_text(encoding="utf-8"))
]
WORDS = [word for query in QUERIES for word in TOKEN.findall(query)]
VALUES = [
    *("null", "true", "-1", "0", "1e308", "18446744073709551616", "-0.5", "1e-320", "1..3"),
    *("[]", "[1, [2]]", "{}", "{a: 1}", '"x"', '"%"', '"[("', '"2020-01-01"', '"\\ud800"', '"a/b"'),
]
SLOW = {"SLEEP"}
INTERNAL = 500

ROUTES = [route for name in MODULES for route in import_module(f"arangopipe_ops.embedded.{name}").ROUTES]
NAMES = [
    "items",
    "links",
    "g",
    "1",
    "items/1",
    "_system",
    "root",
    "a%20b",
    "%00",
    "%C3%A9",
    "x",
    "-1",
    "99999999999999999999",
]
PARAMETERS = ["collection", "waitForSync", "returnNew", "overwriteMode", "type", "vertex", "direction", "rev", "count"]
ATTRIBUTES = [
    *(
        "query",
        "bindVars",
        "options",
        "batchSize",
        "ttl",
        "maxRuntime",
        "memoryLimit",
        "count",
        "mode",
        "extra",
        "grant",
    ),
    *("name", "type", "fields", "unique", "schema", "computedValues", "keyOptions", "expireAfter", "analyzer", "users"),
    *("_key", "_from", "_to", "collections", "read", "write", "edgeDefinitions", "collection", "from", "to", "user"),
]
JSON: list[Any] = [
    *(None, True, 0, -1, 1.5, 2**63, "", "items", "items/1", "RETURN 1", "FOR i IN items RETURN i", "\x00", [], {}),
    *([1, "x", None], [["a"]], [{"name": "a"}], {"a": {"b": []}}, {"name": 1}, [{"collection": "links", "from": "x"}]),
]


def mutated(chance: random.Random) -> str:
    """A query of the case files with some of its words dropped, doubled, swapped or replaced."""
    words = TOKEN.findall(chance.choice(QUERIES))
    for _ in range(chance.randint(1, 4)):
        at, other = chance.randrange(len(words)), chance.randrange(len(words))
        choices: list[list[str]] = [
            [],
            [words[at]] * 2,
            [words[other]],
            [chance.choice(WORDS)],
            [chance.choice(VALUES)],
        ]
        words[at : at + 1] = chance.choice(choices) or [" "]
    return "".join(words)


def called(chance: random.Random) -> str:
    """Any function with arguments of any type."""
    name = chance.choice(sorted(FUNCTIONS.keys() - SLOW))
    function = FUNCTIONS[name]
    size = chance.randint(function.minimum, int(min(function.maximum, function.minimum + 2)))
    return f"RETURN {name}({', '.join(chance.choice(VALUES) for _ in range(size))})"


@pytest.mark.parametrize("make", [mutated, called])
def test_nonsense_is_an_error_of_arangodb(tmp_path: Path, make: Any) -> None:
    """Whatever the query is, it has a result or one of ArangoDB's error numbers, never another exception."""
    database, chance = Database(tmp_path / "fuzz.db"), random.Random(20240229)
    for _ in range(1200):
        query = make(chance)
        names = {name: chance.choice([1, "x", None, [1]]) for name in re.findall(r"@(@?\w+)", query)}
        answer = database.handle("POST", "/_api/cursor", body={"query": query, "bindVars": names})
        assert answer.status != INTERNAL, query
        assert answer.status == 201 or answer.body["errorNum"] > 0, query


def requested(chance: random.Random) -> tuple[str, str, dict[str, str], Any]:
    """Any route with parameters and a body of any shape."""
    method, path, _ = chance.choice(ROUTES)
    path = re.sub(r"\{\w+\}", lambda _: chance.choice(NAMES), path)
    params = {chance.choice(PARAMETERS): chance.choice(["1", "", "items", "x", "-1", "replace"]) for _ in range(3)}
    body = {chance.choice(ATTRIBUTES): chance.choice(JSON) for _ in range(chance.randint(0, 6))}
    return method, path, params, chance.choice([body, [body, body], *JSON])


def test_nonsense_requests_are_errors_of_arangodb(tmp_path: Path) -> None:
    """Whatever is sent to whichever route, the answer is a result or an error of the sender."""
    database, chance = Database(tmp_path / "fuzz.db"), random.Random(20240229)
    for _ in range(4000):
        request = requested(chance)
        answer = database.handle(request[0], request[1], request[2], {}, request[3])
        assert answer.status != INTERNAL, request
        if answer.status == 404:
            database.handle("POST", "/_api/collection", body={"name": "items"})
            database.handle("POST", "/_api/collection", body={"name": "links", "type": 3})


NESTED = {
    "parentheses": "RETURN " + "(" * 1000 + "1" + ")" * 1000,
    "arrays": "RETURN " + "[" * 1000 + "]" * 1000,
    "objects": "RETURN " + "{a:" * 1000 + "1" + "}" * 1000,
    "negations": "RETURN " + "!" * 1000 + "1",
    "sums": "RETURN " + "(1+" * 1000 + "1" + ")" * 1000,
    "chain": "RETURN " + "1+" * 10_000 + "1",
    "conditions": "RETURN " + "true && " * 10_000 + "1",
    "ternaries": "RETURN " + "1 ? 2 : " * 1000 + "3",
    "calls": "RETURN " + "ABS(" * 1000 + "1" + ")" * 1000,
    "subqueries": "RETURN " + "(RETURN " * 1000 + "1" + ")" * 1000,
    "attributes": "LET a = 1 RETURN a" + ".b" * 1000,
    "expansions": "LET a = 1 RETURN a" + "[*]" * 1000,
    "patterns": "LET " + "[" * 1000 + "a" + "]" * 1000 + " = 1 RETURN a",
    "data": "RETURN JSON_PARSE(CONCAT(REPEAT('[', 100000), REPEAT(']', 100000)))",
}


@pytest.mark.parametrize("query", NESTED.values(), ids=NESTED)
def test_deep_nesting_is_an_error(tmp_path: Path, query: str) -> None:
    """A query that is nested too deeply is error 1524; nesting that leaves no trace is none."""
    answer = Database(tmp_path / "nested.db").handle("POST", "/_api/cursor", body={"query": query})
    assert answer.status == 201 or answer.body["errorNum"] == 1524


def test_chains_are_limited_as_on_a_server() -> None:
    """An expression may have 500 levels, which a chain of operators takes one each of."""
    parse("RETURN " + "1+" * 400 + "1")
    with pytest.raises(ArangoError, match="1524"):
        parse("RETURN " + "1+" * 600 + "1")
