"""Whether this process is alive and ready, in words that a person finds in the probe's answer."""

import asyncio
from datetime import timedelta

from mooring_operator.io.clock import Clock
from mooring_operator.io.http_server import Answer
from mooring_operator.metrics import CONTENT_TYPE, OperatorMetrics
from mooring_operator.reconcile.resync import Resync
from mooring_operator.reconcile.streams import Streams

_LAG_LOOK_SECONDS = 1.0


class Health:
    """Answers /livez, /readyz and /metrics."""

    def __init__(
        self,
        streams: Streams,
        resync: Resync,
        clock: Clock,
        metrics: OperatorMetrics,
        *,
        patience: timedelta,
    ) -> None:
        self._streams, self._resync = streams, resync
        self._clock, self._metrics = clock, metrics
        self._patience = patience.total_seconds()
        self.stopping = False
        """Set when the process is about to end: not ready any more."""

    def livez(self) -> Answer:
        """503 when a stream is blind. A stuck event loop does not answer at all."""
        blind = self._streams.blind(self._patience)
        if blind:
            return Answer(503, f"blind watch streams: {', '.join(blind)}\n".encode())
        return Answer(200, b"ok\n")

    def readyz(self) -> Answer:
        """200 once every kind was listed and until the process stops."""
        if self.stopping:
            return Answer(503, b"stopping\n")
        if not self._resync.complete:
            return Answer(503, b"the first complete list is not there yet\n")
        return Answer(200, b"ok\n")

    def metrics(self) -> Answer:
        """What Prometheus scrapes."""
        return Answer(200, self._metrics.exposition(), CONTENT_TYPE)

    async def watch_lag(self) -> None:
        """Measures how late the event loop is, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LAG_LOOK_SECONDS
            await self._clock.sleep(_LAG_LOOK_SECONDS)
            self._metrics.loop_lag.set(max(0.0, loop.time() - due))
