"""How much that is new to be expected: values beyond the range, categories never seen.

The reference itself has none by construction, yet a next day will have some. With blocks of time
each block is compared with all the others (leave one out); without, the expectation for
independent rows is used.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mooring_profile.dispersion import TimeBlocks
from mooring_profile.fields import FloatArray

BoolArray = npt.NDArray[np.bool_]


def range_novelty(
    values: FloatArray, finite: BoolArray, blocks: TimeBlocks | None
) -> tuple[BoolArray, float]:
    """Finds rows outside the range of all other blocks.

    Args:
        values: [rows], any value where not finite.
        finite: bool [rows].
        blocks: the table's blocks of time, or None when unknown.

    Returns:
        bool [rows] of such rows (none without blocks), and the expected share of new values
        outside the range: the share of such rows, or 2 / (m + 1) for m independent values.
    """
    novel = np.zeros(values.size, dtype=np.bool_)
    if blocks is None:
        return novel, min(1.0, 2 / (int(finite.sum()) + 1))
    rows = blocks.rows
    block = blocks.block_of_run[blocks.run]
    low = np.full(blocks.blocks, np.inf)
    high = np.full(blocks.blocks, -np.inf)
    kept = finite[rows]
    np.minimum.at(low, block[kept], values[rows][kept])
    np.maximum.at(high, block[kept], values[rows][kept])
    below = values[rows] < _smallest_elsewhere(low)[block]
    above = values[rows] > -_smallest_elsewhere(-high)[block]
    novel[rows] = kept & (below | above)
    return novel, _share(novel, finite)


def category_novelty(
    texts: Sequence[str | None],
    ranked: Sequence[str],
    present: BoolArray,
    blocks: TimeBlocks | None,
) -> tuple[BoolArray, float]:
    """Finds rows whose category occurs in no other block.

    Args:
        texts: the category of each row, None where there is none.
        ranked: every category once.
        present: bool [rows], rows that have a category.
        blocks: the table's blocks of time, or None when unknown.

    Returns:
        bool [rows] of such rows (none without blocks), and the expected share of unseen
        categories: the share of such rows, or for independent rows the share of categories seen
        once (Good 1953, The population frequencies of species, eq. 9).
    """
    novel = np.zeros(present.size, dtype=np.bool_)
    rows = int(present.sum())
    if blocks is None:
        counter = Counter(text for text in texts if text is not None)
        once = sum(1 for count in counter.values() if count == 1)
        return novel, once / rows if rows else 0.0
    number = {text: index for index, text in enumerate(ranked)}
    category = np.array([-1 if text is None else number[text] for text in texts], dtype=np.int64)
    kept = blocks.rows[present[blocks.rows]]
    block = blocks.block_of_run[blocks.run][present[blocks.rows]]
    pairs = np.unique(np.stack([category[kept], block]), axis=1)
    appearances = np.bincount(pairs[0], minlength=len(ranked))
    novel[kept] = appearances[category[kept]] == 1
    return novel, _share(novel, present)


def _smallest_elsewhere(values: FloatArray) -> FloatArray:
    """For each item the smallest of all the others."""
    order = np.argsort(values, kind="stable")
    smallest = np.full(values.size, values[order[0]])
    smallest[order[0]] = values[order[1]]
    return smallest


def _share(novel: BoolArray, kept: BoolArray) -> float:
    total = int(kept.sum())
    return int((novel & kept).sum()) / total if total else 0.0
