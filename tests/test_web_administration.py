"""The pages of administration: nodes, types, retention, the doctor, and the users of a server."""

import re
import shutil
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from conftest import Requests, dump, provisioned
from test_web_access import PASSWORDS, ROOT, Database
from test_web_pages import MARKUP, OUR_SCRIPT, TOKEN, Browser, links

from arangopipe_ops import admin, stages
from arangopipe_ops.connection import connect
from arangopipe_ops.errors import Unauthorized, Unavailable
from arangopipe_ops.model import key_of
from arangopipe_ops.store import Store
from arangopipe_ops.web.access import FileAccess, ServerAccess

PAGES = (
    "/admin",
    "/admin/nodes",
    "/admin/nodes?kind=Deployment",
    "/admin/users",
    "/admin/types",
    "/admin/retention",
    "/admin/retention?days=30",
    "/admin/doctor",
)

CHANGING_NOTHING = {"/sign-out", "/admin/doctor"}
"""Forms for everybody."""


def fill(url: str) -> None:
    """Register a flow with markup in its names, an added type, a period that is long over, and an edge to nowhere."""
    provisioned(url)
    store = Store(connect(url))
    for name in ("wine", MARKUP):
        store.write(stages.register_project(name, owner=MARKUP))
    store.write(stages.register_model("forest", project="wine"))
    store.write(stages.register_deployment("d1", project="wine", model="forest"))
    store.write(stages.register_deployment(MARKUP, project="wine", model="forest", status="scheduled"))
    year = datetime.now(UTC).replace(hour=0) - timedelta(days=365)
    times = {"period_start": year, "period_end": year + timedelta(days=1)}
    store.write(stages.log_serving_perf("d1", metrics={"f1": 0.5}, **times))
    kind = {"kind": "Report", "collection": "reports", "identity": ["title"], "shows": [MARKUP]}
    edge = {"name": "report_dataset", "source": "Report", "target": "Dataset", "upstream": "to"}
    admin.extend(store.db, nodes=[kind], edges=[edge])
    store.db.collection("project_models").insert({"_from": "project/none", "_to": "models/none"})
    store.db.collection("run").insert({"_key": "lost", "run_id": "lost"})


@pytest.fixture
def ann(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_once: Any) -> Browser:
    """A browser that has signed in, on what `fill` has registered."""
    monkeypatch.setenv("ARANGOPIPE_EMBEDDED_CLUSTER", "1")
    shutil.copyfile(made_once(fill), tmp_path / "graph.db")
    return Browser(FileAccess(f"embedded://{tmp_path}/graph.db", token=TOKEN)).enter()


def db_of(browser: Browser) -> Any:
    return browser.access.store(TOKEN).db


def examined(browser: Browser, look: str = "all") -> str:
    """Return what the doctor says after a look."""
    assert browser.post("/admin/doctor", page="/admin/doctor", look=look).status_code == 303
    return browser.get("/admin/doctor")


def told(browser: Browser, answer: Any) -> str:
    """Return what the page tells to which a form leads."""
    assert answer.status_code == 303, answer.text
    found = re.search(r'class="notice" role="status">([^<]*)<', browser.get(answer.headers["location"]))
    assert found is not None
    return found[1]


# every page


def test_a_page_costs_few_requests_and_writes_nothing(ann: Browser) -> None:
    """Every page asks at most three times, also that of an examination, which asks more; none writes anything."""
    db = db_of(ann)
    before, asked = dump(db), Requests(db)
    examined(ann, "structure")
    examined(ann)
    for path in PAGES:
        asked.sent.clear()
        ann.get(path)
        assert len(asked) <= 3, path
    assert dump(db) == before


def test_stored_markup_is_text(ann: Browser) -> None:
    """Names, attributes and examples that are markup are shown as they are, and nothing comes from elsewhere."""
    examined(ann)
    for path in PAGES:
        page = OUR_SCRIPT.sub("", ann.get(path))
        assert not re.search(r"<(script|style|iframe|b>&)|\sstyle=|\son\w+=", page), path
        assert not [link for link in links(page) if not link.startswith(("/", "#"))]
    for path in ("/admin/nodes", "/admin/nodes?kind=Deployment", "/admin/types"):
        assert "&lt;script&gt;" in ann.get(path)


def test_every_link_leads_somewhere(ann: Browser) -> None:
    """What the pages link to is there."""
    examined(ann)
    seen = {link for path in PAGES for link in links(ann.get(path)) if link.startswith("/")}
    assert "/nodes/run/lost" in seen
    assert {link: status for link in seen if (status := ann.client.get(link).status_code) != 200} == {}


# nodes


def test_a_node_is_found_and_archived_where_it_stands(ann: Browser) -> None:
    """A node leads to its place among those of its kind; archiving leaves one in the list that one was in."""
    id = f"project/{key_of('Project', ['wine'])}"
    [there] = [link for link in links(ann.get(f"/nodes/{id}")) if link.startswith("/admin/nodes")]
    page = ann.get(there)
    assert re.findall(r'action="(/admin/nodes/\w+/[^"]+)"', page) == [f"/admin/nodes/{id}/archive"]
    answer = ann.post(f"/admin/nodes/{id}/archive", page=there, kind="Project", name="wine", cursor="")
    assert answer.headers["location"] == "/admin/nodes?name=wine"
    assert f"/admin/nodes/{id}/restore" in ann.get(there)
    assert ">Restore</a>" in ann.get(f"/nodes/{id}")
    assert "No Model is called so" in ann.get("/admin/nodes?kind=Model&name=wine")


def test_a_list_of_nodes_is_kept_from_page_to_page(ann: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """The form of a node on a further page leads back to that page."""
    monkeypatch.setattr("arangopipe_ops.web.pages.administration.PAGE", 1)
    [further] = [link for link in links(ann.get("/admin/nodes")) if "cursor=" in link]
    page = ann.get(further)
    form = page[page.index('<form method="post" action="/admin/nodes/project/') :].partition("</form>")[0]
    fields = {name: unescape(value) for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', form)}
    path = re.findall(r'action="([^"]+)"', form)[0]
    assert ann.client.post(path, data=fields).headers["location"] == further


def test_a_node_is_archived_and_restored(ann: Browser) -> None:
    """Archiving hides a node from searches, restoring shows it again; the page lists it either way."""
    store, path = ann.access.store(TOKEN), f"/admin/nodes/project/{key_of('Project', ['wine'])}"
    assert told(ann, ann.post(f"{path}/archive", page="/admin/nodes")) == "wine is archived."
    assert store.search("Project")["total"] == 1
    assert re.search(r'wine</a> <span class="mark">archived</span>', ann.get("/admin/nodes"))
    assert told(ann, ann.post(f"{path}/restore", page="/admin/nodes")) == "wine is restored."
    assert store.search("Project")["total"] == 2
    assert ann.post(f"{path}/delete", page="/admin/nodes").status_code == 422
    assert ann.post("/admin/nodes/project/none/archive", page="/admin/nodes").status_code == 404


def test_an_active_deployment_is_to_be_retired_first(ann: Browser) -> None:
    """Of an active deployment there is a way to its retirement instead of one to its archiving."""
    page = ann.get("/admin/nodes?kind=Deployment")
    assert page.count('action="/admin/nodes/deployment/') == 1
    assert f"/deployments/{key_of('Deployment', ['d1'])}" in links(page)


def test_many_nodes_are_paged(ann: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """The link leads through all nodes of the kind."""
    monkeypatch.setattr("arangopipe_ops.web.pages.administration.PAGE", 1)
    page = ann.get("/admin/nodes?kind=Deployment")
    following = ann.get(next(link for link in links(page) if "cursor" in link))
    assert sorted(">d1</a>" in each for each in (page, following)) == [False, True]
    assert not [link for link in links(following) if "cursor" in link]


def test_a_project_is_registered(ann: Browser) -> None:
    """The form registers a project, once; a name that is none is refused."""
    form = {"page": "/admin/nodes", "name": "tea", "owner": "eve", "description": ""}
    assert told(ann, ann.post("/admin/projects", **form)) == "tea is registered."
    assert told(ann, ann.post("/admin/projects", **form)) == "tea was registered before."
    assert ann.access.store(TOKEN).get("tea", "Project")["owner"] == "eve"
    assert "is not a name" in ann.post("/admin/projects", page="/admin/nodes", name=" ").text


# types


def test_types_are_added_and_withdrawn(ann: Browser) -> None:
    """A node and an edge type are added, shown, usable at once, and withdrawn again while nothing is of them."""
    form = {"page": "/admin/types", "kind": "Experiment", "collection": "experiments", "identity": "name, version"}
    assert told(ann, ann.post("/admin/types/nodes", shows="goal", **form)) == "Experiment is a type of this graph now."
    assert told(ann, ann.post("/admin/types/nodes", shows="goal", **form)) == (
        "Experiment was a type of this graph before."
    )
    edge = {"name": "experiment_runs", "source": "Experiment", "target": "Run", "upstream": "from"}
    assert "is a type" in told(ann, ann.post("/admin/types/edges", page="/admin/types", **edge))
    page = ann.get("/admin/types")
    assert "identity name, version; shows goal" in page
    assert "influence comes from the Experiment" in page
    store = ann.access.store(TOKEN)
    stage = store.stage()
    stage.add("Experiment", {"name": "e", "version": "1"})
    store.write(stage)
    assert ">Experiment</option>" in ann.get("/search")
    both = {"page": "/admin/types", "sure": "yes"}
    assert ann.post("/admin/types/withdrawal", edge="experiment_runs", page="/admin/types").status_code == 422
    assert "is withdrawn" in told(ann, ann.post("/admin/types/withdrawal", edge="experiment_runs", **both))
    full = ann.post("/admin/types/withdrawal", node="Experiment", **both)
    assert (full.status_code, "holds 1 documents" in full.text) == (409, True)
    assert "Experiment" in str(admin.extension(store.db))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"kind": "Ä", "collection": "a", "identity": "name"}, "is not a kind&#39;s name"),
        ({"kind": "A", "collection": "run", "identity": "name"}, "is the collection of two types"),
        ({"kind": "A", "collection": "a", "identity": ""}, "identity"),
        ({"kind": "Report", "collection": "other", "identity": "title"}, "exists with another collection"),
    ],
)
def test_a_type_that_cannot_be(ann: Browser, fields: dict[str, str], says: str) -> None:
    """What is no type is refused with the reason, and nothing is changed."""
    before = admin.extension(db_of(ann))
    answer = ann.post("/admin/types/nodes", page="/admin/types", **fields)
    assert answer.status_code in (409, 422)
    assert says in answer.text
    assert admin.extension(db_of(ann)) == before


def test_runs_are_ranked_by_a_metric(ann: Browser) -> None:
    """A metric is added, shown, and taken away; one that cannot be is refused with the reason."""
    assert "Runs are ranked by no metric." in ann.get("/admin/types")
    form = {"page": "/admin/types", "metric": "f1"}
    assert told(ann, ann.post("/admin/types/ranking", **form)) == "Runs are ranked by f1."
    page = ann.get("/admin/types")
    assert "Runs are ranked by f1." in page
    assert "Withdraw DevPerf" not in page
    assert told(ann, ann.post("/admin/types/ranking", off="yes", **form)) == "Runs are not ranked by f1 any more."
    assert "Runs are ranked by no metric." in ann.get("/admin/types")
    again = told(ann, ann.post("/admin/types/ranking", off="yes", **form))
    assert again == "Runs are not ranked by f1, and were not before."
    assert ann.post("/admin/types/ranking", page="/admin/types", metric="a.b").status_code == 422


# retention


def test_retention_is_tried_first(ann: Browser) -> None:
    """The page says what would go, changes nothing until it is confirmed, and then says what holds."""
    page = ann.get("/admin/retention?days=30")
    assert "<p>For ever.</p>" in page
    assert '<b>1</b> period is older than <span class="number" title="30.0">30</span> days' in page
    assert "<b>0</b> periods are" in ann.get("/admin/retention?days=400")
    assert "Nothing would go" in ann.get("/admin/retention?days=off")
    assert ann.post("/admin/retention", page="/admin/retention?days=30", days="30").status_code == 422
    assert set(admin.kept_for(db_of(ann)).values()) == {None}
    confirmed = {"page": "/admin/retention?days=30", "sure": "yes"}
    assert told(ann, ann.post("/admin/retention", days="30", **confirmed)) == "It is kept for 30 days."
    assert set(admin.kept_for(db_of(ann)).values()) == {30}
    assert "For <span" in ann.get("/admin/retention")
    assert told(ann, ann.post("/admin/retention", days="off", **confirmed)) == "Serving performance is kept for ever."
    wrong = ann.get("/admin/retention?days=soon", 422)
    assert "is not a number of days" in wrong
    assert 'value="soon"' in wrong
    assert "more than 0 and less than 1,000,000; off" in ann.get("/admin/retention?days=0", 422)
    assert ann.post("/admin/retention", **confirmed).status_code == 422


def test_retention_by_halves_is_told(ann: Browser) -> None:
    """If nodes and edges are kept for different times, the page says that one has to be chosen."""
    index = {"type": "ttl", "fields": ["period_end"], "expireAfter": 99 * 86400}
    db_of(ann).collection("servingperf").add_index(index)
    assert "Choose one for both" in ann.get("/admin/retention")


# doctor


def test_the_doctor_finds_and_repairs(ann: Browser) -> None:
    """The findings are shown with their cures; a repair wants a confirmation, and afterwards the fault is gone."""
    assert "dangling-edges" not in ann.get("/admin/doctor")
    assert "nothing is wrong with server" in examined(ann, "structure")
    page = examined(ann)
    assert "1 edges lead to or from a node that does not exist" in page
    assert "<code>repair(db, &#34;dangling-edges&#34;)</code>" in page
    form = {"page": "/admin/doctor", "fault": "dangling-edges"}
    assert ann.post("/admin/doctor/repair", **form).status_code == 422
    assert told(ann, ann.post("/admin/doctor/repair", sure="yes", **form)) == "1 repaired."
    assert "dangling-edges" not in ann.get("/admin/doctor")
    assert told(ann, ann.post("/admin/doctor/repair", sure="yes", **form)) == "There was nothing to repair."
    page = examined(ann)
    assert "dangling-edges" not in page
    assert "/nodes/run/lost" in links(page)
    db_of(ann).collection("run").delete("lost")
    assert "Healthy: nothing is wrong" in examined(ann)
    unknown = ann.post("/admin/doctor/repair", page="/admin/doctor", fault="x", sure="yes")
    assert unknown.status_code == 422


def test_what_the_doctor_found_stays_until_it_looks_again(ann: Browser) -> None:
    """Coming back to the page asks the database for no further examination; who has another session sees none."""
    page, asked = examined(ann), Requests(db_of(ann))
    assert re.search(r"as seen <time[^>]*>2", page)
    assert ann.get("/admin/doctor") == page
    assert len(asked) <= 3
    assert "as seen" not in Browser(ann.access).enter().get("/admin/doctor")


def test_an_examination_that_failed_is_told_once(ann: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """What kept the doctor from looking is told, and then one can have it look again."""

    def refused(*_: Any, **__: Any) -> Any:
        raise Unavailable("the database does not answer")

    with monkeypatch.context() as patch:
        patch.setattr("arangopipe_ops.admin.doctor", refused)
        assert ann.post("/admin/doctor", page="/admin/doctor").status_code == 303
    assert [ann.client.get("/admin/doctor").status_code for _ in range(2)] == [503, 200]
    assert "dangling-edges" in examined(ann)


# users


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    return Database(tmp_path_factory.mktemp("users") / "served.db")


def browser_of(database: Database, user: str) -> Browser:
    browser = Browser(ServerAccess(database.url))
    password = {"root": ROOT, **PASSWORDS}[user]
    assert browser.post("/sign-in", username=user, password=password).status_code == 303
    return browser


def as_user(database: Database, name: str, password: str) -> Any:
    return connect(database.url.replace("//", f"//{name}:{password}@"))


def test_a_file_has_no_users(ann: Browser) -> None:
    """On a file the page says so, and its forms are refused."""
    for page in ("/admin", "/admin/users"):
        assert "A file has no users" in ann.get(page)
        assert "<code>arangopipe serve-db --file …</code>" in ann.get(page)
    for path in ("users", "users/role", "users/password", "users/removal"):
        fields = {"name": "x", "password": "x", "role": "reader", "sure": "yes"}
        assert ann.post(f"/admin/{path}", page="/admin", **fields).status_code == 403


def test_a_user_is_made_changed_and_removed(database: Database) -> None:
    """A new user can sign in, may what the role says and no more, with the newest password, until removed."""
    root = browser_of(database, "root")
    assert "new &amp; &lt;b&gt;" not in root.get("/admin/users")
    name, page = "new & <b>/?", {"page": "/admin/users"}
    made = root.post("/admin/users", name=name, password="first one", role="reader", **page)
    assert told(root, made) == "new &amp; &lt;b&gt;/? can sign in now."
    own = made.headers["location"]
    assert "<dd>reader</dd>" in root.get(own)
    assert own in links(root.get("/admin/users"))
    db = admin_of(database)
    assert {each["name"] for each in admin.users(db)} == {"root", "ann", "bob", "eve", name}
    again = root.post("/admin/users", name=name, password="x", role="reader", **page)
    assert (again.status_code, "is a user already" in again.text) == (409, True)

    for role, levels in {"writer": ("ro", "rw"), "owner": ("rw", "rw"), "none": ("none", "none")}.items():
        told(root, root.post("/admin/users/role", page=own, name=name, role=role))
        found = admin.permissions(db, name)
        assert (found["role"], found["database"], found["collections"]) == (role, *levels)
    assert root.post("/admin/users/role", page=own, name=name, role="king").status_code == 422
    told(root, root.post("/admin/users/role", page=own, name=name, role="writer"))

    told(root, root.post("/admin/users/password", page=own, name=name, password="second one"))
    with pytest.raises(Unauthorized):
        ServerAccess(database.url).token(name, "first one")
    access = ServerAccess(database.url)
    assert access.rights(access.token(name, "second one")) == admin.Rights(True, False, False)

    assert root.post("/admin/users/removal", page=own, name=name).status_code == 422
    assert "is removed" in told(root, root.post("/admin/users/removal", page=own, name=name, sure="yes"))
    root.get(own, 404)
    with pytest.raises(Unauthorized):
        ServerAccess(database.url).token(name, "second one")


def admin_of(database: Database) -> Any:
    return as_user(database, "root", ROOT.replace(" ", "%20"))


def test_nobody_removes_themselves(database: Database) -> None:
    """Who administrates cannot remove who has signed in."""
    root = browser_of(database, "root")
    own = "/admin/users/user?name=root"
    assert "that is you" in root.get(own)
    assert "<dd>owner</dd>" in root.get(own)
    assert root.post("/admin/users/removal", page=own, name="root", sure="yes").status_code == 422
    assert "root" in {each["name"] for each in admin.users(admin_of(database))}


def test_who_may_not_sees_why(database: Database) -> None:
    """Each of the pages is there for everybody; forms only for who may, and others are told what it takes."""
    bob = browser_of(database, "bob")
    for path, wanted in (
        ("/admin/nodes", "Read/Write on its collections"),
        ("/admin/doctor", "Read/Write on its collections"),
        ("/admin/types", "Administrate on its database"),
        ("/admin/retention?days=5", "Administrate on its database"),
        ("/admin/users", "database _system"),
    ):
        page = bob.get(path)
        assert wanted in page
        assert set(re.findall('method="post" action="([^"]+)"', page)) - CHANGING_NOTHING == set()
    ann = browser_of(database, "ann")
    assert "database _system" in ann.get("/admin/users")
    assert "/admin/types/nodes" in ann.get("/admin/types")
    refused = ann.client.get("/admin/users/user?name=bob")
    assert (refused.status_code, "database _system" in refused.text) == (403, True)


def test_rights_are_the_databases(database: Database) -> None:
    """Whoever administrates may everything, an owner no users, a writer no types, a reader nothing but read."""
    access, db = ServerAccess(database.url), admin_of(database)
    admin.create_user(db, "wil", "wil's own", "writer")
    known = {"root": ROOT, "wil": "wil's own", **PASSWORDS}
    rights = {name: access.rights(access.token(name, known[name])) for name in ("root", "ann", "wil", "bob")}
    assert rights == {
        "root": admin.Rights(True, True, True),
        "ann": admin.Rights(True, True, False),
        "wil": admin.Rights(True, False, False),
        "bob": admin.Rights(False, False, False),
    }
    admin.remove_user(db, "wil")


def test_rights_are_asked_for_once_in_a_while(database: Database) -> None:
    """A page asks for the rights once a minute; a right that is taken away meanwhile is refused by the database."""
    db = admin_of(database)
    admin.create_user(db, "wil", "wil's own", "writer")
    wil = Browser(ServerAccess(database.url))
    assert wil.post("/sign-in", username="wil", password="wil's own").status_code == 303
    page = wil.get("/admin/nodes")
    session = wil.app.state.sessions.find(wil.client.cookies["arangopipe_session"])
    asked = Requests(wil.access.store(session.token).db)
    wil.get("/admin/nodes")
    assert len(asked) == 2
    admin.grant(db, "wil", "reader")
    refused = wil.post("/admin/projects", page="/admin/nodes", name="of wil")
    assert "Register a project" in page
    session.rights = session.rights[0], 0.0
    assert "Register a project" not in wil.get("/admin/nodes")
    assert (refused.status_code, "Check user, password and permissions" in refused.text) == (403, True)
    admin.remove_user(db, "wil")
