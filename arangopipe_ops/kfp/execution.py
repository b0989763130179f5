"""Which execution of which task of which pipeline this is, from what KFP tells a component."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from arangopipe_ops.model import Document, canonical, digest

TASK_VARIABLE = "ARANGOPIPE_KFP_TASK"
"""The task's name as the pipeline has it: the local runner's own placeholder says the component's instead."""

FINALIZER_VARIABLE = "ARANGOPIPE_KFP_FINALIZER"
"""Set where a `finalize_run` task will see to what is noted about failures."""

GIVEN = ("pipeline_job_id", "pipeline_job_name", "pipeline_task_name")
"""The parameters that `tracking.provenance` fills."""

_PLACEHOLDER = "{{$."


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution of a task. Its retries have the same ids; iterations of a loop differ in `output`."""

    job_id: str | None = None
    pipeline: str | None = None
    task: str | None = None
    output: str = ""

    @classmethod
    def of(cls, given: Mapping[str, Any], output: str) -> "Execution":
        """Return what a component's parameters tell; those that the backend left as placeholders tell nothing."""
        job_id, pipeline, task = (_known(given.get(name)) for name in GIVEN)
        return cls(
            job_id=job_id or os.environ.get("KFP_RUN_ID"),
            pipeline=pipeline and pipeline.partition("/")[0],  # the local runner adds the iteration
            task=os.environ.get(TASK_VARIABLE) or task,
            output=output,
        )

    def run_id(self, inputs: Mapping[str, Any]) -> str:
        """Return the id of the run that this execution logs.

        `inputs` count as well, artifacts by their URI: the local runner gives two tasks of one component the same
        name and output. They count as they were given, since what a name or URI leads to may be another node later.
        """
        plain = {name: getattr(value, "uri", value) for name, value in inputs.items() if value is not None}
        told = digest([self.output, canonical(plain, "inputs")])[:12]
        return "/".join([self.job_id or "kfp", self.task or "run", told])

    def provenance(self) -> Document:
        """Return what is stored with everything that this execution writes."""
        ids = {"pipeline": self.pipeline, "job_id": self.job_id, "task": self.task}
        return {"through": "kfp", **{name: value for name, value in ids.items() if value is not None}}


def _known(value: Any) -> str | None:
    return None if not value or str(value).startswith(_PLACEHOLDER) else str(value)
