"""Sample rows with expected outputs: what verification replays before a version may serve."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.prediction import Array, Columns
from mooring_model.schema import Datatype, ModelSchema

SAMPLES = "samples.json"
MAX_ROWS = 100
TOLERANCE = 1e-4
"""Largest difference that counts as the same, relative to the largest answer where that is above
1: runtimes round differently."""
MAX_SAMPLES_BYTES = 64 << 20


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
    largest = max((float(np.abs(values).max()) for values in numbers), default=1.0)
    document = {
        "inputs": {name: _listed(values) for name, values in columns.items()},
        "outputs": {name: _listed(values) for name, values in outputs.items()},
        "tolerance": TOLERANCE * max(1.0, largest),
    }
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
    (directory / SAMPLES).write_text(text + "\n", encoding="utf-8")


def read_samples(
    directory: Path, schema: ModelSchema
) -> tuple[Columns, dict[str, list[Any]], float]:
    """Columns to predict, expected outputs, tolerance.

    Raises:
        PackageRefused: SchemaInvalid; a feature or output is missing or has another length.
    """
    path = directory / SAMPLES
    try:
        if path.stat().st_size > MAX_SAMPLES_BYTES:
            raise _invalid(path, f"larger than {MAX_SAMPLES_BYTES} bytes")
        document = json.loads(path.read_bytes())
        inputs, outputs = document["inputs"], document["outputs"]
        columns = {spec.name: _column(inputs[spec.name], spec.datatype) for spec in schema.inputs}
        expected = {spec.name: list(outputs[spec.name]) for spec in schema.outputs}
        tolerance = float(document["tolerance"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _invalid(path, repr(error)) from error
    lengths = {len(values) for values in (*columns.values(), *expected.values())}
    if len(lengths) != 1 or not 1 <= lengths.pop() <= MAX_ROWS:
        raise _invalid(path, "columns differ in length, or there are not 1 to 100 rows")
    return columns, expected, tolerance


def _column(values: list[Any], datatype: Datatype) -> Array:
    if datatype is Datatype.BYTES:
        if not all(value is None or isinstance(value, str) for value in values):
            raise ValueError("a BYTES feature has a value that is no text")
        return np.array(values, dtype=object)
    if datatype is Datatype.BOOL:
        return np.array(values, dtype=bool)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _listed(values: Array) -> list[Any]:
    """JSON values; a missing number is null."""
    if values.dtype.kind == "f":
        if values.ndim == 1:
            return [float(value) if np.isfinite(value) else None for value in values]
        return [[float(value) for value in row] for row in values]
    return values.tolist()


def _invalid(path: Path, what: str) -> PackageRefused:
    return PackageRefused(
        RefusalReason.SCHEMA_INVALID,
        f"{path.parent}: {path.name}: {what}",
        "package the model again with `mooring package`",
    )
