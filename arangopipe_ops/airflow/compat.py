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


def no_retry_after(*lasting: type[Exception]) -> "RetryPolicy | None":
    """Return the retry policy that spends no retries on some errors; None where Airflow has no retry policies."""
    if not HAS_RETRY_POLICIES:
        return None
    return ExceptionRetryPolicy([RetryRule(list(lasting), RetryAction.FAIL)])


def policy_argument(policy: "RetryPolicy | None") -> dict[str, Any]:
    """Return the argument of an operator that carries a retry policy, where Airflow has one."""
    return {"retry_policy": policy} if HAS_RETRY_POLICIES else {}


def lineage_collector() -> "HookLineageCollector":
    """Return what gathers the data that hooks read and write in this process."""
    return _first("airflow.sdk.lineage", "airflow.lineage.hook").get_hook_lineage_collector()  # type: ignore[no-any-return]


def skipping() -> "type[SkipMixin]":
    """Return what skips the tasks that follow one, and has them skipped again after a clear."""
    return _first("airflow.sdk.bases.skipmixin", "airflow.models.skipmixin").SkipMixin  # type: ignore[no-any-return]


def _first(*modules: str) -> Any:
    """Return the first module that this Airflow has."""
    *tries, last = modules
    for name in tries:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return importlib.import_module(last)
