"""What a pipeline adds to its tasks: who they are, retries, the secret, and what records a failure."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from kfp import dsl

from arangopipe_ops.connection import URL_VARIABLE
from arangopipe_ops.kfp.execution import FINALIZER_VARIABLE, GIVEN, TASK_VARIABLE

Task = TypeVar("Task", bound=Any)

_PLACEHOLDERS = (
    dsl.PIPELINE_JOB_ID_PLACEHOLDER,
    dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
    dsl.PIPELINE_TASK_NAME_PLACEHOLDER,
)


def provenance() -> dict[str, str]:
    """Return the parameters that say which execution a task belongs to: `log_run(..., **provenance())`.

    They have to stand where the component is called: KFP fills placeholders nowhere else.
    """
    return dict(zip(GIVEN, _PLACEHOLDERS, strict=True))


def tracked(
    task: Task,
    *,
    secret_name: str | None = None,
    secret_keys: dict[str, str] | None = None,
    retries: int = 3,
    backoff: str = "5s",
) -> Task:
    """Return a task that writes to the graph: never taken from the cache, tried again, told its name.

    `secret_name` is a Kubernetes secret with the database's URL, under the key ARANGOPIPE_URL; `secret_keys` are other
    keys -> variables. It is not needed where the environment is set already, as with the local runner.
    """
    task.set_caching_options(False)
    task.set_retry(num_retries=retries, backoff_duration=backoff, backoff_factor=2.0, backoff_max_duration="120s")
    task.set_env_variable(TASK_VARIABLE, task.name)
    if secret_name is not None:
        from kfp import kubernetes

        keys = secret_keys or {URL_VARIABLE: URL_VARIABLE}
        kubernetes.use_secret_as_env(task, secret_name=secret_name, secret_key_to_env=keys)
    return task


def watched(
    task: Task,
    log_failure: Any,
    *,
    secret_name: str | None = None,
    secret_keys: dict[str, str] | None = None,
    retries: int = 3,
) -> Task:
    """Return a task whose failure is noted under its name, whatever it executes: `log_failure` comes after it.

    That is a call of the component with step=task.name and **provenance(). A step of one's own needs none if it
    works inside of `runtime.step` or `runtime.run`.
    """
    tracked(log_failure, secret_name=secret_name, secret_keys=secret_keys, retries=retries)
    log_failure.after(task).ignore_upstream_failure()
    return task


@contextmanager
def with_run_finalizer(
    exit_task: Any, *, secret_name: str | None = None, secret_keys: dict[str, str] | None = None, retries: int = 3
) -> Iterator[Any]:
    """Put what is inside under a `finalize_run` task, which records a failure with the name of the step.

    `exit_task` is a call of that component with **provenance(). Our components note their own failures, and so do
    steps that use `runtime.step` or `runtime.run`; of others the names are kept, for the case that nobody told.
    """
    tracked(exit_task, secret_name=secret_name, secret_keys=secret_keys, retries=retries)
    with dsl.ExitHandler(exit_task, name="recorded") as group:
        yield group
    tasks = list(_tasks(group))
    for task in tasks:
        task.set_env_variable(FINALIZER_VARIABLE, "1")
    told = {task.inputs["step"] for task in tasks if "step" in task.inputs and _notes(task)}
    exit_task.inputs["steps"] = [task.name for task in tasks if not _notes(task) and task.name not in told]


def _tasks(group: Any) -> Iterator[Any]:
    """Yield the tasks of a group that run in a container, and those of the groups in it."""
    yield from (task for task in group.tasks if task.container_spec is not None)
    for inner in group.groups:
        yield from _tasks(inner)


def _notes(task: Any) -> bool:
    """Return whether a task notes its failure itself: it was told which execution it belongs to."""
    return set(GIVEN) <= set(task.inputs)
