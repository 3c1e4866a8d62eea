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
from mooring_serving.refusals import Refusal
from mooring_serving.workers.acceptor import Acceptor, Crowding, TrafficGauges

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
        self._open = traffic.connections
        self._answers = handler
        self._acceptor: Acceptor | None = None
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def open(self, host: str, port: int) -> int:
        """Start accepting; returns the port (an ephemeral one when `port` is 0)."""
        loop = asyncio.get_running_loop()
        self._tick_date()
        self._server = await loop.create_server(
            lambda: Connection(self, loop), host, port, backlog=1024
        )
        self._sweeper = loop.create_task(self._sweep())
        sockets: list[socket.socket] = list(self._server.sockets)
        address: tuple[str, int] = sockets[0].getsockname()
        return address[1]

    def share(self, listening: socket.socket, crowding: Crowding) -> None:
        """Start accepting from a socket that other processes accept from too."""
        loop = asyncio.get_running_loop()
        self._tick_date()
        self._acceptor = Acceptor(listening, lambda: Connection(self, loop), crowding)
        self._sweeper = loop.create_task(self._sweep())

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._connections)

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
        if len(self._connections) >= self.limits.connections:
            return False
        self._connections.add(connection)
        self._open[0] += 1
        return True

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        if connection in self._connections:
            self._connections.remove(connection)
            self._open[0] -= 1
        self._changed.set()

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
        if self._acceptor is not None:
            self._acceptor.close()

    async def close(self, seconds: float) -> int:
        """Stop accepting, let work in hand finish, then drop what is left.

        Connections that the kernel had accepted for us are still served: accepting stops only
        after the backlog was read once.

        Args:
            seconds: Longest wait for work in hand.

        Returns:
            Requests that were dropped unanswered.
        """
        self.draining = True
        if self._server is not None:
            self._server.close()
        if self._acceptor is not None:
            self._acceptor.close()
            await self._acceptor.settled()
        # One turn of the loop delivers what is already in the sockets' buffers.
        await asyncio.sleep(0)
        for connection in tuple(self._connections):
            connection.end_when_idle()
        try:
            async with asyncio.timeout(seconds):
                while self._connections:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            _LOG.warning(
                "%d connections were still busy at the end of the drain", len(self._connections)
            )
        dropped = sum(connection.answering for connection in self._connections)
        for connection in tuple(self._connections):
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
        return dropped

    # --- housekeeping

    def _tick_date(self) -> None:
        self.date = (
            f"date: {email.utils.formatdate(self._wall_seconds(), usegmt=True)}\r\n".encode()
        )

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1.0)
            self._tick_date()
            now = loop.time()
            for connection in tuple(self._connections):
                connection.check_deadlines(now)
