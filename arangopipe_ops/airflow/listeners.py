"""Record tasks that failed or skipped themselves, of all operators: off unless `[arangopipe] record_outcomes` is on.

Airflow calls this in the worker that ran the task, after the task ended. In other processes nothing is done: there
a task instance is a row of Airflow's database, and waiting for another one would hold Airflow up.
"""

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow.listeners import hookimpl

from arangopipe_ops.airflow.compat import conf

SECONDS = 5.0

_log = logging.getLogger(__name__)


@hookimpl
def on_task_instance_failed(previous_state: Any, task_instance: Any, error: Any) -> None:
    """Record the failure; one that is tried again is none yet."""
    if task_instance.state == "failed":
        _record(task_instance, "failed", error)


@hookimpl
def on_task_instance_skipped(previous_state: Any, task_instance: Any) -> None:
    """Record that a task skipped itself."""
    _record(task_instance, "skipped", None)


def _record(ti: Any, status: str, error: Any) -> None:
    """Record an outcome, for `SECONDS` at most. Raises nothing: a listener has no business with the task.

    A worker's process executes one task, so there is one thread of ours in it, and nothing to queue.
    """
    with _quiet(ti):
        if not conf.getboolean("arangopipe", "record_outcomes", fallback=False) or not _runs_here(ti):
            return
        from arangopipe_ops.airflow.hooks import DEFAULT_CONN_ID, ArangopipeHook

        context = ti.get_template_context()
        # The connection comes over the task's own channel, which is not another thread's to use.
        store = ArangopipeHook(conf.get("arangopipe", "conn_id", fallback=DEFAULT_CONN_ID)).store(context)
        thread = threading.Thread(target=_write, args=(store, context, status, error), daemon=True)
        thread.start()
        thread.join(SECONDS)
        if thread.is_alive():
            _log.warning("the end of %s was not recorded within %s s", ti, SECONDS)


def _write(store: Any, context: Any, status: str, error: Any) -> None:
    from arangopipe_ops.airflow.outcomes import record_outcome

    with _quiet(context["ti"]):
        record_outcome(store, context, status, error)


@contextmanager
def _quiet(ti: Any) -> Iterator[None]:
    try:
        yield
    except Exception as failure:
        _log.warning("the end of %s was not recorded: %s", ti, failure)


def _runs_here(ti: Any) -> bool:
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")  # it is loaded wherever tasks run
    return runner is not None and isinstance(ti, runner.RuntimeTaskInstance)
