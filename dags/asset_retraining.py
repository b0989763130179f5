"""Retrain a model whenever its data set gets a new version, on exactly that version."""

import csv
import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from airflow.sdk import Param, dag, get_current_context, task

from arangopipe_ops.airflow.assets import dataset_asset, model_asset
from arangopipe_ops.airflow.hooks import ArangopipeHook
from arangopipe_ops.airflow.operators import RegisterModelOperator, RegisterProjectOperator

SEED = 7
DATASET, MODEL = "iris measurements", "iris forest"
RETRIES: dict[str, Any] = {"retries": 2, "retry_delay": timedelta(seconds=10)}


@dag(
    schedule=None,
    catchup=False,
    tags=["arangopipe"],
    default_args=RETRIES,
    params={
        "flowers": Param(50, type="integer", minimum=20, maximum=150, description="How many are measured by now."),
        "artifacts": Param(
            "",
            type="string",
            description="Folder for data, which all workers share; empty: artifacts in AIRFLOW_HOME.",
        ),
    },
)
def new_data() -> None:
    """
    ### More measurements arrive

    The first `flowers` of the irises that scikit-learn ships become a file and a version of the data set. Its asset
    event carries the version's Ref and starts `retrain_on_new_data`, if that DAG is not paused. The same flowers
    again are the same version of the data set; the event, and so the training, happens all the same.
    """
    measure("{{ params.flowers }}", "{{ params.artifacts }}")


@task.arangopipe_dataset(name=DATASET, source="scikit-learn", outlets=[dataset_asset(DATASET)])
def measure(flowers: int, folder: str) -> Path:
    """Write the measurements to a file. The task registers what is in the file, and returns the data set's Ref."""
    from sklearn.datasets import load_iris
    from sklearn.utils import shuffle

    iris = load_iris()
    rows, labels = shuffle(iris.data, iris.target, random_state=SEED)
    path = artifacts(folder) / f"iris_{flowers}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow([*iris.feature_names, "species"])
        lines.writerows([*row, label] for row, label in zip(rows[:flowers].tolist(), labels[:flowers], strict=True))
    return path


@dag(schedule=[dataset_asset(DATASET)], catchup=False, max_active_runs=1, tags=["arangopipe"], default_args=RETRIES)
def retrain_on_new_data() -> None:
    """
    ### A forest that keeps up with its data

    Started by an event of the data set's asset, it trains on the version that the event names, also where a newer
    one has been registered meanwhile. Started by hand, it takes the newest version. Its own asset event carries the
    Ref of the run, for whoever waits for a new model.
    """
    project = RegisterProjectOperator(task_id="register_project", name="iris species")
    model = RegisterModelOperator(
        task_id="register_model",
        name=MODEL,
        project=project.output,
        task="species of an iris",
        technique="random forest",
        framework="scikit-learn",
    )
    model >> train(arrived())


@task(multiple_outputs=False)
def arrived(triggering_asset_events: Any = None) -> Any:
    """Return the Ref of the version that the newest asset event is about; without one, the data set's name."""
    events = [event for events in (triggering_asset_events or {}).values() for event in events]
    return max(events, key=lambda event: event.timestamp).extra if events else DATASET


@task.arangopipe_run(model=MODEL, dataset="{{ task.op_args[0] }}", outlets=[model_asset(MODEL)])
def train(dataset: Any) -> dict[str, Any]:
    """Train on a version of the data set; the task records what this returns."""
    import numpy as np
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import cross_val_score

    uri = ArangopipeHook().store(get_current_context()).get(dataset, "Dataset")["uri"]
    table = np.loadtxt(url2pathname(urlsplit(uri).path), delimiter=",", skiprows=1)
    forest = RandomForestClassifier(n_estimators=20, random_state=SEED)
    scores = cross_val_score(forest, table[:, :-1], table[:, -1].astype(int), cv=3)
    return {
        "params": forest.get_params(),
        "metrics": {"accuracy": float(scores.mean()), "flowers": len(table)},
    }


def artifacts(folder: str) -> Path:
    """Return the folder for data; without a given one it is in AIRFLOW_HOME."""
    return Path(folder or f"{os.environ.get('AIRFLOW_HOME', '~/airflow')}/artifacts").expanduser().absolute()


new_data()
retrain_on_new_data()
