"""A small HTTP server for probes and metrics: GET only, one answer a connection.

Runs on the same event loop as the workers on purpose: when that loop is stuck, the probes are
late, and the kubelet restarts the process.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_LONGEST_REQUEST = 8192
_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


Page = Callable[[], Answer]
_PHRASES = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


async def serve_pages(pages: Mapping[str, Page], *, host: str, port: int) -> asyncio.Server:
    """Starts serving; close the returned server to stop.

    Args:
        pages: what to answer, by path.
        host: address to listen on; empty for all.
        port: TCP port.

    Raises:
        OSError: the port is taken.
    """

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(head, pages))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asked is gone or does not speak HTTP; there is nobody to tell
        finally:
            writer.close()

    return await asyncio.start_server(
        on_connection, host or None, port, limit=_LONGEST_REQUEST, reuse_address=True
    )


def _response(head: bytes, pages: Mapping[str, Page]) -> bytes:
    method, _, rest = head.decode("latin-1").partition(" ")
    path = rest.partition(" ")[0].partition("?")[0]
    page = pages.get(path)
    if method not in ("GET", "HEAD"):
        answer = Answer(405, b"only GET\n")
    elif page is None:
        answer = Answer(404, ("pages: " + " ".join(sorted(pages)) + "\n").encode())
    else:
        answer = page()
    lines = (
        f"HTTP/1.1 {answer.status} {_PHRASES.get(answer.status, 'Status')}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        "Connection: close",
        "",
        "",
    )
    return "\r\n".join(lines).encode() + (b"" if method == "HEAD" else answer.body)
