"""Batching: which waiting requests are predicted together, when, and where. Owned by the loop.

Nobody waits while the model is idle, unless a wait was asked for: what arrived in one turn of the
event loop is one batch, and what arrives while batches run on the threads is the next. So batches
grow with the load and a lone request pays nothing. Quick batches run on the loop, since handing one
to a thread costs 35 µs; long ones on threads, where they do not delay other requests.
"""

import asyncio
import logging
import math
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mooring_serving.clock import Clock
from mooring_serving.counters import Counters
from mooring_serving.dataplane import Dataplane, Predicted, Ticket
from mooring_serving.errors import DeadlineExceeded, ModelFault, Overloaded

_LOG = logging.getLogger(__name__)

_BATCH_MS = 20.0
"""What a batch may take where its rows are not set: those that wait behind it wait so long."""
_BATCH_ROWS = range(64, 4097)
"""Fewer rows gain too little, more gain nothing."""


@dataclass(frozen=True, slots=True)
class PredictionCost:
    """What a prediction takes: `base_ms + rows * row_ms`, both measured at warm-up."""

    base_ms: float
    row_ms: float
    inline: bool = True
    """Whether it may run on the event loop at all."""

    def milliseconds(self, rows: int) -> float:
        """Expected time of a batch."""
        return self.base_ms + rows * self.row_ms

    def batch_rows(self) -> int:
        """Rows that are worth a batch of this model."""
        if self.row_ms <= 0:
            return _BATCH_ROWS[-1]
        fitting = int((_BATCH_MS - self.base_ms) / self.row_ms)
        return min(_BATCH_ROWS[-1], max(_BATCH_ROWS[0], fitting))


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """How requests are put together.

    Attributes:
        max_rows: Rows of a batch; a single request may have more.
        max_wait_seconds: How long a batch may wait for more requests; 0: it does not.
        max_queue: Requests that may wait; more are refused with 503.
        max_queue_rows: Rows that may wait, likewise.
        deadline_seconds: A request that waited for longer is answered 504 and not predicted.
        inline_ms: Batches expected to take less run on the event loop.
    """

    max_rows: int
    max_wait_seconds: float
    max_queue: int
    max_queue_rows: int
    deadline_seconds: float
    inline_ms: float


def thread_count() -> int:
    """Inference threads: the cores that this process may use, at most 4 (they share the GIL)."""
    return max(1, min(4, len(os.sched_getaffinity(0))))


class Batcher:
    """Collects tickets into batches and has them predicted.

    Args:
        dataplane: Predicts and finishes batches.
        cost: What a prediction takes here.
        settings: How requests are put together.
        threads: Threads for long batches.
        counters: Counts what is shed and what comes too late.
        clock: Time.
    """

    def __init__(
        self,
        dataplane: Dataplane,
        cost: PredictionCost,
        settings: BatchSettings,
        *,
        threads: int,
        counters: Counters,
        clock: Clock,
    ) -> None:
        self._dataplane = dataplane
        self._cost = cost
        self._settings = settings
        self._threads = threads
        self._counters = counters
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="inference")
        self._waiting: deque[Ticket] = deque()
        self._waiting_rows = 0
        self._running = 0
        self._running_rows = 0
        self._flush_due: asyncio.Handle | None = None

    @property
    def waiting(self) -> int:
        """Requests that wait for a batch."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Batches that run on the threads."""
        return self._running

    def submit(self, ticket: Ticket) -> None:
        """Have a ticket predicted, or settle it with `Overloaded` when too much waits already."""
        rows = ticket.query.request.rows
        settings = self._settings
        # A server where nothing waits takes any request, however large the request is.
        if self._waiting and (
            len(self._waiting) >= settings.max_queue
            or self._waiting_rows + rows > settings.max_queue_rows
        ):
            self._shed(ticket)
            return
        self._waiting.append(ticket)
        self._waiting_rows += rows
        full = self._waiting_rows >= settings.max_rows
        if self._flush_due is None:
            if full or settings.max_wait_seconds <= 0:
                self._flush_due = self._loop.call_soon(self._flush)
            else:
                self._flush_due = self._loop.call_later(settings.max_wait_seconds, self._flush)
        elif full and isinstance(self._flush_due, asyncio.TimerHandle):
            self._flush_due.cancel()
            self._flush_due = self._loop.call_soon(self._flush)

    def _shed(self, ticket: Ticket) -> None:
        self._counters.count_shed()
        rows = self._waiting_rows + self._running_rows
        seconds = rows * self._cost.row_ms / 1000
        ticket.settle(
            Overloaded(
                f"{len(self._waiting)} requests of {self._waiting_rows} rows wait for the model "
                f"(at most {self._settings.max_queue} and {self._settings.max_queue_rows}); "
                "retry later",
                retry_after=max(1, math.ceil(seconds)),
            )
        )

    def _flush(self) -> None:
        """Predict what waits, as far as there is somebody to do it."""
        self._flush_due = None
        while self._waiting:
            rows = self._waiting[0].query.request.rows
            inline = self._runs_inline(rows)
            if not inline and self._running >= self._threads:
                return  # the end of a running batch comes back here
            tickets, rows = self._take(inline=inline)
            if not tickets:
                continue
            if inline:
                self._dataplane.finish(tickets, self._predict(tickets))
            else:
                self._start(tickets, rows)

    def _take(self, *, inline: bool) -> tuple[list[Ticket], int]:
        """The next batch, without those that waited too long, and its rows."""
        settings, waiting = self._settings, self._waiting
        latest = self._clock.monotonic() - settings.deadline_seconds
        tickets: list[Ticket] = []
        rows = 0
        while waiting:
            ticket = waiting[0]
            query = ticket.query
            more = rows + query.request.rows
            if tickets and (
                more > settings.max_rows
                or (inline and self._cost.milliseconds(more) > settings.inline_ms)
            ):
                break
            waiting.popleft()
            self._waiting_rows -= query.request.rows
            if query.received_at < latest or self._gave_up(ticket):
                self._expire(ticket)
                continue
            tickets.append(ticket)
            rows = more
        return tickets, rows

    def _runs_inline(self, rows: int) -> bool:
        cost = self._cost
        return cost.inline and cost.milliseconds(rows) <= self._settings.inline_ms

    def _gave_up(self, ticket: Ticket) -> bool:
        deadline = ticket.query.deadline_at
        return deadline is not None and deadline < self._clock.monotonic()

    def _expire(self, ticket: Ticket) -> None:
        self._counters.count_late()
        seconds = self._clock.monotonic() - ticket.query.received_at
        ticket.settle(
            DeadlineExceeded(f"the request waited {seconds:.1f} s and was not predicted; retry")
        )

    def _predict(self, tickets: list[Ticket]) -> Predicted:
        try:
            return self._dataplane.predict(tickets)
        except Exception as error:  # noqa: BLE001 - last line of defence: a defect costs one batch
            _LOG.exception("a batch of %d requests failed", len(tickets))
            fault = ModelFault(f"internal error: {type(error).__name__}; the log has the cause")
            return Predicted([fault] * len(tickets))

    def _start(self, tickets: list[Ticket], rows: int) -> None:
        """Predict a batch on a thread and finish it on the loop."""
        self._running += 1
        self._running_rows += rows
        future = self._loop.run_in_executor(self._executor, self._predict, tickets)

        def finish(done: "asyncio.Future[Predicted]") -> None:
            self._running -= 1
            self._running_rows -= rows
            self._dataplane.finish(tickets, done.result())
            if self._waiting and self._flush_due is None:
                self._flush_due = self._loop.call_soon(self._flush)

        future.add_done_callback(finish)

    def stop(self) -> None:
        """End the threads after what runs."""
        self._executor.shutdown(wait=False, cancel_futures=True)
