"""The JSON API: every route, and what it costs."""

import asyncio
import json
import shutil
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conftest import Requests, provisioned
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from arangopipe_ops.admin import provision
from arangopipe_ops.analytics import QUESTIONS
from arangopipe_ops.connection import connect
from arangopipe_ops.model import SCHEMA, EdgeType, NodeType, extension
from arangopipe_ops.store import Store
from arangopipe_ops.web.access import FileAccess
from arangopipe_ops.web.app import create_app
from arangopipe_ops.web.bulk import lines_of
from arangopipe_ops.web.problems import MAX_BODY_BYTES

TOKEN = "the token"


class Api:
    """A signed-in client of the API on a file, which knows what it asked of the database."""

    def __init__(self, url: str) -> None:
        app = application()
        self.access = app.state.access = FileAccess(url, token=TOKEN)
        self.store = self.access.store(TOKEN)
        self.client = TestClient(app, raise_server_exceptions=False)
        self.requests = Requests(self.store.db)
        self.document = app.openapi()

    def __call__(self, method: str, path: str, *, headers: Any = None, **kwargs: Any) -> Any:
        self.requests.sent.clear()
        signed = {"Authorization": f"Bearer {TOKEN}"} | (headers or {})
        return self.client.request(method, f"/api/v1{path}", headers=signed, **kwargs)

    def told(self, method: str, path: str, status: int = 200, requests: int = 1, **kwargs: Any) -> Any:
        """Return the JSON of an answer, after a look at its status and at how much it asked of the database."""
        answer = self(method, path, **kwargs)
        assert answer.status_code == status, answer.text
        assert len(self.requests) == requests
        return answer.json() if answer.content else None

    def problem(self, method: str, path: str, status: int, **kwargs: Any) -> Any:
        """Return a problem document, after a look at its form."""
        answer = self(method, path, **kwargs)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        body = answer.json()
        assert (body["status"], body["type"]) == (status, "about:blank")
        assert body["title"]
        assert body["detail"]
        return body


@cache
def application() -> FastAPI:
    """Return the application, which takes longer to make than to use; each test gives it an access of its own."""
    return create_app(None)  # type: ignore[arg-type]


def fill(url: str) -> None:
    """Register a small flow through the API."""
    api = Api(url)
    for what, body in FLOW.items():
        api.told("POST", f"/stages/{what}", 201, json=body)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARANGOPIPE_EMBEDDED_CLUSTER", "1")
    return tmp_path / "graph.db"


@pytest.fixture
def api(file: Path, made_once: Any) -> Api:
    shutil.copyfile(made_once(provisioned), file)
    return Api(f"embedded://{file}")


@pytest.fixture
def wine(file: Path, made_once: Any) -> Api:
    """The same, with a small flow that was registered through it."""
    shutil.copyfile(made_once(fill), file)
    return Api(f"embedded://{file}")


FLOW: dict[str, dict[str, Any]] = {
    "project": {"name": "wine", "owner": "ann"},
    "dataset": {"name": "data", "uri": "s3://lake/wine", "rows": 178},
    "featureset": {"name": "scaled", "dataset": "data", "features": ["alcohol"]},
    "model": {"name": "forest", "project": "wine", "task": "classification"},
    "run": {"run_id": "r1", "model": "forest", "dataset": ["data"], "params": {"depth": 3}, "metrics": {"f1": 0.9}},
    "deployment": {"tag": "d1", "project": "wine", "model": "forest", "run": "r1", "status": "scheduled"},
    "serving-perf": {
        "deployment": "d1",
        "metrics": {"f1": 0.8},
        "period_start": "2026-01-01",
        "period_end": "2026-01-02",
    },
}


@pytest.mark.parametrize("what", FLOW)
def test_a_stage_is_one_request_and_safe_to_repeat(wine: Api, what: str) -> None:
    """The same stage again is 200 with the same reference, in one request, and changes nothing."""
    before = wine.store.counts()
    first, second = (wine.told("POST", f"/stages/{what}", json=FLOW[what]) for _ in range(2))
    assert first == second
    assert first["created"] is False
    assert wine.store.counts() == before


def test_other_content_is_a_conflict(wine: Api) -> None:
    """The same name with other content is 409, naming what differs, unless the caller says otherwise."""
    other = FLOW["project"] | {"owner": "bob", "budget": 3}
    assert wine.problem("POST", "/stages/project", 409, json={**other})["attributes"] == ["budget"]
    wine.told("POST", "/stages/project?on_conflict=revise&reason=more", json={**other})
    [last, _] = wine.told("GET", f"/nodes/{found(wine, 'Project', 'wine')['_id']}/history")
    assert (last["reason"], last["provenance"]["through"]) == ("more", "rest")


def found(api: Api, kind: str, name: str) -> Any:
    return api.told("GET", "/nodes", params={"kind": kind, "name": name})


def test_a_node_by_id_by_name_and_as_of(wine: Api) -> None:
    """A node is found by its name or its id, in one request, also as it was."""
    node = found(wine, "Dataset", "data")
    assert node["rows"] == 178
    assert wine.told("GET", f"/nodes/{node['_id']}") == node
    assert wine.told("GET", f"/nodes/{node['_id']}", params={"as_of": node["created"]}) == node
    wine.problem("GET", f"/nodes/{node['_id']}?as_of=2020-01-01", 404)
    wine.problem("GET", "/nodes?kind=Dataset&name=data&as_of=2020-01-01", 404)
    wine.told("PATCH", f"/nodes/{node['_id']}", json={"owner": "ann"})
    assert wine.told("GET", f"/nodes/{node['_id']}", params={"as_of": node["created"]}) == node
    assert wine.problem("GET", "/nodes?kind=Dataset&name=nobody", 404)["references"] == ["'nobody' in datasets"]


def test_search_page_by_page(wine: Api) -> None:
    """Pages follow each other by cursor, each one request, and count what there is."""
    for i in range(5):
        wine.told("POST", "/stages/project", 201, json={"name": f"p{i}"})
    asked = {"kind": "Project", "where": {"name": {"prefix": "p"}}, "limit": 2}
    names, cursor = [], None
    while True:
        page = wine.told("POST", "/search", json=asked | {"cursor": cursor})
        names += [node["name"] for node in page["nodes"]]
        assert page["total"] == 5
        if (cursor := page["cursor"]) is None:
            break
    assert names == ["p4", "p3", "p2", "p1", "p0"]


def test_a_search_takes_what_the_library_takes(wine: Api) -> None:
    """The beginning of a name, and an end to how many nodes are looked at, which the page then tells."""
    for name in ("wine 2", "beer"):
        wine.told("POST", "/stages/project", 201, json={"name": name})
    page = wine.told("POST", "/search", json={"name": "win"})
    assert sorted(node["name"] for node in page["nodes"]) == ["wine", "wine 2"]
    page = wine.told("POST", "/search", json={"kind": "Project", "where": {"owner": "ann"}, "within": 2})
    assert page["nodes"] == []
    assert page["reached"].keys() == {"Project"}
    kinds = {node["_id"].partition("/")[0] for node in wine.told("POST", "/search", json={"facts": False})["nodes"]}
    assert "run" in kinds
    assert not kinds & {"modelparams", "devperf", "servingperf"}


@pytest.mark.parametrize(
    ("format", "media", "start"),
    [
        ("json", "application/json", '{"start":"deployment/d1'),
        ("dot", "text/vnd.graphviz", "digraph"),
        ("mermaid", "text/plain", "flowchart"),
        ("svg", "image/svg+xml", "<?xml"),
        ("tree", "text/plain", "Deployment d1"),
    ],
)
def test_lineage(wine: Api, format: str, media: str, start: str) -> None:
    """A lineage is one request, as JSON or drawn."""
    id = found(wine, "Deployment", "d1")["_id"]
    answer = wine("GET", f"/nodes/{id}/lineage?format={format}")
    assert len(wine.requests) == 1
    assert answer.headers["content-type"].partition(";")[0] == media
    assert answer.text.startswith(start)


def test_lineage_of_some_kinds(wine: Api) -> None:
    """Direction, depth and kinds are those of the library."""
    id = found(wine, "Run", "r1")["_id"]
    told = wine.told("GET", f"/nodes/{id}/lineage?direction=upstream&kind=Model&kind=Dataset&depth=5")
    assert sorted(node["kind"] for node in told["nodes"]) == ["Dataset", "Model"]
    near = wine.told("GET", f"/nodes/{id}/lineage?direction=upstream&depth=1")
    assert {node["depth"] for node in near["nodes"]} == {0, 1}
    for i in (2, 3):
        wine.told("POST", "/stages/run", 201, json=FLOW["run"] | {"run_id": f"r{i}"})
    data = found(wine, "Dataset", "data")["_id"]
    cut = wine.told("GET", f"/nodes/{data}/lineage?fan=1")["cut"]
    assert [each["more"] for each in cut if each["edge"] == "run_datasets"] == [2]


def test_impact_and_comparison(wine: Api) -> None:
    """What depends on a node, and runs side by side."""
    wine.told("POST", "/stages/run", 201, json=FLOW["run"] | {"run_id": "r2", "params": {"depth": 4}})
    impact = wine.told("GET", f"/nodes/{found(wine, 'Dataset', 'data')['_id']}/impact")
    assert {"r1", "r2", "forest", "d1"} <= {node["name"] for node in impact}
    compared = wine.told("POST", "/compare", json={"runs": ["r1", "r2"]})
    assert compared["params"]["depth"] == [3, 4]
    assert "params.depth" in compared["differing"]


ASKED: dict[str, dict[str, Any]] = {
    "techniques": {"task": "classification", "metric": "f1"},
    "transformations": {"task": "classification"},
    "selections": {"task": "classification"},
    "attribute-gain": {"attribute": "alcohol", "dataset": "data", "metric": "f1"},
    "datasets-used": {"task": "classification", "since": "2020-01-01"},
    "influence": {"dataset": "data"},
    "model-at": {"model": "forest", "at": "2099-01-01"},
    "best-run": {"metric": "f1", "where": {"params.depth": {"<": 8}}},
    "summary": {"project": "wine"},
    "serving": {"metric": "f1", "deployment": "d1"},
    "serving-drift": {"metric": "f1", "deployment": "d1", "margin": 0.1},
    "live": {"at": "2026-12-01"},
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_questions(wine: Api, name: str) -> None:
    """Every question of the library is a route, with the library's answer, in one request."""
    assert name in [question["name"] for question in wine.told("GET", "/questions")]
    told = wine.told("POST", f"/questions/{name}", json=ASKED[name])
    assert told == QUESTIONS[name](wine.store, **ASKED[name])
    wine.problem("POST", f"/questions/{name}", 422, json=ASKED[name] | {"colour": "red"})


def test_annotations_and_the_archive(wine: Api) -> None:
    """A note is set and removed; an archived node is not found by its name until it is restored."""
    id = found(wine, "Model", "forest")["_id"]
    assert wine.told("PATCH", f"/nodes/{id}", json={"owner": "ann"})["nodes"][0]["owner"] == "ann"
    assert "owner" not in wine.told("PATCH", f"/nodes/{id}", json={"owner": None})["nodes"][0]
    assert wine.told("POST", f"/nodes/{id}/archive")["replaced"]
    wine.problem("GET", "/nodes?kind=Model&name=forest", 404)
    wine.told("POST", f"/nodes/{id}/restore")
    assert found(wine, "Model", "forest")["_id"] == id


def test_every_change_keeps_its_reason(wine: Api) -> None:
    """Whatever is changed, the history has the reason that was given with it, as many writes as are asked for."""
    id = found(wine, "Model", "forest")["_id"]
    wine.told("PATCH", f"/nodes/{id}?reason=noted", json={"owner": "ann"})
    wine.told("POST", f"/nodes/{id}/archive?reason=hidden")
    wine.told("POST", f"/nodes/{id}/restore?reason=shown")
    told = wine.told("GET", f"/nodes/{id}/history?limit=3")
    assert [event["reason"] for event in told] == ["shown", "hidden", "noted"]
    wine.told("POST", "/promotions", json={"deployment": "d1", "reason": "better"})
    wine.told("POST", "/retirements", json={"deployment": "d1", "reason": "worse"})
    deployment = found(wine, "Deployment", "d1")["_id"]
    plan = wine.told("GET", f"/nodes/{deployment}/deletion")
    wine.told("POST", "/deletions?reason=never+used", 204, json=plan)
    told = wine.told("GET", f"/nodes/{deployment}/history")
    assert [event["reason"] for event in told][:3] == ["never used", "worse", "better"]


def test_a_policy_of_conflicts_counts_everywhere(wine: Api) -> None:
    """A node and an edge of any kind are refused, kept or revised like a stage, with the reason."""
    node = {"name": "data", "version": "1", "rows": 1}
    edge = {"source": "r1", "target": "data", "attributes": {"rows": 1}}
    for path, body, other, first in (
        ("/nodes/Dataset", node, node | {"rows": 2}, 201),
        ("/edges/run_datasets", edge | {"target": node}, edge | {"target": node, "attributes": {"rows": 2}}, 204),
    ):
        again = 204 if first == 204 else 200
        wine.told("POST", path, first, json=body)
        wine.problem("POST", path, 409, json=other)
        wine.told("POST", f"{path}?on_conflict=keep", again, json=other)
        wine.told("POST", path, again, json=body)
        wine.told("POST", f"{path}?on_conflict=revise&reason=counted", again, json=other)
        wine.told("POST", path, again, json=other)
    reasons = wine.store.query("FOR a IN audit FILTER a.reason == 'counted' RETURN 1")
    assert reasons == [1, 1]


def test_promotion_and_retirement(wine: Api) -> None:
    """A promotion holds only over the deployment that was thought active; a dry run changes nothing."""
    asked = {"deployment": "d1", "reason": "good"}
    assert wine.told("POST", "/promotions", json=asked | {"dry_run": True})["nodes"][0]["status"] == "active"
    assert found(wine, "Deployment", "d1")["status"] == "scheduled"
    wine.told("POST", "/promotions", json=asked)
    wine.told("POST", "/stages/deployment", 201, json=FLOW["deployment"] | {"tag": "d2"})
    wine.problem("POST", "/promotions", 409, json={"deployment": "d2", "over": "d2"})
    wine.told("POST", "/promotions", json={"deployment": "d2", "over": "d1"})
    assert wine.told("POST", "/retirements", json={"deployment": "d2"})["nodes"][0]["status"] == "archived"


def test_deletion_by_plan(wine: Api) -> None:
    """A deletion is carried out as planned, once; after a change of the graph it needs another plan."""
    id = found(wine, "Run", "r1")["_id"]
    plan = wine.told("GET", f"/nodes/{id}/deletion")
    assert len(plan["removes"]) == 3
    wine.told("PATCH", f"/nodes/{id}", json={"owner": "ann"})
    wine.problem("POST", "/deletions", 409, json=plan)
    wine.told("POST", "/deletions", 204, json=wine.told("GET", f"/nodes/{id}/deletion"))
    wine.problem("GET", f"/nodes/{id}", 404)


def test_nodes_and_edges_of_any_kind(api: Api) -> None:
    """Types that were added to the graph while the API runs are registered, linked and listed."""
    kind = NodeType("Experiment", "experiments", ("name",))
    added = SCHEMA.extended([kind], [EdgeType("experiment_runs", "Experiment", "Run", "from")])
    provision(api.store.db, schema=added)
    api.store.db.collection("audit").insert({"_key": "extension", "touched": [], **extension(added)})
    ref = api.told("POST", "/nodes/Experiment", 201, 2, json={"name": "first", "goal": "speed"})
    assert ref["kind"] == "Experiment"
    assert api.told("POST", "/nodes/Experiment", json={"name": "first", "goal": "speed"})["created"] is False
    kinds = api.told("GET", "/kinds")
    assert kinds["nodes"][-1]["identity"] == ["name"]
    assert {edge["name"]: edge["upstream"] for edge in kinds["edges"]}["run_datasets"] == "to"
    assert api.told("GET", "/counts")["experiments"] == 1
    for what in ("project", "dataset", "model", "run"):
        api.told("POST", f"/stages/{what}", 201, json=FLOW[what])
    api.told("POST", "/stages/dataset", 201, json={"name": "more"})
    for _ in range(2):
        api.told("POST", "/edges/run_datasets", 204, json={"source": "r1", "target": "more", "attributes": {"a": 1}})
    assert api.told("GET", "/counts")["run_datasets"] == 2


LINES = {"content-type": "application/x-ndjson"}


@pytest.mark.slow
def test_many_stages_at_once(api: Api) -> None:
    """JSON lines are written in batches as they arrive, and again without being sent again."""
    many = [{"stage": what, **body} for what, body in FLOW.items()]
    many += [{"stage": "dataset", "name": f"d{i}", "text": "ä" * 50} for i in range(3000)]
    body = "\n".join(json.dumps(line, ensure_ascii=False) for line in many).encode()
    pieces = [body[i : i + 1001] for i in range(0, len(body), 1001)]
    told = api("POST", "/stages", content=iter(pieces), headers=LINES).json()
    assert (told["stages"], told["created"]) == (3007, 3009)
    assert len(api.requests) < 40
    again = api("POST", "/stages", content=body + b"\n\n", headers=LINES).json()
    assert (again["created"], again["revised"]) == (0, 0)
    assert api.store.counts()["datasets"] == 3001


@pytest.mark.parametrize(
    ("body", "headers", "status", "says"),
    [
        (b"{}", LINES, 422, "line 1: stage"),
        (b'{"stage": "project", "name": "x"}\n{', LINES, 422, "line 2"),
        (b'{"stage": "project", "name": "\\ud800"}', LINES, 422, "line 1"),
        (b'{"stage": "run", "run_id": "r", "model": "none"}', LINES, 404, "line 1: not found"),
        (b"[" * 100_000, LINES, 422, "deep"),
        (b'{"stage": "project", "name": "\xff"}', LINES, 400, "UTF-8"),
        (b'{"stage": "project", "name": "x"}', {"content-type": "application/json"}, 415, "x-ndjson"),
    ],
)
def test_lines_that_are_wrong(api: Api, body: bytes, headers: Any, status: int, says: str) -> None:
    """A problem with one of many names its line, and nothing of its batch is written."""
    assert says in api.problem("POST", "/stages", status, content=body, headers=headers)["detail"]
    assert api.store.counts()["project"] == 0


def test_a_line_that_is_too_long(api: Api) -> None:
    """The body may be of any length, a line may not."""
    chunk = b" " * (MAX_BODY_BYTES // 4)
    api.problem("POST", "/stages", 413, content=(chunk for _ in range(6)), headers=LINES)
    assert api("POST", "/stages", content=(chunk + b"\n" for _ in range(6)), headers=LINES).json()["stages"] == 0


def test_a_line_in_many_pieces() -> None:
    """A long line costs what it weighs, however small the pieces in which it comes."""

    def seconds(piece: int) -> float:
        pieces = [{"type": "http.request", "body": b" " * piece, "more_body": True}] * (4 * 2**20 // piece)
        arriving = iter([*pieces, {"type": "http.request", "body": b"\n"}])

        async def receive() -> Any:
            return next(arriving)

        async def read() -> list[str]:
            return [line async for line in lines_of(Request({"type": "http"}, receive))]

        started = time.monotonic()
        assert len(asyncio.run(read())) == 1
        return time.monotonic() - started

    assert seconds(1024) < 0.5 + seconds(2**20)


def test_the_graph_as_lines(wine: Api, tmp_path: Any) -> None:
    """An export is what `Store.export` gives, and makes an equal graph elsewhere."""
    answer = wine("GET", "/export")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert answer.text == "".join(wine.store.export())
    other = Store(connect(f"embedded://{tmp_path}/other.db"))
    provision(other.db)
    other.load(answer.text.splitlines())
    assert other.counts() == wine.store.counts()


def test_health_readiness_and_the_document(api: Api) -> None:
    """Health asks the database nothing and readiness one thing; the document names every route."""
    assert api.told("GET", "/health", requests=0) == {"status": "ok"}
    assert api.told("GET", "/ready") == {"status": "ready"}
    paths = api.told("GET", "/openapi.json")["paths"]
    routes = {route.path for route in api.client.app.routes}  # type: ignore[attr-defined]
    assert set(paths) == {path for path in routes if path.startswith("/api/")} - {"/api/v1/openapi.json"}
