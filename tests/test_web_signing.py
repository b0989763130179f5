"""Signing in and out: who has a session, and what it is good for."""

import re
from html import unescape

import pytest
from fastapi.testclient import TestClient
from test_web_access import PASSWORDS, Database
from test_web_pages import TOKEN, Browser, ann, anyone, database, file, proof

from arangopipe_ops import stages
from arangopipe_ops.connection import connect
from arangopipe_ops.store import Store
from arangopipe_ops.web.access import ServerAccess
from arangopipe_ops.web.pages.sessions import COOKIE, Sessions

__all__ = ["ann", "anyone", "database", "file"]


def test_who_has_not_signed_in_is_led_to_the_form_and_back(anyone: Browser) -> None:
    """A page asks for the sign-in first, and what was asked for comes after it."""
    answer = anyone.client.get("/search?kind=Run")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=%2Fsearch%3Fkind%3DRun")
    answer = anyone.post("/sign-in", page=answer.headers["location"], token=TOKEN, next="/search?kind=Run")
    assert answer.headers["location"] == "/search?kind=Run"
    assert "r1" in anyone.get("/search?kind=Run")


def test_the_cookie_is_out_of_reach(anyone: Browser) -> None:
    """The session's cookie is kept from scripts and other sites, new at the sign-in, and not the token."""
    before = anyone.client.get("/sign-in").headers["set-cookie"]
    cookie = anyone.post("/sign-in", token=TOKEN).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie
    assert TOKEN not in cookie
    assert cookie.split(";")[0] != before.split(";")[0]
    secure = Browser(anyone.access, "https://testserver").post("/sign-in", token=TOKEN)
    assert "Secure" in secure.headers["set-cookie"]


def page_routes(browser: Browser, method: str) -> list[str]:
    """Return the paths of all pages that take a method, with something in the place of what varies."""
    routes = [route for route in browser.app.routes if method in getattr(route, "methods", ())]
    paths = [re.sub(r"{\w+}", "x", route.path) for route in routes]  # type: ignore[attr-defined]
    return [path for path in paths if not path.startswith("/api/")]


def test_every_page_wants_a_session_and_every_form_its_token(anyone: Browser) -> None:
    """Whatever page there is leads to the sign-in first, and whatever takes a form refuses one without its token."""
    pages, forms = page_routes(anyone, "GET"), page_routes(anyone, "POST")
    assert len(pages) > 8
    assert {path for path in pages if anyone.client.get(path).status_code != 303} == {"/sign-in"}
    assert forms
    anyone.enter()
    assert {anyone.client.post(path, data={"a": "b"}).status_code for path in forms} == {403}
    assert [method for method in ("PUT", "PATCH", "DELETE") if page_routes(anyone, method)] == []


def test_signing_out_ends_the_session(ann: Browser) -> None:
    """After the sign-out the cookie of before leads nowhere."""
    cookie = ann.client.cookies[COOKIE]
    assert ann.post("/sign-out", page="/").headers["location"] == "/sign-in"
    ann.client.cookies.set(COOKIE, cookie)
    assert ann.client.get("/").status_code == 303


def test_a_session_ends_when_nobody_uses_it(ann: Browser) -> None:
    """Who does nothing for long has to sign in again."""
    ann.app.state.sessions = Sessions(idle=0.0)
    ann.enter()
    assert ann.client.get("/").status_code == 303


def test_a_form_that_comes_after_the_session(ann: Browser) -> None:
    """Who sends a form and is not signed in any more is told that nothing was done, and led back to the form."""
    csrf = proof(ann.get("/admin/nodes?kind=Run"))
    ann.app.state.sessions._open.clear()
    came = {"Referer": "http://testserver/admin/nodes?kind=Run"}
    answer = ann.client.post("/admin/projects", data={"csrf": csrf, "name": "tea"}, headers=came)
    assert answer.status_code == 303
    page = ann.get(answer.headers["location"])
    assert "Nothing was done" in page
    [back] = re.findall(r'name="next" value="([^"]*)"', page)
    answer = ann.post("/sign-in", page=answer.headers["location"], token=TOKEN, next=unescape(back))
    assert answer.headers["location"] == "/admin/nodes?kind=Run"
    assert "tea" not in ann.get("/admin/nodes")


def test_sessions_are_not_without_number() -> None:
    """Of more sessions than are kept the oldest ends."""
    sessions = Sessions(most=2)
    opened = [sessions.open("t", "u") for _ in range(3)]
    assert [sessions.find(session.id) is not None for session in opened] == [False, True, True]


def test_a_wrong_token_is_told(anyone: Browser) -> None:
    """Whoever does not know the token gets the form again, with what to use."""
    answer = anyone.post("/sign-in", token="another")
    assert answer.status_code == 401
    assert "not the one that was printed" in answer.text
    assert anyone.client.get("/").status_code == 303


@pytest.mark.parametrize("path", ["/sign-in", "/sign-out"])
@pytest.mark.parametrize("sent", [None, "", "0" * 64, "ä"])
def test_a_form_of_another_site_is_refused(ann: Browser, path: str, sent: str | None) -> None:
    """A form without the token of a page of ours, or with another, is 403 and does nothing."""
    fields = {} if sent is None else {"csrf": sent}
    assert ann.client.post(path, data={"token": TOKEN, **fields}).status_code == 403
    assert ann.client.post(path, json={"csrf": proof(ann.get("/"))}).status_code == 403
    assert ann.client.get("/").status_code == 200


@pytest.mark.parametrize("elsewhere", ["//evil.example", "/\\evil.example", "https://evil.example", "", "/\t/x"])
def test_the_way_back_stays_here(anyone: Browser, elsewhere: str) -> None:
    """After the sign-in nobody is sent to another site."""
    assert anyone.post("/sign-in", token=TOKEN, next=elsewhere).headers["location"] == "/"


def test_the_link_signs_in_once(anyone: Browser) -> None:
    """The link that is printed at the start opens a session, leaves the address, and is good once."""
    link = f"/sign-in?ticket={anyone.access.ticket}"
    answer = anyone.client.get(link)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "What the graph holds" in anyone.get("/")
    assert anyone.client.get(link).headers["location"] == "/"  # again, by who is in already
    other = TestClient(anyone.app, follow_redirects=False)
    again = other.get(link)
    assert again.status_code == 401
    assert "The link has been used" in again.text
    assert other.get("/").status_code == 303
    assert other.get("/sign-in?ticket=x").status_code == 401


def test_a_session_is_not_for_the_api(ann: Browser) -> None:
    """The cookie opens no route of the API, which takes a token alone; what it answers is no page."""
    answer = ann.client.get("/api/v1/counts")
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert ann.client.post("/api/v1/stages/project", json={"name": "x"}).status_code == 401
    assert ann.client.get("/api/v1/nothing").headers["content-type"] == "application/problem+json"


@pytest.mark.slow
def test_users_of_a_server(database: Database) -> None:
    """A database user signs in by name; one who may only read sees every page, one who may nothing sees none."""
    store = Store(connect(database.url.replace("//", "//ann:ann's own@")))
    ref = store.write(stages.register_project("theirs"))
    browser = Browser(ServerAccess(database.url))
    assert "Database user" in browser.get("/sign-in")
    wrong = browser.post("/sign-in", username="bob", password="wrong")
    assert (wrong.status_code, 'value="bob"' in wrong.text, "wrong" in wrong.text) == (401, True, False)
    refused = browser.post("/sign-in", username="eve", password=PASSWORDS["eve"])
    assert "eve may not use the database ml" in refused.text
    assert browser.post("/sign-in", username="bob", password=PASSWORDS["bob"]).status_code == 303
    paths = ("/", "/search", f"/nodes/{ref['_id']}", f"/nodes/{ref['_id']}/lineage", f"/projects/{ref['_key']}")
    for path in paths:
        page = browser.get(path)
        assert "theirs" in page
        assert "bob" in page
    assert browser.client.get("/sign-in?ticket=x").headers["location"] == "/"


@pytest.mark.slow
def test_a_token_that_the_server_takes_no_more(database: Database) -> None:
    """When the server's token has ended, the session has: one is led to the sign-in."""
    browser = Browser(ServerAccess(database.url))
    session = browser.app.state.sessions.open("no longer a token", "ann")
    browser.client.cookies.set(COOKIE, session.id)
    assert browser.client.get("/").headers["location"] == "/sign-in?next=%2F"
    assert browser.app.state.sessions.find(session.id) is None
