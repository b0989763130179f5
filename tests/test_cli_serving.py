"""Serving performance on the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
from test_cli import registered, run

__all__ = ["registered", "run"]


SERVING = """
every = "1d"
[[sources]]
type = "files"
path = "{folder}/figures.csv"
"""


@pytest.fixture
def serving_file(tmp_path: Path) -> Path:
    """What to collect, and the figures of two of three days."""
    (tmp_path / "serving.toml").write_text(SERVING.format(folder=tmp_path))
    days = "".join(f"d1,2026-02-0{day},0.{day}\n" for day in (1, 3))
    (tmp_path / "figures.csv").write_text(f"deployment,period_start,f1\n{days}")
    return tmp_path / "serving.toml"


SPAN = ("--since", "2026-02-01", "--until", "2026-02-04")


def test_serving_performance_is_collected(registered: Any, serving_file: Path) -> None:
    """Collecting tells what was written and what was not told; gaps are what is missing, until it is collected."""
    code, out, _ = registered("collect", str(serving_file), *SPAN)
    assert code == 1
    assert out.splitlines()[0] == "3 periods, 1 deployments, 2 created"
    assert "there are no figures" in out
    assert "d1          collected from files  raised  2026-02-02" in out
    code, out, _ = registered("gaps", *SPAN, "--source", "files", "--json")
    assert code == 1
    assert [(gap["period_start"][:10], gap["periods"]) for gap in json.loads(out)] == [("2026-02-02", 1)]
    figures = serving_file.with_name("figures.csv")
    figures.write_text(figures.read_text() + "d1,2026-02-02,0.2\n")
    code, out, _ = registered("collect", str(serving_file), *SPAN, "--only-missing", "--json")
    report = json.loads(out)
    assert (code, report["created"], report["known"], report["faults"]) == (0, 1, 2, [])
    code, out, _ = registered("gaps", *SPAN)
    assert (code, out) == (0, "no gaps\n")


def test_what_a_source_says_is_not_cut(registered: Any, tmp_path: Path) -> None:
    """A fault is told to its end, which is where the cure stands, however wide the table becomes."""
    (tmp_path / "wrong.toml").write_text("sources = [{type = 'no such type of source at all, really'}]")
    code, out, _ = registered("collect", str(tmp_path / "wrong.toml"), *SPAN)
    assert code == 1
    assert "is not one of files, http, mlflow, prometheus, python, sql\n" in out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("every", "is not TOML"),
        ("every = 1", "sources: are missing"),
        ("sources = [{}]", "has no type"),
        ("shards = 1\nsources = [{type = 'files'}]", "shards: is not one of sources, every, timezone"),
        ("every = 'x'\nsources = [{type = 'files'}]", "'x' is not a length of time"),
        ("sources = [{type = 'files', path = {env = 'NOWHERE_SET'}}]", "NOWHERE_SET is not set"),
    ],
)
def test_a_wrong_configuration_is_one_line(registered: Any, tmp_path: Path, text: str, says: str) -> None:
    """What is wrong in a file of sources is said by one line, and nothing is collected."""
    (tmp_path / "wrong.toml").write_text(text)
    code, out, err = registered("collect", str(tmp_path / "wrong.toml"))
    assert (code, out) == (1, "")
    assert says in err
    assert err.count("\n") == 1


def test_a_start_needs_an_end(registered: Any, serving_file: Path) -> None:
    """Periods since a time need to be told until when."""
    code, _, err = registered("collect", str(serving_file), "--since", "2026-02-01")
    assert (code, err) == (1, "arangopipe: until: is missing; say --until with --since, or --last\n")
