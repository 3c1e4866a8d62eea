"""What a serving process has before and beside its model: state, heartbeat, counters, route."""

from dataclasses import dataclass

from mooring_model.python.process import ModelProcess
from mooring_serving.batching import Batcher
from mooring_serving.clock import Clock
from mooring_serving.counters import Counters
from mooring_serving.lifecycle import Lifecycle
from mooring_serving.limits import WorkLimits
from mooring_serving.log.counts import RowTotals
from mooring_serving.log.logs import PredictionLogs
from mooring_serving.recorder import Recorder
from mooring_serving.routing import Routes
from mooring_serving.settings import ServerSettings
from mooring_serving.workers.acceptor import TrafficGauges
from mooring_serving.workers.layout import (
    EVENT_OUTCOMES,
    EVENTS,
    HEARTBEAT_NS,
    LOG_CELLS,
    LOG_OUTCOMES,
    LOG_ROWS,
    LOGS,
    Cell,
)
from mooring_serving.workers.memory import SlotMemory

_BEAT_SECONDS = 0.5
_DEAD_AFTER_SECONDS = 60.0
"""A loop that did not turn for so long will not turn again; far above any single prediction."""


class Heartbeat:
    """How late an event loop is, as another thread or process sees it in the loop's slot."""

    interval_seconds = _BEAT_SECONDS

    def __init__(self, clock: Clock, memory: SlotMemory) -> None:
        self._clock = clock
        self._cells = memory.ints
        self.beat()

    def beat(self) -> None:
        """The loop turned."""
        self._cells[HEARTBEAT_NS] = int(self._clock.monotonic() * 1e9)

    @property
    def lag_seconds(self) -> float:
        """Seconds by which the next beat is late, 0 when it is not."""
        since = self._clock.monotonic() - self._cells[HEARTBEAT_NS] / 1e9
        return max(0.0, since - _BEAT_SECONDS)

    @property
    def alive(self) -> bool:
        """Whether the loop still turns."""
        return self.lag_seconds < _DEAD_AFTER_SECONDS


@dataclass(frozen=True, slots=True)
class Duties:
    """What comes with the model and has something to report."""

    recorder: Recorder
    logs: PredictionLogs
    batcher: Batcher
    process: ModelProcess | None
    """Of a model that is code."""


class Pod:
    """The memory of a serving process: everything that is counted here, whatever the model.

    Args:
        settings: The environment's settings.
        clock: Time.
        limits: Limits on work in hand.
        routes: The route in force.
        memory: The slot to count in; None: memory of this process alone.
    """

    def __init__(
        self,
        settings: ServerSettings,
        clock: Clock,
        limits: WorkLimits,
        *,
        routes: Routes,
        memory: SlotMemory | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.lifecycle = Lifecycle()
        self.counters = Counters(limits.phases, memory, clock=clock, cohorts=settings.cohorts)
        self.heartbeat = Heartbeat(clock, self.counters.memory)
        cells = self.counters.memory.ints
        self.traffic = TrafficGauges(
            cells[Cell.IN_FLIGHT : Cell.IN_FLIGHT + 1],
            cells[Cell.CONNECTIONS : Cell.CONNECTIONS + 1],
        )
        self.routes = routes
        self._duties: Duties | None = None
        self._logged = logged_before(self.counters.memory)
        self._events = [self.counters.memory.ints[at] for at in range(EVENTS.start, EVENTS.stop)]
        self._ends = self.counters.memory.ints[Cell.MODEL_ENDS]

    def adopt(self, duties: Duties) -> None:
        """The model is loaded."""
        self._duties = duties
        if duties.process is not None:
            process = duties.process
            self.lifecycle.watch(lambda: process.fault)

    def publish(self) -> None:
        """Bring the slot's gauges and the logs' rows up to date; from any thread."""
        duties, cells = self._duties, self.counters.memory.ints
        cells[Cell.READY] = self.lifecycle.ready
        if duties is None:
            return
        cells[Cell.PREDICTING] = duties.batcher.running
        cells[Cell.QUEUED] = duties.batcher.waiting
        if duties.process is not None:
            cells[Cell.MODEL_ENDS] = self._ends + duties.process.ends
        publish_log_rows(self.counters.memory, duties.logs, self._logged)
        events = duties.logs.event_counts()
        for offset, outcome in enumerate(EVENT_OUTCOMES):
            cells[EVENTS.start + offset] = self._events[offset] + getattr(events, outcome)

    def flush(self) -> None:
        """Count everything that was answered into the sketches."""
        if self._duties is not None:
            self._duties.recorder.flush()


def logged_before(memory: SlotMemory) -> list[list[int]]:
    """Rows that predecessors in this slot counted, for each log by outcome."""
    cells = memory.ints
    starts = range(LOG_ROWS.start, LOG_ROWS.stop, LOG_CELLS)
    return [[cells[start + at] for at in range(len(LOG_OUTCOMES))] for start in starts]


def publish_log_rows(memory: SlotMemory, logs: PredictionLogs, before: list[list[int]]) -> None:
    """Bring a slot's numbers of logged rows up to date.

    Args:
        memory: The slot.
        logs: The process' logs.
        before: What predecessors in the slot counted; not added where the logs' journals outlive
            their process and remember it themselves.
    """
    cells = memory.ints
    totals = logs.totals()
    for index, name in enumerate(LOGS):
        rows = totals.get(name, RowTotals())
        known = [0] * len(LOG_OUTCOMES) if logs.remembers else before[index]
        start = LOG_ROWS.start + index * LOG_CELLS
        for offset, outcome in enumerate(LOG_OUTCOMES):
            cells[start + offset] = known[offset] + getattr(rows, outcome)
        cells[start + len(LOG_OUTCOMES)] = rows.waiting
