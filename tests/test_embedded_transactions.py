"""What lasts longer than a request: stream transactions, jobs, statements and their limits."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from arango import ArangoClient
from arango import exceptions as errors
from embedded_client import db, handle

from arangopipe_ops.embedded import Database
from arangopipe_ops.embedded.storage import Storage
from arangopipe_ops.embedded.transactions import ABORTED, COMMITTED, Stream, Streams, Terms
from arangopipe_ops.embedded.transport import EmbeddedHTTPClient

__all__ = ["db"]


def test_stream_transactions(db: Any) -> None:
    """Many requests are one transaction: seen from inside, all or nothing from outside."""
    users = db.create_collection("users")
    for end, expected in (("abort_transaction", 0), ("commit_transaction", 2)):
        inside = db.begin_transaction(write="users")
        inside.collection("users").insert({"_key": "a"})
        inside.aql.execute("INSERT {_key: 'b'} INTO users")
        assert (inside.collection("users").count(), users.count()) == (2, 0)
        with pytest.raises(errors.DocumentInsertError):
            inside.collection("users").insert({"_key": "a"})
        assert [each["state"] for each in db.list_transactions()] == ["running"]
        getattr(inside, end)()
        assert users.count() == expected
        assert db.list_transactions() == []
        with pytest.raises(errors.DocumentInsertError) as failure:
            inside.collection("users").insert({})
        assert failure.value.error_code == 1655


def test_stream_transactions_have_limits(db: Any) -> None:
    """Undeclared writes, changes of the catalog and foreign collections are errors."""
    db.create_collection("users")
    db.create_collection("others")
    inside = db.begin_transaction(read="others", write="users")
    for call in (
        lambda: inside.collection("others").insert({}),
        lambda: inside.aql.execute("FOR u IN users INSERT u INTO others"),
    ):
        with pytest.raises(errors.ArangoServerError) as failure:
            call()
        assert failure.value.error_code == 1652
    number = inside.transaction_id
    headers = {"x-arango-trx-id": number}
    assert handle(db, "post", "/_api/collection", {"name": "x"}, headers).body["errorNum"] == 1653
    inside.abort_transaction()
    with pytest.raises(errors.TransactionInitError) as unknown:
        db.begin_transaction(write="missing")
    assert unknown.value.error_code == 1203
    with pytest.raises(errors.TransactionCommitError):
        inside.commit_transaction()


@pytest.mark.slow
def test_an_open_transaction_holds_the_lock_for_a_while(tmp_path: Path) -> None:
    """Others get 1200 after their patience; after its idle time the transaction is aborted and they write."""
    database = Database(tmp_path / "x.db", busy_seconds=0.2, idle_seconds=0.5)
    db = ArangoClient("http://embedded", http_client=EmbeddedHTTPClient(database)).db("_system")
    users = db.create_collection("users")
    before = db.begin_transaction(read="users")
    inside = db.begin_transaction(exclusive="users")
    inside.collection("users").insert({"_key": "a"})
    with pytest.raises(errors.DocumentInsertError) as failure:
        users.insert({})
    assert (failure.value.http_code, failure.value.error_code) == (409, 1200)
    assert users.count() == 0
    time.sleep(1)
    users.insert({"_key": "b"})
    assert inside.transaction_status() == before.transaction_status() == "aborted"
    assert users.count() == 1


def test_the_last_moment_of_who_looks_after_transactions(tmp_path: Path) -> None:
    """A transaction that begins when the one before has just ended is aborted after its idle time as well."""

    class Late(Streams):
        """Begins a transaction right after it was found that none is open."""

        late: list[Stream]

        def _open(self) -> list[Stream]:
            found = super()._open()
            if not found and not self.late and threading.current_thread() is not threading.main_thread():
                beginning = threading.Thread(target=lambda: self.late.append(self.begin("_system", "root", Terms())))
                beginning.start()
                beginning.join(1)
            return found

    streams = Late(Storage(tmp_path / "x.db"), idle_seconds=0.1)
    streams.late = []
    streams.begin("_system", "root", Terms()).finish(COMMITTED)
    deadline = time.monotonic() + 5
    while not (streams.late and streams.late[0].state == ABORTED) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert streams.late[0].state == ABORTED


def test_jobs_are_answered_later(db: Any) -> None:
    """An asynchronous request has a job, whose result is fetched once; a cancelled one is killed."""
    later = db.begin_async_execution(return_result=True)
    job = later.aql.execute("RETURN 1")
    _until(lambda: job.status() == "done")
    assert list(job.result()) == [1]
    with pytest.raises(errors.AsyncJobResultError):
        job.result()
    slow = later.aql.execute("RETURN SLEEP(60)")
    _until(lambda: bool(db.aql.queries()))
    assert slow.status() == "pending"
    assert db.async_jobs("pending") == [slow.id]
    assert slow.cancel()
    _until(lambda: slow.status() == "done")
    with pytest.raises(errors.AQLQueryExecuteError) as failure:
        slow.result()
    assert failure.value.error_code == 1500


def _until(holds: Any, seconds: float = 10.0) -> None:
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_statements_have_limits(db: Any) -> None:
    """Running time and memory are bounded, a running statement can be killed, and a slow one is remembered."""
    db.aql.set_tracking(slow_query_threshold=0)
    with pytest.raises(errors.AQLQueryExecuteError) as failure:
        db.aql.execute("FOR x IN 1..9999 FOR y IN 1..9999 FILTER x < y - 9998 RETURN 1", max_runtime=0.1)
    assert failure.value.error_code == 1500
    with pytest.raises(errors.AQLQueryExecuteError) as failure:
        db.aql.execute("FOR x IN 1..10000 RETURN x", memory_limit=1000)
    assert failure.value.error_code == 32
    assert [each["state"] for each in db.aql.slow_queries()] == ["finished"] * 2
    assert db.aql.clear_slow_queries()
    assert db.aql.slow_queries() == []
    with pytest.raises(errors.AQLQueryKillError):
        db.aql.kill("1")


def test_a_killed_statement_changes_nothing(db: Any) -> None:
    """The transaction of a statement that is killed is undone."""
    users = db.create_collection("users")
    job = db.begin_async_execution().aql.execute("FOR x IN 1..100 LET s = SLEEP(0.1) INSERT {} INTO users")
    _until(lambda: bool(db.aql.queries()))
    db.aql.kill(db.aql.queries()[0]["id"])
    _until(lambda: job.status() == "done")
    assert users.count() == 0


def test_batches_can_be_asked_for_again(db: Any) -> None:
    """A cursor that allows retries gives its latest batch again, also the last one."""
    cursor = db.aql.execute("FOR x IN 1..3 RETURN x", batch_size=1, allow_retry=True)
    path = f"/_api/cursor/{cursor.id}"
    second = [handle(db, "post", f"{path}/2", None, {}).body for _ in range(2)]
    assert [(page["result"], page["nextBatchId"]) for page in second] == [([2], "3")] * 2
    third = [handle(db, "post", f"{path}/3", None, {}).body for _ in range(2)]
    assert [(page["result"], page["hasMore"]) for page in third] == [([3], False)] * 2
    assert handle(db, "post", f"{path}/2", None, {}).status == 404
    assert handle(db, "delete", path, None, {}).status == 202
