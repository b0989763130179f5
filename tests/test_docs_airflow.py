"""The guides of the example DAGs show the code that runs: every Python block stands in the DAG of the page's name."""

from pathlib import Path
from textwrap import dedent

import pytest
from test_docs import FENCE, ROOT, STORIES, blocks

DAGS = {path.stem: path for path in (ROOT / "dags").glob("*.py") if path.stem != "run_demo"}
PAGES = sorted(STORIES.glob("*.md"))


def excerpts(source: str, height: int) -> set[str]:
    """Every part of a file that has so many lines, without the indentation that its lines share."""
    lines = source.splitlines(keepends=True)
    return {dedent("".join(lines[i : i + height])) for i in range(len(lines) - height + 1)}


def test_every_dag_has_its_page() -> None:
    """There is a page for every file of dags/, and the provider's page leads to each."""
    assert {page.stem for page in PAGES} == set(DAGS)
    index = (STORIES.parent / "README.md").read_text()
    assert [page.name for page in PAGES if f"(stories/{page.name})" not in index] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_page_is_that_of_its_dag(page: Path) -> None:
    """Whole lines, verbatim and in one piece; there is at least one such block, and none that would be run."""
    source = DAGS[page.stem].read_text()
    shown = blocks(page, "python")
    assert [code for code in shown if code not in excerpts(source, code.count("\n"))] == []
    assert shown
    assert {language for language, _ in FENCE.findall(page.read_text())} == {"python"}
