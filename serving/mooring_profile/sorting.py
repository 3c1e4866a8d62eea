"""Counting many numeric columns at once, by sorting them: the hot path of a pod's recorder.

In a sorted column the rows of a bin lie between the places of its two edges, so a binary search for
each edge replaces one for each value. The counts are those of `NumericBinner` to the last row;
columns that it has to look at value by value (text, infinities) are left to it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mooring_profile.binning import Column
from mooring_profile.counts import NAMED_CELLS
from mooring_profile.document import single_precision
from mooring_profile.fields import IntArray

_NOWHERE = -1
_BLOCK = 1024
"""Rows sorted at once: more cost more for each value, and less make more searches."""
_MISSING, _BELOW, _ABOVE = (NAMED_CELLS.index(name) for name in ("missing", "below", "above"))


@dataclass(frozen=True, slots=True)
class NumericColumn:
    """A numeric stream in the flat array of all streams' cells.

    Attributes:
        name: the stream.
        edges: its ascending edges, at least one.
        start: index of its first cell.
    """

    name: str
    edges: Sequence[float]
    start: int


class NumericColumns:
    """The numeric streams of a profile."""

    def __init__(self, columns: Sequence[NumericColumn]) -> None:
        self._names = tuple(column.name for column in columns)
        most = max((len(column.edges) for column in columns), default=0)
        # What is searched for: the smallest finite number, the edges (the last one again where
        # others have more), infinity and NaN, which sorts last. Between two of them lie -inf, the
        # rows below, the bins, the rows above, +inf and NaN.
        self._sought = np.empty((len(columns), most + 3), dtype=np.float32)
        self._targets = np.full((len(columns), most + 4), _NOWHERE, dtype=np.int64)
        for slot, column in enumerate(columns):
            edges = single_precision(tuple(column.edges))
            bins = edges.size - 1
            named = column.start + bins
            self._sought[slot, 0] = np.finfo(np.float32).min
            self._sought[slot, 1:-2] = edges[-1]
            self._sought[slot, 1 : edges.size + 1] = edges
            self._sought[slot, -2:] = (np.inf, np.nan)
            self._targets[slot, 1] = named + _BELOW
            self._targets[slot, 2 : 2 + bins] = np.arange(column.start, named)
            self._targets[slot, -3] = named + _ABOVE
            self._targets[slot, -1] = named + _MISSING

    def add(self, columns: Mapping[str, Column], cells: IntArray) -> Collection[str]:
        """Counts the columns that hold floats and nothing infinite.

        Args:
            columns: columns [rows] of one length, in any precision.
            cells: int64, all streams' cells; changed in place.

        Returns:
            The streams that were counted.
        """
        slots = [
            slot
            for slot, name in enumerate(self._names)
            if name in columns and columns[name].dtype.kind == "f"
        ]
        if not slots:
            return ()
        names = [self._names[slot] for slot in slots]
        found = np.zeros((len(slots), self._sought.shape[1] + 1), dtype=np.int64)
        for start in range(0, columns[names[0]].size, _BLOCK):
            found += self._count([columns[name][start : start + _BLOCK] for name in names], slots)
        # A finite double can be infinite in single precision: only the values themselves tell.
        infinite = (found[:, 0] + found[:, -2]) > 0
        found[infinite] = 0
        targets = self._targets[slots]
        used = targets != _NOWHERE
        cells[targets[used]] += found[used]
        return [name for name, left in zip(names, infinite.tolist(), strict=True) if not left]

    def _count(self, columns: Sequence[Column], slots: Sequence[int]) -> IntArray:
        """Rows between the sought values of each column, int64 [columns, sought + 1]."""
        rows = columns[0].size
        single = np.empty((len(slots), rows), dtype=np.float32)
        with np.errstate(over="ignore"):
            for values, column in zip(single, columns, strict=True):
                values[:] = column
        single.sort(axis=1)
        places = np.zeros((len(slots), self._sought.shape[1] + 2), dtype=np.int64)
        places[:, -1] = rows
        for place, values, slot in zip(places, single, slots, strict=True):
            place[1:-1] = values.searchsorted(self._sought[slot])
        return np.diff(places, axis=1)
