"""Answers from the graph: questions, serving policy, and data to try them on. `drift` compares data with data."""

from arangopipe_ops.analytics.demo import DemoRun, DemoTask, demo_runs, demo_serving, demo_stages
from arangopipe_ops.analytics.gate import Verdict, gate
from arangopipe_ops.analytics.names import choices
from arangopipe_ops.analytics.performance import best_run, model_at, serving, serving_drift
from arangopipe_ops.analytics.policy import Active, Candidate, Deployed, Policy, Selection, deploy, select_model
from arangopipe_ops.analytics.projects import live, summary
from arangopipe_ops.analytics.questions import QUESTIONS
from arangopipe_ops.analytics.runs import RunTable, curves, run_table
from arangopipe_ops.analytics.tasks import (
    attribute_gain,
    datasets_used,
    influence,
    selections,
    techniques,
    transformations,
)

__all__ = [
    "QUESTIONS",
    "Active",
    "Candidate",
    "DemoRun",
    "DemoTask",
    "Deployed",
    "Policy",
    "RunTable",
    "Selection",
    "Verdict",
    "attribute_gain",
    "best_run",
    "choices",
    "curves",
    "datasets_used",
    "demo_runs",
    "demo_serving",
    "demo_stages",
    "deploy",
    "gate",
    "influence",
    "live",
    "model_at",
    "run_table",
    "select_model",
    "selections",
    "serving",
    "serving_drift",
    "summary",
    "techniques",
    "transformations",
]
