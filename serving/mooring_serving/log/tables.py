"""Entries of the two logs, and the batches that they make (docs/contracts.md §6)."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from mooring_serving.arms import Arm
from mooring_serving.clock import to_microseconds
from mooring_serving.log.fields import FieldHash, LoggedFields
from mooring_serving.log.journal import Payload
from mooring_serving.log.parquet import BatchEncoder, ColumnKind, Constant, LogColumn, LogTable
from mooring_serving.losses import Label
from mooring_serving.protocol.datatypes import Datatype
from mooring_serving.protocol.messages import Column, InferenceRequest, join_columns
from mooring_serving.protocol.signature import Signature


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
        """Rows that have a label."""
        return sum(label is not None for label in self.labels)


class PredictionTables:
    """Batches of the prediction log of one revision.

    Args:
        signature: The model's features.
        fields: What is logged of them, and how.
        digest: Makes the hashes; None where no field is hashed.
        revision: The pod's revision.
        version: The pod's version.
        facts: More of the files' metadata.
    """

    def __init__(
        self,
        signature: Signature,
        fields: LoggedFields,
        digest: FieldHash | None,
        *,
        revision: str,
        version: str,
        facts: Mapping[str, str],
    ) -> None:
        kinds = {
            feature.name: _KINDS.get(feature.datatype, ColumnKind.NUMBER)
            for feature in signature.features
        }
        self._plain = {name: kinds[name] for name in fields.plain}
        self._hashed = fields.hashed if digest is not None else ()
        self._wanted = (*fields.plain, *self._hashed)
        self._digest = digest
        self._revision = LogColumn(ColumnKind.TEXT, Constant(revision))
        self._version = LogColumn(ColumnKind.TEXT, Constant(version))
        columns = {
            "prediction_id": ColumnKind.KEY,
            "row": ColumnKind.ROW,
            "event_time": ColumnKind.TIME,
            "revision": ColumnKind.TEXT,
            "version": ColumnKind.TEXT,
            "arm": ColumnKind.TEXT,
            "phase": ColumnKind.TEXT,
            **{f"f.{name}": kind for name, kind in self._plain.items()},
            **{f"h.{name}": ColumnKind.TEXT for name in self._hashed},
            "score": ColumnKind.NUMBER,
        }
        more = {
            "mooring.omitted": json.dumps(fields.omitted),
            "mooring.hashed": json.dumps(fields.hashed),
        }
        self._encoder = BatchEncoder(columns, {**facts, **more})

    @property
    def schema(self) -> Payload:
        """The batches' schema."""
        return self._encoder.schema

    def encode(self, entries: Sequence[PredictionEntry]) -> Payload:
        """One row for each row of each request.

        Raises:
            ValueError: A value is not of its column's type.
            TypeError: Likewise.
        """
        sizes = [entry.rows for entry in entries]
        total = sum(sizes)
        return self._encoder.encode(
            self._build(entries, None if total == len(sizes) else sizes), total
        )

    def _build(self, entries: Sequence[PredictionEntry], sizes: list[int] | None) -> LogTable:
        """`sizes` is None when every request has one row."""
        requests = [entry.request for entry in entries]
        columns = join_columns(requests, self._wanted)
        times = np.array([entry.event_time_us for entry in entries])
        rows: Column = np.zeros(len(entries), np.int32)
        if sizes is not None:
            times = np.repeat(times, sizes)
            rows = np.concatenate([np.arange(n, dtype=np.int32) for n in sizes])
        table = {
            "prediction_id": _repeated(
                ColumnKind.KEY, [entry.prediction_id for entry in entries], sizes
            ),
            "row": LogColumn(ColumnKind.ROW, rows),
            "event_time": LogColumn(ColumnKind.TIME, times),
            "revision": self._revision,
            "version": self._version,
            "arm": _repeated(ColumnKind.TEXT, [entry.arm.value for entry in entries], sizes),
            "phase": _repeated(ColumnKind.TEXT, [entry.phase for entry in entries], sizes),
        }
        for name, kind in self._plain.items():
            table[f"f.{name}"] = LogColumn(kind, columns[name])
        if self._digest is not None:
            for name in self._hashed:
                hashes = self._digest.column(columns[name])
                table[f"h.{name}"] = LogColumn(ColumnKind.TEXT, hashes)
        score = np.concatenate([entry.score for entry in entries])
        return table | {"score": LogColumn(ColumnKind.NUMBER, score)}


class LabelTables:
    """Batches of the label log: text for classes, `label_value` for numbers.

    Args:
        facts: The files' metadata.
    """

    def __init__(self, facts: Mapping[str, str]) -> None:
        columns = {
            "prediction_id": ColumnKind.KEY,
            "row": ColumnKind.ROW,
            "label": ColumnKind.TEXT,
            "label_value": ColumnKind.NUMBER,
            "label_time": ColumnKind.TIME,
        }
        self._encoder = BatchEncoder(columns, facts)

    @property
    def schema(self) -> Payload:
        """The batches' schema."""
        return self._encoder.schema

    def encode(self, entries: Sequence[LabelEntry]) -> Payload:
        """One row for each labelled row.

        Raises:
            ValueError: A value is not of its column's type.
            TypeError: Likewise.
        """
        found = [
            (entry, row, label)
            for entry in entries
            for row, label in enumerate(entry.labels)
            if label is not None
        ]
        table = {
            "prediction_id": LogColumn(
                ColumnKind.KEY, [entry.prediction_id for entry, _, _ in found]
            ),
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
        return self._encoder.encode(table, len(found))


def text_bytes(
    signature: Signature, fields: LoggedFields
) -> Callable[[PredictionEntry], int] | None:
    """Measures the memory of an entry's texts; None where the log holds none, as for numbers.

    Numbers need no measuring: the limit on rows bounds them.
    """
    logged = {*fields.plain, *fields.hashed}
    names = [
        feature.name
        for feature in signature.features
        if feature.datatype is Datatype.BYTES and feature.name in logged
    ]
    if not names:
        return None

    def measure(entry: PredictionEntry) -> int:
        size = 0
        for name in names:
            texts: list[str | None] = entry.request.columns[name].tolist()
            size += sum(len(text) for text in texts if text)
        return size

    return measure


_KINDS = {Datatype.BYTES: ColumnKind.TEXT, Datatype.BOOL: ColumnKind.BOOLEAN}


def _repeated(
    kind: ColumnKind, values: Sequence[str | None], sizes: Sequence[int] | None
) -> LogColumn:
    """Each value repeated for the rows of its request; one text for all when there is just one."""
    if values[0] is not None and values.count(values[0]) == len(values):
        return LogColumn(kind, Constant(values[0]))
    if sizes is None:
        return LogColumn(kind, values)
    return LogColumn(kind, np.repeat(np.array(values, dtype=np.object_), sizes))
