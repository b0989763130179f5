"""A small server of models for tests: it predicts over HTTP, and counts for Prometheus what it predicted."""

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

import requests
from answering_server import Answer, AnsweringServer, Asked, answering

from arangopipe_ops.serving import Period


class Prediction(NamedTuple):
    """What a deployment said of a sample, when, and what the sample was in truth."""

    deployment: str
    time: datetime
    prediction: str
    outcome: str


def of(predictions: Iterable[Prediction], deployment: str, period: Period) -> list[Prediction]:
    """Return what a deployment predicted in a period."""
    return [each for each in predictions if each.deployment == deployment and period.start <= each.time < period.end]


def accuracy(predictions: Sequence[Prediction]) -> float:
    return sum(each.prediction == each.outcome for each in predictions) / len(predictions)


class ModelServer:
    """Grades samples, each deployment as well as it can, and keeps every prediction."""

    def __init__(self, skills: dict[str, float]) -> None:
        self.skills = skills
        self.predictions: list[Prediction] = []
        self.counts = {name: [100, 50] for name in skills}
        self.broken = False
        self.chance = random.Random(7)

    def answer(self, asked: Asked) -> Answer:
        return (200, self.metrics()) if asked.path == "/metrics" else (200, self.predict(**asked.parameters))

    def predict(self, deployment: str, truth: str) -> str:
        right = self.chance.random() < self.skills[deployment]
        said = truth if right else self.chance.choice([grade for grade in "ABC" if grade != truth])
        self.predictions.append(Prediction(deployment, datetime.now(UTC), said, truth))
        self.counts[deployment][0] += 1
        self.counts[deployment][1] += right
        return said

    def restart(self) -> None:
        """Count anew from zero, as a process does that was started again."""
        self.counts = {name: [0, 0] for name in self.skills}

    def metrics(self) -> str:
        lines = []
        for name, (total, right) in self.counts.items():
            lines += [
                f'predictions_total{{deployment="{name}"}} {total}',
                f'right_total{{deployment="{name}"}} {right}',
            ]
        lines += [f'accuracy_now{{deployment="{name}"}} NaN' for name in self.counts if self.broken]
        return "\n".join(lines) + "\n"


@contextmanager
def serving(model: ModelServer) -> Iterator[AnsweringServer]:
    with answering(model.answer) as server:
        yield server


def ask(url: str, deployment: str, number: int, seed: str) -> None:
    """Have a deployment predict so many samples."""
    chance = random.Random(f"{deployment} {seed}")
    with requests.Session() as session:
        for _ in range(number):
            sample = {"deployment": deployment, "truth": chance.choice("ABC")}
            session.get(f"{url}/predict", params=sample, timeout=10).raise_for_status()
