"""The catalogue as files: each component and pipeline compiled, what it is, how it is used, and checksums of all.

The layout is that of kubeflow/pipelines-components: a folder each, with metadata.yaml and README.md.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import kfp
import yaml
from kfp import compiler

from arangopipe_ops import __version__
from arangopipe_ops.errors import Misconfigured
from arangopipe_ops.kfp.components import FUNCTIONS
from arangopipe_ops.kfp.factory import Settings, components
from arangopipe_ops.kfp.pipelines import pipelines

MANIFEST = "manifest.json"
LAST_VERIFIED = "2026-11-23T00:00:00Z"

_KINDS = {"components": "component.yaml", "pipelines": "pipeline.yaml"}
_DEPENDENCIES = {
    "kubeflow": [{"name": "Pipelines", "version": ">=2.16.1"}],
    "external_services": [{"name": "ArangoDB", "version": ">=3.12"}],
}


def files(settings: Settings) -> dict[str, str]:
    """Return the catalogue: path -> text. The same settings and version of kfp give the same texts."""
    made = {"components": components(FUNCTIONS, settings), "pipelines": pipelines(settings)}
    found = {
        f"{kind}/{name}/{file}": text
        for kind, each in made.items()
        for name, thing in each.items()
        for file, text in _described(kind, name, thing)
    }
    found["README.md"] = _contents(made)
    checksums = {path: hashlib.sha256(text.encode()).hexdigest() for path, text in sorted(found.items())}
    manifest = {"arangopipe-ops": __version__, "kfp": kfp.__version__, "sha256": checksums}
    return {**found, MANIFEST: json.dumps(manifest, indent=2) + "\n"}


def write(folder: Path, settings: Settings) -> list[Path]:
    """Write the catalogue into a folder, and remove what an earlier one had and this has not.

    Raises Misconfigured for a folder that holds something else.
    """
    earlier = _earlier(folder)
    texts = files(settings)
    for path in earlier - texts.keys():
        (folder / path).unlink(missing_ok=True)
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return [folder / path for path in texts]


def compiled(thing: Any) -> str:
    """Return a component or pipeline as KFP's YAML."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "compiled.yaml")
        compiler.Compiler().compile(thing, str(path))
        return path.read_text(encoding="utf-8")


def _earlier(folder: Path) -> set[str]:
    """Return the paths of the catalogue that is there."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return set()
    try:
        return {*json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["sha256"], MANIFEST}
    except (OSError, ValueError, KeyError):
        raise Misconfigured(f"{folder} is not empty and no catalogue; name another folder.") from None


def _described(kind: str, name: str, thing: Any) -> Iterator[tuple[str, str]]:
    yield _KINDS[kind], compiled(thing)
    yield "metadata.yaml", yaml.safe_dump(_metadata(name), sort_keys=False)
    yield "README.md", _readme(kind, name, thing.component_spec)


def _metadata(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "stability": "alpha",
        "dependencies": _DEPENDENCIES,
        "tags": ["metadata", "lineage", "arangodb"],
        "lastVerified": LAST_VERIFIED,
        "ci": {"skip_dependency_probe": False},
    }


def _readme(kind: str, name: str, spec: Any) -> str:
    parts = [f"# {name}", spec.description]
    if spec.inputs:
        rows = [_row(each, given, _default(given)) for each, given in spec.inputs.items()]
        parts.append("\n".join(["## Inputs", "", "| name | type | default | |", "|---|---|---|---|", *rows]))
    if spec.outputs:
        rows = [_row(each, given) for each, given in spec.outputs.items()]
        parts.append("\n".join(["## Outputs", "", "| name | type | |", "|---|---|---|", *rows]))
    if kind == "components":
        inputs = spec.inputs or {}
        needed = [f"{each}=..." for each, given in inputs.items() if not given.optional]
        given = ", ".join([*needed, *(["**provenance()"] if "pipeline_job_id" in inputs else [])])
        code = _USE.format(name=name, given=given)
        parts.append(f"## Use\n\n```python\n{code}```")
    return "\n\n".join(parts) + "\n"


_USE = """from arangopipe_ops.kfp.components import {name}
from arangopipe_ops.kfp.tracking import provenance, tracked

task = {name}({given})
tracked(task, secret_name="arangopipe")
"""


def _row(name: str, given: Any, *more: str) -> str:
    meaning = " ".join((given.description or "").split()).replace("|", "\\|")
    return f"| {' | '.join([f'`{name}`', _TYPE.sub('', str(given.type)), *more, meaning])} |"


_TYPE = re.compile(r"^typing\.|[@\[].*")


def _default(given: Any) -> str:
    if not given.optional:
        return "needed"
    return "" if given.default is None else f"`{json.dumps(given.default, ensure_ascii=False)}`"


def _contents(made: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ["# Kubeflow components that record metadata in ArangoDB", "", _INTRODUCTION]
    for kind, each in made.items():
        lines += ["", f"## {kind.capitalize()}", "", "| | |", "|---|---|"]
        lines += [f"| [{name}]({kind}/{name}) | {_first(thing)} |" for name, thing in each.items()]
    return "\n".join(lines) + "\n"


_INTRODUCTION = """Made by `make kfp` from `arangopipe_ops/kfp`; do not edit. `arangopipe kfp compile` makes the same
with an image and packages of your own. `manifest.json` has the checksums of all files."""


def _first(thing: Any) -> str:
    return str(thing.component_spec.description).partition("\n")[0]
