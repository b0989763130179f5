"""Train, choose, deploy and serve a model on real data, and record every step in the metadata graph."""

from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Param, dag, task

from arangopipe_ops.airflow.operators import (
    LogRunOperator,
    LogServingPerfOperator,
    ProvisionOperator,
    RegisterDatasetOperator,
    RegisterDeploymentOperator,
    RegisterFeaturesetOperator,
    RegisterModelOperator,
    RegisterProjectOperator,
)

SEED = 7
SERVING_DAYS = 2

TECHNIQUES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "logistic regression": ("sklearn.linear_model", "LogisticRegression", {"C": 1.0, "max_iter": 1000}),
    "random forest": ("sklearn.ensemble", "RandomForestClassifier", {"n_estimators": 60, "min_samples_leaf": 2}),
    "gradient boosting": ("sklearn.ensemble", "GradientBoostingClassifier", {"n_estimators": 60, "max_depth": 2}),
}
"""Technique -> module, class and hyper-parameters of its estimator."""

FEATURES = {"all measurements": 30, "strongest measurements": 10}
"""Feature set -> how many of the measurements it keeps, those that tell most about the diagnosis."""


@dag(
    schedule=None,
    catchup=False,
    tags=["arangopipe"],
    params={
        "artifacts": Param(
            "",
            type="string",
            description="Folder for trained models, which all workers share; empty: artifacts in AIRFLOW_HOME.",
        )
    },
)
def train_and_record() -> None:
    """
    ### A model from data to production, and its metadata on the way

    Three techniques are trained on two feature sets of the breast cancer data that scikit-learn ships: 569 tumors
    with 30 measurements each. The model with the lowest log loss in cross-validation is deployed, which archives
    the deployment before it. The third of the rows that nobody trained on then stands in for the requests of the
    deployment's first two days.

    Run it again and it adds six runs, one deployment and two days of serving performance; project, data set,
    feature sets and models are the same nodes as before. See what became of a deployment with
    `arangopipe lineage <tag> --kind Deployment`.
    """
    provision = ProvisionOperator(task_id="provision")
    data, features = describe_data(), describe_features()

    project = RegisterProjectOperator(
        task_id="register_project", name="tumor diagnosis", attributes={"owner": "data science"}
    )
    dataset = RegisterDatasetOperator(
        task_id="register_dataset",
        name="breast cancer wisconsin",
        uri="https://archive.ics.uci.edu/dataset/17",
        source="scikit-learn",
        checksum=data["checksum"],
        attributes=data["attributes"],
    )
    featuresets = RegisterFeaturesetOperator.partial(
        task_id="register_featureset", dataset=dataset.output
    ).expand_kwargs(features)
    models = RegisterModelOperator.partial(
        task_id="register_model", project=project.output, task="binary classification", framework="scikit-learn"
    ).expand_kwargs(describe_models())

    results = train.partial(run="{{ run_id }}", folder="{{ params.artifacts }}").expand(
        model=models.output, featureset=featuresets.output
    )
    runs = LogRunOperator.partial(task_id="log_run", dataset=dataset.output).expand(result=results)
    best = choose(runs.output, results)

    deployment = RegisterDeploymentOperator(
        task_id="deploy",
        tag="tumor diagnosis {{ run_id }}",
        project=project.output,
        run=best["run"],
        model=best["model"],
        featureset=best["featureset"],
    )
    served = serve.partial(artifact=best["artifact"], first_day="{{ dag_run.run_after.date() }}").expand(
        day=list(range(SERVING_DAYS))
    )
    performance = LogServingPerfOperator.partial(
        task_id="log_serving_perf", deployment=deployment.output, source="held-out data"
    ).expand_kwargs(served)

    provision >> [project, dataset]
    deployment >> served >> performance


@task
def describe_data() -> dict[str, Any]:
    """Return the data set's checksum, and as attributes its size, schema and summary statistics."""
    from hashlib import sha256

    from sklearn.datasets import load_breast_cancer

    loaded = load_breast_cancer()
    columns = dict(zip(loaded.feature_names.tolist(), loaded.data.T, strict=True))
    attributes = {
        "rows": len(loaded.data),
        "classes": loaded.target_names.tolist(),
        "schema": {name: str(column.dtype) for name, column in columns.items()},
        "summary": {
            name: {"mean": column.mean(), "std": column.std(), "min": column.min(), "max": column.max()}
            for name, column in columns.items()
        },
    }
    checksum = sha256(loaded.data.tobytes() + loaded.target.tobytes()).hexdigest()
    return {"checksum": f"sha256:{checksum}", "attributes": plain(attributes)}


@task
def describe_features() -> list[dict[str, Any]]:
    """Return for each feature set its name, its features and how they are made."""
    from sklearn.datasets import load_breast_cancer

    names = load_breast_cancer().feature_names
    rows, labels, _, _ = split_data()
    return [
        {
            "name": name,
            "features": names[transformer(name).fit(rows, labels)["select"].get_support()].tolist(),
            "transformation": f"standard scaler, {kept} of {len(names)} by ANOVA F",
        }
        for name, kept in FEATURES.items()
    ]


def describe_models() -> list[dict[str, Any]]:
    """Return for each model its name, its technique and where it comes from."""
    return [
        {
            "name": f"tumor {technique}",
            "technique": technique,
            "attributes": {"estimator": f"{module}.{estimator}", "hyper_parameters": settings},
        }
        for technique, (module, estimator, settings) in TECHNIQUES.items()
    ]


@task(multiple_outputs=False)
def train(model: dict[str, Any], featureset: dict[str, Any], run: str, folder: str) -> dict[str, Any]:
    """Train a model on a feature set; return what LogRunOperator takes as its result."""
    from datetime import UTC, datetime
    from hashlib import sha256

    import joblib
    from sklearn.model_selection import cross_validate
    from sklearn.pipeline import make_pipeline

    start = datetime.now(UTC)
    rows, labels, _, _ = split_data()
    technique = model["name"].removeprefix("tumor ")
    estimator = make_estimator(technique)
    pipeline = make_pipeline(transformer(featureset["name"]), estimator).fit(rows, labels)
    scores = cross_validate(pipeline, rows, labels, cv=3, scoring=["accuracy", "roc_auc", "neg_log_loss"])

    artifact = artifacts(folder) / run / f"{technique}, {featureset['name']}.joblib"
    artifact.parent.mkdir(parents=True, exist_ok=True)
    joblib.dump(pipeline, artifact)
    return {
        "model": model,
        "featureset": featureset,
        "params": plain(estimator.get_params()),
        "metrics": {
            "accuracy": float(scores["test_accuracy"].mean()),
            "roc_auc": float(scores["test_roc_auc"].mean()),
            "log_loss": float(-scores["test_neg_log_loss"].mean()),
        },
        "start": start.isoformat(),
        "end": datetime.now(UTC).isoformat(),
        "artifact": artifact.as_uri(),
        "artifact_checksum": f"sha256:{sha256(artifact.read_bytes()).hexdigest()}",
    }


@task
def choose(runs: Iterable[Any], results: Iterable[Any]) -> dict[str, Any]:
    """Return the run with the lowest log loss, with its model, feature set and artifact."""
    run, result = min(zip(runs, results, strict=True), key=lambda pair: pair[1]["metrics"]["log_loss"])
    return {"run": run, "model": result["model"], "featureset": result["featureset"], "artifact": result["artifact"]}


@task(multiple_outputs=False)
def serve(artifact: str, day: int, first_day: str) -> dict[str, Any]:
    """Answer one day's share of the held-out rows; return what LogServingPerfOperator takes."""
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    import joblib
    from sklearn.metrics import accuracy_score, log_loss

    _, _, rows, labels = split_data()
    asked, truth = rows[day::SERVING_DAYS], labels[day::SERVING_DAYS]
    pipeline = joblib.load(url2pathname(urlsplit(artifact).path))
    start = date.fromisoformat(first_day) + timedelta(days=day)
    return {
        "metrics": {
            "requests": len(asked),
            "accuracy": float(accuracy_score(truth, pipeline.predict(asked))),
            "log_loss": float(log_loss(truth, pipeline.predict_proba(asked))),
        },
        "period_start": start.isoformat(),
        "period_end": (start + timedelta(days=1)).isoformat(),
    }


def split_data() -> tuple[Any, Any, Any, Any]:
    """Return rows and labels to train on, then rows and labels that are held out."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split

    rows, labels = load_breast_cancer(return_X_y=True)
    trained, held_out, known, truth = train_test_split(
        rows, labels, test_size=1 / 3, stratify=labels, random_state=SEED
    )
    return trained, known, held_out, truth


def transformer(featureset: str) -> Any:
    """Return what makes a feature set from the measurements."""
    from sklearn.feature_selection import SelectKBest
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    return Pipeline([("scale", StandardScaler()), ("select", SelectKBest(k=FEATURES[featureset]))])


def make_estimator(technique: str) -> Any:
    """Return a technique's estimator, not trained yet."""
    from importlib import import_module

    module, name, settings = TECHNIQUES[technique]
    return getattr(import_module(module), name)(**settings, random_state=SEED)


def artifacts(folder: str) -> Path:
    """Return the folder for trained models; without a given one it is in AIRFLOW_HOME."""
    import os

    return Path(folder or f"{os.environ.get('AIRFLOW_HOME', '~/airflow')}/artifacts").expanduser().absolute()


def plain(value: Any) -> Any:
    """Return numpy's numbers in a mapping as Python's, which is what XCom carries."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return value.item() if hasattr(value, "item") else value


train_and_record()
