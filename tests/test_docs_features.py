"""The feature table of the Airflow provider: every yes is a test."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "airflow" / "features.md").read_text()


def rows(table: int) -> dict[str, list[str]]:
    """Return the rows of a table of the page by their first cell."""
    found = [lines for lines in re.split(r"\n\n", PAGE) if lines.startswith("|")][table].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in found]
    return {first: others for first, *others in cells}


@cache
def named_in(file: str) -> set[str]:
    """Return what pytest collects in a file, without importing it."""
    tree = ast.parse((ROOT / file).read_text())
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {function.name for function in functions if function.name.startswith("test_")}


def test_every_yes_names_a_test() -> None:
    """What the table claims of us is backed by a test, and what is claimed is one of three words."""
    claimed, backed = rows(0), rows(1)
    assert {cells[0] for cells in claimed.values()} <= {"yes", "partly", "no"}
    assert {what for what, cells in claimed.items() if cells[0] != "no"} == set(backed)
    assert not [what for what, cells in backed.items() if not re.fullmatch(r"(`[^`]+::test_\w+`(, )?)+", cells[0])]


def test_every_test_that_is_named_exists() -> None:
    """A test that is renamed or removed takes its claim with it."""
    named = re.findall(r"`(tests/test_\w+\.py)::(test_\w+)`", PAGE)
    assert named
    assert [f"{file}::{name}" for file, name in named if name not in named_in(file)] == []


def test_every_row_says_something_of_everybody() -> None:
    """No cell is empty or misspelled."""
    assert {len(cells) for cells in rows(0).values()} == {6}
    assert {cell for cells in rows(0).values() for cell in cells} <= {"yes", "partly", "no", "–", "?"}
