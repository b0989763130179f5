"""Searches that look at a limited number of nodes say so, and find what there is among them."""

from typing import Any

import pytest
from conftest import provisioned

from arangopipe_ops import stages
from arangopipe_ops.errors import Invalid
from arangopipe_ops.store import Store

ALL = 1000


def fill(url: str) -> None:
    """Register ten data sets of which the oldest has what the others lack, then runs in one statement."""
    store = Store(provisioned(url))
    project = store.write(stages.register_project("first", tags=["gold"]))
    store.write(
        stages.register_dataset("Amber", version="1", tags=["gold"], uri="s3://amber", rows=9, description="antique")
    )
    for i in range(9):
        store.write(stages.register_dataset(f"data {i}", version="1", rows=i, uri=f"s3://{i}", tags=["all"]))
    model = store.write(stages.register_model("forest", project=project))
    store.write_many(stages.log_run(f"r{i}", model=model, metrics={"a": i}, status="failed") for i in range(5))
    store.archive("data 8", "Dataset")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Store:
    url = f"embedded://{tmp_path_factory.mktemp('window')}/graph.db"
    fill(url)
    return Store(provisioned(url))


def names(page: Any) -> list[str]:
    return [node.get("name") or node.get("run_id") or node.get("tag") for node in page["nodes"]]


SEARCHES: list[dict[str, Any]] = [
    {},
    {"kind": "Dataset"},
    {"kind": "Dataset", "order_by": "rows"},
    {"kind": "Dataset", "order_by": "name", "descending": False},
    {"kind": "Dataset", "where": {"rows": {">": 4}}},
    {"kind": "Dataset", "where": {"tags": {"has": "all"}}, "since": "2020-01-01"},
    {"kind": "Dataset", "where": {"uri": "s3://3"}, "until": "2999-01-01"},
    {"kind": "Dataset", "where": {"uri": {"prefix": "s3://"}, "rows": {"in": [1, 2]}}},
    {"kind": "Dataset", "where": {"name": {"==": "data 8"}}, "archived": True},
    {"kind": "Dataset", "where": {"name": "data 8"}},
    {"kind": "Dataset", "name": "data"},
    {"name": "f"},
    {"name": "F"},
    {"text": "gold"},
    {"text": "AMBER antique"},
    {"text": " "},
    {"text": "ata 1", "kind": "Dataset"},
    {"text": "gold", "name": "f"},
    {"where": {"status": "failed"}},
    {"since": "2999-01-01"},
    {"text": "data", "until": "2020-01-01"},
]


@pytest.mark.parametrize("search", SEARCHES, ids=str)
def test_a_large_window_finds_what_a_search_finds(data: Store, search: dict[str, Any]) -> None:
    """Where all nodes may be looked at, nodes, order and total are those of the search that has no limit."""
    plain, window = data.search(**search), data.search(**search, within=ALL)
    assert window.pop("reached", {}) == {}
    assert window == plain | {"cursor": None}


@pytest.mark.parametrize("search", [each for each in SEARCHES if each.get("order_by")], ids=str)
def test_pages_of_a_window_follow_each_other(data: Store, search: dict[str, Any]) -> None:
    """Page by page one sees the whole window, with the same total on each."""
    seen, cursor, totals = [], None, set()
    while True:
        page = data.search(**search, within=6, limit=2, cursor=cursor)
        seen, cursor, totals = seen + names(page), page["cursor"], {*totals, page["total"]}
        if cursor is None:
            break
    assert seen == names(data.search(**search, within=6))
    assert totals == {len(seen)} == {5}  # the newest six, of which one is archived


@pytest.mark.parametrize("kind", ["Dataset", None])
def test_what_was_not_looked_at_is_reached_later(data: Store, kind: str | None) -> None:
    """The time of `reached` leads on to the older nodes, until all were looked at, each kind by itself."""
    found, waiting, looks = set[str](), [(kind, None)], 0  # those of one millisecond may come twice
    while waiting:
        asked, until = waiting.pop()
        page = data.search(asked, text="ata", until=until, within=3)
        found |= set(names(page))
        looks += asked == "Dataset"
        waiting += [(each, at) for each, at in page["reached"].items() if each == "Dataset"]
    assert found == set(names(data.search("Dataset", text="ata")))
    assert looks >= 3


def test_what_an_index_finds_is_found_however_old(data: Store) -> None:
    """The beginning of a name, a tag or a URI is looked up, and nothing is left out unless much is like that."""
    for search in ({"name": "Amb"}, {"where": {"tags": {"has": "gold"}}}, {"where": {"uri": "s3://amber"}}):
        page = data.search("Dataset", **search, within=2)
        assert (names(page), page["reached"]) == (["Amber"], {})
    page = data.search("Dataset", {"tags": {"has": "all"}}, within=3)
    assert names(page) == ["data 7", "data 6"]
    assert list(page["reached"]) == ["Dataset"]


def test_words_are_looked_for_in_older_names_that_begin_with_the_first(data: Store) -> None:
    """An old node is found by its name, whatever its case; one by its description only among the newest."""
    assert names(data.search(text="amber", within=2)) == ["Amber"]
    assert names(data.search(text="amber antique", within=2)) == ["Amber"]
    assert names(data.search(text="antique", within=2)) == []


def test_names_that_begin_like_all_words_come_before_those_that_begin_like_the_first(
    data: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where many names begin with the first word, that of all words is still found."""
    monkeypatch.setattr("arangopipe_ops.store.window.ALIKE", 1)
    assert names(data.search("Dataset", text="data 5", within=2)) == ["data 5"]


def test_a_list_in_the_order_of_registration_has_no_window(data: Store) -> None:
    """What needs no scan is not cut; only counting ends where there are more than were to be looked at."""
    page = data.search("Dataset", within=2)
    assert (len(page["nodes"]), page["total"], "reached" in page) == (9, 9, False)
    page = data.search("Dataset", since="2020-01-01", within=2)
    assert (len(page["nodes"]), page["total"]) == (9, None)


@pytest.mark.parametrize("within", [0, 10_001])
def test_a_window_has_bounds(data: Store, within: int) -> None:
    """A window is between one and ten thousand nodes."""
    with pytest.raises(Invalid, match="within"):
        data.search("Run", text="x", within=within)


def test_a_window_is_one_request(data: Store, requests_of: Any) -> None:
    """Looking at the newest of all kinds is one request."""
    requests = requests_of(data.db)
    data.search(text="gold data", name="A", where={"tags": {"has": "gold"}}, within=2)
    assert len(requests) == 1
