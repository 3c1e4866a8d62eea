"""Frames between the supervisor and a worker, over one socket pair that nobody else can open."""

import asyncio
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum

_HEADER = struct.Struct("<BQI")
_MOST_BYTES = 64 * 1024 * 1024
"""Longest payload: a feedback body, which the client's port has bounded."""
_MOST_UNSENT = 16 * 1024 * 1024
"""Bytes that may wait to be sent before the other side counts as away."""


class Kind(IntEnum):
    """What a frame is about."""

    SPEC = 1
    """To the worker: what to serve."""
    OPEN = 2
    """To the worker: begin to accept."""
    ROUTE = 3
    """To the worker: the route changed."""
    FLUSH = 4
    """To the worker: count everything into the sketches."""
    DRAIN = 5
    """To the worker: end each connection with its next answer, accept on."""
    CLOSE = 6
    """To the worker: stop accepting, finish, end."""
    VERDICT = 7
    """To the worker: what became of labels."""
    WARM = 8
    """From the worker: its model has predicted."""
    OPENED = 9
    """From the worker: it accepts."""
    TAKEN = 10
    """From the worker: it has the route."""
    FLUSHED = 11
    """From the worker: the sketches hold everything."""
    LABELS = 12
    """From the worker: labels to judge."""
    OVER_MEMORY = 13
    """From the worker: it has been above its memory limit for long."""
    FAILED = 14
    """From the worker: it cannot serve, and why."""
    CLOSED = 15
    """From the worker: its last frame; how many requests it dropped."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message.

    Attributes:
        kind: What it is about.
        number: Joins an answer to its question; else a number of that kind.
        payload: The rest.
    """

    kind: Kind
    number: int = 0
    payload: bytes = b""


class ChannelFull(Exception):
    """The other side does not read."""


class Channel:
    """One end. Owned by the event loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> "Channel":
        """The channel over one end of a socket pair, which it closes when it is closed."""
        return cls(*await asyncio.open_unix_connection(sock=end))

    def send(self, kind: Kind, number: int = 0, payload: bytes = b"") -> None:
        """Send a frame, or nothing when the other side has gone.

        Raises:
            ChannelFull: Too much waits already.
        """
        if self._writer.is_closing():
            return
        if self._writer.transport.get_write_buffer_size() > _MOST_UNSENT:
            raise ChannelFull("the other process does not read its channel")
        self._writer.write(_HEADER.pack(kind, number, len(payload)) + payload)

    async def receive(self) -> Frame | None:
        """The next frame; None when the other side has gone."""
        try:
            kind, number, size = _HEADER.unpack(await self._reader.readexactly(_HEADER.size))
            if size > _MOST_BYTES:
                return None
            return Frame(Kind(kind), number, await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def drain(self) -> None:
        """Wait until the kernel has taken everything."""
        try:
            await self._writer.drain()
        except ConnectionError:
            return

    def close(self) -> None:
        """Close the socket."""
        self._writer.close()
