"""One HTTP/2 connection of a gRPC client: bytes to frames, within limits (RFC 9113).

A complete call goes to the listener's handler at once, without a task; its answer comes back
whenever it is ready. Everything that a client can make us keep or do is bounded.
"""

import asyncio
from typing import Protocol, cast

from mooring_serving.errors import RequestRefused
from mooring_serving.grpc.frames import (
    ACK,
    DATA,
    HEAD_BYTES,
    HEADERS,
    MAX_WINDOW,
    PREFACE,
    SETTINGS_ACK,
    ConnectionFault,
    ErrorCode,
    Kind,
    Setting,
    build_goaway,
    build_greeting,
    build_ping,
    build_window_update,
    read_head,
    read_settings,
    read_word,
)
from mooring_serving.grpc.outbox import Outbox
from mooring_serving.grpc.streams import Host, Streams
from mooring_serving.refusals import Refusal

_NOT_HTTP2 = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n"
    b"this port speaks gRPC over HTTP/2; JSON is on the HTTP port\n"
)
_LEAVING = b"mooring\0"
"""Payload of the ping whose answer proves that the client has read our first GOAWAY."""
_ALIVE = b"alive?\0\0"

_SPARE_WINDOW = 4 * 1024 * 1024
"""The connection's window, given back whenever half of it is used."""


class ConnectionHost(Host, Protocol):
    """What a connection needs of its listener."""

    draining: bool

    def opened(self, connection: "Connection") -> bool:
        """Admit a connection; False when there are too many."""
        ...

    def closed(self, connection: "Connection") -> None:
        """Forget a connection."""
        ...


class Connection(asyncio.Protocol):
    """The asyncio protocol of one connection; single-threaded, owned by the event loop.

    Args:
        host: The listener.
        loop: The event loop.
        age_seconds: How old it may become.
    """

    def __init__(
        self, host: ConnectionHost, loop: asyncio.AbstractEventLoop, *, age_seconds: float
    ) -> None:
        self._host = host
        self._loop = loop
        self._rest = b""
        self._opened = False
        self._greeted = False
        self._settled = False
        self._closing = False
        self._leaving_since: float | None = None
        self._credit = 0
        self._nuisance = 0
        self._answered = 0
        self._paused = False
        self._sent = 0
        now = loop.time()
        self._opened_at = self._heard_at = self._used_at = self._stuck_since = now
        self._asked_at: float | None = None
        self._too_old_at = now + age_seconds
        self._transport: asyncio.Transport | None = None
        self._outbox: Outbox
        self._streams: Streams

    @property
    def answering(self) -> int:
        """Calls without an answer yet."""
        return 0 if self._transport is None else len(self._streams.calls)

    # --- asyncio callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the connection, or end it."""
        # uvloop's transports have the interface of asyncio.Transport but not its class.
        self._transport = cast("asyncio.Transport", transport)
        self._outbox = Outbox(self._transport)
        self._streams = Streams(
            self._host, self._outbox, self._loop, on_idle=self._on_idle, on_close=self.leave
        )
        if not self._host.opened(self):
            self._end(ErrorCode.NO_ERROR, "too many connections; retry later")

    def _greet(self) -> None:
        """Send our settings, the first frame of ours that a client may read; only once."""
        if self._greeted:
            return
        self._greeted = True
        self._outbox.write(build_greeting(self._host.limits, _SPARE_WINDOW))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio names it
        """The client is gone; an answer in hand is finished for its effects and not sent."""
        self._transport = None
        self._closing = True
        self._streams.forget_all()
        self._host.closed(self)

    def pause_writing(self) -> None:
        """The client reads more slowly than we answer: stop reading from it."""
        self._paused = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client caught up."""
        self._paused = False
        if self._transport is not None and not self._closing:
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Read frames; a breach of the protocol ends the connection with a GOAWAY."""
        self._heard_at = self._loop.time()
        buffer = self._rest + data if self._rest else data
        self._outbox.cork()
        try:
            used = self._read_frames(buffer) if self._opened else self._read_preface(buffer)
            self._rest = buffer[used:]
        except ConnectionFault as fault:
            calm = fault.code is ErrorCode.ENHANCE_YOUR_CALM
            self._count(str(fault), 429 if calm else 400)
            self._end(fault.code, str(fault))
        finally:
            self._outbox.uncork()
        if self._closing and self._transport is not None:
            self._transport.close()

    # --- frames

    def _read_preface(self, buffer: bytes) -> int:
        if len(buffer) < len(PREFACE) and PREFACE.startswith(buffer):
            return 0
        if not buffer.startswith(PREFACE):
            if b"HTTP/1." in buffer:
                self._outbox.write(_NOT_HTTP2)
            self._count("not HTTP/2", 400)
            self._closing = True
            return len(buffer)
        self._opened = True
        self._greet()
        return len(PREFACE) + self._read_frames(buffer[len(PREFACE) :])

    def _read_frames(self, buffer: bytes) -> int:
        """Read whole frames; returns how many bytes they have."""
        at, size = 0, len(buffer)
        limit = self._host.limits.grpc_frame_bytes
        while size - at >= HEAD_BYTES and not self._closing:
            length, kind, flags, stream = read_head(buffer, at)
            if length > limit:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            end = at + HEAD_BYTES + length
            if end > size:
                break
            payload = buffer[at + HEAD_BYTES : end]
            at = end
            if self._streams.block_stream and kind != Kind.CONTINUATION:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "headers are not complete")
            if kind == DATA and self._settled:
                self._take_data(flags, stream, payload)
            elif kind == HEADERS and self._settled:
                self._streams.read_headers(flags, stream, payload)
            else:
                self._read_other(kind, flags, stream, payload)
        return at

    def _take_data(self, flags: int, stream: int, payload: bytes) -> None:
        self._credit += len(payload)
        if self._credit > _SPARE_WINDOW // 2:
            self._outbox.write(build_window_update(0, self._credit))
            self._credit = 0
        if not payload:
            self._count_nuisance(1)
        self._streams.read_data(flags, stream, payload)

    def _read_other(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """Frames that carry no message: each costs us and brings little, so they are counted."""
        self._count_nuisance(5 if kind == Kind.RST_STREAM else 1)
        if not self._settled and kind != Kind.SETTINGS:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS must come first")
        match kind:
            case Kind.WINDOW_UPDATE:
                self._read_window(stream, payload)
            case Kind.PING:
                self._read_ping(flags, stream, payload)
            case Kind.SETTINGS:
                self._read_settings(flags, stream, payload)
            case Kind.RST_STREAM:
                read_word(payload)
                self._streams.read_reset(stream)
            case Kind.CONTINUATION:
                self._streams.read_continuation(flags, stream, payload)
            case Kind.PRIORITY:
                self._read_priority(stream, payload)
            case Kind.GOAWAY:
                self._read_goaway(stream)
            case Kind.PUSH_PROMISE:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "clients do not push")
            case _:
                pass  # an extension

    def _read_window(self, stream: int, payload: bytes) -> None:
        size = read_word(payload)
        streams = self._streams
        if stream > streams.last:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a window of an idle stream")
        call = streams.calls.get(stream) if stream else None
        if stream and call is None:
            return  # it has ended meanwhile
        if not size:
            if not stream:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a window that does not open")
            streams.fail_call(stream, ErrorCode.PROTOCOL_ERROR)
            return
        try:
            completed = self._outbox.widen(call, size)
        except OverflowError:
            streams.fail_call(stream, ErrorCode.FLOW_CONTROL_ERROR)
            return
        for each in completed:
            streams.complete(each)

    def _read_ping(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a PING on a stream")
        if len(payload) != 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a PING of a wrong length")
        if not flags & ACK:
            self._outbox.write(build_ping(payload, ack=True))
        elif payload == _LEAVING and self._leaving_since is not None:
            self._take_no_more()

    def _read_settings(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "an acknowledgement with content")
            return
        self._settled = True
        self._outbox.write(SETTINGS_ACK)
        for name, value in read_settings(payload):
            if name == Setting.INITIAL_WINDOW_SIZE:
                calls = list(self._streams.calls.values())
                for call in self._outbox.resize(calls, value):
                    self._streams.complete(call)
            elif name == Setting.MAX_FRAME_SIZE:
                self._outbox.frame_bytes = min(value, self._host.limits.grpc_frame_bytes)

    def _read_priority(self, stream: int, payload: bytes) -> None:
        if not stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY of the connection")
        if len(payload) != 5:
            self._streams.fail_call(stream, ErrorCode.FRAME_SIZE_ERROR)
        elif int.from_bytes(payload[:4], "big") & MAX_WINDOW == stream:
            self._streams.fail_call(stream, ErrorCode.PROTOCOL_ERROR)

    def _read_goaway(self, stream: int) -> None:
        """The client opens no more calls; it closes the connection itself."""
        if stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")

    def _count_nuisance(self, weight: int) -> None:
        """Bound what a client may make us do for nothing: pings, resets, empty frames."""
        self._nuisance += weight
        allowed = self._host.limits.grpc_idle_frames + 10 * (
            self._streams.answered - self._answered
        )
        if self._nuisance > allowed:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many frames without calls")

    # --- ending

    def leave(self) -> None:
        """End the connection without losing a call.

        The first GOAWAY asks the client to go elsewhere and refuses nothing; when the ping behind
        it comes back, the client has read it, and the second one says which call was the last.
        """
        if self._transport is None or self._leaving_since is not None:
            return
        self._leaving_since = self._loop.time()
        self._greet()
        self._outbox.write(
            build_goaway(MAX_WINDOW, ErrorCode.NO_ERROR, "this server stops or moves")
            + build_ping(_LEAVING, ack=False)
        )

    def _take_no_more(self) -> None:
        if self._streams.final is None:
            self._streams.final = self._streams.last
            self._outbox.write(build_goaway(self._streams.last, ErrorCode.NO_ERROR))
        if not self._streams.calls:
            self._close()

    def _on_idle(self) -> None:
        """The last open call has ended."""
        self._used_at = self._loop.time()
        if self._streams.final is not None:
            self._close()
        elif self._host.draining:
            self.leave()

    def _count(self, message: str, status: int, reason: Refusal | None = None) -> None:
        """Count a connection that ends for what its client does."""
        reason = Refusal.MALFORMED_HTTP if status == 400 else reason
        self._host.refused(RequestRefused(message, status=status, reason=reason))

    def _end(self, code: ErrorCode, message: str) -> None:
        """End the connection at once."""
        self._greet()
        self._outbox.write(build_goaway(self._streams.last, code, message))
        self._close()

    def _close(self) -> None:
        """Close once what was written has left; while reading, when that is over."""
        self._closing = True
        if self._transport is not None and not self._outbox.corked:
            self._transport.close()

    def abort(self) -> None:
        """Close without waiting."""
        if self._transport is not None:
            self._transport.abort()

    def check_deadlines(self, now: float) -> None:
        """Called about each second: slow clients, age, idleness, death."""
        limits, streams = self._host.limits, self._streams
        self._nuisance, self._answered = 0, streams.answered
        streams.check_deadlines()
        if not self._opened:
            if now - self._opened_at > limits.grpc_header_seconds:
                self._count("the preface did not come in time", 408)
                self.abort()
        elif self._is_stuck(now):
            self._count("the client does not read its answers", 408, Refusal.NOT_READ)
            self.abort()
        elif self._is_dead(now):
            self.abort()
        elif streams.block_stream and now - streams.block_started > limits.grpc_header_seconds:
            self._count("headers did not come in time", 408)
            self._end(ErrorCode.ENHANCE_YOUR_CALM, "too slow")
        elif self._leaving_since is not None:
            if now - self._leaving_since > limits.grpc_leave_seconds:
                self._take_no_more()
        elif now > self._too_old_at or (
            not streams.calls and now - self._used_at > limits.grpc_idle_seconds
        ):
            self.leave()

    def _is_stuck(self, now: float) -> bool:
        """Whether the client has read none of what waits for it for too long."""
        waits = self._paused or self._outbox.blocked
        if not waits or self._outbox.sent != self._sent:
            self._sent = self._outbox.sent
            self._stuck_since = now
        return now - self._stuck_since > self._host.limits.grpc_receive_seconds

    def _is_dead(self, now: float) -> bool:
        """Whether a silent client does not answer a ping either."""
        limits = self._host.limits
        if self._asked_at is not None and self._heard_at >= self._asked_at:
            self._asked_at = None
        if self._asked_at is not None:
            return now - self._asked_at > limits.grpc_keepalive_timeout_seconds
        if now - self._heard_at > limits.grpc_keepalive_seconds and not self._paused:
            self._asked_at = now
            self._outbox.write(build_ping(_ALIVE, ack=False))
        return False
