"""What differs between the versions of Airflow that are supported: 3.1 and later."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk.bases.skipmixin import SkipMixin
    from airflow.sdk.definitions.retry_policy import RetryPolicy
    from airflow.sdk.lineage import HookLineageCollector

try:
    from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule
except ImportError:  # before 3.3
    HAS_RETRY_POLICIES = False
else:
    HAS_RETRY_POLICIES = True


def _found(name: str, *modules: str) -> Any:
    """Return what has this name in the first of the modules that this Airflow has it in."""
    for module in modules:
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            continue
    raise ImportError(f"{name} is in none of {', '.join(modules)}; this Airflow is not supported")


DEFERRED_RETRIES = 2

_EXCEPTIONS = ("airflow.sdk.exceptions", "airflow.exceptions")
AirflowFailException: Any = _found("AirflowFailException", *_EXCEPTIONS)
AirflowNotFoundException: Any = _found("AirflowNotFoundException", *_EXCEPTIONS)
conf: Any = _found("conf", "airflow.sdk", "airflow.configuration")


def no_retry_after(*lasting: type[Exception]) -> "RetryPolicy | None":
    """Return the retry policy that spends no retries on some errors; None where Airflow has no retry policies."""
    if not HAS_RETRY_POLICIES:
        return None
    return ExceptionRetryPolicy([RetryRule(list(lasting), RetryAction.FAIL)])


def policy_argument(policy: "RetryPolicy | None") -> dict[str, Any]:
    """Return the argument of an operator that carries a retry policy, where Airflow has one."""
    return {"retry_policy": policy} if HAS_RETRY_POLICIES else {}


def retries_argument(retries: int | None, deferrable: bool) -> dict[str, Any]:
    """Return the argument of an operator that may be deferred: two retries then, unless it says otherwise.

    Airflow can fail a deferred task whose trigger fired (apache/airflow#71580).
    """
    given = DEFERRED_RETRIES if retries is None and deferrable else retries
    return {} if given is None else {"retries": given}


def lineage_collector() -> "HookLineageCollector":
    """Return what gathers the data that hooks read and write in this process."""
    get = _found("get_hook_lineage_collector", "airflow.sdk.lineage", "airflow.lineage.hook")
    return get()  # type: ignore[no-any-return]


def skipping() -> "type[SkipMixin]":
    """Return what skips the tasks that follow one, and has them skipped again after a clear."""
    return _found("SkipMixin", "airflow.sdk.bases.skipmixin", "airflow.models.skipmixin")  # type: ignore[no-any-return]


def skip_now(tasks: list[tuple[str, int]]) -> None:
    """End this task with success, and skip task instances, each a task id and a map index."""
    if tasks:
        raise _found("DownstreamTasksSkipped", *_EXCEPTIONS)(tasks=tasks)
