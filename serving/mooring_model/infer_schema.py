"""Reads a model's schema off its training table and its fitted estimator."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.prediction import Array
from mooring_model.schema import Datatype, InputKind, InputSpec, ModelSchema, OutputSpec, schema_of

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
    data: Frame,
    *,
    target: str,
    time_column: str | None,
    features: Sequence[str] | None,
    estimator: object = None,
) -> list[str]:
    """The feature columns in the model's order.

    Those named, else those that the estimator says it was fitted to, else every column but target
    and time.

    Raises:
        PackageRefused: SchemaInvalid; a column is not in the table, or the model takes another
            number of features.
    """
    known = [str(name) for name in data.columns]
    fitted: Any = getattr(estimator, "feature_names_in_", None)
    if features is not None:
        wanted = list(features)
    elif fitted is not None:
        wanted = [str(name) for name in fitted]
    else:
        wanted = [name for name in known if name not in (target, time_column)]
    needed = [*wanted, target, *([time_column] if time_column else [])]
    missing = [name for name in needed if name not in known]
    if missing or not wanted:
        raise _refuse(
            f"the table has no column {', '.join(missing) or 'for a feature'}; it has {known}",
            "name columns of the table with --target, --time-column and features",
        )
    if target in wanted or len(set(wanted)) != len(wanted):
        raise _refuse(f"features {wanted} hold the target or a column twice", "name each one once")
    width: Any = getattr(estimator, "n_features_in_", len(wanted))
    if width != len(wanted):
        raise _refuse(
            f"the model was fitted to {width} features, the table has {len(wanted)}: {wanted}",
            "name the model's feature columns with `features`, in its order",
        )
    return wanted


def infer_schema(
    data: Frame,
    *,
    target: str,
    names: Sequence[str],
    classes: Classes | None,
    extras: Sequence[OutputSpec] = (),
) -> ModelSchema:
    """The schema of a model fitted to `names` of `data`.

    Args:
        data: the training table.
        target: its label column.
        names: its feature columns, in order.
        classes: of a classifier; None for a regressor.
        extras: outputs beyond the answer.

    Raises:
        PackageRefused: SchemaInvalid, naming the column.
    """
    if data[target].isna().any():
        raise _refuse(f"column {target} has rows without a label", "drop those rows")
    inputs = tuple(_input(name, data[name]) for name in names)
    try:
        return schema_of(
            inputs,
            target=target,
            classes=None if classes is None else classes.names,
            extras=extras,
        )
    except ValueError as error:
        raise _refuse(str(error), "check the model, the target and the table") from error


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
            continue
        try:
            if spec.datatype is Datatype.BOOL:
                columns[spec.name] = series.to_numpy(dtype=bool)
            else:
                columns[spec.name] = series.to_numpy(dtype=np.float64, na_value=np.nan)
        except (ValueError, TypeError) as error:
            raise _refuse(
                f"column {spec.name} does not hold {spec.datatype} values: {error}",
                "give it the type that it has in the training table",
            ) from error
    return columns


def class_of(value: Any) -> str | int:
    """A class label as JSON holds it: an int where it is a whole number or bool, else its text."""
    plain: Any = value.item() if hasattr(value, "item") else value
    if isinstance(plain, int):  # a bool too
        return int(plain)
    if isinstance(plain, float) and plain.is_integer():
        return int(plain)
    return str(plain)


def alike(names: Sequence[str | int]) -> tuple[str | int, ...]:
    """All integers, or all texts."""
    if all(isinstance(name, int) for name in names):
        return tuple(names)
    return tuple(str(name) for name in names)


def labels_of(target: Any) -> tuple[str | int, ...]:
    """The distinct labels of a training table's label column, sorted."""
    names: list[Any] = list(alike([class_of(value) for value in target.dropna().unique()]))
    return tuple(sorted(names))


def target_classes(target: Any, remedy: str) -> Classes:
    """The distinct labels of a training table's label column, sorted, as classes.

    Args:
        target: the label column.
        remedy: what to do where it holds no labels but numbers.

    Raises:
        PackageRefused: SchemaInvalid; there are too many.
    """
    labels = labels_of(target)
    if len(labels) > MAX_CLASSES:
        raise _refuse(f"the target has more than {MAX_CLASSES} distinct labels", remedy)
    return Classes(labels)


def _input(name: str, series: Any) -> InputSpec:
    nullable = bool(series.isna().any())
    dtype = series.dtype
    if _types.is_bool_dtype(dtype):
        if nullable:
            raise _refuse(
                f"column {name} is boolean with missing values",
                "make it a number (0, 1, missing) or a text before fit()",
            )
        return InputSpec(
            name=name,
            datatype=Datatype.BOOL,
            kind=InputKind.CATEGORICAL,
            categories=("false", "true"),
        )
    if _types.is_numeric_dtype(dtype) and not _types.is_complex_dtype(dtype):
        return InputSpec(
            name=name, datatype=Datatype.FP64, kind=InputKind.NUMERIC, nullable=nullable
        )
    present: list[object] = series.dropna().tolist()
    if not all(isinstance(value, str) for value in present):
        raise _refuse(
            f"column {name} is {dtype}, which no tensor holds",
            "make it a number or a text before fit()",
        )
    categories = sorted(set(map(str, present)))
    if len(categories) > MAX_CATEGORIES:
        raise _refuse(
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


def _refuse(message: str, remedy: str) -> PackageRefused:
    return PackageRefused(RefusalReason.SCHEMA_INVALID, message, remedy)
