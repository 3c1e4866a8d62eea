"""What the pod counts.

All counts are cumulative since the pod's boot and live in a slot's memory (`workers.memory`), this
process' own or one that the supervisor reads too and that outlives this process. One lock guards
the writes: the event loop counts, and the inference threads count faults. Readers take no lock.
"""

import threading
from bisect import bisect_left
from collections.abc import Sequence

from mooring_profile.duplicates import IdSample
from mooring_serving.arms import Arm, Outcome, ShadowOutcome
from mooring_serving.clock import Clock
from mooring_serving.cohorts import CohortCounts, CohortRule
from mooring_serving.refusals import Refusal, reason_of
from mooring_serving.totals import Totals, read_totals
from mooring_serving.workers.layout import (
    ARM_ANSWERS,
    ARM_LATENCY,
    ARM_SIZE,
    ARMS,
    BATCH_BOUNDS,
    BATCHES,
    FAULT_KINDS,
    FAULTS,
    FIRST_STATUS,
    FORWARDS,
    LABEL_ARMS,
    LABEL_SIZE,
    LAST_STATUS,
    LATENCY,
    LATENCY_BOUNDS_MS,
    LATENCY_SUM_MS,
    LOSS,
    REFUSED,
    SHADOWS,
    SQUARED_LOSS,
    STATUSES,
    ArmCell,
    Cell,
    SlotLayout,
)
from mooring_serving.workers.memory import SlotMemory
from mooring_serving.workers.tables import EntryTable

Answered = tuple[int, float, str | None]
"""An answered request: its rows, milliseconds inside this server, and its phase (see
`Counters.count_answer`)."""

# On the hot path members of an enumeration cost 30 ns more than numbers.
_LATENCY = LATENCY.start
_ROWS = int(Cell.ROWS)
_ARM_ROWS = int(ArmCell.ROWS)
_ARMS = {arm: index * ARM_SIZE for index, arm in enumerate(ARMS)}
_FORWARDS = {outcome: FORWARDS.start + index for index, outcome in enumerate(Outcome)}
_SHADOWS = {outcome: SHADOWS.start + index for index, outcome in enumerate(ShadowOutcome)}
_FAULTS = {kind: FAULTS.start + index for index, kind in enumerate(FAULT_KINDS)}
_REFUSED = {reason: REFUSED.start + index for index, reason in enumerate(Refusal)}


class Counters:
    """The process' counters. Every method may be called from any thread.

    Args:
        phase_limit: Phases kept; the oldest is dropped.
        memory: The slot to count in, which may hold counts already; None: memory of our own.
        clock: Time; orders phases by age. None: the system's.
        cohorts: How predictions are put into cohorts; None: they are not.

    Attributes:
        cohorts: Counts by cohort; None where there are none.
    """

    def __init__(
        self,
        phase_limit: int,
        memory: SlotMemory | None = None,
        *,
        clock: Clock | None = None,
        cohorts: CohortRule | None = None,
    ) -> None:
        self.memory = memory or SlotMemory.own(SlotLayout.of(phase_limit))
        self._ints = self.memory.ints
        self._floats = self.memory.floats
        self._lock = threading.Lock()
        self._labelled = IdSample()
        layout, monotonic = self.memory.layout, (clock or Clock()).monotonic
        self._phases = EntryTable(self.memory, layout.phases, monotonic=monotonic)
        self._labels = EntryTable(self.memory, layout.labels, monotonic=monotonic)
        self.cohorts = (
            None if cohorts is None else CohortCounts(self.memory, cohorts, monotonic=monotonic)
        )

    def count_answer(
        self, *, rows: int, milliseconds: float, phase: str | None, arm: Arm = Arm.STABLE
    ) -> None:
        """A live request answered by our own model.

        Args:
            rows: Its rows.
            milliseconds: Time inside this server.
            phase: The phase when this pod owns the outcome, else None.
            arm: The arm that it owns it for.
        """
        bucket = bisect_left(LATENCY_BOUNDS_MS, milliseconds)
        ints = self._ints
        with self._lock:
            ints[_ROWS] += rows
            ints[_LATENCY + bucket] += 1
            self._floats[LATENCY_SUM_MS] += milliseconds
            if phase is not None:
                place = self._arm(phase, arm)
                ints[place + _ARM_ROWS] += rows
                ints[place + ARM_LATENCY + bucket] += 1

    def count_answers(self, batch: Sequence[Answered], arm: Arm = Arm.STABLE) -> None:
        """Several of one arm at once: one lock, few writes for what they have in common."""
        ints, offset = self._ints, _ARMS[arm]
        counts: dict[int, int] = {}
        all_rows = 0
        all_ms = 0.0
        with self._lock:
            for rows, milliseconds, phase in batch:
                bucket = bisect_left(LATENCY_BOUNDS_MS, milliseconds)
                all_rows += rows
                all_ms += milliseconds
                counts[bucket] = counts.get(bucket, 0) + 1
                if phase is not None:
                    place = self._phases.place(phase) + offset
                    ints[place + _ARM_ROWS] += rows
                    ints[place + ARM_LATENCY + bucket] += 1
            ints[_ROWS] += all_rows
            for bucket, count in counts.items():
                ints[_LATENCY + bucket] += count
            self._floats[LATENCY_SUM_MS] += all_ms

    def count_batch(self, requests: int, rows: int) -> None:
        """A batch that the model predicted at once."""
        ints = self._ints
        with self._lock:
            ints[BATCHES.start + bisect_left(BATCH_BOUNDS, requests)] += 1
            ints[Cell.BATCHED_REQUESTS] += requests
            ints[Cell.BATCHED_ROWS] += rows

    def count_shed(self) -> None:
        """A request refused since too much work waited (its status is counted apart)."""
        self._add(Cell.SHED)

    def count_late(self) -> None:
        """A request whose deadline passed before the model got to it."""
        self._add(Cell.LATE)

    def count_over_memory(self) -> None:
        """A request refused since the process is above its memory limit."""
        self._add(Cell.OVER_MEMORY)

    def count_retired_answer(self) -> None:
        """A client's request that our own model answered although this pod is retired."""
        self._add(Cell.RETIRED_ANSWERS)

    def count_dropped_rows(self, rows: int) -> None:
        """Rows that the recorder will not count."""
        self._add(Cell.DROPPED_ROWS, rows)

    def count_fault(
        self, *, kind: str, invalid: bool, phase: str | None, arm: Arm = Arm.STABLE
    ) -> None:
        """A live request on which our own model failed; phase and arm as of an answer."""
        ints = self._ints
        with self._lock:
            ints[Cell.ERRORS] += 1
            ints[_FAULTS.get(kind, FAULTS.stop - 1)] += 1
            if phase is not None:
                place = self._arm(phase, arm)
                ints[place + ArmCell.UNTIMED] += 1
                ints[place + ArmCell.ERRORS] += 1
                ints[place + ArmCell.INVALID] += invalid

    def count_refusal(self, status: int, reason: Refusal | None = None) -> None:
        """A request that was answered with a 4xx or 5xx that is not the model's.

        Args:
            status: The status.
            reason: Why; None: the status' usual reason.
        """
        known = min(max(status, FIRST_STATUS), LAST_STATUS)
        with self._lock:
            self._ints[STATUSES.start + known - FIRST_STATUS] += 1
            self._ints[_REFUSED[reason or reason_of(status)]] += 1

    def count_forward(
        self, outcome: Outcome, *, rows: int, milliseconds: float | None, phase: str | None
    ) -> None:
        """A forward and how it ended; one that blames nobody is counted in the metrics only.

        Args:
            outcome: How it ended.
            rows: Rows of the request.
            milliseconds: Time inside the server that answered, None without a usable answer.
            phase: The phase, None when nothing is analysed (a retired pod).
        """
        ints = self._ints
        with self._lock:
            ints[_FORWARDS[outcome]] += 1
            if phase is None or not outcome.blames:
                return
            arm = self._arm(phase, Arm.CANDIDATE)
            self._count_in_arm(arm, rows, milliseconds)
            if outcome is not Outcome.ANSWERED:
                ints[arm + ArmCell.ERRORS] += 1
                ints[arm + ArmCell.FELL_BACK] += 1
                ints[arm + ArmCell.LATE] += outcome is Outcome.LATE
                ints[arm + ArmCell.INVALID] += outcome is Outcome.INVALID

    def count_shadow(
        self,
        outcome: Outcome,
        *,
        rows: int,
        milliseconds: float | None,
        disagreements: int,
        phase: str,
    ) -> None:
        """A mirrored request, how it ended, and in how many rows the answers differ."""
        ints = self._ints
        answered = outcome is Outcome.ANSWERED
        agreed = ShadowOutcome.DISAGREED if disagreements else ShadowOutcome.AGREED
        with self._lock:
            ints[_SHADOWS[agreed if answered else ShadowOutcome.FAILED]] += 1
            if not outcome.blames:
                return
            arm = self._arm(phase, Arm.SHADOW)
            self._count_in_arm(arm, rows, milliseconds)
            ints[arm + ArmCell.ERRORS] += not answered
            ints[arm + ArmCell.INVALID] += outcome is Outcome.INVALID
            ints[arm + ArmCell.DISAGREEMENTS] += disagreements

    def count_shadow_drop(self, phase: str) -> None:
        """A request that was not mirrored since the queue was full."""
        with self._lock:
            self._ints[_SHADOWS[ShadowOutcome.DROPPED]] += 1
            self._ints[self._arm(phase, Arm.SHADOW) + ArmCell.DROPPED] += 1

    def count_answers_by_bin(self, phase: str, arm: Arm, counts: Sequence[int]) -> None:
        """Answered rows of an arm by bin of the score, at most `ANSWER_BINS`."""
        ints = self._ints
        with self._lock:
            place = self._arm(phase, arm) + ARM_ANSWERS
            for at, count in enumerate(counts, place):
                ints[at] += count

    def count_label(self, losses: list[float], *, phase: str | None, arm: Arm) -> None:
        """The losses of one receipt's rows; empty when the receipt carries no predictions."""
        loss, squared = sum(losses), sum(loss * loss for loss in losses)
        ints, floats = self._ints, self._floats
        with self._lock:
            ints[Cell.LABELLED_ROWS] += len(losses)
            floats[LOSS] += loss
            floats[SQUARED_LOSS] += squared
            if phase is None or arm not in LABEL_ARMS:
                return
            place = self._labels.place(phase) + LABEL_ARMS.index(arm) * LABEL_SIZE
            ints[place] += len(losses)
            floats[place + 1] += loss
            floats[place + 2] += squared

    def sample_label(self, receipt_id: str) -> None:
        """A receipt whose label was counted: another pod may be told of it too."""
        with self._lock:
            self._labelled.add(int(receipt_id, 16))

    def label_sample(self) -> list[str]:
        """Some of the receipts whose labels were counted (`mooring_profile.duplicates`)."""
        with self._lock:
            return [f"{number:016x}" for number in self._labelled.read()]

    def count_label_rejected(self) -> None:
        """A label that could not be used."""
        self._add(Cell.LABELS_REJECTED)

    def count_label_duplicate(self) -> None:
        """A second label of a receipt."""
        self._add(Cell.LABELS_DUPLICATE)

    def read(self) -> Totals:
        """All counts until now."""
        with self._lock:
            return read_totals([self.memory])

    def to_json(self) -> dict[str, object]:
        """The counters' part of a snapshot."""
        return self.read().to_json()

    def _add(self, cell: int, count: int = 1) -> None:
        with self._lock:
            self._ints[cell] += count

    def _count_in_arm(self, arm: int, rows: int, milliseconds: float | None) -> None:
        ints = self._ints
        ints[arm + ArmCell.ROWS] += rows
        if milliseconds is None:
            ints[arm + ArmCell.UNTIMED] += 1
        else:
            ints[arm + ARM_LATENCY + bisect_left(LATENCY_BOUNDS_MS, milliseconds)] += 1

    def _arm(self, phase: str, arm: Arm) -> int:
        return self._phases.place(phase) + _ARMS[arm]
