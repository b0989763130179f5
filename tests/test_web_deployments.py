"""The pages of deployments: what serves, how well, what is missing, and which should serve instead."""

import re
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Requests, dump, provisioned
from test_web_pages import MARKUP, OUR_SCRIPT, TOKEN, Browser, id_of, links

from arangopipe_ops import stages
from arangopipe_ops.analytics import Policy, deploy
from arangopipe_ops.analytics.coverage import Hole, holes
from arangopipe_ops.connection import connect
from arangopipe_ops.integrations.source import Period
from arangopipe_ops.serving import Row, Source, collect, periods
from arangopipe_ops.store import Store
from arangopipe_ops.web.access import FileAccess
from arangopipe_ops.web.pages.rendering import figure

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
DAYS, UNTOLD = 40, range(20, 24)


def day(number: int) -> str:
    """Return a day of the performance, as a text; the day `DAYS` is today."""
    return f"{TODAY - timedelta(days=DAYS - number):%Y-%m-%d}"


def fill(url: str) -> None:
    """Register a project whose deployment was chosen by a policy, served with gaps, and got worse than its limit."""
    provisioned(url)
    store = Store(connect(url))
    store.write_many(
        [
            stages.register_project("wine"),
            stages.register_project("other"),
            stages.register_dataset("wine data", version="1"),
            stages.register_featureset("acids", dataset="wine data", version="1"),
            stages.register_model("forest", project="wine"),
        ]
    )
    for number in range(12):
        metrics = {"accuracy": 0.8 + number / 100, "loss": 1 - number / 20}
        store.write(stages.log_run(f"r{number}", model="forest", featureset="acids", params={}, metrics=metrics))
    one = {"model": "forest", "featureset": "acids"}
    rules = [{"metric": "accuracy", "threshold": 0.85}]
    store.write(stages.register_deployment("old", project="wine", run="r1", **one))
    deploy(store, "wine", Policy("accuracy", where={"run_id": "r8"}), tag="chosen", reason=f"asked by {MARKUP}")
    store.write(stages.register_deployment("new", project="wine", run="r11", status="scheduled", **one))
    store.write(stages.register_deployment(MARKUP, project="other", environment=MARKUP, model="forest", alerts=rules))
    store.write(
        stages.register_deployment("chosen", project="wine", run="r8", alerts=rules, **one), on_conflict="revise"
    )
    told = list(periods(TODAY - timedelta(days=DAYS), TODAY - timedelta(days=1), "1d"))
    collect(store, told, [Source("python", "tests", {"call": measured})], deployments=["chosen"])


def measured(asked: Sequence[Period], deployments: Sequence[str]) -> Iterator[Row]:
    for period in asked:
        number = DAYS + (period.start - TODAY).days
        if number not in UNTOLD:
            figures = {"accuracy": 0.9 - number / 500, "latency": 100 + number, MARKUP: number}
            yield from (Row(each, period, figures) for each in deployments)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARANGOPIPE_EMBEDDED_CLUSTER", "1")
    return tmp_path / "graph.db"


@pytest.fixture
def ann(file: Path, made_once: Any) -> Browser:
    """A browser that has signed in, on what `fill` has registered."""
    shutil.copyfile(made_once(fill), file)
    return Browser(FileAccess(f"embedded://{file}", token=TOKEN)).enter()


@pytest.fixture
def empty(file: Path, made_once: Any) -> Browser:
    shutil.copyfile(made_once(provisioned), file)
    return Browser(FileAccess(f"embedded://{file}", token=TOKEN)).enter()


def page_of(browser: Browser, tag: str) -> str:
    return f"/deployments/{id_of(browser, tag, 'Deployment').partition('/')[2]}"


def tags(page: str) -> list[str]:
    return re.findall(r'<tr><th scope="row"><a href="/deployments/[^"]+">([^<]*)</a>', page)


def statuses(browser: Browser) -> dict[str, str]:
    nodes = browser.access.store(TOKEN).search("Deployment")["nodes"]
    return {node["tag"]: node["status"] for node in nodes}


# every page


def paths(browser: Browser) -> list[str]:
    chosen, new = page_of(browser, "chosen"), page_of(browser, "new")
    return [
        "/deployments",
        "/deployments?status=",
        chosen,
        f"{chosen}?metric=accuracy&since={day(3)}",
        page_of(browser, MARKUP),
        f"{new}/promotion",
        f"{chosen}/promotion?metric=loss&goal=min",
    ]


def test_a_page_costs_few_requests_and_writes_nothing(ann: Browser) -> None:
    """Every page asks at most six times, and the graph is afterwards what it was."""
    db = ann.access.store(TOKEN).db
    addresses = paths(ann)
    before, asked = dump(db), Requests(db)
    for path in addresses:
        asked.sent.clear()
        ann.get(path)
        assert 1 <= len(asked) <= 6, path
    assert dump(db) == before


def test_stored_markup_is_text(ann: Browser) -> None:
    """Tags, environments, reasons and names of metrics that are markup are shown as they are, also in charts."""
    for path in paths(ann):
        page = OUR_SCRIPT.sub("", ann.get(path))
        assert not re.search(r"<(script|style|b>&)|\sstyle=|\son\w+=", page), path
        assert not [link for link in links(page) if not link.startswith(("/", "#"))]
    assert "&lt;script&gt;" in ann.get("/deployments")
    assert "&lt;script&gt;" in ann.get(page_of(ann, "chosen"))


def test_every_link_leads_somewhere(ann: Browser) -> None:
    """What the pages link to is there."""
    seen = {link for path in paths(ann) for link in links(ann.get(path)) if link.startswith("/")}
    assert {link: status for link in seen if (status := ann.client.get(link).status_code) != 200} == {}


def test_an_empty_graph_says_what_to_do(empty: Browser) -> None:
    """Where nothing is deployed, the page says how to begin."""
    assert "arangopipe deploy" in empty.get("/deployments")
    assert "Take a condition away" in empty.get("/deployments?environment=nowhere")


def test_what_is_not_there(ann: Browser) -> None:
    """A deployment that is not there and what cannot be asked for are pages that say so."""
    assert "not found" in ann.get("/deployments/none", 404)
    assert "not found" in ann.get("/deployments/none/promotion", 404)


def test_what_is_no_figure_is_told_beside_the_form(ann: Browser) -> None:
    """A time or a figure that is none is told where it was typed, which stays there; the rest of the page is there."""
    page = ann.get(f"{page_of(ann, 'chosen')}?since=yesterday&metric=accuracy", 422)
    assert "since: &#39;yesterday&#39; is not an ISO 8601 time, such as 2026-01-31" in page
    assert 'value="yesterday"' in page
    assert "What is deployed" in page
    for query, says in (
        ("threshold=many", "threshold: "),
        ("metric=loss&min_improvement=many", "better by at least: "),
    ):
        page = ann.get(f"{page_of(ann, 'new')}/promotion?{query}", 422)
        assert f"{says}&#39;many&#39; is not a number" in page
        assert 'value="many"' in page
        assert "Promote new" in page


def test_what_another_program_wrote(ann: Browser) -> None:
    """A deployment without status, project or model, and figures without times, are shown as far as they go."""
    db = ann.access.store(TOKEN).db
    db.collection("deployment").insert({"_key": "bare", "tag": "bare"})
    db.collection("project").insert({"_key": "bare"})
    begun = {"period_start": "2026-11-01T00:00:00Z"}
    for period in ({"period_start": "once"}, {**begun, "period_end": None}, {**begun, "period_end": ["later"]}):
        made = db.collection("servingperf").insert({"deployment": "bare", "accuracy": 0.5, **period})
        db.collection("deployment_servingperf").insert({"_from": "deployment/bare", "_to": made["_id"], **period})
    db.collection("deployment").insert({"_key": "odd", "tag": "odd"})
    made = db.collection("servingperf").insert({"deployment": "odd", "accuracy": 0.5, "period_start": "once"})
    db.collection("deployment_servingperf").insert({"_from": "deployment/odd", "_to": made["_id"]})
    assert "accuracy" in ann.get("/deployments/odd")
    assert "bare" in tags(ann.get("/deployments"))
    assert "bare" in tags(ann.get("/deployments?environment=production"))
    assert "accuracy" in ann.get("/deployments/bare")
    assert "It names no project" in ann.get("/deployments/bare/promotion")


# which deployments there are


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [MARKUP, "chosen"]),
        ("?status=", [MARKUP, "new", "chosen", "old"]),
        ("?status=scheduled", ["new"]),
        ("?status=archived&project=wine", ["old"]),
        ("?project=other", [MARKUP]),
        ("?project=nothing", []),
        ("?environment=production", ["chosen"]),
    ],
)
def test_the_filters(ann: Browser, query: str, found: list[str]) -> None:
    """Each filter leaves what it says; without one, it is what is active."""
    shown = [tag.replace("&lt;", "<").replace("&gt;", ">") for tag in tags(ann.get(f"/deployments{query}"))]
    assert [tag.partition("alert")[0] for tag in shown] == [tag.partition("alert")[0] for tag in found]


def test_the_list_goes_on(ann: Browser) -> None:
    """The link leads to the next page, with the filters kept."""
    page = ann.get("/deployments?status=&limit=3")
    assert len(tags(page)) == 3
    following = next(link for link in links(page) if "cursor" in link)
    assert tags(ann.get(following)) == ["old"]


def test_the_list_tells_how_each_stands(ann: Browser) -> None:
    """Since when, which model and run, which alerts are raised, and until when figures are known."""
    row = next(row for row in ann.get("/deployments").split("<tr>") if ">chosen</a>" in row)
    assert f"/nodes/{id_of(ann, 'r8', 'Run')}" in row
    assert f"/nodes/{id_of(ann, 'forest', 'Model')}" in row
    assert "2 raised</span>: accuracy limit, collected from tests" in row
    assert f'<time datetime="{day(DAYS - 1)}T00:00:00.000Z">' in row


# one deployment


def test_what_is_deployed_and_why(ann: Browser) -> None:
    """The page leads to the model, the run and its data, and tells the policy's reason for the promotion."""
    page = ann.get(page_of(ann, "chosen"))
    for name, kind in (("forest", "Model"), ("r8", "Run"), ("wine data", "Dataset"), ("acids", "Featureset")):
        assert f"/nodes/{id_of(ann, name, kind)}" in links(page)
    assert f"/nodes/{id_of(ann, 'chosen', 'Deployment')}/lineage" in links(page)
    assert "run r8 has accuracy 0.88, the active old has 0.81: better by 0.07" in page
    assert "<h2>Why it is active</h2>" in page
    old = ann.get(page_of(ann, "old"))
    assert "<h2>Why it is archived</h2>" in old
    assert re.search(r"active instead</dt><dd><a [^>]+>chosen</a>", old)


def test_alerts_are_told_with_since_when(ann: Browser) -> None:
    """An alert that is raised is shown with the start of its first period, its value and its limit."""
    row = next(row for row in ann.get(page_of(ann, "chosen")).split("<tr>") if "accuracy limit</a>" in row)
    assert '<span class="raised">raised</span>' in row
    assert f'datetime="{day(DAYS - 2)}T' in row
    assert "0.824" in row
    assert ">0.85<" in row
    assert "It has no rules" in ann.get(page_of(ann, "old"))
    assert "Its rule has raised no alert" in ann.get(page_of(ann, MARKUP))


def test_performance_is_drawn_beside_that_in_development(ann: Browser) -> None:
    """Each of the first metrics has a chart; one known from development has it as a line, one with a rule its limit."""
    page = ann.get(page_of(ann, "chosen"))
    charts = page.split('<figure class="chart">')[1:]
    assert [re.search("<figcaption>(.*?)</figcaption>", chart)[1][:4] for chart in charts] == ["accu", "&lt;", "late"]  # type: ignore[index]
    assert "in development: 0.88" in charts[0]
    assert "limit, accuracy limit: 0.85" in charts[0]
    assert "in development" not in charts[2]
    mean = sum(0.9 - n / 500 for n in range(DAYS - 1) if n not in UNTOLD) / (DAYS - 1 - len(UNTOLD))
    assert f">{mean:.6g}<" in page
    assert f">{mean - 0.88:.6g}<" in page


def test_a_gap_is_a_gap_in_the_line(ann: Browser) -> None:
    """Where periods are missing, the line is interrupted; without a gap in the time shown it is one."""
    lines = [ann.get(f"{page_of(ann, 'chosen')}?metric=latency{span}") for span in ("", f"&until={day(UNTOLD[0])}")]
    assert [len(re.findall(r'class="line reactive', page)) for page in lines] == [2, 1]


def test_missing_periods_are_listed(ann: Browser) -> None:
    """What is not known since the oldest figures is told, the newest first; a day that lasts is not missing."""
    page = ann.get(page_of(ann, "chosen")).partition("Missing periods")[2]
    rows = re.findall(r'datetime="([\d-]+)T[^>]*>[^<]*</time></td><td><time datetime="([\d-]+)T.*?number">(\d+)', page)
    assert rows == [(day(DAYS - 1), day(DAYS), "1"), (day(UNTOLD[0]), day(UNTOLD[-1] + 1), "4")]
    before = ann.get(f"{page_of(ann, 'chosen')}?until={day(UNTOLD[0])}")
    assert "None since" in before


def test_holes_between_periods() -> None:
    """Holes are what lies between the known periods, and as many whole ones as fit before and behind them."""
    hour = [f"2026-11-01T{h:02}:00:00.000Z" for h in range(24)]
    known = [(hour[3], hour[4]), (hour[4], hour[5]), (hour[8], hour[9])]
    assert holes(known, "2026-11-01T00:30:00.000Z", "2026-11-01T10:59:59.000Z") == [
        Hole(hour[1], hour[3], 2),
        Hole(hour[5], hour[8], 3),
        Hole(hour[9], hour[10], 1),
    ]
    assert holes(known[:2], hour[3], hour[5]) == []
    assert holes([], hour[0], hour[9]) == []
    assert holes([("once", "later")], hour[0], hour[9]) == []
    assert holes([(hour[0], hour[9]), (hour[1], hour[2])], hour[0], hour[9]) == []


def test_a_deployment_that_ended_misses_nothing_afterwards(ann: Browser) -> None:
    """The periods after the end are not missing."""
    store = ann.access.store(TOKEN)
    store.retire("chosen")
    store.db.collection("deployment").update(
        {"_id": id_of(ann, "chosen", "Deployment"), "ended": f"{day(30)}T00:00:00.000Z"}
    )
    page = ann.get(page_of(ann, "chosen")).partition("Missing periods")[2]
    assert "1 gap since" in page
    assert day(DAYS - 1) not in page


def test_a_deployment_misses_nothing_before_it_began(ann: Browser) -> None:
    """What is asked for from before the attribute `start` is missing from then on alone."""
    path = f"{page_of(ann, 'chosen')}?since={day(-5)}"
    first = f'<td><time datetime="{day(-5)}T'
    assert first in ann.get(path).partition("Missing periods")[2]
    node = {"_id": id_of(ann, "chosen", "Deployment"), "start": f"{day(0)}T00:00:00.000Z"}
    ann.access.store(TOKEN).db.collection("deployment").update(node)
    missing = ann.get(path).partition("Missing periods")[2]
    assert "2 gaps since" in missing
    assert first not in missing


def test_many_periods_are_put_together(ann: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """More periods than a chart has room for are drawn as their mean, least and most, of the same whole."""
    monkeypatch.setattr("arangopipe_ops.web.pages.deployments.POINTS", 5)
    page = ann.get(f"{page_of(ann, 'chosen')}?metric=latency")
    for name in ("mean", "least", "most"):
        assert f"</svg> {name}</li>" in page
    assert ">100<" in page
    assert f">{100 + DAYS - 2}<" in page
    told = [100 + number for number in range(DAYS - 1) if number not in UNTOLD]
    assert figure(sum(told) / len(told)) in re.findall(r"<td[^>]*>(?:<span[^>]*>)?([\d.]+)<", page)


# promotion


def test_a_policy_tells_what_it_would_do(ann: Browser) -> None:
    """The page has the policy's decision, its reason, and the candidates with their figures, in two requests."""
    path, asked = page_of(ann, "new"), Requests(ann.access.store(TOKEN).db)
    page = ann.get(f"{path}/promotion?metric=accuracy")
    assert len(asked) == 2
    assert "<b>Promote</b>: run r11 has accuracy 0.91, the active chosen has 0.88: better by 0.03" in page
    assert "This deployment is of that run" in page
    rows = re.findall(r'<tr><th scope="row"><a [^>]+>(r\d+)</a></th><td><span class="number"[^>]*>([\d.]+)', page)
    assert rows[:2] == [("r11", "0.91"), ("r10", "0.9")]
    marked = {run: row for row in page.split("<tr>") for run in ("r11", "r10", "r8") if f">{run}</a>" in row}
    assert "the policy&#39;s candidate" in marked["r11"] or "the policy's candidate" in marked["r11"]
    assert "of this deployment" in marked["r11"]
    assert "active as chosen" in marked["r8"]
    assert "mark" not in marked["r10"]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("metric=loss&goal=min", "<b>Promote</b>: run r11 has loss 0.45"),
        ("metric=loss", "<b>Promote</b>: run r0 has loss 1"),
        ("metric=accuracy&threshold=0.95", "<b>Keep what is active</b>: the best, run r11 has accuracy 0.91, does not"),
        ("metric=accuracy&min_improvement=0.2", "less than the 0.2 that is asked for"),
        ("metric=accuracy&threshold=&min_improvement=&task=nothing", "no run has accuracy and meets the conditions"),
    ],
)
def test_the_rule_is_chosen_in_the_form(ann: Browser, query: str, says: str) -> None:
    """Another rule gives another decision, and stands in the address."""
    assert says in ann.get(f"{page_of(ann, 'new')}/promotion?{query}")


def test_a_promotion(ann: Browser) -> None:
    """The form makes a deployment active in place of the other, for the reason given; the next page says so, once."""
    path = page_of(ann, "new")
    page = ann.get(f"{path}/promotion?metric=accuracy")
    over, reason = (re.search(f'name="{name}" value="([^"]*)"', page)[1] for name in ("over", "reason"))  # type: ignore[index]
    assert over == id_of(ann, "chosen", "Deployment")
    assert reason.startswith("run r11 has accuracy 0.91")
    answer = ann.post(f"{path}/promotion", page=f"{path}/promotion", over=over, reason=reason)
    assert (answer.status_code, answer.headers["location"]) == (303, path)
    assert statuses(ann) == {"new": "active", "chosen": "archived", "old": "archived", MARKUP: "active"}
    page = ann.get(path)
    assert '<p class="notice" role="status">new is active; chosen is archived.' in page
    assert f"<dd>{reason}</dd>" in page
    assert "notice" not in ann.get(path)


def test_a_promotion_where_nothing_is_active(ann: Browser) -> None:
    """What is active elsewhere, of another project or environment, is not what a promotion replaces."""
    ann.access.store(TOKEN).write(
        stages.register_deployment("trial", project="wine", environment="trials", model="forest", status="scheduled")
    )
    page = ann.get(f"{page_of(ann, 'trial')}/promotion")
    assert 'name="over" value=""' in page
    assert f'name="over" value="{id_of(ann, "chosen", "Deployment")}"' in ann.get(f"{page_of(ann, 'new')}/promotion")


def test_a_promotion_over_another_than_was_shown(ann: Browser) -> None:
    """If another deployment became active since the page was loaded, nothing happens, and the page says why."""
    path = page_of(ann, "new")
    for over in (id_of(ann, "old", "Deployment"), ""):
        answer = ann.post(f"{path}/promotion", page=path, over=over)
        assert answer.status_code == 409
        assert "is not promoted" in answer.text
    assert statuses(ann)["new"] == "scheduled"


def test_a_retirement_wants_a_confirmation(ann: Browser) -> None:
    """Without the tick nothing is changed; with it the deployment ends, for the reason given."""
    path = page_of(ann, "chosen")
    refused = ann.post(f"{path}/retirement", page=path, reason="slow")
    assert refused.status_code == 422
    assert "tick the box" in refused.text
    assert statuses(ann)["chosen"] == "active"
    assert ann.post(f"{path}/retirement", page=path, reason="slow", sure="yes").status_code == 303
    assert statuses(ann)["chosen"] == "archived"
    page = ann.get(path)
    assert "chosen is archived." in page
    assert "<dd>slow</dd>" in page
    assert "End this deployment" not in page
