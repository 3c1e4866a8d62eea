"""One unary call: its message as it comes in, and its single answer."""

import asyncio
from typing import Protocol

from mooring_serving.errors import RequestRefused
from mooring_serving.grpc.heads import CallHead

PREFIX_BYTES = 5
"""Before a message: whether it is compressed, and its length in four bytes."""


class CallCarrier(Protocol):
    """What a call needs of its connection."""

    def finish(self, call: "Call", message: bytes, metadata: bytes, *, close: bool) -> None:
        """Send an answer."""
        ...

    def refuse(self, call: "Call", refusal: RequestRefused) -> None:
        """Send a status other than OK, counted as a refusal."""
        ...

    def fault(self, call: "Call", message: str) -> None:
        """Send INTERNAL; its cause was counted where it happened."""
        ...


class Call:
    """A call on its connection's stream. Owned by the event loop.

    Attributes:
        stream: The stream's number.
        head: What its headers say.
        started_at: Monotonic seconds at its first byte.
        received_at: Monotonic seconds at its last byte.
        message: The message, decompressed, once it is complete.
        ended: Whether the client has sent all.
        done: Whether it is answered, or nobody waits for an answer any more.
        window: Bytes that the client allows us to send on this stream.
        outgoing: What of the answer waits for a window.
        trailers: What follows it.
    """

    __slots__ = (
        "_carrier",
        "chunks",
        "done",
        "ended",
        "head",
        "message",
        "outgoing",
        "received_at",
        "size",
        "started_at",
        "stream",
        "timer",
        "trailers",
        "window",
    )

    def __init__(
        self, carrier: CallCarrier, stream: int, head: CallHead, *, started_at: float, window: int
    ) -> None:
        self._carrier = carrier
        self.stream = stream
        self.head = head
        self.started_at = started_at
        self.received_at = 0.0
        self.message = b""
        self.chunks: list[bytes] = []
        self.size = 0
        self.ended = False
        self.done = False
        self.window = window
        self.outgoing = memoryview(b"")
        self.trailers = b""
        self.timer: asyncio.TimerHandle | None = None

    @property
    def deadline(self) -> float | None:
        """Monotonic seconds after which the client waits no longer."""
        timeout = self.head.timeout
        return None if timeout is None else self.started_at + timeout

    def answer(self, message: bytes, metadata: bytes = b"", *, close: bool = False) -> None:
        """Answer with a message; nothing happens when nobody waits any more.

        Args:
            message: The answer.
            metadata: A header block of the answer's own headers.
            close: End the connection after what is open on it.
        """
        if not self.done:
            self._carrier.finish(self, message, metadata, close=close)

    def refuse(self, refusal: RequestRefused) -> None:
        """Answer with a refusal; nothing happens when nobody waits any more."""
        if not self.done:
            self._carrier.refuse(self, refusal)

    def fault(self, message: str) -> None:
        """Answer that the model failed; nothing happens when nobody waits any more."""
        if not self.done:
            self._carrier.fault(self, message)

    def settle(self) -> None:
        """No further answer is wanted: it was given, or the client is gone."""
        self.done = True
        self.chunks = []
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
