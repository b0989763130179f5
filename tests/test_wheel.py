"""What `pip install` of the built wheel gives: all files of the package, and entry points that lead somewhere."""

import json
import os
import subprocess
import sys
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "arangopipe_ops"

ENTRY_POINTS = {
    "apache_airflow_provider": ["provider_info"],
    "airflow.plugins": ["arangopipe"],
    "console_scripts": ["arangopipe"],
}

LOAD = """
import json, sys
from importlib.metadata import PathDistribution
from pathlib import Path

[metadata] = Path(sys.argv[1]).glob("*.dist-info")
found = {}
for entry in PathDistribution(metadata).entry_points:
    entry.load()
    found.setdefault(entry.group, {})[entry.name] = sys.modules[entry.module].__file__
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network and unpacked as an installer does."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(ROOT)], check=True, timeout=120)
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.mark.slow
def test_every_file_of_the_package_is_in_the_wheel(site: Path) -> None:
    """Grammar, templates and types are there as well as code; tests and DAGs are not."""
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    missing = [path for path in files if not (site / path.relative_to(ROOT)).is_file()]
    assert missing == []
    assert {path.suffix for path in files} > {".py"}
    assert {path.name for path in site.iterdir() if path.suffix != ".dist-info"} == {PACKAGE.name}


@pytest.mark.slow
def test_the_entry_points_of_the_wheel_lead_somewhere(site: Path, tmp_path: Path) -> None:
    """Airflow finds provider and plugin by them; each loads from the wheel's own files."""
    environment = os.environ | {
        "PYTHONPATH": str(site),
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    command = [sys.executable, "-c", LOAD, str(site)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert {group: list(entries) for group, entries in found.items()} == ENTRY_POINTS
    assert all(Path(file).is_relative_to(site) for entries in found.values() for file in entries.values())


@pytest.mark.slow
def test_the_wheel_asks_for_no_more_than_the_core(site: Path) -> None:
    """What is installed without an extra is the driver, the clock and the parser."""
    [metadata] = site.glob("*.dist-info")
    needed = [line for line in PathDistribution(metadata).requires or () if "extra ==" not in line]
    assert sorted(line.partition(">")[0] for line in needed) == ["lark", "pendulum", "python-arango"]
