"""What is needed to execute a run again, for people."""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from arangopipe_ops.store import Reproduction

_WIDTH = 14


def recipe(found: Reproduction) -> str:
    """Return a reproduction as text: a line for each thing, the packages as pip reads them, what is missing last."""
    lines = [f"{label:<{_WIDTH}}{text}" for label, text in _lines(found) if text]
    if found["requirements"]:
        lines += ["packages", *(f"  {line}" for line in found["requirements"])]
    missing = [f"  {item['what']}: {item['why']}" for item in found["missing"]]
    return "\n".join([*lines, "missing" if missing else "nothing is missing", *missing])


def _lines(found: Reproduction) -> Iterator[tuple[str, str]]:
    run, code = found["run"], found["code"]
    yield "run", f"{found['run_id']} ({found['status']})"
    yield "project", str(found["project"] or "")
    yield "started", f"{run['start']}, took {run.get('duration', '?')} s" if "start" in run else ""
    yield "repository", str(code.get("repository") or "")
    yield "commit", _commit(code)
    yield "script", str(code.get("script") or "")
    yield "command", shlex.join(found["command"])
    yield "python", " on ".join(filter(None, (found["python"], found["platform"])))
    yield "host", str(found["host"].get("name") or "")
    for system, ids in found["orchestrator"].items():
        yield system, _pairs(ids) if isinstance(ids, Mapping) else str(ids)
    for model in found["models"]:
        yield "model", _named(model, "technique", "framework")
    for dataset in found["datasets"]:
        through = f"(through {dataset['through']})" if dataset["through"] else ""
        yield "data set", f"{_named(dataset, 'uri', 'checksum')} {through}".strip()
    for featureset in found["featuresets"]:
        yield "feature set", _named(featureset, "transformation")
    for name, value in found["params"].items():
        yield "parameter", f"{name} = {_plain(value)}"


def _commit(code: Mapping[str, Any]) -> str:
    state = "" if code.get("dirty") is None else "with changes" if code["dirty"] else "clean"
    return ", ".join(str(part) for part in (code.get("commit"), code.get("branch"), state) if part)


def _named(node: Mapping[str, Any], *names: str) -> str:
    parts = [
        str(node.get("name")),
        f"@{node.get('version')}",
        *(_plain(node[name]) for name in names if node.get(name)),
    ]
    return "  ".join(parts)


def _pairs(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={_plain(value)}" for name, value in values.items())


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
