"""Node and edge types that users add to the graph."""

import multiprocessing
import threading
from dataclasses import replace
from typing import Any

import pytest

from arangopipe_ops import errors, stages
from arangopipe_ops.admin import doctor, extend, extension, plan, provision, withdraw
from arangopipe_ops.connection import connect
from arangopipe_ops.model import AUDIT, GRAPH, EdgeType, Index, NodeType
from arangopipe_ops.store import Store

REPORT = NodeType("Report", "reports", ("title",), name="title", indexes=(Index(("topic",), sparse=True),))
COVERS = EdgeType("report_dataset", "Report", "Dataset", "to")
GRADE = NodeType("Grade", "grades", ("title", "at"), name="title")
GRADED = EdgeType("report_grade", "Report", "Grade", "from", newest="at")


def use(store: Store) -> dict[str, Any]:
    """Write a data set, a report on it and two grades; return the references."""
    data = store.write(stages.register_dataset("wine", version="1"))
    stage = store.stage()
    report = stage.add("Report", {"title": "On wine", "topic": "acids"})
    stage.link("report_dataset", report, data, {"pages": 3})
    for at in ("2026-01", "2026-02"):
        stage.link("report_grade", report, stage.add("Grade", {"title": "On wine", "at": at}), {"at": at})
    return {"data": data, "report": store.write(stage)}


def test_new_kinds_work_everywhere(db: Any) -> None:
    """Written, searched, traced, counted, annotated, deleted by plan, also by a store that was open before."""
    before, other = Store(db), Store(db)
    assert extend(db, nodes=[REPORT, GRADE], edges=[COVERS, GRADED])
    made = use(before)
    report = made["report"]["_id"]
    assert other.search("Report", {"topic": "acids"})["total"] == 1
    assert {node["_id"] for node in other.search(text="wine", where={"topic": "acids"})["nodes"]} == {report}
    assert other.get("On wine", "Report")["topic"] == "acids"
    lineage = Store(db).lineage(made["data"])
    assert [(node["kind"], node["depth"]) for node in lineage["nodes"]] == [("Dataset", 0), ("Report", 1), ("Grade", 2)]
    assert lineage["nodes"][2]["document"]["at"] == "2026-02", "of the facts lineage shows the newest"
    assert [node["kind"] for node in Store(db).impact(made["data"])] == ["Report", "Grade"]
    assert Store(db).counts()["reports"] == Store(db).counts()["report_dataset"] == 1
    other.annotate(report, owner="Ada")
    assert [event["action"] for event in other.history(report)] == ["revised", "created"]
    planned = Store(db).plan_deletion(report)
    assert len(planned["removes"]) == len(planned["edges"]) == 3
    other.delete(planned)
    assert Store(db).counts()["reports"] == 0


def test_versions_of_a_new_kind(db: Any) -> None:
    """Without a version, a reference to a node of an added kind means the newest, as a name and as a mapping."""
    extend(db, nodes=[{"kind": "Protocol", "collection": "protocols", "identity": ["name", "version"]}])
    store = Store(db)
    for version in ("1", "2"):
        stage = store.stage()
        stage.add("Protocol", {"name": "blind", "version": version})
        newest = store.write(stage)
    for reference in ("blind", {"name": "blind"}, {"name": "blind", "version": "2"}, newest):
        assert store.get(reference, "Protocol")["_id"] == newest["_id"]


def test_structure_follows(db: Any) -> None:
    """Collections, edge definitions and indexes are made, also of a node type without an edge; the plan is empty."""
    extend(db, nodes=[REPORT, GRADE], edges=[COVERS])
    definitions = {each["edge_collection"]: each for each in db.graph(GRAPH).edge_definitions()}
    assert definitions["report_dataset"]["from_vertex_collections"] == ["reports"]
    assert {"reports", "grades"} <= set(db.graph(GRAPH).vertex_collections())
    assert ["topic"] in [index["fields"] for index in db.collection("reports").indexes()]
    assert plan(db) == []
    assert doctor(db) == []


def test_plain_json_will_do(db: Any) -> None:
    """Types given as mappings are those given as objects; what may be left out has its usual value."""
    extend(
        db,
        nodes=[{"kind": "Report", "collection": "reports", "identity": ["title"], "indexes": [["topic"]]}],
        edges=[{"name": "report_dataset", "source": "Report", "target": "Dataset", "upstream": "to"}],
    )
    stored = extension(db)
    assert stored["nodes"][0] | {"indexes": None} == {
        "kind": "Report",
        "collection": "reports",
        "identity": ("title",),
        "name": "title",
        "shows": (),
        "indexes": None,
    }
    assert extend(db, nodes=[NodeType(**{**stored["nodes"][0], "indexes": (Index(("topic",)),)})]) is False


def test_extending_again_changes_nothing(db: Any) -> None:
    """The same types again are no change, leave no entry in the audit, and put back what was dropped by hand."""
    assert extend(db, nodes=[REPORT], edges=[COVERS])
    entries = db.collection(AUDIT).count()
    db.delete_collection("reports")
    assert extend(db, nodes=[REPORT], edges=[COVERS]) is False
    assert db.has_collection("reports")
    assert db.collection(AUDIT).count() == entries


def test_the_audit_tells(db: Any) -> None:
    """An entry says which types were added, when and through what, and keeps what it replaced."""
    extend(db, nodes=[REPORT])
    extend(db, nodes=[GRADE])
    rows = db.aql.execute("FOR a IN audit FILTER a.extension != null SORT a.at RETURN a")
    first, second = list(rows)
    assert (first["reason"], second["reason"]) == ("extend: Report", "extend: Grade")
    assert first["provenance"]["through"] == "admin"
    assert [node["kind"] for node in second["replaced"][0]["nodes"]] == ["Report"]


def test_reading_costs_one_request_as_before(db: Any, requests_of: Any) -> None:
    """Without an extension, and with one that a store knows, a question is one request."""
    store = Store(db)
    requests = requests_of(db)
    store.counts()
    store.search()
    assert len(requests) == 2
    extend(db, nodes=[REPORT])
    store.counts()
    sent = len(requests)
    store.counts()
    store.search("Report")
    assert len(requests) == sent + 2
    assert provision(db) is False
    assert len(requests) == sent + 3


@pytest.mark.parametrize(
    ("nodes", "edges", "problem"),
    [
        ([{"kind": "Report", "collection": "models", "identity": ["name"]}], [], "two types"),
        ([{"kind": "Report", "collection": "a/b", "identity": ["name"]}], [], "not a collection's name"),
        ([{"kind": "Report", "collection": "audit", "identity": ["name"]}], [], "two types"),
        ([{"kind": "Rep/ort", "collection": "reports", "identity": ["name"]}], [], "not a kind's name"),
        ([{"kind": "models", "collection": "reports", "identity": ["name"]}], [], "another type's collection"),
        ([{"kind": "Report", "collection": "reports", "identity": ["digest"]}], [], "set by the store"),
        ([{"kind": "Report", "collection": "reports", "identity": []}], [], "lacks"),
        ([{"kind": "Report", "collection": "reports", "identity": "name"}], [], "not a list"),
        ([{"kind": "Report", "collection": "reports"}], [], "needs identity"),
        ([{"kind": "Report", "collection": "reports", "identity": ["name"], "colour": 1}], [], "is not one of"),
        ([{"kind": "Model", "collection": "mymodels", "identity": ["name"]}], [], "another collection"),
        ([7], [], "not a mapping"),
        ([], [{"name": "x", "source": "Nothing", "target": "Model", "upstream": "to"}], "is not one of"),
        ([], [{"name": "x", "source": "Run", "target": "Model", "upstream": "up"}], "not from or to"),
        ([], [{"name": "run_models", "source": "Run", "target": "Model", "upstream": "to"}], "another source"),
    ],
)
def test_types_that_cannot_be(db: Any, nodes: Any, edges: Any, problem: str) -> None:
    """They are refused, naming what is wrong, before anything is created."""
    collections = {each["name"] for each in db.collections()}
    with pytest.raises((errors.Invalid, errors.Conflict), match=problem):
        extend(db, nodes=nodes, edges=edges)
    assert {each["name"] for each in db.collections()} == collections
    assert extension(db) == {"nodes": [], "edges": []}


def test_withdrawing(db: Any) -> None:
    """Types whose collections are empty go with them; a store that knew them goes on without."""
    extend(db, nodes=[REPORT, GRADE], edges=[COVERS])
    store = Store(db)
    assert "reports" in store.counts()
    with pytest.raises(errors.Invalid, match="needs it"):
        withdraw(db, nodes=["Report"])
    assert withdraw(db, nodes=["Report"], edges=["report_dataset"])
    assert not db.has_collection("reports")
    assert "reports" not in store.counts()
    assert [node["kind"] for node in extension(db)["nodes"]] == ["Grade"]
    assert withdraw(db, nodes=["Report"]) is False
    assert plan(db) == []
    with pytest.raises(errors.Invalid, match="stays"):
        withdraw(db, nodes=["Model"])


def test_withdrawing_what_is_in_use(db: Any) -> None:
    """A type with documents is refused with their number; with force they go."""
    extend(db, nodes=[REPORT, GRADE], edges=[COVERS, GRADED])
    use(Store(db))
    with pytest.raises(errors.Conflict, match="holds 1 documents"):
        withdraw(db, nodes=["Report", "Grade"], edges=["report_dataset", "report_grade"])
    assert Store(db).counts()["reports"] == 1
    assert withdraw(db, nodes=["Report", "Grade"], edges=["report_dataset", "report_grade"], force=True)
    assert Store(db).counts()["datasets"] == 1
    assert doctor(db) == []


def test_a_type_gets_other_indexes(db: Any) -> None:
    """A type's indexes can change: the new one is made, the one it replaces goes when asked."""
    extend(db, nodes=[REPORT])
    assert extend(db, nodes=[replace(REPORT, indexes=(Index(("author",)),))])
    assert [(each.name, each.problem) for each in plan(db)] == [("reports (topic, sparse)", "obsolete")]
    assert provision(db, force=True)
    assert plan(db) == []
    assert ["author"] in [index["fields"] for index in db.collection("reports").indexes()]


def test_an_extended_database_is_upgraded_whole(db: Any) -> None:
    """A later version of this package provisions the added types along with its own."""
    extend(db, nodes=[REPORT])
    db.delete_collection("reports")
    assert provision(db, again=True)
    assert plan(db) == []


def test_no_extension_is_lost_to_threads(url: str, db: Any) -> None:
    """Eight that extend the graph at once all find their type in it afterwards."""
    failures: list[BaseException] = []

    def one(number: int) -> None:
        try:
            extend(connect(url), nodes=[{"kind": f"Kind{number}", "collection": f"kind{number}", "identity": ["name"]}])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert {node["kind"] for node in extension(db)["nodes"]} == {f"Kind{number}" for number in range(8)}
    assert plan(db) == []


def extend_url(url: str, number: int) -> bool:
    return extend(connect(url), nodes=[{"kind": f"Kind{number}", "collection": f"kind{number}", "identity": ["name"]}])


def counted(url: str) -> dict[str, int]:
    return Store(connect(url)).counts()


@pytest.mark.slow
def test_another_process_extends(url: str, db: Any) -> None:
    """What other processes add at once is all there, in this process's open store and in theirs."""
    store = Store(db)
    store.counts()
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert all(pool.starmap(extend_url, [(url, number) for number in range(4)]))
        stage = store.stage()
        stage.add("Kind3", {"name": "here"})
        store.write(stage)
        assert pool.apply(counted, (url,)) == store.counts()
    assert [store.counts()[f"kind{number}"] for number in range(4)] == [0, 0, 0, 1]
