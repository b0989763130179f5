"""What the API refuses, and what it answers then."""

import json
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from test_web_api import ASKED, FLOW, Api, api, file, found, wine

from arangopipe_ops.web import problems
from arangopipe_ops.web.problems import MAX_BODY_BYTES

__all__ = ["api", "file", "wine"]

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"\xff\xfe{}", 400),
        (b'{"name": "x", "v": ' + b"9" * 5000 + b"}", 400),
        (b"[" * 100_000, 400),
        (b'{"name": "x", "v": ' + b'{"a":' * 400 + b"1" + b"}" * 401, 422),
        (b'{"name": "\\ud800"}', 422),
        (b'{"name": "x", "\\ud800": 1}', 422),
        (b'{"name": "x", "v": NaN}', 422),
        (b'{"name": "x", "v": -Infinity}', 422),
        (b'{"name": "x", "v": 1e999}', 422),
        (b'{"name": "x", "v": 99999999999999999999}', 422),
        (b'{"name": "x", "_key": "mine"}', 422),
        (b'{"name": "x", "digest": "mine"}', 422),
        (b'{"name": ""}', 422),
        (b'{"name": " "}', 422),
        (b'{"name": 7}', 422),
        (b"{}", 422),
        (b"[]", 422),
        (b"null", 422),
        (b"", 422),
    ],
)
def test_bodies_that_are_wrong(api: Api, body: bytes, status: int) -> None:
    """A body that is no JSON, or not what can be stored, is refused, and nothing is sent to the database."""
    api.problem("POST", "/stages/project", status, content=body, headers=JSON)
    assert len(api.requests) == 0


@pytest.mark.parametrize("name", ["a\0b", "\x01", "🍷", "\ufffe", "n" * 20_000, "a/b?c#d%00", "'\"\\`@x"])
def test_strange_names_come_back_as_they_are(api: Api, name: str) -> None:
    """Any text is a name, and a lineage with it is drawn."""
    ref = api.told("POST", "/stages/project", 201, json={"name": name})
    assert found(api, "Project", name)["name"] == name
    for format in ("json", "dot", "mermaid", "svg", "tree"):
        assert api("GET", f"/nodes/{ref['_id']}/lineage?format={format}").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nodes/datasets/%00", 404),
        ("GET", "/nodes/datasets/%ed%a0%80", 404),
        ("GET", "/nodes/%ff/x", 422),
        ("GET", f"/nodes/datasets/{'k' * 5000}", 404),
        ("GET", "/nodes/datasets/x?as_of=yesterday", 422),
        ("GET", "/nodes/datasets/x?as_of=0001-01-01T00:00:00%2B23:59", 422),
        ("GET", "/nodes?kind=&name=", 422),
        ("GET", "/nodes?kind=Dataset", 422),
        ("GET", "/nodes/datasets/x/lineage?depth=1e400", 422),
        ("GET", "/nodes/datasets/x/history?limit=0", 422),
        ("GET", "/nothing", 404),
        ("GET", "/counts/", 404),
        ("PUT", "/health", 405),
    ],
)
def test_paths_and_queries_that_are_wrong(api: Api, method: str, path: str, status: int) -> None:
    """Whatever stands in a path or a query, the answer is a problem document."""
    api.problem(method, path, status)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/search", {"cursor": "x"}),
        ("/search", {"order_by": ""}),
        ("/search", {"limit": 0}),
        ("/search", {"limit": 10**400}),
        ("/search", {"where": {"a": {"nope": 1}}}),
        ("/search", {"where": {"\ud800": 1}}),
        ("/search", {"text": "\ud800"}),
        ("/search", {"colour": "red"}),
        ("/search", {"count": "yes"}),
        ("/compare", {"runs": []}),
        ("/deletions", {name: [] for name in ("removes", "edges", "loses", "orphans", "expected")} | {"active": False}),
        ("/stages/run", {"run_id": "r", "model": {"name": {"name": "x"}}}),
        ("/stages/serving-perf", FLOW["serving-perf"] | {"period_end": "2025-01-01"}),
        ("/edges/nope", {"source": "a", "target": "b"}),
        ("/nodes/Nope", {"name": "a"}),
    ],
)
def test_bodies_that_do_not_fit(api: Api, path: str, body: Any) -> None:
    """What a route cannot take is 422."""
    api.problem("POST", path, 422, content=json.dumps(body), headers=JSON)


def test_other_content_types(api: Api) -> None:
    """A body that is not said to be JSON is 415."""
    for headers in ({"content-type": "text/plain"}, {}, {"content-type": "application/x-www-form-urlencoded"}):
        api.problem("POST", "/stages/project", 415, content=b'{"name": "x"}', headers=headers)
    api.told(
        "POST", "/stages/project", 201, content=b'{"name": "x"}', headers={"content-type": "application/vnd.a+json"}
    )


def test_a_method_that_a_path_has_not(api: Api) -> None:
    """405 names the methods that the path has."""
    answer = api("PUT", "/nodes/a/b")
    assert answer.headers["allow"] == "GET, PATCH"
    assert "it takes GET, PATCH" in answer.json()["detail"]


def test_bodies_that_are_too_large(api: Api) -> None:
    """A body over the limit is 413, also when it does not say its length."""
    chunk = b" " * (MAX_BODY_BYTES // 8)
    api.problem("POST", "/stages/project", 413, content=chunk * 9, headers=JSON)
    api.problem("POST", "/stages/project", 413, content=(chunk for _ in range(9)), headers=JSON)


@pytest.mark.parametrize(
    ("path", "most"), [("/api/v1/token", 64 * 1024), ("/sign-in", 64 * 1024), ("/admin/doctor", 1024 * 1024)]
)
def test_bodies_of_whoever_comes(api: Api, path: str, most: int) -> None:
    """Of somebody who is not known yet, and of a form, only so much is read: that keeps everybody else waiting."""
    form = {"content-type": "application/x-www-form-urlencoded"}
    for content in (b"a" * (most + 1), (b"a" * (most // 4) for _ in range(5))):
        assert api.client.post(path, content=content, headers=form).status_code == 413
    assert api.client.post(path, content=b"a" * most, headers=form).status_code in (403, 415)


@pytest.mark.parametrize(
    ("method", "path", "wrong"),
    [
        ("POST", "/search", {str(n): n for n in range(100)}),
        ("POST", "/questions/serving", {str(n): n for n in range(100)}),
        ("PATCH", "/nodes/project/x", {"tags": list(range(100))}),
        ("POST", "/compare", {"runs": list(range(100))}),
        ("POST", "/stages/run", {"run_id": "r", "model": "m", "dataset": list(range(100))}),
        ("POST", "/deletions", {"removes": list(range(100))}),
    ],
)
def test_a_body_that_is_wrong_in_many_places(
    api: Api, monkeypatch: pytest.MonkeyPatch, method: str, path: str, wrong: Any
) -> None:
    """Few of the errors are collected, since to collect those of a large body keeps everybody else waiting."""
    collected: list[int] = []
    handler = problems.HANDLERS[RequestValidationError]

    async def counted(request: Any, error: Any) -> Any:
        collected.append(len(error.errors()))
        return await handler(request, error)

    monkeypatch.setitem(api.client.app.exception_handlers, RequestValidationError, counted)
    monkeypatch.setattr(api.client.app, "middleware_stack", None)
    api.problem(method, path, 422, json=wrong)
    assert collected
    assert collected[0] < 10


def test_nobodys_body_is_not_read(api: Api) -> None:
    """Without the token every route but three is 401, whatever else is wrong with the request."""
    operations = api.told("GET", "/openapi.json")["paths"]
    open_ = {"/api/v1/health", "/api/v1/ready", "/api/v1/token"}
    for path, methods in {**operations, "/api/v1/openapi.json": {"get": {}}}.items():
        for method in methods:
            for headers in (
                {},
                {"authorization": "Bearer x"},
                {"authorization": "Basic eDp4"},
                {"authorization": "Bearer"},
            ):
                answer = api.client.request(method, path, headers=headers, content=b"{")
                assert (answer.status_code == 401) is (path not in open_), (method, path)
                if answer.status_code == 401:
                    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_fault_of_ours_is_a_problem_too(api: Api, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """An exception that nobody expected is a 500 that tells nothing of the inside."""
    monkeypatch.setattr(type(api.store), "counts", lambda store: 1 / 0)
    assert "division" not in api.problem("GET", "/counts", 500)["detail"]


def test_a_file_that_is_gone_is_503(api: Api) -> None:
    """When the database cannot be read, readiness and every route say 503 and when to come back."""
    path = api.store.db.conn._http.path
    api.store.db.conn._http._database.storage.pool.close_idle()
    path.write_bytes(b"not a database at all" * 1000)
    for where in ("/ready", "/counts"):
        api.problem("GET", where, 503)
        assert api("GET", where).headers["retry-after"]
    assert api("GET", "/health").status_code == 200


STRANGE = [
    '"\\ud800"',
    '"\\u0000"',
    '""',
    "NaN",
    "-1e999",
    "9" * 30,
    "-1",
    "0",
    '"0001-01-01T00:00:00+23:59"',
    '{"\\ud800": 1}',
    "[]",
]


@pytest.mark.parametrize("path", [f"/questions/{name}" for name in ASKED] + ["/search", "/promotions", "/compare"])
def test_strange_values(wine: Api, path: str) -> None:
    """Whatever stands for any of a route's arguments, the answer is one of those documented."""
    schema = wine.document["components"]["schemas"]
    [media] = wine.document["paths"][f"/api/v1{path}"]["post"]["requestBody"]["content"].values()
    good = ASKED.get(path.rpartition("/")[2], {})
    for name in schema[media["schema"]["$ref"].rpartition("/")[2]]["properties"]:
        rest = "".join(f", {json.dumps(key)}: {json.dumps(known)}" for key, known in good.items() if key != name)
        for value in STRANGE:
            answer = wine("POST", path, content=f'{{"{name}": {value}{rest}}}', headers=JSON)
            assert answer.status_code in (200, 404, 409, 422), (name, value, answer.text)
            json.loads(answer.text, parse_constant=pytest.fail)
