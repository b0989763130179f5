"""arangopipe_ops.kfp.runtime: what components do, without a pipeline around them."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kfp import dsl

from arangopipe_ops.errors import Conflict, Invalid, Misconfigured, NotFound, Unavailable
from arangopipe_ops.kfp import runtime
from arangopipe_ops.kfp.artifacts import NODE_ID
from arangopipe_ops.kfp.execution import FINALIZER_VARIABLE, TASK_VARIABLE, Execution
from arangopipe_ops.store import Store

AWKWARD = 'it\'s "so" {{$.inputs}} {x} [y] \\n\nnew\tline; ünïcödé 雪 🙂 $(id) `id` %s'
JOB = {"pipeline_job_id": "job-1", "pipeline_job_name": "tumors-2026", "pipeline_task_name": "step"}


@pytest.fixture
def store(store: Store, url: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store on the database that components find in the environment."""
    monkeypatch.setenv("ARANGOPIPE_URL", url)
    monkeypatch.delenv(TASK_VARIABLE, raising=False)
    monkeypatch.delenv(FINALIZER_VARIABLE, raising=False)
    return store


@pytest.fixture
def output(tmp_path: Path) -> Callable[..., dsl.Artifact]:
    """Make an output artifact, each at a place of its own."""

    def made(type_: type[dsl.Artifact] = dsl.Artifact, name: str = "receipt", **metadata: Any) -> dsl.Artifact:
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        return type_(name=name, uri=str(folder / name), metadata=metadata)

    return made


@pytest.fixture
def model(store: Store, output: Any) -> dsl.Artifact:
    """The receipt of a registered model."""
    receipt = output(dsl.Model)
    runtime.write("project", {"name": "wine", "receipt": output()})
    runtime.write("model", {"name": "forest", "project": "wine", "receipt": receipt})
    return receipt


def test_a_write_leaves_a_receipt(store: Store, output: Any) -> None:
    """The artifact's metadata is flat, its content is the Ref, and the answer is _id and whether the node is new."""
    receipt = output(dsl.Dataset)
    given = {"name": "wine", "version": "1", "uri": "s3://b/wine.csv", "receipt": receipt, **JOB}
    written = runtime.write("dataset", given)
    assert written.created
    assert receipt.metadata == {
        NODE_ID: written.node_id,
        "arangopipe.kind": "Dataset",
        "arangopipe.name": "wine",
        "arangopipe.version": "1",
    }
    assert json.loads(Path(receipt.path).read_text())["_id"] == written.node_id
    assert runtime.write("dataset", given) == (written.node_id, False)
    told = store.get(written.node_id)["provenance"]
    assert {name: told[name] for name in ("through", "pipeline", "job_id", "task")} == {
        "through": "kfp",
        "pipeline": "tumors-2026",
        "job_id": "job-1",
        "task": "step",
    }


def test_a_write_is_one_request(
    store: Store, model: dsl.Artifact, output: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """References by receipt, _id and name cost nothing; an artifact that is known by its URI costs a look."""
    sent: list[str] = []
    client = type(store.db.conn._http)
    send = client.send_request

    def record(self: Any, session: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        sent.append(url)
        return send(self, session, method, url, *args, **kwargs)

    monkeypatch.setattr(client, "send_request", record)
    data = output(dsl.Dataset)
    given = {"name": "wine", "version": "1", "uri": "s3://b/wine.csv", "receipt": data}
    runtime.write("dataset", given)
    runtime.write("featureset", {"name": "f", "dataset": data, "receipt": output()})
    runtime.write("run", {"model": model, "dataset": "wine", "featureset": "f", "receipt": output()})
    assert len(sent) == 3
    runtime.write("run", {"model": model, "dataset": dsl.Dataset(uri="s3://b/wine.csv"), "receipt": output()})
    assert len(sent) == 5


def test_the_uri_of_an_artifact_stays_what_kfp_made_it(store: Store, output: Any) -> None:
    """A receipt's URI is never one of the graph: consumers could not download it."""
    receipt = output()
    before = receipt.uri
    runtime.write("project", {"name": "wine", "receipt": receipt})
    assert receipt.uri == before


def test_texts_arrive_unchanged(store: Store, output: Any) -> None:
    """Quotes, braces, newlines and Unicode are stored as they were given."""
    given = {"name": AWKWARD, "source": AWKWARD, "attributes": {"note": AWKWARD, "owner": AWKWARD}}
    node = store.get(runtime.write("dataset", {**given, "receipt": output()}).node_id)
    assert [node["name"], node["source"], node["note"], node["owner"]] == [AWKWARD] * 4


def test_numbers_that_degraded_are_the_same_content(store: Store, output: Any) -> None:
    """KFP makes floats of integers in dicts and lists; the node is the same, and its numbers are integers."""
    whole = runtime.write("dataset", {"name": "d", "attributes": {"rows": 3, "parts": [1, 2]}, "receipt": output()})
    floats = runtime.write(
        "dataset", {"name": "d", "attributes": {"rows": 3.0, "parts": [1.0, 2.0]}, "receipt": output()}
    )
    assert (floats.node_id, floats.created) == (whole.node_id, False)
    assert store.get(whole.node_id)["parts"] == [1, 2]


def test_a_run_has_the_same_id_in_every_attempt_and_another_in_every_iteration(
    store: Store, model: dsl.Artifact, output: Any
) -> None:
    """Job, task, output and inputs decide the id; nothing else does."""
    receipt, other = output(), output()
    given = {"model": model, "metrics": {"auc": 0.9}, "params": {"depth": 3}, **JOB}
    first = runtime.write("run", {**given, "receipt": receipt})
    again = runtime.write("run", {**given, "receipt": receipt})
    iteration = runtime.write("run", {**given, "receipt": other})
    sibling = runtime.write("run", {**given, "params": {"depth": 4}, "receipt": receipt})
    assert (again.node_id, again.created) == (first.node_id, False)
    assert len({first.node_id, iteration.node_id, sibling.node_id}) == 3
    assert store.get(first.node_id)["run_id"].startswith("job-1/step/")


def test_a_retry_is_the_same_run_though_a_name_leads_elsewhere(store: Store, model: dsl.Artifact, output: Any) -> None:
    """What was given decides the id, and not which version it led to at the time."""
    receipt = output()
    given = {"model": "forest", "dataset": "s3://b/wine.csv", "receipt": receipt, **JOB}
    first = None
    for version in ("1", "2"):
        dataset = {"name": "wine", "version": version, "uri": "s3://b/wine.csv"}
        runtime.write("dataset", {**dataset, "receipt": output()})
        written = runtime.write("run", given)
        first = first or written
    assert written.node_id == first.node_id


def test_the_task_of_the_environment_goes_before_that_of_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tracked` tells the task's own name; the local runner's placeholder says the component's."""
    monkeypatch.setenv(TASK_VARIABLE, "log-run-2")
    assert Execution.of(JOB, "out").task == "log-run-2"


def test_placeholders_that_were_not_filled_tell_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What begins with {{$. is unset: the environment's run id counts, or the output alone."""
    unfilled = {"pipeline_job_id": "{{$.pipeline_job_uuid}}", "pipeline_task_name": "{{$.pipeline_task_name}}"}
    monkeypatch.delenv("KFP_RUN_ID", raising=False)
    assert Execution.of(unfilled, "out") == Execution(output="out")
    assert Execution.of(unfilled, "a").run_id({}) != Execution.of(unfilled, "b").run_id({})
    monkeypatch.setenv("KFP_RUN_ID", "of-the-pod")
    assert Execution.of(unfilled, "out").job_id == "of-the-pod"


def test_data_is_known_by_receipt_uri_and_checksum_across_runs(store: Store, output: Any) -> None:
    """A later run's artifact leads to the earlier run's data set: by metadata, by URI, by content."""
    data, receipt = output(dsl.Dataset, "data"), output(dsl.Dataset)
    Path(data.path).write_text("a,b\n1,2\n")
    written = runtime.write("dataset", {"name": "wine", "data": data, "receipt": receipt})
    moved = output(dsl.Dataset, "data")
    Path(moved.path).write_text("a,b\n1,2\n")
    gone = dsl.Dataset(uri=data.uri)
    for known in (receipt, gone, data, moved, data.uri, "wine"):
        features = runtime.write(
            "featureset", {"name": "f", "version": str(known), "dataset": known, "receipt": output()}
        )
        assert [n["_id"] for n in store.lineage(features.node_id, kinds=["Dataset"])["nodes"]] == [written.node_id]


def test_the_same_content_is_the_same_data_set_wherever_it_lies(store: Store, output: Any) -> None:
    """KFP puts a step's output elsewhere in each run; the version is the checksum, and the place is the newest."""
    written = []
    for _ in range(2):
        data = output(dsl.Dataset, "data")
        Path(data.path).write_text("a,b\n1,2\n")
        written.append(runtime.write("dataset", {"name": "wine", "data": data, "receipt": output()}))
    assert [each.created for each in written] == [True, False]
    assert written[0].node_id == written[1].node_id
    assert store.get(written[0].node_id)["uri"] == data.uri


def test_an_artifact_that_nobody_registered_is_named(store: Store, output: Any) -> None:
    """The error names the place of the data, or says that the receipt is missing."""
    with pytest.raises(NotFound, match="a data set at s3://b/unknown"):
        runtime.write("featureset", {"name": "f", "dataset": dsl.Dataset(uri="s3://b/unknown"), "receipt": output()})
    with pytest.raises(Invalid, match="pass on the receipt"):
        runtime.write("run", {"model": dsl.Model(uri="s3://b/model"), "receipt": output()})
    wrong = dsl.Model(uri="s3://b/model", metadata={NODE_ID: "datasets/x"})
    with pytest.raises(Invalid, match="not the _id of a Model"):
        runtime.write("run", {"model": wrong, "receipt": output()})


def test_a_run_takes_metrics_and_what_was_trained_from_artifacts(
    store: Store, model: dsl.Artifact, output: Any
) -> None:
    """Metrics come from the artifact's metadata; the trained model leaves place and checksum."""
    metrics, trained = output(dsl.Metrics, accuracy=0.9, rows=100.0), output(dsl.Model, "trained")
    Path(trained.path).write_text("weights")
    run = runtime.write("run", {"model": model, "metrics": metrics, "trained": trained, "receipt": output(), **JOB})
    [perf] = [n["document"] for n in store.lineage(run.node_id)["nodes"] if n["kind"] == "DevPerf"]
    assert (perf["accuracy"], perf["rows"]) == (0.9, 100)
    [product] = store.get(run.node_id)["produced"]
    assert product["uri"] == trained.uri
    assert product["checksum"].startswith("sha256:")


def test_what_is_given_wins_over_the_result(store: Store, model: dsl.Artifact, output: Any) -> None:
    """`result` holds any argument of a run and further attributes; the component's own parameters overrule it."""
    result = {"model": "forest", "params": {"depth": 3.0}, "tag": "old", "artifact": "s3://m"}
    run = store.get(runtime.write("run", {"result": result, "tag": "new", "receipt": output()}).node_id)
    assert (run["tag"], run["artifact"]) == ("new", "s3://m")


def test_a_metadata_error_can_be_a_warning(store: Store, output: Any, caplog: pytest.LogCaptureFixture) -> None:
    """With on_error=warn the step goes on with an empty answer, and the receipt says what was wrong."""
    receipt = output()
    given = {"name": "m", "project": "unknown", "receipt": receipt, "on_error": "warn"}
    assert runtime.write("model", given) == ("", False)
    assert NODE_ID not in receipt.metadata
    assert json.loads(Path(receipt.path).read_text())["type"] == "NotFound"
    assert "not recorded: NotFound" in caplog.text
    with pytest.raises(Invalid, match="on_error"):
        runtime.write("model", {**given, "on_error": "ignore"})


def test_a_conflict_follows_on_conflict(store: Store, output: Any) -> None:
    """The default replaces and keeps the old content in the audit; fail refuses."""
    given = {"name": "d", "version": "1", "receipt": output()}
    runtime.write("dataset", {**given, "source": "a"})
    with pytest.raises(Conflict):
        runtime.write("dataset", {**given, "source": "b", "on_conflict": "fail"})
    node = runtime.write("dataset", {**given, "source": "b"})
    assert store.get(node.node_id)["source"] == "b"


def test_without_a_database_the_step_says_what_to_do(monkeypatch: pytest.MonkeyPatch, output: Any) -> None:
    """A pod's own file would be lost: the address has to be told."""
    monkeypatch.delenv("ARANGOPIPE_URL", raising=False)
    with pytest.raises(Misconfigured, match="tracked"):
        runtime.write("project", {"name": "wine", "receipt": output()})


def test_user_and_password_may_come_apart_from_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of a Kubernetes secret of their own are percent-encoded into the URL."""
    monkeypatch.setenv("ARANGOPIPE_URL", "https://db.example:8529/ml")
    monkeypatch.setenv("ARANGOPIPE_USER", "kfp")
    monkeypatch.setenv("ARANGOPIPE_PASSWORD", "p@ss/word:")
    db = runtime.open_store(Execution()).db
    assert db.conn._auth == ("kfp", "p@ss/word:")
    assert db.name == "ml"


# --- promote, select -------------------------------------------------------------------------------------


@pytest.fixture
def deployments(store: Store, model: dsl.Artifact, output: Any) -> list[str]:
    """Two runs and a deployment of each, of which the second is scheduled."""
    made = []
    for tag, auc, status in (("blue", 0.8, "active"), ("green", 0.9, "scheduled")):
        run = output()
        runtime.write("run", {"model": model, "metrics": {"auc": auc}, "run_id": tag, "params": {}, "receipt": run})
        given = {"tag": tag, "project": "wine", "model": model, "run": run, "status": status, "receipt": output()}
        made.append(runtime.write("deployment", given).node_id)
    return made


def test_promote_answers_what_it_replaced(deployments: list[str], output: Any) -> None:
    """The promoted deployment and the one that was active are told, and the receipt stands for the first."""
    receipt = output()
    blue, green = deployments
    assert runtime.promote({"deployment": "green", "receipt": receipt}) == (green, blue)
    assert receipt.metadata[NODE_ID] == green
    with pytest.raises(Conflict):
        runtime.promote({"deployment": "blue", "over": "", "receipt": output()})
    again = runtime.promote({"deployment": "green", "over": "blue", "receipt": output()})
    assert again.node_id == green, "an attempt whose answer was lost is repeated"


def test_select_model_decides_and_deploys(deployments: list[str], store: Store, output: Any) -> None:
    """Without a tag nothing is changed; with one the decision is carried out."""
    given = {"project": "wine", "policy": {"metric": "auc", "threshold": 0.5}}
    receipt = output()
    decided = runtime.select_model({**given, "receipt": receipt})
    assert (decided.decision, decided.deployment) == ("promote", "")
    assert store.get("blue", "Deployment")["status"] == "active"
    assert json.loads(Path(receipt.path).read_text())["selection"]["candidate"]["run_id"] == "green"
    done = runtime.select_model({**given, "deploy": "best", "receipt": output()})
    assert store.get(done.deployment)["status"] == "active"


# --- failures --------------------------------------------------------------------------------------------


def ended(state: str, message: str | None = None) -> Any:
    """What KFP tells an exit task."""
    return dsl.PipelineTaskFinalStatus(
        state=state, pipeline_job_resource_name="r", pipeline_task_name="g", error_code=None, error_message=message
    )


@pytest.fixture
def finalize(store: Store, output: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Finalize job-1; return the status that the component answers and the run that it left, if any."""
    monkeypatch.setenv(FINALIZER_VARIABLE, "1")

    def finalized(state: str, message: str | None = None, **given: Any) -> Any:
        answer = runtime.finalize_run({"status": ended(state, message), "receipt": output(), **JOB, **given})
        found = store.search("Run", {"run_id": "job-1"})["nodes"]
        return SimpleNamespace(status=answer, runs=found, error=found[0].get("error") if found else None)

    return finalized


def test_success_leaves_nothing(finalize: Any) -> None:
    """An execution that succeeds is no node of its own."""
    done = finalize("SUCCEEDED")
    assert (done.status, done.runs) == ("completed", [])


def test_a_failed_step_names_itself(finalize: Any) -> None:
    """What a step raised is the error of the execution, under the step's name."""
    with pytest.raises(ZeroDivisionError), runtime.step({**JOB, "pipeline_task_name": "train"}):
        _ = 1 / 0
    done = finalize("FAILED", project="wine")
    assert (done.status, done.runs[0]["status"], done.runs[0]["project"]) == ("failed", "failed", "wine")
    assert done.error == {"step": "train", "type": "ZeroDivisionError", "message": "division by zero"}


def test_a_component_names_itself(finalize: Any, output: Any) -> None:
    """Our components note their failures too."""
    with pytest.raises(NotFound):
        runtime.write("model", {"name": "m", "project": "unknown", "receipt": output(), **JOB})
    assert finalize("FAILED").error["step"] == "step"


def test_a_failure_that_a_retry_cured_is_none(finalize: Any) -> None:
    """Where the execution succeeds in the end, a noted failure is taken back."""
    with pytest.raises(ValueError, match="flaky"), runtime.step(JOB):
        raise ValueError("flaky")
    done = finalize("SUCCEEDED")
    assert (done.status, done.runs) == ("completed", [])


def test_an_execution_that_is_retried_as_a_whole_is_completed(finalize: Any, store: Store) -> None:
    """A failed execution that people start again keeps its run: it is completed, and the audit knows of the failure."""
    finalize("FAILED", steps=["train"])
    assert finalize("RUNNING").status == "failed", "a final state is not downgraded"
    done = finalize("SUCCEEDED")
    assert (done.runs[0]["status"], done.error) == ("completed", None)
    assert len(store.history("job-1", "Run")) == 2


@pytest.mark.parametrize(("code", "noted"), [(1, 1), ("no", 1), (0, 0), (None, 0)])
def test_a_step_may_end_by_an_exit_code(finalize: Any, store: Store, code: Any, noted: int) -> None:
    """sys.exit with a code is a failure, and without one it is none."""
    with pytest.raises(SystemExit), runtime.step(JOB):
        raise SystemExit(code)
    assert store.counts()["run"] == noted


def test_failures_are_noted_only_for_a_finalizer(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an exit task that would take it back, a failed attempt leaves nothing."""
    monkeypatch.delenv(FINALIZER_VARIABLE, raising=False)
    with pytest.raises(ValueError, match="flaky"), runtime.step(JOB):
        raise ValueError("flaky")
    assert store.counts()["run"] == 0


def test_a_run_of_the_step_tells_its_failure(
    finalize: Any, store: Store, model: dsl.Artifact, output: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run recorded by `runtime.run` is failed itself, and names the step where no step noted anything."""
    monkeypatch.delenv(FINALIZER_VARIABLE)
    with pytest.raises(ValueError, match="diverged"), runtime.run(JOB, output(), model=model) as run:
        raise ValueError("diverged")
    assert store.get(run.run_id, "Run")["status"] == "failed"
    error = finalize("FAILED").error
    assert (error["step"], error["message"], error["run_id"]) == ("step", "diverged", run.run_id)


def test_a_run_that_never_ended_fails_with_the_execution(
    finalize: Any, store: Store, model: dsl.Artifact, output: Any
) -> None:
    """A step that was killed could not say so; the finalizer does, and keeps the rest of its run."""
    given = {"model": model, "status": "running", "params": {"a": 1}, "tag": "t", "receipt": output()}
    node_id = runtime.write("run", {**given, **JOB}).node_id
    assert finalize("FAILED").error["step"] == "step"
    run = store.get(node_id)
    assert (run["status"], run["tag"], run["error"]["type"]) == ("failed", "t", "Unended")


def test_vertex_names_the_step(finalize: Any) -> None:
    """Where the backend tells the failed tasks, they are named."""
    message = "The DAG failed because some tasks failed. The failed tasks are: [train].; Job (x) is failed"
    assert finalize("FAILED", message, steps=["prepare", "train"]).error["step"] == "train"


@pytest.mark.parametrize(
    ("steps", "told"),
    [(["train"], {"step": "train"}), (["prepare", "train"], {"steps": ["prepare", "train"]}), ([], {"steps": []})],
)
def test_of_steps_that_note_nothing_the_only_one_is_it(finalize: Any, steps: list[str], told: dict[str, Any]) -> None:
    """Open-source KFP tells no error: a single step that notes no failures must be it, of several all are named."""
    error = finalize("FAILED", steps=steps).error
    assert {name: error[name] for name in told} == told


def test_finalizing_again_says_the_same(finalize: Any) -> None:
    """A finalizer that is tried again does not lose what the first attempt knew."""
    first = finalize("FAILED", "The failed tasks are: [train].")
    assert finalize("FAILED").error == first.error


def test_a_cancelled_execution_is_aborted(finalize: Any) -> None:
    """CANCELLED is not FAILED."""
    assert finalize("CANCELLED").runs[0]["status"] == "aborted"


def test_a_state_that_is_not_final_is_settled_by_what_was_noted(finalize: Any) -> None:
    """Backends may say RUNNING in an exit task; then the noted failure decides."""
    assert finalize("RUNNING").status == "completed"
    with pytest.raises(ValueError, match="x"), runtime.step(JOB):
        raise ValueError("x")
    assert finalize("RUNNING").status == "failed"


def test_a_failed_execution_hangs_on_its_model(finalize: Any, store: Store, model: dsl.Artifact) -> None:
    """With a model the failure shows in its lineage; a model that is not there yet is left out."""
    done = finalize("FAILED", model="forest")
    assert done.runs[0]["_id"] in {n["_id"] for n in store.lineage(model.metadata[NODE_ID])["nodes"]}
    assert finalize("FAILED", model="not registered").status == "failed"


def test_an_unreachable_database_is_not_asked_twice(store: Store, output: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed because the database is away is raised at once, without an attempt to note it there."""
    monkeypatch.setenv(FINALIZER_VARIABLE, "1")
    opened = []
    monkeypatch.setattr(runtime, "open_store", lambda execution: opened.append(execution) or _away())
    with pytest.raises(Unavailable):
        runtime.write("project", {"name": "wine", "receipt": output(), **JOB})
    assert len(opened) == 1


def _away() -> Any:
    raise Unavailable("no answer")


def test_a_failure_tells_no_secret(finalize: Any) -> None:
    """Messages lose what looks like a credential before they are stored."""
    with pytest.raises(ValueError, match="password"), runtime.step(JOB):
        raise ValueError("https://me:hunter2@db.example refused, password=hunter2")
    assert "hunter2" not in json.dumps(finalize("FAILED").error)


# --- serving performance ---------------------------------------------------------------------------------


@pytest.fixture
def figures(tmp_path: Path) -> dict[str, Any]:
    """A source: a file with two days of the deployment that is active."""
    lines = ["deployment,period_start,accuracy", "blue,2026-03-09,0.75", "blue,2026-03-10,0.7"]
    (tmp_path / "figures.csv").write_text("\n".join(lines))
    return {"type": "files", "name": "gate", "path": str(tmp_path / "figures.csv")}


DAYS = {"since": "2026-03-09", "until": "2026-03-11"}


def test_collecting_writes_what_sources_tell(
    deployments: list[str], store: Store, output: Any, figures: dict[str, Any]
) -> None:
    """A node for each deployment that serves and period, the same again; the receipt is the report."""
    receipt = output()
    assert runtime.collect_serving_performance({"sources": [figures], **DAYS, "receipt": receipt}) == (2, 0, 0, 0)
    assert runtime.collect_serving_performance({"sources": [figures], **DAYS, "receipt": output()}) == (0, 0, 2, 0)
    found = store.search("ServingPerf", order_by="period_start", descending=False)["nodes"]
    assert [(each["accuracy"], each["source"], each["period_start"][:10]) for each in found] == [
        (0.75, "gate", "2026-03-09"),
        (0.7, "gate", "2026-03-10"),
    ]
    assert {each["deployment"] for each in found} == {deployments[0].partition("/")[2]}
    assert receipt.metadata == {f"arangopipe.{name}": n for name, n in zip(
        ("created", "revised", "same", "faults"), ("2", "0", "0", "0"), strict=True)}  # fmt: skip
    assert json.loads(Path(receipt.path).read_text())["periods"] == 2


def test_what_could_not_be_collected_is_named(
    deployments: list[str], store: Store, output: Any, figures: dict[str, Any]
) -> None:
    """The rest is written before the step fails, or warns; asked again, only what is missing is asked for."""
    given = {"sources": [figures], "since": "2026-03-09", "until": "2026-03-12"}
    receipt = output()
    with pytest.raises(Unavailable, match=r"not all was told: blue by gate in 1 periods .*: there are no figures"):
        runtime.collect_serving_performance({**given, "receipt": receipt})
    assert receipt.metadata["arangopipe.created"] == "2"
    again = {**given, "only_missing": True, "on_error": "warn", "receipt": output()}
    assert runtime.collect_serving_performance(again) == (0, 0, 0, 1)
    report = json.loads(Path(again["receipt"].path).read_text())
    assert (report["known"], report["faults"][0]["period_start"][:10]) == (2, "2026-03-11")


def test_the_last_periods_are_those_that_are_over(
    deployments: list[str], store: Store, output: Any, figures: dict[str, Any]
) -> None:
    """Without since and until they are counted from now, also where KFP hands over empty texts and floats."""
    receipt = output()
    empty = {"timezone": "", "since": "", "until": ""}
    given = {"sources": [figures], "every": "1h", "last": 3.0, **empty, "on_error": "warn"}
    runtime.collect_serving_performance({**given, "receipt": receipt})
    assert json.loads(Path(receipt.path).read_text())["periods"] == 3


def test_whole_numbers_in_sources_are_whole(deployments: list[str], store: Store, output: Any, tmp_path: Path) -> None:
    """KFP makes floats of them, which no source could count with."""
    with sqlite3.connect(tmp_path / "served.db") as served:
        served.execute("CREATE TABLE served AS SELECT 'blue' deployment, '2026-03-09' period_start, 0.5 accuracy")
    query = "SELECT * FROM served WHERE period_start < :period_end AND deployment IN :deployments"
    source = {"type": "sql", "url": f"sqlite:///{tmp_path}/served.db", "query": query, "at_once": 10.0}
    given = {"sources": [source], "since": "2026-03-09", "until": "2026-03-10", "receipt": output()}
    assert runtime.collect_serving_performance(given) == (1, 0, 0, 0)


def test_chosen_deployments_are_asked_for(
    deployments: list[str], store: Store, output: Any, figures: dict[str, Any]
) -> None:
    """Those of the list and no other: an empty one, such as a loop may give, is about none."""
    given = {"sources": [figures], **DAYS}
    assert runtime.collect_serving_performance({**given, "deployments": [], "receipt": output()}) == (0, 0, 0, 0)
    warned = {**given, "deployments": ["green"], "on_error": "warn", "receipt": output()}
    assert runtime.collect_serving_performance(warned) == (0, 0, 0, 1)
    assert store.search("ServingPerf")["total"] == 0


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"sources": []}, "list at least one"),
        ({"until": None}, "give both"),
        ({"until": "2026-03-09T12:00"}, "no whole period"),
        ({"every": "a while"}, "not a length of time"),
        ({"on_conflict": "fail"}, "revise or keep"),
    ],
)
def test_what_cannot_be_collected_is_refused(
    deployments: list[str], output: Any, figures: dict[str, Any], changes: dict[str, Any], problem: str
) -> None:
    """Each is an error of its own, before anything is asked."""
    with pytest.raises(Invalid, match=problem):
        runtime.collect_serving_performance({"sources": [figures], **DAYS, **changes, "receipt": output()})
