"""How much that is new to be expected: values beyond the range, categories never seen.

The reference itself has none by construction, yet a next day will have some. With blocks of time
each block is compared with all the others (leave one out); without, the expectation for
independent rows is used.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mooring_profile.binning import SingleArray
from mooring_profile.blocks import TimeBlocks
from mooring_profile.fields import IntArray


@dataclass(frozen=True)
class InnerRange:
    """The range that any block sees of the others, at the least.

    Only the block with the smallest value of all can have a value below all other blocks, and
    those values are below the second smallest of the blocks' minima; likewise above.

    Attributes:
        low: that second smallest minimum, in single precision.
        high: the second largest maximum.
    """

    low: float
    high: float


class Extremes:
    """Smallest and largest finite value of each block, batch after batch."""

    def __init__(self) -> None:
        self._low: dict[int, float] = {}
        self._high: dict[int, float] = {}

    def add(self, values: SingleArray, ids: IntArray, block: IntArray) -> None:
        """Takes values [rows].

        Args:
            values: float32, any number.
            ids: int64 [ids], of the batch's blocks.
            block: int64 [rows], the position of each row's id.
        """
        finite = np.isfinite(values)
        if not finite.all():
            values, block = values[finite], block[finite]
        low = np.full(ids.size, np.inf, dtype=np.float32)
        high = np.full(ids.size, -np.inf, dtype=np.float32)
        if ids.size == 1 and values.size:
            low[0], high[0] = values.min(), values.max()
        else:
            np.minimum.at(low, block, values)
            np.maximum.at(high, block, values)
        for item, least, most in zip(ids.tolist(), low.tolist(), high.tolist(), strict=True):
            self._low[item] = min(least, self._low.get(item, np.inf))
            self._high[item] = max(most, self._high.get(item, -np.inf))

    @property
    def range(self) -> tuple[float, float] | None:
        """The smallest and the largest value of all, None without any."""
        low, high = min(self._low.values()), max(self._high.values())
        return (low, high) if low <= high else None

    def inner(self, blocks: TimeBlocks) -> InnerRange | None:
        """Returns what blocks see of each other; None where they cannot be compared."""
        if not blocks.enough:
            return None
        low, high = np.full(blocks.blocks + 1, np.inf), np.full(blocks.blocks + 1, -np.inf)
        block = blocks.block_of(np.array(list(self._low), dtype=np.int64))
        np.minimum.at(low, block, list(self._low.values()))
        np.maximum.at(high, block, list(self._high.values()))
        low, high = low[:-1], high[:-1]
        if np.isfinite(low).sum() < 2:
            return None
        return InnerRange(float(np.partition(low, 1)[1]), float(np.partition(high, -2)[-2]))


class Appearances:
    """The first and the last block that each category occurs in, batch after batch."""

    def __init__(self) -> None:
        self._first: dict[str, int] = {}
        self._last: dict[str, int] = {}

    def add(self, categories: IntArray, texts: Sequence[str], ids: IntArray) -> None:
        """Takes rows [rows]: the position of each in `texts`, and the id of its block."""
        low = np.full(len(texts), np.iinfo(np.int64).max)
        high = np.full(len(texts), np.iinfo(np.int64).min)
        np.minimum.at(low, categories, ids)
        np.maximum.at(high, categories, ids)
        for text, least, most in zip(texts, low.tolist(), high.tolist(), strict=True):
            self._first[text] = min(least, self._first.get(text, least))
            self._last[text] = max(most, self._last.get(text, most))

    def forget(self, text: str) -> None:
        """Drops a category."""
        del self._first[text], self._last[text]

    def novel(self, blocks: TimeBlocks) -> frozenset[str] | None:
        """Returns the categories of one block only; None where they cannot be compared."""
        if not blocks.enough:
            return None
        texts = list(self._first)
        first = blocks.block_of(np.array([self._first[text] for text in texts], dtype=np.int64))
        last = blocks.block_of(np.array([self._last[text] for text in texts], dtype=np.int64))
        return frozenset(
            text for text, alone in zip(texts, (first == last).tolist(), strict=True) if alone
        )
