"""Predictions and their labels by cohort: the stretch of time that the predictions are about.

Labels come late, and those that come soon are unlike the others; so a label counts in the cohort
of its prediction, whenever it comes, and the operator judges a cohort when it is old enough. Kept
in the slot's memory like all counts. A bounded number of cohorts; what lies further back than that,
or in the future, is in none.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mooring_serving.receipts import MAX_ROWS
from mooring_serving.row_segments import places_in
from mooring_serving.workers.layout import COHORT_FLOATS, COHORT_SIZE, CohortCell
from mooring_serving.workers.memory import SlotMemory
from mooring_serving.workers.tables import EntryTable

MOST_COHORTS = 64
"""Cohorts behind the newest one that still count."""
MOST_AHEAD_US = 3_600_000_000
"""How far ahead of this pod's clock a prediction's time may be: clocks differ. One far in the
future would make every cohort of today too old to count."""


@dataclass(frozen=True, slots=True)
class CohortRule:
    """How predictions are put into cohorts.

    Attributes:
        seconds: Length of a cohort, at least 1; cohorts begin at whole multiples of it since the
            epoch, so that all pods have the same.
        revision: The revision that predicts here.
        dated: Whether requests say which time they are about, which may be any.
    """

    seconds: int
    revision: str
    dated: bool = False

    def index(self, event_time_us: int) -> int:
        """Which cohort a time belongs to."""
        return event_time_us // (self.seconds * 1_000_000)

    def name(self, revision: str, index: int) -> str:
        """Key of a cohort in a snapshot: revision and begin in seconds since the epoch."""
        return f"{revision}/{index * self.seconds}"


@dataclass(frozen=True, slots=True)
class PredictedRows:
    """Rows of an answered request.

    Attributes:
        event_time_us: The time that they are about, in microseconds since the epoch.
        rows: How many.
        segments: For each row the segments that it is in; empty: none.
    """

    event_time_us: int
    rows: int
    segments: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """A row whose label came.

    Attributes:
        loss: In [0, 1].
        decided: `TP`, `FP`, `FN` or `TN` of a binary model, else None.
        segments: The segments that it is in.
    """

    loss: float
    decided: CohortCell | None = None
    segments: int = 0


class CohortCounts:
    """Counts by cohort; safe for any thread.

    Args:
        memory: The slot.
        rule: How predictions are put into cohorts.
        monotonic: Monotonic seconds.
    """

    def __init__(
        self, memory: SlotMemory, rule: CohortRule, *, monotonic: Callable[[], float]
    ) -> None:
        self._ints, self._floats = memory.ints, memory.floats
        self._rule = rule
        self._table = EntryTable(memory, memory.layout.cohorts, monotonic=monotonic)
        self._newest = 0
        self._lock = threading.Lock()

    def count_predicted(self, answered: Sequence[PredictedRows]) -> None:
        """Answered requests.

        Those whose receipts carry no values are left out: no label of theirs can be compared.
        """
        rows_of: dict[tuple[int, int], int] = {}
        for request in answered:
            if request.rows <= MAX_ROWS:
                index = self._rule.index(request.event_time_us)
                for segments in request.segments:
                    rows_of[index, segments] = rows_of.get((index, segments), 0) + 1
                rest = request.rows - len(request.segments)
                if rest:
                    rows_of[index, 0] = rows_of.get((index, 0), 0) + rest
        with self._lock:
            for (index, segments), rows in rows_of.items():
                place = self._place(self._rule.revision, index)
                if place is not None:
                    for part in _parts(place, segments):
                        self._ints[part + CohortCell.PREDICTED] += rows

    def count_labelled(
        self,
        revision: str,
        event_time_us: int,
        rows: Sequence[LabelledRow],
        *,
        now_us: int,
    ) -> None:
        """The labelled rows of one receipt.

        Args:
            revision: That predicted. Segments of another than this pod's are not told apart: they
                are numbered by its own profile.
            event_time_us: The time that the prediction is about.
            rows: Those that have a label; none are no news.
            now_us: Wall clock: nothing was predicted after it, unless clients say the time.
        """
        index = self._rule.index(event_time_us)
        if not rows or (not self._rule.dated and index > self._rule.index(now_us)):
            return
        own = revision == self._rule.revision
        with self._lock:
            place = self._place(revision, index)
            if place is None:
                return
            ints, floats = self._ints, self._floats
            for row in rows:
                for part in _parts(place, row.segments if own else 0):
                    ints[part + CohortCell.LABELLED] += 1
                    if row.decided is not None:
                        ints[part + row.decided] += 1
                    floats[part + COHORT_FLOATS] += row.loss
                    floats[part + COHORT_FLOATS + 1] += row.loss * row.loss

    def _place(self, revision: str, index: int) -> int | None:
        """First cell of a cohort's body; None for one that is too far back."""
        self._newest = max(self._newest, index)
        if index <= self._newest - MOST_COHORTS:
            return None
        return self._table.place(self._rule.name(revision, index))


def _parts(place: int, segments: int) -> Iterator[int]:
    """First cells of what a row counts in: all rows, and each of its segments."""
    yield place
    for segment in places_in(segments):
        yield place + (1 + segment) * COHORT_SIZE
