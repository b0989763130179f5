"""The AQL console: what is run, what is refused, what is shown, and what is remembered."""

import csv
import io
import json
import math
import re
import shutil
from copy import copy
from html import unescape
from typing import Any

import pytest
from conftest import Requests, dump
from fastapi.testclient import TestClient
from test_web_access import PASSWORDS, Database
from test_web_pages import MARKUP, TOKEN, Browser, database, file, fill, links, proof

from arangopipe_ops.admin import Rights, doctor
from arangopipe_ops.connection import connect
from arangopipe_ops.store import Store
from arangopipe_ops.store.saved import MOST
from arangopipe_ops.web.access import FileAccess, ServerAccess

__all__ = ["database", "file"]

READ = "FOR p IN project SORT p.name RETURN {name: p.name, owner: p.owner}"
WRITE = 'INSERT {_key: "intruder", name: "intruder"} INTO project'
HIDDEN = 'LET UPDATE_none = "REMOVE" FOR p IN project FILTER p.name != "INSERT" RETURN p.name // REPLACE'


@pytest.fixture
def ann(file: Any, made_once: Any) -> Browser:
    """Somebody who may write, on a small flow."""
    shutil.copyfile(made_once(fill), file)
    return Browser(FileAccess(f"embedded://{file}", token=TOKEN)).enter()


@pytest.fixture(scope="module")
def users(database: Database) -> Database:
    store = Store(connect(database.url.replace("//", "//ann:ann's own@")))
    from arangopipe_ops import stages

    store.write(stages.register_project("theirs"))
    return database


def signed_in(database: Database, name: str) -> Browser:
    browser = Browser(ServerAccess(database.url))
    assert browser.post("/sign-in", username=name, password=PASSWORDS[name]).status_code == 303
    return browser


def another(browser: Browser) -> Browser:
    """Return somebody else at the same application."""
    other = copy(browser)
    other.client = TestClient(browser.app, follow_redirects=False)
    return other.enter()


def ask(browser: Browser, text: str, status: int = 200, path: str = "/query", **fields: str) -> str:
    """Return the page that answers a statement."""
    answer = browser.post(path, "/query", text=text, **fields)
    assert answer.status_code == status, answer.text
    return str(answer.text)


def rows(page: str) -> list[list[str]]:
    """Return the cells of the result of a page."""
    table = page.partition('aria-label="Result"')[2].partition("</table>")[0].partition("<tbody>")[2]
    cells = [re.findall(r"<td>(.*?)</td>", row, re.DOTALL) for row in table.split("</tr>")[:-1]]
    return [[unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in row] for row in cells]


def test_a_statement_is_run(ann: Browser) -> None:
    """The rows are a table with a column for each attribute, and JSON; the statement stays in the form."""
    page = ask(ann, READ)
    assert rows(page) == [["wine", "ann"]]
    assert '<th scope="col">owner</th>' in page
    assert "1 row," in page
    assert READ.replace('"', "&#34;") in page
    values = rows(ask(ann, "FOR i IN [1, null, [2, {a: 3}], 'x'] RETURN i"))
    assert [cell.split() for [cell] in values] == [["1"], ["none"], ["2", "items21", "entry", "a3"], ["x"]]
    page = ask(ann, "FOR id IN APPEND((FOR p IN project RETURN p._id), ['elsewhere/1', 7]) RETURN {_id: id}")
    assert len([link for link in links(page) if link.startswith("/nodes/project/")]) == 1
    assert "elsewhere/1" in page
    assert "No rows" in ask(ann, "FOR p IN project FILTER false RETURN p")


def test_bind_variables(ann: Browser) -> None:
    """Values and collections are bound from JSON; what is not JSON, or no object, is told."""
    text = "FOR d IN @@c FILTER d.name == @name COLLECT WITH COUNT INTO n RETURN n"
    assert rows(ask(ann, text, binds='{"@c": "datasets", "name": "wine data"}')) == [["5"]]
    assert "are not JSON" in ask(ann, text, 422, binds="{name: 1}")
    assert "an object of JSON" in ask(ann, text, 422, binds="[1]")
    assert "bind parameter" in ask(ann, text, 422)


@pytest.mark.parametrize(
    "text", [WRITE, "FOR p IN project REMOVE p IN project", f"LET x = ({WRITE} RETURN 1) RETURN x"]
)
def test_a_write_needs_more_than_the_right(ann: Browser, text: str) -> None:
    """Who may write and did not say so has written nothing, by whatever button; who says so has."""
    db = ann.access.store(TOKEN).db
    before = dump(db)
    for path, fields in (("/query", {}), ("/query", {"sure": "yes"}), ("/query/write", {}), ("/query", {"do": "csv"})):
        assert "would write, and nothing was run" in ask(ann, text, 422, path, **fields)
    assert '<span class="mark">writes</span>' in ask(ann, text, do="explain")
    assert dump(db) == before
    assert "It has written" in ask(ann, text, path="/query/write", sure="yes")
    assert dump(db) != before


def test_a_word_is_no_write(ann: Browser) -> None:
    """Whether a statement writes is the database's word, not a word in its text."""
    assert rows(ask(ann, HIDDEN)) == [["wine"]]
    assert '<span class="mark">only reads</span>' in ask(ann, HIDDEN, do="explain")


def test_a_reader_writes_nothing(users: Database) -> None:
    """Who may only read gets no box to tick, and no route runs or saves what writes."""
    bob = signed_in(users, "bob")
    db = connect(users.url.replace("//", "//ann:ann's own@"))
    before = dump(db)
    assert rows(ask(bob, "FOR p IN project RETURN p.name")) == [["theirs"]]
    page = bob.get("/query")
    assert "Run and write" not in page
    assert "You may read this graph, but not write to it" in page
    assert "may not be written to" in ask(bob, WRITE, 403)
    for path in ("/query/write", "/query/save", "/query/forget"):
        ask(bob, WRITE, 403, path, sure="yes", name="x")
    assert dump(db) == before
    assert "It has written" in ask(signed_in(users, "ann"), WRITE, path="/query/write", sure="yes")


def test_a_user_whom_the_pages_keep_from_writing(users: Database) -> None:
    """Where the application alone keeps somebody from writing, it does so though the database would let them."""
    ann, db = signed_in(users, "ann"), connect(users.url.replace("//", "//ann:ann's own@"))
    [session] = ann.app.state.sessions._open.values()
    session.rights = Rights(write=False, define=False, administrate=False), math.inf
    before, other = dump(db), WRITE.replace("intruder", "another")
    for path in ("/query", "/query/write", "/query/save"):
        assert "You may read this graph, but not write to it" in ask(ann, other, 403, path, sure="yes", name="x")
    assert dump(db) == before


def test_errors_of_a_statement(ann: Browser) -> None:
    """What the database says against a statement stands beside it, with the place where that is known."""
    page = ask(ann, "FOR p IN project\n  RETRN p", 422)
    assert "syntax error" in page
    assert re.search(r"<pre>2:\s+<mark>RETRN p</mark></pre>", page)
    assert "FOR p IN project" in page
    assert "nothing" in ask(ann, "FOR p IN nothing RETURN p", 503)
    assert "unknown function" in ask(ann, "RETURN foo(1)", 422)
    ask(ann, "  ", 422)


def test_work_has_an_end(ann: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many rows some are read and shown, and files have more; a statement that takes too much is ended."""
    page, asked = proof(ann.get("/query")), Requests(ann.access.store(TOKEN).db)
    page = ann.client.post("/query", data={"csrf": page, "text": "FOR i IN 1..100000 RETURN i"}).text
    assert len(asked) <= 4
    assert len(rows(page)) == 100
    assert "The first 100 rows" in page
    kept = ask(ann, "FOR i IN 1..100000 RETURN i", do="csv")
    assert len(list(csv.reader(io.StringIO(kept)))) == 10_001
    monkeypatch.setattr("arangopipe_ops.web.pages.console.SECONDS", 0.1)
    assert "killed" in ask(ann, "FOR i IN 1..10000000 COLLECT WITH COUNT INTO n RETURN n", 503)
    monkeypatch.setattr("arangopipe_ops.web.pages.console.MEMORY", 10_000)
    assert "more memory than allowed" in ask(ann, "FOR i IN 1..10000 RETURN i", 503)


def test_files(ann: Browser) -> None:
    """A result is kept as CSV, without formulas, and as JSON."""
    answer = ann.post("/query", "/query", text='FOR p IN project RETURN {a: "=1+1", b: {c: p.name}}', do="csv")
    assert "attachment" in answer.headers["content-disposition"]
    assert list(csv.reader(io.StringIO(answer.text))) == [["a", "b"], ["'=1+1", '{"c": "wine"}']]
    assert json.loads(ask(ann, READ, do="json")) == [{"name": "wine", "owner": "ann"}]


def test_a_plan(ann: Browser) -> None:
    """A plan shows the steps with those of subqueries, the indexes used and the collections."""
    text = "FOR r IN run FILTER r.run_id == 'r1' RETURN (FOR e IN run_models FILTER e._to == r._id RETURN e)"
    page = ask(ann, text, do="explain")
    assert "persistent (run_id, created)" in page
    assert "edge (_from, _to)" in page
    assert "· Index" in page
    assert "r1" not in page.partition('aria-label="Plan"')[2].partition("</table>")[0]


def test_what_was_asked_is_remembered_until_the_end(ann: Browser) -> None:
    """Statements stand in the list, the newest first and each once, and lead back into the form; others see none."""
    for text in (READ, "RETURN 1", READ):
        ask(ann, text)
    past = [link for link in links(ann.get("/query")) if link.startswith("/query?text=")]
    assert len(past) == 2
    assert READ in unescape(ann.get(past[0]))
    assert not rows(ann.get(past[0]))
    other = another(ann)
    assert "/query?text=" not in other.get("/query")
    assert "localStorage" not in ann.get("/query")


def test_saved_for_all(ann: Browser) -> None:
    """A saved statement is there for everyone under its name, until it is removed; the graph stays healthy."""
    answer = ann.post("/query/save", "/query", text=READ, binds='{"a": 1}', name=MARKUP)
    assert answer.status_code == 303
    other = another(ann)
    page = other.get("/query")
    assert MARKUP not in page
    path = next(link for link in links(page) if link.startswith("/query?saved="))
    page = unescape(other.get(path))
    assert READ in page
    assert '{"a": 1}' in page
    assert f'name="name" value="{MARKUP}"' in page
    assert [each for each in doctor(ann.access.store(TOKEN).db) if each.severity == "error"] == []
    assert "is removed" in other.get(other.post("/query/forget", "/query", name=MARKUP).headers["location"])
    assert "/query?saved=" not in ann.get("/query")
    assert "not found: x" in ann.get("/query?saved=x", 404)


def test_what_cannot_be_saved(ann: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing without a name, of boundless length or beyond their number is saved; one of the same name is replaced."""
    assert "give the statement a name" in ask(ann, READ, 422, "/query/save", name=" ")
    assert "at most 20,000" in ask(ann, "x" * 30_000, 422, "/query/save", name="long")
    assert MOST > 2
    monkeypatch.setattr("arangopipe_ops.store.saved.MOST", 2)
    for name, told in (("a", "graph."), ("b", "graph."), ("b", "graph, in the place of what this file had saved.")):
        answer = ann.post("/query/save", "/query", text=READ, name=name)
        assert f"{name} is saved, for all who read this {told}<" in ann.get(answer.headers["location"])
    assert "remove one first" in ask(ann, READ, 409, "/query/save", name="c")


def test_few_requests(ann: Browser) -> None:
    """A statement costs its explanation, itself, and the list of the saved ones."""
    page = proof(ann.get("/query"))
    asked = Requests(ann.access.store(TOKEN).db)
    ann.client.post("/query", data={"csrf": page, "text": READ})
    assert len(asked) == 3


def test_markup_in_results_is_text(ann: Browser) -> None:
    """What is stored, and what is typed, is shown as text."""
    page = ask(
        ann,
        f"FOR d IN datasets FILTER d.name == @name RETURN {{[{json.dumps(MARKUP)}]: d}}",
        binds=json.dumps({"name": MARKUP}),
    )
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert "<script>alert" not in ask(ann, f"RETURN {MARKUP}", 422)
