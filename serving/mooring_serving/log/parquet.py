"""Columns to journal batches and to Parquet files; the only importer of pyarrow, untyped as it is.

numpy arrays are handed over whole, so that the interpreter's lock is held for a few microseconds a
column; encoding and compressing happen without it.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from mooring_serving.log.journal import Payload
from mooring_serving.protocol.messages import Column

_pa: Any = importlib.import_module("pyarrow")
_pq: Any = importlib.import_module("pyarrow.parquet")

SCHEMA_VERSION = 1
"""In each file's metadata; raised when a column changes its meaning."""
_ZSTD_LEVEL = 1
_ROW_GROUP = 65_536


class ColumnKind(StrEnum):
    """Types of the log's columns."""

    TEXT = "text"
    """UTF-8 text, null where there is none."""
    KEY = "key"
    """UTF-8 text that hardly repeats, never null."""
    NUMBER = "number"
    """Double, null for NaN."""
    BOOLEAN = "boolean"
    """true, false or null."""
    ROW = "row"
    """32-bit integer, never null."""
    TIME = "time"
    """Microseconds since the epoch, written as a UTC timestamp, never null."""


@dataclass(frozen=True, slots=True)
class Constant:
    """One text for all rows of a batch."""

    text: str


@dataclass(frozen=True, slots=True)
class LogColumn:
    """One column of a batch."""

    kind: ColumnKind
    values: Column | Sequence[object] | Constant


LogTable = Mapping[str, LogColumn]
"""A batch's columns by name, all of one length."""

_TIMESTAMP: Any = _pa.timestamp("us", tz="UTC")
_TYPES: Mapping[ColumnKind, Any] = {
    ColumnKind.TEXT: _pa.string(),
    ColumnKind.KEY: _pa.string(),
    ColumnKind.NUMBER: _pa.float64(),
    ColumnKind.BOOLEAN: _pa.bool_(),
    ColumnKind.ROW: _pa.int32(),
    ColumnKind.TIME: _TIMESTAMP,
}
_NEVER_NULL = frozenset({ColumnKind.KEY, ColumnKind.ROW, ColumnKind.TIME})


class BatchEncoder:
    """Makes batches of one schema.

    Args:
        columns: Kinds of the columns by name, in the file's order.
        metadata: Facts about the file, in its footer.
    """

    def __init__(self, columns: Mapping[str, ColumnKind], metadata: Mapping[str, str]) -> None:
        facts = {"mooring.schemaVersion": str(SCHEMA_VERSION), **metadata}
        self._schema: Any = _pa.schema(
            [
                _pa.field(name, _TYPES[kind], nullable=kind not in _NEVER_NULL)
                for name, kind in columns.items()
            ],
            metadata={key.encode(): value.encode() for key, value in facts.items()},
        )
        self.schema: Payload = memoryview(self._schema.serialize())

    def encode(self, table: LogTable, rows: int) -> Payload:
        """The bytes of a batch.

        Raises:
            ValueError: A value is not of its column's type.
            TypeError: Likewise.
        """
        arrays = [_array(table[name], rows) for name in self._schema.names]
        batch: Any = _pa.record_batch(arrays, schema=self._schema)
        return memoryview(batch.serialize())


def write_segment(path: Path, schema: Payload, batches: Sequence[Payload]) -> None:
    """Write journal batches as one Parquet file.

    Raises:
        OSError: The disk failed.
        ValueError: The batches are not of this schema.
    """
    read: Any = _pa.ipc.read_schema(_pa.py_buffer(schema))
    table: Any = _pa.Table.from_batches(
        [_pa.ipc.read_record_batch(_pa.py_buffer(batch), read) for batch in batches], read
    )
    # Numbers and keys hardly repeat: looking for repetitions costs a third of the time for nothing.
    texts = [
        field.name for field in read if field.type == _TYPES[ColumnKind.TEXT] and field.nullable
    ]
    _pq.write_table(
        table,
        str(path),
        use_dictionary=texts,
        compression="zstd",
        compression_level=_ZSTD_LEVEL,
        row_group_size=_ROW_GROUP,
    )


def count_rows(path: Path) -> int | None:
    """Rows of a Parquet file; None when it is none."""
    try:
        rows: int = _pq.read_metadata(str(path)).num_rows
    except (_pa.ArrowInvalid, OSError):
        return None
    return rows


def _array(column: LogColumn, rows: int) -> Any:
    kind, values = column.kind, column.values
    if isinstance(values, Constant):
        return _pa.repeat(_pa.scalar(values.text, _TYPES[kind]), rows)
    match kind:
        case ColumnKind.TIME:
            return _pa.array(values, type=_pa.int64()).view(_TIMESTAMP)
        case ColumnKind.NUMBER if isinstance(values, np.ndarray):
            # from_pandas: NaN is how a missing number is held in memory, null how it is written.
            whole = np.ascontiguousarray(values, dtype=np.float64)
            return _pa.array(whole, type=_TYPES[kind], from_pandas=True)
        case _:
            return _pa.array(values, type=_TYPES[kind], from_pandas=True)
