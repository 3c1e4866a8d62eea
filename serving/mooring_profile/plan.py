"""What to profile, and the batches that a table comes in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mooring_profile.binning import Column
from mooring_profile.errors import ProfileInvalid
from mooring_profile.feature import CLASS_STREAM, SCORE_STREAM, FeatureKind
from mooring_profile.fields import IntArray


@dataclass(frozen=True)
class ProfilePlan:
    """What a profile has beyond the features and the score of all rows.

    Attributes:
        segments: features by whose most frequent values rows are counted apart as well.
        least_segment_rows: rows of the reference that a segment needs; with fewer its own error
            would hide whatever happens.
        threshold: of the score, when rows are decided by one: it becomes an edge.
        multivariate: whether the reconstruction error of the numeric features is watched.
        self_test: whether the reference is replayed to find the streams that may not alarm;
            needs at least 5 blocks of time.
    """

    segments: Sequence[str] = ()
    least_segment_rows: int = 1000
    threshold: float | None = None
    multivariate: bool = False
    self_test: bool = False


@dataclass(frozen=True, eq=False)
class Batch:
    """Consecutive rows of a table.

    Attributes:
        columns: a column [rows] per feature, and `@class` where the model chooses one of several.
        score: the model's output [rows]; None where there is none.
        blocks: int64 [rows], the block of time of each row; None where time is not known.
    """

    columns: Mapping[str, Column]
    score: Column | None = None
    blocks: IntArray | None = None

    @classmethod
    def of(
        cls,
        columns: Mapping[str, Column],
        kinds: Mapping[str, FeatureKind],
        score: Column | None,
        blocks: Column | None,
    ) -> "Batch":
        """Takes columns [rows] or [rows, 1], and only those of `kinds`.

        Raises:
            ProfileInvalid: columns of different lengths, a feature without a column, one with the
                name of the score, or block ids that are not integers.
        """
        absent = [name for name in kinds if name not in columns]
        if absent:
            raise ProfileInvalid(f"The table has no column for {absent}; it has {sorted(columns)}")
        if any(name.startswith("@") for name in kinds if name != CLASS_STREAM):
            raise ProfileInvalid(
                f"A feature may not be named {SCORE_STREAM!r} or begin with '@'; rename the column"
            )
        sizes = {name: columns[name].size for name in kinds}
        if score is not None:
            sizes["score"] = score.size
        if blocks is not None:
            sizes["blocks"] = blocks.size
            if blocks.dtype.kind not in "iu":
                raise ProfileInvalid(
                    f"Block ids are {blocks.dtype}; number the blocks with integers"
                )
        if len(set(sizes.values())) > 1:
            raise ProfileInvalid(f"Columns differ in rows: {sizes}")
        return cls(
            {name: columns[name].reshape(-1) for name in kinds},
            None if score is None else score.reshape(-1),
            None if blocks is None else blocks.reshape(-1).astype(np.int64),
        )

    @property
    def rows(self) -> int:
        """How many."""
        parts = [*self.columns.values(), *(() if self.score is None else (self.score,))]
        return parts[0].size if parts else 0
