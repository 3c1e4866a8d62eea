"""When the windows of a watch began: a detector counts windows, people read times. Pure.

Windows mostly follow each other without a gap, so the runs of such windows are remembered instead
of each window.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

MOST_RUNS = 512


@dataclass(frozen=True)
class Timeline:
    """Begins of windows by their index.

    Attributes:
        window: length of a window.
        runs: index and begin of the first window of each run, in order; the oldest of more than
            `MOST_RUNS` are forgotten.
    """

    window: timedelta
    runs: tuple[tuple[int, datetime], ...] = ()

    def plus(self, index: int, began: datetime) -> "Timeline":
        """The timeline with one more window."""
        expected = self.begin_of(index)
        if expected is not None and abs(began - expected) < self.window / 2:
            return self
        return Timeline(self.window, (*self.runs, (index, began))[-MOST_RUNS:])

    def begin_of(self, index: int) -> datetime | None:
        """When a window began; None for one that is not remembered."""
        for first, began in reversed(self.runs):
            if first <= index:
                return began + (index - first) * self.window
        return None


def minute(moment: datetime) -> str:
    """A time for a sentence: UTC, to the minute."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%MZ}"


def second(moment: datetime) -> str:
    """A time for a sentence: UTC, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
