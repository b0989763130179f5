"""Tell the metadata graph that a task failed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow.sdk import BaseNotifier

from arangopipe_ops.airflow.hooks import DEFAULT_CONN_ID, ArangopipeHook

if TYPE_CHECKING:
    from airflow.sdk import Context


class ArangopipeNotifier(BaseNotifier):
    """Records the task instance as a run that ended with `status`: `on_failure_callback=ArangopipeNotifier()`.

    A call-back has no influence on the task: Airflow logs what it raises, and goes on.
    """

    template_fields: Sequence[str] = ("status", "arangopipe_conn_id")

    def __init__(self, *, status: str = "failed", arangopipe_conn_id: str = DEFAULT_CONN_ID) -> None:
        super().__init__()
        self.status = status
        self.arangopipe_conn_id = arangopipe_conn_id

    def notify(self, context: "Context") -> None:
        from arangopipe_ops.airflow.outcomes import record_outcome

        store = ArangopipeHook(self.arangopipe_conn_id).store(context)
        record_outcome(store, context, self.status, context.get("exception"))
