"""Answers that take their time: what is told within a moment, and how the answer comes after it."""

import gc
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import requests
import uvicorn
from browser import TOKEN, browser
from fastapi import FastAPI
from fastapi.testclient import TestClient
from test_web_pages import fill, proof

from arangopipe_ops.admin import doctor
from arangopipe_ops.connection import connect
from arangopipe_ops.errors import Unavailable
from arangopipe_ops.store import Store
from arangopipe_ops.web.access import FileAccess
from arangopipe_ops.web.app import create_app, listen
from arangopipe_ops.web.pages.sessions import COOKIE
from arangopipe_ops.web.works import Works

__all__ = ["browser"]

ASKED = "/ask/best-run?metric=f1&ask=yes"
EARLIER = "This is the answer of"
DOCS = Path(__file__).parent.parent / "docs"


class HeldStore(Store):
    """A store that answers a question when it is let, as one does that looks at a million runs."""

    def __init__(self, db: Any) -> None:
        super().__init__(db)
        self.let = Event()
        self.asked = 0

    def query(self, text: str, binds: Any = None, **options: Any) -> list[Any]:
        if "LET candidates" in text:
            self.asked += 1
            assert self.let.wait(30)
        return super().query(text, binds, **options)


class HeldAccess(FileAccess):
    """The access to a file whose store is held."""

    def __init__(self, url: str) -> None:
        super().__init__(url, token=TOKEN)
        self.held = HeldStore(connect(url))

    def store(self, token: str) -> Store:
        super().store(token)
        return self.held


@pytest.fixture
def access(made_once: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldAccess]:
    monkeypatch.setenv("ARANGOPIPE_EMBEDDED_CLUSTER", "1")
    access = HeldAccess(f"embedded://{shutil.copy(made_once(fill), tmp_path / 'graph.db')}")
    yield access
    access.held.let.set()


@pytest.fixture
def app(access: HeldAccess) -> FastAPI:
    app = create_app(access)
    app.state.works = Works(soon=0.05, again=0.05)
    return app


@contextmanager
def entered(app: FastAPI, accept: str = "text/html,*/*;q=0.8") -> Iterator[TestClient]:
    """Somebody who has signed in with a browser."""
    with TestClient(app, follow_redirects=False, headers={"Accept": accept}) as client:
        sign_in(client)
        yield client


@contextmanager
def served(app: FastAPI, **options: Any) -> Iterator[tuple[uvicorn.Server, str]]:
    """A service behind a socket, and its address."""
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, **options))
    thread = Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield server, f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(30)


def sign_in(client: TestClient) -> None:
    csrf = proof(client.get("/sign-in").text)
    assert client.post("/sign-in", data={"csrf": csrf, "token": TOKEN}).status_code == 303


def fetched(client: TestClient, address: str, status: int = 200) -> str:
    """Return what is at an address, looking for it as a browser does."""
    for _ in range(200):
        answer = client.get(address)
        if answer.status_code != 202:
            assert answer.status_code == status, answer.text
            return answer.text
        time.sleep(0.02)
    raise TimeoutError(answer.text)


def test_a_page_says_within_a_moment_that_it_is_being_made(app: FastAPI, access: HeldAccess) -> None:
    """What is not there soon is announced, the browser looks again by itself, and the database is asked once."""
    with entered(app) as client:
        told = [client.get(ASKED) for _ in range(3)]
        assert {answer.status_code for answer in told} == {202}
        assert all("Working on it" in answer.text for answer in told)
        assert all("script-src 'self'" in answer.headers["content-security-policy"] for answer in told)
        access.held.let.set()
        assert "0.9375" in fetched(client, ASKED)
        assert access.held.asked == 1


@pytest.mark.parametrize(
    "address",
    [ASKED, "/admin/retention?days=1", "{Deployment}?since=2020-01-01", "{Deployment}/promotion", "{Run}/lineage"],
)
def test_a_page_whose_cost_grows_with_the_graph_says_so(app: FastAPI, access: HeldAccess, address: str) -> None:
    """Each of them is announced where it is not there at once."""
    app.state.works = Works(soon=0, again=30)
    access.held.let.set()
    named = {"Deployment": f"/deployments/{access.held.get('d1', 'Deployment')['_key']}"}
    with entered(app) as client:
        asked = address.format(**named, Run=f"/nodes/{access.held.get('r1', 'Run')['_id']}")
        assert client.get(asked).status_code == 202
        assert client.get(asked, headers={"Prefer": "wait"}).status_code == 204
        fetched(client, asked)


def test_an_answer_that_is_there_soon_is_the_page(app: FastAPI, access: HeldAccess) -> None:
    """Nothing is announced, and nothing kept, of what is there within a moment."""
    app.state.works = Works(soon=30)
    access.held.let.set()
    with entered(app) as client:
        answers = [client.get(ASKED) for _ in range(2)]
    assert {answer.status_code for answer in answers} == {200}
    assert access.held.asked == 2


def test_a_script_waits_for_the_answer(app: FastAPI, access: HeldAccess) -> None:
    """Who does not ask for a page to look at gets the answer, however long it takes."""
    with entered(app, accept="*/*") as client:
        Thread(target=lambda: (time.sleep(0.3), access.held.let.set())).start()
        answer = client.get(ASKED)
    assert (answer.status_code, "0.9375" in answer.text) == (200, True)


def test_who_looks_how_far_it_is_learns_when_it_is_there(app: FastAPI, access: HeldAccess) -> None:
    """A look waits for the end of the work, or some time; it begins nothing and takes nothing away."""
    looks = {"Prefer": "wait"}
    with entered(app) as client:
        assert client.get(ASKED, headers=looks).status_code == 204
        assert access.held.asked == 0
        assert client.get(ASKED).status_code == 202
        assert "Working on it" in client.get(ASKED, headers=looks).text
        app.state.works.again = 30
        Thread(target=lambda: (time.sleep(0.3), access.held.let.set())).start()
        assert [client.get(ASKED, headers=looks).status_code for _ in range(2)] == [204, 204]
        assert client.get(ASKED).status_code == 200
    assert access.held.asked == 1


def test_what_went_wrong_is_told_in_the_end(app: FastAPI, access: HeldAccess) -> None:
    """An answer that is an error comes as one, as if nobody had waited."""
    with entered(app) as client:
        address = f"{ASKED}&project=none"
        assert client.get(address).status_code == 202
        access.held.let.set()
        assert "Project &#39;none&#39;" in fetched(client, address, 404)


def test_a_failure_of_the_database_is_told_in_the_end(
    app: FastAPI, access: HeldAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault while nobody was waiting is a page that says so, and the next look asks anew."""
    monkeypatch.setattr(access.held, "query", interrupted(access.held))
    with entered(app) as client:
        assert client.get(ASKED).status_code == 202
        access.held.let.set()
        assert "Unavailable" in fetched(client, ASKED, 503)


def interrupted(store: HeldStore) -> Any:
    def query(text: str, binds: Any = None, **options: Any) -> list[Any]:
        HeldStore.query(store, text, binds, **options)
        raise Unavailable("the database does not answer")

    return query


def test_an_answer_is_for_who_asked(app: FastAPI, access: HeldAccess) -> None:
    """Somebody else at the same address has an answer of their own, and who is signed out has none."""
    with entered(app) as client:
        assert client.get(ASKED).status_code == 202
        ours = dict(client.cookies)
        client.cookies.clear()
        assert client.get(ASKED).status_code == 303
        sign_in(client)
        assert client.get(ASKED).status_code == 202
        assert access.held.asked == 2
        access.held.let.set()
        fetched(client, ASKED)
        client.cookies.clear()
        client.cookies.update(ours)
        client.post("/sign-out", data={"csrf": proof(client.get("/").text)})
        assert client.get(ASKED).status_code == 303


def test_after_a_form_an_answer_is_made_anew(app: FastAPI, access: HeldAccess) -> None:
    """Who has changed something does not see what was found before."""
    with entered(app) as client:
        assert client.get(ASKED).status_code == 202
        csrf = proof(client.get("/admin/nodes").text)
        assert client.post("/admin/projects", data={"csrf": csrf, "name": "cheese"}).status_code == 303
        assert client.get(ASKED).status_code == 202
        access.held.let.set()
        fetched(client, ASKED)
        assert access.held.asked == 2


def test_a_form_leaves_what_others_have_asked(app: FastAPI, access: HeldAccess) -> None:
    """Who has changed something has nobody else wait for an answer a second time."""
    with entered(app) as client:
        assert client.get(ASKED).status_code == 202
        ours = dict(client.cookies)
        client.cookies.clear()
        sign_in(client)
        csrf = proof(client.get("/admin/nodes").text)
        assert client.post("/admin/projects", data={"csrf": csrf, "name": "cheese"}).status_code == 303
        client.cookies.clear()
        client.cookies.update(ours)
        access.held.let.set()
        fetched(client, ASKED)
        assert access.held.asked == 1


def test_what_was_found_while_a_form_was_carried_out_is_made_anew(
    app: FastAPI, access: HeldAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look in another tab before the change was made is not shown after it."""
    with entered(app) as client:
        csrf = proof(client.get("/admin/nodes").text)

        def write(*arguments: Any, **options: Any) -> Any:
            assert client.get(ASKED).status_code == 202
            return Store.write(access.held, *arguments, **options)

        monkeypatch.setattr(access.held, "write", write)
        assert client.post("/admin/projects", data={"csrf": csrf, "name": "cheese"}).status_code == 303
        access.held.let.set()
        fetched(client, ASKED)
        assert access.held.asked == 2


def test_who_waits_is_not_told_what_is_for_another_page(app: FastAPI, access: HeldAccess) -> None:
    """That a form was carried out is said on the page that it leads to, however often another tab looks meanwhile."""
    with entered(app) as client:
        csrf = proof(client.get("/admin/nodes").text)
        client.post("/admin/projects", data={"csrf": csrf, "name": "cheese"})
        assert "cheese" not in client.get(ASKED).text
        assert "cheese is registered." in client.get("/admin/nodes").text


def test_what_a_form_has_done_is_no_part_of_an_answer(app: FastAPI, access: HeldAccess) -> None:
    """It is told once, also on a page that took its time and that one comes back to."""
    with entered(app) as client:
        csrf = proof(client.get("/admin/nodes").text)
        client.post("/admin/projects", data={"csrf": csrf, "name": "cheese"})
        assert client.get(ASKED).status_code == 202
        access.held.let.set()
        assert "cheese is registered." in fetched(client, ASKED)
        access.held.let.clear()
        again = client.get(ASKED).text
        assert (EARLIER in again, "cheese is registered." in again) == (True, False)


def test_an_answer_that_nobody_wants_any_more_tells_nobody(app: FastAPI, access: HeldAccess) -> None:
    """What was asked before a form ends after it, and takes nothing from the page that the form leads to."""
    with entered(app) as client:
        assert client.get(ASKED).status_code == 202
        work = app.state.works.find((client.cookies[COOKIE], ASKED))
        csrf = proof(client.get("/admin/nodes").text)
        client.post("/admin/projects", data={"csrf": csrf, "name": "cheese"})
        access.held.let.set()
        until(work.answer.done)
        assert "cheese is registered." in client.get("/admin/nodes").text


def until(there: Callable[[], bool]) -> None:
    """Wait until something is so, or fail."""
    for _ in range(500):
        if there():
            return
        time.sleep(0.01)
    raise TimeoutError


def test_an_answer_that_nobody_fetches_may_be_an_error(
    app: FastAPI, access: HeldAccess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What the database refused to somebody is no fault of the service, so its log has nothing of it."""
    app.state.works = Works(soon=0.05, again=5, kept=0)
    monkeypatch.setattr(access.held, "query", interrupted(access.held))
    with entered(app) as client:
        assert client.get(ASKED).status_code == 202
        access.held.let.set()
        assert client.get(ASKED, headers={"Prefer": "wait"}).status_code == 204
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


@pytest.mark.parametrize("kept", [0.0, 30.0])
def test_an_answer_is_kept_for_a_while(app: FastAPI, access: HeldAccess, kept: float) -> None:
    """An answer that nobody fetches is the answer for some time, and then an earlier one."""
    app.state.works = Works(soon=0.05, again=30, kept=kept)
    with entered(app) as client:
        assert client.get(ASKED).status_code == 202
        access.held.let.set()
        assert client.get(ASKED, headers={"Prefer": "wait"}).status_code == 204
        access.held.let.clear()
        answer = client.get(ASKED)
        assert (answer.status_code, "0.9375" in answer.text) == (200, True)
        assert (EARLIER in answer.text, access.held.asked) == ((False, 1) if kept else (True, 2))


QUESTION = "/api/v1/questions/best-run"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def asked_again(client: Any, place: str, number: int) -> Any:
    """Ask a question at a page, for a file or by the API; each number is another question."""
    if place.endswith(QUESTION):
        return client.post(place, json={"metric": "f1", "limit": number}, headers=BEARER)
    return client.get(f"{place}&limit={number}", headers={"Accept": "*/*"})


@pytest.mark.parametrize("place", [ASKED, ASKED.replace("?", ".csv?"), QUESTION])
def test_scripts_and_files_that_wait_hold_up_no_page(app: FastAPI, access: HeldAccess, place: str) -> None:
    """However many scripts wait for answers, or people for files, the pages and the API are there."""
    with entered(app, accept="*/*") as client:
        waiting = [Thread(target=asked_again, args=(client, place, number + 1)) for number in range(50)]
        others = [
            Thread(target=client.get, args=("/search",)),
            Thread(target=client.get, args=("/api/v1/counts",), kwargs={"headers": BEARER}),
        ]
        for thread in waiting:
            thread.start()
        until(lambda: access.held.asked == 16)
        for thread in others:
            thread.start()
            thread.join(10)
        there = not any(thread.is_alive() for thread in others)
        assert access.held.asked == 16
        access.held.let.set()
        for thread in (*waiting, *others):
            thread.join()
        assert there


@pytest.mark.parametrize("place", [ASKED, ASKED.replace("?", ".csv?"), QUESTION])
def test_who_waits_when_the_service_stops_is_told(
    app: FastAPI, access: HeldAccess, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What is not made by the end of the grace is 503, and no fault in the log."""
    with served(app, timeout_graceful_shutdown=0) as (server, address), requests.Session() as script:
        script.get(f"{address}/sign-in?ticket={access.ticket}")
        answers: list[requests.Response] = []
        thread = Thread(target=lambda: answers.append(asked_again(script, address + place, 1)))
        thread.start()
        until(lambda: access.held.asked == 1)
        server.should_exit = True
        thread.join(10)
        assert [answer.status_code for answer in answers] == [503]
        assert "the service stops" in answers[0].text
    assert not [record for record in caplog.records if record.exc_info]


def test_questions_that_wait_for_their_turn_hold_up_no_lineage(access: HeldAccess) -> None:
    """Somebody who opens twenty questions of a file leaves others the pages that look at little."""
    app = create_app(access)
    app.state.works.soon = 0.01
    with entered(app) as client:
        for number in range(20):
            assert client.get(f"{ASKED}&limit={number + 1}").status_code == 202
        app.state.works.soon = 5
        assert client.get(f"/nodes/{access.held.get('r1', 'Run')['_id']}/lineage").status_code == 200


ENDING = """
import asyncio, threading
from arangopipe_ops.web.works import Progress, Works

async def main():
    Works().begin(threading.Event().wait, Progress())
    await asyncio.sleep(0.1)

asyncio.run(main())
"""


def test_the_end_of_the_process_waits_for_no_answer() -> None:
    """Who stops the service does not wait for what the database is asked, and nothing is said of it."""
    ended = subprocess.run([sys.executable, "-c", ENDING], timeout=20, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_other_pages_are_there_meanwhile(app: FastAPI, access: HeldAccess) -> None:
    """However many answers are being made, the pages that do not take long are there."""
    with entered(app) as client:
        for number in range(50):
            assert client.get(f"{ASKED}&limit={number + 1}").status_code == 202
        assert client.get("/search").status_code == 200
        assert access.held.asked < 50
        access.held.let.set()
        assert "0.9375" in fetched(client, f"{ASKED}&limit=50")


def test_questions_of_a_file_take_turns(access: HeldAccess) -> None:
    """The database of a file works in this process: two questions at once leave the other pages their share."""
    app = create_app(access)
    app.state.works.soon = 0.05
    with entered(app) as client:
        for number in range(4):
            told = client.get(f"{ASKED}&limit={number + 1}")
            assert (told.status_code, "It waits for its turn." in told.text) == (202, number > 1)
        assert access.held.asked == 2
        app.state.works.soon = 30
        for path in ("/ask/best-run", f"/nodes/{access.held.get('r1', 'Run')['_id']}/lineage"):
            assert client.get(path).status_code == 200
        access.held.let.set()
        assert "0.9375" in fetched(client, f"{ASKED}&limit=4")


def test_who_waits_for_the_doctor_is_told_how_far_it_is(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an examination one sees which nodes it has come to."""
    let = Event()

    def examined(db: Any, progress: Any, scan: bool) -> list[Any]:
        progress("run", 5_000, 92_000)
        assert let.wait(30)
        return doctor(db, progress=progress, scan=scan)

    monkeypatch.setattr("arangopipe_ops.admin.doctor", examined)
    with entered(app) as client:
        csrf = proof(client.get("/admin/doctor").text)
        assert client.post("/admin/doctor", data={"csrf": csrf, "look": "all"}).status_code == 303
        assert "It is at run, 5,000 of 92,000." in client.get("/admin/doctor").text
        let.set()
        assert "as seen" in fetched(client, "/admin/doctor")


class HeldDoctor:
    """A doctor that looks as long as it is held, and what came of it."""

    def __init__(self) -> None:
        self.let = Event()
        self.begun = 0
        self.ended: list[str] = []

    def __call__(self, db: Any, progress: Any, scan: bool) -> list[Any]:
        self.begun += 1
        assert self.let.wait(30)
        try:
            progress("run", 5_000, 92_000)
        except Exception as error:
            self.ended.append(type(error).__name__)
            raise
        raise Unavailable("the database does not answer")


@pytest.fixture
def held_doctor(monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldDoctor]:
    doctor = HeldDoctor()
    monkeypatch.setattr("arangopipe_ops.admin.doctor", doctor)
    yield doctor
    doctor.let.set()


def look(client: TestClient, csrf: str) -> None:
    assert client.post("/admin/doctor", data={"csrf": csrf, "look": "all"}).status_code == 303


def test_nobody_has_the_doctor_look_twice_at_once(app: FastAPI, held_doctor: HeldDoctor) -> None:
    """However often somebody asks, one examination goes on, and the form leads to it."""
    with entered(app) as client:
        csrf = proof(client.get("/admin/doctor").text)
        for _ in range(5):
            look(client, csrf)
            assert client.get("/admin/doctor").status_code == 202
        client.post("/admin/doctor/repair", data={"csrf": csrf, "fault": "dangling-edges", "sure": "yes"})
        look(client, csrf)
        assert held_doctor.begun == 1


def test_examinations_take_turns_and_leave_some_to_questions(access: HeldAccess, held_doctor: HeldDoctor) -> None:
    """Of all that look at the whole graph one does at once, so that the others of a file are asked meanwhile."""
    app = create_app(access)
    app.state.works.soon = 0.05
    access.held.let.set()
    for begun in range(2):
        with entered(app) as client:
            look(client, proof(client.get("/admin/doctor").text))
            said = client.get("/admin/doctor").text
            assert ("Working on it" in said, "It waits for its turn." in said) == (True, begun > 0)
            assert "0.9375" in fetched(client, ASKED)
    assert held_doctor.begun == 1


def test_an_examination_ends_with_the_session(app: FastAPI, held_doctor: HeldDoctor) -> None:
    """Who signs out leaves no examination behind that would take others their turn."""
    with entered(app) as client:
        csrf = proof(client.get("/admin/doctor").text)
        look(client, csrf)
        client.post("/sign-out", data={"csrf": csrf})
        held_doctor.let.set()
        until(lambda: held_doctor.ended == ["Unauthorized"])


def test_who_looks_how_far_the_doctor_is_takes_nothing_away(app: FastAPI, held_doctor: HeldDoctor) -> None:
    """What kept the doctor from looking is told to who sees the page, after a look learned that it is there."""
    with entered(app) as client:
        look(client, proof(client.get("/admin/doctor").text))
        assert client.get("/admin/doctor", headers={"Prefer": "wait"}).status_code == 202
        app.state.works.again = 30
        held_doctor.let.set()
        assert client.get("/admin/doctor", headers={"Prefer": "wait"}).status_code == 204
        assert client.get("/admin/doctor").status_code == 503
        assert client.get("/admin/doctor").status_code == 200


def test_an_answer_survives_a_form_that_only_looks(app: FastAPI, access: HeldAccess, held_doctor: HeldDoctor) -> None:
    """Who has the doctor look changes nothing, so what they asked before need not be asked again."""
    with entered(app) as client:
        assert client.get(ASKED).status_code == 202
        look(client, proof(client.get("/admin/nodes").text))
        access.held.let.set()
        fetched(client, ASKED)
        assert access.held.asked == 1
