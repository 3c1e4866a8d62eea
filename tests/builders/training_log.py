"""Prediction and label logs as pods write them (contracts §6), for the tests of training."""

import importlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

pandas: Any = importlib.import_module("pandas")

Frame = Any
"""A `pandas.DataFrame`."""

DAY = "date=2026-11-24"


def predictions(
    rows: Frame, features: Sequence[str], *, time_column: str, arm: str = "stable"
) -> Frame:
    """The prediction log's rows of one version.

    Args:
        rows: One row a request, with features and time.
        features: Names of the features.
        time_column: Column with the event time, aware UTC.
        arm: Who answered.
    """
    table = pandas.DataFrame(
        {
            "prediction_id": [f"{number:016x}" for number in rows.index],
            "row": pandas.Series(0, index=rows.index, dtype="int32"),
            "event_time": rows[time_column].dt.as_unit("us"),
            "revision": "r1",
            "version": "v1",
            "arm": arm,
            "phase": None,
        }
    )
    for name in features:
        table[f"f.{name}"] = rows[name]
    table["score"] = 0.5
    return table


def labels(rows: Frame, *, target: str, time_column: str) -> Frame:
    """The label log's rows of those rows that have a label.

    Args:
        rows: The rows given to `predictions`.
        target: Column with the label: whole numbers or text for classes, else numbers.
        time_column: Column with the time at which the label came.
    """
    known = rows[rows[target].notna()]
    values = known[target]
    return pandas.DataFrame(
        {
            "prediction_id": [f"{number:016x}" for number in known.index],
            "row": pandas.Series(0, index=known.index, dtype="int32"),
            "label": [_text(value) for value in values],
            "label_value": pandas.to_numeric(values, errors="coerce").astype("float64"),
            "label_time": known[time_column].dt.as_unit("us"),
        }
    )


def write_segments(root: Path, stream: str, table: Frame, *, pod: str, segments: int = 3) -> None:
    """Write a table as the segments of one pod.

    Args:
        root: `<uri>/<namespace>/<deployment>`.
        stream: `predictions` or `labels`.
        table: Its rows.
        pod: Uid of the pod.
        segments: How many files.
    """
    folder = root / stream / DAY
    folder.mkdir(parents=True, exist_ok=True)
    step = max(1, -(-len(table) // segments))
    for number, start in enumerate(range(0, len(table), step)):
        part = table.iloc[start : start + step]
        part.to_parquet(folder / f"{pod}-{number}.parquet", index=False)


def moment(day: float) -> datetime:
    """Noon UTC of the first of March 2026, `day` days later."""
    return datetime.fromtimestamp(1772366400.0 + 86_400.0 * day, UTC)


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
