"""Counts of a log's rows that outlive the process: eight integers in a mapped file.

A store into the map reaches the page cache at once, without a system call, so that the numbers of
a killed process are there for its successor, which can then tell exactly how many rows were lost.
"""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

_SLOTS = 8
_SIZE = 8 * _SLOTS
_OFFERED, _DROPPED, _SAMPLED_OUT, _LOST = range(4)
_SHIPPED = struct.Struct("<qqq")
_SHIPPED_AT = 4 * 8


@dataclass(frozen=True, slots=True)
class RowTotals:
    """Rows of one log by what became of them, since the pod began.

    `offered` = `written` + `recovered` + `dropped` + `lost` + `waiting`. `sampled_out` is apart.

    Attributes:
        offered: Rows that were to be logged.
        written: In the store, by the process that answered them.
        recovered: In the store, by a successor of the process that answered them.
        dropped: Not logged: a queue was full, the disk failed, or the pod's disk ends with it.
        lost: Not logged: the process was killed before they were in its journal.
        sampled_out: Not to be logged, by `sample`.
        waiting: In memory or on the pod's disk, on their way.
    """

    offered: int = 0
    written: int = 0
    recovered: int = 0
    dropped: int = 0
    lost: int = 0
    sampled_out: int = 0

    @property
    def waiting(self) -> int:
        """See the class."""
        return self.offered - self.written - self.recovered - self.dropped - self.lost

    def __add__(self, other: "RowTotals") -> "RowTotals":
        return RowTotals(
            self.offered + other.offered,
            self.written + other.written,
            self.recovered + other.recovered,
            self.dropped + other.dropped,
            self.lost + other.lost,
            self.sampled_out + other.sampled_out,
        )


class RowCounts:
    """The mapped file. Each number has one writer at a time; the callers see to that."""

    def __init__(self, path: Path) -> None:
        with path.open("a+b") as file:
            file.truncate(_SIZE)
            self._map = mmap.mmap(file.fileno(), _SIZE)
        self._view = memoryview(self._map).cast("q")
        self.offered = self._view[_OFFERED]
        """Written through `offer`; read back only at the start."""

    def offer(self, rows: int) -> None:
        """Rows came; the caller holds the log's lock."""
        self.offered += rows
        self._view[_OFFERED] = self.offered

    def drop(self, rows: int) -> None:
        """Rows were dropped; the caller holds the log's lock."""
        self._view[_DROPPED] += rows

    def sample_out(self, rows: int) -> None:
        """Rows are not to be logged; the caller holds the log's lock."""
        self._view[_SAMPLED_OUT] += rows

    def lose(self, rows: int) -> None:
        """Rows of a killed process were lost."""
        self._view[_LOST] += rows

    @property
    def shipped_number(self) -> int:
        """The number of the last segment that was counted as written or recovered."""
        return self._shipped()[2]

    def ship(self, rows: int, number: int, *, recovered: bool) -> None:
        """Segment `number` is in the store. One copy of 24 bytes: a kill finds all or nothing."""
        written, again, _ = self._shipped()
        if recovered:
            again += rows
        else:
            written += rows
        packed = _SHIPPED.pack(written, again, number)
        self._map[_SHIPPED_AT : _SHIPPED_AT + _SHIPPED.size] = packed

    def read(self) -> RowTotals:
        """The totals now. Consistent enough for a scrape: nothing is counted twice."""
        written, recovered, _ = self._shipped()
        return RowTotals(
            offered=self._view[_OFFERED],
            written=written,
            recovered=recovered,
            dropped=self._view[_DROPPED],
            lost=self._view[_LOST],
            sampled_out=self._view[_SAMPLED_OUT],
        )

    def _shipped(self) -> tuple[int, int, int]:
        written, recovered, number = _SHIPPED.unpack_from(self._map, _SHIPPED_AT)
        return written, recovered, number
