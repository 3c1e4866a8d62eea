"""The client end: a small pool of kept-alive HTTP/1.1 connections to one address.

Only our own servers are called with it, so it knows what they do: one answer a request, with a
length, never a redirect. It retries nothing; the caller owns the outcome.
"""

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import httptools


class ConnectionBroken(Exception):
    """The peer refused, closed, or spoke something else than HTTP. The request may have arrived."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer; header names in lower case."""

    status: int
    headers: Mapping[bytes, bytes]
    body: bytes


@dataclass(frozen=True, slots=True)
class Address:
    """A host name or address, and a port."""

    host: str
    port: int


def build_post(path: str, address: Address, headers: Mapping[str, str], body: bytes) -> bytes:
    """The bytes of one POST request."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {address.host}:{address.port}\r\n"
        f"content-length: {len(body)}\r\n{lines}\r\n"
    )
    return head.encode("latin-1") + body


class _Wire(asyncio.Protocol):
    """One connection; at most one request at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._start()

    def _start(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._chunks: list[bytes] = []

    @property
    def usable(self) -> bool:
        """Whether the connection is open and idle."""
        return self._transport is not None and self._answer is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the interface of asyncio.Transport but not its class.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio names it
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionBroken("the peer closed before its answer"))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if self._answer is not None and not self._answer.done():
                self._answer.set_exception(ConnectionBroken(f"malformed answer: {error}"))
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        parser = self._parser
        answer = Answer(parser.get_status_code(), self._headers, b"".join(self._chunks))
        keep = parser.should_keep_alive()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)
        self._start()
        if not keep:
            self.close()

    async def request(self, data: bytes) -> Answer:
        """Send one request and wait for its answer; cancelled or broken, the connection ends."""
        if self._transport is None:
            raise ConnectionBroken("the connection was closed")
        self._answer = self._loop.create_future()
        self._transport.write(data)
        try:
            return await self._answer
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._answer = None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None


class ConnectionPool:
    """Kept-alive connections to an address, resolved again every few seconds.

    Args:
        resolve_seconds: How long a DNS answer is used; a Service's address never changes, but the
            Service itself may be made later than the pod.
        idle_limit: Idle connections kept.
    """

    def __init__(self, *, resolve_seconds: float = 5.0, idle_limit: int = 64) -> None:
        self._resolve_seconds = resolve_seconds
        self._idle_limit = idle_limit
        self._address: Address | None = None
        self._resolved: tuple[str, int] | None = None
        self._resolved_at = 0.0
        self._wires: list[_Wire] = []

    async def post(
        self, address: Address, path: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        """Send one POST.

        A kept-alive connection that the peer closed before it was used again is replaced; a
        request that was written is never sent twice.

        Raises:
            ConnectionBroken: No usable answer; the request may or may not have been processed.
        """
        data = build_post(path, address, headers, body)
        wire = await self._take(address)
        try:
            answer = await wire.request(data)
        except OSError as error:
            raise ConnectionBroken(str(error)) from error
        if wire.usable and len(self._wires) < self._idle_limit and address == self._address:
            self._wires.append(wire)
        else:
            wire.close()
        return answer

    async def _take(self, address: Address) -> _Wire:
        loop = asyncio.get_running_loop()
        if address != self._address:
            self.close()
            self._address = address
        while self._wires:
            wire = self._wires.pop()
            if wire.usable:
                return wire
        host, port = await self._resolve(address, loop)
        try:
            _, wire = await loop.create_connection(lambda: _Wire(loop), host, port)
        except OSError as error:
            self._resolved = None
            raise ConnectionBroken(
                f"cannot connect to {address.host}:{address.port}: {error}"
            ) from error
        return wire

    async def _resolve(self, address: Address, loop: asyncio.AbstractEventLoop) -> tuple[str, int]:
        now = loop.time()
        if self._resolved is None or now - self._resolved_at > self._resolve_seconds:
            try:
                found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
            except OSError as error:
                raise ConnectionBroken(f"cannot resolve {address.host}: {error}") from error
            host, port = found[0][4][:2]
            self._resolved = (str(host), int(port))
            self._resolved_at = now
        return self._resolved

    def close(self) -> None:
        """Close every idle connection; those in use end with their answer."""
        for wire in self._wires:
            wire.close()
        self._wires.clear()
        self._resolved = None
