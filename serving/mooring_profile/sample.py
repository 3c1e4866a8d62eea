"""A sample of rows in bounded memory: all of them as long as they fit, then each alike likely."""

from collections.abc import Mapping

import numpy as np

from mooring_profile.binning import Column

CAPACITY = 100_000
"""Rows held. The mass of one of 30 bins is then right to 2 % of itself (standard error)."""


class RowSample:
    """A reservoir of rows (Vitter 1985, Random sampling with a reservoir, algorithm R).

    Numbers are held in single precision. The same batches give the same sample.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._generator = np.random.default_rng(20131)
        self._rows = 0
        self._columns: dict[str, Column] = {}

    @property
    def whole(self) -> bool:
        """Whether it holds every row."""
        return self._rows <= self._capacity

    def column(self, name: str) -> Column:
        """Returns the sampled values of a column, float32 or object."""
        return self._columns[name][: self._rows]

    def add(self, columns: Mapping[str, Column], rows: int) -> None:
        """Takes the next rows of a table, always with the same columns."""
        slots, chosen = self._places(rows)
        for name, column in columns.items():
            kept = column[chosen]
            if name not in self._columns:
                self._columns[name] = np.empty(0, dtype=kept.dtype)
            held = self._columns[name]
            needed = min(self._capacity, self._rows + rows)
            if held.size < needed:
                size = min(self._capacity, max(needed, 2 * held.size))
                grown = np.empty(size, dtype=held.dtype)
                grown[: held.size] = held
                self._columns[name] = held = grown
            held[slots] = kept
        self._rows += rows

    def _places(self, rows: int) -> tuple[np.ndarray[tuple[int], np.dtype[np.intp]], ...]:
        """Which rows of a batch are held at its end, and where."""
        number = np.arange(self._rows, self._rows + rows)
        slot = number.copy()
        late = np.flatnonzero(number >= self._capacity)
        slot[late] = self._generator.integers(0, number[late] + 1)
        holder = np.full(min(self._capacity, self._rows + rows), -1, dtype=np.intp)
        kept = slot < self._capacity
        holder[slot[kept]] = np.flatnonzero(kept)  # of several rows the last stays
        slots = np.flatnonzero(holder >= 0)
        return slots, holder[slots]
