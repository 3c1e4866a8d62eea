"""The model as the server sees it: a signature, a loss rule, and predictions that are checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from mooring_serving.answers import OutputValues, find_fault
from mooring_serving.errors import InvalidOutput, ModelFault
from mooring_serving.losses import LossRule, Task
from mooring_serving.protocol.messages import Column, Columns, InferenceRequest
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
    """A checked prediction.

    Attributes:
        values: For each output its values in row-major order, all finite.
        score: Float64 [rows].
        predicted: What a receipt carries, None for a large request.
    """

    values: OutputValues
    score: Column
    predicted: Predicted | None


@dataclass(frozen=True, slots=True)
class ServedModel:
    """The model that this pod serves.

    Attributes:
        name: The protocol's model name.
        version: Name of the version.
        revision: Content hash of the revision.
        model_format: `onnx` or `skops`.
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

    def predict(self, request: InferenceRequest) -> Answer:
        """Predict a request's rows.

        Raises:
            ModelFault: The model raised.
            InvalidOutput: It answered with something that must not be sent.
        """
        try:
            raw = self.predictor.predict(request.columns)
            outputs = {name: array.ravel().tolist() for name, array in raw.outputs.items()}
        except Exception as error:
            raise ModelFault(f"the model failed: {type(error).__name__}: {error}") from error
        for output in self.signature.outputs:
            values = outputs.get(output.name)
            if values is None:
                raise InvalidOutput(f"the model gave no output {output.name!r}")
            fault = find_fault(output, values, request.rows)
            if fault is not None:
                raise InvalidOutput(f"the model gave an unusable answer: {fault}")
        return Answer(outputs, raw.score, self._predicted(outputs, request.rows))

    def _predicted(self, values: Mapping[str, list[float]], rows: int) -> Predicted | None:
        match self.rule.task:
            case Task.REGRESSION:
                return values["prediction"] if carries_values(rows, 1) else None
            case Task.BINARY:
                return values["probability"] if carries_values(rows, 1) else None
            case Task.MULTICLASS:
                width = len(self.rule.classes)
                if not carries_values(rows, width):
                    return None
                flat = values["probability"]
                return [flat[row * width : (row + 1) * width] for row in range(rows)]
