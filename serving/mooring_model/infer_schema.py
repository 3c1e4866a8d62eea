"""Reads a model's schema off its training table and its fitted estimator."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.prediction import Array
from mooring_model.schema import Datatype, InputKind, InputSpec, ModelSchema, OutputSpec, Task

_pandas: Any = importlib.import_module("pandas")
_types: Any = importlib.import_module("pandas.api.types")

Frame = Any
"""A `pandas.DataFrame`."""
MAX_CATEGORIES = 4096
MAX_CLASSES = 1000


@dataclass(frozen=True)
class Classes:
    """What a classifier tells apart, in the order of its probabilities."""

    names: tuple[str | int, ...]


def feature_names(
    data: Frame, *, target: str, time_column: str | None, features: Sequence[str] | None
) -> list[str]:
    """The feature columns: those named, else every column but target and time.

    Raises:
        PackageRefused: SchemaInvalid; a named column is not in the table.
    """
    known = list(map(str, data.columns))
    wanted = (
        list(features)
        if features is not None
        else [name for name in known if name not in (target, time_column)]
    )
    needed = [*wanted, target, *([time_column] if time_column else [])]
    missing = [name for name in needed if name not in known]
    if missing or not wanted:
        raise PackageRefused(
            RefusalReason.SCHEMA_INVALID,
            f"the table has no column {', '.join(missing) or 'for a feature'}; it has {known}",
            "name columns of the table with --target, --time-column and features",
        )
    return wanted


def infer_schema(
    data: Frame, *, target: str, names: Sequence[str], classes: Classes | None
) -> ModelSchema:
    """The schema of a model fitted to `names` of `data`.

    Args:
        data: the training table.
        target: its label column.
        names: its feature columns, in order.
        classes: of a classifier; None for a regressor.
    """
    inputs = tuple(_input(name, data[name]) for name in names)
    if classes is None:
        outputs = (OutputSpec(name="prediction", datatype=Datatype.FP64),)
        return ModelSchema(task=Task.REGRESSION, target=target, inputs=inputs, outputs=outputs)
    numeric = all(isinstance(name, int) for name in classes.names)
    binary = len(classes.names) == 2
    label = OutputSpec(name="label", datatype=Datatype.INT64 if numeric else Datatype.BYTES)
    width = 1 if binary else len(classes.names)
    probability = OutputSpec(name="probability", datatype=Datatype.FP64, width=width)
    return ModelSchema(
        task=Task.BINARY if binary else Task.MULTICLASS,
        target=target,
        classes=classes.names,
        positive_class=classes.names[1] if binary else None,
        inputs=inputs,
        outputs=(label, probability),
    )


def to_columns(schema: ModelSchema, data: Frame) -> dict[str, Array]:
    """The table's features as the arrays that `LoadedModel.predict` takes."""
    columns: dict[str, Array] = {}
    for spec in schema.inputs:
        series = data[spec.name]
        if spec.datatype is Datatype.BYTES:
            texts = [
                None if missing else str(value)
                for value, missing in zip(series, series.isna(), strict=True)
            ]
            columns[spec.name] = np.array(texts, dtype=object)
        elif spec.datatype is Datatype.BOOL:
            columns[spec.name] = series.to_numpy(dtype=bool)
        else:
            columns[spec.name] = series.to_numpy(dtype=np.float64, na_value=np.nan)
    return columns


def class_of(value: Any) -> str | int:
    """A class label as JSON holds it: an int where it is a whole number or bool, else its text."""
    plain: Any = value.item() if hasattr(value, "item") else value
    if isinstance(plain, int):
        return int(plain)
    if isinstance(plain, float) and plain.is_integer():
        return int(plain)
    return str(plain)


def _input(name: str, series: Any) -> InputSpec:
    nullable = bool(series.isna().any())
    if _types.is_bool_dtype(series.dtype):
        return InputSpec(
            name=name,
            datatype=Datatype.BOOL,
            kind=InputKind.CATEGORICAL,
            categories=("false", "true"),
        )
    if _types.is_numeric_dtype(series.dtype):
        return InputSpec(
            name=name, datatype=Datatype.FP64, kind=InputKind.NUMERIC, nullable=nullable
        )
    categories = sorted({str(value) for value in series.dropna().unique()})
    if len(categories) > MAX_CATEGORIES:
        raise PackageRefused(
            RefusalReason.SCHEMA_INVALID,
            f"column {name} has {len(categories)} categories, at most {MAX_CATEGORIES} are allowed",
            "drop identifiers, or convert the column to a number",
        )
    return InputSpec(
        name=name,
        datatype=Datatype.BYTES,
        kind=InputKind.CATEGORICAL,
        categories=tuple(categories),
        nullable=nullable,
    )
