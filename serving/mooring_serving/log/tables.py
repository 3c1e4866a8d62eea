"""Entries of the two logs, and the tables that they make (docs/contracts.md §6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa

from mooring_serving.arms import Arm
from mooring_serving.losses import Label
from mooring_serving.protocol.datatypes import Datatype
from mooring_serving.protocol.messages import Column, InferenceRequest
from mooring_serving.protocol.signature import Signature
from mooring_serving.recorder import concatenate_columns

_TIME = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, slots=True)
class PredictionEntry:
    """One answered request."""

    prediction_id: str
    event_time: datetime
    arm: Arm
    phase: str | None
    request: InferenceRequest
    score: Column

    @property
    def rows(self) -> int:
        """Rows of the request."""
        return self.request.rows


@dataclass(frozen=True, slots=True)
class LabelEntry:
    """The labels of one receipt; None where a row has none."""

    prediction_id: str
    labels: Sequence[Label | None]
    label_time: datetime

    @property
    def rows(self) -> int:
        """Rows of the receipt."""
        return len(self.labels)


class PredictionTables:
    """Builds prediction tables of one revision."""

    def __init__(self, signature: Signature, *, revision: str, version: str) -> None:
        self._names = tuple(feature.name for feature in signature.features)
        self._types = {
            feature.name: _ARROW_TYPES.get(feature.datatype, pa.float64())
            for feature in signature.features
        }
        self._revision = revision
        self._version = version

    def build(self, entries: Sequence[PredictionEntry]) -> pa.Table:
        """One row for each row of each request."""
        rows = [entry.rows for entry in entries]
        total = sum(rows)
        ids = np.repeat(np.array([entry.prediction_id for entry in entries]), rows)
        times = np.repeat(np.array([_microseconds(entry.event_time) for entry in entries]), rows)
        columns = concatenate_columns([entry.request for entry in entries], self._names)
        data: dict[str, pa.Array] = {
            "prediction_id": pa.array(ids),
            "row": pa.array(np.concatenate([np.arange(n, dtype=np.int32) for n in rows])),
            "event_time": pa.array(times, type=pa.int64()).cast(_TIME),
            "revision": pa.repeat(self._revision, total),
            "version": pa.repeat(self._version, total),
            "arm": pa.array(np.repeat(np.array([entry.arm.value for entry in entries]), rows)),
            "phase": pa.array(
                [entry.phase for entry in entries for _ in range(entry.rows)], type=pa.string()
            ),
        }
        for name in self._names:
            data[f"f.{name}"] = pa.array(columns[name], type=self._types[name], from_pandas=True)
        score = np.concatenate([entry.score for entry in entries])
        data["score"] = pa.array(score, type=pa.float64())
        return pa.table(data)


def build_label_table(entries: Sequence[LabelEntry]) -> pa.Table:
    """One row for each labelled row: text for classes, `label_value` for numbers."""
    ids: list[str] = []
    rows: list[int] = []
    labels: list[Label] = []
    times: list[int] = []
    for entry in entries:
        for row, label in enumerate(entry.labels):
            if label is not None:
                ids.append(entry.prediction_id)
                rows.append(row)
                labels.append(label)
                times.append(_microseconds(entry.label_time))
    numbers = [float(label) if isinstance(label, float | int) else None for label in labels]
    return pa.table(
        {
            "prediction_id": pa.array(ids, type=pa.string()),
            "row": pa.array(rows, type=pa.int32()),
            "label": pa.array([_label_text(label) for label in labels], type=pa.string()),
            "label_value": pa.array(numbers, type=pa.float64()),
            "label_time": pa.array(times, type=pa.int64()).cast(_TIME),
        }
    )


_ARROW_TYPES = {Datatype.BYTES: pa.string(), Datatype.BOOL: pa.bool_()}


def _label_text(label: Label) -> str:
    return label if isinstance(label, str) else str(label)


def _microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)
