"""The model as the server sees it: a signature, a loss rule, and predictions that are checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from mooring_serving.answers import find_fault
from mooring_serving.errors import InvalidOutput, ModelFault
from mooring_serving.losses import LossRule, Task
from mooring_serving.protocol.messages import Column, Columns, OutputArrays
from mooring_serving.protocol.signature import Signature
from mooring_serving.receipts import Predicted, carries_values


class RawPrediction(Protocol):
    """What a loaded model gives."""

    @property
    def outputs(self) -> Mapping[str, Column]:
        """For each output an array [rows] or [rows, width]."""
        ...

    @property
    def score(self) -> Column:
        """Float64 [rows], the stream that drift is watched on."""
        ...


class Predictor(Protocol):
    """A loaded model; `predict` may be called from several threads at once."""

    def predict(self, columns: Columns) -> RawPrediction:
        """Predict some rows."""
        ...


@dataclass(slots=True)
class Answer:
    """A checked prediction of some rows.

    Attributes:
        values: For each output an array [rows] or [rows, width], all finite.
        score: Float64 [rows].
    """

    values: OutputArrays
    score: Column

    @property
    def chosen(self) -> Column | None:
        """The class of each row, of a model that chooses one."""
        return self.values.get("label")

    def rows(self, start: int, stop: int) -> "Answer":
        """The answer of some of its rows."""
        part = {name: array[start:stop] for name, array in self.values.items()}
        return Answer(part, self.score[start:stop])


@dataclass(frozen=True, slots=True)
class ServedModel:
    """The model that this pod serves.

    Attributes:
        name: The protocol's model name.
        version: Name of the version.
        revision: Content hash of the revision.
        model_format: `onnx`, `skops`, …
        signature: Inputs and outputs.
        rule: How labels are compared with predictions.
        predictor: The loaded model.
    """

    name: str
    version: str
    revision: str
    model_format: str
    signature: Signature
    rule: LossRule
    predictor: Predictor

    def predict(self, columns: Columns, rows: int) -> Answer:
        """Predict some rows.

        Raises:
            ModelFault: The model raised.
            InvalidOutput: It answered with something that must not be sent.
        """
        try:
            raw = self.predictor.predict(columns)
        except Exception as error:
            raise ModelFault(f"the model failed: {type(error).__name__}: {error}") from error
        outputs = raw.outputs
        for output in self.signature.outputs:
            array = outputs.get(output.name)
            if array is None:
                raise InvalidOutput(f"the model gave no output {output.name!r}")
            fault = find_fault(output, array, rows)
            if fault is not None:
                raise InvalidOutput(f"the model gave an unusable answer: {fault}")
        return Answer(outputs, raw.score)

    def predicted(self, values: OutputArrays, rows: int) -> Predicted | None:
        """What a receipt of such an answer carries, None for a large request."""
        match self.rule.task:
            case Task.REGRESSION:
                name, width = "prediction", 1
            case Task.BINARY:
                name, width = "probability", 1
            case Task.MULTICLASS:
                name, width = "probability", len(self.rule.classes)
        if not carries_values(rows, width):
            return None
        array = values[name]
        predicted: Predicted = (array if width > 1 else array.reshape(-1)).tolist()
        return predicted
