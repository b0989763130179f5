"""The command line: every command, and what it prints."""

import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from socket_server import serving
from test_connection import free_port, url_of

from arangopipe_ops import cli
from arangopipe_ops.admin import kept_for
from arangopipe_ops.cli import asking, compiling, writing
from arangopipe_ops.connection import connect
from arangopipe_ops.errors import Unavailable
from arangopipe_ops.stages import log_run, register_project
from arangopipe_ops.store import Store


@pytest.fixture
def run(url: str, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command on the test's database; return exit code, output and error output."""

    def run(*arguments: str, url: str = url, timeout: str = "60") -> tuple[int, str, str]:
        code = cli.main(["--url", url, "--timeout", timeout, *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def fill(url: str) -> None:
    """Register a small flow through commands."""
    for arguments in FLOW:
        assert cli.main(["--url", url, *arguments]) == 0, arguments


@pytest.fixture
def registered(run: Any, filled_by: Any, capsys: pytest.CaptureFixture[str]) -> Any:
    """The same, after a small flow was registered through it."""
    filled_by(fill)
    assert capsys.readouterr().err == ""
    return run


FLOW = [
    ("provision",),
    ("register", "project", "--name", "wine"),
    ("register", "dataset", "--name", "data", "--uri", "s3://x", "--set", "rows=178"),
    ("register", "featureset", "--name", "all", "--dataset", "data", "--features", '["a", "b"]'),
    ("register", "model", "--name", "forest", "--project", "wine", "--task", "classification"),
    ("log-run", "--run-id", "r1", "--model", "forest", "--dataset", '["data"]', "--params", '{"depth": 3}'),
    ("deploy", "--tag", "d1", "--project", "wine", "--model", "forest", "--run", "r1"),
    ("log-serving", "--deployment", "d1", "--metrics", '{"f1": 0.5}', "--period-start", "2026-01-01",
     "--period-end", "2026-01-02"),
]  # fmt: skip


def test_registering_answers_a_reference(run: Any) -> None:
    """A stage is written by one command, which prints the reference."""
    run("provision")
    code, out, _ = run("register", "dataset", "--name", "[draft] 1", "--set", "rows=178")
    ref = json.loads(out)
    assert (code, ref["kind"], ref["name"], ref["created"]) == (0, "Dataset", "[draft] 1", True)
    _, out, _ = run("show", ref["_id"])
    assert json.loads(out)["rows"] == 178


def test_every_stage_has_a_command(registered: Any) -> None:
    """The seven stages can be written from the shell, and their lineage read."""
    code, out, _ = registered("lineage", "d1", "--kind", "Deployment")
    assert code == 0
    assert out.startswith("Deployment d1")
    for kind in ("Project", "Dataset", "Model", "Run", "ModelParams", "ServingPerf"):
        assert kind in out


@pytest.mark.parametrize("format", ["json", "dot", "mermaid", "svg"])
def test_lineage_in_every_format(registered: Any, format: str, tmp_path: Path) -> None:
    """Lineage can be written to a file in every format."""
    target = tmp_path / "lineage"
    code, out, _ = registered("lineage", "d1", "--kind", "Deployment", "--format", format, "-o", str(target))
    assert (code, out) == (0, "")
    assert b"d1" in target.read_bytes()


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("rows=178", True),
        ("rows>=178", True),
        ("rows<178", False),
        ("rows!=178", False),
        ("uri^=s3:", True),
        ("uri^=gs:", False),
        ("uri~=X", True),
        ("tags@=gold", False),
        ("uri", True),
        ("owner", False),
        ("uri=s3://x", True),
    ],
)
def test_search_by_condition(registered: Any, condition: str, found: bool) -> None:
    """A condition on the command line means what its sign says."""
    code, out, err = registered("search", "Dataset", "-w", condition)
    assert (code, "data" in out, err) == (0, found, f"{int(found)} of {int(found)}\n")


def test_search_page_by_page(registered: Any) -> None:
    """A cursor on standard error leads to the next page; programs get it in JSON."""
    _, out, _ = registered("search", "--limit", "5", "--json")
    page = json.loads(out)
    assert (len(page["nodes"]), page["total"]) == (5, 8)
    _, out, err = registered("search", "--limit", "5", "--cursor", page["cursor"])
    assert "3 of 8" in err
    assert "Project" in out


def test_search_by_the_beginning_of_a_name(registered: Any) -> None:
    """A name is found in every kind by how it begins; facts of runs and deployments can be left out."""
    assert "forest" in registered("search", "--name", "for")[1]
    assert registered("search", "--name", "orest")[2] == "0 of 0\n"
    assert registered("search", "--no-facts")[2] == "6 of 6\n"


def test_a_search_in_time_and_order(registered: Any) -> None:
    """The newest come first, or last; what is archived only if asked for; times of registration bound it."""
    registered("register", "dataset", "--name", "more")
    registered("archive", "data", "--kind", "Dataset")

    def names(*options: str) -> list[str]:
        return [node["name"] for node in json.loads(registered("search", "Dataset", "--json", *options)[1])["nodes"]]

    assert names() == ["more"]
    assert names("--archived") == ["more", "data"]
    assert names("--archived", "--ascending") == ["data", "more"]
    assert names("--until", "2020-01-01") == names("--since", "2999-01-01") == []
    assert names("--since", "2020-01-01", "--until", "2999-01-01") == ["more"]


def test_a_part_of_a_lineage(registered: Any) -> None:
    """Direction, depth, kinds and fan of a lineage are those that are asked for."""

    def kinds(*options: str) -> list[str]:
        found = json.loads(registered("lineage", "r1", "--kind", "Run", "--json", *options)[1])
        return sorted({node["kind"] for node in found["nodes"]} - {"Run"})

    assert kinds("--direction", "upstream", "--depth", "1") == ["Dataset", "Model", "ModelParams"]
    assert kinds("--direction", "downstream", "--kinds", "Deployment", "Model") == ["Deployment"]
    assert "Project" in kinds("--direction", "upstream")
    registered("log-run", "--run-id", "r2", "--model", "forest")
    found = json.loads(registered("lineage", "forest", "--kind", "Model", "--fan", "1", "--json")[1])
    assert [(cut["edge"], cut["more"]) for cut in found["cut"]] == [("run_models", 1)]


def test_a_node_as_it_was(registered: Any) -> None:
    """`--as-of` shows what a node was at a time."""
    created = json.loads(registered("show", "data", "--kind", "Dataset")[1])["created"]
    registered("annotate", "data", "--kind", "Dataset", "owner=ann")
    assert "ann" in registered("show", "data", "--kind", "Dataset")[1]
    assert "ann" not in registered("show", "data", "--kind", "Dataset", "--as-of", created)[1]


def test_a_search_with_an_end(registered: Any) -> None:
    """Only so many of each kind are looked at; what leads to the others is said on standard error."""
    registered("register", "dataset", "--name", "more", "--set", "rows=178")
    _, out, err = registered("search", "Dataset", "-w", "rows=178", "--within", "1")
    found = re.fullmatch(r"1 of 1\nnot looked at: Dataset --until (\S+)\n", err)
    assert ("more" in out, " data " in out) == (True, False)
    assert found is not None
    assert " data " in registered("search", "Dataset", "-w", "rows=178", "--within", "1", "--until", found[1])[1]
    counted = registered("search", "Dataset", "--since", "2026-01-01", "--within", "1", "--limit", "1")[2]
    assert counted.startswith("1 of more than 1\nmore: --cursor")


def test_a_search_shows_what_matters(registered: Any) -> None:
    """One kind has its own columns, several kinds one that sums up; the `_id` to go on with stands last."""
    header, _, row = registered("search", "Model")[1].splitlines()
    assert header.split() == ["registered", "name", "version", "task", "technique", "framework", "_id"]
    assert "classification" in row
    assert "rows 178" in registered("search", "--text", "data")[1]
    assert registered("search", "Model", "--columns", "task")[1].split()[:5][-1] == "_id"


def test_counts(registered: Any) -> None:
    """Nodes and edges are counted by collection."""
    _, out, _ = registered("counts", "--json")
    assert json.loads(out)["datasets"] == 1


def test_a_node_is_changed_and_looked_back_at(registered: Any) -> None:
    """Annotations, archiving, promotion and history from the shell."""
    assert registered("annotate", "data", "--kind", "Dataset", "owner=ann", 'tags=["gold"]')[0] == 0
    _, out, _ = registered("history", "data", "--kind", "Dataset")
    assert "owner: None → ann" in out
    registered("annotate", "data", "--kind", "Dataset", "owner=")
    assert "owner" not in json.loads(registered("show", "data", "--kind", "Dataset")[1])
    registered("archive", "data", "--kind", "Dataset", "--reason", "old")
    assert registered("show", "data", "--kind", "Dataset")[0] == 3
    assert "0 of 0" in registered("search", "Dataset")[2]
    [node] = json.loads(registered("search", "Dataset", "--archived", "--json")[1])["nodes"]
    registered("restore", node["_id"])
    assert registered("show", "data", "--kind", "Dataset", "--as-of", node["created"])[0] == 0


def test_promotion(registered: Any) -> None:
    """A scheduled deployment is promoted over the active one, and a late decision is a conflict."""
    deploy = ("deploy", "--tag", "d2", "--project", "wine", "--model", "forest", "--status", "scheduled")
    registered(*deploy)
    _, out, _ = registered("promote", "d2", "--over", "d1", "--dry-run")
    assert "d2 is active, was scheduled, if it were not a dry run" in out
    _, out, _ = registered("promote", "d2", "--over", "d1")
    assert out == "d2 is active, was scheduled\nd1 is archived, was active\n"
    code, _, err = registered("promote", "d1", "--over", "d1")
    assert (code, "not the expected one" in err) == (4, True)
    assert registered("retire", "d2", "--dry-run")[1] == "d2 is archived, was active, if it were not a dry run\n"
    assert registered("retire", "d2")[1] == "d2 is archived, was active\n"


def test_deletion_asks_first(registered: Any) -> None:
    """Deleting shows what would go and needs a yes."""
    code, _, err = registered("delete", "r1", "--kind", "Run")
    assert (code, "--yes" in err) == (1, True)
    assert registered("show", "r1", "--kind", "Run")[0] == 0
    code, _, err = registered("delete", "r1", "--kind", "Run", "--yes")
    assert code == 0
    assert "modelparams/r1" in err
    assert registered("show", "r1", "--kind", "Run")[0] == 3


def test_impact_and_comparison(registered: Any) -> None:
    """What depends on a data set, and runs side by side, as tables and as JSON."""
    assert "d1" in registered("impact", "data", "--kind", "Dataset")[1]
    registered("log-run", "--run-id", "r2", "--model", "forest", "--params", '{"depth": 4}')
    _, out, _ = registered("compare", "r1", "r2", "--differing")
    assert "params.depth" in out
    assert json.loads(registered("compare", "r1", "r2", "--json")[1])["params"] == {"depth": [3, 4]}


def test_edges_and_nodes_of_any_kind(registered: Any) -> None:
    """A node of any kind, and an edge between stored ones, are registered by name."""
    assert registered("register", "node", "Dataset", "--set", "name=more")[0] == 0
    assert registered("register", "edge", "run_datasets", "r1", "more")[0] == 0
    assert "more" in registered("lineage", "r1", "--kind", "Run")[1]


def test_a_plan_before_provisioning(run: Any) -> None:
    """What provisioning would do is shown first, and afterwards there is nothing to do."""
    code, out, _ = run("provision", "--plan")
    assert (code, "edge definition" in out, "create" in out) == (0, True, True)
    run("provision")
    assert run("provision", "--plan")[1] == "nothing to do\n"


def test_doctor_finds_and_repair_cures(registered: Any, url: str) -> None:
    """A healthy database says so; a planted fault is an exit code, a line with its cure, and goes by repair."""
    assert registered("doctor")[::2] == (0, "healthy\n")
    edges = connect(url).collection("run_datasets")
    edges.insert({"_key": "x", "_from": "run/none", "_to": "datasets/none"})
    code, out, _ = registered("doctor")
    assert (code, "dangling-edges" in out, "run_datasets/x" in out) == (1, True, True)
    assert json.loads(registered("doctor", "--json")[1])[0]["name"] == "dangling-edges"
    assert registered("doctor", "--no-scan")[::2] == (0, "healthy\n")
    assert registered("repair", "dangling-edges")[1] == "run_datasets/x\n"
    assert registered("doctor")[0] == 0


def test_an_index_that_is_missing_is_named_with_its_cure(registered: Any, url: str) -> None:
    """Doctor names an index that provisioning would make, and the command that makes it, which does."""
    runs = connect(url).collection("run")
    indexes: Any = runs.indexes()
    runs.delete_index(next(index["id"] for index in indexes if index["fields"] == ["created", "_key"]))
    code, out, _ = registered("doctor", "--no-scan")
    found = re.search(r"missing-index: run \(created, _key\).*in a shell: arangopipe (.*)\.", out)
    assert code == 1
    assert found is not None
    assert registered(*found[1].split())[0] == 0
    assert registered("doctor")[2] == "healthy\n"


def test_types_of_ones_own(registered: Any) -> None:
    """A node and an edge type are added, used by the same commands as the others, and withdrawn."""
    node = {"kind": "Experiment", "collection": "experiments", "identity": ["name"]}
    edge = {"name": "experiment_runs", "source": "Experiment", "target": "Run", "upstream": "from"}
    code, out, _ = registered("extend", "--node", json.dumps(node), "--edge", json.dumps(edge))
    assert (code, json.loads(out)["nodes"][0]["kind"]) == (0, "Experiment")
    assert registered("register", "node", "Experiment", "--set", "name=first")[0] == 0
    assert registered("register", "edge", "experiment_runs", "first", "r1")[0] == 0
    assert "Experiment first" in registered("lineage", "r1", "--kind", "Run")[1]
    assert "first" in registered("search", "Experiment")[1]
    code, _, err = registered("withdraw", "--edge", "experiment_runs", "--node", "Experiment")
    assert (code, "documents" in err) == (4, True)
    assert registered("withdraw", "--edge", "experiment_runs", "--node", "Experiment", "--force")[1] == "withdrawn\n"


def test_ranking(registered: Any) -> None:
    """Metrics that runs are ranked by are added, shown and taken away."""
    assert registered("rank")[1] == "by no metric yet\n"
    assert registered("rank", "accuracy", "f1")[1] == "accuracy\nf1\n"
    assert registered("rank", "--off", "f1")[1] == "accuracy\n"
    assert "'a.b' is no metric" in registered("rank", "a.b")[2]


def test_retention(registered: Any, url: str) -> None:
    """Serving performance is kept for some days, or for ever; a dry run changes nothing."""
    assert json.loads(registered("retention", "30", "--dry-run", "--json")[1]) == {"days": 30, "over": 1}
    assert set(kept_for(connect(url)).values()) == {None}
    assert json.loads(registered("retention", "36500", "--json")[1])["days"] == 36500
    assert set(kept_for(connect(url)).values()) == {36500}
    assert registered("retention", "off")[1] == "serving performance is kept for ever\n"
    assert "is not a number of days" in registered("retention", "soon")[2]


def test_a_database_and_its_user(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An administrator creates a database with a user, whose password comes from the environment alone."""
    with serving(tmp_path / "served.db") as server:
        system = url_of(server.address)
        code, _, err = run("create-database", "ml", "--user", "ann", url=system)
        assert (code, "ARANGOPIPE_USER_PASSWORD" in err) == (1, True)
        monkeypatch.setenv("ARANGOPIPE_USER_PASSWORD", "ann's secret")
        code, out, err = run("create-database", "ml", "--user", "ann", "--role", "owner", url=system)
        assert (code, "created" in out, "secret" in out + err) == (0, True, False)
        assert "is there already" in run("create-database", "ml", "--user", "ann", "--role", "owner", url=system)[1]
        assert run("provision", url=url_of(server.address, name="ml"))[0] == 0


def demonstrate(url: str) -> None:
    with redirect_stdout(io.StringIO()) as out:
        code = cli.main(["--url", url, "demo-data", "--end", "2026-11-01"])
    assert (code, "created" in out.getvalue()) == (0, True)


@pytest.fixture
def demonstrated(run: Any, filled_by: Any, capsys: pytest.CaptureFixture[str]) -> Any:
    """The same, on demonstration data."""
    filled_by(demonstrate)
    capsys.readouterr()
    return run


@pytest.mark.slow
def test_every_question_is_a_command(demonstrated: Any) -> None:
    """The example of every question answers on the demonstration data, as a table and as JSON."""
    for command in asking.ASK:
        words = ["ask", command.name, *shlex.split(command.examples[0])]
        code, out, err = demonstrated(*words)
        assert (code, err) == (0, ""), command.name
        assert out.count("\n") > 1, command.name
        assert json.loads(demonstrated(*words, "--json")[1]) is not None


def test_tables_have_names_and_json_has_ids(demonstrated: Any) -> None:
    """The `_id`s of what an answer names take no room in a table; JSON has them."""
    words = ("ask", "live", "--at", "2999-01-01")
    said, told = demonstrated(*words)[1], json.loads(demonstrated(*words, "--json")[1])
    assert {row["model"] for row in told} <= set(re.split(r"\s{2,}", said.replace("\n", "  ")))
    assert "models/" not in said
    assert "deployment/" not in said
    assert all(row["model_id"].startswith("models/") for row in told)


def test_the_questions_of_the_readme(demonstrated: Any) -> None:
    """Every command that the README gives for a question answers it."""
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    commands = re.findall(r"\| `arangopipe ((?:ask|select) [^`]+)` \|", readme)
    assert len(commands) == 8
    for command in commands:
        code, out, err = demonstrated(*shlex.split(command))
        assert (code, err) == (0, ""), command
        assert out not in ("", "nothing\n"), command


def test_a_policy_selects_and_deploys(demonstrated: Any, tmp_path: Path) -> None:
    """A policy says which model to serve and why; deploying it is a step more."""
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"metric": "accuracy", "min_improvement": 0.5}))
    code, out, _ = demonstrated("select", "customer care", "--policy", str(policy), "--deploy", "v3")
    assert (code, out.startswith("keep: ")) == (0, True)
    words = ("select", "customer care", "--metric", "accuracy", "--environment", "staging", "--deploy", "s1")
    assert demonstrated(*words, "--dry-run")[1].startswith("promote: ")
    assert demonstrated("show", "s1", "--kind", "Deployment")[0] == 3
    assert demonstrated(*words)[1].endswith("s1 is active\n")
    assert json.loads(demonstrated("show", "s1", "--kind", "Deployment")[1])["status"] == "active"
    policy.write_text("[")
    assert "is not a policy in JSON" in demonstrated("select", "customer care", "--policy", str(policy))[2]


def test_a_table_is_in_words(demonstrated: Any) -> None:
    """Lists, mappings and nodes in an answer are printed as people write them."""
    model = ("--model", "churn prediction by gradient boosting", "--at", "2025-01-01")
    _, out, _ = demonstrated("ask", "model-at", *model)
    assert "  depth 13, seed 0, transformation one-hot  " in out
    assert "  customers @2  customers one-hot @2\n" in out
    assert "completed 44, failed 4" in demonstrated("ask", "summary", "--project", "customer care")[1]


def test_a_graph_moves_to_another_database(demonstrated: Any, tmp_path: Path) -> None:
    """What is exported and imported elsewhere is the same graph, and importing it again changes nothing."""
    file, other = tmp_path / "graph.jsonl", f"embedded://{tmp_path}/other.db"
    assert demonstrated("export", str(file))[0] == 0
    assert demonstrated("export", str(file))[0] == 1
    demonstrated("provision", url=other)
    assert "created" in demonstrated("import", str(file), url=other)[1]
    assert "created" not in demonstrated("import", str(file), url=other)[1]
    assert demonstrated("export", url=other)[1] == file.read_text()


def test_an_export_that_breaks_off_leaves_no_file(
    registered: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under its name there is a whole export or the one of before, never a part."""
    file = tmp_path / "graph.jsonl"
    file.write_text("the one of before\n")

    def broken(store: Store) -> Iterator[str]:
        yield "{}\n"
        raise Unavailable("the database is away")

    monkeypatch.setattr(Store, "export", broken)
    assert registered("export", str(file), "--overwrite")[0] == 6
    assert file.read_text() == "the one of before\n"


def test_stages_are_imported(run: Any, tmp_path: Path) -> None:
    """JSON lines of stages are written; a wrong line is named, and what stands before it is kept."""
    run("provision")
    file = tmp_path / "stages.jsonl"
    file.write_text('{"stage": "project", "name": "wine"}\n{"stage": "model", "name": "m", "project": "wine"}\n')
    assert run("import", str(file))[1] == "2 stages, 2 created\n"
    file.write_text('{"stage": "project", "name": "beer"}\n{"stage": "wine"}\n')
    code, _, err = run("import", str(file))
    assert (code, "line 2" in err) == (1, True)
    assert run("import", "/nowhere")[0] == 1
    file.write_text('{"stage": "dataset", "name": "data", "version": "1", "rows": 1}\n')
    run("import", str(file))
    file.write_text('{"stage": "dataset", "name": "data", "version": "1", "rows": 2}\n')
    assert run("import", str(file))[0] == 4
    assert run("import", str(file), "--on-conflict", "revise", "--reason", "counted")[1] == "1 stages, 1 revised\n"
    assert json.loads(run("history", "data", "--kind", "Dataset", "--json")[1])[0]["reason"] == "counted"


def test_replay_writes_what_waits(run: Any, url: str, tmp_path: Path) -> None:
    """A stage that could not be written waits in the folder and is written by replay."""
    run("provision")
    folder = tmp_path / "spool"
    folder.mkdir()
    away = connect(f"http://root:x@127.0.0.1:{free_port()}/_system", timeout=0.1)
    Store(away, spool=folder).write(register_project("wine"))
    assert run("replay", str(folder))[:2] == (0, "1 written, 0 refused, 0 torn\n")
    assert run("show", "wine", "--kind", "Project")[0] == 0
    assert "is not a folder" in run("replay", str(tmp_path / "nowhere"))[2]
    Store(away, spool=folder).write(log_run("r", model="nowhere"))
    code, out, _ = run("replay", str(folder))
    assert (code, "0 written, 1 refused, 0 torn\n" in out, "nowhere" in out) == (1, True, True)


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (("register", "project", "--name", "beer"), "Project"),
        (("log-run", "--run-id", "beer", "--model", "forest"), "Run"),
        (("register", "node", "Dataset", "--set", "name=beer"), "Dataset"),
        (("register", "edge", "project_models", "wine", "forest"), None),
    ],
)
def test_what_cannot_be_written_waits(
    registered: Any, tmp_path: Path, write: tuple[str, ...], kind: str | None
) -> None:
    """With a spool a command ends well while the database is away; the next that finds it back writes what waits."""
    spool = ("--spool", str(tmp_path / "spool"))
    away = f"http://root:x@127.0.0.1:{free_port()}/_system"
    code, out, _ = registered(*write, *spool, url=away, timeout="0.1")
    assert (code, '"name": "beer"' in out) == (0, kind is not None)
    assert registered(*write, url=away, timeout="0.1")[0] == 6
    assert registered("register", "project", "--name", "wine", *spool)[0] == 0
    assert registered("replay", spool[1])[1] == "0 written, 0 refused, 0 torn\n"
    if kind is not None:
        assert registered("show", "beer", "--kind", kind)[0] == 0


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_shell_completes_commands(run: Any, shell: str) -> None:
    """A completion script knows every command; bash completes a word by it."""
    code, out, _ = run("completion", shell)
    assert (code, "serve-db" in out) == (0, True)
    if shell == "bash":
        asked = "COMP_WORDS=(arangopipe lin); COMP_CWORD=1; _shtab_arangopipe; echo ${COMPREPLY[@]}"
        done = subprocess.run(["bash", "-c", f"{out}\n{asked}"], capture_output=True, text=True, check=False)
        assert done.stdout.split() == ["lineage"], done.stderr


@pytest.mark.slow
def test_every_command_explains_itself() -> None:
    """Every command has a line of help and, if it takes arguments of its own, examples that parse."""
    groups = (("register", writing.REGISTER), ("ask", asking.ASK), ("kfp", compiling.KFP))
    for command in (*cli.COMMANDS, *writing.REGISTER, *asking.ASK, *compiling.KFP):
        assert command.help, command.name
        group = [group for group, commands in groups if command in commands]
        for example in command.examples:
            cli.parser().parse_args([*group, command.name, *shlex.split(example.partition("> ")[0])])


def test_an_id_is_never_cut(registered: Any) -> None:
    """What a table shows of a node can be given to the next command."""
    [ids] = re.findall(r"servingperf/\S+", registered("search", "ServingPerf")[1])
    assert json.loads(registered("show", ids)[1])["f1"] == 0.5


def test_an_archived_node_is_restored_by_name(registered: Any) -> None:
    """`restore` undoes the `archive` of the same words."""
    assert registered("archive", "forest", "--kind", "Model")[0] == 0
    assert registered("show", "forest", "--kind", "Model")[0] == 3
    assert registered("restore", "forest", "--kind", "Model")[0] == 0
    assert registered("show", "forest", "--kind", "Model")[0] == 0


def piped(command: str, folder: Path, **variables: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a line of shell in which `arangopipe` is the command, as its users do."""
    shell = f'set -o pipefail; arangopipe() {{ {shlex.quote(sys.executable)} -m arangopipe_ops "$@"; }}; {command}'
    environment = {**os.environ, **variables}
    return subprocess.run(["bash", "-c", shell], cwd=folder, env=environment, capture_output=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", ["export", "search --limit 1000 --json", "lineage 'customer care v2' --kind Deployment"]
)
def test_a_reader_may_go_away(command: str, made_once: Any, tmp_path: Path) -> None:
    """Output that nobody reads any more ends the command without a word, as in other programs."""
    done = piped(f"arangopipe {command} | true", tmp_path, ARANGOPIPE_URL=f"embedded://{made_once(demonstrate)}")
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.slow
def test_output_is_utf8_in_every_locale(tmp_path: Path) -> None:
    """Names of any language are printed and exported where the locale knows ASCII alone."""
    assert piped("arangopipe demo-data", tmp_path).returncode == 0
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    assert "Café Größe 需要" in piped("arangopipe search Project", tmp_path, **plain).stdout.decode()
    moved = "export ARANGOPIPE_URL=embedded:///$PWD/other.db; arangopipe provision && arangopipe import -"
    done = piped(f"arangopipe export | ({moved})", tmp_path, **plain)
    assert done.returncode == 0, done.stderr
    assert "Café Größe 需要" in piped("arangopipe search Project", tmp_path).stdout.decode()


@pytest.mark.slow
def test_the_command_is_installed(tmp_path: Path) -> None:
    """`arangopipe` and `python -m arangopipe_ops` are the same command, without a traceback on errors."""
    for command in ([str(Path(sys.executable).parent / "arangopipe")], [sys.executable, "-m", "arangopipe_ops"]):
        done = subprocess.run([*command, "counts"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 7
        assert done.stderr.startswith("arangopipe: ")
        assert "Traceback" not in done.stderr
