"""What a stream counts, chosen from the reference before it is counted: edges or categories.

Made from a whole column by `build`, from a summary in bounded memory by `streaming`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mooring_profile.feature import FeatureKind
from mooring_profile.novelty import InnerRange

FEATURE_BINS = 30
SCORE_BINS = 64
TOP_CATEGORIES = 62
SEGMENT_BINS = 15
"""Segments are many and their rows few."""
SEGMENT_TOP_CATEGORIES = 30
SEGMENT_OTHER_CATEGORIES = 256
MAX_OTHER_CATEGORIES = 4096
"""Rarer categories than these are not listed; their share counts as expected unseen."""


@dataclass(frozen=True)
class NumericShape:
    """Of ordered values.

    Attributes:
        edges: of the bins, see `FeatureProfile`.
        inner: see `InnerRange`; None without enough blocks of time.
    """

    edges: tuple[float, ...]
    inner: InnerRange | None
    kind = FeatureKind.NUMERIC


@dataclass(frozen=True)
class CategoricalShape:
    """Of unordered values.

    Attributes:
        top: the categories with a bin of their own, most frequent first.
        other: those that share the last bin.
        novel: those that occur in one block of time only; None without enough blocks.
        once: share of the rows whose category occurs in no other row.
    """

    top: tuple[str, ...]
    other: tuple[str, ...]
    novel: frozenset[str] | None
    once: float
    kind = FeatureKind.CATEGORICAL

    @classmethod
    def of(cls, counts: Mapping[str, int], novel: frozenset[str] | None) -> "CategoricalShape":
        """Ranks categories by their rows, equal ones by their text."""
        ranked = ranked_categories(counts)
        return cls(
            top=ranked[:TOP_CATEGORIES],
            other=ranked[TOP_CATEGORIES : TOP_CATEGORIES + MAX_OTHER_CATEGORIES],
            novel=novel,
            once=sum(1 for count in counts.values() if count == 1) / max(1, sum(counts.values())),
        )


def ranked_categories(counts: Mapping[str, int]) -> tuple[str, ...]:
    """Returns categories by their rows, equal ones by their text."""
    return tuple(sorted(counts, key=lambda text: (-counts[text], text)))


Shape = NumericShape | CategoricalShape


def with_threshold(edges: tuple[float, ...], threshold: float | None) -> tuple[float, ...]:
    """Returns edges of a score that contain the decision threshold, in single precision.

    The rows at or above it are then a sum of whole bins.
    """
    if threshold is None or not edges:
        return edges
    return tuple(sorted({*edges, float(np.float32(threshold))}))
