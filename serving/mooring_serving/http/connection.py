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

from mooring_serving.http.incoming import BodyMemory, Incoming
from mooring_serving.http.message import (
    Answer,
    HttpRequest,
    HttpResponse,
    Pending,
    error_response,
    render_response,
)
from mooring_serving.limits import HttpLimits
from mooring_serving.refusals import Refusal

Handler = Callable[[HttpRequest], HttpResponse | Pending[Any] | Awaitable[HttpResponse]]


@dataclass(slots=True)
class _Exchange:
    """A request and how its connection goes on after the answer.

    Attributes:
        request: The request.
        keep: Whether the client wants the connection kept.
        header: The `connection` line of an answer that keeps it (HTTP/1.0 needs one).
        held: Bytes that it holds of the memory of bodies.
    """

    request: HttpRequest
    keep: bool
    header: bytes
    held: int


_CLOSE = b"connection: close\r\n"
_LINGER_SECONDS = 2.0
"""How long a client that was refused may go on sending before it is cut off."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Host(Protocol):
    """What a connection needs from its listener."""

    limits: HttpLimits
    handler: Handler
    date: bytes
    draining: bool
    skip_abandoned: bool
    memory: BodyMemory
    in_flight: "memoryview[int]"
    """One number: requests that were dispatched and whose answers are not written."""

    def opened(self, connection: "Connection") -> bool:
        """Admit a connection; False when there are too many."""
        ...

    def closed(self, connection: "Connection") -> None:
        """Forget a connection."""
        ...

    def failed(self, request: HttpRequest, error: BaseException) -> HttpResponse:
        """The answer to a request whose handler broke."""
        ...

    def refused(self, status: int, reason: Refusal) -> None:
        """Count a request that no handler saw."""
        ...


class Connection(asyncio.Protocol):
    """The asyncio protocol of one connection; single-threaded, owned by the event loop.

    Attributes:
        deaf: Whether nothing more is read: the connection ends after what is in hand.
    """

    def __init__(self, host: Host, loop: asyncio.AbstractEventLoop) -> None:
        self._host = host
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._incoming = Incoming(self, host.limits, host.memory, loop)
        self._waiting: deque[_Exchange] = deque()
        self._task: asyncio.Task[None] | None = None
        self._unsettled: _Exchange | None = None
        self._refusal: HttpResponse | None = None
        self._half_closed = False
        self._closing = self.deaf = False
        self._writable = True
        self._paused = False
        self._blocked_since: float | None = None
        self._opened_at = self._last_used = loop.time()
        self._answered = 0

    # --- asyncio callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the connection or refuse it with 503."""
        # uvloop's transports have the interface of asyncio.Transport but not its class.
        self._transport = cast("asyncio.Transport", transport)
        if not self._host.opened(self):
            limit = self._host.limits.connections
            message = f"too many connections (limit {limit}); retry later"
            self.refuse(503, message, Refusal.TOO_MANY_CONNECTIONS)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio names it
        """The client is gone; an answer in hand is finished for its effects and not sent."""
        self._transport = None
        self._closing = self.deaf = True
        self._incoming.drop()
        self._forget_waiting()
        self._host.closed(self)

    def eof_received(self) -> bool:
        """The sender sends no more. True: it may still read, so what is in hand is answered."""
        if self._host.skip_abandoned:
            self._forget_waiting()
            return False
        self._incoming.end()
        self._half_closed = self.answering and not self._closing
        return self._half_closed

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
        """Some bytes of requests."""
        self._incoming.feed(data)

    # --- what arrives

    def received(self, request: HttpRequest, *, keep: bool, header: bytes, held: int) -> None:
        """A whole request: answer it now, or queue it behind the one in hand."""
        self._last_used = request.received_at
        self._waiting.append(_Exchange(request, keep, header, held))
        if self._host.skip_abandoned:
            self._loop.call_soon(self._look_again)
        elif not self._answering:
            self._advance()
        else:
            self._update_reading()

    def refuse(self, status: int, message: str, reason: Refusal) -> None:
        """End the connection with this answer, after those to the requests before it."""
        if self.deaf:
            return
        self.deaf = True
        self._host.refused(status, reason)
        self._incoming.drop()
        self._refusal = error_response(
            status, message, retry_after=1 if status == 503 else None, close=True
        )
        if not self.answering:
            self._send_refusal(self._refusal)

    def go_on(self) -> None:
        """Tell the client that its body is wanted."""
        self._write(_CONTINUE)

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
            self._host.in_flight[0] += 1
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
        if self._refusal is not None and not self.answering:
            self._send_refusal(self._refusal)

    def _on_settled(self, pending: Pending[Any]) -> None:
        """The answer in hand is there."""
        exchange = self._unsettled
        if exchange is None:
            return
        self._unsettled = None
        self._answer(exchange, self._response_of(exchange, pending))
        if self._waiting or self._paused or self._refusal is not None:
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
        self._host.memory.held -= exchange.held
        self._host.in_flight[0] -= 1
        if self._transport is None:
            return
        host = self._host
        limits = host.limits
        now = self._last_used = self._loop.time()
        self._answered += 1
        ends = (
            response.close
            or not exchange.keep
            or host.draining
            or (self._half_closed and not self._waiting)
            or self._answered >= limits.connection_requests
            or now - self._opened_at > limits.connection_seconds
        )
        connection = _CLOSE if ends else exchange.header
        data = render_response(response, connection=connection, date=host.date)
        if exchange.request.method == "HEAD":
            data = data[: len(data) - len(response.body)]
        self._transport.write(data)
        if ends:
            self._end()

    def _send_refusal(self, refusal: HttpResponse) -> None:
        """Send the last answer, then read and forget for a while what the client still sends.

        Closing at once would have the kernel reset the connection, and a client in the middle of
        its body would never see why (RFC 9112 §9.6).
        """
        if self._transport is None or self._closing:
            return
        self._closing = self.deaf = True
        self._transport.write(render_response(refusal, connection=_CLOSE, date=self._host.date))
        self._transport.write_eof()
        self._loop.call_later(_LINGER_SECONDS, self.abort)

    def _forget_waiting(self) -> None:
        self._host.memory.held -= sum(exchange.held for exchange in self._waiting)
        self._waiting.clear()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _end(self) -> None:
        """Close after what was written is sent."""
        self._closing = self.deaf = True
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
        return self.answering or self._incoming.started is not None

    @property
    def answering(self) -> bool:
        """Whether a complete request still awaits its answer."""
        return self._answering or bool(self._waiting)

    def check_deadlines(self, now: float) -> None:
        """End a connection that is idle too long or sends too slowly."""
        limits = self._host.limits
        started = self._incoming.started
        if self._blocked_since is not None and now - self._blocked_since > limits.receive_seconds:
            self._host.refused(408, Refusal.NOT_READ)
            self.abort()  # the client does not read its answers
        elif started is not None and not self._answering and not self._closing:
            done = self._incoming.headers_done
            allowed = limits.receive_seconds if done else limits.header_seconds
            if now - started > allowed:
                message = f"the request was not complete in {allowed:g} s"
                self.refuse(408, message, Refusal.TOO_SLOW)
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
