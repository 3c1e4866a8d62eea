"""Entries of the two logs, and the tables that they make (docs/contracts.md §6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from mooring_serving.arms import Arm
from mooring_serving.clock import to_microseconds
from mooring_serving.log.parquet import ColumnKind, LogColumn, LogTable
from mooring_serving.losses import Label
from mooring_serving.protocol.datatypes import Datatype
from mooring_serving.protocol.messages import Column, InferenceRequest
from mooring_serving.protocol.signature import Signature
from mooring_serving.recorder import concatenate_columns


@dataclass(slots=True)
class PredictionEntry:
    """One answered request. Not frozen: one a request, and freezing costs a microsecond."""

    prediction_id: str
    event_time_us: int
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
        self._kinds = {
            feature.name: _KINDS.get(feature.datatype, ColumnKind.NUMBER)
            for feature in signature.features
        }
        self._revision = revision
        self._version = version

    def build(self, entries: Sequence[PredictionEntry]) -> LogTable:
        """One row for each row of each request."""
        sizes = [entry.rows for entry in entries]
        total = sum(sizes)
        columns = concatenate_columns([entry.request for entry in entries], tuple(self._kinds))
        table = {
            "prediction_id": _text([entry.prediction_id for entry in entries], sizes),
            "row": LogColumn(ColumnKind.ROW, np.concatenate([np.arange(n) for n in sizes])),
            "event_time": LogColumn(
                ColumnKind.TIME,
                np.repeat(np.array([entry.event_time_us for entry in entries]), sizes),
            ),
            "revision": LogColumn(ColumnKind.TEXT, [self._revision] * total),
            "version": LogColumn(ColumnKind.TEXT, [self._version] * total),
            "arm": _text([entry.arm.value for entry in entries], sizes),
            "phase": _text([entry.phase for entry in entries], sizes),
        }
        for name, kind in self._kinds.items():
            table[f"f.{name}"] = LogColumn(kind, columns[name])
        score = np.concatenate([entry.score for entry in entries])
        return table | {"score": LogColumn(ColumnKind.NUMBER, score)}


def build_label_table(entries: Sequence[LabelEntry]) -> LogTable:
    """One row for each labelled row: text for classes, `label_value` for numbers."""
    found = [
        (entry, row, label)
        for entry in entries
        for row, label in enumerate(entry.labels)
        if label is not None
    ]
    return {
        "prediction_id": LogColumn(ColumnKind.TEXT, [entry.prediction_id for entry, _, _ in found]),
        "row": LogColumn(ColumnKind.ROW, [row for _, row, _ in found]),
        "label": LogColumn(ColumnKind.TEXT, [str(label) for _, _, label in found]),
        "label_value": LogColumn(
            ColumnKind.NUMBER,
            [None if isinstance(label, str) else float(label) for _, _, label in found],
        ),
        "label_time": LogColumn(
            ColumnKind.TIME, [to_microseconds(entry.label_time) for entry, _, _ in found]
        ),
    }


_KINDS = {Datatype.BYTES: ColumnKind.TEXT, Datatype.BOOL: ColumnKind.BOOLEAN}


def _text(values: Sequence[str | None], sizes: Sequence[int]) -> LogColumn:
    """Each value repeated for the rows of its request."""
    return LogColumn(ColumnKind.TEXT, np.repeat(np.array(values, dtype=np.object_), sizes))
