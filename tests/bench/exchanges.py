"""One connection and the answer that it is reading, for load generators: HTTP/1.1 and gRPC.

Both send bytes that are ready before the run and read only as much of an answer as tells whether
it is complete and good, so that the generator costs a fraction of any server measured with it.
"""

import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

_HEADER_END = b"\r\n\r\n"
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_READ_BYTES = 262_144
GOOD = 200
"""Status of a good answer, also for gRPC."""
BAD_CALL = 500
"""Status that stands for a gRPC call that ended without a message."""

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_MAX_FRAME = 16_384
_WINDOW = 2**31 - 1
_FIRST_WINDOW = 65_535
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 0x1, 0x1, 0x4


class Exchange(Protocol):
    """A connection with at most one request under way."""

    started: float
    """When its request was sent, or was meant to be."""

    def fileno(self) -> int:
        """The socket's descriptor."""
        ...

    def send(self) -> None:
        """Send the request."""
        ...

    def receive(self) -> int | None:
        """Read what is there: the status when the answer is complete, else None.

        Raises:
            ConnectionError: The server closed the connection.
        """
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Load(Protocol):
    """A request that can be sent over any number of connections."""

    def connect(self) -> Exchange:
        """A new connection that sends it."""
        ...


@dataclass(frozen=True, slots=True)
class HttpLoad:
    """One HTTP request of fixed bytes to a loopback port."""

    port: int
    request: bytes

    def connect(self) -> Exchange:
        """A keep-alive connection."""
        return _HttpExchange(self.port, self.request)


@dataclass(frozen=True, slots=True)
class GrpcLoad:
    """One unary call of fixed bytes to a loopback port; `path` is `/package.Service/Method`."""

    port: int
    path: str
    message: bytes

    def connect(self) -> Exchange:
        """An HTTP/2 connection that carries one call at a time."""
        return _GrpcExchange(self.port, self.path, self.message)


def build_request(
    path: str, body: bytes, *, port: int, headers: Sequence[tuple[str, str]] = ()
) -> bytes:
    """The bytes of one POST, JSON where no content-type is given."""
    named = dict(headers)
    named.setdefault("content-type", "application/json")
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{lines}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def _connect(port: int) -> socket.socket:
    opened = socket.create_connection(("127.0.0.1", port), timeout=30)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


class _HttpExchange:
    """One keep-alive HTTP/1.1 connection."""

    __slots__ = ("_buffer", "_request", "_socket", "started")

    def __init__(self, port: int, request: bytes) -> None:
        self._socket = _connect(port)
        self._request = request
        self._buffer = b""
        self.started = 0.0

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self) -> None:
        self.started = time.perf_counter()
        self._socket.sendall(self._request)

    def receive(self) -> int | None:
        data = self._socket.recv(_READ_BYTES)
        if not data:
            raise ConnectionError("the server closed a connection under load")
        buffer = self._buffer = self._buffer + data if self._buffer else data
        end = buffer.find(_HEADER_END)
        if end < 0:
            return None
        head = buffer[:end].lower()
        at = head.find(b"\r\ncontent-length:") + 17
        if at >= 17:
            stop = head.find(b"\r\n", at)
            complete = end + 4 + int(head[at : stop if stop > 0 else end])
        else:  # chunked: no JSON or tensor that we ask for holds this sequence
            last = buffer.find(_LAST_CHUNK, end)
            complete = last + len(_LAST_CHUNK) if last >= 0 else len(buffer) + 1
        if len(buffer) < complete:
            return None
        self._buffer = buffer[complete:]
        return int(head[9:12])

    def close(self) -> None:
        self._socket.close()


def _text(value: str) -> bytes:
    """A string of HPACK without Huffman coding, under 127 bytes."""
    raw = value.encode()
    if len(raw) > 126:
        raise ValueError(f"header value {value!r} is longer than 126 bytes")
    return bytes([len(raw)]) + raw


def _header_block(path: str, port: int) -> bytes:
    """Headers of a unary call without the dynamic table: every call can repeat it."""
    return (
        b"\x83\x86"  # :method POST, :scheme http, both of the static table
        + b"\x04"
        + _text(path)
        + b"\x01"
        + _text(f"127.0.0.1:{port}")
        + b"\x0f\x10"  # content-type is entry 31 of the static table
        + _text("application/grpc")
        + b"\x00"
        + _text("te")
        + _text("trailers")
    )


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


class _GrpcExchange:
    """One HTTP/2 connection with one unary call at a time.

    A call is good when a message came before the end of its stream: a gRPC error carries none.
    """

    __slots__ = (
        "_block",
        "_body",
        "_buffer",
        "_granted",
        "_held",
        "_received",
        "_socket",
        "_stream",
        "_window",
        "started",
    )

    def __init__(self, port: int, path: str, message: bytes) -> None:
        framed = b"\x00" + struct.pack(">I", len(message)) + message
        if len(framed) > _FIRST_WINDOW:
            raise ValueError("the message does not fit the first window of a stream")
        self._body = [framed[at : at + _MAX_FRAME] for at in range(0, len(framed), _MAX_FRAME)]
        self._block = _header_block(path, port)
        self._window = _FIRST_WINDOW
        self._granted = _WINDOW
        self._held = False
        self._stream = -1
        self._received = 0
        self._buffer = b""
        self.started = 0.0
        self._socket = _connect(port)
        window = struct.pack(">HIHI", 0x2, 0, 0x4, _WINDOW)  # no push; streams without a limit
        self._socket.sendall(
            _PREFACE
            + _frame(_SETTINGS, 0, 0, window)
            + _frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", _WINDOW - _FIRST_WINDOW))
        )

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self) -> None:
        self.started = time.perf_counter()
        self._held = True
        self._send_held()

    def receive(self) -> int | None:
        data = self._socket.recv(_READ_BYTES)
        if not data:
            raise ConnectionError("the server closed a connection under load")
        buffer = self._buffer + data if self._buffer else data
        at, end, outcome = 0, len(buffer), None
        while end - at >= 9:
            length = int.from_bytes(buffer[at : at + 3], "big")
            if end - at - 9 < length:
                break
            connection_wide = buffer[at + 5 : at + 9] == b"\x00\x00\x00\x00"
            payload = buffer[at + 9 : at + 9 + length]
            if buffer[at + 3] != _WINDOW_UPDATE:
                found = self._take(buffer[at + 3], buffer[at + 4], payload)
                outcome = found if found is not None else outcome
            elif connection_wide:  # a call always fits the window of its own stream
                self._window += int.from_bytes(payload, "big")
                self._send_held()
            at += 9 + length
        self._buffer = buffer[at:]
        return outcome

    def close(self) -> None:
        self._socket.close()

    def _send_held(self) -> None:
        size = sum(map(len, self._body))
        if not self._held or self._window < size:
            return
        self._held = False
        self._window -= size
        self._stream += 2
        self._received = 0
        frames = [_frame(_HEADERS, _END_HEADERS, self._stream, self._block)]
        last = len(self._body) - 1
        frames += [
            _frame(_DATA, _END_STREAM if index == last else 0, self._stream, part)
            for index, part in enumerate(self._body)
        ]
        self._socket.sendall(b"".join(frames))

    def _take(self, kind: int, flags: int, payload: bytes) -> int | None:
        """What a frame means for the call under way."""
        if kind == _DATA:
            self._received += len(payload)
            self._grant(len(payload))
        if kind in (_DATA, _HEADERS):
            ended = bool(flags & _END_STREAM)
            return (GOOD if self._received >= 5 else BAD_CALL) if ended else None
        if kind == _RESET:
            return BAD_CALL
        if kind == _GOAWAY:
            raise ConnectionError("the server sent GOAWAY under load")
        if kind in (_SETTINGS, _PING) and not flags & _ACK:
            self._socket.sendall(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
        return None

    def _grant(self, size: int) -> None:
        """Widen the connection's window again long before it is used up."""
        self._granted -= size
        if self._granted < _WINDOW // 2:
            more = _WINDOW - self._granted
            self._granted = _WINDOW
            self._socket.sendall(_frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", more)))
