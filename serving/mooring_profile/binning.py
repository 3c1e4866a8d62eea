"""From values to cells: which bin, or which named cell, each value of a column falls into.

The recorder adds whole batches (`add`), the profile builder needs the cell of each row (`cells`).
Both follow one rule: values are compared in single precision, so that a training table in double
precision and requests in FP32 land in the same bins; None and NaN are missing; infinities and
values of the wrong type are invalid.
"""

import math
from collections.abc import Sequence
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from mooring_profile.counts import NAMED_CELLS
from mooring_profile.document import FeatureKind, FeatureProfile, single_precision
from mooring_profile.fields import FloatArray, IntArray

Column = npt.NDArray[np.generic]
SingleArray = npt.NDArray[np.float32]
_MISSING, _UNSEEN, _BELOW, _ABOVE, _INVALID = range(len(NAMED_CELLS))


class Binner(Protocol):
    """Assigns the values of one feature to cells."""

    @property
    def cell_count(self) -> int:
        """Bins and named cells together."""
        ...

    def add(self, column: Column, totals: IntArray) -> None:
        """Counts a column [rows] into `totals` [cell_count], in place."""
        ...

    def cells(self, column: Column) -> IntArray:
        """Returns the cell of each row, int64 [rows]."""
        ...


def binner_of(feature: FeatureProfile) -> Binner:
    """Returns the binner that makes counts comparable with `feature`."""
    if feature.kind is FeatureKind.NUMERIC:
        return NumericBinner(feature.edges)
    return CategoricalBinner(feature.categories, feature.other_categories)


class NumericBinner:
    """Bins between ascending edges; the last edge is exclusive."""

    def __init__(self, edges: Sequence[float]) -> None:
        self._edges = single_precision(tuple(edges))
        self._bins = max(0, self._edges.size - 1)
        self.cell_count = self._bins + len(NAMED_CELLS)
        self._below = self._bins + _BELOW
        self._above = self._bins + _ABOVE

    def add(self, column: Column, totals: IntArray) -> None:
        """Counts a column into `totals`; the hot path of a pod's recorder."""
        values, wrong = as_floats(column)
        steps = np.bincount(self._steps(values), minlength=self._edges.size + 1)
        last = self._edges.size
        totals[: self._bins] += steps[1:last]
        totals[self._above] += steps[last]
        if last:
            totals[self._below] += steps[0]
        finite = int(np.count_nonzero(np.isfinite(values)))
        if finite == values.size:
            return
        absent = int(np.count_nonzero(np.isnan(values)))
        low = int(np.count_nonzero(values == -np.inf)) if last else 0
        # NaN and +inf sort above the last edge, -inf below the first: put them where they belong.
        totals[self._above] -= values.size - finite - low
        totals[self._below] -= low
        totals[self._bins + _MISSING] += absent - wrong.size
        totals[self._bins + _INVALID] += values.size - finite - absent + wrong.size

    def cells(self, column: Column) -> IntArray:
        """Returns the cell of each row, int64 [rows]."""
        values, wrong = as_floats(column)
        last = self._edges.size
        cell_of_step = np.arange(-1, last, dtype=np.int64)
        cell_of_step[0] = self._below
        cell_of_step[last] = self._above
        cells = cell_of_step[self._steps(values)]
        cells[np.isnan(values)] = self._bins + _MISSING
        cells[np.isinf(values)] = self._bins + _INVALID
        cells[wrong] = self._bins + _INVALID
        return cells

    def _steps(self, values: FloatArray) -> IntArray:
        with np.errstate(over="ignore"):
            single = values.astype(np.float32)
        return np.searchsorted(self._edges, single, side="right")


class CategoricalBinner:
    """One bin for each of the frequent categories and one for the other known ones."""

    def __init__(self, categories: Sequence[str], other_categories: Sequence[str]) -> None:
        self._bins = len(categories) + 1
        self.cell_count = self._bins + len(NAMED_CELLS)
        self._lookup: dict[object, int] = dict.fromkeys(other_categories, self._bins - 1)
        self._lookup |= {name: index for index, name in enumerate(categories)}
        self._lookup[None] = self._bins + _MISSING

    def add(self, column: Column, totals: IntArray) -> None:
        """Counts a column into `totals`."""
        totals += np.bincount(self.cells(column), minlength=self.cell_count)

    def cells(self, column: Column) -> IntArray:
        """Returns the cell of each row, int64 [rows]."""
        if column.dtype.kind in "iubf":
            unique, inverse = np.unique(column, return_inverse=True)
            return self._cells_of(unique.tolist())[inverse]
        return self._cells_of(cast("list[object]", column.tolist()))

    def _cells_of(self, values: list[object]) -> IntArray:
        find = self._lookup.get
        try:
            cells = np.array([find(value, -1) for value in values], dtype=np.int64)
        except TypeError:  # an unhashable value, such as a list
            cells = np.full(len(values), -1, dtype=np.int64)
        for row in np.flatnonzero(cells < 0).tolist():
            cells[row] = self._slow_cell(values[row])
        return cells

    def _slow_cell(self, value: object) -> int:
        if value is None or is_nan(value):
            return self._bins + _MISSING
        text = category_text(value)
        if text is None:
            return self._bins + _INVALID
        return self._lookup.get(text, self._bins + _UNSEEN)


def is_nan(value: object) -> bool:
    """Whether a value is the number that is none, which counts as missing."""
    return isinstance(value, float | np.floating) and math.isnan(cast("float", value))


def category_text(value: object) -> str | None:
    """Returns the text under which a category is known, or None when it has none.

    Text is itself, bytes are UTF-8, and numbers are written without a fraction where they have
    none, so that a nullable integer column (1.0, NaN) and an INT64 tensor (1) agree.
    """
    match value:
        case str():
            return value
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                return None
        case bool() | np.bool_():
            return str(bool(value))
        case int() | np.integer():
            return str(int(value))
        case float() | np.floating():
            number = float(value)
            if not math.isfinite(number):
                return None
            return str(int(number)) if number.is_integer() else repr(number)
        case _:
            return None


def as_floats(column: Column) -> tuple[FloatArray, IntArray]:
    """Returns a column as floats, and the rows that are not numbers at all.

    Missing values (None, NaN) and rows that are not numbers are NaN in the first array.
    """
    nothing = np.empty(0, dtype=np.int64)
    if column.dtype.kind in "fiub":
        if column.dtype.kind == "f":
            return cast("FloatArray", column), nothing
        return column.astype(np.float64), nothing
    if column.dtype.kind not in "OUS":
        return np.full(column.shape, np.nan), np.arange(column.size)
    try:
        return column.astype(np.float64), nothing
    except (TypeError, ValueError, OverflowError):
        return _floats_one_by_one(cast("list[object]", column.tolist()))


def single(column: Column) -> SingleArray:
    """Returns a numeric column in single precision; what is no number is NaN."""
    floats, _ = as_floats(column)
    with np.errstate(over="ignore"):
        return floats.astype(np.float32, copy=False)


def _floats_one_by_one(values: list[object]) -> tuple[FloatArray, IntArray]:
    floats = np.full(len(values), np.nan)
    wrong: list[int] = []
    for row, value in enumerate(values):
        if value is None:
            continue
        try:
            floats[row] = float(value)  # pyright: ignore[reportArgumentType]  # tried on purpose
        except (TypeError, ValueError, OverflowError):
            wrong.append(row)
    return floats, np.array(wrong, dtype=np.int64)
