"""Predictions and their labels by cohort: the stretch of time that the predictions are about.

Labels come late, and those that come soon are unlike the others; so a label counts in the cohort
of its prediction, whenever it comes, and the operator judges a cohort when it is old enough. Kept
in the slot's memory like all counts. A bounded number of cohorts; what lies further back than that,
or in the future, is in none.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mooring_serving.receipts import MAX_ROWS
from mooring_serving.workers.layout import COHORT_FLOATS, CohortCell
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
class Decisions:
    """Labelled rows of a binary model by what was decided and what came true."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0


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

    def count_predicted(self, answered: Sequence[tuple[int, int]]) -> None:
        """Answered requests: the time that each is about in microseconds, and its rows.

        Requests whose receipts carry no values are left out: no label of theirs can be compared.
        """
        rows_of: dict[int, int] = {}
        for event_time_us, rows in answered:
            if rows <= MAX_ROWS:
                index = self._rule.index(event_time_us)
                rows_of[index] = rows_of.get(index, 0) + rows
        with self._lock:
            for index, rows in rows_of.items():
                place = self._place(self._rule.revision, index)
                if place is not None:
                    self._ints[place + CohortCell.PREDICTED] += rows

    def count_labelled(
        self,
        revision: str,
        event_time_us: int,
        losses: Sequence[float],
        decisions: Decisions | None,
        *,
        now_us: int,
    ) -> None:
        """The labelled rows of one receipt.

        Args:
            revision: That predicted.
            event_time_us: The time that the prediction is about.
            losses: Of the rows that have a label; none are no news.
            decisions: Of a binary model.
            now_us: Wall clock: nothing was predicted after it, unless clients say the time.
        """
        index = self._rule.index(event_time_us)
        if not losses or (not self._rule.dated and index > self._rule.index(now_us)):
            return
        with self._lock:
            place = self._place(revision, index)
            if place is None:
                return
            ints, floats = self._ints, self._floats
            ints[place + CohortCell.LABELLED] += len(losses)
            if decisions is not None:
                ints[place + CohortCell.TP] += decisions.tp
                ints[place + CohortCell.FP] += decisions.fp
                ints[place + CohortCell.FN] += decisions.fn
                ints[place + CohortCell.TN] += decisions.tn
            floats[place + COHORT_FLOATS] += sum(losses)
            floats[place + COHORT_FLOATS + 1] += sum(loss * loss for loss in losses)

    def _place(self, revision: str, index: int) -> int | None:
        """First cell of a cohort's body; None for one that is too far back."""
        self._newest = max(self._newest, index)
        if index <= self._newest - MOST_COHORTS:
            return None
        return self._table.place(self._rule.name(revision, index))
