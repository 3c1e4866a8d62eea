"""What a model answers, whatever its format."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mooring_model.schema import Datatype, Inference, ModelSchema, Task

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


class Runtime(Protocol):
    """A loaded model file."""

    def probabilities(self, columns: Columns) -> FloatArray:
        """Classification: probabilities [n, classes] in the order of the schema's classes."""
        ...

    def values(self, columns: Columns) -> FloatArray:
        """Regression: predicted values [n]."""
        ...


def answer(
    runtime: Runtime, schema: ModelSchema, inference: Inference, columns: Columns
) -> Prediction:
    """Runs the model and gives its answer the shape that the contract asks for."""
    if schema.task is Task.REGRESSION:
        values = runtime.values(columns)
        return Prediction({"prediction": values}, values)
    probabilities = runtime.probabilities(columns)
    classes = np.array(schema.classes, dtype=_class_dtype(schema))
    if schema.task is Task.BINARY:
        return _binary(schema, inference, probabilities, classes)
    chosen = probabilities.argmax(axis=1)
    outputs: dict[str, Array] = {"label": classes[chosen], "probability": probabilities}
    return Prediction(outputs, probabilities.max(axis=1))


def _binary(
    schema: ModelSchema, inference: Inference, probabilities: FloatArray, classes: Array
) -> Prediction:
    positive = list(schema.classes or ()).index(schema.positive_class or 0)
    score = np.ascontiguousarray(probabilities[:, positive])
    threshold = 0.5 if inference.threshold is None else inference.threshold
    chosen = np.where(score >= threshold, positive, 1 - positive)
    return Prediction({"label": classes[chosen], "probability": score}, score)


def _class_dtype(schema: ModelSchema) -> type[np.int64] | type[object]:
    label = next(spec for spec in schema.outputs if spec.name == "label")
    return np.int64 if label.datatype is Datatype.INT64 else object
