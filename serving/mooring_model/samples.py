"""Sample rows with expected outputs: what verification replays before a version may serve."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.infer_schema import Frame, to_columns
from mooring_model.prediction import Array, Columns, Runtime, answer
from mooring_model.schema import Datatype, Inference, ModelSchema

SAMPLES = "samples.json"
MAX_ROWS = 100
TOLERANCE = 1e-4
"""Largest difference of a number that counts as the same; runtimes round differently."""


def choose_samples(data: Frame) -> Frame:
    """At most 100 rows, spread evenly over the table."""
    step = max(1, len(data) // MAX_ROWS)
    return data.iloc[::step].head(MAX_ROWS)


def write_samples(
    directory: Path, schema: ModelSchema, rows: Frame, runtime: Runtime, inference: Inference
) -> None:
    """Writes samples.json: the rows as the protocol sends them, and what the model answers."""
    columns = to_columns(schema, rows)
    outputs = answer(runtime, schema, inference, columns).outputs
    document = {
        "inputs": {name: _listed(values) for name, values in columns.items()},
        "outputs": {name: _listed(values) for name, values in outputs.items()},
        "tolerance": TOLERANCE,
    }
    (directory / SAMPLES).write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")


def read_samples(
    directory: Path, schema: ModelSchema
) -> tuple[Columns, dict[str, list[Any]], float]:
    """Columns to predict, expected outputs, tolerance.

    Raises:
        PackageRefused: SchemaInvalid; a feature or output is missing or has another length.
    """
    path = directory / SAMPLES
    try:
        document = json.loads(path.read_text())
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
        return np.array(values, dtype=object)
    if datatype is Datatype.BOOL:
        return np.array(values, dtype=bool)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _listed(values: Array) -> list[Any]:
    """JSON values; a missing number is null."""
    if values.dtype.kind == "f":
        if values.ndim == 1:
            return [None if np.isnan(value) else float(value) for value in values]
        return [[float(value) for value in row] for row in values]
    return values.tolist()


def _invalid(path: Path, what: str) -> PackageRefused:
    return PackageRefused(
        RefusalReason.SCHEMA_INVALID,
        f"{path.parent}: {path.name}: {what}",
        "package the model again with `mooring package`",
    )
