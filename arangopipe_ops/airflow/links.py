"""Links from a task instance in Airflow's pages to what it wrote, and what they lead to.

Airflow asks for them in the worker when the task ends, so they cost nobody a look-up later.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from airflow.sdk import BaseOperatorLink

from arangopipe_ops.airflow.compat import conf

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

PREFIX = "/arangopipe"


def pages_url() -> str:
    """Return where the pages are: `[arangopipe] ui_url`, or else the plugin in Airflow's own API server."""
    if given := conf.get("arangopipe", "ui_url", fallback=""):
        return str(given).rstrip("/")
    return str(conf.get("api", "base_url", fallback=None) or "http://localhost:8080").rstrip("/") + PREFIX


class ArangopipeNodeLink(BaseOperatorLink):
    """Leads to the node that a task instance wrote."""

    @property
    def name(self) -> str:
        return "Node"

    def get_link(self, operator: "BaseOperator", *, ti_key: "TaskInstanceKey") -> str:
        return _page(ti_key)


class ArangopipeLineageLink(BaseOperatorLink):
    """Leads to the lineage of the node that a task instance wrote."""

    @property
    def name(self) -> str:
        return "Lineage"

    def get_link(self, operator: "BaseOperator", *, ti_key: "TaskInstanceKey") -> str:
        return _page(ti_key, "/lineage")


def _page(ti: Any, of_node: str = "") -> str:
    """Return a page of the Ref that a task instance returned; a task that wrote none has no link.

    What Airflow calls a key is the running task instance. Asked for no map index, it would answer a list of what all
    instances of a mapped task returned.
    """
    ref = ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index)
    if not isinstance(ref, Mapping) or "_id" not in ref:
        return ""
    return f"{pages_url()}/nodes/{quote(str(ref['_id']))}{of_node}"


def linked(provenance: Mapping[str, Any], limit: int) -> list[str]:
    """Return the `_id`s of the nodes that the links of a DAG run's tasks, or of one, lead to, the newest first.

    The links are in Airflow's own database. Tasks that found their node registered already have them as well.
    """
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    links = XComModel.get_many(
        key=ArangopipeNodeLink().xcom_key,
        dag_ids=provenance["dag_id"],
        run_id=provenance["run_id"],
        task_ids=provenance.get("task_id"),
        map_indexes=provenance.get("map_index"),
        limit=limit,
    )
    with create_session() as session:
        urls = [str(XComModel.deserialize_value(link)) for link in session.scalars(links)]
    ids = (unquote(url.partition("/nodes/")[2]) for url in urls)
    return list(dict.fromkeys(filter(None, ids)))
