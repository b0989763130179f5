"""Try several techniques on one data set, a mapped task for each, and ask the graph which one did best."""

import csv
import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from airflow.sdk import Param, dag, get_current_context, task

from arangopipe_ops.airflow.decorators import get_current_run
from arangopipe_ops.airflow.hooks import ArangopipeHook
from arangopipe_ops.airflow.operators import RegisterModelOperator, RegisterProjectOperator, SelectModelOperator

SEED = 7
TASK = "cultivar of a wine"

TECHNIQUES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "nearest neighbors": ("sklearn.neighbors", "KNeighborsClassifier", {"n_neighbors": 5}),
    "naive Bayes": ("sklearn.naive_bayes", "GaussianNB", {}),
    "decision tree": ("sklearn.tree", "DecisionTreeClassifier", {"max_depth": 3, "random_state": SEED}),
    "linear discriminant": ("sklearn.discriminant_analysis", "LinearDiscriminantAnalysis", {}),
}
"""Technique -> module, class and hyper-parameters of its estimator."""


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["arangopipe"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    params={
        "artifacts": Param(
            "",
            type="string",
            description="Folder for data, which all workers share; empty: artifacts in AIRFLOW_HOME.",
        )
    },
)
def mapped_techniques() -> None:
    """
    ### Which technique is best?

    The chemical analyses of 178 wines that scikit-learn ships become a file, which is registered with its schema,
    checksum and a summary of every column. Each technique is trained on it in a mapped task of its own, whose
    function is recorded as a run: parameters, accuracy of every fold, and an error if it raises. `best` then asks the
    graph, not the tasks, so that runs of other days and other DAGs count as well.

    Run it again and it adds four runs; project, data set and models are the same nodes as before.
    """
    wines = extract("{{ params.artifacts }}")
    project = RegisterProjectOperator(task_id="register_project", name="wine cultivars")
    models = RegisterModelOperator.partial(
        task_id="register_model",
        project=project.output,
        task=TASK,
        framework="scikit-learn",
        map_index_template="{{ task.name }}",
    ).expand_kwargs([{"name": f"wine {technique}", "technique": technique} for technique in TECHNIQUES])

    runs = train.partial(wines=wines).expand(candidate=models.output)
    best = SelectModelOperator(
        task_id="best", project=project.output, policy={"metric": "accuracy", "threshold": 0.9, "task": TASK}
    )
    runs >> best


@task.arangopipe_dataset(name="wine analyses", source="scikit-learn")
def extract(folder: str) -> Path:
    """Write the analyses to a file. The task registers what is in the file, and returns the data set's Ref."""
    from sklearn.datasets import load_wine

    wine = load_wine()
    path = artifacts(folder) / "wine_analyses.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*wine.feature_names, "cultivar"])
        rows.writerows([*analysis, label] for analysis, label in zip(wine.data.tolist(), wine.target, strict=True))
    return path


@task.arangopipe_run(
    model="{{ task.op_kwargs['candidate'] }}",
    dataset="{{ task.op_kwargs['wines'] }}",
    map_index_template="{{ task.op_kwargs['candidate']['name'] }}",
)
def train(candidate: dict[str, Any], wines: dict[str, Any]) -> dict[str, Any]:
    """Train a technique; the task records what this returns as parameters and metrics of the run."""
    estimator = make_estimator(candidate["name"].removeprefix("wine "))
    rows, labels = read(wines)
    return {"params": estimator.get_params(), "metrics": {"accuracy": cross_validated(estimator, rows, labels)}}


def cross_validated(estimator: Any, rows: Any, labels: Any) -> float:
    """Return the mean accuracy over five folds. That of each fold goes to the run that this is called in."""
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scores = cross_val_score(make_pipeline(StandardScaler(), estimator), rows, labels, cv=5)
    if run := get_current_run():
        for fold, score in enumerate(scores):
            run.log_metrics(accuracy_of_fold=float(score), step=fold)
    return float(scores.mean())


def read(dataset: dict[str, Any]) -> tuple[Any, Any]:
    """Return rows and labels of a data set, from where the graph says that it lies."""
    import numpy as np

    uri = ArangopipeHook().store(get_current_context()).get(dataset)["uri"]
    table = np.loadtxt(url2pathname(urlsplit(uri).path), delimiter=",", skiprows=1)
    return table[:, :-1], table[:, -1].astype(int)


def make_estimator(technique: str) -> Any:
    """Return a technique's estimator, not trained yet."""
    from importlib import import_module

    module, name, settings = TECHNIQUES[technique]
    return getattr(import_module(module), name)(**settings)


def artifacts(folder: str) -> Path:
    """Return the folder for data; without a given one it is in AIRFLOW_HOME."""
    return Path(folder or f"{os.environ.get('AIRFLOW_HOME', '~/airflow')}/artifacts").expanduser().absolute()


mapped_techniques()
