"""Columns to the bytes of a Parquet file; the only importer of pyarrow, untyped as it is."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mooring_serving.protocol.messages import Column

_pa: Any = importlib.import_module("pyarrow")
_pq: Any = importlib.import_module("pyarrow.parquet")


class ColumnKind(StrEnum):
    """Types of the log's columns."""

    TEXT = "text"
    """UTF-8 text, null where there is none."""
    NUMBER = "number"
    """Double, null for NaN."""
    BOOLEAN = "boolean"
    """true, false or null."""
    ROW = "row"
    """32-bit integer."""
    TIME = "time"
    """Microseconds since the epoch, written as a UTC timestamp."""


@dataclass(frozen=True, slots=True)
class LogColumn:
    """One column of a segment."""

    kind: ColumnKind
    values: Column | Sequence[object]


LogTable = Mapping[str, LogColumn]
"""A segment's columns by name, all of one length."""

_TYPES: Mapping[ColumnKind, Any] = {
    ColumnKind.TEXT: _pa.string(),
    ColumnKind.NUMBER: _pa.float64(),
    ColumnKind.BOOLEAN: _pa.bool_(),
    ColumnKind.ROW: _pa.int32(),
    ColumnKind.TIME: _pa.int64(),
}
_TIMESTAMP: Any = _pa.timestamp("us", tz="UTC")


def encode_parquet(table: LogTable) -> bytes:
    """The bytes of a Parquet file."""
    sink: Any = _pa.BufferOutputStream()
    arrays = {name: _array(column) for name, column in table.items()}
    # Numbers hardly repeat, so looking for repetitions costs a third of the time for nothing.
    texts = [name for name, column in table.items() if column.kind is ColumnKind.TEXT]
    _pq.write_table(_pa.table(arrays), sink, use_dictionary=texts)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _array(column: LogColumn) -> Any:
    # from_pandas: NaN is how a missing number is held in memory, null how it is written.
    array: Any = _pa.array(column.values, type=_TYPES[column.kind], from_pandas=True)
    return array.cast(_TIMESTAMP) if column.kind is ColumnKind.TIME else array
