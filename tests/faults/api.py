"""The harness' own way to the real API server: what people, pods and the oracle do. No proxy."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

Object = dict[str, Any]
_MERGE = "application/merge-patch+json"
_OK, _NOT_FOUND, _CONFLICT, _BUSY = 200, 404, 409, 429


@dataclass(frozen=True)
class Server:
    """Where the API server is, and the certificates of an administrator."""

    host: str
    port: int
    pki: Path

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.port}"

    def tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.pki / "ca.crt"))
        context.load_cert_chain(str(self.pki / "admin.crt"), str(self.pki / "admin.key"))
        return context


class Refusal(Exception):
    """The API server said no; `status` is its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"HTTP {status}: {message}")
        self.status = status


class Api:
    """Blocking calls, for what happens before the event loop runs."""

    def __init__(self, server: Server) -> None:
        self._http = httpx.Client(base_url=server.url, verify=server.tls(), trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def is_ready(self) -> bool:
        try:
            return self._http.get("/readyz").status_code == _OK
        except httpx.HTTPError:
            return False

    def call(self, method: str, path: str, body: Object | None = None) -> Object:
        return _read(self._http.request(method, path, json=body))


class AsyncApi:
    """The same on the event loop, with watches."""

    def __init__(self, server: Server) -> None:
        self._http = httpx.AsyncClient(
            base_url=server.url,
            verify=server.tls(),
            trust_env=False,
            timeout=httpx.Timeout(30.0),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=32),
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _send(self, method: str, path: str, body: Object | None = None) -> httpx.Response:
        """One answer; waits while the server's storage of a kind is still being made."""
        while True:
            answer = await self._http.request(method, path, json=body)
            if answer.status_code != _BUSY:
                return answer
            await asyncio.sleep(float(answer.headers.get("retry-after", "1")))

    async def get(self, path: str) -> Object | None:
        """One object; None when there is none."""
        try:
            return _read(await self._send("GET", path))
        except Refusal as refusal:
            if refusal.status == _NOT_FOUND:
                return None
            raise

    async def list(self, path: str) -> Object:
        return _read(await self._send("GET", path))

    async def create(self, path: str, body: Object) -> Object:
        return _read(await self._send("POST", path, body))

    async def merge(self, path: str, body: Object) -> Object | None:
        """Merge patch; None when the object is gone."""
        content = json.dumps(body).encode()
        answer = await self._http.patch(path, content=content, headers={"content-type": _MERGE})
        if answer.status_code == _NOT_FOUND:
            return None
        return _read(answer)

    async def delete(self, path: str) -> None:
        """Deletes one object, or all of a collection; fine when there is none."""
        answer = await self._http.request("DELETE", path, json={"propagationPolicy": "Background"})
        if answer.status_code not in (_NOT_FOUND, _CONFLICT):
            _read(answer)

    async def watch(self, path: str) -> AsyncIterator[tuple[str, Object]]:
        """A list as ADDED, then its changes, for ever."""
        version = ""
        while True:
            if not version:
                listed = await self.list(path)
                version = listed["metadata"]["resourceVersion"]
                for item in listed.get("items", []):
                    yield "ADDED", item
            params = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
            async with self._http.stream("GET", path, params=params, timeout=None) as answer:
                if not answer.is_success:
                    version = ""
                    await asyncio.sleep(1.0)
                    continue
                async for line in answer.aiter_lines():
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        version = ""
                        break
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        yield event["type"], event["object"]


def _read(answer: httpx.Response) -> Object:
    if not answer.is_success:
        raise Refusal(answer.status_code, answer.text[:400])
    return answer.json()
