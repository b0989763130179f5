"""The search page: its filters, orders, columns, pages and files."""

import csv
import io
import re
from html import unescape

import pytest
from test_web_pages import MARKUP, TOKEN, Browser, ann, anyone, file, links

from arangopipe_ops import stages

__all__ = ["ann", "anyone", "file"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("kind=Run", 1),
        ("kind=Dataset", 6),
        ("text=wine data", 5),
        ("text=WINE gold", 5),
        ("tag=gold", 5),
        ("tag=silver", 0),
        ("kind=Dataset&name=wine", 5),
        ("kind=Dataset&name=ine", 0),
        ("name=wine", 6),
        ("where=uri%5E%3Ds3://", 5),
        ("name=wine data&where=version%3E%3D%222%22%0Aversion%3C%224%22", 2),
        ("kind=Run&where=status%3Dcompleted", 1),
        ("where=f1%3E0.9", 1),
        ("since=2020-01-01&kind=Project", 1),
        ("since=2999-01-01", 0),
        ("until=2020-01-01", 0),
        ("kind=Dataset&text=wine&tag=gold&name=wine&since=2020-01-01&until=2999-01-01", 5),
    ],
)
def test_a_search_with_each_filter(ann: Browser, query: str, found: int) -> None:
    """The filters find what they say, and the form shows them."""
    page = ann.get(f"/search?{query}")
    assert page.count("<tr><td>") == found
    assert (f"{found} found" in page) is (found > 0)
    for name, value in re.findall(r"(text|name|tag|since|until)=([^&]+)", query):
        assert re.search(f'name="{name}" value="{value}"', page), name


def test_archived_nodes_are_found_on_request(ann: Browser) -> None:
    """A search leaves out what is archived, unless it is asked for as well."""
    ann.access.store(TOKEN).archive("wine", "Project")
    assert ann.get("/search?kind=Project&name=wine").count("<tr><td>") == 0
    assert ann.get("/search?kind=Project&name=wine&archived=true").count("<tr><td>") == 1


def test_pages_of_a_search_follow_each_other(ann: Browser) -> None:
    """The links lead through all that is found, each once, in the order asked for, with the filters kept."""
    address, seen = "/search?kind=Dataset&tag=gold&limit=2&sort=version&way=asc", []
    while address:
        page = ann.get(address)
        seen += re.findall(r"</a> <span class=\"faint\">version (\d)", page)
        assert 'value="gold"' in page
        [address] = re.findall(r'rel="next" href="([^"]+)"', page) or [""]
        address = unescape(address)
    assert seen == ["1", "2", "3", "4", "5"]


def test_a_heading_turns_the_order(ann: Browser) -> None:
    """A column's heading sorts by it, and once more the other way."""
    page = ann.get("/search?kind=Dataset&sort=version")
    assert 'aria-sort="descending"' in page
    turned = next(link for link in links(page) if "sort=version" in link and "way=asc" in link)
    assert 'aria-sort="ascending"' in ann.get(turned)


def test_all_columns(ann: Browser) -> None:
    """On request every attribute is a column, with values inside values folded."""
    assert "7331" not in ann.get("/search?kind=Dataset")
    page = ann.get("/search?kind=Dataset&columns=all")
    assert "7331" in page
    assert "<details>" in page


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("since=yesterday", "since"),
        ("kind=Nothing", "is not one of"),
        ("where=.rows%3E1", "is not the name of an attribute"),
        ("cursor=x", "cursor"),
    ],
)
def test_a_search_that_cannot_be(ann: Browser, query: str, says: str) -> None:
    """What cannot be asked is told beside the form, which keeps what was typed."""
    page = ann.get(f"/search?{query}", 422)
    assert says in page
    assert '<form class="filters"' in page


def test_what_was_not_looked_at_is_said(ann: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a search looks at the newest nodes alone, links lead to those before, until all were looked at."""
    monkeypatch.setattr("arangopipe_ops.web.pages.search.WITHIN_KIND", 2)
    monkeypatch.setattr("arangopipe_ops.web.pages.search.WITHIN_ALL", 2)
    address, seen = "/search?where=version%3C%224%22%0Auri%5E%3Ds3", set[str]()
    while address:
        page = ann.get(address)
        seen |= set(re.findall(r"</a> <span class=\"faint\">version (\d)", page))
        [address] = map(unescape, re.findall(r'href="([^"]+)">Dataset before', page) or [""])
        assert ("were looked at of each kind" in page) is bool(address)
    assert seen == {"1", "2", "3"}


def test_nodes_to_keep(ann: Browser) -> None:
    """The JSON has all that is found, as it is stored, with its kind."""
    answer = ann.client.get("/search.json?kind=Dataset&limit=1&text=gold")
    assert "attachment" in answer.headers["content-disposition"]
    store = ann.access.store(TOKEN)
    assert answer.json() == [{**store.get(node["_id"]), "_kind": "Dataset"} for node in answer.json()]
    assert len(answer.json()) == 5


def test_a_table_to_keep(ann: Browser) -> None:
    """The CSV has all that is found with all its attributes, and no text that a spreadsheet would execute."""
    ann.access.store(TOKEN).write(stages.register_dataset("=HYPERLINK(1)", rows=-5))
    answer = ann.client.get("/search.csv?kind=Dataset&limit=1")
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 7
    assert {row["_kind"] for row in rows} == {"Dataset"}
    assert (rows[0]["name"], rows[0]["rows"]) == ("'=HYPERLINK(1)", "-5")
    assert [row["statistics"] for row in rows if row["name"] == MARKUP] == [
        '{"' + MARKUP.replace('"', '\\"') + '": {"deep": [{"er": 7331}]}}'
    ]
