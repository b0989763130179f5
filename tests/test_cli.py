"""The command line: every command, and one clear line for every error."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from socket_server import serving
from test_connection import free_port, url_of

from arangopipe_ops import cli
from arangopipe_ops.cli import managing, reading, writing
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
    ("log-run", "--run-id", "r1", "--model", "forest", "--dataset", '["data"]', "--params", '{"depth": 3}'),
    ("deploy", "--tag", "d1", "--project", "wine", "--model", "forest", "--run", "r1"),
    ("log-serving", "--deployment", "d1", "--metrics", '{"f1": 0.5}', "--period-start", "2026-01-01",
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


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("rows=178", True),
        ("rows>=178", True),
        ("rows<178", False),
        ("rows!=178", False),
        ("uri^=s3:", True),
        ("uri^=gs:", False),
        ("uri~=X", True),
        ("tags@=gold", False),
        ("uri", True),
        ("owner", False),
        ("uri=s3://x", True),
    ],
)
def test_search_by_condition(registered: Any, condition: str, found: bool) -> None:
    """A condition on the command line means what its sign says."""
    code, out, err = registered("search", "Dataset", "-w", condition)
    assert (code, "data" in out, err) == (0, found, f"{int(found)} of {int(found)}\n")


def test_search_page_by_page(registered: Any) -> None:
    """A cursor on standard error leads to the next page; programs get it in JSON."""
    _, out, _ = registered("search", "--limit", "5", "--json")
    page = json.loads(out)
    assert (len(page["nodes"]), page["total"]) == (5, 8)
    _, out, err = registered("search", "--limit", "5", "--cursor", page["cursor"])
    assert "3 of 8" in err
    assert "Project" in out


def test_a_search_shows_what_matters(registered: Any) -> None:
    """One kind has its own columns, several kinds one that sums up; the `_id` to go on with stands last."""
    header, _, row = registered("search", "Model")[1].splitlines()
    assert header.split() == ["registered", "name", "version", "task", "technique", "framework", "_id"]
    assert "classification" in row
    assert "rows 178" in registered("search", "--text", "data")[1]
    assert registered("search", "Model", "--columns", "task")[1].split()[:5][-1] == "_id"


def test_counts(registered: Any) -> None:
    """Nodes and edges are counted by collection."""
    _, out, _ = registered("counts", "--json")
    assert json.loads(out)["datasets"] == 1


def test_a_node_is_changed_and_looked_back_at(registered: Any) -> None:
    """Annotations, archiving, promotion and history from the shell."""
    assert registered("annotate", "data", "--kind", "Dataset", "owner=ann", 'tags=["gold"]')[0] == 0
    _, out, _ = registered("history", "data", "--kind", "Dataset")
    assert "owner: None → ann" in out
    registered("annotate", "data", "--kind", "Dataset", "owner=")
    assert "owner" not in json.loads(registered("show", "data", "--kind", "Dataset")[1])
    registered("archive", "data", "--kind", "Dataset", "--reason", "old")
    assert registered("show", "data", "--kind", "Dataset")[0] == 3
    assert "0 of 0" in registered("search", "Dataset")[2]
    [node] = json.loads(registered("search", "Dataset", "--archived", "--json")[1])["nodes"]
    registered("restore", node["_id"])
    assert registered("show", "data", "--kind", "Dataset", "--as-of", node["created"])[0] == 0


def test_promotion(registered: Any) -> None:
    """A scheduled deployment is promoted over the active one, and a late decision is a conflict."""
    deploy = ("deploy", "--tag", "d2", "--project", "wine", "--model", "forest", "--status", "scheduled")
    registered(*deploy)
    _, out, _ = registered("promote", "d2", "--over", "d1", "--dry-run")
    assert "d2 is active, was scheduled, if it were not a dry run" in out
    _, out, _ = registered("promote", "d2", "--over", "d1")
    assert out == "d2 is active, was scheduled\nd1 is archived, was active\n"
    code, _, err = registered("promote", "d1", "--over", "d1")
    assert (code, "not the expected one" in err) == (4, True)
    assert registered("retire", "d2")[1] == "d2 is archived, was active\n"


def test_deletion_asks_first(registered: Any) -> None:
    """Deleting shows what would go and needs a yes."""
    code, _, err = registered("delete", "r1", "--kind", "Run")
    assert (code, "--yes" in err) == (1, True)
    assert registered("show", "r1", "--kind", "Run")[0] == 0
    code, _, err = registered("delete", "r1", "--kind", "Run", "--yes")
    assert code == 0
    assert "modelparams/r1" in err
    assert registered("show", "r1", "--kind", "Run")[0] == 3


def test_impact_and_comparison(registered: Any) -> None:
    """What depends on a data set, and runs side by side, as tables and as JSON."""
    assert "d1" in registered("impact", "data", "--kind", "Dataset")[1]
    registered("log-run", "--run-id", "r2", "--model", "forest", "--params", '{"depth": 4}')
    _, out, _ = registered("compare", "r1", "r2", "--differing")
    assert "params.depth" in out
    assert json.loads(registered("compare", "r1", "r2", "--json")[1])["params"] == {"depth": [3, 4]}


def test_edges_and_nodes_of_any_kind(registered: Any) -> None:
    """A node of any kind, and an edge between stored ones, are registered by name."""
    assert registered("register", "node", "Dataset", "--set", "name=more")[0] == 0
    assert registered("register", "edge", "run_datasets", "r1", "more")[0] == 0
    assert "more" in registered("lineage", "r1", "--kind", "Run")[1]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_shell_completes_commands(run: Any, shell: str) -> None:
    """A completion script knows every command; bash completes a word by it."""
    code, out, _ = run("completion", shell)
    assert (code, "serve-db" in out) == (0, True)
    if shell == "bash":
        asked = "COMP_WORDS=(arangopipe lin); COMP_CWORD=1; _shtab_arangopipe; echo ${COMPREPLY[@]}"
        done = subprocess.run(["bash", "-c", f"{out}\n{asked}"], capture_output=True, text=True, check=False)
        assert done.stdout.split() == ["lineage"], done.stderr


def test_every_command_explains_itself() -> None:
    """Every command has a line of help and, if it takes arguments of its own, examples that parse."""
    for command in (*writing.REGISTER, *writing.COMMANDS, *reading.COMMANDS, *managing.COMMANDS):
        assert command.help, command.name
        words = ["register", command.name] if command in writing.REGISTER else [command.name]
        for example in command.examples:
            cli.parser().parse_args([*words, *shlex.split(example.partition(" > ")[0])])


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
    ("unknown kind", ("search", "Wine"), "'Wine' is not one of Project, Dataset"),
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
    assert (code in (1, 3, 4), out) == (True, "")
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
            assert (code in (1, 5, 6, 7), out) == (True, "")
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
        assert done.returncode == 7
        assert done.stderr.startswith("arangopipe: ")
        assert "Traceback" not in done.stderr
