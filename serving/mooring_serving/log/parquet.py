"""Columns to journal batches and to Parquet files; the only importer of pyarrow, untyped as it is.

Encoding and compressing happen without the interpreter's lock.
"""

import importlib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from mooring_serving.log.buffers import Buffers
from mooring_serving.log.journal import Payload

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

    def encode(self, table: Mapping[str, Buffers]) -> Payload:
        """The bytes of a batch; its columns have one length."""
        arrays = [
            _pa.Array.from_buffers(
                field.type,
                table[field.name].rows,
                [None if part is None else _pa.py_buffer(part) for part in table[field.name].parts],
                table[field.name].nulls,
            )
            for field in self._schema
        ]
        return memoryview(_pa.RecordBatch.from_arrays(arrays, schema=self._schema).serialize())


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
