"""A listening socket and its connections: admission, deadlines, drain."""

import asyncio
import email.utils
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from mooring_serving.http.connection import Connection, Handler
from mooring_serving.http.incoming import BodyMemory
from mooring_serving.http.message import HttpRequest, HttpResponse, Pending, error_response
from mooring_serving.limits import HttpLimits
from mooring_serving.port import Port
from mooring_serving.refusals import Refusal
from mooring_serving.workers.acceptor import Crowding, TrafficGauges

_LOG = logging.getLogger(__name__)


class Listener:
    """One port. Made on the event loop that serves it.

    Args:
        handler: Answers a request, at once or as an awaitable.
        limits: Limits of connections and messages.
        wall_seconds: Wall clock in seconds since the epoch, for the `Date` header.
        on_refusal: Called with status and reason of what no handler answered, for the metrics.
        traffic: Kept at what is in hand, of all listeners that share it.
        skip_abandoned: Look whether the sender still waits before answering it; it costs two turns
            of the event loop.
    """

    def __init__(
        self,
        handler: Handler,
        limits: HttpLimits,
        *,
        wall_seconds: Callable[[], float],
        on_refusal: Callable[[int, Refusal], None],
        traffic: TrafficGauges,
        skip_abandoned: bool,
    ) -> None:
        self.handler = handler
        self.limits = limits
        self.draining = False
        self.skip_abandoned = skip_abandoned
        self.in_flight = traffic.in_flight
        self.date = b""
        self._wall_seconds = wall_seconds
        self.memory = BodyMemory(limits.pending_body_bytes)
        self._on_refusal = on_refusal
        self._answers = handler
        self._port: Port[Connection] = Port(
            lambda: Connection(self, asyncio.get_running_loop()),
            traffic.connections,
            most=limits.connections,
            tick=self._tick_date,
        )

    async def open(self, host: str, port: int) -> int:
        """Start accepting; returns the port (an ephemeral one when `port` is 0)."""
        return await self._port.open(host, port)

    def share(self, listening: socket.socket, crowding: Crowding) -> None:
        """Start accepting from a socket that other processes accept from too."""
        self._port.share(listening, crowding)

    @property
    def connections(self) -> int:
        """Open connections."""
        return self._port.count

    def refuse_work(self, count: Callable[[], None] | None) -> None:
        """Answer each POST with 503 and `count` it, or (None) answer as usual again.

        Readers of health and metadata go on being answered.
        """
        if count is None:
            self.handler = self._answers
            return

        def refuse(request: HttpRequest) -> HttpResponse | Pending[Any] | Awaitable[HttpResponse]:
            if request.method != "POST":
                return self._answers(request)
            count()
            message = "the server is above its memory limit; retry later"
            return error_response(503, message, retry_after=1)

        self.handler = refuse

    # --- what connections call

    def opened(self, connection: Connection) -> bool:
        """Admit a connection; False when there are too many."""
        return self._port.admit(connection)

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._port.forget(connection)

    def failed(self, request: HttpRequest, error: BaseException) -> HttpResponse:
        """The answer to a request whose handler broke: a defect of ours, logged in full."""
        _LOG.error("%s %s failed", request.method, request.path, exc_info=error)
        self._on_refusal(500, Refusal.INTERNAL)
        return error_response(500, "internal error; the server's log has the cause")

    def refused(self, status: int, reason: Refusal) -> None:
        """Count a request that no handler saw."""
        self._on_refusal(status, reason)

    # --- ending

    def start_draining(self) -> None:
        """Keep accepting, but end each connection with its next answer."""
        self.draining = True

    def stop_accepting(self) -> None:
        """Accept what already waits in a shared socket's queue, and nothing more."""
        self._port.stop_accepting()

    async def close(self, seconds: float) -> int:
        """Stop accepting, let work in hand finish within `seconds`, then drop what is left.

        Returns:
            Requests that were dropped unanswered.
        """
        self.draining = True
        return await self._port.close(seconds, Connection.end_when_idle)

    # --- housekeeping

    def _tick_date(self) -> None:
        self.date = (
            f"date: {email.utils.formatdate(self._wall_seconds(), usegmt=True)}\r\n".encode()
        )
