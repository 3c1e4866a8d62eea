"""The bytes of one connection to its requests, counted against the limits while they arrive."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import httptools

from mooring_serving.http.message import HttpRequest
from mooring_serving.limits import HttpLimits
from mooring_serving.refusals import Refusal

_KEEP_ALIVE = b"connection: keep-alive\r\n"
_SMALL = 64 * 1024
"""Bytes of a body that are not counted against the memory that all bodies share: a connection costs
that much anyway, and a small request nothing."""


_SPECIAL = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"connection"})
"""Headers that change how the connection goes on: such a head is parsed each time."""
_HEAD_END = b"\r\n\r\n"
_LONG_HEAD = 4096
"""A longer head is parsed each time."""


@dataclass(frozen=True, slots=True)
class _Head:
    """Request line and headers as they were sent and as they were read.

    Attributes:
        raw: The bytes, the empty line included.
        length: Bytes of the body.
        method: As in the request.
        path: As in the request.
        headers: As in the request.
    """

    raw: bytes
    length: int
    method: str
    path: str
    headers: Mapping[bytes, bytes]


@dataclass(slots=True)
class BodyMemory:
    """What the large bodies of a port hold together, in bytes.

    Attributes:
        most: Most that they may hold.
        held: What they hold.
    """

    most: int
    held: int = 0


class Sink(Protocol):
    """What becomes of requests: the connection.

    Attributes:
        deaf: Whether nothing more is read.
    """

    deaf: bool

    def received(self, request: HttpRequest, *, keep: bool, header: bytes, held: int) -> None:
        """A whole request.

        Args:
            request: The request.
            keep: Whether the client wants the connection kept.
            header: The `connection` line of an answer that keeps it (HTTP/1.0 needs one).
            held: Bytes that it holds of the memory of bodies, until it is answered.
        """
        ...

    def refuse(self, status: int, message: str, reason: Refusal) -> None:
        """What comes is no request, or too large."""
        ...

    def go_on(self) -> None:
        """The client waits to be told that its body is wanted."""
        ...


class Incoming:
    """The request that is arriving. The parser calls the methods that begin with `on_`.

    Args:
        sink: Takes what has arrived.
        limits: Of messages.
        memory: Shared by the connections of a port.
        loop: The event loop, for its time.

    Attributes:
        started: Loop time of the first byte of an unfinished request, else None.
        headers_done: Whether its headers are complete.
    """

    def __init__(
        self,
        sink: Sink,
        limits: HttpLimits,
        memory: BodyMemory,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._sink = sink
        self._limits = limits
        self._memory = memory
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self.started: float | None = None
        self.headers_done = False
        self._held = 0
        self._head: _Head | None = None
        self._completed: HttpRequest | None = None
        self._plain = False
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._header_bytes = 0
        self._header_count = 0
        self._chunks: list[bytes] = []
        self._body_bytes = 0
        self._body_left = 0
        self._method = ""
        self._keep = False
        self._kept = b""

    def feed(self, data: bytes) -> None:
        """Some bytes; any breach of syntax is refused with a 4xx."""
        if self._sink.deaf:
            return
        fresh = self.started is None
        if fresh:
            if self._head is not None and self._repeats(self._head, data):
                return
            self.started = self._loop.time()
            self.headers_done = False
        self._completed = None
        rest = data
        while rest and not self._sink.deaf:
            rest = self._feed(rest)
        if fresh and self._completed is not None and self.started is None:
            self._remember(self._completed, data)

    def _repeats(self, head: _Head, data: bytes) -> bool:
        """Take a whole request that begins like the one before, without parsing it again.

        A client says the same on its connection again and again; a parser's calls for each of the
        headers cost 6 µs.
        """
        if len(data) != len(head.raw) + head.length or not data.startswith(head.raw):
            return False
        body = data[len(head.raw) :]
        request = HttpRequest(head.method, head.path, head.headers, body, self._loop.time())
        self._sink.received(request, keep=True, header=b"", held=0)
        return True

    def _remember(self, request: HttpRequest, data: bytes) -> None:
        """Keep the head of the request that these bytes are, no more and no less."""
        length, size = len(request.body), len(data) - len(request.body)
        headers = request.headers
        # An empty line before or behind the request is passed over: then it ends elsewhere.
        if (
            self._plain
            and data.find(_HEAD_END) == size - len(_HEAD_END)
            and headers.get(b"content-length") == b"%d" % length
            and length <= _SMALL
            and size <= _LONG_HEAD
            and not _SPECIAL & headers.keys()
        ):
            raw = data[:size]
            self._head = _Head(raw, length, request.method, request.path, headers)

    def end(self) -> None:
        """Nothing more comes."""
        if self.started is not None:
            part = "body" if self.headers_done else "headers"
            self._sink.refuse(400, f"the request ends within its {part}", Refusal.MALFORMED_HTTP)

    def drop(self) -> None:
        """Forget what did not arrive whole."""
        self.started = None
        self._memory.held -= self._held
        self._held = 0
        self._chunks.clear()

    def _feed(self, data: bytes) -> bytes:
        """Parse; returns what the parser left behind a request that offers another protocol."""
        if self._body_left:
            piece = data[: self._body_left]
            self._body_left -= len(piece)
            self.on_body(piece)
            if not self._body_left and not self._sink.deaf:
                self._complete()
            return data[len(piece) :]
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # We stay with HTTP/1.1, as a server may (RFC 9110 §7.8); the parser does not.
            self._parser = httptools.HttpRequestParser(self)
            offset: int = upgrade.args[0]
            return data[offset:]
        except httptools.HttpParserError as error:
            self._sink.refuse(400, f"malformed HTTP request: {error}", Refusal.MALFORMED_HTTP)
        return b""

    # --- parser callbacks

    def on_message_begin(self) -> None:
        """A request starts."""
        if not self._sink.deaf:
            self.started = self._loop.time()
            self.headers_done = False

    def on_url(self, url: bytes) -> None:
        """A piece of the URL."""
        self._url += url
        self._header_bytes += len(url)
        if self._header_bytes > self._limits.header_bytes:
            self._refuse_headers()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; what stands behind a chunked body is counted, and decides nothing."""
        self._header_bytes += len(name) + len(value)
        self._header_count += 1
        limits = self._limits
        if self._header_bytes > limits.header_bytes or self._header_count > limits.header_count:
            self._refuse_headers()
        elif not self.headers_done:
            name = name.lower()
            before = self._headers.get(name)
            # A repeated header is one list (RFC 9110 §5.3): none of its values is lost.
            self._headers[name] = value if before is None else b"%b, %b" % (before, value)

    def on_headers_complete(self) -> None:
        """Refuse a body that announces itself as too large before it is sent."""
        self.headers_done = True
        parser = self._parser
        self._method = parser.get_method().decode("latin-1")
        self._keep = parser.should_keep_alive()
        self._kept = b"" if parser.get_http_version() == "1.1" else _KEEP_ALIVE
        headers = self._headers
        length = headers.get(b"content-length")
        # A number of more than 18 digits is too large, and not worth making into an integer.
        limit = self._limits.body_bytes
        if length is not None and (len(length) > 18 or int(length) > limit):
            self._refuse_body()
        elif (
            b"transfer-encoding" in headers and headers[b"transfer-encoding"].lower() != b"chunked"
        ):
            # The parser takes `gzip, chunked` for chunks, and another server may take it for less.
            message = "transfer-encoding: only chunked is read"
            self._sink.refuse(400, message, Refusal.MALFORMED_HTTP)
        elif b"expect" in headers and headers[b"expect"].lower() == b"100-continue":
            self._sink.go_on()

    def on_body(self, body: bytes) -> None:
        """A piece of the body, counted before it is kept."""
        if self._sink.deaf:
            return
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.body_bytes:
            self._refuse_body()
        elif self._body_bytes <= _SMALL or self._hold():
            self._chunks.append(body)

    def _hold(self) -> bool:
        """Count the body against the memory of all; False when there is none left."""
        memory, more = self._memory, self._body_bytes - self._held
        if memory.held + more > memory.most:
            message = f"large bodies hold {memory.most} bytes of memory already; retry later"
            self._sink.refuse(503, message, Refusal.MEMORY)
            return False
        memory.held += more
        self._held += more
        return True

    def on_message_complete(self) -> None:
        """The parser is done; the body of a request that offers another protocol is still to come.

        Java's client offers HTTP/2 (`Upgrade: h2c`) with each first request.
        """
        if self._sink.deaf:
            return
        length = self._headers.get(b"content-length")
        if length is not None and self._parser.should_upgrade():
            self._body_left = int(length)
        if not self._body_left:
            self._complete()

    def _complete(self) -> None:
        chunks = self._chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        path = self._url.partition(b"?")[0].decode("latin-1")
        request = HttpRequest(self._method, path, self._headers, body, self._loop.time())
        keep, kept, held = self._keep, self._kept, self._held
        self.started = None
        self._held = 0
        # Two requests in one piece, or an odd connection: their heads are not remembered.
        self._plain = self._completed is None and keep and not kept
        self._completed = request
        self._reset()
        self._sink.received(request, keep=keep, header=kept, held=held)

    def _refuse_headers(self) -> None:
        limits = self._limits
        message = f"headers exceed {limits.header_bytes} bytes or {limits.header_count} entries"
        self._sink.refuse(431, message, Refusal.HEADERS_TOO_LARGE)

    def _refuse_body(self) -> None:
        message = f"the request body exceeds {self._limits.body_bytes} bytes"
        self._sink.refuse(413, message, Refusal.BODY_TOO_LARGE)
