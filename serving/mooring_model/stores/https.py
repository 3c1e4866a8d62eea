"""A directory served over HTTPS, read only. Redirects are not followed."""

from collections.abc import Iterator
from http import HTTPStatus
from io import BufferedReader, RawIOBase

import httpx

TIMEOUT_SECONDS = 30.0


class HttpsStore:
    """The files below one URL."""

    def __init__(self, base: str) -> None:
        self._base = base

    def open(self, name: str) -> "HttpsFile":
        """The file's bytes, streamed."""
        return HttpsFile(f"{self._base}/{name}")


class HttpsFile:
    """One GET, as a context manager that yields a binary stream."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=False)
        self._request = self._client.build_request("GET", url)
        self._response: httpx.Response | None = None

    def __enter__(self) -> BufferedReader:
        try:
            self._response = self._client.send(self._request, stream=True)
        except httpx.HTTPError as error:
            self._client.close()
            raise ConnectionError(f"{type(error).__name__}: {error}") from error
        status = self._response.status_code
        if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            raise FileNotFoundError(self._request.url.path)
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise PermissionError(self._request.url.path)
        if status != HTTPStatus.OK:
            raise ConnectionError(f"answered {status}")
        return BufferedReader(_Raw(self._response.iter_bytes()))

    def __exit__(self, *error: object) -> None:
        if self._response is not None:
            self._response.close()
        self._client.close()


class _Raw(RawIOBase):
    """Chunks of a response as a raw stream."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # pyright: ignore[reportIncompatibleMethodOverride] - typeshed's Buffer protocol is 3.12
        try:
            self._rest = self._rest or next(self._chunks, b"")
        except httpx.HTTPError as error:
            raise ConnectionError(f"{type(error).__name__}: {error}") from error
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
