"""An open-loop load generator: Poisson arrivals at a given rate, whatever the server does.

Latency counts from the moment a request was meant to be sent, so a server that stalls is charged
for every request that waited meanwhile (no coordinated omission). A request that finds no free
connection within the client's patience is given up and counted as unsent.
"""

import select
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.bench.closed_loop import Connections, LoadResult, summarize_load
from tests.bench.exchanges import GOOD, Exchange, Load

_SPIN_SECONDS = 100e-6
"""The kernel wakes a sleeper this late at worst: the rest of a wait is spent looking."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """How requests arrive.

    Attributes:
        rate: Requests per second.
        seconds: For how long.
        connections: Connections that may be busy at once.
        patience_seconds: How long a request waits for a free connection, and the last ones for
            their answers.
    """

    rate: float
    seconds: float
    connections: int = 64
    patience_seconds: float = 1.0


def run_arrivals(
    load: Load,
    arrivals: Arrivals,
    generator: np.random.Generator,
    on_second: Callable[[], None] | None = None,
) -> LoadResult:
    """Send a request at Poisson arrivals.

    Args:
        load: The request.
        arrivals: How they arrive.
        generator: Of the arrival times.
        on_second: Called about once a second; what it takes delays the arrivals.

    Raises:
        ConnectionError: The server closed connections again and again.
    """
    run = _Run(load, arrivals, generator)
    return run.drive(on_second)


class _Run:
    """One run: the arrivals still to come, the requests that wait, and the connections."""

    def __init__(self, load: Load, arrivals: Arrivals, generator: np.random.Generator) -> None:
        self._opened = Connections(load, arrivals.connections)
        self._patience = arrivals.patience_seconds
        self._seconds = arrivals.seconds
        count = int(arrivals.rate * arrivals.seconds * 1.2) + 100
        gaps = generator.exponential(1 / arrivals.rate, count)
        times = gaps.cumsum()
        self._times: list[float] = times[times < arrivals.seconds].tolist()
        self._next = 0
        self._idle: list[Exchange] = list(self._opened.all)
        self._waiting: deque[float] = deque()
        self._latencies: list[float] = []
        self._unsent = 0

    def drive(self, on_second: Callable[[], None] | None) -> LoadResult:
        """Send all arrivals and await their answers."""
        started = time.perf_counter()
        cpu = time.thread_time()
        tick = started + 1
        end = started + self._seconds + self._patience
        while True:
            now = time.perf_counter()
            self._send_due(started, now)
            busy = len(self._idle) < len(self._opened.all)
            if (self._next >= len(self._times) and not busy and not self._waiting) or now > end:
                break
            if on_second is not None and now >= tick:
                tick += 1
                on_second()
            self._await(started, now, end)
            self._receive()
        cpu = time.thread_time() - cpu
        unanswered = len(self._opened.all) - len(self._idle)
        self._opened.close()
        return summarize_load(
            self._latencies,
            self._opened.statuses,
            seconds=self._seconds,
            cpu=cpu,
            unsent=self._unsent + len(self._waiting) + unanswered,
        )

    def _send_due(self, started: float, now: float) -> None:
        times, waiting = self._times, self._waiting
        while self._next < len(times) and started + times[self._next] <= now:
            waiting.append(started + times[self._next])
            self._next += 1
        while waiting and now - waiting[0] > self._patience:
            waiting.popleft()
            self._unsent += 1
        while waiting and self._idle:
            exchange = self._idle.pop()
            try:
                exchange.send()
            except OSError as error:
                self._idle.append(self._opened.renew(exchange, error))
                continue
            exchange.started = waiting.popleft()

    def _await(self, started: float, now: float, end: float) -> None:
        due = started + self._times[self._next] if self._next < len(self._times) else end
        if self._waiting:  # nothing can be sent before an answer frees a connection
            due = min(due, self._waiting[0] + self._patience)
        pause = due - now - _SPIN_SECONDS
        if pause > 0:
            select.select([self._opened.poll], [], [], min(pause, 1.0))

    def _receive(self) -> None:
        for fd, _event in self._opened.poll.poll(0):
            exchange, status = self._opened.receive(fd)
            if status is None:
                continue
            self._opened.statuses[status] += 1
            if status == GOOD:
                self._latencies.append(time.perf_counter() - exchange.started)
            self._idle.append(exchange)
