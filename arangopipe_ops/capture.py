"""What a process says of itself without being asked: code version, environment, orchestrator, host.

Every function returns a small JSON-safe dict, never raises, and leaves out what it cannot find. None of them
tells a secret: URLs lose their credentials, and of the environment's variables only those in ORCHESTRATORS are read.
"""

import os
import platform
import re
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, wraps
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit, urlunsplit

MAX_PACKAGES = 500
MAX_TEXT = 500
MAX_ARGUMENTS = 100


@dataclass(frozen=True, slots=True)
class Orchestrator:
    """A system that runs processes. It is there where the variable `sign` is set; `ids` are name -> variable."""

    name: str
    sign: str
    ids: Mapping[str, str]


ORCHESTRATORS = (
    Orchestrator(
        "airflow",
        "AIRFLOW_CTX_DAG_ID",
        {
            "dag_id": "AIRFLOW_CTX_DAG_ID",
            "dag_run_id": "AIRFLOW_CTX_DAG_RUN_ID",
            "task_id": "AIRFLOW_CTX_TASK_ID",
            "map_index": "AIRFLOW_CTX_MAP_INDEX",
            "try_number": "AIRFLOW_CTX_TRY_NUMBER",
            "logical_date": "AIRFLOW_CTX_LOGICAL_DATE",
            "execution_date": "AIRFLOW_CTX_EXECUTION_DATE",
        },
    ),
    Orchestrator("kfp", "KFP_POD_NAME", {"run_id": "KFP_RUN_ID", "pod": "KFP_POD_NAME", "pod_uid": "KFP_POD_UID"}),
    Orchestrator(
        "argo",
        "ARGO_NODE_ID",
        {
            "workflow": "ARGO_WORKFLOW_NAME",
            "workflow_uid": "ARGO_WORKFLOW_UID",
            "node": "ARGO_NODE_ID",
            "container": "ARGO_CONTAINER_NAME",
        },
    ),
    Orchestrator(
        "kubernetes",
        "KUBERNETES_SERVICE_HOST",
        {"namespace": "POD_NAMESPACE", "pod": "POD_NAME", "host": "HOSTNAME", "node": "NODE_NAME"},
    ),
    Orchestrator(
        "github",
        "GITHUB_ACTIONS",
        {
            "server": "GITHUB_SERVER_URL",
            "repository": "GITHUB_REPOSITORY",
            "workflow": "GITHUB_WORKFLOW",
            "job": "GITHUB_JOB",
            "run_id": "GITHUB_RUN_ID",
            "run_number": "GITHUB_RUN_NUMBER",
            "run_attempt": "GITHUB_RUN_ATTEMPT",
            "ref": "GITHUB_REF",
            "commit": "GITHUB_SHA",
        },
    ),
    Orchestrator(
        "gitlab",
        "GITLAB_CI",
        {
            "server": "CI_SERVER_HOST",
            "project": "CI_PROJECT_PATH",
            "pipeline_id": "CI_PIPELINE_ID",
            "job_id": "CI_JOB_ID",
            "job": "CI_JOB_NAME",
            "ref": "CI_COMMIT_REF_NAME",
            "commit": "CI_COMMIT_SHA",
        },
    ),
    Orchestrator(
        "slurm",
        "SLURM_JOB_ID",
        {
            "cluster": "SLURM_CLUSTER_NAME",
            "job_id": "SLURM_JOB_ID",
            "job": "SLURM_JOB_NAME",
            "array_job_id": "SLURM_ARRAY_JOB_ID",
            "array_task_id": "SLURM_ARRAY_TASK_ID",
            "step_id": "SLURM_STEP_ID",
            "partition": "SLURM_JOB_PARTITION",
            "nodes": "SLURM_JOB_NODELIST",
        },
    ),
)
"""The only variables of the environment that are read: ids, no addresses with credentials, no persons."""


_Say = Callable[..., dict[str, Any]]


def _unfailing(say: _Say) -> _Say:
    """Return `say` so that a failure leaves its answer empty: a training process must not die of being described."""

    @wraps(say)
    def said(*arguments: Any, **named: Any) -> dict[str, Any]:
        try:
            return say(*arguments, **named)
        except Exception:
            return {}

    return said


def everything() -> dict[str, Any]:
    """Return all that this process says of itself, without the parts that are empty."""
    parts = {
        "code": code(),
        "command": command(),
        "environment": environment(),
        "orchestrator": orchestrator(),
        "host": host(),
    }
    return {name: part for name, part in parts.items() if part}


@_unfailing
def code(path: str | os.PathLike[str] | None = None, *, timeout: float = 2.0) -> dict[str, Any]:
    """Return which version of which code runs: commit, branch, dirty, repository, script.

    `path` is a file of the code, by default that of the DAG in a task of Airflow, elsewhere the script that was
    started, or the working directory where that is an installed launcher. `dirty` says that the commit alone is not
    what ran: a tracked file differs from it, or the script is not tracked. `timeout` bounds all of git's work in
    seconds; what is not answered by then is left out, and without git, or outside of a repository, the answer is
    empty.
    """
    script = Path(path).resolve() if path is not None else _script()
    git = _Git(script.parent if script else Path.cwd(), monotonic() + timeout)
    top = git("rev-parse", "--show-toplevel")
    if not top:
        return {}
    changes = git("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=none")
    tracked = git("ls-files", "--", script.name) if script else "no script"
    said = {
        "commit": git("rev-parse", "--verify", "--quiet", "HEAD"),
        "branch": git("symbolic-ref", "--quiet", "--short", "HEAD"),
        "dirty": None if changes is None or tracked is None else bool(changes) or not tracked,
        "repository": _repository(git("config", "--get-regexp", r"^remote\..*\.url$") or ""),
        "script": script.relative_to(Path(top).resolve()).as_posix() if script else None,
    }
    return {
        name: _text(value) if isinstance(value, str) else value for name, value in said.items() if value is not None
    }


@_unfailing
def command() -> dict[str, Any]:
    """Return the `arguments` that the process was started with, what looks like a secret in them as `***`."""
    arguments = sys.orig_argv[:MAX_ARGUMENTS]
    after = ["", *arguments]
    hidden = [
        "***" if _SECRET_OPTION.fullmatch(option) else without_secrets(argument)
        for option, argument in zip(after, arguments, strict=False)
    ]
    return {"arguments": [_text(argument) for argument in hidden]}


@_unfailing
def environment() -> dict[str, Any]:
    """Return Python, platform, number of CPUs, and `packages`: the version of every distribution in use.

    In use is a distribution that provides a top-level module that is imported. Several may provide the same one
    (`google`, `airflow`); then all of them count.
    """
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": _text(platform.platform()),
        "cpus": os.cpu_count(),
        "packages": dict(sorted(_packages())[:MAX_PACKAGES]),
    }


@_unfailing
def orchestrator() -> dict[str, Any]:
    """Return the ids that the systems which run this process gave it, by system. See ORCHESTRATORS."""
    found = {
        system.name: {
            name: _text(os.environ[variable]) for name, variable in system.ids.items() if os.environ.get(variable)
        }
        for system in ORCHESTRATORS
        if os.environ.get(system.sign)
    }
    if "airflow" in found:
        found["airflow"] |= {name: text for name, text in _airflow_task().items() if name == "map_index"}
    return found


@_unfailing
def _airflow_task() -> dict[str, str]:
    """Return what Airflow puts in no variable of the task that runs in this process: its map index, its DAG's file."""
    context = sys.modules["airflow.sdk"].get_current_context()
    return {"map_index": str(context["ti"].map_index), "file": str(context["dag"].fileloc)}


@_unfailing
def host() -> dict[str, Any]:
    """Return the name of the machine, and its memory in bytes where the system tells it."""
    known: dict[str, Any] = {"name": _text(socket.gethostname())}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        known["memory"] = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return known


# --- code ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Git:
    """Asks git about a folder, until a deadline."""

    folder: Path
    deadline: float

    def __call__(self, *arguments: str) -> str | None:
        """Return what git answers; None where it refuses or is too slow."""
        # A repository's configuration may name programs; and git must neither ask for a password nor write its index.
        command = ["git", "-c", "core.fsmonitor=false", *arguments]
        quiet = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
        try:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env=quiet,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=max(0.0, self.deadline - monotonic()),
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None
        return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None


def _script() -> Path | None:
    """Return the file of the DAG whose task runs here, or else the one that was started; no installed launcher."""
    started = _airflow_task().get("file") or getattr(sys.modules.get("__main__"), "__file__", None)
    if started is None or not str(started).endswith(".py"):
        return None
    script = Path(started).resolve()
    installed = any(script.is_relative_to(Path(prefix).resolve()) for prefix in (sys.prefix, sys.base_prefix))
    return None if installed else script


def _repository(remotes: str) -> str | None:
    """Return the address of the remote `origin`, or else of the first one, from lines of git's configuration."""
    addresses = dict(line.split(" ", 1) for line in remotes.splitlines() if " " in line)
    address = addresses.get("remote.origin.url") or next(iter(addresses.values()), None)
    return without_credentials(address) if address else None


def without_credentials(address: str) -> str | None:
    """Return the address of a repository without user, password, query and fragment; None if it makes no sense."""
    if "://" not in address:
        return address.rpartition("@")[2]
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def without_secrets(text: str) -> str:
    """Return text without the credentials of URLs and the values of what is called a password, token, secret or key.

    It finds what is written as people usually write it, and no more: a secret with no name beside it stays.
    """
    return _SECRET_VALUE.sub(r"\1***", _CREDENTIALS.sub(r"\1***@", text))


# Of the tokens in machine learning most are pieces of text: tokenizer, max_tokens, pad_token.
_SECRET_NAME = (
    r"(?:passw(?:or)?d|passphrase|secrets?|credentials?|authorization|(?:api|access|private|secret)[_-]?key"
    r"|(?<!(?:bos|cls|eos|pad|sep|unk)[_-])(?<!mask[_-])token)"
)
_SECRET_OPTION = re.compile(rf"--?[\w-]*{_SECRET_NAME}", re.IGNORECASE)
_SECRET_VALUE = re.compile(
    rf"""({_SECRET_NAME}["']?\s{{0,9}}[=:]\s{{0,9}}(?:(?:bearer|basic)\s)?)("[^"\n]*"|'[^'\n]*'|[^\s,;&"')}}\]]+)""",
    re.IGNORECASE,
)
_CREDENTIALS = re.compile(r"\b([a-z][a-z0-9+.-]{0,19}://)[^\s/@\"']+@", re.IGNORECASE)


# --- packages --------------------------------------------------------------------------------------------


def _packages() -> set[tuple[str, str]]:
    """Return name and version of the distributions whose modules are loaded."""
    provided = _distributions(tuple(sys.path))
    loaded = {name.partition(".")[0] for name in list(sys.modules)} - sys.stdlib_module_names
    return {distribution for name in loaded for distribution in provided.get(name, ())}


@cache
def _distributions(path: tuple[str, ...]) -> Mapping[str, set[tuple[str, str]]]:
    """Return top-level module -> the distributions on `path` that provide it.

    importlib.metadata.packages_distributions() says the same, and takes ten times as long.
    """
    provided: dict[str, set[tuple[str, str]]] = defaultdict(set)
    first: dict[str, tuple[str, str]] = {}
    for folder in _metadata_folders(path):
        name, _, version = folder.name.removesuffix(".dist-info").partition("-")
        distribution = (_text(name.lower().replace("_", "-")), _text(version))
        if first.setdefault(name.lower(), distribution) is distribution:
            for module in _modules(folder) | {name.lower()}:
                provided[module].add(distribution)
    return MappingProxyType(provided)


def _metadata_folders(path: tuple[str, ...]) -> Iterator[Path]:
    for entry in path:
        try:
            names = os.listdir(entry or ".")
        except OSError:
            continue
        yield from (Path(entry, name) for name in names if name.endswith(".dist-info"))


def _modules(folder: Path) -> set[str]:
    """Return the top-level modules of a distribution, as its metadata has them."""
    for name, modules in (("top_level.txt", str.split), ("RECORD", _recorded)):
        try:
            return set(modules((folder / name).read_text(encoding="utf-8", errors="replace")))
        except OSError:
            continue
    return set()


def _recorded(record: str) -> Iterator[str]:
    for line in record.splitlines():
        top = line.partition(",")[0].partition("/")[0]
        if not top.endswith((".dist-info", ".pth")):
            yield top.partition(".")[0]


def _text(value: str) -> str:
    """Return text that every database can store: an environment may hold bytes that are no UTF-8."""
    return value.encode(errors="replace").decode()[:MAX_TEXT]
