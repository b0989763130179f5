"""What is needed to execute a run again, and what of it is not recorded."""

import json
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from arangopipe_ops import cli, stages
from arangopipe_ops.errors import NotFound
from arangopipe_ops.store import Store

CODE = {"repository": "git@host:wine.git", "commit": "a1b2", "branch": "main", "dirty": False, "script": "train.py"}
WHOLE: dict[str, Any] = {
    "params": {"depth": 3, "seed": 7},
    "dataset": {"uri": "s3://lake/1", "checksum": "c0ffee"},
    "base": {"uri": "s3://lake/2", "checksum": "decaf"},
    "featureset": {"transformation": "scaled"},
    "run": {
        "status": "completed",
        "project": "wine",
        "code": CODE,
        "command": {"arguments": ["python", "train.py", "--label", "two words"]},
        "environment": {"python": "3.11.7", "platform": "Linux", "packages": {"numpy": "2.1", "lark": "1.3"}},
        "orchestrator": {"airflow": {"dag_id": "wine", "try_number": "2"}},
        "host": {"name": "gpu7"},
    },
}


def write(store: Store, parts: dict[str, Any]) -> None:
    """Write a run `r1` that read one data set, and another through a feature set."""
    store.write(stages.register_project("wine"))
    store.write(stages.register_model("forest", project="wine", technique="random forest"))
    store.write(stages.register_dataset("base", **parts["base"]))
    store.write(stages.register_featureset("all", dataset="base", **parts["featureset"]))
    read: dict[str, Any] = {"featureset": "all"}
    if parts["dataset"] is not None:
        store.write(stages.register_dataset("data", **parts["dataset"]))
        read["dataset"] = "data"
    store.write(stages.log_run("r1", model="forest", params=parts["params"], **read, **parts["run"]))


def without(path: str, value: Any = None) -> dict[str, Any]:
    """Return a whole record in which one thing is something else."""
    parts = deepcopy(WHOLE)
    *inner, last = path.split(".")
    place = parts
    for name in inner:
        place = place[name]
    place[last] = value
    return parts


def test_a_whole_record_misses_nothing(store: Store, requests_of: Any) -> None:
    """All that was recorded is told, in one request, and nothing is missing."""
    write(store, WHOLE)
    requests = requests_of(store.db)
    found = store.reproduce("r1")
    assert len(requests) == 1
    assert found["missing"] == []
    assert found["code"] == CODE
    assert found["command"] == ["python", "train.py", "--label", "two words"]
    assert found["requirements"] == ["lark==1.3", "numpy==2.1"]
    assert (found["python"], found["host"], found["project"]) == ("3.11.7", {"name": "gpu7"}, "wine")
    assert (found["params"], found["seeds"]) == ({"depth": 3, "seed": 7}, {"seed": 7})
    told = [(d["name"], d["uri"], d["checksum"], d["through"]) for d in found["datasets"]]
    assert told == [("data", "s3://lake/1", "c0ffee", None), ("base", "s3://lake/2", "decaf", "all")]
    assert [f["transformation"] for f in found["featuresets"]] == ["scaled"]
    assert [(m["name"], m["technique"]) for m in found["models"]] == [("forest", "random forest")]
    assert found["orchestrator"] == WHOLE["run"]["orchestrator"]


PLANTED = [
    ("run.code.commit", None, ["code.commit"]),
    ("run.code.repository", None, ["code.repository"]),
    ("run.code.dirty", True, ["code.changes"]),
    ("run.code.dirty", None, ["code.dirty"]),
    ("run.code", {}, ["code.commit", "code.repository"]),
    ("run.code", "v1", ["code.commit", "code.repository"]),
    ("run.command", None, []),  # the script is enough
    ("run.environment.python", None, ["python"]),
    ("run.environment.packages", {}, ["packages"]),
    ("run.environment", None, ["python", "packages"]),
    ("run.status", "running", ["end"]),
    ("run.status", "failed", ["end"]),
    ("params", None, ["params", "params.seed"]),
    ("params.seed", None, ["params.seed"]),
    ("params", {"forest": {"random_state": 0}}, []),
    ("dataset.uri", None, ["datasets.data.uri"]),
    ("dataset.checksum", None, ["datasets.data.checksum"]),
    ("base.checksum", None, ["datasets.base.checksum"]),
    ("dataset", None, []),  # what it read through its feature set is known
    ("featureset.transformation", None, ["featuresets.all.transformation"]),
]


@pytest.mark.parametrize(("path", "value", "missing"), PLANTED)
def test_what_is_not_recorded_is_named(store: Store, path: str, value: Any, missing: list[str]) -> None:
    """Each thing that a whole record lacks is named, with the reason why it matters, and nothing else is."""
    write(store, without(path, value))
    found = store.reproduce("r1")["missing"]
    assert [item["what"] for item in found] == missing
    assert all(item["why"] for item in found)


def test_a_bare_run_misses_all(store: Store) -> None:
    """A run of which only the model is known lacks everything else, data included."""
    store.write(stages.register_project("wine"))
    store.write(stages.register_model("forest", project="wine"))
    store.write(stages.log_run("bare", model="forest"))
    missing = [item["what"] for item in store.reproduce("bare")["missing"]]
    assert missing == [
        "code.commit",
        "code.repository",
        "command",
        "python",
        "packages",
        "datasets",
        "params",
        "params.seed",
    ]


def test_an_unknown_run_is_not_found(store: Store) -> None:
    """Only a run that is there can be executed again."""
    with pytest.raises(NotFound):
        store.reproduce("nobody")


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


PROGRAM = """
import sys
from arangopipe_ops import Store, connect
with Store(connect(sys.argv[1])).run("r1", model="forest", dataset="base", featureset="all") as run:
    import sortedcontainers
    run.log_params(seed=1)
"""


@pytest.mark.parametrize("dirty", [False, True])
def test_a_script_in_a_repository_tells_its_version(store: Store, url: str, tmp_path: Path, dirty: bool) -> None:
    """What a script's run captures without being asked is enough to execute it again, unless it has changes."""
    repository = tmp_path / "wine"
    repository.mkdir()
    script = repository / "train.py"
    script.write_text(PROGRAM)
    git(repository, "init", "-q")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "First")
    git(repository, "remote", "add", "origin", "https://ann:geheim@host/wine.git")
    if dirty:
        script.write_text(f"{PROGRAM}# changed\n")
    write(store, WHOLE)
    store.delete(store.plan_deletion("r1", "Run"))
    arguments = [sys.executable, str(script), url, "--password", "geheim", "--api-key=geheim", "--max-tokens", "512"]
    subprocess.run(arguments, cwd=tmp_path, check=True, timeout=60)

    found = store.reproduce("r1")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, check=True, capture_output=True, text=True)
    assert found["code"] == {
        "commit": head.stdout.strip(),
        "branch": "main",
        "dirty": dirty,
        "repository": "https://host/wine.git",
        "script": "train.py",
    }
    assert found["command"][1:] == [str(script), url, "--password", "***", "--api-key=***", "--max-tokens", "512"]
    assert any(line.startswith("sortedcontainers==") for line in found["requirements"]), "imported in the body"
    assert [item["what"] for item in found["missing"]] == (["code.changes"] if dirty else [])
    assert "geheim" not in json.dumps(store.get("r1", "Run"))


def test_the_recipe_from_the_shell(store: Store, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints what is needed for people, for pip and for programs."""
    write(store, without("run.code.dirty", True))

    def run(*arguments: str) -> str:
        assert cli.main(["--url", url, "reproduce", "r1", *arguments]) == 0
        return capsys.readouterr().out

    text = run()
    for part in (
        "git@host:wine.git",
        "a1b2, main, with changes",
        "python train.py --label 'two words'",
        "depth = 3",
        "s3://lake/2  decaf (through all)",
        "dag_id=wine",
        "  numpy==2.1\n",
        "code.changes: the code had changes",
    ):
        assert part in text, text
    assert run("--requirements") == "lark==1.3\nnumpy==2.1\n"
    assert json.loads(run("--json")) == store.reproduce("r1")


def test_a_comparison_looks_into_what_was_captured(store: Store) -> None:
    """Runs side by side differ in single packages and commits, and series are left to their charts."""
    write(store, WHOLE)
    other = deepcopy(WHOLE["run"])
    other["environment"]["packages"]["numpy"] = "2.2"
    other["code"]["commit"] = "b2c3"
    metrics = {"accuracy": 0.5, "series": {"accuracy": {"value": [0.1, 0.5]}}}
    params = WHOLE["params"]
    store.write(stages.log_run("r2", model="forest", dataset="data", featureset="all", params=params, **other))
    store.write(stages.log_run("r2", model="forest", metrics=metrics, **other), on_conflict="revise")
    compared = store.compare(["r1", "r2"])
    assert compared["differing"] == ["metrics.accuracy", "run.code.commit", "run.environment.packages.numpy"]
    assert compared["run"]["environment.packages.numpy"] == ["2.1", "2.2"]
