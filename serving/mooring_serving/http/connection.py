"""One client connection: bytes to requests, answers to bytes, in order, within limits.

Requests on a connection are answered one after the other. A handler answers at once, or with a
`Pending` that is settled in a later turn of the loop, or with an awaitable, which gets a task. What
is sent meanwhile waits unparsed in the socket once reading stops.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import httptools

from mooring_serving.http.message import (
    Answer,
    HttpRequest,
    HttpResponse,
    Pending,
    error_response,
    render_response,
)
from mooring_serving.limits import HttpLimits

Handler = Callable[[HttpRequest], HttpResponse | Pending[Any] | Awaitable[HttpResponse]]


@dataclass(slots=True)
class _Exchange:
    """A request and how its connection goes on after the answer.

    Attributes:
        request: The request.
        keep: Whether the client wants the connection kept.
        header: The `connection` line of an answer that keeps it (HTTP/1.0 needs one).
    """

    request: HttpRequest
    keep: bool
    header: bytes


_CLOSE = b"connection: close\r\n"
_KEEP_ALIVE = b"connection: keep-alive\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Host(Protocol):
    """What a connection needs from its listener."""

    limits: HttpLimits
    handler: Handler
    date: bytes
    draining: bool
    skip_abandoned: bool

    def opened(self, connection: "Connection") -> bool:
        """Admit a connection; False when there are too many."""
        ...

    def closed(self, connection: "Connection") -> None:
        """Forget a connection."""
        ...

    def failed(self, request: HttpRequest, error: BaseException) -> HttpResponse:
        """The answer to a request whose handler broke."""
        ...


class Connection(asyncio.Protocol):
    """The asyncio protocol of one connection; single-threaded, owned by the event loop."""

    def __init__(self, host: Host, loop: asyncio.AbstractEventLoop) -> None:
        self._host = host
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[_Exchange] = deque()
        self._task: asyncio.Task[None] | None = None
        self._unsettled: _Exchange | None = None
        self._closing = False
        self._writable = True
        self._paused = False
        self._message_started: float | None = None
        self._headers_done = False
        self._blocked_since: float | None = None
        self._last_used = loop.time()
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

    # --- asyncio callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the connection or refuse it with 503."""
        # uvloop's transports have the interface of asyncio.Transport but not its class.
        self._transport = cast("asyncio.Transport", transport)
        if not self._host.opened(self):
            limit = self._host.limits.connections
            message = f"too many connections (limit {limit}); retry later"
            self._refuse(error_response(503, message, retry_after=1))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio names it
        """The client is gone; an answer in hand is finished for its effects and not sent."""
        self._transport = None
        self._closing = True
        self._waiting.clear()
        self._host.closed(self)

    def eof_received(self) -> None:
        """The sender hung up; asyncio closes the connection after this."""
        if self._host.skip_abandoned:
            self._waiting.clear()

    def pause_writing(self) -> None:
        """The client reads more slowly than we answer: stop reading from it."""
        self._writable = False
        self._blocked_since = self._loop.time()
        self._update_reading()

    def resume_writing(self) -> None:
        """The client caught up."""
        self._writable = True
        self._blocked_since = None
        self._advance()

    def data_received(self, data: bytes) -> None:
        """Feed the parser; any breach of syntax ends the connection with a 4xx."""
        if self._message_started is None:
            self._message_started = self._loop.time()
            self._headers_done = False
        rest = data
        while rest and not self._closing:
            rest = self._feed(rest)

    def _feed(self, data: bytes) -> bytes:
        """Parse; returns what the parser left behind a request that offers another protocol."""
        if self._body_left:
            piece = data[: self._body_left]
            self._body_left -= len(piece)
            self.on_body(piece)
            if not self._body_left and not self._closing:
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
            if not self._closing:
                self._refuse(error_response(400, f"malformed HTTP request: {error}"))
        return b""

    # --- parser callbacks

    def on_message_begin(self) -> None:
        """A request starts."""
        self._message_started = self._loop.time()
        self._headers_done = False

    def on_url(self, url: bytes) -> None:
        """A piece of the URL."""
        self._url += url
        self._count_header(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers[name.lower()] = value
        self._header_count += 1
        self._count_header(len(name) + len(value))

    def _count_header(self, size: int) -> None:
        limits = self._host.limits
        self._header_bytes += size
        if self._header_bytes > limits.header_bytes or self._header_count > limits.header_count:
            message = f"headers exceed {limits.header_bytes} bytes or {limits.header_count} entries"
            self._refuse(error_response(431, message))

    def on_headers_complete(self) -> None:
        """Refuse a body that announces itself as too large before it is sent."""
        self._headers_done = True
        parser = self._parser
        self._method = parser.get_method().decode("latin-1")
        self._keep = parser.should_keep_alive()
        self._kept = b"" if parser.get_http_version() == "1.1" else _KEEP_ALIVE
        length = self._headers.get(b"content-length")
        # A number of more than 18 digits is too large, and not worth making into an integer.
        limit = self._host.limits.body_bytes
        if length is not None and (len(length) > 18 or int(length) > limit):
            self._refuse_body()
        elif self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        """A piece of the body, counted before it is kept."""
        self._body_bytes += len(body)
        if self._body_bytes > self._host.limits.body_bytes:
            self._refuse_body()
        elif not self._closing:
            self._chunks.append(body)

    def on_message_complete(self) -> None:
        """The parser is done; the body of a request that offers another protocol is still to come.

        Java's client offers HTTP/2 (`Upgrade: h2c`) with each first request.
        """
        if self._closing:
            return
        length = self._headers.get(b"content-length")
        if length is not None and self._parser.should_upgrade():
            self._body_left = int(length)
        if not self._body_left:
            self._complete()

    def _complete(self) -> None:
        """A whole request: answer it now, or queue it behind the one in hand."""
        chunks = self._chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        path = self._url.partition(b"?")[0].decode("latin-1")
        now = self._loop.time()
        exchange = _Exchange(
            HttpRequest(self._method, path, self._headers, body, now), self._keep, self._kept
        )
        self._message_started = None
        self._last_used = now
        self._reset()
        self._waiting.append(exchange)
        if self._host.skip_abandoned:
            self._loop.call_soon(self._look_again)
        elif not self._answering:
            self._advance()
        else:
            self._update_reading()

    # --- answering

    def _look_again(self) -> None:
        """Answer one turn of the loop later, when a sender that already hung up is known to have.

        A pod that was paused for a while wakes up to requests that nobody waits for any more. The
        end of the connection is read after the request, so it takes another turn to see it.
        """
        self._loop.call_soon(self._advance)

    def _advance(self) -> None:
        """Answer queued requests until one needs to wait or the client must read first."""
        while self._waiting and not self._answering and self._writable and not self._closing:
            exchange = self._waiting.popleft()
            try:
                answer = self._host.handler(exchange.request)
            except Exception as error:  # noqa: BLE001 - last line of defence: a defect costs one request
                answer = self._host.failed(exchange.request, error)
            if type(answer) is Pending:
                if answer.settled:
                    self._answer(exchange, self._response_of(exchange, answer))
                else:
                    self._unsettled = exchange
                    answer.then(self._on_settled)
            else:
                self._answer(exchange, cast("Answer", answer))
        if self._waiting or self._task is not None or self._paused:
            self._update_reading()

    def _on_settled(self, pending: Pending[Any]) -> None:
        """The answer in hand is there."""
        exchange = self._unsettled
        if exchange is None:
            return
        self._unsettled = None
        self._answer(exchange, self._response_of(exchange, pending))
        if self._waiting or self._paused:
            self._advance()

    def _response_of(self, exchange: _Exchange, pending: Pending[Any]) -> Answer:
        try:
            return pending.response()
        except Exception as error:  # noqa: BLE001 - last line of defence: a defect costs one request
            return self._host.failed(exchange.request, error)

    def _answer(self, exchange: _Exchange, answer: Answer) -> None:
        if isinstance(answer, HttpResponse):
            self._send(exchange, answer)
        else:
            self._task = self._loop.create_task(self._await(exchange, answer))

    async def _await(self, exchange: _Exchange, answer: Awaitable[HttpResponse]) -> None:
        try:
            response = await answer
        except Exception as error:  # noqa: BLE001 - last line of defence: a defect costs one request
            response = self._host.failed(exchange.request, error)
        self._task = None
        self._send(exchange, response)
        self._advance()

    def _send(self, exchange: _Exchange, response: HttpResponse) -> None:
        if self._transport is None:
            return
        ends = response.close or not exchange.keep or self._host.draining
        data = render_response(
            response, connection=_CLOSE if ends else exchange.header, date=self._host.date
        )
        if exchange.request.method == "HEAD":
            data = data[: len(data) - len(response.body)]
        self._transport.write(data)
        self._last_used = self._loop.time()
        if ends:
            self._end()

    def _refuse_body(self) -> None:
        limit = self._host.limits.body_bytes
        self._refuse(error_response(413, f"the request body exceeds {limit} bytes"))

    def _refuse(self, response: HttpResponse) -> None:
        """Answer out of turn and end the connection; the rest of the request is not read."""
        if self._closing:
            return
        self._closing = True
        self._waiting.clear()
        self._write(render_response(response, connection=_CLOSE, date=self._host.date))
        self._end()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _end(self) -> None:
        """Close after what was written is sent."""
        self._closing = True
        self._blocked_since = self._loop.time()
        if self._transport is not None:
            self._transport.close()

    def _update_reading(self) -> None:
        """Stop reading while requests pile up behind the one in hand or the client reads slowly."""
        if self._transport is None or self._transport.is_closing():
            return
        pause = self._task is not None or bool(self._waiting) or not self._writable
        if pause and not self._paused:
            self._transport.pause_reading()
        elif self._paused and not pause:
            self._transport.resume_reading()
        self._paused = pause

    @property
    def _answering(self) -> bool:
        return self._task is not None or self._unsettled is not None

    # --- housekeeping, called by the listener

    @property
    def busy(self) -> bool:
        """Whether a request is being received or answered."""
        return self.answering or self._message_started is not None

    @property
    def answering(self) -> bool:
        """Whether a complete request still awaits its answer."""
        return self._answering or bool(self._waiting)

    def check_deadlines(self, now: float) -> None:
        """End a connection that is idle too long or sends too slowly."""
        limits = self._host.limits
        started = self._message_started
        if self._blocked_since is not None and now - self._blocked_since > limits.receive_seconds:
            self.abort()  # the client does not read its answers
            return
        if started is not None and not self._answering and not self._closing:
            allowed = limits.receive_seconds if self._headers_done else limits.header_seconds
            if now - started > allowed:
                self._refuse(error_response(408, f"the request was not complete in {allowed:g} s"))
        elif not self.busy and now - self._last_used > limits.idle_seconds:
            self._end()

    def end_when_idle(self) -> None:
        """End the connection now if nothing is in hand; else its next answer ends it."""
        if not self.busy:
            self._end()

    def abort(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()
