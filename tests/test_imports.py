"""Who may import whom, as docs/architecture.md has it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "arangopipe_ops"
CORE = {"errors", "model", "stages", "connection", "store", "admin", "analytics", "capture"}

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "embedded": set(),
    "model": {"errors"},
    "capture": {"errors"},
    "stages": {"errors", "model"},
    "drawing": {"errors", "model"},
    "connection": {"errors", "embedded"},
    "store": {"errors", "model", "stages", "capture"},
    "admin": {"errors", "model", "store"},
    "integrations": {"errors", "model"},
    "openlineage": {"errors", "model", "connection", "store", "integrations", ""},
    "compat": {"errors", "model", "stages", "connection", "store", "admin"},
    "analytics": {"errors", "model", "stages", "store", "admin"},
    "serving": {"errors", "model", "stages", "store", "analytics", "integrations"},
    "web": CORE | {"drawing", ""},
    "airflow": CORE | {"drawing", "integrations", "openlineage", "serving", "web"},
    "kfp": CORE | {"drawing", "integrations", "serving", ""},
    "cli": CORE | {"drawing", "compat", "integrations", "serving", "web", "embedded", "kfp", ""},
    "__main__": {"cli"},
    "": CORE,
}
"""Room -> the rooms it may import; "" is the package root."""

THIRD_PARTY_HOMES = {
    "arango": {"connection", "store", "admin", "compat", "embedded"},
    "lark": {"embedded"},
    "airflow": {"airflow"},
    "kfp": {"kfp"},
    "openlineage": {"openlineage", "airflow"},
    "attr": {"openlineage"},
    "pygraphviz": {"drawing"},
    "fastapi": {"web", "airflow"},
    "starlette": {"web", "airflow"},
    "jinja2": {"web", "airflow"},
    "pydantic": {"web"},
    "jwt": {"connection", "embedded"},
    "numpy": {"analytics"},
    "scipy": {"analytics"},
    "sklearn": {"analytics", "integrations", "kfp"},
    "joblib": {"kfp"},
    "sqlalchemy": {"integrations"},
    "fsspec": {"integrations"},
    "pandas": {"integrations"},
    "polars": {"integrations"},
    "pyarrow": {"integrations"},
}
"""Third-party module -> the rooms that may import it."""

AQL_ROOMS = {"store", "admin", "analytics", "embedded"}


def room(path: Path) -> str:
    parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


@cache
def imported(path: Path) -> set[str]:
    """Return the full name of every module that a file imports, at any level."""
    return set(names_imported(path))


def names_imported(path: Path) -> Iterator[str]:
    package = [PACKAGE, *path.relative_to(ROOT / PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names) if module == PACKAGE else (module,)


def rooms_imported(path: Path) -> set[str]:
    """Return the rooms of ours that a file imports; a name of the package root counts as the root."""
    parts = [name.split(".")[1:2] for name in imported(path) if name.split(".")[0] == PACKAGE]
    existing = {file.stem for file in (ROOT / PACKAGE).iterdir()}
    return {part[0] if part and part[0] in existing else "" for part in parts}


FILES = sorted((ROOT / PACKAGE).rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_import_only_what_they_may(path: Path) -> None:
    """Every import of ours stands in the table."""
    here = room(path)
    assert rooms_imported(path) - {here} <= MAY_IMPORT[here]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_third_party_modules_stay_in_their_rooms(path: Path) -> None:
    """A module of another project is imported only in the rooms that adapt it."""
    for name in imported(path):
        assert room(path) in THIRD_PARTY_HOMES.get(name.split(".")[0], {room(path)}), name


def test_dags_use_the_public_names() -> None:
    """A DAG imports the package root and the provider, as users' DAGs do."""
    for path in (ROOT / "dags").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
                assert node.module == PACKAGE or str(node.module).startswith(f"{PACKAGE}.airflow"), path


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_aql_stands_only_in_its_rooms(path: Path) -> None:
    """No query text stands outside the rooms that own one."""
    texts = [n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)]
    queries = [text for text in texts if isinstance(text, str) and "FOR " in text and " IN " in text]
    assert not queries or room(path) in AQL_ROOMS


def loaded_by(statement: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after a statement."""
    program = f"{statement}; import sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    return set(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    )


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import arangopipe_ops", {"arango", "requests", "lark", "fastapi", "kfp", "airflow"}),
        ("import arangopipe_ops.airflow.provider", {"arango", "requests", "lark", "fastapi", "kfp", "airflow"}),
        pytest.param(
            "import arangopipe_ops.airflow.operators",
            {"arango", "lark", "fastapi", "kfp", "openlineage"},
            marks=pytest.mark.slow,
        ),
        (
            "import arangopipe_ops.store, arangopipe_ops.admin, arangopipe_ops.stages",
            {"arango", "requests", "lark"},
        ),
        ("import arangopipe_ops.kfp.runtime", {"kfp", "lark", "airflow", "pandas", "sklearn"}),
        ("import arangopipe_ops.cli", {"lark", "pygraphviz", "airflow", "kfp", "fastapi"}),
    ],
)
def test_importing_loads_no_more_than_it_needs(statement: str, absent: set[str]) -> None:
    """Orchestrators import these in every process, so heavy modules wait until they are used."""
    assert not loaded_by(statement) & absent


@pytest.fixture(scope="module")
def airflow_alone() -> set[str]:
    """What Airflow loads for a DAG file that uses none of us."""
    return loaded_by("from airflow.sdk import BaseHook, BaseOperator, BaseSensorOperator, Context, task")


@pytest.mark.slow
@pytest.mark.parametrize("module", ["operators", "sensors", "decorators", "assets", "links", "plugin"])
def test_a_dag_loads_no_client(module: str, airflow_alone: set[str]) -> None:
    """Parsing a DAG that uses us brings no driver, HTTP client, web framework or OpenLineage beyond Airflow's own."""
    ours = loaded_by(f"import arangopipe_ops.airflow.{module}") - airflow_alone
    assert not ours & {"arango", "requests", "fastapi", "openlineage", "lark", "kfp", "numpy", "pandas"}


@pytest.mark.slow
def test_a_dag_loads_nothing_that_only_tasks_need() -> None:
    """Of our own rooms a DAG's operators, sensors and decorators load the errors alone: that keeps them cheap."""
    statement = "from arangopipe_ops.airflow import operators, sensors, decorators"
    program = f"{statement}; import sys; print(*[n.split('.')[1] for n in sys.modules if n.startswith('{PACKAGE}.')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.splitlines()[-1].split()) == {"airflow", "errors"}
