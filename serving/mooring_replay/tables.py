"""Tables on disk, read in batches: the only module here that knows pandas and pyarrow.

A column leaves it as a numpy array: numbers with NaN where a value is missing, anything else as
objects with None there.
"""

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from mooring_profile.binning import Column
from mooring_replay.errors import ReplayRefused

_pandas: Any = importlib.import_module("pandas")
_types: Any = importlib.import_module("pandas.api.types")
_arrow: Any = importlib.import_module("pyarrow")
_parquet: Any = importlib.import_module("pyarrow.parquet")

Frame = Any
"""A `pandas.DataFrame`."""
BATCH_ROWS = 65_536
_TIME_TEXT = r"^\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ].*)?$"


class CellType(StrEnum):
    """What a column holds."""

    NUMBER = "numbers"
    INTEGER = "whole numbers"
    BOOLEAN = "booleans"
    TEXT = "text"
    TIME = "times"
    OTHER = "neither numbers nor text"


@dataclass(frozen=True)
class TableFile:
    """A Parquet or CSV file and the names of its columns."""

    path: Path
    parquet: bool
    columns: tuple[str, ...]

    def batches(
        self, columns: Sequence[str], *, as_text: frozenset[str] = frozenset()
    ) -> Iterator[Frame]:
        """The rows of some columns, in order, at most `BATCH_ROWS` at once.

        Args:
            columns: some of `self.columns`.
            as_text: columns that a CSV file holds as text even where they look like numbers.

        Raises:
            ReplayRefused: the file cannot be read.
        """
        try:
            yield from self._read(list(columns), as_text, None)
        except (OSError, ValueError, _arrow.ArrowException) as error:
            raise _unreadable(self.path, error) from error

    def head(self, rows: int) -> Frame:
        """The first rows of all columns, at most `rows`; empty where the table is.

        Raises:
            ReplayRefused: the file cannot be read.
        """
        try:
            first = next(self._read(list(self.columns), frozenset(), rows), None)
        except (OSError, ValueError, _arrow.ArrowException) as error:
            raise _unreadable(self.path, error) from error
        return _pandas.DataFrame(columns=list(self.columns)) if first is None else first

    def _read(
        self, columns: list[str], as_text: frozenset[str], rows: int | None
    ) -> Iterator[Frame]:
        size = BATCH_ROWS if rows is None else rows
        if self.parquet:
            with _parquet.ParquetFile(self.path) as file:
                for batch in file.iter_batches(batch_size=size, columns=columns):
                    if batch.num_rows:
                        yield batch.to_pandas()
            return
        kinds = {name: "str" for name in columns if name in as_text}
        with _pandas.read_csv(
            self.path, usecols=columns, dtype=kinds, chunksize=size, low_memory=False
        ) as reader:
            yield from reader


def open_table(path: Path) -> TableFile:
    """Opens a table without reading its rows.

    Raises:
        ReplayRefused: there is no such file, it is no table, or its columns have no names.
    """
    parquet = path.name.endswith(".parquet") or path.name.endswith(".pq")
    if not parquet and not path.name.endswith((".csv", ".csv.gz")):
        raise ReplayRefused(
            f"{path}: a table is a .parquet, .pq, .csv or .csv.gz file", "convert it first"
        )
    try:
        if parquet:
            names = list(_parquet.read_schema(path).names)
        else:
            names = list(_pandas.read_csv(path, nrows=0).columns)
    except (OSError, ValueError, _arrow.ArrowException) as error:
        raise _unreadable(path, error) from error
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ReplayRefused(f"{path}: the column {twice[0]!r} is there twice", "rename one of them")
    # pandas' own index, stored as a column, is no column of the user's.
    kept = tuple(name for name in names if not name.startswith("__index_level_"))
    if not kept:
        raise ReplayRefused(f"{path} has no columns", "give a table with a header")
    return TableFile(path, parquet, kept)


def type_of(series: Any) -> CellType:
    """What a column holds, judged by the rows given."""
    dtype = series.dtype
    if _types.is_bool_dtype(dtype):
        return CellType.BOOLEAN
    if _types.is_integer_dtype(dtype):
        return CellType.INTEGER
    if _types.is_numeric_dtype(dtype) and not _types.is_complex_dtype(dtype):
        return CellType.NUMBER
    if _types.is_datetime64_any_dtype(dtype):
        return CellType.TIME
    present: list[Any] = series.dropna().astype(object).tolist()
    kinds = {type(value).__name__ for value in present}
    if not kinds:
        return CellType.NUMBER if _types.is_object_dtype(dtype) else CellType.TEXT
    if kinds == {"bool"}:
        return CellType.BOOLEAN
    if kinds <= {"int", "float", "Decimal"}:
        return CellType.NUMBER
    if kinds <= {"date", "datetime", "Timestamp"}:
        return CellType.TIME
    if kinds <= {"str", "bytes", "bool", "int", "float"}:
        return CellType.TIME if _looks_like_time(series) else CellType.TEXT
    return CellType.OTHER


def _looks_like_time(series: Any) -> bool:
    texts = series.dropna().astype(str).head(200)
    if not bool(texts.str.match(_TIME_TEXT).all()):
        return False
    try:
        _pandas.to_datetime(texts, format="mixed")
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def values_of(series: Any) -> Column:
    """A column as the kernel takes it, [rows]."""
    if _types.is_bool_dtype(series.dtype) and not series.isna().any():
        return series.to_numpy(dtype=bool)
    if _types.is_numeric_dtype(series.dtype) and not _types.is_bool_dtype(series.dtype):
        if _types.is_extension_array_dtype(series.dtype):
            return series.to_numpy(dtype=np.float64, na_value=np.nan)
        return series.to_numpy()
    objects: Any = series.astype(object)
    return objects.where(series.notna(), None).to_numpy(dtype=object)


def numbers_where_possible(column: Column) -> Column:
    """Texts that are numbers as numbers, so that "7" in one batch is the 7 of another."""
    if column.dtype.kind != "O":
        return column
    parsed = _pandas.to_numeric(_pandas.Series(column, dtype=object), errors="coerce").to_numpy()
    return np.where(np.isnan(parsed), column, parsed.astype(object))


def joined(pieces: Sequence[Any]) -> Any:
    """The pieces of a column as one."""
    return _pandas.concat(pieces, ignore_index=True)


def times_of(series: Any, where: str) -> Any:
    """A column as UTC timestamps.

    Raises:
        ReplayRefused: it holds no times, or not in each row.
    """
    try:
        times = _pandas.to_datetime(series, utc=True, format="mixed")
    except (ValueError, TypeError, OverflowError) as error:
        raise ReplayRefused(
            f"column {series.name!r} of {where} holds no times: {_short(error)}",
            "name a column of dates or timestamps with --time-column",
        ) from error
    if times.isna().any():
        raise ReplayRefused(
            f"column {series.name!r} of {where} has rows without a time", "drop those rows"
        )
    return times


def _unreadable(path: Path, error: Exception) -> ReplayRefused:
    return ReplayRefused(
        f"{path} cannot be read: {_short(error)}", "give a table that pandas reads"
    )


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
