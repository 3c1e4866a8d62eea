"""HTTP connections that are all left behind when one of them proves dead.

After a partition the connections of a pool tend to be dead together, and each would cost a request
its whole time-out. By aiohttp, which keeps idle connections in a queue: httpx looks at each of
them, down to its socket, for each request, which was two thirds of what the operator cost.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from mooring_operator.io.keepalive import lively_socket

_CLOSING_SECONDS = 1.0
_CONNECT_SECONDS = 5.0
_KEPT_SECONDS = 60.0
"""How long an idle connection is kept. API servers keep theirs for longer."""
MOST_CONNECTIONS = 64
"""Requests at once; more wait for one to end."""


class Unanswered(Exception):
    """A request got no answer, or not all of it.

    Attributes:
        hung: nothing came on a living connection for as long as one may be silent.
    """

    def __init__(self, said: str, *, hung: bool) -> None:
        super().__init__(said)
        self.hung = hung


@dataclass(frozen=True)
class Reply:
    """A whole answer, whatever its status."""

    status: int
    content: bytes
    retry_after: str = ""
    """The header of that name."""

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300


class _Asked(aiohttp.BytesPayload):
    """A body that asks somebody when it is sent; its head goes out in the same write."""

    def __init__(self, content: bytes, before_sent: Callable[[], None]) -> None:
        super().__init__(content)
        self._before_sent = before_sent
        self.refusal: Exception | None = None
        """What was raised; aiohttp itself makes a broken connection of it."""

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Sends it, unless whoever is asked objects."""
        try:
            self._before_sent()
        except Exception as refusal:
            self.refusal = refusal
            raise
        await super().write_with_length(writer, content_length)


@dataclass(eq=False)
class _Pool:
    http: aiohttp.ClientSession
    users: int = 0


class ConnectionPool:
    """Sends requests; begins with fresh connections after one that got no answer."""

    def __init__(self, server: str, tls: ssl.SSLContext, *, patience: float) -> None:
        """Makes the first pool; needs a running event loop.

        Args:
            server: address that all paths are below.
            tls: the TLS set-up, for an https address.
            patience: longest silence within a request, seconds.
        """
        self._server, self._tls = server, tls
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_SECONDS, sock_read=patience
        )
        self._pool = _Pool(self._session())

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._pool.http.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None,
        content: bytes | None,
        headers: Mapping[str, str],
        before_sent: Callable[[], None],
    ) -> Reply:
        """One request and its whole answer.

        Args:
            method: of the request.
            path: below the server's address.
            query: parameters.
            content: body.
            headers: more of them.
            before_sent: called in the same step in which a request that has a body is sent; may
                raise, and the server then gets nothing.

        Raises:
            Unanswered: there was none.
        """
        body = None if content is None else _Asked(content, before_sent)
        pool = self._pool
        pool.users += 1
        try:
            async with pool.http.request(
                method,
                self._server + path,
                params=query,
                data=body,
                headers=headers,
                allow_redirects=False,
            ) as response:
                retry_after = response.headers.get("retry-after", "")
                return Reply(response.status, await response.read(), retry_after)
        except (aiohttp.ClientError, TimeoutError) as error:
            if body is not None and body.refusal is not None:
                raise body.refusal from None
            self._leave(pool)
            hung = isinstance(error, aiohttp.SocketTimeoutError)
            raise Unanswered(f"{type(error).__name__} {error}", hung=hung) from error
        except asyncio.CancelledError:
            self._leave(pool)  # a caller that gave up waiting knows as much as a time-out of ours
            raise
        finally:
            pool.users -= 1
            if pool is not self._pool and not pool.users:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_CLOSING_SECONDS):
                        await pool.http.close()

    def _leave(self, pool: _Pool) -> None:
        if pool is self._pool:
            self._pool = _Pool(self._session())

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=MOST_CONNECTIONS,
                ssl=self._tls,
                keepalive_timeout=_KEPT_SECONDS,
                socket_factory=lively_socket,
            ),
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
