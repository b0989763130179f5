"""Simple queries, which are AQL statements made from an example or a list of keys.

They are deprecated on a server too, whose old drivers use them.
"""

from __future__ import annotations

from typing import Any

from .errors import ArangoError
from .http_cursors import first_batch
from .request import Request, Response, Route, shaped, success
from .statements import Answer, Asking, QueryOptions

BODY_TYPES = {"collection": str, "example": dict, "keys": list, "options": dict, "skip": int, "limit": int}
LOOP = "FOR d IN @@collection"
KEYED = {
    "key": "d._key",
    "id": "d._id",
}
"""What `all-keys` returns of a document; else its path."""
PATH = "CONCAT('/_db/', CURRENT_DATABASE(), '/_api/document/', d._id)"


def _given(request: Request, *required: str) -> dict[str, Any]:
    """The body; the collection may be a parameter of the path instead."""
    given = dict(request.object(**BODY_TYPES))
    given["collection"] = given.get("collection") or request.params.get("collection")
    for name in ("collection", *required):
        if given.get(name) is None:
            raise ArangoError(10, message=f"bad parameter: '{name}' is missing")
    return given


def _matching(given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A loop over the documents like the example, and its bind values."""
    filters, values = [], {"@collection": given["collection"]}
    for number, (path, value) in enumerate((given.get("example") or {}).items()):
        values |= {f"path{number}": path.split("."), f"value{number}": value}
        filters.append(f"FILTER d.@path{number} == @value{number}")
    return " ".join((LOOP, *filters, *_limit(given))), values


def _limit(given: dict[str, Any]) -> list[str]:
    skip, limit = given.get("skip") or 0, given.get("limit")
    return [f"LIMIT {skip}, {'null' if limit is None else limit}"] if skip or limit is not None else []


def _cursor(request: Request, given: dict[str, Any], text: str, values: dict[str, Any]) -> Response:
    passed = {name: given[name] for name in ("ttl", "batchSize") if given.get(name)}
    return first_batch(request, {"query": text, "bindVars": values, "count": True, **passed})


def _run(request: Request, text: str, values: dict[str, Any]) -> Answer:
    return request.file.statements.run(Asking(request, text, values, QueryOptions()))


def every(request: Request) -> Response:
    given = _given(request)
    text, values = _matching(given | {"example": {}})
    return _cursor(request, given, f"{text} RETURN d", values)


def keys(request: Request) -> Response:
    given = _given(request)
    shown = KEYED.get(str(given.get("type")), PATH)
    return _cursor(request, given, f"{LOOP} RETURN {shown}", {"@collection": given["collection"]})


def by_example(request: Request) -> Response:
    given = _given(request, "example")
    text, values = _matching(given)
    return _cursor(request, given, f"{text} RETURN d", values)


def first_example(request: Request) -> Response:
    """The document, or 404 if there is none like the example."""
    text, values = _matching(_given(request, "example") | {"skip": 0, "limit": 1})
    found = _run(request, f"{text} RETURN d", values).values
    if not found:
        raise ArangoError(404, message="no match")
    return success(200, document=found[0])


def anything(request: Request) -> Response:
    """A document by chance, or null."""
    given = _given(request)
    found = _run(request, f"{LOOP} SORT RAND() LIMIT 1 RETURN d", {"@collection": given["collection"]}).values
    return success(200, document=found[0] if found else None)


def in_range(request: Request) -> Response:
    """The documents whose attribute is at least `left` and less than `right`; `closed` takes `right` in."""
    given = _given(request, "attribute")
    upper = "<=" if given.get("closed") else "<"
    values = {"@collection": given["collection"], "path": str(given["attribute"]).split(".")}
    values |= {"low": given.get("left"), "high": given.get("right")}
    text = f"{LOOP} FILTER d.@path >= @low && d.@path {upper} @high"
    return _cursor(request, given, " ".join((text, *_limit(given), "RETURN d")), values)


def lookup(request: Request) -> Response:
    given = _given(request, "keys")
    text = f"{LOOP} FILTER d._key IN @keys RETURN d"
    values = {"@collection": given["collection"], "keys": [_key(each) for each in given["keys"]]}
    return success(200, documents=_run(request, text, values).values)


def _key(handle: Any) -> Any:
    return handle.rpartition("/")[2] if isinstance(handle, str) else handle


def remove_keys(request: Request) -> Response:
    """How many were there, how many were not and, unless `silent`, the removed ones."""
    given = _given(request, "keys")
    options = shaped(given.get("options") or {}, waitForSync=bool, silent=bool, returnOld=bool)
    shown = "OLD" if options.get("returnOld") else "KEEP(OLD, '_id', '_key', '_rev')"
    change = f"REMOVE key IN @@collection OPTIONS {{ignoreErrors: true, {_sync(options)}}}"
    text = f"FOR key IN @keys {change} RETURN {shown}"
    result = _run(request, text, {"@collection": given["collection"], "keys": given["keys"]})
    old = {} if options.get("silent", True) else {"old": result.values}
    counts = result.statistics
    return success(200, removed=counts["writesExecuted"], ignored=counts["writesIgnored"], **old)


def _sync(options: dict[str, Any]) -> str:
    return f"waitForSync: {str(bool(options.get('waitForSync'))).lower()}"


def remove_examples(request: Request) -> Response:
    return _change(request, "deleted", "REMOVE d IN @@collection")


def replace_examples(request: Request) -> Response:
    return _change(request, "replaced", "REPLACE d WITH @newValue IN @@collection", "newValue")


def update_examples(request: Request) -> Response:
    return _change(request, "updated", "UPDATE d WITH @newValue IN @@collection", "newValue")


def _change(request: Request, counted: str, change: str, *needed: str) -> Response:
    """Options are in `options` or, as older drivers have them, in the body itself."""
    given = _given(request, "example", *needed)
    options = given | (given.get("options") or {})
    shaped(options, waitForSync=bool, keepNull=bool, mergeObjects=bool, limit=int)
    wanted = [f"{name}: {str(options.get(name) is not False).lower()}" for name in ("keepNull", "mergeObjects")]
    told = ", ".join([_sync(options), *(wanted if counted == "updated" else ())])
    text, values = _matching({**given, "skip": 0, "limit": options.get("limit")})
    values |= {name: given[name] for name in needed}
    result = _run(request, f"{text} {change} OPTIONS {{{told}}}", values)
    return success(200, **{counted: result.statistics["writesExecuted"]})


ROUTES: tuple[Route, ...] = (
    ("PUT", "/_api/simple/all", every),
    ("PUT", "/_api/simple/all-keys", keys),
    ("PUT", "/_api/simple/any", anything),
    ("PUT", "/_api/simple/by-example", by_example),
    ("PUT", "/_api/simple/first-example", first_example),
    ("PUT", "/_api/simple/range", in_range),
    ("PUT", "/_api/simple/lookup-by-keys", lookup),
    ("PUT", "/_api/simple/remove-by-keys", remove_keys),
    ("PUT", "/_api/simple/remove-by-example", remove_examples),
    ("PUT", "/_api/simple/replace-by-example", replace_examples),
    ("PUT", "/_api/simple/update-by-example", update_examples),
)
