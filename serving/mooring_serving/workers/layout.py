"""The layout of a worker's slot: which 8-byte cell means what. Pure.

A slot is an array of 8-byte cells, whole numbers or doubles. The first part (`SUMMED`) is added
cell by cell over all slots, the doubles after it likewise; tables of phases are merged by name.
A cell is written by its worker alone and is never torn: one aligned store of 8 bytes.
"""

from dataclasses import dataclass
from enum import IntEnum

from mooring_profile.segments import MOST_SEGMENTS
from mooring_serving.arms import Arm, Outcome, ShadowOutcome
from mooring_serving.refusals import Refusal

LATENCY_BOUNDS_MS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)
"""Upper bounds in milliseconds; the eleventh bucket has no bound."""
BATCH_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Upper bounds in requests of a batch; the ninth bucket has no bound."""
FAULT_KINDS = ("ModelFault", "InvalidOutput", "other")
"""Names of a model's faults; one that is not listed counts as `other`."""
FIRST_STATUS, LAST_STATUS = 400, 599
"""Statuses of refusals."""
LOGS = ("predictions", "labels")
"""Logs whose rows are published."""


class Cell(IntEnum):
    """Whole numbers of a slot. Cumulative, but for those that say that they are gauges."""

    ROWS = 0
    """Rows of answered live requests; the requests themselves are the latency's buckets."""
    ERRORS = 1
    """Live requests on which the model failed."""
    DROPPED_ROWS = 2
    """Rows that the recorder did not count."""
    LABELS_REJECTED = 3
    LABELS_DUPLICATE = 4
    LABELLED_ROWS = 5
    BATCHED_REQUESTS = 6
    BATCHED_ROWS = 7
    SHED = 8
    """Requests refused since too much work waited."""
    LATE = 9
    """Requests whose deadline passed before the model got to them."""
    OVER_MEMORY = 10
    """Requests refused since the process was above its memory limit."""
    DEATHS = 11
    """Workers of this slot that ended without having been told to (written by the supervisor)."""
    REQUESTS_LOST = 12
    """Requests that those had begun to answer (written by the supervisor)."""
    CONNECTIONS_LOST = 13
    """Connections that were open at those deaths (written by the supervisor)."""
    REPLACED = 14
    """Workers of this slot replaced for their memory (written by the supervisor)."""
    IN_FLIGHT = 15
    """Gauge: requests received whose answers are not yet with the kernel."""
    CONNECTIONS = 16
    """Gauge: open connections of clients and other pods."""
    PREDICTING = 17
    """Gauge: predictions that run or wait on the inference threads."""
    QUEUED = 18
    """Gauge: requests that wait for a batch."""
    MEMORY = 19
    """Gauge: resident memory that no other process shares, in bytes."""
    REFUSING = 20
    """Gauge: 1 while above the memory limit."""
    READY = 21
    """Gauge: 1 while the worker accepts and answers."""
    MODEL_ENDS = 22
    """Ends of the model's own process that nobody asked for (format python)."""
    RETIRED_ANSWERS = 23
    """Requests of clients that the model answered although the pod was retired."""


LOG_OUTCOMES = ("written", "recovered", "dropped", "lost", "sampled_out")
"""What became of a log's rows (`mooring_serving.log.counts`)."""
EVENT_OUTCOMES = ("sent", "failed", "dropped", "sampled_out")
"""What became of payload events (`mooring_serving.log.event_sender`)."""
LOG_CELLS = len(LOG_OUTCOMES) + 1
"""Rows of a log by outcome, and those waiting (a gauge)."""


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive cells."""

    start: int
    size: int

    @property
    def stop(self) -> int:
        """The cell behind the last one."""
        return self.start + self.size

    def after(self, size: int) -> "Span":
        """The span of `size` cells behind this one."""
        return Span(self.stop, size)

    def slice(self) -> slice:
        """For indexing."""
        return slice(self.start, self.stop)


LATENCY = Span(len(Cell), len(LATENCY_BOUNDS_MS) + 1)
BATCHES = LATENCY.after(len(BATCH_BOUNDS) + 1)
STATUSES = BATCHES.after(LAST_STATUS - FIRST_STATUS + 1)
FORWARDS = STATUSES.after(len(Outcome))
SHADOWS = FORWARDS.after(len(ShadowOutcome))
FAULTS = SHADOWS.after(len(FAULT_KINDS))
REFUSED = FAULTS.after(len(Refusal))
LOG_ROWS = REFUSED.after(len(LOGS) * LOG_CELLS)
EVENTS = LOG_ROWS.after(len(EVENT_OUTCOMES))
SUMMED = Span(0, EVENTS.stop)
"""All whole numbers that are added over the slots."""

FLOATS = SUMMED.after(3)
"""Doubles that are added over the slots."""
LATENCY_SUM_MS, LOSS, SQUARED_LOSS = range(FLOATS.start, FLOATS.stop)

_SINGLE = FLOATS.after(2)
HEARTBEAT_NS, ROUTE_SEEN = range(_SINGLE.start, _SINGLE.stop)
"""Monotonic time of the loop's last turn, and the last sequence of the route that was taken."""


class ArmCell(IntEnum):
    """Whole numbers of one arm in one phase; buckets of latency and bins of answers follow."""

    UNTIMED = 0
    """Requests without a latency; the others are the latency's buckets."""
    ROWS = 1
    ERRORS = 2
    INVALID = 3
    FELL_BACK = 4
    LATE = 5
    DROPPED = 6
    DISAGREEMENTS = 7


ARM_LATENCY = len(ArmCell)
ARM_ANSWERS = ARM_LATENCY + LATENCY.size
"""Answered rows by bin of the score."""
ANSWER_BINS = 16
ARM_SIZE = ARM_ANSWERS + ANSWER_BINS
ARMS = tuple(Arm)
LABEL_ARMS = (Arm.STABLE, Arm.CANDIDATE)
LABEL_SIZE = 3
"""Rows (a whole number), sum of losses and of their squares (doubles)."""


class CohortCell(IntEnum):
    """Whole numbers of one cohort; two doubles follow them."""

    PREDICTED = 0
    """Rows of answered live requests."""
    LABELLED = 1
    TP = 2
    """Labelled rows of a binary model by decision and label; so are the next three."""
    FP = 3
    FN = 4
    TN = 5


COHORT_FLOATS = len(CohortCell)
"""Sum of losses and of their squares (doubles)."""
COHORT_SIZE = COHORT_FLOATS + 2
COHORT_PARTS = 1 + MOST_SEGMENTS
"""The same of all rows, then of those of each segment of the profile."""
COHORT_ENTRIES = 128
"""Cohorts of all revisions that a slot keeps."""

NAME_BYTES = 96
"""Longest name of a phase, in bytes."""
BORN, NAME_LENGTH, NAME = 0, 1, 2
"""Head of an entry: monotonic nanoseconds of its making (0: free), and its name."""
HEAD = NAME + NAME_BYTES // 8


@dataclass(frozen=True, slots=True)
class Table:
    """Entries of equal size, each with a head and a body."""

    start: int
    entries: int
    body: int

    @property
    def size(self) -> int:
        """Cells of an entry."""
        return HEAD + self.body

    @property
    def stop(self) -> int:
        """The cell behind the table."""
        return self.start + self.entries * self.size

    def places(self) -> range:
        """First cell of each entry."""
        return range(self.start, self.stop, self.size)


@dataclass(frozen=True, slots=True)
class SlotLayout:
    """Where things are in a slot.

    Attributes:
        phases: Counts by phase and arm.
        labels: Losses by phase and arm.
        cohorts: Predictions and losses by revision and time.
    """

    phases: Table
    labels: Table
    cohorts: Table

    @classmethod
    def of(cls, phase_limit: int) -> "SlotLayout":
        """The layout for so many phases."""
        phases = Table(_SINGLE.stop, phase_limit, len(ARMS) * ARM_SIZE)
        labels = Table(phases.stop, phase_limit, len(LABEL_ARMS) * LABEL_SIZE)
        return cls(phases, labels, Table(labels.stop, COHORT_ENTRIES, COHORT_PARTS * COHORT_SIZE))

    @property
    def cells(self) -> int:
        """All cells of a slot."""
        return self.cohorts.stop


@dataclass(frozen=True, slots=True)
class SketchLayout:
    """Where a worker's sketches are, in memory of their own: their size depends on the model.

    Attributes:
        sketch: Cells of a profile's sketches.
    """

    sketch: int

    def bank(self, index: int) -> Span:
        """One of two places: rows sketched, then all cells."""
        return Span(1 + index * (self.sketch + 1), self.sketch + 1)

    @property
    def cells(self) -> int:
        """The cell that says how often they were published, and both banks."""
        return self.bank(1).stop
