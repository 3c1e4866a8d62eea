"""The counts over time in bounded memory, so that before and after can be shown."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mooring_profile.fields import IntArray

MAX_BUCKETS = 512


@dataclass
class History:
    """Counts of consecutive windows in at most `MAX_BUCKETS` buckets, each of as many windows.

    Attributes:
        windows_a_bucket: doubled whenever the buckets run out.
    """

    windows_a_bucket: int
    _buckets: list[npt.NDArray[np.int64]]
    _in_last: int

    @classmethod
    def empty(cls) -> "History":
        """A history of no windows."""
        return cls(1, [], 1)

    def add(self, cells: IntArray) -> None:
        """Adds a window's counts, int64 [cells]."""
        if self._in_last < self.windows_a_bucket:
            self._buckets[-1] = self._buckets[-1] + cells
            self._in_last += 1
            return
        if len(self._buckets) == MAX_BUCKETS:
            self._buckets = [
                first + second
                for first, second in zip(self._buckets[::2], self._buckets[1::2], strict=True)
            ]
            self.windows_a_bucket *= 2
        self._buckets.append(cells.copy())
        self._in_last = 1

    def buckets(self) -> IntArray:
        """The counts, int64 [buckets, cells]."""
        return np.array(self._buckets, dtype=np.int64)

    def since(self, window: int) -> IntArray:
        """The counts from about a window on (from 0), int64 [cells]; the last bucket at least."""
        first = min(-(-window // self.windows_a_bucket), len(self._buckets) - 1)
        return self.buckets()[first:].sum(axis=0)
