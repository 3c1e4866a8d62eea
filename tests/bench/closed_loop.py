"""A closed-loop load generator on raw sockets and epoll, for loopback only.

It sends one fixed request over N connections, each sending its next request as soon as its answer
is complete, and records every latency. What it costs itself is measured with every run
(`LoadResult.generator_us`), so that a run which the generator bounded is seen as such.
"""

import select
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.bench.exchanges import GOOD, Exchange, HttpLoad, Load, build_request

__all__ = ["HttpLoad", "LoadResult", "build_request", "run_load"]

CLOSED = 0
"""Status that stands for a connection which the server closed."""
_CLOSED_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What a run measured.

    Attributes:
        requests: Requests that were answered, well or badly.
        statuses: Answers by status; `CLOSED` counts connections that the server closed.
        seconds: Length of the run.
        p50_ms: Median latency of good answers, None when there was none.
        p99_ms: 99th percentile of the same.
        generator_us: CPU time of the generator for each request, µs.
        generator_share: CPU time of the generator by the run's length: near 1 it is the bottleneck.
        unsent: Requests that found no free connection in time (open loop only).
    """

    requests: int
    statuses: Mapping[int, int]
    seconds: float
    p50_ms: float | None
    p99_ms: float | None
    generator_us: float
    generator_share: float
    unsent: int = 0

    @property
    def good(self) -> int:
        """Good answers."""
        return self.statuses.get(GOOD, 0)

    @property
    def failures(self) -> int:
        """Everything but good answers."""
        return sum(self.statuses.values()) - self.good

    @property
    def rate(self) -> float:
        """Good answers per second."""
        return self.good / self.seconds


def percentile_ms(latencies: Sequence[float], share: float) -> float | None:
    """A percentile of latencies in seconds, in milliseconds; the sequence must be sorted."""
    if not latencies:
        return None
    return latencies[min(len(latencies) - 1, int(len(latencies) * share))] * 1e3


def summarize_load(
    latencies: list[float],
    statuses: Mapping[int, int],
    *,
    seconds: float,
    cpu: float,
    unsent: int = 0,
) -> LoadResult:
    """The result of a run from its raw measurements (seconds)."""
    latencies.sort()
    requests = sum(statuses.values())
    return LoadResult(
        requests=requests,
        statuses=dict(statuses),
        seconds=seconds,
        p50_ms=percentile_ms(latencies, 0.5),
        p99_ms=percentile_ms(latencies, 0.99),
        generator_us=cpu / max(1, requests) * 1e6,
        generator_share=cpu / seconds,
        unsent=unsent,
    )


class Connections:
    """The open connections of a run; one that the server closes is opened again and counted."""

    def __init__(self, load: Load, count: int) -> None:
        self._load = load
        self.poll = select.epoll()
        self._by_fd: dict[int, Exchange] = {}
        self.statuses: Counter[int] = Counter()
        self.all = [self._open() for _ in range(count)]

    def _open(self) -> Exchange:
        exchange = self._load.connect()
        self._by_fd[exchange.fileno()] = exchange
        self.poll.register(exchange.fileno(), select.EPOLLIN)
        return exchange

    def receive(self, fd: int) -> tuple[Exchange, int | None]:
        """The connection of a descriptor and the status of its answer, None when incomplete.

        Raises:
            ConnectionError: The server has closed too many connections.
        """
        exchange = self._by_fd[fd]
        try:
            return exchange, exchange.receive()
        except OSError as error:
            return self.renew(exchange, error), CLOSED

    def renew(self, exchange: Exchange, error: OSError) -> Exchange:
        """A new connection in the place of one that the server closed."""
        if self.statuses[CLOSED] > _CLOSED_LIMIT:
            raise ConnectionError(
                f"the server closed {_CLOSED_LIMIT} connections under load"
            ) from error
        self._by_fd.pop(exchange.fileno())
        exchange.close()
        return self._open()

    def close(self) -> None:
        """Close all."""
        for exchange in self._by_fd.values():
            exchange.close()
        self.poll.close()


def run_load(load: Load, *, connections: int, seconds: float) -> LoadResult:
    """Drive a request at a loopback port.

    Args:
        load: The request.
        connections: Concurrent connections.
        seconds: How long to send.

    Raises:
        ConnectionError: The server closed connections again and again.
    """
    opened = Connections(load, connections)
    latencies: list[float] = []
    statuses = opened.statuses
    for exchange in opened.all:
        exchange.send()
    started = now = time.perf_counter()
    cpu = time.thread_time()
    while now - started < seconds:
        for fd, _event in opened.poll.poll(1.0):
            exchange, status = opened.receive(fd)
            if status is None:
                continue
            statuses[status] += 1
            if status == GOOD:
                latencies.append(time.perf_counter() - exchange.started)
            exchange.send()
        now = time.perf_counter()
    cpu = time.thread_time() - cpu
    opened.close()
    return summarize_load(latencies, statuses, seconds=now - started, cpu=cpu)
