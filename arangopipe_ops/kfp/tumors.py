"""The steps of the pipeline `train_and_record`, on the breast cancer data that scikit-learn ships.

They are those of dags/train_and_record.py: the same story, told to the graph by KFP.
"""

import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from arangopipe_ops.kfp.artifacts import NODE_ID, Artifact, checksum_of

SEED = 7
SERVING_DAYS = 2

TECHNIQUES: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "logistic regression": ("sklearn.linear_model", "LogisticRegression", {"C": 1.0, "max_iter": 1000}),
    "random forest": ("sklearn.ensemble", "RandomForestClassifier", {"n_estimators": 60, "min_samples_leaf": 2}),
    "gradient boosting": ("sklearn.ensemble", "GradientBoostingClassifier", {"n_estimators": 60, "max_depth": 2}),
}
"""Technique -> module, class and hyper-parameters of its estimator."""

FEATURES: Mapping[str, int] = {"all measurements": 30, "strongest measurements": 10}
"""Feature set -> how many of the measurements it keeps, those that tell most about the diagnosis."""


class Described(NamedTuple):
    checksum: str
    attributes: dict[str, Any]


class Made(NamedTuple):
    features: list[str]
    transformation: str


class Chosen(NamedTuple):
    run: str
    model: str
    featureset: str
    tag: str


class Served(NamedTuple):
    period_start: str
    period_end: str


def combinations() -> list[dict[str, str]]:
    """Return what is trained: each technique on each feature set."""
    return [{"technique": technique, "featureset": name} for technique in TECHNIQUES for name in FEATURES]


def about_model(technique: str) -> dict[str, Any]:
    """Return the arguments that register a technique's model."""
    module, estimator, settings = TECHNIQUES[technique]
    attributes = {"estimator": f"{module}.{estimator}", "hyper_parameters": settings}
    return {"name": f"tumor {technique}", "technique": technique, "attributes": attributes}


def describe_data() -> Described:
    """Return the data set's checksum, and as attributes its size, schema and summary statistics."""
    from sklearn.datasets import load_breast_cancer

    loaded = load_breast_cancer()
    columns = dict(zip(loaded.feature_names.tolist(), loaded.data.T, strict=True))
    attributes = {
        "rows": len(loaded.data),
        "classes": loaded.target_names.tolist(),
        "schema": {name: str(column.dtype) for name, column in columns.items()},
        "summary": {
            name: {each: float(getattr(column, each)()) for each in ("mean", "std", "min", "max")}
            for name, column in columns.items()
        },
    }
    checksum = sha256(loaded.data.tobytes() + loaded.target.tobytes()).hexdigest()
    return Described(f"sha256:{checksum}", attributes)


def describe_features(featureset: str) -> Made:
    """Return the features of a feature set and how they are made."""
    from sklearn.datasets import load_breast_cancer

    names = load_breast_cancer().feature_names
    rows, labels, _, _ = _split()
    kept = names[_transformer(featureset).fit(rows, labels)["select"].get_support()].tolist()
    return Made(kept, f"standard scaler, {FEATURES[featureset]} of {len(names)} by ANOVA F")


def train(item: Mapping[str, str], folds: int, dataset: Artifact, trained: Artifact) -> dict[str, Any]:
    """Train a technique on a feature set; return what log_run takes as its result."""
    import joblib
    from sklearn.model_selection import cross_validate
    from sklearn.pipeline import make_pipeline

    start = datetime.now(UTC)
    rows, labels, _, _ = _split()
    estimator = _estimator(item["technique"])
    pipeline = make_pipeline(_transformer(item["featureset"]), estimator).fit(rows, labels)
    scores = cross_validate(pipeline, rows, labels, cv=folds, scoring=["accuracy", "roc_auc", "neg_log_loss"])
    joblib.dump(pipeline, trained.path)
    return {
        "dataset": dataset.metadata[NODE_ID],
        "model": f"tumor {item['technique']}",
        "featureset": item["featureset"],
        "params": _without_null(estimator.get_params()),
        "metrics": {
            "accuracy": float(scores["test_accuracy"].mean()),
            "roc_auc": float(scores["test_roc_auc"].mean()),
            "log_loss": float(-scores["test_neg_log_loss"].mean()),
        },
        "start": start.isoformat(),
        "end": datetime.now(UTC).isoformat(),
        "artifact": trained.uri,
        "artifact_checksum": checksum_of(trained),
    }


def choose(
    execution: str | None,
    runs: Sequence[str],
    results: Sequence[Mapping[str, Any]],
    trained: Sequence[Artifact],
    chosen: Artifact,
) -> Chosen:
    """Keep the model with the lowest log loss; return its run, model and feature set, and a tag for its deployment."""
    run, result, artifact = min(
        zip(runs, results, trained, strict=True), key=lambda each: each[1]["metrics"]["log_loss"]
    )
    shutil.copyfile(artifact.path, chosen.path)
    return Chosen(run, result["model"], result["featureset"], f"tumor diagnosis {execution}")


def serve(chosen: Artifact, day: int, first_day: str, metrics: Artifact) -> Served:
    """Answer one day's share of the held-out rows; return the period."""
    import joblib
    from sklearn.metrics import accuracy_score, log_loss

    _, _, rows, labels = _split()
    asked, truth = rows[day::SERVING_DAYS], labels[day::SERVING_DAYS]
    pipeline = joblib.load(Path(chosen.path))
    metrics.metadata.update(
        requests=len(asked),
        accuracy=float(accuracy_score(truth, pipeline.predict(asked))),
        log_loss=float(log_loss(truth, pipeline.predict_proba(asked))),
    )
    first = date.fromisoformat(first_day) if first_day else datetime.now(UTC).date()
    start = first + timedelta(days=day)
    return Served(start.isoformat(), (start + timedelta(days=1)).isoformat())


def _split() -> tuple[Any, Any, Any, Any]:
    """Return rows and labels to train on, then rows and labels that are held out."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split

    rows, labels = load_breast_cancer(return_X_y=True)
    trained, held_out, known, truth = train_test_split(
        rows, labels, test_size=1 / 3, stratify=labels, random_state=SEED
    )
    return trained, known, held_out, truth


def _transformer(featureset: str) -> Any:
    from sklearn.feature_selection import SelectKBest
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    return Pipeline([("scale", StandardScaler()), ("select", SelectKBest(k=FEATURES[featureset]))])


def _estimator(technique: str) -> Any:
    module, name, settings = TECHNIQUES[technique]
    return getattr(import_module(module), name)(**settings, random_state=SEED)


def _without_null(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as KFP's local runner can pass them on; the graph leaves None out as well."""
    return {name: value for name, value in params.items() if value is not None}
