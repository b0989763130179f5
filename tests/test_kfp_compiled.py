"""What is compiled: the published catalogue in kfp_components/, and catalogues with settings of one's own."""

import ast
import inspect
import json
import os
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import kfp
import pytest
import yaml
from google.protobuf import json_format
from kfp import components as kfp_components
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec, PlatformSpec

from arangopipe_ops import stages
from arangopipe_ops.cli import main
from arangopipe_ops.errors import Misconfigured
from arangopipe_ops.kfp import catalogue, components
from arangopipe_ops.kfp.factory import Settings
from arangopipe_ops.kfp.factory import components as made_of
from arangopipe_ops.kfp.pipelines import pipelines

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PUBLISHED = ROOT / "kfp_components"
OWN = Settings(image="registry.example/ml:1", packages=(), secret_name=None)


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    """The catalogue as it is made now."""
    return catalogue.files(Settings())


@pytest.fixture(scope="module")
def specs(files: dict[str, str]) -> dict[str, list[Any]]:
    """The YAML documents of what is compiled, by path."""
    paths = [path for path in files if path.endswith(("component.yaml", "pipeline.yaml"))]
    return {path: documents(files[path]) for path in paths}


def documents(text: str) -> list[Any]:
    return list(yaml.load_all(text, Loader=yaml.CSafeLoader))


def test_the_published_catalogue_is_that_of_the_code(files: dict[str, str]) -> None:
    """After a change of the components, `make kfp` has to be run."""
    if json.loads((PUBLISHED / catalogue.MANIFEST).read_text())["kfp"] != kfp.__version__:
        pytest.skip("the catalogue is compiled with another version of kfp")
    stored = {str(path.relative_to(PUBLISHED)): path.read_text() for path in PUBLISHED.rglob("*") if path.is_file()}
    assert stored == files, "run `make kfp`"


def test_the_manifest_has_the_checksum_of_every_file() -> None:
    """Who takes a file from the catalogue can check it."""
    checksums = json.loads((PUBLISHED / catalogue.MANIFEST).read_text())["sha256"]
    stored = {str(path.relative_to(PUBLISHED)) for path in PUBLISHED.rglob("*") if path.is_file()}
    assert stored == {*checksums, catalogue.MANIFEST}
    assert all(sha256((PUBLISHED / path).read_bytes()).hexdigest() == sum_ for path, sum_ in checksums.items())


def test_what_is_compiled_is_strict_pipeline_spec(specs: dict[str, list[Any]]) -> None:
    """Every document parses with no unknown field."""
    for spec, *others in specs.values():
        json_format.ParseDict(spec, PipelineSpec())
        for platforms in others:
            json_format.ParseDict(platforms, PlatformSpec())


@pytest.mark.slow
def test_compiled_components_make_the_round_trip(files: dict[str, str], specs: dict[str, list[Any]]) -> None:
    """Loading a compiled component or pipeline and compiling it again gives the same."""
    for path, spec in specs.items():
        again = catalogue.compiled(kfp_components.load_component_from_text(files[path]))
        assert documents(again) == spec, path


def test_nothing_of_this_machine_is_compiled(files: dict[str, str]) -> None:
    """No path, no index address, no host and no secret stands in the published files."""
    text = "\n".join(files.values())
    for private in (str(ROOT), str(Path.home()), os.uname().nodename, "--index-url", "--trusted-host"):
        assert not re.search(rf"(?<!\w){re.escape(private)}(?!\w)", text), private
    assert not re.search(r"/(tmp|work|home|usr|var)/", text)
    assert not re.search(r"https?://(?!archive\.ics\.uci\.edu)", text)


def test_no_secret_of_the_environment_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What tells components the database at run time is not read when they are compiled."""
    secrets = {"URL": "https://db.example/ml", "USER": "me-myself", "PASSWORD": "hunter2"}
    for name, secret in secrets.items():
        monkeypatch.setenv(f"ARANGOPIPE_{name}", secret)
    text = "\n".join(catalogue.files(Settings.from_environment()).values())
    assert not [secret for secret in secrets.values() if secret in text]


def test_no_component_takes_a_secret(specs: dict[str, list[Any]]) -> None:
    """KFP logs every parameter, so none may be the database's address or password."""
    for path, [spec, *_] in specs.items():
        names = spec["root"].get("inputDefinitions", {}).get("parameters", {}).keys()
        assert not [name for name in names if re.search("password|secret|token|url|conn", name)], path


def test_every_input_and_output_is_described(specs: dict[str, list[Any]]) -> None:
    """The backend's pages show what each is for."""
    for path, [spec, *_] in specs.items():
        for side in ("inputDefinitions", "outputDefinitions"):
            for group in spec["root"].get(side, {}).values():
                assert [name for name, each in group.items() if not each.get("description")] == [], path


def test_readmes_and_metadata_are_complete(files: dict[str, str], specs: dict[str, list[Any]]) -> None:
    """Each folder has the file, its metadata in the layout of kubeflow/pipelines-components, and a README."""
    for path in specs:
        folder = path.rpartition("/")[0]
        metadata = yaml.safe_load(files[f"{folder}/metadata.yaml"])
        assert metadata["name"] == folder.rpartition("/")[2]
        assert {"name": "Pipelines", "version": ">=2.16.1"} in metadata["dependencies"]["kubeflow"]
        assert f"]({folder})" in files["README.md"]
        inputs = specs[path][0]["root"].get("inputDefinitions", {})
        for name in [name for group in inputs.values() for name in group]:
            assert f"| `{name}` |" in files[f"{folder}/README.md"], (path, name)


@pytest.mark.slow
def test_hash_seeds_do_not_show() -> None:
    """The same settings give the same bytes in every process."""
    program = "import json, sys; from arangopipe_ops.kfp import catalogue, factory;"
    program += "sys.stdout.write(json.dumps(catalogue.files(factory.Settings())))"
    made = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242")
    ]
    assert made[0] == made[1] == made[2]


def test_the_command_line_writes_what_the_library_makes(tmp_path: Path) -> None:
    """`arangopipe kfp compile` and `catalogue.files` give the same bytes."""
    options = ["--image", OWN.image, "--secret-name", ""]
    assert main(["kfp", "compile", str(tmp_path / "own"), *options]) == 0
    written = {
        str(p.relative_to(tmp_path / "own")): p.read_text() for p in (tmp_path / "own").rglob("*") if p.is_file()
    }
    assert written == catalogue.files(OWN)


@pytest.mark.slow
def test_the_command_line_of_kfp_compiles_the_same(tmp_path: Path) -> None:
    """`kfp dsl compile` of a file that imports a pipeline gives the bytes that the library makes."""
    source = tmp_path / "pipeline.py"
    source.write_text(
        "from arangopipe_ops.kfp.factory import Settings\nfrom arangopipe_ops.kfp.pipelines import pipelines\n"
        "train = pipelines(Settings())['train_and_record']\n"
    )
    command = [
        str(Path(sys.executable).with_name("kfp")),
        "dsl",
        "compile",
        "--py",
        str(source),
        "--output",
        str(tmp_path / "p.yaml"),
    ]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (tmp_path / "p.yaml").read_text() == (PUBLISHED / "pipelines/train_and_record/pipeline.yaml").read_text()


@pytest.mark.slow
def test_writing_again_removes_what_is_gone(tmp_path: Path) -> None:
    """A folder with an earlier catalogue ends as a new one does; one with anything else is refused."""
    catalogue.write(tmp_path / "c", OWN)
    gone = tmp_path / "c/components/register_project/README.md"
    manifest = json.loads((tmp_path / "c" / catalogue.MANIFEST).read_text())
    manifest["sha256"]["components/old/component.yaml"] = "x"
    (tmp_path / "c" / catalogue.MANIFEST).write_text(json.dumps(manifest))
    (tmp_path / "c/components/old").mkdir()
    (tmp_path / "c/components/old/component.yaml").write_text("old")
    gone.unlink()
    catalogue.write(tmp_path / "c", OWN)
    assert gone.exists()
    assert not (tmp_path / "c/components/old/component.yaml").exists()
    (tmp_path / "d").mkdir()
    (tmp_path / "d/mine.txt").write_text("mine")
    with pytest.raises(Misconfigured, match="no catalogue"):
        catalogue.write(tmp_path / "d", OWN)


# --- settings --------------------------------------------------------------------------------------------


def container(settings: Settings) -> Any:
    """Return what the component register_project runs in."""
    [component] = made_of([components.FUNCTIONS[1]], settings).values()
    return component.component_spec.implementation.container


def test_settings_say_image_packages_and_index() -> None:
    """Each of them stands in the compiled component, and no host is trusted unless it is named."""
    settings = Settings(image="python:3.11", packages=("mine==1",), index_urls=("https://index.example/simple",))
    made = container(settings)
    assert made.image == "python:3.11"
    assert "--index-url https://index.example/simple" in made.command[2]
    assert "'mine==1'" in made.command[2]
    assert "--trusted-host" not in made.command[2]


@pytest.mark.parametrize("given", [{"index_urls": ("https://me:hunter2@i/s",)}, {"packages": ("a @ https://tok@g/a",)}])
def test_addresses_with_a_password_are_not_compiled(given: dict[str, tuple[str, ...]]) -> None:
    """They are refused, and the error does not repeat the password."""
    with pytest.raises(Misconfigured, match=r"pip\.conf") as refused:
        Settings(**given)
    assert "hunter2" not in str(refused.value)
    assert "tok" not in str(refused.value)


def test_an_image_that_has_everything_installs_nothing() -> None:
    """Without packages there is no pip, and kfp is not installed either."""
    assert "pip install" not in str(container(OWN).command)


def test_the_environment_says_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image of one's own has everything, unless packages are named too."""
    monkeypatch.setenv("ARANGOPIPE_KFP_IMAGE", "mine:1")
    assert Settings.from_environment() == Settings(image="mine:1", packages=())
    monkeypatch.setenv("ARANGOPIPE_KFP_PACKAGES", "a b==1")
    monkeypatch.setenv("ARANGOPIPE_KFP_INDEX_URLS", "https://one https://two")
    monkeypatch.setenv("ARANGOPIPE_KFP_TRUSTED_HOSTS", "one")
    monkeypatch.setenv("ARANGOPIPE_KFP_SECRET_NAME", "graph")
    assert Settings.from_environment() == Settings(
        image="mine:1",
        packages=("a", "b==1"),
        index_urls=("https://one", "https://two"),
        trusted_hosts=("one",),
        secret_name="graph",
    )


# --- what components and pipelines are made of ------------------------------------------------------------


def test_bodies_are_two_lines() -> None:
    """A component imports the runtime and hands over its parameters: all else is tested without kfp."""
    for function in components.FUNCTIONS:
        [definition] = ast.parse(inspect.getsource(function)).body
        assert isinstance(definition, ast.FunctionDef)
        kinds = [type(each) for each in definition.body]
        assert kinds == [ast.Expr, ast.ImportFrom, ast.Return], function.__name__


def test_components_know_the_arguments_of_the_stages() -> None:
    """Whatever a stage takes, its component by reference takes, under the same name or as an artifact."""
    pairs = {
        "register_project": "project",
        "register_dataset_by_reference": "dataset",
        "register_featureset_by_reference": "featureset",
        "register_model": "model",
        "log_run_by_reference": "run",
        "register_deployment_by_reference": "deployment",
        "log_serving_performance_by_reference": "serving-perf",
    }
    functions = {function.__name__: function for function in components.FUNCTIONS}
    for name, stage in pairs.items():
        wanted = {parameter.name for parameter in stages.arguments_of(stages.STAGES[stage])}
        assert wanted <= inspect.signature(functions[name]).parameters.keys(), name


def test_every_task_that_writes_is_tracked() -> None:
    """In the pipelines no writer is taken from the cache, each is tried again, has the secret and knows its name."""
    for name, pipeline in pipelines(Settings()).items():
        spec, platform = documents(catalogue.compiled(pipeline))
        dags = [spec["root"]["dag"], *(c["dag"] for c in spec["components"].values() if "dag" in c)]
        tasks = {task: given for dag in dags for task, given in dag["tasks"].items()}
        executors = spec["deploymentSpec"]["executors"]
        secrets = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        for task, given in tasks.items():
            component = spec["components"][given["componentRef"]["name"]]
            if "executorLabel" in component:
                assert not given["cachingOptions"].get("enableCache"), (name, task)
                assert given["retryPolicy"]["maxRetryCount"] == 3
                environment = {e["name"]: e["value"] for e in executors[component["executorLabel"]]["container"]["env"]}
                assert environment["ARANGOPIPE_KFP_TASK"] == task
                assert secrets[component["executorLabel"]]["secretAsEnv"][0]["secretName"] == "arangopipe"


def test_components_have_the_environments_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is imported by name is ready to use, and what there is not is named."""
    assert components.log_run.component_spec.name == "log-run"
    with pytest.raises(AttributeError, match="no component 'log_nothing'"):
        _ = components.log_nothing


def test_every_feature_is_backed_by_a_test() -> None:
    """The tests that the feature table names exist."""
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/kfp/features.md").read_text()))
    tests = "".join(path.read_text() for path in (ROOT / "tests").glob("test_kfp_*.py"))
    assert len(named) > 15
    assert [name for name in sorted(named) if f"def {name}(" not in tests] == []
