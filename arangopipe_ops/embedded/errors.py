"""ArangoDB's error numbers as data: number -> (HTTP status, message).

Manual: develop/error-codes.
"""

from __future__ import annotations

from typing import Any

ERRORS: dict[int, tuple[int, str]] = {
    1: (500, "failed"),
    4: (500, "internal error"),
    9: (501, "not implemented"),
    10: (400, "bad parameter"),
    11: (403, "forbidden"),
    17: (400, "type error"),
    18: (409, "lock timeout"),
    32: (500, "query would use more memory than allowed"),
    400: (400, "bad parameter"),
    401: (401, "Wrong credentials"),
    404: (404, "not found"),
    405: (405, "method not supported"),
    413: (413, "request body too large"),
    503: (503, "service unavailable"),
    600: (400, "invalid JSON object"),
    1004: (403, "read only"),
    1104: (500, "filesystem full"),
    1200: (409, "conflict"),
    1202: (404, "document not found"),
    1203: (404, "collection or view not found"),
    1204: (400, "parameter 'collection' not found"),
    1205: (400, "illegal document identifier"),
    1207: (409, "duplicate name"),
    1208: (400, "illegal name"),
    1210: (409, "unique constraint violated"),
    1212: (404, "index not found"),
    1213: (400, "cross collection request not allowed"),
    1214: (400, "illegal index identifier"),
    1218: (400, "collection type invalid"),
    1220: (400, "parsing attribute name definition failed"),
    1221: (400, "illegal document key"),
    1222: (400, "unexpected document key"),
    1224: (500, "server database directory not writable"),
    1226: (404, "missing document key"),
    1227: (400, "invalid document type"),
    1228: (404, "database not found"),
    1229: (400, "database name invalid"),
    1230: (400, "operation only allowed in system database"),
    1232: (400, "invalid key generator"),
    1233: (
        400,
        "expecting both `_from` and `_to` attributes to be defined in the edge document"
        " and have the format `<collectionName>/<vertexKey>`",
    ),
    1239: (400, "illegal document revision"),
    1470: (400, "unsupported operation or parameter for clusters"),
    1500: (410, "query killed"),
    1501: (400, "{}"),
    1502: (400, "query is empty"),
    1503: (500, "runtime error '{}'"),
    1504: (400, "number out of range"),
    1511: (400, "variable '{}' is assigned multiple times"),
    1512: (400, "unknown variable '{}'"),
    1521: (500, "{}"),
    1524: (400, "too much nesting or too many objects"),
    1539: (400, "{} attribute '{}' in {} OPTIONS"),
    1540: (400, "usage of unknown function '{}()'"),
    1541: (
        400,
        "invalid number of arguments for function '{}()', expected number of arguments: minimum: {}, maximum: {}",
    ),
    1542: (400, "invalid argument type in call to function '{}()'"),
    1543: (400, "invalid regex value"),
    1551: (400, "no value specified for declared bind parameter '{}'"),
    1552: (400, "bind parameter '{}' was not declared in the query"),
    1553: (400, "bind parameter '{}' has an invalid value or type"),
    1561: (400, "invalid arithmetic value"),
    1562: (400, "division by zero"),
    1563: (400, "array expected"),
    1568: (400, "collection '{}' used as expression operand"),
    1569: (400, "FAIL({}) called"),
    1572: (400, "invalid date value"),
    1574: (400, "invalid aggregate expression"),
    1575: (400, "query options must be readable at query compile time"),
    1577: (400, "could not use forced index hint"),
    1578: (400, "disallowed dynamic call to '{}'"),
    1579: (400, "access after data-modification by {}"),
    1582: (404, "user function '{}()' not found"),
    1584: (400, "query is not eligible for plan caching"),
    1591: (404, "query ID not found"),
    1593: (400, "{}"),
    1594: (400, "{}"),
    1595: (400, "window operation after data-modification"),
    1600: (404, "cursor not found"),
    1620: (400, "schema validation failed"),
    1652: (400, "unregistered collection used in transaction"),
    1653: (400, "disallowed operation inside transaction"),
    1655: (404, "transaction not found"),
    1700: (400, "invalid user name"),
    1702: (409, "duplicate user"),
    1703: (404, "user not found"),
    1920: (400, "multi use of edge collection in edge def"),
    1921: (400, "edge collection already used in edge def"),
    1922: (400, "missing graph name"),
    1923: (400, "malformed edge definition"),
    1924: (404, "graph '{}' not found"),
    1925: (409, "graph already exists"),
    1926: (404, "vertex collection does not exist or is not part of the graph"),
    1928: (400, "collection is not in list of orphan collections"),
    1929: (400, "collection already used in edge def"),
    1930: (404, "edge collection not used in graph"),
    1938: (400, "collection used in orphans"),
    1947: (400, "referenced vertex collection is not part of the graph"),
    1948: (400, "negative edge weight found"),
}


class ArangoError(Exception):
    """One of ArangoDB's errors: `num` is its errorNum, `status` the HTTP status it travels with."""

    def __init__(self, num: int, *details: object, message: str | None = None, status: int | None = None):
        code, template = ERRORS[num]
        self.num = num
        self.status = status or code
        self.message = message or template.format(*details)
        super().__init__(f"[{num}] {self.message}")

    def body(self) -> dict[str, Any]:
        """The error as ArangoDB's HTTP API shows it."""
        return {"error": True, "code": self.status, "errorNum": self.num, "errorMessage": self.message}


class RevisionConflict(ArangoError):
    """A document is not at the revision that the caller expects; `found` says which one it is at."""

    def __init__(self, found: dict[str, str], status: int | None = None) -> None:
        super().__init__(1200, message="conflict, _rev values do not match", status=status)
        self.found = found


class Undefined(Exception):
    """An operation without a result: the expression is null, with a warning of this error number."""

    def __init__(self, num: int, *details: object) -> None:
        super().__init__(num)
        self.num = num
        self.details = details
