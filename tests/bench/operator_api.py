"""What the benchmark itself asks of the API server: a thin asynchronous client for its own user."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any

import aiohttp
import orjson

from tests.bench.operator_plane import ADMIN, Plane

Object = dict[str, Any]
GROUP = "/apis/mooring.dev/v1alpha1"
_JSON = "application/json"
_MERGE = "application/merge-patch+json"
_LONGEST_LINE = 1 << 22
_PASSING = (429, 500, 503, 504)


class ApiRefused(Exception):
    """The API server answered with an error; the message has its words."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"{status}: {said}")
        self.status = status


class Api:
    """Reads, writes and watches as an administrator."""

    def __init__(self, plane: Plane) -> None:
        self._http = aiohttp.ClientSession(
            plane.server,
            connector=aiohttp.TCPConnector(ssl=plane.tls(ADMIN), limit=64),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            read_bufsize=_LONGEST_LINE,
        )

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.close()

    async def request(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        *,
        kind: str = _JSON,
        accept: str = _JSON,
    ) -> Object:
        """One request; its answer as JSON.

        Args:
            method: the HTTP method.
            path: with its query.
            body: what to send.
            kind: content type of what is sent.
            accept: content type of the answer.

        Raises:
            ApiRefused: the answer was no success.
        """
        data = None if body is None else orjson.dumps(body)
        headers = {"content-type": kind, "accept": accept}
        async with self._http.request(method, path, data=data, headers=headers) as answer:
            content = await answer.read()
            if answer.status >= 300:
                raise ApiRefused(answer.status, content[:500].decode(errors="replace"))
            return orjson.loads(content)

    async def create(self, path: str, body: Object) -> Object:
        """Creates an object; one that is there already is read."""
        try:
            return await self.request("POST", path, body)
        except ApiRefused as refused:
            if refused.status != 409:
                raise
            return await self.request("GET", f"{path}/{body['metadata']['name']}")

    async def patch(self, path: str, body: Object) -> Object:
        """A merge patch."""
        return await self.request("PATCH", path, body, kind=_MERGE)

    async def items(self, path: str) -> tuple[list[Object], str]:
        """All objects of a list, and its resourceVersion."""
        found: list[Object] = []
        more = ""
        while True:
            mark = "&" if "?" in path else "?"
            page = await self.request("GET", f"{path}{mark}limit=500{more}")
            found += page["items"]
            following = page["metadata"].get("continue")
            if not following:
                return found, page["metadata"]["resourceVersion"]
            more = f"&continue={following}"

    async def watch(self, path: str, since: str) -> AsyncIterator[tuple[str, Object]]:
        """Every event of a list's objects after a resourceVersion, until cancelled."""
        mark = "&" if "?" in path else "?"
        while True:
            query = f"{path}{mark}watch=1&allowWatchBookmarks=true&resourceVersion={since}"
            async with self._http.get(query) as answer:
                if answer.status in _PASSING:  # it has just begun to serve this kind
                    await asyncio.sleep(0.2)
                    continue
                if answer.status != 200:
                    raise ApiRefused(answer.status, await answer.text())
                async for line in answer.content:
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        raise ApiRefused(410, str(event["object"]))
                    since = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        yield event["type"], event["object"]


async def together(limit: int, work: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Awaits coroutines, so many at a time; the first failure ends all."""
    slots = asyncio.Semaphore(limit)

    async def one(item: Coroutine[Any, Any, object]) -> None:
        async with slots:
            await item

    async with asyncio.TaskGroup() as group:
        for item in work:
            group.create_task(one(item))
