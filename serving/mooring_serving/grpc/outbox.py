"""What a connection sends: within the client's windows, in few writes."""

import asyncio

from mooring_serving.grpc.call import Call
from mooring_serving.grpc.frames import (
    DATA,
    DEFAULT_FRAME,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAX_WINDOW,
    ConnectionFault,
    ErrorCode,
    build_head,
)
from mooring_serving.grpc.heads import OK_HEAD, encode_headers

_TRAILERS = encode_headers(((b"grpc-status", b"0"),))


class Outbox:
    """The sending half of a connection.

    Answers that do not fit into the client's windows wait here and go out as these open; a call
    counts as open until then, so that their number is bounded.

    Attributes:
        corked: Whether what is written is being collected.
        sent: Bytes written so far.
        stream_window: What the client allows on a new stream.
        frame_bytes: Largest frame that it takes.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._pieces: list[bytes] = []
        self.corked = False
        self._window = DEFAULT_WINDOW
        self._blocked: dict[int, Call] = {}
        self.stream_window = DEFAULT_WINDOW
        self.sent = 0
        self.frame_bytes = DEFAULT_FRAME

    @property
    def blocked(self) -> bool:
        """Whether an answer waits for the client to open a window."""
        return bool(self._blocked)

    def write(self, data: bytes) -> None:
        """Send bytes: now, or at the end of what is being read."""
        self.sent += len(data)
        if self.corked:
            self._pieces.append(data)
        else:
            self._transport.write(data)

    def cork(self) -> None:
        """Collect what is written."""
        self.corked = True

    def uncork(self) -> None:
        """Send what was collected, in one write."""
        self.corked = False
        if self._pieces:
            self._transport.write(b"".join(self._pieces))
            self._pieces.clear()

    def send_answer(self, call: Call, message: bytes, metadata: bytes) -> bool:
        """Send a message; False when a part of it must wait for a window.

        Args:
            call: The call.
            message: The answer.
            metadata: A header block of the answer's own headers.
        """
        body = b"\0" + len(message).to_bytes(4, "big") + message
        return self.send(call, OK_HEAD + metadata, body, _TRAILERS)

    def send(self, call: Call, block: bytes, body: bytes, trailers: bytes) -> bool:
        """Send a head, a body and, where there are any, trailers; False when a part waits."""
        stream, size = call.stream, len(body)
        head = build_head(len(block), HEADERS, END_HEADERS, stream) + block
        if size <= self._window and size <= call.window and size <= self.frame_bytes:
            self._window -= size
            flags = 0 if trailers else END_STREAM
            self.write(
                b"".join(
                    (head, build_head(size, DATA, flags, stream), body, _end(stream, trailers))
                )
            )
            return True
        self.write(head)
        call.outgoing, call.trailers = memoryview(body), trailers
        self._blocked[stream] = call
        return self._push(call)

    def send_trailers(self, call: Call, block: bytes) -> None:
        """Send an answer that is only a head."""
        self.write(_end(call.stream, block))

    def forget(self, call: Call) -> None:
        """Nobody waits for this answer any more."""
        self._blocked.pop(call.stream, None)

    def widen(self, call: Call | None, size: int) -> list[Call]:
        """The client opened a window, the connection's when `call` is None.

        Returns:
            Calls whose answer has left completely.

        Raises:
            ConnectionFault: The connection's window is too large now.
            OverflowError: The stream's is.
        """
        if call is None:
            self._window += size
            if self._window > MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "the window is too large")
        else:
            call.window += size
            if call.window > MAX_WINDOW:
                raise OverflowError("the stream's window is too large")
        return self._pump()

    def resize(self, calls: list[Call], size: int) -> list[Call]:
        """The client changed the initial window of streams, which applies to open ones too.

        Returns:
            Calls whose answer has left completely.
        """
        change = size - self.stream_window
        self.stream_window = size
        for call in calls:
            call.window += change
            if call.window > MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window is too large")
        return self._pump()

    def _pump(self) -> list[Call]:
        if not self._blocked:
            return []
        return [call for call in tuple(self._blocked.values()) if self._push(call)]

    def _push(self, call: Call) -> bool:
        """Send what the windows allow; True when that was the rest."""
        while call.outgoing:
            size = min(self._window, call.window, self.frame_bytes, len(call.outgoing))
            if size <= 0:
                return False
            self._window -= size
            call.window -= size
            piece, call.outgoing = bytes(call.outgoing[:size]), call.outgoing[size:]
            flags = 0 if call.outgoing or call.trailers else END_STREAM
            self.write(build_head(size, DATA, flags, call.stream) + piece)
        self.write(_end(call.stream, call.trailers))
        del self._blocked[call.stream]
        return True


def _end(stream: int, block: bytes) -> bytes:
    """The HEADERS frame that ends a stream; nothing when its last DATA frame does."""
    if not block:
        return b""
    return build_head(len(block), HEADERS, END_HEADERS | END_STREAM, stream) + block
