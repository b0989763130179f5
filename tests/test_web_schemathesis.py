"""What the OpenAPI document says, and what the API does, under generated requests: good ones, bad ones, unsigned ones.

A longer run: `schemathesis run -H "Authorization: Bearer $ARANGOPIPE_TOKEN" -c all URL/api/v1/openapi.json`.
"""

from collections import defaultdict
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import (
    ChecksConfig,
    GenerationConfig,
    PositiveDataAcceptanceConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
)

from arangopipe_ops.model import key_of
from arangopipe_ops.stages import log_run, register_deployment, register_model, register_project
from arangopipe_ops.web.access import FileAccess, ServerAccess
from arangopipe_ops.web.app import create_app

pytestmark = pytest.mark.slow

TOKEN = "one-token-for-the-test"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}

# 422 is also what the schema cannot say: a name that is blank, a kind that this graph has not, an end before its start.
CHECKS = ChecksConfig(
    positive_data_acceptance=PositiveDataAcceptanceConfig(
        expected_statuses=["2xx", "401", "403", "404", "406", "409", "422"]
    )
)
CONFIG = SchemathesisConfig(
    projects=ProjectsConfig(
        default=ProjectConfig(headers=HEADERS, checks=CHECKS, generation=GenerationConfig(deterministic=True))
    )
)


APP = create_app(ServerAccess("http://127.0.0.1"))
schema = schemathesis.openapi.from_dict(APP.openapi(), config=CONFIG)
schema.app = APP
IDS: list[str] = []
ANSWERED: dict[str, set[int]] = defaultdict(set)
NEEDS_MORE = {"POST /api/v1/token", "POST /api/v1/deletions"}
"""A file has no users, and a plan of a deletion cannot be guessed."""


@pytest.fixture(scope="module", autouse=True)
def graph(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The application answers from a graph that holds something."""
    access = FileAccess(f"embedded://{tmp_path_factory.mktemp('api')}/graph.db", token=TOKEN)
    APP.state.access = access
    stages = (
        register_project("wine"),
        register_model("forest", project="wine"),
        log_run("r1", model="forest", params={"depth": 3}, metrics={"f1": 0.9}),
        register_deployment("d1", project="wine", model="forest", run="r1"),
    )
    IDS[:] = [access.store(TOKEN).write(stage)["_id"] for stage in stages]


DEPLOYMENT = f"deployment/{key_of('Deployment', ['d1'])}"
"""By its `_id` it is found after it was archived, too."""

THERE: dict[str, dict[str, Any]] = {
    "/nodes/{kind}": {"path": {"kind": "Project"}, "body": {"name": "another"}},
    "/nodes": {"query": {"kind": "Project", "name": "wine"}},
    "/edges/{edge}": {"path": {"edge": "run_models"}, "body": {"source": "forest", "target": "r1"}},
    "/compare": {"body": {"runs": ["r1", "r1"]}},
    "/stages/model": {"body": {"project": "wine"}},
    "/stages/run": {"body": {"model": "forest", "dataset": None, "featureset": None, "start": None, "end": None}},
    "/stages/serving-perf": {"body": {"deployment": "d1", "period_start": "2026-01-01", "period_end": "2026-01-02"}},
    "/promotions": {"body": {"deployment": DEPLOYMENT, "over": None}},
    "/questions/attribute-gain": {"body": {"attribute": "a", "dataset": "none", "metric": "f1"}},
    "/questions/live": {"body": {"at": "2026-12-01"}},
    "/questions/model-at": {"body": {"at": "2026-12-01", "model": "forest"}},
    "/retirements": {"body": {"deployment": DEPLOYMENT}},
}
"""What names something in this graph, by path."""


@schemathesis.serializer("application/x-ndjson")
def lines(context: Any, value: Any) -> bytes:
    """JSON lines are text."""
    return str(value).encode(errors="replace")


def aim(case: Any) -> None:
    """Let most good requests name something that is there."""
    size = len(repr((case.path_parameters, case.query, case.body)))
    if not case.meta.generation.mode.is_positive or size % 3 == 0:
        return
    if case.path == "/api/v1/stages":
        case.body = '{"stage": "project", "name": "wine"}\n'
    known = THERE.get(case.path.removeprefix("/api/v1"), {})
    parts = {"path_parameters": known.get("path"), "query": known.get("query"), "body": known.get("body")}
    if "key" in (case.path_parameters or {}):
        collection, _, key = IDS[size // 3 % len(IDS)].partition("/")
        parts["path_parameters"] = {"collection": collection, "key": key}
    for part, values in parts.items():
        if values and isinstance(given := getattr(case, part), dict):
            setattr(case, part, {**given, **values})


@schema.parametrize()
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_the_api_does_what_its_document_says(case: Any) -> None:
    """No generated request gets a 5xx or an answer that the document has not; without a token it is a 401."""
    aim(case)
    response = case.call_and_validate()
    ANSWERED[case.operation.label].add(response.status_code)


def test_the_requests_got_somewhere() -> None:
    """Nearly every route did its work for some of the generated requests, and refused others."""
    idle = {label for label, statuses in ANSWERED.items() if not statuses & {200, 201, 204}}
    assert len(ANSWERED) == len(list(schema.get_all_operations()))
    assert idle <= NEEDS_MORE
