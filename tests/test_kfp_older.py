"""The oldest supported version of KFP, in an environment that differs from this one in nothing else."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from arangopipe_ops.connection import connect
from arangopipe_ops.kfp import catalogue
from arangopipe_ops.kfp.factory import Settings
from arangopipe_ops.store import Store

pytestmark = pytest.mark.slow

OLDEST = "2.16.1"
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def oldest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the oldest KFP, and all else from this environment."""
    folder = tmp_path_factory.mktemp("oldest") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin/python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", f"kfp=={OLDEST}", "kfp-kubernetes==2.16.1"]
    done = subprocess.run(install, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        pytest.skip(f"kfp {OLDEST} cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    [site] = folder.glob("lib/python*/site-packages")
    (site / "zz_all_else.pth").write_text(sysconfig.get_path("purelib"))
    return python


def program(python: Path, text: str, folder: Path) -> str:
    """Execute a program with the oldest KFP; return what it printed last."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests"))),
        "ARANGOPIPE_URL": f"embedded://{folder}/graph.db",
        "ARANGOPIPE_EMBEDDED_CLUSTER": "1",
    }
    given = f"import kfp; assert kfp.__version__ == {OLDEST!r}; {text}"
    done = subprocess.run(
        [python, "-c", given], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.rstrip().rpartition("\n")[2]


def test_the_oldest_kfp_compiles_the_same(oldest: Path, tmp_path: Path) -> None:
    """For an image that has everything, only the SDK's own version differs."""
    text = "import json; from arangopipe_ops.kfp import catalogue, factory;"
    printed = program(oldest, f"{text} print(json.dumps(catalogue.files(factory.Settings(packages=()))))", tmp_path)
    import kfp

    older, newer = json.loads(printed), catalogue.files(Settings(packages=()))
    del older[catalogue.MANIFEST], newer[catalogue.MANIFEST]
    assert {path: text.replace(f"kfp-{OLDEST}", f"kfp-{kfp.__version__}") for path, text in older.items()} == newer


def test_the_oldest_kfp_runs_the_components(oldest: Path, tmp_path: Path) -> None:
    """Its local runner executes a chain of components, which leaves the whole lineage of a deployment."""
    text = "import kfp_local, pathlib; kfp_local.execute(kfp_local.plain, pathlib.Path('.').absolute())"
    program(oldest, text, tmp_path)
    store = Store(connect(f"embedded://{tmp_path}/graph.db"))
    kinds = {node["kind"] for node in store.lineage("blue", kind="Deployment")["nodes"]}
    assert kinds == set(store.schema.nodes)
