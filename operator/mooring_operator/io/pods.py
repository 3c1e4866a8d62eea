"""Talking to the management port of serving pods. Pods belong to tenants: nothing is trusted.

Short time-outs, a cap on every answer, a bound on open connections. Bodies come back as JSON of
unknown shape; `reconcile/snapshots.py` parses them.
"""

import asyncio
import zlib
from typing import Any, Protocol, cast

import aiohttp

from mooring_operator.errors import PodRefused, Transient
from mooring_operator.io.wire_json import from_bytes, to_bytes

MANAGEMENT_PORT = 8081
TIMEOUT_SECONDS = 2.0
_OK = 200
LARGEST_ANSWER = 1024 * 1024
"""Bytes, however they were compressed. A snapshot of 1,000 features is about a tenth of it."""
_GZIP = zlib.MAX_WBITS | 16
_KEPT_SECONDS = 60.0
"""How long an idle connection is kept: over several rounds."""
_JSON = {"content-type": "application/json"}


class PodClient(Protocol):
    """The three requests of contract §4. Errors: Transient, PodRefused."""

    async def identity(self, address: str) -> dict[str, Any]:
        """`GET /mooring/v1/identity`."""
        ...

    async def profile(self, address: str) -> dict[str, Any]:
        """`GET /mooring/v1/profile`."""
        ...

    async def sync(self, address: str, message: dict[str, str]) -> dict[str, Any]:
        """`POST /mooring/v1/sync`; PodRefused when the pod does not take the message."""
        ...


class HttpPodClient:
    """Speaks to real pods over HTTP. Close it with `aclose`."""

    def __init__(self, *, connections: int, port: int = MANAGEMENT_PORT) -> None:
        """Needs a running event loop."""
        self._port = port
        self._slots = asyncio.Semaphore(connections)
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=_KEPT_SECONDS),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"accept-encoding": "gzip"},
            # The library would unpack a thousand times what came before we look at it.
            auto_decompress=False,
        )

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.close()

    async def identity(self, address: str) -> dict[str, Any]:
        """Who the pod says it is."""
        return await self._ask("GET", address, "/mooring/v1/identity", None)

    async def profile(self, address: str) -> dict[str, Any]:
        """The reference profile of the pod's package."""
        return await self._ask("GET", address, "/mooring/v1/profile", None)

    async def sync(self, address: str, message: dict[str, str]) -> dict[str, Any]:
        """Sends one signed message; returns the pod's snapshot."""
        return await self._ask("POST", address, "/mooring/v1/sync", message)

    async def _ask(
        self, method: str, address: str, path: str, body: dict[str, str] | None
    ) -> dict[str, Any]:
        host = f"[{address}]" if ":" in address else address
        url = f"http://{host}:{self._port}{path}"
        async with self._slots:
            try:
                status, content = await self._exchange(method, url, body)
            except (aiohttp.ClientError, TimeoutError) as error:
                raise Transient(f"{method} {url}: {type(error).__name__} {error}") from error
        if status >= 500:
            raise Transient(f"{method} {url}: HTTP {status}")
        if status != _OK:
            raise PodRefused(f"{method} {url}: HTTP {status} {content[:200]!r}")
        try:
            document: object = from_bytes(content)
        except ValueError as error:
            raise PodRefused(f"{method} {url}: the answer is not JSON") from error
        if not isinstance(document, dict):
            raise PodRefused(f"{method} {url}: the answer is not a JSON object")
        return cast("dict[str, Any]", document)

    async def _exchange(
        self, method: str, url: str, body: dict[str, str] | None
    ) -> tuple[int, bytes]:
        content = bytearray()
        data = None if body is None else to_bytes(body)
        headers = None if body is None else _JSON
        async with self._http.request(
            method, url, data=data, headers=headers, allow_redirects=False
        ) as response:
            packed = response.headers.get("content-encoding", "") == "gzip"
            unpacker = zlib.decompressobj(_GZIP)
            async for chunk in response.content.iter_any():
                room = LARGEST_ANSWER + 1 - len(content)
                try:
                    content += unpacker.decompress(chunk, room) if packed else chunk
                except zlib.error as error:
                    raise PodRefused(f"{method} {url}: the answer is no gzip: {error}") from error
                if len(content) > LARGEST_ANSWER:
                    raise PodRefused(f"{method} {url}: more than {LARGEST_ANSWER} bytes came back")
            if packed and not unpacker.eof:
                raise PodRefused(f"{method} {url}: the compressed answer is cut short")
        return response.status, bytes(content)
