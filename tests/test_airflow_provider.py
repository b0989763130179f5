"""What Airflow reads about the provider."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from airflow_home import HOME

from arangopipe_ops.airflow.provider import get_provider_info


def installed_schema() -> Any:
    import airflow

    return json.loads((Path(airflow.__path__[0]) / "provider_info.schema.json").read_text())


def airflow_command(*arguments: str) -> str:
    command = [Path(sys.executable).parent / "airflow", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def test_the_info_has_the_form_that_airflow_reads() -> None:
    """The description is valid; an invalid one would stop every Airflow command."""
    jsonschema.validate(get_provider_info(), installed_schema())


def test_the_info_names_no_unknown_key() -> None:
    """Every key stands in Airflow's schema, so none is ignored by a slip of spelling."""
    assert get_provider_info().keys() <= installed_schema()["properties"].keys()


def test_every_module_and_class_of_the_info_exists() -> None:
    """What the description points at can be imported."""
    info = get_provider_info()
    for kind in ("hooks", "operators", "sensors", "triggers"):
        for module in info[kind][0]["python-modules"]:
            importlib.import_module(module)
    [uris] = info["asset-uris"]
    paths = [uris["handler"], uris["factory"], uris["to_openlineage_converter"]]
    for path in paths + [each["class-name"] for each in info["task-decorators"]]:
        module, _, name = path.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))
    [connection] = info["connection-types"]
    module, _, name = connection["hook-class-name"].rpartition(".")
    hook = getattr(importlib.import_module(module), name)
    assert (hook.conn_type, hook.hook_name) == (connection["connection-type"], connection["hook-name"])


def test_reading_the_info_imports_nothing() -> None:
    """Airflow reads the description in every process, so it costs no import."""
    program = (
        "import sys, arangopipe_ops.airflow.provider as p; before = set(sys.modules); "
        "p.get_provider_info(); print(set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.slow
def test_airflow_finds_the_provider() -> None:
    """`airflow providers list` names the installed package."""
    assert "arangopipe-ops" in airflow_command("providers", "list", "--output", "json")
    assert HOME.exists()


@pytest.mark.slow
def test_the_connection_form_is_built_without_the_driver() -> None:
    """The form has our fields and labels, and building it does not load the database's driver."""
    program = """
import json, sys
from airflow.providers_manager import ProvidersManager
manager = ProvidersManager()
widgets = [name for name in manager.connection_form_widgets if "__arangopipe__" in name]
behaviour = manager.field_behaviours["arangopipe"]
print(json.dumps([widgets, behaviour["relabeling"], "arango" in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    widgets, relabeling, driver_loaded = json.loads(done.stdout.splitlines()[-1])
    assert widgets == [f"extra__arangopipe__{name}" for name in ("tls", "request_timeout", "embedded_file", "spool")]
    assert relabeling["schema"] == "Database"
    assert not driver_loaded
