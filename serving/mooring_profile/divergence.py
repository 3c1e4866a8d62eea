"""The population stability index, for people to read beside the evidence; it never alarms.

PSI = sum (q - p) ln(q / p) over cells. Without drift it is not 0 but about (B - 1)(1/n + 1/m) for
B cells, n and m rows (Yurdakul 2018), so that the usual "0.1 moderate, 0.2 severe" means something
else at each sample size. Here that bias is taken out.
"""

import numpy as np

from mooring_profile.fields import FloatArray, IntArray

CELLS = 10
MIN_ROWS_PER_CELL = 20


class StabilityIndex:
    """The debiased index of windows against one reference, over at most `CELLS` cells."""

    def __init__(self, reference: IntArray, *, design_effect: float, ordered: bool) -> None:
        """Chooses the cells.

        Args:
            reference: rows per cell of the reference.
            design_effect: rows that weigh as one, >= 1.
            ordered: whether neighbouring cells may be joined (numeric); otherwise the largest
                cells of the reference stay and the rest is one cell.
        """
        self._group = _ordered_groups(reference) if ordered else _largest_groups(reference)
        self._cells = int(self._group.max()) + 1
        self._design_effect = design_effect
        counts = self._joined(reference)
        self._rows = float(counts.sum()) / design_effect
        self._shares = _shares(counts)

    def of(self, window: IntArray) -> float | None:
        """Returns the index of a window with the same cells.

        Around 0 without drift (it may be slightly negative); None below 20 effective rows a cell.
        """
        counts = self._joined(window)
        rows = float(counts.sum()) / self._design_effect
        if self._cells < 2 or min(rows, self._rows) < MIN_ROWS_PER_CELL * self._cells:
            return None
        shares = _shares(counts)
        index = float(((shares - self._shares) * np.log(shares / self._shares)).sum())
        return index - (self._cells - 1) * (1 / rows + 1 / self._rows)

    def _joined(self, counts: IntArray) -> FloatArray:
        joined = np.bincount(self._group, weights=counts, minlength=self._cells)
        return joined.astype(np.float64)


def _shares(counts: FloatArray) -> FloatArray:
    """Shares with half a row added to each cell (Jeffreys), so that none is 0."""
    return (counts + 0.5) / (counts.sum() + counts.size / 2)


def _ordered_groups(reference: IntArray) -> IntArray:
    total = int(reference.sum())
    middle = np.cumsum(reference) - reference + reference // 2
    group = np.minimum((middle * CELLS) // max(1, total), CELLS - 1)
    return np.unique(group, return_inverse=True)[1].astype(np.int64)


def _largest_groups(reference: IntArray) -> IntArray:
    order = np.argsort(-reference, kind="stable")
    group = np.full(reference.size, min(CELLS, reference.size) - 1, dtype=np.int64)
    group[order[: CELLS - 1]] = np.arange(min(CELLS - 1, reference.size))
    return group
