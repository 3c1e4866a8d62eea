"""httpx connections that are all left behind when one of them proves dead.

After a partition the connections of a pool tend to be dead together, and each would cost a request
its whole time-out.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx

_CLOSING_SECONDS = 1.0
_SENDING = ("send_request_headers.started", "send_request_body.started")
"""The events of httpcore's "trace" extension right before each part of a request is sent: the event
loop may turn, or the process stand still, between the two."""


@dataclass(eq=False)
class _Pool:
    http: httpx.AsyncClient
    users: int = 0


class ConnectionPool:
    """Sends requests; begins with fresh connections after one that got no answer."""

    def __init__(self, make: Callable[[], httpx.AsyncClient]) -> None:
        """Takes what makes a client with a pool of its own."""
        self._make = make
        self._pool = _Pool(make())

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._pool.http.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None,
        content: bytes | None,
        headers: Mapping[str, str],
        before_sent: Callable[[], None],
    ) -> httpx.Response:
        """One request and its whole answer.

        Args:
            method: of the request.
            path: below the server's address.
            query: parameters.
            content: body.
            headers: more of them.
            before_sent: called before the head and before the body is sent; may raise, and the
                server then never gets the whole request.

        Raises:
            httpx.HTTPError: there was none.
        """

        async def trace(event: str, _: Mapping[str, object]) -> None:
            if event.endswith(_SENDING):
                before_sent()

        pool = self._pool
        pool.users += 1
        try:
            return await pool.http.request(
                method,
                path,
                params=query,
                content=content,
                headers=headers,
                extensions={"trace": trace},
            )
        except (httpx.TransportError, asyncio.CancelledError):
            # A caller that gave up waiting knows as much as a time-out of ours.
            if pool is self._pool:
                self._pool = _Pool(self._make())
            raise
        finally:
            pool.users -= 1
            if pool is not self._pool and not pool.users:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_CLOSING_SECONDS):
                        await pool.http.aclose()
