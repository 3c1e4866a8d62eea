"""Losses of labelled predictions, bounded in [0, 1]. Pure.

Brier score for classification (Brier 1950, Monthly Weather Review 78), halved for more than two
classes so that it stays within 1; absolute error over the reference range, clipped, for numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

Label = str | int | float | bool


class Task(StrEnum):
    """What the model predicts."""

    BINARY = "binary"
    """One of two classes; the prediction is the probability of the positive one."""
    MULTICLASS = "multiclass"
    """One of several classes; the prediction is a probability for each."""
    REGRESSION = "regression"
    """A number."""


class LabelInvalid(ValueError):
    """A label that cannot belong to this model; the message says what it must be."""


@dataclass(frozen=True, slots=True)
class LossRule:
    """How a label is compared with a prediction.

    Attributes:
        task: What the model predicts.
        classes: The classes, in the order of the probabilities; empty for regression.
        positive: The positive class of a binary model.
        scale: Range of the reference predictions (regression), above 0.
        threshold: Probability from which a binary model decides for the positive class.
    """

    task: Task
    classes: tuple[Label, ...]
    positive: Label | None
    scale: float
    threshold: float = 0.5

    def check(self, label: object) -> Label:
        """The label, if it can belong to this model.

        Raises:
            LabelInvalid: It cannot.
        """
        if self.task is Task.REGRESSION:
            if isinstance(label, bool) or not isinstance(label, int | float):
                raise LabelInvalid("label must be a finite number")
            return float(label)
        for known in self.classes:
            # True equals 1, and 1.0 equals 1: a class is met only by a value of its own type.
            if known == label and isinstance(label, bool) is isinstance(known, bool):
                return known
        shown = ", ".join(str(item) for item in self.classes[:20])
        raise LabelInvalid(f"label must be one of the classes: {shown}")

    def loss(self, label: Label, predicted: float | Sequence[float]) -> float:
        """Loss of one row, in [0, 1].

        Args:
            label: From `check`.
            predicted: A probability for each class (more than two classes), the probability of
                the positive class, or the predicted number.
        """
        if isinstance(predicted, Sequence):
            squares = (
                (probability - (1.0 if known == label else 0.0)) ** 2
                for known, probability in zip(self.classes, predicted, strict=True)
            )
            return min(1.0, sum(squares) / 2)
        if self.task is Task.REGRESSION and not isinstance(label, str):
            return min(1.0, abs(float(label) - predicted) / self.scale)
        return min(1.0, (predicted - (1.0 if label == self.positive else 0.0)) ** 2)
