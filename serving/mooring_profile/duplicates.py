"""How many labels were counted more than once, from samples of what each counter was told.

A label that is sent to two pods counts twice, and neither pod can know. Each keeps the `SIZE`
smallest of the random ids that it counted (bottom-k; Cohen and Kaplan 2007, PODC). Below the
smallest k-th id of all counters every sample is complete, so the ids there are a sample of all
labels by id: how often each is counted shows. Pure.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappush, heappushpop

SIZE = 256
"""Ids that a sample keeps: a share of duplicates of 10 % is known to 2 points."""


@dataclass(frozen=True)
class Duplicates:
    """What samples say.

    Attributes:
        distinct: labels in the sample.
        counted: how often they were counted in all.
        squares: sum of the squares of how often each was.
    """

    distinct: int = 0
    counted: int = 0
    squares: int = 0

    @property
    def share(self) -> float:
        """Share of the counts that should not be; 0 without labels."""
        return 1 - self.distinct / self.counted if self.counted else 0.0

    @property
    def multiplicity(self) -> float:
        """Counts a label, >= 1."""
        return self.counted / self.distinct if self.distinct else 1.0

    @property
    def design_effect(self) -> float:
        """Counts that weigh as one independent row (Kish 1965, Survey Sampling), >= 1."""
        return self.squares / self.counted if self.counted else 1.0


class IdSample:
    """The smallest ids that were added; not safe for concurrent use."""

    def __init__(self) -> None:
        self._largest_first: list[int] = []

    def add(self, number: int) -> None:
        """Takes an id, a random number; one that is added again counts again."""
        if len(self._largest_first) < SIZE:
            heappush(self._largest_first, -number)
        elif number < -self._largest_first[0]:
            heappushpop(self._largest_first, -number)

    def read(self) -> list[int]:
        """Returns the sample, the smallest first."""
        return sorted(-number for number in self._largest_first)


def find_duplicates(samples: Iterable[Iterable[int]]) -> Duplicates:
    """Compares the samples of counters that should have counted different labels.

    Args:
        samples: one a counter, as `IdSample.read` gives them.
    """
    read = [sorted(sample) for sample in samples]
    full = [sample[SIZE - 1] for sample in read if len(sample) >= SIZE]
    limit = min(full, default=None)
    times = Counter(
        number for sample in read for number in sample if limit is None or number <= limit
    )
    return Duplicates(
        distinct=len(times),
        counted=sum(times.values()),
        squares=sum(count * count for count in times.values()),
    )
