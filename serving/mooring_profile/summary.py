"""The first reading of a table: what must be known of it before it can be counted.

In bounded memory: a sample of rows, the rows of each block of time, extremes of numbers by block,
and the most frequent categories with the blocks that they occur in.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mooring_profile.binning import single
from mooring_profile.blocks import TimeBlocks
from mooring_profile.coding import FIRST, CodedColumn, code_column
from mooring_profile.errors import ProfileInvalid
from mooring_profile.feature import SCORE_STREAM, FeatureKind
from mooring_profile.fields import IntArray
from mooring_profile.novelty import Appearances, Extremes
from mooring_profile.plan import Batch
from mooring_profile.sample import CAPACITY, RowSample

BLOCKS = "@blocks"
MOST_CATEGORIES = 16_384
"""Categories of one feature that are counted at once; more push the rarest out."""


class Summary:
    """What the first reading found.

    Attributes:
        rows: of the table.
        sample: rows of it: numeric features and the score as float32, categories as text or None.
        extremes: of numeric features and the score.
        categories: of categorical features.
        values: of the features that rows are segmented by.
    """

    def __init__(
        self, kinds: Mapping[str, FeatureKind], segments: Sequence[str], capacity: int = CAPACITY
    ) -> None:
        self._kinds = kinds
        self.rows = 0
        self.sample = RowSample(capacity)
        self.extremes: dict[str, Extremes] = {}
        self.categories = {
            name: Categories() for name, kind in kinds.items() if kind is FeatureKind.CATEGORICAL
        }
        self.values = {name: self.categories.get(name, Categories()) for name in segments}
        self._scored: bool = False
        self._timed: bool = False
        self._block_rows: dict[int, int] = {}

    @classmethod
    def of(
        cls,
        batches: Iterable[Batch],
        kinds: Mapping[str, FeatureKind],
        segments: Sequence[str],
        capacity: int,
    ) -> "Summary":
        """Reads a table.

        Raises:
            ProfileInvalid: no rows, or batches of which only some have a score or blocks.
        """
        summary = cls(kinds, segments, capacity)
        for batch in batches:
            summary.add(batch)
        if not summary.rows:
            raise ProfileInvalid("The table has no rows; a profile needs at least 1, better 1,000")
        return summary

    @property
    def scored(self) -> bool:
        """Whether rows have a score."""
        return self._scored

    def blocks(self) -> TimeBlocks:
        """Returns the blocks of time."""
        if not self._timed:
            return TimeBlocks.unknown()
        ids = np.array(list(self._block_rows), dtype=np.int64)
        return TimeBlocks.of(ids, np.array(list(self._block_rows.values()), dtype=np.int64))

    def add(self, batch: Batch) -> None:
        """Takes the next rows."""
        if not batch.rows:
            return
        have = batch.score is not None, batch.blocks is not None
        if self.rows and have != (self._scored, self._timed):
            raise ProfileInvalid("Only some batches have a score or block ids; give all or none")
        self._scored, self._timed = have
        ids, block = self._known(batch)
        rows = dict(batch.columns)
        if batch.score is not None:
            rows[SCORE_STREAM] = batch.score
        for name, column in rows.items():
            if name in self.categories:
                coded = code_column(column)
                self.categories[name].add(coded, ids, block)
                rows[name] = np.array([None, None, *coded.texts], dtype=object)[coded.codes]
            else:
                rows[name] = numbers = single(column)
                self.extremes.setdefault(name, Extremes()).add(numbers, ids, block)
                if name in self.values:
                    self.values[name].add(code_column(numbers), ids, block)
        if batch.blocks is not None:
            rows[BLOCKS] = batch.blocks
        self.sample.add(rows, batch.rows)
        self.rows += batch.rows

    def _known(self, batch: Batch) -> tuple[IntArray, IntArray]:
        """The ids of a batch, and the position of each row's id among them."""
        if batch.blocks is None:
            return np.zeros(1, dtype=np.int64), np.zeros(batch.rows, dtype=np.int64)
        ids, block, sizes = np.unique(batch.blocks, return_inverse=True, return_counts=True)
        for item, size in zip(ids.tolist(), sizes.tolist(), strict=True):
            self._block_rows[item] = self._block_rows.get(item, 0) + size
        return ids, block


class Categories:
    """The most frequent categories of a feature (Misra and Gries 1982), and where they occur.

    Attributes:
        counts: rows by category: exact, unless `pushed_out`.
        appearances: the blocks that each occurs in.
        pushed_out: whether there were too many to count all at once.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.appearances = Appearances()
        self.pushed_out = False

    def add(self, coded: CodedColumn, ids: IntArray, block: IntArray) -> None:
        """Takes rows [rows], the ids of their blocks, and each row's position among the ids."""
        present = coded.codes >= FIRST
        self.appearances.add(coded.codes[present] - FIRST, coded.texts, ids[block[present]])
        for text, count in zip(coded.texts, coded.counts.tolist(), strict=True):
            self.counts[text] = self.counts.get(text, 0) + count
        if len(self.counts) > MOST_CATEGORIES:
            self._push_out()

    def _push_out(self) -> None:
        self.pushed_out = True
        least = sorted(self.counts.values(), reverse=True)[MOST_CATEGORIES // 2]
        for text in [text for text, count in self.counts.items() if count <= least]:
            del self.counts[text]
            self.appearances.forget(text)
        self.counts = {text: count - least for text, count in self.counts.items()}
