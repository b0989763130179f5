"""What all operators share: the connection, templates that keep types, retries, errors that need not fail."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from airflow.sdk import BaseOperator, XComArg

from arangopipe_ops import errors
from arangopipe_ops.airflow import assets, compat
from arangopipe_ops.airflow.hooks import DEFAULT_CONN_ID, ArangopipeHook
from arangopipe_ops.airflow.lineage import TellsLineage
from arangopipe_ops.airflow.templates import ValueTemplates

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.retry_policy import RetryPolicy

    from arangopipe_ops.model import Document, Ref
    from arangopipe_ops.store import Store
    from arangopipe_ops.store.run import OnMetadataError

FAIL_ON_LASTING_ERRORS = compat.no_retry_after(
    errors.Invalid,
    errors.NotFound,
    errors.Conflict,
    errors.Misconfigured,
    errors.NotProvisioned,
    errors.Unauthorized,
    errors.Refused,
)
"""Spends no retries on what another attempt cannot cure. None before Airflow 3.3, which has no retry policies."""

Reference = Mapping[str, Any] | str | XComArg
References = Reference | Sequence[Reference]
Attributes = Mapping[str, Any] | XComArg


class MetadataOperator(TellsLineage, ValueTemplates, BaseOperator):
    """Asks or changes the metadata graph, in `record`, and returns its answer: small, plain JSON.

    A failure raises an error of `arangopipe_ops.errors`. With `on_metadata_error="warn"` each of them becomes a
    warning that names what was not recorded, the task succeeds and returns None: no work is lost because its
    metadata cannot be written. (A connection that Airflow does not know is an error all the same.)

    Where the answer is a Ref, it is the `extra` of the events of the task's outlets.
    """

    lineage_result = True
    template_fields: Sequence[str] = ("arangopipe_conn_id",)

    def __init__(
        self,
        *,
        arangopipe_conn_id: str = DEFAULT_CONN_ID,
        on_metadata_error: "OnMetadataError" = "fail",
        retry_policy: "RetryPolicy | None" = FAIL_ON_LASTING_ERRORS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**compat.policy_argument(retry_policy), **kwargs)
        one_of("on_metadata_error", on_metadata_error, ("fail", "warn"))
        self.arangopipe_conn_id = arangopipe_conn_id
        self.on_metadata_error = on_metadata_error

    @property
    def hook(self) -> ArangopipeHook:
        return ArangopipeHook(self.arangopipe_conn_id)

    def record(self, store: "Store", context: "Context") -> Any:
        """Do what the operator is for, and return the task's answer."""
        raise NotImplementedError

    def execute(self, context: "Context") -> Any:
        self.learn()
        try:
            answer = self.record(self.hook.store(context), context)
        except errors.ArangopipeError as error:
            self.learned.error = error
            if self.on_metadata_error == "fail":
                raise
            self.log.warning("Not recorded: %s. %s: %s", self.subject, type(error).__name__, error)
            return None
        self.learned.answer = answer
        if _is_ref(answer):
            assets.report(context, self.outlets, answer)
        return answer

    @property
    def subject(self) -> str:
        """What the task is about, in a few words: its operator and the first of its templated arguments."""
        first = self.template_fields[0]
        return f"{self.operator_name}({first}={getattr(self, first)!r})"

    def warn_of_params(self, context: "Context") -> None:
        """Say that the task's own `params`, which are Airflow's, are not what the run obtained."""
        if own := sorted(self.params.keys() - context["dag"].params.keys()):
            self.log.warning(
                "The run has no parameters: params (%s) are Airflow's, for templates; a run's are called parameters.",
                ", ".join(own),
            )


def _is_ref(answer: Any) -> "TypeGuard[Ref]":
    return isinstance(answer, dict) and answer.keys() >= {"_id", "kind"}


class ProvisionOperator(MetadataOperator):
    """Makes sure that the database holds the metadata graph; returns whether anything was missing."""

    def record(self, store: "Store", context: "Context") -> bool:
        return self.hook.provision()


def ref_of(document: "Document", store: "Store") -> "Ref":
    """Return the Ref of a stored document."""
    from arangopipe_ops import model  # what tasks need is not loaded by whoever parses a DAG

    return model.ref_of(store.schema.node(document["_id"].partition("/")[0]), document)


def at_hand(value: Any) -> Any:
    """Return what a mapped task returned as a list. Airflow would fetch it anew whenever somebody looks at it."""
    lazy = isinstance(value, Sequence) and not isinstance(value, str | list | tuple)
    return list(value) if lazy else value


def one_of(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise Invalid for an argument that is none of its choices."""
    if value not in choices:
        raise errors.Invalid(name, f"{value!r} is not one of {', '.join(choices)}")
