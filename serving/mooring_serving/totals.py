"""Counts as they are read: one slot's, or the sum over all worker processes of the pod. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mooring_serving.arms import Arm, Outcome, ShadowOutcome
from mooring_serving.refusals import Refusal
from mooring_serving.workers.layout import (
    ARM_ANSWERS,
    ARM_LATENCY,
    ARM_SIZE,
    ARMS,
    BATCHES,
    COHORT_ENTRIES,
    COHORT_FLOATS,
    COHORT_PARTS,
    COHORT_SIZE,
    EVENT_OUTCOMES,
    EVENTS,
    FAULT_KINDS,
    FAULTS,
    FIRST_STATUS,
    FLOATS,
    FORWARDS,
    LABEL_ARMS,
    LABEL_SIZE,
    LATENCY,
    LATENCY_BOUNDS_MS,
    LATENCY_SUM_MS,
    LOG_CELLS,
    LOG_OUTCOMES,
    LOG_ROWS,
    LOGS,
    LOSS,
    REFUSED,
    SHADOWS,
    SQUARED_LOSS,
    STATUSES,
    SUMMED,
    ArmCell,
    Cell,
    CohortCell,
    Span,
    Table,
)
from mooring_serving.workers.memory import FloatArray, IntArray, SlotMemory
from mooring_serving.workers.tables import Entry, read_entries


@dataclass(frozen=True, slots=True)
class Totals:
    """The counts of one slot or the sum of several.

    Attributes:
        ints: The slots' whole numbers, int64 [SUMMED].
        floats: Their doubles, [FLOATS].
        phases: Counts of phases, the oldest first.
        labels: Losses of phases, the oldest first.
        cohorts: Counts by cohort, the oldest first.
    """

    ints: IntArray
    floats: FloatArray
    phases: Sequence[Entry]
    labels: Sequence[Entry]
    cohorts: Sequence[Entry]

    def __getitem__(self, cell: Cell) -> int:
        """One number."""
        return int(self.ints[cell])

    @property
    def requests(self) -> int:
        """Live requests that the model answered: each has a latency."""
        return int(self.ints[LATENCY.slice()].sum())

    @property
    def dropped_rows(self) -> int:
        """Rows that the recorder did not count."""
        return self[Cell.DROPPED_ROWS]

    @property
    def latency_counts(self) -> list[int]:
        """The latency's buckets."""
        return self._list(LATENCY)

    @property
    def latency_sum_ms(self) -> float:
        """Sum of the latencies in milliseconds."""
        return float(self.floats[LATENCY_SUM_MS - FLOATS.start])

    @property
    def batch_counts(self) -> list[int]:
        """Batches by their size in requests, in the buckets of `BATCH_BOUNDS`."""
        return self._list(BATCHES)

    @property
    def refusals(self) -> dict[int, int]:
        """Refused requests by status; those that occurred."""
        counts = self._list(STATUSES)
        return {FIRST_STATUS + index: count for index, count in enumerate(counts) if count}

    @property
    def refused(self) -> dict[Refusal, int]:
        """The same requests by reason."""
        return dict(zip(Refusal, self._list(REFUSED), strict=True))

    @property
    def faults(self) -> dict[str, int]:
        """Faults of the model by kind; those that occurred."""
        counts = zip(FAULT_KINDS, self._list(FAULTS), strict=True)
        return {kind: count for kind, count in counts if count}

    @property
    def forwards(self) -> dict[Outcome, int]:
        """Forwards by outcome."""
        return dict(zip(Outcome, self._list(FORWARDS), strict=True))

    @property
    def shadows(self) -> dict[ShadowOutcome, int]:
        """Mirrored requests by outcome."""
        return dict(zip(ShadowOutcome, self._list(SHADOWS), strict=True))

    @property
    def log_rows(self) -> dict[str, dict[str, int]]:
        """For each log its rows by outcome."""
        counts = self._list(LOG_ROWS)
        return {
            name: dict(zip(LOG_OUTCOMES, counts[start:], strict=False))
            for name, start in zip(LOGS, range(0, len(counts), LOG_CELLS), strict=True)
        }

    @property
    def events(self) -> dict[str, int]:
        """Payload events by outcome."""
        return dict(zip(EVENT_OUTCOMES, self._list(EVENTS), strict=True))

    @property
    def log_waiting(self) -> dict[str, int]:
        """For each log its rows in memory and on the pod's disk."""
        counts = self._list(LOG_ROWS)[len(LOG_OUTCOMES) :: LOG_CELLS]
        return dict(zip(LOGS, counts, strict=True))

    def to_json(self) -> dict[str, object]:
        """The counters' part of a snapshot (docs/contracts.md §4)."""
        losses = (LOSS - FLOATS.start, SQUARED_LOSS - FLOATS.start)
        return {
            "requests": self.requests,
            "rows": self[Cell.ROWS],
            "errors": self[Cell.ERRORS],
            "retiredAnswers": self[Cell.RETIRED_ANSWERS],
            "phases": {entry.name: _phase_to_json(entry) for entry in self.phases},
            "labels": {entry.name: _labels_to_json(entry) for entry in self.labels},
            "labelled": {
                "n": self[Cell.LABELLED_ROWS],
                "lossSum": float(self.floats[losses[0]]),
                "lossSquaredSum": float(self.floats[losses[1]]),
            },
            "labelsRejected": self[Cell.LABELS_REJECTED],
            "labelsDuplicate": self[Cell.LABELS_DUPLICATE],
            "cohorts": {entry.name: _cohort_to_json(entry) for entry in self.cohorts},
        }

    def _list(self, span: Span) -> list[int]:
        return self.ints[span.slice()].tolist()


def read_totals(memories: Sequence[SlotMemory]) -> Totals:
    """The sum of slots that have the same limit of phases; at least one."""
    limit = memories[0].layout.phases.entries
    ints = np.sum([memory.int_array[SUMMED.slice()] for memory in memories], axis=0)
    floats = np.sum([memory.float_array[FLOATS.slice()] for memory in memories], axis=0)
    return Totals(
        ints,
        floats,
        _merge(memories, lambda memory: memory.layout.phases, limit, _add_phases),
        _merge(memories, lambda memory: memory.layout.labels, limit, _add_labels),
        _merge(memories, lambda memory: memory.layout.cohorts, COHORT_ENTRIES, _add_cohorts),
    )


def _merge(
    memories: Sequence[SlotMemory],
    table_of: Callable[[SlotMemory], Table],
    limit: int,
    add: Callable[[Entry, Entry], Entry],
) -> list[Entry]:
    """Entries of the same name added; at most `limit`, the youngest."""
    merged: dict[str, Entry] = {}
    for memory in memories:
        for entry in read_entries(memory, table_of(memory)):
            known = merged.get(entry.name)
            merged[entry.name] = entry if known is None else add(known, entry)
    return sorted(merged.values(), key=lambda entry: entry.born)[-limit:]


def _add_phases(one: Entry, other: Entry) -> Entry:
    ints = one.ints + other.ints
    return Entry(one.name, max(one.born, other.born), ints, ints.view(float))


def _add_labels(one: Entry, other: Entry) -> Entry:
    """Rows are whole numbers, the two sums behind them doubles."""
    floats = one.floats + other.floats
    ints = floats.view(np.int64)
    rows = slice(0, None, LABEL_SIZE)
    ints[rows] = one.ints[rows] + other.ints[rows]
    return Entry(one.name, max(one.born, other.born), ints, floats)


def _add_cohorts(one: Entry, other: Entry) -> Entry:
    """In each part whole numbers first, then the two sums."""
    floats = one.floats + other.floats
    ints = floats.view(np.int64)
    whole = (COHORT_PARTS, COHORT_SIZE)
    ints.reshape(whole)[:, :COHORT_FLOATS] = (
        one.ints.reshape(whole)[:, :COHORT_FLOATS] + other.ints.reshape(whole)[:, :COHORT_FLOATS]
    )
    return Entry(one.name, max(one.born, other.born), ints, floats)


def _cohort_to_json(entry: Entry) -> dict[str, object]:
    decided: list[int] = entry.ints[CohortCell.TP : COHORT_FLOATS].tolist()
    document: dict[str, object] = {
        "rows": int(entry.ints[CohortCell.PREDICTED]),
        "n": int(entry.ints[CohortCell.LABELLED]),
        "lossSum": float(entry.floats[COHORT_FLOATS]),
        "lossSquaredSum": float(entry.floats[COHORT_FLOATS + 1]),
    }
    if any(decided):
        document["confusion"] = dict(zip(("tp", "fp", "fn", "tn"), decided, strict=True))
    starts = range(COHORT_SIZE, entry.ints.size, COHORT_SIZE)
    segments = {
        str(place): _segment_to_json(entry, start)
        for place, start in enumerate(starts)
        if entry.ints[start + CohortCell.PREDICTED] or entry.ints[start + CohortCell.LABELLED]
    }
    if segments:
        document["segments"] = segments
    return document


def _segment_to_json(entry: Entry, start: int) -> list[object]:
    """Bare numbers: there may be a thousand of these."""
    rows, labelled, *decided = entry.ints[start : start + COHORT_FLOATS].tolist()
    sums: list[float] = entry.floats[start + COHORT_FLOATS : start + COHORT_SIZE].tolist()
    return [rows, labelled, *sums, *decided]


def _phase_to_json(entry: Entry) -> dict[str, object]:
    return {
        arm.value: _arm_to_json(arm, entry.ints[index * ARM_SIZE : (index + 1) * ARM_SIZE])
        for index, arm in enumerate(ARMS)
    }


def _arm_to_json(arm: Arm, cells: IntArray) -> dict[str, object]:
    """Which of the counts mean something depends on the arm."""
    latency: list[int] = cells[ARM_LATENCY:ARM_ANSWERS].tolist()
    answers: list[int] = cells[ARM_ANSWERS:].tolist()
    document: dict[str, object] = {
        "requests": sum(latency) + int(cells[ArmCell.UNTIMED]),
        "rows": int(cells[ArmCell.ROWS]),
        "errors": int(cells[ArmCell.ERRORS]),
        "invalidOutputs": int(cells[ArmCell.INVALID]),
        "latencyMs": {"bounds": list(LATENCY_BOUNDS_MS), "counts": latency},
    }
    if any(answers):
        document["answers"] = answers
    if arm is Arm.CANDIDATE:
        fell_back, late = int(cells[ArmCell.FELL_BACK]), int(cells[ArmCell.LATE])
        document |= {"fellBack": fell_back, "late": late}
    if arm is Arm.SHADOW:
        document |= {
            "dropped": int(cells[ArmCell.DROPPED]),
            "disagreements": int(cells[ArmCell.DISAGREEMENTS]),
        }
    return document


def _labels_to_json(entry: Entry) -> dict[str, object]:
    return {
        arm.value: {
            "n": int(entry.ints[start]),
            "lossSum": float(entry.floats[start + 1]),
            "lossSquaredSum": float(entry.floats[start + 2]),
        }
        for arm, start in zip(LABEL_ARMS, range(0, entry.ints.size, LABEL_SIZE), strict=True)
    }


def cumulate(counts: list[int]) -> list[int]:
    """Running sums of bucket counts, as Prometheus histograms have them."""
    return np.cumsum(counts).tolist()
