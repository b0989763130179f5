"""The command line: every command, and one clear line for every error."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from socket_server import serving
from test_connection import free_port, url_of

from arangopipe_ops import cli
from arangopipe_ops.model import MAX_DOCUMENT_BYTES


@pytest.fixture
def run(url: str, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command on the test's database; return exit code, output and error output."""

    def run(*arguments: str, url: str = url) -> tuple[int, str, str]:
        code = cli.main(["--url", url, "--timeout", "0.3", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def registered(run: Any) -> Any:
    """The same, after a small flow was registered through it."""
    for arguments in FLOW:
        code, _, err = run(*arguments)
        assert (code, err) == (0, ""), arguments
    return run


FLOW = [
    ("provision",),
    ("register", "project", "--name", "wine"),
    ("register", "dataset", "--name", "data", "--uri", "s3://x", "--set", "rows=178"),
    ("register", "featureset", "--name", "all", "--dataset", "data", "--features", '["a", "b"]'),
    ("register", "model", "--name", "forest", "--project", "wine", "--task", "classification"),
    ("register", "run", "--run-id", "r1", "--model", "forest", "--dataset", '["data"]', "--params", '{"depth": 3}'),
    ("register", "deployment", "--tag", "d1", "--project", "wine", "--model", "forest", "--run", "r1"),
    ("register", "serving-perf", "--deployment", "d1", "--metrics", '{"f1": 0.5}', "--period-start", "2026-01-01",
     "--period-end", "2026-01-02"),
]  # fmt: skip


def test_registering_answers_a_reference(run: Any) -> None:
    """A stage is written by one command, which prints the reference."""
    run("provision")
    code, out, _ = run("register", "dataset", "--name", "[draft] 1", "--set", "rows=178")
    ref = json.loads(out)
    assert (code, ref["kind"], ref["name"], ref["created"]) == (0, "Dataset", "[draft] 1", True)
    _, out, _ = run("show", ref["_id"])
    assert json.loads(out)["rows"] == 178


def test_every_stage_has_a_command(registered: Any) -> None:
    """The seven stages can be written from the shell, and their lineage read."""
    code, out, _ = registered("lineage", "d1", "--kind", "Deployment")
    assert code == 0
    assert out.startswith("Deployment d1")
    for kind in ("Project", "Dataset", "Model", "Run", "ModelParams", "ServingPerf"):
        assert kind in out


@pytest.mark.parametrize("format", ["json", "dot", "mermaid", "svg"])
def test_lineage_in_every_format(registered: Any, format: str, tmp_path: Path) -> None:
    """Lineage can be written to a file in every format."""
    target = tmp_path / "lineage"
    code, out, _ = registered("lineage", "d1", "--kind", "Deployment", "--format", format, "-o", str(target))
    assert (code, out) == (0, "")
    assert b"d1" in target.read_bytes()


def test_find_and_counts(registered: Any) -> None:
    """Nodes are listed by attribute, and counted by collection."""
    _, out, _ = registered("find", "Dataset", "--where", "rows=178")
    assert out.count("\n") == 1
    assert "\tdata\t" in out
    _, out, _ = registered("counts")
    assert "datasets" in out


ERRORS: list[tuple[str, tuple[str, ...], str]] = [
    (
        "unknown reference",
        ("register", "model", "--name", "m", "--project", "nobody"),
        "not found: 'nobody'",
    ),
    ("conflicting content", ("register", "project", "--name", "wine", "--set", "team=x"), "different content in: team"),
    ("NaN", ("register", "project", "--name", "p", "--set", "x=NaN"), "Project.x: is nan"),
    ("too deep", ("register", "project", "--name", "p", "--set", "x=" + "[" * 99 + "]" * 99), "nested deeper"),
    ("not JSON", ("register", "project", "--name", "p", "--set", "x"), "'x' is not NAME=VALUE"),
    ("twice", ("register", "dataset", "--name", "d", "--uri", "u", "--set", "uri=v"), "uri: is given twice"),
    ("unknown kind", ("find", "Wine"), "'Wine' is not one of Project, Dataset"),
    ("unknown node", ("show", "models/none"), "not found"),
    ("no kind", ("show", "wine"), "is needed to look up 'wine'"),
    ("empty name", ("register", "project", "--name", ""), "is not a name"),
    ("reserved name", ("register", "project", "--name", "p", "--set", "_key=1"), "set by the store"),
    ("half a pair", ("register", "project", "--name", "\ud800"), "surrogate"),
    ("no folder", ("lineage", "d1", "--kind", "Deployment", "-o", "/nowhere/x"), "/nowhere/x"),
]


@pytest.mark.parametrize(("arguments", "says"), [case[1:] for case in ERRORS], ids=[case[0] for case in ERRORS])
def test_an_error_is_one_line(registered: Any, arguments: tuple[str, ...], says: str) -> None:
    """What a user does wrong is answered by one line that names it, and nothing is written."""
    before = registered("counts")
    code, out, err = registered(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith("arangopipe: ")
    assert err.count("\n") == 1
    assert says in err
    assert registered("counts") == before


def test_an_oversized_document_is_one_line(registered: Any, tmp_path: Path) -> None:
    """A document over the bound is refused with its size."""
    code, _, err = registered("register", "project", "--name", "p", "--set", "x=" + "y" * MAX_DOCUMENT_BYTES)
    assert code == 1
    assert "16,777,216" in err
    assert err.count("\n") == 1


def test_errors_of_the_connection_are_one_line(run: Any, tmp_path: Path) -> None:
    """A wrong password, a host that is down, a missing database or graph and a bad URL are one line each."""
    with serving(tmp_path / "served.db") as server:
        cases = {
            url_of(server.address, password="wrong"): "Check user, password",
            url_of(server.address, name="absent"): "Create it",
            url_of(server.address): "arangopipe provision",
            url_of(f"127.0.0.1:{free_port()}"): "connection refused",
            "http://root:wrong@": "is not a database URL",
            f"embedded://{tmp_path}/nowhere/x.db": "does not exist",
        }
        for url, says in cases.items():
            code, out, err = run("register", "project", "--name", "p", url=url)
            assert (code, out) == (1, "")
            assert says in err
            assert err.count("\n") == 1
            assert "wrong" not in err


def test_a_file_that_is_no_database_is_one_line(run: Any, tmp_path: Path) -> None:
    """A file of something else is refused by its name and left as it is."""
    other = tmp_path / "notes.txt"
    other.write_text("not a database " * 100)
    code, _, err = run("provision", url=f"embedded://{other}")
    assert code == 1
    assert "notes.txt" in err
    assert err.count("\n") == 1
    assert other.read_text().startswith("not a database")


def test_the_command_is_installed(tmp_path: Path) -> None:
    """`arangopipe` and `python -m arangopipe_ops` are the same command, without a traceback on errors."""
    for command in ([str(Path(sys.executable).parent / "arangopipe")], [sys.executable, "-m", "arangopipe_ops"]):
        done = subprocess.run([*command, "counts"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("arangopipe: ")
        assert "Traceback" not in done.stderr
