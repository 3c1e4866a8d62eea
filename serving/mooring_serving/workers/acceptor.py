"""Accepting from a listening socket that several processes share.

The supervisor holds the socket open, so connections that wait in its queue outlive any worker; the
next one to look takes them. Workers accept one at a time and let those with fewer connections go
first, which shares them out evenly: the kernel would wake whoever slept last.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

_LOG = logging.getLogger(__name__)

_SHORT_OF_DESCRIPTORS_SECONDS = 1.0
_DEFER_SECONDS = 0.002
"""How long a worker leaves a new connection to those that have fewer."""


@dataclass(frozen=True, slots=True)
class TrafficGauges:
    """Numbers that other processes may read, each a view of one.

    Attributes:
        in_flight: Requests that were dispatched and whose answers are not written.
        connections: Open connections.
    """

    in_flight: "memoryview[int]"
    connections: "memoryview[int]"


class Crowding(Protocol):
    """Who has how many connections."""

    def is_crowded(self) -> bool:
        """Whether another worker should rather take the next connection."""
        ...


class Acceptor:
    """Takes connections until it is closed. Made on the event loop.

    Args:
        listening: The shared socket, which does not block.
        protocol: Makes a connection's protocol.
        gauge: Where other processes read how many are open, a view of one number. A connection is
            in it before it is taken and until its protocol has counted it, so that the number at a
            death is never less than what the clients lost.
        crowding: Whether to let others go first.
    """

    def __init__(
        self,
        listening: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        gauge: "memoryview[int]",
        crowding: Crowding,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._protocol = protocol
        self._gauge = gauge
        self._crowding = crowding
        self._tasks: set[asyncio.Task[object]] = set()
        self._deferred: asyncio.TimerHandle | None = None
        self._closed = False
        self._watch()

    def close(self) -> None:
        """Take what already waits, and stop."""
        if self._closed:
            return
        self._closed = True
        if self._deferred is None:
            self._loop.remove_reader(self._listening.fileno())
        else:
            self._deferred.cancel()
        while self._accept():
            pass

    async def settled(self) -> None:
        """Wait until what was taken has its protocol."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def _watch(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._listening.fileno(), self._on_waiting)

    def _on_waiting(self) -> None:
        if self._crowding.is_crowded():
            self._defer(_DEFER_SECONDS)
        else:
            self._accept()

    def _defer(self, seconds: float) -> None:
        if self._deferred is None and not self._closed:
            self._loop.remove_reader(self._listening.fileno())
            self._deferred = self._loop.call_later(seconds, self._after_deferral)

    def _after_deferral(self) -> None:
        """Nobody has to wait longer than the deferral, however the others fare."""
        self._deferred = None
        self._accept()
        if self._deferred is None:
            self._watch()

    def _accept(self) -> bool:
        self._gauge[0] += 1
        try:
            accepted, _ = self._listening.accept()
        except OSError as error:
            self._gauge[0] -= 1
            if not isinstance(error, BlockingIOError | ConnectionAbortedError):
                _LOG.warning("cannot accept a connection: %s", error)  # others may have descriptors
                self._defer(_SHORT_OF_DESCRIPTORS_SECONDS)
            return False
        accepted.settimeout(0)
        connecting = self._loop.create_task(self._connect(accepted))
        self._tasks.add(connecting)
        connecting.add_done_callback(self._tasks.discard)
        return True

    async def _connect(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, accepted)
        except OSError:  # it hung up meanwhile
            accepted.close()
        finally:
            self._gauge[0] -= 1
