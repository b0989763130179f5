"""The AQL query results cache of the embedded database: what is kept, and that nothing stale is ever served."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

from arangopipe_ops.embedded import Database
from arangopipe_ops.embedded.rights import IN_PROCESS, Identity

READ_ALL = "FOR d IN c SORT d.n RETURN d.n"
PROPERTIES = "/_api/query-cache/properties"
ENTRIES = "/_api/query-cache/entries"


class File:
    """A database file whose results are cached, with short names for what the tests send."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = Database(path)
        for name, kind in (("c", 2), ("other", 2), ("e", 3)):
            self.send("POST", "/_api/collection", {"name": name, "type": kind})
        self.send("POST", "/_api/document/c", [{"_key": "a", "n": 1}, {"_key": "b", "n": 2}])
        self.configure(mode="on")

    def send(self, method: str, path: str, body: Any = None, user: Identity = IN_PROCESS, **headers: str) -> Any:
        named = {"x-arango-trx-id": headers["transaction"]} if headers else {}
        response = self.database.handle(method, path, {}, named, body, user)
        assert response.status < 300, response.body
        return response.body

    def ask(self, query: str = READ_ALL, user: Identity = IN_PROCESS, binds: Any = None, **options: Any) -> Any:
        """Rows, and whether they came from the cache."""
        body = {"query": query, "bindVars": binds or {}, "options": options}
        answer = self.send("POST", "/_api/cursor", body, user)
        return answer["result"], answer["cached"]

    def is_kept(self, query: str, **options: Any) -> bool:
        self.ask(query, **options)
        return bool(self.ask(query, **options)[1])

    def configure(self, **properties: Any) -> Any:
        return self.send("PUT", PROPERTIES, properties)

    def entries(self, user: Identity = IN_PROCESS) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.send("GET", ENTRIES, user=user)
        return listed


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> File:
    monkeypatch.delenv("ARANGOPIPE_EMBEDDED_CLUSTER", raising=False)
    return File(tmp_path / "x.db")


def _other_process(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_the_cache_is_off_by_default(tmp_path: Path) -> None:
    """Without being configured nothing is cached, also if a query asks for it."""
    database = Database(tmp_path / "x.db")
    body = {"query": "RETURN 1 + 1", "options": {"cache": True}}
    answers = [database.handle("POST", "/_api/cursor", body=body).body for _ in range(2)]
    assert [answer["cached"] for answer in answers] == [False, False]
    assert database.handle("GET", ENTRIES).body == []
    assert database.handle("GET", PROPERTIES).body == {
        "mode": "off",
        "maxResults": 128,
        "maxResultsSize": 268435456,
        "maxEntrySize": 16777216,
        "includeSystem": False,
    }


def test_a_repeated_query_is_a_hit(file: File) -> None:
    """The second answer comes from the cache, with the rows and the statistics of the first."""
    body = {"query": READ_ALL, "count": True, "options": {"fullCount": True}}
    first, second = (file.send("POST", "/_api/cursor", body) for _ in range(2))
    assert (first["cached"], second["cached"]) == (False, True)
    assert {**first, "cached": True} == second
    assert second["extra"]["stats"]["scannedFull"] == 2
    assert second["count"] == 2


def test_cached_rows_are_nobody_elses(file: File) -> None:
    """Changing an answer changes neither the cache nor the next answer."""
    for _ in range(3):
        rows, _ = file.ask("FOR d IN c SORT d.n RETURN {list: [d.n]}")
        assert rows == [{"list": [1]}, {"list": [2]}]
        rows[0]["list"].append(3)
    listed = file.entries()
    listed[0]["dataSources"].append("x")
    assert file.entries()[0]["dataSources"] == ["c"]


def test_a_cached_result_comes_in_batches(file: File) -> None:
    """The size of the batches is each request's own."""
    file.ask("FOR x IN 1..5 RETURN x")
    body = {"query": "FOR x IN 1..5 RETURN x", "batchSize": 3}
    first = file.send("POST", "/_api/cursor", body)
    rest = file.send("POST", f"/_api/cursor/{first['id']}")
    assert first["cached"] is rest["cached"] is True
    assert first["result"] + rest["result"] == [1, 2, 3, 4, 5]


def test_what_makes_two_queries_the_same(file: File) -> None:
    """Text, bind variables, count, fullCount and optimizer do; types of values count, their order does not."""
    query = "RETURN [@x, @y]"
    assert file.ask(query, binds={"x": 1, "y": 2}) == ([[1, 2]], False)
    assert file.ask(query, binds={"y": 2, "x": 1}) == ([[1, 2]], True)
    for others in ({"x": 2, "y": 1}, {"x": True, "y": 2}, {"x": "1", "y": 2}, {"x": None, "y": 2}):
        assert file.ask(query, binds=others) == ([list(others.values())], False)
    assert not file.ask("RETURN  [@x, @y]", binds={"x": 1, "y": 2})[1]
    for options in ({"fullCount": True}, {"optimizer": {"rules": ["-all"]}}):
        assert [file.ask(query, binds={"x": 1, "y": 2}, **options)[1] for _ in range(2)] == [False, True]
    body = {"query": query, "bindVars": {"x": 1, "y": 2}, "count": True}
    assert [file.send("POST", "/_api/cursor", body)["cached"] for _ in range(2)] == [False, True]
    assert file.ask(query, binds={"x": 1, "y": 2}, maxRuntime=9)[1]


def test_databases_have_their_own_results(file: File) -> None:
    """The same text in another database is another query, and clearing one leaves the other."""
    file.send("POST", "/_api/database", {"name": "two"})
    file.send("POST", "/_db/two/_api/collection", {"name": "c"})
    assert file.ask() == ([1, 2], False)
    assert file.send("POST", "/_db/two/_api/cursor", {"query": READ_ALL})["result"] == []
    file.send("DELETE", "/_db/two/_api/query-cache")
    assert file.send("GET", "/_db/two" + ENTRIES) == []
    assert file.ask() == ([1, 2], True)


# when


@pytest.mark.parametrize(
    ("mode", "cache", "kept"),
    [
        *(("on", None, True), ("on", True, True), ("on", False, False)),
        *(("demand", None, False), ("demand", True, True), ("demand", False, False)),
        *(("off", None, False), ("off", True, False)),
    ],
)
def test_modes(file: File, mode: str, cache: bool | None, kept: bool) -> None:
    """`on` caches all but what declines, `demand` what asks for it, `off` nothing."""
    assert file.configure(mode=mode)["mode"] == mode
    assert file.is_kept(READ_ALL, **({} if cache is None else {"cache": cache})) is kept
    assert len(file.entries()) == kept


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("FOR d IN c RETURN d", True),
        ("RETURN LENGTH(c)", True),
        ("FOR v IN 1..2 ANY 'c/a' e RETURN v", True),
        ("FOR d IN c SORT RAND() RETURN d", False),
        ("RETURN DATE_NOW()", False),
        ("FOR d IN c FILTER d.n IN (RETURN FLOOR(RAND() * 2)) RETURN d", False),
        ("RETURN DOCUMENT('c/a')", False),
        ("RETURN CALL('UPPER', 'a')", False),
        ("UPSERT {_key: 'a'} INSERT {} UPDATE {} IN c", False),
        ("RETURN 1 / 0", False),
        ("FOR g IN _graphs RETURN g", False),
    ],
)
def test_eligible_queries(file: File, query: str, kept: bool) -> None:
    """Only what is read-only, deterministic, without warnings and not about system collections is cached."""
    assert file.is_kept(query) is kept


def test_system_collections_can_be_included(file: File) -> None:
    """With includeSystem results from system collections are cached too."""
    file.configure(includeSystem=True)
    assert file.is_kept("FOR g IN _graphs RETURN g")


def test_explain_says_what_is_cacheable(file: File) -> None:
    """A query that may be cached is said to be cacheable, another one is not."""
    explained = [file.send("POST", "/_api/explain", {"query": query}) for query in (READ_ALL, "RETURN RAND()")]
    cacheable = [plan["cacheable"] for plan in explained]
    assert cacheable == [True, False]


def test_streaming_and_clusters_do_not_cache(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    """A streaming cursor neither fills nor uses the cache; on a cluster there is none."""
    assert not file.is_kept(READ_ALL, stream=True)
    assert file.entries() == []
    assert file.is_kept(READ_ALL)
    assert not file.ask(stream=True)[1]
    monkeypatch.setenv("ARANGOPIPE_EMBEDDED_CLUSTER", "1")
    assert not file.ask()[1]


def test_a_memory_limit_holds_for_cached_results(file: File) -> None:
    """A result from the cache that is larger than the query's limit is the same error as a fresh one."""
    query = "RETURN 1..1000"
    assert file.is_kept(query)
    body = {"query": query, "memoryLimit": 100}
    assert file.database.handle("POST", "/_api/cursor", body=body).body["errorNum"] == 32


# invalidation


CHANGES = {
    "insert": ("POST", "/_api/document/c", {"n": 3}),
    "update": ("PATCH", "/_api/document/c/a", {"n": 3}),
    "replace": ("PUT", "/_api/document/c/a", {"n": 3}),
    "overwrite": ("POST", "/_api/cursor", {"query": "INSERT {_key: 'a', n: 3} INTO c OPTIONS {overwrite: true}"}),
    "remove": ("DELETE", "/_api/document/c/a", None),
    "statement": ("POST", "/_api/cursor", {"query": "FOR d IN c REMOVE d IN c"}),
    "truncate": ("PUT", "/_api/collection/c/truncate", None),
}


@pytest.mark.parametrize(("method", "path", "body"), CHANGES.values(), ids=CHANGES)
def test_each_change_invalidates(file: File, method: str, path: str, body: Any) -> None:
    """After a change of a collection its results are gone, and those of other collections are not."""
    before, elsewhere = file.ask()[0], "FOR d IN other RETURN d"
    assert file.is_kept(elsewhere)
    file.send(method, path, body)
    assert [entry["dataSources"] for entry in file.entries()] == [["other"]]
    after, cached = file.ask()
    assert not cached
    assert after != before
    assert file.ask(elsewhere)[1]


def test_a_failed_write_invalidates_nothing(file: File) -> None:
    """A statement that was rolled back leaves the results as they are."""
    file.ask()
    failing = {"query": "FOR x IN [1, 2] INSERT {_key: x == 1 ? 'new' : 'a'} INTO c"}
    assert file.database.handle("POST", "/_api/cursor", body=failing).body["errorNum"] == 1210
    assert file.ask() == ([1, 2], True)


def test_catalog_changes_invalidate(file: File) -> None:
    """A collection that is dropped, made anew, renamed or indexed is read again."""
    file.ask()
    file.send("PUT", "/_api/collection/c/rename", {"name": "d"})
    assert file.database.handle("POST", "/_api/cursor", body={"query": READ_ALL}).body["errorNum"] == 1203
    file.send("PUT", "/_api/collection/d/rename", {"name": "c"})
    assert file.ask() == ([1, 2], False)
    file.send("DELETE", "/_api/collection/c")
    assert file.entries() == []
    file.send("POST", "/_api/collection", {"name": "c"})
    assert file.ask() == ([], False)


def test_vertices_that_a_traversal_reaches_count(file: File) -> None:
    """A traversal's result goes when a vertex of a collection that the statement does not name changes."""
    query = "FOR v IN 1..1 OUTBOUND 'c/a' e RETURN v.n"
    file.send("POST", "/_api/document/other", [{"_key": "x", "n": 5}])
    file.send("POST", "/_api/document/e", {"_from": "c/a", "_to": "other/x"})
    assert file.ask(query) == ([5], False)
    assert file.ask(query) == ([5], True)
    assert file.entries()[0]["dataSources"] == ["c", "e", "other"]
    file.send("PATCH", "/_api/document/other/x", {"n": 6})
    assert file.ask(query) == ([6], False)


def test_a_redefined_graph_is_walked_anew(file: File) -> None:
    """The result over a named graph goes when the graph gets another edge collection."""
    file.send("POST", "/_api/document/other", {"_key": "x"})
    file.send("POST", "/_api/collection", {"name": "f", "type": 3})
    file.send("POST", "/_api/document/f", {"_from": "c/a", "_to": "other/x"})
    ends = {"from": ["c"], "to": ["other"]}
    file.send("POST", "/_api/gharial", {"name": "g", "edgeDefinitions": [{"collection": "e", **ends}]})
    query = "FOR v IN 1..1 OUTBOUND 'c/a' GRAPH 'g' RETURN v._key"
    assert file.ask(query) == ([], False)
    assert file.ask(query) == ([], True)
    file.send("POST", "/_api/gharial/g/edge", {"collection": "f", **ends})
    assert file.ask(query) == (["x"], False)


def test_transactions(file: File) -> None:
    """A commit invalidates, an abort does not; inside of a transaction nothing is cached."""

    def begun() -> str:
        begin = {"collections": {"write": ["c"], "read": ["c"]}}
        number: str = file.send("POST", "/_api/transaction/begin", begin)["result"]["id"]
        return number

    def inside(number: str) -> tuple[Any, bool]:
        answer = file.send("POST", "/_api/cursor", {"query": READ_ALL}, transaction=number)
        return answer["result"], answer["cached"]

    file.ask()
    number = begun()
    assert inside(number) == ([1, 2], False)
    file.send("POST", "/_api/document/c", {"n": 3}, transaction=number)
    assert inside(number) == ([1, 2, 3], False)
    assert file.ask() == ([1, 2], True)
    file.send("DELETE", f"/_api/transaction/{number}")
    assert file.ask() == ([1, 2], True)
    number = begun()
    file.send("POST", "/_api/document/c", {"n": 3}, transaction=number)
    file.send("PUT", f"/_api/transaction/{number}")
    assert file.ask() == ([1, 2, 3], False)


def test_expired_documents_invalidate(file: File) -> None:
    """What a TTL index removes along with a write to another collection is a change too."""
    index = {"type": "ttl", "fields": ["at"], "expireAfter": 0}
    response = file.database.handle("POST", "/_api/index", {"collection": "c"}, body=index)
    assert response.status == 201
    file.send("POST", "/_api/document/c", {"n": 3, "at": 1})
    file.database.storage._next_expiry = 0.0
    assert file.ask() == ([1, 2, 3], False)
    file.send("POST", "/_api/document/other", {})
    assert file.ask() == ([1, 2], False)


# other processes


@pytest.mark.parametrize(
    "change",
    [
        "c.insert({'n': 3})",
        "c.update({'_key': 'a', 'n': 3})",
        "c.delete('a')",
        "c.truncate()",
        "db.delete_collection('c'); db.create_collection('c')",
        "t = db.begin_transaction(write=['c']); t.collection('c').delete('a'); t.commit_transaction()",
    ],
)
def test_each_change_by_another_process_invalidates(file: File, change: str) -> None:
    """What another process did to the file is seen by the next query."""
    assert file.is_kept(READ_ALL)
    code = f"""
        import sys
        from arangopipe_ops.embedded.transport import client
        db = client(sys.argv[1]).db("_system")
        c = db.collection("c")
        {change}
        """
    assert _other_process(code, file.path).wait() == 0
    assert file.entries() == []
    after, cached = file.ask()
    assert not cached
    assert after != [1, 2]


def test_an_own_write_does_not_hide_that_of_another_process(file: File) -> None:
    """If another process wrote between two of this one's states, all results go."""
    assert file.is_kept(READ_ALL)
    Database(file.path).handle("POST", "/_api/document/c", body={"n": 3})
    file.send("POST", "/_api/document/other", {})
    assert file.ask() == ([1, 2, 3], False)


def test_removals_in_quick_succession_are_seen(file: File) -> None:
    """Removing, which needs no revision, is a new state each time, within one tick of the clock too."""
    other = Database(file.path)
    file.send("POST", "/_api/document/c", [{"_key": str(n), "n": n} for n in range(3, 103)])
    for n in range(3, 103):
        assert file.ask("RETURN LENGTH(c)")[0] == [105 - n]
        other.handle("DELETE", f"/_api/document/c/{n}")
    assert file.ask("RETURN LENGTH(c)") == ([2], False)


@pytest.mark.slow
def test_no_answer_is_older_than_what_was_acknowledged(file: File) -> None:
    """While another process and threads of this one write, no query misses what was written before it began."""
    code = """
        import sys
        from arangopipe_ops.embedded.transport import client
        db = client(sys.argv[1]).db("_system")
        for n in range(1, 301):
            db.aql.execute("UPDATE 'b' WITH {theirs: @n} IN c", bind_vars={"n": n})
            print(n, flush=True)
        """
    written = {"ours": 0, "theirs": 0}
    stale: list[Any] = []
    over = threading.Event()

    def write() -> None:
        for n in range(1, 301):
            body = {"query": "UPDATE 'a' WITH {ours: @n} IN c", "bindVars": {"n": n}}
            file.send("POST", "/_api/cursor", body)
            written["ours"] = n

    def read() -> None:
        while not over.is_set():
            before = dict(written)
            (ours, theirs), _ = file.ask("FOR d IN c SORT d._key RETURN d.ours || d.theirs || 0")
            if ours < before["ours"] or theirs < before["theirs"]:
                stale.append((before, ours, theirs))

    process = _other_process(code, file.path)
    readers = [threading.Thread(target=read) for _ in range(2)]
    writer = threading.Thread(target=write)
    for thread in (*readers, writer):
        thread.start()
    assert process.stdout is not None
    for line in process.stdout:
        written["theirs"] = int(line)
    writer.join()
    over.set()
    for thread in readers:
        thread.join()
    assert process.wait() == 0
    assert stale == []
    assert file.ask("FOR d IN c SORT d._key RETURN d.ours || d.theirs")[0] == [300, 300]
    assert file.is_kept(READ_ALL)


def test_a_forked_child_has_a_cache_of_its_own(file: File) -> None:
    """A child begins with an empty cache, whose lock is free whoever held the parent's."""
    file.ask()
    with file.database.results._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # a child that waits for the parent's lock waits forever
            os._exit(0 if file.ask() == ([1, 2], False) and file.ask() == ([1, 2], True) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert file.ask() == ([1, 2], True)


# rights


def test_rights_are_checked_for_cached_results(file: File) -> None:
    """Who may not read a collection gets error 11 for a result that others have cached, and does not see it listed."""
    stranger = Identity("stranger", {"_system": {"": "ro", "c": "none"}})
    reader = Identity("reader", {"_system": {"": "ro"}})
    assert file.ask() == ([1, 2], False)
    assert file.ask(user=reader) == ([1, 2], True)
    refused = file.database.handle("POST", "/_api/cursor", body={"query": READ_ALL}, user=stranger)
    assert (refused.status, refused.body["errorNum"]) == (403, 11)
    assert len(file.entries(reader)) == 1
    assert file.entries(stranger) == []


def test_results_of_restricted_users_are_their_own(file: File) -> None:
    """A traversal that meets vertices which may not be read has another result, and neither is served to the other."""
    file.send("POST", "/_api/document/other", {"_key": "x", "n": 5})
    file.send("POST", "/_api/document/e", {"_from": "c/a", "_to": "other/x"})
    query = "FOR v IN 1..1 OUTBOUND 'c/a' e RETURN v.n"
    restricted = Identity("restricted", {"_system": {"": "ro", "other": "none"}})
    for cached in (False, True):
        assert file.ask(query) == ([5], cached)
        assert file.ask(query, user=restricted) == ([None], cached)


def test_without_access_to_the_database_there_is_no_cache(file: File) -> None:
    """All four routes are refused to who has no access to the database."""
    nobody = Identity("nobody")
    for method, path in (("GET", PROPERTIES), ("PUT", PROPERTIES), ("GET", ENTRIES), ("DELETE", "/_api/query-cache")):
        response = file.database.handle(method, path, body={"mode": "off"}, user=nobody)
        assert (response.status, response.body["errorNum"]) == (401, 11)


# properties, entries


def test_entries(file: File) -> None:
    """An entry tells its query, bind variables, size, rows, hits and collections; clearing leaves none."""
    for _ in range(3):
        file.ask("FOR d IN @@c FILTER d.n == @n RETURN d", binds={"@c": "c", "n": 1})
    (entry,) = file.entries()
    assert entry["query"] == "FOR d IN @@c FILTER d.n == @n RETURN d"
    assert entry["bindVars"] == {"@c": "c", "n": 1}
    assert (entry["results"], entry["hits"], entry["dataSources"]) == (1, 2, ["c"])
    assert entry["hash"].isdigit()
    assert entry["size"] > 0
    assert entry["runTime"] > 0
    assert entry["started"].endswith("Z")
    file.send("DELETE", "/_api/query-cache")
    assert file.entries() == []
    assert file.ask("FOR d IN @@c FILTER d.n == @n RETURN d", binds={"@c": "c", "n": 1})[1] is False


def test_the_oldest_results_make_room(file: File) -> None:
    """No more results are kept than maxResults, also when it is lowered."""
    file.configure(maxResults=3)
    for n in range(5):
        file.ask(f"RETURN {n}")
    assert [entry["query"] for entry in file.entries()] == ["RETURN 2", "RETURN 3", "RETURN 4"]
    file.configure(maxResults=1)
    assert [entry["query"] for entry in file.entries()] == ["RETURN 4"]


def test_sizes_are_limited(file: File) -> None:
    """A result larger than maxEntrySize is not kept, and all together are not larger than maxResultsSize."""
    file.configure(maxEntrySize=1000, maxResultsSize=2500)
    assert not file.is_kept("RETURN REPEAT('x', 1000)")
    for n in range(4):
        assert file.is_kept(f"RETURN REPEAT('{n}', 900)")
    entries = file.entries()
    assert [entry["query"][15] for entry in entries] == ["2", "3"]
    assert sum(entry["size"] for entry in entries) <= 2500


def test_properties_are_checked(file: File) -> None:
    """Properties change one by one; what is none of a mode or limit is error 10 and changes nothing."""
    assert file.configure(maxResults=5)["maxResults"] == 5
    before = file.send("GET", PROPERTIES)
    for wrong in ({"mode": "sometimes"}, {"mode": 1}, {"maxResults": -1}, {"maxEntrySize": "1"}, {"includeSystem": 1}):
        response = file.database.handle("PUT", PROPERTIES, body=wrong)
        assert (response.status, response.body["errorNum"]) == (400, 10)
    assert file.send("GET", PROPERTIES) == before
    assert before["mode"] == "on"


def test_another_mode_begins_empty(file: File) -> None:
    """Switching the cache off forgets its results, also those of collections that changed in the meantime."""
    file.ask()
    file.configure(mode="off")
    file.send("POST", "/_api/document/c", {"n": 3})
    file.configure(mode="on")
    assert file.entries() == []
    assert file.ask() == ([1, 2, 3], False)
