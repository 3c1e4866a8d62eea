"""The streams of a connection: frames to whole messages, and answers back to their streams."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from mooring_serving.errors import DeadlineExceeded, Overloaded, RequestRefused
from mooring_serving.grpc.call import Call
from mooring_serving.grpc.frames import (
    END_HEADERS,
    END_STREAM,
    ConnectionFault,
    ErrorCode,
    StreamFault,
    build_reset,
    strip_padding,
)
from mooring_serving.grpc.heads import HeadReader, encode_headers
from mooring_serving.grpc.message import check_prefix, unwrap
from mooring_serving.grpc.outbox import Outbox
from mooring_serving.grpc.status import (
    Status,
    encode_message,
    encode_retry_details,
    from_http,
)
from mooring_serving.limits import GrpcLimits
from mooring_serving.refusals import Refusal

_TEXT = (b"content-type", b"text/plain")
_NOT_GRPC = encode_headers(((b":status", b"415"), _TEXT))
_NOT_POST = encode_headers(((b":status", b"405"), (b"allow", b"POST"), _TEXT))
_EXPLANATION = b"this port speaks gRPC; JSON is on the HTTP port\n"


class Host(Protocol):
    """What streams need of their listener."""

    limits: GrpcLimits
    waiting_bytes: int
    handler: Callable[[Call], None]
    monotonic: Callable[[], float]

    @property
    def open_calls(self) -> int:
        """Calls in hand of all connections."""
        ...

    @open_calls.setter
    def open_calls(self, count: int) -> None: ...

    def refused(self, refusal: RequestRefused) -> None:
        """Count a call that is answered with a status other than OK."""
        ...

    def broke(self, call: Call, error: Exception) -> None:
        """Log and count a handler that broke."""
        ...


class Streams:
    """Calls of one connection. Owned by the event loop.

    Args:
        host: The listener.
        outbox: Sends.
        loop: The event loop.
        on_idle: Called when no call is open any more.
        on_close: Called when an answer wants the connection to end.
    """

    def __init__(
        self,
        host: Host,
        outbox: Outbox,
        loop: asyncio.AbstractEventLoop,
        *,
        on_idle: Callable[[], None],
        on_close: Callable[[], None],
    ) -> None:
        self._host = host
        self._outbox = outbox
        self._loop = loop
        self._on_idle = on_idle
        self._on_close = on_close
        self._reader = HeadReader(host.limits.grpc_header_bytes)
        self._block: list[bytes] = []
        self._block_flags = 0
        self._left: set[int] = set()
        self.block_stream = 0
        self.block_started = 0.0
        self.calls: dict[int, Call] = {}
        self.last = 0
        self.final: int | None = None
        self.answered = 0

    # --- what the client sends

    def read_headers(self, flags: int, stream: int, payload: bytes) -> None:
        """A HEADERS frame: a new call, or the end of one that is open."""
        if not stream & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a call on an even stream")
        self._block_flags = flags
        block = strip_padding(payload, flags, priority=True, stream=stream)
        if flags & END_HEADERS:
            self._end_block(stream, block)
        else:
            self.block_stream, self.block_started = stream, self._loop.time()
            self._block = [block]

    def read_continuation(self, flags: int, stream: int, payload: bytes) -> None:
        """A CONTINUATION frame of the block that is open."""
        if stream != self.block_stream or not stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION out of place")
        self._block.append(payload)
        limit = self._host.limits.grpc_header_bytes
        if sum(map(len, self._block)) > limit or len(self._block) > 16:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"headers above {limit} bytes")
        if flags & END_HEADERS:
            self.block_stream = 0
            self._end_block(stream, b"".join(self._block))

    def _end_block(self, stream: int, block: bytes) -> None:
        call = self.calls.get(stream)
        if call is not None:
            self._end_with_trailers(call, block)
        elif stream > self.last:
            self.last = stream
            self._begin(stream, block)
        else:
            self._reader.decode_apart(block)
            if stream not in self._left:
                raise ConnectionFault(ErrorCode.STREAM_CLOSED, "HEADERS for a stream that ended")

    def _begin(self, stream: int, block: bytes) -> None:
        if self.final is not None and stream > self.final:
            self._reader.decode_apart(block)  # begun after our GOAWAY: the client tries elsewhere
            return
        try:
            head = self._reader.read(block)
        except StreamFault as fault:
            self._count_breach(str(fault))
            self._reset(stream, fault.code)
            return
        host = self._host
        if len(self.calls) >= host.limits.grpc_streams:
            self._reset(stream, ErrorCode.REFUSED_STREAM)
            host.refused(Overloaded("too many calls on this connection"))
            return
        call = Call(
            self, stream, head, started_at=host.monotonic(), window=self._outbox.stream_window
        )
        self.calls[stream] = call
        host.open_calls += 1
        if host.open_calls > host.limits.grpc_calls:
            message = f"{host.limits.grpc_calls} calls are open; retry later"
            self.refuse(call, Overloaded(message))
        elif self._block_flags & END_STREAM:
            self._end(call)

    def _end_with_trailers(self, call: Call, block: bytes) -> None:
        headers = self._reader.decode_apart(block)
        if call.ended:
            self._drop(call, ErrorCode.STREAM_CLOSED)
        elif not self._block_flags & END_STREAM or any(n.startswith(b":") for n, _ in headers):
            self._drop(call, ErrorCode.PROTOCOL_ERROR)
        else:
            self._end(call)

    def read_data(self, flags: int, stream: int, payload: bytes) -> None:
        """A DATA frame: a part of a call's message."""
        call = self.calls.get(stream)
        if call is None:
            self._read_late_data(flags, stream)
            return
        if call.ended:
            self._drop(call, ErrorCode.STREAM_CLOSED)
            return
        data = strip_padding(payload, flags, priority=False, stream=stream)
        call.size += len(data)
        if not call.done and data:
            call.chunks.append(data)
            self._host.waiting_bytes += len(data)
            refusal = self._check_size(call)
            if refusal is not None:
                self.refuse(call, refusal)
                return
        if flags & END_STREAM:
            self._end(call)

    def _read_late_data(self, flags: int, stream: int) -> None:
        """DATA for a call that is not open."""
        if stream > self.last or not stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "DATA for a stream that never began")
        if stream in self._left:
            if flags & END_STREAM:
                self._left.discard(stream)
        elif self.final is None or stream <= self.final:
            self._outbox.write(build_reset(stream, ErrorCode.STREAM_CLOSED))

    def _check_size(self, call: Call) -> RequestRefused | None:
        limits = self._host.limits
        if call.head.is_grpc:
            refusal = check_prefix(call.chunks, call.size, limits.grpc_message_bytes)
            if refusal is not None:
                return refusal
        if self._host.waiting_bytes > limits.grpc_waiting_bytes:
            message = f"{limits.grpc_waiting_bytes} bytes of unfinished messages wait; retry later"
            return RequestRefused(message, status=503, retry_after=1, reason=Refusal.MEMORY)
        return None

    def read_reset(self, stream: int) -> None:
        """The client gives a call up."""
        if stream > self.last or not stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "RST_STREAM for an idle stream")
        self._left.discard(stream)
        call = self.calls.get(stream)
        if call is not None:
            self._forget(call)

    # --- a whole message

    def _end(self, call: Call) -> None:
        """The client has sent all of a call."""
        announced = call.head.content_length
        if announced is not None and announced != call.size:
            self._drop(call, ErrorCode.PROTOCOL_ERROR)
            return
        call.ended = True
        chunks, host = call.chunks, self._host
        self._release_bytes(call)
        if not call.head.is_grpc:
            self._end_as_http(call, _NOT_GRPC)
            return
        if call.head.method != "POST":
            self._end_as_http(call, _NOT_POST)
            return
        call.received_at = host.monotonic()
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        try:
            call.message = unwrap(data, call.head.encoding, host.limits.grpc_message_bytes)
            if call.deadline is not None and call.received_at >= call.deadline:
                self._expire(call)
                return
            host.handler(call)
        except RequestRefused as refusal:
            call.refuse(refusal)
        except Exception as error:  # noqa: BLE001 - a defect of ours ends this call alone, logged
            host.broke(call, error)
            message = "internal error; the server's log has the cause"
            call.refuse(RequestRefused(message, status=500))
        if not call.done and call.deadline is not None:
            left = max(0.0, call.deadline - host.monotonic())
            call.timer = self._loop.call_later(left, self._expire, call)

    def _expire(self, call: Call) -> None:
        call.refuse(DeadlineExceeded("the client's deadline passed before there was an answer"))

    # --- what goes back

    def finish(self, call: Call, message: bytes, metadata: bytes, *, close: bool) -> None:
        """Send an answer."""
        call.settle()
        self.answered += 1
        if self._outbox.send_answer(call, message, metadata):
            self.complete(call)
        if close:
            self._on_close()

    def refuse(self, call: Call, refusal: RequestRefused) -> None:
        """Send a status other than OK, counted as a refusal."""
        self._host.refused(refusal)
        self._send_status(call, from_http(refusal.status), str(refusal), refusal.retry_after)

    def fault(self, call: Call, message: str) -> None:
        """Send INTERNAL; its cause was counted where it happened."""
        self._send_status(call, Status.INTERNAL, message, None)

    def _send_status(
        self, call: Call, status: Status, message: str, retry_after: int | None
    ) -> None:
        headers = [
            (b":status", b"200"),
            (b"content-type", b"application/grpc"),
            (b"grpc-status", b"%d" % status),
            (b"grpc-message", encode_message(message)),
        ]
        if status is Status.UNIMPLEMENTED:
            headers.append((b"grpc-accept-encoding", b"identity,deflate,gzip"))
        if retry_after is not None and status is not Status.DEADLINE_EXCEEDED:
            details = encode_retry_details(status, message, retry_after)
            headers += (
                (b"grpc-retry-pushback-ms", b"%d" % (retry_after * 1000)),
                (b"grpc-status-details-bin", details),
            )
        self._end_as(call, encode_headers(headers))

    def _end_as(self, call: Call, block: bytes) -> None:
        self._release_bytes(call)
        call.settle()
        self.answered += 1
        self._outbox.send_trailers(call, block)
        self.complete(call)

    def _end_as_http(self, call: Call, head: bytes) -> None:
        """Answer what is no gRPC call."""
        self._host.refused(RequestRefused("not a gRPC call", status=415))
        call.settle()
        if self._outbox.send(call, head, _EXPLANATION, b""):
            self.complete(call)

    def complete(self, call: Call) -> None:
        """An answer has left completely."""
        if not call.ended:  # the client need not send the rest
            self._leave(call.stream)
            self._outbox.write(build_reset(call.stream, ErrorCode.NO_ERROR))
        self._forget(call)

    def _drop(self, call: Call, code: ErrorCode) -> None:
        """End a call whose client broke the protocol."""
        self._count_breach(f"the call broke HTTP/2: {code.name}")
        self._reset(call.stream, code)
        self._forget(call)

    def fail_call(self, stream: int, code: ErrorCode) -> None:
        """End a stream whose client broke the protocol."""
        call = self.calls.get(stream)
        if call is None:
            self._reset(stream, code)
        else:
            self._drop(call, code)

    def _count_breach(self, message: str) -> None:
        self._host.refused(RequestRefused(message, reason=Refusal.MALFORMED_HTTP))

    def _reset(self, stream: int, code: ErrorCode) -> None:
        self._leave(stream)
        self._outbox.write(build_reset(stream, code))

    def _leave(self, stream: int) -> None:
        """Frames of this stream may still be on their way to us: they are passed over."""
        if len(self._left) >= 4 * self._host.limits.grpc_streams:
            self._left.clear()
        self._left.add(stream)

    def _forget(self, call: Call) -> None:
        self._release_bytes(call)
        call.settle()
        if self.calls.pop(call.stream, None) is None:
            return
        self._outbox.forget(call)
        self._host.open_calls -= 1
        if not self.calls:
            self._on_idle()

    def _release_bytes(self, call: Call) -> None:
        self._host.waiting_bytes -= sum(map(len, call.chunks))
        call.chunks = []

    # --- ending and time

    def forget_all(self) -> None:
        """The connection is gone."""
        for call in tuple(self.calls.values()):
            self._forget(call)

    def check_deadlines(self) -> None:
        """Refuse calls whose message takes too long to come."""
        now = self._host.monotonic()
        seconds = self._host.limits.grpc_receive_seconds
        for call in tuple(self.calls.values()):
            if not call.ended and now - call.started_at > seconds:
                message = f"the message was not complete within {seconds:g} s"
                self.refuse(call, RequestRefused(message, status=408))
