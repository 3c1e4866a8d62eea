"""What a model answers, whatever its format."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.schema import Inference, ModelSchema, OutputSpec, Task

Array = npt.NDArray[Any]
Columns = Mapping[str, Array]
"""Feature name → values of shape [n]: float64, bool, or object (str, None for missing)."""
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Prediction:
    """The answers for n rows."""

    outputs: dict[str, Array]
    """By the schema's output names: [n], or [n, width] for probabilities of several classes."""
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


@dataclass(frozen=True, slots=True)
class Explained:
    """An answer with what the model says beyond it."""

    values: FloatArray
    """Probabilities [n, classes] in the order of the schema's classes, or values [n]."""
    extras: Mapping[str, Array]
    """For each extra output of the schema: [n], or [n, width]; BYTES are objects of str."""


@runtime_checkable
class ExplainingRuntime(Runtime, Protocol):
    """A model that gives outputs beyond its answer: the rule that fired, say."""

    @property
    def extras(self) -> Sequence[OutputSpec]:
        """These outputs."""
        ...

    def explain(self, columns: Columns) -> Explained:
        """The answer and the extra outputs of n rows.

        Raises:
            PredictionFailed: the model fails, or answers in another shape.
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
    explaining: ExplainingRuntime | None
    """The runtime, where the schema has extra outputs."""

    @classmethod
    def of(cls, runtime: Runtime, schema: ModelSchema, inference: Inference) -> "Answerer":
        """For a model of this schema.

        Raises:
            PackageRefused: SchemaInvalid; the schema has outputs that the model does not give.
        """
        explaining = runtime if isinstance(runtime, ExplainingRuntime) else None
        given = () if explaining is None else tuple(explaining.extras)
        if schema.extras not in ((), given):
            names = ", ".join(spec.name for spec in given) or "none"
            raise PackageRefused(
                RefusalReason.SCHEMA_INVALID,
                f"schema.json: outputs: beyond the answer the model gives {names}",
                "package the model again with `mooring package`",
            )
        names = schema.classes or ()
        integers = all(isinstance(name, int) for name in names)
        positive = schema.positive_class
        return cls(
            runtime=runtime,
            task=schema.task,
            classes=np.array(names, dtype=np.int64 if integers else object),
            positive=1 if positive is None else names.index(positive),
            threshold=0.5 if inference.threshold is None else inference.threshold,
            explaining=explaining if schema.extras else None,
        )

    def predict(self, columns: Columns) -> Prediction:
        """Answers for n rows.

        Raises:
            PredictionFailed: the model fails, or answers in another shape.
        """
        extras: Mapping[str, Array] = {}
        if self.explaining is not None:
            explained = self.explaining.explain(columns)
            given, extras = explained.values, explained.extras
        elif self.task is Task.REGRESSION:
            given = self.runtime.values(columns)
        else:
            given = self.runtime.probabilities(columns)
        if self.task is Task.REGRESSION:
            return Prediction({"prediction": given, **extras}, given)
        if self.task is Task.MULTICLASS:
            labels = self.classes[given.argmax(axis=1)]
            outputs: dict[str, Array] = {"label": labels, "probability": given, **extras}
            return Prediction(outputs, given.max(axis=1))
        score = np.ascontiguousarray(given[:, self.positive])
        chosen = np.where(score >= self.threshold, self.positive, 1 - self.positive)
        outputs = {"label": self.classes[chosen], "probability": score, **extras}
        return Prediction(outputs, score)


def answer(
    runtime: Runtime, schema: ModelSchema, inference: Inference, columns: Columns
) -> Prediction:
    """One prediction; whoever predicts often keeps an `Answerer`."""
    return Answerer.of(runtime, schema, inference).predict(columns)
