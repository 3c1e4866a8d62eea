"""Sample rows with expected outputs: what verification replays before a version may serve."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from mooring_model.documents import document_invalid, read_typed
from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.manifest import first_fault
from mooring_model.prediction import Array, Columns
from mooring_model.schema import ANSWERS, Datatype, InputSpec, ModelSchema, OutputSpec

SAMPLES = "samples.json"
MAX_ROWS = 100
TOLERANCE = 1e-4
"""Largest difference that counts as the same: of probabilities, or of predicted numbers relative to
the largest one. Runtimes round differently."""
MAX_TOLERANCE = 1e-2
"""Largest tolerance, relative as above: one that lets any answer pass verifies nothing."""

T = TypeVar("T")
_Number = Annotated[float, Field(allow_inf_nan=False)]
_NUMBERS = TypeAdapter(list[_Number | None])
_TEXTS = TypeAdapter(list[str | None])
_FLAGS = TypeAdapter(list[bool])
_NAMES = TypeAdapter(list[str])
_INTEGERS = TypeAdapter(list[Annotated[int, Field(ge=-(2**63), lt=2**63)]])
_ANSWERS = TypeAdapter(list[_Number])
_ROWS = TypeAdapter(list[list[_Number]])


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: dict[str, object]
    outputs: dict[str, object]
    tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)]


_DOCUMENTS = TypeAdapter(_Document)


@dataclass(frozen=True)
class Samples:
    """Rows with the answers that the model must give to them.

    Attributes:
        inputs: columns as `LoadedModel.predict` takes them.
        outputs: by the schema's names: labels (int64 or object) [n], numbers [n] or [n, width].
        tolerance: largest absolute difference of an answer's number.
    """

    inputs: Columns
    outputs: dict[str, Array]
    tolerance: float

    def tolerance_of(self, output: str) -> float:
        """Largest absolute difference of an output: an extra one has a scale of its own."""
        if output in ANSWERS:
            return self.tolerance
        largest = float(np.abs(self.outputs[output]).max(initial=0.0)) or 1.0
        return self.tolerance / _scale(self.outputs) * largest


def write_samples(directory: Path, columns: Columns, outputs: Mapping[str, Array]) -> None:
    """Writes samples.json: rows as the protocol sends them, and what the model answers.

    Raises:
        PackageRefused: ReplayMismatch; an answer is not finite.
    """
    numbers = [values for values in outputs.values() if values.dtype.kind == "f"]
    if not all(np.isfinite(values).all() for values in numbers):
        raise PackageRefused(
            RefusalReason.REPLAY_MISMATCH,
            "the model's answers to its own training rows are not finite",
            "check the model and the table for missing and infinite values",
        )
    document = {
        "inputs": {name: _listed(values) for name, values in columns.items()},
        "outputs": {name: _listed(values) for name, values in outputs.items()},
        "tolerance": TOLERANCE * _scale(outputs),
    }
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
    (directory / SAMPLES).write_text(text + "\n", encoding="utf-8")


def read_samples(directory: Path, schema: ModelSchema) -> Samples:
    """The package's samples.

    Raises:
        PackageRefused: SchemaInvalid; a feature or output is missing or does not fit the schema,
            or the tolerance lets anything pass.
    """
    path = directory / SAMPLES
    document = read_typed(path, _DOCUMENTS)
    inputs = {
        spec.name: _input(path, spec, document.inputs.get(spec.name)) for spec in schema.inputs
    }
    outputs = {
        spec.name: _output(path, spec, document.outputs.get(spec.name)) for spec in schema.outputs
    }
    lengths = {len(values) for values in (*inputs.values(), *outputs.values())}
    if len(lengths) != 1 or not 1 <= max(lengths) <= MAX_ROWS:
        raise document_invalid(path, "columns differ in length, or there are not 1 to 100 rows")
    if document.tolerance > MAX_TOLERANCE * _scale(outputs):
        raise document_invalid(path, f"tolerance {document.tolerance:g} lets any answer pass")
    return Samples(inputs, outputs, document.tolerance)


def _scale(outputs: Mapping[str, Array]) -> float:
    """What a tolerance is relative to: 1 for probabilities, the largest answer for numbers."""
    if "prediction" not in outputs:
        return 1.0
    return float(np.abs(outputs["prediction"]).max(initial=0.0)) or 1.0


def _input(path: Path, spec: InputSpec, values: object) -> Array:
    match spec.datatype:
        case Datatype.BYTES:
            return np.array(_typed(path, spec.name, _TEXTS, values), dtype=object)
        case Datatype.BOOL:
            return np.array(_typed(path, spec.name, _FLAGS, values), dtype=bool)
        case Datatype.INT64 | Datatype.FP64:
            return np.array(_typed(path, spec.name, _NUMBERS, values), dtype=np.float64)


def _output(path: Path, spec: OutputSpec, values: object) -> Array:
    """[n] labels or numbers, or [n, width] numbers."""
    match spec.datatype:
        case Datatype.BYTES:
            return np.array(_typed(path, spec.name, _NAMES, values), dtype=object)
        case Datatype.BOOL:
            return np.array(_typed(path, spec.name, _FLAGS, values), dtype=bool)
        case Datatype.INT64:
            return np.array(_typed(path, spec.name, _INTEGERS, values), dtype=np.int64)
        case Datatype.FP64 if spec.width == 1:
            return np.array(_typed(path, spec.name, _ANSWERS, values), dtype=np.float64)
        case Datatype.FP64:
            rows = _typed(path, spec.name, _ROWS, values)
            if {len(row) for row in rows} - {spec.width}:
                raise document_invalid(path, f"{spec.name}: a row has not {spec.width} numbers")
            return np.array(rows, dtype=np.float64)


def _typed(path: Path, name: str, adapter: TypeAdapter[list[T]], values: object) -> list[T]:
    try:
        return adapter.validate_python(values, strict=True)
    except ValidationError as error:
        raise document_invalid(path, f"{name}.{first_fault(error)}") from error


def _listed(values: Array) -> list[Any]:
    """JSON values; a missing number is null."""
    if values.dtype.kind == "f":
        if values.ndim == 1:
            return [float(value) if np.isfinite(value) else None for value in values]
        return [[float(value) for value in row] for row in values]
    return values.tolist()
