"""HTTP/1.1 on asyncio streams, as much of it as a proxy between two decent ends needs."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

_DROPPED = {"accept-encoding", "authorization", "connection", "host", "content-length"}
_PHRASES = {409: "Conflict", 410: "Gone", 429: "Too Many Requests", 500: "Internal Server Error"}
LIMIT = 8 * 1024 * 1024


@dataclass(frozen=True)
class Head:
    """A start line and headers, names in lower case."""

    start: str
    headers: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str:
        return next((value for known, value in self.headers if known == name), "")

    @property
    def status(self) -> int:
        """Of a response."""
        return int(self.start.split(" ", 2)[1])


@dataclass(frozen=True)
class Request:
    """A whole request."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def encoded(self, host: str) -> bytes:
        """As sent on: without compression and without the sender's identity."""
        kept = [(name, value) for name, value in self.headers if name not in _DROPPED]
        lines = [f"{self.method} {self.target} HTTP/1.1", f"host: {host}"]
        lines += [f"{name}: {value}" for name, value in kept]
        if self.body or self.method not in ("GET", "HEAD"):
            lines.append(f"content-length: {len(self.body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + self.body


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """The next head; None when the other side closed."""
    try:
        text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    start, *lines = text.rstrip("\r\n").split("\r\n")
    split = (line.partition(":") for line in lines)
    return Head(start, tuple((name.strip().lower(), value.strip()) for name, _, value in split))


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request; None when the client closed."""
    head = await read_head(reader)
    if head is None:
        return None
    method, target, _ = head.start.split(" ", 2)
    body = await read_body(reader, head)
    return Request(method, target, head.headers, body)


async def read_body(reader: asyncio.StreamReader, head: Head) -> bytes:
    """The whole body."""
    if head.get("transfer-encoding").lower() == "chunked":
        return b"".join([chunk async for chunk in chunks(reader)])
    length = int(head.get("content-length") or 0)
    return await reader.readexactly(length) if length else b""


async def chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The pieces of a chunked body, to its end."""
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if size == 0:
            await reader.readuntil(b"\r\n")
            return
        yield await reader.readexactly(size)
        await reader.readexactly(2)


def response(status: int, body: bytes, *, phrase: str = "OK", retry_after: int = 0) -> bytes:
    """A whole JSON response."""
    lines = [
        f"HTTP/1.1 {status} {phrase}",
        "content-type: application/json",
        f"content-length: {len(body)}",
    ]
    if retry_after:
        lines.append(f"retry-after: {retry_after}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def refusal(status: int, reason: str, *, retry_after: int = 0) -> bytes:
    """An error as the API server words it."""
    document: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"injected by the fault proxy: {reason}",
        "reason": reason,
        "code": status,
    }
    phrase = _PHRASES.get(status, "Error")
    return response(status, json.dumps(document).encode(), phrase=phrase, retry_after=retry_after)


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
)
STREAM_END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One piece of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def event_line(type_: str, item: dict[str, Any]) -> bytes:
    """One watch event."""
    return json.dumps({"type": type_, "object": item}).encode() + b"\n"
