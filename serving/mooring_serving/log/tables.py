"""Entries of the two logs, and the batches that they make (docs/contracts.md §6)."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from mooring_serving.arms import Arm
from mooring_serving.clock import to_microseconds
from mooring_serving.log.buffers import (
    Buffers,
    flag_column,
    missing_texts,
    number_columns,
    plain_column,
    repeated_column,
    text_column,
)
from mooring_serving.log.fields import FieldHash, LoggedFields
from mooring_serving.log.journal import Payload
from mooring_serving.log.parquet import BatchEncoder, ColumnKind
from mooring_serving.losses import Label
from mooring_serving.protocol.datatypes import Datatype
from mooring_serving.protocol.messages import (
    Column,
    Columns,
    InferenceRequest,
    MatrixColumns,
    OutputArrays,
    join_columns,
)
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
    values: OutputArrays
    """All outputs of the model; the log holds those beyond its answer."""

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
        signature: The model's features and outputs.
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
        self._numbers = [name for name in fields.plain if kinds[name] is ColumnKind.NUMBER]
        self._hashed = fields.hashed if digest is not None else ()
        self._positions = signature.positions
        places = [signature.positions[name] for name in self._numbers]
        every = places == list(range(len(signature.positions)))
        self._places = slice(None) if every else places
        self._digest = digest
        self._extras = {
            output.name: _KINDS.get(output.datatype, ColumnKind.NUMBER)
            for output in signature.outputs
            if output.name not in _ANSWERS and output.width == 1
        }
        self._revision = revision
        self._version = version
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
            **{f"o.{name}": kind for name, kind in self._extras.items()},
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
        starts = np.cumsum(sizes) - sizes
        rows = np.arange(total, dtype=np.int32) - np.repeat(starts, sizes).astype(np.int32)
        times = np.array([entry.event_time_us for entry in entries], np.int64)
        table = {
            "prediction_id": repeated_column([entry.prediction_id for entry in entries], sizes),
            "row": plain_column(rows),
            "event_time": plain_column(np.repeat(times, sizes)),
            "revision": repeated_column([self._revision], [total]),
            "version": repeated_column([self._version], [total]),
            "arm": _repeated([entry.arm for entry in entries], sizes),
            "phase": _repeated([entry.phase for entry in entries], sizes),
            **self._features(entries),
            **self._outputs(entries),
        }
        return self._encoder.encode(table)

    def _features(self, entries: Sequence[PredictionEntry]) -> dict[str, Buffers]:
        """The features that are logged, and the score."""
        score = np.concatenate([entry.score for entry in entries])
        block = np.empty((len(self._numbers) + 1, len(score)))
        block[-1] = score
        matrix = _joined([entry.request.columns for entry in entries])
        if matrix is not None:
            columns: Mapping[str, Column] = MatrixColumns(matrix, self._positions)
            block[:-1] = matrix.T[self._places]
        else:
            requests = [entry.request for entry in entries]
            columns = join_columns(requests, (*self._plain, *self._hashed))
            for at, name in enumerate(self._numbers):
                block[at] = columns[name]
        *numbers, scores = number_columns(block)
        table = {f"f.{name}": column for name, column in zip(self._numbers, numbers, strict=True)}
        for name, kind in self._plain.items():
            if kind is not ColumnKind.NUMBER:
                values = columns[name].tolist()
                flags = kind is ColumnKind.BOOLEAN
                table[f"f.{name}"] = flag_column(values) if flags else text_column(values)
        if self._digest is not None:
            for name in self._hashed:
                table[f"h.{name}"] = text_column(self._digest.column(columns[name]))
        return table | {"score": scores}

    def _outputs(self, entries: Sequence[PredictionEntry]) -> dict[str, Buffers]:
        """What the model says beyond its answer: the rule that fired, say."""
        table: dict[str, Buffers] = {}
        for name, kind in self._extras.items():
            values = np.concatenate([entry.values[name].reshape(-1) for entry in entries])
            match kind:
                case ColumnKind.TEXT:
                    table[f"o.{name}"] = text_column(values.tolist())
                case ColumnKind.BOOLEAN:
                    table[f"o.{name}"] = flag_column(values.tolist())
                case _:
                    (table[f"o.{name}"],) = number_columns(values.astype(np.float64)[None, :])
        return table


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
        values = [None if isinstance(label, str) else float(label) for _, _, label in found]
        times = [to_microseconds(entry.label_time) for entry, _, _ in found]
        (numbers,) = number_columns(np.array([values], np.float64))
        table = {
            "prediction_id": text_column([entry.prediction_id for entry, _, _ in found]),
            "row": plain_column(np.array([row for _, row, _ in found], np.int32)),
            "label": text_column([str(label) for _, _, label in found]),
            "label_value": numbers,
            "label_time": plain_column(np.array(times, np.int64)),
        }
        return self._encoder.encode(table)


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


_ANSWERS = ("label", "probability", "prediction")
_KINDS = {Datatype.BYTES: ColumnKind.TEXT, Datatype.BOOL: ColumnKind.BOOLEAN}


def _repeated(values: Sequence[str | None], sizes: Sequence[int]) -> Buffers:
    """Each value as often as its request has rows."""
    first, total = values[0], sum(sizes)
    if values.count(first) == len(values):
        return missing_texts(total) if first is None else repeated_column([first], [total])
    return text_column(
        [value for value, size in zip(values, sizes, strict=True) for _ in range(size)]
    )


def _joined(columns: Sequence[Columns]) -> npt.NDArray[np.float64] | None:
    """The matrices of requests one below the other; None when not all came as matrices."""
    matrices = [each.matrix for each in columns if isinstance(each, MatrixColumns)]
    if len(matrices) < len(columns):
        return None
    # Joined as bytes: numpy gives the interpreter's lock up for each piece of some size.
    data = b"".join([matrix.tobytes() for matrix in matrices])
    return np.frombuffer(data).reshape(-1, matrices[0].shape[1])
