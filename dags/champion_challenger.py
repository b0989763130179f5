"""Train a challenger, and let it replace the champion if it is better and a person agrees."""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param, TriggerRule, dag, task

from arangopipe_ops.airflow.operators import (
    AnnotateOperator,
    AQLOperator,
    MetricGateOperator,
    PromoteOperator,
    RegisterDatasetOperator,
    RegisterDeploymentOperator,
    RegisterModelOperator,
    RegisterProjectOperator,
)
from arangopipe_ops.airflow.sensors import DeploymentStatusSensor

SEED = 7
PROJECT = "tumor screening"
TAG = PROJECT + " {{ run_id }}"

CHAMPION = """
FOR d IN deployment
    FILTER d.project == @project AND d.environment == "production" AND d.status == "active" AND d.tag != @challenger
    RETURN d._id"""

FIGURES = """{%- set verdict = ti.xcom_pull('gate') -%}
| | accuracy |
|---|---|
| challenger, trees of depth {{ params.depth }} | {{ '%.4f' % verdict.value }} |
| champion | {{ 'there is none' if verdict.baseline is none else '%.4f' % verdict.baseline }} |
| has to reach | {{ verdict.threshold }} |
"""
"""What the person sees who is asked."""

WHY_NOT = """Not deployed:
{%- set verdict = ti.xcom_pull('gate') %} {{ 'nobody approved it' if verdict.passed else verdict.reason }}."""


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["arangopipe"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    params={"depth": Param(3, type="integer", minimum=1, maximum=30, description="How deep the trees may grow.")},
)
def champion_challenger() -> None:
    """
    ### A better model, and a person who agrees

    A random forest is trained as the challenger of the deployment that is active in production, the champion. It has
    to reach an accuracy of 0.9 and to be better than the champion by 0.005; without a champion, the first time, 0.9
    is all. Then the run waits for a person, for three days at most: see Required Actions. Once approved the
    challenger is deployed over the champion that it was compared with: if another one is active by then, `promote`
    fails and nothing is changed.

    A challenger that was not good enough, or that nobody wanted, is not deployed: its run is tagged `not deployed`,
    with the reason, and the champion stays. Try `{"depth": 2}`, then 1 (worse), then 4 (better).
    """
    project = RegisterProjectOperator(task_id="register_project", name=PROJECT)
    dataset = RegisterDatasetOperator(
        task_id="register_dataset",
        name="breast cancer wisconsin",
        uri="https://archive.ics.uci.edu/dataset/17",
        source="scikit-learn",
    )
    model = RegisterModelOperator(
        task_id="register_model",
        name="screening forest",
        project=project.output,
        task="binary classification",
        technique="random forest",
        framework="scikit-learn",
    )
    champion = AQLOperator(
        task_id="champion", query=CHAMPION, bind_vars={"project": PROJECT, "challenger": TAG}, result="first"
    )
    challenger = train("{{ params.depth }}", model.output, dataset.output)

    gate = MetricGateOperator(
        task_id="gate",
        node=challenger,
        metric="accuracy",
        threshold=0.9,
        baseline=champion.output,
        min_improvement=0.005,
        on_failure="skip",
    )
    approve = ApprovalOperator(
        task_id="approve",
        subject="Deploy the challenger of {{ run_id }} for " + PROJECT + "?",
        body=FIGURES,
        defaults=ApprovalOperator.REJECT,
        response_timeout=timedelta(days=3),
    )
    deployment = RegisterDeploymentOperator(
        task_id="deploy",
        tag=TAG,
        project=project.output,
        model=model.output,
        run=challenger,
        status="scheduled",
        on_conflict="keep",  # run again after the promotion, it is not scheduled once more
    )
    promote = PromoteOperator(
        task_id="promote",
        deployment=deployment.output,
        over="{{ ti.xcom_pull('champion') or '' }}",
        reason="approved in {{ run_id }}",
    )
    live = DeploymentStatusSensor(
        task_id="live", deployment=deployment.output, unless="archived", deferrable=True, poke_interval=5, timeout=600
    )
    not_deployed = AnnotateOperator(
        task_id="not_deployed",
        node="{{ ti.xcom_pull('train') }}",
        notes={"tags": ["not deployed"], "description": WHY_NOT},
        reason=WHY_NOT,
        trigger_rule=TriggerRule.ALL_SKIPPED,  # runs where the promotion, before it, was skipped
    )
    gate >> approve >> deployment >> promote >> [live, not_deployed]


@task.arangopipe_run(model="{{ task.op_args[1] }}", dataset="{{ task.op_args[2] }}", project=PROJECT)
def train(depth: int, model: dict[str, Any], dataset: dict[str, Any]) -> dict[str, Any]:
    """Train the challenger; the task records what this returns as parameters and metrics of the run."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import cross_val_score

    rows, labels = load_breast_cancer(return_X_y=True)
    forest = RandomForestClassifier(n_estimators=20, max_depth=depth, random_state=SEED)
    accuracy = cross_val_score(forest, rows, labels, cv=5).mean()
    return {"params": forest.get_params(), "metrics": {"accuracy": float(accuracy)}}


champion_challenger()
