"""Who may only read changes nothing, by whatever route there is: pages and API, every method.

Each request is one that does something if somebody else sends it: the same walk is made by who may everything, and has
to succeed. A route that is added is in both walks; if it takes what is not known here, it is to be added to `VALUES`
(arguments of the API) or `FIELDS` (of a form), and if it only reads though it is no GET, to `READS`.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from conftest import dump
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from test_web_access import PASSWORDS, ROOT, Database
from test_web_pages import application

from arangopipe_ops import admin, stages
from arangopipe_ops.connection import connect
from arangopipe_ops.store import Store
from arangopipe_ops.web.access import ServerAccess
from arangopipe_ops.web.pages.sessions import COOKIE, Sessions

API = "/api/v1"
READS = re.compile(rf"{API}/(search|compare|token|questions/[\w-]+)|/query|/admin/doctor|/sign-in|/sign-out")
"""What is sent by POST and only reads, or is about the session alone."""

KINDS = {"deployments": "Deployment", "projects": "Project"}
"""What the key in a path is of, by the part before it."""

PLACES = {"/ask/{name}.{ending}": "/ask/influence.csv", "/ask/{name}": "/ask/influence", ".{ending}": ".dot"}
"""What stands in a path in places of its own."""

_numbers = count(1)


@dataclass
class Targets:
    """Something for every route to be about: nodes, a user and a type of one name."""

    name: str
    refs: Mapping[str, Any]
    plan: Any

    @classmethod
    def made(cls, database: Database, path: str | None = None) -> "Targets":
        """Register what a route is about, or with none what any is."""
        name, db = f"of_{next(_numbers)}", root_of(database)
        store = Store(db)
        written = (
            stages.register_project(name),
            stages.register_dataset(name, version="1"),
            stages.register_model(name, project=name),
            stages.log_run(name, model=name, dataset=name, params={"depth": 1}, metrics={"f1": 0.5}),
            stages.register_deployment(name, project=name, model=name, run=name, status="scheduled"),
        )
        refs = {ref["kind"]: ref for ref in map(store.write, written)}
        if path is None or path.startswith("/admin/users/"):
            admin.create_user(db, name, "the user's own", "reader")
        if path is None or path == "/admin/types/withdrawal":
            admin.extend(db, nodes=[{"kind": name, "collection": f"{name}s", "identity": ["title"]}])
        return cls(name, refs, store.plan_deletion(refs["Deployment"]))

    def values(self) -> dict[str, Any]:
        """Return what arguments of the API are, by their names."""
        return {
            **dict.fromkeys(("name", "project", "dataset", "model", "deployment", "task", "technique"), self.name),
            **dict.fromkeys(("run_id", "tag", "title"), f"{self.name} of the API"),
            "attribute": "x",
            "source": self.refs["Run"]["_id"],
            "target": self.refs["Dataset"]["_id"],
            "edge": "run_outputs",
            "kind": "Dataset",
            "runs": [self.name],
            "metric": "f1",
            "metrics": {"f1": 0.25},
            "at": "2026-11-01",
            "period_start": "2026-11-01",
            "period_end": "2026-11-02",
            "description": "changed",
            "username": "bob",
            "password": PASSWORDS["bob"],
            "features": ["f1"],
            "change": "archive",
        }

    def fields(self) -> dict[str, str]:
        """Return what the fields of forms are, by their names."""
        return {
            "name": self.name,
            "username": "bob",
            "password": PASSWORDS["bob"],
            "role": "owner",
            "owner": "changed",
            "reason": "changed",
            "sure": "yes",
            "over": "",
            "kind": f"Kind_{self.name}",
            "collection": f"kind_{self.name}",
            "identity": "title",
            "source": "Run",
            "target": "Dataset",
            "upstream": "to",
            "node": self.name,
            "days": "4000",
            "fault": "dangling-edges",
            "metric": f"metric_{self.name}",
            "text": "INSERT {} INTO project",
        }

    def path(self, route: APIRoute) -> str:
        """Return a path of a route."""
        values, path = self.values(), route.path

        def filled(found: re.Match[str]) -> str:
            before, name = found.groups()
            return f"{before}/{self.refs[KINDS[before]]['_key'] if name == 'key' else values[name]}"

        for place, thing in {**PLACES, "{collection}/{key}": self.refs["Dataset"]["_id"]}.items():
            path = path.replace(place, thing)
        return re.sub(r"(\w+)/{(\w+)}", filled, path)


def body_of(schema: Mapping[str, Any], shapes: Mapping[str, Any], values: Mapping[str, Any], whole: bool) -> Any:
    """Return a body that an OpenAPI schema describes: what it requires, or all that is known here."""
    if "$ref" in schema:
        schema = shapes[schema["$ref"].rpartition("/")[2]]
    properties = schema.get("properties")
    if properties is None:
        return {"name": values["name"] + " of the API", "version": "1"}
    return {name: values[name] for name in properties if name in (values if whole else schema.get("required", ()))}


class Caller:
    """A user with a browser and with the API. `believed` are the rights that the pages take them to have."""

    def __init__(self, database: Database, user: str, password: str, believed: admin.Rights | None = None) -> None:
        self.app = application()
        self.access = self.app.state.access = ServerAccess(database.url)
        self.app.state.sessions = Sessions()
        self.user, self.believed = user, believed
        self.token = self.access.token(user, password)

    def send(self, route: APIRoute, method: str, targets: Targets) -> int:
        """Send a request to a route, and return the status of the answer."""
        client = TestClient(self.app, raise_server_exceptions=False, follow_redirects=False)
        asked = {"method": method, "url": targets.path(route), "params": self._query(route, targets)}
        if route.path.startswith(API):
            client.headers["Authorization"] = f"Bearer {self.token}"
            return client.request(**asked, **self._body(route, method, targets)).status_code
        session = self.app.state.sessions.open(self.token, self.user)
        if self.believed:
            session.rights = self.believed, math.inf
        client.cookies.set(COOKIE, session.id)
        fields = targets.fields() | {"csrf": self.app.state.sessions.proof(session.id)}
        if READS.fullmatch(route.path):
            fields["text"] = "RETURN 1"
        return client.request(**asked, data=None if method == "GET" else fields).status_code

    @staticmethod
    def _query(route: APIRoute, targets: Targets) -> dict[str, Any]:
        asked = {field.alias: field.field_info for field in route.dependant.query_params}
        for name in [name for name, info in asked.items() if hasattr(info.annotation, "model_fields")]:
            asked |= asked.pop(name).annotation.model_fields  # type: ignore[union-attr]
        return {name: targets.values()[name] for name, info in asked.items() if info.is_required()}

    def _body(self, route: APIRoute, method: str, targets: Targets) -> dict[str, Any]:
        if route.path == f"{API}/deletions":
            return {"json": targets.plan}
        described = self.app.openapi()["paths"].get(route.path, {}).get(method.lower(), {}).get("requestBody")  # type: ignore[attr-defined]
        if described is None:
            return {}
        [(media, content)] = described["content"].items()
        if media != "application/json":
            lines = f'{{"stage": "project", "name": "{targets.name} of a line"}}\n'
            return {"content": lines, "headers": {"Content-Type": media}}
        shapes = self.app.openapi()["components"]["schemas"]  # type: ignore[attr-defined]
        return {"json": body_of(content["schema"], shapes, targets.values(), method == "PATCH")}


def root_of(database: Database) -> Any:
    return connect(database.url.replace("//", f"//root:{ROOT.replace(' ', '%20')}@"))


def routes() -> Iterator[tuple[APIRoute, str]]:
    """Yield every route of the application with each of its methods."""
    for route in application().routes:
        if isinstance(route, APIRoute):
            yield from ((route, method) for method in sorted(route.methods))


def known_of(database: Database) -> dict[str, Any]:
    """Return all there is: the graph as an export, its documents, types, retention and indexes, and who may what."""
    db = root_of(database)
    return {
        "export": list(Store(db).export()),
        "documents": dump(db),
        "types": admin.extension(db),
        "retention": admin.kept_for(db),
        "differences": [str(each) for each in admin.plan(db)],
        "users": {each["name"]: (each, db.permissions(each["name"])) for each in admin.users(db)},
    }


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    return Database(tmp_path_factory.mktemp("rights") / "served.db")


def test_there_is_no_other_way_in() -> None:
    """All that the application answers are its routes, and files that nobody can change."""
    others = [route for route in application().routes if not isinstance(route, APIRoute)]
    assert [route.path for route in others] == ["/static"]  # type: ignore[attr-defined]
    client = TestClient(application())
    assert client.post("/static/style.css").status_code == 405
    assert len(list(routes())) > 60


@pytest.mark.slow
@pytest.mark.parametrize("believed", [None, admin.Rights(True, True, True)], ids=["refused here", "by the database"])
def test_who_may_only_read_changes_nothing(database: Database, believed: admin.Rights | None) -> None:
    """Every route refuses whoever may only read with 403, unless it reads; all there is stays what it was.

    The pages refuse it themselves; if they took the user for another, the database still would.
    """
    targets = Targets.made(database)
    root_of(database).collection("run_datasets").insert({"_from": "run/none", "_to": "datasets/none"})
    bob, before = Caller(database, "bob", PASSWORDS["bob"], believed), known_of(database)
    answered = {(method, route.path): bob.send(route, method, targets) for route, method in routes()}
    assert known_of(database) == before
    refused = {each for each, status in answered.items() if status == 403}
    writes = {(method, path) for method, path in answered if method != "GET" and not READS.fullmatch(path)}
    assert len(writes) > 25
    assert writes - refused == set()
    assert refused - writes <= {("GET", "/admin/users"), ("GET", "/admin/users/user")}
    assert {each for each, status in answered.items() if status >= 400} == refused


def test_a_form_is_refused_before_the_database_is_asked(database: Database) -> None:
    """Every form that changes something wants a right: without it, it is 403 where the database would let one too."""
    targets = Targets.made(database)
    root, before = Caller(database, "root", ROOT, admin.Rights(False, False, False)), dump(root_of(database))
    forms = [(route, method) for route, method in routes() if method != "GET" and not route.path.startswith(API)]
    answered = {route.path: root.send(route, method, targets) for route, method in forms}
    assert {path for path, status in answered.items() if status != 403} == {
        path for path in answered if READS.fullmatch(path)
    }
    assert len(answered) > 15
    assert dump(root_of(database)) == before


@pytest.mark.slow
def test_the_same_requests_change_something_for_others(database: Database) -> None:
    """Whoever may everything succeeds with the very requests that are refused to who may only read."""
    root = Caller(database, "root", ROOT)
    answered = {
        (method, route.path): root.send(route, method, Targets.made(database, route.path))
        for route, method in routes()
        if method != "GET"
    }
    assert {each for each in answered.items() if each[1] >= 400} == set()


@pytest.mark.slow
def test_whoever_has_not_signed_in_changes_nothing(database: Database) -> None:
    """Without a token or a session every route answers 401, 403 or the way to the sign-in, but those of signing in."""
    targets = Targets.made(database)
    before = known_of(database)
    application().state.access, application().state.sessions = ServerAccess(database.url), Sessions()
    client = TestClient(application(), raise_server_exceptions=False, follow_redirects=False)
    open_to_all = {f"{API}/health", f"{API}/ready", f"{API}/token", "/sign-in"}
    for route, method in routes():
        status = client.request(method, targets.path(route), data=targets.fields()).status_code
        assert status in (303, 401, 403) or route.path in open_to_all, (method, route.path)
    assert known_of(database) == before
