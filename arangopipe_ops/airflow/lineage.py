"""What our tasks remember of what they read and wrote, until OpenLineage asks for it.

Every DAG that is parsed loads this; what makes data sets and facets of it is in `airflow.openlineage`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

ARGUMENTS = {
    "dataset": "Dataset",
    "featureset": "Featureset",
    "model": "Model",
    "deployment": "Deployment",
    "node": None,
    "baseline": None,
}
"""Arguments that name what is read, and its kind where that is sure."""

PLACES = ("uri", "path")
_OWN = (*ARGUMENTS, *PLACES, "kind", "edge", "source", "target")


class Learned:
    """What a task instance did, as far as it came."""

    def __init__(self, arguments: Mapping[str, Any] | None = None, answer: Any = None) -> None:
        self.arguments: Mapping[str, Any] = arguments or {}
        self.answer = answer
        self.error: BaseException | None = None


class TellsLineage:
    """For a task that tells OpenLineage what it read and wrote.

    Airflow asks the same object in the worker that executed it, so what it learned then costs no request.
    """

    lineage_outputs: ClassVar[tuple[str, ...]] = ()
    """Arguments that name what the task makes, and not what it reads."""
    lineage_result: ClassVar[bool] = False
    """Whether what it answers is about the graph, and not somebody's data."""
    lineage_of_hooks: ClassVar[bool] = False
    """Whether it executes code of others, whose hooks have lineage of their own."""
    learned: Learned = Learned()

    def learn(self, arguments: Mapping[str, Any] | None = None, answer: Any = None) -> None:
        """Remember what the task is about, its own arguments if they are not given, and what it answered."""
        self.learned = Learned(_arguments_of(self) if arguments is None else arguments, answer)

    def get_openlineage_facets_on_start(self) -> Any:
        """Return what the task is going to read."""
        from arangopipe_ops.airflow.openlineage import lineage_of

        return lineage_of(self, Learned(_arguments_of(self)), ended=False)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return what the task read and wrote."""
        from arangopipe_ops.airflow.openlineage import lineage_of, with_declared

        lineage = lineage_of(self, self.learned, ended=True)
        return with_declared(self, lineage, task_instance) if lineage.inputs or lineage.outputs else lineage

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> Any:
        """Return what the task read, and why it failed, as far as it came."""
        from arangopipe_ops.airflow.openlineage import lineage_of

        return lineage_of(self, self.learned, ended=False)


def _arguments_of(task: Any) -> dict[str, Any]:
    return {name: getattr(task, name) for name in _OWN if hasattr(task, name)}
