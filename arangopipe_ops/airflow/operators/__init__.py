"""The operators: each stage of a machine-learning pipeline, what is decided about models, and the graph itself.

All arguments are templated. A template that is one expression, such as `"{{ ti.xcom_pull('train') }}"`, becomes
the expression's value and not its text, so references and numbers keep their type. Where an argument is a
reference, the Ref from another task (`task.output`), an `_id` or a name will do.

Running a task again, by retry or by clearing it, writes the same nodes: it changes nothing, or revises them.
"""

from arangopipe_ops.airflow.operators.collection import CollectServingPerfOperator
from arangopipe_ops.airflow.operators.decisions import (
    MetricGateOperator,
    PromoteOperator,
    RetireOperator,
    SelectModelOperator,
)
from arangopipe_ops.airflow.operators.graph import (
    AnnotateOperator,
    AQLOperator,
    BatchWriteOperator,
    LinkOperator,
    RetentionOperator,
)
from arangopipe_ops.airflow.operators.metadata import (
    FAIL_ON_LASTING_ERRORS,
    Attributes,
    MetadataOperator,
    ProvisionOperator,
    Reference,
    References,
)
from arangopipe_ops.airflow.operators.stages import (
    LogRunOperator,
    LogServingPerfOperator,
    RegisterDatasetOperator,
    RegisterDeploymentOperator,
    RegisterFeaturesetOperator,
    RegisterModelOperator,
    RegisterProjectOperator,
    StageOperator,
    task_run_id,
)

__all__ = [
    "FAIL_ON_LASTING_ERRORS",
    "AQLOperator",
    "AnnotateOperator",
    "Attributes",
    "BatchWriteOperator",
    "CollectServingPerfOperator",
    "LinkOperator",
    "LogRunOperator",
    "LogServingPerfOperator",
    "MetadataOperator",
    "MetricGateOperator",
    "PromoteOperator",
    "ProvisionOperator",
    "Reference",
    "References",
    "RegisterDatasetOperator",
    "RegisterDeploymentOperator",
    "RegisterFeaturesetOperator",
    "RegisterModelOperator",
    "RegisterProjectOperator",
    "RetentionOperator",
    "RetireOperator",
    "SelectModelOperator",
    "StageOperator",
    "task_run_id",
]
