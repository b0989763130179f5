"""Earlier answers: shown while a newer one is made, within their bounds."""

import re
import time
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from test_web_pages import proof
from test_web_waiting import ASKED, EARLIER, HeldAccess, HeldStore, access, app, entered, fetched, interrupted, sign_in

from arangopipe_ops.web.works import Works

__all__ = ["access", "app"]


def answered(client: TestClient, held: HeldStore, address: str = ASKED) -> str:
    """Ask what takes its time, and return the answer."""
    held.let.set()
    answer = fetched(client, address)
    held.let.clear()
    return answer


@pytest.fixture
def slow(access: HeldAccess, monkeypatch: pytest.MonkeyPatch) -> HeldStore:
    """A store that takes its time also when it is let."""
    query = access.held.query

    def later(*arguments: Any, **options: Any) -> list[Any]:
        time.sleep(0.1)
        return query(*arguments, **options)

    monkeypatch.setattr(access.held, "query", later)
    return access.held


def test_an_earlier_answer_is_there_until_a_newer_is_made(app: FastAPI, slow: HeldStore) -> None:
    """Who comes back sees what was found before, of when it is, and learns when a newer answer is there."""
    with entered(app) as client:
        first = answered(client, slow)
        assert EARLIER not in first
        again = [client.get(ASKED) for _ in range(3)]
        assert {answer.status_code for answer in again} == {200}
        for answer in again:
            assert re.search(rf'{EARLIER} <time datetime="[^"]+Z">2', answer.text)
            assert re.sub(r'<p class="notice earlier".*?</p>', "", answer.text) == first
            assert int(answer.headers["age"]) < 30
            assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert slow.asked == 2
        assert client.get(ASKED, headers={"Prefer": "wait"}).status_code == 202
        slow.let.set()
        app.state.works.again = 30
        assert client.get(ASKED, headers={"Prefer": "wait"}).status_code == 204
        newer = client.get(ASKED)
        assert (newer.text, "age" in newer.headers) == (first, False)
        assert slow.asked == 2


def test_an_earlier_answer_is_for_who_asked(app: FastAPI, slow: HeldStore) -> None:
    """Nobody else sees it, and after a form nobody does."""
    with entered(app) as client:
        answered(client, slow)
        csrf = proof(client.get("/admin/nodes").text)
        assert client.post("/admin/projects", data={"csrf": csrf, "name": "cheese"}).status_code == 303
        assert client.get(ASKED).status_code == 202
        answered(client, slow)
        client.cookies.clear()
        sign_in(client)
        assert client.get(ASKED).status_code == 202
        slow.let.set()


def test_earlier_answers_have_their_bounds(app: FastAPI, slow: HeldStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many the newest are kept, and none for longer than an hour."""
    addresses = [f"{ASKED}&limit={number}" for number in (1, 2, 3)]
    with entered(app) as client:
        pages = [answered(client, slow, address) for address in addresses]
        app.state.works = Works(soon=0.05, again=0.05, most=len(pages[1].encode()) + len(pages[2].encode()))
        for address in addresses:
            answered(client, slow, address)
        assert [client.get(address).status_code for address in addresses] == [202, 200, 200]
        slow.let.set()
        for address in addresses:
            fetched(client, address)
        monkeypatch.setattr("arangopipe_ops.web.works.EARLIER_SECONDS", 0.0)
        slow.let.clear()
        assert client.get(addresses[2]).status_code == 202
        slow.let.set()


def test_a_newer_answer_that_is_an_error_is_told(
    app: FastAPI, slow: HeldStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found before does not hide that the question cannot be answered any more."""
    with entered(app) as client:
        answered(client, slow)
        with monkeypatch.context() as patch:
            patch.setattr(slow, "query", interrupted(slow))
            assert EARLIER in client.get(ASKED).text
            slow.let.set()
            app.state.works.again = 30
            assert client.get(ASKED, headers={"Prefer": "wait"}).status_code == 204
            assert client.get(ASKED).status_code == 503


def test_an_error_is_no_earlier_answer(app: FastAPI, slow: HeldStore) -> None:
    """Who comes back to a question that could not be answered is not shown that again as what was found."""
    with entered(app) as client:
        address = f"{ASKED}&project=none"
        slow.let.set()
        assert client.get(address).status_code == 202
        fetched(client, address, 404)
        slow.let.clear()
        assert client.get(address).status_code == 202
