"""The pages of runs: a table that is asked for in its address, and any runs side by side."""

import csv
import io
import re
import shutil
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from conftest import Requests, dump, provisioned
from test_web_pages import MARKUP, TOKEN, Browser, empty, file, links

from arangopipe_ops import stages
from arangopipe_ops.store import Store
from arangopipe_ops.web.access import FileAccess
from arangopipe_ops.web.pages.comparison import Chosen
from arangopipe_ops.web.pages.origins import KFP_VARIABLE, web_address
from arangopipe_ops.web.pages.runs import Asked

__all__ = ["empty", "file"]

LOG = "https://airflow.example/dags/train/runs/1/tasks/fit"
WRITERS: dict[str, dict[str, Any]] = {
    "airflow": {"through": "airflow", "dag_id": "train", "log_url": LOG},
    "kfp": {"through": "kfp", "job_id": "4b1c/77"},
    "script": {"through": "airflow", "log_url": "javascript:alert(1)"},
}


def fill(url: str) -> None:
    """Log runs of two models: forests that differ in depth, nets that learned step by step, and one that is markup."""
    store = Store(provisioned(url))
    for project, model in (("wine", "forest"), ("beer", "net")):
        store.write(stages.register_project(project))
        store.write(stages.register_model(model, project=project, task="classification"))
    for depth in range(1, 7):
        run = stages.log_run(
            f"forest {depth}",
            model="forest",
            params={"depth": depth, "seed": 7, "nested": {"a": 1}},
            metrics={"f1": depth / 8, "val.acc": 1 - depth / 8},
            status="failed" if depth == 6 else "completed",
            tags=["even"] if depth % 2 == 0 else [],
        )
        store.write(run)
    for writer, provenance in WRITERS.items():
        net = Store(store.db, provenance=provenance)
        with net.run(f"net of {writer}", model="net", params={"rate": 0.1}, tag="nets") as run:
            for step in range(250):
                run.log_metrics(loss=1 / (step + 1), step=step)
            run.log_metrics(grade=float("nan"))
    github = {"github": {"server": "https://github.example", "repository": "ann/wine", "run_id": "9"}}
    marked = {"params": {MARKUP: MARKUP}, "metrics": {"f1": 0.0}, "orchestrator": github}
    store.write(stages.log_run(MARKUP, model="net", tag=MARKUP, **marked))


@pytest.fixture
def ann(file: Path, made_once: Any) -> Browser:
    shutil.copyfile(made_once(fill), file)
    return Browser(FileAccess(f"embedded://{file}", token=TOKEN)).enter()


def shown(page: str) -> list[str]:
    """Return the runs in the table, in order."""
    return [unescape(name) for name in re.findall(r'<th scope="row"><a href="[^"]+">([^<]+)</a>', page)]


def columns(page: str) -> list[str]:
    """Return the names of the columns of parameters and metrics."""
    return [unescape(name) for name in re.findall(r"sort=(?:params|metrics)\.[^\"]+\">([^<]+?)(?: <span|</a>)", page)]


FORESTS = [f"forest {depth}" for depth in range(6, 0, -1)]
NETS = [f"net of {writer}" for writer in reversed(WRITERS)]


def test_runs_are_a_table_with_parameters_and_metrics(ann: Browser) -> None:
    """The newest run is first, with what it obtained and reached; nested values are columns only on request."""
    page = ann.get("/runs")
    assert shown(page) == [MARKUP, *NETS, *FORESTS]
    assert {"depth", "seed", "rate", "f1", "val.acc", "loss"} <= set(columns(page))
    assert "nested" not in columns(page)
    assert '<span class="number" title="0.625">0.625</span>' in page
    assert "10 found among the 10 registered last" in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("project=wine", FORESTS),
        ("model=net", [MARKUP, *NETS]),
        ("project=wine&model=forest", FORESTS),
        ("project=wine&model=net", []),
        ("tag=nets", NETS),
        ("tag=even", FORESTS[::2]),
        ("status=failed", FORESTS[:1]),
        ("since=2020-01-01&project=wine", FORESTS),
        ("since=2999-01-01", []),
        ("until=2020-01-01&project=wine", []),
        ("until=2020-01-01", []),
        ("where=metrics.f1>=0.5&project=wine", FORESTS[:3]),
        ("where=params.depth > 1%0D%0Aparams.depth==3", FORESTS[3:4]),
        ("where=metrics.val.acc<0.5", FORESTS[:2]),
        ("where=run_id^=forest&status=completed", FORESTS[1:]),
        ("where=model.name~=ORES", FORESTS),
        ("where=f1>=0.5", []),
        ("where=params.rate", NETS),
        ("where=metrics.not_finite.grade=nan", NETS),
    ],
)
def test_runs_with_each_filter(ann: Browser, query: str, found: list[str]) -> None:
    """The filters find what they say, alone and together, and the form shows them."""
    page = ann.get(f"/runs?{query}")
    assert shown(page) == found
    assert ("is like that" in page) is (found == [])
    assert ("begin with <code>metrics.</code>" in page) is (found == [] and "where=" in query)
    for name, value in re.findall(r"(project|model|tag|status|since|until)=([^&]+)", query):
        assert re.search(f'name="{name}" value="{value}"', page), name


@pytest.mark.parametrize(
    ("sort", "way", "first"),
    [
        ("metrics.f1", "desc", "forest 6"),
        ("metrics.f1", "asc", MARKUP),
        ("metrics.val.acc", "desc", "forest 1"),
        ("params.depth", "asc", "forest 1"),
        ("run_id", "desc", "net of script"),
        ("model.name", "asc", "forest 6"),
        ("at", "asc", "forest 1"),
        ("created", "desc", MARKUP),
    ],
)
def test_a_heading_sorts_and_turns_the_order(ann: Browser, sort: str, way: str, first: str) -> None:
    """Runs are sorted by any column, those without a value last, and the heading leads to the other way."""
    page = ann.get(f"/runs?sort={sort}&way={way}")
    assert shown(page)[0] == first
    assert len(shown(page)) == 10
    assert f'aria-sort="{way}ending"' in page
    [turned] = re.findall(r'aria-sort="\w+"><a href="([^"]+)"', page)
    assert shown(ann.get(unescape(turned)))[0] != first


def test_columns_are_chosen(ann: Browser) -> None:
    """The address says which columns are shown, and the form offers all that there are."""
    page = ann.get("/runs?model=forest&show=params.nested&show=metrics.f1")
    assert columns(page) == ["nested", "f1"]
    assert "<details><summary>1 entry</summary>" in page
    assert re.search(r'name="show" value="params.nested" checked', page)
    assert re.search(r'name="show" value="params.depth">', page)
    sorted_by = [link for link in links(page) if "sort=" in link]
    assert len(sorted_by) > 2
    assert all("show=params.nested" in link for link in sorted_by)


def test_pages_follow_each_other(ann: Browser) -> None:
    """The links lead through all runs that are found, each once, with filters and order kept, and end there."""
    address, seen = "/runs?project=wine&limit=3&sort=params.depth&way=asc", []
    while address:
        page = ann.get(address)
        seen.append(shown(page))
        [address] = [unescape(link) for link in re.findall(r'rel="next" href="([^"]+)"', page)] or [""]
    assert seen == [FORESTS[:2:-1], FORESTS[2::-1]]


@pytest.mark.parametrize("query", ["limit=50", "limit=50&project=wine", "limit=50&model=forest&status=completed"])
def test_no_more_than_a_window_of_runs_is_looked_at(ann: Browser, monkeypatch: pytest.MonkeyPatch, query: str) -> None:
    """However many runs there are, a page looks at so many, says so, and leads to those before them."""
    whole = shown(ann.get(f"/runs?{query}"))
    monkeypatch.setattr("arangopipe_ops.web.pages.runs.WINDOW", 4)
    address, seen = f"/runs?{query}", []
    while address:
        page = ann.get(address)
        seen.append(shown(page))
        [address] = re.findall(r'href="([^"]+)">Look at older ones', page) or [""]
        address = unescape(address)
        assert ("back to <time" in page) is bool(address)
    assert [run for runs in seen for run in runs] == whole
    assert max(map(len, seen)) <= 4


def test_what_does_not_meet_the_conditions_leads_on(ann: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none of the runs looked at meets the conditions, the page leads to older ones."""
    monkeypatch.setattr("arangopipe_ops.web.pages.runs.WINDOW", 3)
    page = ann.get("/runs?status=failed")
    assert "None of the 3 runs looked at is like that" in page
    older = next(link for link in links(page) if "older=" in link)
    assert shown(ann.get(older)) == FORESTS[:1]


def test_no_collection_is_scanned(ann: Browser) -> None:
    """What a table asks is found by indexes, whatever it is about."""
    store = ann.access.store(TOKEN)
    asked = Requests(store.db)
    for query in ("", "?project=wine", "?model=net&since=2020-01-01", "?where=metrics.f1>0&sort=params.depth"):
        ann.get(f"/runs{query}")
    assert [answer["extra"]["stats"]["scannedFull"] for answer in asked.answers if "result" in answer] == [0] * 8


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("project=none", 404, "Project &#39;none&#39;"),
        ("model=none", 404, "Model &#39;none&#39;"),
        ("since=yesterday", 422, "yesterday"),
        ("where=metrics.f1<true", 422, "where.metrics.f1"),
        ("where=%3D3", 422, "not the name of an attribute"),
        ("sort=a..b", 422, "not the name of an attribute"),
        ("older=x", 422, "start again without it"),
    ],
)
def test_runs_that_cannot_be_looked_for(ann: Browser, query: str, status: int, says: str) -> None:
    """What cannot be asked is told beside the form, which keeps what was typed."""
    page = ann.get(f"/runs?{query}", status)
    assert says in re.findall(r'role="alert">([^<]+)', page)[0]
    assert '<form class="filters"' in page


@pytest.mark.parametrize("query", ["page=0", "limit=x", "limit=501", "way=up"])
def test_wrong_parameters_are_a_page_that_names_them(ann: Browser, query: str) -> None:
    """A parameter of the wrong kind is an error that says which one."""
    assert re.search(f'role="alert">{query.partition("=")[0]}: ', ann.get(f"/runs?{query}", 422))


ODD = ["nan", "9" * 400, "\x00", "a..b>[[[[", "~", "é" * 300]


@pytest.mark.parametrize("odd", ODD)
def test_no_text_in_the_address_is_a_fault(ann: Browser, odd: str) -> None:
    """Whatever stands in a field, the answer is a page that says what is wrong, if anything is."""
    for path, model in (("/runs", Asked), ("/runs/compare", Chosen)):
        for field in model.model_fields:
            assert ann.client.get(path, params={field: odd}).status_code in (200, 404, 422), field


def test_a_chart_of_one_figure_against_another(ann: Browser) -> None:
    """A parameter against a metric is a point for each run that has both, by model."""
    page = ann.get("/runs?x=params.depth&y=metrics.f1")
    figure = page[page.index("<figure") : page.index("</figure>")]
    assert figure.count('class="dot" d=') == 6 + 1  # and one in the legend
    assert "forest 3: params.depth 3, metrics.f1 0.375" in figure
    assert "<figure" not in ann.get("/runs")
    assert "Nothing to draw" in ann.get("/runs?x=params.rate&y=params.depth")


def test_tables_to_keep(ann: Browser) -> None:
    """CSV and JSON hold all that is found, on every page, with all parameters and metrics, and no formula."""
    ann.access.store(TOKEN).write(stages.log_run("=1+1", model="forest", params={"depth": -9}))
    answer = ann.client.get("/runs.csv?model=forest&limit=1&show=params.seed")
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["run_id"] for row in rows] == ["'=1+1", *FORESTS]
    assert (rows[1]["model"], rows[1]["params.depth"], rows[1]["metrics.f1"]) == ("forest", "6", "0.75")
    assert rows[1]["params.nested"] == '{"a": 1}'
    table = ann.client.get("/runs.json?model=forest&limit=1").json()
    assert [row["params"]["depth"] for row in table["rows"]] == [-9, 6, 5, 4, 3, 2, 1]
    assert ann.get("/runs.csv?model=none", 404)


def test_no_run_yet(empty: Browser) -> None:
    """Where there is no run, the page says how one is logged; the table to keep is empty."""
    assert "store.run(" in empty.get("/runs")
    assert empty.client.get("/runs.csv").text.strip() == "_id,run_id,status,at,end,duration,model,tag,tags"


# side by side


def compared(page: str) -> dict[str, bool]:
    """Return which attributes stand side by side, and whether each is marked as different."""
    rows = re.findall(
        r'<tr( class=differs)?><th scope="row">(<span[^>]*aria-label="differs:"[^>]*>≠</span>&nbsp;)?([^<]+)', page
    )
    assert all(bool(looks) is bool(mark) for looks, mark, _ in rows)
    return {unescape(name): bool(mark) for _, mark, name in rows}


def test_chosen_runs_side_by_side(ann: Browser) -> None:
    """The marked runs of the table stand beside each other, and what differs is marked by a sign."""
    page = ann.get("/runs?model=forest")
    ids = re.findall(r'type="checkbox" name="run" value="([^"]+)"', page)
    assert len(ids) == 6
    assert "6 runs, " in ann.get(next(link for link in links(page) if "/runs/compare" in link))
    page = ann.get(f"/runs/compare?run={ids[0]}&run={ids[1]}&run={ids[5]}")
    assert compared(page)["depth"] is True
    assert compared(page)["seed"] is False
    assert "3 runs, " in page
    assert [f"/nodes/{id}" for id in (ids[0], ids[1], ids[5])] == [link for link in links(page) if "/nodes/run" in link]
    only = compared(ann.get(f"/runs/compare?run={ids[0]}&run={ids[1]}&only=differing"))
    assert set(only.values()) == {True}
    fewer = next(link for link in links(page) if "/runs/compare" in link)
    assert "2 runs, " in ann.get(fewer)


def test_metrics_of_runs_are_drawn(ann: Browser) -> None:
    """What was logged step by step is a line for each run, of bounded length; what differs a bar for each."""
    page = ann.get("/runs/compare?run=net+of+kfp&run=net+of+airflow&run=forest+3")
    assert "loss, step by step" in page
    curve = page[page.index("loss, step by step") :]
    assert 80 < curve[: curve.index("</figure>")].count('class="dot" d=') < 250
    assert re.search(r"<figcaption>f1</figcaption>.*forest 3: 0.375", page, re.DOTALL)
    again = stages.log_run("forest 3 again", model="forest", metrics={"f1": 0.375, "val.acc": 0.5})
    ann.access.store(TOKEN).write(again)
    page = ann.get("/runs/compare?run=forest+3&run=forest+3+again")
    assert re.findall(r"<figcaption>(f1|val.acc)</figcaption>", page) == ["val.acc"]
    forests = ann.get("/runs/compare?run=forest+3&run=forest+4&x=params.depth&y=metrics.val.acc")
    assert "forest 4: params.depth 4, metrics.val.acc 0.5" in forests
    assert "metrics.f1 by params.depth" in ann.get("/runs/compare?run=forest+3&run=forest+4")


def test_one_run_and_the_same_twice(ann: Browser) -> None:
    """A single run stands there without differences, and so does the same one twice."""
    for query in ("run=forest+1", "run=forest+1&run=forest+1"):
        assert True not in compared(ann.get(f"/runs/compare?{query}")).values()


def test_runs_that_cannot_be_compared(ann: Browser) -> None:
    """No run leads back to the table; one that is not there is named; more than can be shown are refused."""
    assert "/runs" in links(ann.get("/runs/compare"))
    assert "No run is chosen" in ann.get("/runs/compare")
    assert "none such" in ann.get("/runs/compare?run=forest+1&run=none+such", 404)
    assert "at most 500" in ann.get("/runs/compare?" + "&".join(["run=a"] * 501), 422)


# every page of runs


def paths(ann: Browser) -> list[str]:
    every = "&".join(f"run={id}" for id in re.findall(r'name="run" value="([^"]+)"', ann.get("/runs")))
    return [
        "/runs",
        "/runs?project=beer&model=net&where=metrics.f1>=0&sort=metrics.f1&x=metrics.f1&y=metrics.f1",
        "/runs?status=none",
        f"/runs/compare?{every}",
    ]


def test_a_page_costs_two_requests_and_writes_nothing(ann: Browser) -> None:
    """However many runs are shown, a page of them is two requests, and the graph is afterwards what it was."""
    db = ann.access.store(TOKEN).db
    every, before = paths(ann), dump(db)
    asked = Requests(db)
    for path in every:
        asked.sent.clear()
        ann.get(path)
        assert len(asked) == 2, path
    assert dump(db) == before


def test_stored_markup_is_text(ann: Browser) -> None:
    """Names, tags, parameters and their values that are markup are shown as they are, in charts as well."""
    for path in paths(ann):
        page = ann.get(path).partition("<main")[2]
        assert "<script>alert" not in page, path
        assert "<b>" not in page, path
        assert "{{ 7 * 7 }}" in page or "status=none" in path


def test_only_pages_of_the_web_are_linked(ann: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run leads back to where it was written; an address that is a script is no link, whoever wrote it."""
    monkeypatch.setenv(KFP_VARIABLE, "https://kfp.example/pipeline/")
    nodes = [link for link in links(ann.get("/runs")) if link.startswith("/nodes/")]
    for path in (*paths(ann), "/runs/compare?run=net+of+script&run=net+of+airflow", *nodes):
        found = links(ann.get(path))
        assert not [link for link in found if "script:" in link.lower()]
        assert {link for link in found if not link.startswith(("/", "#"))} <= {
            LOG,
            "https://kfp.example/pipeline/#/runs/details/4b1c%2F77",
            "https://github.example/ann/wine/actions/runs/9",
        }
    page = ann.get("/runs")
    assert page.count(f'<a href="{LOG}" rel="noreferrer">Airflow task log</a>') == 1
    assert [LOG in links(ann.get(node)) for node in nodes if "net_of" in node] == [False, False, True]
    assert "4b1c%2F77" in page
    assert "actions/runs/9" in page
    monkeypatch.delenv(KFP_VARIABLE)
    assert "4b1c%2F77" not in ann.get("/runs")


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (LOG, True),
        ("http://localhost:8080/x?y=1#z", True),
        ("javascript:alert(1)", False),
        ("JAVASCRIPT:alert(1)//http://", False),
        (" javascript:alert(1)", False),
        ("java\nscript:alert(1)", False),
        ("http:javascript", False),
        ("https://", False),
        ("https://[", False),
        ("data:text/html,x", False),
        ("//evil.example", False),
        ("/nodes", False),
        (3, False),
        (None, False),
    ],
)
def test_what_is_the_address_of_a_page(text: Any, is_one: bool) -> None:
    """Only a text that begins with http or https, and names a host, is an address to follow."""
    assert web_address(text) == (text if is_one else None)


def test_how_long_a_run_took(ann: Browser) -> None:
    """A run that does not say how long it took is told by its start and its end, and sorted by that."""
    store = ann.access.store(TOKEN)
    for name, minutes in (("quick", 1), ("slow", 300)):
        span = {"start": "2026-01-01T10:00:00Z", "end": f"2026-01-01T{10 + minutes // 60}:{minutes % 60:02}:30Z"}
        store.write(stages.log_run(name, model="forest", **span))
    page = ann.get("/runs?sort=duration&where=start=2026-01-01T10:00:00.000Z")
    assert shown(page) == ["slow", "quick"]
    assert re.findall(r'<span class="number" title="\d+">([\d,]+)</span></td><td><time', page) == ["18,030", "90"]
    told = {row["run_id"]: row["duration"] for row in csv.DictReader(io.StringIO(ann.client.get("/runs.csv").text))}
    assert (told["slow"], told["quick"], told["forest 1"]) == ("18030", "90", "")
    assert float(told[NETS[0]]) > 0


def test_what_another_program_wrote(ann: Browser) -> None:
    """Runs without model, time or figures, and with anything in the place of what we write, are shown as they are."""
    db = ann.access.store(TOKEN).db
    odd = {"provenance": "a text", "orchestrator": {"github": 3}, "tags": 3, "status": ["x"], "duration": "long"}
    db.collection("run").insert({"_key": "odd", **odd})
    db.collection("devperf").insert({"_key": "odd", "series": {"a": 3, "b": {"value": ["x"]}}, "not_finite": 7})
    db.collection("run_devperf").insert({"_from": "run/odd", "_to": "devperf/odd"})
    assert "run/odd" in ann.get("/runs")
    assert "run/odd" in ann.get("/runs?sort=status&x=params.depth&y=metrics.f1")
    assert "run/odd" in ann.client.get("/runs.csv").text
    assert "odd" in ann.get("/runs/compare?run=run/odd&run=forest+1")
