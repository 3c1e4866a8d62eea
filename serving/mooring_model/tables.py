"""Training and test tables: reading them, and the record that a package keeps of each."""

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.infer_schema import Frame
from mooring_model.manifest import hash_file

_pandas: Any = importlib.import_module("pandas")
_arrow: Any = importlib.import_module("pyarrow")
_parquet: Any = importlib.import_module("pyarrow.parquet")

Blocks = npt.NDArray[np.int64]
_READERS: Mapping[str, str] = {".parquet": "parquet", ".csv": "csv", ".csv.gz": "csv"}


@dataclass(frozen=True)
class Table:
    """Rows in memory and where they came from.

    Attributes:
        frame: a pandas DataFrame with text column names.
        uri: of the file, as far as it is worth telling others: its name. None for a frame.
        digest: `sha256:` of the file, or of the frame written as Parquet.
        format: `parquet` or `csv`.
    """

    frame: Frame
    uri: str | None
    digest: str
    format: str

    def blocks(self, time_column: str | None) -> Blocks | None:
        """The number of each row's day, [rows]; None when no time is known.

        Raises:
            PackageRefused: SchemaInvalid; the column holds no times.
        """
        if time_column is None:
            return None
        days = _times(self.frame, time_column).dt.floor("D")
        return np.asarray(days.factorize(sort=True)[0], np.int64)

    def record(self, role: str, time_column: str | None) -> dict[str, object]:
        """The entry of datasets.json."""
        span: dict[str, str] | None = None
        if time_column is not None:
            times = _times(self.frame, time_column)
            span = {"from": _stamp(times.min()), "to": _stamp(times.max())}
        columns = [{"name": str(n), "type": str(t)} for n, t in self.frame.dtypes.items()]
        return {
            "role": role,
            "uri": self.uri,
            "digest": self.digest,
            "format": self.format,
            "rows": len(self.frame),
            "columns": columns,
            "timeColumn": time_column,
            "timeRange": span,
        }


def read_table(data: object, *, uri: str | None = None) -> Table:
    """A table from a DataFrame, or from the path of a Parquet or CSV file.

    Args:
        data: the frame or the path.
        uri: where others find it; for a file, its name when None.

    Raises:
        PackageRefused: SchemaInvalid; no such file, no table, no rows, or columns without names.
    """
    if not isinstance(data, (str, Path)):
        return Table(_checked(data, "the table"), uri, _frame_digest(data), "parquet")
    path = Path(data)
    kind = next((k for ending, k in _READERS.items() if path.name.endswith(ending)), None)
    if kind is None:
        raise _refuse(f"{path}: a table is a .parquet, .csv or .csv.gz file", "convert it first")
    try:
        frame = _pandas.read_parquet(path) if kind == "parquet" else _pandas.read_csv(path)
    except (OSError, ValueError) as error:
        raise _refuse(
            f"{path}: cannot be read as {kind}: {str(error).splitlines()[0][:200]}",
            "give --data a table that pandas reads",
        ) from error
    digest = f"sha256:{hash_file(path).sha256}"
    return Table(_checked(frame, str(path)), uri or path.name, digest, kind)


def _checked(frame: Any, where: str) -> Frame:
    if not isinstance(frame, _pandas.DataFrame):
        raise _refuse(f"{where} is a {type(frame).__name__}", "give a pandas DataFrame, or a path")
    names = list(frame.columns)
    if not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise _refuse(
            f"{where} has columns {names[:10]}", "give each column a text name of its own"
        )
    if frame.empty:
        raise _refuse(f"{where} has no rows", "give the table that the model was fitted to")
    return frame


def _frame_digest(frame: Any) -> str:
    """sha256 of the frame as Parquet, without pandas' own notes; the index is left out."""
    if not isinstance(frame, _pandas.DataFrame):
        return ""
    try:
        table = _arrow.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
        sink = _arrow.BufferOutputStream()
        _parquet.write_table(table, sink, compression="none")
    except (ValueError, TypeError, NotImplementedError, _arrow.ArrowException) as error:
        raise _refuse(
            f"the table cannot be written as Parquet: {str(error).splitlines()[0][:200]}",
            "give every column values of one type",
        ) from error
    return "sha256:" + hashlib.sha256(sink.getvalue()).hexdigest()


def _times(frame: Frame, column: str) -> Any:
    try:
        times = _pandas.to_datetime(frame[column], utc=True)
    except (ValueError, TypeError, OverflowError) as error:
        raise _refuse(
            f"column {column} holds no times: {str(error).splitlines()[0][:200]}",
            "name a column of dates or timestamps with --time-column",
        ) from error
    if times.isna().any():
        raise _refuse(f"column {column} has rows without a time", "drop those rows")
    return times


def _stamp(moment: Any) -> str:
    return moment.to_pydatetime().astimezone(UTC).isoformat().replace("+00:00", "Z")


def _refuse(message: str, remedy: str) -> PackageRefused:
    return PackageRefused(RefusalReason.SCHEMA_INVALID, message, remedy)
