"""What a process says of itself: code, environment, orchestrator, host."""

import json
import os
import subprocess
import sys
import time
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import pytest

from arangopipe_ops import capture
from arangopipe_ops.model import canonical

SECRETIVE = "https://someone:s3cret@example.org/team/model.git?token=s3cret#s3cret"
NOBODY = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, env={**os.environ, **NOBODY}, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit of one script."""
    folder = tmp_path / "repo"
    (folder / "jobs").mkdir(parents=True)
    (folder / "jobs" / "train.py").write_text(
        "from arangopipe_ops import capture; import json\nprint(json.dumps(capture.code()))"
    )
    git(folder.parent, "init", "--quiet", "--initial-branch=trunk", str(folder))
    git(folder, "remote", "add", "origin", SECRETIVE)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "one")
    return folder


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without any orchestrator."""
    for system in capture.ORCHESTRATORS:
        for variable in {system.sign, *system.ids.values()}:
            monkeypatch.delenv(variable, raising=False)
    return monkeypatch


def test_the_code_is_named_by_its_commit(repository: Path) -> None:
    """Commit, branch, repository and script are those of the file's repository, and a clean one is not dirty."""
    assert capture.code(repository / "jobs" / "train.py") == {
        "commit": git(repository, "rev-parse", "HEAD").strip(),
        "branch": "trunk",
        "dirty": False,
        "repository": "https://example.org/team/model.git",
        "script": "jobs/train.py",
    }


def test_a_script_describes_itself(repository: Path) -> None:
    """Without an argument it is the started script that is described, whatever the working directory is."""
    script = repository / "jobs" / "train.py"
    done = subprocess.run([sys.executable, script], cwd="/", capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == capture.code(script)


def test_a_launcher_is_not_the_code(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started through an installed command (here: pytest), a process describes its working directory."""
    monkeypatch.chdir(repository)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", f"{sys.prefix}/bin/airflow", raising=False)
    found = capture.code()
    assert found["branch"] == "trunk"
    assert "script" not in found


def test_a_changed_file_makes_it_dirty(repository: Path) -> None:
    """A tracked file that differs from the commit is told."""
    (repository / "jobs" / "train.py").write_text("changed")
    assert capture.code(repository / "jobs" / "train.py")["dirty"] is True


def test_an_untracked_script_makes_it_dirty(repository: Path) -> None:
    """A script that the commit does not hold is not what the commit says, though git calls the tree clean."""
    (repository / "new.py").write_text("")
    assert capture.code(repository / "new.py")["dirty"] is True
    assert capture.code(repository / "jobs" / "train.py")["dirty"] is False


def test_a_detached_head_has_no_branch(repository: Path) -> None:
    """A commit that was checked out by its id has no branch."""
    git(repository, "checkout", "--quiet", "--detach")
    assert "branch" not in capture.code(repository / "jobs" / "train.py")


def test_a_repository_without_commits_has_no_commit(tmp_path: Path) -> None:
    """A new repository is described as far as it goes."""
    git(tmp_path, "init", "--quiet", "--initial-branch=trunk")
    assert capture.code(tmp_path / "train.py") == {"branch": "trunk", "dirty": True, "script": "train.py"}


def test_without_a_repository_there_is_nothing_to_say(tmp_path: Path) -> None:
    """Outside of a repository the answer is empty."""
    assert capture.code(tmp_path / "train.py") == {}


def test_without_git_there_is_nothing_to_say(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no git the answer is empty, and nothing is raised."""
    monkeypatch.setenv("PATH", "")
    assert capture.code(repository / "jobs" / "train.py") == {}


def test_a_folder_that_is_gone_is_not_fatal(tmp_path: Path) -> None:
    """A process whose folder was deleted goes on."""
    assert capture.code(tmp_path / "gone" / "train.py") == {}


def test_a_slow_git_is_not_waited_for(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A git that hangs costs no more than the timeout."""
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}{os.pathsep}{os.environ['PATH']}")
    start = time.monotonic()
    assert capture.code(repository / "jobs" / "train.py", timeout=0.1) == {}
    assert time.monotonic() - start < 3


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        (SECRETIVE, "https://example.org/team/model.git"),
        ("https://s3cret@example.org/model", "https://example.org/model"),
        ("https://a:s3c@ret@example.org:8443/model", "https://example.org:8443/model"),
        ("ssh://git:s3cret@example.org/model", "ssh://example.org/model"),
        ("git@example.org:team/model.git", "example.org:team/model.git"),
        ("x-token:s3cret@example.org:team/model.git", "example.org:team/model.git"),
        ("https://[s3cret@example.org/model", None),
        ("/srv/git/model.git", "/srv/git/model.git"),
    ],
)
def test_an_address_loses_its_credentials(address: str, plain: str | None) -> None:
    """No user, password or token of a remote's address is told."""
    assert capture.without_credentials(address) == plain


def test_the_environment_names_what_is_in_use() -> None:
    """Packages have the name and version that they are installed by, also where the module is called otherwise."""
    program = "import json, sortedcontainers, yaml, arangopipe_ops.capture as c; print(json.dumps(c.environment()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["packages"]["pyyaml"] == version("pyyaml")
    assert found["packages"]["sortedcontainers"] == version("sortedcontainers")
    assert "apache-airflow-core" not in found["packages"]
    assert found["python"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}.")
    assert found["cpus"] == os.cpu_count()


def test_the_map_of_packages_agrees_with_the_standard_library() -> None:
    """What the metadata folders say is what importlib.metadata says, for every module that it knows."""
    provided = capture._distributions(tuple(sys.path))
    for module, names in packages_distributions().items():
        if module.isidentifier():
            ours = {name for name, _ in provided[module]}
            assert {name.lower().replace("_", "-").replace(".", "-") for name in names} <= ours, module


RUNNING: list[tuple[dict[str, str], dict[str, Any]]] = [
    (
        {"AIRFLOW_CTX_DAG_ID": "d", "AIRFLOW_CTX_TASK_ID": "t", "AIRFLOW_CTX_DAG_EMAIL": "p@x"},
        {"airflow": {"dag_id": "d", "task_id": "t"}},
    ),
    (
        {"KFP_POD_NAME": "p", "ARGO_NODE_ID": "n", "ARGO_TEMPLATE": "{s3cret}", "KUBERNETES_SERVICE_HOST": "10.0.0.1"},
        {"kfp": {"pod": "p"}, "argo": {"node": "n"}, "kubernetes": {}},
    ),
    ({"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "7", "GITHUB_TOKEN": "s3cret"}, {"github": {"run_id": "7"}}),
    ({"GITLAB_CI": "true", "CI_JOB_ID": "8", "CI_JOB_TOKEN": "s3cret"}, {"gitlab": {"job_id": "8"}}),
    ({"SLURM_JOB_ID": "9", "SLURM_ARRAY_TASK_ID": ""}, {"slurm": {"job_id": "9"}}),
    ({"CI_JOB_ID": "8", "POD_NAME": "p"}, {}),
]


@pytest.mark.parametrize(("variables", "said"), RUNNING)
def test_the_orchestrators_ids_are_told(
    bare: pytest.MonkeyPatch, variables: dict[str, str], said: dict[str, Any]
) -> None:
    """Each system is known by its sign, and only the ids of the table are read: no token, address or template."""
    bare.delenv("HOSTNAME", raising=False)
    for name, value in variables.items():
        bare.setenv(name, value)
    assert capture.orchestrator() == said


def test_the_command_is_told_without_its_secrets() -> None:
    """What the process was started with, word by word; what an option or a URL says is secret is not in it."""
    program = "import json, arangopipe_ops.capture as c; print(json.dumps(c.command()['arguments']))"
    arguments = [
        "--lr",
        "0.1",
        "--db-password",
        "s3cret",
        "--token=s3cret",
        "http://a:s3cret@host/x",
        "--max-tokens",
        "9",
    ]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert told[1:] == [
        "-c",
        program,
        *("--lr", "0.1", "--db-password", "***", "--token=***", "http://***@host/x", "--max-tokens", "9"),
    ]


TEXTS = [
    ("password=s3cret", "password=***"),
    ("{'api_key': 's3cret', 'lr': 0.1}", "{'api_key': ***, 'lr': 0.1}"),
    ("Authorization: Bearer s3cret", "Authorization: Bearer ***"),
    ("DB_PASSWD = 's3cret and more'", "DB_PASSWD = ***"),
    ("https://ann:s3cret@host/x?access_token=s3cret&a=1", "https://***@host/x?access_token=***&a=1"),
    ("AWS_SECRET_ACCESS_KEY=s3cret x", "AWS_SECRET_ACCESS_KEY=*** x"),
    ("tokenizer=bert max_tokens=5 pad_token=<pad> key=5", "tokenizer=bert max_tokens=5 pad_token=<pad> key=5"),
    ("mail ann@host about s3://bucket/a@b", "mail ann@host about s3://bucket/a@b"),
]


@pytest.mark.parametrize(("text", "told"), TEXTS)
def test_what_is_named_a_secret_is_left_out(text: str, told: str) -> None:
    """Values of what is called a password, token or key go, and the words of machine learning stay."""
    assert capture.without_secrets(text) == told


@pytest.mark.parametrize(
    "text", ["token" * 20_000, "a.b" * 30_000, "a://" * 25_000, "password=" * 10_000, "-" * 99_999]
)
def test_looking_for_secrets_takes_no_time(text: str) -> None:
    """The time grows with the text and not with its square."""
    start = time.process_time()
    capture.without_secrets(text)
    assert time.process_time() - start < 1


@pytest.mark.parametrize("word", ["TOKEN", "SECRET", "PASSWORD", "KEY", "EMAIL", "USER", "ACTOR"])
def test_no_variable_of_the_table_is_a_secret(word: str) -> None:
    """The table names no variable that holds a credential or a person."""
    variables = {variable for system in capture.ORCHESTRATORS for variable in system.ids.values()}
    assert not {variable for variable in variables if word in variable}


def test_what_is_told_is_small_and_can_be_stored(bare: pytest.MonkeyPatch, repository: Path) -> None:
    """Overlong and undecodable variables are told in a form that every database takes."""
    bare.setenv("SLURM_JOB_ID", "x" * 100_000)
    os.environb[b"SLURM_JOB_NAME"] = b"caf\xe9"
    bare.chdir(repository)
    told = capture.everything()
    assert canonical(told) == told
    assert len(json.dumps(told)) < 50_000
    assert told["orchestrator"]["slurm"]["job"] == "caf?"


def test_it_takes_no_time(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the packages are mapped, all of it takes less than 50 ms, or what ten starts of git take here."""
    monkeypatch.chdir(repository)
    capture.everything()

    def fastest(call: Any) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        return min(times)

    assert fastest(capture.everything) < max(0.05, 10 * fastest(lambda: git(repository, "rev-parse", "HEAD")))
