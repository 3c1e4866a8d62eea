"""What a model answers, whatever its format."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mooring_model.schema import Inference, ModelSchema, Task

Array = npt.NDArray[Any]
Columns = Mapping[str, Array]
"""Feature name → values of shape [n]: float64, bool, or object (str, None for missing)."""
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Prediction:
    """The answers for n rows."""

    outputs: dict[str, Array]
    """By the schema's output names: [n], or [n, classes] for multiclass probabilities."""
    score: FloatArray
    """[n]: probability of the positive class, largest probability, or the predicted value."""


class PredictionFailed(Exception):
    """The model does not answer these rows; its own words follow."""


class Runtime(Protocol):
    """A loaded model file."""

    def probabilities(self, columns: Columns) -> FloatArray:
        """Classification: probabilities [n, classes] in the order of the schema's classes.

        Raises:
            PredictionFailed: the model fails, or answers in another shape.
        """
        ...

    def values(self, columns: Columns) -> FloatArray:
        """Regression: predicted values [n].

        Raises:
            PredictionFailed: as above.
        """
        ...


@dataclass(frozen=True)
class Answerer:
    """Gives a model's raw answers the shape that the contract asks for (contracts §1)."""

    runtime: Runtime
    task: Task
    classes: Array
    """[classes], int64 or object; empty for a regression."""
    positive: int
    """Position of the positive class of two; 1 otherwise."""
    threshold: float

    @classmethod
    def of(cls, runtime: Runtime, schema: ModelSchema, inference: Inference) -> "Answerer":
        """For a model of this schema."""
        names = schema.classes or ()
        integers = all(isinstance(name, int) for name in names)
        positive = schema.positive_class
        return cls(
            runtime=runtime,
            task=schema.task,
            classes=np.array(names, dtype=np.int64 if integers else object),
            positive=1 if positive is None else names.index(positive),
            threshold=0.5 if inference.threshold is None else inference.threshold,
        )

    def predict(self, columns: Columns) -> Prediction:
        """Answers for n rows.

        Raises:
            PredictionFailed: the model fails, or answers in another shape.
        """
        if self.task is Task.REGRESSION:
            values = self.runtime.values(columns)
            return Prediction({"prediction": values}, values)
        probabilities = self.runtime.probabilities(columns)
        if self.task is Task.MULTICLASS:
            outputs: dict[str, Array] = {
                "label": self.classes[probabilities.argmax(axis=1)],
                "probability": probabilities,
            }
            return Prediction(outputs, probabilities.max(axis=1))
        score = np.ascontiguousarray(probabilities[:, self.positive])
        chosen = np.where(score >= self.threshold, self.positive, 1 - self.positive)
        return Prediction({"label": self.classes[chosen], "probability": score}, score)


def answer(
    runtime: Runtime, schema: ModelSchema, inference: Inference, columns: Columns
) -> Prediction:
    """One prediction; whoever predicts often keeps an `Answerer`."""
    return Answerer.of(runtime, schema, inference).predict(columns)
