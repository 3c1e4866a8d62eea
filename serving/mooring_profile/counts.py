"""Counts of one feature: exact integers that add, subtract and travel as JSON.

This is the only shape in which data leaves a pod (docs/contracts.md §2). A count never forgets a
row: each value is in exactly one of the bins or the five named cells.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mooring_profile.errors import CountsInvalid
from mooring_profile.fields import Fields, IntArray

NAMED_CELLS = ("missing", "unseen", "below", "above", "invalid")
"""The cells that follow the bins in a flat array of counts, in this order."""


@dataclass(frozen=True, eq=False)
class FeatureCounts:
    """How many rows fell where.

    Attributes:
        bins: int64 [bins], rows per bin of the feature's profile (for a categorical feature the
            last bin holds the known categories that have no bin of their own).
        missing: rows without a value (None or NaN).
        unseen: rows with a category that the reference does not know.
        below: rows below the first edge.
        above: rows at or above the last edge.
        invalid: rows whose value is infinite, not a number or not text.
    """

    bins: IntArray
    missing: int = 0
    unseen: int = 0
    below: int = 0
    above: int = 0
    invalid: int = 0

    def __post_init__(self) -> None:
        bins = np.array(self.bins, dtype=np.int64)
        bins.setflags(write=False)
        object.__setattr__(self, "bins", bins)

    @classmethod
    def empty(cls, bins: int) -> "FeatureCounts":
        """Returns counts of no rows over `bins` bins."""
        return cls(np.zeros(bins, dtype=np.int64))

    @classmethod
    def from_cells(cls, cells: IntArray) -> "FeatureCounts":
        """Builds counts from a flat int64 array: the bins, then `NAMED_CELLS`."""
        named = [int(value) for value in cells[-len(NAMED_CELLS) :]]
        return cls(cells[: -len(NAMED_CELLS)], *named)

    def cells(self) -> IntArray:
        """Returns the counts as one flat int64 array: the bins, then `NAMED_CELLS`."""
        named = (self.missing, self.unseen, self.below, self.above, self.invalid)
        return np.concatenate([self.bins, np.array(named, dtype=np.int64)])

    @property
    def rows(self) -> int:
        """All rows counted."""
        return self.present + self.missing + self.invalid

    @property
    def present(self) -> int:
        """Rows with a usable value, whether in the reference's range or not."""
        return int(self.bins.sum()) + self.unseen + self.below + self.above

    def merge(self, other: "FeatureCounts") -> "FeatureCounts":
        """Adds two counts; commutative, associative, exact."""
        self._must_fit(other)
        return FeatureCounts.from_cells(self.cells() + other.cells())

    def subtract(self, other: "FeatureCounts") -> "FeatureCounts":
        """Takes an earlier cumulative count away.

        Raises:
            CountsInvalid: a cell would become negative, so `other` is not an earlier count of the
                same source: start again from this snapshot.
        """
        self._must_fit(other)
        cells = self.cells() - other.cells()
        if (cells < 0).any():
            raise CountsInvalid(
                "The later counts are below the earlier ones, so they come from another source or "
                "a restarted one; take the later counts as they are."
            )
        return FeatureCounts.from_cells(cells)

    def to_json(self) -> dict[str, object]:
        """Returns the shape of docs/contracts.md §2."""
        return {
            "bins": self.bins.tolist(),
            "missing": self.missing,
            "unseen": self.unseen,
            "below": self.below,
            "above": self.above,
            "invalid": self.invalid,
        }

    @classmethod
    def from_json(
        cls, document: Mapping[str, object] | object, where: str = "counts"
    ) -> "FeatureCounts":
        """Reads the shape of docs/contracts.md §2.

        Raises:
            CountsInvalid: a field is absent or not a whole number >= 0.
        """
        fields = Fields.of(document, where, CountsInvalid)
        return cls(fields.counts("bins"), *(fields.count(name) for name in NAMED_CELLS))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FeatureCounts):
            return NotImplemented
        return np.array_equal(self.cells(), other.cells())

    def _must_fit(self, other: "FeatureCounts") -> None:
        if self.bins.shape != other.bins.shape:
            raise CountsInvalid(
                f"Counts over {self.bins.size} and {other.bins.size} bins cannot be combined; "
                "combine only counts made with the same reference profile."
            )
