"""The population stability index, for people to read beside the evidence; it never alarms.

PSI = sum (q - p) ln(q / p) over cells. Without drift it is not 0 but about (B - 1)(1/n + 1/m) for
B cells, n and m rows (Yurdakul 2018), so that the usual "0.1 moderate, 0.2 severe" means something
else at each sample size. Here that bias is taken out.
"""

import numpy as np

from mooring_profile.fields import FloatArray, IntArray

CELLS = 10
MIN_ROWS_PER_CELL = 20


def debiased_psi(
    reference: IntArray, window: IntArray, *, design_effect: float, ordered: bool
) -> float | None:
    """Returns the debiased index over at most `CELLS` cells, or None with too few rows.

    Args:
        reference: rows per cell of the reference.
        window: rows per cell of the window, the same cells.
        design_effect: rows that weigh as one, >= 1.
        ordered: whether neighbouring cells may be joined (numeric); otherwise the largest cells
            of the reference stay and the rest is one cell.

    Returns:
        Around 0 without drift (it may be slightly negative); None below 20 effective rows a cell.
    """
    group = _ordered_groups(reference) if ordered else _largest_groups(reference)
    cells = int(group.max()) + 1
    p = np.bincount(group, weights=reference, minlength=cells).astype(np.float64)
    q = np.bincount(group, weights=window, minlength=cells).astype(np.float64)
    rows = (float(p.sum()) / design_effect, float(q.sum()) / design_effect)
    if cells < 2 or min(rows) < MIN_ROWS_PER_CELL * cells:
        return None
    share_p, share_q = _shares(p), _shares(q)
    index = float(((share_q - share_p) * np.log(share_q / share_p)).sum())
    return index - (cells - 1) * (1 / rows[0] + 1 / rows[1])


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
