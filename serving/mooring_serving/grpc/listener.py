"""The gRPC port: admission, deadlines, drain."""

import asyncio
import logging
import socket
from collections.abc import Callable

from mooring_serving.errors import RequestRefused
from mooring_serving.grpc.call import Call
from mooring_serving.grpc.connection import Connection
from mooring_serving.limits import GrpcLimits
from mooring_serving.port import Port
from mooring_serving.refusals import Refusal
from mooring_serving.workers.acceptor import Crowding, TrafficGauges

_LOG = logging.getLogger(__name__)


class GrpcListener:
    """One port. Made on the event loop that serves it.

    Args:
        handler: Answers a complete call, at once or later; raises `RequestRefused` at once.
        limits: Limits of connections and calls.
        monotonic: Monotonic seconds.
        draw: Uniform draws in [0, 1), so that connections do not all end at the same time.
        on_refusal: Called with the HTTP status and the reason of each refused call.
        traffic: Kept at what is in hand, of all listeners that share it.
    """

    def __init__(
        self,
        handler: Callable[[Call], None],
        limits: GrpcLimits,
        *,
        monotonic: Callable[[], float],
        draw: Callable[[], float],
        on_refusal: Callable[[int, Refusal], None],
        traffic: TrafficGauges,
    ) -> None:
        self.handler = self._answers = handler
        self.limits = limits
        self.monotonic = monotonic
        self.draining = False
        self._open_calls = 0
        self._traffic = traffic
        self.waiting_bytes = 0
        self._draw = draw
        self._on_refusal = on_refusal
        self._port: Port[Connection] = Port(
            self._connect, traffic.connections, most=limits.grpc_connections, tick=_no_tick
        )

    async def open(self, host: str, port: int) -> int:
        """Start accepting; returns the port (an ephemeral one when `port` is 0).

        Raises:
            OSError: The port cannot be opened.
        """
        return await self._port.open(host, port)

    def share(self, listening: socket.socket, crowding: Crowding) -> None:
        """Start accepting from a socket that other processes accept from too."""
        self._port.share(listening, crowding)

    @property
    def connections(self) -> int:
        """Open connections."""
        return self._port.count

    @property
    def open_calls(self) -> int:
        """Calls that were begun and whose answers are not written."""
        return self._open_calls

    @open_calls.setter
    def open_calls(self, count: int) -> None:
        self._traffic.in_flight[0] += count - self._open_calls
        self._open_calls = count

    def refuse_work(self, count: Callable[[], None] | None) -> None:
        """Refuse each call with UNAVAILABLE and `count` it, or (None) answer as usual again."""
        if count is None:
            self.handler = self._answers
            return

        def refuse(_: Call) -> None:
            count()
            raise RequestRefused(
                "the server is above its memory limit; retry later",
                status=503,
                retry_after=1,
                reason=Refusal.MEMORY,
            )

        self.handler = refuse

    def _connect(self) -> Connection:
        age = self.limits.grpc_age_seconds * (0.9 + 0.2 * self._draw())
        return Connection(self, asyncio.get_running_loop(), age_seconds=age)

    # --- what connections call

    def opened(self, connection: Connection) -> bool:
        """Admit a connection; False when there are too many."""
        admitted = self._port.admit(connection)
        if not admitted:
            self._on_refusal(503, Refusal.TOO_MANY_CONNECTIONS)
        return admitted

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._port.forget(connection)

    def refused(self, refusal: RequestRefused) -> None:
        """Count a call that is answered with a status other than OK."""
        self._on_refusal(refusal.status, refusal.reason)

    def broke(self, call: Call, error: Exception) -> None:
        """Log a handler that broke: a defect of ours."""
        _LOG.error("%s failed", call.head.path[:200], exc_info=error)

    # --- ending

    def start_draining(self) -> None:
        """Send clients elsewhere, without losing a call; go on accepting.

        A connection that is opened from now on ends with its first answer.
        """
        self.draining = True
        for connection in self._port.connections:
            connection.leave()

    def stop_accepting(self) -> None:
        """Accept what already waits in a shared socket's queue, and nothing more."""
        self._port.stop_accepting()

    async def close(self, seconds: float) -> int:
        """Stop accepting, let calls in hand finish within `seconds`, then drop what is left.

        Returns:
            Calls that were dropped unanswered.
        """
        self.draining = True
        return await self._port.close(seconds, Connection.leave)


def _no_tick() -> None:
    """Nothing changes with the second."""
