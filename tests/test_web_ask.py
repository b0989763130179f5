"""The page of questions: each is a form made of its signature, with its answer as tables and charts."""

import csv
import inspect
import io
import re
import shutil
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from conftest import Requests, dump
from demonstration import TASK, best, fill, of_task
from test_analytics import ARGUMENTS
from test_web_pages import MARKUP, TOKEN, Browser, empty, file, links
from test_web_runs import ODD

from arangopipe_ops import stages
from arangopipe_ops.analytics import QUESTIONS
from arangopipe_ops.analytics.questions import ids_of
from arangopipe_ops.model import SCHEMA, Document
from arangopipe_ops.store import Store
from arangopipe_ops.web.access import FileAccess
from arangopipe_ops.web.pages.ask import given, mentions
from arangopipe_ops.web.pages.pictures import drawn

__all__ = ["empty", "file"]

SENT: dict[str, dict[str, Any]] = ARGUMENTS | {
    "best-run": {"metric": "accuracy", "project": TASK.project, "where": "params.depth>3", "limit": 3}
}
"""The arguments as somebody types them into the form."""


@pytest.fixture
def ann(file: Path, made_once: Any) -> Browser:
    shutil.copyfile(made_once(fill), file)
    return Browser(FileAccess(f"embedded://{file}", token=TOKEN)).enter()


def asked(question: str, ending: str = "", **arguments: Any) -> str:
    """Return the address that the form of a question leads to."""
    return f"/ask/{question}{ending}?{urlencode({**SENT[question], **arguments, 'ask': 'yes'})}"


def names(page: str) -> dict[str, str]:
    """Return the fields of a form, by name, as they are written."""
    form = page[page.index('<form class="filters"') :]
    fields = re.findall(r"<(?:input|select|textarea) id=\"(\w+)\"[^>]*>", form[: form.index("</form>")])
    return {name: re.search(rf'<\w+ id="{name}"[^>]*>', form)[0] for name in fields}  # type: ignore[index]


def test_a_question_has_an_end(ann: Browser) -> None:
    """The database does not work on and on for somebody who may be gone; the page says what to do."""
    ann.access.store(TOKEN).seconds = 1e-9
    page = ann.get(asked("best-run"), 503)
    assert "longer than it may" in page
    assert "ask for less" in page


def test_the_questions_are_listed(ann: Browser) -> None:
    """Each question is there, by what it asks, and leads to its form."""
    page = ann.get("/ask")
    for name, question in QUESTIONS.items():
        assert f"/ask/{name}" in links(page)
        assert str(inspect.getdoc(question)).splitlines()[0] in unescape(page)


@pytest.mark.parametrize("name", QUESTIONS)
def test_each_question_is_a_form(ann: Browser, name: str) -> None:
    """Everything that a question takes is a field with a label, and what it needs is marked; nothing is asked yet."""
    page = ann.get(f"/ask/{name}")
    parameters = list(inspect.signature(QUESTIONS[name]).parameters.values())[1:]
    fields = names(page)
    assert list(fields) == [parameter.name for parameter in parameters]
    for parameter in parameters:
        label = re.search(rf'<label for="{parameter.name}">([^<]+)</label>', page)
        assert label is not None
        assert re.fullmatch("[A-Z][a-z ,]+( \\((UTC|needed|UTC, needed)\\))?", label[1]), label[1]
        assert ("UTC" in label[1]) is ("datetime" in str(parameter.annotation))
        assert ("required" in fields[parameter.name]) is (parameter.default is parameter.empty)
    assert "<table" not in page
    assert "<figure" not in page


def test_fields_are_of_the_kind_of_what_is_given(ann: Browser) -> None:
    """Numbers, choices and conditions are given as such, what is usual stands there, and names known are offered."""
    page = ann.get("/ask/best-run")
    fields = names(page)
    assert 'type="number" step="1"' in fields["limit"]
    assert fields["where"].startswith("<textarea")
    goals = re.findall(r'<option value="(max|min)"( selected)?>([\w ]+)</option>', page)
    assert goals == [("max", " selected", "the greatest"), ("min", "", "the least")]
    assert 'value="completed"' in fields["status"]
    assert f'<option value="{TASK.project}">' in page
    assert '<option value="accuracy">' in page
    assert 'type="number" step="any"' in names(ann.get("/ask/serving-drift"))["margin"]
    assert '<option value="month">month</option>' in ann.get("/ask/serving")


@pytest.mark.parametrize("name", QUESTIONS)
def test_each_answer_is_shown_and_drawn(ann: Browser, name: str) -> None:
    """The answer is what the question says, as a table, or as its facts; and as a picture where it has figures."""
    answer = QUESTIONS[name](ann.access.store(TOKEN), **ARGUMENTS[name])
    page = ann.get(asked(name))
    rows = answer if isinstance(answer, list) else next((v for v in answer.values() if isinstance(v, list)), [])
    if isinstance(answer, list):
        assert page.count("<tr>") == (len(rows) if name != "best-run" else 3) + 1
    else:
        assert set(re.findall(r"<dt>([\w ]+)</dt>", page)) >= {
            each.replace("_", " ")
            for each, value in answer.items()
            if not isinstance(value, list) and not each.endswith("_id")
        }
    assert ("<svg" in page[page.index("<main") :]) is (name != "live")


def test_the_answer_is_that_of_the_demonstration(ann: Browser) -> None:
    """What is typed into the form is what is asked: the best run by a condition on its parameters."""
    deep = [run for run in of_task(TASK.task) if run.params["depth"] > 3 and run.project == TASK.project]
    page = ann.get(asked("best-run"))
    assert re.findall(r'<td><a href="/nodes/run/[^"]+">([^<]+)</a>', page)[0] == best(deep).run_id
    least = ann.get(asked("best-run", goal="min", where="params.depth=3", limit=1))
    assert best(deep).run_id not in re.findall(r'<td><a href="/nodes/run/[^"]+">([^<]+)</a>', least)
    every = ann.client.get(asked("best-run", ".json", status="", limit=1000, where="")).json()
    assert len(every) == len([run for run in of_task(TASK.task) if run.metrics and run.project == TASK.project])


def test_a_field_that_is_emptied() -> None:
    """A condition that is taken out of its field is none; what is needed for an answer has its usual value."""
    sent = dict.fromkeys(("status", "project", "limit", "goal"), "")
    usual = {"metric": "f1", "status": None, "project": None, "limit": 1, "goal": "max"}
    assert given(QUESTIONS["best-run"], {"metric": "f1", **sent}) == usual


NAMES: dict[str, dict[str, set[str]]] = {
    "techniques": {"Project": {TASK.project}, "Run": set()},
    "transformations": {"Featureset": set()},
    "selections": {"Featureset": set()},
    "datasets-used": {"Dataset": {TASK.dataset}, "Model": set()},
    "influence": {"Dataset": {TASK.dataset}, "Model": set(), "Deployment": {f"{TASK.project} v2"}},
    "model-at": {"Run": set(), "Model": set(), "Dataset": set(), "Featureset": set()},
    "best-run": {"Run": set(), "Model": set(), "Dataset": set(), "Featureset": set()},
    "summary": {"Project": {TASK.project}},
    "serving": {"Deployment": {f"{TASK.project} v1", f"{TASK.project} v2"}},
    "serving-drift": {"Deployment": {f"{TASK.project} v2"}, "Project": {TASK.project}, "Run": set()},
    "live": {"Deployment": {f"{TASK.project} v2"}, "Project": {TASK.project}, "Model": set(), "Run": set()},
}
"""The kinds of nodes that an answer names, with some of the names."""


@pytest.mark.parametrize("name", NAMES)
def test_what_an_answer_names_is_one_click_away(ann: Browser, requests_of: Any, name: str) -> None:
    """Each node that an answer names leads to its page, or to all that have a name, for no further request."""
    store = ann.access.store(TOKEN)
    requests = requests_of(store.db)
    page = ann.get(asked(name))
    assert len(requests) <= 2
    answer = page[page.index("<form") :]
    led = {(unescape(label), unescape(path)) for path, label in re.findall(r'<a href="(/[^"]+)">([^<]+)</a>', answer)}
    for kind, some in NAMES[name].items():
        ways = (f"/nodes/{SCHEMA.node(kind).collection}/", f"/search?kind={kind}&")
        found = {(label, path) for label, path in led if path.startswith(ways)}
        assert found
        assert {label for label, _ in found} >= some
        for label, path in found:
            assert label.partition(" version ")[0] in unescape(ann.get(path))
    assert not re.search(r">\w+/[\w-]+-[0-9a-f]{32}<", page)


def test_who_is_named_by_an_id(ann: Browser) -> None:
    """Columns of `_id`s are known by their names, whatever they hold; a name of which no `_id` is told stays a text."""
    row = {"model": "m", "model_id": "models/m", "projects": ["p"], "project_ids": ["project/p"], "runs": 3}
    assert ids_of(row) == {"model": "model_id", "projects": "project_ids"}
    assert ids_of(["run_id", "run", "deployment", "id"]) == {"run_id": "run", "deployment": "id"}
    assert ids_of(["run_id", "uri", "models", "best_run"]) == {}
    assert mentions({"model": "m", "model_id": None, "uri": "datasets/1", "runs": 3}, SCHEMA) == {}


def test_a_new_question_shows_up_by_itself(ann: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function in the table of questions is in the list, has a form, is answered and drawn."""

    def sizes(store: Store, least: int, kind: str | None = None) -> list[Document]:
        """How large is it?

        Rows with their `size`.
        """
        return [{"name": MARKUP, "size": least}, {"name": kind, "size": least + 1}]

    monkeypatch.setitem(QUESTIONS, "sizes", sizes)  # type: ignore[arg-type]
    assert "/ask/sizes" in links(ann.get("/ask"))
    assert list(names(ann.get("/ask/sizes"))) == ["least", "kind"]
    page = ann.get("/ask/sizes?ask=yes&least=4&kind=wide")
    assert "<code>size</code>" in page
    assert "wide: 5" in page
    assert "<script>alert" not in page
    assert "<b>" not in page


def test_what_is_drawn_can_be_chosen(ann: Browser) -> None:
    """Of several figures the address says which is drawn; the form offers all."""
    assert "<figcaption>models</figcaption>" in ann.get(asked("techniques"))
    page = ann.get(asked("techniques", draw="best"))
    assert "<figcaption>best</figcaption>" in page
    assert "<option selected>best</option>" in page
    assert "<figcaption>mean</figcaption>" in ann.get(asked("serving"))


def test_a_large_answer_is_a_page_of_some_rows(ann: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many rows the first are shown, with how many there are besides; the files have all."""
    monkeypatch.setattr("arangopipe_ops.web.pages.ask.MOST_ROWS", 2)
    page, rows = ann.get(asked("techniques")), ann.client.get(asked("techniques", ".json")).json()
    assert page.count("<tr>") == 3
    assert f"and {len(rows) - 2} rows more, which the files have" in page


def test_a_large_picture_is_of_some_lines_and_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many lines the first are drawn, and of their points one of every few; the title says so."""
    rows = [{"name": name, "start": f"2026-01-0{day}", "n": day} for name in "abc" for day in range(1, 7)]
    monkeypatch.setattr("arangopipe_ops.web.pages.pictures.MOST_LINES", 2)
    monkeypatch.setattr("arangopipe_ops.web.pages.pictures.MOST_POINTS", 6)
    [chart] = drawn(rows)
    assert "<figcaption>n, 2 of 3 lines, one of 2 points</figcaption>" in chart
    assert len(re.findall(r"<title>[ab]: ", chart)) == 6
    assert "c: " not in chart


def test_periods_are_drawn_as_lines_and_names_as_bars() -> None:
    """Rows that a time tells apart are lines over it, others bars, called by what tells them apart."""
    times = [{"name": n, "start": f"2026-01-0{day}", "end": None, "n": day} for day in (1, 2) for n in "ab"]
    [chart] = drawn(times)
    assert chart.count('class="legend"') == 1
    assert "a: 2, 2026-01-02" in chart
    assert list(drawn(times[::-1])) == [chart], "a line goes from the oldest to the newest"
    pairs = [{"kind": "x", "of": of, "to": to, "size": 1, "inner": {"deep": 2}} for of in "ab" for to in "cd"]
    [chart] = drawn(pairs)
    assert "a, c: 1" in chart
    assert "x" not in re.findall(r"<title>([^<]+)", chart)[0].partition(":")[0]
    assert "a, c: 2" in next(drawn(pairs, ["inner.deep"]))
    assert "unknown (2): 1" in next(drawn([{"name": None, "n": 1}] * 2))
    assert list(drawn([])) == list(drawn([{"name": "a"}])) == list(drawn({"a": 1})) == []
    [counts, chosen] = drawn({"by": {"x": 1, "y": 2}, "wins": 3, "rows": []}, ["wins"])
    assert "y: 2" in counts
    assert "wins: 3" in chosen


@pytest.mark.parametrize(
    ("name", "arguments", "status", "says"),
    [
        ("summary", {"project": ""}, 422, "Project: is needed"),
        ("summary", {"project": "none such"}, 404, "Project 'none such'"),
        ("best-run", {"limit": "many"}, 422, "Rows: 'many' is not a whole number"),
        ("best-run", {"limit": "0"}, 422, "Rows: 0 is not a number from 1"),
        ("best-run", {"goal": "most"}, 422, "Best is: 'most' is not max or min"),
        ("best-run", {"where": "a..b>1"}, 422, "Conditions: 'a..b' is not the name of an attribute"),
        ("serving", {"every": "fortnight"}, 422, "Put together by: 'fortnight' is not hour or day or week"),
        ("serving", {"percentiles": "x"}, 422, "Percentiles: 'x' are not numbers"),
        ("serving-drift", {"margin": "x"}, 422, "Worse by more than: 'x' is not a number"),
        ("live", {"at": "yesterday"}, 422, "At the time: 'yesterday' is not an ISO 8601 time, such as 2026-01-31"),
    ],
)
def test_what_cannot_be_asked(ann: Browser, name: str, arguments: dict[str, str], status: int, says: str) -> None:
    """What is missing or wrong is told beside the form by the label of its field, and the form keeps what was typed."""
    page = ann.get(asked(name, **arguments), status)
    assert says in unescape(re.findall(r'role="alert">([^<]+)', page)[0])
    for field, value in arguments.items():
        assert f'value="{value}"' in names(page)[field] or value in ("", "most", "a..b>1", "fortnight")
    assert "<table" not in page
    for ending in (".csv", ".json"):
        assert says.partition(": ")[2] in unescape(ann.get(asked(name, ending, **arguments), status))


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", ["best-run", "serving"])
def test_no_text_in_the_address_is_a_fault(ann: Browser, name: str, odd: str) -> None:
    """Whatever stands in a field, the answer is a page that says what is wrong, if anything is."""
    for field in (*names(ann.get(f"/ask/{name}")), "draw"):
        assert ann.client.get(asked(name, **{field: odd})).status_code in (200, 404, 422), field


def test_what_is_no_question(ann: Browser) -> None:
    """A name that is none of the questions, and a file that is none, are pages that say what there is."""
    assert "techniques" in ann.get("/ask/nothing", 404)
    assert "csv, json" in ann.get(asked("influence", ".xml"), 404)


def test_answers_to_keep(ann: Browser) -> None:
    """JSON is the answer as the library gives it, CSV its rows, both linked from the page."""
    store = ann.access.store(TOKEN)
    for name in QUESTIONS:
        answer = QUESTIONS[name](store, **ARGUMENTS[name])
        if name != "best-run":
            assert ann.client.get(asked(name, ".json")).json() == answer
            assert asked(name, ".json") in links(ann.get(asked(name)))
    rows = list(csv.DictReader(io.StringIO(ann.client.get(asked("techniques", ".csv")).text)))
    assert [row["technique"] for row in rows] == [
        row["technique"] for row in QUESTIONS["techniques"](store, **ARGUMENTS["techniques"])
    ]
    assert ann.client.get(asked("summary", ".csv")).text.startswith("project,project_id,owner,")


def test_an_empty_graph_has_empty_answers(empty: Browser) -> None:
    """Where there is nothing, an answer says that it is empty and what to look at."""
    page = empty.get("/ask/techniques?ask=yes&task=x")
    assert "The answer is empty" in page
    assert empty.get("/ask/influence")


def test_a_page_costs_two_requests_and_writes_nothing(ann: Browser) -> None:
    """A form is one request for the names that it offers, an answer one more; the graph stays as it is."""
    db = ann.access.store(TOKEN).db
    before, sent = dump(db), Requests(db)
    for name in QUESTIONS:
        for path, most in (("/ask", 1), (f"/ask/{name}", 1), (asked(name), 2), (asked(name, ".csv"), 1)):
            sent.sent.clear()
            ann.get(path)
            assert len(sent) <= most, path
    assert dump(db) == before


def test_stored_markup_is_text(ann: Browser) -> None:
    """Names that are markup are shown as they are: offered, in tables and in charts."""
    store = ann.access.store(TOKEN)
    store.write(stages.register_model(MARKUP, project=TASK.project, task=MARKUP, technique=MARKUP))
    store.write(stages.log_run(MARKUP, model=MARKUP, metrics={MARKUP: 1.0}))
    for name, arguments in (
        ("techniques", {"task": MARKUP, "metric": ""}),
        ("best-run", {"metric": MARKUP, "project": "", "where": ""}),
        ("model-at", {"model": MARKUP, "at": "2999-01-01"}),
    ):
        page = ann.get(asked(name, **arguments)).partition("<main")[2]
        assert "&lt;script&gt;alert" in page
        assert "<script>alert" not in page
        assert "<b>" not in page
        assert not re.search(r"<(style|iframe)|\sstyle=|\son\w+=", page.replace(MARKUP, ""))
