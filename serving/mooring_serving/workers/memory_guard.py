"""Keeps a process below its memory limit: no new work above it, an end when it stays there."""

from collections.abc import Callable
from enum import StrEnum

from mooring_serving.counters import Counters
from mooring_serving.workers.layout import Cell

HOPELESS_SECONDS = 30.0
"""A process that was above its limit for so long will not come down by itself."""
_RELIEF = 0.95
"""Work is taken again below this share of the limit, so that it does not flutter."""


class Pressure(StrEnum):
    """How much memory a process has, against its limit."""

    NONE = "None"
    """Below it, or there is no limit."""
    REFUSING = "Refusing"
    """Above it: new work is refused."""
    HOPELESS = "Hopeless"
    """Above it for long: the process should be replaced."""


class MemoryGuard:
    """Judges the process' own memory at each beat. Owned by the event loop.

    Args:
        limit: Bytes, None for no limit.
        counters: Takes the gauges.
        measure: Reads the process' own memory in bytes.
        on_change: Called with whether new work must be refused, when that changes.
    """

    def __init__(
        self,
        limit: int | None,
        counters: Counters,
        *,
        measure: Callable[[], int],
        on_change: Callable[[bool], None],
    ) -> None:
        self._limit = limit
        self._cells = counters.memory.ints
        self._measure = measure
        self._on_change = on_change
        self._above_since: float | None = None

    @property
    def refusing(self) -> bool:
        """Whether new work must be refused."""
        return self._above_since is not None

    def check(self, now: float) -> Pressure:
        """Measure and judge at monotonic time `now`."""
        taken = self._measure()
        self._cells[Cell.MEMORY] = taken
        if self._limit is None:
            return Pressure.NONE
        if self._above_since is None:
            if taken > self._limit:
                self._above_since = now
                self._tell()
        elif taken < self._limit * _RELIEF:
            self._above_since = None
            self._tell()
        if self._above_since is None:
            return Pressure.NONE
        hopeless = now - self._above_since >= HOPELESS_SECONDS
        return Pressure.HOPELESS if hopeless else Pressure.REFUSING

    def _tell(self) -> None:
        self._cells[Cell.REFUSING] = self.refusing
        self._on_change(self.refusing)
