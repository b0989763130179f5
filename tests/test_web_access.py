"""Who may do what through the API: the database's own users, over sockets, through `arangopipe serve`."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from arango.client import ArangoClient
from test_connection import free_port

from arangopipe_ops.admin import provision
from arangopipe_ops.connection import connect, user_of, without_credentials
from arangopipe_ops.embedded.server import listen, prepare, run
from arangopipe_ops.errors import Misconfigured
from arangopipe_ops.store import Store

ROOT, SECRET = "the root's", "the secret of the server's tokens, long enough"
PASSWORDS = {"ann": "ann's own", "bob": "bob's own", "eve": "eve's own"}


class Process:
    """An `arangopipe` command that runs, and all that it has said."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ARANGO", "COV"))}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "arangopipe_ops", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=kept | environment,
        )
        self.lines: list[str] = []
        self._said: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            self._said.put(line)
        self._said.put("")

    def line(self, word: str) -> str:
        """Return the next line that has a word, or fail."""
        while line := self._said.get(timeout=30):
            if word in line:
                return line
        raise AssertionError("".join(self.lines))

    def stop(self, how: signal.Signals = signal.SIGTERM) -> str:
        self.process.send_signal(how)
        self.process.wait(20)
        return "".join(self.lines)


def served(*arguments: str, **environment: str) -> tuple[Process, str]:
    """Start `arangopipe serve` and return it with the address of its API."""
    process = Process(*arguments, "serve", "--port", "0", **environment)
    return process, process.line("serving").split(" at ")[1].split(",")[0]


class Database:
    """A database server with its users: ann may write, bob may read, eve may sign in and nothing more."""

    def __init__(self, path: Path) -> None:
        self.port = free_port()
        database = prepare(path, "127.0.0.1", ROOT, SECRET).database
        threading.Thread(target=run, args=(database, listen(port=self.port)), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.port}/ml"
        system = ArangoClient(self.url.removesuffix("/ml")).db("_system", "root", ROOT)
        for _ in range(100):
            try:
                system.version()
                break
            except Exception:
                time.sleep(0.05)
        system.create_database("ml", users=[{"username": name, "password": PASSWORDS[name]} for name in PASSWORDS])
        provision(connect(self.url.replace("//", "//ann:ann's own@")))
        system.update_permission("bob", "ro", "ml")
        system.update_permission("eve", "none", "ml")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    return Database(tmp_path_factory.mktemp("users") / "served.db")


@pytest.fixture(scope="module")
def api(database: Database) -> Iterator[str]:
    """The API's address; nothing that it says or logs has a password or a token in it."""
    process, address = served("--url", database.url.replace("//", f"//root:{ROOT.replace(' ', '%20')}@"))
    yield address
    log = process.stop()
    assert "GET /api/v1/counts" in log
    assert "used by nobody" in log
    for secret in (ROOT, ROOT.replace(" ", "%20"), *PASSWORDS.values(), "eyJ", "Traceback"):
        assert secret not in log


def token(api: str, name: str, password: str | None = None) -> str:
    credentials = {"username": name, "password": password or PASSWORDS[name]}
    answer = requests.post(f"{api}/token", json=credentials, timeout=10)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["token"])


def ask(api: str, method: str, path: str, token: str | None, **kwargs: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = requests.request(method, f"{api}{path}", headers=headers, timeout=20, **kwargs)
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
        assert not token or token not in answer.text
    return answer


@pytest.mark.slow
def test_who_may_write_writes_under_their_own_name(api: str, database: Database) -> None:
    """A user's write says in the graph who it was."""
    answer = ask(api, "POST", "/stages/project", token(api, "ann"), json={"name": "of ann"})
    assert answer.status_code == 201
    stored = Store(connect(database.url.replace("//", "//ann:ann's own@"))).get(answer.json())
    assert (stored["provenance"]["user"], stored["provenance"]["through"]) == ("ann", "rest")


def test_who_may_read_reads(api: str) -> None:
    """A user with read access gets 200 from reading and 403 from every way of writing."""
    anns, bobs = token(api, "ann"), token(api, "bob")
    ref = ask(api, "POST", "/stages/project", anns, json={"name": "to read"}).json()
    for method, path, body in (
        ("GET", f"/nodes/{ref['_id']}", None),
        ("GET", f"/nodes/{ref['_id']}/lineage", None),
        ("GET", f"/nodes/{ref['_id']}/history", None),
        ("GET", "/counts", None),
        ("GET", "/kinds", None),
        ("POST", "/search", {"kind": "Project"}),
    ):
        assert ask(api, method, path, bobs, json=body).status_code == 200, path
    plan = ask(api, "GET", f"/nodes/{ref['_id']}/deletion", bobs).json()
    for method, path, body in (
        ("POST", "/stages/project", {"name": "of bob"}),
        ("POST", "/nodes/Dataset", {"name": "of bob"}),
        ("PATCH", f"/nodes/{ref['_id']}", {"owner": "bob"}),
        ("POST", f"/nodes/{ref['_id']}/archive", None),
        ("POST", "/deletions", plan),
    ):
        assert ask(api, method, path, bobs, json=body).status_code == 403, path
    assert ask(api, "GET", f"/nodes/{ref['_id']}", bobs).json()["provenance"]["user"] == "ann"


@pytest.mark.parametrize(("name", "password"), [("ann", "bob's own"), ("nobody", "x"), ("ann", ""), ("", "")])
def test_wrong_credentials(api: str, name: str, password: str) -> None:
    """Whoever the server does not know gets no token."""
    answer = ask(api, "POST", "/token", None, json={"username": name, "password": password})
    assert answer.status_code == 401
    assert password == "" or password not in answer.text


def test_a_user_without_access_to_the_database(api: str) -> None:
    """Who may not use the database is told so when signing in."""
    answer = ask(api, "POST", "/token", None, json={"username": "eve", "password": PASSWORDS["eve"]})
    assert answer.status_code == 403
    assert "eve may not use the database ml" in answer.json()["detail"]


def forged(secret: str = SECRET, **claims: Any) -> str:
    now = int(time.time())
    known = {"preferred_username": "ann", "iss": "arangodb", "iat": now, "exp": now + 3600}
    return jwt.encode(known | claims, secret, algorithm="HS256")


@pytest.mark.parametrize(
    "token",
    [
        forged("another secret, which is long enough too"),
        forged(exp=int(time.time()) - 10),
        forged(iss="somebody"),
        forged(preferred_username="nobody"),
        jwt.encode({"iss": "arangodb"}, SECRET, algorithm="HS256"),
        jwt.encode({"preferred_username": "ann", "exp": 2**40}, None, algorithm="none"),
        "x",
        "a.b.c",
        "ä.ö.ü",
        "." * 5000,
    ],
    ids=[
        "other secret",
        "expired",
        "other issuer",
        "unknown user",
        "no claims",
        "unsigned",
        "x",
        "a.b.c",
        "umlauts",
        "dots",
    ],
)
def test_tokens_that_are_not_good(api: str, token: str) -> None:
    """A token that is forged, over, somebody else's or none at all is 401, for readers, writers and the document."""
    for method, path in (
        ("GET", "/counts"),
        ("POST", "/stages/project"),
        ("GET", "/openapi.json"),
        ("GET", "/questions"),
    ):
        answer = requests.request(
            method,
            f"{api}{path}",
            headers={"Authorization": f"Bearer {token}".encode()},
            json={"name": "x"} if method == "POST" else None,
            timeout=20,
        )
        assert answer.status_code == 401, answer.text
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("path", "media", "status"),
    [("/stages/project", "application/json", 400), ("/stages", "application/x-ndjson", 422)],
)
def test_a_large_body_is_read_of_whom_the_database_knows(api: str, path: str, media: str, status: int) -> None:
    """The database is asked about a token before a large body is taken apart, which is not JSON here."""
    headers = {"Content-Type": media, "Authorization": f"Bearer {forged(iss='somebody')}"}
    for content in (b"[" * 100_000, iter([b"["])):
        assert requests.post(f"{api}{path}", data=content, headers=headers, timeout=10).status_code == 401
    headers["Authorization"] = f"Bearer {token(api, 'ann')}"
    assert requests.post(f"{api}{path}", data=b"[" * 100_000, headers=headers, timeout=10).status_code == status


def test_headers_that_are_too_large(api: str) -> None:
    """Of a request's headers only so much is read, whichever parser of HTTP is installed; then the connection ends."""

    def status(size: int) -> int | None:
        try:
            return requests.get(f"{api}/health", headers={"X": "a" * size}, timeout=10).status_code
        except requests.ConnectionError:
            return None

    assert status(10_000) == 200
    assert status(4_000_000) in (400, None)


@pytest.mark.slow
def test_a_token_ends(api: str) -> None:
    """A token that was good is 401 from the moment it is over."""
    short = forged(exp=int(time.time()) + 2)
    assert ask(api, "GET", "/counts", short).status_code == 200
    time.sleep(3)
    assert ask(api, "GET", "/counts", short).status_code == 401


@pytest.mark.slow
def test_a_database_that_is_away() -> None:
    """Without the database every route says 503 and when to come back; health is well, and the process stays."""
    process, api = served("--url", f"http://127.0.0.1:{free_port()}/ml", "--timeout", "0.3")
    good = forged()
    assert ask(api, "GET", "/health", None).json() == {"status": "ok"}
    for method, path, body in (
        ("GET", "/ready", None),
        ("GET", "/counts", None),
        ("POST", "/stages/project", {"name": "x"}),
        ("POST", "/token", {"username": "ann", "password": PASSWORDS["ann"]}),
    ):
        answer = ask(api, method, path, good, json=body)
        assert answer.status_code == 503, path
        assert int(answer.headers["retry-after"]) > 0
    log = process.stop()
    assert good not in log
    assert "Traceback" not in log


@pytest.mark.slow
def test_a_database_that_does_not_exist(database: Database) -> None:
    """A database that nobody made is 503 for who signs in, with what to do about it."""
    process, api = served("--url", database.url.replace("/ml", "/none"))
    answer = ask(api, "GET", "/counts", forged(preferred_username="root"))
    assert (answer.status_code, "Create it" in answer.text) == (503, True)
    process.stop()


# a file


@pytest.mark.slow
def test_a_file_is_served_with_a_token_made_at_the_start(tmp_path: Path) -> None:
    """`arangopipe serve` on a new file prints a token once, and works at once, with that token alone.

    It also prints a link, which lets a browser in once.
    """
    process = Process("--url", f"embedded://{tmp_path}/x.db", "serve", "--port", "0")
    printed = process.line("token").rpartition(" ")[2].strip()
    api = process.line("serving").split(" at ")[1].split(",")[0]
    link = process.line("open ").split()[1]
    with requests.Session() as browser:
        assert "What the graph holds" in browser.get(link, timeout=10).text
    assert requests.get(link, timeout=10).status_code == 401
    assert ask(api, "POST", "/stages/project", printed, json={"name": "x"}).status_code == 201
    for wrong in (f"{printed}x", None):
        answer = ask(api, "GET", "/counts", wrong)
        assert (answer.status_code, "printed at the start" in answer.json()["detail"]) == (401, True)
    assert ask(api, "POST", "/token", None, json={"username": "root", "password": "x"}).status_code == 401
    log = process.stop(signal.SIGINT)
    assert log.count(printed) == 1
    assert process.process.returncode == 130
    assert Store(connect(f"embedded://{tmp_path}/x.db")).get("x", "Project")["name"] == "x"


@pytest.mark.slow
def test_a_chosen_token_is_not_printed(tmp_path: Path) -> None:
    """$ARANGOPIPE_TOKEN is the token, and stands nowhere in what is printed."""
    process, api = served("--url", f"embedded://{tmp_path}/x.db", ARANGOPIPE_TOKEN="chosen-by-me")
    assert ask(api, "GET", "/counts", "chosen-by-me").status_code == 200
    assert "chosen-by-me" not in process.stop()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("serve", "--host", "0.0.0.0"), "choose a token in $ARANGOPIPE_TOKEN first"),
        (("serve", "--port", "99999"), "is not between 0 and 65535"),
        (("--url", "ftp://x", "serve"), "is not a database URL"),
        (("--url", "embedded:///no/such/folder/x.db", "serve", "--port", "0"), "does not exist"),
    ],
)
@pytest.mark.slow
def test_what_serve_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: Any, says: str) -> None:
    """What cannot be served is one line and exit code 1."""
    monkeypatch.chdir(tmp_path)
    process = Process(*arguments)
    assert process.process.wait(30) == 1
    assert says in process.line("arangopipe: ")
    assert len(process.lines) == 1


@pytest.mark.slow
def test_without_the_extra(tmp_path: Path) -> None:
    """Where FastAPI is not installed, the one line says what to install."""
    (tmp_path / "fastapi.py").write_text("raise ImportError('no', name='fastapi')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    process = Process("serve", PYTHONPATH=path)
    assert process.process.wait(30) == 1
    assert process.line("arangopipe: ") == "arangopipe: serve needs fastapi: pip install 'arangopipe-ops[web]'\n"


@pytest.mark.slow
def test_a_request_at_work_is_finished(tmp_path: Path) -> None:
    """SIGTERM lets the requests at work end, and what they wrote is in the file."""
    process, api = served("--url", f"embedded://{tmp_path}/x.db", ARANGOPIPE_TOKEN="t")
    answers: list[int] = []

    def write(start: int) -> None:
        for i in range(start, start + 400):
            try:
                answers.append(ask(api, "POST", "/stages/project", "t", json={"name": f"p{i}"}).status_code)
            except requests.ConnectionError:
                return

    threads = [threading.Thread(target=write, args=(1000 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    while not answers:
        time.sleep(0.01)
    process.stop()
    for thread in threads:
        thread.join()
    assert answers
    assert set(answers) == {201}
    assert Store(connect(f"embedded://{tmp_path}/x.db")).counts()["project"] == len(answers)


def test_urls_without_credentials() -> None:
    """Nothing of a user or a password is left in a URL, and all the rest is."""
    assert without_credentials("https://ann:p%40ss@a:1,b:2/ml") == "https://a:1,b:2/ml"
    assert without_credentials("http://ann@a") == "http://a"
    assert without_credentials("embedded:///a@b") == "embedded:///a@b"
    with pytest.raises(Misconfigured, match=r"\*\*\*"):
        without_credentials("ftp://ann:secret@a")
    assert user_of(forged()) == "ann"
    assert user_of("x") is None
