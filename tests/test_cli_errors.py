"""What goes wrong on the command line is one clear line."""

from pathlib import Path
from typing import Any

import pytest
from socket_server import serving
from test_cli import registered, run
from test_connection import free_port, url_of

from arangopipe_ops import cli
from arangopipe_ops.model import MAX_DOCUMENT_BYTES

__all__ = ["registered", "run"]


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
    ("no folder", ("lineage", "d1", "--kind", "Deployment", "-o", "/nowhere/x"), "/nowhere/x: No such file"),
    (
        "below no depth",
        ("lineage", "d1", "--kind", "Deployment", "--depth", "-1"),
        "depth: -1 is not a number of edges",
    ),
    ("no writes", ("history", "d1", "--kind", "Deployment", "--limit", "0"), "limit: 0 is not a number of writes"),
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
        down = url_of(f"127.0.0.1:{free_port()}")
        cases = {
            url_of(server.address, password="wrong"): "Check user, password",
            url_of(server.address, name="absent"): "Create it",
            url_of(server.address): "arangopipe provision",
            down: "connection refused",
            "http://root:wrong@": "is not a database URL",
            f"embedded://{tmp_path}/nowhere/x.db": "does not exist",
        }
        for url, says in cases.items():
            timeout = "0.1" if url == down else "60"
            code, out, err = run("register", "project", "--name", "p", url=url, timeout=timeout)
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


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "inf"])
def test_a_timeout_that_is_none_is_one_line(timeout: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No time, less than none and what is no number is refused before anything is sent."""
    assert cli.main(["--url", f"http://127.0.0.1:{free_port()}", "--timeout", timeout, "counts"]) == 1
    assert capsys.readouterr().err == f"arangopipe: the timeout {timeout} is not a number of seconds, more than 0.\n"


def test_a_file_that_is_no_text_is_one_line(run: Any, tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are not imported, and the file is named."""
    run("provision")
    other = tmp_path / "stages.jsonl"
    other.write_bytes(b'{"stage": "project", "name": "\xff"}\n')
    code, _, err = run("import", str(other))
    assert (code, err.count("\n"), f"{other}: is not UTF-8 text" in err) == (1, 1, True)


def test_a_database_that_is_not_provisioned_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who is in another folder than where they provisioned sees which file was asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ARANGOPIPE_URL", raising=False)
    assert cli.main(["counts"]) == 7
    said = capsys.readouterr().err
    assert "Run `arangopipe provision` once" in said
    assert f"The database is embedded://{tmp_path}/arangopipe.db." in said


@pytest.mark.parametrize("condition", ["rows => 3", "rows=<3"])
def test_a_comparison_that_is_none_is_refused(registered: Any, condition: str) -> None:
    """A sign that is turned round is named with those there are, and finds not just nothing."""
    code, _, err = registered("search", "Dataset", "--where", condition)
    assert code == 1
    assert f"arangopipe: rows: '={'>' if '>' in condition else '<'}' is not one of !=, ==, <=, >=" in err
    code, out, _ = registered("search", "Dataset", "--where", 'uri=">x"')
    assert (code, out) == (0, "")
