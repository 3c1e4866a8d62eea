"""One port and its connections, whatever they speak: accepting, sweeping, ending."""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from mooring_serving.workers.acceptor import Acceptor, Crowding

_LOG = logging.getLogger(__name__)


class Occupant(Protocol):
    """A connection, as its port sees it."""

    @property
    def answering(self) -> int:
        """Requests that still await their answers."""
        ...

    def check_deadlines(self, now: float) -> None:
        """End it if it is idle too long or too slow at loop time `now`."""
        ...

    def abort(self) -> None:
        """Drop it."""
        ...


_Connection = TypeVar("_Connection", bound=Occupant)


class Port(Generic[_Connection]):
    """The connections of one listening socket. Owned by the event loop.

    Args:
        connect: Makes the protocol of a new connection.
        gauge: Where other processes read how many are open, a view of one number.
        most: Open connections at most.
        tick: Called when the port opens and each second.
    """

    def __init__(
        self,
        connect: Callable[[], asyncio.Protocol],
        gauge: "memoryview[int]",
        *,
        most: int,
        tick: Callable[[], None],
    ) -> None:
        self._connect = connect
        self._gauge = gauge
        self._most = most
        self._tick = tick
        self._connections: set[_Connection] = set()
        self._acceptor: Acceptor | None = None
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def open(self, host: str, port: int) -> int:
        """Start accepting; returns the port (an ephemeral one when `port` is 0).

        Raises:
            OSError: The port cannot be opened.
        """
        loop = asyncio.get_running_loop()
        self._tick()
        self._server = await loop.create_server(self._connect, host, port, backlog=1024)
        self._sweeper = loop.create_task(self._sweep())
        sockets: list[socket.socket] = list(self._server.sockets)
        address: tuple[str, int] = sockets[0].getsockname()
        return address[1]

    def share(self, listening: socket.socket, crowding: Crowding) -> None:
        """Start accepting from a socket that other processes accept from too."""
        self._tick()
        self._acceptor = Acceptor(listening, self._connect, self._gauge, crowding)
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())

    @property
    def connections(self) -> tuple[_Connection, ...]:
        """The open connections."""
        return tuple(self._connections)

    @property
    def count(self) -> int:
        """How many are open."""
        return len(self._connections)

    def admit(self, connection: _Connection) -> bool:
        """Take a connection in; False when there are too many."""
        if len(self._connections) >= self._most:
            return False
        self._connections.add(connection)
        self._gauge[0] += 1
        return True

    def forget(self, connection: _Connection) -> None:
        """It is closed."""
        if connection in self._connections:
            self._connections.remove(connection)
            self._gauge[0] -= 1
        self._changed.set()

    def stop_accepting(self) -> None:
        """Accept what already waits in a shared socket's queue, and nothing more."""
        if self._acceptor is not None:
            self._acceptor.close()

    async def close(self, seconds: float, end: Callable[[_Connection], None]) -> int:
        """Stop accepting, let work in hand finish, then drop what is left.

        Connections that the kernel had accepted for us are still served: accepting stops only
        after the backlog was read once.

        Args:
            seconds: Longest wait for work in hand.
            end: Asks a connection to end after it.

        Returns:
            Requests that were dropped unanswered.
        """
        if self._server is not None:
            self._server.close()
        if self._acceptor is not None:
            self._acceptor.close()
            await self._acceptor.settled()
        # One turn of the loop delivers what is already in the sockets' buffers.
        await asyncio.sleep(0)
        for connection in self.connections:
            end(connection)
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
        for connection in self.connections:
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
        return dropped

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1.0)
            self._tick()
            now = loop.time()
            for connection in self.connections:
                connection.check_deadlines(now)
