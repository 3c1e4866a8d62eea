"""A directory served over HTTPS, read only. Redirects are not followed."""

from collections.abc import Iterator
from http import HTTPStatus

import httpx

TIMEOUT_SECONDS = 30.0


class HttpsStore:
    """The files below one URL."""

    def __init__(self, base: str) -> None:
        self._base = base

    def chunks(self, name: str) -> Iterator[bytes]:
        """The file's bytes, streamed from one GET."""
        url = f"{self._base}/{name}"
        try:
            with httpx.stream(
                "GET", url, timeout=TIMEOUT_SECONDS, follow_redirects=False
            ) as answer:
                _check(answer.status_code, url)
                yield from answer.iter_bytes()
        except httpx.HTTPError as error:
            raise ConnectionError(f"{type(error).__name__}: {error}") from error


def _check(status: int, url: str) -> None:
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        raise FileNotFoundError(url)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise PermissionError(url)
    if status != HTTPStatus.OK:
        raise ConnectionError(f"answered {status}")
