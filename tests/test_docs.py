"""The documentation runs: every Python block and every shell block of every page."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
STORIES = ROOT / "docs" / "airflow" / "stories"
PROGRAMS = [page for page in PAGES if page.parent != STORIES]
"""The pages whose blocks run as they stand. Those of STORIES are parts of DAGs: see test_docs_airflow.py."""
FENCE = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    return [code for found, code in FENCE.findall(page.read_text()) if found == language]


def environment(folder: Path) -> dict[str, str]:
    """A shell in an empty folder, with the commands of this environment and the default database."""
    plain = {name: value for name, value in os.environ.items() if name not in ("ARANGOPIPE_URL", "ARANGO_URL")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return plain | {"PATH": path, "AIRFLOW_HOME": str(folder / "airflow"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}


@pytest.mark.slow
@pytest.mark.parametrize("page", PROGRAMS, ids=named)
def test_every_block_runs(page: Path, tmp_path: Path) -> None:
    """The Python blocks of a page run as one program, then its shell blocks, in an empty folder."""
    commands = [[sys.executable, "-c", "\n".join(blocks(page, "python"))]]
    commands += [["bash", "-ec", code] for code in blocks(page, "sh") if not code.startswith("make ")]
    for command in commands:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"


def test_the_two_commands_of_the_readme_exist() -> None:
    """`make demo` and `make test` stand in the README and in the Makefile."""
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert f"make {target}" in readme
        assert f"\n{target}: " in makefile


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page leads to a file."""
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
