"""Nodes are found by any property, page by page."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import provisioned
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arangopipe_ops import stages
from arangopipe_ops.errors import Invalid
from arangopipe_ops.store import Store


def names(page: Any) -> list[str]:
    return [node.get("name") or node.get("run_id") or node.get("tag") for node in page["nodes"]]


def pages(store: Store, **search: Any) -> Iterator[Any]:
    """Yield every page of a search."""
    page = store.search(**search)
    yield page
    while page["cursor"]:
        page = store.search(**search, cursor=page["cursor"])
        yield page


def fill(url: str) -> None:
    store = Store(provisioned(url))
    for name, attributes in (
        ("a", {"rows": 1, "uri": "s3://lake/a", "stats": {"mean": 1.5}}),
        ("b", {"rows": 20, "uri": "s3://lake/b", "stats": {"mean": 2.5}, "tags": ["gold", "eu"]}),
        ("c", {"rows": 300, "uri": "gs://lake/c", "owner": "ann", "description": "Red WINE of Piedmont"}),
        ("d", {"rows": "many", "flag": True, "val.acc": 0.5, "tag": "blue", "deployment_tag": "live"}),
        ("e", {"flag": False, "when": "2026-03-01T00:00:00.000Z", "tags": ["eu"], "shape": {"x": 1}}),
    ):
        store.write(stages.register_dataset(name, **attributes))


@pytest.fixture
def data(filled_by: Any) -> Store:
    """Data sets whose attributes differ in kind, in order of registration."""
    return Store(filled_by(fill))


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({"rows": 20}, "b"),
        ({"rows": {"==": 20}}, "b"),
        ({"rows": {"!=": 20}}, "edca"),
        ({"rows": {"<": 20}}, "a"),
        ({"rows": {"<=": 20}}, "ba"),
        ({"rows": {">": 1, "<": 300}}, "b"),
        ({"rows": {">=": 20}}, "cb"),
        ({"rows": {">": "a"}}, "d"),
        ({"rows": {"in": [1, "many"]}}, "da"),
        ({"rows": {"not in": [1, 20, 300]}}, "ed"),
        ({"rows": {"exists": False}}, "e"),
        ({"owner": {"exists": True}}, "c"),
        ({"nothing": {"<": 5}}, ""),
        ({"uri": {"prefix": "s3://"}}, "ba"),
        ({"uri": {"prefix": "S3://"}}, ""),
        ({"uri": {"contains": "LAKE/C"}}, "c"),
        ({"description": {"contains": "wine"}}, "c"),
        ({"tags": {"has": "eu"}}, "eb"),
        ({"tags": ["eu"]}, "e"),
        ({"tag": "blue"}, "d"),
        ({"deployment_tag": {"prefix": "li"}}, "d"),
        ({"flag": False}, "e"),
        ({"flag": 0}, ""),
        ({"stats.mean": {">": 1, "<": 2}}, "a"),
        ({"val.acc": 0.5}, "d"),
        ({"when": {">=": "2026-02-01", "<": "2026-03-02"}}, "e"),
        ({"shape": {"==": {"x": 1}}}, "e"),
        ({"uri": {"prefix": "s3://"}, "tags": {"has": "gold"}}, "b"),
        ({}, "edcba"),
    ],
)
def test_conditions(data: Store, where: dict[str, Any], found: str) -> None:
    """Every operator finds what it says, the newest first, and the total counts it."""
    page = data.search("Dataset", where)
    assert ("".join(names(page)), page["total"], page["cursor"]) == (found, len(found), None)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"rows": {"=": 1}}, "is not one of the operators"),
        ({"rows": {"<": [1]}}, "where.rows: < takes a number or a text"),
        ({"rows": {"<": True}}, "where.rows: < takes a number or a text"),
        ({"rows": {"in": 1}}, "in takes a list"),
        ({"uri": {"prefix": 1}}, "prefix takes a text"),
        ({"uri": {"exists": 1}}, "exists takes true or false"),
        ({"rows": float("nan")}, "where.rows"),
        ({"a..b": 1}, "is not the name of an attribute"),
        ({"": 1}, "is not the name of an attribute"),
        ({f"a{n}": n for n in range(201)}, "has more than 200 conditions"),
    ],
)
def test_conditions_that_mean_nothing_are_refused(store: Store, where: dict[str, Any], message: str) -> None:
    """A wrong operator or value is one clear error that names the attribute, and nothing is asked."""
    with pytest.raises(Invalid, match=message):
        store.search("Dataset", where)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("wine", "c"),
        ("PIEDMONT red", "c"),
        ("gold", "b"),
        ("blue", "d"),
        ("live d", "d"),
        ("wine gold", ""),
        ("", "edcba"),
    ],
)
def test_free_text(data: Store, text: str, found: str) -> None:
    """Free text is words that all stand in name, description or tags, whatever their case."""
    assert "".join(names(data.search("Dataset", text=text))) == found


def test_every_kind_is_searched(data: Store) -> None:
    """Without a kind, nodes of all kinds are found together, the newest first."""
    data.write(stages.register_project("gold digger"))
    assert names(data.search(text="gold")) == ["gold digger", "b"]
    assert data.search()["total"] == 6


def test_facts_can_be_left_out(store: Store) -> None:
    """Of all kinds without facts there are runs and deployments, and not what was observed of them."""
    store.write(stages.register_project("p"))
    store.write(stages.register_model("m", project="p"))
    store.write(stages.log_run("r", model="m", params={"depth": 3}, metrics={"f1": 0.9}))
    found = [store.schema.node(node["_id"].partition("/")[0]).kind for node in store.search(facts=False)["nodes"]]
    assert sorted(found) == ["Model", "Project", "Run"]
    assert len(store.search()["nodes"]) == 5
    first = store.search(limit=1)["cursor"]
    with pytest.raises(Invalid, match="another search"):
        store.search(limit=1, cursor=first, facts=False)


def test_a_search_by_time_of_registration(data: Store) -> None:
    """`since` is included and `until` is not."""
    times = {node["name"]: node["created"] for node in data.search("Dataset")["nodes"]}
    assert "".join(names(data.search("Dataset", since=times["c"]))).startswith("ed")
    assert times["c"] not in {n["created"] for n in data.search("Dataset", until=times["c"])["nodes"]}


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("kind", ["Run", None])
def test_pages_follow_each_other_without_gap_or_double(store: Store, kind: str | None, limit: int) -> None:
    """Every node stands on one page, although many have the same time and kinds share keys."""
    project = store.write(stages.register_project("p"))
    model = store.write(stages.register_model("m", project=project))
    for i in range(8):
        store.write(stages.log_run(f"r{i}", model=model, params={"i": i}, metrics={"i": i}))
    whole = store.search(kind)["nodes"]
    split = list(pages(store, kind=kind, limit=limit))
    assert [node for page in split for node in page["nodes"]] == whole
    assert {page["total"] for page in split} == {len(whole)}
    assert [len(page["nodes"]) for page in split[:-1]] == [limit] * (len(split) - 1)


@pytest.mark.parametrize("descending", [True, False])
def test_pages_in_the_order_of_an_attribute(data: Store, descending: bool) -> None:
    """Any attribute orders; nodes without it come where null comes."""
    order = {"order_by": "stats.mean", "descending": descending}
    split = [names(page)[0] for page in pages(data, kind="Dataset", limit=1, **order)]
    assert split == names(data.search("Dataset", **order))
    assert [n for n in split if n in "ab"] == (["b", "a"] if descending else ["a", "b"])


def test_a_cursor_belongs_to_its_search(data: Store) -> None:
    """The cursor of another search, or one made up, is refused instead of giving a wrong page."""
    cursor = data.search("Dataset", limit=1)["cursor"]
    for broken in (cursor[:-3], "x", "é"):
        with pytest.raises(Invalid, match="cursor"):
            data.search("Dataset", limit=1, cursor=broken)
    with pytest.raises(Invalid, match="another search"):
        data.search("Dataset", {"rows": 1}, limit=1, cursor=cursor)
    assert data.search("Dataset", limit=2, cursor=cursor)["nodes"]


def test_new_nodes_do_not_shift_the_pages(data: Store) -> None:
    """A page goes on after the last row of the one before, whatever was registered meanwhile."""
    first = data.search("Dataset", limit=2)
    data.write(stages.register_dataset("new"))
    assert names(data.search("Dataset", limit=2, cursor=first["cursor"])) == ["c", "b"]


def test_a_total_is_counted_only_when_asked_for(data: Store) -> None:
    """Counting can be left out, on every page."""
    assert [page["total"] for page in pages(data, kind="Dataset", limit=2, count=False)] == [None] * 3


@pytest.mark.parametrize("limit", [0, -1, 10_001])
def test_a_page_has_bounds(store: Store, limit: int) -> None:
    """A page holds between one and ten thousand nodes."""
    with pytest.raises(Invalid, match="limit"):
        store.search("Run", limit=limit)


def test_a_search_is_one_request(data: Store, requests_of: Any) -> None:
    """A page of a search costs one request, of one kind or of all."""
    requests = requests_of(data.db)
    page = data.search("Dataset", {"rows": {">": 1}}, limit=1)
    data.search("Dataset", {"rows": {">": 1}}, limit=1, cursor=page["cursor"])
    data.search(text="gold", limit=2)
    assert len(requests) == 3


def test_archived_nodes_are_hidden(data: Store) -> None:
    """An archived node is found only when asked for, and a name leads to the newest version that is not archived."""
    old = data.write(stages.register_dataset("f", rows=1))
    new = data.write(stages.register_dataset("f", rows=2))
    data.archive(new, reason="broken")
    assert [n["rows"] for n in data.search("Dataset", {"name": "f"})["nodes"]] == [1]
    assert data.search("Dataset", {"name": "f"}, archived=True)["total"] == 2
    assert (data.search("Dataset")["total"], data.search("Dataset", archived=True)["total"]) == (6, 7)
    assert data.get("f", "Dataset")["_id"] == old["_id"]
    assert data.get(new)["rows"] == 2
    featureset = data.write(stages.register_featureset("fs", dataset="f"))
    assert old["_id"] in {node["_id"] for node in data.lineage(featureset)["nodes"]}
    data.restore(new)
    assert data.get("f", "Dataset")["rows"] == 2


# --- against a naive evaluator ---------------------------------------------------------------------------

_RANK = {type(None): 0, bool: 1, int: 2, float: 2, str: 3}
values = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(["", "a", "ab", "b"]))
comparable = st.one_of(st.integers(-3, 3), st.sampled_from(["", "a", "ab", "b"]))
conditions = st.one_of(
    st.fixed_dictionaries({"==": values}),
    st.fixed_dictionaries({"!=": values}),
    *(st.fixed_dictionaries({operator: comparable}) for operator in ("<", "<=", ">", ">=")),
    st.fixed_dictionaries({"in": st.lists(values, max_size=3)}),
    st.fixed_dictionaries({"not in": st.lists(values, max_size=3)}),
    st.fixed_dictionaries({"prefix": st.sampled_from(["", "a", "ab"])}),
    st.fixed_dictionaries({"exists": st.booleans()}),
)


def same(a: Any, b: Any) -> bool:
    return _RANK[type(a)] == _RANK[type(b)] and a == b


def ordered(a: Any, b: Any) -> bool:
    return a is not None and not isinstance(a, bool) and _RANK[type(a)] == _RANK[type(b)]


NAIVE = {
    "==": same,
    "!=": lambda a, b: not same(a, b),
    "<": lambda a, b: ordered(a, b) and a < b,
    "<=": lambda a, b: ordered(a, b) and a <= b,
    ">": lambda a, b: ordered(a, b) and a > b,
    ">=": lambda a, b: ordered(a, b) and a >= b,
    "in": lambda a, b: any(same(a, x) for x in b),
    "not in": lambda a, b: not any(same(a, x) for x in b),
    "prefix": lambda a, b: isinstance(a, str) and a.startswith(b),
    "exists": lambda a, b: (a is not None) == b,
}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(values, min_size=1, max_size=6), asked=st.lists(conditions, min_size=1, max_size=6))
def test_search_agrees_with_a_naive_one(store: Store, rows: list[Any], asked: list[dict[str, Any]]) -> None:
    """Whatever the values and conditions are, a search finds what a loop over all nodes finds."""
    mark = store.db.collection("project").count()
    for i, row in enumerate(rows):
        store.write(stages.register_project(f"{mark} {i}", mark=mark, tag=row))
    for condition in asked:
        [(operator, value)] = condition.items()
        expected = {f"{mark} {i}" for i, row in enumerate(rows) if NAIVE[operator](row, value)}
        assert set(names(store.search("Project", {"mark": mark, "tag": condition}))) == expected, condition


HALF = "\ud800"


@pytest.mark.parametrize(
    "asked",
    [
        {"text": HALF},
        {"order_by": HALF},
        {"where": {HALF: 1}},
        {"where": {"a": HALF}},
        {"kind": HALF},
        {"cursor": HALF},
    ],
    ids=str,
)
def test_half_a_surrogate_pair_is_nowhere_accepted(store: Store, asked: dict[str, Any]) -> None:
    """Text that no database can store is refused before anything is sent, wherever it stands."""
    with pytest.raises(Invalid):
        store.search(**{"kind": "Project"} | asked)


@pytest.mark.parametrize("at", range(5))
@pytest.mark.parametrize("value", ["x", {}, [], HALF, float("nan"), 1.5], ids=repr)
def test_a_cursor_that_somebody_made(store: Store, at: int, value: Any) -> None:
    """Whatever is put into a cursor, the answer is a page of the declared form or Invalid."""
    for name in ("a", "b"):
        store.write(stages.register_project(name))
    cursor = store.search("Project", limit=1)["cursor"] or ""
    parts = json.loads(base64.urlsafe_b64decode(cursor + "=="))
    parts[at] = value
    changed = base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()
    try:
        page = store.search("Project", limit=1, cursor=changed)
    except Invalid:
        return
    assert page["total"] is None or isinstance(page["total"], int)
