"""Blocks of time, and each block in runs of consecutive rows: where each row of a table belongs.

Rows of a block need not be together in the table, nor in one batch of it.
"""

from dataclasses import dataclass

import numpy as np

from mooring_profile.fields import IntArray

MIN_BLOCKS = 5
"""Fewer blocks say nothing about the variation between blocks."""
MIN_BLOCK_ROWS = 20
"""Smaller blocks are left out: their shares are mostly noise."""
MOST_BLOCKS = 1024
"""Of more than these, neighbours are joined: bounds the counts that are held."""
SUBBLOCKS = 8
"""A block is cut into about so many runs of consecutive rows."""
MIN_SUBBLOCK_ROWS = 25


@dataclass(frozen=True, eq=False)
class TimeBlocks:
    """The blocks of a table and their runs.

    Attributes:
        ids: int64 [ids], the ids that rows carry, ascending.
        block: int64 [ids], the block of each id; `blocks` for one that is left out.
        length: int64 [blocks], rows of a run.
        per_block: int64 [blocks], runs; the last of a block takes the rest of its rows.
        joined: how many neighbouring ids make one block.
    """

    ids: IntArray
    block: IntArray
    length: IntArray
    per_block: IntArray
    joined: int

    @classmethod
    def of(cls, ids: IntArray, sizes: IntArray) -> "TimeBlocks":
        """Groups ids [ids] with so many rows each; blocks of too few rows are left out."""
        order = np.argsort(ids, kind="stable")
        joined = -(-ids.size // MOST_BLOCKS) or 1
        group = np.arange(ids.size) // joined
        rows = np.bincount(group, weights=sizes[order]).astype(np.int64)
        kept = rows >= MIN_BLOCK_ROWS
        number = np.where(kept, np.cumsum(kept) - 1, int(kept.sum()))
        length = np.maximum(MIN_SUBBLOCK_ROWS, rows[kept] // SUBBLOCKS)
        return cls(
            ids=ids[order],
            block=number[group],
            length=length,
            per_block=np.maximum(1, rows[kept] // length),
            joined=joined,
        )

    @classmethod
    def unknown(cls) -> "TimeBlocks":
        """No block at all: the time of the rows is not known."""
        nothing = np.zeros(0, dtype=np.int64)
        return cls.of(nothing, nothing)

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return self.length.size

    @property
    def runs(self) -> int:
        """Number of runs of all blocks."""
        return int(self.per_block.sum())

    @property
    def enough(self) -> bool:
        """Whether blocks can be compared with each other."""
        return self.blocks >= MIN_BLOCKS

    def block_of(self, ids: IntArray) -> IntArray:
        """Returns the block of each of known ids, int64; `blocks` for one that is left out."""
        return self.block[np.searchsorted(self.ids, ids)]

    @property
    def block_of_run(self) -> IntArray:
        """The block of each run, int64 [runs]."""
        return np.repeat(np.arange(self.blocks), self.per_block)


class RunCursor:
    """Assigns rows to runs, batch after batch, in the order of the table."""

    def __init__(self, blocks: TimeBlocks) -> None:
        self._blocks = blocks
        self._seen = np.zeros(blocks.blocks + 1, dtype=np.int64)
        self._first = np.append(np.cumsum(blocks.per_block) - blocks.per_block, blocks.runs)
        self._length = np.append(blocks.length, 1)
        self._last = np.append(blocks.per_block - 1, 0)

    def runs_of(self, ids: IntArray | None, rows: int) -> IntArray:
        """Returns the run of each row, int64 [rows]; `blocks.runs` for a row in none.

        Args:
            ids: int64 [rows], all of them known to the blocks; None where time is not known.
            rows: of the batch.
        """
        if ids is None:
            return np.full(rows, self._blocks.runs, dtype=np.int64)
        block = self._blocks.block_of(ids)
        sizes = np.bincount(block, minlength=self._seen.size)
        order = np.argsort(block, kind="stable")
        rank = np.empty(rows, dtype=np.int64)
        rank[order] = np.arange(rows) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        position = self._seen[block] + rank
        self._seen += sizes
        return self._first[block] + np.minimum(position // self._length[block], self._last[block])
